"""``impasto stylize`` with a trained network: one pass a photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from impasto.cli.common import show_note
from impasto.cli.jobs import Keep
from impasto.core.precision import PrecisionName
from impasto.errors import OptionError
from impasto.imaging import check_output, losses, write
from impasto.stylizer import load, parse_style

if TYPE_CHECKING:
    from impasto.batch import Work

__all__ = ["Look", "paint_with_model", "painter"]


@dataclass(frozen=True)
class Look:
    """How photos are painted: by what, and everything that is not about files."""

    model: str
    style: tuple[str, ...]
    size: int | None
    upscale: bool
    keep_colors: bool
    strength: float
    alpha: float
    style_scale: float
    mask: tuple[str, ...]
    device: str
    precision: PrecisionName
    max_megapixels: float

    @property
    def inputs(self) -> list[str]:
        """Files that must not be overwritten, beside the photos."""
        return [self.model, *(parse_style(text)[0] for text in self.style), *self.mask]


def painter(look: Look, keep: Keep, *, force: bool) -> Callable[[Work], str]:
    """What paints and writes one photo after another with the network, loaded once; it tells what it wrote."""
    model = load(look.model, device=look.device, precision=look.precision)
    if look.alpha < 1 and not model.any_style:
        raise OptionError("--alpha is for networks of any style: use --strength")
    names = ("strength", "alpha", "style_scale", "keep_colors", "mask", "size", "upscale", "max_megapixels")
    options: dict[str, Any] = {name: getattr(look, name) for name in names}

    def paint(work: Work) -> str:
        inputs = [work.photo, *look.inputs]
        check_output(work.output, force=force, inputs=inputs)
        picture = model.paint(work.photo, list(look.style) or None, **options)
        for sentence in losses(picture, work.output):
            show_note(sentence)
        write(picture, work.output, force=force, inputs=inputs, quality=keep.quality, compression=keep.compression)
        where = "standard output" if work.output == "-" else work.output
        return f"{where}: {picture.width}x{picture.height} px, by {look.model}"

    return paint


def paint_with_model(work: Work, look: Look, keep: Keep, *, force: bool) -> None:
    """Paint and write one photo; what cannot be written is refused before the network is loaded."""
    if [work.photo, *look.inputs].count("-") > 1:
        raise OptionError("- stands for standard input, which holds one picture: name a file for the others")
    check_output(work.output, force=force, inputs=[work.photo, *look.inputs])
    show_note(painter(look, keep, force=force)(work))
