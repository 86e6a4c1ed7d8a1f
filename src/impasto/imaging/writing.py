"""From a Picture to a file, never over something that was not meant to go."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from impasto.errors import ImpastoError, OptionError, OutputError
from impasto.files import atomic_path, check_folder, output_error, shown
from impasto.imaging.embedded import png_with_recipe, recipe_xmp
from impasto.imaging.formats import FORMATS, find_format, load_pillow_heif
from impasto.imaging.guards import QUIET
from impasto.imaging.metadata import Metadata
from impasto.imaging.metadata_files import no_room, png_chunks, save_options, tag_tiff
from impasto.imaging.picture import Picture
from impasto.imaging.png8 import encode_png8
from impasto.imaging.png16 import encode_png16, insert_chunks
from impasto.imaging.profiles import SRGB
from impasto.imaging.xmp import without_recipe

__all__ = [
    "COMPRESSION",
    "QUALITY",
    "check_output",
    "check_range",
    "check_side",
    "encode",
    "format_warnings",
    "format_warnings_for",
    "full_chroma",
    "write",
]

QUALITY = 92
COMPRESSION = 2
QUICK_UP_TO = 2  # level of 8-bit PNGs, see `encode_png8`: paintings, which are grainy, hardly become smaller at 6


def check_output(
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Sequence[str | os.PathLike[str]] = (),
    allow_input: bool = False,
    format: str | None = None,  # noqa: A002  the name a caller expects
) -> None:
    """Refuse a bad output path now instead of after the work; ``write`` makes the same checks again.

    Raises:
        OutputError: unknown format; missing or read-only folder; a folder or device; a file that exists, unless
            ``force``; one of ``inputs`` (also by another name or link), unless ``force`` and ``allow_input``;
            a terminal as standard output.
        MissingExtraError: HEIC without pillow-heif.
    """
    if find_format(path, format) == "heic":
        load_pillow_heif()
    name = shown(path)
    if not name:
        raise OutputError("the name of the output is empty: give a file")
    if name == "-":
        if sys.stdout is None or sys.stdout.isatty():
            raise OutputError("-: standard output is a terminal; send it to a file or another program")
        return
    if (found := _found_at(path)) is not None:
        _check_replaced(name, found, force, () if allow_input else inputs)
    check_folder(path)


def _found_at(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What is at the output path already, if anything. OutputError if nothing can be."""
    try:
        return os.stat(path)  # noqa: PTH116  keeps a trailing slash, which Path drops
    except FileNotFoundError:
        return None
    except OSError as error:
        raise output_error(path, error) from error
    except ValueError as error:
        raise OutputError(f"{shown(path)}: not a possible file name ({error}); choose another") from error


