"""What a given value means where one of certain types is wanted.

The command line, forms and tables give texts, and programs numbers of many kinds: "512" and 512.0 mean the whole
number, "yes" means True.
"""

from __future__ import annotations

import math
import operator
import os
from collections import abc
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin

__all__ = ["UnfitError", "meant"]

_TRUTHS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
_TEXTS: Final = (str, bytes, bytearray)


class UnfitError(ValueError):
    """A value, its one argument, that means nothing of what is wanted."""


def meant(given: Any, kinds: Sequence[Any], *, finite: bool = True) -> Any:
    """The value that was given if its type is among `kinds`, else the first of these that it can mean.

    Args:
        given: anything.
        kinds: bool, int, float, str, os.PathLike, Literal, Mapping; of others nothing is asked.
        finite: whether a number must not be infinite.

    Raises:
        UnfitError: it means none of them; with the one that is wrong, of a mapping's.
    """
    value = given.value if isinstance(given, Enum) else given
    if isinstance(value, str):
        value = str.__str__(value)  # the plain text of a numpy.str_, say
    if isinstance(value, bool) and bool not in kinds:  # Python counts with it, people do not
        raise UnfitError(given)
    for kind in (type(value),) if type(value) in kinds else kinds:
        try:
            return _as(kind, value, finite)
        except UnfitError:
            raise
        except (TypeError, ValueError, ArithmeticError, RuntimeError):  # whatever numbers of other libraries raise
            continue
    raise UnfitError(given)


def _as(kind: Any, value: Any, finite: bool) -> Any:
    origin = get_origin(kind) or kind
    if origin is bool:
        return _truth(value)
    if origin is int:
        return _whole(value)
    if origin is float:
        return _number(value, finite)
    if origin is str:
        return _text(value)
    if origin is abc.Mapping:
        return _mapping(value, get_args(kind)[1], finite)
    if origin is Literal:
        return get_args(kind)[get_args(kind).index(value)]
    if origin is os.PathLike and not isinstance(value, os.PathLike):
        raise TypeError
    return value


def _truth(value: Any) -> bool:
    word = _text(value).lower() if isinstance(value, _TEXTS) else str(int(value)) if value in (0, 1) else ""
    if word not in _TRUTHS:
        raise ValueError
    return _TRUTHS[word]


def _whole(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        pass
    if isinstance(value, _TEXTS):
        try:
            return int(value)
        except ValueError:
            value = float(value)  # "512.0"
    whole = int(value)
    if whole != value or abs(whole) >= 2**63:  # where a float is no number that somebody counted
        raise ValueError
    return whole


def _number(value: Any, finite: bool) -> float:
    number = float(value)
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, _TEXTS):
        raise TypeError
    return value if isinstance(value, str) else value.decode()


def _mapping(value: Any, of: Any, finite: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {meant(name, (str,)): one if of is Any else meant(one, (of,), finite=finite) for name, one in value.items()}
