"""Sheets: labelled pictures in rows on white, a pixel of a picture being a pixel of the file.

Everything is drawn by matplotlib on a canvas in memory, so no display is ever needed. Colour maps are those that
readers of any colour vision can tell apart: magma for what has no sign, PuOr for what has.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from impasto.errors import OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import check_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GAP", "SUFFIXES", "Legend", "Sheet", "Tile", "as_image", "check_sheet", "colours", "new_figure", "picture_tile",
    "save_figure", "thumbnails",
]  # fmt: skip

DPI = 100
MARGIN, GAP = 16, 8  # px
LABEL = 7.5  # points
LINE = 17  # px of a line of label
HEADING, TITLE = 30, 40  # px
NARROWEST = 560  # px; what a title needs
SUFFIXES = (".png", ".jpg", ".svg", ".pdf")
AT_ONCE = 32  # maps that are shrunk at once, so that no float32 copy of all is made
PLAIN, SIGNED = "magma", "PuOr_r"


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture (h, w, 3), uint8, and up to two lines that stand above it."""

    image: NDArray[np.uint8]
    label: str = ""


@dataclass(frozen=True)
class Legend:
    """What the colours of maps mean: the words at the ends of a strip of them."""

    low: str
    high: str
    signed: bool = False


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many px, which draws in memory."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def check_sheet(path: str | PathLike[str], *, force: bool = False, inputs: Sequence[str | PathLike[str]] = ()) -> None:
    """Refuse now what `save_figure` would refuse after the work.

    Raises:
        OutputError: a suffix that is none of SUFFIXES, a place that cannot be written, or a file that exists,
            unless `force`; an input never goes.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise OutputError(f"{shown(path)}: a sheet is written as {', '.join(SUFFIXES)}: give a name that ends so")
    check_output(path, force=force, inputs=inputs, format="png")  # the suffix was looked at above


def save_figure(
    figure: Figure, path: str | PathLike[str], *, force: bool = False, inputs: Sequence[str | PathLike[str]] = ()
) -> None:
    """Write a figure, whole or not at all; errors as those of `check_sheet`."""
    check_sheet(path, force=force, inputs=inputs)
    kind = Path(path).suffix.lower()[1:]
    with atomic_path(path) as temporary:
        options: dict[str, Any] = {"pil_kwargs": {"quality": 90}} if kind == "jpg" else {}
        figure.savefig(temporary, format=kind, dpi=DPI, **options)


def as_image(figure: Figure) -> Image.Image:
    """A figure of `new_figure` as a picture, for notebooks and pages."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    return Image.open(drawn).convert("RGB")


