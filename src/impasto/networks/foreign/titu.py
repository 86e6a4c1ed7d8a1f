"""titu1994/Fast-Neural-Style: Keras 1 on Theano, ``.h5``, of weights alone or of the whole model.

RGB from 0 to 1 goes in, ``(tanh(x) + 1) * 127.5`` comes out. Layers stand in their order in the file, so that both of
the author's networks can be told apart: at first borders were zeros, ReLUs came before normalisations and sums were
rectified. Theano's convolutions turn their kernels about; so do those whose gradients are its transposed ones.
Normalisations are by the picture's own statistics ("mode 2"), whatever averages the file holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from impasto.errors import WeightsError, load_library
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
EPS: Final = 1e-5  # of Keras 1.1.0; a file of the whole model says its own
MOST: Final = 400  # layers
LARGEST: Final = 1 << 28  # bytes of a tensor


def matches(source: Source) -> bool:
    """Whether it is HDF5, of which no other kind is read."""
    return source.head.startswith(MAGIC)


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    pyfive = load_library("pyfive", "keras", "reading Keras' .h5")
    with pyfive.File(str(source.path)) as file:
        names, tensors, eps = _read(file, source.path.stat().st_size)
    layers, linear = ChainBuilder(), any(name.startswith("activation") for name in names)
    if "conv1" not in tensors:
        raise WeightsError(f"its layers are {', '.join(names[:6])} ..., and not those of Fast-Neural-Style")
    walk = _Walk(layers, tensors, eps, linear=linear)
    for name in names:
        walk.add(name)
    layers.output("tanh")
    layers.scale(127.5, 127.5)
    return Found(layers.build(scale=1.0), "RGB, 0 to 1", "RGB, tanh x 127.5 + 127.5")


Layers = Mapping[str, tuple[Tensor, ...]]


def _read(file: Any, size: int) -> tuple[list[str], Layers, float]:
    """Names of layers in their order, the tensors of each, and what is added to variances."""
    group, eps = file, EPS
    if "model_weights" in file:
        group, eps = file["model_weights"], _eps_of(file.attrs.get("model_config", b"{}"))
    if "layer_names" not in group.attrs:
        raise WeightsError("it is HDF5, but none of Keras: it names no layers")
    names = list(_texts(group.attrs["layer_names"]))
    if len(names) > MOST:
        raise WeightsError(f"it has {len(names)} layers, and no network of this kind has so many")
    tensors = {}
    for name in names:
        layer = group[name]
        keys = list(_texts(layer.attrs["weight_names"])) if "weight_names" in layer.attrs else []
        if keys:
            tensors[name] = tuple(_tensor(layer[key], key, size) for key in keys[:4])
    return names, tensors, eps


def _texts(values: Any) -> Iterator[str]:
    for value in np.asarray(values).flatten():
        yield value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _eps_of(config: Any) -> float:
    text = config.decode("utf-8", "replace") if isinstance(config, bytes) else str(config)
    for layer in json.loads(text).get("config", {}).get("layers", ()):
        if layer.get("class_name") == "BatchNormalization":
            return float(layer["config"]["epsilon"])
    return EPS


def _tensor(data: Any, key: str, size: int) -> Tensor:
    count = int(np.prod(data.shape, dtype=np.float64))
    if count * 4 > LARGEST or (data.chunks is None and count * 2 > size):
        raise WeightsError(f"{key} has the shape {tuple(data.shape)}, which does not fit into the file")
    return torch.from_numpy(np.array(data[()], np.float32))


class _Walk:
    """Takes the file's layers to a builder, one after the other."""

    def __init__(self, layers: ChainBuilder, tensors: Layers, eps: float, *, linear: bool) -> None:
        self.layers, self.tensors, self.eps, self.linear = layers, tensors, eps, linear
        self.padded = False

    def add(self, name: str) -> None:
        """One layer, told by its name."""
        if name.startswith("reflectionpadding"):
            self.padded = True
        elif "conv" in name:
            self.convolve(name)
        elif "batchnorm" in name:
            gamma, beta = self.tensors[name][:2]
            self.layers.normalise(gamma, beta, self.eps)
        elif "activation" in name:
            self.layers.relu()
        elif "merge" in name:
            self.layers.close()
        elif name not in ("X_input", "fastnet_output"):
            raise WeightsError(f"its layer {name} is none of Fast-Neural-Style")

    def convolve(self, name: str) -> None:
        weight, bias = self.tensors[name][:2]
        side = int(weight.shape[-1])
        if name.endswith("_1") and name.startswith("res_conv"):
            self.layers.open()
        if name.startswith("deconv") and name != "deconv1":
            turned = weight.transpose(0, 1).flip(2, 3)
            self.layers.transpose(turned, bias, factor=2, before=side // 2, after=side // 2 - 1)
        else:
            self.layers.pad(side // 2, side // 2, "reflect" if self.padded else "zeros")
            stride = 2 if name in ("conv2", "conv3", "conv4") else 1
            self.layers.convolve(weight.flip(2, 3), bias, stride=stride)
        if not self.linear and not name.startswith("res_conv") and name != "deconv1":
            self.layers.relu()
        self.padded = False
