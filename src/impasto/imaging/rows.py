"""Pictures of every kind from the top, some rows at a time, as far as their formats allow it."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.files import shown
from impasto.imaging.formats import is_heif, is_tiff
from impasto.imaging.guards import Limits, decoding
from impasto.imaging.metadata_files import find_metadata
from impasto.imaging.opening import first_bytes, open_source
from impasto.imaging.picture import Picture, is_tensor
from impasto.imaging.pixels import Pixels, exif_orientation, from_pillow
from impasto.imaging.pngrows import PngRows, is_png
from impasto.imaging.reading import Header, as_picture, decode, header_of, identified

__all__ = ["Piece", "Rows", "open_rows"]

Piece = tuple[NDArray[np.float32], NDArray[np.float32] | None]
"""Rows of a picture as stored: (n, W, 3) sRGB, and (n, W) alpha or None, float32 in [0, 1]."""

_HELD = {"JPEG": 4, "GIF": 8, "BMP": 8}  # bytes per pixel that Pillow holds at most; others keep several copies
_HELD_BY_OTHERS = 16


class Rows(ABC):
    """A picture that is not decoded yet.

    Attributes:
        label: what messages call it.
        name, bits: see `Picture`.
        header: its size and orientation.
        kind: its format.
    """

    kind = "its kind"
    bits = 8

    def __init__(self, label: str, name: str, header: Header) -> None:
        self.label, self.name, self.header = label, name, header

    @abstractmethod
    def whole(self) -> Picture:
        """All of it, as `read` or `as_picture` gives it."""

    def prepare(self) -> None:  # noqa: B027  most need nothing
        """Learn what else there is to know before `pieces` and `held`."""

    @abstractmethod
    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        """Its rows from the top, so many at a time; of a JPEG shrunk to no less than (height, width) as stored."""

    @abstractmethod
    def held(self, least: tuple[int, int]) -> int:
        """Bytes that are held of all of it meanwhile."""


class _InFile(Rows):
    """One in a file; `decode` reads all of it."""

    def __init__(self, file: BinaryIO, label: str, name: str, header: Header, limits: Limits) -> None:
        super().__init__(label, name, header)
        self.file, self.limits = file, limits

    def whole(self) -> Picture:
        self.file.seek(0)
        pixels = decode(self.file, self.label, self.limits)
        rgb, alpha = pixels.develop()
        return Picture(rgb, alpha, pixels.bits, self.name, metadata=find_metadata(self.file))

    def _developed(self, pixels: Pixels, rows: int) -> Iterator[Piece]:
        """What is decoded, in pieces of so many rows, as it is stored."""
        self.bits = pixels.bits
        for top in range(0, len(pixels.colour), rows):
            part = slice(top, top + rows)
            alpha = None if pixels.alpha is None else pixels.alpha[part]
            yield replace(pixels, colour=pixels.colour[part], alpha=alpha, orientation=1).develop()


class _Png(_InFile):
    kind = "PNG"

    @cached_property
    def png(self) -> PngRows:
        return PngRows(self.file)

    def prepare(self) -> None:
        """The orientation may stand after the pixels."""
        first = decode(io.BytesIO(self.png.first()), self.label, Limits(self.limits.max_megapixels, 1))
        self.header, self.bits = replace(self.header, orientation=first.orientation), first.bits

    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        files: Iterator[BinaryIO] = map(io.BytesIO, self.png.pieces(rows)) if self._in_pieces else iter([self.file])
        self.file.seek(0)
        for file in files:
            pixels = decode(file, self.label, Limits(self.limits.max_megapixels, 1))
            yield from self._developed(pixels, rows)

    @property
    def _in_pieces(self) -> bool:
        return not self.png.interlaced

    def held(self, least: tuple[int, int]) -> int:
        deep = self.png.depth == 16
        return 0 if self._in_pieces else (16 if deep else 12) * self.header.height * self.header.width


class _Tiff(_InFile):
    kind = "TIFF"

    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        from impasto.imaging.tiff import tiff_strips

        self.file.seek(0)
        for pixels in tiff_strips(self.file, self.label):
            yield from self._developed(pixels, rows)

    def held(self, least: tuple[int, int]) -> int:
        from impasto.imaging.tiff import strip_bytes

        self.file.seek(0)
        return 3 * strip_bytes(self.file)


class _Whole(_InFile):
    """One whose library knows no parts."""

    kind = "HEIC or AVIF"

    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        self.file.seek(0)
        yield from self._developed(decode(self.file, self.label, self.limits), rows)

    def held(self, least: tuple[int, int]) -> int:
        return _HELD_BY_OTHERS * self.header.height * self.header.width


class _ByPillow(_InFile):
    """One that Pillow decodes whole, a JPEG as much smaller as it may be."""

    def __init__(self, file: BinaryIO, label: str, name: str, header: Header, limits: Limits, head: bytes) -> None:
        super().__init__(file, label, name, header, limits)
        self.head = head

    def _image(self, least: tuple[int, int]) -> Image.Image:
        self.file.seek(0)
        image = identified(self.file, self.head)
        image.draft(image.mode, (least[1], least[0]))
        return image

    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        with self._image(least) as image:
            image.load()
            for top in range(0, image.height, rows):
                part = image.crop((0, top, image.width, min(image.height, top + rows)))
                yield from self._developed(from_pillow(part, self.label), rows)

    def held(self, least: tuple[int, int]) -> int:
        pixels = self.header.height * self.header.width
        with self._image(least) as image:
            self.kind = str(image.format)
            held = _HELD.get(self.kind, _HELD_BY_OTHERS) * image.height * image.width
            if image.info.get("progressive"):  # all its scans are gathered before the first row is known
                held += 2 * len(image.getbands()) * pixels
        return held


class _InMemory(Rows):
    """A PIL image, array or tensor; anything else is whole already, or nothing that can be read."""

    def __init__(self, image: Any, limits: Limits) -> None:
        self.image, self.limits = image, limits
        name, header = type(image).__name__, Header(0, 0)
        if isinstance(image, Image.Image):
            name = Path(os.fsdecode(getattr(image, "filename", ""))).name or "image"
            header = Header(*image.size, exif_orientation(image))
        elif is_tensor(image) and image.ndim in (3, 4):
            name, header = "tensor", Header(image.shape[-1], image.shape[-2])
        elif isinstance(image, np.ndarray) and image.ndim in (2, 3):
            name, header = "array", Header(image.shape[1], image.shape[0])
        super().__init__(shown(name), name, header)
        if header.width:
            limits.check(self.label, header.width, header.height)

    def whole(self) -> Picture:
        return as_picture(self.image, max_megapixels=self.limits.max_megapixels, min_side=self.limits.min_side)

    def pieces(self, rows: int, least: tuple[int, int]) -> Iterator[Piece]:
        for top in range(0, self.header.height, rows):
            bottom = min(self.header.height, top + rows)
            if isinstance(self.image, Image.Image):
                with decoding(self.label):
                    pixels = from_pillow(self.image.crop((0, top, self.header.width, bottom)), self.label)
                    self.bits = pixels.bits
                    yield replace(pixels, orientation=1).develop()
                continue
            part = self.image[..., top:bottom, :] if is_tensor(self.image) else self.image[top:bottom]
            picture = as_picture(part, max_megapixels=self.limits.max_megapixels, min_side=1)
            self.bits = picture.bits
            yield picture.rgb, picture.alpha

    def held(self, least: tuple[int, int]) -> int:
        return 0


@contextmanager
def open_rows(image: Any, limits: Limits) -> Iterator[Rows]:
    """A picture of any kind that `as_picture` takes, checked against the limits; errors are those of `as_picture`."""
    if not (isinstance(image, str | os.PathLike) or hasattr(image, "read")):
        yield _InMemory(image, limits)
        return
    file, name = open_source(image)
    label = shown(image if isinstance(image, str | os.PathLike) else name)
    with file, decoding(label):
        head = first_bytes(file, label)
        header = header_of(file, head, label)
        limits.check(label, header.width, header.height)
        if is_png(head):
            yield _Png(file, label, name, header, limits)
        elif is_tiff(head):
            yield _Tiff(file, label, name, header, limits)
        elif is_heif(head) or head[4:8] == b"ftyp":
            yield _Whole(file, label, name, header, limits)
        else:
            yield _ByPillow(file, label, name, header, limits, head)
