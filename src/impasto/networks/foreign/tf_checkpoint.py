"""Checkpoints of TensorFlow, read without it: V2 (``NAME.index``, ``NAME.data-00000-of-00001``) and V1 (one file).

The index is a table as LevelDB writes them: blocks of keys, each sharing a prefix with the one before, with a footer
that tells where the block lies that lists the blocks. Each value is a protocol buffer: type, shape, shard, offset and
size in the data file, where tensors lie as they are in memory. A file of V1 (until 2017) is such a table too, whose
values hold the tensors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from impasto.core.protobuf import bytes_of, fields, varint
from impasto.errors import WeightsError

__all__ = ["data_file", "full_names", "index_file", "is_checkpoint", "read_checkpoint", "shapes_of"]

MAGIC: Final = 0xDB4775248B80FB57
FOOTER: Final = 48
LARGEST_INDEX: Final = 20_000_000  # bytes
MOST: Final = 100_000  # tensors
LARGEST: Final = 1_000_000_000  # bytes that are read in all
OBJECTS: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
_TYPES: Final = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 19: np.float16}


@dataclass(frozen=True)
class _Entry:
    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def index_file(path: Path) -> Path | None:
    """The index that belongs to a checkpoint, which is named by its prefix, its index, or its data."""
    name = path.name.split(".data-")[0].removesuffix(".index")
    place = path.with_name(f"{name}.index")
    return place if place.is_file() else None


def data_file(index: Path, shard: int, shards: int) -> Path:
    """Where a shard's data lie."""
    return index.with_name(f"{index.name.removesuffix('.index')}.data-{shard:05}-of-{shards:05}")


def is_checkpoint(path: Path) -> bool:
    """Whether there is an index, or a file of V1, that ends as such tables do."""
    table = index_file(path) or path
    if table.stat().st_size < FOOTER:
        return False
    with table.open("rb") as handle:
        handle.seek(-8, 2)
        return int.from_bytes(handle.read(8), "little") == MAGIC


def shapes_of(path: Path) -> Mapping[str, tuple[int, ...]]:
    """The names of a checkpoint's tensors, with their shapes; WeightsError where it is damaged."""
    if index_file(path) is None:
        return {name: tuple(value.shape) for name, value in _first_version(path, lambda _: True).items()}
    return {name: entry.shape for name, entry in _entries(path)[1].items()}


