"""Which options of writing a picture a file of its format obeys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import Final

from impasto.errors import OptionError
from impasto.imaging.formats import FORMATS, find_format
from impasto.stylizer.request import OutputOptions

__all__ = ["check_written", "obeyed_options"]

OBEYING: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"jpeg_quality": ("jpeg", "webp", "avif", "heic"), "png_compression": ("png", "tiff")}
)
"""Option -> the formats that have such a thing; others hold for all."""


def check_written(given: Iterable[str], outputs: Iterable[str | PathLike[str]]) -> None:
    """OptionError for an option, of those `given`, that none of the outputs' formats obeys."""
    formats = dict.fromkeys(map(find_format, outputs))
    for name in given:
        if formats and not any(key in OBEYING.get(name, formats) for key in formats):
            *others, last = (FORMATS[key].name for key in OBEYING[name])
            written = " and ".join(FORMATS[key].name for key in formats)
            told = f"`{name}` is for {', '.join(others)} and {last}, and {written} is written"
            raise OptionError(f"{told}: leave it out, or choose another format", name)


def obeyed_options(options: OutputOptions, output: str | PathLike[str]) -> OutputOptions:
    """Of options that were given for outputs of several formats those that this one obeys."""
    key = find_format(output)
    kept = [name for name in options.given if key in OBEYING.get(name, (key,))]
    return OutputOptions.of(**{name: getattr(options, name) for name in kept})
