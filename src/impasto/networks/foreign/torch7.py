"""Objects in files of Torch7 (``.t7``), read without Lua and without running anything.

Both of its forms are read: binary, and ASCII where each value is followed by white space. A file is one object: a
number that tells its type, then nil, a number, a string, a boolean, a table (its index among all objects, a count, and
as many pairs of objects) or a Torch object (its index, a version, a class, and what the class writes). Tensors write
rank, sizes, strides, offset and a storage; all other classes write a table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from impasto.errors import WeightsError

__all__ = ["Torch7Object", "is_torch7", "read_torch7"]

NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN = 0, 1, 2, 3, 4, 5
FUNCTIONS: Final = (6, 7, 8)
DEEPEST: Final = 200  # objects inside one another
MOST: Final = 2_000_000  # objects of a file
LONGEST: Final = 1_000_000  # bytes of a string

_NUMBERS: Final = {
    "Double": np.float64,
    "Float": np.float32,
    "CudaDouble": np.float64,
    "Cuda": np.float32,
    "CudaHalf": np.float16,
    "Half": np.float16,
    "Long": np.int64,
    "CudaLong": np.int64,
    "Int": np.int32,
    "CudaInt": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "CudaByte": np.uint8,
}


@dataclass(eq=False)
class Torch7Object:
    """An object of a class, such as ``nn.Sequential``, with its fields."""

    kind: str
    fields: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class _Storage:
    values: np.ndarray[Any, Any]


def is_torch7(head: bytes) -> bool:
    """Whether a file begins as one that holds a table or a Torch object."""
    if head[:12] == struct.pack("<iii", TABLE, 1, 0)[:8] + head[8:12] or head[:8] == struct.pack("<ii", TORCH, 1):
        return True
    words = head.split(maxsplit=2)
    return len(words) > 1 and words[0] in (b"3", b"4") and words[1] == b"1" and head[1:2] == b"\n"


def read_torch7(data: bytes) -> Any:
    """The object in a file: tables as dicts, tensors of any kind as torch's, all else as `Torch7Object`.

    Raises:
        WeightsError: the file is cut short, or holds what no network needs.
    """
    text = len(data) > 1 and data[0] in b"345" and data[1:2] == b"\n"
    reader = _Reader(_Text(data) if text else _Binary(data))
    try:
        return reader.object(0)
    except (struct.error, IndexError, ValueError, OverflowError, UnicodeDecodeError, TypeError, RuntimeError) as error:
        raise WeightsError(f"damaged: {error}") from error


class _Binary:
    """Numbers as they lie in memory, little-endian; long is eight bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("it ends in the middle of a value")
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def long(self) -> int:
        return int(struct.unpack("<q", self.take(8))[0])

    def number(self) -> float:
        return float(struct.unpack("<d", self.take(8))[0])

    def string(self, count: int) -> bytes:
        return self.take(count)

    def array(self, dtype: Any, count: int) -> np.ndarray[Any, Any]:
        if count < 0:
            raise ValueError("a storage has a negative length")
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), np.dtype(dtype).newbyteorder("<"))


