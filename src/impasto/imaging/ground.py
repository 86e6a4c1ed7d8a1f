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

__all__ = ["Ground", "GroundSums", "fill", "ground_of", "lay"]

CELLS = 32  # along the longer side
LEVELS = 65535  # that colours and alpha are counted in: 8 and 16 bits are whole numbers of them
PART = 1 << 18  # px that are summed at a time
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
