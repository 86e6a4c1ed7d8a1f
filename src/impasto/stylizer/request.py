"""What can be asked for: every option once, with its type, range, default, help, and who obeys it.

The command line's options, the arguments of `impasto.stylize` and of `Model.stylize`, a run's folder and a picture's
recipe are made from the fields below or held equal to them by a test.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self, get_args

from impasto.errors import OptionError
from impasto.stylizer.options import BOTH, NETWORK, OPTIMIZE, Options, option
from impasto.stylizer.styles import Style, as_styles, check_picture
from impasto.types import MAX_MEGAPIXELS, BackboneInput, Init, PrecisionName, Statistics

__all__ = ["FORMAT", "EngineName", "Method", "OutputOptions", "Quality", "StylizeRequest", "parse_layers"]

FORMAT: Final = 1
"""Version of a request's JSON."""

Quality = Literal["draft", "good", "best"]
EngineName = Literal["auto", "light", "torch"]
Method = Literal["network", "optimize"]


def parse_layers(layers: Any) -> Mapping[str, float] | None:
    """Layers with their weights; a mapping stays as it is.

    >>> parse_layers("relu1_1:2,relu2_1")
    {'relu1_1': 2.0, 'relu2_1': 1.0}

    Raises:
        OptionError: neither, a weight that is no number above 0, or a layer twice.
    """
    if layers is None or isinstance(layers, Mapping):
        return layers
    if not isinstance(layers, str):
        raise OptionError(f"layers are NAME:WEIGHT,... or a mapping of names to weights, got {layers!r}")
    found = {}
    for part in layers.split(","):
        name, colon, weight = part.strip().partition(":")
        if name in found:
            raise OptionError(f"layer {name!r} is given twice: give it once, with its weight")
        try:
            found[name] = float(weight) if colon else 1.0
        except ValueError:
            raise OptionError(f"layer {part.strip()!r}: the weight after the colon must be a number") from None
        if not name or not 0 < found[name] < math.inf:
            raise OptionError(f"layer {part.strip()!r}: write NAME or NAME:WEIGHT with a weight above 0")
    return found


def _style(value: Any) -> tuple[Style, ...]:
    """Styles from any form in which they may be given, or from what `_plain_style` made for JSON."""
    if value is None:
        return ()
    if isinstance(value, tuple) and all(isinstance(row, Style) for row in value):
        return value
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, list | tuple) and value and all(isinstance(row, Mapping) for row in value):
        if not all({"style", "weight"} <= row.keys() for row in value):
            raise OptionError(f'a style in JSON is {{"style": NAME, "weight": NUMBER}}, got {list(value)!r}', "style")
        value = [Style(row["style"], row["weight"]) for row in value]
    return tuple(as_styles(value))


