"""Any style in one network (Huang & Belongie 2017): match the moments of VGG features, then decode them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core.statistics import mean_std, shares_of, split_weights
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS, EncodedConfig, EncodedNetwork
from impasto.networks.layers import ReflectConv, pad_to_multiple, working_dtype
from impasto.networks.staged import Stage, walk

__all__ = [
    "EPS",
    "SMALLEST",
    "STRIDE",
    "TAPS",
    "AdaIN",
    "AdaINConfig",
    "Moments",
    "region_moments",
    "shrink_mask",
]

EPS = 1e-5

# The style loss sees all of `TAPS`, the decoder starts from the last. It mirrors VGG-19: name, channels in and out at
# width 1, factor of the upsampling before it.
DECODER = (
    ("conv4_1", 512, 256, 1),
    ("conv3_4", 256, 256, 2),
    ("conv3_3", 256, 256, 1),
    ("conv3_2", 256, 256, 1),
    ("conv3_1", 256, 128, 1),
    ("conv2_2", 128, 128, 2),
    ("conv2_1", 128, 64, 1),
    ("conv1_2", 64, 64, 2),
    ("conv1_1", 64, 3, 1),
)


class Moments(NamedTuple):
    """All that is kept of a style: mean and standard deviation of relu4_1's channels, (B, C, 1, 1) each."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class AdaINConfig(EncodedConfig):
    """The encoder that the decoder belongs to, and the decoder's size.

    Attributes:
        width: the decoder's channels as a share of the paper's 256-128-64; what comes in stays 512.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.width, bool) or not isinstance(self.width, int | float) or not 1 / 64 <= self.width <= 4:
            raise OptionError(f"width is a number from 1/64 to 4, got {self.width!r}")


class AdaIN(EncodedNetwork):
    """An encoder that never trains, and a decoder with reflected borders and without normalisation.

    Arguments and errors are those of `EncodedNetwork`.
    """

    METHOD: ClassVar[str] = "adain"
    config: AdaINConfig

    def __init__(self, config: AdaINConfig | None = None, encoder: VGG | None = None) -> None:
        super().__init__(config or AdaINConfig(), encoder)
        self.decoder = nn.ModuleDict()
        for i, (name, before, after, _) in enumerate(DECODER):
            first, last = i == 0, i == len(DECODER) - 1
            conv = ReflectConv(before if first else self._width(before), after if last else self._width(after), 3)
            # Nothing normalises in here, so the weights must keep the scale of what passes; grey comes out.
            nn.init.kaiming_normal_(conv.conv2d.weight, nonlinearity="linear" if last else "relu")
            if first or last:  # features are several times as large as colours, which begin near grey
                with torch.no_grad():
                    conv.conv2d.weight.mul_(0.2)
            nn.init.constant_(cast(Tensor, conv.conv2d.bias), 0.5 if last else 0.0)
            self.decoder[name] = conv

    def _width(self, channels: int) -> int:
        return max(1, round(channels * self.config.width))

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], any size -> relu4_1 (B, 512, ceil(H / 8), ceil(W / 8)), at least 2x2."""
        features: Tensor = self.encoder(pad_to_multiple(image, STRIDE, SMALLEST), TAPS[-1:])[TAPS[-1]]
        return features

    def moments(self, style: Tensor) -> Moments:
        """What there is to know of style pictures (B, 3, H, W), to be kept for the next photo.

        A fourth channel, where there is one, says how far a pixel counts.
        """
        rgb, weights = split_weights(pad_to_multiple(style, STRIDE, SMALLEST))
        features = self.encode(rgb)
        return Moments(*mean_std(features, EPS, shares_of(weights, (features.shape[2], features.shape[3]))))

    def restyle(
        self,
        features: Tensor,
        styles: Sequence[Moments],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[Tensor] | None = None,
        alpha: float = 1.0,
        own: Sequence[Moments] | None = None,
    ) -> Tensor:
        """Content features (B, C, h, w) with the moments of the styles; eq. 8, eq. 14 and eq. 15 of the paper.

        Without masks the styles' moments are averaged by weight, which is the same as averaging the results.
        With masks each style fills its own region, and the region's own moments are what it replaces: a dark
        corner does not darken because the sky elsewhere is bright. Where masks overlap, weights decide the
        shares; where they do not add up to 1, the rest is the photo's own features.

        Args:
            features: from `encode`.
            styles: from `moments`, with batches of 1 or B.
            weights: one per style, 0 or more, normalised here; equal by default.
            masks: one per style, (B or 1, 1, h, w) at the size of the features, in [0, 1].
            alpha: 0 gives the features back, 1 the full style.
            own: what is replaced, where `features` are but a part of the photo's: the whole's moments, or those
                of each mask's region.

        Raises:
            OptionError: wrong numbers of weights or masks, a negative weight, alpha outside [0, 1].
        """
        shares = _shares(len(styles), weights)
        if not 0 <= alpha <= 1:
            raise OptionError(f"alpha is between 0 and 1, got {alpha}")
        x = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
        if masks is None:
            mean = cast(Tensor, sum(share * style.mean for share, style in zip(shares, styles, strict=True)))
            std = cast(Tensor, sum(share * style.std for share, style in zip(shares, styles, strict=True)))
            out = _match(x, own[0] if own else Moments(*mean_std(x, EPS)), Moments(mean, std))
        else:
            out = _fill_regions(x, styles, shares, masks, own)
        return torch.lerp(x, out, alpha).to(features.dtype) if alpha < 1 else out.to(features.dtype)

    def stages(self) -> tuple[Stage, ...]:
        """The decoder's stages in order."""
        last = DECODER[-1][0]
        return tuple(
            Stage(cast(ReflectConv, self.decoder[name]), relu=name != last, upsample=up) for name, _, _, up in DECODER
        )

    def decode(self, features: Tensor) -> Tensor:
        """relu4_1 (B, 512, h, w) -> float32 picture (B, 3, 8 h, 8 w), in eval mode clamped to [0, 1].

        In training values are left free, because a clamped one has no gradient that could bring it back.
        """
        stages = self.stages()
        x = walk(stages, features.to(working_dtype(stages[0].conv.conv2d.weight))).float()
        return x if self.training else x.clamp(0, 1)

    def forward(
        self,
        content: Tensor,
        styles: Sequence[Tensor | Moments],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[Tensor] | None = None,
        alpha: float = 1.0,
    ) -> Tensor:
        """Paint (B, 3, H, W) in [0, 1], any size, in the styles' manner -> the same shape, float32.

        Args:
            content: the photos.
            styles: pictures (1 or B, 3, H', W'), or what `moments` kept of them.
            weights, alpha: see `restyle`.
            masks: one per style, (1 or B, 1, any height, any width) in [0, 1], stretched over the photo.
        """
        known = [style if isinstance(style, Moments) else self.moments(style) for style in styles]
        h, w = content.shape[-2:]
        small = None if masks is None else [shrink_mask(mask, (h, w)) for mask in masks]
        target = self.restyle(self.encode(content), known, weights=weights, masks=small, alpha=alpha)
        return self.decode(target)[..., :h, :w]


