"""Magenta's any style as TensorFlow's graphs, small and with random weights, and plainly; AdaIN of TensorFlow."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .any_style_samples import State, reflected
from .foreign_samples import _same, instance, message, random_weights, varint, write_checkpoint

Attributes = dict[str, Any]


@dataclass
class Row:
    """A node: its name, operator, inputs and attributes."""

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    how: Attributes = field(default_factory=dict)


class Rows:
    """Nodes as they come, with what variables hold; each call gives the name of a node."""

    def __init__(self, variables: Mapping[str, Tensor]) -> None:
        self.variables = variables
        self.rows: list[Row] = []
        self.constants: dict[str, np.ndarray] = {}

    def op(self, kind: str, name: str, *inputs: str, **how: Any) -> str:
        self.rows.append(Row(name, kind, inputs, how))
        return name

    def constant(self, name: str, value: object, dtype: str = "<i4") -> str:
        self.constants[name] = np.asarray(value, dtype)
        return self.op("Const", name)

    def variable(self, name: str) -> str:
        if not any(row.name == name for row in self.rows):
            self.op("Variable", name)
        return name


STRIDES = {1: [1, 1, 1, 1], 2: [1, 2, 2, 1]}


class MagentaAny:
    """A style network with all that Inception and MobileNet have, and the transformer that paints by it."""

    def __init__(self, numbers: int = 10, *, separable: bool = False, border: Literal["REFLECT", "zeros"] = "REFLECT"):
        self.make, self.numbers, self.separable, self.border = random_weights(12), numbers, separable, border
        self.blocks = 2
        self.v: dict[str, Tensor] = {}
        for name, out, into, high, wide in (
            ("Conv_1", 4, 3, 3, 3), ("project", 4, 4, 1, 1), ("Branch_0", 3, 4, 1, 1), ("Branch_1a", 3, 4, 1, 7),
            ("Branch_1b", 4, 3, 7, 1), ("Branch_2", 2, 4, 1, 1),
        ):  # fmt: skip
            self.kernel(f"Net/{name}/weights", out, into, high, wide)
            self.batch(f"Net/{name}/BatchNorm", out)
        self.v["Net/depthwise/depthwise_weights"] = self.make(4, 1, 3, 3).permute(2, 3, 0, 1).contiguous()
        self.batch("Net/depthwise/BatchNorm", 4)
        self.kernel("Conv/weights", numbers, 9, 1, 1)
        self.v["Conv/biases"] = self.make(numbers)
        for number, (out, into, side) in enumerate(((4, 3, 9), (6, 4, 3), (8, 6, 3)), 1):
            self.kernel(f"transformer/contract/conv{number}/weights", out, into, side, side)
            self.batch(f"transformer/contract/conv{number}/BatchNorm", out)
        self.styled = [f"residual/residual{block}/conv{part}" for block in (1, 2) for part in (1, 2)]
        rows = [(name, 8, 8, 3) for name in self.styled]
        rows += [("expand/conv1/conv", 6, 8, 3), ("expand/conv2/conv", 4, 6, 3), ("expand/conv3/conv", 3, 4, 9)]
        for name, out, into, side in rows:
            if separable:
                turned = self.make(into, 1, side, side).permute(2, 3, 0, 1).contiguous()
                self.v[f"transformer/{name}/depthwise_weights"] = turned
                self.kernel(f"transformer/{name}/pointwise_weights", out, into, 1, 1)
            else:
                self.kernel(f"transformer/{name}/weights", out, into, side, side)
            for part in ("Conv", "Conv_1"):
                self.kernel(f"style_params/transformer/{name}/StyleNorm/{part}/weights", out, numbers, 1, 1)
                self.v[f"style_params/transformer/{name}/StyleNorm/{part}/weights"] *= 0.4
                self.v[f"style_params/transformer/{name}/StyleNorm/{part}/biases"] = 0.5 * self.make(out)

    def kernel(self, name: str, out: int, into: int, high: int, wide: int) -> None:
        self.v[name] = self.make(out, into, high, wide).permute(2, 3, 1, 0).contiguous()

    def batch(self, name: str, width: int) -> None:
        self.v[f"{name}/gamma"] = 1 + 0.3 * self.make(width)
        self.v[f"{name}/beta"] = 0.3 * self.make(width)
        self.v[f"{name}/moving_mean"] = 0.3 * self.make(width)
        self.v[f"{name}/moving_variance"] = 0.5 + self.make(width).square()

    # -- as nodes -----------------------------------------------------------------------------------------------------

    def normed(self, g: Rows, x: str, name: str, active: str | None = "Relu6") -> str:
        parts = [g.variable(f"{name}/{part}") for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        x = g.op("FusedBatchNorm", f"{name}/Fused", x, *parts, epsilon=0.001, is_training=False)
        return g.op(active, f"{name}/{active}", x) if active else x

    def conv(self, g: Rows, x: str, name: str, stride: int = 1, padding: str = "SAME", part: str = "weights") -> str:
        how = {"strides": STRIDES[stride], "padding": padding}
        return g.op("Conv2D", f"{name}/Conv2D", x, g.variable(f"{name}/{part}"), **how)

    def style_rows(self, g: Rows, style: str) -> str:
        x = self.normed(g, self.conv(g, style, "Net/Conv_1", 2), "Net/Conv_1/BatchNorm")
        weight = g.variable("Net/depthwise/depthwise_weights")
        y = g.op("DepthwiseConv2dNative", "Net/depthwise/d", x, weight, strides=STRIDES[1], padding="SAME")
        y = self.normed(g, y, "Net/depthwise/BatchNorm")
        y = self.normed(g, self.conv(g, y, "Net/project"), "Net/project/BatchNorm", None)
        x = g.op("AddV2", "Net/add", x, y)
        x = g.op("MaxPool", "Net/pool", x, ksize=[1, 3, 3, 1], strides=STRIDES[2], padding="VALID")
        first = self.normed(g, self.conv(g, x, "Net/Branch_0"), "Net/Branch_0/BatchNorm", None)
        second = self.normed(g, self.conv(g, x, "Net/Branch_1a"), "Net/Branch_1a/BatchNorm")
        second = self.normed(g, self.conv(g, second, "Net/Branch_1b"), "Net/Branch_1b/BatchNorm", None)
        third = g.op("AvgPool", "Net/average", x, ksize=[1, 3, 3, 1], strides=STRIDES[1], padding="SAME")
        third = self.normed(g, self.conv(g, third, "Net/Branch_2"), "Net/Branch_2/BatchNorm", None)
        x = g.op("ConcatV2", "Net/concat", first, second, third, g.constant("Net/axis", 3))
        x = g.op("Relu6", "Net/Relu6", x)
        x = g.op("Mean", "bottleneck/Mean", x, g.constant("bottleneck/axes", [1, 2]), keep_dims=True)
        x = self.conv(g, x, "Conv")
        return g.op("BiasAdd", "Conv/BiasAdd", x, g.variable("Conv/biases"))

    def padded(self, g: Rows, x: str, name: str, side: int) -> str:
        pads = g.constant(f"{name}/paddings", [[0, 0], [side // 2] * 2, [side // 2] * 2, [0, 0]])
        if self.border == "REFLECT":
            return g.op("MirrorPad", f"{name}/MirrorPad", x, pads, mode="REFLECT")
        return g.op("Pad", f"{name}/Pad", x, pads)

    def styled_rows(self, g: Rows, x: str, name: str, numbers: str, side: int) -> str:
        name, params = f"transformer/{name}", f"style_params/transformer/{name}/StyleNorm"
        x = self.padded(g, x, name, side)
        if self.separable:
            weight = g.variable(f"{name}/depthwise_weights")
            x = g.op("DepthwiseConv2dNative", f"{name}/d", x, weight, strides=STRIDES[1], padding="VALID")
            x = self.conv(g, x, name, 1, "VALID", "pointwise_weights")
        else:
            x = self.conv(g, x, name, 1, "VALID")
        beta, gamma = (self.told_rows(g, numbers, f"{params}/{part}") for part in ("Conv", "Conv_1"))
        axes = g.constant(f"{name}/axes", [1, 2])
        mean = g.op("Mean", f"{name}/mean", x, axes, keep_dims=True)
        square = g.op("SquaredDifference", f"{name}/square", x, g.op("StopGradient", f"{name}/stop", mean))
        variance = g.op("Mean", f"{name}/variance", square, axes, keep_dims=True)
        inverse = g.op("Rsqrt", f"{name}/rsqrt", g.op("Add", f"{name}/e", variance, self.eps(g, name)))
        factor = g.op("Mul", f"{name}/mul", inverse, gamma)
        scaled = g.op("Mul", f"{name}/mul_1", x, factor)
        rest = g.op("Sub", f"{name}/sub", beta, g.op("Mul", f"{name}/mul_2", mean, factor))
        return g.op("Add", f"{name}/add_1", scaled, rest)

    def eps(self, g: Rows, name: str) -> str:
        return g.constant(f"{name}/eps", 1e-5, "<f4")

    def told_rows(self, g: Rows, numbers: str, name: str) -> str:
        x = g.op("BiasAdd", f"{name}/BiasAdd", self.conv(g, numbers, name), g.variable(f"{name}/biases"))
        x = g.op("Squeeze", f"{name}/Squeeze", x, squeeze_dims=[1, 2])
        x = g.op("ExpandDims", f"{name}/ExpandDims", x, g.constant(f"{name}/dim", 1))
        return g.op("ExpandDims", f"{name}/ExpandDims_1", x, g.constant(f"{name}/dim_1", 2))

    def larger_rows(self, g: Rows, x: str, name: str, factor: int) -> str:
        shape, sides = g.op("Shape", f"{name}/Shape", x), []
        for axis in (1, 2):
            ends = [
                g.constant(f"{name}/{axis}/{end}", [value]) for end, value in (("b", axis), ("e", axis + 1), ("s", 1))
            ]
            side = g.op("StridedSlice", f"{name}/slice_{axis}", shape, *ends, shrink_axis_mask=1)
            sides.append(g.op("Mul", f"{name}/mul_{axis}", g.constant(f"{name}/factor_{axis}", factor), side))
        return g.op("ResizeNearestNeighbor", f"{name}/resized", x, g.op("Pack", f"{name}/size", *sides))

    def painting_rows(self, g: Rows, photo: str, numbers: str) -> str:
        x = photo
        for number, (side, stride) in enumerate(((9, 1), (3, 2), (3, 2)), 1):
            name = f"transformer/contract/conv{number}"
            x = self.conv(g, self.padded(g, x, name, side), name, stride, "VALID")
            x = self.normed(g, x, f"{name}/BatchNorm", "Relu")
        for block in (1, 2):
            name = f"residual/residual{block}"
            y = g.op("Relu", f"{name}/Relu", self.styled_rows(g, x, f"{name}/conv1", numbers, 3))
            x = g.op("Add", f"{name}/add", x, self.styled_rows(g, y, f"{name}/conv2", numbers, 3))
        for number, factor in ((1, 2), (2, 2), (3, 1)):
            name = f"expand/conv{number}"
            x = self.larger_rows(g, x, name, factor)
            x = self.styled_rows(g, x, f"{name}/conv", numbers, 9 if number == 3 else 3)
            x = g.op("Relu" if number < 3 else "Sigmoid", f"{name}/active", x)
        return x

    def rows(self, what: Literal["both", "style", "paint"] = "both") -> Rows:
        g = Rows(self.v)
        if what != "style":
            g.op("Placeholder", "content", shape=[-1, -1, -1, 3])
        if what == "paint":
            numbers = g.op("Placeholder", "numbers", shape=[-1, 1, 1, self.numbers])
        else:
            numbers = self.style_rows(g, g.op("Placeholder", "style", shape=[-1, -1, -1, 3]))
        if what != "style":
            self.painting_rows(g, "content", numbers)
        return g

    # -- plainly ------------------------------------------------------------------------------------------------------

    def run_conv(self, x: Tensor, name: str, stride: int = 1, groups: int = 1, *, same: bool = True) -> Tensor:
        weight = self.v[name]
        weight = weight.permute(2, 3, 0, 1) if groups > 1 else weight.permute(3, 2, 0, 1)
        if same:
            across, down = (_same(x.shape[axis], weight.shape[axis], stride) for axis in (3, 2))
            x = F.pad(x, (*across, *down))
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def run_normed(self, x: Tensor, name: str) -> Tensor:
        parts = (self.v[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta"))
        return F.batch_norm(x, *parts, eps=1e-3)

    def told(self, style: Tensor) -> Tensor:
        def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1, part: str = "weights") -> Tensor:
            return self.run_normed(self.run_conv(x, f"Net/{name}/{part}", stride, groups), f"Net/{name}/BatchNorm")

        x = F.relu6(conv(style, "Conv_1", 2))
        x = x + conv(F.relu6(conv(x, "depthwise", 1, 4, "depthwise_weights")), "project")
        x = F.max_pool2d(x, 3, 2)
        second = conv(F.relu6(conv(x, "Branch_1a")), "Branch_1b")
        third = conv(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "Branch_2")
        x = F.relu6(torch.cat((conv(x, "Branch_0"), second, third), 1)).mean((2, 3), keepdim=True)
        return self.run_conv(x, "Conv/weights") + self.v["Conv/biases"].view(1, -1, 1, 1)

    def paint(self, photo: Tensor, numbers: Tensor) -> Tensor:
        def padded(x: Tensor, side: int) -> Tensor:
            return F.pad(x, (side // 2,) * 4, "reflect" if self.border == "REFLECT" else "constant")

        def styled(x: Tensor, name: str, side: int) -> Tensor:
            x = padded(x, side)
            if self.separable:
                x = self.run_conv(x, f"transformer/{name}/depthwise_weights", 1, x.shape[1], same=False)
                x = self.run_conv(x, f"transformer/{name}/pointwise_weights", same=False)
            else:
                x = self.run_conv(x, f"transformer/{name}/weights", same=False)
            beta, gamma = (
                (self.run_conv(numbers, f"{part}/weights") + self.v[f"{part}/biases"].view(1, -1, 1, 1)).flatten()
                for part in (f"style_params/transformer/{name}/StyleNorm/{part}" for part in ("Conv", "Conv_1"))
            )
            return instance(x, gamma, beta)

        x = photo
        for number, (side, stride) in enumerate(((9, 1), (3, 2), (3, 2)), 1):
            name = f"transformer/contract/conv{number}"
            x = F.relu(self.run_normed(self.run_conv(padded(x, side), f"{name}/weights", stride, same=False),
                                       f"{name}/BatchNorm"))  # fmt: skip
        for block in range(1, self.blocks + 1):
            name = f"residual/residual{block}"
            x = x + styled(F.relu(styled(x, f"{name}/conv1", 3)), f"{name}/conv2", 3)
        for number in (1, 2):
            x = F.relu(styled(F.interpolate(x, scale_factor=2), f"expand/conv{number}/conv", 3))
        return styled(x, "expand/conv3/conv", 9).sigmoid()

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        return self.paint(photo, self.told(style))[..., : photo.shape[2], : photo.shape[3]]

    # -- as files -----------------------------------------------------------------------------------------------------

    def write_tfjs(self, folder: Path, *, texts: Literal["letters", "base64"] = "letters") -> Path:
        """Two folders, as in Nakano's repository; gives the one of the network that paints."""
        for what, name in (("style", "saved_model_style_js"), ("paint", "saved_model_transformer_js")):
            write_tfjs(folder / name, self.rows(what), texts=texts)
        return folder / "saved_model_transformer_js"

    def write_frozen(self, path: Path) -> Path:
        path.write_bytes(graph_def(self.rows(), frozen=True))
        return path

    def write_saved_model(self, folder: Path, version: int) -> Path:
        """`version` of TensorFlow: variables by their names, or by objects and with functions."""
        (folder / "variables").mkdir(parents=True)
        g = self.rows()
        output = g.rows[-1].name
        if version == 1:
            graph = graph_def(g, frozen=False)
            write_checkpoint(folder / "variables" / "variables", self.v)
        else:
            graph, output = functional(g), "StatefulPartitionedCall"
            keys = {f"variables/{i}/.ATTRIBUTES/VARIABLE_VALUE": name for i, name in enumerate(self.v)}
            tensors = {key: self.v[name] for key, name in keys.items()}
            write_checkpoint(folder / "variables" / "variables", tensors, keys)
        info = message(1, b"output_0") + message(2, message(1, f"{output}:0".encode()) + message(2, 1))
        signature = message(1, b"serving_default") + message(2, message(2, info))
        (folder / "saved_model.pb").write_bytes(message(1, 1) + message(2, message(2, graph) + message(5, signature)))
        return folder


