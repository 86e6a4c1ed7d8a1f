"""ReCoNet (Gao et al. 2018), as irsisyphus/reconet and what came of it save it: RGB from 0 to 255, for film.

It is Johnson's network, half as wide again, trained not to flicker; it needs no frame before. Its output is
``tanh(x / 255) * 150 + 127.5``. Networks that look at several frames are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.programming import take
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

_LAYER = re.compile(r"(conv[123]|res\d+|deconv[123])(_sd2?)?\.")
EPS = 1e-5


def matches(source: Source) -> bool:
    """Whether the state dict has normalisations inside its convolutions' blocks, as this network's are."""
    return source.is_torch and {"conv1.instance.weight", "deconv3.conv2d.weight"} <= _plain(source.state).keys()


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    state, layers = _plain(source.state), ChainBuilder()
    first = take(state, "conv1.conv2d")[0]
    if first.ndim == 4 and first.shape[1] != 3:
        raise WeightsError(f"it looks at {first.shape[1] // 3} frames at once, and only networks of one can be read")
    for name, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2)):
        _convolve(layers, state, name, f"{name}.instance", stride)
        layers.relu()
    blocks = {key.split(".")[0] for key in state if key.startswith("res")}
    for block in sorted(blocks, key=lambda name: int(name.removeprefix("res"))):
        layers.open()
        _convolve(layers, state, f"{block}.conv1", f"{block}.in1")
        layers.relu()
        _convolve(layers, state, f"{block}.conv2", f"{block}.in2")
        layers.close()
    for name in ("deconv1", "deconv2"):
        layers.upsample(2)
        _convolve(layers, state, name, f"{name}.instance")
        layers.relu()
    weight, bias = take(state, "deconv3.conv2d")
    layers.pad(weight.shape[-1] // 2, weight.shape[-1] // 2, "reflect")
    layers.convolve(weight / 255, bias / 255)
    layers.output("tanh")
    layers.scale(150, 127.5)
    return Found(layers.build(), "RGB, 0 to 255", "RGB, tanh x 150 + 127.5, clamped")


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the marks that networks of several depths have at their names."""
    return {_LAYER.sub(r"\1.", key): value for key, value in state.items()}


def _convolve(layers: ChainBuilder, state: Mapping[str, Tensor], name: str, norm: str, stride: int = 1) -> None:
    weight, bias = take(state, f"{name}.conv2d")
    layers.pad(weight.shape[-1] // 2, weight.shape[-1] // 2, "reflect")
    layers.convolve(weight, bias, stride=stride)
    layers.normalise(*take(state, norm), EPS)
