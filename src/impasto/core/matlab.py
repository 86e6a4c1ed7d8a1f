"""Values in MATLAB's files: version 5, which this reads itself, and 7.3, which is HDF5 and read by pyfive.

Numbers come out as arrays of MATLAB's own dimensions; cells as lists in MATLAB's order, which goes down the columns;
structures as dicts, or as lists of them. https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.core.hdf5 import open_hdf5
from impasto.errors import WeightsError, load_library

__all__ = ["is_matlab", "read_matlab"]

HEADER: Final = 128
HDF5: Final = b"\x89HDF\r\n\x1a\n"
USER_BLOCK: Final = 512  # bytes before HDF5 begins
VERSION: Final = 8  # where its version stands
BASE: Final = {0: 24, 1: 28, 2: 12, 3: 12}  # and, by that, how many bytes are said to be before it
LARGEST: Final = 1_000_000_000  # bytes that are unpacked in all
DEEPEST: Final = 16  # values inside one another
MOST: Final = 100_000  # values
_NUMBERS: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS: Final = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, PACKED = 14, 15
CELL, STRUCT, CHAR = 1, 2, 4

Value = Any


def is_matlab(path: Path) -> bool:
    """Whether a file begins as MATLAB's of version 5 or 7.3 do."""
    with path.open("rb") as handle:
        head = handle.read(HEADER)
    return head.startswith(b"MATLAB ") and head[126:128] in (b"IM", b"MI")


def read_matlab(path: Path, wanted: Callable[[str], bool]) -> dict[str, Value]:
    """The variables whose names are `wanted`.

    Raises:
        WeightsError: the file is damaged, or holds more than any network has.
        MissingExtraError: it is of version 7.3, and the library pyfive is not installed.
    """
    with path.open("rb") as handle:
        handle.seek(USER_BLOCK)
        newer = handle.read(len(HDF5)) == HDF5
    library = load_library("pyfive", "keras", "reading MATLAB's files of version 7.3") if newer else None
    try:
        return _of_hdf5(path, wanted, library) if newer else _Reader(path.read_bytes()).variables(wanted)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:  # damaged HDF5 can fail in any way whatever
        raise WeightsError(f"{path}: damaged: {type(error).__name__}: {error}".splitlines()[0]) from error


# -- version 5 --------------------------------------------------------------------------------------------------------


