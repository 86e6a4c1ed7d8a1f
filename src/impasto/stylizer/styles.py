"""Styles as users give them: pictures or names, with weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Set, ValuesView
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

from impasto.errors import OptionError, require, told

if TYPE_CHECKING:
    from pathlib import Path

    from impasto.types import PictureSource, Styles

__all__ = ["Style", "StyleRecord", "as_styles", "check_picture", "parse_style", "records", "records_in"]

_SEVERAL = {
    "style": "a list of pictures, or a dict of pictures with their weights",
    "mask": "a list of pictures, a mask for each style",
}


@dataclass(frozen=True)
class StyleRecord:
    """A style that a network knows by name; what is not known is None."""

    name: str
    title: str | None = None
    artist: str | None = None
    year: str | None = None


def records(description: Mapping[str, Any]) -> tuple[StyleRecord, ...]:
    """The styles that a trained file says it knows."""
    known = [field.name for field in fields(StyleRecord)]
    return tuple(StyleRecord(**{key: row[key] for key in known if row.get(key)}) for row in description["styles"])


def records_in(path: Path) -> tuple[StyleRecord, ...]:
    """The styles that the network in a file knows, ours or somebody else's. WeightsError if there is none."""
    if path.suffix == ".safetensors":
        from impasto.core.metadata import read_metadata

        return records(read_metadata(path))
    require("torch safetensors", "torch", "opening other people's networks")
    from impasto.networks.checkpoint import load_model

    return records(load_model(path)[1])


@dataclass(frozen=True)
class Style:
    """A style picture (a path, PIL image, array or tensor) and its weight among the others, a number above 0."""

    image: PictureSource
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_picture("style", self.image)
        is_number = isinstance(self.weight, Real) and not isinstance(self.weight, bool)
        if not (is_number and 0 < self.weight < math.inf):
            raise OptionError(f"the weight of a style must be a number above 0, got {told(self.weight)}", "style")


def check_picture(name: str, value: object) -> None:
    """OptionError for what can be no picture in the option of this name; what is in a file is seen when it is read."""
    if isinstance(value, str | os.PathLike):
        return
    from impasto.imaging.reading import is_source  # here: help needs no numpy

    if not is_source(value):
        got = type(value).__name__
        if name in _SEVERAL and isinstance(value, Set | Iterator | ValuesView):  # in no order, or gone when seen once
            raise OptionError(f"`{name}` is of type {got}, need {_SEVERAL[name]}", name)
        raise OptionError(f"`{name}` is of type {got}, need a path, PIL image, array, tensor or open file", name)


def parse_style(text: str) -> tuple[str, float]:
    """``PATH``, ``PATH:WEIGHT`` or ``NAME:WEIGHT`` -> (path or name, weight). ``C:`` is a drive, not a name.

    >>> parse_style("waves.jpg"), parse_style("great-wave:0.7")
    (('waves.jpg', 1.0), ('great-wave', 0.7))
    """
    head, colon, tail = text.rpartition(":")
    drive = len(head) == 1 and head.isalpha()
    if not colon or drive or os.path.exists(text):  # noqa: PTH110  Path raises where a name is too long
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not head or not (weight > 0 and math.isfinite(weight)):
        raise OptionError(f"style {text!r}: the weight after the colon must be a number above 0, got {tail!r}", "style")
    return head, weight


def as_styles(style: Styles) -> Iterator[Style]:
    """One or several styles, however they were given. OptionError for a weight that is none."""
    rows: list[Any] = style if isinstance(style, list) else [style]
    for item in rows:
        if isinstance(item, Style):
            yield item
        elif isinstance(item, tuple):
            if len(item) != 2:
                raise OptionError(
                    f"a style in brackets is (picture, weight), got {len(item)} things: use a list", "style"
                )
            yield Style(*item)
        elif isinstance(item, str):
            yield Style(*parse_style(item))
        else:
            yield Style(item)
