"""What a run leaves behind beside its picture: log, plot, film, frames, and a folder from which it can be resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.core.host import our_settings
from impasto.errors import DivergenceError, OptionError
from impasto.imaging import check_output, write
from impasto.stylizer.job import Job, Output, Progress, Steps
from impasto.stylizer.run_log import Log, Timeline, plot_losses
from impasto.stylizer.written import obeyed_options

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.optimize_job import OptimizeJob
    from impasto.stylizer.request import StylizeRequest
    from impasto.stylizer.run_folder import RunFolder
    from impasto.types import PictureSource

__all__ = ["Recorder", "Records", "begin_run", "resume_run"]

SAVE_EVERY = 25  # steps between states of a run that can be resumed


@dataclass(frozen=True)
class Records:
    """Files about an optimisation, beside its picture.

    Attributes:
        timeline: a film (GIF) of the picture being painted.
        loss_plot: the losses over the steps, drawn (PNG, SVG, PDF or JPEG).
        log: the losses over the steps, as a table (CSV).
        save_every: keep the picture of every so many steps, in the run's folder or beside the output.
    """

    timeline: Path | None = None
    loss_plot: Path | None = None
    log: Path | None = None
    save_every: int | None = None

    def check(self, output: Output | None, *, force: bool, inputs: Sequence[str]) -> None:
        """Refuse now what would fail after the work: OptionError for names, OutputError for places."""
        taken = set() if output is None else {os.path.realpath(output.path)}
        for option, path, suffixes in (
            ("timeline", self.timeline, (".gif",)),
            ("loss_plot", self.loss_plot, (".png", ".svg", ".pdf", ".jpg")),
            ("log", self.log, (".csv", ".txt")),
        ):
            if path is None:
                continue
            if path.suffix.lower() not in suffixes:
                raise OptionError(f"`{option}` {path}: give the name of a file that ends in {' or '.join(suffixes)}")
            if os.path.realpath(path) in taken:
                raise OptionError(f"`{option}` {path}: another option writes this file already; give another name")
            taken.add(os.path.realpath(path))
            check_output(path, force=force, inputs=inputs, format="png")  # the suffix was looked at above


class Recorder:
    """Watches a job and writes everything that is to be kept, also if it is stopped.

    Args:
        job: what is painted.
        records: what is kept beside the picture; for optimisations alone.
        folder: of a run, for another process to go on with.
        force: replace files that exist.

    Raises:
        OptionError: records that a network does not have, or options that do not go together.
        OutputError: a place that cannot be written, or is taken.
    """

    def __init__(
        self, job: Job, records: Records | None = None, folder: RunFolder | None = None, *, force: bool = False
    ) -> None:
        self.job, self.records, self.folder, self.force = job, records or Records(), folder, force
        self.log = Log()
        self.film = Timeline() if self.records.timeline else None
        if job.as_optimisation() is None:
            for name in ("timeline", "loss_plot", "log", "save_every"):
                if getattr(self.records, name) is not None:
                    raise OptionError(f"`{name}` is about steps, and a network paints in one pass: leave it out")
        self.records.check(job.output, force=force, inputs=job.inputs)
        if self.records.save_every and folder is None and (job.output is None or job.output.path == "-"):
            raise OptionError("`save_every` needs `output` or `run` to know where to")
        if folder is not None and job.output is not None:
            _check_output(job.output)

    def run(self) -> Steps:
        """Run the job to its end, recording it. Closing the generator stops, and keeps what can be resumed."""
        job = self.job
        if (optimisation := job.as_optimisation()) is not None:
            yield from self._optimisation(optimisation)
            return
        with closing(job.run()) as steps:
            yield from steps
        if self.folder is not None:
            self.folder.close()

    def finish(self) -> None:
        """Write the picture so far, and what is about it; nothing if no step was done."""
        job = self.job.as_optimisation()
        if job is not None and job.step:
            with our_settings():
                if job.output is not None:
                    job.write()
                self._write_records(job)

    # -- an optimisation ------------------------------------------------------------------------------------

    def _optimisation(self, job: OptimizeJob) -> Steps:
        if self.folder is not None and job.state is not None:
            self.log.read(self.folder.log, int(job.state["step"]))
        self._check_frames()
        try:
            with closing(job.run()) as steps:
                for record in steps:
                    if record.phase == "painting":
                        with our_settings():
                            self._after(job, record)
                    yield record
        except GeneratorExit:  # between two steps, so that another run can go on from here
            self._save(job)
            raise
        except DivergenceError:
            self.finish()
            raise
        with our_settings():
            self._write_records(job)

    def _after(self, job: OptimizeJob, record: Progress) -> None:
        step = int(record.done)
        self.log.add(record)
        if self.film is not None and self.film.due(record):
            self.film.add(job.image(), step)
        every = self.records.save_every or SAVE_EVERY
        if self.folder is not None and (step % every == 0 or step == int(record.total)):
            self.folder.keep_frame(job.result(), step)
            self._save(job)
        elif self.folder is None and self.records.save_every and step % every == 0:
            self._write_frame(job, step)

    def _save(self, job: OptimizeJob) -> None:
        """Log and state. The log goes first: what it has too much is cut off when it is read."""
        if self.folder is not None and job.optimization is not None:
            self.log.write(self.folder.log)
            self.folder.save_state(job.optimization.state_dict())

    def _write_records(self, job: OptimizeJob) -> None:
        self.log.cut(job.step)
        if self.film is not None and self.records.timeline is not None:
            if self.film.last != job.step:  # stopped between two frames, or finished before
                self.film.add(job.image(), job.step)
            self.film.write(self.records.timeline)
        if self.records.loss_plot is not None:
            plot_losses(self.log.rows, self.records.loss_plot)
        if self.records.log is not None:
            self.log.write(self.records.log)

    def _check_frames(self) -> None:
        """OutputError if a frame would be written over a file that is there."""
        every = self.records.save_every
        job = self.job.as_optimisation()
        if every and self.folder is None and job is not None:
            for step in range(every, job.steps + 1, every):
                check_output(self._beside(step), force=self.force, inputs=job.inputs)

    def _write_frame(self, job: OptimizeJob, step: int) -> None:
        if job.output is None:
            return
        options = job.output.options
        write(
            job.result(),
            self._beside(step),
            force=self.force,
            inputs=job.inputs,
            quality=options.jpeg_quality,
            compression=options.png_compression,
        )

    def _beside(self, step: int) -> str:
        path = Path(self.job.output.path if self.job.output else "")
        return str(path.with_name(f"{path.stem}-{step:06d}{path.suffix}"))


def _check_output(output: Output) -> None:
    if output.path == "-":
        raise OptionError("`run` needs a file as `output`: standard output is gone when it is resumed")


def begin_run(
    engine: Engine,
    photo: PictureSource,
    request: StylizeRequest,
    output: Output,
    folder: RunFolder,
    records: Records | None = None,
) -> Recorder:
    """A recorder of a run whose folder is made, and that any process can resume.

    Raises:
        DataError: the folder holds a run already.
        ImpastoError: as of `Engine.job` and `Recorder`.
    """
    from impasto.stylizer.run_description import RunDescription

    records = records or Records()
    folder.check_free()
    if not isinstance(photo, str | os.PathLike):
        raise OptionError("`run` needs the photo's file: a picture in memory is gone when it is resumed")
    _check_output(output)
    job = engine.job(os.fspath(photo), request, output=output, folder=folder.folder)
    recorder = Recorder(job, records, folder, force=output.force)
    optimisation = job.as_optimisation()
    settings, beginning = (None, None) if optimisation is None else (optimisation.settings, optimisation.beginning)
    first = os.fspath(beginning) if isinstance(beginning, str | os.PathLike) else None  # others were refused above
    folder.create(RunDescription(job.photo_path, request, output, settings, first, save_every=records.save_every))
    return recorder


def resume_run(
    engine: Engine, folder: RunFolder, *, output: str | None = None, records: Records | None = None, force: bool = False
) -> Recorder:
    """A recorder of a run that was begun before, ready to go on.

    Args:
        engine: see `begin_run`.
        folder: of the run.
        output: another place for the painting.
        records: files about the run; `save_every` is the run's own.
        force: replace files that exist; the run's own output is replaced in any case, if it is an optimisation's.

    Raises:
        DataError: there is no run, it is damaged, or its files are gone or changed.
    """
    found, given = folder.description(), records or Records()
    optimised = found.settings is not None
    force = force or (output is None and (optimised or found.output.force))
    path = output or found.output.path
    place = Output(path, obeyed_options(found.output.options, path), force=force, recipe=found.output.recipe)
    if found.settings is not None:
        from impasto.stylizer.optimize_job import OptimizeJob

        painted = OptimizeJob(engine, found.photo, found.request, found.settings, found.beginning, place)
        painted.state, painted.state_of = folder.state(), folder
        job: Job = painted
        kept = Records(given.timeline, given.loss_plot, given.log, found.save_every)
    else:
        from impasto.stylizer.strip_job import StripJob

        model = engine.torch_model(
            found.request.model or "gallery", device=found.request.device, precision=found.request.precision
        )
        job = StripJob(engine, found.photo, found.request, model, place, folder.folder)
        kept = given
    return Recorder(job, kept, folder, force=force)
