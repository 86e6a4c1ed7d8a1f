"""Pictures (H, W, C), as `imaging` has them, to tensors (1, C, H, W), as networks see them, and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["to_array", "to_tensor"]


def to_tensor(array: NDArray[np.float32]) -> Tensor:
    """(H, W, C) or (H, W) -> (1, C, H, W) or (1, 1, H, W), channels-last.

    It shares the array's memory, unless that is read-only or not in one piece.
    """
    rows = np.require(array if array.ndim == 3 else array[:, :, None], requirements=["C", "W"])
    return torch.from_numpy(rows)[None].permute(0, 3, 1, 2)  # in this order, or torch takes its layout for another


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """(1, C, H, W) of any float type on any device -> (H, W, C) float32, without a gradient.

    It shares the memory of what is float32 on the processor already.
    """
    array: NDArray[np.float32] = tensor.detach()[0].permute(1, 2, 0).to(device="cpu", dtype=torch.float32).numpy()
    return array
