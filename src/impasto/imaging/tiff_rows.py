"""The strips or rows of tiles of a TIFF, decoded one after the other."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import MissingExtraError
from impasto.imaging.formats import load_imagecodecs

__all__ = ["by_libtiff", "check_library", "decode_page", "decode_rows"]

_KIND, _CODING = tifffile.PHOTOMETRIC, tifffile.COMPRESSION
# Whose decoders in imagecodecs crash the program, or go astray, on damaged files.
_UNSAFE = (_CODING.LZW, _CODING.CCITTRLE, _CODING.CCITTFAX3, _CODING.CCITTFAX4)
_PIECE = 16 << 20  # bytes of an uncompressed strip that are read at a time


def by_libtiff(page: Any) -> bool:
    """Whether strips and tiles go through libtiff: tifffile's own way is not safe, has no YCbCr, or is slow."""
    slow = page.compression == _CODING.PACKBITS and _codecs() is None
    return bool(page.compression in _UNSAFE or _is_ycbcr(page) or slow)


def _codecs() -> Any | None:
    """imagecodecs, if it is there."""
    try:
        return load_imagecodecs("TIFF")
    except MissingExtraError:
        return None


def check_library(page: Any) -> None:
    """MissingExtraError for a page that is read only with imagecodecs, where that is missing."""
    if _codecs() is not None:
        return
    coded = page.compression in (_CODING.NONE, _CODING.LZW, _CODING.ADOBE_DEFLATE, _CODING.DEFLATE, _CODING.PACKBITS)
    whole = page.bitspersample in (1, 8, 16, 32) and page.fillorder == 1
    apart = page.predictor == 1 or (page.predictor == 2 and page.dtype.kind == "u" and page.bitspersample > 1)
    if not (coded and whole and apart) or _is_ycbcr(page):
        coding, kind = (getattr(value, "name", value) for value in (page.compression, page.photometric))
        load_imagecodecs(f"a TIFF of kind {kind} with {page.bitspersample}-bit samples, coded by {coding},", "tiff")


def _is_ycbcr(page: Any) -> bool:
    """YCbCr that is not within JPEG, whose decoder makes RGB of it."""
    return bool(page.photometric == _KIND.YCBCR and page.compression != _CODING.JPEG)


def decode_page(page: Any) -> NDArray[Any]:
    """(H, W, samples), all that `decode_rows` gives."""
    strips = decode_rows(page)
    first = next(strips)
    if len(first) == page.imagelength:
        return first
    whole = np.empty((page.imagelength, *first.shape[1:]), first.dtype)
    top = 0
    for strip in chain([first], strips):
        whole[top : top + len(strip)] = strip
        top += len(strip)
    return whole


def decode_rows(page: Any) -> Iterator[NDArray[Any]]:
    """(n, W, samples) from the top until the page is complete: samples as they are stored, YCbCr as RGB.

    Only one strip, or one row of tiles, is in memory at a time.
    """
    height, width = int(page.imagelength), int(page.imagewidth)
    length = int(page.tilelength) if page.is_tiled else min(int(page.rowsperstrip), height)
    step = int(page.tilewidth) if page.is_tiled else width
    down, across = math.ceil(height / length), math.ceil(width / step)
    planes = int(page.samplesperpixel) if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else 1
    for row in range(down):
        count = min(length, height - row * length)
        if planes == across == 1 and _is_plain(page):
            yield from _pieces(page, row, count)
            continue
        parts = []
        for plane in range(planes):
            first = (plane * down + row) * across
            deep = length if page.is_tiled else count
            blocks = [_block(page, index, deep, step) for index in range(first, first + across)]
            parts.append(np.concatenate([block[:count] for block in blocks], axis=1)[:, :width])
        yield parts[0] if planes == 1 else np.concatenate(parts, axis=2)


def _is_plain(page: Any) -> bool:
    """Whether the samples lie in the file as numpy would have them."""
    whole = page.bitspersample in (8, 16, 32, 64) and page.bitspersample == 8 * page.dtype.itemsize
    return bool(page.compression == _CODING.NONE and whole and page.fillorder == 1 and not _is_ycbcr(page))


