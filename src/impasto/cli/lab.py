"""``impasto lab``: look inside networks and pictures, by the tasks of `impasto.lab`; and at runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from impasto.cli.common import ForceOption, JsonOption, bar, print_json, show_note
from impasto.cli.options import Written, command_of, described_parameters, given_on
from impasto.cli.usage import Commands
from impasto.errors import OptionError, require
from impasto.lab.tasks import TASKS, LabResult, LabTask

__all__ = ["lab_app"]

lab_app = typer.Typer(
    cls=Commands, help="Look inside: layers, textures, Gram matrices, experiments, films.", no_args_is_help=True
)


def _command(kind: type[LabTask]) -> Callable[..., None]:
    """A command with an argument or an option for every field of the task."""

    def command(ctx: typer.Context, as_json: bool = False, **_options: Any) -> None:
        given = given_on(ctx)
        given.pop("as_json", None)
        require("torch safetensors matplotlib", "lab", "the lab")
        if not as_json and "output" not in given:
            raise OptionError("what should come of it? add -o FILE for a sheet, --json for numbers, or both")
        found = _follow(kind(**given))
        if as_json:
            print_json({"layers": found.facts})
        for line in () if as_json else found.lines:
            typer.echo(line)

    own = {"as_json": (JsonOption, False)} if kind.TELLS else {}
    parameters = described_parameters(kind, arguments=kind.ARGUMENTS, last=LabTask)
    command.__doc__ = Written.of_fields(parameters)(inspect.cleandoc(kind.__doc__ or ""))
    return command_of({**parameters, **own})(command)


def _follow(task: LabTask) -> LabResult:
    with closing(task.run()) as steps, bar() as show:
        while True:
            try:
                record = next(steps)
            except StopIteration as end:
                found: LabResult = end.value
                return found
            if record.note:
                show_note(record.note)
            show(record.done, record.total, record.name)


for _kind in TASKS:
    lab_app.command(_kind.NAME)(_command(_kind))


@lab_app.command()
def experiment(
    grid: Annotated[Path, typer.Argument(metavar="TOML", help="The grid; recipes/seed-grid.toml is an example.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the cells and their results.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Cells that run at once.")] = 1,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells again that failed before.")] = False,
) -> None:
    """Run a grid of settings, of painting or of training, and compare what comes of them.

    Leaves sheet.png, losses.png and cells.csv in DIR. Cells that are done already are not run again.
    """
    require("torch safetensors matplotlib tomli_w", "lab", "an experiment")
    from impasto.lab.experiments import run_grid
    from impasto.lab.grid import read_grid
    from impasto.lab.report import write_report

    found, failed = read_grid(grid), 0
    with closing(run_grid(found, out, jobs=jobs, retry=retry_failed)) as records:
        for record in records:
            failed += record.result.error is not None
            what = "done before" if record.before else f"{record.result.seconds:.1f} s"
            show_note(f"{record.done}/{record.total}  {record.cell.name}: {record.result.error or what}")
    sheet = write_report(found, out, title=grid.stem)
    if failed:
        show_note(f"{failed} of {len(found.cells)} cells failed: {out / 'cells.csv'} says why")
    typer.echo(sheet)
    if failed:
        raise typer.Exit(1)


@lab_app.command()
def timeline(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `stylize --run` or `train --out` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help=".gif, .png, .apng, or .mp4.")],
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
