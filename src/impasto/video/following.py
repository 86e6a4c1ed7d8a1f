"""The frames of a film in their order, each with the way back to the one before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, Frame, Sound
from impasto.video.flow import Flow, FlowFinder
from impasto.video.recalling import Older, Recall

__all__ = ["Followed", "Seen", "chosen", "followed"]

Floats = NDArray[np.float32]


class Seen(NamedTuple):
    """What following a film goes on from, beside the frames.

    Attributes:
        held: of `Recall`.
        back: the way back from the last frame to the one before it, which the next is much like.
        spared: of `together`: frames since the last that was painted, and how much of the picture was new in them.
    """

    held: Floats | None = None
    back: Floats | None = None
    spared: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Followed:
    """A frame, and what it has in common with those before it.

    Attributes:
        frame: that is to be painted.
        flow: the way back to the one before; None of the first frame, and where nobody asked for it.
        again: whether it is the very frame before.
        older: frames from before that one, in which something is that comes into view again.
        seen: what following the film goes on from after this frame.
    """

    frame: Frame
    flow: Flow | None = None
    again: bool = False
    older: tuple[Older, ...] = ()
    seen: Seen | None = None


def chosen(
    items: Iterator[Frame | Sound], every: int, *, stop: int | None = None, usual: int = 0
) -> Iterator[Frame | Sound]:
    """Every so many frames, each as long as until the next one, the last as long as the film; and all that is between.

    Args:
        items: of a film.
        every: how many frames are gone on by.
        stop: where the part that is wanted ends, in time bases; no frame lasts longer.
        usual: how long a frame lasts of which that is not known, in time bases.
    """
    held: Frame | None = None
    number, ends = -1, 0
    for item in items:
        if isinstance(item, Sound):
            yield item
            continue
        number += 1
        ends = item.pts + (item.duration or usual)
        if number % every:
            continue
        if held is not None:
            yield replace(held, duration=item.pts - held.pts)
        held = item
        if every == 1:  # nothing is waited for
            held = None
            yield item if stop is None or ends <= stop else replace(item, duration=max(1, stop - item.pts))
    if held is not None:
        yield replace(held, duration=max(1, (ends if stop is None else min(ends, stop)) - held.pts))


def followed(
    items: Iterator[Frame | Sound],
    finder: FlowFinder | None,
    *,
    after: int | None = None,
    seen: Seen | None = None,
) -> Iterator[Followed | Sound | None]:
    """Frames with the way back to those before them, and all that is between.

    Args:
        items: of a film.
        finder: of the flow; None where nothing is to be carried on.
        after: the time of the last frame that is painted already: frames up to it are passed over, and None stands for
            each.
        seen: of that frame, as it was.
    """
    way_back = None if finder is None else _WayBack(finder, seen or Seen())
    for item in items:
        if isinstance(item, Sound):
            yield item
            continue
        painted = after is not None and item.pts <= after
        if painted and way_back is not None:
            way_back.pass_over(item.rgb)
        yield None if painted else Followed(item) if way_back is None else way_back(item)


class _WayBack:
    """Finds what the next frame has in common with those before it."""

    def __init__(self, finder: FlowFinder, seen: Seen) -> None:
        self._finder, self._recall, self._back = finder, Recall(finder, seen.held), seen.back
        self._before: Bytes | None = None
        self._grey: Bytes | None = None  # of it, as the finder looks at it

    def pass_over(self, rgb: Bytes) -> None:
        """A frame that is painted already."""
        self._before, self._grey = rgb, self._finder.look(rgb)
        self._recall.pass_over(self._grey)

    def __call__(self, frame: Frame) -> Followed:
        finder, recall, grey = self._finder, self._recall, self._grey
        again = self._before is not None and _same(self._before, frame.rgb)
        self._before = frame.rgb
        if again and grey is not None:
            recall.still(grey)
            return self._seen(Followed(frame, Flow.still((grey.shape[0], grey.shape[1])), again))
        self._grey = finder.look(frame.rgb)
        flow = None if grey is None else finder.between(grey, self._grey, self._back)
        return self._seen(Followed(frame, flow, older=recall.look(self._grey, flow)))

    def _seen(self, one: Followed) -> Followed:
        self._back = None if one.flow is None or one.flow.cut else one.flow.back
        return replace(one, seen=Seen(self._recall.held, self._back))


def _same(one: Bytes, other: Bytes) -> bool:
    """Whether two frames are the same; most that are not differ in every sixteenth row."""
    return one.shape == other.shape and np.array_equal(one[::16], other[::16]) and np.array_equal(one, other)
