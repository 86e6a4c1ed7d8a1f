"""``impasto compress``: rebuild a compressed backbone from its recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli.common import ForceOption, show_note
from impasto.errors import DataError, OptionError

__all__ = ["compress"]


def compress(
    recipe: Annotated[Path, typer.Argument(help="A TOML file such as recipes/compact.toml.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write there, not to the recipe's own place, which is replaced."
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Compress a VGG by factoring its convolutions, as a recipe says."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from impasto.imaging import check_output
    from impasto.training.compress import CompressProgress, read_recipe, run_recipe

    task_recipe = read_recipe(recipe)
    target = output or task_recipe.output
    if str(target) == "-":
        raise OptionError("-: give the name of a file, which other commands can look at")
    # Hours of work follow; the file's format is no picture's, and all else is the same.
    check_output(target, force=force or output is None, inputs=[recipe, task_recipe.teacher], format="png")
    console = Console(file=sys.stderr)
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    last: CompressProgress | None = None
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=1)
        for record in run_recipe(task_recipe, target):
            if last is not None and last.stage not in (record.stage, "regression"):
                show_note(f"{last.stage}: {last.message}")
            if record.stage == "regression":  # each is about another layer
                show_note(f"{record.stage}: {record.message}")
            last = record
            bar.update(task, description=f"{record.stage}: {record.message}", completed=record.step, total=record.steps)
    if last is None:
        raise DataError(f"{recipe}: nothing was done")
    show_note(f"{target}: {last.message}")
