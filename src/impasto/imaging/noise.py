"""A painter's ground: faint, smooth noise where a photo is flat, so that a network finds something to make strokes of.

Where there is nothing but one colour, a network that repaints lays the same stroke again and again, like bricks. Blots
of some pixels' size, too faint to be seen as such, become strokes of several sizes and colours instead.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.imaging.colour import luminance
from impasto.imaging.sizes import bicubic_across, bicubic_weights

__all__ = [
    "AROUND",
    "CELL",
    "COLOURED",
    "DEVIATION",
    "FIELD",
    "FLAT",
    "GRAIN",
    "LIVELY",
    "GroundNoise",
    "blots",
    "on_ground",
]

Floats = NDArray[np.float32]

GRAIN = 16  # px, the size of a blot
DEVIATION = 12 / 255  # of the noise where a photo is flat, at full strength
COLOURED = 0.5  # of the deviation, how much each channel has of its own
FIELD = 64  # blots on a side, then the same again
CELL = 8  # px on a side of the cells in which deviations are told
AROUND = 2  # cells to each side that must be flat as well, or noise would come close to faces and letters
FLAT, LIVELY = 4 / 255, 12 / 255  # deviations of luminance in a cell: all of the noise below, none of it above
PART = 1 << 16  # px that are worked on at a time


class GroundNoise:
    """The noise for one picture, by rows: look at all of them from the top down, then add it to any.

    The same picture always gets the same. The blots depend on a pixel's place alone.

    Args:
        size: (height, width) of the picture, px.
        strength: from 0, none, to 1.
    """

    def __init__(self, size: tuple[int, int], strength: float = 1.0) -> None:
        self.height, self.width = size
        self.strength = strength
        self._deviations: Floats = np.zeros((-(-self.height // CELL), -(-self.width // CELL)), np.float32)
        self._columns = np.arange(0, self.width, CELL)

    def look(self, top: int, rows: Floats) -> None:
        """At rows (n, W, 3) from `top` on, which is a multiple of `CELL`, as is n but at the end."""
        light = luminance(rows).astype(np.float64)
        lines = np.arange(0, len(light), CELL)
        count = np.outer(np.diff([*lines, len(light)]), np.diff([*self._columns, self.width]))
        sums = [np.add.reduceat(np.add.reduceat(x, lines, 0), self._columns, 1) / count for x in (light, light * light)]
        first = top // CELL
        self._deviations[first : first + len(lines)] = np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0))

    @functools.cached_property
    def _flat(self) -> Floats:
        """How flat each cell is with those around it, from 0 to 1, fading."""
        lively: NDArray[Any] = ((self._deviations - FLAT) / (LIVELY - FLAT)).clip(0, 1)
        for combine in (np.max, np.mean):
            for axis in (0, 1):
                padded = np.pad(lively, [(AROUND, AROUND) if side == axis else (0, 0) for side in (0, 1)], mode="edge")
                lively = combine(np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1, axis), axis=-1)
        return np.asarray(1 - lively, np.float32)

    def flatness(self, top: int, bottom: int) -> Floats:
        """How flat it is at the pixels of some rows, (n, W), from 0 to 1, once all rows were looked at."""
        low, high, down = bicubic_weights(len(self._flat), self.height, top, bottom)
        flat = bicubic_across((down @ self._flat[low:high])[:, :, None], self.width)[:, :, 0]
        return np.clip(flat, 0, 1, out=flat)

    def add(self, top: int, rows: Floats) -> Floats:
        """Rows (n, W, 3) in [0, 1] from `top` on, with the noise, in [0, 1]; once all rows were looked at."""
        bottom = top + len(rows)
        if not self._flat[max(0, top // CELL - AROUND) : -(-bottom // CELL) + AROUND].any():
            return rows
        high, wide = ((-(-side // GRAIN) + 4) for side in (self.height, self.width))
        # Two blots lie outside on each side, so that those inside do not depend on the size.
        first, last, down = bicubic_weights(high, high * GRAIN, 2 * GRAIN + top, 2 * GRAIN + bottom)
        laid = np.take(np.take(blots(), np.arange(first, last), 0, mode="wrap"), np.arange(wide), 1, mode="wrap")
        columns = (down @ laid.reshape(last - first, -1)).reshape(len(rows), wide, 3)
        noisy = bicubic_across(columns, wide * GRAIN)[:, 2 * GRAIN : 2 * GRAIN + self.width].copy()
        noisy *= (np.float32(self.strength * DEVIATION) * self.flatness(top, bottom))[:, :, None]
        noisy += rows
        return np.clip(noisy, 0, 1, out=noisy)


def on_ground(rgb: Floats, strength: float = 1.0) -> Floats:
    """A whole picture (H, W, 3) in [0, 1] with the noise where it is flat, in [0, 1]."""
    noise, parts = GroundNoise((rgb.shape[0], rgb.shape[1]), strength), _parts(rgb)
    for part in parts:
        noise.look(part.start, rgb[part])
    return np.concatenate([noise.add(part.start, rgb[part]) for part in parts])


def _parts(rgb: Floats) -> list[slice]:
    step = CELL * math.ceil(PART / (CELL * rgb.shape[1]))
    return [slice(top, min(len(rgb), top + step)) for top in range(0, len(rgb), step)]


@functools.cache
def blots() -> Floats:
    """What the noise is made of: (FIELD, FIELD, 3), mean 0, once smooth deviation 1; mostly grey, a little coloured."""
    draw = np.random.default_rng(0)
    found = draw.standard_normal((FIELD, FIELD, 1)) + COLOURED * draw.standard_normal((FIELD, FIELD, 3))
    left = (
        np.square(_weights(FIELD, FIELD * GRAIN, 2 * GRAIN, 3 * GRAIN)).sum(1).mean()
    )  # of the deviation by smoothing
    return np.asarray((found - found.mean()) / (found.std() * left), np.float32)


def _weights(length: int, wanted: int, first: int, last: int) -> Floats:
    """How the pixels `first` to `last` of `wanted` are made of a side of this length, (last - first, length)."""
    low, high, some = bicubic_weights(length, wanted, first, last)
    weights = np.zeros((last - first, length), np.float32)
    weights[:, low:high] = some
    return weights
