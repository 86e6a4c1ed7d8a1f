"""A contact sheet of what was evaluated: photos by styles, the styles on top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from impasto.core.tensors import to_array
from impasto.evaluation.contenders import Copied
from impasto.evaluation.run import Painted, Plan
from impasto.imaging import Picture
from impasto.imaging.sheets import Cell, contact_sheet, thumbnail

__all__ = ["EvaluationSheet"]

SIDE = 192  # px of a picture on the sheet, at most


class EvaluationSheet:
    """Gathers thumbnails while `evaluate` runs; with several methods each photo has a row for each of them.

    Args:
        what: the plan that is carried out.
        methods: names of the contenders.
        size: long side in px at which they paint.
    """

    def __init__(self, what: Plan, methods: Sequence[str], size: int) -> None:
        self._what, self._methods, self._side = what, methods, min(size, SIDE)
        self._small: dict[tuple[str, str, str], NDArray[np.float32]] = {}
        self._photos: dict[str, NDArray[np.float32]] = {}

    def add(self, painted: Painted) -> None:
        """Keep a thumbnail of a painting, or of a photo if it is the control that copies it."""
        score = painted.score
        if score.method in self._methods:
            self._small[score.method, score.photo, score.style] = thumbnail(to_array(painted.picture), self._side)
        elif score.method == Copied.name and score.photo not in self._photos:
            self._photos[score.photo] = thumbnail(to_array(painted.picture), self._side)

    def picture(self) -> Picture:
        """All that was added. OptionError if it is too much for one sheet."""
        styles = [self._what.styles[i] for i in sorted({pair.style for pair in self._what.pairs})]
        rows = [[Cell(), *(Cell(style.picture().seen(), style.name) for style in styles)]]
        for photo, image in self._photos.items():
            for number, method in enumerate(self._methods):
                label = method if len(self._methods) > 1 else ""
                first = Cell(image, photo) if number == 0 else Cell()
                found = [self._small.get((method, photo, style.name)) for style in styles]
                rows.append([first, *(Cell(picture, label if picture is not None else "") for picture in found)])
        return contact_sheet(rows, self._side)
