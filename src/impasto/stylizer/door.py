"""The door for programs: one call from a photo and styles to a PIL image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from impasto.core.precision import PrecisionName
from impasto.core.weights import Input
from impasto.errors import OptionError
from impasto.imaging import to_pil
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.optimize.loop import StepProgress
from impasto.optimize.presets import DEFAULT_PRESET
from impasto.optimize.presets import preset as settings_of
from impasto.stylizer.finishing import Finish, as_masks
from impasto.stylizer.model import load
from impasto.stylizer.painting import parse_layers, prepare, split_init
from impasto.stylizer.route import Method, Quality, network_for, rung
from impasto.stylizer.strokes import factor_for_optimisation
from impasto.stylizer.styles import as_styles

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["stylize"]

# Settings that networks have as well.
FOR_NETWORKS = frozenset({"size", "style_scale", "keep_colors", "tile", "statistics"})


def stylize(
    photo: Any,
    style: Any,
    *,
    model: str | PathLike[str] | None = None,
    quality: Quality | None = None,
    method: Method | None = None,
    strength: float = 1.0,
    mask: Any = None,
    preset: str | None = None,
    init: Any = None,
    steps: int | None = None,
    start_size: int | None = None,
    content_layers: Mapping[str, float] | str | None = None,
    style_layers: Mapping[str, float] | str | None = None,
    device: str = "auto",
    precision: PrecisionName = "auto",
    backbone_input: Input | None = None,
    upscale: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_memory: str | int | None = None,
    progress: Callable[[StepProgress], None] | None = None,
    **settings: Any,
) -> Image:
    """Repaint `photo` in the manner of `style` and return a PIL image.

    A name or a picture as style is painted in one pass, at the photo's own size; higher qualities, and all options
    that only optimisation has, paint pictures by optimisation. To use a network for many photos, `load` it once.

    Args:
        photo: a path, PIL image, array or tensor.
        style: a style's name, or a picture; or a list of such, or of `Style` with weights, or of
            ``(picture, weight)``. A string may be ``PATH:WEIGHT`` or ``NAME:WEIGHT``.
        model: a trained network to paint with, by its shipped name or its file.
        quality: with pictures as styles: ``draft`` (the default) is one pass, ``good`` some seconds of optimisation
            from there, ``best`` minutes.
        method: ``network`` or ``optimize``, where what else is given leaves it open.
        strength: in [0, 1]: 0 gives the photo back, 1 is the full style.
        mask: white where there is to be style, black where the photo stays; one picture, or one per style.
        preset: one of `impasto.optimize.presets.PRESETS`; only for optimisation, like all that follow but the last.
        init: what to begin with, instead of what the preset says: ``content``, ``noise``, ``faint-noise``,
            ``coursera``, ``draft``, or a picture.
        steps: in all, shared among the scales as the preset does.
        start_size: longest side of the first, coarsest scale.
        content_layers, style_layers: layers with their weights, as a mapping or as ``relu1_1:0.5,relu3_1``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        backbone_input: input normalisation of a backbone file that does not tell it.
        upscale: enlarge a photo that is smaller than `size`.
        max_megapixels: refuse larger pictures.
        max_memory: what the process may need at most, such as ``"2GB"``; None is what is free. What does not fit is
            painted piece by piece, with the same result.
        progress: called with a record after every step.
        **settings: any other field of `OptimizeSettings`, over the preset's: ``size=512``, ``style_weight=40`` ...

    The options of ``impasto stylize`` have the same names and the same defaults.

    ImpastoError and its children for everything a user can mend.
    """
    rows = list(as_styles(style))
    finish = Finish(strength, masks=as_masks(mask))
    moves = (
        settings
        | {"preset": preset, "init": init, "steps": steps, "start_size": start_size, "progress": progress}
        | {"content_layers": content_layers, "style_layers": style_layers, "backbone_input": backbone_input}
    )
    tuned = any(value is not None and name not in FOR_NETWORKS for name, value in moves.items())
    network = network_for((row.image for row in rows), model, quality=quality, method=method, tuned=tuned)
    if network is not None:
        _only_for_networks(moves)
        options = {key: value for key, value in settings.items() if value is not None}
        return load(network, device=device, precision=precision).stylize(
            photo,
            rows,
            strength=strength,
            mask=finish.masks,
            upscale=upscale,
            max_megapixels=max_megapixels,
            max_memory=max_memory,
            **options,
        )
    settings = rung(quality, preset) | {key: value for key, value in settings.items() if value is not None}
    preset = settings.pop("preset", DEFAULT_PRESET)
    kind, beginning = split_init(init)
    if settings.get("style_scale") is not None:
        settings["style_scale"] = factor_for_optimisation(settings["style_scale"])
    settings |= {
        "init": kind,
        "total_steps": steps,
        "start": start_size,
        "content_layers": parse_layers(content_layers),
        "style_layers": parse_layers(style_layers),
    }
    painting = prepare(
        photo,
        rows,
        settings_of(preset, **settings),
        backbone_input=backbone_input,
        beginning=beginning,
        upscale=upscale,
        device=device,
        precision=precision,
        max_megapixels=max_megapixels,
        finish=finish,
        max_memory=max_memory,
    )
    for record in painting.optimization.run():
        if progress is not None:
            progress(record)
    return to_pil(painting.result())


def _only_for_networks(options: Mapping[str, Any]) -> None:
    """OptionError for an option that would be ignored."""
    for name, value in options.items():
        if value is not None and name not in FOR_NETWORKS:
            raise OptionError(
                f"a network paints in one pass: leave out {name}, or give a picture as style and no model"
            )
