"""The sizes of a photo on its way to a painting."""

from __future__ import annotations

import math
from dataclasses import dataclass

from impasto.core.memory import PER_PIXEL, READ
from impasto.imaging import fit_long_side
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strokes import AUTO, coarse_sizes, factor_for_network

__all__ = ["Sizes", "scaled", "sizes_of"]

COLOURS = 12  # bytes per pixel of a picture in float32


@dataclass(frozen=True)
class Sizes:
    """(height, width) in px of a photo, of its painting, and of what the network sees.

    `coarse` are those at which it is painted before, the smallest first; none where it is painted once.
    """

    photo: tuple[int, int]
    painting: tuple[int, int]
    seen: tuple[int, int]
    coarse: tuple[tuple[int, int], ...] = ()

    @property
    def all_seen(self) -> tuple[tuple[int, int], ...]:
        """Every size at which the network sees it, the smallest first."""
        return (*self.coarse, self.seen)

    @property
    def told_before(self) -> str:
        """How a plan begins: with what is painted before its own size, if anything."""
        first = f"from {max(self.coarse[0])} px in {len(self.all_seen)} sizes" if self.coarse else ""
        return f"coarse to fine, {first}: " if first else ""

    @property
    def coarse_bytes(self) -> int:
        """What painting coarse to fine takes beside photo and painting: what the last size is painted on.

        And what the size before gives to it, with its forms at half its size.
        """
        return COLOURS * (math.prod(self.seen) + math.ceil(1.25 * math.prod(self.coarse[-1]))) if self.coarse else 0

    @property
    def picture_bytes(self) -> int:
        """What photo and painting take in memory, and what lies between them."""
        enlarged = READ * math.prod(self.painting) if self.painting != self.photo else 0
        held = READ * math.prod(self.photo) + enlarged + PER_PIXEL * math.prod(self.painting)
        return held + self.coarse_bytes


def sizes_of(photo: tuple[int, int], request: StylizeRequest, *, coarse_to_fine: bool) -> Sizes:
    """What becomes of a photo of this (height, width).

    Args:
        photo: its size.
        request: what is asked for.
        coarse_to_fine: whether larger strokes are painted first, and finer ones on them; else they are those of a
            smaller painting, enlarged.
    """
    painting = fit_long_side(photo, request.size or max(photo), upscale=request.upscale)
    scale = AUTO if request.style_scale is None else request.style_scale
    if scale == AUTO:
        return Sizes(photo, painting, painting, coarse_sizes(painting) if coarse_to_fine else ())
    factor = factor_for_network(scale, painting)
    if coarse_to_fine and factor > 1:
        return Sizes(photo, painting, painting, coarse_sizes(painting, factor))
    return Sizes(photo, painting, scaled(painting, factor))


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """The (height, width) at which a network sees a photo, so that its strokes, enlarged, become that much larger."""
    height, width = (max(1, round(side / factor)) for side in size)
    return height, width
