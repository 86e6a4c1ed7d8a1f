"""``impasto recipe``: how a painted picture was made, as it says itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.common import JsonOption, print_facts, print_json

if TYPE_CHECKING:
    from impasto.stylizer.recipe import Recipe

__all__ = ["recipe"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A painted picture, or a recipe's JSON.")]


def recipe(file: _File, as_json: JsonOption = False) -> None:
    """Show how a painted picture was made: options, pictures and networks with their SHA-256, versions.

    `impasto stylize PHOTO --recipe FILE` paints another photo so.
    """
    from impasto.stylizer.recipe import read_recipe

    found = read_recipe(file)
    if as_json:
        print_json(json.loads(found.to_text()))
    else:
        print_facts(_facts(found))


def _facts(found: Recipe) -> Iterator[tuple[str, str]]:
    used = dict(found.used)
    for name, value in found.request.items():
        rows = value if isinstance(value, list) else [value]
        for number, row in enumerate(rows, 1):
            role = f"{name} {number}" if f"{name} {number}" in used else name
            said = (
                f"{row['style']}, weight {row['weight']:g}" if isinstance(row, dict) and name == "style" else _said(row)
            )
            digest = used.pop(role, None)
            yield role, f"{said} (SHA-256 {digest})" if digest else said
    for role, digest in used.items():
        yield role, f"SHA-256 {digest}" if digest else "unknown"
    yield from found.made_by.items()


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
