"""Small pictures, and files of every kind made from them, for the tests of imaging."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.imaging import Picture

WIDTH, HEIGHT = 48, 36


def gradient() -> NDArray[np.uint8]:
    """(36, 48, 3), smooth, and different under every flip and turn."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), 40 + (x * y) * 150 / (WIDTH * HEIGHT)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def gradient16() -> NDArray[np.uint16]:
    """The same with low bits that 8-bit handling would lose."""
    noise = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    return gradient().astype(np.uint16) * 256 + noise


def ramp_alpha(dtype: type = np.uint8) -> NDArray[Any]:
    """(36, 48), from clear on the left to opaque on the right."""
    top = np.iinfo(dtype).max
    return np.tile(np.linspace(0, top, WIDTH).round().astype(dtype), (HEIGHT, 1))


def with_alpha(colour: NDArray[Any]) -> NDArray[Any]:
    return np.dstack([colour, ramp_alpha(colour.dtype.type)])


def array_of(picture: Picture) -> NDArray[np.float32]:
    """(H, W, 3) floats."""
    return picture.rgb


def alpha_of(picture: Picture) -> NDArray[np.float32]:
    assert picture.alpha is not None
    return picture.alpha


def saved(image: Image.Image | NDArray[Any], fmt: str, **options: Any) -> bytes:
    """The bytes that Pillow (or pillow-heif) writes."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    if fmt == "HEIC":
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, fmt, **options)
    return file.getvalue()


def png16(array: NDArray[np.uint16], **chunks: bytes) -> bytes:
    """A 16-bit PNG, with further chunks put before the pixels."""
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(array)))
    extra = b""
    for kind, body in chunks.items():
        tagged = kind.encode() + body
        extra += struct.pack(">I", len(body)) + tagged + struct.pack(">I", zlib.crc32(tagged))
    return data[:33] + extra + data[33:]


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"photometric": "rgb", "metadata": None, **options})
    return file.getvalue()


def plain_tiff(entries: dict[int, tuple[int, int]], pixels: bytes) -> bytes:
    """A little-endian TIFF as some scanners write it: header first, then one strip. Entries: tag -> type, value."""
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries = dict(sorted({**entries, 273: (4, at), 279: (4, len(pixels))}.items()))
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + pixels


def orientation_exif(value: int) -> bytes:
    """An EXIF block that holds nothing else."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def cmyk_profile(black: int = 0) -> bytes:
    """A profile in which full cyan is Lab (50, -30, -40), other inks only darken, and paper is white.

    Black ink has the lightness ``black``, of 100. It goes one way only, from ink to Lab, as a scanner's does.
    """
    corners = []
    for index in range(16):  # the first ink varies slowest
        c, m, y, k = (index >> 3) & 1, (index >> 2) & 1, (index >> 1) & 1, index & 1
        lightness = black if k else 100 * 0.5 ** (c + m + y)
        a, b = (-30, -40) if (c and not (m or y or k)) else (0, 0)
        corners += [round(lightness * 2.55), a + 128, b + 128]
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix
    lut += bytes(range(256)) * 4 + bytes(corners) + bytes(range(256)) * 3
    lut += bytes(-len(lut) % 4)
    text = b"text\0\0\0\0test\0\0\0\0"
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    tags = [(b"cprt", text), (b"wtpt", white), (b"A2B0", lut), (b"A2B1", lut)]
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for kind, data in tags:
        table += kind + struct.pack(">II", at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0\0\0\0", 0x02100000, b"scnr", b"CMYK", b"Lab ")
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body
