"""Carrying out ``impasto stylize``: a bar, the sentences that are told, and the ways it can end."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from impasto.batch import Done, Work, gather, paint_all
from impasto.cli.common import bar, show_error, show_note, stoppable
from impasto.errors import DivergenceError
from impasto.stylizer.job import Output
from impasto.stylizer.recorder import Recorder, Records, begin_run, resume_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Job, Progress
    from impasto.stylizer.recipe import Recipe
    from impasto.stylizer.request import OutputOptions, StylizeRequest
    from impasto.stylizer.run_folder import RunFolder

__all__ = ["Painter", "resume_one"]


@dataclass(kw_only=True)
class Painter:
    """Paints photos as one command line says, and tells each sentence about them once.

    Args:
        engine: what paints.
        request: what is asked for.
        options: how paintings are written.
        force: replace files that exist.
        carries_recipe: whether they carry how they were made.
        recipe: what is painted by, to tell what differs.
    """

    engine: Engine
    request: StylizeRequest
    options: OutputOptions
    force: bool = False
    carries_recipe: bool = True
    recipe: Recipe | None = None
    _told: set[str] = field(default_factory=set, init=False)

    def one(self, photo: str, output: str, run: Path | None, records: Records) -> None:
        """Paint a photo, with a bar."""
        place = self._place(output)
        if run is not None:
            recorder = begin_run(self.engine, photo, self.request, place, _folder(run), records)
        else:
            job = self.engine.job(photo, self.request, output=place)
            recorder = Recorder(job, records, force=self.force)
        self._compare(recorder.job)
        _carry_out(recorder, self._tell)

    def plan(self, photo: str, output: str, run: Path | None, records: Records) -> None:
        """Tell how a photo would be painted, and paint nothing; of the photo the header alone is read."""
        with self.engine.job(photo, self.request, output=self._place(output), folder=run) as job:
            Recorder(job, records, None if run is None else _folder(run), force=self.force)
            self._compare(job)
            for sentence in job.plan().message:
                show_note(sentence)

    def many(self, photos: Sequence[str], folder: str, jobs: int) -> None:
        """Paint all photos into a folder; what fails is told at the end, and stops no other.

        What is wrong for every photo is told once, before anything is painted.
        """
        from impasto.stylizer.route import route
        from impasto.stylizer.streams import read_streams
        from impasto.stylizer.written import check_written

        works = gather(photos, folder)
        check_written(self.options.given, [work.output for work in works])
        route(self.request)
        self.request = read_streams(self.request)  # for all of them
        self.engine.pictures = len(works)
        failed: list[Done] = []
        done = 0
        with closing(paint_all(works, self._quietly, jobs)) as records, bar() as show:
            try:
                for record in records:
                    done = record.done
                    show(done, record.total, "painting")
                    if record.error is None:
                        show_note(record.told)
                    else:
                        failed.append(record)
            except KeyboardInterrupt:
                show_note(f"stopped: {done - len(failed)} of {len(works)} photos are painted")
                raise typer.Exit(130) from None
        show_note(f"{len(works) - len(failed)} of {len(works)} photos are painted, in {folder}")
        for reason, count in Counter(record.reason for record in failed).items():
            show_error(reason if count == 1 else f"{reason} ({count} photos)")
        if failed:
            raise typer.Exit(1)

    def _quietly(self, work: Work) -> str:
        """Paint one of several photos; gives what is to be told of it."""
        from impasto.stylizer.written import obeyed_options

        place = self._place(work.output, obeyed_options(self.options, work.output))
        with self.engine.job(work.photo, self.request, output=place) as job:
            self._compare(job)
            for record in job.run():
                self._tell(record.note)
            for note in job.notes:
                self._tell(note)
            return f"{work.output}: {job.summary()}"

    def _place(self, output: str, options: OutputOptions | None = None) -> Output:
        """Where a painting goes, written by these options, or by those that were given."""
        return Output(output, options or self.options, force=self.force, recipe=self.carries_recipe)

    def _compare(self, job: Job) -> None:
        if self.recipe is not None and (differs := self.recipe.differences(job)):
            self._tell(f"not the very picture of the recipe: {', '.join(differs)}")

    def _tell(self, note: str | None) -> None:
        if note and note not in self._told:
            self._told.add(note)
            show_note(note)


def resume_one(engine: Engine, folder: Path, output: str | None, records: Records, *, force: bool) -> None:
    """Go on with a run."""
    recorder = resume_run(engine, _folder(folder), output=output, records=records, force=force)
    job = recorder.job.as_optimisation()
    ended = job is not None and job.state is not None and job.state["step"] >= job.steps
    _carry_out(recorder, lambda note: show_note(note) if note else None)
    if ended:
        show_note("this run was finished before; its picture is written again")


def _folder(path: Path) -> RunFolder:
    from impasto.stylizer.run_folder import RunFolder

    return RunFolder(path)


def _carry_out(recorder: Recorder, tell: Callable[[str | None], None]) -> None:
    """Run to the end, or until Ctrl-C, which keeps what there is and ends with exit code 130."""
    with recorder.job as job:
        steps = job.as_optimisation()
        tell(job.opening())
        try:
            finished = _run(recorder, tell)
        except DivergenceError:
            if steps is not None and steps.step:
                show_note(f"the picture of step {steps.step}, the last good one, was kept")
            raise
        for note in job.notes:
            tell(note)
        if finished or (steps is not None and steps.step):
            show_note(f"{job.output.shown if job.output else ''}: {job.summary()}")
        if finished:
            return
        if recorder.folder is not None:
            show_note(f"to go on: impasto stylize --resume {recorder.folder.folder}")
    raise typer.Exit(130)


def _run(recorder: Recorder, tell: Callable[[str | None], None]) -> bool:
    """Run to the end; False if the user stopped it."""
    job, last = recorder.job.as_optimisation(), 0.0
    try:
        heard = job is not None and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signals = [signal.SIGINT] if heard else []
        asks = stoppable(*signals, note="stopping after this step; Ctrl-C once more stops at once")
        with bar("share") as show, asks as asked, closing(recorder.run()) as records:
            for record in records:
                last = record.share
                tell(record.note)
                _show(show, record)
                if asked() and record.phase != "writing" and not (record.phase == "painting" and record.share == 1):
                    break
            else:
                return True
    except KeyboardInterrupt:
        if job is None and recorder.folder is None:
            raise
    if job is not None:
        so_far = "keeping the picture so far" if job.step else "nothing is painted yet"
        show_note(f"stopped at step {job.step} of {job.steps}: {so_far}")
        recorder.finish()
    else:
        show_note(f"stopped, {last:.0%} is done")
    return False


def _show(show: Callable[..., None], record: Progress) -> None:
    height, width = record.size or (0, 0)
    told = f"{record.done:g}/{record.total:g} loss {record.losses.get('total', 0):.4g}" if record.losses else ""
    show(record.done, record.total, f"{record.phase} {width}x{height}" if record.size else record.phase, told)
