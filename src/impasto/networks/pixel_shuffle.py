"""Moving pixels into channels and back, and weights that leave no checkerboard where channels become pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["depth_to_space", "icnr_", "level_phases_", "space_to_depth"]


def space_to_depth(x: Tensor, block: int) -> Tensor:
    """(B, C, h, w) -> (B, block² C, h / block, w / block); channels come in the order (row, column, C).

    With that order neighbouring columns stay neighbours in channels-last memory, which makes this two to
    three times as fast as `F.pixel_unshuffle`, whose order is (C, row, column).
    """
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h // block, block, w // block, block * c)
    return _swapped(rows).reshape(b, h // block, w // block, block * block * c).permute(0, 3, 1, 2)


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """The inverse of `space_to_depth`: (B, block² C, h, w) -> (B, C, h · block, w · block)."""
    b, c, h, w = x.shape
    c //= block * block
    rows = x.permute(0, 2, 3, 1).reshape(b, h, w, block, block * c)
    return _swapped(rows).reshape(b, h * block, w * block, c).permute(0, 3, 1, 2)


def _swapped(rows: Tensor) -> Tensor:
    """(b, h, u, v, c) -> (b, h, v, u, c), copied.

    Copied as numbers of eight or four bytes, where that many lie together: a CPU takes two thirds of the time for
    fewer of them.
    """
    together = rows.shape[4] * rows.element_size()
    wide = torch.int64 if together % 8 == 0 else torch.int32
    aligned = rows.is_contiguous() and rows.data_ptr() % 8 == 0 and together % wide.itemsize == 0
    if rows.device.type != "cpu" or rows.requires_grad or not aligned:
        return rows.transpose(2, 3).contiguous()
    return rows.view(wide).transpose(2, 3).contiguous().view(rows.dtype)


@torch.no_grad()
def icnr_(conv: nn.Conv2d, block: int) -> None:
    """Give the channels that `depth_to_space` puts side by side the same weights, in place.

    So the untrained layer upsamples by nearest neighbour and has no checkerboard that training would have to
    unlearn (Aitken et al. 2017, arXiv:1707.02937).
    """
    if conv.weight.is_meta:  # about to be replaced; and torch would load its compiler, a second's work, to repeat it
        return
    base = conv.weight[: conv.out_channels // block**2]
    conv.weight.copy_(base.repeat(block**2, 1, 1, 1))
    if conv.bias is not None:
        conv.bias.copy_(conv.bias[: len(base)].repeat(block**2))


@torch.no_grad()
def level_phases_(conv: nn.Conv2d, block: int) -> None:
    """Make the channels that `depth_to_space` puts side by side answer alike to flat features, in place.

    Their filters may differ in shape but not in sum, nor in bias, so that where nothing changes no pattern of
    `block` pixels appears: the condition of Sugawara et al. 2018 (arXiv:1806.02658) for layers without
    checkerboards. The least change of the weights that brings it is made.
    """
    phases = conv.weight.view(block**2, -1, *conv.weight.shape[1:])  # (block², O, I, k, k)
    sums = phases.mean((3, 4), keepdim=True)
    phases.add_(sums.mean(0, keepdim=True) - sums)
    if conv.bias is not None:
        biases = conv.bias.view(block**2, -1)
        biases.copy_(biases.mean(0, keepdim=True).expand_as(biases))
