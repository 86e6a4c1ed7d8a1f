"""An ONNX graph written operator by operator, as a network's own code is read.

Values are names of tensors, (1, C, h, w) where they are maps. Heights and widths are never constants: whatever depends
on them is computed in the graph. Operators are those of opset 20's core (no functions, no custom domains).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from impasto.errors import MissingExtraError, OutputError
from impasto.networks.norms import EPS, NOISE
from impasto.types import Stored

if TYPE_CHECKING:
    import onnx

__all__ = ["IR_VERSION", "OPSET", "Graph", "onnx_library"]

OPSET: Final = 20
IR_VERSION: Final = 10
LARGEST: Final = 2**31 - 2**20  # bytes: protobuf's limit, less what is no weights
SMALL: Final = 64  # weights fewer than these are not worth a `Cast`
INFINITE: Final = 1e30  # as a variance: nothing is left of what is divided by its root


def onnx_library() -> Any:
    """The library `onnx`; MissingExtraError where it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    return onnx


class Graph:
    """A graph that grows by calls; each gives the name of what it computes.

    Args:
        stored: how weights are kept; those that float16 cannot hold stay float32. Computed is in float32 always: not
            every runtime has float16 that works.
        winograd: whether 3x3 convolutions are made with half the multiplications, see `export.winograd`.
    """

    def __init__(self, stored: Stored = "float32", *, winograd: bool = False) -> None:
        self._onnx = onnx_library()
        self._stored = stored
        self.winograd = winograd
        self._initializers: list[Any] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._nodes: list[Any] = []
        self._count = 0

    # -- the parts of any graph ---------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operator with one output."""
        out = self._name(kind.lower())
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def first_of(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operator with two outputs, of which the first is wanted."""
        out = self._name(kind.lower())
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [out, self._name("rest")], **attributes))
        return out

    def all_of(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """One operator with so many outputs, which it is told as ``num_outputs``."""
        out = [self._name(kind.lower()) for _ in range(count)]
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), out, num_outputs=count, **attributes))
        return out

    def constant(self, value: NDArray[Any]) -> str:
        """A constant, stored as it is; the same value is stored once."""
        value = np.ascontiguousarray(value)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            name = self._known[key] = self._name("constant")
            self._initializers.append(self._onnx.numpy_helper.from_array(value, name))
        return self._known[key]

    def integers(self, *values: int) -> str:
        """A constant of whole numbers, (n,)."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A constant float32 without dimensions."""
        return self.constant(np.array(value, np.float32))

    def weight(self, value: NDArray[np.float32]) -> str:
        """A float32 constant, stored as the graph stores weights."""
        if self._stored == "float32" or value.size < SMALL or np.abs(value).max() > np.finfo(np.float16).max:
            return self.constant(value.astype(np.float32))
        return self.op("Cast", self.constant(value.astype(np.float16)), to=self._onnx.TensorProto.FLOAT)

    @contextmanager
    def branch(self, name: str) -> Iterator[_Branch]:
        """What is computed inside belongs to a branch of an `If`, which sees all that was computed before."""
        outer, self._nodes = self._nodes, []
        made = _Branch()
        try:
            yield made
            made.graph = self._onnx.helper.make_graph(
                self._nodes, name, [], [self._onnx.ValueInfoProto(name=made.result)]
            )
        finally:
            self._nodes = outer

    def model(
        self,
        name: str,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, tuple[str, Sequence[int | str]]],
        metadata: Mapping[str, str],
        documentation: str,
    ) -> onnx.ModelProto:
        """The finished model, checked.

        Args:
            name: of the graph.
            inputs: name -> shape; names of dimensions stand for any number.
            outputs: name -> (what is given out, shape).
            metadata: entries for whoever reads the file.
            documentation: a text for people.

        Raises:
            OutputError: it is too large for a file.
        """
        size = sum(len(value.raw_data) for value in self._initializers)
        if size > LARGEST:
            raise OutputError(f"an ONNX file holds 2 GB, but this network's weights are {size / 1e9:.1f} GB")
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        given_out = [helper.make_node("Identity", [value], [out]) for out, (value, _) in outputs.items()]
        graph = helper.make_graph(
            [*self._nodes, *given_out],
            name,
            [helper.make_tensor_value_info(key, kind, list(shape)) for key, shape in inputs.items()],
            [helper.make_tensor_value_info(key, kind, list(shape)) for key, (_, shape) in outputs.items()],
            self._initializers,
        )
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="impasto",
            doc_string=documentation,
        )
        helper.set_model_props(model, dict(sorted(metadata.items())))
        self._onnx.checker.check_model(model, full_check=True)
        return model

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    # -- pieces that networks share -----------------------------------------------------------------------------

    def side(self, x: str, axis: int) -> str:
        """How long a map is along an axis, int64 (1,)."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def scalar(self, value: str) -> str:
        """(1,) -> ()."""
        return self.op("Squeeze", value, self.integers(0))

    def pad_to_multiple(self, x: str, multiple: int, smallest: int, margin: int = 0) -> str:
        """See `layers.pad_to_multiple`: rows and columns are picked by number, back and forth for small pictures."""
        for axis in (2, 3):
            x = self.op("Gather", x, self._continued(self.side(x, axis), multiple, smallest, margin), axis=axis)
        return x

    def _continued(self, side: str, multiple: int, smallest: int, margin: int) -> str:
        """Indices 0, 1, ... n - 1, n - 2, ... of a side (1,) that is continued by reflection, see `layers`."""
        one, step = self.integers(1), self.integers(multiple)
        whole = self.op("Add", side, self.integers(2 * margin)) if margin else side
        larger = self.op("Max", whole, self.integers(smallest))
        up = self.op("Sub", self.op("Add", larger, step), one)
        wanted = self.op("Mul", self.op("Div", up, step), step)
        counted = self.op("Range", *map(self.scalar, (self.integers(0), wanted, one)))
        if margin:
            counted = self.op("Abs", self.op("Sub", counted, self.integers(margin)))
        last = self.op("Sub", side, one)
        period = self.op("Max", self.op("Mul", last, self.integers(2)), one)  # a single row repeats
        there = self.op("Mod", counted, period)
        return self.op("Min", there, self.op("Sub", period, there))

    def crop(self, x: str, like: str, margin: int = 0) -> str:
        """As much of x as `like` is high and wide, from (margin, margin) on."""
        ends = self.op("Concat", self.side(like, 2), self.side(like, 3), axis=0)
        ends = self.op("Add", ends, self.integers(margin)) if margin else ends
        return self.op("Slice", x, self.integers(margin, margin), ends, self.integers(2, 3))

    def pad(self, x: str, border: int, mode: Literal["reflect", "edge", "constant"], after: int | None = None) -> str:
        """(1, C, h, w) -> (1, C, h + 2 border, w + 2 border); or `after` many rows and columns below and right."""
        after = border if after is None else after
        if not border and not after:
            return x
        return self.op("Pad", x, self.integers(0, 0, border, border, 0, 0, after, after), mode=mode)

    def trim(self, x: str, border: int) -> str:
        """(1, C, h + 2 border, w + 2 border) -> (1, C, h, w)."""
        if not border:
            return x
        return self.op("Slice", x, self.integers(border, border), self.integers(-border, -border), self.integers(2, 3))

    def convolution(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, *, stride: int = 1, zeros: int = 0
    ) -> str:
        """A convolution of what is padded already, but for so many `zeros`."""
        parts = [self.weight(weight)] if bias is None else [self.weight(weight), self.constant(bias)]
        sides = list(weight.shape[2:])
        return self.op("Conv", x, *parts, kernel_shape=sides, strides=[stride] * 2, pads=[zeros] * 4)

    def convolution_same(
        self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, stride: int
    ) -> str:
        """A convolution that pads with zeros as TensorFlow does: it depends on the size whether on both sides."""
        parts = [self.weight(weight)] if bias is None else [self.weight(weight), self.constant(bias)]
        sides = list(weight.shape[2:])
        return self.op("Conv", x, *parts, kernel_shape=sides, strides=[stride] * 2, auto_pad="SAME_UPPER")

    def transposed(
        self,
        x: str,
        weight: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
        *,
        factor: int,
        pads: tuple[int, int],
    ) -> str:
        """A convolution by `weight` (O, I, k, k) of x with zeros between and around its pixels, see `Stage.spread`."""
        kernel = weight.shape[2]
        turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        parts = [self.weight(turned)] if bias is None else [self.weight(turned), self.constant(bias)]
        before, after = kernel - 1 - pads[0], kernel - factor - pads[1]
        return self.op(
            "ConvTranspose",
            x,
            *parts,
            kernel_shape=[kernel] * 2,
            strides=[factor] * 2,
            pads=[before] * 2 + [max(after, 0)] * 2,
            output_padding=[max(-after, 0)] * 2,
        )

    def mean(self, x: str) -> str:
        """(1, C, h, w) -> (1, C, 1, 1): rows first, then of these, which is exact enough for any runtime and size."""
        return self.op("ReduceMean", self.op("ReduceMean", x, self.integers(3)), self.integers(2))

    def moments(self, x: str) -> tuple[str, str]:
        """Mean and biased variance of a map, (1, C, 1, 1) each, in two passes: E[x²] - E[x]² would be all rounding."""
        mean = self.mean(x)
        return mean, self._variance(self.op("Sub", x, mean))

    def _variance(self, centred: str) -> str:
        squares = self.op("ReduceSumSquare", centred, self.integers(3))  # no third map is needed
        width = self.op("Cast", self.side(centred, 3), to=self._onnx.TensorProto.FLOAT)
        return self.op("Div", self.op("ReduceMean", squares, self.integers(2)), width)

    def instance_norm(self, x: str, gamma: str, beta: str, eps: float = EPS, phases: int = 1) -> str:
        """A map with the given γ and β, (C,) each, in place of its moments; what is `norms.without_noise` becomes β.

        Written out, because runtimes' own operators sum in one pass or in one float32, see docs/export.md. With
        `phases` so many channels, C apart, are parts of one.
        """
        mean = self._of_all(self.mean(x), phases)
        centred = self.op("Sub", x, mean)
        variance = self._of_all(self._variance(centred), phases)
        share, least = map(self.number, NOISE)
        noise = self.op("Add", self.op("Mul", self.op("Mul", mean, mean), share), least)
        variance = self.op("Where", self.op("Less", variance, noise), self.number(INFINITE), variance)
        deviation = self.op("Sqrt", self.op("Add", variance, self.number(eps)))
        scale = self.op("Div", self._column(gamma, phases), deviation)
        return self.op("Add", self.op("Mul", centred, scale), self._column(beta, phases))

    def _of_all(self, values: str, phases: int) -> str:
        """(1, phases · C, 1, 1) -> the same, each the mean of its phases."""
        if phases == 1:
            return values
        parts = self.op("Reshape", values, self.integers(phases, -1))
        return self._column(self.op("ReduceMean", parts, self.integers(0), keepdims=0), phases)

    def _column(self, values: str, phases: int) -> str:
        """(C,) -> (1, phases · C, 1, 1)."""
        repeated = self.op("Concat", *[values] * phases, axis=0) if phases > 1 else values
        return self.op("Reshape", repeated, self.integers(1, -1, 1, 1))

    def blend(self, first: str, second: str, share: str) -> str:
        """``first + share * (second - first)``."""
        return self.op("Add", first, self.op("Mul", self.op("Sub", second, first), share))


class _Branch:
    """What a branch gives out, and its graph once it is complete."""

    result: str
    graph: Any
