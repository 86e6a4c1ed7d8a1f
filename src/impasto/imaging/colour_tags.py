"""Colour descriptions that are no ICC profile: where files keep them, and the profile that says the same.

Code points (ITU-T H.273: cICP in PNG, nclx in HEIC and AVIF), gamma and chromaticities (PNG's gAMA and cHRM, tags of
TIFF and EXIF, BMP's headers 4 and 5), and EXIF's word for Adobe RGB. Whatever a file holds besides, an embedded
profile comes first; in PNG, cICP comes before that (PNG, third edition, 4.3).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from impasto.imaging.boxes import primary_nclx
from impasto.imaging.matrix_profile import (
    ADOBE_RGB,
    BT709,
    SRGB_CURVE,
    Chromaticities,
    Curve,
    code_points_profile,
    matrix_profile,
)

__all__ = ["container_profile", "exif_profile", "nclx_profile", "tiff_profile"]

_SRGB_GAMMA = (0.4530, 0.4560)  # as libpng and ImageMagick take it: what sRGB's writers put down as its gamma
_UNCALIBRATED = 65535


def container_profile(image: Image.Image) -> bytes | None:
    """The ICC profile of a Pillow image, embedded or made from what else its file says, EXIF excepted.

    To be called before the pixels are loaded, after which Pillow has closed the file.
    """
    embedded = image.info.get("icc_profile")
    embedded = embedded if isinstance(embedded, bytes) and embedded else None
    if image.format == "PNG":
        return _png_cicp(image) or embedded or _png_gamma(image.info)
    if embedded is not None:
        return embedded
    if "nclx_profile" in image.info:
        return nclx_profile(image.info)
    if image.format == "AVIF":
        points = primary_nclx(_peek(image, None))
        return None if points is None else code_points_profile(*points[:2])
    return _bmp(_peek(image, 14 + 124)) if image.format == "BMP" else None


def _peek(image: Image.Image, count: int | None) -> bytes:
    """The first bytes of the file behind an image, which stays where it was; none where it is closed."""
    file: Any = getattr(image, "fp", None)
    if file is None:
        return b""
    with suppress(OSError, ValueError, AttributeError):
        place = file.tell()
        try:
            file.seek(0)
            return bytes(file.read() if count is None else file.read(count))
        finally:
            file.seek(place)
    return b""


def nclx_profile(info: Mapping[Any, Any]) -> bytes | None:
    """What pillow-heif found in a HEIC file: the embedded profile, else one of its code points."""
    embedded, points = info.get("icc_profile"), info.get("nclx_profile")
    if isinstance(embedded, bytes) and embedded:
        return embedded
    if not isinstance(points, Mapping):
        return None
    return code_points_profile(int(points["color_primaries"]), int(points["transfer_characteristics"]))


# -- PNG ------------------------------------------------------------------------------------------------------


def _png_cicp(image: Image.Image) -> bytes | None:
    """Pillow steps over the chunk, so the file is looked at again."""
    file: Any = getattr(image, "fp", None)
    if file is None:
        return None
    with suppress(OSError, ValueError, AttributeError, struct.error):
        place = file.tell()
        try:
            body, bits = _find_cicp(file)
        finally:
            file.seek(place)
        if body is not None and len(body) == 4 and body[2] == 0:  # RGB, as the standard demands
            return code_points_profile(body[0], body[1], narrow=None if body[3] else bits)
    return None


def _find_cicp(file: BinaryIO) -> tuple[bytes | None, int]:
    """The chunk's four bytes, if it stands before the pixels, and the bits per channel."""
    file.seek(24)
    bits = file.read(1)[0]
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"cICP":
            return file.read(min(length, 8)), bits
        if kind in (b"IDAT", b"IEND"):
            break
        file.seek(length + 4, 1)
    return None, bits


def _png_gamma(info: Mapping[Any, Any]) -> bytes | None:
    """A profile from gAMA and cHRM, which the sRGB chunk overrules; None where they say nothing."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if "srgb" in info or (gamma is None and points is None):
        return None
    places = BT709 if points is None else _chromaticities(points[:2], points[2:8])
    return _calibrated(places, None if gamma is None else float(gamma))


def _chromaticities(white: Any, primaries: Any) -> Chromaticities | None:
    values = [float(value) for value in (*primaries, *white)]
    return Chromaticities(*values) if len(values) == 8 else None


def _calibrated(places: Chromaticities | None, gamma: float | None, curves: tuple[Curve, ...] = ()) -> bytes | None:
    """The profile; `gamma` is the exponent that encodes, about .45, and sRGB's curve where there is none."""
    if places is None or not places.possible:
        return None
    if curves:
        return matrix_profile(places, *curves)
    if gamma is None or _SRGB_GAMMA[0] < gamma < _SRGB_GAMMA[1]:
        return matrix_profile(places, SRGB_CURVE)
    return matrix_profile(places, Curve(1 / gamma)) if 0.1 <= gamma <= 5 else None


