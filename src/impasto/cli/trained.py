"""``impasto stylize`` with a trained network: one pass a photo."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from impasto.cli.common import show_note
from impasto.cli.jobs import Keep
from impasto.core.precision import PrecisionName
from impasto.errors import OptionError
from impasto.imaging import check_output, fit_long_side, losses, read, write
from impasto.methods.planning import Statistics
from impasto.methods.tiled import TileProgress
from impasto.stylizer import load, parse_style

if TYPE_CHECKING:
    from impasto.batch import Work

__all__ = ["Look", "paint_with_model", "painter", "show_plan"]


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
    style_scale: float | str
    mask: tuple[str, ...]
    device: str
    precision: PrecisionName
    max_megapixels: float
    max_memory: str | None = None
    tile: int | None = None
    statistics: Statistics = "exact"

    @property
    def inputs(self) -> list[str]:
        """Files that must not be overwritten, beside the photos."""
        return [self.model, *(parse_style(text)[0] for text in self.style), *self.mask]


def painter(look: Look, keep: Keep, *, force: bool, with_bar: bool = False) -> Callable[[Work], str]:
    """What paints and writes one photo after another with the network, loaded once; it tells what it wrote.

    `with_bar` shows how far a photo is that is painted in bands; there can be but one bar at a time.
    """
    model = load(look.model, device=look.device, precision=look.precision)
    if look.alpha < 1 and not model.mixes_features:
        raise OptionError("--alpha is for networks that decode features (adain): use --strength")
    names = (
        *("strength", "alpha", "style_scale", "keep_colors", "mask", "size", "upscale", "max_megapixels"),
        *("max_memory", "tile", "statistics"),
    )
    options: dict[str, Any] = {name: getattr(look, name) for name in names}

    def paint(work: Work) -> str:
        inputs = [work.photo, *look.inputs]
        check_output(work.output, force=force, inputs=inputs)
        with _bar() if with_bar else nullcontext() as progress:
            picture = model.paint(work.photo, list(look.style) or None, progress=progress, **options)
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
    show_note(painter(look, keep, force=force, with_bar=True)(work))


def show_plan(photo: str, look: Look) -> None:
    """Tell how a photo would be painted, and paint nothing."""
    model = load(look.model, device=look.device, precision=look.precision)
    picture = read(photo, max_megapixels=look.max_megapixels)
    shape = picture.height, picture.width
    size = fit_long_side(shape, look.size or max(shape), upscale=look.upscale)
    plan = model.plan(
        size,
        style_scale=look.style_scale,
        max_memory=look.max_memory,
        tile=look.tile,
        statistics=look.statistics,
    )
    show_note(f"{size[1]}x{size[0]} px at once" if plan is None else str(plan))


@contextmanager
def _bar() -> Iterator[Callable[[TileProgress], None]]:
    """A bar on the terminal, which shows itself when there is a band to tell of."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("painting"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=1.0, visible=False)
        yield lambda record: bar.update(task, completed=record.done, visible=True)
