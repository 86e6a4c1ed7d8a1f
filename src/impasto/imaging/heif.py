"""HEIC by pillow-heif, and the depths of HEIC and AVIF that Pillow would cut to 8 bits."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.imaging.boxes import bits_per_channel
from impasto.imaging.colour_tags import container_profile, exif_profile, nclx_profile
from impasto.imaging.formats import load_imagecodecs, load_pillow_heif
from impasto.imaging.guards import Limits
from impasto.imaging.pixels import Pixels, exif_orientation, from_pillow, unpremultiplied

__all__ = ["read_deep_avif", "read_heif"]


def read_heif(file: BinaryIO, name: str, limits: Limits) -> Pixels:
    """The primary picture, turned upright by the library; of 10 and 12 bits at 16."""
    heif = load_pillow_heif().open_heif(file, convert_hdr_to_8bit=False)
    limits.check(name, *heif.size)
    if ";" not in heif.mode:
        return from_pillow(heif.to_pillow(), name)
    colour, alpha = _split(np.asarray(heif) >> (16 - int(heif.info["bit_depth"])), int(heif.info["bit_depth"]))
    if alpha is not None and "a" in heif.mode:
        colour = unpremultiplied(colour, alpha)
    return Pixels(colour, alpha, nclx_profile(heif.info) or exif_profile(heif.info.get("exif") or b""))


def read_deep_avif(image: Image.Image, file: BinaryIO) -> Pixels | None:
    """An AVIF of 10 or 12 bits, `image` being what Pillow knows of it before it is decoded; None where it has 8."""
    file.seek(0)
    data = file.read()
    bits = bits_per_channel(data)
    if bits <= 8:
        return None
    profile, orientation = container_profile(image), exif_orientation(image)
    array = load_imagecodecs(f"AVIF of {bits} bits").avif_decode(data, index=0)
    if array.shape[:2] != image.size[::-1] or array.dtype != np.uint16:
        raise ValueError(f"{array.shape} {array.dtype} in a picture of {image.width}x{image.height} px, {bits} bits")
    return Pixels(*_split(array, bits), profile or exif_profile(image), orientation)


def _split(array: NDArray[Any], bits: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None]:
    """Colours (H, W, 1 or 3) and alpha (H, W), if there is any, over the full range of 16 bits."""
    array = array[:, :, None] if array.ndim == 2 else array
    top = 2**bits - 1
    full = ((array.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    return (full[:, :, :-1], full[:, :, -1]) if full.shape[2] in (2, 4) else (full, None)
