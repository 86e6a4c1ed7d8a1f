"""Luminance of pictures, and what keeps a photo's colours.

Rec. 601 on the encoded values, the Y of YIQ; `core.colour` has it for tensors, and what else keeps colours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["luminance", "transfer_luminance"]

PART = 1 << 18  # px that are worked on at a time
_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


def luminance(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) -> (H, W), in [0, 1] where ``rgb`` is."""
    red, green, blue = (rgb[:, :, channel] * weight for channel, weight in enumerate(_WEIGHTS))
    light: NDArray[np.float32] = red + green + blue
    return light


def transfer_luminance(painted: NDArray[np.float32], photo: NDArray[np.float32]) -> NDArray[np.float32]:
    """Painted's luminance with photo's chroma; both (H, W, 3) in [0, 1], and so is the result.

    As `core.colour.transfer_luminance`, which says why, does it with tensors.
    """
    out, step = np.empty_like(painted), max(1, PART // painted.shape[1])
    for top in range(0, len(out), step):
        rows = slice(top, top + step)
        light = luminance(painted[rows]).clip(0, 1)[:, :, None]
        chroma = photo[rows] - luminance(photo[rows])[:, :, None]
        room = np.where(chroma > 0, 1 - light, light)  # how far each channel may go
        scale = (room / np.maximum(np.abs(chroma), np.finfo(np.float32).tiny)).min(axis=2, keepdims=True)
        out[rows] = (light + np.minimum(scale, 1) * chroma).clip(0, 1)
    return out
