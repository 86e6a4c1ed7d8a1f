"""Who paints: a NAME as style means the gallery, a PICTURE whatever works from one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from impasto.core.metadata import read_metadata
from impasto.errors import OptionError
from impasto.methods.shipped import find_model, shipped_models
from impasto.stylizer.model import StyleRecord, records

__all__ = ["GALLERY", "gallery_styles", "paints_by_network"]

GALLERY = "gallery"


def gallery_styles() -> tuple[StyleRecord, ...]:
    """The styles that ship with the package, read off the file's header; none where it does not ship."""
    return records(read_metadata(find_model(GALLERY))) if GALLERY in shipped_models() else ()


def paints_by_network(styles: Iterable[Any]) -> bool:
    """Whether the styles (without weights) are names of the gallery; False if they are pictures.

    A file counts before a name.

    Raises:
        OptionError: names and pictures together, or a text that is neither.
    """
    names = {record.name for record in gallery_styles()}
    kinds = {}
    for style in styles:
        text = style if isinstance(style, str) else None
        if text is None or text == "-" or os.path.exists(text):  # noqa: PTH110  Path raises where a name is too long
            kinds["picture"] = text or "a picture"
        elif text in names:
            kinds["name"] = text
        elif names and not _looks_like_a_path(text):
            raise OptionError(f"style {text!r}: no picture and no style of the gallery, which `impasto styles` lists")
        else:
            kinds["picture"] = text  # reading it will tell what is wrong
    if len(kinds) > 1:
        name, picture = kinds["name"], kinds["picture"]
        raise OptionError(f"{name} is a style of the gallery and {picture} is none: give names alone or pictures alone")
    return "name" in kinds


def _looks_like_a_path(text: str) -> bool:
    return os.sep in text or "." in text
