"""The one door: a photo and styles in, a painting out, by whichever method."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import Precision, PrecisionName, choose_precision, pick_device
from impasto.core.weights import Input, load_backbone
from impasto.errors import OptionError
from impasto.imaging import Picture, as_picture, fit_long_side, resize, to_pil, transfer_luminance
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.methods.adain import AdaIN
from impasto.methods.feedforward import paint, ready
from impasto.methods.files import load_model
from impasto.methods.optimize import Optimization, Progress
from impasto.methods.presets import DEFAULT_PRESET, Init, OptimizeSettings
from impasto.methods.presets import preset as settings_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Painting",
    "Style",
    "apply_model",
    "as_styles",
    "parse_layers",
    "parse_style",
    "prepare",
    "split_init",
    "stylize",
]

MIN_SIDE = 32  # what is left after four poolings must still be a picture
MIN_STYLE_SIDE = 16  # or, of a style, at least a pixel


@dataclass(frozen=True)
class Style:
    """A style picture (a path, PIL image, array or tensor) and its weight among the others, a number above 0."""

    image: Any
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.weight, Real) and 0 < self.weight < math.inf):
            raise OptionError(f"the weight of a style must be a number above 0, got {self.weight!r}")


@dataclass(frozen=True)
class Painting:
    """A painting ready to begin: `optimization.run()` paints it, `result()` is the picture at any time."""

    photo: Picture
    optimization: Optimization
    precision: Precision

    def result(self) -> Picture:
        """The picture so far, with the photo's transparency and bit depth."""
        return self.photo.with_rgb(self.optimization.image().float().cpu())


def parse_style(text: str) -> tuple[str, float]:
    """``PATH``, ``PATH:WEIGHT`` or ``NAME:WEIGHT`` -> (path or name, weight). ``C:`` is a drive, not a name."""
    head, colon, tail = text.rpartition(":")
    drive = len(head) == 1 and head.isalpha()
    if not colon or drive or os.path.exists(text):  # noqa: PTH110  Path raises where a name is too long
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not head or not (weight > 0 and math.isfinite(weight)):
        raise OptionError(f"style {text!r}: the weight after the colon must be a number above 0, got {tail!r}")
    return head, weight


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
) -> Painting:
    """Read the pictures, bring them to size and load the backbone.

    Pictures are paths, PIL images, arrays or tensors. `beginning` is one to begin with, instead of what
    `settings.init` says. A photo smaller than `settings.size` keeps its size unless `upscale`. ImpastoError says
    what is wrong with any of them.
    """
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
    first = None if beginning is None else as_picture(beginning, max_megapixels=max_megapixels).rgb.to(where)
    optimization = Optimization(
        picture.rgb.to(where),
        [(style.rgb.to(where), weight) for style, weight in pictures],
        settings,
        backbone,
        first,
    )
    _check_styles([style for style, _ in pictures], optimization.scales[0][0], settings)
    return Painting(picture, optimization, chosen)


def apply_model(
    model: str | os.PathLike[str],
    photo: Any,
    styles: Sequence[tuple[str, float]] = (),
    *,
    size: int | None = None,
    upscale: bool = False,
    keep_colors: bool = False,
    device: str = "auto",
    precision: PrecisionName = "auto",
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Picture:
    """Repaint a photo with a trained network, in one pass.

    Args:
        model: the network's file, as `impasto train` writes it.
        photo: a path, PIL image, array or tensor.
        styles: (name, weight) for a network that knows its styles, (path, weight) for one of any style; may be
            empty where the network knows but one.
        size: long side in px; None is the photo's own size.
        upscale, device, precision, max_megapixels: see `stylize`.
        keep_colors: keep the photo's colours, taking the luminance alone from the painting.

    ImpastoError for everything a user can mend.
    """
    reuse_large_blocks()
    where = pick_device(device)
    network, _ = load_model(model)
    ready(network, choose_precision(where, precision), where)
    original = as_picture(photo, max_megapixels=max_megapixels)
    shape = (original.height, original.width)
    picture = original.with_rgb(resize(original.rgb, fit_long_side(shape, size or max(shape), upscale=upscale)))
    x = picture.rgb.to(where)
    if isinstance(network, AdaIN):
        shown = [(as_picture(path, max_megapixels=max_megapixels).rgb.to(where), w) for path, w in styles]
        painted = paint(network, x, pictures=shown)
    else:
        names: dict[str, float] = {}
        for name, weight in styles:
            names[name] = names.get(name, 0.0) + weight
        painted = paint(network, x, styles=names or None)
    painted = painted.float().cpu()
    return picture.with_rgb(transfer_luminance(painted, picture.rgb) if keep_colors else painted)


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


def stylize(
    photo: Any,
    style: Any,
    *,
    preset: str = DEFAULT_PRESET,
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
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> Image:
    """Repaint `photo` in the manner of `style` and return a PIL image.

    Args:
        photo: a path, PIL image, array or tensor.
        style: the same; or a list of such, or of `Style` with weights, or of ``(picture, weight)``. A string may
            be ``PATH:WEIGHT``.
        preset: one of `impasto.methods.presets.PRESETS`.
        init: what to begin with, instead of what the preset says: ``content``, ``noise``, ``faint-noise``,
            ``coursera``, or a picture.
        steps: in all, shared among the scales as the preset does.
        start_size: longest side of the first, coarsest scale.
        content_layers, style_layers: layers with their weights, as a mapping or as ``relu1_1:0.5,relu3_1``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        backbone_input: input normalisation of a backbone file that does not tell it.
        upscale: enlarge a photo that is smaller than `size`.
        max_megapixels: refuse larger pictures.
        progress: called with a record after every step.
        **settings: any other field of `OptimizeSettings`, over the preset's: ``size=512``, ``style_weight=40`` ...

    The options of ``impasto stylize`` have the same names and the same defaults.

    ImpastoError and its children for everything a user can mend.
    """
    kind, beginning = split_init(init)
    settings |= {
        "init": kind,
        "total_steps": steps,
        "start": start_size,
        "content_layers": parse_layers(content_layers),
        "style_layers": parse_layers(style_layers),
    }
    painting = prepare(
        photo,
        list(as_styles(style)),
        settings_of(preset, **settings),
        backbone_input=backbone_input,
        beginning=beginning,
        upscale=upscale,
        device=device,
        precision=precision,
        max_megapixels=max_megapixels,
    )
    for record in painting.optimization.run():
        if progress is not None:
            progress(record)
    return to_pil(painting.result())


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


def as_styles(style: Any) -> Iterator[Style]:
    """One or several styles, however they were given. OptionError for a weight that is none."""
    for item in style if isinstance(style, list) else [style]:
        if isinstance(item, Style):
            yield item
        elif isinstance(item, tuple):
            if len(item) != 2:
                raise OptionError(f"a style in brackets is (picture, weight), got {len(item)} things: use a list")
            yield Style(*item)
        elif isinstance(item, str):
            yield Style(*parse_style(item))
        else:
            yield Style(item)
