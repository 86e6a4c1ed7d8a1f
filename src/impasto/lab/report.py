"""What a grid of experiments came to: a table, a sheet of the paintings, and the losses over each other."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from impasto.core.tensors import to_tensor
from impasto.files import atomic_path
from impasto.imaging import read
from impasto.lab.cells import LOSSES, PAINTING, Result
from impasto.lab.experiments import cell_folder, results
from impasto.lab.grid import Cell, Grid, shown_value
from impasto.lab.sheets import Sheet, Tile, new_figure, picture_tile, save_figure
from impasto.stylizer.run_log import by_who_saw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment_sheet", "loss_figure", "table", "write_report", "write_table"]

TILE = 200  # px
COLUMNS = 5  # of cells that were listed one by one
PANELS = ("total", "content", "style")
# Okabe & Ito's colours, which readers of any colour vision can tell apart; dashes tell on.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")


def write_report(grid: Grid, out: Path, *, title: str = "") -> Path:
    """Write cells.csv, sheet.png and losses.png into the folder of the grid's runs; gives the sheet's path.

    OutputError if one cannot be written.
    """
    write_table(table(grid, out), out / "cells.csv")
    save_figure(experiment_sheet(grid, out, title=title), out / "sheet.png", force=True)
    save_figure(loss_figure(grid, out, title=title), out / "losses.png", force=True)
    return out / "sheet.png"


def table(grid: Grid, out: Path) -> list[dict[str, Any]]:
    """A row per cell: what varies, what came of it, and all that was set for every cell.

    ``status`` is done, failed or waiting; distances and their judge are those of `evaluation`.
    """
    rows = []
    for cell, result in zip(grid.cells, results(grid, out), strict=True):
        row: dict[str, Any] = {"cell": cell.number, "name": cell.name, "status": _status(result)}
        row |= {key: shown_value(value) for key, value in cell.varied.items()}
        if result is not None:
            row |= {"steps": result.steps} | {f"loss_{name}": value for name, value in result.losses.items()}
            row |= {f"distance_{name}": value for name, value in result.distances.items()}
            row |= {"seconds": round(result.seconds, 2), "memory_mib": result.memory_mib, "error": result.error}
        fixed = {key: shown_value(value) for key, value in cell.values.items() if key not in cell.varied}
        rows.append(row | {"method": grid.method, "judge": shown_value(grid.judge)} | fixed)
    return rows


def write_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """As CSV, whole or not at all; a column for whatever any row has."""
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows)))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def experiment_sheet(grid: Grid, out: Path, *, title: str = "") -> Figure:
    """The paintings: the last axis from left to right, the others from top to bottom; or cells in their order."""
    sheet = Sheet(title or "Experiments", _axes_in_words(grid))
    tiles = [
        _tile(cell, result, out, label)
        for cell, result, label in zip(grid.cells, results(grid, out), _labels(grid), strict=True)
    ]
    if not grid.axes:
        sheet.row(tiles, columns=COLUMNS)
        return sheet.figure()
    *down, across = grid.axes
    width = len(grid.axes[across])
    for start in range(0, len(tiles), width):
        varied = grid.cells[start].varied
        heading = ", ".join(f"{name} {shown_value(varied[name])}" for name in down)
        sheet.row(tiles[start : start + width], heading=heading)
    return sheet.figure()


def loss_figure(grid: Grid, out: Path, *, title: str = "") -> Figure:
    """Losses over steps, the cells' curves over each other: the total, and its terms without their weights."""
    figure = new_figure(1200, 440)
    figure.set_layout_engine("constrained")
    every = figure.subplots(1, len(PANELS))
    found = [(cell, _curves(cell_folder(out, cell) / LOSSES)) for cell in grid.cells]
    for axes, panel in zip(every, PANELS, strict=True):
        for number, (cell, rows) in enumerate(found):
            steps = [row["step"] for row in rows]
            values = [row[panel] if row.get(panel, 0) > 0 else float("nan") for row in rows]
            axes.plot(
                steps,
                values,
                label=cell.name,
                color=COLOURS[number % len(COLOURS)],
                linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
                linewidth=1.2,
                marker="o" if len(rows) == 1 else None,
            )
        axes.set(xlabel="step", title=panel if panel == "total" else f"{panel}, without its weight")
        if any(line.get_ydata().size for line in axes.lines):
            axes.set_yscale("log")
        axes.grid(visible=True, alpha=0.3)
    every[0].set_ylabel("loss")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
    figure.suptitle(title or "Losses", fontweight="bold")
    return figure


def _status(result: Result | None) -> str:
    return "waiting" if result is None else "done" if result.error is None else "failed"


def _axes_in_words(grid: Grid) -> str:
    if not grid.axes:
        return "cells in the order of the file; c and s are the distances to photo and style"
    *down, across = grid.axes
    words = f"{across} from left to right"
    words += f", {' and '.join(down)} from top to bottom" if down else ""
    return f"{words}; c and s are the distances to photo and style"


def _labels(grid: Grid) -> Iterator[str]:
    across = list(grid.axes)[-1] if grid.axes else None
    for cell in grid.cells:
        yield cell.name if across is None else f"{across} {shown_value(cell.varied[across])}"


def _tile(cell: Cell, result: Result | None, out: Path, label: str) -> Tile:
    """The painting; plain grey where there is none, with the reason above it as far as there is room."""
    room = TILE // 6  # letters
    if result is not None and result.error is None:
        content, style = result.distances["content"], result.distances["style"]
        picture = to_tensor(read(cell_folder(out, cell) / PAINTING).rgb)
        return picture_tile(picture, TILE, f"{label[:room]}\nc {content:.3f}  s {style:.3f}")
    why = "not run yet" if result is None else f"failed: {result.error}"
    return Tile(np.full((TILE * 3 // 4, TILE, 3), 225, np.uint8), f"{label[:room]}\n{why[:room]}")


def _curves(path: Path) -> list[dict[str, float]]:
    """The rows of a table of losses, where two networks saw in turns the first one's; none where there is no table."""
    rows: list[dict[str, float]] = []
    with suppress(FileNotFoundError), path.open(encoding="utf-8", newline="") as handle:
        seen = next(iter(by_who_saw(list(csv.DictReader(handle))).values()), [])
        for row in seen:
            with suppress(ValueError, TypeError):
                rows.append({key: float(value) for key, value in row.items() if value and key != "seen_by"})
    return rows
