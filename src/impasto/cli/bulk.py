"""``impasto bulk``: any number of pictures and films, on one machine or on many, each exactly once."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from impasto.cli.common import bar, print_facts, print_json, show_error, show_note
from impasto.cli.options import command_of, given_on, option_parameters
from impasto.errors import OptionError, require
from impasto.files import shown
from impasto.stylizer.request import OutputOptions, StylizeRequest

if TYPE_CHECKING:
    from impasto.bulk.run import BulkProgress, BulkRun, Left
    from impasto.bulk.work import Task

__all__ = ["bulk"]

_source = typer.Argument(
    metavar="SOURCE",
    help="A folder, searched with all below it; a pattern; a manifest (.csv, .jsonl, .parquet) with a column path; tar "
    "shards. A path, or an address such as s3://bucket/photos.",
)
_target = typer.Argument(metavar="TARGET", help="A folder, or an address such as s3://bucket/painted.")
# Name, type, flag, value in help, panel, help.
_BULK: tuple[tuple[str, Any, str, str | None, str, str], ...] = (
    ("on", str, "--on", "local|ray[=ADDRESS]", "How it moves",
     "Who paints: processes of this machine (used if nothing is said), or the actors of a Ray cluster."),
    ("workers", int, "--workers", "N", "How it moves",
     "How many paint at the same time; one for each core, or GPU, if not said."),
    ("format", str, "--format", "NAME", "Files and runs",
     "Format of all paintings: jpg, png, webp ...; the photo's own if not said."),
    ("tar", bool, "--tar", None, "Files and runs",
     "Put paintings into tar shards, each with its recipe beside it (WebDataset)."),
    ("shard_size", str, "--shard-size", "SIZE", "Files and runs", "Of tar shards: 256MB if not said."),
    ("no_recipe", bool, "--no-recipe", None, "Files and runs", "Leave out of the outputs how they were made."),
    ("retry_failed", int, "--retry-failed", "N", "Files and runs",
     "How often a later run tries again what could not be painted; once if not said."),
    ("new_recipe", bool, "--new-recipe", None, "Files and runs",
     "Paint everything anew where the target was painted by another recipe."),
    ("force", bool, "--force", None, "Files and runs",
     "Take a target that holds other files; an input is never replaced."),
    ("status", bool, "--status", None, "Looking at a target",
     "Tell what TARGET, given alone, holds, and paint nothing."),
    ("verify", bool, "--verify", None, "Looking at a target",
     "Read all paintings of TARGET, given alone, and compare them with what was noted of them."),
    ("json_progress", bool, "--json-progress", None, "How it moves",
     "Print a line of JSON every second, for programs."),
    ("json", bool, "--json", None, "Looking at a target", "Print JSON for programs."),
)  # fmt: skip
_PARAMETERS = {
    name: (
        Annotated[
            kind if kind is bool else kind | None,
            typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel, min=1 if name == "workers" else None),
        ],
        False if kind is bool else None,
    )
    for name, kind, flag, metavar, panel, text in _BULK
}
EVERY = 1.0  # seconds between two lines of progress


@command_of(
    {
        "source": (Annotated[str, _source], ...),
        "target": (Annotated[str | None, _target], None),
        **option_parameters(StylizeRequest),
        **_PARAMETERS,
        **option_parameters(OutputOptions),
    }
)
def bulk(ctx: typer.Context, **_options: Any) -> None:
    """Repaint all pictures and films of SOURCE into TARGET, each exactly once.

    It may be stopped or killed at any moment: the same command goes on with what is left.
    """
    require("fsspec pyarrow", "bulk", "painting in bulk")
    given = given_on(ctx)
    if given.get("status") or given.get("verify"):
        _look(given)
        return
    if "target" not in given:
        raise OptionError("where should the paintings go? impasto bulk SOURCE TARGET --style NAME", "target")
    own_styles = not {"style", "model"} & given.keys()
    if own_styles:
        given["style"], own_styles = _style_of_rows(given["source"], given["target"])
    if "json" in given:
        raise OptionError("`json` is for `status` and `verify`: give `json_progress` for a run", "json")
    if "shard_size" in given and "tar" not in given:
        raise OptionError("`shard_size` is for tar shards: add `tar`, or leave it out", "shard_size")
    run = _run_of(given, own_styles=own_styles)
    with _stopping(run), _lines_of_our_own(asked=given.get("json_progress", False)) as lines:
        _carry_out(run, lines)


def _style_of_rows(source: str, target: str) -> tuple[Any, bool]:
    """A style of a manifest's rows to begin with, and whether it is none of the recipe; OptionError if a row has none.

    It is the first one, unless the target was painted by a recipe that has a style, as earlier versions wrote them.
    """
    from impasto.bulk.sources import open_source

    before = _style_of_target(target)
    first = None
    for item in open_source(source).items():
        if "style" not in item.options or "model" in item.options:
            told = f"the row of {shown(item.id)} has no style of the gallery or picture: " if first else ""
            raise OptionError(f"{told}a style is needed: impasto bulk SOURCE TARGET --style NAME|PICTURE", "style")
        if before and _names(item.options["style"]) == before:
            return item.options["style"], False
        first = first or item.options["style"]
    return first, True


def _style_of_target(target: str) -> list[Any]:
    """Names and weights of the styles in the recipe that a target was painted by, if it has any."""
    from impasto.bulk.run import read_job
    from impasto.bulk.stores import Store, reaching

    store = Store(target)
    with reaching(store.url):
        job = read_job(store)
    return [] if job is None else [(row["style"], row["weight"]) for row in job["recipe"]["request"].get("style", ())]


def _names(style: Any) -> list[Any]:
    """Names and weights of a row's styles, as recipes have them."""
    return [(Path(str(row.image)).name, row.weight) for row in StylizeRequest.of(style=style).style]


