"""Sizes: by the longest side, antialiased, and the ladder of coarse-to-fine work."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import OptionError

__all__ = ["fit_long_side", "resize", "resize_weighed", "scale_schedule", "unweigh"]

FAINT = 0.5 / 255  # alpha below which no colour can be told


def fit_long_side(size: tuple[int, int], long: int, upscale: bool = False) -> tuple[int, int]:
    """(h, w) scaled so that the longer side is ``long`` pixels; a smaller picture stays as it is unless ``upscale``.

    The proportions are kept to the nearest pixel, a side is at least 1.
    """
    if long < 1:
        raise OptionError(f"size {long}: need at least 1 pixel")
    height, width = size
    longest = max(height, width)
    if longest == long or (longest < long and not upscale):
        return height, width
    return max(1, round(height * long / longest)), max(1, round(width * long / longest))


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) in [0, 1] -> (B, C, h, w) in [0, 1]; ``x`` itself where the size is already right.

    Bicubic with the kernel widened when shrinking (antialiased), on the encoded values. Bicubic overshoots at
    edges, so the result is clamped. Rows and columns are filtered one after the other: the largest intermediate
    is (B, C, H, w). Differentiable.
    """
    if min(size) < 1:
        raise OptionError(f"size {size[1]}x{size[0]}: need at least 1x1 pixels")
    return x if tuple(x.shape[-2:]) == tuple(size) else _bicubic(x, size).clamp(0, 1)


def _bicubic(x: Tensor, size: tuple[int, int]) -> Tensor:
    if size[1] == 1 < size[0]:  # torch 2.13 gets a single column wrong, but not a single row
        return _bicubic(x.transpose(2, 3), (1, size[0])).transpose(2, 3)
    return F.interpolate(x, size=tuple(size), mode="bicubic", align_corners=False, antialias=True)


def resize_weighed(rgb: Tensor, alpha: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """`resize` of (1, 3, H, W) weighed by (1, 1, H, W), both in [0, 1] -> colours and alpha at (h, w).

    Without weights, the edge of a cut-out would take on the colour that lies beside it. Alpha is 0 where hardly
    anything shows, and the colours there mean nothing.
    """
    return unweigh(_bicubic(torch.cat([rgb * alpha, alpha], dim=1), size))


def unweigh(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Colours times alpha, and alpha, (1, 4, h, w) as resized, not clamped -> the colours, and alpha."""
    alpha = planes[:, 3:]
    alpha = torch.where(alpha < FAINT, 0.0, alpha)
    return (planes[:, :3] / alpha.clamp_min(FAINT)).clamp(0, 1), alpha.clamp(0, 1)


def scale_schedule(final_long: int, start: int = 128, factor: float = math.sqrt(2)) -> list[int]:
    """Long sides for coarse-to-fine work, ascending, the last being ``final_long``.

    Counted down from the end by ``factor``, so that every step up is the same and none is tiny; the first is the
    smallest that is at least ``start`` (or ``final_long`` alone where that is smaller still).
    """
    if final_long < 1 or start < 1 or factor <= 1:
        raise OptionError(f"scales from {start} to {final_long} by {factor:g}: need sizes of 1 or more, factor above 1")
    sides = [final_long]
    while (side := round(final_long / factor ** len(sides))) >= start and side < sides[-1]:
        sides.append(side)
    return sides[::-1]
