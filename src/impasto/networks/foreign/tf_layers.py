"""What TensorFlow's nodes mean to a style network: maps, each a layer applied to others.

A convolution takes the border before it, the bias and the batch normalisation after it into itself. The normalisation
that ``tf.nn.batch_normalization`` spells out in eight operators becomes one again: by numbers of its own, or by those
that the graph computes of a style picture. What has no meaning is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.errors import WeightsError
from impasto.networks.foreign.tf_graph import Node, TFGraph

__all__ = ["NUMBERS", "PICTURE", "Layer", "layers_of"]

Array = NDArray[Any]
PICTURE: Final = "picture"
NUMBERS: Final = "numbers"  # of a style, which another graph computes
CANDIDATES: Final = 64  # outputs that are looked at
_PASSED: Final = (
    "Identity", "StopGradient", "CheckNumerics", "ReadVariableOp", "PlaceholderWithDefault", "EnsureShape", "Cast",
)  # fmt: skip


@dataclass(eq=False)
class Layer:
    """A map (1, C, h, w), or C numbers.

    Attributes:
        kind: `PICTURE`, `NUMBERS`, or an operator's as in `programs.Operator`.
        parents: what it is made of.
        channels: C.
        how: an operator's settings, and its ``weight`` and ``bias``; of a ``norm`` these may be layers.
        flat: whether it is numbers and no map.
    """

    kind: str
    parents: tuple[Layer, ...]
    channels: int
    how: Mapping[str, Any] = field(default_factory=dict)
    flat: bool = False


@dataclass(frozen=True, eq=False)
class _Step:
    """On the way to a normalisation of a map: its mean, squares, variance and what is made of them, by `kind`."""

    kind: str
    of: Layer
    eps: float = 0.0
    scale: Array | Layer | None = None
    offset: Array | Layer | None = None


@dataclass(frozen=True, eq=False)
class _Sides:
    """Sides of a map, times a whole number; or one of both."""

    of: Layer
    factor: int = 1
    axis: int | None = None


Value = Array | Layer | _Step | _Sides


def layers_of(graph: TFGraph, numbers: Layer | None = None) -> list[Layer]:
    """The maps and numbers that the graph gives, of those outputs that are made of operators of style networks.

    Args:
        graph: see `tf_graph`.
        numbers: what stands for an input of a style's numbers.

    Raises:
        WeightsError: there is none, because of an operator, or a use of one, that no style network has.
    """
    reader, found, trouble = _Reader(graph, numbers), [], None
    for name in graph.outputs[:CANDIDATES]:
        try:
            value = reader.value(name)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ArithmeticError) as error:
            trouble = trouble or WeightsError(f"the graph makes no sense: {type(error).__name__}: {error}")
        except WeightsError as error:
            trouble = trouble or error
        else:
            found += [value] if isinstance(value, Layer) else []
    if not found:
        raise trouble or WeightsError("the graph gives neither a picture nor numbers of a style")
    return found


class _Reader:
    def __init__(self, graph: TFGraph, numbers: Layer | None) -> None:
        self.graph, self.numbers = graph, numbers
        self.values: dict[str, Value | None] = {}

    def value(self, wanted: str) -> Value | None:
        """Of a node, once all that it takes is known."""
        waiting, open_ = [wanted], set[str]()
        while waiting:
            name = waiting[-1]
            if name in self.values:
                waiting.pop()
                continue
            node = self.graph.nodes[name]
            missing = [one for one, _ in node.inputs if one not in self.values]
            if missing and name not in self.graph.constants:
                if name in open_:
                    raise WeightsError("the graph goes round in a circle")
                open_.add(name)
                waiting += missing
                continue
            self.values[name] = self.node(name, node)
            waiting.pop()
        return self.values[wanted]

    def node(self, name: str, node: Node) -> Value | None:
        if name in self.graph.constants:
            return self.graph.constants[name]
        if node.kind == "Placeholder":
            return self.placeholder(name, node)
        if any(number for _, number in node.inputs):
            raise WeightsError(f"{name} takes the second output of an operator")
        given = [self.values[one] for one, _ in node.inputs]
        if node.kind in _PASSED and given:
            return given[0]
        if node.kind in ("Const", "VarHandleOp", "VariableV2", "Variable"):
            return None  # a text, or a variable that the checkpoint does not have
        handle = _OPERATORS.get(node.kind)
        if handle is None:
            raise WeightsError(f"the graph has an operator {node.kind}, which no network of this kind has")
        found = handle(node.how, *given)
        if found is None:
            raise WeightsError(f"the graph has {name}, an operator {node.kind}, in a place where no network has it")
        return found

    def placeholder(self, name: str, node: Node) -> Layer:
        shape = node.how.get("shape") or []
        if (len(shape) == 4 and shape[3] == 3) or len(shape) < 2 or shape[-1] < 1:
            return Layer(PICTURE, (), 3, {"name": name})
        if self.numbers is not None and self.numbers.channels == shape[-1]:
            return self.numbers
        return Layer(NUMBERS, (), int(shape[-1]), flat=True)


# -- convolutions -----------------------------------------------------------------------------------------------------


def _pad(how: Mapping[str, Any], x: Value, pads: Value, value: Value | None = None) -> Layer | None:
    if not isinstance(x, Layer) or not isinstance(pads, np.ndarray) or value is not None or x.flat:
        return None
    rows = [[int(one) for one in row] for row in pads]
    if len(rows) != 4 or any(rows[0] + rows[3]) or rows[1] != rows[2] or not 0 <= min(rows[1]) <= max(rows[1]) <= 256:
        raise WeightsError(f"a border of {rows}, need it alike in height and width")
    mode = "reflect" if how.get("mode") == "REFLECT" else "zeros"
    if how.get("mode", "REFLECT") != "REFLECT":
        raise WeightsError(f"a border by {how['mode']}")
    return Layer("pad", (x,), x.channels, {"padding": (rows[1][0], rows[1][1]), "mode": mode}) if any(rows[1]) else x


def _stride(how: Mapping[str, Any]) -> int:
    strides = how.get("strides", [1, 1, 1, 1])
    if len(strides) != 4 or strides[0] != 1 or strides[3] != 1 or strides[1] != strides[2] or not 1 <= strides[1] <= 16:
        raise WeightsError(f"strides of {strides}, need them alike in height and width")
    if set(how.get("dilations") or [1]) != {1} or how.get("data_format", "NHWC") != "NHWC":
        raise WeightsError("a convolution or pool with gaps, or with channels first")
    return int(strides[1])


def _convolution(how: Mapping[str, Any], x: Value, weight: Array, groups: int) -> Layer | None:
    """By (O, I, rows, columns)."""
    if not isinstance(x, Layer) or weight.ndim != 4 or min(weight.shape) < 1 or max(weight.shape[2:]) > 64:
        return None
    if weight.shape[1] * groups != x.channels:
        raise WeightsError(f"a convolution of {weight.shape[1] * groups} channels where there are {x.channels}")
    stride, made = _stride(how), {"groups": groups, "bias": np.zeros(weight.shape[0], np.float32)}
    high, wide = weight.shape[2:]
    same = how.get("padding") == "SAME"
    if how.get("padding") not in ("SAME", "VALID"):
        raise WeightsError(f"a convolution with borders {how.get('padding')}")
    if high != wide:
        weight = _squared(weight, same and stride == 1 and high % 2 == wide % 2 == 1)
    kernel = weight.shape[2]
    made |= {"weight": weight.astype(np.float32), "stride": stride, "kernel": kernel}
    if same and stride == 1 and kernel % 2:
        made |= {"padding": (kernel // 2, kernel // 2), "mode": "zeros"}
    elif same:
        made |= {"same": True}
    elif x.kind == "pad":
        made |= {"padding": x.how["padding"], "mode": x.how["mode"]}
        x = x.parents[0]
    return Layer("conv", (x,), weight.shape[0], made, flat=x.flat)


def _squared(weight: Array, can_be: bool) -> Array:
    """With zeros around it."""
    if not can_be:
        raise WeightsError(f"a convolution of shape {weight.shape}, need it square")
    side = max(weight.shape[2:])
    out = np.zeros((*weight.shape[:2], side, side), np.float32)
    top, left = ((side - own) // 2 for own in weight.shape[2:])
    out[:, :, top : top + weight.shape[2], left : left + weight.shape[3]] = weight
    return out


def _conv(how: Mapping[str, Any], x: Value, weight: Value) -> Layer | None:
    if isinstance(x, _Step) and x.kind == "mean":
        x = _average(x.of)
    if not isinstance(weight, np.ndarray) or weight.ndim != 4:
        return None
    return _convolution(how, x, weight.transpose(3, 2, 0, 1), 1)


def _depthwise(how: Mapping[str, Any], x: Value, weight: Value) -> Layer | None:
    """By (rows, columns, channels, how many of each)."""
    if not isinstance(weight, np.ndarray) or weight.ndim != 4:
        return None
    rows, columns, channels, each = weight.shape
    turned = weight.transpose(2, 3, 0, 1).reshape(channels * each, 1, rows, columns)
    return _convolution(how, x, turned, channels)


def _fused(plain: Callable[..., Layer | None]) -> Callable[..., Layer | None]:
    """With what TensorFlow's own optimiser has put into a convolution."""

    def run(how: Mapping[str, Any], x: Value, weight: Value, *rest: Value) -> Layer | None:
        made, left = plain(how, x, weight), list(rest)
        for kind in how.get("fused_ops") or ():
            if made is None or kind not in ("BiasAdd", "Relu", "Relu6"):
                return None
            made = _affine(made, 1.0, left.pop(0)) if kind == "BiasAdd" else _OPERATORS[kind]({}, made)  # type: ignore[assignment]
        return made

    return run


