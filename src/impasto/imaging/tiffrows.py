"""TIFF from the top in pieces of some rows, decoded strip by strip or tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels
from impasto.imaging.tiff import checked_page, to_pixels

__all__ = ["TiffRows"]

_LARGEST = 64 << 20  # bytes that a row of strips or tiles may decode to


class TiffRows:
    """The rows of a TIFF's first page, as `read_tiff` would read it, and with the same errors.

    Attributes:
        width, height: px, as stored.
        orientation: the EXIF value.
        in_pieces: whether it can be decoded so: not with LZW, nor where all is compressed in one.
        bytes: held of what is decoded at a time, or of all of it.
    """

    def __init__(self, file: BinaryIO, name: str, limits: Limits) -> None:
        self.name = name
        file.seek(0)
        self.page, self.wanted = checked_page(tifffile.TiffFile(file), name, limits)
        page = self.page
        self.width, self.height = int(page.imagewidth), int(page.imagelength)
        self.orientation = int(page.tags.valueof("Orientation") or 1)
        self.separate = page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        whole_bytes = page.bitspersample == 8 * page.dtype.itemsize
        plain = page.compression == tifffile.COMPRESSION.NONE and whole_bytes and page.predictor == 1
        self._plain = plain and not page.is_tiled and page.is_contiguous
        self._high = int(page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height))
        row = self.width * int(page.samplesperpixel) * page.dtype.itemsize
        lzw = page.compression == tifffile.COMPRESSION.LZW
        self.in_pieces = self._plain or (not lzw and row * self._high <= _LARGEST)
        if self._plain:
            self.bytes = 0
        elif self.in_pieces:
            self.bytes = 3 * row * self._high
        else:
            self.bytes = 3 * row * self.height + 2 * page.parent.filehandle.size

    def pieces(self, rows: int) -> Iterator[Pixels]:
        """So many rows at a time, or as many as a row of strips or tiles has."""
        for array in self._contiguous(rows) if self._plain else self._segments():
            for top in range(0, len(array), rows):
                yield to_pixels(array[top : top + rows], self.wanted, self.page, self.name)

    def _contiguous(self, rows: int) -> Iterator[NDArray[Any]]:
        page, samples = self.page, int(self.page.samplesperpixel)
        planes, inner = (samples, 1) if self.separate else (1, samples)
        dtype = page.dtype.newbyteorder(page.parent.byteorder)
        row = self.width * inner * dtype.itemsize
        for top in range(0, self.height, rows):
            count, parts = min(rows, self.height - top), []
            for plane in range(planes):
                page.parent.filehandle.seek(page.dataoffsets[0] + (plane * self.height + top) * row)
                data = page.parent.filehandle.read(count * row)
                parts.append(np.frombuffer(data, dtype).reshape(count, self.width, inner))
            yield np.concatenate(parts, axis=2).astype(page.dtype, copy=False)

    def _segments(self) -> Iterator[NDArray[Any]]:
        page, samples = self.page, int(self.page.samplesperpixel)
        planes, inner = (samples, 1) if self.separate else (1, samples)
        wide = int(page.tilewidth if page.is_tiled else self.width)
        across, down = math.ceil(self.width / wide), math.ceil(self.height / self._high)
        for i in range(down):
            count = min(self._high, self.height - i * self._high)
            out = np.zeros((count, self.width, samples), page.dtype)
            for plane in range(planes):
                for j in range(across):
                    part = self._segment((plane * down + i) * across + j)[:count, : self.width - j * wide]
                    out[:, j * wide : j * wide + part.shape[1], plane * inner : (plane + 1) * inner] = part
            yield out

    def _segment(self, index: int) -> NDArray[Any]:
        """A strip or tile, (n, w, samples of a plane)."""
        page = self.page
        page.parent.filehandle.seek(page.dataoffsets[index])
        data = page.parent.filehandle.read(page.databytecounts[index])
        array, _, _ = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        return cast("NDArray[Any]", array[0])  # of several depths the only one
