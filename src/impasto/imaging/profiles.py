"""ICC profiles: from what a file means by its numbers to sRGB.

By Little CMS, which imagecodecs brings, and Pillow for 8 bits per channel.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from impasto.errors import MissingExtraError
from impasto.imaging.formats import load_imagecodecs

__all__ = ["LAB", "SRGB", "to_srgb"]

LAB = b"lab4"  # no file's, but the name of what pictures in CIELab have (D50, as ICC 4 stores it)
_CHANNELS = {"gray": 1, "rgb": 3, "cmyk": 4, "lab": 3}


def _srgb() -> bytes:
    """The sRGB profile that goes into every file we write, the same bytes on every day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    struct.pack_into(">6H", profile, 24, 2000, 1, 1, 0, 0, 0)  # Little CMS writes the time of creation
    return bytes(profile)


SRGB = _srgb()


def to_srgb(colour: NDArray[Any], profile: bytes | None) -> NDArray[Any]:
    """Colour in sRGB, relative colorimetric with black-point compensation.

    Args:
        colour: (H, W, C) uint8 or uint16; C is 1 for grey, 3 for RGB (or CIELab, if the profile is `LAB`), 4
            for CMYK (0 is no ink).
        profile: the embedded ICC profile. One that is broken, or made for another kind of picture, is ignored
            as browsers do: grey and RGB are then taken as sRGB, CMYK by the plain formula (1-C)(1-K).

    Returns:
        (H, W, 1) or (H, W, 3); uint8 where nothing had to be computed, or where Pillow did it, else uint16.

    Raises:
        MissingExtraError: more than 8 bits, or CIELab, without imagecodecs.
    """
    space = _space(profile)
    if profile is not None and space is not None and not _is_srgb(profile, space):
        if space == "rgb" and colour.shape[2] == 1:
            colour = np.repeat(colour, 3, axis=2)
        if space == "gray" and colour.shape[2] == 1:
            levels = np.arange(np.iinfo(colour.dtype).max + 1, dtype=colour.dtype)[None, :, None]
            table: NDArray[Any] = _transform(levels, profile, space)[0]  # (levels, 3)
            return np.take(table, colour[:, :, 0], axis=0)
        if _CHANNELS[space] == colour.shape[2]:
            return _transform(colour, profile, space)
    return _plain_cmyk(colour) if colour.shape[2] == 4 else colour


def _transform(colour: NDArray[Any], profile: bytes, space: str) -> NDArray[Any]:
    try:
        wide = "a colour profile with 16 bits per channel"
        imagecodecs = load_imagecodecs("CIELab", "tiff") if space == "lab" else load_imagecodecs(wide)
    except MissingExtraError:
        if colour.dtype != np.uint8 or space == "lab":
            raise
        return _by_pillow(colour, profile, space)
    flags: int = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if colour.dtype == np.uint16 or space in ("gray", "lab"):
        # Little CMS would bake these into a coarse table, visibly wrong in the dark and near the gamut's edge
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE
    rgb: NDArray[np.uint16] = imagecodecs.cms_transform(
        np.ascontiguousarray(colour[:, :, 0] if space == "gray" else colour),
        imagecodecs.cms_profile("lab4") if space == "lab" else profile,
        SRGB,
        colorspace=space,
        outcolorspace="rgb",
        outdtype=np.uint16,
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return rgb


def _by_pillow(colour: NDArray[Any], profile: bytes, space: str) -> NDArray[np.uint8]:
    """The same for 8 bits in and out; uint8."""
    mode = {"gray": "L", "rgb": "RGB", "cmyk": "CMYK"}[space]
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if space == "gray":
        flags |= ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.ImageCmsProfile(io.BytesIO(SRGB)),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    image = Image.frombytes(mode, (colour.shape[1], colour.shape[0]), colour.tobytes())
    return np.asarray(ImageCms.applyTransform(image, transform))


@lru_cache(maxsize=64)
def _space(profile: bytes | None) -> str | None:
    """The kind of picture that a profile describes, or None where it cannot be used."""
    if profile is None:
        return None
    space = "lab" if profile == LAB else {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}.get(profile[16:20])
    if space is None:
        return None
    try:
        _transform(np.zeros((1, 1, _CHANNELS[space]), np.uint8), profile, space)
    except MissingExtraError:
        raise
    except (RuntimeError, ValueError, TypeError, OSError, ImageCms.PyCMSError):
        return None
    return space


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes, space: str) -> bool:
    """Whether a profile is sRGB by another name: leaving such pictures alone keeps every value exact."""
    if space in ("cmyk", "lab"):
        return False
    levels = np.linspace(0, 65535, 256 if space == "gray" else 9).round().astype(np.uint16)
    axes = np.meshgrid(*[levels] * _CHANNELS[space], indexing="ij")
    probe = np.stack([axis.ravel() for axis in axes], axis=-1)[None]  # (1, N, C)
    most = 64  # a quarter of an 8-bit step
    try:
        found = _transform(probe, profile, space)
    except MissingExtraError:
        probe, most = probe // 257, 1
        found = _by_pillow(probe.astype(np.uint8), profile, space)
    return bool(np.abs(found.astype(np.int32) - probe).max() <= most)


def _plain_cmyk(ink: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 4) ink, 0 is none -> (H, W, 3) uint16."""
    light = 1 - ink.astype(np.float32) / np.iinfo(ink.dtype).max
    return np.rint(light[:, :, :3] * light[:, :, 3:] * 65535).astype(np.uint16)
