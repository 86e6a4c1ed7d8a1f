"""What paints the frames of a film one by one: a network, an optimisation, or a film that is painted already."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.host import compute_with, computing_threads
from impasto.core.memory import held_memory, room_within
from impasto.errors import OptionError
from impasto.imaging import Picture
from impasto.imaging.colour import luminance
from impasto.stylizer.job import JobPlan, Progress
from impasto.stylizer.model import Model
from impasto.stylizer.request import StylizeRequest
from impasto.video.film import Bytes, FilmFacts, FilmReader, Frame, as_bytes, as_floats
from impasto.video.options import Changes
from impasto.video.sparing import LARGE_SPARED, SPARED
from impasto.video.steady import Carried

if TYPE_CHECKING:
    from impasto.light.job import LightJob
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.network_job import NetworkJob
    from impasto.stylizer.optimize_job import OptimizeJob

__all__ = ["FilmPainter", "OtherFilm", "Painting", "RequestPainter", "as_picture_of"]

Floats = NDArray[np.float32]
Painting = Generator[Progress, None, Bytes]
LATER: Final = 0.35  # of the steps of an optimisation, for frames that begin with the last painting
NEAR: Final = 200.0  # what staying near that is worth
SIDE_BY_SIDE: Final = 2  # frames that are painted at the same time
LARGE: Final = 1_000_000  # px of a frame that is painted alone


def as_picture_of(frame: Frame, name: str) -> Picture:
    """A frame as a picture."""
    alpha = None if frame.alpha is None or frame.alpha.all() else as_floats(frame.alpha)
    return Picture(as_floats(frame.rgb), alpha, name=name)


class FilmPainter(ABC):
    """Paints the frames of a film in order.

    Attributes:
        repeats: whether a frame that comes again has the painting that it had.
        goes_on: whether a painting begins with the last one.
        every: of so many frames that are kept steady, one is painted at least.
        workers: how many threads may paint at the same time; 0 where paintings have to be made in their turn.
        ended: whether there was no painting any more when one was asked for.
    """

    repeats: bool
    goes_on: bool
    every: int
    workers: int
    ended: bool = False

    @abstractmethod
    def size(self, facts: FilmFacts) -> tuple[int, int]:
        """(height, width) of a painted frame."""

    def ending(self, film: str) -> tuple[str, ...]:
        """What is to be told when all frames of the film of this name are painted."""
        return ()

    def skip(self) -> None:  # noqa: B027  only who reads along has anything to do
        """Pass over a frame that is painted already."""

    @abstractmethod
    def paint(self, frame: Frame, time: Fraction, last: Carried | None, room: int) -> Painting:
        """The painting, (h, w, 3), within so many bytes.

        `last` is what was painted before, where there is something.
        """

    def begin(self) -> None:  # noqa: B027  only torch has anything to be told
        """To be called by each of several threads that will paint."""


@dataclass(eq=False)
class RequestPainter(FilmPainter):
    """Paints as a request says.

    Args:
        engine: whose models are used.
        request: how each frame is painted.
        facts: of the film.
        frames: how many there are, as far as that is known.
        changes: options that change over time.
        steady: whether they are kept so steady that the painting of one does for those around it.
    """

    engine: Engine
    request: StylizeRequest
    facts: FilmFacts
    frames: int
    changes: Changes
    steady: bool = False

    def __post_init__(self) -> None:
        if self.request.style_scale is None:
            self.request = self.request.with_changes(style_scale=1.0)
        megapixels = math.prod(self.facts.size) / 1e6
        spared = LARGE_SPARED if math.prod(self.facts.size) > LARGE else SPARED
        self.every = spared if self.steady and not self.changes else 1
        # As a choice of what computes, it counts by pictures of a megapixel: half of them where few are painted.
        self.engine.pictures = max(1, math.ceil(self.frames * megapixels * (1 if self.every == 1 else 0.5)))
        blank = np.broadcast_to(np.float32(0), (*self.facts.size, 3))  # which takes no memory
        request = self.changes.request(self.request, self.changes.heaviest)
        self._first = self._job(Picture(blank, name=self.facts.name), request, None)
        self.repeats = not self.changes
        self.model: Model | None = None if self._first.as_optimisation() else self._first.model  # type: ignore[union-attr]
        self.goes_on = self.model is None
        self.every = 1 if self.goes_on else self.every
        self.workers = 0 if self.goes_on else self._workers()

    def size(self, facts: FilmFacts) -> tuple[int, int]:
        """See `FilmPainter`."""
        return self.plan().size

    def plan(self) -> JobPlan:
        """How one frame will be painted."""
        return self._first.plan()

    @property
    def need(self) -> int:
        """Bytes that painting a frame takes beside what the process holds."""
        return max(0, self.plan().memory - held_memory())

    @property
    def threads(self) -> int:
        """With how many threads torch computes each painting."""
        return max(1, computing_threads() // max(1, self.workers))

    def begin(self) -> None:
        """See `FilmPainter`."""
        if self.workers > 1:
            compute_with(self.threads)

    def _workers(self) -> int:
        """Two halves of the processor paint two frames sooner than all of it one and then the other.

        A device of its own has its own ways, and so has onnxruntime; a large frame keeps all of the processor busy by
        itself, and two of them fill the memory.
        """
        first, plan = self._first, self.plan()
        by = first.computed_by()
        room = room_within(self.engine.limit(self.request))
        alone = by.get("device") != "cpu" or computing_threads() < SIDE_BY_SIDE or math.prod(plan.size) > LARGE
        return 1 if alone or plan.how != "at once" or SIDE_BY_SIDE * self.need > room else SIDE_BY_SIDE

    @property
    def first(self) -> NetworkJob | LightJob | OptimizeJob:
        """The job of a first frame, for what is to be told of all."""
        return self._first

    def paint(self, frame: Frame, time: Fraction, last: Carried | None, room: int) -> Painting:
        """See `FilmPainter`."""
        request, picture = self.changes.request(self.request, time), as_picture_of(frame, self.facts.name)
        if last is None or not self.goes_on:
            with self._job(picture, request, self.model) as job:
                painted = yield from job.paint_phase("painting", room)
            return as_bytes(painted.rgb)
        before = self._unmixed(last.painting, picture, request)
        optimise = self._first.as_optimisation()
        steps = max(1, round(LATER * (optimise.steps if optimise is not None else 1)))
        changes = {"init": Picture(before), "steps": steps, "start_size": max(before.shape[:2])}
        with self._job(picture, request.with_changes(**changes), self.model) as job:
            if (optimise := job.as_optimisation()) is not None:
                optimise.near = (before, last.trust, NEAR)
            painted = yield from job.paint_phase("painting", room)
        return as_bytes(painted.rgb)

    def _job(
        self, picture: Picture, request: StylizeRequest, model: Model | None
    ) -> NetworkJob | LightJob | OptimizeJob:
        job = self.engine.job(picture, request, model=model, frame=True)
        if not hasattr(job, "paint_phase"):
            job.close()
            raise OptionError("frames of this size cannot be painted one by one: choose a smaller `size`", "size")
        return job  # type: ignore[return-value]

    def _unmixed(self, last: Floats, picture: Picture, request: StylizeRequest) -> Floats:
        """The last painting as the optimisation has it: without the photo's share, and grey if it paints in grey."""
        if 0 < request.strength < 1:
            photo = picture.resized((last.shape[0], last.shape[1])).rgb
            last = (photo + (last - photo) / request.strength).clip(0, 1)
        if request.keep_colors and request.colors_by != "histogram":
            last = np.repeat(luminance(last)[:, :, None], 3, axis=2)
        return last


class OtherFilm(FilmPainter):
    """Takes its frames from a film that another program painted."""

    repeats = goes_on = False
    every, workers = 1, 0

    def __init__(self, film: FilmReader) -> None:
        self._film, self._frames = film, film.frames()

    def skip(self) -> None:
        """See `FilmPainter`."""
        next(self._frames, None)

    def ending(self, film: str) -> tuple[str, ...]:
        """See `FilmPainter`."""
        name, told = self._film.facts.name, list[str]()
        if self.ended:
            told.append(f"{film}: has more frames than {name}: the steadied film ends with that")
        elif next(self._frames, None) is not None:
            told.append(f"{name}: has more frames than {film}: the steadied film ends with that")
        return (*told, *self._film.notes)

    def size(self, facts: FilmFacts) -> tuple[int, int]:
        """See `FilmPainter`."""
        return self._film.facts.size

    def paint(self, frame: Frame, time: Fraction, last: Carried | None, room: int) -> Painting:
        """See `FilmPainter`."""
        yield from ()
        found = next(self._frames, None)
        if found is None:
            self.ended = True
            return np.zeros((*self._film.facts.size, 3), np.uint8)
        return found.rgb
