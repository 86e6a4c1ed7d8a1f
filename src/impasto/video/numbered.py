"""A film as numbered pictures, in and out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from impasto.errors import ImageError
from impasto.files import expand_pattern, shown
from impasto.imaging import read
from impasto.imaging.naming import is_photo
from impasto.video.film import FilmFacts, FilmReader, Frame, Sound, as_bytes

__all__ = ["PicturesReader", "find_pictures", "number_of"]

TICKS: Final = 1000  # of a picture's duration in one time base, so that rates such as 30000/1001 are exact


def find_pictures(source: str | os.PathLike[str]) -> list[Path]:
    """The pictures of a folder or a pattern, in the order of the last number in their names.

    Raises:
        ImageError: there are none.
    """
    folder = Path(source)
    found = sorted(folder.iterdir()) if folder.is_dir() else expand_pattern(source)
    pictures = [path for path in found if path.is_file() and is_photo(path.name)]
    if not pictures:
        raise ImageError(f"{shown(source)}: no pictures are there, need some such as 0001.png")
    return sorted(pictures, key=lambda path: (number_of(path), path.name))


def number_of(path: Path) -> int:
    """The last number in a file's name; -1 where there is none.

    >>> number_of(Path("shot2_0041.png"))
    41
    """
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else -1


class PicturesReader(FilmReader):
    """Numbered pictures, one after the other at one rate; all are brought to the size of the first."""

    def __init__(self, paths: Sequence[Path], rate: Fraction, name: str) -> None:
        self._paths, self.name, self.notes = paths, name, list[str]()
        first = read(paths[0])
        self.facts = FilmFacts(
            name, (first.height, first.width), 1 / (rate * TICKS), rate, len(paths), float(len(paths) / rate),
            first.alpha is not None,
        )  # fmt: skip

    def items(
        self, begin: Fraction = Fraction(0), end: Fraction | None = None, *, decode: bool = True
    ) -> Iterator[Frame | Sound]:
        """See `FilmReader`."""
        if not decode:
            return
        first = round(begin / self.facts.time_base)
        stop = None if end is None else round(end / self.facts.time_base)
        for number, path in enumerate(self._paths):
            at = number * TICKS
            if at + TICKS <= first or (stop is not None and at >= stop):
                continue
            picture, size = read(path), self.facts.size
            if (picture.height, picture.width) != size:
                note = f"{self.name}: its pictures differ in size; all are brought to {size[1]}x{size[0]} px"
                self.notes += [note] if note not in self.notes else []
                picture = picture.resized(size)
            alpha = None if picture.alpha is None else as_bytes(picture.alpha)
            yield Frame(as_bytes(picture.rgb), max(0, at - first), TICKS, alpha)

    def close(self) -> None:
        """See `FilmReader`; no file stays open."""
