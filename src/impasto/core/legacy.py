"""State dicts in the tar format that PyTorch wrote until February 2017, read without running any code.

``torch.load(weights_only=True)`` refuses this format, yet Justin Johnson's conversions of the original VGG
networks (January 2017) date from that time. The archive has three members that matter:

- ``storages``: their number, then for each (key, device, type), its length as int64, and the raw numbers;
- ``tensors``: their number, then for each (key, storage key, type), its rank, shape, strides and offset;
- ``pickle``: the saved object, in which a tensor is a persistent id, the tensor's key.

The pickles in it may name only the handful of types in `_TYPES`; anything else is an error.
"""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections import OrderedDict
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["is_tar", "load_tar"]

_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
}


class _Parameter:
    """Stands for ``torch.nn.Parameter``, of which only the tensor counts."""

    def __init__(self, data: Tensor | None = None, *_: object) -> None:
        self.data = data

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if len(state) == 5:  # the tensor was part of the state at first, later an argument
            self.data = state[0]


_TYPES: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch.nn.parameter", "Parameter"): _Parameter,
    ("torch.autograd.variable", "Variable"): _Parameter,
}
for _name, _dtype in _DTYPES.items():
    for _module in ("torch", "torch.cuda"):
        _TYPES[_module, f"{_name}Storage"] = _dtype
        _TYPES[_module, f"{_name}Tensor"] = _dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedReader, tensors: dict[int, Tensor]) -> None:
        super().__init__(file, encoding="latin1")
        self.tensors = tensors

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _TYPES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need") from None

    def persistent_load(self, key: Any) -> Tensor:
        return self.tensors[int(key)]


def is_tar(path: str | PathLike[str]) -> bool:
    """Whether the file is a tar archive (all later formats are not)."""
    return tarfile.is_tarfile(path)


def load_tar(path: str | PathLike[str]) -> object:
    """The object saved in the tar file at ``path``, its tensors on the CPU.

    Raises:
        Exception: of many kinds (tarfile, pickle, struct, KeyError, RuntimeError …) for a damaged file.
    """
    with tarfile.open(path, "r:") as tar:
        storages = _storages(_member(tar, "storages"))
        tensors = _tensors(_member(tar, "tensors"), storages)
        value = _Unpickler(_member(tar, "pickle"), tensors).load()
    if isinstance(value, dict):
        return {key: v.data if isinstance(v, _Parameter) else v for key, v in value.items()}
    return value


def _member(tar: tarfile.TarFile, name: str) -> io.BufferedReader:
    file = tar.extractfile(name)
    if file is None:
        raise pickle.UnpicklingError(f"its member {name} is no file")
    return cast(io.BufferedReader, file)  # it is one, though typed as less


def _load(file: io.BufferedReader) -> Any:
    return _Unpickler(file, {}).load()


def _read(file: io.BufferedReader, count: int) -> bytearray:
    data = bytearray(count)  # read in place: the largest storage has 400 MB
    if file.readinto(data) != count:
        raise EOFError("it ends in the middle of a tensor")
    return data


def _storages(file: io.BufferedReader) -> dict[int, Tensor]:
    """Flat tensors by key; the list of views after them (slices of other storages) included."""
    storages: dict[int, Tensor] = {}
    for _ in range(_load(file)):
        key, _device, dtype = _load(file)
        (length,) = struct.unpack("<q", _read(file, 8))
        data = _read(file, length * dtype.itemsize)
        storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    for key, root, offset, length in _load(file):
        storages[key] = storages[root].narrow(0, offset, length)
    return storages


def _tensors(file: io.BufferedReader, storages: dict[int, Tensor]) -> dict[int, Tensor]:
    tensors: dict[int, Tensor] = {}
    for _ in range(_load(file)):
        key, storage, _type = _load(file)
        rank, _padding = struct.unpack("<ii", _read(file, 8))
        shape = struct.unpack(f"<{rank}q", _read(file, 8 * rank))
        stride = struct.unpack(f"<{rank}q", _read(file, 8 * rank))
        (offset,) = struct.unpack("<q", _read(file, 8))
        flat = storages[storage]
        # as_strided counts its offset from the start of the memory, not of a view.
        tensors[key] = flat.as_strided(shape, stride, flat.storage_offset() + offset)
    return tensors