def _pieces(page: Any, strip: int, rows: int) -> Iterator[NDArray[Any]]:
    """An uncompressed strip of any size, piece by piece."""
    file, dtype = page.parent.filehandle, page.dtype.newbyteorder(page.parent.byteorder)
    row = int(page.imagewidth) * int(page.samplesperpixel) * dtype.itemsize
    if page.databytecounts[strip] < rows * row:
        raise ValueError(f"a strip of {page.databytecounts[strip]} bytes, need {rows * row}")
    for top in range(0, rows, step := max(1, _PIECE // row)):
        count = min(step, rows - top)
        file.seek(page.dataoffsets[strip] + top * row)
        array = np.frombuffer(file.read(count * row), dtype)
        yield array.reshape(count, page.imagewidth, -1).astype(page.dtype, copy=False)


def _block(page: Any, index: int, rows: int, width: int) -> NDArray[Any]:
    """(rows, width, samples) of one strip or tile."""
    file = page.parent.filehandle
    file.seek(page.dataoffsets[index])
    data = file.read(page.databytecounts[index])
    if by_libtiff(page):
        return _unpack(page, data, rows, width)
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == _CODING.JPEG else {}
    block: NDArray[Any] = page.decode(data, index, _fullsize=bool(page.is_tiled), **tables)[0][0]
    return block


def _unpack(page: Any, data: bytes, rows: int, width: int) -> NDArray[Any]:
    """One strip or tile through libtiff, as a file of its own.

    libtiff would make 8-bit RGB of CMYK and others, so it is told that the samples are plain numbers.
    """
    separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    samples, bits = 1 if separate else int(page.samplesperpixel), int(page.bitspersample)
    imagecodecs = _codecs()
    if imagecodecs is None:
        return _by_pillow(page, data, rows, width, samples)
    if _is_ycbcr(page):
        rgb: NDArray[Any] = imagecodecs.tiff_decode(_file(page, data, rows, width, samples, bits), index=0, asrgb=True)
        return rgb[:, :, :3]
    if bits in (1, 8, 16, 32, 64):
        array: NDArray[Any] = imagecodecs.tiff_decode(_file(page, data, rows, width, samples, bits), index=0)
        array = array.reshape(rows, width, samples)
        return array if bits == 1 else array.view(page.dtype)
    line = math.ceil(width * samples * bits / 8)  # other depths: as bytes, and then apart
    packed = imagecodecs.tiff_decode(_file(page, data, rows, line, 1, 8), index=0)
    found = imagecodecs.packints_decode(packed.tobytes(), page.dtype, bits, runlen=width * samples)
    return np.asarray(found).reshape(rows, width, samples)


def _by_pillow(page: Any, data: bytes, rows: int, width: int, samples: int) -> NDArray[Any]:
    """The same as bytes, by the libtiff in Pillow, for what `check_library` lets pass."""
    line = math.ceil(width * samples * page.bitspersample / 8)
    with Image.open(io.BytesIO(_file(page, data, rows, line, 1, 8, plain=True)), formats=["TIFF"]) as image:
        packed = np.asarray(image)  # (rows, line) uint8
    if page.bitspersample == 1:
        return np.unpackbits(packed, axis=1)[:, : width * samples].reshape(rows, width, samples)
    array: NDArray[Any] = packed.view(page.dtype.newbyteorder(page.parent.byteorder)).reshape(rows, width, samples)
    array = array.astype(page.dtype, copy=False)
    return np.cumsum(array, axis=1, dtype=array.dtype) if page.predictor == 2 else array


def _file(page: Any, data: bytes, rows: int, width: int, samples: int, bits: int, *, plain: bool = False) -> bytes:
    """A TIFF of one strip, which is coded as the page is; `plain` leaves differences as they are."""
    ycbcr = _is_ycbcr(page)
    floats = page.dtype.kind == "f" and page.predictor == tifffile.PREDICTOR.FLOATINGPOINT
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [rows]),
        258: ("H", [bits] * samples),
        259: ("H", [int(page.compression)]),
        262: ("H", [int(_KIND.YCBCR if ycbcr else _KIND.MINISBLACK)]),
        266: ("H", [int(page.fillorder)]),
        273: ("I", [0]),
        277: ("H", [samples]),
        278: ("I", [rows]),
        279: ("I", [len(data)]),
        317: ("H", [int(page.predictor)]),
        339: ("H", [3 if floats else 1] * samples),
    }
    if page.predictor == 1 or plain:
        del entries[317]
    # T4Options, T6Options; the matrix, sampling, position and range of YCbCr
    for code, kind in ((292, "I"), (293, "I"), (529, "R"), (530, "H"), (531, "H"), (532, "R")):
        value = page.tags.valueof(code)
        if value is not None and (code < 500 or ycbcr):
            entries[code] = (kind, [int(part) for part in np.ravel(value)])
    return _written(entries, data, page.parent.byteorder)


def _written(entries: dict[int, tuple[str, list[int]]], data: bytes, order: str) -> bytes:
    """Header, directory, what does not fit into it, then the strip (TIFF 6.0, section 2)."""
    begin = 8 + 2 + 12 * len(entries) + 4
    room = sum(len(values) * (2 if kind == "H" else 4) for kind, values in entries.values())
    entries[273] = ("I", [begin + room])
    table, beyond = struct.pack(order + "H", len(entries)), b""
    for code, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 'H' else 'I'}", *values)
        count = len(values) // 2 if kind == "R" else len(values)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", begin + len(beyond))
        beyond += packed if len(packed) > 4 else b""
        table += struct.pack(order + "HHI", code, {"H": 3, "I": 4, "R": 5}[kind], count) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + table + bytes(4) + beyond.ljust(room, b"\0") + data
