"""A picture at another size, by rows: what `core.resizing.resize` makes of all of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.imaging.sizes import bicubic_weights
from impasto.tiling.photos import Photo

__all__ = ["Resized"]

LARGEST = 1 << 21  # px of the source that are worked on at a time


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
        low, high, weights = bicubic_weights(size[0], self.height, top, bottom)
        rows = self.source.read(low, high)
        # Columns first, as torch does; a side that keeps its length is left alone.
        wide = F.interpolate(rows, (high - low, self.width), mode="bicubic", align_corners=False, antialias=True)
        resized = torch.einsum("nr,bcrw->bcnw", torch.from_numpy(weights).to(wide.device), wide)
        return resized.clamp_(0, 1) if self.clamp else resized
