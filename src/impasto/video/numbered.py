"""A film as numbered pictures, in and out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from impasto.errors import ImageError, OptionError
from impasto.files import expand_pattern, is_pattern, shown
from impasto.imaging import read
from impasto.imaging.naming import is_photo
from impasto.video.film import FilmFacts, FilmReader, Frame, Sound, as_bytes

__all__ = ["NumberedPaths", "PicturesReader", "find_pictures", "is_numbered", "number_of"]

TICKS: Final = 1000  # of a picture's duration in one time base, so that rates such as 30000/1001 are exact


@dataclass(frozen=True)
class NumberedPaths:
    """Paths of one folder, such as ``painted/%05d.jpg`` stands for.

    Attributes:
        folder: that they lie in.
        name: of each, with a number's place.
    """

    folder: Path
    name: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> NumberedPaths | None:
        """Those that a path with a number's place in its name stands for; None where it has no such place."""
        folder, name = Path(path).parent, Path(path).name
        return cls(folder, name) if re.fullmatch(r"[^%]*%\d{0,2}d[^%]*", name) else None

    @classmethod
    def of_output(cls, path: str) -> NumberedPaths:
        """Those that are written: in a folder 000001.png and so on. OptionError for a % that is no number's place."""
        if path.endswith(("/", os.sep)) or "%" not in Path(path).name or Path(path).is_dir():
            return cls(Path(path), "%06d.png")
        if (found := cls.of(path)) is None:
            raise OptionError(f"{shown(path)}: write the number's place as %05d", "output")
        return found

    def path(self, number: int) -> str:
        """That with this number."""
        return str(self.folder / (self.name % number))

    def existing(self) -> dict[int, Path]:
        """Those that are there, by their numbers, in order."""
        before, after = re.split(r"%\d*d", self.name)
        found = {}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            match = re.fullmatch(f"{re.escape(before)} *([0-9]+){re.escape(after)}", path.name)
            if match is not None and self.name % int(match[1]) == path.name:
                found[int(match[1])] = path
        return dict(sorted(found.items()))

    def others(self, last: int, inputs: Sequence[str]) -> list[Path]:
        """Numbered pictures beside those from 1 to `last`, of whatever numbering, but for those that are read."""
        read = {Path(name).resolve() for name in inputs}
        for name in filter(is_numbered, inputs):
            with suppress(ImageError):  # a style, say, whose name only looks like a pattern
                read |= {path.resolve() for path in find_pictures(name)}
        own = {self.name % number for number in range(1, last + 1)}
        found = (path for path in sorted(self.folder.iterdir()) if path.name not in own and is_photo(path.name))
        return [path for path in found if number_of(path) >= 0 and path.is_file() and path.resolve() not in read]


def is_numbered(source: str | os.PathLike[str]) -> bool:
    """Whether a film's name is that of a folder, or stands for several pictures."""
    path = Path(source)
    return path.is_dir() or is_pattern(source) or (NumberedPaths.of(source) is not None and not path.exists())


def find_pictures(source: str | os.PathLike[str]) -> list[Path]:
    """The pictures of a folder or a pattern, in the order of the last number in their names.

    A pattern is ``frames/*.png``, or ``frames/%05d.png``, whose pictures are in the order of that number.

    Raises:
        ImageError: there are none.
    """
    folder, numbered = Path(source), NumberedPaths.of(source)
    if folder.exists() or is_pattern(source):
        numbered = None
    if numbered is not None:
        found = list(numbered.existing().values())
    else:
        found = sorted(folder.iterdir()) if folder.is_dir() else expand_pattern(source)
        found.sort(key=lambda path: (number_of(path), path.name))
    pictures = [path for path in found if path.is_file() and is_photo(path.name)]
    if not pictures:
        raise ImageError(_none_there(source, numbered))
    return pictures


def _none_there(source: str | os.PathLike[str], numbered: NumberedPaths | None) -> str:
    """That there are no pictures, what they are called that are wanted, and such as are there."""
    if numbered is None:
        return f"{shown(source)}: no pictures are there, need some such as 0001.png"
    before, after = re.split(r"%\d*d", numbered.name)
    alike = re.compile(f"{re.escape(before)}[0-9]+{re.escape(after)}")
    there = numbered.folder.iterdir() if numbered.folder.is_dir() else ()
    others = sorted(path.name for path in there if alike.fullmatch(path.name))
    told = f"{shown(source)}: no pictures are there, need some such as {shown(numbered.name % 1)}"
    return f"{told}; {shown(others[0])} is there: write as many digits as it has" if others else told


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
            alpha, early = None if picture.alpha is None else as_bytes(picture.alpha), max(0, first - at)
            yield Frame(as_bytes(picture.rgb), max(0, at - first), TICKS - early, alpha)

    def close(self) -> None:
        """See `FilmReader`; no file stays open."""