# -- what is multiplied and added -------------------------------------------------------------------------------------


def _channels(value: Array | float, x: Layer) -> Array | None:
    """A constant as one number per channel; None where it is something else."""
    found = np.asarray(value, np.float32)
    if found.size == 1:
        return np.full(x.channels, float(found.reshape(-1)[0]), np.float32)
    return found.reshape(-1) if found.size == x.channels == found.shape[-1] else None


def _affine(x: Layer, scale: Any, shift: Any) -> Layer | None:
    """Every channel times a number, plus another; a convolution takes them into itself."""
    if not all(isinstance(value, np.ndarray | float) for value in (scale, shift)):
        return None
    a, b = _channels(scale, x), _channels(shift, x)
    if a is None or b is None:
        return None
    if x.kind == "conv":
        weight = x.how["weight"] * a[:, None, None, None]
        return Layer("conv", x.parents, x.channels, {**x.how, "weight": weight, "bias": x.how["bias"] * a + b}, x.flat)
    return Layer("affine", (x,), x.channels, {"weight": a, "bias": b}, x.flat)


def _batch(how: Mapping[str, Any], x: Value, scale: Value, offset: Value, mean: Value, variance: Value) -> Layer | None:
    """A batch normalisation: in use, or by the picture's own moments where it is told that it is training."""
    if not isinstance(x, Layer) or not isinstance(scale, np.ndarray) or not isinstance(offset, np.ndarray):
        return None
    eps = float(how.get("epsilon", 1e-4))
    if how.get("is_training", True):
        return _normed(_Step("rest", x, eps, scale, offset))
    if not isinstance(mean, np.ndarray) or not isinstance(variance, np.ndarray):
        return None
    factor = scale / np.sqrt(variance + np.float32(eps))
    return _affine(x, factor, offset - mean * factor)


