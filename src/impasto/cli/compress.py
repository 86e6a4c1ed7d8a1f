"""``impasto compress``: rebuild a compressed backbone from its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.common import ForceOption, bar, show_note
from impasto.errors import DataError, OptionError, require

if TYPE_CHECKING:
    from impasto.training.compress import CompressProgress

__all__ = ["compress"]

_Recipe = Annotated[Path, typer.Argument(help="A TOML file such as recipes/compact.toml.")]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write there, not to the recipe's own place, which is replaced."
    ),
]


def compress(recipe: _Recipe, output: _Output = None, force: ForceOption = False) -> None:
    """Compress a VGG by factoring its convolutions, as a recipe says."""
    require("torch safetensors", "torch", "compressing")
    from impasto.imaging import check_output
    from impasto.training.compress import read_recipe, run_recipe

    task_recipe = read_recipe(recipe)
    target = output or task_recipe.output
    if str(target) == "-":
        raise OptionError("-: give the name of a file, which other commands can look at")
    # Hours of work follow; the file's format is no picture's, and all else is the same.
    check_output(target, force=force or output is None, inputs=[recipe, task_recipe.teacher], format="png")
    last: CompressProgress | None = None
    with bar() as show:
        for record in run_recipe(task_recipe, target):
            if last is not None and last.stage not in (record.stage, "regression"):
                show_note(f"{last.stage}: {last.message}")
            if record.stage == "regression":  # each is about another layer
                show_note(f"{record.stage}: {record.message}")
            last = record
            show(record.step, record.steps, f"{record.stage}: {record.message}")
    if last is None:
        raise DataError(f"{recipe}: nothing was done")
    show_note(f"{target}: {last.message}")
