"""Lists of operators as ONNX graphs: `networks.programs`, operator by operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from impasto.export.graph import Graph
from impasto.export.staged import as_array
from impasto.networks.operators import PARAMETERS
from impasto.networks.programs import NORMS, Operator, Program

__all__ = ["bytes_per_pixel", "run_program"]


def run_program(g: Graph, program: Program, picture: str, wanted: Sequence[int]) -> list[str]:
    """`Program.run`; a style's numbers are the input ``parameters``."""
    values = [picture]
    for number in range(1, len(program.rows) + 1):
        values.append(_operator(g, program, number, [values[at] for at in program.rows[number - 1].of]))
    return [values[at] for at in wanted]


def bytes_per_pixel(program: Program, side: int) -> int:
    """Memory that it takes at most, per pixel of a picture of side x side px."""
    sides, last = program.sides(side) or [side], program.last_use
    areas = [4 * width * one**2 / side**2 for width, one in zip(program.widths, sides, strict=True)]
    alive, most = {0}, 0.0
    for number, row in enumerate(program.rows, 1):
        alive.add(number)
        most = max(most, sum(areas[at] for at in alive) + 2 * areas[row.of[0]] + areas[number])
        alive -= {at for at in row.of if last[at] == number}
    return math.ceil(most + 24)


def _operator(g: Graph, program: Program, number: int, given: Sequence[str]) -> str:
    row, x = program.rows[number - 1], given[0]
    width = program.widths[row.of[0]]
    if row.kind == "conv":
        return _convolved(g, program, number, x)
    if row.kind in NORMS:
        return _normalised(g, program, number, x)
    if row.kind == "concat":
        return g.op("Concat", *given, axis=1)
    return _WHOLE[row.kind](g, row, x, width) if row.kind in _WHOLE else _pointwise(g, program, number, given)


def _convolved(g: Graph, program: Program, number: int, x: str) -> str:
    row, conv = program.rows[number - 1], program.get_submodule(str(number))
    weight = as_array(conv.weight)  # type: ignore[arg-type]
    parts = [g.weight(weight)] + ([g.constant(as_array(conv.bias))] if row.bias else [])  # type: ignore[arg-type]
    before, after = row.padding
    how = {"kernel_shape": [row.kernel] * 2, "strides": [row.stride] * 2, "group": row.groups}
    if row.same:
        return g.op("Conv", x, *parts, auto_pad="SAME_UPPER", **how)
    if row.mode == "zeros":
        return g.op("Conv", x, *parts, pads=[before, before, after, after], **how)
    return g.op("Conv", g.pad(x, before, _mode(row.mode), after), *parts, **how)


def _normalised(g: Graph, program: Program, number: int, x: str) -> str:
    row, width = program.rows[number - 1], program.widths[number]
    if row.kind == "norm":
        own = [g.constant(as_array(value)) for value in program.factors(number, None)]
        return g.instance_norm(x, own[0], own[1], row.eps)
    gamma, beta = (_numbers(g, row.at + i * width, width, (-1,)) for i in (0, 1))
    if row.unbiased:  # σ² is larger by n/(n - 1): γ becomes smaller, and ε, which is as good as the same, larger
        count = _positions(g, x)
        less = g.op("Div", g.op("Sub", count, g.number(1)), count)
        gamma = g.op("Mul", gamma, g.op("Sqrt", less))
    return g.instance_norm(x, gamma, beta, row.eps)


def _moments(g: Graph, row: Operator, x: str, width: int) -> str:
    mean, variance = g.moments(x)
    if row.unbiased:
        count = _positions(g, x)
        variance = g.op("Mul", variance, g.op("Div", count, g.op("Sub", count, g.number(1))))
    return g.op("Concat", g.op("Sqrt", g.op("Add", variance, g.number(row.eps))), mean, axis=1)


def _positions(g: Graph, x: str) -> str:
    sides = [g.op("Cast", g.side(x, axis), to=1) for axis in (2, 3)]
    return g.op("Mul", *sides)


