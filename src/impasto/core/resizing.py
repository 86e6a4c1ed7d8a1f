"""Tensors at another size: what `imaging.resize` does to arrays, on devices and with gradients."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from impasto.core.tensors import to_array, to_tensor
from impasto.errors import OptionError

__all__ = ["bicubic_rows", "resize"]


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


def bicubic_rows(rows: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, C) -> (h, w, C), not clamped: what `imaging.sizes.bicubic` does, by torch and so by all threads."""
    return rows if rows.shape[:2] == tuple(size) else to_array(_bicubic(to_tensor(rows), size))