def read_checkpoint(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors whose names are `wanted`, float32 or whole numbers.

    Raises:
        WeightsError: index or data are damaged, missing, or hold more than a network has.
    """
    index = index_file(path)
    if index is None:
        return _first_version(path, wanted)
    shards, entries = _entries(path)
    chosen = {name: entry for name, entry in entries.items() if wanted(name)}
    if sum(entry.size for entry in chosen.values()) > LARGEST:
        raise WeightsError("the checkpoint has more bytes than any network of this kind")
    return {name: _tensor(data_file(index, entry.shard, shards), name, entry) for name, entry in chosen.items()}


def full_names(path: Path) -> Mapping[str, str]:
    """The keys of variables by what they are called in their graph: TensorFlow 2 keeps them by Python's objects.

    Raises:
        WeightsError: index or data are damaged.
    """
    index = index_file(path)
    if index is None:
        return {}
    shards, entries = _entries(path)
    names = {name: name for name in entries}
    if OBJECTS in entries:
        entry = entries[OBJECTS]
        try:
            for node in bytes_of(fields(_text(data_file(index, entry.shard, shards), entry)), 1):
                for row in bytes_of(fields(node), 2):
                    told = fields(row)
                    full, key = (b"".join(bytes_of(told, number)[:1]).decode() for number in (2, 3))
                    if full and key in entries:
                        names[full] = key
        except (ValueError, IndexError) as error:
            raise WeightsError(f"the checkpoint's names are damaged: {error}") from error
    return names


def _text(place: Path, entry: _Entry) -> bytes:
    """The bytes of a tensor that is one text: its length, a checksum of four bytes, itself."""
    if entry.size > LARGEST_INDEX or not place.is_file():
        raise ValueError(f"{place.name} is not there, or has names of {entry.size} bytes")
    if entry.offset + entry.size > place.stat().st_size:
        raise WeightsError(f"{place.name} ends in the middle of its names: get it again")
    with place.open("rb") as handle:
        handle.seek(entry.offset)
        data = handle.read(entry.size)
    length, at = varint(data, 0)
    return data[at + 4 : at + 4 + length]


def _first_version(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors of a file of V1 that are in float32; all others are passed over."""
    if path.stat().st_size > LARGEST:
        raise WeightsError("the checkpoint has more bytes than any network of this kind")
    data, shapes, found = path.read_bytes(), {}, {}
    try:
        for key, value in _table(data):
            for tag, inner in fields(value):
                if not key and tag == 1 and isinstance(inner, bytes):
                    shapes = dict(_described(inner))
                elif key and tag == 2 and isinstance(inner, bytes):
                    name, numbers = _numbers(inner)
                    if numbers is not None and wanted(name):
                        found[name] = numbers
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise WeightsError(f"the checkpoint is damaged: {error}") from error
    out = {}
    for name, values in found.items():
        shape = shapes.get(name)
        if shape is None or int(np.prod([float(side) for side in shape])) != len(values):
            raise WeightsError(f"the checkpoint has {len(values)} numbers of {name}, whose shape is {shape}")
        out[name] = torch.from_numpy(values.astype(np.float32).reshape(shape))
    return out


def _described(meta: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor that is kept as float32."""
    for tag, row in fields(meta):
        if tag == 1 and isinstance(row, bytes):
            entry = dict(fields(row))
            name, shape = entry.get(1), entry.get(2, b"")
            if isinstance(name, bytes) and isinstance(shape, bytes):
                yield name.decode(), _shape(shape)


def _numbers(row: bytes) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.float32]] | None]:
    entry = dict(fields(row))
    name, tensor = entry.get(1), entry.get(3, b"")
    if not isinstance(name, bytes) or not isinstance(tensor, bytes):
        raise ValueError("a tensor has no name")
    parts = [part for tag, part in fields(tensor) if tag == 5 and isinstance(part, bytes)]
    raw = b"".join(parts)
    if len(raw) % 4:
        raise ValueError("a tensor ends in the middle of a number")
    return name.decode(), np.frombuffer(raw, "<f4") if raw else None


def _tensor(place: Path, name: str, entry: _Entry) -> Tensor:
    if not place.is_file():
        raise WeightsError(f"{place.name}, which the index names, is not beside it")
    dtype = _TYPES.get(entry.kind)
    count = 1
    for side in entry.shape:
        count *= side
    if dtype is None or count * np.dtype(dtype).itemsize != entry.size:
        raise WeightsError(f"{name} has {entry.size} bytes of type {entry.kind} for shape {entry.shape}")
    if entry.offset + entry.size > place.stat().st_size:
        raise WeightsError(f"{place.name} ends in the middle of {name}: get it again")
    with place.open("rb") as handle:
        handle.seek(entry.offset)
        values = np.frombuffer(handle.read(entry.size), np.dtype(dtype).newbyteorder("<"))
    return torch.from_numpy(
        values.astype(np.int64 if dtype in (np.int32, np.int64) else np.float32).reshape(entry.shape)
    )


def _entries(path: Path) -> tuple[int, dict[str, _Entry]]:
    """How many shards there are, and what the index says of every tensor."""
    index = index_file(path)
    if index is None:
        raise WeightsError(
            f"{path.name}.index is not there, and a checkpoint is that and {path.name}.data-00000-of-00001"
        )
    if index.stat().st_size > LARGEST_INDEX:
        raise WeightsError(f"{index.name} has {index.stat().st_size:,} bytes, need at most {LARGEST_INDEX:,}")
    data = index.read_bytes()
    try:
        shards, entries = 1, {}
        for key, value in _table(data):
            if not key:
                shards = next((number for tag, number in fields(value) if tag == 1 and isinstance(number, int)), 1)
            else:
                entries[key.decode()] = _entry(value)
            if len(entries) > MOST:
                raise ValueError("too many tensors")
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise WeightsError(f"{index.name} is damaged: {error}") from error
    if not 1 <= shards <= 10_000:
        raise WeightsError(f"{index.name} is damaged: {shards} shards")
    return shards, entries


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(data) < FOOTER or int.from_bytes(data[-8:], "little") != MAGIC:
        raise ValueError("it does not end as an index does")
    footer = data[-FOOTER:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    start, at = varint(footer, at)
    size, _ = varint(footer, at)
    for _, place in _block(data, start, size):
        first, after = varint(place, 0)
        length, _ = varint(place, after)
        yield from _block(data, first, length)


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block; the last four bytes are the number of restarts, of four bytes each before them."""
    if start + size + 5 > len(data) or size < 4:
        raise ValueError("a block goes beyond the end")
    if data[start + size] != 0:
        raise ValueError("its blocks are compressed, and TensorFlow writes them plain")
    block = data[start : start + size]
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise ValueError("a block has too many restarts")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + own + length > end or own + shared > 10_000:
            raise ValueError("an entry goes beyond its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _entry(value: bytes) -> _Entry:
    kind, shard, offset, size = 0, 0, 0, 0
    shape: tuple[int, ...] = ()
    for tag, found in fields(value):
        if tag == 2 and isinstance(found, bytes):
            shape = _shape(found)
        elif isinstance(found, int):
            kind, shard = (found if tag == 1 else kind), (found if tag == 3 else shard)
            offset, size = (found if tag == 4 else offset), (found if tag == 5 else size)
    return _Entry(kind, shape, shard, offset, size)


def _shape(message: bytes) -> tuple[int, ...]:
    shape = []
    for tag, side in fields(message):
        if tag == 2 and isinstance(side, bytes):
            shape.append(next((n for t, n in fields(side) if t == 1 and isinstance(n, int)), 0))
    if any(side > 1 << 31 for side in shape) or len(shape) > 8:
        raise ValueError(f"a tensor of shape {shape}")
    return tuple(shape)
