"""The arithmetic of AdaIN: features get the mean and deviation of a style's, everywhere or in regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import OptionError, counted
from impasto.networks.encoded import SMALLEST, STRIDE, FeatureMoments
from impasto.networks.layers import pad_to_multiple

__all__ = ["EPS", "fill_regions", "match", "normalised_weights", "region_moments", "shrink_mask"]

EPS = 1e-5


def region_moments(features: Tensor, mask: Tensor) -> FeatureMoments:
    """Mean and deviation over positions weighted by `mask`, (B, C, h, w) and (B or 1, 1, h, w) in [0, 1].

    A mask of ones gives `mean_std`; one of zeros gives mean 0 and the deviation √eps.
    """
    area = mask.sum((2, 3), keepdim=True).clamp_min(1e-6)
    mean = (features * mask).sum((2, 3), keepdim=True) / area
    variance = ((features - mean).square() * mask).sum((2, 3), keepdim=True) / area
    return FeatureMoments(mean, (variance + EPS).sqrt())


def match(x: Tensor, own: FeatureMoments, wanted: FeatureMoments) -> Tensor:
    """Features (B, C, h, w) whose moments are `own` -> the same with the moments `wanted` (eq. 8 of the paper)."""
    return (x - own.mean) * (wanted.std / own.std) + wanted.mean


def normalised_weights(count: int, weights: Sequence[float] | None) -> list[float]:
    """The weights of so many styles, their sum 1; equal ones where there are none.

    Raises:
        OptionError: no style, another number of weights, a negative one, or none above 0.
    """
    weights = [1.0] * count if weights is None else list(weights)
    if not count or len(weights) != count:
        found = f"{counted(count, 'style')} with {counted(len(weights), 'weight')}"
        raise OptionError(f"{found}: give at least one style, and a weight to each")
    total = sum(weights)
    if not all(weight >= 0 for weight in weights) or not 0 < total < float("inf"):
        raise OptionError(f"weights of styles are 0 or more and not all 0, got {weights}")
    return [weight / total for weight in weights]


def fill_regions(
    x: Tensor,
    styles: Sequence[FeatureMoments],
    shares: Sequence[float],
    masks: Sequence[Tensor],
    own: Sequence[FeatureMoments] | None,
) -> Tensor:
    """Each style in its own region of the features, see `AdaIN.restyle`; `shares` sum to 1."""
    if len(masks) != len(styles):
        found = f"{counted(len(styles), 'style')} with {counted(len(masks), 'mask')}"
        raise OptionError(f"{found}: give a mask to each style, or none at all")
    covered = torch.stack([mask.to(x) for mask in masks]).sum(0).clamp(0, 1)
    strengths = [share * mask.to(x) for share, mask in zip(shares, masks, strict=True)]
    total = torch.stack(strengths).sum(0).clamp_min(1e-6)
    out = x * (1 - covered)
    own = own or [region_moments(x, mask.to(x)) for mask in masks]
    for region, style, strength in zip(own, styles, strengths, strict=True):
        restyled = match(x, region, style)
        out = out + restyled * (covered * strength / total)
    return out


def shrink_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask at the size of the features of a photo of this size, by averaging."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise OptionError(f"a mask has shape (1, 1, height, width), got {tuple(mask.shape)}")
    if mask.shape[-2:] != size:
        mask = F.interpolate(mask, size, mode="bilinear", antialias=True)
    return F.avg_pool2d(pad_to_multiple(mask, STRIDE, SMALLEST), STRIDE)
