"""From a file, a stream or something in memory to a Picture."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from impasto.errors import ImageError
from impasto.files import shown
from impasto.imaging.colour_tags import container_profile, exif_profile, nclx_profile
from impasto.imaging.formats import is_heif, is_tiff, load_pillow_heif
from impasto.imaging.guards import MAX_MEGAPIXELS, MIN_SIDE, QUIET, Limits, decoding
from impasto.imaging.header import Header
from impasto.imaging.heif import read_deep_avif, read_heif
from impasto.imaging.metadata_files import find_metadata, of_info
from impasto.imaging.opening import first_bytes, open_source
from impasto.imaging.picture import Picture, is_tensor
from impasto.imaging.pixels import Pixels, exif_orientation, from_pillow
from impasto.imaging.png16 import is_png16, read_png16

if TYPE_CHECKING:
    from impasto.types import PictureSource

__all__ = [
    "Header",
    "as_picture",
    "decode",
    "header_of",
    "identified",
    "is_animation",
    "is_source",
    "read",
    "read_header",
]

_PILLOW = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
_OVERSHOOT = 1e-3  # how far outside [0, 1] a float may lie and still be meant as 0 or 1


def read(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_side: int = MIN_SIDE,
) -> Picture:
    """The picture in a file, of several the first; ``"-"`` means standard input.

    Reads JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP and, with the extra ``heif``, HEIC. EXIF orientation is applied,
    colours are converted to sRGB from the embedded ICC profile, or from what else describes them (``colour_tags``;
    PQ and HLG are brought to a screen's range by the EETF of ITU-R BT.2390), alpha is kept apart, PNG, TIFF, AVIF
    and HEIC keep more than 8 bits. Grey, palette, CIELab and CMYK become RGB. The size is checked on the
    header, before any pixel is decoded.

    Raises:
        ImageError: missing, a folder, empty, cut short, damaged, not a picture, of more than
            ``max_megapixels`` (millions of pixels) or with a side below ``min_side`` pixels.
        MissingExtraError: HEIC without pillow-heif.
    """
    file, name = open_source(source)
    label = shown(source if isinstance(source, str | os.PathLike) else name)
    with file, decoding(label):
        pixels = decode(file, label, Limits(max_megapixels, min_side))
        rgb, alpha = pixels.develop()
        metadata = find_metadata(file)
        digest = hashlib.sha256(file.getbuffer()).hexdigest() if isinstance(file, io.BytesIO) else ""
    picture = Picture(rgb, alpha, pixels.bits, name, metadata=metadata)
    object.__setattr__(picture, "digest", digest)
    return picture


def read_header(
    source: str | os.PathLike[str], *, max_megapixels: float = MAX_MEGAPIXELS, min_side: int = MIN_SIDE
) -> Header:
    """What the picture in a file is like, nothing being decoded; limits and errors as of ``read``."""
    file, _ = open_source(source)
    label = shown(source)
    with file, decoding(label):
        header = header_of(file, first_bytes(file, label), label)
        Limits(max_megapixels, min_side).check(label, header.width, header.height)
    return header


def header_of(file: BinaryIO, head: bytes, label: str) -> Header:
    """What a file that begins with `head` tells; raises whatever its library does."""
    if is_heif(head):
        heif = load_pillow_heif().open_heif(file)
        width, height = heif.size
        return Header(width, height, profile=nclx_profile(heif.info))  # turned upright by the library
    if is_tiff(head):
        from impasto.imaging.tiff import tiff_header  # tifffile takes as long to load as a small picture to paint

        return tiff_header(file, label)
    with identified(file, head) as image:
        profile = container_profile(image)
        # Asking Pillow for the EXIF of a PNG decodes it, so only where it was met before the pixels.
        if image.format == "PNG" and "exif" not in image.info and "XML:com.adobe.xmp" not in image.info:
            return Header(*image.size, profile=profile)
        return Header(*image.size, exif_orientation(image), profile=profile or exif_profile(image))


def decode(file: BinaryIO, label: str, limits: Limits) -> Pixels:
    """The pixels in a file of any kind; raises whatever its library does."""
    head = first_bytes(file, label)
    if is_heif(head):
        return read_heif(file, label, limits)
    if is_png16(head):
        return read_png16(file, label, limits)
    if is_tiff(head):
        from impasto.imaging.tiff import read_tiff

        return read_tiff(file, label, limits)
    with identified(file, head) as image:
        limits.check(label, *image.size)
        deep = read_deep_avif(image, file) if image.format == "AVIF" else None
        return from_pillow(image, label) if deep is None else deep


def identified(file: BinaryIO, head: bytes) -> Image.Image:
    """The header alone; what begins like a picture but cannot be understood is damaged, not something else."""
    try:
        return Image.open(file, formats=_PILLOW)
    except UnidentifiedImageError:
        if head.startswith(_SIGNATURES) or head[8:12] == b"WEBP" or head[4:8] == b"ftyp":
            raise OSError("the header cannot be understood") from None
        raise


def is_animation(source: str | os.PathLike[str]) -> bool:
    """Whether a file (GIF, WebP, APNG, AVIF) holds several pictures, to be shown one after the other."""
    file, _ = open_source(source)
    with file:
        head = first_bytes(file, shown(source))
        if head.startswith(b"\xff\xd8") or is_tiff(head) or is_heif(head):
            return False
        try:
            with QUIET, identified(file, head) as image:
                return bool(getattr(image, "is_animated", False))
        except Exception:  # noqa: BLE001  damaged, in a way that is told by whoever reads it, or behind its first picture
            return False


def as_picture(
    image: PictureSource,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_side: int = MIN_SIDE,
) -> Picture:
    """Anything a caller may have in hand, as a Picture; limits and errors are those of ``read``.

    Args:
        image: a path or a binary file (see ``read``); a PIL image of any mode, whose EXIF orientation and ICC
            profile are applied; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), the fourth channel being
            straight alpha, or a tensor (3, H, W) or (1, 3, H, W), of uint8, uint16, bools (a mask's: black and
            white) or floats in [0, 1]; a Picture. Arrays and tensors are sRGB-encoded.
    """
    limits = Limits(max_megapixels, min_side)
    if isinstance(image, Image.Image):
        return _from_image(image, limits)
    if isinstance(image, np.ndarray):
        return _from_array(image, limits)
    if is_tensor(image):
        return _from_tensor(image, limits)
    if isinstance(image, Picture):
        limits.check(shown(image.name), image.width, image.height)
        return image
    if isinstance(image, str | os.PathLike) or hasattr(image, "read"):
        return read(cast("str | BinaryIO", image), max_megapixels=max_megapixels, min_side=min_side)
    raise ImageError(f"{type(image).__name__}: not a picture; give a path, a PIL image, an array or a tensor")


def is_source(value: object) -> bool:
    """Whether it is of a kind that `as_picture` takes."""
    kinds = (str, os.PathLike, Image.Image, np.ndarray, Picture)
    return isinstance(value, kinds) or is_tensor(value) or hasattr(value, "read")


def _from_image(image: Image.Image, limits: Limits) -> Picture:
    name = Path(os.fsdecode(getattr(image, "filename", ""))).name or "image"
    label = shown(name)
    limits.check(label, *image.size)
    try:
        with decoding(label):
            pixels = from_pillow(image, label)
            rgb, alpha = pixels.develop()
    except ImageError as error:
        if _is_closed(image, error.__cause__):
            raise ImageError(f"{label}: the image is closed; give it while it is open, or its `copy()`") from error
        raise
    return Picture(rgb, alpha, pixels.bits, name, metadata=of_info(image.info, image.format))


def _is_closed(image: Image.Image, cause: BaseException | None) -> bool:
    """Whether an image cannot be read because somebody closed it, or its file before anything was read."""
    unread = bool(getattr(image, "tile", ())) and getattr(image, "fp", image) is None
    return unread or "closed image" in str(cause)


def _from_array(array: NDArray[Any], limits: Limits) -> Picture:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"array: shape {array.shape}, need (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    limits.check("array", array.shape[1], array.shape[0])
    array = array[:, :, None] if array.ndim == 2 else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in (np.uint8, np.uint16, np.bool_):
        return _of_numbers(array, "array")
    if array.dtype.kind != "f":
        raise ImageError(f"array: type {array.dtype}, need uint8, uint16, bools or floats in [0, 1]; convert it first")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused below
        values = np.asarray(array, np.float32)
    values = _in_range(values, "array")
    alpha = values[:, :, 3].copy() if values.shape[2] == 4 else None
    rgb = values.repeat(3, axis=2) if values.shape[2] == 1 else values[:, :, :3]
    return Picture(np.ascontiguousarray(rgb), alpha, 8, "array")


def _of_numbers(array: NDArray[Any], name: str) -> Picture:
    """A picture of uint8, uint16 or bools, (H, W, C)."""
    array = array * np.uint8(255) if array.dtype == np.bool_ else array
    pixels = Pixels(array[:, :, :3], array[:, :, 3] if array.shape[2] == 4 else None)
    rgb, alpha = pixels.develop()
    return Picture(rgb, alpha, pixels.bits, name)


def _from_tensor(tensor: Any, limits: Limits) -> Picture:
    shape = tuple(tensor.shape)
    if shape[:-2] not in ((3,), (1, 3)):
        raise ImageError(f"tensor: shape {shape}, need (3, H, W) or (1, 3, H, W), one picture at a time")
    limits.check("tensor", shape[-1], shape[-2])
    if str(tensor.dtype).removeprefix("torch.") in ("uint8", "uint16", "bool"):
        numbers = tensor.cpu().numpy().reshape(shape[-3:]).transpose(1, 2, 0)
        return _of_numbers(np.ascontiguousarray(numbers), "tensor")
    if not tensor.is_floating_point():
        raise ImageError(
            f"tensor: type {tensor.dtype}, need uint8, uint16, bools or floats in [0, 1]; convert it first"
        )
    rgb = tensor.detach().cpu().float().numpy().reshape(shape[-3:]).transpose(1, 2, 0)
    return Picture(np.ascontiguousarray(_in_range(rgb, "tensor")), None, 8, "tensor")


def _in_range(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """A clamped copy; ``ImageError`` for NaN, infinity and values clearly outside [0, 1]."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError(f"{name}: NaN or infinite values, need floats in [0, 1]")
    if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
        raise ImageError(f"{name}: values from {low:g} to {high:g}, need [0, 1]; rescale them first")
    return values.clip(0, 1)
