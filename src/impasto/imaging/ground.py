"""What stands in for the colours that transparency hides.

A file stores some colour under every transparent pixel, often black or white, and networks look at all of them. So
a picture is continued there with its own visible colours, blurred: they are averaged in a coarse grid of cells,
weighed by alpha, and cells where little shows take theirs from around (pull and push, as in Gortler et al. 1996,
"The Lumigraph"). The sums are of whole numbers, so that a picture read by rows has the very same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ground", "GroundSums", "fill", "ground_of", "lay", "texture"]

CELLS = 32  # along the longer side
LEVELS = 65535  # that colours and alpha are counted in: 8 and 16 bits are whole numbers of them
PART = 1 << 18  # px that are summed at a time
GRID = 256  # cells along the longer side in which a mirror image is made
CONFIDENT = 4.0  # a cell of which a quarter shows needs nothing from its neighbours

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ground:
    """The visible colours of a picture, blurred and continued everywhere; for that picture at any size.

    Attributes:
        cells: (h, w, 4): RGB in [0, 1], and the alpha that visible pixels have there.
    """

    cells: NDArray[np.float64]

    def rows(self, size: tuple[int, int], top: int, bottom: int) -> Floats:
        """Rows `top` to `bottom` (excluded) at this (height, width), (n, width, 4)."""
        above, below, down = _between(size[0], self.cells.shape[0], top, bottom)
        left, right, across = _between(size[1], self.cells.shape[1], 0, size[1])
        exact = self.cells[above] + down[:, None, None] * (self.cells[below] - self.cells[above])
        narrow = exact.astype(np.float32)
        rows: Floats = narrow[:, right] - narrow[:, left]
        rows *= across[:, None].astype(np.float32)
        rows += narrow[:, left]
        return rows


def _between(
    length: int, cells: int, first: int, last: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Between which two cells the pixels of a side lie, and how far from the first to the second."""
    place = np.clip((np.arange(first, last) + 0.5) * cells / length - 0.5, 0, cells - 1)
    low = place.astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), place - low


