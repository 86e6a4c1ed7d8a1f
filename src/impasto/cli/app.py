"""The command ``impasto``: registers the commands and turns errors into one line and an exit code.

Exit codes: 0 done, 1 some of several photos failed or the reader of our output went away, 2 the user can mend it,
130 interrupted, 143 ended by SIGTERM.
Nothing here or in the modules of the commands imports torch before a command runs, so that help is instant. A program
that runs one command reads the options of that command alone.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from impasto.cli.common import exit_code, show_error, show_note, terminable
from impasto.cli.usage import Commands
from impasto.core.threads import apply_wait_settings
from impasto.errors import ImpastoError
from impasto.files import remove_unfinished

if TYPE_CHECKING:
    app: typer.Typer

__all__ = ["app", "command", "main"]


class _Program(Commands):
    """The group of all commands, with the program's own ending for errors.

    They are caught here and not only in :func:`main`, so that a test that invokes ``app`` sees what a
    user sees.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """The names as help shows them: in the order of `COMMANDS`."""
        there = super().list_commands(ctx)
        return [name for name in COMMANDS if name in there]

    @contextmanager
    def telling(self, ctx: Any = None) -> Iterator[None]:
        """What went wrong, as one line and an exit code."""
        try:
            with super().telling(ctx):
                yield
        except ImpastoError as error:
            show_error(error)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            show_note("interrupted")
            raise typer.Exit(exit_code(error)) from error


COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # For everybody,
        "stylize": ("stylize", "stylize"),
        "studio": ("studio", "studio"),
        "video": ("video", "video"),
        "steady": ("video", "steady"),
        "bulk": ("bulk", "bulk"),
        "styles": ("styles", "styles"),
        "recipe": ("recipe", "recipe"),
        "info": ("info", "info"),
        "web": ("web", "web"),
        # for those who train and bring networks along,
        "train": ("train", "train_app"),
        "import": ("import_", "import_"),
        "weights": ("weights", "weights_app"),
        "dataset": ("dataset", "dataset_app"),
        # who compare and look inside, who build on it, or build this package.
        "evaluate": ("evaluate", "evaluate"),
        "lab": ("lab", "lab_app"),
        "export": ("export", "export_app"),
        "compress": ("compress", "compress"),
    }
)
"""Name -> module of `impasto.cli`, and the function, or the group, that is the command there; as people need them."""
STOPPED_OTHERWISE = ("studio", "bulk", "train")  # have ways of their own; to all others SIGTERM is as Ctrl-C


def program(*names: str) -> typer.Typer:
    """The program with these commands."""
    made = typer.Typer(
        name="impasto",
        cls=_Program,
        help="Repaint pictures in the manner of other pictures.",
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for name in names:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(f"impasto.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            made.add_typer(command, name=name)
        else:
            made.command(name)(command)
    return made


def __getattr__(name: str) -> Any:
    """``app``, the program with all its commands."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = program(*COMMANDS)
    return made


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"impasto {version('impasto')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the program itself; the commands have their own."""


def main() -> None:
    """Run the command that the process was given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: titles and names may not fit an encoding
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if first in COMMANDS and first not in STOPPED_OTHERWISE:
            terminable()
        apply_wait_settings(busy=first == "video")
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's products are small here: threads only spin
        if first == "stylize" and not {"-h", "--help"} & {*sys.argv}:
            import numpy  # noqa: F401  here, where few calls are open: loaded far inside, it takes half as long again
        try:
            program(*([first] if first in COMMANDS else COMMANDS))()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that went away can still be met quietly
    except KeyboardInterrupt as error:  # while the command was loaded
        show_note("interrupted")
        raise SystemExit(exit_code(error)) from None
    except BrokenPipeError:
        # `impasto ... | head` has seen enough. The rest of the buffer has nowhere to go, and the
        # interpreter's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def command() -> None:
    """What the console script runs: `main` in a process that has nothing else to do afterwards.

    Where torch was not loaded nothing is left to be tidied, and the process ends at once: letting go of all modules one
    by one takes a sixth of a small picture's time. It ends at once as well where the user did not want to wait for the
    photos in hand: torch aborts when the interpreter goes away under it.
    """
    gc.set_threshold(50_000)  # loading makes many things that stay: looking through them again and again frees none
    try:
        main()
    except SystemExit as end:
        others = threading.active_count() > 1
        if isinstance(end.code, str) or (("torch" in sys.modules or others) and not (others and _is_painting())):
            raise
        remove_unfinished()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(end.code or 0)


def _is_painting() -> bool:
    from impasto.batch import at_work

    return at_work()
