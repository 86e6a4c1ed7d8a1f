"""Luminance, chroma and their statistics on tensors: what it takes to keep a photo's own colours.

Luma here is Rec. 601 on the encoded values, the Y of YIQ as in Gatys et al. 2017 ("Controlling Perceptual
Factors in Neural Style Transfer", section 5). Its weights sum to one, so a colour minus its luma is pure chroma
and no matrix is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from impasto.errors import ImageError

__all__ = ["cover", "luminance", "match_colours", "match_luminance", "tame_colours", "transfer_luminance"]

_WEIGHTS = (0.299, 0.587, 0.114)
_NOTHING = 1e-6  # of the largest variance: what varies less is rounding
_FLAT = 1e-9  # and so is any that is smaller, a hundredth of a grey level


def luminance(x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W), in [0, 1] where ``x`` is."""
    weights = x.new_tensor(_WEIGHTS).view(1, 3, 1, 1)
    return (x * weights).sum(dim=1, keepdim=True)


def transfer_luminance(painted: Tensor, photo: Tensor) -> Tensor:
    """Painted's luminance with photo's chroma; both (B, 3, H, W) in [0, 1], and so is the result.

    Gatys et al. 2017, section 5.2, joins Y and IQ and clips what leaves the cube. We pale such colours towards
    grey instead, so that luminance and hue stay exact.
    """
    if painted.shape != photo.shape:
        raise ImageError(f"colours of {_size(photo)} px cannot go onto {_size(painted)} px; resize one of them first")
    return _join(luminance(painted).clamp(0, 1), photo - luminance(photo))


def _join(light: Tensor, chroma: Tensor) -> Tensor:
    """Luminance (B, 1, H, W) in [0, 1] and chroma (B, 3, H, W), paled where it leaves the cube -> (B, 3, H, W)."""
    room = torch.where(chroma > 0, 1 - light, light)  # how far each channel may go
    tiny = torch.finfo(chroma.dtype).tiny
    scale = (room / chroma.abs().clamp_min(tiny)).amin(dim=1, keepdim=True).clamp(max=1)
    return (light + scale * chroma).clamp(0, 1)


def match_luminance(style: Tensor, photo: Tensor) -> Tensor:
    """The style's luminance, shifted and stretched to the photo's mean and deviation: (B, 1, h, w).

    Gatys et al. 2017, section 5.2: L' = (L - mean) * deviation_photo / deviation + mean_photo; for style
    transfer in luminance alone. The sizes may differ. Pixels of either count as far as its fourth channel says, all
    the same if there is none. Not clamped.
    """
    ours, mean, deviation = _spread(style)
    _, wanted_mean, wanted = _spread(photo)
    return (ours - mean) * (wanted / deviation.clamp_min(1e-5)) + wanted_mean


