"""``impasto lab experiment`` and ``timeline``: grids of runs, and films of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import ForceOption, show_note

__all__ = ["experiment", "timeline"]


def experiment(
    grid: Annotated[Path, typer.Argument(metavar="TOML", help="The grid; recipes/seed-grid.toml is an example.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the cells and what they came to.")
    ],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Cells that run at once.")] = 1,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells again that failed before.")] = False,
) -> None:
    """Run a grid of settings, of painting or of training, and compare what comes of them.

    Leaves sheet.png, losses.png and cells.csv in DIR. Cells that are done already are not run again.
    """
    from impasto.lab.experiments import run_grid
    from impasto.lab.grid import read_grid
    from impasto.lab.report import experiment_sheet, loss_figure, table, write_table
    from impasto.lab.sheets import save_figure

    found = read_grid(grid)
    failed = 0
    with closing(run_grid(found, out, jobs=jobs, retry=retry_failed)) as records:
        for record in records:
            failed += record.result.error is not None
            what = "done before" if record.before else f"{record.result.seconds:.1f} s"
            show_note(f"{record.done}/{record.total}  {record.cell.name}: {record.result.error or what}")
    write_table(table(found, out), out / "cells.csv")
    save_figure(experiment_sheet(found, out, title=grid.stem), out / "sheet.png", force=True)
    save_figure(loss_figure(found, out, title=grid.stem), out / "losses.png", force=True)
    if failed:
        show_note(f"{failed} of {len(found.cells)} cells failed: {out / 'cells.csv'} says why")
    typer.echo(out / "sheet.png")


def timeline(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `stylize --run` or `train --out` wrote.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The film: .gif, .png, .apng, or .mp4.")
    ],
    size: Annotated[int, typer.Option("--size", min=16, help="Long side in px, at most.")] = 480,
    fps: Annotated[float, typer.Option("--fps", help="Frames a second.")] = 12,
    force: ForceOption = False,
) -> None:
    """Turn the folder of a run into a film: a picture becoming a painting, or a network learning."""
    from impasto.lab.timeline import check_film, find_frames, write_film

    check_film(output, force=force)
    frames = find_frames(folder)
    write_film(frames, output, size=size, fps=fps, force=force)
    show_note(f"{output}: {len(frames)} frames")