class Sheet:
    """Rows of tiles under a title, built from top to bottom.

    `note` is a line of small print under the title; `legend` explains the maps.
    """

    def __init__(self, title: str, note: str = "", legend: Legend | None = None) -> None:
        self.title, self.note, self.legend = title, note, legend
        self._bands: list[tuple[str, list[list[Tile]]]] = []

    def row(self, tiles: Sequence[Tile], *, heading: str = "", columns: int | None = None) -> None:
        """Tiles side by side, `columns` of them before the next line begins, under a heading."""
        step = columns or max(1, len(tiles))
        self._bands.append((heading, [list(tiles[i : i + step]) for i in range(0, len(tiles), step)]))

    def figure(self) -> Figure:
        """The sheet drawn."""
        columns = [_columns(lines) for _, lines in self._bands]
        widths = [sum(band) + GAP * (len(band) - 1) for band in columns]
        width = 2 * MARGIN + max([NARROWEST, *widths])
        heights = [sum(map(_height, lines)) + (HEADING if heading else 0) for heading, lines in self._bands]
        top = TITLE + (LINE if self.note else 0)
        height = top + sum(heights) + MARGIN
        figure = new_figure(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        paper = np.full((height, width, 3), 255, np.uint8)
        y = top
        for (heading, lines), band in zip(self._bands, columns, strict=True):
            if heading:
                axes.text(MARGIN, y + HEADING - 8, heading, fontsize=9.5, fontweight="bold", va="bottom")
                y += HEADING
            for line in lines:
                _lay(axes, paper, line, band, y)
                y += _height(line)
        axes.imshow(paper, interpolation="none", extent=(0, width, height, 0), aspect="auto")
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.text(MARGIN, TITLE - 8, self.title, fontsize=12, fontweight="bold", va="bottom")
        axes.text(MARGIN, TITLE + 4, self.note, fontsize=8, color="0.35", va="center")
        if self.legend is not None:
            _draw_legend(axes, self.legend, width)
        return figure


def _lines(tiles: Sequence[Tile]) -> int:
    return max((tile.label.count("\n") + 1 for tile in tiles if tile.label), default=0)


def _height(tiles: Sequence[Tile]) -> int:
    return max(len(tile.image) for tile in tiles) + LINE * _lines(tiles) + GAP


def _columns(lines: Sequence[Sequence[Tile]]) -> list[int]:
    """Px of each column of tiles: as wide as its widest picture or label."""
    columns = zip_longest(*lines)
    return [max(max(len(tile.image[0]), _text_width(tile.label)) for tile in column if tile) for column in columns]


@cache
def _text_width(label: str) -> int:
    """Px that a label takes."""
    from matplotlib.textpath import TextPath

    lines = [line for line in label.split("\n") if line.strip()]
    points = max((TextPath((0, 0), line, size=LABEL).get_extents().x1 for line in lines), default=0.0)
    return math.ceil(points * DPI / 72)


def _lay(axes: Axes, paper: NDArray[np.uint8], tiles: Sequence[Tile], columns: Sequence[int], y: int) -> None:
    """Put a line of tiles on the paper, labels above them."""
    x, top = MARGIN, y + LINE * _lines(tiles)
    for tile, column in zip(tiles, columns, strict=False):
        h, w = tile.image.shape[:2]
        paper[top : top + h, x : x + w] = tile.image
        if tile.label:
            axes.text(x, top - 4, tile.label, fontsize=LABEL, va="bottom", linespacing=1.25)
        x += column + GAP


def _draw_legend(axes: Axes, legend: Legend, width: int) -> None:
    strip = colours(torch.linspace(-1 if legend.signed else 0, 1, 140).expand(10, 140), 1.0, signed=legend.signed)
    right = width - MARGIN - 8 - 6 * len(legend.high)
    y = TITLE - 17
    axes.imshow(strip, extent=(right - 140, right, y + 10, y), interpolation="none", aspect="auto")
    axes.text(right - 146, y + 5, legend.low, fontsize=8, ha="right", va="center")
    axes.text(right + 6, y + 5, legend.high, fontsize=8, va="center")


def colours(values: Tensor, peak: float, *, signed: bool = False) -> NDArray[np.uint8]:
    """Numbers (h, w) as colours (h, w, 3): from 0, or -peak where `signed`, to `peak`."""
    from matplotlib import colormaps

    share = values.float().numpy() / (peak or 1.0)
    table = colormaps[SIGNED if signed else PLAIN]
    found: NDArray[np.uint8] = table((share + 1) / 2 if signed else share, bytes=True)[..., :3]
    return found


def thumbnails(maps: Tensor, long: int) -> Tensor:
    """Maps (C, h, w) of any size with a long side of `long` px, (C, h', w') float32 on the CPU.

    Larger ones are averaged, smaller ones repeated, so that their pixels show as the squares that they are.
    """
    height, width = maps.shape[1:]
    scale = long / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = []
    for start in range(0, len(maps), AT_ONCE):
        part = maps[start : start + AT_ONCE].float().cpu()[None]
        part = F.interpolate(part, size, mode="nearest-exact") if scale >= 1 else F.adaptive_avg_pool2d(part, size)
        small.append(part[0])
    return torch.cat(small)


def picture_tile(image: Tensor, long: int, label: str = "") -> Tile:
    """A picture (1, 3, H, W) in [0, 1] as a tile with this long side."""
    small = thumbnails(image[0], long).clamp(0, 1)
    return Tile((small.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy(), label)