def _gram(g: Graph, row: Operator, x: str, width: int) -> str:
    flat = g.op("Reshape", x, g.integers(width, -1))
    count = g.op("Mul", _positions(g, x), g.number(width))
    products = g.op("Div", g.op("MatMul", flat, g.op("Transpose", flat, perm=[1, 0])), count)
    return g.op("Reshape", products, g.integers(1, width**2, 1, 1))


def _pointwise(g: Graph, program: Program, number: int, given: Sequence[str]) -> str:
    row, x, width = program.rows[number - 1], given[0], program.widths[number]
    match row.kind:
        case "relu" | "tanh" | "sigmoid":
            return g.op({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[row.kind], x)
        case "clip":
            return g.op("Clip", x, g.number(row.low), g.number(row.high))
        case "reverse":
            return g.op("Gather", x, g.integers(*range(width - 1, -1, -1)), axis=1)
        case "add":
            return g.op("Add", x, given[1])
        case "affine":
            scale, shift = (g.constant(as_array(value).reshape(1, -1, 1, 1)) for value in program.factors(number, None))
            return g.op("Add", g.op("Mul", x, scale), shift)
        case "modulate":
            w, b = (_numbers(g, row.at + i * width, width, (1, width, 1, 1)) for i in (0, 1))
            return g.op("Add", g.op("Mul", x, w), g.op("Mul", given[1], b))
        case "recombine":
            own = g.weight(as_array(program.get_submodule(str(number)).weight))  # type: ignore[arg-type]
            product = g.op("MatMul", own, _numbers(g, row.at, width**2, (width, width)))
            kernel = g.op("Reshape", g.op("Transpose", product, perm=[1, 0]), g.integers(width, width, 1, 1))
            return g.op("Conv", x, kernel, kernel_shape=[1, 1])
    raise ValueError(f"no graph for {row.kind}")


def _numbers(g: Graph, at: int, count: int, shape: Sequence[int]) -> str:
    """Some of the style's numbers, in this shape."""
    part = g.op("Slice", PARAMETERS, g.integers(at), g.integers(at + count), g.integers(1))
    return g.op("Reshape", part, g.integers(*shape))


def _spread(g: Graph, row: Operator, x: str, width: int) -> str:
    """Zeros between the pixels, by a transposed convolution of each channel."""
    kernel = np.zeros((width, 1, row.factor, row.factor), np.float32)
    kernel[:, :, 0, 0] = 1
    sides = [row.factor] * 2
    return g.op("ConvTranspose", x, g.constant(kernel), kernel_shape=sides, strides=sides, group=width)


def _enlarged(g: Graph, row: Operator, x: str, width: int) -> str:
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = g.constant(np.array([1, 1, row.factor, row.factor], np.float32))
    return g.op("Resize", x, "", scales, **(nearest if row.kind == "nearest" else {"mode": "linear"}))


def _resized(g: Graph, row: Operator, x: str, width: int) -> str:
    return g.op("Resize", x, "", "", g.integers(1, width, row.size, row.size), mode="linear", antialias=1)


def _pooled(g: Graph, row: Operator, x: str, width: int) -> str:
    return g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)


def _windows(kind: str) -> Callable[[Graph, Operator, str, int], str]:
    def run(g: Graph, row: Operator, x: str, width: int) -> str:
        pads = "SAME_UPPER" if row.same else "VALID"
        return g.op(kind, x, kernel_shape=[row.kernel] * 2, strides=[row.stride] * 2, auto_pad=pads)

    return run


def _mode(mode: str) -> Literal["reflect", "edge", "constant"]:
    return "reflect" if mode == "reflect" else "edge" if mode == "replicate" else "constant"


_WHOLE: Mapping[str, Callable[[Graph, Operator, str, int], str]] = {
    "pad": lambda g, row, x, _: g.pad(x, row.size, _mode(row.mode)),
    "crop": lambda g, row, x, _: g.trim(x, row.size),
    "spread": _spread,
    "nearest": _enlarged,
    "bilinear": _enlarged,
    "max_pool": _pooled,
    "pool": _windows("MaxPool"),
    "average_pool": _windows("AveragePool"),
    "resize": _resized,
    "moments": _moments,
    "average": lambda g, row, x, _: g.mean(x),
    "gram": _gram,
}
