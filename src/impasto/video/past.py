"""Of the frames gone by, a few that reach far back: the nearest are close together, the others ever further apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar

__all__ = ["Past"]

T = TypeVar("T")
LEVELS: Final = 5  # frames up to 2 ** (LEVELS + 1) - 1 back: about two seconds and a half


class Past(Generic[T]):
    """Keeps some of the things that it is given, one of each frame.

    There is always one that is 2 or 3 frames old, one of 4 to 7, one of 8 to 15, and so on. Which they are depends on
    the number of the frame alone, so that two of these, of the same film, keep the same frames. One more is kept than
    there are levels.

    Attributes:
        count: frames that were given so far.
    """

    def __init__(self, levels: int = LEVELS) -> None:
        self._levels = levels
        self.count = 0
        self._kept: dict[int, T] = {}

    def add(self, thing: T) -> None:
        """That of the next frame."""
        number, self.count = self.count, self.count + 1
        if self._lasts(number):
            self._kept[number] = thing
        self._kept = {one: kept for one, kept in self._kept.items() if self.count < one + self._lasts(one)}

    def older(self) -> Iterator[tuple[int, T]]:
        """What is kept, the newest first, each with the number of its frame; not that of the last frame."""
        for level in range(1, self._levels + 1):
            number = (self.count >> level << level) - (1 << level)
            if number in self._kept:
                yield number, self._kept[number]

    def __getitem__(self, number: int) -> T:
        """That of a frame which `older` names."""
        return self._kept[number]

    def state(self) -> dict[int, T]:
        """All that is kept, for `load_state`."""
        return dict(self._kept)

    def load_state(self, state: Mapping[int, T], count: int) -> None:
        """Go on from where another was after so many frames."""
        self._kept, self.count = dict(state), count

    def _lasts(self, number: int) -> int:
        """After how many frames one is of no more use; 0 where it never is."""
        level = self._levels if number == 0 else min(self._levels, (number & -number).bit_length() - 1)
        return 1 << level + 1 if level else 0
