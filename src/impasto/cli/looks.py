"""How photos are painted by a network, as the command line has it, and the bar that shows how far that is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from impasto.cli.common import show_note
from impasto.core.precision import PrecisionName
from impasto.errors import ImageError
from impasto.imaging import mask_note, read
from impasto.stylizer import parse_style
from impasto.tiling.bands import BandProgress
from impasto.tiling.plan import Statistics

__all__ = ["Look", "bar", "tell_of_masks"]

LOOKED_AT = 50  # megapixels: larger masks are read piece by piece, and not before


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


@contextmanager
def bar() -> Iterator[Callable[[BandProgress], None]]:
    """A bar on the terminal, which shows itself when there is a band to tell of."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("painting"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=1.0, visible=False)
        yield lambda record: bar.update(task, completed=record.done, visible=True)


def tell_of_masks(masks: Iterable[str], max_megapixels: float) -> None:
    """A note for each mask that paints next to nothing or everything; one that cannot be read is told of later."""
    for path in masks:
        if path == "-":  # can be read but once
            continue
        with suppress(ImageError):
            note = mask_note(read(path, max_megapixels=min(max_megapixels, LOOKED_AT), min_side=1))
            if note is not None:
                show_note(note)
