"""The sizes of a photo on its way to a painting."""

from __future__ import annotations

import math
from dataclasses import dataclass

from impasto.core.memory import PER_PIXEL, READ
from impasto.imaging import fit_long_side
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strokes import factor_for_network

__all__ = ["Sizes", "scaled", "sizes_of"]


@dataclass(frozen=True)
class Sizes:
    """(height, width) in px of a photo, of its painting, and of what the network sees."""

    photo: tuple[int, int]
    painting: tuple[int, int]
    seen: tuple[int, int]

    @property
    def picture_bytes(self) -> int:
        """What photo and painting take in memory."""
        enlarged = READ * math.prod(self.painting) if self.painting != self.photo else 0
        return READ * math.prod(self.photo) + enlarged + PER_PIXEL * math.prod(self.painting)


def sizes_of(photo: tuple[int, int], request: StylizeRequest) -> Sizes:
    """What becomes of a photo of this (height, width)."""
    painting = fit_long_side(photo, request.size or max(photo), upscale=request.upscale)
    return Sizes(photo, painting, scaled(painting, request.style_scale))


def scaled(size: tuple[int, int], style_scale: float | str | None) -> tuple[int, int]:
    """The (height, width) at which a network sees a photo, so that its strokes, enlarged, become that much larger."""
    factor = 1.0 if style_scale is None else factor_for_network(style_scale, size)
    height, width = (max(1, round(side / factor)) for side in size)
    return height, width
