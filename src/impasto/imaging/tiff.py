"""TIFF at its own depth: grey, RGB and CMYK with 8, 16 or 32 bits or floats, which Pillow reads only in part."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from impasto.errors import ImageError
from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels

__all__ = ["encode_tiff", "is_tiff", "read_tiff"]

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_CHANNELS = {
    _PHOTOMETRIC.MINISWHITE: 1,
    _PHOTOMETRIC.MINISBLACK: 1,
    _PHOTOMETRIC.RGB: 3,
    _PHOTOMETRIC.SEPARATED: 4,
}


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as TIFF or BigTIFF does."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff(file: BinaryIO, name: str, limits: Limits) -> Pixels | None:
    """The first page, or None where Pillow is the better reader (palette, 1-bit, fax, YCbCr).

    Floats must lie in [0, 1] and are taken as sRGB-encoded, at 16 bits. Extra channels that are not marked as
    alpha are no transparency and are left out.
    """
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        limits.check(name, page.imagewidth, page.imagelength)
        kind = page.dtype.kind if page.dtype is not None else ""
        wanted = _CHANNELS.get(_PHOTOMETRIC(page.photometric))
        if kind not in ("u", "f") or page.bitspersample < 8 or wanted is None:
            _refuse_if_deep(name, page)
            return None
        array = page.asarray()
        if page.samplesperpixel == 1:
            array = array[..., None] if array.ndim == 2 else array
        elif page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            array = np.moveaxis(array, 0, -1)
        if array.ndim != 3 or array.shape[2] < wanted:
            raise ImageError(f"{name}: a TIFF of shape {array.shape}, need height x width x {wanted} channels")
        return _to_pixels(array, wanted, page, name)


def _refuse_if_deep(name: str, page: Any) -> None:
    if page.dtype is None or page.dtype.itemsize > 1 or page.dtype.kind == "i":
        kind = getattr(page.photometric, "name", str(page.photometric))
        raise ImageError(
            f"{name}: a TIFF of kind {kind} with {page.bitspersample}-bit samples of type {page.dtype}, "
            "need RGB, grey or CMYK with unsigned or float samples; convert it first"
        )


def _to_pixels(array: NDArray[Any], wanted: int, page: Any, name: str) -> Pixels:
    array = _to_unsigned(array, page.bitspersample, name)
    colour, alpha = array[:, :, :wanted], None
    if page.photometric == _PHOTOMETRIC.MINISWHITE:
        colour = np.iinfo(colour.dtype).max - colour
    extra = page.extrasamples[0] if page.extrasamples else tifffile.EXTRASAMPLE.UNSPECIFIED
    if array.shape[2] > wanted and extra != tifffile.EXTRASAMPLE.UNSPECIFIED:
        alpha = array[:, :, wanted]
        if extra == tifffile.EXTRASAMPLE.ASSOCALPHA:
            colour = _unpremultiplied(colour, alpha)
    profile, orientation = page.tags.valueof("InterColorProfile"), page.tags.valueof("Orientation")
    return Pixels(colour, alpha, profile, int(orientation or 1))


def _to_unsigned(array: NDArray[Any], bits: int, name: str) -> NDArray[Any]:
    """uint8 as it is; every other depth as uint16 over its full range."""
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # also where one of them is NaN
            raise ImageError(f"{name}: float samples from {low:g} to {high:g}, need 0 to 1; rescale it")
        array = np.rint(array * np.float32(65535))
    elif bits > 16:
        array = array >> (bits - 16)
    elif 8 < bits < 16:
        top = 2**bits - 1
        array = (array.astype(np.uint32) * 65535 + top // 2) // top
    return array if array.dtype == np.uint8 else array.astype(np.uint16, copy=False)


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
