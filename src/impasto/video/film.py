"""A film inside the program: its frames with their times, what is beside the frames, and what is known of the whole."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from impasto.errors import ImageError, OptionError, load_library

__all__ = [
    "FilmFacts",
    "FilmReader",
    "Frame",
    "Sound",
    "StillPictureError",
    "as_bytes",
    "as_floats",
    "load_av",
    "load_cv2",
    "parse_time",
]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
ROWS: Final = 32  # that are worked on at a time


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, upright.

    Attributes:
        rgb: (H, W, 3), sRGB-encoded.
        pts: when it is shown, in time bases of its film.
        duration: how long, in time bases; 0 where that is not known.
        alpha: (H, W), or None.
    """

    rgb: Bytes
    pts: int
    duration: int = 0
    alpha: Bytes | None = None


@dataclass(frozen=True, eq=False)
class Sound:
    """A packet of a stream that is no picture: sound, subtitles, data. `shift` is taken off its times, in seconds."""

    packet: Any
    shift: Fraction = Fraction(0)


@dataclass(frozen=True)
class FilmFacts:
    """What is known of a film before its frames are read.

    Attributes:
        name: as messages name it.
        size: (height, width) of its frames in px, upright.
        time_base: seconds that one unit of a frame's time lasts.
        rate: frames a second on average; None where that is not known.
        frames: how many there are, or should be; None where that is not known.
        seconds: how long it lasts; None where that is not known.
        alpha: whether its frames have transparency.
        loops: how often an animation is shown, 0 for ever; None for films.
        pixel: width of a pixel divided by its height.
        notes: sentences about what was changed in reading.
    """

    name: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None = None
    frames: int | None = None
    seconds: float | None = None
    alpha: bool = False
    loops: int | None = None
    pixel: Fraction = Fraction(1)
    notes: tuple[str, ...] = field(default=(), compare=False)


class StillPictureError(ImageError):
    """A photo is where a film should be."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: is a still picture, need a film, an animation or numbered pictures")


class FilmReader(ABC):
    """A film that is being read; a context manager, which closes it.

    Attributes:
        facts: what is known of it.
        notes: sentences about what was met while reading.
    """

    facts: FilmFacts
    notes: list[str]

    @abstractmethod
    def items(
        self, begin: Fraction = Fraction(0), end: Fraction | None = None, *, decode: bool = True
    ) -> Iterator[Frame | Sound]:
        """Frames, and what comes between them, in the order of the file; times begin at `begin`, in seconds.

        Without `decode` what is beside the frames alone, without a look at them.
        """

    def frames(self, begin: Fraction = Fraction(0), end: Fraction | None = None) -> Iterator[Frame]:
        """The frames alone."""
        return (item for item in self.items(begin, end) if isinstance(item, Frame))

    @property
    def container(self) -> Any:
        """PyAV's container with the streams beside the picture; None where there are none."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_floats(pixels: Bytes) -> Floats:
    """Bytes as float32 in [0, 1]."""
    found: Floats = np.divide(pixels, np.float32(255), dtype=np.float32)
    return found


def as_bytes(values: Floats, white: float = 255) -> Bytes:
    """[0, 1], or up to 255 where `white` is 1, as bytes, rounded to nearest; what lies outside is clipped."""
    cv2, found = load_cv2(), np.empty(values.shape, np.uint8)
    for top in range(0, len(values), ROWS):  # a part at a time stays in the processor's cache
        cv2.convertScaleAbs(np.maximum(values[top : top + ROWS], 0), dst=found[top : top + ROWS], alpha=white)
    return found


def parse_time(text: str, option: str) -> Fraction:
    """Seconds of ``12.5``, ``12.5s``, ``1:02.5`` or ``1:00:02``.

    >>> parse_time("1:02.5", "begin")
    Fraction(125, 2)

    Raises:
        OptionError: none of these.
    """
    parts = text.strip().removesuffix("s").split(":")
    if len(parts) > 3 or not all(re.fullmatch(r"\d+(\.\d+)?", part) for part in parts):
        raise OptionError(f"`{option}` is {text!r}: give a time such as 12.5, 12.5s or 1:02.5", option)
    seconds = Fraction(0)
    for part in parts:
        seconds = 60 * seconds + Fraction(part)
    return seconds


def load_av(what: str = "reading and writing films") -> Any:
    """PyAV, or MissingExtraError. Its encoder of AV1, which tells of all its settings, is asked for errors alone."""
    os.environ.setdefault("SVT_LOG", "1")
    return load_library("av", "video", what)


def load_cv2() -> Any:
    """OpenCV, or MissingExtraError."""
    return load_library("cv2", "video", "keeping a film steady")