def _run_of(given: dict[str, Any], *, own_styles: bool) -> BulkRun:
    from impasto.bulk.run import BulkRun

    task, workers = _task(given, own_styles=own_styles), given.get("workers")
    kind, _, place = given.get("on", "local").partition("=")
    if kind == "ray":
        from impasto.bulk.on_ray import RayPool

        pool: Any = RayPool(task, workers, address=place or None)
    elif kind == "local" and not place:
        from impasto.bulk.local import LocalPool

        pool = LocalPool(task, workers)
    else:
        raise OptionError(f"`on` is {given['on']!r}: say local, ray, or ray=ADDRESS", "on")
    asked = {name: given[name] for name in ("retry_failed", "new_recipe", "force") if name in given}
    return BulkRun(given["source"], task, pool, **asked)


def _task(given: dict[str, Any], *, own_styles: bool) -> Task:
    from impasto.bulk.work import Task, run_name
    from impasto.core.memory import parse_memory

    asked = {name: value for name, value in given.items() if name in StylizeRequest.options}
    memory = parse_memory(asked.pop("max_memory", None))
    output = {name: value for name, value in given.items() if name in OutputOptions.options}
    OutputOptions.of(**output)
    more: dict[str, Any] = {"format": given.get("format"), "recipe": not given.get("no_recipe", False)}
    if "shard_size" in given:
        more["shard_bytes"] = parse_memory(given["shard_size"], "shard_size")
    return Task(
        StylizeRequest.of(**asked).anywhere().to_json(),
        output,
        given["target"],
        layout="tar" if given.get("tar") else "folders",
        memory=memory,
        run=run_name(),
        own_styles=own_styles,
        **more,
    )


@contextmanager
def _lines_of_our_own(*, asked: bool) -> Iterator[TextIO | None]:
    """Standard output for lines of JSON alone; None if nobody asked for it.

    What libraries write there goes to standard error meanwhile: Ray tells of a node that died with pages of its log.
    """
    if not asked:
        yield None
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as lines:
        os.dup2(2, 1)
        try:
            yield lines
        finally:
            lines.flush()
            os.dup2(lines.fileno(), 1)


def _carry_out(run: BulkRun, lines: TextIO | None) -> None:
    told, last = 0.0, None
    with closing(run.run()) as records, bar() as show:
        for record in records:
            last = record
            if record.row is not None and record.row.error is not None and lines is None and record.failed <= 20:
                show_error(record.row.error)
            if time.monotonic() - told >= EVERY:
                told = time.monotonic()
                if lines is not None:
                    print(json.dumps(record.to_json()), file=lines, flush=True)
                else:
                    _show(show, record)
    if run.left is not None and last is not None:
        _tell_end(run, run.left, last, lines)
    elif run.stopped:
        show_note("stopped before anything was painted")
        raise typer.Exit(130)


def _tell_end(run: BulkRun, left: Left, last: BulkProgress, lines: TextIO | None) -> None:
    """What became of a run; exit code 130 if it was stopped, 1 if not all are painted."""
    if lines is not None:
        print(json.dumps({**last.to_json(), "ended": True, "stopped": run.stopped}), file=lines, flush=True)
    counted = run.tally
    earlier = f", {left.done} were before" if left.done else ""
    show_note(f"{counted.done} of {left.total} painted{earlier}, in {run.task.target}; see impasto-report.html there")
    if left.done and not left.to_paint:
        show_note(f"paintings of before are not looked at again: `impasto bulk --verify {run.task.target}` does that")
    if left.given_up:
        show_note(f"{left.given_up} could not be painted before and are not tried again: raise `retry_failed`")
    if run.stopped:
        show_note("stopped: the same command goes on with what is left")
        raise typer.Exit(130)
    unreached = left.to_paint - counted.done - counted.failed
    if unreached > 0:
        show_error(f"{unreached} were not reached: run the same command again")
    if counted.failed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in counted.kinds.most_common())
        show_error(f"{counted.failed} could not be painted ({kinds}): the report names them")
    if counted.failed or left.given_up or unreached > 0:
        raise typer.Exit(1)


def _show(show: Any, record: BulkProgress) -> None:
    failed = f", {record.failed} failed" if record.failed else ""
    count = record.done + record.failed + record.before
    show(count, record.total, "painting", f"{record.rate:.1f}/s{failed}")


@contextmanager
def _stopping(run: BulkRun) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM let what is in hand be finished; the second one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def ask(_number: int, _frame: Any) -> None:
        for number, handler in before.items():
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else handler)
        run.stop()
        show_note("finishing what is in hand, half a minute at most; once more stops at once")

    before.update({number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _look(given: dict[str, Any]) -> None:
    """``--status`` and ``--verify``."""
    from dataclasses import asdict

    from impasto.bulk.checking import status, verify
    from impasto.bulk.work import run_name

    allowed = {"source", "status", "verify", "json"}
    for name in given:
        if name not in allowed:
            raise OptionError(f"`status` and `verify` look at a target, given alone: leave out `{name}`", name)
    if given.get("status") and given.get("verify"):
        raise OptionError("`status` counts what was noted, `verify` reads all of it: give one of them", "status")
    if given.get("status"):
        found = status(given["source"])
        facts = asdict(found)
    else:
        with bar() as show:
            for checked in verify(given["source"], run_name()):
                show(checked.good + checked.faults - checked.missing, None, "verifying")
        facts = asdict(checked)
    if given.get("json"):
        print_json(facts)
    else:
        print_facts((name, _plain(value)) for name, value in facts.items() if value not in (None, {}, []))
    if given.get("verify") and checked.faults:
        raise typer.Exit(1)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