class GroundSums:
    """What is summed over a picture of this (height, width), row by row, to know its ground."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        longest = max(size)
        self.cells = tuple(max(1, round(side * min(CELLS, longest) / longest)) for side in size)
        self.sums = np.zeros((*self.cells, 6), np.int64)  # αR, αG, αB, α, α², pixels

    def add(self, top: int, colours: Floats, alpha: Floats) -> None:
        """Count rows from `top` on: colours (n, W, 3) and alpha (n, W, 1), both in [0, 1]."""
        step = max(1, PART // self.size[1])
        for low in range(0, len(colours), step):
            self._add(top + low, colours[low : low + step], alpha[low : low + step])

    def _add(self, top: int, colours: Floats, alpha: Floats) -> None:
        seen = np.rint(alpha * LEVELS).astype(np.int64)
        parts = [np.rint(colours * LEVELS).astype(np.int64) * seen, seen, seen * seen, np.ones_like(seen)]
        columns = _begins(self.size[1], self.cells[1])
        across = np.add.reduceat(np.concatenate(parts, axis=2), columns, axis=1)  # (n, cells, 6)
        belongs = np.arange(top, top + len(across)) * self.cells[0] // self.size[0]
        np.add.at(self.sums, belongs, across)

    @property
    def visible(self) -> bool:
        """Whether anything is."""
        return bool(self.sums[:, :, 3].any())

    @property
    def opaque(self) -> bool:
        """Whether nothing is transparent."""
        return int(self.sums[:, :, 3].sum()) == LEVELS * self.size[0] * self.size[1]

    def ground(self) -> Ground:
        """The ground, once all rows are counted; ValueError where nothing is visible."""
        if not self.visible:
            raise ValueError("nothing is visible")
        return Ground(_spread(self.sums.astype(np.float64)))


def _begins(length: int, cells: int) -> NDArray[np.intp]:
    """The first pixel of each cell: pixel i belongs to cell i · cells // length."""
    return -(-np.arange(cells, dtype=np.intp) * length // cells)


def _spread(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of the cells; those where little shows lean on coarser ones. Sums (h, w, 6) -> (h, w, 4)."""
    alpha, squares, pixels = sums[:, :, 3:4], sums[:, :, 4:5], sums[:, :, 5:6]
    means: NDArray[np.float64] = np.concatenate([sums[:, :, :3], squares], axis=2) / (LEVELS * np.maximum(alpha, 1))
    if sums.shape[:2] == (1, 1):
        return means
    # How much of a cell shows: 1 where alpha is everywhere the same, whatever it is.
    share = alpha * alpha / np.maximum(pixels * squares, 1)
    framed = np.pad(sums, ((0, sums.shape[0] % 2), (0, sums.shape[1] % 2), (0, 0)))
    coarse = framed[0::2, 0::2] + framed[1::2, 0::2] + framed[0::2, 1::2] + framed[1::2, 1::2]
    around = Ground(_spread(coarse)).rows(framed.shape[:2], 0, sums.shape[0])[:, : sums.shape[1]]
    mixed: NDArray[np.float64] = around + np.minimum(CONFIDENT * share, 1) * (means - around)
    return mixed


def ground_of(colours: Floats, alpha: Floats) -> Ground | None:
    """The ground of a picture (H, W, 3) with alpha (H, W, 1), both in [0, 1]; None where nothing is transparent.

    ValueError where nothing is visible.
    """
    if alpha.min() >= 1:
        return None
    sums = GroundSums((colours.shape[0], colours.shape[1]))
    sums.add(0, colours, alpha)
    return sums.ground()


def fill(colours: Floats, alpha: Floats, ground: Floats) -> Floats:
    """Rows (n, W, 3) with what is fully transparent taken from the ground's (n, W, 4); the rest stays as it is."""
    return np.where(alpha > 0, colours, ground[:, :, :3])


def lay(colours: Floats, alpha: Floats, ground: Floats) -> Floats:
    """Rows (n, W, 3) laid on the ground's (n, W, 4): what a network is to see.

    A colour counts as much as it shows, compared with what else shows there: the edge of a cut-out blends into the
    ground, while a picture that is half transparent everywhere keeps all of its contrast.
    """
    share = np.minimum(alpha / np.clip(ground[:, :, 3:], np.float32(1 / LEVELS), 1), 1)
    return np.where(share >= 1, colours, ground[:, :, :3] + share * (colours - ground[:, :, :3]))


def texture(colours: Floats, alpha: Floats, ground: Floats) -> Floats:
    """A whole picture (H, W, 3) laid on its own mirror image instead of the ground's (H, W, 4), as `lay` does.

    For styles, whose statistics a smooth ground would thin out: beyond the edge of a cut-out comes what lies as far
    inside of it, or the nearest that shows where nothing does there.
    """
    (height, width), side = alpha.shape[:2], -(-max(alpha.shape[:2]) // GRID)
    framed = np.pad(alpha[:, :, 0], ((0, -height % side), (0, -width % side)))
    cells = framed.reshape(framed.shape[0] // side, side, framed.shape[1] // side, side).mean((1, 3))
    rows, columns = (place.repeat(side, 0).repeat(side, 1) for place in _mirror(cells >= cells.max() / 2))
    y, x = np.mgrid[:height, :width]
    # Mirrored cells count from their far end.
    rows, columns = rows[:height, :width], columns[:height, :width]
    rows = np.where(rows < 0, -1 - rows, rows) * side + np.where(rows < 0, side - 1 - y % side, y % side)
    columns = np.where(columns < 0, -1 - columns, columns) * side + np.where(columns < 0, side - 1 - x % side, x % side)
    behind = lay(colours, alpha, ground)[np.minimum(rows, height - 1), np.minimum(columns, width - 1)]
    return lay(colours, alpha, np.concatenate([behind, ground[:, :, 3:]], axis=2))


def _mirror(visible: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the cell whose image each cell (h, w) shows; -1 - i for cell i turned around on that axis."""
    y, x = np.indices(visible.shape)
    near_y, near_x = _nearest(visible)
    far_y, far_x = 2 * near_y - y, 2 * near_x - x
    inside = (far_y >= 0) & (far_y < visible.shape[0]) & (far_x >= 0) & (far_x < visible.shape[1])
    shows = inside & visible[np.where(inside, far_y, 0), np.where(inside, far_x, 0)]
    return (
        np.where(shows & (near_y != y), -1 - far_y, near_y),
        np.where(shows & (near_x != x), -1 - far_x, near_x),
    )


def _nearest(visible: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the visible cell next to each cell (h, w), by jump flooding (Rong & Tan 2006)."""
    y, x = np.indices(visible.shape)
    height, width = visible.shape
    near = np.where(visible, y, -1), np.where(visible, x, -1)
    apart = np.where(visible, 0, np.iinfo(np.int64).max)
    step = 1 << (max(height, width) - 1).bit_length()
    while step := step // 2:
        for down in (-step, 0, step):
            for across in (-step, 0, step):
                rows, columns = np.clip(y + down, 0, height - 1), np.clip(x + across, 0, width - 1)
                found = near[0][rows, columns], near[1][rows, columns]
                distance = (found[0] - y) ** 2 + (found[1] - x) ** 2
                better = (found[0] >= 0) & (distance < apart)
                apart = np.where(better, distance, apart)
                near = np.where(better, found[0], near[0]), np.where(better, found[1], near[1])
    return near
