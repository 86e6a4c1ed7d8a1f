"""Networks of jcjohnson/fast-neural-style: Torch7 files with a table of ``opt`` and ``model``.

The layers are those of the file, not those of a description elsewhere: reflection by 40 at the start and residual
blocks that lose two pixels on each side, or zeros; with instance or batch normalisation. BGR minus Caffe's means goes
in, or for `preprocessing` resnet RGB as torchvision has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.chain import Chain, Mode
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.foreign.torch7 import Torch7Object, is_torch7, read_torch7

__all__ = ["matches", "read"]

CAFFE_MEANS: Final = (103.939, 116.779, 123.68)  # B, G, R
RESNET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_IDLE: Final = ("TotalVariation", "Identity", "Copy", "ContentLoss", "StyleLoss", "Dropout")
_PADS: Final[Mapping[str, Mode]] = {
    "SpatialReflectionPadding": "reflect",
    "SpatialReplicationPadding": "replicate",
    "SpatialZeroPadding": "zeros",
}


def matches(source: Source) -> bool:
    """Whether the file begins as Torch7 files do."""
    return is_torch7(source.head)


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    value = read_torch7(source.read_bytes())
    if isinstance(value, Torch7Object):
        value = {"model": value}
    model = value.get("model") if isinstance(value, dict) else None
    if not isinstance(model, Torch7Object):
        raise WeightsError("the file holds no `model` of modules, as networks of jcjohnson/fast-neural-style do")
    opt = value.get("opt")
    wanted = opt.get("preprocessing", "vgg") if isinstance(opt, dict) else "vgg"
    layers = ChainBuilder()
    _module(layers, model)
    network, takes = _bgr(layers) if wanted != "resnet" else _resnet(layers)
    notes = ("the original smooths what it paints by a 3x3 median: this paints what comes out of the network",)
    return Found(network, takes, "the same scale back, clamped", notes=notes)


def _bgr(layers: ChainBuilder) -> tuple[Chain, str]:
    back = [mean / 255 for mean in CAFFE_MEANS]
    network = layers.build(scale=255.0, shift=[-mean for mean in CAFFE_MEANS], bgr=True, unit=1 / 255, back=back)
    return network, f"BGR, 0 to 255, minus {', '.join(map(str, CAFFE_MEANS))}"


def _resnet(layers: ChainBuilder) -> tuple[Chain, str]:
    means, deviations = RESNET
    shift = [-mean / deviation for mean, deviation in zip(means, deviations, strict=True)]
    network = layers.build(scale=[1 / value for value in deviations], shift=shift, unit=deviations, back=means)
    return network, "RGB, 0 to 1, by torchvision's means and deviations"


def _module(layers: ChainBuilder, module: Torch7Object) -> None:
    """One module, and what is inside it."""
    name = module.kind.rpartition(".")[2]
    if name in _IDLE:
        return
    if name in _PADS:
        _pad(layers, module, _PADS[name])
        return
    try:
        handle = _HANDLERS[name]
    except KeyError:
        raise WeightsError(f"it has a module {module.kind}, which no network of this kind has") from None
    handle(layers, module)


def _children(module: Torch7Object) -> list[Torch7Object]:
    found = module.fields.get("modules")
    rows = [found[key] for key in sorted(found)] if isinstance(found, dict) else []
    if not all(isinstance(row, Torch7Object) for row in rows):
        raise WeightsError(f"a {module.kind} holds something that is no module")
    return rows


def _sequence(layers: ChainBuilder, module: Torch7Object) -> None:
    rows = _children(module)
    kinds = [row.kind.rpartition(".")[2] for row in rows]
    if kinds == ["ConcatTable", "CAddTable"]:
        _residual(layers, rows[0])
        return
    for row in rows:
        _module(layers, row)


def _residual(layers: ChainBuilder, table: Torch7Object) -> None:
    branches = _children(table)
    if len(branches) != 2 or branches[0].kind.rpartition(".")[2] != "Sequential":
        raise WeightsError("a residual block has other branches than layers, and its input")
    skip = branches[1].kind.rpartition(".")[2]
    if skip not in ("Identity", "ShaveImage"):
        raise WeightsError(f"a residual block adds a {branches[1].kind}, need its input, whole or shaved")
    layers.open()
    _module(layers, branches[0])
    layers.close(_whole(branches[1], "size") if skip == "ShaveImage" else 0)


def _pad(layers: ChainBuilder, module: Torch7Object, mode: Mode) -> None:
    sides = [_whole(module, f"pad_{side}") for side in "ltrb"]
    if len(set(sides)) > 1:
        raise WeightsError("a border is not alike on all sides")
    layers.pad(sides[0], sides[0], mode)


def _convolution(layers: ChainBuilder, module: Torch7Object) -> None:
    weight, bias = _tensor(module, "weight"), _tensor(module, "bias", optional=True)
    kernel, into, out = _whole(module, "kW"), _whole(module, "nInputPlane"), _whole(module, "nOutputPlane")
    if weight.ndim == 2:  # SpatialConvolutionMM
        weight = _shaped(weight, (out, into, kernel, kernel))
    border, stride = _square(module, "pad", 0), _square(module, "d", 1)
    layers.convolve(weight, bias, stride=stride, zeros=(border, border))


def _transposed(layers: ChainBuilder, module: Torch7Object) -> None:
    border, factor, more = _square(module, "pad", 0), _square(module, "d", 1), _square(module, "adj", 0)
    bias = _tensor(module, "bias", optional=True)
    layers.transpose(_tensor(module, "weight"), bias, factor=factor, before=border, after=border - more)


def _instance(layers: ChainBuilder, module: Torch7Object) -> None:
    layers.normalise(_tensor(module, "weight"), _tensor(module, "bias"), _real(module, "eps", 1e-5))


def _batch(layers: ChainBuilder, module: Torch7Object) -> None:
    mean = _tensor(module, "running_mean")
    variance = _tensor(module, "running_var", optional=True)
    eps = _real(module, "eps", 1e-5)
    # In early files running_std is one divided by the deviation.
    inverse = _tensor(module, "running_std") if variance is None else (variance + eps).rsqrt()
    gamma, beta = _tensor(module, "weight", optional=True), _tensor(module, "bias", optional=True)
    scale = inverse if gamma is None else _same(gamma, inverse) * inverse
    shift = -_same(mean, inverse) * scale
    layers.affine(scale, shift if beta is None else shift + _same(beta, inverse))


def _times(layers: ChainBuilder, module: Torch7Object) -> None:
    layers.scale(_real(module, "constant_scalar", 1.0))


def _plus(layers: ChainBuilder, module: Torch7Object) -> None:
    layers.scale(1.0, _real(module, "constant_scalar", 0.0))


_HANDLERS: Final[Mapping[str, Callable[[ChainBuilder, Torch7Object], None]]] = {
    "Sequential": _sequence,
    "SpatialConvolution": _convolution,
    "SpatialConvolutionMM": _convolution,
    "SpatialFullConvolution": _transposed,
    "SpatialUpSamplingNearest": lambda layers, module: layers.upsample(_whole(module, "scale_factor")),
    "InstanceNormalization": _instance,
    "SpatialBatchNormalization": _batch,
    "ReLU": lambda layers, _: layers.relu(),
    "Tanh": lambda layers, _: layers.output("tanh"),
    "Sigmoid": lambda layers, _: layers.output("sigmoid"),
    "MulConstant": _times,
    "AddConstant": _plus,
}


def _same(value: Tensor, like: Tensor) -> Tensor:
    if value.shape != like.shape:
        raise WeightsError(f"a normalisation has {value.numel()} and {like.numel()} channels")
    return value


def _shaped(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if value.numel() != torch.Size(shape).numel():
        raise WeightsError(f"a convolution has {value.numel()} weights, need {shape}")
    return value.reshape(shape)


def _tensor(module: Torch7Object, name: str, *, optional: bool = False) -> Any:
    value = module.fields.get(name)
    if isinstance(value, Tensor) and value.numel():
        return value.float()
    if optional and (value is None or isinstance(value, Tensor)):
        return None
    raise WeightsError(f"a {module.kind} has no tensor {name}")


def _real(module: Torch7Object, name: str, default: float) -> float:
    value = module.fields.get(name, default)
    if not isinstance(value, int | float):
        raise WeightsError(f"a {module.kind} has no number {name}")
    return float(value)


def _whole(module: Torch7Object, name: str, default: int | None = None) -> int:
    value = module.fields.get(name, default)
    if not isinstance(value, int | float) or value != value or abs(value) > 1e6 or int(value) != value:
        raise WeightsError(f"a {module.kind} has no whole number {name}")
    return int(value)


def _square(module: Torch7Object, name: str, default: int) -> int:
    """A setting of width and height, alike."""
    wide, high = _whole(module, f"{name}W", default), _whole(module, f"{name}H", default)
    if wide != high or wide < 0:
        raise WeightsError(f"a {module.kind} is not alike in width and height")
    return wide
