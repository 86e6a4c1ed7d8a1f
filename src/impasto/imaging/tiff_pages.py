"""Which of the pages of a TIFF is the picture, and what is said about it in other places of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from impasto.imaging.colour_tags import exif_profile, tiff_profile

__all__ = ["TiffPage", "count_full", "find_picture"]

_MOST_PAGES = 32  # that are looked at
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType (TIFF 6.0, section 8)
_OLD_REDUCED = 2  # value of SubfileType, its forerunner


@dataclass(frozen=True, eq=False)
class TiffPage:
    """A page as tifffile has it, and its place: the number of the page and of the SubIFD within it, -1 for none."""

    page: Any
    first: Any
    place: tuple[int, int] = (0, -1)

    def tag(self, code: int | str) -> Any:
        """A tag's value; what a SubIFD does not say, the file's first page says for it."""
        value = self.page.tags.valueof(code)
        return self.first.tags.valueof(code) if value is None and self.place[1] >= 0 else value

    @property
    def orientation(self) -> int:
        """The tag's value, 1 to 8; 1, upright, where it is not said."""
        return int(self.tag("Orientation") or 1)

    @property
    def area(self) -> int:
        """In px."""
        return int(self.page.imagewidth) * int(self.page.imagelength)

    def profile(self, file: BinaryIO) -> bytes | None:
        """The ICC profile, embedded or made from the tags for colour or from EXIF."""
        embedded = self.tag("InterColorProfile")
        if isinstance(embedded, bytes) and embedded:
            return embedded
        white, primaries = self.tag("WhitePoint"), self.tag("PrimaryChromaticities")
        told = tiff_profile(white, primaries, self.tag("TransferFunction"))
        return told or (exif_profile(file) if "ExifTag" in self.first.tags else None)


def find_picture(tiff: Any, readable: frozenset[Any]) -> TiffPage:
    """The first page, unless it is marked as a small copy, or one of its SubIFDs is larger and not marked so.

    Cameras and scanners put a thumbnail first. `readable` are the photometric kinds that we could read; of several
    full pictures the first of them is taken.
    """
    first = TiffPage(tiff.pages.first, tiff.pages.first)
    if "SubIFDs" not in first.page.tags and not _is_small(first.page):
        return first
    full = [one for one in _others(tiff, first) if not _is_small(one.page)]
    if not _is_small(first.page):
        full = [one for one in full if one.place[0] == 0 and one.area > first.area]
    known = [one for one in full if one.page.photometric in readable]
    return (known or full or [first])[0]


def count_full(tiff: Any) -> int:
    """How many pages are marked neither as a small copy nor as a mask, of those that can be understood."""
    first = TiffPage(tiff.pages.first, tiff.pages.first)
    pages = [first, *(one for one in _others(tiff, first) if one.place[0])]
    return sum(not _is_small(one.page) for one in pages)


def _others(tiff: Any, first: TiffPage) -> Iterator[TiffPage]:
    """The first page's SubIFDs, then the pages after it, as far as they can be understood."""
    with suppress(Exception):  # a damaged thumbnail must not cost the picture
        for number, page in enumerate(islice(first.page.pages or (), _MOST_PAGES)):
            yield TiffPage(page, first.page, (0, number))
    with suppress(Exception):
        for number, page in enumerate(islice(tiff.pages, 1, _MOST_PAGES), 1):
            yield TiffPage(page, first.page, (number, -1))


def _is_small(page: Any) -> bool:
    """Whether a page is marked as a copy of less resolution, or as a mask."""
    marks = page.tags.valueof("NewSubfileType")
    if isinstance(marks, int):
        return bool(int(marks) & (_REDUCED | _MASK))
    return bool(page.tags.valueof("SubfileType") == _OLD_REDUCED)
