"""Which frames of a steady film are painted: few, since most of a frame was painted before or is soon."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, Sound
from impasto.video.flow import Flow, warp, warp_at
from impasto.video.following import Followed, Seen

__all__ = ["LARGE_SPARED", "SPARED", "Moved", "Together", "together"]

Floats = NDArray[np.float32]
Item = Followed | Sound | None
SPARED: Final = 6  # frames of which one is painted, at most
LARGE_SPARED: Final = 4  # of large frames: the ways of all that wait are kept in memory
SOUNDS: Final = 256  # packets that wait for a frame at most
UNSEEN: Final = np.empty((0, 0, 3), np.uint8)  # stands for a frame that nobody looks at any more
NEW: Final = 0.5  # of the picture: when so much is new since the last frame that was painted, the next is painted


@dataclass(frozen=True, eq=False)
class Together:
    """Frames that one painting does for, and what is between them.

    Attributes:
        items: in their order; the last frame is the one that is painted, unless none is.
        ways: of each of them, for a frame that is not painted: the way on to the one that is, (h, w, 2).
    """

    items: tuple[Item, ...]
    ways: tuple[Floats | None, ...]

    @property
    def painted(self) -> Followed | None:
        """The frame that is painted, or has the painting that it had."""
        last = self.items[-1]
        return last if isinstance(last, Followed) else None

    def unseen(self) -> Together:
        """The same, when the painting is made: without the pictures of the frames."""
        return replace(self, items=tuple(map(_unseen, self.items)))


def together(items: Iterator[Item], every: int, seen: Seen, *, keep: bool = False) -> Iterator[Together]:
    """Frames up to the next that is to be painted.

    That is every so many frames one; sooner where much of the picture is new; and the last before a cut or before one
    that comes again, the first after a cut, and the last of all. A frame that comes again has the painting that it had.

    Args:
        items: of a film.
        every: frames of which one is painted, at most; 1: all are.
        seen: of the last frame that is painted already.
        keep: whether the pictures of all frames are kept, because they are looked at again.
    """
    waiting: list[Item] = []
    count, new = (0, 0.0) if seen.spared is None else (int(seen.spared[0]), float(seen.spared[1]))
    for item in items:
        if isinstance(item, Sound):
            waiting.append(item)
            if len(waiting) >= SOUNDS and all(isinstance(one, Sound) for one in waiting):
                yield _joined(waiting)
                waiting = []
            continue
        if item is None or item.again or item.flow is None or item.flow.cut:
            frames, waiting = _parted(waiting)  # no frame comes that they could wait for
            if frames:
                yield _joined(frames)
        if item is None or item.again:  # there may be any number of them: nothing waits for their end
            yield _joined([*waiting, item if item is None else _told(item, count, new)])
            waiting = []
            continue
        if item.flow is None or item.flow.cut:
            count, new = every, 0.0
        else:
            count, new = count + 1, new + 1 - float(item.flow.trust.mean())
        if not keep:
            waiting = [_unseen(one) for one in waiting]  # none of these is painted any more
        if count >= every or new >= NEW:
            count, new = 0, 0.0
            yield _joined([*waiting, _told(item, count, new)])
            waiting = []
        else:
            waiting.append(_told(item, count, new))
    yield from map(_joined, filter(None, _parted(waiting)))


@dataclass(frozen=True, eq=False)
class Moved:
    """The painting of a later frame, where it is in one that was not painted; rows are made when they are asked for.

    Attributes:
        painting: (h, w, 3).
        way: on to it, see `Together`.
    """

    painting: Bytes
    way: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the painting."""
        return self.painting.shape

    def __getitem__(self, rows: slice) -> Bytes:
        top, bottom, _ = rows.indices(len(self.painting))
        found: Bytes = warp(self.painting, self._rows(top, bottom), top=top)
        return found

    def at(self, places: NDArray[np.intp], top: int, bottom: int) -> Bytes:
        """The pixels (n, 3) at some places in these rows, counted row by row."""
        return warp_at(self.painting, self._rows(top, bottom), places, top=top)

    def _rows(self, top: int, bottom: int) -> Floats:
        height, width = self.shape[:2]
        return self._flow.back_of((height, width), (top, bottom), (0, width))

    @functools.cached_property
    def _flow(self) -> Flow:
        """The way, as what can be made as large as the painting: once for all rows."""
        return Flow(self.way, np.ones(self.way.shape[:2], np.float32)).ready((self.shape[0], self.shape[1]))


def _unseen(item: Item) -> Item:
    """An item without the picture of its frame, which nobody looks at any more."""
    return replace(item, frame=replace(item.frame, rgb=UNSEEN)) if isinstance(item, Followed) else item


def _told(one: Followed, count: int, new: float) -> Followed:
    return replace(one, seen=(one.seen or Seen())._replace(spared=np.array([count, new])))


def _parted(waiting: list[Item]) -> tuple[list[Item], list[Item]]:
    """What waits, up to the last frame, and what is after it."""
    after = 1 + max((place for place, item in enumerate(waiting) if isinstance(item, Followed)), default=-1)
    return waiting[:after], waiting[after:]


def _joined(items: list[Item]) -> Together:
    """Items of which the last is the frame that is painted, unless none is."""
    ways: list[Floats | None] = [None] * len(items)
    way: Floats | None = None  # from the later frame to the one that is painted
    later: Followed | None = None
    for place in reversed(range(len(items))):
        item = items[place]
        if not isinstance(item, Followed):
            continue
        if later is not None and later.flow is not None:
            way = _further(later.flow, way)
            ways[place] = way
        later = item
    return Together(tuple(items), tuple(ways))


def _further(flow: Flow, way: Floats | None) -> Floats:
    """The way on from the frame before, when this is the way on from the frame whose flow is given."""
    forth = np.zeros_like(flow.back) if flow.forth is None else flow.forth
    if way is None:
        return forth
    found: Floats = forth + warp(way, forth, cubic=False)
    return found
