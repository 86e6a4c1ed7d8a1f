"""Luminance of pictures.

Rec. 601 on the encoded values, the Y of YIQ; `core.colour` has it for tensors, and what else keeps colours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["luminance"]

_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


def luminance(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) -> (H, W), in [0, 1] where ``rgb`` is."""
    red, green, blue = (rgb[:, :, channel] * weight for channel, weight in enumerate(_WEIGHTS))
    light: NDArray[np.float32] = red + green + blue
    return light
