"""N styles in one network (Dumoulin, Shlens & Kudlur 2017): Johnson's layers, a γ and a β of each style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from impasto.core.statistics import shares_of, split_weights
from impasto.networks.johnson import JohnsonLayout
from impasto.networks.norms import ConditionalInstanceNorm
from impasto.networks.staged import check_size
from impasto.networks.styled import StyledConfig, StyledNetwork

__all__ = ["MultiStyle", "MultiStyleConfig"]

CONTRAST = 0.3  # of an untrained network's paintings, as a deviation in logits; paintings' own are about 1
EPS = 0.02  # how near to black and white colours may come in logits


@dataclass(frozen=True)
class MultiStyleConfig(StyledConfig):
    """Names of the styles and sizes of the network.

    Attributes:
        width: channels at full resolution; twice and four times as many at 1/2 and 1/4.
        blocks: residual blocks.
    """

    width: int = 32
    blocks: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("width", self.width, 1024)
        check_size("blocks", self.blocks, 64)


class MultiStyle(StyledNetwork, JohnsonLayout):
    """Conditional instance normalisation on every convolution, the last one included, then a sigmoid.

    At the default size a style is 3,206 numbers. Convolutions start as torch's do: from N(0, 0.01), the original's, a
    step of Adam changes them so much that the photo is lost for longer.
    """

    METHOD: ClassVar[str] = "multistyle"
    config: MultiStyleConfig

    def __init__(self, config: MultiStyleConfig) -> None:
        super().__init__()
        self.config = config
        n = len(config.styles)
        last = ConditionalInstanceNorm(3, n)
        # At full contrast noise is all there is to see at first. Where the loss wants less of it, a strong blot is the
        # short way, because what is normalised becomes fainter everywhere else; and blots stay.
        nn.init.constant_(last.gamma, CONTRAST)
        self.lay_out(config.width, config.blocks, lambda channels: ConditionalInstanceNorm(channels, n), last)

    def begin_style(self, name: str, picture: Tensor) -> None:
        """Begin a style with the mean colour of its picture (1, 3 or 4, h, w) in [0, 1], see `split_weights`."""
        if isinstance(self.in6, ConditionalInstanceNorm):
            rgb, weights = split_weights(picture)
            values, shares = torch.logit(rgb, eps=EPS), shares_of(weights, (rgb.shape[2], rgb.shape[3]))
            with torch.no_grad():
                self.in6.beta[self.styles.index(name)] = (values if shares is None else values * shares).mean((0, 2, 3))

    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """A sigmoid, in float32."""
        return features.float().sigmoid_()
