"""Looking at pictures, as parts of an ONNX graph: a backbone's features, and the colours of a style.

Pixels count by their shares, (1, 1, h, w), whose mean is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.export.graph import Graph
from impasto.export.staged import as_array
from impasto.networks import palette

__all__ = ["average", "colour_map", "features_at", "shares_of", "split_weights"]

ROUNDS = 16  # of the iteration for a root: a dozen are exact where an eigenvalue is a five-hundredth of their sum


def split_weights(g: Graph, picture: str) -> tuple[str, str]:
    """(1, 4, h, w) -> colours (1, 3, h, w), and how far each pixel counts, (1, 1, h, w)."""
    rgb = g.op("Slice", picture, g.integers(0), g.integers(3), g.integers(1))
    return rgb, g.op("Slice", picture, g.integers(3), g.integers(4), g.integers(1))


def shares_of(g: Graph, weights: str) -> str:
    """How far each pixel counts, their mean made 1; 0 everywhere where none counts."""
    return g.op("Div", weights, g.op("Max", g.mean(weights), g.number(float(np.finfo(np.float32).tiny))))


def average(g: Graph, x: str, shares: str) -> str:
    """(1, C, h, w) -> (1, C, 1, 1)."""
    return g.mean(g.op("Mul", x, shares))


# -- features ---------------------------------------------------------------------------------------------------------


def features_at(g: Graph, vgg: VGG, image: str, taps: Sequence[str]) -> dict[str, str]:
    """`VGG.forward`: features at each of the taps, which are all after a ReLU."""
    found: dict[str, str] = {}
    x = _normalised(g, vgg, image)
    for name in vgg.convolutions:
        if name.endswith("_1") and name != "conv1_1":
            x = _pooled(g, vgg, x)
        if name == "conv1_1" and vgg.padding == "replicate":
            x = g.pad(x, 1, "edge")
        for kernel in vgg.kernels(name):
            x = g.convolution(x, as_array(kernel.weight), as_array(kernel.bias), zeros=kernel.padding)
        x = g.op("Relu", x)
        if (tap := name.replace("conv", "relu")) in taps:
            found[tap] = x
        if len(found) == len(taps):
            return found
    raise OptionError(f"{vgg.name} lacks one of {', '.join(taps)}")


def _normalised(g: Graph, vgg: VGG, image: str) -> str:
    """`Normalisation.__call__`."""
    how = vgg.normalisation
    std = np.array(how.std, np.float32)
    scale, shift = how.scale / std, np.array(how.mean, np.float32) / std
    x = g.op("Mul", image, g.constant(scale.reshape(1, 3, 1, 1).astype(np.float32)))
    x = g.op("Sub", x, g.constant(shift.reshape(1, 3, 1, 1).astype(np.float32)))
    return g.op("Gather", x, g.integers(2, 1, 0), axis=1) if how.bgr else x


def _pooled(g: Graph, vgg: VGG, x: str) -> str:
    """`VGG.pooled`."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    if vgg.pool == "max":
        x = g.op("MaxPool", x, **window)
    elif vgg.pool == "average":
        x = g.op("AveragePool", x, **window)
    else:
        squares = g.op("Mul", g.op("AveragePool", g.op("Mul", x, x), **window), g.number(4))  # their sum
        x = g.op("Sqrt", g.op("Add", squares, g.number(1e-12)))
    return x if vgg.pool_scale == 1 else g.op("Mul", x, g.number(vgg.pool_scale))


# -- colours ----------------------------------------------------------------------------------------------------------


def colour_map(g: Graph, rgb: str, shares: str) -> tuple[str, str]:
    """See `palette.colour_map`: matrix (3, 3) and offset (3, 1)."""
    bounded = g.op("Clip", rgb, g.number(palette.EPS), g.number(1 - palette.EPS))
    logits = g.op("Log", g.op("Div", bounded, g.op("Sub", g.number(1), bounded)))
    mean = average(g, logits, shares)
    centred = g.op("Sub", logits, mean)
    rows = []
    for channel in range(3):  # of the covariance
        one = g.op("Slice", centred, g.integers(channel), g.integers(channel + 1), g.integers(1))
        rows.append(g.op("Reshape", average(g, g.op("Mul", centred, one), shares), g.integers(1, 3)))
    covariance = g.op("Add", g.op("Concat", *rows, axis=0), g.constant(palette.RIDGE * np.eye(3, dtype=np.float32)))
    values, vectors = np.linalg.eigh(np.array(palette.PHOTO_COVARIANCE) + palette.RIDGE * np.eye(3))
    of_photos = palette.GENTLE * (vectors * values**-0.5) @ vectors.T
    matrix = g.op("MatMul", _root(g, covariance), g.constant(of_photos.astype(np.float32)))
    shift = g.op("MatMul", matrix, g.constant(np.array(palette.PHOTO_MEAN, np.float32)[:, None]))
    return matrix, g.op("Sub", g.op("Reshape", mean, g.integers(3, 1)), shift)


def _root(g: Graph, matrix: str) -> str:
    """The square root of a symmetric positive matrix (3, 3), by the coupled Newton iteration (Higham 2008, eq. 6.35).

    ONNX has no eigenvalues. Those of logits between ±3.9, with their ridge, are never less than a 450th of their sum.
    """
    eye = np.eye(3, dtype=np.float32)
    trace = g.op("ReduceSum", g.op("Mul", matrix, g.constant(eye)), g.integers(0, 1), keepdims=1)
    y, z = g.op("Div", matrix, trace), g.constant(eye)
    for _ in range(ROUNDS):
        step = g.op("Mul", g.op("Sub", g.constant(3 * eye), g.op("MatMul", z, y)), g.number(0.5))
        y, z = g.op("MatMul", y, step), g.op("MatMul", step, z)
    return g.op("Mul", y, g.op("Sqrt", trace))
