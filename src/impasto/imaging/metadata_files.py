"""Metadata in the files that hold it: found without decoding a pixel, and put into files that are made."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from PIL import Image

from impasto.imaging.formats import is_heif, is_tiff, load_pillow_heif
from impasto.imaging.ifd import Entry, Table, add_tags, pack_exif, read_tables
from impasto.imaging.metadata import (
    DESCRIPTIVE,
    ORIENTATION,
    UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Metadata,
    keeps_exif,
    resolution,
)

__all__ = ["find_metadata", "no_room", "of_info", "photoshop_block", "png_chunks", "save_options", "tag_tiff"]

_XMP, _IPTC = 700, 33723  # tags of TIFF
_IRB_IPTC = 0x0404  # Photoshop's number for it
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp"
_PILLOW = ("JPEG", "WEBP", "AVIF", "BMP")
_MOST = 1 << 24  # bytes of one kind
_LEAST_DPI, _MOST_DPI = 1, 65535  # that JPEG can say
_JPEG_ROOM = {"exif": 65527, "xmp": 65504, "iptc": 65500}  # bytes in a segment
_WITH_IPTC = ("jpeg", "tiff")
_RESOLUTION = frozenset({ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT})


def find_metadata(file: BinaryIO) -> Metadata:
    """What a picture's file says besides its pixels; what cannot be understood costs no picture.

    The resolution is that of the picture upright.
    """
    try:
        file.seek(0)
        head = file.read(256)
        file.seek(0)
        if head.startswith(_PNG):
            return _of_png(file)
        if is_tiff(head):
            return _of_tiff(file)
        if is_heif(head):
            return of_info(load_pillow_heif().open_heif(file).info)
        with Image.open(file, formats=_PILLOW) as image:
            return of_info(image.info, image.format)
    except Exception:  # noqa: BLE001  cameras and programs write anything there
        return Metadata()
    finally:
        file.seek(0)


def of_info(info: Mapping[Any, Any], format: str | None = None) -> Metadata:  # noqa: A002
    """What Pillow, and pillow-heif, found in a file of this format."""
    exif, xmp, irb = info.get("exif"), info.get("xmp"), info.get("photoshop")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    iptc = irb.get(_IRB_IPTC) if isinstance(irb, dict) else None
    guessed = format in ("JPEG", "MPO") and info.get("jfif_unit") not in (1, 2)  # by Pillow, which says 72 then
    dpi = None if guessed else info.get("dpi")
    return _upright(Metadata(_bytes(exif), _bytes(xmp), _bytes(iptc), _valid(dpi)))


def _bytes(value: Any) -> bytes | None:
    return value.removeprefix(b"Exif\0\0") if isinstance(value, bytes) and 0 < len(value) <= _MOST else None


def _valid(dpi: Any) -> tuple[float, float] | None:
    """A resolution that can be meant, without the noise of pixels per metre."""
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError):
        return None
    if not (_LEAST_DPI < x <= _MOST_DPI and _LEAST_DPI < y <= _MOST_DPI):
        return None
    x, y = (float(round(value)) if abs(value - round(value)) < 0.02 else value for value in (x, y))
    return x, y


def _upright(found: Metadata) -> Metadata:
    """Width and height change places with the picture's; where only EXIF tells the resolution, it is taken there."""
    if found.exif is None:
        return found
    try:
        first, _ = read_tables(io.BytesIO(found.exif), _RESOLUTION.__contains__, lambda _: False)
        return _with_resolution(found, first)
    except (ValueError, struct.error):
        return found


def _with_resolution(found: Metadata, first: Table) -> Metadata:
    dpi = found.dpi
    if dpi is None and X_RESOLUTION in first and Y_RESOLUTION in first:
        unit = {2: 1.0, 3: 2.54}.get(int(first[UNIT].numbers()[0]) if UNIT in first else 2)
        values = [first[tag].numbers()[0] for tag in (X_RESOLUTION, Y_RESOLUTION)]
        dpi = None if unit is None else _valid([value * unit for value in values])
    turned = ORIENTATION in first and first[ORIENTATION].numbers()[0] in (5, 6, 7, 8)
    return Metadata(found.exif, found.xmp, found.iptc, dpi[::-1] if dpi and turned else dpi)


def _of_tiff(file: BinaryIO) -> Metadata:
    wanted = DESCRIPTIVE | _RESOLUTION | {_XMP, _IPTC}
    first, details = read_tables(file, wanted.__contains__, keeps_exif)
    described = {tag: entry for tag, entry in first.items() if tag in DESCRIPTIVE}
    exif = pack_exif(described, details) if described or details else None
    xmp, iptc = first.get(_XMP), first.get(_IPTC)
    found = Metadata(exif, None if xmp is None else xmp.data, None if iptc is None else _iptc_bytes(iptc))
    return _with_resolution(found, first)


