"""PNG with 16 bits per channel, which Pillow would cut to 8."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import imagecodecs
from numpy.typing import NDArray
from PIL import Image

from impasto.imaging.colour_tags import container_profile, exif_profile
from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels, exif_orientation

__all__ = ["encode_png16", "insert_chunks", "is_png16", "read_png16"]

_AFTER_HEADER = 33  # signature 8, IHDR 25


def is_png16(head: bytes) -> bool:
    """Whether the first bytes of a file are a PNG header that announces 16 bits per channel."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR" and head[24:25] == b"\x10"


def read_png16(file: BinaryIO, name: str, limits: Limits) -> Pixels:
    """Grey, grey with alpha, RGB or RGBA; a transparent colour (tRNS) becomes alpha."""
    data = file.read()
    file.seek(0)
    with Image.open(file, formats=["PNG"]) as header:
        limits.check(name, *header.size)
        profile = container_profile(header)
        # asking Pillow for the EXIF of a PNG decodes it, so only where there is one
        told = b"eXIf" in data or b"Orientation" in data
        orientation = exif_orientation(header) if told else 1
        profile = profile or (exif_profile(header) if told else None)
    array = imagecodecs.png_decode(data)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] in (2, 4):
        return Pixels(array[:, :, :-1], array[:, :, -1], profile, orientation)
    return Pixels(array, None, profile, orientation)


def encode_png16(array: NDArray[Any], compression: int, profile: bytes) -> bytes:
    """(H, W, 3 or 4) uint16 -> a PNG file with the profile in it."""
    data: Any = imagecodecs.png_encode(array, level=compression)
    # libpng's wrapper has no argument for a profile
    return insert_chunks(bytes(data), [(b"iCCP", b"sRGB\0\0" + zlib.compress(profile, 9))])


def insert_chunks(png: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The PNG with chunks of these kinds and contents between its header and all that follows."""
    bodies = [kind + content for kind, content in chunks]
    more = b"".join(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in bodies)
    return png[:_AFTER_HEADER] + more + png[_AFTER_HEADER:] if more else png