def _masks(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    masks = tuple(value) if isinstance(value, list | tuple) else (value,)
    for mask in masks:
        check_picture("mask", mask)
    return masks


def _beginning(value: Any) -> Any:
    if value is not None:
        check_picture("init", value)
    return value


def _plain(picture: Any) -> str:
    """The name that stands for a picture in JSON."""
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    raise OptionError(
        "a picture in memory cannot be written as JSON, nor kept in a run's folder: give the path of a file"
    )


def _plain_style(rows: Iterable[Style]) -> list[dict[str, Any]]:
    return [{"style": _plain(row.image), "weight": row.weight} for row in rows]


def _plain_masks(rows: Iterable[Any]) -> list[str]:
    return [_plain(row) for row in rows]


def _settings(value: Any) -> Any:
    """JSON has lists where settings have tuples."""
    if not isinstance(value, Mapping):
        return value
    return {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}


class StylizeRequest(Options):
    """How a photo, any photo, is to be painted: in which styles, how strong, how large, by which method.

    What is None or not given is decided by the method or the preset.
    """

    # Pictures
    style: tuple[Style, ...] = option(
        (), "Pictures", BOTH, "A style of the gallery (see `impasto styles`) or a picture; several are mixed.",
        "NAME|PICTURE[:WEIGHT]", read=_style, plain=_plain_style,
    )  # fmt: skip
    model: str | os.PathLike[str] | None = option(
        None, "Pictures", NETWORK,
        "A trained network, which paints in one pass; the style then names one of its styles.", "NAME|FILE",
    )  # fmt: skip
    size: int | None = option(
        None, "Pictures", BOTH,
        "Longest side of the painting; 0 is the photo's own. Networks keep that, the presets say 512 or what their "
        "authors said.", "PX", ge=0,
    )  # fmt: skip
    upscale: bool = option(
        False, "Pictures", BOTH, "Enlarge a photo that is smaller than that; else it keeps its size."
    )
    strength: float = option(1.0, "Pictures", BOTH, "From 0, the photo, to 1, the full style.", "X", ge=0, le=1)
    mask: tuple[Any, ...] = option(
        (), "Pictures", BOTH,
        "White: style, black: photo. One mask, or one for each of several styles of a network.", "PICTURE",
        read=_masks, plain=_plain_masks,
    )  # fmt: skip
    init: Any = option(
        None, "Pictures", OPTIMIZE,
        "What to begin with: content (the photo), noise, faint-noise, coursera, draft (what quality draft paints), "
        "or a picture.", "KIND|PICTURE", read=_beginning, plain=_plain,
    )  # fmt: skip
    keep_colors: bool = option(False, "Pictures", BOTH, "Keep the photo's colours.")
    colors_by: Literal["luminance", "histogram"] | None = option(
        None, "Pictures", OPTIMIZE,
        "How to keep them: luminance paints brightness alone and leaves every place its colour (what keeping colours "
        "means if this is not said); histogram gives the style the photo's mean and spread of colours first, so that "
        "colours move with the strokes; the painting is never more colourful than the photo.",
    )  # fmt: skip
    max_megapixels: float = option(
        MAX_MEGAPIXELS, "Pictures", BOTH, "Refuse to read larger pictures than this.", "N", ge=0, finite=False
    )
    # What counts
    preset: str | None = option(
        None, "What counts", OPTIMIZE,
        "Optimise; what is not said comes from balanced (used if none is named), quick, good, best, or a classic: "
        "gatys-paper, gatys-code, neural-style, coursera, tf-tutorial, multiscale.", "NAME",
    )  # fmt: skip
    quality: Quality | None = option(
        None, "What counts", BOTH,
        "With a picture as style: draft (used if none is named) paints in one pass, good optimises that for seconds, "
        "best for minutes.",
    )  # fmt: skip
    content_weight: float | None = option(
        None, "What counts", OPTIMIZE, "What staying like the photo is worth.", "W", ge=0
    )
    style_weight: float | None = option(
        None, "What counts", OPTIMIZE, "What becoming like the style is worth; more of it, more paint.", "W", ge=0
    )
    tv_weight: float | None = option(
        None, "What counts", OPTIMIZE, "What smoothness is worth (total variation).", "W", ge=0
    )
    style_scale: float | str | None = option(
        None, "What counts", BOTH,
        "Size of the strokes: 2 doubles them, 1 is the pixels that a network learned, 100% is as in a proof of 512 px; "
        "finer ones are laid on larger ones. auto, what networks do unless told otherwise, is 100% above 1024 px, and "
        "1 up to there.", "X|P%|auto",
    )  # fmt: skip
    ground: float | None = option(
        None, "What counts", NETWORK,
        "A painter's ground: from 0, none, to 1, blots where the photo is flat, too faint to be seen, of which a "
        "network makes broad strokes instead of even texture; 0.15 for gallery, universal and brisk networks, none "
        "in films, unless told otherwise.", "X", ge=0, le=1,
    )  # fmt: skip
    style_loss: Literal["gram", "wasserstein"] | None = option(
        None, "What counts", OPTIMIZE, "Compare Gram matrices, or means and covariances (W2)."
    )
    content_layers: Mapping[str, float] | None = option(
        None,
        "What counts",
        OPTIMIZE,
        "Layers that see content, with weights: relu4_2.",
        "NAME[:W],...",
        read=parse_layers,
    )
    style_layers: Mapping[str, float] | None = option(
        None,
        "What counts",
        OPTIMIZE,
        "Layers that see style, with weights: relu1_1:0.5,relu3_1.",
        "NAME[:W],...",
        read=parse_layers,
    )
    backbone: str | os.PathLike[str] | None = option(
        None, "What counts", OPTIMIZE, "Network that sees: `impasto weights list` names them.", "NAME|PATH"
    )
    backbone_input: BackboneInput | None = option(
        None, "What counts", OPTIMIZE, "Input normalisation of a backbone file that is not in that list."
    )
    pool: Literal["max", "average", "l2"] | None = option(
        None, "What counts", OPTIMIZE, "How the network shrinks what it sees."
    )
    # How it moves
    method: Method | None = option(
        None, "How it moves", BOTH,
        "How to paint: by a network, in one pass, or by optimisation, which has more to adjust.",
    )  # fmt: skip
    alpha: float | None = option(
        None, "How it moves", NETWORK, "Of a network trained by `train adain`: how far features are restyled.", "X",
        ge=0, le=1,
    )  # fmt: skip
    steps: int | None = option(None, "How it moves", OPTIMIZE, "Steps in all, shared among the scales.", "N", ge=1)
    start_size: int | None = option(
        None, "How it moves", OPTIMIZE, "Longest side of the first, coarsest scale.", "PX", ge=1
    )
    optimizer: Literal["adam", "lbfgs"] | None = option(None, "How it moves", OPTIMIZE, "What decides on the steps.")
    lr: float | None = option(None, "How it moves", OPTIMIZE, "Learning rate, the length of a step.", "X", gt=0)
    parameterisation: Literal["pixels", "pyramid", "fourier"] | None = option(
        None, "How it moves", OPTIMIZE, "What the optimiser moves."
    )
    averaging: float | None = option(
        None, "How it moves", OPTIMIZE, "Average the last steps: 0 not, 0.99 a hundred.", "X", ge=0, lt=1
    )
    seed: int | None = option(
        None, "How it moves", OPTIMIZE, "Same seed, same machine: same picture.", "N", ge=0, lt=2**63
    )
    settings: Mapping[str, Any] = option(
        {}, "How it moves", OPTIMIZE,
        "Finer settings of an optimisation, by the names of `OptimizeSettings`: factor, betas ... (not on the command "
        "line).", read=_settings,
    )  # fmt: skip
    engine: EngineName = option(
        "auto", "How it moves", NETWORK,
        "What a network runs in: light (onnxruntime), torch, which can do more, or whichever is quicker.",
    )  # fmt: skip
    device: str = option("auto", "How it moves", BOTH, "auto, cpu, cuda, cuda:N or mps.", "NAME")
    precision: PrecisionName = option(
        "auto", "How it moves", BOTH, "auto is bfloat16 where the processor multiplies it natively."
    )
    max_memory: str | int | None = option(
        None, "How it moves", BOTH,
        "Memory to keep within, such as 2GB. Pictures too large for it, or for what is free, are painted piece by "
        "piece, with the same result.", "SIZE",
    )  # fmt: skip
    tile: int | None = option(
        None, "How it moves", NETWORK, "Rows that a network paints at a time, rounded up to what it needs.", "PX", ge=1
    )  # fmt: skip
    statistics: Statistics | None = option(
        None, "How it moves", NETWORK,
        "sampled: nearly what a network paints, and sooner, for very large photos.",
    )  # fmt: skip

    @classmethod
    def _put_right(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``keep_colors="histogram"`` keeps them, `colors_by` that; ``"luminance"`` is what keeping them means."""
        way = values.get("keep_colors")
        if isinstance(way, str) and way in ("no", "luminance", "histogram"):
            values["keep_colors"] = way != "no"
            if way == "histogram":
                values.setdefault("colors_by", way)
        if values.get("colors_by") is not None and str(values.get("keep_colors")) in ("False", "false", "0"):
            raise OptionError("`colors_by` says how to keep colours, and `keep_colors` not to: leave out one of them")
        return values

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The request with these values, where None means not given. Fields of `OptimizeSettings` become `settings`.

        Raises:
            OptionError: an unknown option, named with the nearest one, or a value that makes no sense.
        """
        if unknown := [name for name in values if name not in cls.options]:
            finer = finer_settings()
            for name in RENAMED.keys() & unknown:
                raise OptionError(f"`{name}` is called `{RENAMED[name]}` here", name)
            for name in OutputOptions.options.keys() & unknown:
                raise OptionError(
                    f"`{name}` says how a file is written: give it to impasto.stylize, or to OutputOptions", name
                )
            settings = {name: values.pop(name) for name in unknown if name in finer}
            if settings := {name: value for name, value in settings.items() if value is not None}:
                values["settings"] = {**(values.get("settings") or {}), **settings}
        return super().of(**values)

    @classmethod
    def _known_names(cls) -> Iterable[str]:
        return (*cls.options, *finer_settings())

    def with_changes(self, **changes: Any) -> StylizeRequest:
        """A copy with these options changed; None leaves one as it is. Errors as of `of`."""
        given = {name: getattr(self, name) for name in self.given}
        return StylizeRequest.of(**{**given, **{k: v for k, v in changes.items() if v is not None}})

    def to_json(self) -> dict[str, Any]:
        """What was given, for JSON, with the version of the format. OptionError for pictures that are in memory."""
        return {"format": FORMAT, **self.plain(self.given)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StylizeRequest:
        """The request that `to_json` wrote. OptionError if it is of a later format, or damaged."""
        if not isinstance(values, Mapping):
            raise OptionError(f"a request in JSON is an object, got {type(values).__name__}")
        values = dict(values)
        if (found := values.pop("format", None)) != FORMAT:
            raise OptionError(f"the request is of format {found!r}, and this version of impasto reads {FORMAT}")
        return cls.of(**values)

    @property
    def file_names(self) -> tuple[str, ...]:
        """Paths among styles, masks, model, backbone and init, which must not be overwritten."""
        init = self.init if not isinstance(self.init, str) or self.init not in get_args(Init) else None
        pictures = [row.image for row in self.style] + [*self.mask, self.model, self.backbone, init]
        return tuple(os.fspath(picture) for picture in pictures if isinstance(picture, str | os.PathLike))

    def anywhere(self) -> StylizeRequest:
        """The same request with whole paths, so that it means the same from another folder."""

        def whole(value: Any) -> Any:
            return str(Path(value).resolve()) if isinstance(value, str | os.PathLike) and _is_file(value) else value

        names = [name for name in ("model", "init", "backbone") if name in self.given]
        changes: dict[str, Any] = {name: whole(getattr(self, name)) for name in names}
        if self.style:
            changes["style"] = [Style(whole(row.image), row.weight) for row in self.style]
        if self.mask:
            changes["mask"] = [whole(mask) for mask in self.mask]
        return self.with_changes(**changes)


RENAMED: Final[Mapping[str, str]] = MappingProxyType({"total_steps": "steps", "start": "start_size"})
"""Fields of `OptimizeSettings` that have other names here."""


def finer_settings() -> frozenset[str]:
    """Fields of `OptimizeSettings` that are no options of their own."""
    from impasto.optimize.presets import OptimizeSettings  # here, because torch takes a second

    own = {*StylizeRequest.options, *RENAMED}
    return frozenset(field.name for field in dataclasses.fields(OptimizeSettings)) - own


class OutputOptions(Options):
    """How a painting is written."""

    jpeg_quality: int = option(92, "Files and runs", BOTH, "Of JPEG, WebP, AVIF and HEIC, 1 to 100.", "N", ge=1, le=100)
    png_compression: int = option(2, "Files and runs", BOTH, "Of PNG and TIFF, 0 to 9.", "N", ge=0, le=9)
    keep_metadata: bool = option(
        False, "Files and runs", BOTH,
        "Keep what the photo says in EXIF, XMP and IPTC, but never where it was taken.",
    )  # fmt: skip


def _is_file(value: str | os.PathLike[str]) -> bool:
    return os.path.exists(value)  # noqa: PTH110  Path raises where a name is too long