class _Reader:
    """Elements: a type and a size in bytes, then so many bytes, and none up to a multiple of eight."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order: Literal["<", ">"] = "<" if data[126:128] == b"IM" else ">"
        self.room, self.count = LARGEST, 0

    def variables(self, wanted: Callable[[str], bool]) -> dict[str, Value]:
        out = {}
        for kind, content in self.elements(memoryview(self.data)[HEADER:]):
            inner = self.unpacked(content) if kind == PACKED else content
            if kind == PACKED:
                kind, inner = next(self.elements(inner))
            if kind == MATRIX:
                name, value = self.matrix(inner, 0, wanted)
                if wanted(name):
                    out[name] = value
        return out

    def unpacked(self, content: memoryview) -> memoryview:
        """Compressed, it holds one element."""
        machine = zlib.decompressobj()
        data = machine.decompress(content, self.room)
        if machine.unconsumed_tail:
            raise ValueError("it holds more than any network has")
        self.room -= len(data)
        return memoryview(data)

    def elements(self, view: memoryview) -> Iterator[tuple[int, memoryview]]:
        at = 0
        while at + 8 <= len(view):
            kind, size = struct.unpack_from(f"{self.order}II", view, at)
            if kind >> 16:  # up to four bytes lie in the place of the size
                kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
                if size > 4:
                    raise ValueError(f"an element of {size} bytes where four can be")
            else:
                start = at + 8
                end = start + size + (-size % 8 if kind != PACKED else 0)
            if start + size > len(view):
                raise ValueError("an element goes beyond the end")
            yield kind, view[start : start + size]
            at = end

    def matrix(self, view: memoryview, depth: int, wanted: Callable[[str], bool] | None = None) -> tuple[str, Value]:
        """Name and value of an array; a value that is not `wanted` is not read."""
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise ValueError("it has more values, or deeper ones, than a network has")
        if not len(view):
            return "", np.empty((0, 0))
        parts = self.elements(view)
        flags = self.numbers(*next(parts))
        shape = tuple(int(side) for side in self.numbers(*next(parts)))
        name = bytes(next(parts)[1]).decode("latin-1")
        count = int(np.prod(shape, dtype=np.float64))
        if not 2 <= len(shape) <= 8 or min(shape) < 0 or count > LARGEST:
            raise ValueError(f"an array of shape {shape}")
        kind = int(flags[0]) & 0xFF
        if wanted is not None and not wanted(name):
            return name, None
        if kind == CELL:
            return name, [self.matrix(inner, depth + 1)[1] for _, inner in parts]
        if kind == STRUCT:
            return name, self.structures(parts, count, depth)
        part = next(parts)
        if kind == CHAR:
            return name, self.text(*part)
        values = self.numbers(*part)
        if len(values) != count:
            raise ValueError(f"{len(values)} numbers for shape {shape}")
        return name, values.reshape(shape, order="F")

    def structures(self, parts: Iterator[tuple[int, memoryview]], count: int, depth: int) -> Value:
        """One structure is a dict, several are a list."""
        length = int(self.numbers(*next(parts))[0])
        raw = bytes(next(parts)[1])
        if not 0 < length <= 1024:
            raise ValueError(f"names of {length} letters")
        names = [raw[i : i + length].split(b"\0")[0].decode("latin-1") for i in range(0, len(raw), length)]
        values = [self.matrix(inner, depth + 1)[1] for _, inner in parts]
        if len(values) != count * len(names):
            raise ValueError(f"{len(values)} values of {count} structures with {len(names)} fields")
        rows = [
            dict(zip(names, values[i : i + len(names)], strict=True)) for i in range(0, len(values), max(1, len(names)))
        ]
        return rows[0] if count == 1 and rows else rows

    def numbers(self, kind: int, view: memoryview) -> NDArray[Any]:
        if kind not in _NUMBERS:
            raise ValueError(f"numbers of type {kind}")
        dtype = np.dtype(_NUMBERS[kind]).newbyteorder(self.order)
        return np.frombuffer(view, dtype).astype(dtype.newbyteorder("="))

    def text(self, kind: int, view: memoryview) -> str:
        if kind in _TEXTS:
            return bytes(view).decode(_TEXTS[kind] + ("" if kind == 16 else "-le" if self.order == "<" else "-be"))
        return "".join(map(chr, self.numbers(kind, view)))


# -- version 7.3 ------------------------------------------------------------------------------------------------------


def _of_hdf5(path: Path, wanted: Callable[[str], bool], library: Any) -> dict[str, Value]:
    with tempfile.NamedTemporaryFile(prefix="impasto-", suffix=".h5") as copy:
        # pyfive 1.3 reads arrays that are not in chunks as if nothing were before HDF5, and gets other bytes
        # (findings/pyfive-user-block.sh).
        with path.open("rb") as handle:
            handle.seek(USER_BLOCK)
            shutil.copyfileobj(handle, copy)
        copy.seek(VERSION)
        version = copy.read(1)[0]
        copy.seek(BASE.get(version, BASE[2]))
        copy.write(bytes(8))
        copy.flush()
        with open_hdf5(library, copy.name) as file:
            reader = _Hdf5Reader(file, path.stat().st_size)
            return {name: reader.value(file[name], 0) for name in file if not name.startswith("#") and wanted(name)}


class _Hdf5Reader:
    """Arrays lie with their dimensions in reverse; cells are references to what they hold."""

    def __init__(self, file: Any, size: int) -> None:
        self.size = size
        self.kept: Any = file.get("#refs#", {})
        # pyfive finds what a reference is to by going through the file, and not here.
        self.places = {int(place): name for name, place in getattr(self.kept, "_links", {}).items()}
        self.room, self.count = LARGEST, 0

    def value(self, item: Any, depth: int) -> Value:
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise ValueError("it has more values, or deeper ones, than a network has")
        if not hasattr(item, "shape"):
            return {name: self.value(item[name], depth + 1) for name in item}
        attributes: Mapping[str, Any] = item.attrs
        kind = attributes.get("MATLAB_class", b"")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        count = int(np.prod(item.shape, dtype=np.float64))
        if attributes.get("MATLAB_empty", 0):
            return "" if kind == "char" else []
        self.room -= 8 * count
        if self.room < 0 or (item.chunks is None and count > self.size):
            raise ValueError(f"an array of shape {item.shape}")
        found = np.asarray(item[()])
        if kind == "char":
            return "".join(chr(int(letter)) for letter in found.reshape(-1))
        if found.dtype == object or kind == "cell":
            return [self.value(one, depth + 1) for one in self.meant(found)]
        return found.T

    def meant(self, references: NDArray[Any]) -> Iterator[Any]:
        """What a row of references is to; pyfive 1.3 makes one reference of each row of a matrix of them."""
        for reference in references.reshape(-1):
            for address in np.asarray(reference.address_of_reference).reshape(-1):
                yield self.kept[self.places[int(address)]]
