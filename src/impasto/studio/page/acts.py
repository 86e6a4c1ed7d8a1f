"""What the page has done to files, by name and with plain values, so that a process of its own can do it.

Files are what visitors sent, or what was painted of that. Errors are sentences, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from impasto.errors import ImpastoError
from impasto.imaging import Picture, encode, read, write
from impasto.imaging import read_recipe as embedded_recipe
from impasto.imaging.reading import read_header
from impasto.imaging.reduced import read_light, read_reduced
from impasto.imaging.sizes import fit_long_side
from impasto.studio.page.looking import find_layers, look_inside
from impasto.stylizer.recipe import read_recipe

__all__ = ["ACTS", "Act", "act_here", "at_most"]

QUALITY: Final = 92  # of pictures that are only shown

Act = Callable[..., Any]
"""Does an act: its name, then its arguments by their names."""


def look_at(path: str, copies: Sequence[Sequence[Any]], max_megapixels: float) -> dict[str, Any]:
    """What there is to know of a picture, and smaller copies of it to be shown.

    Args:
        path: the picture.
        copies: the largest first, (longest side in px, path without suffix, whether it is kept without loss) of each.
        max_megapixels: of a picture that is read.

    Returns:
        its ``size``, (height, width) in px, the paths of its ``copies``, and its ``recipe`` as text, or None.
    """
    size = read_header(path, max_megapixels=max_megapixels).size
    picture = read_reduced(path, long_side=copies[0][0], max_megapixels=max_megapixels)
    written = []
    for long_side, place, is_exact in copies:
        picture = at_most(picture, long_side)
        written.append(_show(picture, place, is_exact=is_exact))
    return {"size": size, "copies": written, "recipe": _recipe_of(path)}


def recipe_of(path: str) -> str:
    """The recipe that a picture carries, or that a file of JSON is. DataError if there is none."""
    return read_recipe(path).to_text()


def convert(path: str, output: str) -> None:
    """Write a painted file in another format, with the recipe that it carries."""
    write(read(path), output, recipe=embedded_recipe(path), force=True)


def cut_part(path: str, mask: str, output: str, max_megapixels: float) -> None:
    """Write a picture whose transparency is a mask: what is white there is meant."""
    picture = read(path, max_megapixels=max_megapixels)
    light = read_light(mask, size=(picture.height, picture.width))
    write(replace(picture, alpha=light if picture.alpha is None else light * picture.alpha), output, force=True)


ACTS: Final[Mapping[str, Act]] = MappingProxyType(
    {
        "look_at": look_at,
        "recipe_of": recipe_of,
        "convert": convert,
        "cut_part": cut_part,
        "find_layers": find_layers,
        "look_inside": look_inside,
    }
)


def act_here(name: str, **arguments: Any) -> Any:
    """Do an act in this process."""
    return ACTS[name](**arguments)


def at_most(picture: Picture, long_side: int) -> Picture:
    """A picture no larger than this."""
    return picture.resized(fit_long_side((picture.height, picture.width), long_side))


def _show(picture: Picture, place: str, *, is_exact: bool) -> str:
    kind = "png" if is_exact or picture.alpha is not None else "jpeg"
    path = f"{place}.{'jpg' if kind == 'jpeg' else kind}"
    Path(path).write_bytes(encode(picture, kind, quality=QUALITY, compression=1))
    return path


def _recipe_of(path: str) -> str | None:
    try:
        return recipe_of(path)
    except ImpastoError:  # it carries none, or one that cannot be used: it is a photo like others
        return None