def _check_replaced(name: str, found: os.stat_result, force: bool, inputs: Sequence[str | os.PathLike[str]]) -> None:
    """Whether what is found at the output path may be replaced."""
    if stat.S_ISDIR(found.st_mode):
        raise OutputError(f"{name}: a folder; give the name of a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise OutputError(f"{name}: not a plain file; give another name, or - for standard output")
    if (same := _same_input(found, inputs)) is not None:
        raise OutputError(f"{name}: is the input {same}, which would be lost; give another name")
    if not force:
        raise OutputError(f"{name}: exists already; give another name, or `force` to replace it")


def _same_input(found: os.stat_result, inputs: Sequence[str | os.PathLike[str]]) -> str | None:
    """The input that is the very file found at the output path, whatever both are called."""
    for path in inputs:
        try:
            if os.path.samestat(found, os.stat(path)):  # noqa: PTH116
                return shown(path)
        except (OSError, ValueError):  # standard input, or gone in the meantime
            continue
    return None


def format_warnings(
    picture: Picture,
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
    *,
    keep_metadata: bool = False,
) -> tuple[str, ...]:
    """What of ``picture`` the format cannot hold, a sentence each: for a front end to say."""
    metadata = picture.metadata if keep_metadata else None
    return format_warnings_for(
        path, alpha=picture.alpha is not None, bits=picture.bits, format=format, metadata=metadata
    )


def format_warnings_for(
    path: str | os.PathLike[str],
    *,
    alpha: bool,
    bits: int,
    format: str | None = None,  # noqa: A002
    metadata: Metadata | None = None,
) -> tuple[str, ...]:
    """`format_warnings` of a picture with or without alpha, of so many bits a channel, and of metadata to be kept."""
    key = find_format(path, format)
    row = FORMATS[key]
    told = []
    if alpha and not row.alpha:
        told.append(f"{row.name} has no transparency: the picture is laid on white")
    if bits > row.bits:
        told.append(f"{row.name} is written with {row.bits} bits per channel: the picture came with {bits}")
    if metadata is not None and (parts := no_room(metadata, key)):
        told.append(f"{row.name} has no room for the photo's {' and '.join(parts).upper()}: it is left out")
    return tuple(told)


def write(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    inputs: Sequence[str | os.PathLike[str]] = (),
    allow_input: bool = False,
    format: str | None = None,  # noqa: A002
    quality: int = QUALITY,
    compression: int = COMPRESSION,
    keep_metadata: bool = False,
    recipe: str | None = None,
) -> None:
    """Write a picture with the sRGB profile embedded; the file appears whole or not at all.

    Args:
        picture: what is written.
        path: its suffix tells the format: JPEG, PNG, WebP, TIFF, AVIF or, with the extra ``heif``, HEIC.
            ``"-"`` is standard output, PNG unless ``format`` says otherwise.
        force, inputs, allow_input: see ``check_output``.
        format: a name such as ``"jpeg"`` or ``"png"``, which wins over the suffix.
        quality: 1 to 100, for JPEG, WebP, AVIF and HEIC; JPEG keeps full colour resolution from 90 on.
        compression: 0 to 9, deflate level of PNG and TIFF.
        keep_metadata: also write what the picture's file said in EXIF, XMP and, into JPEG and TIFF, IPTC, made true
            of this picture: without GPS, thumbnails and maker's notes, upright, of this size and in sRGB.
        recipe: a JSON text to embed, which ``read_recipe`` gives back.

    The resolution in dots per inch is kept in any case. A 16-bit picture stays one in PNG and TIFF. Alpha is kept by
    all formats but JPEG, where the picture is laid on white, as a page shows it (``format_warnings`` tells in advance).

    Raises:
        OutputError: as ``check_output``; also a full disk, or a picture too large for the format.
        OptionError: ``quality`` or ``compression`` out of range, or ``recipe`` too long or not JSON.
        ImageError: the picture holds NaN.
    """
    check_output(path, force=force, inputs=inputs, allow_input=allow_input, format=format)
    key = find_format(path, format)
    row = FORMATS[key]
    check_side(path, (picture.height, picture.width), key)
    try:
        data = encode(
            picture, key, quality=quality, compression=compression, keep_metadata=keep_metadata, recipe=recipe
        )
    except ImpastoError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise OutputError(f"{shown(path)}: {row.name} could not be made ({error}); try .png") from error
    if os.fspath(path) == "-":
        _to_stdout(data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(f"-: standard output cannot be written ({error.strerror}); name a file") from error


def encode(
    picture: Picture,
    format: str,  # noqa: A002
    *,
    quality: int = QUALITY,
    compression: int = COMPRESSION,
    keep_metadata: bool = False,
    recipe: str | None = None,
) -> bytes:
    """The bytes of the file that ``write`` makes, for a web server or an archive; options as there."""
    check_range("quality", quality, 1, 100)
    check_range("compression", compression, 0, 9)
    key = find_format("", format)
    bits = min(picture.bits, FORMATS[key].bits)
    array = picture.integers(bits, with_alpha=FORMATS[key].alpha)  # (H, W, 3 or 4)
    metadata = picture.metadata.of_painting((picture.height, picture.width), everything=keep_metadata)
    if metadata.xmp is not None:  # a photo that was painted before may carry another picture's
        metadata = replace(metadata, xmp=without_recipe(metadata.xmp))
    if key == "png":
        png = encode_png16(array, compression, SRGB) if bits == 16 else _encode_png(array, compression)
        png = insert_chunks(png, png_chunks(metadata))
        return png if recipe is None else png_with_recipe(png, recipe)
    if recipe is not None:
        metadata = replace(metadata, xmp=recipe_xmp(recipe, key, metadata.xmp))
    if key == "tiff":
        from impasto.imaging.tiff import encode_tiff

        tiff = io.BytesIO(encode_tiff(array, compression, SRGB))
        tag_tiff(tiff, metadata)
        return tiff.getvalue()
    image = Image.fromarray(array)
    image.info["icc_profile"] = SRGB
    options = save_options(metadata, key)
    file = io.BytesIO()
    with QUIET:
        if key == "heic":
            load_pillow_heif().from_pillow(image).save(file, quality=quality, **options)
        elif key == "jpeg":
            sampling = "4:4:4" if full_chroma(quality) else "4:2:0"
            image.save(file, "JPEG", quality=quality, subsampling=sampling, icc_profile=SRGB, **options)
        else:
            image.save(file, key.upper(), quality=quality, icc_profile=SRGB, **options)
    return file.getvalue()


def _encode_png(array: NDArray[Any], compression: int) -> bytes:
    if 0 < compression <= QUICK_UP_TO:
        return encode_png8(array, compression, SRGB)
    file = io.BytesIO()
    with QUIET:
        Image.fromarray(array).save(file, "PNG", compress_level=compression, icc_profile=SRGB)
    return file.getvalue()


def check_side(path: str | os.PathLike[str], size: tuple[int, int], key: str) -> None:
    """OutputError for a (height, width) that the format has no room for."""
    row = FORMATS[key]
    if max(size) > row.longest_side:
        raise OutputError(
            f"{shown(path)}: {size[1]}x{size[0]} px, {row.name} holds at most {row.longest_side} per side; "
            "use .png or .tiff"
        )


def full_chroma(quality: int) -> bool:
    """Whether JPEG keeps the resolution of colours: painted strokes are thin and colourful, halving shows on them."""
    return quality >= 90


def check_range(option: str, value: int, low: int, high: int) -> None:
    """OptionError for a value out of range."""
    if not low <= value <= high:
        raise OptionError(f"{option} {value}: need a whole number from {low} to {high}")
