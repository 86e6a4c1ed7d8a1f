"""What can be asked of a film beside how its frames are painted, and options of painting that change over time."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

from impasto.errors import OptionError
from impasto.files import check_named
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strokes import parse_scale
from impasto.stylizer.styles import Style, parse_style
from impasto.video.codecs import CodecName
from impasto.video.film import FilmFacts, parse_time
from impasto.video.steady import KEPT

__all__ = ["Changes", "FilmOptions", "split_numbers", "split_times"]

_AT = re.compile(r"(?P<value>.+)@(?P<time>\d[\d:.]*s?)")
_WEIGHT_AFTER = re.compile(r".+@\d[\d:.]*s:[\d.]+")
T = TypeVar("T")
Rows = tuple[tuple[Fraction, T], ...]
"""Values, and when each is the only one, in seconds of the film, in order."""


@dataclass(frozen=True)
class Changes:
    """Options of painting that change over time; from each time to the next, one value becomes the other.

    Attributes:
        style: fades, by weight.
        strength: goes in a straight line.
        style_scale: the size of strokes, doubles as it halves.
    """

    style: Rows[Style] = ()
    strength: Rows[float] = ()
    style_scale: Rows[float] = ()

    def __bool__(self) -> bool:
        return bool(self.style or self.strength or self.style_scale)

    def request(self, request: StylizeRequest, time: Fraction) -> StylizeRequest:
        """The request as it is at a time."""
        changes: dict[str, Any] = {}
        if self.style:
            before, after, share = _between(self.style, time)
            mixed = (Style(before.image, 1 - share), Style(after.image, share)) if share else (before,)
            changes["style"] = mixed
        if self.strength:
            before_strength, after_strength, share = _between(self.strength, time)
            changes["strength"] = before_strength + share * (after_strength - before_strength)
        if self.style_scale:
            before_scale, after_scale, share = _between(self.style_scale, time)
            changes["style_scale"] = before_scale * (after_scale / before_scale) ** share
        return request.with_changes(**changes) if changes else request

    def changed(self, time: Fraction, *, strength: bool) -> float:
        """How much of what paintings look like has changed up to a time since the beginning.

        1 is from one style to another, to strokes of twice or half the size, or, where `strength` counts, from none to
        full strength.
        """
        found = _gone(self.style, time, _other_style)
        found += _gone(self.style_scale, time, lambda one, other: abs(math.log2(other / one)))
        return found + (_gone(self.strength, time, lambda one, other: abs(other - one)) if strength else 0.0)

    def past(self, seconds: float) -> list[tuple[str, float]]:
        """(option, time) of each that has a time after these seconds, the film's."""
        rows = {"style": self.style, "strength": self.strength, "style_scale": self.style_scale}
        return [(name, float(row[-1][0])) for name, row in rows.items() if row and row[-1][0] > seconds]

    @property
    def heaviest(self) -> Fraction:
        """A time at which painting needs most memory: with the smallest strokes, a network sees the largest picture."""
        return min(self.style_scale, key=lambda row: row[1], default=(Fraction(0), 1.0))[0]


def _between(rows: Rows[T], time: Fraction) -> tuple[T, T, float]:
    """The value before a time, the one after it, and how far the time is from one to the other, from 0 to 1."""
    for (begin, before), (end, after) in itertools.pairwise(rows):
        if time <= begin:
            return before, before, 0.0
        if time < end:
            return before, after, float((time - begin) / (end - begin))
    return rows[-1][1], rows[-1][1], 0.0


def _gone(rows: Rows[T], time: Fraction, apart: Callable[[T, T], float]) -> float:
    """The way from value to value up to a time, when two of them are so far apart."""
    found = 0.0
    for (begin, before), (end, after) in itertools.pairwise(rows):
        share = float((time - begin) / (end - begin))
        found += apart(before, after) * min(max(share, 0.0), 1.0)
    return found


def _other_style(one: Style, other: Style) -> float:
    same = one.image is other.image or (isinstance(one.image, str) and isinstance(other.image, str) and one == other)
    return 0.0 if same else 1.0


def split_times(styles: Sequence[str]) -> tuple[list[str], Rows[Style]]:
    """Styles as ``NAME@4s``, without their times, and what these say: nothing where none has a time.

    >>> split_times(["great-wave@0s", "the-scream@4s"])[0]
    ['great-wave', 'the-scream']

    Raises:
        OptionError: times that are not in order, or that only some have; a weight beside a time.
    """
    for text in styles:
        if _WEIGHT_AFTER.fullmatch(text) and not os.path.exists(text):  # noqa: PTH110
            raise _weighted(text)
    rows = _timed("style", styles)
    for _, text in rows or ():
        if parse_style(text)[0] != text:
            raise _weighted(text)
    return (list(styles), ()) if rows is None else ([text for _, text in rows], tuple((t, Style(s)) for t, s in rows))


