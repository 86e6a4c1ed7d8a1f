"""What networks of any style have in common: a backbone that never trains looks at the style picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, get_args

from torch import Tensor, nn

from impasto.core.vgg import VGG, Padding
from impasto.core.weights import load_backbone
from impasto.errors import OptionError

__all__ = [
    "SMALLEST",
    "STRIDE",
    "TAPS",
    "EncodedConfig",
    "EncodedNetwork",
    "EncodedStyle",
    "FeatureMoments",
    "StyleParameters",
]

TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")  # what is looked at
STRIDE = 8  # pixels per position at relu4_1
SMALLEST = 16  # two positions, or there would be nothing to reflect


class FeatureMoments(NamedTuple):
    """What AdaIN keeps of a style: mean and standard deviation of relu4_1's channels, (B, C, 1, 1) each."""

    mean: Tensor
    std: Tensor


StyleParameters = dict[str, Tensor]
"""What Universal keeps of a style: for every parameter of `Brisk` that differs from style to style, the style's row."""
EncodedStyle = FeatureMoments | StyleParameters
"""What a network of any style keeps of a style picture."""


@dataclass(frozen=True)
class EncodedConfig:
    """The encoder that a network belongs to.

    Attributes:
        encoder: name of the backbone; its weights are no part of the network's state.
        padding: what surrounds the picture for the encoder's first convolution.
    """

    encoder: str = "compact"
    padding: Padding = "replicate"

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, str) or not self.encoder:
            raise OptionError(f"encoder is the name of a backbone, got {self.encoder!r}")
        if self.padding not in get_args(Padding):
            raise OptionError(f"padding is one of {', '.join(get_args(Padding))}, got {self.padding!r}")


class EncodedNetwork(nn.Module, ABC):
    """A network with an encoder that never trains.

    Args:
        config: the sizes.
        encoder: the backbone; None loads the one that `config` names. One that is given is what the
            network's `config` names from then on. It moves with the network, but is not in its state dict.

    Raises:
        LayerError: the encoder lacks one of `TAPS`.
        WeightsError: the encoder that `config` names is not here.
    """

    config: EncodedConfig

    def __init__(self, config: EncodedConfig, encoder: VGG | None) -> None:
        super().__init__()
        if encoder is None:
            encoder = load_backbone(config.encoder, padding=config.padding)
        encoder.check(TAPS)
        self.config = replace(config, encoder=encoder.name, padding=encoder.padding)
        self.encoder = encoder.eval().requires_grad_(False)
        self.register_state_dict_post_hook(_leave_encoder_out)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_do_not_miss_encoder)  # type: ignore[no-untyped-call]

    @abstractmethod
    def encode_style(self, style: Tensor) -> EncodedStyle:
        """What is kept of style pictures (B, 3, H, W) in [0, 1], any size, for the next photo."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that it knows: none, it takes pictures."""
        return ()

    def constrain(self) -> None:
        """Bring the weights back to where they may be, in place; training calls it after every step."""

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of what learns; the encoder has none."""
        super().train(mode)
        self.encoder.eval()
        return self


def _leave_encoder_out(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Mapping[str, Any]) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}encoder.")]:
        del state[key]


def _do_not_miss_encoder(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if "encoder." not in key]
