"""What can be asked of a film beside how its frames are painted, and styles that change over time."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from impasto.errors import OptionError
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.styles import Style
from impasto.video.codecs import CodecName
from impasto.video.film import parse_time
from impasto.video.steady import KEPT

__all__ = ["FilmOptions", "StyleChanges", "split_times"]

_AT = re.compile(r"(?P<style>.+)@(?P<time>\d[\d:.]*s?)")


@dataclass(frozen=True)
class StyleChanges:
    """Styles and when each is the only one, in seconds of the film, in order; between two, one fades into the other."""

    rows: tuple[tuple[Fraction, Style], ...]

    def at(self, time: Fraction) -> tuple[Style, ...]:
        """The styles at a time, with their weights."""
        for (begin, before), (end, after) in zip(self.rows, self.rows[1:], strict=False):
            if time <= begin:
                return (before,)
            if time < end:
                share = float((time - begin) / (end - begin))
                return (Style(before.image, 1 - share), Style(after.image, share))
        return (self.rows[-1][1],)

    def request(self, request: StylizeRequest, time: Fraction) -> StylizeRequest:
        """The request with the styles of a time."""
        return request.model_copy(update={"style": self.at(time)})


def split_times(styles: Sequence[str]) -> tuple[list[str], StyleChanges | None]:
    """Styles as ``NAME@4s``, without their times, and what these say; None where none has a time.

    >>> split_times(["great-wave@0s", "the-scream@4s"])[0]
    ['great-wave', 'the-scream']

    Raises:
        OptionError: times that are not in order, or that only some have.
    """
    found = [None if os.path.exists(text) else _AT.fullmatch(text) for text in styles]  # noqa: PTH110
    if not any(found):
        return list(styles), None
    rows: list[tuple[Fraction, Style]] = []
    for text, match in zip(styles, found, strict=True):
        if match is None:
            raise OptionError(f"`style` {text!r} has no time, and others have: write each as NAME@4s", "style")
        rows.append((parse_time(match["time"], "style"), Style(match["style"])))
    times = [time for time, _ in rows]
    if times != sorted(set(times)):
        raise OptionError("times of `style` must be in order, each later than the one before", "style")
    return [str(style.image) for _, style in rows], StyleChanges(tuple(rows))


@dataclass(frozen=True)
class FilmOptions:
    """What is painted of a film, and how it is kept steady and written.

    Attributes:
        begin, end: the part that is painted, in seconds; None is the end of the film.
        every: paint every so many frames; the film lasts as long, with fewer of them.
        rate: frames a second of numbered pictures.
        codec, crf: see `codecs.codec_for`.
        kept: how much of the last painting goes on where it can be seen, in [0, 1); 0 paints frame by frame.
        changes: styles that change over time.
        run: a folder that keeps what is finished, in segments of two seconds.
        resume: go on with what is there.
    """

    begin: Fraction = Fraction(0)
    end: Fraction | None = None
    every: int = 1
    rate: Fraction | None = None
    codec: CodecName = "auto"
    crf: int | None = None
    kept: float = KEPT
    changes: StyleChanges | None = None
    run: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.begin:
            raise OptionError("`end` must be later than `begin`")
        if self.every < 1:
            raise OptionError(f"`every` is {self.every}, need 1 or more")
        if not 0 <= self.kept < 1:
            raise OptionError(f"`kept` is {self.kept:g}, need a number from 0 and below 1", "kept")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise OptionError(f"`rate` is {float(self.rate):g}, need frames a second above 0 and up to 1000")
