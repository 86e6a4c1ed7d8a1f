"""What is wrong with the value of an option, in one sentence, made from what pydantic tells of it."""

from __future__ import annotations

import os
from collections import abc
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from impasto.errors import OptionError, nearest

__all__ = ["reason_of", "refusal", "sentence_of", "takes_numbers"]

_KINDS: Final[Mapping[Any, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    os.PathLike: "a path",
    abc.Mapping: "a mapping of names to values",
}


def sentence_of(error: ValidationError, fields: Mapping[str, FieldInfo]) -> OptionError:
    """The first thing that is wrong with one of these fields."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, OptionError):
        return cause
    name = str(first["loc"][0]) if first["loc"] else ""
    if name not in fields:
        return OptionError(f"`{name}` is no option{nearest(name, fields)}", name)
    return refusal(name, first["input"], fields[name])


def refusal(name: str, value: object, field: FieldInfo) -> OptionError:
    """That a field cannot have this value, and what it may be."""
    choices = _choices(field.annotation)
    if choices and isinstance(value, str):
        return OptionError(f"`{name}` {value!r} is unknown{nearest(value, choices)}: use {_listed(choices)}", name)
    return OptionError(f"`{name}` is {value!r}, need {_listed(choices) if choices else _wanted(field)}", name)


def takes_numbers(field: FieldInfo) -> bool:
    """Whether a field has numbers, and no truth values."""
    kinds = _kinds(field.annotation)
    return bool not in kinds and bool({int, float} & {*kinds})


def reason_of(error: Exception) -> str:
    """Why what was read makes no sense; of a KeyError, which tells a name alone, that it is missing."""
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _wanted(field: FieldInfo) -> str:
    """``a number from 0 to 1``."""
    kinds = _listed([_KINDS[kind] for kind in _kinds(field.annotation) if kind in _KINDS])
    limits = {type(row): row for row in field.metadata}
    low = f" from {limits[Ge].ge}" if Ge in limits else f" above {limits[Gt].gt}" if Gt in limits else ""
    high = f" to {limits[Le].le}" if Le in limits else f" to below {limits[Lt].lt}" if Lt in limits else ""
    return kinds + low + (high or (" up" if Ge in limits else ""))


def _choices(annotation: Any) -> tuple[str, ...]:
    """The texts that it may be, if it may be nothing else."""
    return next((get_args(kind) for kind in _parts(annotation) if get_origin(kind) is Literal), ())


def _kinds(annotation: Any) -> list[Any]:
    return [get_origin(kind) or kind for kind in _parts(annotation)]


def _parts(annotation: Any) -> list[Any]:
    """What an annotation is a union of, None aside."""
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [part for kind in get_args(annotation) if kind is not NoneType for part in _parts(kind)]
    return [annotation]


def _listed(words: Sequence[str]) -> str:
    """``draft, good or best``."""
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "".join(words)
