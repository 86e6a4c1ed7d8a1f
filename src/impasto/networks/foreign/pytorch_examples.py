"""Networks of pytorch/examples' fast_neural_style, and of its many descendants: ``.pth``, ``.model``.

State dicts with or without ``module.`` before every name (DataParallel), inside ``{"state_dict": ...}`` or not, with
the ``running_*`` entries of old versions or without. RGB from 0 to 255 goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.johnson import Johnson

__all__ = ["matches", "read"]


def matches(source: Source) -> bool:
    """Whether the state dict has this network's first and last convolution, and normalisations outside of them."""
    ends = {"conv1.conv2d.weight", "deconv3.conv2d.weight"}
    return source.is_torch and ends <= source.state.keys() and "conv1.instance.weight" not in source.state


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    return Found(
        Johnson.from_pytorch_examples(_named_as_today(source.state)), "RGB, 0 to 255", "RGB, 0 to 255, clamped"
    )


def _named_as_today(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Early versions called the normalisations' parameters ``scale`` and ``shift``."""
    renamed = {".scale": ".weight", ".shift": ".bias"}
    out = {}
    for key, value in state.items():
        end = next((old for old in renamed if key.endswith(old)), None)
        out[key if end is None else key.removesuffix(end) + renamed[end]] = value
    return out
