"""Animated GIF, WebP and APNG through Pillow: each frame with its own time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from impasto.errors import ImageError
from impasto.files import shown
from impasto.video.film import FilmFacts, FilmReader, Frame, Sound, StillPictureError

__all__ = ["ANIMATED", "AnimationReader"]

ANIMATED: Final = (".gif", ".webp", ".png", ".apng")
MILLI: Final = Fraction(1, 1000)
QUICK, USUAL = 10, 100  # ms: what is shorter, browsers show for this long


class AnimationReader(FilmReader):
    """An animation; times in milliseconds."""

    def __init__(self, path: Path) -> None:
        self.name, self.notes = shown(path), list[str]()
        try:
            self._image = image = Image.open(path)
            count = int(getattr(image, "n_frames", 1))
            if count < 2:
                image.close()
                raise StillPictureError(self.name)
            image.seek(0)
            image.load()
            may_be_clear, self._clear = _flagged(image), False
            self._durations = [self._duration(number, may_be_clear) for number in range(count)]
            image.seek(0)
            image.load()
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ImageError(f"{self.name}: cannot be read as an animation ({error})") from error
        total, loops = sum(self._durations), image.info.get("loop")
        if loops is None:
            loops = 1  # said nowhere: shown once
        self.facts = FilmFacts(
            self.name, (image.height, image.width), MILLI, Fraction(1000 * count, total), count, total / 1000,
            self._clear, int(loops),
        )  # fmt: skip

    def _duration(self, number: int, may_be_clear: bool) -> int:
        """Of a frame; whether something of it is transparent is seen on the way, because opaque files are flagged."""
        self._image.seek(number)
        self._image.load()  # WebP says how long a frame lasts when it is decoded
        if may_be_clear and not self._clear:
            self._clear = self._image.convert("RGBA").getchannel("A").getextrema() != (255, 255)
        found = round(self._image.info.get("duration", USUAL))
        return found if found >= QUICK else USUAL

    def items(
        self, begin: Fraction = Fraction(0), end: Fraction | None = None, *, decode: bool = True
    ) -> Iterator[Frame | Sound]:
        """See `FilmReader`."""
        if not decode:
            return
        at, first = 0, round(begin * 1000)
        for number, duration in enumerate(self._durations):
            if at + duration > first and (end is None or at < end * 1000):
                try:
                    self._image.seek(number)
                    pixels = np.asarray(self._image.convert("RGBA"))
                except (OSError, SyntaxError, ValueError, EOFError) as error:
                    self.notes.append(f"{self.name}: ends in a damaged place ({error}); what could be read is painted")
                    return
                alpha = np.ascontiguousarray(pixels[:, :, 3]) if self.facts.alpha else None
                early = max(0, first - at)
                rgb = np.ascontiguousarray(pixels[:, :, :3])
                yield Frame(rgb, max(0, at - first), duration - early, alpha)
            at += duration

    def close(self) -> None:
        """See `FilmReader`."""
        self._image.close()


def _flagged(image: Image.Image) -> bool:
    """Whether an animation's file says that something of it may be transparent."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
