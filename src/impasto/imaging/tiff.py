"""TIFF at its own depth: Pillow reads only a part of them, and lets libtiff print to the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from impasto.errors import ImageError
from impasto.imaging.guards import Limits
from impasto.imaging.header import Header
from impasto.imaging.pixels import Pixels, unpremultiplied
from impasto.imaging.profiles import LAB
from impasto.imaging.tiff_checks import ALPHAS, CHANNELS, LABS, check_coding, check_header, check_kind, check_strip
from impasto.imaging.tiff_pages import TiffPage, count_full, find_picture
from impasto.imaging.tiff_rows import by_libtiff, decode_page, decode_rows

__all__ = ["count_pictures", "encode_tiff", "read_tiff", "strip_bytes", "tiff_header", "tiff_strips"]

_KIND, _CODING = tifffile.PHOTOMETRIC, tifffile.COMPRESSION
_SEPARATE = tifffile.PLANARCONFIG.SEPARATE
_BY_VIPS = (_KIND.MINISWHITE, _KIND.MINISBLACK, _KIND.RGB, _KIND.SEPARATED)


def tiff_header(file: BinaryIO, name: str) -> Header:
    """What the file tells about its picture: the first page that is no thumbnail."""
    with tifffile.TiffFile(file) as tiff:
        found = find_picture(tiff, frozenset(CHANNELS))
        page = found.page
        check_coding(page, name)
        check_header(page, tiff.filehandle)
        return Header(
            int(page.imagewidth),
            int(page.imagelength),
            found.orientation,
            _alpha(page),
            found.profile(file),
            found.place,
            _suits_vips(page),
        )


def count_pictures(file: BinaryIO) -> int:
    """How many full pictures the file has, as far as its pages are looked at."""
    with tifffile.TiffFile(file) as tiff:
        return count_full(tiff)


def _suits_vips(page: Any) -> bool:
    """Whether pyvips reads the page, and as we mean it; its libtiff has no ZSTD, and it takes YCbCr for RGB."""
    known = page.photometric in _BY_VIPS or (page.photometric == _KIND.YCBCR and page.compression == _CODING.JPEG)
    whole = page.bitspersample in (1, 8, 16) and page.dtype is not None and page.dtype.kind in "bu"
    planes = page.is_tiled and page.samplesperpixel > 1 and page.planarconfig == _SEPARATE
    return bool(known and whole and not planes and page.compression != _CODING.ZSTD)


def read_tiff(file: BinaryIO, name: str, limits: Limits) -> Pixels:
    """Its picture: grey, RGB, CMYK or palette with 1 to 32 bits or floats, YCbCr or CIELab.

    The picture is the first page, or, where that is a thumbnail, the SubIFD or page that it is one of. Floats must
    lie in [0, 1] and are taken as sRGB-encoded, at 16 bits. Of extra channels the first that is marked as alpha is
    transparency, others are left out.
    """
    with tifffile.TiffFile(file) as tiff:
        found = find_picture(tiff, frozenset(CHANNELS))
        page = found.page
        # a damaged header may hold a list here, and a list times a number is a long list
        limits.check(name, int(page.imagewidth), int(page.imagelength))
        check_kind(page, name)
        check_header(page, tiff.filehandle)
        if by_libtiff(page):
            array = decode_page(page)
        else:
            array = page.asarray()
            if page.samplesperpixel > 1 and page.planarconfig == _SEPARATE:
                array = np.moveaxis(array, 0, -1)
        array = array[:, :, None] if array.ndim == 2 else array
        return _to_pixels(array, found, name, found.profile(file))


def tiff_strips(file: BinaryIO, name: str) -> Iterator[Pixels]:
    """What `read_tiff` reads, from the top in strips of full width, with little more than one of them in memory."""
    with tifffile.TiffFile(file) as tiff:
        found = find_picture(tiff, frozenset(CHANNELS))
        page = found.page
        check_kind(page, name)
        check_header(page, tiff.filehandle)
        check_strip(page, name)
        profile = found.profile(file)
        for array in decode_rows(page):
            yield _to_pixels(array, found, name, profile)


def _to_pixels(array: NDArray[Any], found: TiffPage, name: str, profile: bytes | None) -> Pixels:
    """Rows (n, W, samples) as they are stored -> as we have them."""
    page, orientation, wanted = found.page, found.orientation, CHANNELS[found.page.photometric]
    if array.ndim != 3 or array.shape[2] < wanted:
        raise ImageError(f"{name}: a TIFF of shape {array.shape}, need height x width x {wanted} channels")
    alpha = None if _alpha(page) is None else wanted + int(_alpha(page) or 0)
    if page.photometric == _KIND.PALETTE:
        # the table has 16 bits; writers shift 8-bit colours up or repeat them, and a few forget to
        shift = 8 if page.colormap.max() > 255 else 0
        table = (page.colormap >> shift).astype(np.uint8).T  # (entries, 3)
        return Pixels(table[array[:, :, 0].astype(np.intp)], None, profile, orientation)
    array = _to_unsigned(array, page.bitspersample, name)
    colour, opacity = array[:, :, :wanted], None
    if page.photometric == _KIND.MINISWHITE:
        colour = np.iinfo(colour.dtype).max - colour
    if page.photometric in LABS:
        colour, profile = _icc_lab(colour, signed=page.photometric == _KIND.CIELAB), LAB
    if alpha is not None and array.shape[2] > alpha:
        opacity = array[:, :, alpha]
        if page.extrasamples[alpha - wanted] == ALPHAS[0]:
            colour = unpremultiplied(colour, opacity)
    return Pixels(colour, opacity, profile, orientation)


def _icc_lab(lab: NDArray[Any], *, signed: bool) -> NDArray[Any]:
    """L*, a*, b* of TIFF 6.0, section 23 (a* and b* are signed), or as ICC 2 has them -> as ICC 4 has them.

    They differ in where a* = b* = 0 lies and, with 16 bits, in the scale.
    """
    top = np.iinfo(lab.dtype).max
    lab = lab ^ np.array([0, top // 2 + 1, top // 2 + 1], lab.dtype) if signed else lab
    if lab.dtype == np.uint8:
        return lab
    scaled = np.minimum(lab.astype(np.uint32) * 257 // 256, 65535).astype(np.uint16)
    if signed:
        scaled[:, :, 0] = lab[:, :, 0]  # where lightness fills the whole range
    return scaled


def _alpha(page: Any) -> int | None:
    """Which of the channels after the colours is alpha, the first that is marked so."""
    return next((place for place, kind in enumerate(page.extrasamples or ()) if kind in ALPHAS), None)


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


def strip_bytes(file: BinaryIO) -> int:
    """Bytes of the largest strip, or row of tiles, once it is decoded."""
    with tifffile.TiffFile(file) as tiff:
        page = find_picture(tiff, frozenset(CHANNELS)).page
        rows = min(int(page.tilelength if page.is_tiled else page.rowsperstrip), int(page.imagelength))
        return rows * int(page.imagewidth) * int(page.samplesperpixel) * int(page.dtype.itemsize)


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
