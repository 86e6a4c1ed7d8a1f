"""How close a result is: to the photo in content, to the style picture in statistics.

Distances are relative, so they compare across layers, pictures and backbones. A style distance means little by
itself; beside that of the photo copied unchanged (`copied`) it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.core.statistics import gram
from impasto.core.vgg import VGG
from impasto.errors import ImageError

__all__ = ["CONTENT_TAPS", "STYLE_TAPS", "Distances", "content_distance", "measure", "style_distance"]

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT_TAPS = ("relu3_3", "relu4_2")


@dataclass(frozen=True)
class Distances:
    """Of a result, and the style distance that its photo had."""

    content: float
    style: float
    copied: float

    @property
    def share(self) -> float:
        """Style distance left, as a share of the copied photo's; infinite where that had none to lose."""
        return self.style / self.copied if self.copied else math.inf if self.style else 0.0


def style_distance(got: Mapping[str, Tensor], style: Mapping[str, Tensor]) -> float:
    """Mean over STYLE_TAPS of |G - G_style|² / |G_style|², G = F·Fᵀ/M; features (1, C, h, w), any sizes."""
    shares = []
    for tap in STYLE_TAPS:
        g, target = gram(got[tap]), gram(style[tap])
        shares.append(float((g - target).square().sum() / target.square().sum()))
    return sum(shares) / len(shares)


def content_distance(got: Mapping[str, Tensor], photo: Mapping[str, Tensor]) -> float:
    """Mean over CONTENT_TAPS of |F - F_photo|² / |F_photo|²; features (1, C, h, w) of one size."""
    shares = []
    for tap in CONTENT_TAPS:
        f, target = got[tap].float(), photo[tap].float()
        shares.append(float((f - target).square().sum() / target.square().sum()))
    return sum(shares) / len(shares)


@torch.inference_mode()
def measure(backbone: VGG, photo: Tensor, style: Tensor, result: Tensor) -> Distances:
    """Distances of `result` to `photo`, both (1, 3, H, W), and to `style` (1, 3, h, w), as `backbone` sees them.

    LayerError if the backbone lacks a tap, ImageError if the sizes of `photo` and `result` differ.
    """
    if photo.shape != result.shape:
        height, width = photo.shape[2:]
        raise ImageError(f"a result is compared with a photo of its size, {width}x{height} px: resize one of them")
    taps = dict.fromkeys([*STYLE_TAPS, *CONTENT_TAPS])
    of_photo, of_result = backbone(photo, taps), backbone(result, taps)
    of_style = backbone(style, STYLE_TAPS)
    return Distances(
        content_distance(of_result, of_photo), style_distance(of_result, of_style), style_distance(of_photo, of_style)
    )
