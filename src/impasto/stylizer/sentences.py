"""What is wrong with the value of an option, in one sentence."""

from __future__ import annotations

import os
from collections import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_origin

from impasto.errors import OptionError, nearest

if TYPE_CHECKING:
    from impasto.stylizer.options import Option

__all__ = ["reason_of", "refusal"]

_KINDS: Final[Mapping[Any, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    os.PathLike: "a path",
    abc.Mapping: "a mapping of names to values",
}


def refusal(name: str, value: object, option: Option) -> OptionError:
    """That an option cannot have this value, and what it may be."""
    choices = option.choices
    if choices and isinstance(value, str):
        return OptionError(f"`{name}` {value!r} is unknown{nearest(value, choices)}: use {_listed(choices)}", name)
    return OptionError(f"`{name}` is {value!r}, need {_listed(choices) if choices else _wanted(option)}", name)


def reason_of(error: Exception) -> str:
    """Why what was read makes no sense; of a KeyError, which tells a name alone, that it is missing."""
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _wanted(option: Option) -> str:
    """``a number from 0 to 1``."""
    kinds, limits = [get_origin(kind) or kind for kind in option.kinds], option.limits
    low = f" from {limits['ge']}" if "ge" in limits else f" above {limits['gt']}" if "gt" in limits else ""
    high = f" to {limits['le']}" if "le" in limits else f" to below {limits['lt']}" if "lt" in limits else ""
    return (
        _listed([_KINDS[kind] for kind in kinds if kind in _KINDS])
        + low
        + (high or (" up" if low[:5] == " from" else ""))
    )


def _listed(words: Sequence[str]) -> str:
    """``draft, good or best``."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
