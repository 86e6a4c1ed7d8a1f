"""The one place where the page meets the engine: previews, and paintings at full size with their progress.

Whatever is painted is a `Job` of an `Engine`; who wants another (a queue, a pool of processes) changes this module.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from impasto.errors import ImpastoError, OptionError
from impasto.imaging import Picture, read, write
from impasto.imaging.embedded import read_recipe
from impasto.imaging.reduced import read_reduced
from impasto.studio.limits import check_job
from impasto.studio.page.desk import at_most
from impasto.stylizer.job import Job, Output, Progress
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import gallery_styles

if TYPE_CHECKING:
    from impasto.studio.limits import Limits
    from impasto.studio.page.desk import Desk
    from impasto.stylizer.engine import Engine

__all__ = ["FORMATS", "Painter", "Update", "convert", "small"]

FORMATS: Final = {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tif"}
"""Formats that are offered for download -> suffix."""
MANY: Final = 1000  # pictures that a page is thought to paint: torch is worth its start
EVERY: Final = 0.7  # seconds between two pictures of an optimisation under way
WORDS: Final = {"reading": "Reading", "draft": "Drafting", "painting": "Painting", "writing": "Writing the file"}


@dataclass(frozen=True)
class Update:
    """How far a painting is.

    Attributes:
        label: what is being done, for people.
        share: how much of it is done, from 0 to 1; None where it cannot be told.
        left: seconds that the rest should take; None where nothing is known.
        picture: the picture so far, where there is a new one.
        note: a sentence to tell.
    """

    label: str
    share: float | None = None
    left: float | None = None
    picture: Picture | None = None
    note: str | None = None


class Painter:
    """Paints for the page on an engine that others may share.

    Args:
        engine: paints.
        limits: what visitors may ask for; None lets them have what `StylizeRequest` does.
    """

    def __init__(self, engine: Engine, limits: Limits | None = None) -> None:
        self.engine, self.limits = engine, limits
        engine.pictures = max(engine.pictures, MANY)
        self._warm = threading.Lock()

    def warm(self) -> None:
        """Have the gallery ready before the first preview, the first time; what goes wrong is told when it is used."""
        styles = gallery_styles()
        if not styles or not self._warm.acquire(blocking=False):  # never given back: once is enough
            return
        nothing = Picture(np.zeros((64, 64, 3), np.float32))
        with suppress(ImpastoError):
            self.preview(nothing, StylizeRequest.of(style=styles[0].name))

    def preview(self, photo: Picture, request: StylizeRequest) -> tuple[Picture, list[str]]:
        """A small picture painted at once, and what should be told of it. Errors as of `Engine.job` and `Job.run`."""
        with self.engine.job(photo, self._within(request)) as job:
            for _ in job.run():
                pass
            return job.result(), list(job.notes)

    def paint(self, desk: Desk, photo: Path, request: StylizeRequest, output: Path) -> Iterator[Update]:
        """Paint a photo's file into another, with its recipe; it is whole, or not there if the desk stops.

        Errors as of `Engine.job` and `Job.run`. Closing the generator stops.
        """
        limits = self.limits
        with self.engine.job(str(photo), self._within(request), output=Output(str(output))) as job:
            if limits is not None:
                check_job(job, steps=limits.steps, megapixels=limits.megapixels)
            desk.job = job
            ends = math.inf if limits is None else time.monotonic() + limits.seconds
            try:
                for update in self._watched(desk, job):
                    if time.monotonic() > ends:
                        raise OptionError(
                            "this takes longer than the server allows: choose a smaller `size`, or another `quality`"
                        )
                    yield update
                for note in job.notes:
                    yield Update("Painted", 1.0, note=note)
            finally:
                desk.job = None

    def _within(self, request: StylizeRequest) -> StylizeRequest:
        """The request, which reads no picture that is larger than the limits."""
        if self.limits is None:
            return request
        return request.with_changes(max_megapixels=min(request.max_megapixels, self.limits.megapixels))

    def _watched(self, desk: Desk, job: Job) -> Iterator[Update]:
        yield Update("Looking at what there is to do")
        plan = job.plan()
        height, width = plan.size
        size = f"{width} \N{MULTIPLICATION SIGN} {height} px"
        yield Update(f"Painting {size}", None if plan.seconds is None else 0.0, plan.seconds)
        steps, shown = job.as_optimisation(), time.monotonic()
        if desk.stopping:
            return
        with closing(job.run()) as records:
            for record in records:
                picture = None
                if steps is not None and steps.step and time.monotonic() - shown > EVERY:
                    picture = job.preview()
                    shown = time.monotonic()
                yield Update(_label(record, size), record.share, record.left, picture, record.note)


def _label(record: Progress, size: str) -> str:
    if record.losses:
        return f"{WORDS[record.phase]} {size}, step {record.done:g} of {record.total:g}"
    return f"{WORDS[record.phase]} {size}"


def small(path: Path, long_side: int) -> Picture:
    """A painted file, no larger than this, to be looked at."""
    return at_most(read_reduced(path, long_side=long_side), long_side)


def convert(path: Path, output: Path) -> Path:
    """A painted file in another format, with the recipe that it carries. Errors as of `imaging.read` and `write`."""
    write(read(path), output, recipe=read_recipe(path), force=True)
    return output
