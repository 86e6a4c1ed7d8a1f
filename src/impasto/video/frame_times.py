"""When the frames of a film were painted, and how long others will take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["FrameTimes"]

FIRST: Final = 4  # frames that count for nothing: threads begin, memory is taken, several are painted side by side
ENOUGH: Final = 12  # frames after these


class FrameTimes:
    """The times at which frames were painted, of which it keeps a few.

    Args:
        clock: seconds from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, clock()
        self._at: list[float] = []  # of the first ones
        self._last, self._count = self._began, 0

    def see(self, painted: int) -> None:
        """So many frames are painted by now."""
        if painted <= self._count:
            return
        self._last, self._count = self._clock(), painted
        if len(self._at) <= FIRST:
            self._at.append(self._last)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._began

    @property
    def enough(self) -> bool:
        """Whether more frames would tell little more."""
        return self._count >= FIRST + ENOUGH

    @property
    def before_first(self) -> float:
        """Seconds before the first frame was there: the start."""
        return (self._at[0] if self._at else self._last) - self._began

    @property
    def per_frame(self) -> float | None:
        """Seconds for each more frame, without the first ones; None of less than two."""
        first = min(FIRST, (self._count - 1) // 2, len(self._at) - 1)
        later = self._count - 1 - first
        return (self._last - self._at[first]) / later if self._count > 1 else None
