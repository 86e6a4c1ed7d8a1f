"""What is typed as the value of an option is read without pydantic, which typer since 0.29 loads to read any value.

That takes a fifth of the time of a small picture. Typer still reads, and refuses in its words, whatever is not plainly
what is wanted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

__all__ = ["read_quickly"]


def read_quickly(parameters: Iterable[Any]) -> None:
    """From now on the values of these options and arguments of a command are read here first."""
    for parameter in parameters:
        typers, wanted = getattr(parameter, "get_runtime_param", None), getattr(parameter, "type_descriptor", None)
        if typers is not None and wanted is not None and "get_runtime_param" not in vars(parameter):
            parameter.get_runtime_param = partial(_Reader, typers, wanted.annotation, wanted.parameter_info)


class _Reader:
    """Has the place of what reads a parameter's value for typer.

    Args:
        typers: gives what it has the place of.
        kind: the type that is wanted.
        facts: with the limits of numbers, `min` and `max`.
    """

    def __init__(self, typers: Callable[[], Any], kind: Any, facts: Any) -> None:
        self._typers, self._kind, self._facts = typers, kind, facts

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value that was typed, or the default; what typer raises if it makes no sense."""
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        try:
            if not several:
                return self._read(value, self._kind)
            if get_origin(self._kind) is list and isinstance(value, list | tuple):
                return [self._read(one, get_args(self._kind)[0]) for one in value]
        except ValueError:
            pass
        return self._typers().coerce(value, param=param, ctx=ctx)

    def _read(self, value: Any, kind: Any) -> Any:
        """The value, if it is plainly what is wanted; ValueError if not."""
        if get_origin(kind) is Literal:
            return get_args(kind)[get_args(kind).index(value)]
        if kind is Path and isinstance(value, str) and (not os.path.exists(value) or os.access(value, os.R_OK)):  # noqa: PTH110
            return Path(value)
        if kind in (int, float) and isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d+)?", value, re.ASCII):
            value = kind(value)
        if type(value) is not kind or not self._is_within(value):
            raise ValueError
        return value

    def _is_within(self, value: Any) -> bool:
        least, most = self._facts.min, self._facts.max
        return (least is None or value >= least) and (most is None or value <= most)
