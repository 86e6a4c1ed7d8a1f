"""Decoded pixels as a file holds them, and their way to the tensor that the rest works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from impasto.errors import ImageError
from impasto.imaging.colour_tags import container_profile, exif_profile
from impasto.imaging.profiles import LAB, to_srgb

__all__ = ["Pixels", "exif_orientation", "from_pillow", "to_tensor", "unpremultiplied", "upright"]


@dataclass(frozen=True, eq=False)
class Pixels:
    """One decoded picture, before its profile and orientation are applied.

    Attributes:
        colour: (H, W, C) uint8 or uint16; C is 1 for grey, 3 for RGB, 4 for CMYK (0 is no ink).
        alpha: (H, W) of the same type, straight (not premultiplied), or None.
        profile: the embedded ICC profile.
        orientation: the EXIF value, 1 to 8; anything else means upright.
    """

    colour: NDArray[Any]
    alpha: NDArray[Any] | None = None
    profile: bytes | None = None
    orientation: int = 1

    @property
    def bits(self) -> int:
        """Of a channel: 8 or 16."""
        return 8 * self.colour.dtype.itemsize

    def develop(self) -> tuple[Tensor, Tensor | None]:
        """(1, 3, H, W) sRGB and (1, 1, H, W) alpha or None; float32 in [0, 1], upright."""
        rgb = to_tensor(upright(to_srgb(self.colour, self.profile), self.orientation), 3)
        if self.alpha is None:
            return rgb, None
        return rgb, to_tensor(upright(self.alpha[:, :, None], self.orientation), 1)


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A view of (H, W, C) as it is meant to be looked at; 5 to 8 swap height and width."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def to_tensor(array: NDArray[Any], channels: int) -> Tensor:
    """(H, W, 1 or C) integers -> (1, C, H, W), channels-last; one pass, and grey is repeated on the way."""
    height, width, _ = array.shape
    out = np.empty((height, width, channels), np.float32)
    np.divide(array, np.iinfo(array.dtype).max, out=out, dtype=np.float32)
    return torch.from_numpy(out)[None].permute(0, 3, 1, 2)  # in this order, or torch takes its layout for another


def unpremultiplied(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colour divided by alpha, black where nothing shows."""
    top = np.iinfo(colour.dtype).max
    factor = np.divide(top, alpha, out=np.zeros(alpha.shape, np.float32), where=alpha > 0)
    straight: NDArray[Any] = np.rint((colour * factor[:, :, None]).clip(0, top))
    return straight.astype(colour.dtype)


def exif_orientation(image: Image.Image) -> int:
    """The EXIF (or XMP) orientation; 1 where there is none or it cannot be understood."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  a camera's broken EXIF must not cost the picture
        return 1


def from_pillow(image: Image.Image, name: str) -> Pixels:
    """The pixels of a Pillow image of any mode, which are loaded if they are not yet."""
    profile = LAB if image.mode == "LAB" else container_profile(image)
    image.load()
    colour, alpha = _split(image, name)
    if image.format == "BMP" and alpha is not None and not alpha.any():
        alpha = None  # clipboard tools leave the fourth byte at zero, and everybody takes such pictures as opaque
    # Pillow turns TIFF upright in load() and then forgets its orientation, so this must come after it.
    orientation = exif_orientation(image)
    return Pixels(colour, alpha, profile or exif_profile(image), orientation)


def _split(image: Image.Image, name: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colour (H, W, C) and alpha (H, W) or None."""
    if image.mode.startswith(("I", "F")):
        return _deep_grey(image, name)
    if image.mode == "CMYK":
        return np.asarray(image), None
    if image.mode == "LAB":
        # numpy gets a* and b* signed, as files have them, where Pillow's own pixels begin at -128
        return np.asarray(image) ^ np.array([0, 128, 128], np.uint8), None
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        array = np.asarray(image.convert("LA" if grey else "RGBA"))
        return array[:, :, :-1], array[:, :, -1]
    array = np.asarray(image.convert("L" if grey else "RGB"))
    return (array[:, :, None] if grey else array), None


def _deep_grey(image: Image.Image, name: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Pillow's 16-bit, 32-bit and float modes, all of them grey: 0..65535, or 0..1 for floats."""
    values = np.asarray(image)[:, :, None]
    low, high = values.min(), values.max()
    top = 1 if image.mode == "F" else 65535
    if not (low >= 0 and high <= top):  # also where one of them is NaN
        raise ImageError(f"{name}: mode {image.mode} with values {low:g} to {high:g}, need 0 to {top}; rescale it")
    transparent = image.info.get("transparency")
    alpha = None
    if isinstance(transparent, int):
        alpha = np.where(values[:, :, 0] == transparent, 0, 65535).astype(np.uint16)
    return np.rint(values * np.float64(65535 / top)).astype(np.uint16), alpha
