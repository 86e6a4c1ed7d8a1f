"""From an encoded photo to a square to train on: where the square lies, and how little is decoded for it."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from impasto.errors import OptionError
from impasto.imaging import read
from impasto.imaging.colour_tags import container_profile, exif_profile
from impasto.imaging.guards import Limits, decoding
from impasto.imaging.profiles import to_srgb

__all__ = ["Crop", "Region", "cut"]

QUICK_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 lay the picture on its side


class Region(NamedTuple):
    """A rectangle in a photo, in pixels; fractions are meant."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Crop:
    """How squares are cut from photos, at random.

    With `enlarge` None: a rectangle of the photo's area times a number drawn from `scale`, its width to
    height drawn from `ratio` (evenly in the logarithm), shrunk to the square (Szegedy 2015). Rectangles are
    never smaller than the square, so that only photos smaller than it are enlarged, and just enough.

    With `enlarge` set: the photo's short side is brought to `enlarge` times the square's side, whether that
    shrinks or enlarges it, and the square is cut from any place. 256 px cut at 1.15 is common for one style
    per network, and 2 (512 px, cut to 256) is Huang & Belongie's for any style.

    `flip` mirrors every other photo.
    """

    enlarge: float | None = None
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def __post_init__(self) -> None:
        if self.enlarge is not None and not 1 <= self.enlarge < math.inf:
            raise OptionError(f"crop: enlarge is {self.enlarge}, need at least 1")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise OptionError(f"crop: scale is {self.scale}, need two ascending numbers in (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise OptionError(f"crop: ratio is {self.ratio}, need two ascending positive numbers")

    def region(self, width: int, height: int, size: int, rng: np.random.Generator) -> Region:
        """The rectangle of a `width` x `height` photo that becomes the square of side `size`."""
        area, ratio, x, y = rng.random(4)  # always four, so that what follows never depends on the photo
        if self.enlarge is not None:
            w = h = min(width, height) / self.enlarge
        else:
            w, h = self._rectangle(width, height, size, area, ratio)
        return Region(x * (width - w), y * (height - h), w, h)

    def _rectangle(self, width: int, height: int, size: int, area: float, ratio: float) -> tuple[float, float]:
        smallest = min(size, width, height)  # of a small photo the whole short side
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        r = math.exp(low + ratio * (high - low))
        least, most = smallest * max(1, r), min(width, height * r)  # widths of the extreme rectangles
        if least > most:
            r, least, most = 1.0, smallest, min(width, height)
        low, high = (min(max(share * width * height, least * least / r), most * most / r) for share in self.scale)
        w = math.sqrt((low + area * (high - low)) * r)
        return min(w, width), min(w / r, height)


def cut(photo: bytes, name: str, size: int, crop: Crop, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The square of side `size` that `crop` and `rng` choose from an encoded photo: (size, size, 3), sRGB.

    Common 8-bit photos take a short way: Pillow decodes large JPEGs at 1/2, 1/4 or 1/8 where that is still
    fine enough, and colours are converted in the square only. All others go through `imaging.read`; what is
    transparent is continued with a mirror image of what shows.

    Raises:
        ImageError: not a picture, a damaged one, transparent everywhere, too large, or with a side of less than 32 px.
    """
    with decoding(name):
        image = _open(photo, name)
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        Limits().check(name, width, height)
        region = crop.region(width, height, size, rng)
        square = _shrink(image, width, region, size)
        if crop.flip and rng.random() < 0.5:
            square = ImageOps.mirror(square)
        return _to_srgb(square)


def _open(photo: bytes, name: str) -> Image.Image:
    """The photo, not yet decoded if it can take the short way."""
    try:
        image: Image.Image = Image.open(io.BytesIO(photo), formats=QUICK_FORMATS)
        if image.mode in ("RGB", "L") and not image.has_transparency_data:
            image.info["icc_profile"] = container_profile(image) or exif_profile(image)
            return image
    except UnidentifiedImageError:
        pass  # another format, or none
    return Image.fromarray(read(io.BytesIO(photo)).opaque().integers(8))


def _shrink(image: Image.Image, width: int, region: Region, size: int) -> Image.Image:
    """The square of side `size` out of an image whose upright width is `width`."""
    factor = min(region.width, region.height) / size
    if factor >= 2:
        image.draft(None, (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    image = ImageOps.exif_transpose(image)
    k = image.width / width  # 1, or about 1/2, 1/4, 1/8
    left, top = region.left * k, region.top * k
    right, bottom = left + region.width * k, top + region.height * k
    box = (left, top, min(right, image.width), min(bottom, image.height))
    return image.resize((size, size), Image.Resampling.BICUBIC, box)


def _to_srgb(square: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(square).reshape(square.height, square.width, -1)
    pixels = to_srgb(pixels, square.info.get("icc_profile"))
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) + 128) // 257
    whole = np.broadcast_to(pixels, (square.height, square.width, 3))
    return np.ascontiguousarray(whole, dtype=np.uint8)
