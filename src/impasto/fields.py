"""Fields of dataclasses that front ends make options of: described once, where they are obeyed."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any

__all__ = ["option"]


def option(default: Any = MISSING, help: str = "", metavar: str = "", **limits: float) -> Any:  # noqa: A002
    """A field with a line of help, which calls other fields by their names in backticks.

    `metavar` stands for its value on the command line; `least`, `above` and `most` bound its numbers. A field without a
    default must be given.
    """
    return field(default=default, metadata={"help": help, "metavar": metavar, **limits})