def _weighted(text: str) -> OptionError:
    told = "has a weight and a time, which exclude each other: leave out the weight, for times say how styles are mixed"
    return OptionError(f"`style` {text!r} {told}", "style")


def split_numbers(option: Literal["strength", "style_scale"], values: Sequence[str]) -> tuple[str, Rows[float]]:
    """Numbers as ``0.2@0s``: the first of them, and what the times say; nothing where there is one without a time.

    >>> split_numbers("strength", ["0.2@0s", "1@4s"])[0]
    '0.2'

    Raises:
        OptionError: several without times, no number, or one that the option cannot be.
    """
    for text in values:
        if "@" in text and not _AT.fullmatch(text):
            parse_time(text.rpartition("@")[2], option)
    rows = _timed(option, values)
    if rows is None:
        if len(values) > 1:
            raise OptionError(
                f"`{option}` is given {len(values)} times: say when each holds, such as 0.2@0s 1@4s", option
            )
        return values[0], ()
    numbers = []
    for time, text in rows:
        try:
            number = float(text)
        except ValueError:
            need = "need a number before the @, such as 1@4s"
            need += "; per cent and auto are for the whole film" if option == "style_scale" else ""
            raise OptionError(f"`{option}` is {text!r}, {need}", option) from None
        StylizeRequest.of(**{option: number})
        if option == "style_scale":
            parse_scale(number)
        numbers.append((time, number))
    return rows[0][1], tuple(numbers)


def _timed(option: str, texts: Sequence[str]) -> list[tuple[Fraction, str]] | None:
    """``VALUE@TIME`` as time and value, in order; None where none has a time."""
    found = [None if os.path.exists(text) else _AT.fullmatch(text) for text in texts]  # noqa: PTH110
    if not any(found):
        return None
    rows: list[tuple[Fraction, str]] = []
    for text, match in zip(texts, found, strict=True):
        if match is None:
            raise OptionError(f"`{option}` {text!r} has no time, and others have: write each as VALUE@4s", option)
        rows.append((parse_time(match["time"], option), match["value"]))
    times = [time for time, _ in rows]
    if times != sorted(set(times)):
        raise OptionError(f"times of `{option}` must be in order, each later than the one before", option)
    return rows


@dataclass(frozen=True)
class FilmOptions:
    """What is painted of a film, and how it is kept steady and written.

    Attributes:
        begin, end: the part that is painted, in seconds; None is the end of the film.
        every: paint every so many frames; the film lasts as long, with fewer of them.
        rate: frames a second of numbered pictures, 25 if not said.
        codec, crf: of films such as .mp4, see `codecs.codec_for`.
        kept: how much of the last painting goes on where it can be seen, in [0, 1); 0 paints frame by frame.
        changes: options of painting that change over time.
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
    changes: Changes = Changes()
    run: Path | None = None
    resume: bool = False

    def described(self) -> dict[str, Any]:
        """What decides on the frames, for a recipe; styles by their times alone, since the request names them."""
        changes = self.changes
        found = {
            "begin": float(self.begin),
            "end": None if self.end is None else float(self.end),
            "every": self.every,
            "kept": self.kept,
            "style_times": [float(time) for time, _ in changes.style],
            "strength": [[value, float(time)] for time, value in changes.strength],
            "style_scale": [[value, float(time)] for time, value in changes.style_scale],
        }
        return {name: value for name, value in found.items() if value not in (None, [])}

    def frames(self, facts: FilmFacts) -> int | None:
        """How many frames of a film there are to be painted, as far as that is known."""
        if facts.frames is None:
            return None
        count = float(facts.frames)
        if facts.seconds and (self.begin or self.end is not None):
            end = facts.seconds if self.end is None else min(facts.seconds, float(self.end))
            count *= max(0.0, end - float(self.begin)) / facts.seconds
        return max(1, math.ceil(round(count) / self.every))

    def __post_init__(self) -> None:
        check_named("run", self.run)
        if self.resume and self.run is None:
            raise OptionError("`resume` goes on with a run: say by `run` in which folder that is", "resume")
        if self.end is not None and self.end <= self.begin:
            raise OptionError("`end` must be later than `begin`")
        if self.every < 1:
            raise OptionError(f"`every` is {self.every}, need 1 or more")
        if not 0 <= self.kept < 1:
            raise OptionError(f"`kept` is {self.kept:g}, need a number from 0 and below 1", "kept")
        if self.rate is not None and not 0 < self.rate <= 1000:
            raise OptionError(f"`rate` is {float(self.rate):g}, need frames a second above 0 and up to 1000")
