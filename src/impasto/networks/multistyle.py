"""N styles in one network (Dumoulin, Shlens & Kudlur 2017): Johnson's layers, a γ and a β of each style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from impasto.networks.johnson import JohnsonLayout
from impasto.networks.norms import ConditionalInstanceNorm
from impasto.networks.staged import check_size
from impasto.networks.styled import StyledConfig, StyledNetwork

__all__ = ["MultiStyle", "MultiStyleConfig"]


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

    At the default size a style is 3,206 numbers. Convolutions start from N(0, 0.01) without bias.
    """

    METHOD: ClassVar[str] = "multistyle"
    config: MultiStyleConfig

    def __init__(self, config: MultiStyleConfig) -> None:
        super().__init__()
        self.config = config
        n = len(config.styles)
        last = ConditionalInstanceNorm(3, n)
        self.lay_out(config.width, config.blocks, lambda channels: ConditionalInstanceNorm(channels, n), last)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """A sigmoid, in float32."""
        return features.float().sigmoid_()
