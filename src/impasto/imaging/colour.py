"""Luminance and chroma: what it takes to keep a photo's own colours.

Luma here is Rec. 601 on the encoded values, the Y of YIQ as in Gatys et al. 2017 ("Controlling Perceptual
Factors in Neural Style Transfer", section 5). Its weights sum to one, so a colour minus its luma is pure chroma
and no matrix is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from impasto.errors import ImageError

__all__ = ["luminance", "match_luminance", "transfer_luminance"]

_WEIGHTS = (0.299, 0.587, 0.114)


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
    light = luminance(painted).clamp(0, 1)  # (B, 1, H, W)
    chroma = photo - luminance(photo)  # (B, 3, H, W)
    room = torch.where(chroma > 0, 1 - light, light)  # how far each channel may go
    tiny = torch.finfo(chroma.dtype).tiny
    scale = (room / chroma.abs().clamp_min(tiny)).amin(dim=1, keepdim=True).clamp(max=1)
    return (light + scale * chroma).clamp(0, 1)


def match_luminance(style: Tensor, photo: Tensor) -> Tensor:
    """The style's luminance, shifted and stretched to the photo's mean and deviation: (B, 1, h, w).

    Gatys et al. 2017, section 5.2: L' = (L - mean) * deviation_photo / deviation + mean_photo; for style
    transfer in luminance alone. The sizes may differ. Not clamped.
    """
    ours, theirs = luminance(style), luminance(photo)
    dims = (1, 2, 3)
    deviation = ours.std(dim=dims, keepdim=True, correction=0).clamp_min(1e-5)
    ratio = theirs.std(dim=dims, keepdim=True, correction=0) / deviation
    return (ours - ours.mean(dim=dims, keepdim=True)) * ratio + theirs.mean(dim=dims, keepdim=True)


def _size(x: Tensor) -> str:
    return f"{x.shape[-1]}x{x.shape[-2]}"
