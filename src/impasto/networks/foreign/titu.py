"""titu1994/Fast-Neural-Style: Keras 1 on Theano, ``.h5``, of weights alone or of the whole model.

RGB from 0 to 1 goes in, ``(tanh(x) + 1) * 127.5`` comes out. Layers stand in their order in the file, so that both of
the author's networks can be told apart: at first borders were zeros, ReLUs came before normalisations and sums were
rectified. Theano's convolutions turn their kernels about; so do those whose gradients are its transposed ones.
Normalisations are by the picture's own statistics ("mode 2"), whatever averages the file holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from impasto.core.keras import MAGIC, read_layers
from impasto.errors import WeightsError
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

EPS: Final = 1e-5  # of Keras 1.1.0; a file of the whole model says its own


def matches(source: Source) -> bool:
    """Whether it is HDF5, of which no other kind is read."""
    return source.head.startswith(MAGIC)


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    found = read_layers(source.path)
    names, tensors, eps = found.names, found.tensors, _eps_of(found.config)
    layers, linear = ChainBuilder(), any(name.startswith("activation") for name in names)
    if "conv1" not in tensors:
        raise WeightsError(f"its layers are {', '.join(names[:6])} ..., and not those of Fast-Neural-Style")
    walk = _Walk(layers, tensors, eps, linear=linear)
    for name in names:
        walk.add(name)
    layers.output("tanh")
    layers.scale(127.5, 127.5)
    return Found(layers.build(scale=1.0), "RGB, 0 to 1", "RGB, tanh x 127.5 + 127.5")


def _eps_of(config: Sequence[Mapping[str, Any]]) -> float:
    """What is added to variances."""
    norms = [layer for layer in config if layer.get("class_name") == "BatchNormalization"]
    return float(norms[0]["config"]["epsilon"]) if norms else EPS


class _Walk:
    """Takes the file's layers to a builder, one after the other."""

    def __init__(
        self, layers: ChainBuilder, tensors: Mapping[str, tuple[Tensor, ...]], eps: float, *, linear: bool
    ) -> None:
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
