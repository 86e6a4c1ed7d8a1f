"""What the commands share: types of options that mean the same everywhere, and lines on the console."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

__all__ = [
    "BackboneInputOption",
    "BackboneOption",
    "DeviceOption",
    "ForceOption",
    "JsonOption",
    "MaxMegapixelsOption",
    "PrecisionOption",
    "SeedOption",
    "show_error",
    "show_note",
]

DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option("--precision", help="auto is bfloat16 where the processor multiplies it natively."),
]
BackboneOption = Annotated[
    str, typer.Option("--backbone", metavar="NAME|PATH", help="Network that sees; `impasto weights list`.")
]
BackboneInputOption = Annotated[
    Literal["torchvision", "caffe", "none"] | None,
    typer.Option("--backbone-input", help="Input normalisation of a backbone file that is not in the table."),
]
MaxMegapixelsOption = Annotated[
    float, typer.Option("--max-megapixels", min=0, help="Refuse to read larger pictures than this.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same machine: same picture.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def show_error(error: BaseException | str) -> None:
    """Print ``error: ...`` as one red line on stderr."""
    _line(f"error: {error}", "red")


def show_note(text: str) -> None:
    """Print one unobtrusive line on stderr, for what happened beside the result."""
    _line(text, "dim")


def _line(text: str, style: str) -> None:
    from rich.console import Console

    # soft_wrap: one line whatever the width, so that paths can be copied and programs can read it.
    one_line = " ".join(text.split())
    Console(file=sys.stderr).print(one_line, style=style, markup=False, highlight=False, soft_wrap=True)
