"""What paints the frames of a film one by one: a network, an optimisation, or a film that is painted already."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.host import compute_with, computing_threads
from impasto.core.memory import held_memory, room_within
from impasto.errors import OptionError
from impasto.imaging import Picture
from impasto.imaging.colour import luminance
from impasto.stylizer.finishing import read_masks
from impasto.stylizer.job import JobPlan, Progress
from impasto.stylizer.model import Model
from impasto.stylizer.request import StylizeRequest
from impasto.video.film import Bytes, FilmFacts, FilmReader, Frame, as_bytes
from impasto.video.finish import Finish, as_picture_of, shares_of
from impasto.video.options import Changes
from impasto.video.sparing import LARGE_SPARED, SPARED
from impasto.video.steady import Carried

if TYPE_CHECKING:
    from impasto.light.job import LightJob
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.network_job import NetworkJob
    from impasto.stylizer.optimize_job import OptimizeJob

__all__ = ["FilmPainter", "OtherFilm", "Painting", "RequestPainter"]

Floats = NDArray[np.float32]
Painting = Generator[Progress, None, Bytes]
LATER: Final = 0.35  # of the steps of an optimisation, for frames that begin with the last painting
NEAR: Final = 200.0  # what staying near that is worth
SIDE_BY_SIDE: Final = 2  # frames that are painted at the same time
LARGE: Final = 1_000_000  # px of a frame that is painted alone


class FilmPainter(ABC):
    """Paints the frames of a film in order.

    Attributes:
        repeats: whether a frame that comes again has the painting that it had.
        goes_on: whether a painting begins with the last one.
        every: of so many frames that are kept steady, one is painted at least.
        workers: how many threads may paint at the same time; 0 where paintings have to be made in their turn.
        ended: whether there was no painting any more when one was asked for.
        finishes: whether something becomes of paintings when they are steady, see `finish`.
        regions: shares of the styles of several regions, see `Steadier`; none where all of a frame is of one.
    """

    repeats: bool
    goes_on: bool
    every: int
    workers: int
    ended: bool = False
    finishes: bool = False
    regions: Sequence[Floats] = ()

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

    def look(self, time: Fraction) -> float:
        """How much of what paintings look like has changed since the beginning, see `Changes.changed`."""
        return 0.0

    def finish(self, painted: Bytes, frame: Frame, time: Fraction) -> Bytes:
        """What is shown of a steady painting, (h, w, 3)."""
        return painted

    def begin(self) -> None:  # noqa: B027  only torch has anything to be told
        """To be called by each of several threads that will paint."""


@dataclass(eq=False)
class RequestPainter(FilmPainter):
    """Paints as a request says: all of a frame in full strength, and what is to be seen of that when it is steady.

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
        alike = not (self.changes.style or self.changes.style_scale)
        self.every = spared if self.steady and alike and len(self.request.mask) < 2 else 1
        # As a choice of what computes, it counts by pictures of a megapixel: half of them where few are painted.
        self.engine.pictures = max(1, math.ceil(self.frames * megapixels * (1 if self.every == 1 else 0.5)))
        blank = np.broadcast_to(np.float32(0), (*self.facts.size, 3))  # which takes no memory
        request = self.changes.request(self.request, self.changes.heaviest)
        self._first = self._job(Picture(blank, name=self.facts.name), request, None)
        self.model: Model | None = None if self._first.as_optimisation() else self._first.model  # type: ignore[union-attr]
        self.goes_on = self.model is None
        # To what mixes features a strength is a look of its own; all others mix the painting with the photo.
        self._mixes = self.model is not None and self.model.mixes_features
        self.repeats = alike and not (self._mixes and self.changes.strength)
        self.every = self.every if self.repeats and not self.goes_on else 1
        self.workers = 0 if self.goes_on else self._workers()
        masks = self._read_masks(request)
        self.regions = shares_of(masks) if len(masks) > 1 else ()
        keep_colors = request.keep_colors and request.colors_by != "histogram"
        self._finish = Finish(masks, keep_colors=keep_colors, by=self._first.resize_by)
        strengths = [self._strength(request.strength), *(self._strength(one) for _, one in self.changes.strength)]
        self.finishes = self._finish.changes(min(strengths))

    def _read_masks(self, request: StylizeRequest) -> list[Floats]:
        limits: dict[str, Any] = {"max_megapixels": request.max_megapixels, "budget": self.engine.limit(request)}
        size, styles, by = self._first.painting_size, max(1, len(request.style)), self._first.resize_by
        return read_masks(request.mask, size, styles=styles, by=by, **limits)

    def _strength(self, asked: float) -> float:
        """How strongly paintings are laid over the photo where so much is asked for."""
        return 1.0 if self._mixes else asked

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
        request, picture = self._whole(time), as_picture_of(frame, self.facts.name)
        if last is None or not self.goes_on:
            with self._job(picture, request, self.model) as job:
                painted = yield from job.paint_phase("painting", room)
            return as_bytes(painted.rgb)
        before = last.painting
        if request.keep_colors and request.colors_by != "histogram":  # which is optimised in grey
            before = np.repeat(luminance(before)[:, :, None], 3, axis=2)
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

    def look(self, time: Fraction) -> float:
        """See `FilmPainter`."""
        return self.changes.changed(time, strength=self._mixes)

    def finish(self, painted: Bytes, frame: Frame, time: Fraction) -> Bytes:
        """See `FilmPainter`."""
        strength = self.changes.request(self.request, time).strength if self.changes.strength else self.request.strength
        return self._finish(painted, frame, self._strength(strength))

    def _whole(self, time: Fraction) -> StylizeRequest:
        """The request at a time, for all of a frame in full strength; what is optimised keeps the colours it has."""
        request = self.changes.request(self.request, time)
        changes: dict[str, Any] = {"mask": self.regions}
        if not self._mixes:
            changes["strength"] = 1.0
        if not self.goes_on:
            changes["keep_colors"] = False
        return request.with_changes(**changes)


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
