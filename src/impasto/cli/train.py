"""``impasto train``: train a style of your own, and go on with a training that was interrupted."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from impasto.cli.common import bar, options_of, show_note, stoppable
from impasto.cli.options import command_of, described_parameters, given_on
from impasto.cli.usage import Commands
from impasto.errors import OptionError, require
from impasto.training.settings import (
    AdaINSettings,
    AddStyleSettings,
    JohnsonSettings,
    MultiStyleSettings,
    TrainSettings,
    UniversalSettings,
)

if TYPE_CHECKING:
    from rich.console import Console

    from impasto.training.loop import TrainProgress

__all__ = ["train_app"]

LINE_EVERY = 10.0  # seconds between lines where there is no terminal

train_app = typer.Typer(cls=Commands, help="Train networks on your own styles.", no_args_is_help=True)

_Resume = Annotated[
    Path | None, typer.Option("--resume", metavar="DIR", help="Go on with the run in DIR; needs no other option.")
]
_Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the run and its model.safetensors.")]
_Recipe = Annotated[
    Path | None, typer.Option("--recipe", metavar="TOML", help="Settings from a file; what flags say comes first.")
]
_NEEDED = "torch safetensors lightning_fabric tensorboard tomli_w matplotlib", "train", "training"
_GoOn = Annotated[bool, typer.Option("--resume", help="Go on where --out holds this very run already.")]


@train_app.callback(invoke_without_command=True)
def train(ctx: typer.Context, resume: _Resume = None) -> None:
    """Train networks on your own styles."""
    if ctx.invoked_subcommand is not None:
        if resume is not None:
            raise OptionError("--resume DIR goes without a command: the run knows what it trains")
        return
    if resume is None:
        raise OptionError("what should be trained? see `impasto train --help`")
    require(*_NEEDED)
    from impasto.training.run_folder import RunFolder

    settings = RunFolder(resume).settings()
    options_of(cast(Commands, ctx.command).get_command(ctx, settings.FAMILY))  # whose options are told
    _run(settings, resume, resume=True)


def _command(kind: type[TrainSettings], about: str) -> Callable[..., None]:
    """A command with an option for every field of the settings, so that defaults and help live there alone."""

    def command(ctx: typer.Context, out: Path, recipe: Path | None, resume: bool, **_options: Any) -> None:
        require(*_NEEDED)
        from impasto.training.recipe import fill, inherited, read_recipe

        given = {name: value for name, value in given_on(ctx).items() if name not in own}
        table = {} if recipe is None else read_recipe(recipe)
        model = given.get("model") or table.get("model")
        settings = fill(kind.FAMILY, given, inherited(model) | table if model else table, recipe or "recipe")
        _run(settings, out, resume=resume)

    command.__doc__ = about
    own = {"out": (_Out, inspect.Parameter.empty), "recipe": (_Recipe, None), "resume": (_GoOn, False)}
    return command_of({**described_parameters(kind, arguments=("model",), short=False), **own})(command)


COMMANDS: dict[type[TrainSettings], str] = {
    JohnsonSettings: "One style in one network (Johnson 2016).",
    MultiStyleSettings: "Several styles in one network (Dumoulin 2017), ours or the paper's.",
    AdaINSettings: "Any style in one network (AdaIN, Huang and Belongie 2017); --style is what it practises on.",
    UniversalSettings: "Any style in one fast network, ours; --style is what it practises on.",
    AddStyleSettings: "Teach a trained network one more style, leaving those it knows as they are.",
}
for _kind, _about in COMMANDS.items():
    train_app.command(_kind.FAMILY)(_command(_kind, _about))


def _run(settings: TrainSettings, out: Path, *, resume: bool) -> None:
    from impasto.training.photos import check_places

    check_places(settings)  # before torch is loaded
    from rich.console import Console

    from impasto.training.advice import advice
    from impasto.training.loop import train as begin

    main = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
    console = Console(file=sys.stderr, quiet=not main)
    model = None
    # A scheduler's request to end as well, unless there are other processes: who started them has reasons of his own.
    signals = [signal.SIGINT] if "RANK" in os.environ else [signal.SIGINT, signal.SIGTERM]
    with stoppable(*signals) as interrupted, closing(begin(settings, out, resume=resume)) as records:
        for place, record in enumerate(_shown(records, console)):
            if place == 0 and record.step < record.steps:  # nothing was wrong with the settings, and there is work
                _tell(advice(settings, out), console)
            if record.model is not None:
                model = record.model
            elif number := interrupted():
                records.close()
                if main:
                    show_note(f"stopped after step {record.step}, which is kept: impasto train --resume {out}")
                raise typer.Exit(128 + number)  # as a shell tells it
    if main and model is not None:
        typer.echo(model)


def _shown(records: Iterator[TrainProgress], console: Console) -> Iterator[TrainProgress]:
    """The same records, shown: as a bar on a terminal, as lines elsewhere."""
    return _as_bar(records, console) if console.is_terminal else _as_lines(records, console)


def _as_bar(records: Iterator[TrainProgress], console: Console) -> Iterator[TrainProgress]:
    with bar(console=console, stays=True) as show:
        for record in records:
            _tell(record.notes, console)
            show(record.step, record.steps, "training", _state(record))
            yield record


def _as_lines(records: Iterator[TrainProgress], console: Console) -> Iterator[TrainProgress]:
    began = last = time.monotonic()
    first: int | None = None
    for record in records:
        _tell(record.notes, console)
        now = time.monotonic()
        if first is None:
            began, first = now, record.step
        elif record.losses and (record.step == first + 1 or record.step == record.steps or now - last >= LINE_EVERY):
            last = now
            left = (now - began) / (record.step - first) * (record.steps - record.step) if record.step > first else 0
            line = f"step {record.step}/{record.steps}  {_state(record)}  {timedelta(seconds=round(left))} left"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        yield record


def _state(record: TrainProgress) -> str:
    terms = [f"{name} {record.losses[name]:.4g}" for name in ("total", "content", "style") if name in record.losses]
    return "  ".join([*terms, f"{record.images_per_second:.3g} images/s"]) if terms else ""


def _tell(notes: Iterable[str], console: Console) -> None:
    """Sentences beside the bar or the lines, of the one process that speaks."""
    for note in () if console.quiet else notes:
        show_note(note)
