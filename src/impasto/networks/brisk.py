"""N styles in one fast network: our own, made for processors with matrix units.

What is slow on them is not arithmetic but moving large, thin feature maps, so there are none: 4x4 pixels go
into 48 channels at once, nearly all the work is dense 3x3 convolution at 1/4 resolution, and two steps of
moving channels back into pixels end it. Statistics, styles and residual blocks are those of `multistyle`; what
they make is painted onto the photo in the style's colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.networks.fast_cpu import at_least_float32
from impasto.networks.layers import ReflectConv
from impasto.networks.norms import ConditionalInstanceNorm
from impasto.networks.palette import ConditionalPalette, colour_map
from impasto.networks.pixel_shuffle import icnr_, level_phases_
from impasto.networks.staged import ResidualBlock, Stage, check_size
from impasto.networks.styled import StyledConfig, StyledNetwork

__all__ = ["Brisk", "BriskConfig"]


@dataclass(frozen=True)
class BriskConfig(StyledConfig):
    """Names of the styles and sizes of the network.

    Attributes:
        channels: at 1/4 resolution; multiples of 32 fill the matrix units.
        blocks: residual blocks.
        detail: channels at 1/2 resolution, before the last convolution; multiples of 16.
        palette: whether strokes are painted onto the photo in the style's colours (`ConditionalPalette`) instead
            of onto nothing.
    """

    channels: int = 64
    blocks: int = 5
    detail: int = 32
    palette: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("channels", self.channels, 4096)
        check_size("blocks", self.blocks, 64)
        check_size("detail", self.detail, 4096)
        if not isinstance(self.palette, bool):
            raise OptionError(f"palette is true or false, got {self.palette!r}")


class Brisk(StyledNetwork):
    """Space-to-depth by 4, residual blocks at 1/4 resolution, depth-to-space by 2 twice, sigmoid.

    Convolutions that a normalisation follows have no bias: it would be taken away again.
    """

    METHOD: ClassVar[str] = "brisk"
    config: BriskConfig

    def __init__(self, config: BriskConfig) -> None:
        super().__init__()
        self.config = config
        c, detail, n = config.channels, config.detail, len(config.styles)
        self.stem, self.in_stem = ReflectConv(48, c, 3, bias=False), ConditionalInstanceNorm(c, n)
        for i in range(1, config.blocks + 1):
            norms = ConditionalInstanceNorm(c, n), ConditionalInstanceNorm(c, n)
            self.add_module(f"res{i}", ResidualBlock(c, norms, bias=False))
        self.up, self.in_up = ReflectConv(c, 4 * detail, 3, bias=False), ConditionalInstanceNorm(detail, n)
        self.head = ReflectConv(detail, 12, 3)
        icnr_(self.up.conv2d, 2)
        icnr_(self.head.conv2d, 2)
        self.palette = ConditionalPalette(n) if config.palette else None

    @property
    def colours(self) -> ConditionalPalette | None:
        """The palette, where it is configured."""
        return self.palette

    def stages(self) -> tuple[Stage, ...]:
        """All stages in order."""
        blocks = [module.stages() for module in self.children() if isinstance(module, ResidualBlock)]
        return (
            Stage(self.stem, self.in_stem, unshuffle=4),
            *(stage for block in blocks for stage in block),
            Stage(self.up, self.in_up, shuffle=2),
            Stage(self.head, relu=False, shuffle=2),
        )

    def constrain(self) -> None:
        """No patterns of two or four pixels where the photo is flat."""
        for conv in (self.up.conv2d, self.head.conv2d):
            if conv.weight.requires_grad:
                level_phases_(conv, 2)

    def begin_style(self, name: str, picture: Tensor) -> None:
        """Begin a style with the colours of its picture (1, 3 or 4, h, w), see `palette.colour_map`."""
        if self.palette is not None:
            row = self.styles.index(name)
            with torch.no_grad():
                for parameter, value in zip(
                    (self.palette.matrix, self.palette.offset), colour_map(picture), strict=True
                ):
                    parameter[row] = value

    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """Strokes and colours through a sigmoid, at least float32: bfloat16 has fewer steps near white than 8 bits."""
        if self.palette is None:
            return at_least_float32(features).sigmoid_()
        if mix is None:
            raise ValueError("a network of several styles needs their weights")
        return self.palette(image, mix).add_(features).sigmoid_()  # type: ignore[no-any-return]
