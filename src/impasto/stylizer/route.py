"""Which method carries out a request: a network in one pass, or optimisation, and with which settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, get_args

from impasto.core.metadata import read_metadata
from impasto.errors import OptionError, nearest
from impasto.networks.shipped import find_model, shipped_models
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.strokes import AUTO, factor_for_optimisation
from impasto.stylizer.styles import StyleRecord, records
from impasto.types import Init

if TYPE_CHECKING:
    from impasto.optimize.presets import OptimizeSettings
    from impasto.types import PictureSource

__all__ = ["GALLERY", "UNIVERSAL", "Route", "gallery_styles", "route"]

GALLERY = "gallery"
UNIVERSAL = "universal"

_SAME_NAME = (  # of a request and of the settings of an optimisation
    *("size", "content_weight", "style_weight", "tv_weight", "style_loss", "content_layers", "style_layers"),
    *("pool", "optimizer", "lr", "parameterisation", "averaging", "seed"),
)


@dataclass(frozen=True)
class Route:
    """How a request is carried out: by the network `model`, or by optimisation with `settings`, the other being None.

    `beginning` is the picture that an optimisation begins with, where it is not `settings.init` that says.
    """

    model: str | PathLike[str] | None = None
    settings: OptimizeSettings | None = None
    beginning: PictureSource | None = None


def route(request: StylizeRequest, *, keeps_run: bool = False) -> Route:
    """Which method carries out a request.

    A name as style means the gallery, a picture the network of any style; options that only optimisation obeys, and
    a run that is kept, mean that a picture is optimised.

    Args:
        request: what is asked for.
        keeps_run: whether the run is kept in a folder.

    Raises:
        OptionError: options that do not go together, one that would be ignored, or a text that is neither the name
            of a style nor a picture.
    """
    tuned = keeps_run or any(request.obeyed_by(name) == ("optimize",) for name in request.given)
    model = _network_for(request, tuned=tuned)
    if request.upscale and not (request.size or (request.size is None and model is None)):
        raise OptionError("`upscale` enlarges a photo to `size`: give that as well, in px", "upscale")
    if model is None:
        return _by_optimisation(request)
    for name in request.given:
        if "network" not in request.obeyed_by(name):
            said = next(iter(request.settings), name) if name == "settings" else name
            what, instead = _why_network(request)
            raise OptionError(f"{what} in one pass: leave out `{said}`, or {instead}", said)
    return Route(model)


def _why_network(request: StylizeRequest) -> tuple[str, str]:
    """What made a network paint, and what to do for another method."""
    if request.model is not None:
        return f"`model` {os.fspath(request.model)} paints", "give a picture as style and no `model`"
    if named_in_gallery(row.image for row in request.style):
        return "styles of the gallery are painted", "give a picture as `style`"
    if request.method == "network":
        return "`method` network paints", "`method`"
    return "`quality` draft paints", "`quality`"


def _network_for(request: StylizeRequest, *, tuned: bool) -> str | PathLike[str] | None:
    """The network that paints, None if optimisation does."""
    model, quality, method = request.model, request.quality, request.method
    if model is not None or named_in_gallery(row.image for row in request.style):
        if quality is not None:
            raise OptionError("`quality` is for a picture as style: a network of its own styles has but one")
        if method == "optimize":
            raise OptionError("`method` optimize paints in the manner of pictures: give one as style, and no model")
        return model or GALLERY
    if method == "network" and quality not in (None, "draft"):
        raise OptionError(f"`quality` {quality} is painted by optimisation: leave out `method` network")
    if quality == "draft" and method == "optimize":
        raise OptionError("`quality` draft is painted by a network: leave out `method` optimize")
    if quality == "draft" or method == "network":
        return UNIVERSAL
    if quality is not None or method == "optimize" or tuned:
        return None
    return UNIVERSAL if UNIVERSAL in shipped_models() else None


def _by_optimisation(request: StylizeRequest) -> Route:
    from impasto.optimize.presets import preset as settings_of

    for name in request.given:
        if "optimize" not in request.obeyed_by(name):
            instead = ": use `strength`" if name == "alpha" else ", which paint in one pass: leave it out"
            raise OptionError(f"`{name}` is for networks{instead}")
    if len(request.mask) > 1:
        raise OptionError(f"optimisation takes one `mask` for all styles, got {len(request.mask)}: give one")
    name = preset_of(request)
    init, beginning = split_init(request.init)
    changes: dict[str, Any] = {name: getattr(request, name) for name in _SAME_NAME if name in request.given}
    if request.size == 0:  # the photo's own
        del changes["size"]
    changes |= {
        "init": init,
        "keep_colors": request.colors_by or ("luminance" if request.keep_colors else None),
        "backbone": request.backbone,
        "style_scale": None if request.style_scale in (None, AUTO) else factor_for_optimisation(request.style_scale),
        "total_steps": request.steps,
        "start": request.start_size,
    }
    if changes["backbone"] is not None:
        changes["backbone"] = os.fspath(changes["backbone"])
    changes = {name: value for name, value in changes.items() if value is not None}
    settings = settings_of(name, **{**request.settings, **changes})
    if request.start_size is not None and request.size != 0 and request.start_size > settings.size:
        raise OptionError(
            f"`start_size` {request.start_size} is larger than the painting, which has {settings.size} px: give a "
            "smaller one, or a larger `size`",
            "start_size",
        )
    if settings.repaint and UNIVERSAL not in shipped_models():  # then nothing paints over
        settings = replace(settings, repaint=0.0)
    return Route(settings=settings, beginning=beginning)


def preset_of(request: StylizeRequest) -> str:
    """The preset of the quality, or the one that was asked for, or the usual one."""
    from impasto.optimize.presets import DEFAULT_PRESET

    if request.quality is None:
        return request.preset or DEFAULT_PRESET
    if request.preset is not None:
        raise OptionError(f"`quality` {request.quality} is a preset of its own: leave out `preset`", "preset")
    return request.quality


def split_init(init: PictureSource | None) -> tuple[str | None, PictureSource | None]:
    """(kind of beginning, picture to begin with), one of them None. OptionError for a path to nothing."""
    kinds = get_args(Init)
    if init is None or (isinstance(init, str) and init in kinds):
        return init, None
    if isinstance(init, str) and init != "-" and not os.path.exists(init):  # noqa: PTH110
        raise OptionError(
            f"`init` {init!r}: neither a picture's file nor one of {', '.join(kinds)}{nearest(init, kinds)}"
        )
    return None, init


def gallery_styles() -> tuple[StyleRecord, ...]:
    """The styles that ship with the package, read off the file's header; none where it does not ship."""
    return records(read_metadata(find_model(GALLERY))) if GALLERY in shipped_models() else ()


def named_in_gallery(styles: Iterable[Any]) -> bool:
    """Whether the styles (without weights) are names of the gallery; False if they are pictures.

    A file counts before a name.

    Raises:
        OptionError: names and pictures together, or a text that is neither.
    """
    names = [record.name for record in gallery_styles()]
    kinds: dict[str, str] = {}
    for style in styles:
        kind, text = _kind_of(style, names)
        kinds[kind] = text
    if len(kinds) > 1:
        name, picture = kinds["name"], kinds["picture"]
        raise OptionError(
            f"{name} is a style of the gallery and {picture} is none: give names alone or pictures alone", "style"
        )
    return "name" in kinds


def _kind_of(style: PictureSource, names: Sequence[str]) -> tuple[str, str]:
    if not isinstance(style, str):
        return "picture", "a picture"
    if style == "-" or os.path.exists(style):  # noqa: PTH110  Path raises where a name is too long
        return "picture", style
    if style in names:
        return "name", style
    if names and not (os.sep in style or "." in style):
        raise OptionError(
            f"style {style!r}: no picture and no style of the gallery{nearest(style, names)}, which `impasto styles` "
            "lists",
            "style",
        )
    return "picture", style  # reading it will tell what is wrong
