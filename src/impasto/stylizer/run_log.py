"""The steps of an optimisation as a table, as curves, and as a film."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.errors import DataError
from impasto.files import atomic_path
from impasto.imaging import fit_long_side, to_pil
from impasto.stylizer.job import Progress

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Log", "Row", "Timeline", "by_who_saw", "plot_losses"]

_COLUMNS = ("step", "height", "width", "total", "content", "style", "tv", "range", "written", "seen_by", "seconds")
_KINDS = {"step": int, "height": int, "width": int, "seen_by": str}  # the others are fractions
_SOMETIMES = ("written", "seen_by")  # are known of some steps alone, and of none in logs of earlier versions
_LINES = ("total", "content", "style", "tv", "range")

Row = dict[str, Any]


def by_who_saw(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each network that saw, those first that came first; all under no name where one alone saw."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.get("seen_by", ""), []).append(row)
    return found


class Log:
    """The records of a run as rows of a table, one for every step."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._seconds = 0.0  # that earlier parts of the run took

    def add(self, record: Progress) -> None:
        """Append a record; the rows of steps that are taken again are replaced."""
        self.cut(int(record.done) - 1)
        height, width = record.size or (0, 0)
        seconds = self._seconds + record.seconds
        row: Row = {"step": int(record.done), "height": height, "width": width, **record.losses}
        if record.seen_by is not None:
            row["seen_by"] = record.seen_by
        self.rows.append(row | {"seconds": seconds})

    def cut(self, up_to: int) -> None:
        """Leave out the rows of steps after one, to which the run went back."""
        while self.rows and self.rows[-1]["step"] > up_to:
            self.rows.pop()

    def write(self, path: Path) -> None:
        """As CSV, whole or not at all."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")

    def read(self, path: Path, up_to: int) -> None:
        """The rows of an earlier part of the run, up to a step. DataError if the table is damaged."""
        try:
            with path.open(encoding="utf-8", newline="") as handle:
                rows = [
                    {
                        name: _KINDS.get(name, float)(row[name])
                        for name in _COLUMNS
                        if name not in _SOMETIMES or row.get(name)
                    }
                    for row in csv.DictReader(handle)
                ]
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise DataError(f"{path}: the log cannot be read ({error!r}); delete it to go on without") from error
        self.rows = rows
        self.cut(up_to)
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0


def plot_losses(rows: list[Row], path: Path) -> None:
    """The weighted loss terms over steps, on a logarithmic axis; the suffix decides the format.

    Where networks see in turns, each has its own lines: what one finds dear another need not.
    """
    from matplotlib.figure import Figure  # a second of start-up that most runs do not need

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    by_network = by_who_saw(rows)
    for dashes, (network, seen) in zip(itertools.cycle(("-", "--")), by_network.items()):
        steps = [row["step"] for row in seen]
        for number, name in enumerate(_LINES):
            values = [row[name] for row in seen]
            if any(value > 0 for value in values):
                axes.plot(
                    steps,
                    [value if value > 0 else float("nan") for value in values],
                    label=f"{name}, {network}" if len(by_network) > 1 else name,
                    color=f"C{number}",
                    linestyle=dashes,
                    marker="o" if len(seen) == 1 else None,
                )
    written = [row for row in rows if row.get("written", 0) > 0]
    if written:
        at, values = [row["step"] for row in written], [row["written"] for row in written]
        axes.plot(at, values, label="total, as written", color="k", linestyle="none", marker="x", markersize=4)
    for before, after in itertools.pairwise(rows):
        if (before["height"], before["width"]) != (after["height"], after["width"]):
            axes.axvline(after["step"], color="0.7", linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss, weighted", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


class Timeline:
    """Small frames of a run, for a film of the picture becoming a painting."""

    def __init__(self, long_side: int = 480, frames: int = 48) -> None:
        self.long_side, self.frames = long_side, frames
        self.images: list[Any] = []
        self.last: int | None = None  # step of the last frame

    def due(self, record: Progress) -> bool:
        """Frames come on a square-root scale: most happens at the beginning."""
        share = [(record.done - 1) / record.total, record.done / record.total]
        first, last = (int(self.frames * s**0.5) for s in share)
        return last > first or record.done in (1, record.total)

    def add(self, image: Tensor, step: int) -> None:
        """Append (1, 3, H, W) in [0, 1], shrunk, as the frame of a step."""
        from impasto.core.resizing import resize

        size = fit_long_side((image.shape[2], image.shape[3]), self.long_side)
        self.images.append(to_pil(resize(image.float().cpu(), size)))
        self.last = step

    def write(self, path: Path) -> None:
        """As an animated GIF that rests on its last frame."""
        if not self.images:
            return
        durations = [80] * (len(self.images) - 1) + [2000]
        with atomic_path(path) as temporary:
            self.images[0].save(
                temporary, format="GIF", save_all=True, append_images=self.images[1:], duration=durations, loop=0
            )
