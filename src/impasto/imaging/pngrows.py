"""PNG from the top in pieces of some rows, each a PNG of its own: all that reads PNG reads them.

A row may be stored as its difference from the row above. So each piece is undone first, together with the last row of
the piece before it, as plain bytes with as many to a pixel as the file's have, which is all that the differences know
of pixels (PNG, third edition, section 9); what the bytes mean is left to the reader of the second file.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PngRows", "is_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_KIND = {1: 0, 2: 4, 3: 2, 4: 6}  # bytes to a pixel: the colour type that has so many with 8 bits
_OF_PIXELS = {b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT"}  # of animations the first picture alone
_PIECE = 1 << 16  # bytes read at a time
_MOST_HEAD = 1 << 24  # bytes of profiles and the like


def is_png(head: bytes) -> bool:
    """Whether a file begins as PNG does."""
    return head[:8] == SIGNATURE


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    offset: int  # of the data
    length: int


class PngRows:
    """The rows of a PNG. ValueError for a damaged file, as it is made or later.

    Attributes:
        width, height: px.
        interlaced: whether its rows are scattered over the file; it has no pieces then.
        clear: the bytes that tell which colours are transparent, if they are there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        chunks = list(_chunks(file))
        if not chunks or chunks[0].kind != b"IHDR" or chunks[0].length != 13:
            raise ValueError("no header")
        header = self._data(chunks[0])
        self.width, self.height, self.depth, self.kind, *_, interlace = struct.unpack(">2I5B", header)
        self._meaning = header[8:]
        self.interlaced = interlace != 0
        if self.kind not in _CHANNELS or self.depth not in (1, 2, 4, 8, 16):
            raise ValueError(f"colour type {self.kind} with {self.depth} bits")
        bits = self.depth * _CHANNELS[self.kind]
        self.row = -(-self.width * bits // 8)  # bytes
        self.pixel = max(1, bits // 8)
        self._image = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
        self.clear = next((self._data(chunk) for chunk in chunks if chunk.kind == b"tRNS"), None)
        about = [chunk for chunk in chunks[1:] if chunk.kind not in _OF_PIXELS]
        if sum(chunk.length for chunk in about) > _MOST_HEAD:
            raise ValueError("too much beside the picture")
        self._about = b"".join(_chunk(chunk.kind, self._data(chunk)) for chunk in about)

    def pieces(self, rows: int) -> Iterator[bytes]:
        """PNG files of so many rows at most, one below the other, with all that the file says besides."""
        for raw in self.raw(rows):
            yield _png(self.width, len(raw), self._meaning, self._about, _marked(raw).tobytes())

    def raw(self, rows: int) -> Iterator[NDArray[np.uint8]]:
        """(n, bytes) of so many rows at most; not of interlaced files."""
        unpack, above = _Unpacked(self), np.zeros((1, self.row), np.uint8)
        for top in range(0, self.height, rows):
            count = min(rows, self.height - top)
            undone = self._undone(above, unpack.read(count * (1 + self.row)), count)
            above = undone[-1:]
            yield undone

    def first(self) -> bytes:
        """A PNG file of one row that says all that the file does; its colours mean nothing."""
        blank = np.zeros((1, self.row), np.uint8)
        return _png(self.width, 1, self._meaning, self._about, _marked(blank).tobytes())

    def _undone(self, above: NDArray[np.uint8], filtered: bytes, count: int) -> NDArray[np.uint8]:
        """Differences of some rows and the row above them, (1, n) -> what they are differences of, (count, n)."""
        rows = np.concatenate([_marked(above), np.frombuffer(filtered, np.uint8).reshape(count, -1)])
        if self.pixel <= 4:
            return _by_pillow(rows, self.pixel)[1:]
        # No pixel that Pillow decodes whole has 6 or 8 bytes; but of a pixel each byte has its own differences.
        halves = np.split(rows[:, 1:].reshape(1 + count, -1, self.pixel), 2, axis=2)
        undone = [
            _by_pillow(np.concatenate([rows[:, :1], half.reshape(1 + count, -1)], axis=1), self.pixel // 2)
            for half in halves
        ]
        apart = [half.reshape(1 + count, -1, self.pixel // 2) for half in undone]
        return np.concatenate(apart, axis=2).reshape(1 + count, self.row)[1:]

    def _data(self, chunk: _Chunk) -> bytes:
        self.file.seek(chunk.offset)
        data = self.file.read(chunk.length + 4)
        if len(data) < chunk.length + 4:
            raise ValueError("cut short")
        if zlib.crc32(chunk.kind + data[:-4]) != int.from_bytes(data[-4:], "big"):
            raise ValueError(f"the checksum of {chunk.kind!r} is wrong")
        return data[:-4]

    def packed(self) -> Iterator[bytes]:
        """The compressed picture, piece by piece."""
        for chunk in self._image:
            self.file.seek(chunk.offset)
            left, crc = chunk.length, zlib.crc32(chunk.kind)
            while left:
                data = self.file.read(min(left, _PIECE))
                if not data:
                    raise ValueError("cut short")
                left, crc = left - len(data), zlib.crc32(data, crc)
                yield data
            if crc != int.from_bytes(self.file.read(4), "big"):
                raise ValueError("the checksum of a part of the picture is wrong")


class _Unpacked:
    """The bytes of a compressed picture, as many as are asked for."""

    def __init__(self, rows: PngRows) -> None:
        self._packed, self._unpack, self._rest = rows.packed(), zlib.decompressobj(), b""

    def read(self, count: int) -> bytes:
        """The next bytes; ValueError if there are no more."""
        out = bytearray()
        while len(out) < count:
            self._rest = self._rest or next(self._packed, b"")
            if not self._rest:
                raise ValueError("cut short")
            try:
                out += self._unpack.decompress(self._rest, count - len(out))
            except zlib.error as error:
                raise ValueError(str(error)) from error
            self._rest = self._unpack.unconsumed_tail
        return bytes(out)


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    end = file.seek(0, 2)
    place = len(SIGNATURE)
    while place + 12 <= end:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if place + 12 + length > end:
            raise ValueError("cut short")
        yield _Chunk(kind, place + 8, length)
        if kind == b"IEND":
            return
        place += 12 + length


def _marked(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, bytes) as PNG stores rows that are no differences."""
    return np.concatenate([np.zeros((len(rows), 1), np.uint8), rows], axis=1)


def _by_pillow(rows: NDArray[np.uint8], pixel: int) -> NDArray[np.uint8]:
    """Rows (n, 1 + bytes) as PNG stores them, 1 to 4 bytes to a pixel -> what they are differences of, (n, bytes)."""
    meaning = bytes((8, _KIND[pixel], 0, 0, 0))
    container = _png((rows.shape[1] - 1) // pixel, len(rows), meaning, b"", rows.tobytes())
    with Image.open(io.BytesIO(container), formats=["PNG"]) as image:
        return np.asarray(image).reshape(len(rows), -1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, meaning: bytes, about: bytes, rows: bytes) -> bytes:
    """A PNG file, hardly compressed; `meaning` is what its header says after the size, without interlacing."""
    header = _chunk(b"IHDR", struct.pack(">2I", width, height) + meaning[:4] + b"\0")
    return SIGNATURE + header + about + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