class _Text:
    """Numbers as words."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def word(self) -> bytes:
        while self.at < len(self.data) and self.data[self.at : self.at + 1].isspace():
            self.at += 1
        start = self.at
        while self.at < len(self.data) and not self.data[self.at : self.at + 1].isspace():
            self.at += 1
        if start == self.at or self.at - start > 100:
            raise ValueError("it ends in the middle of a value")
        return self.data[start : self.at]

    def integer(self) -> int:
        return int(self.word())

    long = integer

    def number(self) -> float:
        return float(self.word())

    def string(self, count: int) -> bytes:
        self.at += 1  # the line's end after the length
        if count < 0 or self.at + count > len(self.data):
            raise ValueError("it ends in the middle of a string")
        self.at += count
        return self.data[self.at - count : self.at]

    def array(self, dtype: Any, count: int) -> np.ndarray[Any, Any]:
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError("it ends in the middle of a storage")
        words = self.data[self.at :].split(maxsplit=count)
        if len(words) < count:
            raise ValueError("it ends in the middle of a storage")
        rest = words[count] if len(words) > count else b""
        self.at = len(self.data) - len(rest)
        return np.array([float(word) for word in words[:count]]).astype(dtype)


class _Reader:
    def __init__(self, numbers: _Binary | _Text) -> None:
        self.numbers = numbers
        self.known: dict[int, Any] = {}
        self.count = 0

    def object(self, depth: int) -> Any:
        self.count += 1
        if depth > DEEPEST or self.count > MOST:
            raise ValueError("it has more objects, or deeper ones, than a network has")
        kind = self.numbers.integer()
        plain: dict[int, Callable[[], Any]] = {
            NIL: lambda: None,
            NUMBER: self.numbers.number,
            STRING: self.string,
            BOOLEAN: lambda: self.numbers.integer() == 1,
        }
        if kind in plain:
            return plain[kind]()
        if kind in FUNCTIONS:
            return self.function(kind, depth)
        if kind not in (TABLE, TORCH):
            raise ValueError(f"it has a value of type {kind}, which there is not")
        index = self.numbers.integer()
        if index in self.known:
            return self.known[index]
        return self.table(index, depth) if kind == TABLE else self.torch(index, depth)

    def string(self) -> str:
        count = self.numbers.integer()
        if count > LONGEST:
            raise ValueError(f"it has a string of {count} bytes")
        return self.numbers.string(count).decode("latin-1")

    def function(self, kind: int, depth: int) -> None:
        """Lua's code, which is passed over: it is bytes to us."""
        if kind != FUNCTIONS[0]:  # 7 and 8 have an index, and may be one of before
            index = self.numbers.integer()
            if index in self.known:
                return
            self.known[index] = None
        self.string()
        self.object(depth + 1)

    def table(self, index: int, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self.known[index] = made
        for _ in range(self.numbers.integer()):
            key, value = self.object(depth + 1), self.object(depth + 1)
            if isinstance(key, int | float | str | bool):
                made[key] = value
        return made

    def torch(self, index: int, depth: int) -> Any:
        version = self.string()
        name = self.string() if version.startswith("V ") else version
        family, _, kind = name.partition(".")
        if family == "torch" and kind.endswith("Tensor") and kind.removesuffix("Tensor") in _NUMBERS:
            return self.tensor(index, depth)
        if family == "torch" and kind.endswith("Storage") and kind.removesuffix("Storage") in _NUMBERS:
            made = self.known[index] = _Storage(
                self.numbers.array(_NUMBERS[kind.removesuffix("Storage")], self.numbers.long())
            )
            return made
        if family == "torch":
            raise ValueError(f"it holds a {name}, which no network needs")
        found = self.known[index] = Torch7Object(name)
        fields = self.object(depth + 1)
        found.fields = fields if isinstance(fields, dict) else {}
        return found

    def tensor(self, index: int, depth: int) -> Tensor:
        rank = self.numbers.integer()
        if not 0 <= rank <= 16:
            raise ValueError(f"it has a tensor of {rank} dimensions")
        sizes = [self.numbers.long() for _ in range(rank)]
        strides = [self.numbers.long() for _ in range(rank)]
        offset = self.numbers.long() - 1
        storage = self.object(depth + 1)
        values = storage.values if isinstance(storage, _Storage) else np.empty(0, np.float32)
        if not rank or 0 in sizes:
            made = torch.empty(0)
        else:
            last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
            total = int(np.prod([float(size) for size in sizes]))
            if min(sizes) < 0 or min(strides) < 0 or offset < 0 or last >= len(values) or total > len(values):
                raise ValueError("a tensor goes beyond its storage")
            flat = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("=")))
            made = flat.as_strided(sizes, strides, offset)
        self.known[index] = made
        return made
