"""Convolutions in Caffe's binary files (``.caffemodel``), read without Caffe.

A file is one message of protocol buffers with a message a layer, of an early form (``layers``) or the later one
(``layer``): its name, and blobs of numbers. Kernels are (out, in, rows, columns), and are not turned about; what goes
in is blue, green, red. https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from impasto.core.protobuf import fields, varint
from impasto.errors import WeightsError

__all__ = ["SUFFIX", "read_caffe"]

SUFFIX: Final = ".caffemodel"
MOST: Final = 1000  # layers
_FORMS: Final = {2: (4, 6), 100: (1, 7)}  # a layer's field in the network -> those of its name and its blobs
_Fields = list[tuple[int, int | memoryview]]


def read_caffe(path: Path) -> dict[str, Tensor]:
    """Weights and biases of the convolutions, ``conv1_1.weight`` and so on, float32.

    Raises:
        WeightsError: it is no such file, or damaged.
    """
    if not path.stat().st_size:
        raise WeightsError(f"{path}: is empty")
    with path.open("rb") as handle:  # views of it, copied only where they are numbers that are wanted
        view = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        return _convolutions(view)
    except (ValueError, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: is no .caffemodel, or damaged: {error}") from error


def _convolutions(view: memoryview) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    layers = [(number, value) for number, value in fields(view) if number in _FORMS and isinstance(value, memoryview)]
    if not 0 < len(layers) <= MOST:
        raise ValueError(f"{len(layers)} layers")
    for number, layer in layers:
        name, blobs = "", []
        for field, value in fields(layer):
            if isinstance(value, memoryview) and field == _FORMS[number][0]:
                name = bytes(value).decode()
            elif isinstance(value, memoryview) and field == _FORMS[number][1]:
                blobs.append(value)
        if name.startswith("conv") and len(blobs) == 2:
            weight, bias = (_blob(fields(blob), name) for blob in blobs)
            out[f"{name}.weight"], out[f"{name}.bias"] = weight, bias.flatten()  # early ones are (1, 1, 1, O)
    return out


def _blob(message: _Fields, name: str) -> Tensor:
    """A tensor; its shape stands in fields of their own, or in a message."""
    sides = {number: value for number, value in message if isinstance(value, int)}
    shape = [sides.get(number, 1) for number in (1, 2, 3, 4)]
    for number, value in message:
        if number == 7 and isinstance(value, memoryview):
            shape = _dimensions(value)
    parts = [value for number, value in message if number == 5 and isinstance(value, memoryview)]
    values = np.concatenate([np.frombuffer(part, "<f4") for part in parts]) if parts else np.empty(0, np.float32)
    count = 1
    for side in shape:
        count *= side
    if not 1 <= len(shape) <= 4 or count != values.size or not count:
        raise ValueError(f"{name} has {values.size} numbers for shape {shape}")
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def _dimensions(message: memoryview) -> list[int]:
    out: list[int] = []
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            out.append(value)
        elif number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                side, at = varint(value, at)
                out.append(side)
    return out
