"""Fields of dataclasses: options that front ends make of them, described where they are obeyed, and their kinds."""

from __future__ import annotations

from collections import abc
from collections.abc import Mapping
from dataclasses import MISSING, field
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["is_a", "needed", "option"]


def option(default: Any = MISSING, help: str = "", metavar: str = "", **limits: float) -> Any:  # noqa: A002
    """A field with a line of help, which calls other fields by their names in backticks.

    `metavar` stands for its value on the command line; `least`, `above` and `most` bound its numbers. A field without a
    default must be given.
    """
    return field(default=default, metadata={"help": help, "metavar": metavar, **limits})


def is_a(value: object, kind: Any) -> bool:
    """Whether a value is of a field's kind, which `needed` names; no truth value is a number."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return any(is_a(value, one) for one in get_args(kind))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin in (int, float):
        return isinstance(value, Integral if origin is int else Real) and not isinstance(value, bool)
    if origin is abc.Mapping:
        of = get_args(kind)
        return isinstance(value, Mapping) and all(is_a(a, of[0]) and is_a(b, of[1]) for a, b in value.items())
    if origin is tuple:
        of = get_args(kind)
        return isinstance(value, tuple | list) and len(value) == len(of) and all(map(is_a, value, of))
    return isinstance(value, origin)


def needed(kind: Any) -> str:
    """What a field of a kind needs, as the end of a sentence."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return " or ".join(needed(one) for one in get_args(kind) if one is not NoneType)
    if origin is Literal:
        return " or ".join(get_args(kind))
    return _NEEDED[origin]


_NEEDED: Mapping[Any, str] = {
    str: "a text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    tuple: "two numbers",
    abc.Mapping: "a mapping of layers to numbers",
}
