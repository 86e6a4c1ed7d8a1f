"""Where the page has pictures painted: in this process by an engine, as in a notebook, or by a service's processes.

The page knows a `Painter` and no more. What the limits of a service say, and what becomes of a process that dies, comes
back as an error whose sentence is shown.
"""

from __future__ import annotations

import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from impasto.errors import ImpastoError, OptionError
from impasto.imaging import encode
from impasto.imaging.formats import find_format
from impasto.studio.page.acts import Act, act_here, at_most
from impasto.studio.page.desk import SHOWN
from impasto.studio.service import Service
from impasto.stylizer.job import Output
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.route import gallery_styles

if TYPE_CHECKING:
    from impasto.studio.jobs import StudioJob
    from impasto.studio.limits import Limits
    from impasto.studio.page.desk import Desk
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Job

__all__ = ["FORMATS", "EnginePainter", "Painter", "ServicePainter", "Update", "painter_of"]

FORMATS: Final = {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tif"}
"""Formats that are offered for download -> suffix."""
MANY: Final = 1000  # pictures that a page is thought to paint: torch is worth its start
EVERY: Final = 0.7  # seconds between two pictures of an optimisation under way
LOOK: Final = 1.0  # seconds after which the page is told again how it stands: who has left it is noticed by that
QUICKLY: Final = OutputOptions.of(png_compression=1)
WORDS: Final = {"reading": "Reading", "draft": "Drafting", "painting": "Painting", "writing": "Writing the file"}
BEGINNING: Final = "Looking at what there is to do"


@dataclass(frozen=True)
class Update:
    """How far a painting is.

    Attributes:
        label: what is being done, for people.
        share: how much of it is done, from 0 to 1; None where it cannot be told.
        left: seconds that the rest should take; None where nothing is known.
        picture: the file of the picture so far, on the desk, where there is a new one.
        note: a sentence to tell.
    """

    label: str
    share: float | None = None
    left: float | None = None
    picture: Path | None = None
    note: str | None = None


class Painter(ABC):
    """Paints what is on a desk.

    Attributes:
        limits: what visitors may ask for; None lets them have what `StylizeRequest` does.
    """

    limits: Limits | None = None

    @abstractmethod
    def warm(self) -> None:
        """Have the gallery ready before the first preview; what goes wrong is told when it is used."""

    @abstractmethod
    def act_of(self, client: str) -> Act:
        """What does the acts of a client, see `acts`."""

    @abstractmethod
    def preview(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> list[str]:
        """Paint a small photo into a file at once; gives what should be told of it. ImpastoError if that fails."""

    @abstractmethod
    def paint(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> Iterator[Update]:
        """Paint a photo's file into another, with its recipe; it is whole, or not there if the desk stops.

        ImpastoError if it fails. Closing the generator stops.
        """


def painter_of(paints: Engine | Service) -> Painter:
    """What paints for a page."""
    return ServicePainter(paints) if isinstance(paints, Service) else EnginePainter(paints)


class EnginePainter(Painter):
    """Paints in this process, on an engine that others may share."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.pictures = max(engine.pictures, MANY)
        self._warm = threading.Lock()

    def warm(self) -> None:
        """See `Painter.warm`; does it once."""
        styles = gallery_styles()
        if not styles or not self._warm.acquire(blocking=False):  # never given back: once is enough
            return
        nothing = np.zeros((64, 64, 3), np.float32)
        with suppress(ImpastoError), self.engine.job(nothing, StylizeRequest.of(style=styles[0].name)) as job:
            for _ in job.run():
                pass

    def act_of(self, client: str) -> Act:
        """See `Painter.act_of`."""
        return act_here

    def preview(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> list[str]:
        """See `Painter.preview`."""
        place = Output(str(output), QUICKLY, recipe=False)
        with self.engine.job(photo, request, output=place) as job:
            for _ in job.run():
                pass
            return list(job.notes)

    def paint(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> Iterator[Update]:
        """See `Painter.paint`."""
        with self.engine.job(photo, request, output=Output(str(output))) as job:
            desk.stops = job.close
            try:
                yield from self._watched(desk, job)
                for note in job.notes:
                    yield Update("Painted", 1.0, note=note)
            except RuntimeError:
                if not desk.stopping:  # a job that was closed before it began says so by this
                    raise
            finally:
                desk.stops = None

    def _watched(self, desk: Desk, job: Job) -> Iterator[Update]:
        yield Update(BEGINNING)
        plan = job.plan()
        yield Update(_label({"phase": "painting"}, plan.size), 0.0, plan.seconds)
        if desk.stopping:
            return
        steps, shown = job.as_optimisation(), time.monotonic()
        with closing(job.run()) as records:
            for record in records:
                picture = None
                if steps is not None and steps.step and time.monotonic() - shown > EVERY:
                    picture = desk.place("preview.png")
                    picture.write_bytes(encode(at_most(job.preview(), SHOWN), "png", compression=1))
                    shown = time.monotonic()
                yield Update(_label(asdict(record), plan.size), record.share, record.left, picture, record.note)


class ServicePainter(Painter):
    """Has a service paint, whose limits count for each client and for all."""

    def __init__(self, service: Service) -> None:
        self.service, self.limits = service, service.limits

    def warm(self) -> None:
        """See `Painter.warm`: processes are when they take jobs."""

    def act_of(self, client: str) -> Act:
        """See `Painter.act_of`."""

        def act(name: str, **arguments: Any) -> Any:
            job = self.service.submit_act(name, arguments, client=client)
            try:
                job.wait()
                _check(job)
                return job.answer
            finally:
                self.service.forget(job)

        return act

    def preview(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> list[str]:
        """See `Painter.preview`."""
        job = self.service.submit(photo, request, options=QUICKLY, recipe=False, client=desk.client, at_page=True)
        try:
            job.wait()
            _check(job)
            shutil.move(job.result_path, output)
            return list(job.notes)
        finally:
            self.service.forget(job)

    def paint(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> Iterator[Update]:
        """See `Painter.paint`."""
        job = self.service.submit(photo, request, format=find_format(output), client=desk.client)
        desk.stops = partial(self.service.cancel, job)
        try:
            if desk.stopping:
                return
            yield from self._watched(desk, job)
            _check(job)
            if job.state == "done":
                shutil.move(job.result_path, output)
            for note in job.notes:
                yield Update("Painted", 1.0, note=note)
        finally:
            desk.stops = None
            self.service.forget(job)

    def _watched(self, desk: Desk, job: StudioJob) -> Iterator[Update]:
        changed, shown, asked = threading.Event(), 0, time.monotonic()
        end = job.watch(changed.set)
        try:
            while not job.has_ended:
                changed.clear()
                picture = None
                if job.previews > shown:
                    shown = job.previews
                    picture = Path(shutil.copy(job.preview_path, desk.place("preview.jpg")))
                if time.monotonic() - asked > EVERY and job.progress is not None and job.progress["losses"]:
                    asked = time.monotonic()
                    job.ask_preview()
                yield self._update(job, picture)
                changed.wait(LOOK)
        finally:
            end()

    def _update(self, job: StudioJob, picture: Path | None) -> Update:
        record, before = job.progress, self.service.before(job)
        if before is not None:
            return Update(f"Waiting for its turn, {before} before it" if before else "Waiting for its turn")
        if record is None:
            return Update(BEGINNING)
        share = record["done"] / record["total"] if record["total"] else 1.0
        return Update(_label(record, job.size), share, record["left"], picture)


def _check(job: StudioJob) -> None:
    """The error of a job that failed."""
    failure = job.failure
    if failure is not None:
        raise OptionError(failure.message, failure.option) if failure.option else ImpastoError(failure.message)


def _label(record: Mapping[str, Any], painting: tuple[int, int] | None) -> str:
    """What is being done, of a `Progress` as a mapping; a painting's (height, width) in px says how large it gets."""
    size = "" if painting is None else f" {painting[1]} \N{MULTIPLICATION SIGN} {painting[0]} px"
    step = f", step {record['done']:g} of {record['total']:g}" if record.get("losses") else ""
    return f"{WORDS[record['phase']]}{size}{step}"
