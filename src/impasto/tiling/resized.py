"""A picture at another size, by rows: what `imaging.resize` makes of all of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.tiling.photos import Photo

__all__ = ["Resized"]

LARGEST = 1 << 21  # px of the source that are worked on at a time
_A = -0.5  # of Keys' cubic; PIL's choice, and torch's with antialiasing


class Resized:
    """Rows of `source` brought to (height, width), bicubic and antialiased; as they are where the size is right.

    Bicubic overshoots at edges; what leaves [0, 1] is clamped unless `clamp` is false.
    """

    def __init__(self, source: Photo, size: tuple[int, int], *, clamp: bool = True) -> None:
        self.source, (self.height, self.width), self.clamp = source, size, clamp

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        size = (self.source.height, self.source.width)
        if size == (self.height, self.width):
            return self.source.read(top, bottom)
        piece = max(1, LARGEST * self.height // (size[0] * size[1]))
        if bottom - top > piece:
            starts = range(top, bottom, piece)
            return torch.cat([self.read(start, min(bottom, start + piece)) for start in starts], 2)
        low, high, weights = _filter(size[0], self.height, top, bottom)
        rows = self.source.read(low, high)
        # Columns first, as torch does; a side that keeps its length is left alone.
        wide = F.interpolate(rows, (high - low, self.width), mode="bicubic", align_corners=False, antialias=True)
        resized = torch.einsum("nr,bcrw->bcnw", weights, wide)
        return resized.clamp_(0, 1) if self.clamp else resized


def _filter(length: int, wanted: int, top: int, bottom: int) -> tuple[int, int, Tensor]:
    """Which rows `low` to `high` of `length` the rows `top` to `bottom` of `wanted` are made of, and how, (n, rows)."""
    scale = length / wanted
    widened = max(scale, 1.0)
    centres = (torch.arange(top, bottom, dtype=torch.float64) + 0.5) * scale
    begin = (centres - 2 * widened + 0.5).long().clamp_min(0)
    end = (centres + 2 * widened + 0.5).long().clamp_max(length)
    low, high = int(begin.min()), int(end.max())
    rows = torch.arange(low, high)
    weights = _cubic((rows + 0.5 - centres[:, None]) / widened)
    weights *= (rows >= begin[:, None]) & (rows < end[:, None])
    return low, high, (weights / weights.sum(1, keepdim=True)).float()


def _cubic(x: Tensor) -> Tensor:
    """Keys 1981, eq. 4 with a = -1/2, written for any a."""
    x = x.abs()
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
