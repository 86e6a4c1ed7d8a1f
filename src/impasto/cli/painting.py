"""Carrying out ``impasto stylize``: a bar, the sentences that are told, and the ways it can end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from impasto.cli.common import show_note
from impasto.errors import DivergenceError
from impasto.stylizer.optimize_job import OptimizeJob
from impasto.stylizer.recorder import Recorder, Records, begin_run, resume_run
from impasto.stylizer.run_folder import RunFolder
from impasto.stylizer.strip_job import StripJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output, Progress
    from impasto.stylizer.request import StylizeRequest

__all__ = ["paint_one", "paint_quietly", "resume_one", "show_plan"]


def paint_one(
    engine: Engine, photo: str, request: StylizeRequest, output: Output, run: Path | None, records: Records
) -> None:
    """Paint one photo, with a bar."""
    if run is not None:
        _carry_out(begin_run(engine, photo, request, output, RunFolder(run), records))
    else:
        _carry_out(Recorder(engine.job(photo, request, output=output), records, force=output.force))


def resume_one(engine: Engine, folder: Path, output: str | None, records: Records, *, force: bool) -> None:
    """Go on with a run."""
    recorder = resume_run(engine, RunFolder(folder), output=output, records=records, force=force)
    job = recorder.job
    if isinstance(job, OptimizeJob) and job.state is not None and job.state["step"] >= job.steps:
        show_note("this run is finished; its picture is written again")
    _carry_out(recorder)


def paint_quietly(engine: Engine, photo: str, request: StylizeRequest, output: Output) -> str:
    """Paint one of several photos; what was painted is told by who calls."""
    with engine.job(photo, request, output=output) as job:
        for _ in job.run():
            pass
        for note in job.notes:
            show_note(note)
        return f"{output.shown}: {job.summary()}"


def show_plan(
    engine: Engine, photo: str, request: StylizeRequest, output: Output, run: Path | None, records: Records
) -> None:
    """Tell how a photo would be painted, and paint nothing; of the photo the header alone is read."""
    with engine.job(photo, request, output=output, folder=run) as job:
        Recorder(job, records, None if run is None else RunFolder(run), force=output.force)
        for sentence in job.plan().message:
            show_note(sentence)


def _carry_out(recorder: Recorder) -> None:
    """Run to the end, or until Ctrl-C, which keeps what there is and ends with exit code 130."""
    job = recorder.job
    with job:
        if isinstance(job, StripJob):
            show_note(str(job.tiling))
        try:
            finished = _run(recorder)
        except DivergenceError:
            if isinstance(job, OptimizeJob) and job.step:
                show_note(f"the picture of step {job.step}, the last good one, was kept")
            raise
        for note in job.notes:
            show_note(note)
        if finished:
            show_note(f"{job.output.shown if job.output else ''}: {job.summary()}")
            return
    raise typer.Exit(130)


def _run(recorder: Recorder) -> bool:
    """Run to the end; False if the user stopped it."""
    job, last = recorder.job, 0.0
    try:
        with _bar() as show, _Stop(asks=isinstance(job, OptimizeJob)) as stop, closing(recorder.run()) as records:
            for record in records:
                last = record.share
                show(record)
                if stop.asked:
                    break
            else:
                return True
    except KeyboardInterrupt:
        if not isinstance(job, OptimizeJob) and recorder.folder is None:
            raise
    if isinstance(job, OptimizeJob):
        so_far = "keeping the picture so far" if job.step else "nothing is painted yet"
        show_note(f"stopped at step {job.step} of {job.steps}: {so_far}")
        recorder.finish()
        if job.step:
            show_note(f"{job.output.shown if job.output else ''}: {job.summary()}")
    else:
        show_note(f"stopped, {last:.0%} is done")
    if recorder.folder is not None:
        show_note(f"to go on: impasto stylize --resume {recorder.folder.folder}")
    return False


class _Stop:
    """While inside, the first Ctrl-C only asks: the step under way ends, and what is kept is whole.

    The second is Python's own KeyboardInterrupt again.
    """

    def __init__(self, *, asks: bool) -> None:
        self.asked, self._asks = False, asks
        self._before: Any = None

    def __enter__(self) -> _Stop:
        in_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
        if self._asks and in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
        show_note("stopping after this step; Ctrl-C once more stops at once")


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A bar on the terminal, which shows itself when there is a piece of the work to tell of."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=1.0, visible=False, told="")

        def show(record: Progress) -> None:
            if record.note:
                show_note(record.note)
            height, width = record.size or (0, 0)
            told = f"{record.done:g}/{record.total:g}" if record.losses else ""
            told += f" loss {record.losses['total']:.4g}" if "total" in record.losses else ""
            what = f"{record.phase} {width}x{height}" if record.size else record.phase
            bar.update(task, completed=record.done, total=record.total, description=what, told=told, visible=True)

        yield show
