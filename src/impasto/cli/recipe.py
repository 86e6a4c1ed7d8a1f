"""``impasto recipe``: how a painted picture or film was made, as it says itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.common import JsonOption, print_facts, print_json
from impasto.errors import require

__all__ = ["recipe"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A painted picture or film, or a recipe's JSON.")]


def recipe(file: _File, as_json: JsonOption = False) -> None:
    """Show how a painted picture or film was made: options, pictures and networks with their SHA-256, versions.

    `impasto stylize PHOTO --recipe FILE` paints another photo so.
    """
    from impasto.stylizer.recipe import read_recipe
    from impasto.video.film_recipe import is_film, read_film_recipe

    if is_film(file):
        require("av", "video", "reading a film's recipe")
    found = read_film_recipe(file) if is_film(file) else read_recipe(file)
    if as_json:
        print_json(found.to_json())
    else:
        print_facts(found.describe())
