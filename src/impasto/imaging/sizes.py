"""Sizes: by the longest side, antialiased, and the ladder of coarse-to-fine work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import OptionError

__all__ = [
    "Bicubic",
    "bicubic",
    "bicubic_weights",
    "fit_long_side",
    "resize",
    "resize_weighed",
    "scale_schedule",
    "unweigh",
]

Floats: TypeAlias = NDArray[np.float32]
Bicubic: TypeAlias = Callable[[Floats, tuple[int, int]], Floats]
"""What `bicubic` is: `core.resizing.bicubic_rows` is another, by torch."""

FAINT = 0.5 / 255  # alpha below which no colour can be told
PART = 1 << 18  # px that are worked on at a time
PRODUCT = 1 << 18  # multiplications at a time: of more OpenBLAS makes threads, which wait where cores are busy
TOGETHER = 16  # px of the longer of two sides, old or new, that are made of one another at a time
LONGEST = 2**31 - 1  # px of a side that any format can tell
_A = -0.5  # of Keys' cubic; PIL's choice, and torch's with antialiasing


def fit_long_side(size: tuple[int, int], long: int, upscale: bool = False) -> tuple[int, int]:
    """(h, w) scaled so that the longer side is ``long`` pixels; a smaller picture stays as it is unless ``upscale``.

    The proportions are kept to the nearest pixel, a side is at least 1.
    """
    if long < 1:
        raise OptionError(f"size {long}: need at least 1 pixel", "size")
    if upscale and long > LONGEST:
        raise OptionError(f"`size` is too large: no picture has more than {LONGEST} px on a side", "size")
    height, width = size
    longest = max(height, width)
    if longest == long or (longest < long and not upscale):
        return height, width
    return max(1, round(height * long / longest)), max(1, round(width * long / longest))


def bicubic(rows: Floats, size: tuple[int, int]) -> Floats:
    """(H, W, C) at another size, (h, w, C); ``rows`` itself where it is right. Not clamped: bicubic overshoots.

    Keys 1981 with the kernel widened when shrinking (antialiased), which is what Pillow and torch do. Columns come
    first; a side that keeps its length is left alone.
    """
    height, width = size
    across = rows if rows.shape[1] == width else bicubic_across(rows, width)
    return across if across.shape[0] == height else _down(across, height)


def resize(x: Floats, size: tuple[int, int], by: Bicubic = bicubic) -> Floats:
    """(H, W, C) or (H, W) in [0, 1] at another size, in [0, 1]; ``x`` itself where the size is already right.

    By `bicubic`, or another such function, on the encoded values; what overshoots is clamped.
    """
    if min(size) < 1:
        raise OptionError(f"size {size[1]}x{size[0]}: need at least 1x1 pixels")
    if x.shape[:2] == tuple(size):
        return x
    resized = by(x if x.ndim == 3 else x[:, :, None], size)
    return np.clip(resized, 0, 1).reshape(*size, *x.shape[2:])


def resize_weighed(rgb: Floats, alpha: Floats, size: tuple[int, int], by: Bicubic = bicubic) -> tuple[Floats, Floats]:
    """`resize` of (H, W, 3) weighed by (H, W), both in [0, 1] -> colours and alpha at (h, w).

    Without weights, the edge of a cut-out would take on the colour that lies beside it. Alpha is 0 where hardly
    anything shows, and the colours there mean nothing.
    """
    share = alpha[:, :, None]
    return unweigh(by(np.concatenate([rgb * share, share], axis=2), size))


def unweigh(rows: Floats) -> tuple[Floats, Floats]:
    """Colours times alpha, and alpha, (h, w, 4) as resized, not clamped -> colours (h, w, 3) and alpha (h, w)."""
    alpha = rows[:, :, 3]
    alpha = np.where(alpha < np.float32(FAINT), np.float32(0), alpha)
    colours = rows[:, :, :3] / np.maximum(alpha, np.float32(FAINT))[:, :, None]
    return np.clip(colours, 0, 1), np.clip(alpha, 0, 1)


class _Part(NamedTuple):
    """Pixels `first` to `last` of a new side, made of `low` to `high` of the old one by weights (new, old)."""

    first: int
    last: int
    low: int
    high: int
    weights: Floats


def bicubic_weights(length: int, wanted: int, first: int, last: int) -> tuple[int, int, Floats]:
    """Which pixels `low` to `high` of a side are the pixels `first` to `last` of `wanted` made of, and how, (n, m)."""
    scale = length / wanted
    widened = max(scale, 1.0)
    centres = (np.arange(first, last) + 0.5) * scale
    begin = np.maximum((centres - 2 * widened + 0.5).astype(np.intp), 0)
    end = np.minimum((centres + 2 * widened + 0.5).astype(np.intp), length)
    low, high = int(begin.min()), int(end.max())
    places = np.arange(low, high)
    weights = _cubic((places + 0.5 - centres[:, None]) / widened)
    weights *= (places >= begin[:, None]) & (places < end[:, None])
    return low, high, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys 1981, eq. 4 with a = -1/2, written for any a."""
    x = np.abs(x)
    near = ((_A + 2) * x - (_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _A
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _parts(length: int, wanted: int) -> Iterator[_Part]:
    """A new side in parts, so that their weights have few zeros."""
    step = math.ceil(TOGETHER * max(1.0, wanted / length))
    for first in range(0, wanted, step):
        last = min(wanted, first + step)
        yield _Part(first, last, *bicubic_weights(length, wanted, first, last))


def bicubic_across(rows: Floats, width: int) -> Floats:
    """The columns of `bicubic` alone: (H, W, C) -> (H, width, C)."""
    height, length, channels = rows.shape
    out, parts = np.empty((height, width, channels), np.float32), list(_parts(length, width))
    step = max(1, PART // length)
    for top in range(0, height, step):
        block = rows[top : top + step]
        lines = np.ascontiguousarray(block.transpose(0, 2, 1), np.float32).reshape(-1, length)  # (n · C, W)
        for first, last, low, high, weights in parts:
            made = np.empty((len(lines), last - first), np.float32)
            for some in _slices(len(lines), weights):
                np.matmul(lines[some, low:high], weights.T, out=made[some])
            out[top : top + step, first:last] = made.reshape(len(block), channels, -1).transpose(0, 2, 1)
    return out


def _down(rows: Floats, height: int) -> Floats:
    """(H, W, C) -> (height, W, C)."""
    length, width, channels = rows.shape
    lines = np.ascontiguousarray(rows, np.float32).reshape(length, -1)
    out = np.empty((height, width * channels), np.float32)
    for first, last, low, high, weights in _parts(length, height):
        for some in _slices(width * channels, weights):
            np.matmul(weights, lines[low:high, some], out=out[first:last, some])
    return out.reshape(height, width, channels)


def _slices(count: int, weights: Floats) -> Iterator[slice]:
    """Of so many lines, as many as are multiplied at a time."""
    step = max(1, PRODUCT // weights.size)
    return (slice(at, at + step) for at in range(0, count, step))


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of half the sides, rounded up.

    >>> halved((341, 512))
    (171, 256)
    """
    return -(-size[0] // 2), -(-size[1] // 2)


def scale_schedule(final_long: int, start: int = 128, factor: float = math.sqrt(2)) -> list[int]:
    """Long sides for coarse-to-fine work, ascending, the last being ``final_long``.

    Counted down from the end by ``factor``, so that every step up is the same and none is tiny; the first is the
    smallest that is at least ``start`` (or ``final_long`` alone where that is smaller still).
    """
    if final_long < 1 or start < 1 or factor <= 1:
        raise OptionError(f"scales from {start} to {final_long} by {factor:g}: need sizes of 1 or more, factor above 1")
    sides = [final_long]
    while (side := round(final_long / factor ** len(sides))) >= start and side < sides[-1]:
        sides.append(side)
    return sides[::-1]
