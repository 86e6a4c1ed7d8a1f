"""Carrying out ``impasto stylize``: everything that is written, the bar, and the ways it can end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from impasto.cli.common import show_note
from impasto.cli.jobs import Job
from impasto.errors import DivergenceError, OptionError
from impasto.imaging import Picture, check_output, losses, write
from impasto.optimize.loop import StepProgress
from impasto.recording import Log, RunFolder, Timeline, plot_losses
from impasto.stylizer import Painting

__all__ = ["Extras", "paint", "show_layouts"]

SAVE_EVERY = 25  # steps between states of a run that can be resumed


@dataclass(frozen=True)
class Extras:
    """Files about the painting, beside the painting."""

    timeline: Path | None = None
    loss_plot: Path | None = None
    log: Path | None = None

    def check(self, job: Job, *, force: bool) -> None:
        """Refuse now what would fail after the work."""
        taken = {os.path.realpath(job.output)}
        for option, path, suffixes in (
            ("--timeline", self.timeline, (".gif",)),
            ("--loss-plot", self.loss_plot, (".png", ".svg", ".pdf", ".jpg")),
            ("--log", self.log, (".csv", ".txt")),
        ):
            if path is None:
                continue
            if path.suffix.lower() not in suffixes:
                raise OptionError(f"{option} {path}: give the name of a file that ends in {' or '.join(suffixes)}")
            if os.path.realpath(path) in taken:
                raise OptionError(f"{option} {path}: another option writes this file already; give another name")
            taken.add(os.path.realpath(path))
            check_output(path, force=force, inputs=job.inputs, format="png")  # the suffix was looked at above


def paint(job: Job, extras: Extras, folder: RunFolder | None, *, resume: bool, force: bool) -> None:
    """Paint, and write everything that was asked for; Ctrl-C keeps what there is and ends with exit code 130."""
    painting = job.prepare()
    keeper = _Keeper(painting, job, extras, folder, force=force)
    keeper.check_frames()
    for lost in losses(painting.photo, job.output):
        show_note(lost)
    if folder is not None and resume:
        folder.load(painting.optimization, keeper.log)
    elif folder is not None:
        folder.create(job.description())
    optimization = painting.optimization
    try:
        finished = _run(painting, keeper)
    except DivergenceError:
        keeper.finish()
        if optimization.step:
            show_note(f"the picture of step {optimization.step}, the last good one, was kept")
        raise
    if finished:
        keeper.finish()
        return
    so_far = "keeping the picture so far" if optimization.step else "nothing is painted yet"
    show_note(f"stopped at step {optimization.step} of {optimization.steps}: {so_far}")
    keeper.finish()
    if folder is not None:
        show_note(f"to go on: impasto stylize --resume {folder.folder}")
    raise typer.Exit(130)


def show_layouts(job: Job) -> None:
    """Tell how the photo would be looked at, scale by scale, and paint nothing."""
    optimization = job.prepare().optimization
    for (size, steps), layout in zip(optimization.scales, optimization.layouts, strict=True):
        how = "at once" if layout is None else str(layout)
        show_note(f"{size[1]}x{size[0]} px, {steps} steps: {how}")


class _Keeper:
    """Everything that is written while painting and after."""

    def __init__(self, painting: Painting, job: Job, extras: Extras, folder: RunFolder | None, *, force: bool) -> None:
        self.painting, self.job, self.extras, self.folder, self.force = painting, job, extras, folder, force
        self.log = Log()
        self.film = Timeline() if extras.timeline else None

    def check_frames(self) -> None:
        """OutputError if --save-every would write over files that are there."""
        if self.job.keep.save_every and self.folder is None:
            steps = self.painting.optimization.steps
            for step in range(self.job.keep.save_every, steps + 1, self.job.keep.save_every):
                check_output(self._beside(step), force=self.force, inputs=self.job.inputs)

    def after(self, record: StepProgress) -> None:
        """Called after every step."""
        self.log.add(record)
        if self.film is not None and self.film.due(record):
            self.film.add(self.painting.optimization.image(), record.step)
        every = self.job.keep.save_every or SAVE_EVERY
        if self.folder is not None and (record.step % every == 0 or record.step == record.steps):
            self.folder.frame(self.painting.result(), record.step)
            self.folder.save(self.painting.optimization, self.log)
        elif self.folder is None and self.job.keep.save_every and record.step % every == 0:
            self._write(self._beside(record.step), self.painting.result())

    def save_state(self) -> None:
        """For --resume; only between two steps is it one that another run can go on from."""
        if self.folder is not None:
            self.folder.save(self.painting.optimization, self.log)

    def finish(self) -> None:
        """Write the picture, then what is about it; nothing if no step was done."""
        optimization = self.painting.optimization
        if not optimization.step:
            return
        self.log.cut(optimization.step)
        picture = self.painting.result()
        self._write(self.job.output, picture)
        precision = self.painting.precision
        where = "standard output" if self.job.output == "-" else self.job.output
        show_note(
            f"{where}: {picture.width}x{picture.height} px, {optimization.step} steps on "
            f"{optimization.backbone.name} in {str(precision.dtype).removeprefix('torch.')} ({precision.reason})"
        )
        if self.film is not None and self.extras.timeline is not None:
            if self.film.last != optimization.step:  # stopped between two frames, or finished before
                self.film.add(optimization.image(), optimization.step)
            self.film.write(self.extras.timeline)
        if self.extras.loss_plot is not None:
            plot_losses(self.log.rows, self.extras.loss_plot)
        if self.extras.log is not None:
            self.log.write(self.extras.log)

    def _beside(self, step: int) -> str:
        path = Path(self.job.output)
        return str(path.with_name(f"{path.stem}-{step:06d}{path.suffix}"))

    def _write(self, path: str, picture: Picture) -> None:
        keep = self.job.keep
        write(
            picture, path, force=self.force, inputs=self.job.inputs, quality=keep.quality, compression=keep.compression
        )


class _Stop:
    """While inside, the first Ctrl-C only asks: the step under way ends, and what is kept is whole.

    The second is Python's own KeyboardInterrupt again.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> _Stop:
        in_main = threading.current_thread() is threading.main_thread()  # no other may set handlers
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
        show_note("stopping after this step; Ctrl-C once more stops at once")


def _run(painting: Painting, keeper: _Keeper) -> bool:
    """Run to the end; False if the user stopped it."""
    optimization = painting.optimization
    if optimization.step >= optimization.steps:
        show_note("this run is finished; its picture is written again")
    try:
        with _Stop() as stop, closing(_with_bar(painting)) as records:
            for record in records:
                keeper.after(record)
                if stop.asked:
                    break
        if stop.asked:
            keeper.save_state()
    except KeyboardInterrupt:
        return False
    return optimization.step >= optimization.steps


def _with_bar(painting: Painting) -> Generator[StepProgress, None, None]:
    """The records of the optimisation, shown on the terminal as they come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    optimization = painting.optimization
    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=optimization.steps, completed=optimization.step, loss="-")
        for record in optimization.run():
            if record.note:
                show_note(record.note.rstrip(";"))
            height, width = record.scale
            loss = f"{record.losses['total']:.4g}"
            bar.update(task, completed=record.step, loss=loss, description=f"painting {width}x{height}")
            yield record