def _add(how: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a + b
    if isinstance(a, np.ndarray) or (isinstance(a, _Step) and a.kind == "rest"):
        a, b = b, a
    if isinstance(a, _Step):
        if isinstance(b, np.ndarray) and a.kind == "variance" and b.size == 1:
            return _Step("variance", a.of, eps=a.eps + float(b.reshape(-1)[0]))
        together = isinstance(b, _Step) and (a.kind, b.kind) == ("scaled", "rest") and a.of is b.of
        return _normed(b) if together and isinstance(b, _Step) and a.scale is b.scale else None
    if isinstance(a, Layer) and isinstance(b, np.ndarray):
        return _affine(a, 1.0, b)
    if isinstance(a, Layer) and isinstance(b, Layer) and a.channels == b.channels and a.flat == b.flat:
        return Layer("add", (a, b), a.channels, flat=a.flat)
    return None


def _sub(how: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(b, np.ndarray) and isinstance(a, np.ndarray | Layer):
        return a - b if isinstance(a, np.ndarray) else _affine(a, 1.0, -b)
    if isinstance(b, _Step) and b.kind == "shift" and isinstance(a, np.ndarray | Layer):
        return _Step("rest", b.of, b.eps, b.scale, a)
    return None


def _mul(how: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a * b
    for one, other in ((a, b), (b, a)):
        if isinstance(one, _Step) and one.kind in ("inverse", "factor"):
            return _times_step(one, other)
        if isinstance(other, np.ndarray) and isinstance(one, _Sides):
            return _Sides(one.of, one.factor * int(other.reshape(-1)[0]), one.axis)
        if isinstance(other, np.ndarray) and isinstance(one, Layer):
            return _affine(one, other, 0.0)
    return None


def _times_step(step: _Step, other: Value) -> _Step | None:
    """A step of a normalisation times its scale, its map, or that map's mean."""
    if step.kind == "inverse":
        return _Step("factor", step.of, step.eps, other) if isinstance(other, np.ndarray | Layer) else None
    if other is step.of:
        return _Step("scaled", step.of, step.eps, step.scale)
    of_mean = isinstance(other, _Step) and other.kind == "mean" and other.of is step.of
    return _Step("shift", step.of, step.eps, step.scale) if of_mean else None


def _div(how: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if not isinstance(b, np.ndarray):
        return None
    return a / b if isinstance(a, np.ndarray) else _mul(how, a, np.asarray(1 / b)) if isinstance(a, Layer) else None


def _normed(step: _Step) -> Layer | None:
    """The map by its own moments, times `scale`, plus `offset`: both constants, or both numbers of a style."""
    x, parts = step.of, (step.scale, step.offset)
    if x.flat or not 0 < step.eps <= 1:
        return None
    if all(isinstance(part, np.ndarray) for part in parts):
        found = [_channels(part, x) for part in parts]  # type: ignore[arg-type]
        if found[0] is None or found[1] is None:
            return None
        return Layer("norm", (x,), x.channels, {"weight": found[0], "bias": found[1], "eps": step.eps})
    if all(isinstance(part, Layer) and part.flat and part.channels == x.channels for part in parts):
        return Layer("style_norm", (x,), x.channels, {"weight": parts[0], "bias": parts[1], "eps": step.eps})
    return None


# -- moments, pools, sizes --------------------------------------------------------------------------------------------


def _mean(how: Mapping[str, Any], x: Value, axes: Value) -> Value | None:
    if not isinstance(axes, np.ndarray) or sorted(int(axis) % 4 for axis in axes.reshape(-1)) != [1, 2]:
        return None
    if isinstance(x, Layer) and not x.flat:
        return _Step("mean", x)
    return _Step("variance", x.of) if isinstance(x, _Step) and x.kind == "square" else None


def _average(x: Layer) -> Layer:
    return Layer("average", (x,), x.channels, flat=True)


def _square(how: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(a, _Step):
        a, b = b, a
    return _Step("square", a) if isinstance(a, Layer) and isinstance(b, _Step) and b.of is a else None


def _rsqrt(how: Mapping[str, Any], x: Value) -> Value | None:
    return _Step("inverse", x.of, x.eps) if isinstance(x, _Step) and x.kind == "variance" else None


def _viewed(how: Mapping[str, Any], x: Value, *_: Value | None) -> Value | None:
    """Another shape of numbers."""
    if isinstance(x, _Step) and x.kind == "mean":
        return _average(x.of)
    return x if isinstance(x, np.ndarray) or (isinstance(x, Layer) and x.flat) else None


def _pool(kind: str) -> Callable[..., Layer | None]:
    def run(how: Mapping[str, Any], x: Value) -> Layer | None:
        size = list(how.get("ksize", []))
        if not isinstance(x, Layer) or x.flat or len(size) != 4 or size[0] != 1 or size[3] != 1 or size[1] != size[2]:
            return None
        made = {"kernel": int(size[1]), "stride": _stride(how), "same": how.get("padding") == "SAME"}
        return Layer(kind, (x,), x.channels, made)

    return run


def _concat(how: Mapping[str, Any], *parts: Value) -> Layer | None:
    axis, maps = parts[-1], [part for part in parts[:-1] if isinstance(part, Layer) and not part.flat]
    if not isinstance(axis, np.ndarray) or int(axis) not in (3, -1) or len(maps) != len(parts) - 1:
        return None
    return Layer("concat", tuple(maps), sum(one.channels for one in maps)) if len(maps) > 1 else None


def _slice(how: Mapping[str, Any], x: Value, begin: Value, end: Value, step: Value) -> Value | None:
    """One side of a map out of its shape, or both."""
    if not isinstance(x, _Sides) or not isinstance(begin, np.ndarray) or not isinstance(end, np.ndarray):
        return None
    first, last = int(begin.reshape(-1)[0]), int(end.reshape(-1)[0])
    if how.get("shrink_axis_mask") and first in (1, 2):
        return _Sides(x.of, x.factor, first)
    return x if (first, last) == (1, 3) else None


def _pack(how: Mapping[str, Any], *parts: Value) -> Value | None:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.stack([np.asarray(part) for part in parts])
    sides = [part for part in parts if isinstance(part, _Sides)]
    if len(parts) != 2 or len(sides) != 2 or [one.axis for one in sides] != [1, 2]:
        return None
    alike = sides[0].of is sides[1].of and sides[0].factor == sides[1].factor
    return _Sides(sides[0].of, sides[0].factor) if alike else None


def _resize(how: Mapping[str, Any], x: Value, sides: Value) -> Value | None:
    if not isinstance(x, Layer) or not isinstance(sides, _Sides) or sides.of is not x or sides.axis is not None:
        return None
    if how.get("align_corners") or how.get("half_pixel_centers") or not 1 <= sides.factor <= 16:
        raise WeightsError("an enlargement that is not by repeating pixels")
    return x if sides.factor == 1 else Layer("nearest", (x,), x.channels, {"factor": sides.factor})


def _simple(kind: str, **made: Any) -> Callable[..., Layer | None]:
    return lambda _, x, *__: Layer(kind, (x,), x.channels, made, x.flat) if isinstance(x, Layer) else None


_OPERATORS: Final[Mapping[str, Callable[..., Value | None]]] = {
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "_FusedConv2D": _fused(_conv),
    "FusedDepthwiseConv2dNative": _fused(_depthwise),
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "BiasAdd": _add,
    "Add": _add,
    "AddV2": _add,
    "Sub": _sub,
    "Mul": _mul,
    "RealDiv": _div,
    "FusedBatchNorm": _batch,
    "FusedBatchNormV2": _batch,
    "FusedBatchNormV3": _batch,
    "Mean": _mean,
    "SquaredDifference": _square,
    "Rsqrt": _rsqrt,
    "Squeeze": _viewed,
    "ExpandDims": _viewed,
    "Reshape": _viewed,
    "Relu": _simple("relu"),
    "Relu6": _simple("clip", low=0.0, high=6.0),
    "Sigmoid": _simple("sigmoid"),
    "Tanh": _simple("tanh"),
    "MaxPool": _pool("pool"),
    "AvgPool": _pool("average_pool"),
    "ConcatV2": _concat,
    "Shape": lambda _, x: _Sides(x) if isinstance(x, Layer) and not x.flat else None,
    "StridedSlice": _slice,
    "Pack": _pack,
    "ResizeNearestNeighbor": _resize,
}
