"""Many pictures beside each other on one sheet."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.errors import OptionError
from impasto.imaging.picture import Picture, to_pil
from impasto.imaging.sizes import fit_long_side, resize

__all__ = ["Cell", "contact_sheet", "thumbnail"]

GAP = 4  # px around every picture
LETTERS = 11  # px, of a label
LONGEST = 16_000  # px, of the sheet's longer side


class Cell(NamedTuple):
    """A picture (h, w, 3) in [0, 1], or none, with what is written above it."""

    picture: NDArray[np.float32] | None = None
    label: str = ""


def thumbnail(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(H, W, 3) with its long side brought to `side` px if it is longer."""
    return resize(image, fit_long_side((image.shape[0], image.shape[1]), side))


def contact_sheet(rows: Sequence[Sequence[Cell]], side: int = 192) -> Picture:
    """Rows of pictures on white, each brought to a long side of at most `side` px.

    A column is as wide as its widest picture, a row as high as its highest, with a line above for labels where
    there are any; labels are cut to the column. OptionError if the sheet would be longer than 16,000 px.
    """
    pictures = [[None if c.picture is None else to_pil(thumbnail(c.picture, side)) for c in row] for row in rows]
    widths = [max((p.width for p in column if p), default=side // 2) for column in zip_longest(*pictures)]
    lines = [(LETTERS + GAP if any(cell.label for cell in row) else 0) for row in rows]
    heights = [max((p.height for p in row if p), default=0) for row in pictures]
    size = sum(widths) + GAP * (len(widths) + 1), sum(heights) + sum(lines) + GAP * (len(heights) + 1)
    if max(size) > LONGEST:
        raise OptionError(f"a sheet of {size[0]}x{size[1]} px: at most {LONGEST} px a side; show fewer pictures")
    sheet = Image.new("RGB", size, "white")
    y = GAP
    for row, shown, line, height in zip(rows, pictures, lines, heights, strict=True):
        x = GAP
        for cell, image, width in zip(row, shown, widths, strict=False):
            if cell.label:
                sheet.paste(_written(cell.label, width, line), (x, y))
            if image is not None:
                sheet.paste(image.convert("RGB"), (x, y + line))
            x += width + GAP
        y += height + line + GAP
    return Picture(np.asarray(sheet, np.float32) / np.float32(255), name="sheet")


@functools.cache
def _font() -> ImageFont.FreeTypeFont | None:
    """The letters that come with matplotlib, if it is installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), LETTERS)


def _written(text: str, width: int, height: int) -> Image.Image:
    """A line of text, cut off where the column ends; Pillow's own letters have no é, which is then an e."""
    font: Any = _font()
    if font is None:
        font = ImageFont.load_default(LETTERS)
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    line = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(line).text((0, 0), text, "black", font)
    return line
