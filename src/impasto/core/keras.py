"""Layers in Keras' HDF5 files, of weights alone or of whole models, read without Keras."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from impasto.core.hdf5 import open_hdf5
from impasto.errors import WeightsError, load_library

__all__ = ["MAGIC", "KerasLayers", "read_layers"]

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
MOST: Final = 400  # layers
LARGEST: Final = 1 << 29  # bytes of a tensor


@dataclass(frozen=True)
class KerasLayers:
    """What stands in a file.

    Attributes:
        names: of all layers, in their order.
        tensors: of each layer that has some, in their order, float32.
        config: of the layers, as the whole model's file has it; empty in a file of weights alone.
        backend: ``tensorflow`` or ``theano``, where the file says so.
    """

    names: tuple[str, ...]
    tensors: Mapping[str, tuple[Tensor, ...]]
    config: tuple[Mapping[str, Any], ...]
    backend: str


def read_layers(path: Path) -> KerasLayers:
    """The layers in a file.

    Raises:
        WeightsError: it is not Keras', or damaged.
        MissingExtraError: the library pyfive is not installed.
    """
    pyfive = load_library("pyfive", "keras", "reading Keras' .h5")
    size = path.stat().st_size
    with open_hdf5(pyfive, str(path)) as file:
        whole = "model_weights" in file
        group = file["model_weights"] if whole else file
        if "layer_names" not in group.attrs:
            raise WeightsError("it is HDF5, but none of Keras: it names no layers")
        names = tuple(_texts(group.attrs["layer_names"]))
        if len(names) > MOST:
            raise WeightsError(f"it has {len(names)} layers, and no network of this kind has so many")
        tensors = {}
        for name in names:
            layer = group[name]
            keys = list(_texts(layer.attrs["weight_names"])) if "weight_names" in layer.attrs else []
            if keys:
                tensors[name] = tuple(_tensor(layer[key], key, size) for key in keys[:4])
        config = _config(file.attrs.get("model_config", b"{}")) if whole else ()
        backend = next(_texts(group.attrs.get("backend", file.attrs.get("backend", ""))), "")
    return KerasLayers(names, tensors, config, backend)


def _texts(values: Any) -> Iterator[str]:
    for value in np.asarray(values).flatten():
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _config(told: Any) -> tuple[Mapping[str, Any], ...]:
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return tuple(json.loads(text).get("config", {}).get("layers", ()))


def _tensor(data: Any, key: str, size: int) -> Tensor:
    count = int(np.prod(data.shape, dtype=np.float64))
    if count * 4 > LARGEST or (data.chunks is None and count * 2 > size):
        raise WeightsError(f"{key} has the shape {tuple(data.shape)}, which does not fit into the file")
    return torch.from_numpy(np.array(data[()], np.float32))
