"""Trained networks, loaded once and used for many photos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from impasto.core.memory import parse_memory, reuse_large_blocks
from impasto.core.precision import Precision, PrecisionName, choose_precision, pick_device
from impasto.errors import OptionError
from impasto.imaging import Picture, as_picture, fit_long_side, resize, to_pil
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.networks.bound import BoundStyle
from impasto.networks.checkpoint import load_model
from impasto.networks.encoded import EncodedStyle
from impasto.networks.inference import bind, encode, ready
from impasto.networks.registry import Network, kind_of
from impasto.networks.shipped import find_model
from impasto.stylizer.finishing import Finish, as_masks, cover, read_masks
from impasto.stylizer.strokes import factor_for_network, parse_scale
from impasto.stylizer.styles import Style, as_styles
from impasto.tiling.bands import BandProgress
from impasto.tiling.fitting import paint, plan_bands
from impasto.tiling.plan import Statistics, TilingOptions, TilingPlan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Model", "StyleRecord", "load", "records", "scaled"]

REMEMBERED = 64  # encoded style pictures
STYLE_SIZE = 512  # long side in px at which they are looked at, as in training


@dataclass(frozen=True)
class StyleRecord:
    """A style that a network knows by name; what is not known is None."""

    name: str
    title: str | None = None
    artist: str | None = None
    year: str | None = None


def records(description: Mapping[str, Any]) -> tuple[StyleRecord, ...]:
    """The styles that a trained file says it knows."""
    known = [field.name for field in fields(StyleRecord)]
    return tuple(StyleRecord(**{key: row[key] for key in known if row.get(key)}) for row in description["styles"])


def load(model: str | PathLike[str] = "gallery", *, device: str = "auto", precision: PrecisionName = "auto") -> Model:
    """A trained network ready to paint: one that ships, by name, or a file that `impasto train` wrote.

    Raises:
        WeightsError: no such name or file, or one that is damaged.
        OptionError: this machine has no such device or precision.
    """
    reuse_large_blocks()
    where = pick_device(device)
    chosen = choose_precision(where, precision)
    path = find_model(model)
    network, description = load_model(path)
    return Model(ready(network, chosen, where), description, str(model), where, chosen)


class Model:
    """A network, and what its file says of itself. `load` makes it.

    Attributes:
        name: the shipped name or the path it was loaded by.
        styles: the styles it knows by name; none for a network of any style.
        description: what its file says: method, sizes, licence, recipe.
    """

    def __init__(
        self, network: Network, description: Mapping[str, Any], name: str, device: torch.device, precision: Precision
    ) -> None:
        self.network, self.description, self.name = network, description, name
        self.device, self.precision = device, precision
        self.styles = () if self.any_style else records(description)
        self._encoded: dict[str, EncodedStyle] = {}

    @property
    def any_style(self) -> bool:
        """Whether styles are pictures instead of names."""
        return kind_of(self.network).styled_by == "pictures"

    @property
    def mixes_features(self) -> bool:
        """Whether `alpha` means something to it."""
        return kind_of(self.network).alpha

    def stylize(self, image: Any, style: Any = None, **options: Any) -> Image:
        """Repaint a photo and return a PIL image; the arguments are those of `paint`."""
        return to_pil(self.paint(image, style, **options))

    @torch.inference_mode()
    def paint(
        self,
        image: Any,
        style: Any = None,
        *,
        strength: float = 1.0,
        alpha: float = 1.0,
        style_scale: float | str = 1.0,
        keep_colors: bool = False,
        mask: Any = None,
        size: int | None = None,
        upscale: bool = False,
        max_megapixels: float = MAX_MEGAPIXELS,
        max_memory: str | int | None = None,
        tile: int | None = None,
        statistics: Statistics = "exact",
        progress: Callable[[BandProgress], None] | None = None,
    ) -> Picture:
        """Repaint a photo, with its transparency and bit depth.

        Args:
            image: a path, PIL image, array or tensor.
            style: a name of `styles`, ``"name:0.3"``, or a list or mapping of names with weights; for a network of
                any style a picture, or a list of pictures or of (picture, weight). May be left out where the
                network knows but one style.
            strength: in [0, 1]: 0 gives the photo back, 1 is the full style.
            alpha: for AdaIN: how far its features are restyled (Huang & Belongie 2017, eq. 14);
                unlike `strength`, 0 is the photo as the decoder would draw it.
            style_scale: size of the strokes: 2 doubles them; ``"100%"`` gives a painting of any size those that it
                would have at 512 px, so that proof and print show the same.
            keep_colors: keep the photo's colours, taking the luminance alone from the painting.
            mask: a picture, white where there is to be style, black where the photo stays; or a list with one for
                each style.
            size: long side in px; None is the photo's own.
            upscale: enlarge a photo that is smaller than `size`.
            max_megapixels: refuse larger pictures.
            max_memory: what the process may need at most, such as ``"2GB"`` or a number of bytes; None is what is
                free. A photo that cannot be painted at once within it is painted in bands, with the same result.
            tile: paint in bands of so many rows, px.
            statistics: ``sampled`` takes those of large photos from some places, which is faster and only nearly
                the same.
            progress: called with a record after every band, where there are bands.

        Raises:
            ImageError: a picture that cannot be read.
            OptionError: a style that the network does not know, an option out of range, or too little memory.
        """
        wishes = TilingOptions(parse_memory(max_memory), tile=tile, statistics=statistics)
        finish = Finish(strength, keep_colors, as_masks(mask))
        parse_scale(style_scale)  # before a picture is read
        original = as_picture(image, max_megapixels=max_megapixels)
        shape = (original.height, original.width)
        goal = fit_long_side(shape, size or max(shape), upscale=upscale)
        picture = original if goal == shape else original.with_rgb(resize(original.rgb, goal))
        photo = picture.rgb.to(self.device)
        named, shown = self.chosen(style, max_megapixels)
        regions = [
            mask.to(self.device)
            for mask in read_masks(
                finish.masks, goal, styles=max(1, len(named or shown)), max_megapixels=max_megapixels
            )
        ]
        bound = bind(self.network, named or shown)
        painted = self._paint_scaled(bound, photo, wishes, progress, style_scale, regions, strength, alpha)
        return picture.with_rgb(cover(photo, painted, regions, keep_colors=finish.keep_colors))

    def plan(
        self,
        size: tuple[int, int],
        *,
        style_scale: float | str = 1.0,
        max_memory: str | int | None = None,
        tile: int | None = None,
        statistics: Statistics = "exact",
    ) -> TilingPlan | None:
        """How a photo of this (height, width) would be painted; None is at once. Options and errors as in `paint`."""
        work, wishes = (
            scaled(size, style_scale),
            TilingOptions(parse_memory(max_memory), tile=tile, statistics=statistics),
        )
        return plan_bands(self.network, work, wishes)

    def _paint_scaled(
        self,
        bound: BoundStyle,
        photo: Tensor,
        options: TilingOptions,
        progress: Callable[[BandProgress], None] | None,
        style_scale: float | str,
        regions: Sequence[Tensor],
        strength: float,
        alpha: float,
    ) -> Tensor:
        """Networks have strokes of one size: larger ones come of painting a smaller photo and enlarging that."""
        goal = (photo.shape[2], photo.shape[3])
        small = scaled(goal, style_scale)
        work = resize(photo, small)
        masks = [resize(mask, small) for mask in regions] if len(regions) > 1 else None
        painted = _painted(paint(bound, work, options, masks=masks, alpha=alpha, strength=strength), progress)
        if small == goal:
            return painted
        painted = resize(painted, goal)
        # What shrinking took from the photo comes back as the strength goes, or 0 would be a blurred photo.
        return painted if strength == 1 else painted + (1 - strength) * (photo - resize(work, goal))

    def chosen(
        self, style: Any, max_megapixels: float
    ) -> tuple[list[tuple[str, float]], list[tuple[EncodedStyle, float]]]:
        """Styles as `paint` takes them -> (names with weights, encoded pictures with weights), one of them empty."""
        if style is None:
            return [], []
        if isinstance(style, Mapping):
            style = list(style.items())
        rows = list(as_styles(style))
        if self.any_style:
            return [], [(self._encode(row, max_megapixels), row.weight) for row in rows]
        for row in rows:
            if not isinstance(row.image, str):
                name = self.styles[0].name
                raise OptionError(f"{self.name} knows its own styles alone: give a name such as {name!r}, no picture")
        return [(row.image, row.weight) for row in rows], []

    def _encode(self, style: Style, max_megapixels: float) -> EncodedStyle:
        """What the network keeps of a style picture, remembered by the picture's content."""
        picture = as_picture(style.image, max_megapixels=max_megapixels).rgb
        key = hashlib.sha256(f"{tuple(picture.shape)}".encode() + picture.numpy().tobytes()).hexdigest()
        if key not in self._encoded:
            if len(self._encoded) >= REMEMBERED:
                del self._encoded[next(iter(self._encoded))]
            small = resize(picture, fit_long_side((picture.shape[2], picture.shape[3]), STYLE_SIZE))
            self._encoded[key] = encode(self.network, small.to(self.device))
        return self._encoded[key]


def _painted(records: Generator[BandProgress, None, Tensor], progress: Callable[[BandProgress], None] | None) -> Tensor:
    while True:
        try:
            record = next(records)
        except StopIteration as end:
            painted: Tensor = end.value
            return painted
        if progress is not None:
            progress(record)


def scaled(size: tuple[int, int], style_scale: float | str) -> tuple[int, int]:
    """The size at which strokes, enlarged with the painting, become that much larger."""
    factor = factor_for_network(style_scale, size)
    height, width = (max(1, round(side / factor)) for side in size)
    return height, width
