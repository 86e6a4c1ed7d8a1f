"""Options of commands made from the fields of a request, so that each is described once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer

from impasto.stylizer.request import OutputOptions, StylizeRequest

__all__ = ["command_of", "dashed", "given_on", "option_parameters"]

NOT_HERE = frozenset({"settings"})  # fields that only programs set
AS_LIST = frozenset({"style", "mask"})
SHORT = {"style": ("-s",), "output": ("-o",), "jobs": ("-j",)}
F = TypeVar("F", bound=Callable[..., Any])


def option_parameters(*kinds: type[StylizeRequest | OutputOptions]) -> dict[str, Any]:
    """Name -> annotated type, as typer wants it, of every field; None is what is not said."""
    found = {}
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if name in NOT_HERE:
                continue
            facts: Mapping[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            default = field.default if field.default not in (None, False, ()) else False
            shown = typer.Option(
                *flags(name),
                help=field.description,
                metavar=facts["metavar"] or None,
                rich_help_panel=facts["group"],
                show_default=str(default) if default is not False else False,
            )
            found[name] = Annotated[_type_of(name, field.annotation), shown]
    return found


def flags(name: str) -> tuple[str, ...]:
    """``--style``, ``-s``."""
    return ("--" + name.replace("_", "-"), *SHORT.get(name, ()))


def command_of(options: Mapping[str, Any]) -> Callable[[F], F]:
    """Give a function ``f(ctx, **given)`` the signature that typer reads, each option being None by default."""

    def decorate(function: F) -> F:
        parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        for name, annotation in options.items():
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            )
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return function

    return decorate


def given_on(ctx: typer.Context) -> dict[str, Any]:
    """The options and arguments that are on the command line, with their values."""
    found = {}
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name and source is not None and source.name == "COMMANDLINE":
            found[parameter.name] = ctx.params[parameter.name]
    return found


def dashed(sentence: str) -> str:
    """A sentence of the library with options as the command line has them: `max_memory` -> --max-memory."""
    return re.sub(r"`([a-z][a-z_]*)`", lambda match: "--" + match[1].replace("_", "-"), sentence)


def _type_of(name: str, annotation: Any) -> Any:
    """What typer is to parse; what a request takes as text, or is checked there, is text."""
    if name in AS_LIST:
        return list[str] | None
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    if get_origin(annotation) is Literal:
        return annotation | None
    simple = [kind for kind in kinds if kind in (bool, int, float) or get_origin(kind) is Literal]
    return (simple[0] if len(kinds) == 1 and simple else str) | None
