"""The formats a picture can be written in, and how to find the one that is meant."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from impasto.errors import OutputError, load_library
from impasto.files import shown

__all__ = [
    "FORMATS",
    "Format",
    "find_format",
    "is_film",
    "is_heif",
    "is_tiff",
    "load_imagecodecs",
    "load_pillow_heif",
]


@dataclass(frozen=True)
class Format:
    """What a file format can hold: transparency, bits per channel, pixels per side."""

    name: str
    suffixes: tuple[str, ...]
    alpha: bool = True
    bits: int = 8
    longest_side: int = 2**31 - 1


FORMATS = {
    "jpeg": Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, longest_side=65500),
    "png": Format("PNG", (".png",), bits=16),
    "webp": Format("WebP", (".webp",), longest_side=16383),
    "tiff": Format("TIFF", (".tif", ".tiff"), bits=16),
    "avif": Format("AVIF", (".avif",), longest_side=65536),
    "heic": Format("HEIC", (".heic", ".heif")),
}

_BY_SUFFIX = {suffix: key for key, row in FORMATS.items() for suffix in row.suffixes}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_FILM_BRANDS = (b"iso", b"mp4", b"avc", b"qt  ", b"M4V", b"MSNV", b"XAVC", b"3gp", b"3g2", b"dash", b"f4v")
_FILM_STARTS = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3", b"0&\xb2u\x8ef\xcf\x11")


def find_format(path: str | os.PathLike[str], wanted: str | None = None) -> str:
    """The key in ``FORMATS`` for a path or for a name such as ``jpg``; PNG for ``"-"`` (standard output)."""
    if wanted is not None:
        key = wanted.lower().removeprefix(".")
        if key not in FORMATS and f".{key}" not in _BY_SUFFIX:
            raise OutputError(f"format {shown(wanted)}: not known; give one of {', '.join(FORMATS)}")
        return key if key in FORMATS else _BY_SUFFIX[f".{key}"]
    if os.fspath(path) == "-":
        return "png"
    suffix = PurePath(path).suffix.lower()
    if os.fspath(path).endswith(("/", os.sep)) or (not suffix and os.path.isdir(path)):  # noqa: PTH112  as written
        inside = os.path.join(path, "painting.png")  # noqa: PTH118  as it was written
        raise OutputError(f"{shown(path)}: is the name of a folder, need that of a file, such as {shown(inside)}")
    if suffix not in _BY_SUFFIX:
        known = " ".join(row.suffixes[0] for row in FORMATS.values())
        got = f"pictures cannot be written as {shown(suffix)}" if suffix else "no suffix tells the format"
        raise OutputError(f"{shown(path)}: {got}; use one of {known}")
    return _BY_SUFFIX[suffix]


def is_heif(head: bytes) -> bool:
    """Whether the first bytes of a file announce HEIC, and not AVIF, which shares its container."""
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    return bool(brands & _HEIC_BRANDS)


def is_film(head: bytes) -> bool:
    """Whether a file begins as films do: MP4, MOV and their like, Matroska, WebM, AVI, Ogg, FLV, MPEG, WMV."""
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        return brand.startswith(_FILM_BRANDS)
    return (
        kind in (b"moov", b"mdat", b"wide") or head.startswith(_FILM_STARTS) or (head[:4], brand) == (b"RIFF", b"AVI ")
    )


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as TIFF or BigTIFF does."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def load_pillow_heif() -> Any:
    """The optional library that reads and writes HEIC."""
    return load_library("pillow_heif", "heif", "HEIC")


def load_imagecodecs(what: str, extra: str = "deep") -> Any:
    """The optional library for what Pillow cannot do; MissingExtraError, beginning with `what`, where it is missing."""
    return load_library("imagecodecs", extra, what)
