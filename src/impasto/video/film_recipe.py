"""How a film was made, carried by the film itself: among what it says of itself, as its comment."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from impasto.errors import DataError, ImageError
from impasto.files import shown
from impasto.imaging.embedded import BEGINS
from impasto.stylizer.recipe import Recipe
from impasto.video.codecs import CONTAINERS
from impasto.video.film import load_av

__all__ = ["add_recipe", "is_film", "read_film_recipe"]

PLACES: Final = ("comment", "description")  # MOV keeps the first alone


def is_film(path: str | os.PathLike[str]) -> bool:
    """Whether a file's suffix is one that films are written with."""
    return Path(path).suffix.lower() in CONTAINERS


def add_recipe(metadata: MutableMapping[str, str], recipe: str) -> None:
    """Put a recipe where nothing is said, or where the film that was painted has one; else into no place."""
    for place in PLACES:
        if metadata.get(place, BEGINS).startswith(BEGINS):
            metadata[place] = recipe
            return


def read_film_recipe(path: str | os.PathLike[str]) -> Recipe:
    """The recipe that a painted film carries: how its frames were painted.

    Raises:
        DataError: there is none, or it is damaged.
        ImageError: the file cannot be read.
    """
    av = load_av()
    try:
        with av.open(os.fspath(path)) as film:
            said = {key.lower(): value for key, value in film.metadata.items()}
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"{shown(path)}: cannot be read as a film ({error})") from error
    for place in PLACES:
        if said.get(place, "").startswith(BEGINS):
            return Recipe.from_text(said[place], shown(path))
    raise DataError(f"{shown(path)}: carries no recipe; it was painted by another program, or without one")
