"""Networks made of stages, as parts of an ONNX graph: `StagedNetwork.paint`, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from impasto.export.graph import Graph
from impasto.networks.norms import ConditionalInstanceNorm
from impasto.networks.palette import ConditionalPalette
from impasto.networks.staged import Norm, Stage, StagedNetwork

__all__ = ["Rows", "as_array", "paint_staged", "run_stages"]

Rows = Callable[[Tensor], str]
"""A parameter with a row for every style (N, ...) -> the row of the style asked for, flattened."""


def paint_staged(g: Graph, network: StagedNetwork, rows: Rows) -> str:
    """`StagedNetwork.paint` of the input ``image``; `rows` is asked where a parameter differs from style to style."""
    padded = g.pad_to_multiple("image", network.STRIDE, network.SMALLEST)
    x = g.op("Sub", padded, g.mean(padded))  # changes the rounding alone: see `StagedNetwork.centre`
    if network.INPUT_SCALE != 1:
        x = g.op("Mul", x, g.number(network.INPUT_SCALE))
    features = run_stages(g, network.stages(), x, rows)
    return g.crop(_to_picture(g, network, features, padded, rows), "image")


def run_stages(g: Graph, stages: Sequence[Stage], x: str, rows: Rows | None = None) -> str:
    """See `staged.run_stages`; no `rows` where no stage is conditional."""
    kept = x
    for stage in stages:
        kept = x if stage.opens else kept
        if stage.unshuffle > 1:
            x = g.op("SpaceToDepth", x, blocksize=stage.unshuffle)
        if stage.upsample > 1:
            x = _enlarge(g, x, stage.upsample)
        conv = stage.conv.conv2d
        bias = None if conv.bias is None else as_array(conv.bias)
        x = g.pad(x, stage.conv.halo, "reflect")
        x = g.convolution(x, as_array(conv.weight), bias, stride=conv.stride[0])
        if stage.shuffle > 1:
            x = g.op("DepthToSpace", x, blocksize=stage.shuffle, mode="DCR")
        if stage.norm is not None:
            x = g.instance_norm(x, *_affine(g, stage.norm, rows))
        if stage.relu:
            x = g.op("Relu", x)
        if stage.closes:
            x = g.op("Add", x, kept)
    return x


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """A parameter as numpy has it."""
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def _enlarge(g: Graph, x: str, factor: int) -> str:
    """Each pixel repeated."""
    scales = g.constant(np.array([1, 1, factor, factor], np.float32))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g.op("Resize", x, "", scales, **how)


def _affine(g: Graph, norm: Norm, rows: Rows | None) -> tuple[str, str]:
    """γ and β of the style asked for, (C,) each."""
    if isinstance(norm, ConditionalInstanceNorm) and rows is not None:
        return rows(norm.gamma), rows(norm.beta)
    gamma, beta = norm.affine(None)
    return g.constant(as_array(gamma[0])), g.constant(as_array(beta[0]))


def _to_picture(g: Graph, network: StagedNetwork, features: str, image: str, rows: Rows) -> str:
    """What the last stage gives, as a picture."""
    if network.colours is not None:
        features = g.op("Add", features, _in_colours(g, network.colours, image, rows))
    if network.output == "sigmoid":
        return g.op("Sigmoid", features)
    if network.output == "tanh":
        return g.op("Mul", g.op("Add", g.op("Tanh", features), g.number(1)), g.number(0.5))
    return g.op("Clip", g.op("Mul", features, g.number(1 / 255)), g.number(0), g.number(1))


def _in_colours(g: Graph, palette: ConditionalPalette, image: str, rows: Rows) -> str:
    """The picture in the style's colours, before the sigmoid: see `ConditionalPalette`, a matrix for 2 · RGB - 1."""
    matrix = g.op("Reshape", rows(palette.matrix), g.integers(3, 3))
    offset = g.op("Sub", rows(palette.offset), g.op("ReduceSum", matrix, g.integers(1), keepdims=0))
    kernel = g.op("Reshape", g.op("Mul", matrix, g.number(2)), g.integers(3, 3, 1, 1))
    return g.op("Conv", image, kernel, offset, kernel_shape=[1, 1])
