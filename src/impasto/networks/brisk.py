"""N styles in one fast network: our own, made for processors with matrix units.

What is slow on them is not arithmetic but moving large, thin feature maps, so there are none: 4x4 pixels go
into 48 channels at once, nearly all the work is dense 3x3 convolution at 1/4 resolution, and two steps of
moving channels back into pixels end it. Statistics, styles and residual blocks are those of `multistyle`; what
they make is painted onto the photo in the style's colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

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
        reach: channels at 1/16 resolution of a `Reach` amid the blocks, half as many at 1/8; 0 for none.
    """

    channels: int = 64
    blocks: int = 5
    detail: int = 32
    palette: bool = True
    reach: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("channels", self.channels, 4096)
        check_size("blocks", self.blocks, 64)
        check_size("detail", self.detail, 4096)
        if not isinstance(self.palette, bool):
            raise OptionError(f"palette is true or false, got {self.palette!r}")
        if self.reach != 0 or isinstance(self.reach, bool):
            check_size("reach", self.reach, 4096)
            if self.reach % 2:
                raise OptionError(f"reach is an even number, got {self.reach}")


class Reach(nn.Module):
    """One more residual block, at 1/8 and 1/16 resolution: large forms, for which the others see too little of a photo.

    It sees 64 px farther to each side. It begins silent (the last γ is 0), so that a trained network may get one and
    paints as before until that has learned.

    Args:
        channels: of the maps at 1/4 resolution that it takes and gives.
        width: channels at 1/16; half as many at 1/8.
        styles: how many.
    """

    def __init__(self, channels: int, width: int, styles: int) -> None:
        super().__init__()
        half = width // 2
        conv, norm = partial(ReflectConv, bias=False), partial(ConditionalInstanceNorm, styles=styles)
        self.down1, self.in_down1 = conv(4 * channels, half, 1), norm(half)
        self.eighth, self.in_eighth = conv(half, half, 3), norm(half)
        self.down2, self.in_down2 = conv(4 * half, width, 1), norm(width)
        self.far1, self.in_far1 = conv(width, width, 3), norm(width)
        self.far2, self.in_far2 = conv(width, width, 3), norm(width)
        self.up2, self.in_up2 = conv(width, 4 * half, 3), norm(half)
        self.up1, self.in_up1 = conv(half, 4 * channels, 3), norm(channels)
        icnr_(self.up2.conv2d, 2)
        icnr_(self.up1.conv2d, 2)
        nn.init.zeros_(self.in_up1.gamma)

    def stages(self) -> tuple[Stage, ...]:
        """The block as seven stages."""
        return (
            Stage(self.down1, self.in_down1, opens=True, unshuffle=2),
            Stage(self.eighth, self.in_eighth),
            Stage(self.down2, self.in_down2, unshuffle=2),
            Stage(self.far1, self.in_far1),
            Stage(self.far2, self.in_far2),
            Stage(self.up2, self.in_up2, shuffle=2),
            Stage(self.up1, self.in_up1, relu=False, shuffle=2, closes=True),
        )


class Brisk(StyledNetwork):
    """Space-to-depth by 4, residual blocks at 1/4 resolution, depth-to-space by 2 twice, sigmoid.

    Convolutions that a normalisation follows have no bias: it would be taken away again.
    """

    METHOD: ClassVar[str] = "brisk"
    ADDITIONS: ClassVar[tuple[str, ...]] = ("reach",)
    REPEATED: ClassVar[tuple[str, ...]] = ("blocks",)
    config: BriskConfig

    def __init__(self, config: BriskConfig) -> None:
        super().__init__()
        self.config = config
        c, detail, n = config.channels, config.detail, len(config.styles)
        self.stem, self.in_stem = ReflectConv(48, c, 3, bias=False), ConditionalInstanceNorm(c, n)
        for i in range(1, config.blocks + 1):
            norms = ConditionalInstanceNorm(c, n), ConditionalInstanceNorm(c, n)
            self.add_module(f"res{i}", ResidualBlock(c, norms, bias=False))
        self.reach = Reach(c, config.reach, n) if config.reach else None
        if config.reach:
            self.STRIDE, self.SMALLEST, self.LEAST_BAND = 16, 32, 64
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
        children = self.children()
        blocks: list[tuple[Stage, ...]] = [block.stages() for block in children if isinstance(block, ResidualBlock)]
        if self.reach is not None:
            blocks.insert(len(blocks) // 2, self.reach.stages())  # what follows makes strokes of its forms
        return (
            Stage(self.stem, self.in_stem, unshuffle=4),
            *(stage for block in blocks for stage in block),
            Stage(self.up, self.in_up, shuffle=2),
            Stage(self.head, relu=False, shuffle=2),
        )

    def constrain(self) -> None:
        """No patterns of two or four pixels where the photo is flat."""
        further = [] if self.reach is None else [self.reach.up2.conv2d, self.reach.up1.conv2d]
        for conv in (*further, self.up.conv2d, self.head.conv2d):
            if conv.weight.requires_grad:
                level_phases_(conv, 2)

    def named_in(self, other: StyledNetwork, name: str) -> str:
        """Of more blocks than these, some are taken that lie evenly apart, the first and the last among them."""
        block, _, rest = name.partition(".")
        if not block.startswith("res"):
            return name
        here: int = self.config.blocks
        there: int = getattr(other.config, "blocks", here)
        number = int(block.removeprefix("res"))
        return f"res{1 + round((number - 1) * (there - 1) / max(1, here - 1))}.{rest}"

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
