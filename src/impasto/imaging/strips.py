"""Pictures too large for memory: decoded and encoded strip by strip, with pyvips (extra ``huge``).

A file is decoded once, from the top, into a `PixelFile`, whose rows may then be read in any order; what is to be
written is gathered in another and encoded from there. Colours, orientation and transparency are handled by what
handles them for pictures in memory, so both ways see the same values.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.errors import ImageError, MissingExtraError, OutputError
from impasto.files import atomic_path, shown
from impasto.imaging.embedded import KEYWORD, recipe_xmp
from impasto.imaging.formats import FORMATS, find_format, is_tiff
from impasto.imaging.guards import MAX_MEGAPIXELS, MIN_SIDE, QUIET, decoding
from impasto.imaging.header import Header
from impasto.imaging.ifd import Entry, pack_exif
from impasto.imaging.metadata import COLOUR_SPACE, Metadata, resolution
from impasto.imaging.metadata_files import find_metadata, no_room, photoshop_block, tag_tiff
from impasto.imaging.pixelfile import PixelFile, Strips
from impasto.imaging.pixels import Pixels, upright
from impasto.imaging.profiles import SRGB, to_srgb
from impasto.imaging.reading import read_header
from impasto.imaging.writing import COMPRESSION, QUALITY, check_range, check_side, full_chroma
from impasto.imaging.xmp import stored, without_recipe

__all__ = ["FORMATS_BY_STRIPS", "check_readable", "check_writable", "decode_strips", "encode_strips", "load_pyvips"]

STRIP = 1 << 20  # px that are decoded at a time
FORMATS_BY_STRIPS = ("jpeg", "png", "tiff")
_BIG = 3 << 30  # bytes of pixels from which on a TIFF is written as BigTIFF
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}


def load_pyvips(what: str = "this") -> Any:
    """The optional library; MissingExtraError where it is not installed, which begins with `what`."""
    try:
        import pyvips
    except (ImportError, OSError) as error:  # OSError: pyvips is there, but the library that it calls is not
        raise MissingExtraError("pyvips", "huge", what) from error
    pyvips.cache_set_max(0)  # it would remember files by their names, also where they have changed
    return pyvips


def check_readable(path: str | os.PathLike[str], why: str) -> None:
    """ImageError that ends with `why` strips are needed, unless the file begins as one that can be read so."""
    with decoding(shown(path)):
        if _loader(_head(Path(path))) is None:
            raise ImageError(f"{shown(path)}: only JPEG, PNG and TIFF are read by strips, and {why}; convert it")


def check_writable(path: str | os.PathLike[str], why: str) -> None:
    """OutputError that ends with `why` strips are needed, unless the format can be written so."""
    if os.fspath(path) == "-" or find_format(path) not in FORMATS_BY_STRIPS:
        raise OutputError(f"{shown(path)}: only .tif, .png and .jpg files are written by strips, and {why}; name one")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _loader(head: bytes) -> str | None:
    if head.startswith(b"\xff\xd8\xff"):
        return "jpegload"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "pngload"
    return "tiffload" if is_tiff(head) else None


def decode_strips(
    path: str | os.PathLike[str],
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_side: int = MIN_SIDE,
    folder: str | os.PathLike[str] | None = None,
) -> Strips:
    """Decode a JPEG, PNG or TIFF into a temporary file in `folder`, as `reading.read` would.

    By pyvips; a TIFF of a kind that it cannot read, or takes for another, strip by strip by `tiff_strips`.

    Raises:
        ImageError: as `read`; also a TIFF that must be decoded so and whose strips fill more than 1 GB each.
        MissingExtraError: pyvips is not installed.
        OutputError: the disk has no room.
    """
    header = read_header(path, max_megapixels=max_megapixels, min_side=min_side)
    vips, label, path = load_pyvips(), shown(path), Path(path)
    with decoding(label):
        loader = _loader(_head(path))
        if loader is None:
            raise ImageError(f"{label}: only JPEG, PNG and TIFF are read by strips; convert it")
        if not header.by_vips:
            from impasto.imaging.tiff import tiff_strips

            with path.open("rb") as file:
                return _gather(tiff_strips(file, label), header, path, folder)
        try:
            options = {"page": header.page[0], "subifd": header.page[1]} if loader == "tiffload" else {}
            image = getattr(vips.Image, loader)(str(path), access="sequential", fail_on="error", **options)
            if (image.width, image.height) != (header.width, header.height):
                size = f"{header.width}x{header.height} px"
                raise ValueError(f"{image.width}x{image.height} px, but {size} at a second look")
            return _gather(_from_vips(vips, image, header, label), header, path, folder)
        except vips.Error as error:
            raise ValueError(_reason(error)) from error


def _gather(decoded: Iterator[Pixels], header: Header, path: Path, folder: str | os.PathLike[str] | None) -> Strips:
    """All strips of a picture, from the top, in a temporary file: upright and in sRGB."""
    opened = next(decoded)
    first = _developed(opened)
    pixels = PixelFile(header.size, first.shape[2], 8 * first.dtype.itemsize, folder)
    top, mirrored = 0, header.orientation in (3, 4, 6, 7)
    for strip in chain([first], map(_developed, decoded)):
        bottom = top + len(strip)
        place = header.height - bottom if mirrored else top
        # Where the camera was turned, a strip of rows is one of columns.
        pixels.write(0 if header.turned else place, upright(strip, header.orientation), place if header.turned else 0)
        top = bottom
    with path.open("rb") as file:
        metadata = find_metadata(file)
    return Strips(pixels, opened.bits, path.name, metadata)


def _developed(pixels: Pixels) -> NDArray[Any]:
    """(n, W, C) in sRGB, with alpha as the last channel if there is any."""
    colour = to_srgb(pixels.colour, pixels.profile)
    if pixels.alpha is None:
        return colour
    alpha = pixels.alpha[:, :, None]
    if colour.dtype.itemsize > alpha.dtype.itemsize:  # a profile was applied at 16 bits
        alpha = alpha.astype(np.uint16) * 257
    return np.concatenate([colour, alpha], axis=2)


def _colours(image: Any, label: str) -> int:
    """How many of the channels are colours."""
    colours = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb": 3, "rgb16": 3, "cmyk": 4}.get(image.interpretation)
    if colours is None or image.format not in _DTYPES or image.bands < colours:
        raise ImageError(
            f"{label}: {image.bands} channels of kind {image.interpretation} with samples of type {image.format}; by "
            "strips, grey, RGB and CMYK of 8 or 16 bits are read: convert it first"
        )
    return colours


def _from_vips(vips: Any, image: Any, header: Header, label: str) -> Iterator[Pixels]:
    """Strips from the top, as they are stored."""
    region, dtype, colours = vips.Region.new(image), _DTYPES.get(image.format), _colours(image, label)
    alpha = None if header.alpha is None or not image.hasalpha() else colours + header.alpha
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        count = min(rows, image.height - top)
        raw = np.frombuffer(region.fetch(0, top, image.width, count), dtype)
        array = raw.reshape(count, image.width, image.bands)
        yield Pixels(array[:, :, :colours], None if alpha is None else array[:, :, alpha], header.profile)


def _reason(error: Any) -> str:
    """The last and most telling of the lines that pyvips puts into an error."""
    lines = [line.strip() for line in str(getattr(error, "detail", "") or error).splitlines()]
    return next((line for line in reversed(lines) if line), "pyvips does not tell why")


def encode_strips(
    pixels: PixelFile,
    path: str | os.PathLike[str],
    *,
    quality: int = QUALITY,
    compression: int = COMPRESSION,
    metadata: Metadata | None = None,
    keep_metadata: bool = False,
    recipe: str | None = None,
) -> None:
    """Write RGB or RGBA from a named `PixelFile` with the sRGB profile embedded; the file appears whole or not at all.

    The path's suffix tells the format, one of `FORMATS_BY_STRIPS`; a TIFF too large for offsets of 32 bits becomes a
    BigTIFF. `quality`, `compression`, `keep_metadata` and `recipe` are those of `writing.write`, and so are the errors;
    `metadata` is the photo's. Whether there is a file already is for `check_output`, which comes first.
    """
    vips, key = load_pyvips(), find_format(path)
    check_range("quality", quality, 1, 100)
    check_range("compression", compression, 0, 9)
    size = (pixels.height, pixels.width)
    check_side(path, size, key)
    held = (metadata or Metadata()).of_painting(size, everything=keep_metadata)
    if held.xmp is not None:
        held = replace(held, xmp=without_recipe(held.xmp))
    if recipe is not None and key != "png":
        held = replace(held, xmp=recipe_xmp(recipe, key, held.xmp))
    with QUIET, atomic_path(path) as temporary:
        try:
            # As a TIFF and not as raw pixels, which would be mapped and then count as memory of the process.
            image = vips.Image.tiffload(str(pixels.file.path), access="sequential", fail_on="error").copy()
            image.set_type(vips.GValue.blob_type, "icc-profile-data", SRGB)
            image = _described(vips, image, held, key)
            if recipe is not None and key == "png":  # becomes a zTXt chunk of Latin-1: what is stored is ASCII
                image.set_type(vips.GValue.gstr_type, f"png-comment-0-{KEYWORD}", stored(recipe))
            _save(image, key, str(temporary), quality, compression, big=pixels.bytes > _BIG)
        except vips.Error as error:
            raise OutputError(f"{shown(path)}: {FORMATS[key].name} could not be made ({_reason(error)})") from error
        if key == "tiff":
            with temporary.open("rb+") as file:
                tag_tiff(file, held)


def _described(vips: Any, image: Any, metadata: Metadata, key: str) -> Any:
    """The image with what a JPEG or PNG is to say; TIFF is told afterwards, since pyvips writes no EXIF there."""
    x, y = metadata.dpi or (72.0, 72.0)  # pyvips knows no "unknown"
    image = image.copy(xres=x / 25.4, yres=y / 25.4)  # px per mm
    image.set_type(vips.GValue.gstr_type, "resolution-unit", "in")
    left_out = no_room(metadata, key)
    exif = metadata.exif
    if exif is None and metadata.dpi and key == "jpeg":  # where pyvips writes it nowhere else
        exif = pack_exif(resolution(metadata.dpi), {COLOUR_SPACE: Entry.shorts(1)})
    parts = {"exif": exif and b"Exif\0\0" + exif, "xmp": metadata.xmp}
    parts["iptc"] = metadata.iptc and photoshop_block(metadata.iptc)
    for name, data in parts.items():
        if data and name not in left_out and key != "tiff":
            image.set_type(vips.GValue.blob_type, f"{name}-data", data)
    return image


def _save(image: Any, key: str, path: str, quality: int, compression: int, *, big: bool) -> None:
    # Asked to keep EXIF, pyvips makes some up where there is none.
    parts = (part for part in ("exif", "xmp", "iptc") if image.get_typeof(f"{part}-data"))
    keep = "|".join(["icc", "other", *parts])  # other: comments of PNG
    if key == "jpeg":
        image.jpegsave(path, Q=quality, subsample_mode="off" if full_chroma(quality) else "on", keep=keep)
    elif key == "png":
        image.pngsave(path, compression=compression, keep=keep)
    else:
        image.tiffsave(path, compression="deflate", level=compression, predictor="horizontal", bigtiff=big, keep=keep)
