"""What the commands share: types of options that mean the same everywhere, lines, tables and bars on the console."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

from impasto.cli.options import Written
from impasto.types import BackboneInput, PrecisionName

__all__ = [
    "BackboneInputOption",
    "BackboneOption",
    "DeviceOption",
    "ForceOption",
    "JsonOption",
    "PrecisionOption",
    "Terminated",
    "bar",
    "exit_code",
    "options_of",
    "print_facts",
    "print_json",
    "print_table",
    "show_error",
    "show_note",
    "stoppable",
    "stopping_signals",
    "terminable",
]

DeviceOption = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOption = Annotated[
    PrecisionName, typer.Option(help="auto is bfloat16 where the processor multiplies it natively.")
]
BackboneOption = Annotated[str, typer.Option(metavar="NAME|PATH", help="Network that sees; `impasto weights list`.")]
BackboneInputOption = Annotated[
    BackboneInput | None,
    typer.Option(help="Input normalisation of a backbone file that is not in the table."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

_written = Written({})
_NOISE = dict.fromkeys((7, 8))  # control characters that a terminal would obey
_bars: list[Any] = []  # the console that a bar is drawn on, above which lines go


def options_of(command: Any) -> None:
    """From now on options in messages are written as this command has them."""
    global _written
    _written = Written.of_command(command)


def show_error(error: BaseException | str) -> None:
    """Print ``error: ...`` as one red line on stderr."""
    _line(f"error: {error}", "red")


def show_note(text: str) -> None:
    """Print one unobtrusive line on stderr, for what happened beside the result."""
    _line(text, "dim")


def _line(text: str, style: str) -> None:
    line = _written(" ".join(text.split()))
    if _bars or _is_terminal():
        # soft_wrap: one line whatever the width, so that paths can be copied and programs can read it.
        console = _bars[-1] if _bars else _stderr()
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    elif sys.stderr is not None:
        sys.stderr.write(line.translate(_NOISE) + "\n")
        sys.stderr.flush()


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it ends a command as Ctrl-C does: what is kept is whole, and nothing half done is left behind."""


def terminable() -> None:
    """From now on SIGTERM raises `Terminated`, unless whoever started us had it ignored."""

    def receive(_number: int, _frame: object) -> None:
        raise Terminated

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, receive)


def exit_code(interruption: KeyboardInterrupt) -> int:
    """As a shell tells what a signal ended: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


def stopping_signals() -> list[int]:
    """Ctrl-C and SIGTERM, for `stoppable`; none that whoever started us had ignored."""
    return [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def stoppable(*signals: int, note: str = "") -> Iterator[Callable[[], int]]:
    """While inside, the first of these signals only asks, so that what is under way ends and what is kept is whole.

    What is given tells the signal's number, 0 before there was one. The second is a KeyboardInterrupt, or `Terminated`.
    Threads but the main one cannot handle signals, and are not asked.
    """
    received: list[int] = []

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if note:
            show_note(note)

    in_main = threading.current_thread() is threading.main_thread()
    usual = {number: signal.signal(number, receive) for number in (signals if in_main else ())}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def print_json(facts: Any) -> None:
    """Print what JSON can hold, for programs."""
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print a line for each (name, value); a value stays in one piece, to be copied."""
    from rich.console import Console
    from rich.text import Text

    console, rows = Console(highlight=False), list(facts)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(Text.assemble((f"{name:<{width}} ", "bold"), value), soft_wrap=True)


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    whole: Sequence[str] = ("name",),
    *,
    title: str | None = None,
    controls: int = 0,
) -> None:
    """Print rows of text in columns; lines are broken for a terminal alone, so that programs find each value whole.

    Columns called `whole` are not broken into lines. With a title they are of numbers, after a first one of names; the
    last rows are `controls`, which stand apart.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for number, heading in enumerate(headings):
        numbers = title is not None and number > 0
        kept = heading in whole or (title is not None and number == 0)
        table.add_column(heading, no_wrap=kept, overflow="fold", justify="right" if numbers else "left")
    for number, row in enumerate(rows):
        left = len(rows) - controls - number
        table.add_row(*map(Text, row), style="dim" if left <= 0 else None, end_section=controls > 0 and left == 1)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(max_width=sys.maxsize)).maximum
    console.print(table)


@contextmanager
def bar(
    counts: Literal["share", "pieces", "bytes"] = "pieces", console: Any = None, *, stays: bool = False
) -> Iterator[Callable[..., None]]:
    """A bar on the terminal. It shows itself with the first call of what is given.

    That takes ``(done, total, what, told)``: how much of how much is done, what it is that is done, and what else
    there is to tell of it. A bar that `stays` is left standing, also where there is no terminal; it is for work of
    hours, whose speed is that of minutes.
    """
    if console is None and not stays and not _is_terminal():
        yield lambda *_: None
        return
    from rich import progress

    console = console or _stderr()
    count: dict[str, list[Any]] = {
        "share": [progress.TaskProgressColumn()],
        "pieces": [progress.MofNCompleteColumn()],
        "bytes": [progress.DownloadColumn(), progress.TransferSpeedColumn()],
    }
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *count[counts],
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        progress.TextColumn("{task.fields[told]}"),
    )
    period = 300 if stays else 30
    with progress.Progress(*columns, console=console, transient=not stays, speed_estimate_period=period) as shown:
        task = shown.add_task("", total=None, visible=False, told="")

        def show(done: float, total: float | None, what: str = "", told: str = "") -> None:
            shown.update(task, completed=done, total=total, description=what, told=told, visible=True)

        _bars.append(console)
        try:
            yield show
        finally:
            _bars.pop()


def _is_terminal() -> bool:
    """Whether somebody looks at stderr, or says so; rich, which draws there, takes a tenth of a second to load."""
    told = any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return sys.stderr is not None and (told or sys.stderr.isatty())


def _stderr() -> Any:
    from rich.console import Console

    return Console(file=sys.stderr)
