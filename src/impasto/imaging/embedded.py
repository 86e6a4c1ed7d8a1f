"""The recipe in a picture file: one JSON text that tells how it was made. In XMP; PNG has a text chunk, GIF a comment.

Nothing but the given text is embedded. Files are read up to the recipe alone: no pixel is decoded.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from impasto.errors import OutputError
from impasto.files import shown
from impasto.imaging.formats import is_heif, is_tiff, load_pillow_heif
from impasto.imaging.guards import decoding
from impasto.imaging.opening import first_bytes, open_source
from impasto.imaging.png16 import insert_chunks
from impasto.imaging.xmp import MAX_XMP, checked, find_recipe, merge_recipe, stored

__all__ = ["BEGINS", "KEYWORD", "png_with_recipe", "read_recipe", "recipe_xmp"]

KEYWORD = "impasto"  # of PNG's text chunk
BEGINS = '{"impasto":'  # a recipe
_PNG = b"\x89PNG\r\n\x1a\n"
_XMP_IN_TIFF = 700
_XMP_IN_PNG = b"XML:com.adobe.xmp"
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_HOLDS = 65533 - len(_XMP_IN_JPEG)  # bytes
_MOST_PARTS = 1 << 20  # chunks or segments of a file that are looked at


def recipe_xmp(recipe: str, key: str, kept: bytes | None = None) -> bytes:
    """The XMP packet for a file of the format `key`, with what else is to be `kept`.

    Raises:
        OutputError: JPEG has no room for it.
        OptionError, ImageError: as of `merge_recipe`.
    """
    packet = merge_recipe(kept, recipe)
    if key == "jpeg" and len(packet) > _JPEG_HOLDS:
        raise OutputError(f"XMP of {len(packet)} bytes, JPEG holds at most {_JPEG_HOLDS}; use .png or .tiff")
    return packet


def png_with_recipe(data: bytes, recipe: str) -> bytes:
    """A PNG file with the recipe in a text chunk; OptionError as of `stored`."""
    return insert_chunks(data, [(b"tEXt", f"{KEYWORD}\0{stored(recipe)}".encode())])


def read_recipe(source: str | os.PathLike[str] | BinaryIO) -> str | None:
    """The recipe that a picture carries, a JSON text in ASCII; None if it carries none. ``"-"`` is standard input.

    It may have come by another program that kept it: as XMP in a PNG, as a compressed chunk, as an attribute.

    Raises:
        ImageError: missing, not a picture, or damaged as far as was looked at.
        MissingExtraError: HEIC without pillow-heif.
    """
    file, name = open_source(source)
    label = shown(source if isinstance(source, str | os.PathLike) else name)
    with file, decoding(label):
        head = first_bytes(file, label)
        if head.startswith(_PNG):
            return _png_recipe(file)
        if head.startswith(b"GIF8"):
            return _gif_recipe(file)
        xmp = _xmp(file, head)
        return None if xmp is None else find_recipe(xmp)


def _xmp(file: BinaryIO, head: bytes) -> bytes | None:
    """The XMP packet of a file that begins as `head`."""
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg_xmp(file)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp_xmp(file)
    if is_tiff(head):
        return _tiff_xmp(file)
    if is_heif(head):
        return _packet(load_pillow_heif().open_heif(file).info.get("xmp"))
    if head[4:8] == b"ftyp":
        with Image.open(file, formats=["AVIF"]) as image:
            return _packet(image.info.get("xmp"))
    if head.startswith(b"BM"):
        return None
    raise UnidentifiedImageError


def _packet(found: Any) -> bytes | None:
    return found if isinstance(found, bytes) else None


def _take(file: BinaryIO, count: int) -> bytes:
    """So many bytes, or ValueError."""
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it ends too early")
    return data


def _bounded(count: int) -> int:
    if count > MAX_XMP:
        raise ValueError(f"XMP of {count} bytes, at most {MAX_XMP} are read")
    return count


def _jpeg_xmp(file: BinaryIO) -> bytes | None:
    file.seek(2)
    for _ in range(_MOST_PARTS):
        mark, kind = _take(file, 2)
        if mark != 0xFF:
            raise ValueError("no marker where one must be")
        if kind == 0xFF:  # filling
            file.seek(-1, io.SEEK_CUR)
            continue
        if kind in (0xDA, 0xD9):  # pixels, or the end
            return None
        length = int.from_bytes(_take(file, 2), "big") - 2
        if length < 0:
            raise ValueError("a segment without a length")
        body = _take(file, length)
        if kind == 0xE1 and body.startswith(_XMP_IN_JPEG):
            return body[len(_XMP_IN_JPEG) :]
    raise ValueError("too many segments")


def _webp_xmp(file: BinaryIO) -> bytes | None:
    file.seek(12)
    for _ in range(_MOST_PARTS):
        head = file.read(8)
        if not head.strip(b"\0"):
            return None
        kind, length = struct.unpack("<4sI", head)
        if kind == b"XMP ":
            return _take(file, _bounded(length))
        file.seek(length + length % 2, io.SEEK_CUR)
    raise ValueError("too many chunks")


def _tiff_xmp(file: BinaryIO) -> bytes | None:
    import tifffile  # takes as long to load as a small picture to paint

    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        tag = page.tags.get(_XMP_IN_TIFF)
        if tag is None:
            return None
        _bounded(tag.valuebytecount)
        value = tag.value
        if isinstance(value, int):
            value = (value,)
        return bytes(value)


def _gif_recipe(file: BinaryIO) -> str | None:
    """The comment before the first frame that is a recipe."""
    file.seek(10)
    table = _take(file, 3)[0]
    file.seek(3 << (table & 7) + 1 if table & 0x80 else 0, io.SEEK_CUR)  # colours of the whole
    for _ in range(_MOST_PARTS):
        if _take(file, 1) != b"!":  # no extension: a frame, or the end
            return None
        kind, body = _take(file, 1), bytearray()
        while length := _take(file, 1)[0]:
            body += _take(file, length)
            _bounded(len(body))
        if kind == b"\xfe" and body.startswith(BEGINS.encode()):
            return checked(body.decode("ascii"))
    raise ValueError("too many extensions")


def _png_recipe(file: BinaryIO) -> str | None:
    packet: bytes | None = None
    for kind, body in _png_texts(file):
        keyword, _, rest = body.partition(b"\0")
        if keyword == KEYWORD.encode():
            return checked(_png_text(kind, rest).decode("ascii" if kind != b"iTXt" else "utf-8"))
        if keyword == _XMP_IN_PNG:
            packet = _png_text(kind, rest)
    return None if packet is None else find_recipe(packet)


def _png_texts(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the text chunks that may concern us."""
    file.seek(len(_PNG))
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack(">I4s", _take(file, 8))
        if kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, io.SEEK_CUR)
            continue
        begin = _take(file, min(length, len(_XMP_IN_PNG) + 1))
        if begin.split(b"\0")[0] not in (KEYWORD.encode(), _XMP_IN_PNG):
            file.seek(length - len(begin) + 4, io.SEEK_CUR)
            continue
        body = begin + _take(file, _bounded(length) - len(begin))
        if zlib.crc32(kind + body) != int.from_bytes(_take(file, 4), "big"):
            raise ValueError("the checksum of a text is wrong")
        yield kind, body
    raise ValueError("too many chunks")


def _png_text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk after its keyword."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]  # after a language and a translated keyword
    return _inflated(text) if packed else text


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    text = stream.decompress(data, MAX_XMP)
    if not stream.eof:
        raise ValueError("a compressed text that is cut short or too large")
    return text
