"""``impasto stylize --model``: one pass through a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from impasto.cli.common import show_note
from impasto.cli.jobs import Keep
from impasto.core.precision import PrecisionName
from impasto.imaging import check_output, losses, write
from impasto.stylizer import apply_model, parse_style

__all__ = ["Look", "paint_with_model"]


@dataclass(frozen=True)
class Look:
    """How a photo is painted, apart from by what."""

    size: int | None
    upscale: bool
    keep_colors: bool
    device: str
    precision: PrecisionName
    max_megapixels: float


def paint_with_model(
    model: Path, photo: str, style: list[str], output: str, look: Look, keep: Keep, *, force: bool
) -> None:
    """Paint and write; what cannot be written is refused before the work."""
    styles = [parse_style(text) for text in style]
    inputs = [photo, str(model), *(path for path, _ in styles)]
    check_output(output, force=force, inputs=inputs)
    picture = apply_model(
        model,
        photo,
        styles,
        size=look.size,
        upscale=look.upscale,
        keep_colors=look.keep_colors,
        device=look.device,
        precision=look.precision,
        max_megapixels=look.max_megapixels,
    )
    for sentence in losses(picture, output):
        show_note(sentence)
    write(picture, output, force=force, inputs=inputs, quality=keep.quality, compression=keep.compression)
    show_note(f"{output}: {picture.width}x{picture.height} px, by {model}")
