"""Photos that hand out their rows: in memory, continued to a multiple of a stride, and as tiles from all over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from impasto.core.precision import accumulator_dtype
from impasto.core.streams import Pieces, split_rows
from impasto.networks.layers import continued, sum_colours
from impasto.tiling.plan import TilingPlan

__all__ = ["Padded", "Photo", "TensorPhoto", "draw_tiles"]


class Photo(Protocol):
    """A picture that hands out its rows."""

    @property
    def height(self) -> int:
        """In px."""

    @property
    def width(self) -> int:
        """In px."""

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom` (excluded), (1, 3, n, W) float32 in [0, 1]."""


class TensorPhoto:
    """A picture that is in memory, (1, 3, H, W) in [0, 1]."""

    def __init__(self, image: Tensor) -> None:
        self.image = image
        self.height, self.width = image.shape[-2:]

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return self.image[:, :, top:bottom].float()


class Padded:
    """A photo as `pad_to_multiple` continues it, by rows."""

    def __init__(self, photo: Photo, multiple: int, smallest: int, margin: int = 0) -> None:
        self.photo = photo
        self.rows, self.columns = (continued(side, multiple, smallest, margin) for side in (photo.height, photo.width))
        self.height, self.width = len(self.rows), len(self.columns)

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom`, (1, 3, n, width) float32."""
        rows = self.rows[top:bottom]
        low, high = int(rows.min()), int(rows.max()) + 1
        x = self.photo.read(low, high)
        if not torch.equal(rows, torch.arange(low, high)):
            x = x[:, :, (rows - low).to(x.device)]
        return x if self.width == self.photo.width else x[..., self.columns.to(x.device)]

    def pieces(self, piece: int) -> Pieces:
        """All rows, from the top."""
        for top, bottom in split_rows(self.height, piece):
            yield self.read(top, bottom)

    def mean(self, piece: int) -> tuple[Tensor, bool]:
        """The mean colour, (1, 3, 1, 1) float32, summed in float64, and whether there is no other."""
        total, flat = torch.zeros(1, 3, 1, 1, dtype=torch.float64), True
        first = self.read(0, 1)[..., :1]
        for x in self.pieces(piece):
            total += sum_colours(x, accumulator_dtype(x.device)).cpu()
            flat = flat and bool((x == first).all())
        return (total / (self.height * self.width)).float(), flat


def draw_tiles(read: Callable[[int, int], Tensor], size: tuple[int, int], side: int, plan: TilingPlan) -> Tensor:
    """Square tiles, one from somewhere in each cell of a grid over a picture or a map: (N, C, side, side).

    `read` gives rows, as `Photo.read` does. The tiles of a row of the grid begin at the same height, so that no row
    is read twice for them.
    """
    (height, width), (down, across) = size, plan.sample
    draw = torch.Generator().manual_seed(0)
    tiles = []
    for i in range(down):
        top = _somewhere(i, down, height, side, draw)
        strip = read(top, top + side)
        for j in range(across):
            left = _somewhere(j, across, width, side, draw)
            tiles.append(strip[..., left : left + side].clone())  # or the whole strip would live on
    return torch.cat(tiles)


def _somewhere(cell: int, cells: int, length: int, side: int, draw: torch.Generator) -> int:
    """Where a tile begins that lies at random within one of `cells` equal parts of a side."""
    room = length - side
    low, high = room * cell / cells, room * (cell + 1) / cells
    return int(low + (high - low) * float(torch.rand((), generator=draw)))
