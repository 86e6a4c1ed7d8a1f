"""Options, described once each, and classes of them, which check what they are given."""

from __future__ import annotations

import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType, NoneType, UnionType
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, Union, dataclass_transform, get_args, get_origin

from impasto.errors import OptionError, nearest
from impasto.stylizer.sentences import refusal
from impasto.stylizer.values import UnfitError, meant

__all__ = ["BOTH", "NETWORK", "OPTIMIZE", "Obeyed", "Option", "Options", "option"]

Obeyed = Literal["network", "optimize"]
BOTH: Final = ("network", "optimize")
NETWORK: Final = ("network",)
OPTIMIZE: Final = ("optimize",)


@dataclass(frozen=True)
class Option:
    """What is to be known of an option.

    Attributes:
        default: its value where it is not given.
        group: the heading that it stands under.
        obeyed_by: the methods that obey it.
        help: what it is for; other options are called by their names in backticks.
        metavar: stands for its value on the command line.
        limits: of its numbers: `ge` from, `gt` above, `le` to, `lt` to below.
        finite: whether its numbers must not be infinite.
        read: makes its value of what is given, before that is looked at by its type.
        plain: makes what JSON has of its value, where its type does not tell how.
        kinds: the types that its value may have, None aside.
        may_be_none: whether it may be None as well.
    """

    default: Any
    group: str
    obeyed_by: tuple[Obeyed, ...]
    help: str
    metavar: str
    limits: Mapping[str, float]
    finite: bool
    read: Callable[[Any], Any] | None
    plain: Callable[[Any], Any] | None
    kinds: tuple[Any, ...] = ()
    may_be_none: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that its value may be, if it may be nothing else."""
        return next((get_args(kind) for kind in self.kinds if get_origin(kind) is Literal), ())

    def value(self, name: str, given: Any) -> Any:
        """What is meant by what was given for the option of this name; OptionError if that makes no sense."""
        if self.read is not None:
            try:
                given = self.read(given)
            except OptionError as error:
                raise OptionError(str(error), error.option or name) from error
        if given is None and self.may_be_none:
            return None
        try:
            value = meant(given, self.kinds, finite=self.finite)
        except UnfitError as error:
            raise refusal(name, error.args[0], self) from None
        if not all(getattr(operator, word)(value, limit) for word, limit in self.limits.items()):
            raise refusal(name, given, self)
        return value


def option(
    default: Any,
    group: str,
    obeyed_by: tuple[Obeyed, ...],
    help: str,  # noqa: A002
    metavar: str = "",
    *,
    finite: bool = True,
    read: Callable[[Any], Any] | None = None,
    plain: Callable[[Any], Any] | None = None,
    **limits: float,
) -> Any:
    """A field of `Options`; see `Option`. The annotation tells its type."""
    return Option(default, group, obeyed_by, help, metavar, limits, finite, read, plain)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Options:
    """Values of the options that a class has as its fields, checked when they are given and never changed.

    Raises:
        OptionError: an unknown option, or a value that makes no sense.
    """

    options: ClassVar[Mapping[str, Option]] = MappingProxyType({})
    """Every option by its name, in the order in which they are defined."""

    def __init_subclass__(cls) -> None:
        types = inspect.get_annotations(cls, eval_str=True)
        own = {name: field for name, field in vars(cls).items() if isinstance(field, Option)}
        cls.options = MappingProxyType({name: _typed(field, types[name]) for name, field in own.items()})

    def __init__(self, **values: Any) -> None:
        values = self._put_right(values)
        for name in values:
            if name not in self.options:
                raise OptionError(f"`{name}` is no option{nearest(name, self.options)}", name)
        own = vars(self)  # which `__setattr__` does not guard
        for name, field in self.options.items():
            own[name] = field.value(name, values[name]) if name in values else copy(field.default)
        own["_given"] = tuple(name for name in self.options if name in values)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The options with these values, where None means not given.

        Raises:
            OptionError: an unknown option, or a value that makes no sense.
        """
        given = {name: value for name, value in values.items() if value is not None}
        for name in given:
            if name not in cls.options:
                raise OptionError(f"`{name}` is no option{nearest(name, cls._known_names())}", name)
        return cls(**given)

    @classmethod
    def _put_right(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What is given, as it is to be read; for what concerns several options."""
        return values

    @classmethod
    def _known_names(cls) -> Iterable[str]:
        """What `of` takes."""
        return cls.options

    @classmethod
    def obeyed_by(cls, name: str) -> tuple[Obeyed, ...]:
        """Which methods obey an option."""
        return cls.options[name].obeyed_by

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the options that were given, in the order in which they are defined."""
        return tuple(vars(self)["_given"])

    def plain(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The values of these options, or of all, as JSON has them. OptionError for pictures that are in memory."""
        return {name: self._plain(name) for name in (self.options if names is None else names)}

    def _plain(self, name: str) -> Any:
        make, value = self.options[name].plain, getattr(self, name)
        return _plain(value) if make is None or value is None else make(value)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.options}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.given)})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another")


def _typed(field: Option, annotation: Any) -> Option:
    """The option with the types of its annotation."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return replace(field, kinds=tuple(kind for kind in kinds if kind is not NoneType), may_be_none=NoneType in kinds)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
