"""Painting by optimisation, made ready: pictures read and brought to size, the backbone loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from impasto.core.memory import available_memory, held_memory, parse_memory, reuse_large_blocks
from impasto.core.precision import Precision, PrecisionName, choose_precision, pick_device
from impasto.core.weights import Input, load_backbone
from impasto.errors import OptionError
from impasto.imaging import Picture, as_picture, fit_long_side, resize
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import Init, OptimizeSettings
from impasto.stylizer.finishing import Finish, cover, read_masks
from impasto.stylizer.model import load
from impasto.stylizer.route import UNIVERSAL
from impasto.stylizer.styles import Style

__all__ = ["Painting", "parse_layers", "prepare", "split_init"]

MIN_SIDE = 32  # what is left after four poolings must still be a picture
MIN_STYLE_SIDE = 16  # or, of a style, at least a pixel


@dataclass(frozen=True)
class Painting:
    """A painting ready to begin: `optimization.run()` paints it, `result()` is the picture at any time."""

    photo: Picture
    optimization: Optimization
    precision: Precision
    strength: float = 1.0
    masks: tuple[Tensor, ...] = ()

    def result(self) -> Picture:
        """The picture so far, with the photo's transparency and bit depth."""
        painted = self.optimization.image().float().cpu()
        painted = torch.lerp(self.photo.rgb, painted, self.strength)
        return self.photo.with_rgb(cover(self.photo.rgb, painted, self.masks))


def prepare(
    photo: Any,
    styles: Sequence[Style],
    settings: OptimizeSettings,
    *,
    backbone_input: Input | None = None,
    beginning: Any = None,
    upscale: bool = False,
    device: str = "auto",
    precision: PrecisionName = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
    finish: Finish | None = None,
    max_memory: str | int | None = None,
) -> Painting:
    """Read the pictures, bring them to size and load the backbone.

    Pictures are paths, PIL images, arrays or tensors. `beginning` is one to begin with, instead of what
    `settings.init` says. A photo smaller than `settings.size` keeps its size unless `upscale`. `finish` has the
    strength and one mask for all styles; colours are kept as `settings` say. `max_memory` is what the process may
    need at most, such as ``"4GB"`` or a number of bytes; None is what is free. ImpastoError says what is wrong with
    any of them.
    """
    finish, budget = finish or Finish(), parse_memory(max_memory)
    if len(finish.masks) > 1:
        raise OptionError(f"optimisation takes one mask for all styles, got {len(finish.masks)}: give one")
    reuse_large_blocks()
    where = pick_device(device)
    chosen = choose_precision(where, precision)
    original = as_picture(photo, max_megapixels=max_megapixels)
    size = fit_long_side((original.height, original.width), settings.size, upscale=upscale)
    _check_size(original, size)
    pictures = [(as_picture(style.image, max_megapixels=max_megapixels), style.weight) for style in styles]
    backbone = load_backbone(
        settings.backbone,
        input=backbone_input,
        pool=settings.pool,
        rescale_pool=settings.rescale_pool,
        precision=chosen,
        device=where,
    )
    picture = original.with_rgb(resize(original.rgb, size))
    if beginning is None and settings.init == "draft":
        network = load(UNIVERSAL, device=device, precision=precision)
        beginning = network.paint(picture, list(styles), max_megapixels=max_megapixels, max_memory=max_memory)
    first = None if beginning is None else as_picture(beginning, max_megapixels=max_megapixels).rgb.to(where)
    optimization = Optimization(
        picture.rgb.to(where),
        [(style.rgb.to(where), weight) for style, weight in pictures],
        settings,
        backbone,
        first,
        available_memory() if budget is None else budget - held_memory(),
    )
    _check_styles([style for style, _ in pictures], optimization.scales[0][0], settings)
    masks = read_masks(finish.masks, size, max_megapixels=max_megapixels)
    return Painting(picture, optimization, chosen, finish.strength, tuple(masks))


def _check_styles(styles: Sequence[Picture], coarsest: tuple[int, int], settings: OptimizeSettings) -> None:
    long = max(1, round(max(coarsest) * settings.style_scale))
    for style in styles:
        height, width = fit_long_side((style.height, style.width), long, upscale=True)
        if min(height, width) < MIN_STYLE_SIDE:
            raise OptionError(
                f"{style.name}: would be looked at at {width}x{height} px, need at least {MIN_STYLE_SIDE} on the short "
                "side: use a larger --style-scale, or crop it"
            )


def _check_size(picture: Picture, size: tuple[int, int]) -> None:
    if min(size) < MIN_SIDE:
        need = math.ceil(max(picture.height, picture.width) * MIN_SIDE / min(picture.height, picture.width))
        raise OptionError(
            f"{picture.name}: would be painted at {size[1]}x{size[0]} px, need at least {MIN_SIDE} on the short side: "
            f"use --size {need} or more, or crop it"
        )


def split_init(init: Any) -> tuple[str | None, Any]:
    """(kind of beginning, picture to begin with), one of them None. OptionError for a path to nothing."""
    kinds = get_args(Init)
    if init is None or (isinstance(init, str) and init in kinds):
        return init, None
    if isinstance(init, str) and init != "-" and not os.path.exists(init):  # noqa: PTH110
        raise OptionError(f"init {init!r}: neither a picture's file nor one of {', '.join(kinds)}")
    return None, init


def parse_layers(layers: Mapping[str, float] | str | None) -> Mapping[str, float] | None:
    """``relu1_1:2,relu2_1`` -> {"relu1_1": 2.0, "relu2_1": 1.0}; a mapping stays as it is."""
    if layers is None or isinstance(layers, Mapping):
        return layers
    if not isinstance(layers, str):
        raise OptionError(f"layers are NAME:WEIGHT,... or a mapping of names to weights, got {layers!r}")
    found = {}
    for part in layers.split(","):
        name, colon, weight = part.strip().partition(":")
        try:
            found[name] = float(weight) if colon else 1.0
        except ValueError:
            raise OptionError(f"layer {part.strip()!r}: the weight after the colon must be a number") from None
        if not name or not 0 < found[name] < math.inf:
            raise OptionError(f"layer {part.strip()!r}: write NAME or NAME:WEIGHT with a weight above 0")
    return found
