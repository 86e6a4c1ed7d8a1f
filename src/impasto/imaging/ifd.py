"""Tables of tags as TIFF has them and EXIF borrows them (TIFF 6.0, section 2; BigTIFF; Exif 2.32, section 4.6)."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["EXIF", "Entry", "Table", "add_tags", "pack_exif", "read_tables"]

EXIF = 34665  # the tag that tells where the table of EXIF begins
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
_RATIONALS = (5, 10)  # two numbers each
_MOST_ENTRIES, _MOST_BYTES = 1000, 1 << 24


@dataclass(frozen=True)
class Entry:
    """A tag's value: its type by TIFF's number, and its bytes, little-endian whatever the file had."""

    kind: int
    data: bytes

    @classmethod
    def shorts(cls, *values: int) -> Entry:
        """Numbers of 16 bits without sign."""
        return cls(3, struct.pack(f"<{len(values)}H", *values))

    @classmethod
    def longs(cls, *values: int) -> Entry:
        """Numbers of 32 bits without sign."""
        return cls(4, struct.pack(f"<{len(values)}I", *values))

    @classmethod
    def rational(cls, value: float) -> Entry:
        """To four decimals."""
        return cls(5, struct.pack("<2I", round(value * 10000), 10000))

    def numbers(self) -> tuple[float, ...]:
        """The values of whole numbers and positive fractions; ValueError for other types."""
        if self.kind == 5:
            parts = struct.unpack(f"<{len(self.data) // 4}I", self.data)
            return tuple(top / bottom if bottom else 0.0 for top, bottom in zip(parts[::2], parts[1::2], strict=True))
        code = {1: "B", 3: "H", 4: "I"}.get(self.kind)
        if code is None:
            raise ValueError(f"type {self.kind} where a number is needed")
        return struct.unpack(f"<{len(self.data) // _SIZES[self.kind]}{code}", self.data)


Table = Mapping[int, Entry]


@dataclass(frozen=True)
class _Layout:
    """How a file writes its numbers: byte order, and the widths of classic TIFF or BigTIFF."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def row(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    def turned(self, data: bytes, kind: int) -> bytes:
        """From little-endian to the file's order, or back."""
        unit = _SIZES[kind] // (2 if kind in _RATIONALS else 1)
        if self.order == "<" or unit == 1:
            return data
        return b"".join(data[at : at + unit][::-1] for at in range(0, len(data), unit))


def _begin(file: BinaryIO) -> tuple[_Layout, int, int]:
    """How the file is laid out, where its header keeps the place of the first table, and that place."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise ValueError("no table of tags")
    layout = _Layout(order, struct.unpack_from(order + "H", head, 2)[0] == 43)
    place = 8 if layout.big else 4
    return layout, place, layout.offset.unpack_from(head, place)[0]


def read_tables(
    file: BinaryIO, wanted: Callable[[int], bool], wanted_of_exif: Callable[[int], bool]
) -> tuple[dict[int, Entry], dict[int, Entry]]:
    """The first table of a TIFF or of an EXIF block, and its table of EXIF, empty if there is none.

    ValueError or struct.error where it is damaged. Of other tags than those `wanted` nothing is read.
    """
    layout, _, place = _begin(file)
    first = _read(file, place, layout, lambda tag: tag == EXIF or wanted(tag))
    pointer = first.pop(EXIF, None)
    if pointer is None:
        return first, {}
    return first, _read(file, int.from_bytes(pointer.data, "little"), layout, wanted_of_exif)


def _read(file: BinaryIO, place: int, layout: _Layout, wanted: Callable[[int], bool]) -> dict[int, Entry]:
    found = {}
    for raw in _rows(file, place, layout):
        tag, kind, count, value = layout.row.unpack(raw)
        size = _SIZES.get(kind, 0) * count
        if not wanted(tag) or not 0 < size <= _MOST_BYTES:
            continue
        if size > len(value):
            file.seek(layout.offset.unpack(value)[0])
            value = file.read(size)
        if len(value) < size:
            raise ValueError(f"tag {tag} lies outside the file")
        found[tag] = Entry(kind, layout.turned(value[:size], kind))
    return found


def _rows(file: BinaryIO, place: int, layout: _Layout) -> list[bytes]:
    file.seek(place)
    (count,) = layout.count.unpack(file.read(layout.count.size))
    if count > _MOST_ENTRIES:
        raise ValueError(f"{count} tags")
    rows = [file.read(layout.row.size) for _ in range(count)]
    if rows and len(rows[-1]) < layout.row.size:
        raise ValueError("the table of tags is cut short")
    return rows


def _packed(table: Table, place: int, layout: _Layout) -> tuple[list[bytes], bytes]:
    """The rows of a table, in order, and the values that have no room in them, which will lie at `place`."""
    rows, values = [], b""
    for tag, entry in sorted(table.items()):
        data = layout.turned(entry.data, entry.kind)
        value = data
        if len(data) > layout.offset.size:
            value = layout.offset.pack(place + len(values))
            values += data + b"\0" * (len(data) % 2)
        rows.append(layout.row.pack(tag, entry.kind, len(data) // _SIZES[entry.kind], value))
    return rows, values


def _table(rows: list[bytes], layout: _Layout, following: bytes | None = None) -> bytes:
    following = layout.offset.pack(0) if following is None else following
    return layout.count.pack(len(rows)) + b"".join(rows) + following


def pack_exif(first: Table, exif: Table) -> bytes:
    """A block of EXIF, without the ``Exif`` that JPEG puts before it: the first table and that of EXIF."""
    file = io.BytesIO(b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    add_tags(file, first, exif)
    return file.getvalue()


def add_tags(file: BinaryIO, first: Table, exif: Table) -> None:
    """Append tags to the first table of a TIFF that can be read and written; those it has already are replaced.

    The tables are written at the end, where there is room; OverflowError or struct.error if that is too far for it.
    """
    layout, header, place = _begin(file)
    old = {layout.row.unpack(raw)[0]: raw for raw in _rows(file, place, layout)}
    following = file.read(layout.offset.size)
    at = file.seek(0, os.SEEK_END)
    file.write(b"\0" * (at % 2))
    at += at % 2
    if exif:
        rows, values = _packed(exif, at, layout)
        file.write(values + _table(rows, layout))
        pointer = Entry(18 if layout.big else 4, struct.pack("<Q" if layout.big else "<I", at + len(values)))
        first = {**first, EXIF: pointer}
        at = file.tell()
    rows, values = _packed(first, at, layout)
    new = old | {layout.row.unpack(raw)[0]: raw for raw in rows}
    file.write(values + _table([new[tag] for tag in sorted(new)], layout, following))
    file.seek(header)
    file.write(layout.offset.pack(at + len(values)))
