"""VGG networks of MatConvNet (``imagenet-vgg-verydeep-19.mat``), in both of its forms.

Under one name there are files whose layers have a field ``weights`` and a ``meta`` beside them, and older ones with
``filters`` and ``biases``, or ``weights`` in another place, and a ``normalization``: everything is found by its name.
Kernels are (rows, columns, in, out), and are not turned about. Red, green, blue from 0 to 255 goes in, minus the mean
of the file's average picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.core.matlab import read_matlab
from impasto.errors import WeightsError

__all__ = ["read_matconvnet"]

_WANTED: Final = ("layers", "meta", "normalization", "net")
Colours = tuple[float, float, float]


def read_matconvnet(path: Path) -> tuple[dict[str, Tensor], Colours]:
    """Weights and biases of the convolutions, ``conv1_1.weight`` and so on, float32; and the mean colour.

    Red, green, blue from 0 to 255 goes in, less that colour.

    Raises:
        WeightsError: it is damaged, or no network of MatConvNet.
        MissingExtraError: see `read_matlab`.
    """
    network, out = _network(path), dict[str, Tensor]()
    for layer in network["layers"]:
        name = layer.get("name") if isinstance(layer, dict) else None
        if not isinstance(name, str) or not name.startswith("conv"):
            continue
        weights = layer.get("weights", [layer.get("filters"), layer.get("biases")])
        if not isinstance(weights, list) or len(weights) < 2:
            raise WeightsError(f"{path}: {name} has no weights")
        kernel, bias = (_numbers(value, f"{path}: {name}") for value in weights[:2])
        if kernel.ndim != 4:
            raise WeightsError(f"{path}: {name} has weights of shape {kernel.shape}, need four dimensions")
        out[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        out[f"{name}.bias"] = torch.from_numpy(bias.reshape(-1).copy())
    return out, _average(network, path)


def _numbers(value: Any, where: str) -> NDArray[np.float32]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise WeightsError(f"{where} has no numbers where its weights should be")
    return value.astype(np.float32)


def _average(network: Mapping[str, Any], path: Path) -> Colours:
    """Of the average picture, which is as large as pictures were in training, or one pixel."""
    meta = network.get("meta")
    told = meta.get("normalization") if isinstance(meta, dict) else network.get("normalization")
    average = told.get("averageImage") if isinstance(told, dict) else None
    values = _numbers(np.empty(0) if average is None else average, f"{path}: averageImage").astype(np.float64)
    if values.ndim == 3 and values.shape[2] == 3 and values.size:
        values = values.mean((0, 1))
    if values.size != 3:
        raise WeightsError(f"{path}: has no average picture of three colours, as MatConvNet's networks do")
    red, green, blue = (float(colour) for colour in values.reshape(-1))
    if not all(0 <= colour <= 255 for colour in (red, green, blue)):
        raise WeightsError(f"{path}: its average picture is {red:g}, {green:g}, {blue:g}, need 0 to 255")
    return red, green, blue


def _network(path: Path) -> Mapping[str, Any]:
    found = read_matlab(path, _WANTED.__contains__)
    network = found.get("net") if isinstance(found.get("net"), dict) else found
    if not isinstance(network, dict) or not isinstance(network.get("layers"), list):
        raise WeightsError(f"{path}: has no row of `layers`, as MatConvNet's networks do")
    return network