def _iptc_bytes(entry: Entry) -> bytes:
    """Many write these bytes as whole numbers of 32 bits, in whatever order."""
    data = entry.data
    if entry.kind == 4 and data[:1] != b"\x1c":
        return b"".join(data[at : at + 4][::-1] for at in range(0, len(data), 4))
    return data


def _of_png(file: BinaryIO) -> Metadata:
    exif = xmp = dpi = None
    for kind, data in _chunks(file):
        if kind == b"eXIf":
            exif = data
        elif kind == b"pHYs" and data[8] == 1:
            x, y = struct.unpack(">2I", data[:8])
            dpi = _valid((x * 0.0254, y * 0.0254))
        elif kind == b"iTXt" and data.startswith(_PNG_XMP + b"\0"):
            xmp = _text(data[len(_PNG_XMP) + 1 :])
        elif kind == b"zTXt" and data.startswith(_PNG_XMP + b"\0"):  # as libvips has it
            xmp = zlib.decompressobj().decompress(data[len(_PNG_XMP) + 2 :], _MOST)
    return _upright(Metadata(_bytes(exif), _bytes(xmp), None, dpi))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Those that are not too large to be read; pixels are passed over."""
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"eXIf", b"pHYs", b"iTXt", b"zTXt") and size <= _MOST:
            yield kind, file.read(size)
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(size + 4, io.SEEK_CUR)


def _text(data: bytes) -> bytes:
    """The text of an iTXt chunk after its keyword: compressed or not, method, language, keyword translated."""
    _, _, text = data[2:].split(b"\0", 2)
    return zlib.decompressobj().decompress(text, _MOST) if data[0] else text


def no_room(metadata: Metadata, key: str) -> tuple[str, ...]:
    """What of it a file of this format cannot hold."""
    lacks = () if key in _WITH_IPTC else ("iptc",)
    return tuple(
        part
        for part in ("exif", "xmp", "iptc")
        if (data := getattr(metadata, part)) is not None
        and (part in lacks or (key == "jpeg" and len(data) > _JPEG_ROOM[part]))
    )


def save_options(metadata: Metadata, key: str) -> dict[str, Any]:
    """Arguments with which Pillow, and pillow-heif, write it into a JPEG, WebP, AVIF or HEIC."""
    left_out = no_room(metadata, key)
    exif, xmp, iptc = (None if part in left_out else getattr(metadata, part) for part in ("exif", "xmp", "iptc"))
    options: dict[str, Any] = {}
    if key == "jpeg":
        options = {"dpi": metadata.dpi, "extra": iptc and _segment(photoshop_block(iptc))}
    elif exif is None and metadata.dpi is not None:
        exif = pack_exif(resolution(metadata.dpi), {})
    options |= {"exif": exif and b"Exif\0\0" + exif, "xmp": xmp}
    return {name: value for name, value in options.items() if value}


def photoshop_block(iptc: bytes) -> bytes:
    """IPTC as JPEG holds it."""
    resource = b"8BIM" + struct.pack(">HHI", _IRB_IPTC, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)
    return b"Photoshop 3.0\0" + resource


def _segment(block: bytes) -> bytes:
    return b"\xff\xed" + struct.pack(">H", len(block) + 2) + block


def png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Kind and content of the chunks that hold it in a PNG, to come before the pixels."""
    chunks = []
    if metadata.dpi is not None:
        chunks.append((b"pHYs", struct.pack(">2IB", *(round(value / 0.0254) for value in metadata.dpi), 1)))
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        chunks.append((b"iTXt", _PNG_XMP + b"\0\0\0\0\0" + metadata.xmp))
    return chunks


def tag_tiff(file: BinaryIO, metadata: Metadata) -> None:
    """Write it into a TIFF that can be read and written."""
    first: dict[int, Entry] = {}
    details: dict[int, Entry] = {}
    if metadata.exif is not None:
        first, details = read_tables(io.BytesIO(metadata.exif), lambda _: True, lambda _: True)
    first |= resolution(metadata.dpi)
    first |= {} if metadata.xmp is None else {_XMP: Entry(1, metadata.xmp)}
    first |= {} if metadata.iptc is None else {_IPTC: Entry(7, metadata.iptc)}
    if first or details:
        add_tags(file, first, details)
