"""Networks made of stages, as parts of an ONNX graph: `StagedNetwork.paint`, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from impasto.export.graph import Graph
from impasto.export.winograd import Border, Maps, convolution, suits
from impasto.networks.chain import Chain, ChainConv, ChainNorm
from impasto.networks.norms import EPS, ConditionalInstanceNorm
from impasto.networks.palette import ConditionalPalette
from impasto.networks.registry import as_chain
from impasto.networks.staged import Norm, Stage, StagedNetwork

__all__ = ["Rows", "as_array", "in_phases", "paint_staged", "run_stages"]

Rows = Callable[[Tensor], str]
"""A parameter with a row for every style (N, ...) -> the row of the style asked for, flattened."""


def paint_staged(g: Graph, network: StagedNetwork, rows: Rows) -> str:
    """`StagedNetwork.paint` of the input ``image``; `rows` is asked where a parameter differs from style to style."""
    padded = g.pad_to_multiple("image", network.STRIDE, network.SMALLEST, network.margin)
    if (chain := as_chain(network)) is not None:
        x = _scaled(g, _swapped(g, padded, chain), chain.config.scale, chain.config.shift)
        painted = g.crop(_colours_of_chain(g, run_stages(g, chain.stages(), x, rows), chain), "image")
        return _median_of_nine(g, painted) if chain.smooths else painted
    x = g.op("Sub", padded, g.mean(padded))  # changes the rounding alone: see `StagedNetwork.centre`
    if network.INPUT_SCALE != 1:
        x = g.op("Mul", x, g.number(network.INPUT_SCALE))
    features = run_stages(g, network.stages(), x, rows, network.STRIDE)
    cropped = g.crop(features, "image", network.margin)
    return _to_picture(g, network, cropped, "image", rows)  # so that nobody keeps what is padded


def run_stages(g: Graph, stages: Sequence[Stage], x: str, rows: Rows | None = None, multiple: int = 1) -> str:
    """See `staged.run_stages`; no `rows` where no stage is conditional; x is a `multiple` high."""
    kept, waits = x, None  # a stage whose shuffle was left to the next one
    maps, scale = Maps(multiple), Fraction(1)
    for stage, after in zip(stages, (*stages[1:], None), strict=True):
        if waits is not None:
            x, waits = _convolved_in_phases(g, x, waits, stage, maps, scale), None
            continue
        kept = x if stage.opens else kept
        scale *= Fraction(stage.upsample, stage.unshuffle * stage.conv.conv2d.stride[0])
        x, phases = _until_shuffle(g, x, stage, maps, scale), 1
        if after is not None and _shuffles_late(stage, after):
            waits, phases = stage, stage.shuffle**2
        elif stage.shuffle > 1:
            x = g.op("DepthToSpace", x, blocksize=stage.shuffle, mode="DCR")
            scale *= stage.shuffle
        if stage.norm is not None:
            eps = stage.norm.eps if isinstance(stage.norm, ChainNorm) else EPS
            x = g.instance_norm(x, *_affine(g, stage.norm, rows), eps, phases)
        x = _added(g, x, kept, stage)
    return x


def _until_shuffle(g: Graph, x: str, stage: Stage, maps: Maps, scale: Fraction) -> str:
    x = g.pad(x, stage.extend, "reflect")
    if stage.unshuffle > 1:
        x = g.op("SpaceToDepth", x, blocksize=stage.unshuffle)
    if stage.upsample > 1:
        x = _enlarge(g, x, stage.upsample)
    x = _convolved(g, x, stage, maps, scale)
    return g.op("Relu", x) if stage.relu_first else x


def _added(g: Graph, x: str, kept: str, stage: Stage) -> str:
    if stage.relu:
        x = g.op("Relu", x)
    if stage.closes:
        x = g.op("Add", x, g.trim(kept, stage.crop))
    return g.op("Relu", x) if stage.relu_sum else x


def _shuffles_late(stage: Stage, after: Stage) -> bool:
    """Whether the next convolution is better made before channels become pixels.

    It has four times the products there, three quarters of them with nothing: little where it gives few channels. And
    moving channels into pixels takes runtimes longer than the convolution itself.
    """
    conv = after.conv.conv2d
    small = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and 2 * conv.out_channels <= conv.in_channels
    alone = after.norm is None and not (after.opens or after.closes or after.relu_first or after.relu_sum)
    return stage.shuffle == 2 and not (stage.closes or stage.relu_sum) and after.border == 1 and alone and small


def _convolved_in_phases(g: Graph, x: str, waits: Stage, stage: Stage, maps: Maps, scale: Fraction) -> str:
    """A stage on what `waits` gave unshuffled; both shuffles at once follow.

    A border reflected by one pixel is here the outermost cells repeated: beyond row 0 lies row 1, of the same cell.
    """
    conv = stage.conv.conv2d
    bias = None if conv.bias is None else as_array(conv.bias)
    kernel, biases = in_phases(as_array(conv.weight), bias, waits.shuffle, stage.shuffle)
    x = _bordered_convolution(g, x, kernel, biases, "edge", maps, scale)
    x = g.op("DepthToSpace", x, blocksize=waits.shuffle * stage.shuffle, mode="DCR")
    return g.op("Relu", x) if stage.relu else x


def in_phases(
    weight: NDArray[np.float32], bias: NDArray[np.float32] | None, before: int, after: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """A convolution between two `depth_to_space` as one that comes before both.

    Args:
        weight: (after² · O, C, 3, 3).
        bias: (after² · O,).
        before: block side of the first.
        after: block side of the second.

    Returns:
        (before² · after² · O, before² · C, 3, 3) and (before² · after² · O,), for one block of side before · after.
    """
    given, taken = weight.shape[0] // after**2, weight.shape[1]
    wanted = np.zeros((before, after, before, after, given, 3, 3, before, before, taken), np.float32)
    told = weight.reshape(after, after, given, taken, 3, 3)
    for row, column, down, right in np.ndindex(before, before, 3, 3):
        (cell_y, y), (cell_x, x) = divmod(row + down - 1, before), divmod(column + right - 1, before)
        wanted[row, :, column, :, :, cell_y + 1, cell_x + 1, y, x] = told[..., down, right]
    outputs = before**2 * after**2 * given
    kernel = wanted.transpose(0, 1, 2, 3, 4, 7, 8, 9, 5, 6).reshape(outputs, before**2 * taken, 3, 3)
    if bias is None:
        return kernel, None
    shape = (before, after, before, after, given)
    return kernel, np.broadcast_to(bias.reshape(1, after, 1, after, given), shape).reshape(-1).copy()


def _swapped(g: Graph, x: str, chain: Chain) -> str:
    return g.op("Gather", x, g.integers(2, 1, 0), axis=1) if chain.config.bgr else x


def _scaled(g: Graph, x: str, scale: Sequence[float], shift: Sequence[float]) -> str:
    factors, terms = (g.constant(np.array(values, np.float32).reshape(1, 3, 1, 1)) for values in (scale, shift))
    return g.op("Add", g.op("Mul", x, factors), terms)


def _colours_of_chain(g: Graph, features: str, chain: Chain) -> str:
    """`Chain.to_picture`."""
    how = {"tanh": "Tanh", "sigmoid": "Sigmoid"}.get(chain.config.output)
    x = features if how is None else g.op(how, features)
    x = _swapped(g, _scaled(g, x, chain.config.gain, chain.config.offset), chain)
    return g.op("Clip", x, g.number(0), g.number(1))


def _median_of_nine(g: Graph, x: str) -> str:
    """`chain.median_of_nine` of (1, 3, h, w) continued by its outermost pixels: the fifth of nine."""
    padded, last, around = g.pad(x, 1, "edge"), np.iinfo(np.int64).max, []
    for down in range(3):
        for right in range(3):
            ends = (down - 2 or int(last), right - 2 or int(last))
            around.append(g.op("Slice", padded, g.integers(down, right), g.integers(*ends), g.integers(2, 3)))
    values = g.first_of("TopK", g.op("Concat", *around, axis=0), g.integers(5), axis=0)
    return g.op("Slice", values, g.integers(4), g.integers(5), g.integers(0))


def _convolved(g: Graph, x: str, stage: Stage, maps: Maps, scale: Fraction) -> str:
    """The convolution of a stage, its border included."""
    conv = stage.conv.conv2d
    weight, stride = as_array(conv.weight), conv.stride[0]
    bias = None if conv.bias is None else as_array(conv.bias)
    if not isinstance(stage.conv, ChainConv):
        return _bordered_convolution(g, x, weight, bias, "reflect", maps, scale, stage.conv.halo, stride)
    if stage.conv.padding == "same":
        return g.convolution_same(x, weight, bias, stride)
    if stage.spread > 1:
        return g.transposed(x, weight, bias, factor=stage.spread, pads=stage.conv.padding)
    mode: Literal["reflect", "edge", "constant"] = "reflect" if stage.conv.mode == "reflect" else "constant"
    mode = "edge" if stage.conv.mode == "replicate" else mode
    before, after = stage.conv.padding
    return g.convolution(g.pad(x, before, mode, after), weight, bias, stride=stride)


def _bordered_convolution(
    g: Graph,
    x: str,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    border: Border,
    maps: Maps,
    scale: Fraction,
    halo: int = 1,
    stride: int = 1,
) -> str:
    """A convolution of x with a border of `halo` pixels, in the way that the graph makes them."""
    if g.winograd and suits(weight, stride):
        return convolution(g, x, weight, bias, border, maps, scale)
    return g.convolution(g.pad(x, halo, border), weight, bias, stride=stride)


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
