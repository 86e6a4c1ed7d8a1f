"""ICC profiles: from what a file means by its numbers to sRGB."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

__all__ = ["LAB", "SRGB", "to_srgb"]

LAB: bytes = imagecodecs.cms_profile("lab4")  # no file's, but of pictures that hold CIELab (D50, as ICC 4 stores it)
_CHANNELS = {"gray": 1, "rgb": 3, "cmyk": 4, "lab": 3}


def _srgb() -> bytes:
    """The sRGB profile that goes into every file we write, the same bytes on every day."""
    profile = bytearray(imagecodecs.cms_profile("srgb"))
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
        (H, W, 1) or (H, W, 3), uint8 where nothing had to be computed, else uint16.
    """
    space = _space(profile)
    if profile is not None and space is not None and not _is_srgb(profile, space):
        if space == "rgb" and colour.shape[2] == 1:
            colour = np.repeat(colour, 3, axis=2)
        if space == "gray" and colour.shape[2] == 1:
            levels = np.arange(np.iinfo(colour.dtype).max + 1, dtype=colour.dtype)[None, :, None]
            table: NDArray[np.uint16] = _transform(levels, profile, space)[0]  # (levels, 3)
            return np.take(table, colour[:, :, 0], axis=0)
        if _CHANNELS[space] == colour.shape[2]:
            return _transform(colour, profile, space)
    return _plain_cmyk(colour) if colour.shape[2] == 4 else colour


def _transform(colour: NDArray[Any], profile: bytes, space: str) -> NDArray[Any]:
    flags: int = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if colour.dtype == np.uint16 or space in ("gray", "lab"):
        # Little CMS would bake these into a coarse table, visibly wrong in the dark and near the gamut's edge
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE
    return imagecodecs.cms_transform(
        np.ascontiguousarray(colour[:, :, 0] if space == "gray" else colour),
        profile,
        SRGB,
        colorspace=space,
        outcolorspace="rgb",
        outdtype=np.uint16,
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )


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
    except (RuntimeError, ValueError, TypeError):
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
    difference = _transform(probe, profile, space).astype(np.int32) - probe
    return bool(np.abs(difference).max() <= 64)  # a quarter of an 8-bit step


def _plain_cmyk(ink: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 4) ink, 0 is none -> (H, W, 3) uint16."""
    light = 1 - ink.astype(np.float32) / np.iinfo(ink.dtype).max
    return np.rint(light[:, :, :3] * light[:, :, 3:] * 65535).astype(np.uint16)
