"""Carrying out ``impasto stylize``: a bar, the sentences that are told, and the ways it can end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from impasto.batch import Done, Work, gather, paint_all
from impasto.cli.common import bar, exit_code, show_error, show_note, stoppable, stopping_signals
from impasto.errors import DivergenceError
from impasto.stylizer.job import Output
from impasto.stylizer.recorder import Recorder, Records, begin_run, resume_run

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Job, Progress
    from impasto.stylizer.recipe import Recipe
    from impasto.stylizer.request import OutputOptions, StylizeRequest
    from impasto.stylizer.run_folder import RunFolder

__all__ = ["Painter", "resume_one"]

STOPPING = "stopping after this step; Ctrl-C once more stops at once"


class _Abandoned(Exception):  # noqa: N818  no error: somebody asked for it
    """A photo in hand is left as it is, because the user has stopped."""


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
    _asked: Callable[[], int] = field(default=lambda: 0, init=False)

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

        What is wrong for every photo is told once, before anything is painted. The first Ctrl-C abandons the photos in
        hand after their step; those that are painted stay.
        """
        from impasto.stylizer.route import route
        from impasto.stylizer.streams import read_streams
        from impasto.stylizer.written import check_written

        works = gather(photos, folder)
        check_written(self.options.given, [work.output for work in works])
        route(self.request)
        self.request = read_streams(self.request)  # for all of them
        self.engine.pictures = len(works)
        ended: list[Done] = []
        code = 0
        try:
            with stoppable(*stopping_signals(), note=STOPPING) as self._asked:
                self._paint(works, jobs, ended)
                code = 128 + self._asked() if self._asked() else 0
        except KeyboardInterrupt as interruption:
            code = exit_code(interruption)
        failed = [record for record in ended if record.error and not isinstance(record.error, _Abandoned)]
        painted = sum(record.error is None for record in ended)
        count = f"{painted} of {len(works)} photos are painted, in {folder}"
        if code and painted + len(failed) < len(works):
            show_note(f"stopped: {count}; what was in hand is not kept")
        else:
            code = 0
            show_note(count)
        for reason, times in Counter(record.reason for record in failed).items():
            show_error(reason if times == 1 else f"{reason} ({times} photos)")
        if code or failed:
            raise typer.Exit(code or 1)

    def _paint(self, works: Sequence[Work], jobs: int, ended: list[Done]) -> None:
        """Paint, and note how each photo ended as it does."""
        with closing(paint_all(works, self._quietly, jobs, self._asked)) as records, bar() as show:
            for record in records:
                ended.append(record)
                show(record.done, record.total, "painting")
                if record.error is None:
                    show_note(record.told)

    def _quietly(self, work: Work) -> str:
        """Paint one of several photos; gives what is to be told of it."""
        from impasto.stylizer.written import obeyed_options

        place = self._place(work.output, obeyed_options(self.options, work.output))
        with self.engine.job(work.photo, self.request, output=place) as job:
            self._compare(job)
            with closing(job.run()) as records:
                for record in records:
                    self._tell(record.note)
                    if self._asked() and not _is_painted(record):
                        raise _Abandoned
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
    told = set[str]()

    def tell(note: str | None) -> None:
        if note and note not in told:
            told.add(note)
            show_note(note)

    _carry_out(recorder, tell)
    if ended:
        show_note("this run was finished before; its picture is written again")


def _folder(path: Path) -> RunFolder:
    from impasto.stylizer.run_folder import RunFolder

    return RunFolder(path)


def _carry_out(recorder: Recorder, tell: Callable[[str | None], None]) -> None:
    """Run to the end, or until Ctrl-C (130) or SIGTERM (143), which keep what there is and end with that exit code."""
    with recorder.job as job:
        steps = job.as_optimisation()
        tell(job.opening())
        try:
            stopped = _run(recorder, tell)
        except DivergenceError:
            if steps is not None and steps.step:
                show_note(f"the picture of step {steps.step}, the last good one, was kept")
            raise
        for note in job.notes:
            tell(note)
        if not stopped or (steps is not None and steps.step):
            show_note(f"{job.output.shown if job.output else ''}: {job.summary()}")
        if not stopped:
            return
        if recorder.folder is not None:
            show_note(f"to go on: impasto stylize --resume {recorder.folder.folder}")
    raise typer.Exit(stopped)


def _run(recorder: Recorder, tell: Callable[[str | None], None]) -> int:
    """Run to the end; gives 0, or the exit code if the user stopped it."""
    job, last = recorder.job.as_optimisation(), 0.0
    try:
        asks = stoppable(*(stopping_signals() if job is not None else ()), note=STOPPING)
        with bar("share") as show, asks as asked, closing(recorder.run()) as records:
            for record in records:
                last = record.share
                tell(record.note)
                _show(show, record)
                if asked() and not _is_painted(record):
                    code = 128 + asked()
                    break
            else:
                return 0
    except KeyboardInterrupt as interruption:
        if job is None and recorder.folder is None:
            raise
        code = exit_code(interruption)
    if job is not None:
        so_far = "keeping the picture so far" if job.step else "nothing is painted yet"
        show_note(f"stopped at step {job.step} of {job.steps}: {so_far}")
        recorder.finish()
    else:
        show_note(f"stopped, {last:.0%} is done")
    return code


def _is_painted(record: Progress) -> bool:
    """Whether nothing is left to be done but to write the picture."""
    return record.phase == "writing" or (record.phase == "painting" and record.share == 1)


def _show(show: Callable[..., None], record: Progress) -> None:
    height, width = record.size or (0, 0)
    told = f"{record.done:g}/{record.total:g} loss {record.losses.get('total', 0):.4g}" if record.losses else ""
    show(record.done, record.total, f"{record.phase} {width}x{height}" if record.size else record.phase, told)
