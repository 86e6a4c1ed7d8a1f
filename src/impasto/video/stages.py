"""From the frames of a film to those that are written: followed, painted, kept steady, by threads of their own."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from impasto.core.memory import release_blocks
from impasto.stylizer.job import Kept, Progress
from impasto.video.film import Bytes, FilmFacts, Frame, Sound
from impasto.video.following import Followed, Seen
from impasto.video.painters import LARGE, FilmPainter, Painting
from impasto.video.sparing import Moved, Together, together
from impasto.video.steady import Steadier
from impasto.video.threads import AHEAD, ahead, side_by_side

__all__ = ["FrameStages"]

Floats = NDArray[np.float32]
Item = Followed | Sound | None
Painted = Generator[tuple[Together, Bytes | None], None, None]
"""What is read, with the painting that does for it where that is made in advance."""


class FrameStages:
    """Paints the frames of a film and keeps them steady.

    Args:
        painter: of single frames.
        steadier: what keeps them steady; None paints frame by frame.
        facts: of the film.
        begin: when the first frame is shown, in seconds of the film.
        room: bytes that painting may take.
    """

    def __init__(
        self,
        painter: FilmPainter,
        steadier: Steadier | None,
        facts: FilmFacts,
        *,
        begin: Fraction = Fraction(0),
        room: int,
    ) -> None:
        self._painter, self._steadier, self._facts = painter, steadier, facts
        self._begin, self._room = begin, room

    def __call__(self, items: Iterator[Item]) -> Generator[Frame | Sound | Progress, None, None]:
        """Frames as they are written and what is between them; of an optimisation, a record after each step as well.

        It ends where the items do, or where there is no painting any more.
        """
        groups = ahead(self._together(items), 1 if self._large else AHEAD)
        with closing(groups) as fetched, closing(self._in_advance(fetched)) as rows:
            for several, painting in rows:
                for item, way in zip(several.items, several.ways, strict=True):
                    if item is None:
                        self._painter.skip()
                    elif isinstance(item, Sound):
                        yield item
                    else:
                        painted = yield from self._steadied(item, painting, way)
                        if self._painter.ended:
                            return
                        yield _as_written(item.frame, self._painter.finish(painted, item.frame, self._time(item)))

    @property
    def _large(self) -> bool:
        return math.prod(self._facts.size) > LARGE

    def _together(self, items: Iterator[Item]) -> Iterator[Together]:
        """The items that one painting does for."""
        steadier = self._steadier
        every, seen = (1, Seen()) if steadier is None else (self._painter.every, steadier.seen)
        return together(items, every, seen, keep=self._painter.finishes)

    def _in_advance(self, groups: Iterator[Together]) -> Painted:
        """What is read; with its painting where one is painted while those before are being kept steady."""
        painter = self._painter
        if painter.workers:
            # Both painting and steadying large frames keep all of the processor busy, and fill the memory together.
            beside = not self._large
            for several, painting in side_by_side(
                groups, self._in_one_go, painter.workers, painter.begin, in_advance=beside
            ):
                # What is painted needs its photo no more, unless that shows through.
                several = several if painter.finishes else several.unseen()
                yield several, painting
        else:
            for several in groups:
                yield several, None

    def _in_one_go(self, several: Together) -> Bytes | None:
        """The painting of a frame, without progress; None where there is none to be made."""
        one = several.painted
        if one is None or self._repeats(one):
            return None
        if self._large:
            release_blocks()  # of steadying, which painting has no use for, and of painting
        for _ in (steps := Kept(self._painting(one, self._room // self._painter.workers))):
            pass
        if self._large:
            release_blocks()
        return steps.value

    def _repeats(self, one: Followed) -> bool:
        return one.again and self._steadier is not None and self._painter.repeats

    def _painting(self, one: Followed, room: int) -> Painting:
        painter, steadier = self._painter, self._steadier
        time = self._time(one)
        last = steadier.carried(one, painter.look(time)) if steadier is not None and painter.goes_on else None
        return painter.paint(one.frame, time, last, room)

    def _time(self, one: Followed) -> Fraction:
        return one.frame.pts * self._facts.time_base + self._begin

    def _steadied(self, one: Followed, painting: Bytes | None, way: Floats | None) -> Painting:
        steadier, look = self._steadier, self._painter.look(self._time(one))
        if steadier is not None and self._repeats(one):
            return steadier.repeat(one)
        if steadier is not None and way is not None and painting is not None:
            return steadier(Moved(painting, way), one, look)
        if painting is None:
            for record in (steps := Kept(self._painting(one, self._room))):
                if record.losses:
                    yield record
            painting = steps.value
        return painting if steadier is None else steadier(painting, one, look)


def _as_written(frame: Frame, painted: Bytes) -> Frame:
    alpha = None if frame.alpha is None else _at_size(frame.alpha, (painted.shape[0], painted.shape[1]))
    return replace(frame, rgb=painted, alpha=alpha)


def _at_size(alpha: Bytes, size: tuple[int, int]) -> Bytes:
    if alpha.shape == size:
        return alpha
    from PIL import Image

    return np.asarray(Image.fromarray(alpha).resize(size[::-1], Image.Resampling.BILINEAR))
