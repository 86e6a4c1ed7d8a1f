"""PNG with 16 bits per channel, which Pillow would cut to 8."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import MissingExtraError
from impasto.imaging.colour_tags import container_profile, exif_profile
from impasto.imaging.formats import load_imagecodecs
from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels, exif_orientation
from impasto.imaging.pngrows import PngRows

__all__ = ["encode_png16", "insert_chunks", "is_png16", "read_png16"]

_AFTER_HEADER = 33  # signature 8, IHDR 25
_ROWS = 64  # at a time


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
    array = _decoded(data)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] in (2, 4):
        return Pixels(array[:, :, :-1], array[:, :, -1], profile, orientation)
    return Pixels(array, None, profile, orientation)


def _decoded(data: bytes) -> NDArray[np.uint16]:
    """(H, W) or (H, W, 2 to 4): by libpng, where imagecodecs is installed."""
    try:
        array: NDArray[np.uint16] = load_imagecodecs("an interlaced PNG of 16 bits per channel").png_decode(data)
        return array
    except MissingExtraError:
        png = PngRows(io.BytesIO(data))
        if png.interlaced:
            raise
    raw = np.concatenate(list(png.raw(_ROWS)))
    array = raw.view(">u2").astype(np.uint16).reshape(png.height, png.width, -1)
    if png.clear is None:
        return array
    seen = (array != np.frombuffer(png.clear, ">u2")).any(axis=2, keepdims=True)
    return np.concatenate([array, seen * np.uint16(65535)], axis=2)


def encode_png16(array: NDArray[Any], compression: int, profile: bytes) -> bytes:
    """(H, W, 3 or 4) uint16 -> a PNG file with the profile in it."""
    try:
        data = bytes(load_imagecodecs("PNG").png_encode(array, level=compression))
    except MissingExtraError:
        return _encoded(array, compression, profile)
    return insert_chunks(data, [_profile(profile)])  # libpng's wrapper has no argument for it


def png_of(size: tuple[int, int], bits: int, channels: int, packed: bytes, profile: bytes) -> bytes:
    """A PNG of (height, width) from its rows as they are stored, packed, with a profile."""
    kind = {3: 2, 4: 6}[channels]
    header = struct.pack(">2I5B", size[1], size[0], bits, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), _profile(profile), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))


def _profile(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"sRGB\0\0" + zlib.compress(profile, 9)


def _encoded(array: NDArray[np.uint16], compression: int, profile: bytes) -> bytes:
    """The same file without libpng, perhaps a little larger."""
    height, width, channels = array.shape
    rows = np.vstack(
        [np.zeros((1, width * channels * 2), np.uint8), array.astype(">u2").view(np.uint8).reshape(height, -1)]
    )
    pack = zlib.compressobj(compression)
    packed = [pack.compress(_differences(rows[top : top + _ROWS + 1], 2 * channels)) for top in range(0, height, _ROWS)]
    return png_of((height, width), 16, channels, b"".join(packed) + pack.flush(), profile)


def _differences(rows: NDArray[np.uint8], pixel: int) -> bytes:
    """(1 + n, bytes) -> n rows as PNG stores them (third edition, section 9), each by the rule that leaves least.

    Without that of averages, and with the bytes' distances from 0 as what is left, as libpng has it.
    """
    above, here = rows[:-1], rows[1:]
    left, corner = (np.pad(part, ((0, 0), (pixel, 0)))[:, : part.shape[1]] for part in (here, above))
    a, b, c = left.astype(np.int16), above.astype(np.int16), corner.astype(np.int16)
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, above, corner))
    tried = {0: here, 1: here - left, 2: here - above, 4: here - paeth}
    cost = [np.abs(part.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64) for part in tried.values()]
    best = np.argmin(cost, axis=0)
    kinds = np.array(list(tried), np.uint8)[best]
    stored = np.stack(list(tried.values()))[best, np.arange(len(here))]
    return np.concatenate([kinds[:, None], stored], axis=1).tobytes()


def insert_chunks(png: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The PNG with chunks of these kinds and contents between its header and all that follows."""
    more = b"".join(map(_chunk, chunks))
    return png[:_AFTER_HEADER] + more + png[_AFTER_HEADER:] if more else png


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, content = chunk
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
