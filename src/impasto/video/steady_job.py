"""A film that another program painted, without its flicker, as a job."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from impasto.core.memory import held_memory
from impasto.errors import check_kind
from impasto.files import shown
from impasto.stylizer.job import JobPlan, Output
from impasto.stylizer.request import StylizeRequest
from impasto.video.film import FilmReader
from impasto.video.job import FRAMES_HELD, FilmJob
from impasto.video.options import FilmOptions
from impasto.video.painters import FilmPainter, OtherFilm
from impasto.video.reading import open_film

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine

__all__ = ["SteadyJob"]


class SteadyJob(FilmJob):
    """A film that another program painted, without its flicker; the flow is that of the film that was painted.

    Args:
        engine: whose memory it uses.
        painted: the painted film.
        like: the film that was painted, whose sound goes with it.
        output: where it goes.
        options: as of `FilmJob`.
    """

    def __init__(
        self, engine: Engine, painted: str, like: str, output: Output, options: FilmOptions | None = None
    ) -> None:
        check_kind("painted", painted, (str, os.PathLike), "a film, or a folder of numbered pictures")
        self._painted_path = painted
        self._other: FilmReader | None = None
        super().__init__(engine, like, StylizeRequest(), output, options)

    def _make_painter(self) -> FilmPainter:
        self._other = open_film(self._painted_path)  # its frames are taken in their order, whatever their times
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

    def _recipe_text(self) -> None:
        """None: how the frames were painted is not known."""

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
