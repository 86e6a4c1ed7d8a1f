"""Magenta's N styles in one network (``multistyle-pastiche-generator-*.ckpt``): our `multistyle`, name for name.

RGB from 0 to 1 goes in, and a sigmoid gives it back. The styles have no names in the file: they are style-00, style-01
and so on, unless they are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.foreign.tf_checkpoint import is_checkpoint, read_checkpoint, shapes_of
from impasto.networks.layers import state_dict_mismatch
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig

__all__ = ["matches", "read"]

FIRST: Final = "transformer/contract/conv1/weights"
MOST: Final = 10_000  # styles
_PLACES: Final = (
    (re.compile(r"contract/conv([123])"), r"conv\1", r"in\1"),
    (re.compile(r"residual/residual(\d+)/conv([12])"), r"res\1.conv\2", r"res\1.in\2"),
)


def matches(source: Source) -> bool:
    """Whether it is a checkpoint with this network's first convolution."""
    return is_checkpoint(source.path) and FIRST in shapes_of(source.path)


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    tensors = read_checkpoint(source.path, lambda name: _ours(name) is not None)
    state = {str(_ours(name)): _turned(value) for name, value in tensors.items()}
    gamma, first = state.get("in1.gamma"), state.get("conv1.conv2d.weight")
    if gamma is None or gamma.ndim != 2 or first is None or first.ndim != 4 or not 1 <= len(gamma) <= MOST:
        raise WeightsError("its first layer has no weights and no gamma of each style")
    names = options.style_names or tuple(f"style-{number:02}" for number in range(len(gamma)))
    if len(names) != len(gamma):
        raise OptionError(f"`style_names` has {len(names)} names, and the file {len(gamma)} styles", "style_names")
    blocks = len({key.split(".")[0] for key in state if key.startswith("res")})
    try:
        config = MultiStyleConfig(names, width=len(first), blocks=blocks)
        with torch.device("meta"):
            network = MultiStyle(config)
    except OptionError as error:
        raise WeightsError(str(error)) from error
    _add_missing_biases(network, state)
    reason = state_dict_mismatch(network, state)
    if reason is not None:
        raise WeightsError(reason)
    network.load_state_dict(state, assign=True)
    notes = () if options.style_names else ("the styles have no names in the file: give them by `style_names`",)
    return Found(network.eval(), "RGB, 0 to 1", "RGB, 0 to 1", notes=notes)


def _ours(name: str) -> str | None:
    """Our name of a tensor; None where it is none of the network's, as what an optimiser keeps."""
    path, _, last = name.removeprefix("transformer/").rpartition("/")
    if not name.startswith("transformer/") or last not in ("weights", "biases", "gamma", "beta"):
        return None
    place = path.removesuffix("/InstanceNorm")
    if number := re.fullmatch(r"expand/conv([123])/conv", place):
        conv, norm = f"deconv{number[1]}", f"in{int(number[1]) + 3}"
    else:
        for pattern, first, second in _PLACES:
            if pattern.fullmatch(place):
                conv, norm = pattern.sub(first, place), pattern.sub(second, place)
                break
        else:
            return None
    if last in ("gamma", "beta"):
        return f"{norm}.{last}"
    return f"{conv}.conv2d.{'weight' if last == 'weights' else 'bias'}"


def _turned(value: Tensor) -> Tensor:
    """(rows, columns, in, out) as torch has it."""
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value


def _add_missing_biases(network: MultiStyle, state: dict[str, Tensor]) -> None:
    """Zeros: a convolution that is normalised has none there."""
    wanted: Mapping[str, Tensor] = network.state_dict()
    for key, value in wanted.items():
        if key.endswith("conv2d.bias"):
            state.setdefault(key, torch.zeros(value.shape))
