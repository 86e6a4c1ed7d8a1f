"""TIFF at its own depth: Pillow reads only a part of them, and lets libtiff print to the terminal."""

from __future__ import annotations

import io
import math
import struct
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import ImageError
from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels

__all__ = ["checked_page", "encode_tiff", "is_tiff", "read_tiff", "tiff_header", "to_pixels"]

_KIND = tifffile.PHOTOMETRIC
_CHANNELS = {  # what the decoder hands out; YCbCr arrives as RGB
    _KIND.MINISWHITE: 1,
    _KIND.MINISBLACK: 1,
    _KIND.PALETTE: 1,
    _KIND.RGB: 3,
    _KIND.YCBCR: 3,
    _KIND.SEPARATED: 4,
}
_UNSPECIFIED = tifffile.EXTRASAMPLE.UNSPECIFIED
_MOST_SAMPLES = 16
_LARGE_TILE = 1024 * 1024
_JPEG = tifffile.COMPRESSION.JPEG
# Those in use for pictures. The decoders of others (fax above all) are not safe against damaged files.
_CODINGS = {
    tifffile.COMPRESSION.NONE: "none",
    tifffile.COMPRESSION.LZW: "LZW",
    tifffile.COMPRESSION.ADOBE_DEFLATE: "deflate",
    tifffile.COMPRESSION.DEFLATE: "old deflate",
    tifffile.COMPRESSION.PACKBITS: "PackBits",
    tifffile.COMPRESSION.ZSTD: "ZSTD",
    _JPEG: "JPEG",
}


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as TIFF or BigTIFF does."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tiff_header(file: BinaryIO, name: str) -> tuple[int, int, int, bool]:
    """Width and height of the first page as stored, its orientation, and whether extra channels begin with alpha."""
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        _check_coding(page, name)
        _check_header(page, tiff.filehandle.size)
        orientation = int(page.tags.valueof("Orientation") or 1)
        return int(page.imagewidth), int(page.imagelength), orientation, _extra(page) != _UNSPECIFIED


def read_tiff(file: BinaryIO, name: str, limits: Limits) -> Pixels:
    """The first page: grey, RGB, CMYK or palette with 1 to 32 bits or floats, or YCbCr in JPEG.

    Floats must lie in [0, 1] and are taken as sRGB-encoded, at 16 bits. Extra channels that are not marked as
    alpha are no transparency and are left out.
    """
    with tifffile.TiffFile(file) as tiff:
        page, wanted = checked_page(tiff, name, limits)
        array = _decode_lzw(file, page) if page.compression == tifffile.COMPRESSION.LZW else page.asarray()
        if page.samplesperpixel > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            array = np.moveaxis(array, 0, -1)
        array = array[:, :, None] if array.ndim == 2 else array
        if array.ndim != 3 or array.shape[2] < wanted:
            raise ImageError(f"{name}: a TIFF of shape {array.shape}, need height x width x {wanted} channels")
        return to_pixels(array, wanted, page, name)


def checked_page(tiff: tifffile.TiffFile, name: str, limits: Limits) -> tuple[Any, int]:
    """The page that is read, and how many of its channels are colours, after all checks that come before decoding."""
    page: Any = tiff.pages.first
    # a damaged header may hold a list here, and a list times a number is a long list
    limits.check(name, int(page.imagewidth), int(page.imagelength))
    kind = page.photometric
    wanted = _CHANNELS.get(kind)
    samples = page.dtype.kind if page.dtype is not None else ""
    _check_coding(page, name)
    if wanted is None or samples not in ("b", "u", "f") or (kind == _KIND.YCBCR and page.compression != _JPEG):
        raise ImageError(
            f"{name}: a TIFF of kind {getattr(kind, 'name', kind)} with {page.bitspersample}-bit samples of type "
            f"{page.dtype}, need RGB, grey, CMYK or palette with unsigned or float samples; convert it first"
        )
    _check_header(page, tiff.filehandle.size)
    if page.compression == _JPEG:
        _check_jpeg(page, tiff.filehandle)
    return page, wanted


def _check_coding(page: Any, name: str) -> None:
    if page.compression not in _CODINGS:
        raise ImageError(
            f"{name}: a TIFF compressed by {getattr(page.compression, 'name', page.compression)}, "
            f"need one of {', '.join(_CODINGS.values())}; save it again"
        )