def _spread(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Luminance of (B, 3 or 4, H, W), its mean and its deviation, (B, 1, 1, 1) both."""
    light, dims = luminance(picture[:, :3]), (1, 2, 3)
    if picture.shape[1] == 3:
        return light, light.mean(dims, keepdim=True), light.std(dims, keepdim=True, correction=0)
    share = _shares(picture)
    mean = (light * share).mean(dims, keepdim=True)
    return light, mean, ((light - mean).square() * share).mean(dims, keepdim=True).sqrt()


def _shares(picture: Tensor) -> Tensor:
    """How far each pixel of (B, 3 or 4, H, W) counts, (B, 1, H, W), their mean 1."""
    if picture.shape[1] == 3:
        return torch.ones_like(picture[:, :1])
    alpha = picture[:, 3:]
    return alpha / alpha.mean((1, 2, 3), keepdim=True).clamp_min(torch.finfo(alpha.dtype).tiny)


def match_colours(style: Tensor, photo: Tensor) -> Tensor:
    """The style's pixels with the mean and covariance of the photo's colours: (1, 3, h, w) in [0, 1].

    Both are (1, 3 or 4, any height, any width) in [0, 1]; pixels count as far as a fourth channel says. Gatys et al.
    2016, "Preserving Color in Neural Artistic Style Transfer" (arXiv:1606.05897), section on colour histogram matching:
    x' = A·(x - mean) + mean_photo with A = Σ_photo^½ · Σ^-½, by symmetric roots as in Image Analogies. A style, or a
    photo, that lacks a direction of colour (grey, sepia, flat) gets none from it. What leaves the cube is paled.
    """
    colours, mean, covariance = _colours(style)
    _, wanted_mean, wanted = _colours(photo)
    matrix = _power(wanted, 0.5) @ _power(covariance, -0.5)
    matched = _times(matrix, colours - mean) + wanted_mean
    light = luminance(matched)
    return _join(light.clamp(0, 1), matched - light).to(style.dtype)


def tame_colours(painted: Tensor, photo: Tensor) -> Tensor:
    """The painting, no more colourful than the photo; both (1, 3, H, W) in [0, 1], of any sizes.

    Luminance stays. Chroma is made of what goes with luminance, which becomes the photo's, and of the rest, which is
    shrunk in every direction where it varies more than the photo's. So a grey photo's painting is grey and a sepia
    one's is sepia, and the channels are no further apart on average than the photo's.
    """
    ours, theirs = _chroma(painted), _chroma(photo)
    whiten = _power(theirs.rest, -0.5)
    values, vectors = torch.linalg.eigh(whiten @ ours.rest @ whiten)
    shrink = (vectors * values.clamp_min(1).rsqrt()) @ vectors.mT
    light = luminance(painted).clamp(0, 1)
    rest = ours.chroma - ours.mean - ours.slope * (ours.light - ours.light.mean())
    low, high = theirs.light.aminmax()
    known = light.clamp(low, high).clamp_min(1e-6)  # beyond it the photo does not tell: as saturated as at its end
    wanted = (theirs.mean + theirs.slope * (known - theirs.light.mean())) * (light / known)
    joined = _join(light, wanted + _times(_power(theirs.rest, 0.5) @ shrink @ whiten, rest))
    share = (_apart(photo) / _apart(joined).clamp_min(1e-9)).clamp(max=1)
    return light + share * (joined - light)


class _Chroma(NamedTuple):
    """Luminance (1, 1, H, W) and chroma (1, 3, H, W) of a picture, and how the second goes with the first."""

    light: Tensor
    chroma: Tensor
    mean: Tensor  # of chroma, (1, 3, 1, 1)
    slope: Tensor  # by which it goes with luminance, (1, 3, 1, 1)
    rest: Tensor  # covariance of what does not, (3, 3), float64


def _chroma(picture: Tensor) -> _Chroma:
    light = luminance(picture)
    chroma = picture - light
    mean, deviation = chroma.mean((2, 3), keepdim=True), light - light.mean()
    slope = ((chroma - mean) * deviation).mean((2, 3), keepdim=True) / deviation.square().mean().clamp_min(1e-9)
    whole = _covariance(picture - picture.mean((2, 3), keepdim=True))
    rest = _covariance(chroma - mean - slope * deviation)
    # What is nothing beside the colours themselves is not to become something by being compared with itself.
    floor = (_NOTHING * torch.linalg.eigvalsh(whole)[-1]).clamp_min(_FLAT)
    values, vectors = torch.linalg.eigh(rest)
    return _Chroma(light, chroma, mean, slope, (vectors * torch.where(values > floor, values, 0.0)) @ vectors.mT)


def _colours(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RGB of (1, 3 or 4, H, W), their mean (1, 3, 1, 1) and covariance (3, 3), float64."""
    colours, share = picture[:, :3].float(), _shares(picture).float()
    mean = (colours * share).mean((2, 3), keepdim=True)
    return colours, mean, _covariance((colours - mean) * share.sqrt())


def _covariance(x: Tensor) -> Tensor:
    """Mean product of the channels of (1, 3, H, W) that have no mean -> (3, 3) float64, on the processor."""
    flat = x[0].flatten(1)
    return (flat @ flat.mT).cpu().double() / flat.shape[1]


def _power(covariance: Tensor, exponent: float) -> Tensor:
    """A power of a covariance (3, 3); of a direction in which nothing varies it is nothing."""
    values, vectors = torch.linalg.eigh(covariance)
    there = values > (_NOTHING * values[-1]).clamp_min(_FLAT)
    powers = torch.where(there, values.clamp_min(torch.finfo(values.dtype).tiny).pow(exponent), 0.0)
    power: Tensor = (vectors * powers) @ vectors.mT
    return power


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix (3, 3) times the colours of (1, 3, H, W)."""
    return torch.einsum("ij,bjhw->bihw", matrix.to(x), x)


def _apart(picture: Tensor) -> Tensor:
    """How far the largest and the smallest channel are apart on average."""
    return (picture.amax(1) - picture.amin(1)).mean()


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}"


def cover(photo: Tensor, painted: Tensor, masks: Sequence[Tensor] = (), *, keep_colors: bool = False) -> Tensor:
    """The painting laid over the photo, both (1, 3, H, W), where masks say; in the photo's colours if they are kept.

    Where all masks (1, 1, H, W) are 0 the result is the photo, bit for bit.
    """
    if keep_colors:
        painted = transfer_luminance(painted, photo)
    if not masks:
        return painted
    where = torch.stack([mask.to(photo) for mask in masks]).sum(0).clamp(0, 1)
    return torch.lerp(photo, painted, where)
