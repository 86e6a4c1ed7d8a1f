"""rrmina/fast-neural-style-pytorch, also used by nodes of ComfyUI: BGR from 0 to 255, transposed convolutions, tanh."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

EPS = 1e-5


def matches(source: Source) -> bool:
    """Whether the state dict has this network's first and last convolution."""
    ends = {"ConvBlock.0.conv_layer.weight", "DeconvBlock.4.conv_layer.weight"}
    return source.is_torch and ends <= source.state.keys()


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    state, layers = source.state, ChainBuilder()
    for number, stride in ((0, 1), (2, 2), (4, 2)):
        _convolution(layers, state, f"ConvBlock.{number}", stride)
        layers.relu()
    blocks = {key.split(".")[1] for key in state if key.startswith("ResidualBlock.")}
    for block in sorted(blocks, key=lambda text: int(text) if text.isdecimal() else -1):
        layers.open()
        _convolution(layers, state, f"ResidualBlock.{block}.conv1")
        layers.relu()
        _convolution(layers, state, f"ResidualBlock.{block}.conv2")
        layers.close()
    for number in (0, 2):
        weight, bias = _pair(state, f"DeconvBlock.{number}.conv_transpose")
        border = weight.shape[-1] // 2
        layers.transpose(weight, bias, factor=2, before=border, after=border - 1)
        _norm(layers, state, f"DeconvBlock.{number}")
        layers.relu()
    _convolution(layers, state, "DeconvBlock.4")
    layers.output("tanh")
    layers.scale(150)
    return Found(layers.build(bgr=True), "BGR, 0 to 255", "BGR, tanh x 150, clamped")


def _convolution(layers: ChainBuilder, state: Mapping[str, Tensor], name: str, stride: int = 1) -> None:
    weight, bias = _pair(state, f"{name}.conv_layer")
    border = weight.shape[-1] // 2
    layers.pad(border, border, "reflect")
    layers.convolve(weight, bias, stride=stride)
    if f"{name}.norm_layer.weight" in state:
        _norm(layers, state, name)


def _norm(layers: ChainBuilder, state: Mapping[str, Tensor], name: str) -> None:
    gamma, beta = _pair(state, f"{name}.norm_layer")
    mean, variance = (state.get(f"{name}.norm_layer.running_{kind}") for kind in ("mean", "var"))
    if mean is None or variance is None:
        layers.normalise(gamma, beta, EPS)
    else:  # trained with norm="batch": what it has seen on average
        scale = gamma / (variance + EPS).sqrt()
        layers.affine(scale, beta - mean * scale)


def _pair(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    for key in (f"{name}.weight", f"{name}.bias"):
        if key not in state or not state[key].ndim:
            raise WeightsError(f"{key} is missing")
    return state[f"{name}.weight"], state[f"{name}.bias"]