def region_moments(features: Tensor, mask: Tensor) -> Moments:
    """Mean and deviation over positions weighted by `mask`, (B, C, h, w) and (B or 1, 1, h, w) in [0, 1].

    A mask of ones gives `mean_std`; one of zeros gives mean 0 and the deviation √eps.
    """
    area = mask.sum((2, 3), keepdim=True).clamp_min(1e-6)
    mean = (features * mask).sum((2, 3), keepdim=True) / area
    variance = ((features - mean).square() * mask).sum((2, 3), keepdim=True) / area
    return Moments(mean, (variance + EPS).sqrt())


def _match(x: Tensor, own: Moments, wanted: Moments) -> Tensor:
    return (x - own.mean) * (wanted.std / own.std) + wanted.mean


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    weights = [1.0] * count if weights is None else list(weights)
    if not count or len(weights) != count:
        raise OptionError(f"{count} styles with {len(weights)} weights: give at least one style, and a weight to each")
    total = sum(weights)
    if not all(weight >= 0 for weight in weights) or not 0 < total < float("inf"):
        raise OptionError(f"weights of styles are 0 or more and not all 0, got {weights}")
    return [weight / total for weight in weights]


def _fill_regions(
    x: Tensor,
    styles: Sequence[Moments],
    shares: Sequence[float],
    masks: Sequence[Tensor],
    own: Sequence[Moments] | None,
) -> Tensor:
    if len(masks) != len(styles):
        raise OptionError(f"{len(styles)} styles with {len(masks)} masks: give a mask to each style, or none at all")
    covered = torch.stack([mask.to(x) for mask in masks]).sum(0).clamp(0, 1)
    strengths = [share * mask.to(x) for share, mask in zip(shares, masks, strict=True)]
    total = torch.stack(strengths).sum(0).clamp_min(1e-6)
    out = x * (1 - covered)
    own = own or [region_moments(x, mask.to(x)) for mask in masks]
    for region, style, strength in zip(own, styles, strengths, strict=True):
        restyled = _match(x, region, style)
        out = out + restyled * (covered * strength / total)
    return out


def shrink_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask at the size of the features of a photo of this size, by averaging."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise OptionError(f"a mask has shape (1, 1, height, width), got {tuple(mask.shape)}")
    if mask.shape[-2:] != size:
        mask = F.interpolate(mask, size, mode="bilinear", antialias=True)
    return F.avg_pool2d(pad_to_multiple(mask, STRIDE, SMALLEST), STRIDE)
