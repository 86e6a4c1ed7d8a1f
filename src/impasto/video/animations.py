"""Animated GIF, WebP and APNG through Pillow: each frame with its own time."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from impasto.errors import ImageError
from impasto.files import shown
from impasto.video.film import FilmFacts, FilmReader, Frame, Sound, StillPictureError

__all__ = ["ANIMATED", "AnimationReader"]

ANIMATED: Final = (".gif", ".webp", ".png", ".apng")
MILLI: Final = Fraction(1, 1000)
DAMAGED: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)  # what Pillow raises
QUICK, USUAL = 10, 100  # ms: what is shorter, browsers show for this long


class AnimationReader(FilmReader):
    """An animation; times in milliseconds."""

    def __init__(self, path: Path) -> None:
        self.name, self.notes = shown(path), list[str]()
        file = _repaired(path)
        try:
            self._image = image = Image.open(file)
        except DAMAGED as error:
            reason = "no picture" if isinstance(error, UnidentifiedImageError) else error
            raise ImageError(f"{self.name}: cannot be read as an animation ({reason})") from error
        try:
            image.load()
            may_be_clear, self._clear = _flagged(image), False
            self._durations = [self._duration(0, may_be_clear)]
        except DAMAGED as error:
            image.close()
            raise ImageError(f"{self.name}: cannot be read as an animation ({error})") from error
        begun = _frames_begun(image)
        if begun == 1 and file is path:
            image.close()
            raise StillPictureError(self.name)
        with suppress(*DAMAGED):
            while len(self._durations) != begun:
                self._durations.append(self._duration(len(self._durations), may_be_clear))
        count = len(self._durations)
        if count != begun or file is not path:
            painted = "1 frame could be read, which is" if count == 1 else f"{count} frames could be read, which are"
            self.notes.append(f"{self.name}: is cut short, or damaged: {painted} painted")
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
                except DAMAGED as error:
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


def _repaired(path: Path) -> Path | BinaryIO:
    """The file itself; of a WebP whose end is missing, which nobody opens, what is whole of it."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] + head[8:] != b"RIFFWEBP" or 8 + int.from_bytes(head[4:8], "little") <= path.stat().st_size:
            return path
        data = head + file.read()
    end = after = len(head)
    while after <= len(data):
        end = after
        after += 8 + (int.from_bytes(data[end + 4 : end + 8], "little") + 1) // 2 * 2  # a chunk: name, size, even bytes
    return io.BytesIO(data[:4] + (end - 8).to_bytes(4, "little") + data[8:end])


def _frames_begun(image: Image.Image) -> int | None:
    """How many frames an animation has; None where a GIF ends in the head of one."""
    try:
        return int(getattr(image, "n_frames", 1))
    except DAMAGED:
        return None


def _flagged(image: Image.Image) -> bool:
    """Whether an animation's file says that something of it may be transparent."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA")
