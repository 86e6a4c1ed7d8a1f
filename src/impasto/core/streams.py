"""Feature maps as streams: pieces (1, C, n, w) of whole rows, from the top of a picture to its bottom.

What a convolution needs of the rows above a piece is kept from the piece before, so nothing is computed twice
and there are no seams: reflection, replication or zeros continue a map at its true border alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Border", "Pieces", "Window", "extend", "fill_border", "slide", "split_rows"]

Pieces = Iterator[Tensor]
Border = Literal["reflect", "replicate", "zeros"]


@dataclass(frozen=True)
class Window:
    """What a convolution or a pool looks at: `kernel` rows and columns, every `stride`; `padding` on each side.

    Below, the padding is `after` where that is given. Without `columns` it is of rows alone.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    border: Border = "reflect"
    after: int | None = None
    columns: bool = True

    def outputs(self, rows: int) -> int:
        """How many rows come out of so many."""
        return (rows + self.padding + self.below - self.kernel) // self.stride + 1

    @property
    def below(self) -> int:
        """The padding under the last row."""
        return self.padding if self.after is None else self.after


def split_rows(height: int, piece: int) -> list[tuple[int, int]]:
    """(top, bottom) of pieces of `piece` rows; what is left over makes the last one larger, not one more."""
    tops = list(range(0, max(1, height - piece + 1), piece))
    return list(zip(tops, [*tops[1:], height], strict=True))


def slide(pieces: Pieces, height: int, window: Window, apply: Callable[[Tensor], Tensor]) -> Pieces:
    """Run `apply`, which itself adds no border, over a map of `height` rows that comes in pieces.

    Every piece yields all rows that can be told by then. A reflecting border needs more than `padding` rows and
    columns, as everywhere.
    """
    above: Tensor | None = None  # rows of the last piece that are still looked at, columns continued
    waiting: list[Tensor] = []  # until there are enough to continue the map upwards
    seen = 0
    for piece in pieces:
        seen += piece.shape[2]
        waiting.append(piece)
        if seen < height and (above is None and seen <= window.padding):
            continue
        rows = waiting[0] if len(waiting) == 1 else torch.cat(waiting, 2)
        waiting.clear()
        field = _continue(rows, above, window, last=seen == height)
        del rows, piece
        count = (field.shape[2] - window.kernel) // window.stride + 1
        if count < 1:
            above = field
            continue
        out = apply(field[:, :, : (count - 1) * window.stride + window.kernel])
        above = field[:, :, count * window.stride :].clone()
        del field
        yield out


def extend(pieces: Pieces, height: int, border: int) -> Pieces:
    """A map of `height` rows that comes in pieces, continued by reflection by `border` pixels on all four sides."""
    waiting: list[Tensor] = []
    seen = 0
    tail: Tensor | None = None  # the last rows, of which the lower border is made
    for piece in pieces:
        x = F.pad(piece, (border, border, 0, 0), mode="reflect")
        seen += x.shape[2]
        tail = x if tail is None else torch.cat((tail, x), 2)
        tail = tail[:, :, -border - 1 :].clone()
        waiting.append(x)
        if seen <= border and seen < height:
            continue
        rows = waiting[0] if len(waiting) == 1 else torch.cat(waiting, 2)
        yield torch.cat((rows[:, :, 1 : border + 1].flip(2), rows), 2) if seen - rows.shape[2] == 0 else rows
        waiting.clear()
    if tail is not None:
        yield tail[:, :, :-1].flip(2)


def _continue(rows: Tensor, above: Tensor | None, window: Window, *, last: bool) -> Tensor:
    """Rows with those above them, or the upper border, and with left and right borders, in one copy."""
    upper, p = window.padding, window.padding if window.columns else 0
    b, c, n, w = rows.shape
    before, after = (upper if above is None else above.shape[2]), (window.below if last else 0)
    if not before and not after and not p:
        return rows
    out = torch.empty(
        (b, c, before + n + after, w + 2 * p),
        dtype=rows.dtype,
        device=rows.device,
        memory_format=torch.channels_last,
    )
    middle = out[:, :, before : before + n]
    middle[..., p : p + w] = rows
    if p:
        fill_border(middle, 3, p, window.border, low=True)
        fill_border(middle, 3, p, window.border, low=False)
    if above is not None:
        out[:, :, :before] = above
    elif upper:
        fill_border(out, 2, upper, window.border, low=True)
    if after:
        fill_border(out, 2, after, window.border, low=False)
    return out


def fill_border(x: Tensor, dim: int, size: int, border: Border, *, low: bool) -> None:
    """Write the first (`low`) or last `size` rows or columns of a map, which lie outside, from those inside."""
    length = x.shape[dim]
    outside = x.narrow(dim, 0 if low else length - size, size)
    if border == "zeros":
        outside.zero_()
    elif border == "replicate":
        outside.copy_(x.narrow(dim, size if low else length - size - 1, 1).expand_as(outside))
    else:
        outside.copy_(x.narrow(dim, size + 1 if low else length - 2 * size - 1, size).flip(dim))
