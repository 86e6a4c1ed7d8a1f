"""Who paints: a NAME as style means the gallery, a PICTURE the network of any style, or one step up the ladder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from os import PathLike
from types import MappingProxyType
from typing import Any, Literal, get_args

from impasto.core.metadata import read_metadata
from impasto.errors import OptionError, nearest
from impasto.networks.shipped import find_model, shipped_models
from impasto.stylizer.model import StyleRecord, records

__all__ = [
    "GALLERY",
    "LADDER",
    "UNIVERSAL",
    "Method",
    "Quality",
    "gallery_styles",
    "network_for",
    "paints_by_network",
    "rung",
]

GALLERY = "gallery"
UNIVERSAL = "universal"
Quality = Literal["draft", "good", "best"]
Method = Literal["network", "optimize"]
LADDER: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"good": {"preset": "good"}, "best": {"preset": "multiscale", "backbone": "compact"}}
)
"""What paints a picture as style at each quality but ``draft``, which is `UNIVERSAL` alone."""


def network_for(
    styles: Iterable[Any],
    model: str | PathLike[str] | None = None,
    *,
    quality: Quality | None = None,
    method: Method | None = None,
    tuned: bool = False,
) -> str | PathLike[str] | None:
    """The network that paints in these styles (without weights): a shipped name, or `model`; None is optimisation.

    Args:
        styles: names of the gallery, or pictures.
        model: a network that was asked for.
        quality: for pictures; ``draft`` if None.
        method: what was asked for.
        tuned: whether something was asked for that only optimisation has, which then paints.

    Raises:
        OptionError: wishes that do not go together, or a text that is neither a name nor a picture.
    """
    if quality is not None and quality not in get_args(Quality):
        raise OptionError(
            f"quality {quality!r} is unknown{nearest(quality, get_args(Quality))}: use {', '.join(get_args(Quality))}"
        )
    known = model is None and paints_by_network(styles)
    if known or model is not None:
        if quality is not None:
            raise OptionError("quality is for a picture as style: a network of its own styles has but one")
        if method == "optimize":
            raise OptionError("method optimize paints in the manner of pictures: give one as style, and no model")
        return model or GALLERY
    if method == "network" and quality not in (None, "draft"):
        raise OptionError(f"quality {quality} is painted by optimisation: leave out method network")
    if quality == "draft" and method == "optimize":
        raise OptionError("quality draft is painted by a network: leave out method optimize")
    if quality == "draft" or method == "network":
        return UNIVERSAL
    if quality is not None or method == "optimize" or tuned:
        return None
    return UNIVERSAL if UNIVERSAL in shipped_models() else None


def rung(quality: Quality | None, preset: str | None) -> dict[str, str]:
    """The preset and the backbone that a quality above ``draft`` means; `preset` alone where None is asked for.

    Raises:
        OptionError: both are given.
    """
    if quality is None:
        return {} if preset is None else {"preset": preset}
    if preset is not None:
        raise OptionError(f"quality {quality} is a preset of its own: leave out --preset")
    return dict(LADDER[quality])


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
            raise OptionError(
                f"style {text!r}: no picture and no style of the gallery{nearest(text, names)}, "
                "which `impasto styles` lists"
            )
        else:
            kinds["picture"] = text  # reading it will tell what is wrong
    if len(kinds) > 1:
        name, picture = kinds["name"], kinds["picture"]
        raise OptionError(f"{name} is a style of the gallery and {picture} is none: give names alone or pictures alone")
    return "name" in kinds


def _looks_like_a_path(text: str) -> bool:
    return os.sep in text or "." in text
