"""Options of commands: made from fields that are described elsewhere, and how messages write their names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_origin, get_type_hints

import typer

if TYPE_CHECKING:
    from impasto.stylizer.options import Option
    from impasto.stylizer.request import OutputOptions, StylizeRequest

__all__ = ["Written", "command_of", "described_parameters", "given_on", "option_parameters", "takes"]

NOT_HERE = frozenset({"settings"})  # fields that only programs set
AS_LIST = frozenset({"style", "mask"})
OF_RUNS = {"save_every": "--save-every"}  # of the commands that leave a run, named by those that look at it
SHORT = {"style": "-s", "output": "-o", "layer": "-l", "jobs": "-j"}
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Parameters = Mapping[str, tuple[Any, Any]]
"""Name -> (annotated type as typer reads it, default) of a command's options and arguments."""


class Written:
    """Names of options in sentences of the library, as a command line has them: `max_memory` -> --max-memory.

    Names of other things in backticks, and options that the command does not have, stay as they are.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)

    @classmethod
    def of_fields(cls, names: Iterable[str]) -> Written:
        """For the help of options that are made from these fields."""
        return cls({name: flags(name)[0] for name in names})

    @classmethod
    def of_command(cls, command: Any) -> Written:
        """For what is told while a command runs."""
        return cls({**OF_RUNS, **{parameter.name: _as_typed(parameter) for parameter in command.params}})

    def __call__(self, sentence: str) -> str:
        """The sentence, dashed."""
        return re.sub(r"`([a-z][a-z_]*)`", lambda match: self._names.get(match[1], match[0]), sentence)


def _as_typed(parameter: Any) -> str:
    """``--style``; ``-o/--output``, which people know by its letter; ``PHOTO``."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[].")
    return "-o/--output" if parameter.name == "output" else str(parameter.opts[0])


def option_parameters(*kinds: type[StylizeRequest | OutputOptions]) -> Parameters:
    """The options of a request's fields; `given_on` tells what is said from a default."""
    dashed = Written.of_fields(name for kind in kinds for name in kind.options)
    found = {}
    for kind in kinds:
        for name, option in kind.options.items():
            if name in NOT_HERE:
                continue
            plain = isinstance(option.default, bool | int | float | str)
            shown = typer.Option(
                *flags(name),
                help=dashed(option.help),
                metavar=option.metavar or None,
                rich_help_panel=option.group,
                show_default=plain and option.default is not False,
                min=option.limits.get("ge"),  # what a value must be above or below is told when it is given
                max=option.limits.get("le"),
            )
            found[name] = (Annotated[_type_of(name, option), shown], option.default if plain else None)
    return found


def described_parameters(
    kind: type[Any], arguments: Sequence[str] = (), last: type[Any] | None = None, *, short: bool = True
) -> Parameters:
    """The options and arguments of a dataclass whose fields are made by `impasto.fields.option`.

    Args:
        kind: the dataclass.
        arguments: fields that go without a flag.
        last: whose fields come last, of the classes that it inherits from.
        short: whether flags have their letters.
    """
    hints, dashed = get_type_hints(kind), Written.of_fields(field.name for field in fields(kind))
    at_the_end = () if last is None else {field.name for field in fields(last)}
    found = {}
    for field in sorted(fields(kind), key=lambda field: field.name in at_the_end):
        hint, default, facts = hints[field.name], field.default, field.metadata
        either = hint == (bool | None)  # not given is neither yes nor no
        flag, *letter = flags(field.name)
        spelled = (f"{flag}/--no-{flag[2:]}" if either else flag, *(letter if short else ()))
        is_argument = field.name in arguments
        shown = (typer.Argument if is_argument else typer.Option)(
            *(() if is_argument else spelled),
            help=dashed(facts["help"]),
            metavar=facts["metavar"] or None,
            show_default=default not in (MISSING, None, "", (), False),
            min=facts.get("least"),
        )
        parsed = list[str] if get_origin(hint) is tuple else hint
        found[field.name] = (Annotated[parsed, shown], _default(field))
    return found


def flags(name: str) -> tuple[str, ...]:
    """``--style``, ``-s``."""
    return ("--" + name.replace("_", "-"), *([SHORT[name]] if name in SHORT else []))


def command_of(parameters: Parameters) -> Callable[[F], F]:
    """Give a function ``f(ctx, **given)``, or ``f(**given)``, the signature that typer reads."""

    def decorate(function: F) -> F:
        context = {"ctx": (typer.Context, inspect.Parameter.empty)}
        wanted = context if "ctx" in inspect.signature(function).parameters else {}
        signed = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in {**wanted, **parameters}.items()
        ]
        function.__signature__ = inspect.Signature(signed)  # type: ignore[attr-defined]
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in signed}
        return function

    return decorate


def takes(kind: type[T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Make a command of ``f(options)``, whose options are the fields of the dataclass `kind`, as typer has them."""
    hints = get_type_hints(kind, include_extras=True)
    parameters = {field.name: (hints[field.name], _default(field)) for field in fields(kind)}  # type: ignore[arg-type]

    def decorate(function: Callable[[T], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            function(kind(**given))

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command_of(parameters)(command)

    return decorate


def given_on(ctx: typer.Context) -> dict[str, Any]:
    """The options and arguments that are on the command line, with their values."""
    found = {}
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name and source is not None and source.name == "COMMANDLINE":
            value = ctx.params[parameter.name]
            found[parameter.name] = list(value) if isinstance(value, tuple) else value  # as typer before 0.29 has it
    return found


def _default(field: Field[Any]) -> Any:
    if isinstance(field.default, tuple):
        return list(field.default)
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _type_of(name: str, option: Option) -> Any:
    """What typer is to parse; what a request takes as text, or is checked there, is text."""
    if name in AS_LIST:
        return list[str] | None
    kind = option.kinds[0]
    if kind is bool or (option.choices and not option.may_be_none):
        return kind
    return (kind if len(option.kinds) == 1 and (option.choices or kind in (int, float)) else str) | None
