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


def meant(value: Any, kinds: Sequence[Any], *, finite: bool = True) -> Any:
    """The value as it is if its type is among `kinds`, else as the first of these that it can mean.

    Args:
        value: anything.
        kinds: bool, int, float, str, os.PathLike, Literal, Mapping; of others nothing is asked.
        finite: whether a number must not be infinite.

    Raises:
        UnfitError: it means none of them; with the one that is wrong, of a mapping's.
    """
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool) and bool not in kinds:  # Python counts with it, people do not
        raise UnfitError(value)
    for kind in (type(value),) if type(value) in kinds else kinds:
        try:
            return _as(kind, value, finite)
        except UnfitError:
            raise
        except (TypeError, ValueError, ArithmeticError, RuntimeError):  # whatever numbers of other libraries raise
            continue
    raise UnfitError(value)


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
    if whole != value:
        raise ValueError
    return whole


def _number(value: Any, finite: bool) -> float:
    number = float(value)
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError
    return number


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return value.decode()
    return str.__str__(value)  # of a subclass as well the plain text


def _mapping(value: Any, of: Any, finite: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return {meant(name, (str,)): one if of is Any else meant(one, (of,), finite=finite) for name, one in value.items()}
