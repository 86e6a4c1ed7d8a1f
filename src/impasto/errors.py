"""Every error that a user can cause: one tree, one sentence each (what, got, fix)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

NEAR = 0.75  # of the letters of two names that are alike; at less, "relu5_1" would be meant by "relu9_9"
_OPTION = re.compile(r"`([a-z_]+)`")

__all__ = [
    "DataError",
    "DivergenceError",
    "ImageError",
    "ImpastoError",
    "LayerError",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "WeightsError",
    "check_kind",
    "counted",
    "in_figures",
    "load_library",
    "nearest",
    "require",
    "told",
]


class ImpastoError(Exception):
    """Base of all errors a user can cause; ``str(error)`` is one sentence fit to be shown as it is."""


class ImageError(ImpastoError):
    """A picture that cannot be read: missing, empty, truncated, too small, too large, not a picture."""


class OutputError(ImpastoError):
    """A place that cannot be written: exists already, is the input itself, disk full, format unknown."""


class OptionError(ImpastoError):
    """An option, or a combination of options, that makes no sense.

    Sentences call an option by its Python name in backticks, such as `max_memory`; a front end may show it as it is
    written there.

    Attributes:
        option: the Python name of the option that is to be changed; None where it is not one alone.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        named = _OPTION.search(message)
        self.option = option or (named[1] if named else None)


class LayerError(ImpastoError):
    """A layer that the backbone lacks; the message lists those it has."""


class WeightsError(ImpastoError):
    """Weights that are absent, damaged, of the wrong shape or not what they claim to be."""


class DataError(ImpastoError):
    """A data set, recipe or run folder that cannot be used."""


class DivergenceError(ImpastoError):
    """An optimisation or a training whose loss stays non-finite after every remedy."""


class MissingExtraError(ImpastoError):
    """An optional library that is not installed; the message names the extra.

    Attributes:
        library, extra: what is missing, and what installs it.
        what: what needs it.
    """

    def __init__(self, library: str, extra: str, what: str = "this") -> None:
        self.library, self.extra, self.what = library, extra, what
        super().__init__(f"{what} needs {library}, which is not installed: pip install 'impasto[{extra}]'")


def counted(number: int, what: str) -> str:
    """``1 style``, ``2 styles``.

    >>> counted(1, "style"), counted(0, "mask")
    ('1 style', '0 masks')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def told(value: object) -> str:
    """What a sentence says of a value that is wrong: itself where that is short, or else its type.

    >>> told("x"), told([0] * 1000)
    ("'x'", 'a value of type list')
    """
    text = repr(value)
    return text if len(text) <= 60 and "\n" not in text else f"a value of type {type(value).__name__}"


def in_figures(value: float, figures: int = 4) -> str:
    """A number for people, in so many figures; a large one to the last before the point, never with an exponent.

    >>> in_figures(12.3456), in_figures(10000), in_figures(123456.7)
    ('12.35', '10000', '123457')
    """
    return f"{value:.0f}" if abs(value) >= 10**figures - 0.5 else f"{value:.{figures}g}"


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], need: str) -> None:
    """OptionError unless the value of this option is of these types; `need` says what it has to be."""
    if not isinstance(value, kinds):
        raise OptionError(f"`{name}` is {told(value)}, need {need}", name)


def require(modules: str, extra: str, what: str) -> None:
    """MissingExtraError unless all `modules`, separated by spaces, can be found; nothing is loaded.

    For the beginning of what would fail at an import far below:
    ``require("torch lightning_fabric", "train", "training")``.
    """
    for module in modules.split():
        try:
            found = find_spec(module)
        except ImportError:
            found = None
        if found is None:
            raise MissingExtraError(module.replace("_", "-"), extra, what)


def load_library(module: str, extra: str, what: str) -> Any:
    """An optional library, loaded; MissingExtraError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(module.partition(".")[0].replace("_", "-"), extra, what) from error


def nearest(word: object, known: Iterable[str]) -> str:
    """What follows a name that is not among those `known`; empty if none is like it.

    >>> nearest("grate_wave", ["great-wave", "the-scream"])
    " (did you mean 'great-wave'?)"

    Case, and whether words are joined by hyphens or underscores, do not count; a part of a name is like it.
    """
    names = {_folded(name): name for name in known}
    wanted = _folded(str(word))
    like = get_close_matches(wanted, names, n=1, cutoff=NEAR)
    if not like and len(wanted) >= 3:
        like = sorted((name for name in names if wanted in name), key=len)
    return f" (did you mean {names[like[0]]!r}?)" if like else ""


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")