def _check_header(page: Any, size: int) -> None:
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
    if any(offset <= 0 or count <= 0 or offset + count > size for offset, count in segments):
        raise ValueError("a strip or tile lies outside the file")


def _check_jpeg(page: Any, file: Any) -> None:
    """Each strip or tile is a JPEG with a size of its own, which the decoder would believe."""
    width, height = max(page.imagewidth, page.tilewidth), max(page.imagelength, page.tilelength)
    for segment, _ in file.read_segments(page.dataoffsets, page.databytecounts, flat=True):
        with Image.open(io.BytesIO(segment), formats=["JPEG"]) as image:
            if image.width > width or image.height > height:
                raise ValueError(f"{image.width}x{image.height} px within {width}x{height}")


def _decode_lzw(file: BinaryIO, page: Any) -> NDArray[Any]:
    """LZW by libtiff: tifffile's own decoder crashes the program on damaged files.

    libtiff would turn CMYK and others into 8-bit RGB, so it is told that the samples are plain numbers.
    """
    file.seek(0)
    data = bytearray(file.read())
    tag = page.tags["PhotometricInterpretation"]
    struct.pack_into(page.parent.byteorder + "H", data, tag.valueoffset, _KIND.MINISBLACK)
    return imagecodecs.tiff_decode(bytes(data), index=0)


def to_pixels(array: NDArray[Any], wanted: int, page: Any, name: str) -> Pixels:
    """Decoded samples (n, W, C) of a page, or of some of its rows."""
    profile, orientation = page.tags.valueof("InterColorProfile"), int(page.tags.valueof("Orientation") or 1)
    if page.photometric == _KIND.PALETTE:
        # the table has 16 bits; writers shift 8-bit colours up or repeat them, and a few forget to
        shift = 8 if page.colormap.max() > 255 else 0
        table = (page.colormap >> shift).astype(np.uint8).T  # (entries, 3)
        return Pixels(table[array[:, :, 0].astype(np.intp)], None, profile, orientation)
    array = _to_unsigned(array, page.bitspersample, name)
    colour, alpha = array[:, :, :wanted], None
    if page.photometric == _KIND.MINISWHITE:
        colour = np.iinfo(colour.dtype).max - colour
    if array.shape[2] > wanted and _extra(page) != _UNSPECIFIED:
        alpha = array[:, :, wanted]
        if _extra(page) == tifffile.EXTRASAMPLE.ASSOCALPHA:
            colour = _unpremultiplied(colour, alpha)
    return Pixels(colour, alpha, profile, orientation)


def _extra(page: Any) -> Any:
    """What the first channel after the colours is."""
    return page.extrasamples[0] if page.extrasamples else _UNSPECIFIED


def _to_unsigned(array: NDArray[Any], bits: int, name: str) -> NDArray[Any]:
    """uint8 up to 8 bits, every other depth as uint16; both over their full range."""
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # also where one of them is NaN
            raise ImageError(f"{name}: float samples from {low:g} to {high:g}, need 0 to 1; rescale it")
        return np.rint(array * np.float32(65535)).astype(np.uint16, copy=False)
    if bits > 16:
        array = array >> (bits - 16)
    elif bits not in (8, 16):
        top, full = 2**bits - 1, 255 if bits < 8 else 65535
        array = (array.astype(np.uint32) * full + top // 2) // top
    return array.astype(np.uint8 if bits <= 8 else np.uint16, copy=False)


def _unpremultiplied(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colour divided by alpha, black where nothing shows."""
    top = np.iinfo(colour.dtype).max
    factor = np.divide(top, alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0)
    straight: NDArray[Any] = np.rint((colour * factor[:, :, None]).clip(0, top))
    return straight.astype(colour.dtype)


def encode_tiff(array: NDArray[Any], compression: int, profile: bytes) -> bytes:
    """(H, W, 3 or 4) uint8 or uint16 -> a deflated TIFF file; a fourth channel is straight alpha."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array,
        photometric="rgb",
        extrasamples=["unassalpha"] if array.shape[2] == 4 else None,
        compression="zlib",
        compressionargs={"level": compression},
        predictor=True,
        iccprofile=profile,
        software="impasto",
        metadata=None,
    )
    return file.getvalue()
