"""The command ``impasto``: registers the commands and turns errors into one line and an exit code.

Exit codes: 0 done, 1 some of several photos failed or the reader of our output went away, 2 the user can mend it,
130 interrupted.
Nothing here or in the modules of the commands imports torch before a command runs, so that help is instant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer

from impasto.cli.common import show_error, show_note
from impasto.cli.compress import compress
from impasto.cli.dataset import dataset_app
from impasto.cli.evaluate import evaluate
from impasto.cli.export import export_app
from impasto.cli.info import info
from impasto.cli.lab import lab_app
from impasto.cli.recipe import recipe
from impasto.cli.styles import styles
from impasto.cli.stylize import stylize
from impasto.cli.train import train_app
from impasto.cli.usage import Commands
from impasto.cli.web import web
from impasto.cli.weights import weights_app
from impasto.core.threads import apply_wait_settings
from impasto.errors import ImpastoError

__all__ = ["app", "main"]


class _Program(Commands):
    """The group of all commands, with the program's own ending for errors.

    They are caught here and not only in :func:`main`, so that a test that invokes ``app`` sees what a
    user sees.
    """

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _endings():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        with _endings():
            return super().invoke(ctx)


@contextmanager
def _endings() -> Iterator[None]:
    try:
        yield
    except ImpastoError as error:
        show_error(error)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        show_note("interrupted")
        raise typer.Exit(130) from error


app = typer.Typer(
    name="impasto",
    cls=_Program,
    help="Repaint pictures in the manner of other pictures.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"impasto {version('impasto')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the program itself; the commands have their own."""


app.command("compress")(compress)
app.command("stylize")(stylize)
app.command("styles")(styles)
app.command("recipe")(recipe)
app.command("evaluate")(evaluate)
app.add_typer(dataset_app, name="dataset")
app.add_typer(lab_app, name="lab")
app.add_typer(train_app, name="train")
app.add_typer(export_app, name="export")
app.add_typer(weights_app, name="weights")
app.command("web")(web)
app.command("info")(info)


def main() -> None:
    """Entry point of the console script."""
    apply_wait_settings()
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that went away can still be met quietly
    except BrokenPipeError:
        # `impasto ... | head` has seen enough. The rest of the buffer has nowhere to go, and the
        # interpreter's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
