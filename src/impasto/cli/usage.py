"""Groups of commands whose errors of usage are our one line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

from impasto.cli.common import options_of
from impasto.cli.reading import read_quickly
from impasto.errors import OptionError, nearest
from impasto.files import check_named

__all__ = ["Commands"]

_TYPED = "impasto.typed"  # where a context keeps the arguments of the command
_ENDLESS: Final = ("max_megapixels",)  # numbers that may be inf: no limit
_USAGE_ERROR: Any = typer.BadParameter.__base__  # of click, or of the copy that typer brings along


class Commands(TyperGroup):
    """A group of commands; what is wrong with how they are called is an `OptionError`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name, or None; its help flows as wide as the terminal is."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help:  # lines end where the source's do: the terminal's are others
            command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help)
        for parameter in command.params if command is not None else ():
            parameter.callback = parameter.callback or _sensible
        return command

    def get_params(self, ctx: Any) -> Any:
        """The options of the group, help among them."""
        found = super().get_params(ctx)
        read_quickly(found)
        return found

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name; OptionError, with the nearest name, if there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            path = _path(ctx)
            near = nearest(name, self.list_commands(ctx))
            raise OptionError(f"{path} has no command {name!r}{near}: see `{path} --help`")
        ctx.meta[_TYPED] = args[1:]
        found = super().resolve_command(ctx, args)
        if found[1] is not None:
            options_of(found[1])
            read_quickly(found[1].get_params(ctx))
        return found

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments of the group; OptionError says what is wrong with them."""
        with self.telling():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named; OptionError says what is wrong with its arguments."""
        with self.telling(ctx):
            return super().invoke(ctx)

    @contextmanager
    def telling(self, ctx: Any = None) -> Iterator[None]:
        """What is wrong with a command line, while it is read and run, as an `OptionError`."""
        try:
            yield
        except _USAGE_ERROR as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # help, which click asks for in this way
                raise
            raise _usage_error(error, ctx) from error


def _sensible(ctx: Any, parameter: Any, value: Any) -> Any:
    """The value of an option, as it is; OptionError for nan, for what is endless, and for a path that is empty."""
    name = parameter.name
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, float) and not (math.isfinite(one) or (one > 0 and name in _ENDLESS)):
            raise OptionError(f"`{name}` is {one}, need a finite number", name)
        if one == Path() and _is_empty(parameter.opts, ctx.meta.get(_TYPED, ())):
            check_named(name, "")
    return value


def _is_empty(flags: Iterable[str], typed: Iterable[str]) -> bool:
    """Whether one of these flags was typed with nothing for its value."""
    words = list(typed)
    return any(f"{flag}=" in words or (flag, "") in pairwise(words) for flag in flags)


def _usage_error(error: Any, group: Any) -> OptionError:
    """What click found wrong with a command line of the group's, in one sentence."""
    path = _path(error.ctx or group)
    if error.ctx is None and group is not None and group.invoked_subcommand:
        path = f"{path} {group.invoked_subcommand}"
    if error.ctx is not None and hasattr(error, "possibilities"):
        options = [option for parameter in error.ctx.command.params for option in _long(parameter.opts)]
        near = nearest(error.option_name, [*options, *_long(error.ctx.help_option_names)])
        said = f"{path} has no option {error.option_name}{near}"
        if file := _file_like(error.option_name, error.ctx.meta.get(_TYPED, ())):
            return OptionError(f"{path} has no option {file}: if that is a file, write ./{file}")
    else:
        said = f"{path}: {_said(error)}"
    return OptionError(f"{said}: see `{path} --help`")


def _file_like(option: str, typed: Iterable[str]) -> str | None:
    """What was typed that click read as this option, if it is the name of a file, or of a picture."""
    from impasto.imaging.naming import is_photo

    words = (word for word in typed if word.startswith(option))
    return next((word for word in words if is_photo(word) or os.path.exists(word)), None)  # noqa: PTH110


def _said(error: Any) -> str:
    """Click's own sentence, as ours begin and end, with the value that it leaves out."""
    text = str(error.format_message()).rstrip(".")
    errors = getattr(error.__cause__, "errors", None)  # of pydantic, which reads the values for newer versions of typer
    if errors is not None and error.param is not None:
        text = f"{error.param.opts[0]} {_of_value(str(error.message), errors()[0].get('input'))}"
    return text if text.startswith("-") else text[:1].lower() + text[1:]


def _of_value(message: str, value: object) -> str:
    """``Input should be a valid integer, unable to ...`` -> ``'abc': need a valid integer``."""
    message = message.removeprefix("Value error, ").rstrip(".")
    if choice := re.fullmatch(r"('.*') is not one of (.*)", message):
        return message + nearest(choice[1], re.findall(r"'(.*?)'", choice[2]))
    if should := re.match(r"Input should be ((?:a|an) [^,]*)", message):
        return f"{value!r}: need {should[1]}"
    return f"{value!r}: {message.replace('Input should be', 'must be')}"


def _long(options: Iterable[str]) -> list[str]:
    return [option for option in options if option.startswith("--")]


def _path(ctx: Any) -> str:
    """The command as it is typed, whatever file it was started from."""
    names: list[str] = []
    while ctx is not None and ctx.parent is not None:
        names, ctx = [str(ctx.info_name), *names], ctx.parent
    return " ".join(["impasto", *names])