# -- nodes as bytes ---------------------------------------------------------------------------------------------------


def fixed32(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def attribute(value: Any) -> bytes:
    if isinstance(value, bool):
        return message(5, int(value))
    if isinstance(value, int):
        return message(3, value)
    if isinstance(value, float):
        return fixed32(4, value)
    if isinstance(value, str):
        return message(2, value.encode())
    if isinstance(value, np.ndarray):
        return message(8, tensor(value))
    if isinstance(value, Shape):
        return message(7, b"".join(message(2, message(1, side % (1 << 64))) for side in value.sides))
    if isinstance(value, Call):
        return message(10, message(1, value.name.encode()))
    if value and isinstance(value[0], str):
        return message(1, b"".join(message(2, one.encode()) for one in value))
    return message(1, message(3, b"".join(varint(one) for one in value)))  # packed


@dataclass
class Shape:
    sides: Sequence[int]


@dataclass
class Call:
    name: str


def tensor(value: np.ndarray) -> bytes:
    """Large ones as they lie in memory, little ones number by number, and what repeats once."""
    kind = {"<f4": 1, "<i4": 3}[value.dtype.str]
    head = message(1, kind) + message(2, b"".join(message(2, message(1, side)) for side in value.shape))
    flat = value.reshape(-1)
    if value.size > 4:
        return head + message(4, value.tobytes())
    if kind == 1:
        return head + b"".join(fixed32(5, float(one)) for one in flat)
    same = value.size and (flat == flat[0]).all()
    return head + message(7, b"".join(varint(int(one)) for one in (flat[:1] if same else flat)))


def node(row: Row, inputs: Sequence[str], how: Attributes) -> bytes:
    out = message(1, row.name.encode()) + message(2, row.kind.encode())
    out += b"".join(message(3, one.encode()) for one in inputs)
    out += message(5, message(1, b"T") + message(2, message(6, 1)))
    for key, value in how.items():
        value = Shape(value) if key == "shape" else value
        out += message(5, message(1, key.encode()) + message(2, attribute(value)))
    return out


def graph_def(g: Rows, *, frozen: bool) -> bytes:
    """As TensorFlow 1: variables are constants, or are read from a checkpoint."""
    out = b""
    for row in g.rows:
        if row.kind == "Const":
            out += message(1, node(row, (), {"value": g.constants[row.name]}))
        elif row.kind == "Variable" and frozen:
            held = Row(row.name, "Const")
            out += message(1, node(held, (), {"value": g.variables[row.name].numpy()}))
        elif row.kind == "Variable":
            out += message(1, node(Row(row.name, "VariableV2"), (), {}))
        else:
            out += message(1, node(row, row.inputs, row.how))
    return out


def functional(g: Rows) -> bytes:
    """As TensorFlow 2: a function that calls another, with variables handed in."""
    held = [row.name for row in g.rows if row.kind == "Variable"]
    pictures = [row.name for row in g.rows if row.kind == "Placeholder"]
    arguments = [*pictures, *(f"v{i}" for i in range(len(held)))]
    inner = list(_inner(g, {name: f"v{i}" for i, name in enumerate(held)}))
    last = g.rows[-1].name
    library = function("__inference_pruned_1", arguments, inner, f"{last.replace('/', '_')}:y:0")
    call = node(Row("PartitionedCall", "PartitionedCall"), arguments, {"f": Call("__inference_pruned_1")})
    back = node(Row("Identity", "Identity"), ["PartitionedCall:output:0", "^PartitionedCall"], {})
    library += function("__inference_signature_wrapper_2", arguments, [call, back], "Identity:output:0")
    out = b"".join(message(1, node(Row(f"serving_default_{one}", "Placeholder"), (), {"shape": [-1, -1, -1, 3]}))
                   for one in pictures)  # fmt: skip
    for i, name in enumerate(held):
        out += message(1, node(Row(f"var_{i}", "VarHandleOp"), (), {"shared_name": name}))
    given = [*(f"serving_default_{one}" for one in pictures), *(f"var_{i}" for i in range(len(held)))]
    call = node(Row("StatefulPartitionedCall", "StatefulPartitionedCall"), given,
                {"f": Call("__inference_signature_wrapper_2")})  # fmt: skip
    return out + message(1, call) + message(2, library)


def _inner(g: Rows, arguments: Mapping[str, str]) -> Iterator[bytes]:
    """Names are without slashes there, and say which output is taken."""
    pictures = {row.name for row in g.rows if row.kind == "Placeholder"}
    for row in g.rows:
        name = row.name.replace("/", "_")
        if row.kind == "Variable":
            yield node(Row(name, "ReadVariableOp"), [arguments[row.name]], {})
        elif row.kind == "Const":
            yield node(Row(name, "Const"), (), {"value": g.constants[row.name]})
        elif row.kind != "Placeholder":
            inputs = [one if one in pictures else f"{one.replace('/', '_')}:y:0" for one in row.inputs]
            yield node(Row(name, row.kind), inputs, row.how)


def function(name: str, arguments: Sequence[str], nodes: Sequence[bytes], result: str) -> bytes:
    signature = message(1, name.encode()) + b"".join(message(2, message(1, one.encode())) for one in arguments)
    signature += message(3, message(1, b"identity"))
    ret = message(1, b"identity") + message(2, result.encode())
    return message(1, message(1, signature) + b"".join(message(3, one) for one in nodes) + message(4, ret))


def write_tfjs(folder: Path, g: Rows, *, texts: str = "letters", shards: int = 3) -> None:
    """``model.json`` with its numbers in several files of one size, as the converter cuts them."""

    def told(value: Any) -> dict[str, Any]:
        match value:
            case bool():
                return {"b": value}
            case int():
                return {"i": str(value)}
            case float():
                return {"f": value}
            case str():
                letters = value.encode()
                return {"s": list(letters) if texts == "letters" else base64.b64encode(letters).decode()}
            case Shape():
                return {"shape": {"dim": [{"size": str(side)} for side in value.sides]}}
        if value and isinstance(value[0], str):
            return {"list": {"s": [told(one)["s"] for one in value]}}
        return {"list": {"s": [], "i": [str(one) for one in value]}}

    rows, held, data = [], [], b""
    for row in g.rows:
        kind = "Const" if row.kind == "Variable" else row.kind
        how = {key: told(Shape(value) if key == "shape" else value) for key, value in row.how.items()}
        rows.append({"name": row.name, "op": kind, "input": list(row.inputs), "attr": {"T": {"type": 1}, **how}})
        if kind == "Const":
            value = g.constants[row.name] if row.name in g.constants else g.variables[row.name].numpy()
            dtype = {"f": "float32", "i": "int32"}[value.dtype.kind]
            held.append({"name": row.name, "shape": list(value.shape), "dtype": dtype})
            data += value.tobytes()
    folder.mkdir(parents=True)
    size = -(-len(data) // shards)
    paths = [f"group1-shard{i + 1}of{shards}" for i in range(shards)]
    for i, path in enumerate(paths):
        (folder / path).write_bytes(data[i * size : (i + 1) * size])
    manifest = [{"paths": paths, "weights": held}]
    (folder / "model.json").write_text(json.dumps({"modelTopology": {"node": rows}, "weightsManifest": manifest}))


# -- AdaIN ------------------------------------------------------------------------------------------------------------

LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1")
CAFFE = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)


class AdaINTF:
    """A sixteenth as wide, as eridgd's ("keras") and elleryqueenhomels' ("named") programs save it."""

    def __init__(self, form: Literal["keras", "named"]) -> None:
        self.form, self.make = form, random_weights(8)
        widths, self.state, into = (4, 4, 8, 8, 16, 16, 16, 16, 32), State(), 3
        if form == "keras":
            self.layer("first", 3, 3, 1)
        for name, out in zip(LAYERS, widths, strict=True):
            self.layer(f"e{name}", out, into)
            into = out
        for name, out in zip(LAYERS[::-1], (16, 16, 16, 16, 8, 8, 4, 4, 3), strict=True):
            self.layer(f"d{name}", out, into)
            into = out
        if form == "named":
            self.state["d1_1.weight"] *= 30
            self.state["e1_1.weight"] /= 100

    def layer(self, name: str, out: int, into: int, side: int = 3) -> None:
        self.state |= {f"{name}.weight": self.make(out, into, side, side), f"{name}.bias": 0.1 * self.make(out)}

    def write(self, prefix: Path) -> Path:
        """Keras' decoder stands there twice, as it makes it; the second was trained."""
        names, out = {}, {}
        if self.form == "keras":
            names = {"first": "encoder/preprocess"} | {f"e{name}": f"encoder/conv{name}" for name in LAYERS}
            decoder = [f"d{name}" for name in LAYERS[::-1]]
            for i, name in enumerate(decoder, 1):
                names[name] = f"decoder/decoder_model/lambda_{i}/conv2d_{i + 9}"
                key, shape = f"decoder/lambda_{i}/conv2d_{i}", self.state[f"{name}.weight"].permute(2, 3, 1, 0).shape
                out |= {f"{key}/kernel": torch.ones(shape), f"{key}/bias": torch.ones(shape[3])}
                trained = f"train/{names[name]}/kernel/Adam"
                out[trained] = torch.zeros(shape)
        else:
            names = {f"{part[0]}{name}": f"{part}/conv{name}" for part in ("encoder", "decoder") for name in LAYERS}
        for name, key in names.items():
            out[f"{key}/kernel"] = self.state[f"{name}.weight"].permute(2, 3, 1, 0).contiguous()
            out[f"{key}/bias"] = self.state[f"{name}.bias"]
        write_checkpoint(prefix, out | {"global_step": torch.tensor(4.0)})
        return prefix

    def encode(self, x: Tensor) -> Tensor:
        x = reflected(x, self.state, "first") if self.form == "keras" else x.flip(1) * 255 - CAFFE
        for name in LAYERS:
            x = F.max_pool2d(x, 2, ceil_mode=True) if name in ("2_1", "3_1", "4_1") else x
            x = F.relu(reflected(x, self.state, f"e{name}"))
        return x

    def __call__(self, photo: Tensor, style: Tensor) -> Tensor:
        x, seen = self.encode(photo).double(), self.encode(style).double()
        eps = 0.0 if self.form == "keras" else 1e-5
        (variance, mean), (other, told) = (torch.var_mean(y, (2, 3), correction=0, keepdim=True) for y in (x, seen))
        x = ((x - mean) / (variance + 1e-5).sqrt() * (other + eps).sqrt() + told).float()
        for name in LAYERS[::-1]:
            x = reflected(x, self.state, f"d{name}")
            x = x if name == "1_1" else F.relu(x)
            x = F.interpolate(x, scale_factor=2) if name in ("4_1", "3_1", "2_1") else x
        x = x if self.form == "keras" else ((x + CAFFE) / 255).flip(1)
        return x.clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]
