"""The frames of a film in their order, each with the way back to the one before; read ahead by a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from impasto.video.film import Bytes, Frame, Sound
from impasto.video.flow import Flow, FlowFinder

__all__ = ["Followed", "ahead", "followed"]

T = TypeVar("T")
AHEAD: Final = 1  # frames, with what is between them
_END: Final = object()
LATER: Final = 0.1  # seconds after which a thread that waits looks whether it is still wanted


@dataclass(frozen=True, eq=False)
class Followed:
    """A frame, and what it has in common with the one before it.

    Attributes:
        frame: that is to be painted.
        flow: the way back; None of the first frame, and where nobody asked for it.
        again: whether it is that very frame.
    """

    frame: Frame
    flow: Flow | None = None
    again: bool = False


def followed(
    items: Iterator[Frame | Sound], finder: FlowFinder | None, *, every: int = 1, after: int | None = None
) -> Iterator[Followed | Sound | None]:
    """Every so many frames with the way back to the one before them, and all that is between.

    Args:
        items: of a film.
        finder: of the flow; None where nothing is to be carried on.
        every: how many frames are gone on by.
        after: the time of the last frame that is painted already: frames up to it are passed over, and None stands for
            each.
    """
    before: Bytes | None = None
    grey: Bytes | None = None  # of it, as the finder looks at it
    number = -1
    for item in items:
        if isinstance(item, Sound):
            yield item
            continue
        number += 1
        if number % every:
            continue
        if after is not None and item.pts <= after:
            before, grey = item.rgb, None
            yield None
            continue
        flow, again = None, False
        if finder is not None:
            again = before is not None and _same(before, item.rgb)
            if grey is None and before is not None:
                grey = finder.look(before)
            if again and grey is not None:
                flow = Flow.still((grey.shape[0], grey.shape[1]))
            else:
                now = finder.look(item.rgb)
                flow = None if grey is None else finder.between(grey, now)
                grey = now
        before = item.rgb
        yield Followed(item, flow, again)


def _same(one: Bytes, other: Bytes) -> bool:
    """Whether two frames are the same; most that are not differ in every sixteenth row."""
    return one.shape == other.shape and np.array_equal(one[::16], other[::16]) and np.array_equal(one, other)


def ahead(items: Iterator[T], count: int = AHEAD) -> Generator[T, None, None]:
    """The same items, which a thread fetches up to so many before they are asked for.

    The items' own generator is run, and closed, by that thread; closing this one waits for it. Errors come out here.
    """
    thread = _Fetching(items, count)
    thread.start()
    try:
        while (item := thread.fetched.get()) is not _END:
            yield item
        if thread.error is not None:
            raise thread.error
    finally:
        thread.stop()


class _Fetching(threading.Thread):
    """Puts what an iterator gives into a queue, then an end, unless it is stopped before."""

    def __init__(self, items: Iterator[Any], count: int) -> None:
        super().__init__(name="impasto-film", daemon=True)
        self.fetched: queue.Queue[Any] = queue.Queue(count)
        self.error: BaseException | None = None
        self._items, self._wanted = items, True

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            for item in self._items:
                self._put(item)
                if not self._wanted:
                    break
        except BaseException as error:  # noqa: BLE001  it is raised again where items are asked for
            self.error = error
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            self._put(_END)

    def stop(self) -> None:
        """Fetch no more, and wait until what is being fetched is there."""
        self._wanted = False
        self.join()

    def _put(self, item: Any) -> None:
        while self._wanted:
            try:
                self.fetched.put(item, timeout=LATER)
            except queue.Full:
                continue
            return
