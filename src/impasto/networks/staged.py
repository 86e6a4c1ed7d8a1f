"""Feed-forward networks as a sequence of stages.

A stage is one convolution and what follows it: convolve, take statistics, normalise, rectify, add. Spelled
out like this, a network can be run by more than its own `forward`: whoever works through a picture in
tiles needs to stop at every normalisation until the statistics of all tiles are known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import OptionError
from impasto.networks.fast_cpu import at_least_float32
from impasto.networks.layers import (
    ReflectConv,
    bordered,
    continued,
    less_colours,
    pad_to_multiple,
    spread_out,
    sum_colours,
    working_dtype,
)
from impasto.networks.norms import ConditionalInstanceNorm, InstanceNorm
from impasto.networks.palette import ConditionalPalette
from impasto.networks.pixel_shuffle import depth_to_space, space_to_depth

__all__ = ["Norm", "Output", "ResidualBlock", "Stage", "StagedNetwork", "check_size", "run_stages"]

COLOURED = 128  # rows of a picture that get their colours at a time
ROWS = 64  # of a picture that are brought to another type at a time, without a whole one in between
Norm = InstanceNorm | ConditionalInstanceNorm
Output = Literal["sigmoid", "linear", "tanh"]
"""How the last stage's values become colours."""


def check_size(name: str, value: object, largest: int) -> None:
    """OptionError unless `value` is a whole number from 1 to `largest`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise OptionError(f"{name} is a whole number from 1 to {largest}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Stage:
    """One convolution with what surrounds it, in the order in which things happen.

    Attributes:
        opens: the input is kept; the next stage that `closes` adds it to its output.
        unshuffle: block side of a `space_to_depth` before the convolution.
        upsample: factor of a nearest-neighbour upsampling before the convolution.
        conv: the convolution, its border reflected.
        shuffle: block side of a `depth_to_space` after the convolution.
        norm: the normalisation, whose statistics are over all of a picture's positions.
        relu: whether negative values become zero.
        extend: rows and columns on each side by which the input is continued by reflection before anything else.
        spread: factor of an enlargement with zeros between the pixels, which makes the convolution a transposed one.
        relu_first: whether negative values become zero before the statistics.
        crop: what a stage that `closes` leaves out on each side of what was kept.
        relu_sum: whether negative values of the sum become zero.

    The last five are for networks of others (`networks.chain`).
    """

    conv: ReflectConv
    norm: Norm | None = None
    relu: bool = True
    unshuffle: int = 1
    upsample: int = 1
    shuffle: int = 1
    opens: bool = False
    closes: bool = False
    extend: int = 0
    spread: int = 1
    relu_first: bool = False
    crop: int = 0
    relu_sum: bool = False

    @property
    def border(self) -> int:
        """How many pixels on each side the input may bring along."""
        alone = self.unshuffle == self.upsample == self.spread == 1 and not self.extend
        return self.conv.halo if alone and self.conv.plain else 0

    def side(self, side: int) -> int:
        """How high, or wide, what `convolve` gives is for an input as high or wide as this."""
        side = (side + 2 * self.extend) // self.unshuffle * self.upsample * self.spread
        kernel, stride = self.conv.conv2d.kernel_size[0], self.conv.conv2d.stride[0]
        return ((side + sum(self.conv.pads(side)) - kernel) // stride + 1) * self.shuffle

    def convolve(self, x: Tensor, border: int = 0) -> Tensor:
        """Everything before the statistics, (B, C, h, w) -> (B, C', h', w'); x may have its `border` already."""
        return self.shuffled(self.convolve_alone(x, border))

    def convolve_alone(self, x: Tensor, border: int = 0) -> Tensor:
        """As `convolve`, but for `shuffled`, before which nobody needs x any more."""
        if self.extend:
            x = F.pad(x, (self.extend,) * 4, mode="reflect")
        if self.unshuffle > 1:
            x = space_to_depth(x, self.unshuffle)
        if self.spread > 1:
            x = spread_out(x, self.spread)
        if self.upsample > 1:
            x = self.conv.upsampled(x, self.upsample)
        else:
            x = self.conv.conv2d(x) if border else self.conv(x)
        return F.relu(x) if self.relu_first else x

    def shuffled(self, x: Tensor) -> Tensor:
        """What the convolution gives, its channels brought to where they belong."""
        return depth_to_space(x, self.shuffle) if self.shuffle > 1 else x

    def finish(self, x: Tensor, mix: Tensor | None, kept: Tensor | None, border: int = 0) -> Tensor:
        """Normalise, rectify and add; may overwrite x, which nobody needs any more.

        With a `border` the result has one, (B, C, h + 2 border, w + 2 border), and no gradient: what is rectified or
        added is written to its place at once, where padding would be another pass through memory.
        """
        if self.norm is not None:
            x = self.norm(x, mix, overwrite=True)
        if kept is not None and self.crop:
            kept = kept[:, :, self.crop : -self.crop, self.crop : -self.crop]
        if border and not self.relu_sum:
            return bordered(x, border, rectify=self.relu, plus=kept)
        if self.relu:
            x = F.relu_(x)
        x = x.add_(kept) if kept is not None else x
        return F.relu_(x) if self.relu_sum else x


def run_stages(stages: Sequence[Stage], x: Tensor, mix: Tensor | None = None) -> Tensor:
    """Send features (B, C, h, w) through all stages; `mix` (B, N) weighs the styles of conditional norms."""
    kept: Tensor | None = None
    border = 0  # that x has
    for i, stage in enumerate(stages):
        if stage.opens:
            kept = x[:, :, border : x.shape[2] - border, border : x.shape[3] - border]
        last = i + 1 == len(stages) or torch.is_grad_enabled()
        after = 0 if last else stages[i + 1].border
        # Step by step, so that nothing lives longer than it is needed.
        x = stage.convolve_alone(x, border)
        x = stage.shuffled(x)
        x = stage.finish(x, mix, kept if stage.closes else None, after)
        kept, border = None if stage.closes else kept, after
    return x


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, normalised, ReLU between them, none after the sum (Johnson et al. 2016)."""

    def __init__(self, channels: int, norms: tuple[Norm, Norm], *, bias: bool = True) -> None:
        super().__init__()
        self.conv1, self.in1 = ReflectConv(channels, channels, 3, bias=bias), norms[0]
        self.conv2, self.in2 = ReflectConv(channels, channels, 3, bias=bias), norms[1]

    def stages(self) -> tuple[Stage, Stage]:
        """The block as two stages."""
        return (
            Stage(self.conv1, self.in1, opens=True),
            Stage(self.conv2, self.in2, relu=False, closes=True),
        )


class StagedNetwork(nn.Module, ABC):
    """A picture-to-picture network made of stages; `METHOD` names it in files and on the command line."""

    METHOD: ClassVar[str]
    STRIDE: int = 4  # sides are padded to a multiple of it
    SMALLEST: int = 8  # and to at least this, or there would be nothing to reflect deep inside
    LEAST_BAND: int = 1  # rows of a picture's band, px: convolutions round otherwise where a map has one row or two
    INPUT_SCALE: float = 1.0
    FLAT_STAYS_FLAT: ClassVar[bool] = True  # a photo of one colour becomes a painting of one colour
    FLOAT32_ALONE: bool = False  # what bfloat16 rounds is seen, so it is not chosen unasked

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that it knows; none where it has a single one, which needs no name."""
        return ()

    @property
    def output(self) -> Output:
        """How values become colours in `to_picture`."""
        return "sigmoid"

    @property
    def colours(self) -> ConditionalPalette | None:
        """What gives the photo the style's colours, added to the last stage's values; None where nothing does."""
        return None

    @property
    def margin(self) -> int:
        """Pixels by which a photo is continued by reflection on each side while it is painted, see `StyledConfig`."""
        return 0

    @property
    def smooths(self) -> bool:
        """Whether what it gives is smoothed by a median of 3x3, see `chain.ChainConfig`."""
        return False

    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order."""

    @abstractmethod
    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """What the last stage gives, (B, 3, H, W), turned into a float32 picture; `image` is the input."""

    def constrain(self) -> None:
        """Bring the weights back to where they may be, in place; training calls it after every step."""

    def centre(self, image: Tensor, mean: Tensor | None = None) -> Tensor:
        """The picture as the first stage wants it, in the precision of its weights.

        The first normalisation takes any constant away again, so subtracting each picture's mean colour
        changes nothing but the rounding: bfloat16 is finest around zero, and so are the statistics. A whole number
        of 8-bit steps is subtracted, so that it does not matter in which order the mean was summed.
        `mean`, (B, 3, 1, 1), is that of the whole picture where `image` is but a part of it.
        """
        weight = self.stages()[0].conv.conv2d.weight
        mean = sum_colours(image) / (image.shape[2] * image.shape[3]) if mean is None else mean
        colours, dtype = (mean * 255).round() / 255, working_dtype(weight)
        if dtype == image.dtype or image.requires_grad or image.device.type != "cpu":
            return self._centred(image, colours).to(dtype)
        found = torch.empty_like(image, dtype=dtype, memory_format=torch.channels_last)
        for part, rows in zip(torch.split(found, ROWS, 2), torch.split(image, ROWS, 2), strict=True):
            part.copy_(self._centred(rows, colours))
        return found

    def _centred(self, image: Tensor, colours: Tensor) -> Tensor:
        centred = less_colours(image, colours)
        return centred * self.INPUT_SCALE if self.INPUT_SCALE != 1 else centred

    def paint(self, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1], any size -> the same, painted."""
        features = run_stages(self.stages(), self.centre(self.padded(image)), mix)
        (height, width), margin = image.shape[-2:], self.margin
        if torch.is_grad_enabled() or image.device.type != "cpu" or COLOURED % self.STRIDE:
            painted = self.to_picture(features, self.padded(image), mix)
            return painted[..., margin : margin + height, margin : margin + width]
        # Some rows at a time, or there would be a padded copy of the photo beside it.
        found = torch.empty_like(image, dtype=at_least_float32(image).dtype, memory_format=torch.channels_last)
        columns = continued(width, self.STRIDE, self.SMALLEST, margin)
        for top in range(0, max(1, height - COLOURED + 1), COLOURED):  # the last rows belong to the part before
            bottom = top + COLOURED if top + 2 * COLOURED <= height else height
            seen = image[:, :, top:bottom]
            seen = seen if len(columns) == width else seen[..., columns]
            painted = self.to_picture(features[:, :, margin + top : margin + bottom], seen, mix)
            found[:, :, top:bottom] = painted[..., margin : margin + width]
        return found

    def padded(self, image: Tensor) -> Tensor:
        """The picture with its margin, continued to sides that all stages can halve."""
        return pad_to_multiple(image, self.STRIDE, self.SMALLEST, self.margin)
