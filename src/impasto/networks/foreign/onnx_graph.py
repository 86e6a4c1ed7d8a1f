"""ONNX graphs of style networks as trees of layers; nothing in them is run.

Exporters write an instance normalisation as ten operators, an enlargement as eight. Every value of the graph is given
a meaning here: a constant; a map, which is a layer applied to another map; or a step on the way to one, such as the
mean of a map. What has no meaning is refused by its name. Sizes that are computed are followed at the size that the
graph was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.errors import WeightsError, load_library

__all__ = ["Graph", "Layer", "read_graph"]

MOST: Final = 3000  # operators
NOMINAL: Final = 256  # px, where the graph declares no size
TINY: Final = 1e-6  # what is added to a map for the exporter's own sake

Array = NDArray[Any]


@dataclass(eq=False)
class Layer:
    """A map, (1, C, h, w): what is done, to what, and how.

    Attributes:
        kind: ``input``, ``pad``, ``conv``, ``transpose``, ``norm``, ``affine``, ``relu``, ``upsample``, ``crop``,
            ``add``, ``tanh``, ``sigmoid``, ``clip``.
        parents: one map, or two where they are added.
        shape: channels, height and width at the size that the graph was made for.
    """

    kind: str
    parents: tuple[Layer, ...]
    shape: tuple[int, int, int]
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Step:
    """On the way to a layer: a view, mean, difference, square, variance, deviation ... of a map."""

    kind: str
    of: Layer
    eps: float = 0.0


@dataclass(frozen=True, eq=False)
class Graph:
    """The map that comes out, and what the file says of itself."""

    output: Layer
    metadata: Mapping[str, str]


Value = Array | Layer | _Step


def read_graph(data: bytes) -> Graph:
    """The tree of a graph.

    Raises:
        WeightsError: no ONNX, or an operator, or a use of one, that no style network of ours has.
        MissingExtraError: the library `onnx` is not installed.
    """
    onnx = load_library("onnx", "onnx", "reading ONNX")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # of protobuf's own kinds
        raise WeightsError("the file is no ONNX, or damaged") from error
    graph, metadata = model.graph, {row.key: row.value for row in model.metadata_props}
    if "impasto" in metadata:
        raise WeightsError("it is one that `impasto export onnx` wrote: give the file that it was made from")
    if len(graph.node) > MOST or len(graph.output) != 1 or model.functions:
        raise WeightsError(
            f"the graph has {len(graph.node)} operators and {len(graph.output)} outputs, need one output"
        )
    reader = _Reader(onnx, graph)
    try:
        output = reader.run()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RuntimeError, ArithmeticError) as error:
        raise WeightsError(f"the graph makes no sense: {type(error).__name__}: {error}") from error
    return Graph(output, metadata)


class _Reader:
    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx, self.graph = onnx, graph
        self.values: dict[str, Value | None] = {"": None}

    def run(self) -> Layer:
        for tensor in self.graph.initializer:
            self.values[tensor.name] = self.array(tensor)
        inputs = [row for row in self.graph.input if row.name not in self.values]
        if len(inputs) != 1:
            names = ", ".join(row.name for row in inputs)
            raise WeightsError(f"the graph takes {len(inputs)} inputs ({names}), need one picture")
        sides = [int(side.dim_value) for side in inputs[0].type.tensor_type.shape.dim]
        if len(sides) != 4 or sides[1] not in (0, 3):
            raise WeightsError(f"the graph takes {sides}, need (1, 3, height, width): channels first")
        height, width = (side or NOMINAL for side in sides[2:])
        if not (8 <= height <= 10_000 and 8 <= width <= 10_000):
            raise WeightsError(f"the graph was made for {width}x{height} px")
        self.values[inputs[0].name] = Layer("input", (), (3, height, width))
        for node in self.graph.node:
            if len(node.output) != 1 and node.op_type not in ("InstanceNormalization", "BatchNormalization", "Dropout"):
                raise WeightsError(f"the graph has an operator {node.op_type} of {len(node.output)} outputs")
            self.values[node.output[0]] = self.node(node)
        found = self.values[self.graph.output[0].name]
        if not isinstance(found, Layer):
            raise WeightsError("what the graph gives is no picture")
        return found

    def array(self, tensor: Any) -> Array:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            raise WeightsError("the graph keeps its weights in another file: join them first")
        found: Array = self.onnx.numpy_helper.to_array(tensor)
        return found.astype(np.float32) if found.dtype.kind == "f" else found

    def node(self, node: Any) -> Value:
        how = {row.name: self.attribute(row) for row in node.attribute}
        given = [self.values[name] for name in node.input]
        if node.op_type == "Constant":
            return np.asarray(how["value"])
        if all(value is None or isinstance(value, np.ndarray) for value in given) and node.op_type in _FOLDS:
            return np.asarray(_FOLDS[node.op_type](how, *given))
        try:
            handle = _OPERATORS[node.op_type]
        except KeyError:
            raise WeightsError(
                f"the graph has an operator {node.op_type}, which no network of a known kind has"
            ) from None
        found = handle(how, *given)
        if found is None:
            raise WeightsError(
                f"the graph has an operator {node.op_type} in a place where no network of a known kind has it"
            )
        return found

    def attribute(self, row: Any) -> Any:
        if row.type == self.onnx.AttributeProto.TENSOR:
            return self.array(row.t)
        if row.type in (self.onnx.AttributeProto.GRAPH, self.onnx.AttributeProto.GRAPHS):
            raise WeightsError("the graph has a graph inside an operator")
        value = self.onnx.helper.get_attribute_value(row)
        return value.decode("latin-1") if isinstance(value, bytes) else value


# -- constants and sizes ----------------------------------------------------------------------------------------------


def _ints(value: Any) -> list[int]:
    return [int(number) for number in np.asarray(value).flatten()]


def _slice(how: Mapping[str, Any], data: Array, *rest: Array | None) -> Array:
    starts, ends = (rest[0], rest[1]) if rest else (how["starts"], how["ends"])
    axes = rest[2] if len(rest) > 2 and rest[2] is not None else how.get("axes", range(len(_ints(starts))))
    out = data
    for start, end, axis in zip(_ints(starts), _ints(ends), _ints(axes), strict=True):
        out = out.take(range(*slice(start, end).indices(out.shape[axis])), axis)
    return out


def _unsqueeze(how: Mapping[str, Any], data: Array, axes: Array | None = None) -> Array:
    out = data
    for axis in sorted(_ints(how["axes"] if axes is None else axes)):
        out = np.expand_dims(out, axis)
    return out


_KINDS: Final = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float64}
_FOLDS: Final[Mapping[str, Callable[..., Any]]] = {
    "Gather": lambda how, data, at: np.take(data, at.astype(np.int64), how.get("axis", 0)),
    "Cast": lambda how, data: data.astype(_KINDS[how["to"]]),
    "Mul": lambda _, a, b: a * b,
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Div": lambda _, a, b: a // b if a.dtype.kind == "i" else a / b,
    "Floor": lambda _, a: np.floor(a),
    "Ceil": lambda _, a: np.ceil(a),
    "Identity": lambda _, a: a,
    "Concat": lambda how, *parts: np.concatenate(parts, how.get("axis", 0)),
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": lambda how, data, axes=None: data.reshape([side for side in data.shape if side != 1]),
    "Reshape": lambda how, data, shape: data.reshape(_ints(shape)),
    "Transpose": lambda how, data: data.transpose(how.get("perm")),
    "Flatten": lambda how, data: data.reshape(1, -1),
    "Reciprocal": lambda _, a: 1 / a,
    "Neg": lambda _, a: -a,
    "Sqrt": lambda _, a: np.sqrt(a),
    "Exp": lambda _, a: np.exp(a),
    "Pow": lambda _, a, b: a**b,
}


# -- layers -----------------------------------------------------------------------------------------------------------


def _pads_of(how: Mapping[str, Any], x: Layer, kernel: int, stride: int) -> tuple[int, int] | str:
    """The zeros around a convolution's input, before and after; or ``same``."""
    auto = how.get("auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        return "same"
    if auto not in ("NOTSET", "VALID", ""):
        raise WeightsError(f"a convolution has auto_pad {auto}")
    pads = list(how.get("pads", [0, 0, 0, 0]))
    if auto == "VALID" or len(pads) != 4:
        pads = [0, 0, 0, 0]
    if pads[0] != pads[1] or pads[2] != pads[3]:
        raise WeightsError(f"a convolution has a border of {pads}, need it alike in height and width")
    return pads[0], pads[2]


def _plain(how: Mapping[str, Any], weight: Array) -> tuple[int, int]:
    """Kernel and stride of a convolution without groups or gaps."""
    strides, gaps = list(how.get("strides", [1, 1])), list(how.get("dilations", [1, 1]))
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or strides[0] != strides[1]:
        raise WeightsError(f"a convolution of shape {weight.shape} and strides {strides}, need it square")
    if how.get("group", 1) != 1 or set(gaps) != {1}:
        raise WeightsError("a convolution has groups or gaps, and networks of known kinds have none")
    return weight.shape[2], int(strides[0])


def _conv(how: Mapping[str, Any], x: Value, weight: Array, bias: Array | None = None) -> Layer | None:
    if not isinstance(x, Layer) or not isinstance(weight, np.ndarray):
        return None
    kernel, stride = _plain(how, weight)
    pads = _pads_of(how, x, kernel, stride)
    sides = []
    for side in x.shape[1:]:
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0) if isinstance(pads, str) else sum(pads)
        sides.append((side + total - kernel) // stride + 1)
    made = {"weight": weight, "bias": bias, "stride": stride, "pads": pads}
    return Layer("conv", (x,), (weight.shape[0], sides[0], sides[1]), made)


def _transpose(how: Mapping[str, Any], x: Value, weight: Array, bias: Array | None = None) -> Layer | None:
    if not isinstance(x, Layer) or not isinstance(weight, np.ndarray):
        return None
    kernel, factor = _plain(how, weight)
    pads = _pads_of(how, x, kernel, factor)
    if isinstance(pads, str):
        more = max(kernel - factor, 0)
        pads = more // 2, more - more // 2
    before, after = pads
    after -= next(iter(how.get("output_padding", [0])))
    wanted = how.get("output_shape")
    if wanted is not None:
        full = (x.shape[1] - 1) * factor + kernel
        after = full - before - int(wanted[-2])
    sides = [(side - 1) * factor + kernel - before - after for side in x.shape[1:]]
    made = {"weight": weight, "bias": bias, "factor": factor, "before": before, "after": after}
    return Layer("transpose", (x,), (weight.shape[1], sides[0], sides[1]), made)


def _pad(how: Mapping[str, Any], x: Value, pads: Array | None = None, value: Array | None = None) -> Value | None:
    if not isinstance(x, Layer):
        return None
    rows = _ints(how.get("pads", how.get("paddings", [])) if pads is None else pads)
    mode = {"reflect": "reflect", "edge": "replicate", "constant": "zeros"}.get(how.get("mode", "constant"))
    sides = rows[2:4] + rows[6:8]
    if mode is None or len(rows) != 8 or any(rows[:2] + rows[4:6]) or sides[0] != sides[1] or sides[2] != sides[3]:
        raise WeightsError(f"a border of {rows}, need it alike in height and width")
    if min(sides) < 0 or max(sides) > 256 or (value is not None and np.any(value)):
        raise WeightsError(f"a border of {rows}")
    if not any(sides):
        return x
    shape = (x.shape[0], x.shape[1] + sides[0] + sides[2], x.shape[2] + sides[0] + sides[2])
    return Layer("pad", (x,), shape, {"before": sides[0], "after": sides[2], "mode": mode})


def _crop(how: Mapping[str, Any], x: Value, *rest: Array) -> Value | None:
    """The operator Crop of opset 1, or a slice along height and width."""
    if not isinstance(x, Layer):
        return _slice(how, x, *rest) if isinstance(x, np.ndarray) else None
    if "border" in how:
        borders = list(how["border"])
    else:
        starts, ends = (rest[0], rest[1]) if rest else (how["starts"], how["ends"])
        axes = _ints(rest[2] if len(rest) > 2 else how.get("axes", [0, 1, 2, 3]))
        borders, sides = [0, 0, 0, 0], (1, *x.shape)
        for start, end, axis in zip(_ints(starts), _ints(ends), axes, strict=True):
            first, last, step = slice(start, end).indices(sides[axis])
            if axis in (2, 3):
                borders[axis - 2], borders[axis] = first, sides[axis] - last
            elif (first, last, step) != (0, sides[axis], 1):
                return None
    if len(set(borders)) > 1 or borders[0] < 0:
        raise WeightsError(f"a map loses {borders} at its sides, need it alike")
    if not borders[0]:
        return x
    crop = borders[0]
    if x.kind == "transpose":
        made = dict(x.how, before=x.how["before"] + crop, after=x.how["after"] + crop)
        return Layer("transpose", x.parents, (x.shape[0], x.shape[1] - 2 * crop, x.shape[2] - 2 * crop), made)
    return Layer("crop", (x,), (x.shape[0], x.shape[1] - 2 * crop, x.shape[2] - 2 * crop), {"size": crop})


def _instance(how: Mapping[str, Any], x: Value, gamma: Array, beta: Array) -> Layer | None:
    if not isinstance(x, Layer):
        return None
    return Layer("norm", (x,), x.shape, {"gamma": gamma, "beta": beta, "eps": float(how.get("epsilon", 1e-5))})


def _batch(how: Mapping[str, Any], x: Value, gamma: Array, beta: Array, mean: Array, variance: Array) -> Layer | None:
    if not isinstance(x, Layer):
        return None
    scale = gamma / np.sqrt(variance + how.get("epsilon", 1e-5))
    return Layer("affine", (x,), x.shape, {"scale": scale, "shift": beta - mean * scale})


def _channels(value: Array, x: Layer) -> Array | None:
    """A constant as one number per channel; None where it is something else."""
    if value.size == 1:
        return np.full(x.shape[0], float(value.reshape(-1)[0]), np.float32)
    shape = [1] * (4 - value.ndim) + list(value.shape)
    return value.reshape(-1) if shape == [1, x.shape[0], 1, 1] else None


def _affine(x: Value, scale: Array | float, shift: Array | float) -> Layer | None:
    if not isinstance(x, Layer):
        return None
    rows = [_channels(np.asarray(value, np.float32), x) for value in (scale, shift)]
    if rows[0] is None or rows[1] is None:
        return None
    return Layer("affine", (x,), x.shape, {"scale": rows[0], "shift": rows[1]})


def _add(_: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(a, np.ndarray):
        a, b = b, a
    if isinstance(b, np.ndarray):
        if isinstance(a, _Step):
            small = b.size == 1 and abs(float(b.reshape(-1)[0])) <= TINY
            if a.kind in ("centred", "flat", "once") and small:
                return a
            return (
                _Step("variance and", a.of, eps=float(b.reshape(-1)[0]))
                if a.kind == "variance" and b.size == 1
                else None
            )
        return _affine(a, 1.0, b)
    if isinstance(a, Layer) and isinstance(b, Layer) and a.shape == b.shape:
        return Layer("add", (a, b), a.shape)
    return None


def _sub(_: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(b, _Step) and b.kind == "mean" and b.of is a:
        return _Step("centred", b.of)
    return _affine(a, 1.0, -b) if isinstance(b, np.ndarray) and isinstance(a, Layer) else None


def _mul(_: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(a, np.ndarray):
        a, b = b, a
    if isinstance(b, np.ndarray):
        return _affine(a, b, 0.0)
    if isinstance(a, _Step) and isinstance(b, _Step) and a.of is b.of:
        kinds = {a.kind, b.kind}
        if kinds == {"centred"}:
            return _Step("square", a.of)
        if kinds == {"centred", "inverse"}:
            return _normed(a.of, max(a.eps, b.eps))
    return None


def _div(_: Mapping[str, Any], a: Value, b: Value) -> Value | None:
    if isinstance(b, np.ndarray):
        return _affine(a, 1 / b, 0.0)
    if isinstance(a, _Step) and isinstance(b, _Step) and a.of is b.of and (a.kind, b.kind) == ("centred", "deviation"):
        return _normed(a.of, b.eps)
    return None


def _normed(x: Layer, eps: float) -> Layer:
    ones = np.ones(x.shape[0], np.float32)
    return Layer("norm", (x,), x.shape, {"gamma": ones, "beta": 0 * ones, "eps": eps})


def _mean(how: Mapping[str, Any], x: Value, axes: Array | None = None) -> Value | None:
    over = sorted(axis % 4 for axis in _ints(how.get("axes", []) if axes is None else axes))
    if isinstance(x, Layer):
        return _Step("mean", x) if over == [2, 3] else None
    if isinstance(x, _Step) and x.kind in ("view", "square", "square view"):
        whole = over == [2, 3] or (x.kind != "square" and over in ([3], [2]))
        return _Step("mean" if x.kind == "view" else "variance", x.of) if whole else None
    return None


def _reshape(how: Mapping[str, Any], x: Value, shape: Array | None = None) -> Value | None:
    target = _ints(how.get("shape", []) if shape is None else shape)
    if isinstance(x, _Step) and x.kind == "square":
        return _Step("square view", x.of)
    if isinstance(x, _Step) and x.kind in ("doubled", "once"):
        c, h, w = x.of.shape
        if target == [-1, 2 * w] and x.kind == "doubled":
            return _Step("once", x.of)
        return None
    if isinstance(x, _Step) and x.kind == "twice":
        c, h, w = x.of.shape
        return Layer("upsample", (x.of,), (c, 2 * h, 2 * w), {"factor": 2}) if target[1:] == [c, 2 * h, 2 * w] else None
    if not isinstance(x, Layer):
        return None
    c, h, w = x.shape
    if target in ([-1, 1], [c * h * w, 1]):
        return _Step("flat", x)
    if target[-3:] in ([c, 1, -1], [c, 1, h * w]) or target in ([1, c, -1], [1, c, h * w]):
        return _Step("view", x)
    return x if target[-3:] == [c, h, w] else None


def _concat(how: Mapping[str, Any], *parts: Value) -> Value | None:
    """Every pixel, and every row, twice: as an exporter without an operator to enlarge writes it."""
    if len(parts) != 2 or not all(isinstance(part, _Step) for part in parts) or how.get("axis") != 1:
        return None
    first, second = parts
    if not isinstance(first, _Step) or not isinstance(second, _Step) or first.of is not second.of:
        return None
    kinds = {first.kind, second.kind}
    return _Step("doubled", first.of) if kinds == {"flat"} else _Step("twice", first.of) if kinds == {"once"} else None


def _resize(how: Mapping[str, Any], x: Value, *rest: Array | None) -> Value | None:
    """Upsample and Resize: by factors, or to sizes, at the size that the graph was made for."""
    if not isinstance(x, Layer):
        return None
    if how.get("mode", "nearest") != "nearest":
        raise WeightsError(f"an enlargement is {how.get('mode')}, need nearest")
    given = [value for value in rest if value is not None and value.size == 4]
    numbers = how.get("scales", given[-1] if given else [1, 1, how.get("height_scale", 0), how.get("width_scale", 0)])
    rows = [float(number) for number in np.asarray(numbers).flatten()]
    wide, sized = rows[2:], len(rest) == 3 and rest[2] is not None
    factors = [side / own for side, own in zip(wide, x.shape[1:], strict=True)] if sized else wide
    factor = round(factors[0])
    if len(rows) != 4 or factor < 1 or factor > 16 or any(abs(one - factor) > 1e-3 for one in factors):
        raise WeightsError(f"an enlargement by {rows}, need it by a whole number")
    return Layer("upsample", (x,), (x.shape[0], x.shape[1] * factor, x.shape[2] * factor), {"factor": factor})


def _simple(kind: str) -> Callable[..., Layer | None]:
    return lambda _, x, *__: Layer(kind, (x,), x.shape) if isinstance(x, Layer) else None


def _shape(_: Mapping[str, Any], x: Value) -> Array | None:
    return np.array([1, *x.shape], np.int64) if isinstance(x, Layer) else None


def _sqrt(_: Mapping[str, Any], x: Value) -> Value | None:
    return _Step("deviation", x.of, eps=x.eps) if isinstance(x, _Step) and x.kind == "variance and" else None


def _reciprocal(_: Mapping[str, Any], x: Value) -> Value | None:
    return _Step("inverse", x.of, eps=x.eps) if isinstance(x, _Step) and x.kind == "deviation" else None


def _power(_: Mapping[str, Any], x: Value, exponent: Array) -> Value | None:
    if isinstance(x, _Step) and x.kind == "centred" and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2:
        return _Step("square", x.of)
    return None


def _scaler(how: Mapping[str, Any], x: Value) -> Layer | None:
    """Of opset 1: times a number, plus one for each channel."""
    return _affine(x, float(how.get("scale", 1.0)), np.array(how.get("bias", [0.0]), np.float32).reshape(1, -1, 1, 1))


_OPERATORS: Final[Mapping[str, Callable[..., Value | None]]] = {
    "Conv": _conv,
    "ConvTranspose": _transpose,
    "Pad": _pad,
    "Crop": _crop,
    "Slice": _crop,
    "InstanceNormalization": _instance,
    "BatchNormalization": _batch,
    "Relu": _simple("relu"),
    "Tanh": _simple("tanh"),
    "Sigmoid": _simple("sigmoid"),
    "Clip": _simple("clip"),
    "Identity": lambda _, x: x,
    "Dropout": lambda _, x, *__: x,
    "Cast": lambda _, x: x,
    "Add": _add,
    "Sum": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Pow": _power,
    "Sqrt": _sqrt,
    "Reciprocal": _reciprocal,
    "ReduceMean": _mean,
    "GlobalAveragePool": lambda _, x: _Step("mean", x) if isinstance(x, Layer) else None,
    "Reshape": _reshape,
    "Concat": _concat,
    "Upsample": _resize,
    "Resize": _resize,
    "Shape": _shape,
    "Affine": lambda how, x: _affine(x, float(how.get("alpha", 1.0)), float(how.get("beta", 0.0))),
    "ImageScaler": _scaler,
}
