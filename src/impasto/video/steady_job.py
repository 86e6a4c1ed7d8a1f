"""A film that another program painted, without its flicker, as a job."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from impasto.core.memory import held_memory
from impasto.errors import DataError, ImageError, OptionError, check_kind
from impasto.files import shown
from impasto.stylizer.job import JobPlan, Output
from impasto.stylizer.recipe import Recipe, read_recipe
from impasto.stylizer.request import StylizeRequest
from impasto.video.film import FilmFacts, FilmReader
from impasto.video.film_recipe import is_film, read_film_recipe
from impasto.video.job import FRAMES_HELD, FilmJob
from impasto.video.numbered import find_pictures, is_numbered
from impasto.video.options import FilmOptions
from impasto.video.painters import FilmPainter, OtherFilm
from impasto.video.reading import open_film

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine

__all__ = ["SteadyJob"]

ALIKE: Final = 1.25  # times as wide a painted frame may be as the frame that was painted: sides are rounded, or cropped


class SteadyJob(FilmJob):
    """A film that another program painted, without its flicker; the flow is that of the film that was painted.

    Args:
        engine: whose memory it uses.
        painted: the painted film.
        like: the film that was painted, whose sound goes with it.
        output: where it goes.
        options: as of `FilmJob`; `kept` must be above 0.

    Raises:
        ImageError: a film cannot be read, or the frames of one have quite another shape than those of the other.
    """

    def __init__(
        self, engine: Engine, painted: str, like: str, output: Output, options: FilmOptions | None = None
    ) -> None:
        check_kind("painted", painted, (str, os.PathLike), "a film, or a folder of numbered pictures")
        if options is not None and not options.kept:
            raise OptionError("`kept` is 0, which changes nothing: leave it out, or give a number above 0", "kept")
        self._painted_path = painted
        self._other: FilmReader | None = None
        super().__init__(engine, like, StylizeRequest(), output, options)

    def _make_painter(self) -> FilmPainter:
        self._other = open_film(self._painted_path)  # its frames are taken in their order, whatever their times
        painted, like = self._other.facts, self.facts
        if not _are_alike(painted, like):
            self._other.close()
            sizes = [f"{shown(facts.name)} has {facts.size[1]}x{facts.size[0]} px" for facts in (painted, like)]
            raise ImageError(f"{', and '.join(sizes)}: need frames of one shape, a film and what was painted of it")
        return OtherFilm(self._other)

    def _open_film(self) -> FilmReader:
        return open_film(self.photo_path, rate=self.options.rate)

    def _plan_of_one(self) -> JobPlan:
        size = self._size()
        memory = held_memory() + FRAMES_HELD * math.prod(size)
        return JobPlan("steps", size, self.frames or 1, memory, None, ())

    def _by(self) -> str:
        return f"steadied as {shown(self.photo_path)} moves"

    def networks(self) -> dict[str, str]:
        """None."""
        return {}

    def computed_by(self) -> dict[str, str]:
        """Nothing."""
        return {}

    @property
    def computes_in(self) -> None:
        """None: another program painted."""
        return None

    def _recipe_text(self) -> str | None:
        """That of the painted film, if it carries one, and that it was steadied."""
        found = _recipe_of(self._painted_path) if self._output.recipe else None
        if found is None:
            return None
        return replace(found, film={**found.film, "steadied": self.options.kept}).to_text()

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `Job.inputs`."""
        return (*super().inputs, self._painted_path)

    @property
    def _films(self) -> tuple[str, ...]:
        return (*super()._films, self._painted_path)

    def _forget(self) -> None:
        super()._forget()
        if self._other is not None:
            self._other.close()


def _are_alike(painted: FilmFacts, like: FilmFacts) -> bool:
    """Whether frames have about the same shape, in their pixels or as they are shown."""
    one, other = (facts.size[1] / facts.size[0] for facts in (painted, like))
    shown_one, shown_other = one * float(painted.pixel), other * float(like.pixel)
    return any(1 / ALIKE <= ratio <= ALIKE for ratio in (one / other, shown_one / shown_other, one / shown_other))


def _recipe_of(film: str) -> Recipe | None:
    """What a painted film, or the first of painted pictures, carries; None where there is none, or none to be read."""
    with suppress(DataError, ImageError):
        return read_film_recipe(film) if is_film(film) else read_recipe(_first_of(film))
    return None


def _first_of(film: str) -> str | os.PathLike[str]:
    return find_pictures(film)[0] if is_numbered(film) else film
