"""A photo in all styles that a network knows, on one sheet."""

from __future__ import annotations

from impasto.errors import OptionError
from impasto.imaging import Picture
from impasto.imaging.sheets import Cell, contact_sheet
from impasto.stylizer.model import Model

__all__ = ["style_sheet"]

COLUMNS = 6


def style_sheet(model: Model, photo: Picture, size: int = 320) -> Picture:
    """The photo, then its paintings in every style with their titles, each with a long side of `size` px.

    Raises:
        OptionError: the network knows no style by name, or the sheet would be too large.
    """
    if not model.styles:
        raise OptionError(f"{model.name}: paints in any style and knows none by name: there is nothing to show")
    cells = [Cell(model.paint(photo, model.styles[0].name, size=size, strength=0).rgb, "photo")]
    for record in model.styles:
        cells.append(Cell(model.paint(photo, record.name, size=size).rgb, record.title or record.name))
    return contact_sheet([cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)], size)
