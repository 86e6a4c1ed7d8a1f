"""Operators on feature maps, what each does, and lists of them with their weights.

A list is run from the picture on; how far up and down each operator looks is told too, so that `tiling` can run the
same list in bands, and `export` can write it as a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import OptionError
from impasto.networks.chain import Mode
from impasto.networks.layers import spread_out, working_dtype
from impasto.networks.norms import EPS, RunningMoments, normalise, without_noise
from impasto.networks.staged import check_size

__all__ = [
    "NORMS",
    "Operator",
    "OperatorKind",
    "Program",
    "adjusted",
    "check_program",
    "continued",
    "operator_from",
    "width_of",
]

OperatorKind = Literal[
    "conv", "pad", "crop", "spread", "nearest", "bilinear", "max_pool", "pool", "average_pool", "resize",
    "norm", "style_norm", "modulate", "recombine", "affine", "reverse",
    "relu", "tanh", "sigmoid", "clip", "add", "concat",
    "moments", "average", "gram",
]  # fmt: skip
"""What an operator does, see `Operator`."""

MOST_MAPS = 16
_TWO: frozenset[str] = frozenset({"modulate", "add"})
_TELLS: frozenset[str] = frozenset({"moments", "average", "gram"})
_LOOKS: frozenset[str] = _TELLS | {"resize", "pool", "average_pool", "concat"}
NORMS: frozenset[str] = frozenset({"norm", "style_norm"})


@dataclass(frozen=True)
class Operator:
    """One operator on feature maps.

    Kinds, beside the ones whose name says it (relu, tanh, sigmoid, add):

    - ``conv``: a convolution of what is continued on each side by `padding`, before and after, in a `mode`;
    - ``pad``: continued by `size` on all sides; ``crop``: as much left out;
    - ``spread``: zeros between the pixels, by `factor`; a convolution after it is a transposed one;
    - ``nearest``, ``bilinear``: enlarged by `factor`, corners not aligned;
    - ``max_pool``: 2x2; what is left at the end is a window too;
    - ``pool``, ``average_pool``: the largest value, or the mean, of each window of `kernel` and `stride`; only of a
      style picture;
    - ``concat``: the channels of several maps, one after the other; only of a style picture;
    - ``resize``: to `size` x `size`, bilinear, antialiased; only of a style picture;
    - ``norm``: instance normalisation with a weight and a bias of its own; ``style_norm``: the style's numbers are
      C factors, then C terms. `unbiased` divides by one position less;
    - ``modulate``: of y and x, ``w y + b x``; the style's numbers are C of w, then C of b;
    - ``recombine``: each position's channels times ``(W G)`` transposed; the style's numbers are G, C x C;
    - ``affine``: each channel times a number, plus another; ``reverse``: channels in reverse order;
    - ``clip``: to what is from `low` to `high`;
    - ``moments``: C deviations, then C means; ``average``: C means; ``gram``: products of channels, by their number
      and that of positions. These are for what looks at a style.

    Attributes:
        kind: see above.
        of: whose values it takes: 0 is the picture, 1 what the first operator gives.
        channels: that come out of a convolution.
        same: of a convolution or windows: continued as TensorFlow does, so that the result is as large as what goes in
            divided by the stride, rounded up; what is outside does not count in windows. Only of a style picture.
        at: the first of the style's numbers that it takes.
    """

    kind: OperatorKind
    of: tuple[int, ...]
    channels: int = 0
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    padding: tuple[int, int] = (0, 0)
    mode: Mode = "zeros"
    same: bool = False
    bias: bool = True
    size: int = 0
    factor: int = 2
    eps: float = EPS
    unbiased: bool = False
    low: float = 0.0
    high: float = 1.0
    at: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(OperatorKind):
            raise OptionError(f"no operator is called {self.kind!r}; there are {', '.join(get_args(OperatorKind))}")
        if self.mode not in get_args(Mode):
            raise OptionError(f"mode is one of {', '.join(get_args(Mode))}, got {self.mode!r}")
        for name, largest in {"kernel": 64, "stride": 16, "groups": 8192, "factor": 16}.items():
            check_size(name, getattr(self, name), largest)
        for name in ("of", "padding"):
            values = getattr(self, name)
            whole = isinstance(values, Sequence) and all(type(value) is int and value >= 0 for value in values)
            least, most = (2, 2) if name == "padding" else (1, MOST_MAPS if self.kind == "concat" else 2)
            if not whole or not least <= len(values) <= most:
                raise OptionError(f"{name} is whole numbers, got {values!r}")
            object.__setattr__(self, name, tuple(values))
        if max(self.padding) > 256 or (self.kind in ("pad", "crop", "resize") and not 1 <= self.size <= 1024):
            raise OptionError(f"{self.kind} of {self.padding}, {self.size}: too large, or nothing")
        if self.kind != "concat" and (len(self.of) == 2) != (self.kind in _TWO):
            raise OptionError(f"{self.kind} takes {1 + (self.kind in _TWO)} maps, got {len(self.of)}")
        numbers = (self.eps, self.low, self.high, self.at)
        if not all(isinstance(number, int | float) and abs(number) < 1e9 for number in numbers) or not self.eps > 0:
            raise OptionError(f"eps, low, high and at are numbers, got {numbers}")

    def numbers(self, width: int) -> int:
        """How many of the style's numbers it takes where it gives so many channels."""
        return {"style_norm": 2 * width, "modulate": 2 * width, "recombine": width**2}.get(self.kind, 0)

    def width(self, widths: Sequence[int]) -> int:
        """Channels that come out of maps of so many."""
        width = sum(widths) if self.kind == "concat" else widths[0]
        return {"conv": self.channels, "moments": 2 * width, "gram": width**2}.get(self.kind, width)

    def side(self, side: int) -> int | None:
        """How high, or wide, what comes out is; None where there is too little to go in."""
        match self.kind:
            case "conv" | "pool" | "average_pool" if self.same:
                out = -(-side // self.stride)
            case "pool" | "average_pool":
                out = (side - self.kernel) // self.stride + 1
            case "conv":
                if self.mode == "reflect" and side <= max(self.padding):
                    return None
                out = (side + sum(self.padding) - self.kernel) // self.stride + 1
            case "pad":
                return side + 2 * self.size if side > self.size else None
            case "crop":
                out = side - 2 * self.size
            case "spread" | "nearest" | "bilinear":
                out = side * self.factor
            case "max_pool":
                out = -(-side // 2)
            case "resize":
                out = self.size
            case kind:
                out = 1 if kind in _TELLS else side
        return out if out > 0 else None


def operator_from(row: Operator | Mapping[str, Any]) -> Operator:
    """The operator itself, or the one with these fields; OptionError where they make none."""
    if isinstance(row, Operator):
        return row
    known = {field.name for field in fields(Operator)}
    if not isinstance(row, Mapping) or not row.keys() <= known:
        raise OptionError(f"an operator has no settings but {', '.join(sorted(known))}, got {row!r}")
    try:
        return Operator(**row)
    except TypeError as error:
        raise OptionError(f"an operator needs more settings, or others: {error}") from error


def check_program(rows: Sequence[Operator], *, looks: bool) -> list[int]:
    """Channels of the picture and of what every operator gives; OptionError where they do not fit."""
    for number, row in enumerate(rows, 1):
        if max(row.of) >= number:
            raise OptionError(f"operator {number} ({row.kind}) takes what comes after it")
        if not looks and (row.kind in _LOOKS or row.same):
            raise OptionError(f"operator {number}: {row.kind} is for what looks at a style, as it is here")
        if looks and row.kind in ("style_norm", "modulate", "recombine"):
            raise OptionError(f"operator {number}: {row.kind} is for what paints")
    widths = width_of(rows)
    for number, row in enumerate(rows, 1):
        if row.kind != "concat" and len({widths[at] for at in row.of}) > 1:
            raise OptionError(f"operator {number} ({row.kind}) takes maps of {[widths[at] for at in row.of]} channels")
        if row.kind == "conv":
            check_size("channels", row.channels, 8192)
            if widths[row.of[0]] % row.groups or row.channels % row.groups:
                raise OptionError(f"operator {number}: {row.groups} groups of {widths[row.of[0]]} channels")
    return widths


def width_of(rows: Sequence[Operator]) -> list[int]:
    """Channels of the picture and of what every operator gives."""
    widths = [3]
    for row in rows:
        widths.append(row.width([widths[at] for at in row.of]))
    return widths


class _Weights(nn.Module):
    """A weight and a bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))


class _Square(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(channels))


class Program(nn.Module):
    """A list of operators with its weights; those of operator 3 are called ``3.weight`` and ``3.bias``."""

    def __init__(self, rows: Sequence[Operator]) -> None:
        super().__init__()
        self.rows, self.widths = tuple(rows), width_of(rows)
        for number, row in enumerate(rows, 1):
            width = self.widths[row.of[0]]
            if row.kind == "conv":
                conv = nn.Conv2d(width, row.channels, row.kernel, row.stride, groups=row.groups, bias=row.bias)
                self.add_module(str(number), conv)
            elif row.kind in ("norm", "affine"):
                self.add_module(str(number), _Weights(width))
            elif row.kind == "recombine":
                self.add_module(str(number), _Square(width))

    def sides(self, side: int) -> list[int] | None:
        """How high, or wide, every map is for a picture so high or wide; None where one would have nothing left."""
        found = [side]
        for row in self.rows:
            sides = {found[at] for at in row.of}
            out = row.side(found[row.of[0]])
            if out is None or len(sides) > 1:
                return None
            found.append(out)
        return found

    @property
    def last_use(self) -> dict[int, int]:
        """Of the picture and what every operator gives: the number of the last operator that takes it."""
        return {at: number for number, row in enumerate(self.rows, 1) for at in row.of}

    def run(self, picture: Tensor, parameters: Tensor | None, wanted: Sequence[int]) -> list[Tensor]:
        """What the `wanted` operators give for (B, 3, H, W) in [0, 1]; a style's `parameters` are (1, P)."""
        values: dict[int, Tensor] = {0: picture.contiguous(memory_format=torch.channels_last)}
        last = self.last_use
        for number, row in enumerate(self.rows, 1):
            given = [values[at] for at in row.of]
            values[number] = self.apply_one(number, given, parameters)
            for at in set(row.of):
                if last[at] == number and at not in wanted:
                    del values[at]
        return [values[number] for number in wanted]

    def apply_one(self, number: int, given: Sequence[Tensor], parameters: Tensor | None) -> Tensor:
        """One operator on whole maps."""
        row, x = self.rows[number - 1], given[0]
        if row.kind == "concat":
            return torch.cat(list(given), 1)
        if row.kind == "conv":
            down, across = _pads_of(row, x) if row.same else (row.padding, row.padding)
            return self.convolve(number, continued(x, down, across, row.mode))
        if row.kind in NORMS:
            rows = [x[i : i + 1] for i in range(len(x))]
            return torch.cat([self.normalise(number, one, *moments_of(one, row), parameters) for one in rows])
        if row.kind == "pad":
            return continued(x, (row.size, row.size), (row.size, row.size), row.mode)
        if row.kind == "crop":
            return x[:, :, row.size : -row.size, row.size : -row.size]
        if row.kind in _WHOLE:
            return _WHOLE[row.kind](row, x)
        return self.pointwise(number, given, parameters)

    def convolve(self, number: int, x: Tensor) -> Tensor:
        """The convolution of what is continued already."""
        conv = self.get_submodule(str(number))
        weight: Any = conv.weight
        out: Tensor = conv(x.to(working_dtype(weight)))
        return out

    def normalise(self, number: int, x: Tensor, mean: Tensor, variance: Tensor, parameters: Tensor | None) -> Tensor:
        """(1, C, n, w) by the whole map's moments, (C,) each, as `moments_of` gives them."""
        gamma, beta = self.factors(number, parameters)
        return normalise(x, mean, variance, gamma.to(mean), beta.to(mean))

    def factors(self, number: int, parameters: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is multiplied by and what is added, (C,) each: the operator's own, or among the style's numbers."""
        row, width = self.rows[number - 1], self.widths[number]
        if row.kind in ("norm", "affine"):
            own: Any = self.get_submodule(str(number))
            return own.weight, own.bias
        both = _among(parameters, row.at, width, 2 * width)
        return both[:width], both[width:]

    def pointwise(self, number: int, given: Sequence[Tensor], parameters: Tensor | None) -> Tensor:
        """An operator that looks at one position at a time, on any part of its maps."""
        row, x = self.rows[number - 1], given[0]
        match row.kind:
            case "relu":
                return F.relu(x)
            case "tanh":
                return torch.tanh(x)
            case "sigmoid":
                return torch.sigmoid(x)
            case "clip":
                return x.clamp(row.low, row.high)
            case "reverse":
                return x.flip(1)
            case "add":
                return x + given[1]
            case "affine":
                scale, shift = (value.to(x)[:, None, None] for value in self.factors(number, parameters))
                return x * scale + shift
            case "modulate":
                w, b = (value.to(x)[:, None, None] for value in self.factors(number, parameters))
                return x * w + given[1] * b
            case "recombine":
                width = self.widths[number]
                own: Any = self.get_submodule(str(number))
                of_style = _among(parameters, row.at, width**2, width**2).view(width, width)
                kernel = (own.weight.float() @ of_style.float()).T.to(x)
                return F.conv2d(x, kernel[:, :, None, None].contiguous())
        raise ValueError(f"{row.kind} looks at more than one position")


def _pads_of(row: Operator, x: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """What TensorFlow's SAME continues a map by, above and below, left and right: more after than before."""
    pads = []
    for side in x.shape[2:]:
        total = max((-(-side // row.stride) - 1) * row.stride + row.kernel - side, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def continued(x: Tensor, rows: tuple[int, int], columns: tuple[int, int], mode: Mode) -> Tensor:
    """(B, C, h, w) with so many rows and columns more before and after."""
    if not any((*rows, *columns)):
        return x
    return F.pad(x, (*columns, *rows), mode="constant" if mode == "zeros" else mode)


def moments_of(x: Tensor, row: Operator) -> tuple[Tensor, Tensor]:
    """Mean and variance of a map (1, C, h, w), (C,) each, to normalise by."""
    whole = RunningMoments()
    whole.add_last(x)
    return adjusted(whole, row)


def adjusted(whole: RunningMoments, row: Operator) -> tuple[Tensor, Tensor]:
    """The moments that were gathered, as the operator wants them: `norms.normalise` adds an ε of its own."""
    mean, variance = whole.result()
    mean, variance = without_noise(mean, variance)
    if row.unbiased and whole.count > 1:
        variance = variance * (whole.count / (whole.count - 1))
    return mean, variance + (row.eps - EPS)


def _among(parameters: Tensor | None, at: int, width: int, count: int) -> Tensor:
    if parameters is None:
        raise ValueError("what paints in any style needs a style's numbers")
    return parameters[0, at : at + count]


def _pool(row: Operator, x: Tensor) -> Tensor:
    if row.same:
        rows, columns = _pads_of(row, x)
        x = F.pad(x, (*columns, *rows), value=-math.inf)
    return F.max_pool2d(x, row.kernel, row.stride)


def _average_pool(row: Operator, x: Tensor) -> Tensor:
    if not row.same:
        return F.avg_pool2d(x, row.kernel, row.stride)
    rows, columns = _pads_of(row, x)
    inside = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), (*columns, *rows)), row.kernel, row.stride)
    return F.avg_pool2d(F.pad(x, (*columns, *rows)), row.kernel, row.stride) / inside


def _moments(row: Operator, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x.float(), (2, 3), correction=int(row.unbiased))
    return torch.cat(((variance + row.eps).sqrt(), mean), 1)[:, :, None, None]


def _gram(row: Operator, x: Tensor) -> Tensor:
    flat = x.float().flatten(2)
    return (flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])).flatten(1)[:, :, None, None]


_WHOLE: Mapping[str, Callable[[Operator, Tensor], Tensor]] = {
    "spread": lambda row, x: spread_out(x, row.factor),
    "nearest": lambda row, x: F.interpolate(x, scale_factor=row.factor, mode="nearest"),
    "bilinear": lambda row, x: F.interpolate(x, scale_factor=row.factor, mode="bilinear"),
    "max_pool": lambda row, x: F.max_pool2d(x, 2, ceil_mode=True),
    "pool": _pool,
    "average_pool": _average_pool,
    "resize": lambda row, x: F.interpolate(x, (row.size, row.size), mode="bilinear", antialias=True),
    "moments": _moments,
    "average": lambda row, x: x.float().mean((2, 3), keepdim=True),
    "gram": _gram,
}
