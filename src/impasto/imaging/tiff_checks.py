"""What a TIFF must be to be read: kinds, codings, headers that ask for no more memory than the picture needs."""

from __future__ import annotations

import io
import math
from typing import Any

import tifffile
from PIL import Image

from impasto.errors import ImageError
from impasto.imaging.tiff_rows import by_libtiff, check_library

__all__ = ["ALPHAS", "CHANNELS", "LABS", "check_coding", "check_header", "check_kind", "check_strip"]

_KIND = tifffile.PHOTOMETRIC
CHANNELS = {  # what the decoder hands out; YCbCr arrives as RGB
    _KIND.MINISWHITE: 1,
    _KIND.MINISBLACK: 1,
    _KIND.PALETTE: 1,
    _KIND.RGB: 3,
    _KIND.YCBCR: 3,
    _KIND.CIELAB: 3,
    _KIND.ICCLAB: 3,
    _KIND.SEPARATED: 4,
}
LABS = (_KIND.CIELAB, _KIND.ICCLAB)
ALPHAS = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_MOST_SAMPLES = 16
_LARGE_TILE = 1024 * 1024
_LARGE_STRIP = 1 << 30  # bytes, decoded, of what must be in memory at once
_CODING = tifffile.COMPRESSION
_JPEG = _CODING.JPEG
_SEPARATE = tifffile.PLANARCONFIG.SEPARATE
# Those in use for pictures. The decoders of others are not safe against damaged files.
_CODINGS = {
    _CODING.NONE: "none",
    _CODING.LZW: "LZW",
    _CODING.ADOBE_DEFLATE: "deflate",
    _CODING.DEFLATE: "old deflate",
    _CODING.PACKBITS: "PackBits",
    _CODING.ZSTD: "ZSTD",
    _JPEG: "JPEG",
    _CODING.CCITTRLE: "fax RLE",
    _CODING.CCITTFAX3: "fax group 3",
    _CODING.CCITTFAX4: "fax group 4",
}


def check_kind(page: Any, name: str) -> None:
    """ImageError for what is well made but cannot be read."""
    check_coding(page, name)
    kind, dtype = page.photometric, page.dtype
    known = kind in CHANNELS and dtype is not None and dtype.kind in "buf"
    if kind in LABS or (kind == _KIND.YCBCR and page.compression != _JPEG):
        known = known and dtype.kind == "u" and page.bitspersample in ((8, 16) if kind in LABS else (8,))
    if not known or (by_libtiff(page) and kind == _KIND.YCBCR and page.planarconfig == _SEPARATE):
        raise ImageError(
            f"{name}: a TIFF of kind {getattr(kind, 'name', kind)} with {page.bitspersample}-bit samples of type "
            f"{dtype}, need RGB, grey, CMYK or palette with unsigned or float samples, YCbCr with 8 bits or CIELab "
            "with 8 or 16; convert it first"
        )
    check_library(page)


def check_coding(page: Any, name: str) -> None:
    """ImageError for a page that is compressed in a way that cannot be undone here."""
    if page.compression not in _CODINGS:
        raise ImageError(
            f"{name}: a TIFF compressed by {getattr(page.compression, 'name', page.compression)}, "
            f"need one of {', '.join(_CODINGS.values())}; save it again"
        )


def check_header(page: Any, file: Any) -> None:
    """Refuse what asks for far more memory than the picture needs, and what is cut short.

    tifffile itself fills what is missing with zeros.
    """
    if int(page.samplesperpixel) > _MOST_SAMPLES:
        raise ValueError(f"{page.samplesperpixel} samples per pixel")
    if int(page.tilewidth) * int(page.tilelength) > max(4 * page.imagewidth * page.imagelength, _LARGE_TILE):
        raise ValueError(f"tiles of {page.tilewidth}x{page.tilelength} px")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(segments) < math.prod(page.chunked):
        raise ValueError(f"{math.prod(page.chunked)} strips or tiles announced, {len(segments)} found")
    if any(offset <= 0 or count <= 0 or offset + count > file.size for offset, count in segments):
        raise ValueError("a strip or tile lies outside the file")
    if page.compression == _JPEG:
        _check_jpeg(page, file)


def _check_jpeg(page: Any, file: Any) -> None:
    """Each strip or tile is a JPEG with a size of its own, which the decoder would believe."""
    width, height = max(page.imagewidth, page.tilewidth), max(page.imagelength, page.tilelength)
    for segment, _ in file.read_segments(page.dataoffsets, page.databytecounts, flat=True):
        with Image.open(io.BytesIO(segment), formats=["JPEG"]) as image:
            if image.width > width or image.height > height:
                raise ValueError(f"{image.width}x{image.height} px within {width}x{height}")


def check_strip(page: Any, name: str) -> None:
    """ImageError where a strip, or a row of tiles, would fill the memory."""
    rows = min(int(page.tilelength if page.is_tiled else page.rowsperstrip), int(page.imagelength))
    size = rows * int(page.imagewidth) * int(page.samplesperpixel) * page.dtype.itemsize
    if size > _LARGE_STRIP and page.compression != _CODING.NONE:
        raise ImageError(f"{name}: a TIFF in strips of {rows} rows, {size >> 20} MB each; save it with smaller ones")