# -- EXIF and TIFF --------------------------------------------------------------------------------------------


def exif_profile(source: Image.Image | bytes | BinaryIO) -> bytes | None:
    """What a camera says: Adobe RGB (interoperability index R03, DCF 2.0), or chromaticities of its own.

    The source is an image, whose pixels Pillow loads for it if it is a PNG; an EXIF block; or a TIFF file.
    """
    try:
        exif = source.getexif() if isinstance(source, Image.Image) else _exif(source)
        inner, index = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.Interop).get(1)
        space = inner.get(ExifTags.Base.ColorSpace)
        index = index.decode("ascii", "replace") if isinstance(index, bytes) else str(index)
        if index.rstrip("\0 ") == "R03" and space != 1:
            return matrix_profile(*ADOBE_RGB)
        white, primaries = exif.get(ExifTags.Base.WhitePoint), exif.get(ExifTags.Base.PrimaryChromaticities)
        if space != _UNCALIBRATED or white is None or primaries is None:
            return None
        gamma = inner.get(ExifTags.Base.Gamma)
        return _calibrated(_chromaticities(white, primaries), None if gamma is None else 1 / float(gamma))
    except Exception:  # noqa: BLE001  a camera's broken EXIF must not cost the picture
        return None


def _exif(source: bytes | BinaryIO) -> Image.Exif:
    exif = Image.Exif()
    if isinstance(source, bytes):
        exif.load(source)
    else:
        source.seek(0)
        exif.load_from_fp(source)
    return exif


def tiff_profile(white: Any, primaries: Any, transfer: Any) -> bytes | None:
    """The values of a TIFF's tags WhitePoint, PrimaryChromaticities and TransferFunction (TIFF 6.0, section 20).

    Without the first two, None; without the third, sRGB's curve.
    """
    with suppress(TypeError, ValueError, ZeroDivisionError):
        places = _chromaticities(_ratios(white), _ratios(primaries))
        return _calibrated(places, None, _tables(transfer))
    return None


def _ratios(values: Any) -> list[float]:
    """Numerators and denominators one after the other, as tifffile hands them out -> fractions."""
    return [above / below for above, below in zip(values[::2], values[1::2], strict=True)]


def _tables(transfer: Any) -> tuple[Curve, ...]:
    """One table for all channels or one for each; none where the tag is missing or odd."""
    if transfer is None:
        return ()
    flat = np.asarray(transfer, np.float64).reshape(-1) / 65535
    count = 3 if len(flat) % 3 == 0 else 1
    if len(flat) < 16 or not np.isfinite(flat).all():
        return ()
    return tuple(Curve(table=part) for part in flat.reshape(count, -1))


# -- BMP ------------------------------------------------------------------------------------------------------


class _Bmp(NamedTuple):
    """Where headers 4 and 5 keep their colours, counted from the file's begin."""

    kind: int = 14 + 56
    points: int = 14 + 60
    gammas: int = 14 + 96
    end: int = 14 + 108


def _bmp(head: bytes) -> bytes | None:
    """Calibrated RGB: endpoints in XYZ (2.30 bits) and a gamma for each channel (16.16 bits)."""
    at = _Bmp()
    if len(head) < at.end or struct.unpack_from("<I", head, 14)[0] < 108 or head[at.kind : at.kind + 4] != bytes(4):
        return None
    xyz = np.array(struct.unpack_from("<9i", head, at.points), np.float64).reshape(3, 3)
    gammas = [value / 65536 for value in struct.unpack_from("<3I", head, at.gammas)]
    white, sums = xyz.sum(0), xyz.sum(1)
    if sums.min() <= 0 or not all(0.2 <= gamma <= 10 for gamma in gammas):
        return None
    places = Chromaticities(*(xyz[:, :2] / sums[:, None]).ravel(), *(white[:2] / white.sum()))
    return _calibrated(places, None, tuple(Curve(gamma) for gamma in gammas))
