"""What becomes of a painted frame when it is steady: strength, masks and kept colours, by that frame's own photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from impasto.imaging import Picture
from impasto.imaging.colour import transfer_luminance
from impasto.imaging.sizes import Bicubic, bicubic
from impasto.video.film import Bytes, Frame, as_bytes, as_floats

__all__ = ["Finish", "as_picture_of", "shares_of"]

Floats = NDArray[np.float32]
ROWS: Final = 64  # that are worked on at a time
FAINT: Final = 1e-6  # of a mask, so that where there is none, all styles count


def as_picture_of(frame: Frame, name: str) -> Picture:
    """A frame as a picture."""
    alpha = None if frame.alpha is None or frame.alpha.all() else as_floats(frame.alpha)
    return Picture(as_floats(frame.rgb), alpha, name=name)


def shares_of(masks: Sequence[Floats]) -> tuple[Floats, ...]:
    """Of several masks, one to a style, (h, w) each: the share of each style, as networks have it; all together 1."""
    total = sum(masks) + np.float32(len(masks) * FAINT)
    return tuple((mask + np.float32(FAINT)) / total for mask in masks)


class Finish:
    """Lays a painting of full strength, and of the whole frame, over the photo.

    What is steadied is carried along with what moves, and a mask does not move, nor is a photo to be carried to where
    it is weaker or stronger: so these come last, frame by frame.

    Args:
        masks: (h, w) in [0, 1] of the painting's size: where it is laid; everywhere if there are none.
        keep_colors: whether the painting has the photo's colours.
        by: what resizes photos to the painting's size.
    """

    def __init__(self, masks: Sequence[Floats] = (), *, keep_colors: bool = False, by: Bicubic = bicubic) -> None:
        self._where: Floats | None = sum(masks[1:], masks[0]).clip(0, 1) if masks else None
        self._keep_colors, self._by = keep_colors, by

    def changes(self, strength: float) -> bool:
        """Whether anything becomes of paintings at this strength."""
        return strength < 1 or self._keep_colors or self._where is not None

    def __call__(self, painted: Bytes, frame: Frame, strength: float) -> Bytes:
        """The painting (h, w, 3) of a frame as it is shown, its strength in [0, 1]."""
        if not self.changes(strength):
            return painted
        if frame.alpha is not None and not frame.alpha.any():  # nobody sees its colours
            frame = replace(frame, alpha=None)
        photo = as_picture_of(frame, "a frame").resized((painted.shape[0], painted.shape[1]), self._by).rgb
        found = np.empty_like(painted)
        for top in range(0, len(painted), ROWS):
            rows = slice(top, top + ROWS)
            here, there = as_floats(painted[rows]), photo[rows]
            if strength < 1:
                here = there + np.float32(strength) * (here - there)
            if self._keep_colors:
                here = transfer_luminance(here, there)
            if self._where is not None:
                here = there + self._where[rows, :, None] * (here - there)
            found[rows] = as_bytes(here)
        return found
