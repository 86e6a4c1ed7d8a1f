"""The pixels of a picture in a file instead of in memory."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.files import ScratchFile
from impasto.imaging.metadata import Metadata
from impasto.imaging.pixels import to_floats

__all__ = ["PixelFile", "Strips"]

_BEGIN = 512  # bytes, where the pixels begin in a file that has a name


class PixelFile:
    """Pixels (H, W, C), uint8 or uint16, in a file without compression; `folder` and `path` as of `ScratchFile`.

    One with a name is a TIFF, RGB or RGBA, that any program opens when all of it is written. `rows` of it are there
    already; DataError if not.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        bits: int,
        folder: str | os.PathLike[str] | None = None,
        *,
        path: Path | None = None,
        rows: int = 0,
    ) -> None:
        (self.height, self.width), self.channels, self.bits = size, channels, bits
        self.file = ScratchFile(folder, path=path)
        self._begin = 0 if path is None else _BEGIN
        if path is not None:
            self.file.check(rows and self._begin + rows * self.bytes // self.height)
            self.file.write(0, memoryview(self._tiff_header().ljust(_BEGIN, b"\0")))

    def _tiff_header(self) -> bytes:
        """A BigTIFF of one strip (TIFF 6.0, section 8, with 64-bit offsets; alpha is not premultiplied)."""
        depths = struct.pack(f"<{self.channels}H", *[self.bits] * self.channels)
        entries: list[tuple[int, int, int, bytes]] = [  # tag, type (3 is 16 bits, 4 is 32, 16 is 64), count, value
            (256, 4, 1, struct.pack("<I", self.width)),
            (257, 4, 1, struct.pack("<I", self.height)),
            (258, 3, self.channels, depths),
            (259, 3, 1, struct.pack("<H", 1)),  # no compression
            (262, 3, 1, struct.pack("<H", 2)),  # RGB
            (273, 16, 1, struct.pack("<Q", _BEGIN)),
            (277, 3, 1, struct.pack("<H", self.channels)),
            (278, 4, 1, struct.pack("<I", self.height)),  # rows of a strip
            (279, 16, 1, struct.pack("<Q", self.bytes)),
        ]
        if self.channels == 4:
            entries.append((338, 3, 1, struct.pack("<H", 2)))
        table = b"".join(struct.pack("<HHQ", *entry[:3]) + entry[3].ljust(8, b"\0") for entry in entries)
        return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries)) + table

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.bits == 16 else np.uint8)

    @property
    def bytes(self) -> int:
        """How much the pixels take."""
        return self.height * self.width * self.channels * self._dtype.itemsize

    def write(self, top: int, block: NDArray[Any], left: int = 0) -> None:
        """Put (n, m, C) there; OutputError if the disk has no room."""
        pixel = self.channels * self._dtype.itemsize
        data = np.ascontiguousarray(block, self._dtype)
        if data.shape[1] == self.width:
            self.file.write(self._begin + top * self.width * pixel, _raw(data))
            return
        for row, line in enumerate(data, top):
            self.file.write(self._begin + (row * self.width + left) * pixel, _raw(line))

    def read(self, top: int, bottom: int) -> NDArray[Any]:
        """Rows `top` to `bottom` (excluded), (n, W, C)."""
        rows = np.empty((bottom - top, self.width, self.channels), self._dtype)
        self.file.read(self._begin + top * self.width * self.channels * self._dtype.itemsize, _raw(rows))
        return rows

    def __enter__(self) -> PixelFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


def _raw(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


@dataclass(frozen=True, eq=False)
class Strips:
    """A picture that is decoded, upright and in sRGB; what `Picture` holds in memory is read from a file by rows.

    Attributes:
        pixels: grey or RGB, then straight alpha if there is any.
        bits: 8 or 16, the depth that it came with.
        name: the file's name without folders.
        metadata: what its file said besides.
    """

    pixels: PixelFile
    bits: int
    name: str
    metadata: Metadata = field(default_factory=Metadata)

    @property
    def height(self) -> int:
        """In px."""
        return self.pixels.height

    @property
    def width(self) -> int:
        """In px."""
        return self.pixels.width

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is alpha."""
        return self.pixels.channels in (2, 4)

    def read(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Colours of some rows, (n, W, 3) float32 in [0, 1]."""
        array = self.pixels.read(top, bottom)
        return to_floats(array[:, :, :-1] if self.has_alpha else array, 3)

    def read_alpha(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Alpha of some rows, (n, W) float32 in [0, 1]; only where there is any."""
        return to_floats(self.pixels.read(top, bottom)[:, :, -1:], 1)[:, :, 0]
