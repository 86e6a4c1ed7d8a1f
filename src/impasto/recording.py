"""What an optimisation leaves behind beside its picture: frames, a log, a plot, a film, and a state to resume."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import DataError
from impasto.files import atomic_path, sha256
from impasto.imaging import Picture, fit_long_side, resize, to_pil, write
from impasto.methods.optimize import Optimization, Progress
from impasto.methods.presets import OptimizeSettings

__all__ = ["Log", "RunFolder", "Timeline", "describe_run", "plot_losses"]

_COLUMNS = ("step", "height", "width", "total", "content", "style", "tv", "range", "seconds")
_LINES = ("total", "content", "style", "tv", "range")


class Log:
    """The records of a run as rows of a table."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def add(self, record: Progress) -> None:
        """Append a record."""
        height, width = record.scale
        self.rows.append(
            {"step": record.step, "height": height, "width": width, **record.losses, "seconds": record.seconds}
        )

    def write(self, path: Path) -> None:
        """As CSV, whole or not at all."""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, _COLUMNS)
        table.writeheader()
        table.writerows(self.rows)
        with atomic_path(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")

    def read(self, path: Path, up_to: int) -> None:
        """The rows of an earlier part of the run, up to a step. DataError if the table is damaged."""
        try:
            with path.open(encoding="utf-8", newline="") as handle:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(handle)]
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: the log cannot be read ({error}); delete it to go on without") from error
        self.rows = [row for row in rows if row["step"] <= up_to]


def plot_losses(rows: list[dict[str, float]], path: Path) -> None:
    """The weighted loss terms over steps, on a logarithmic axis; the suffix decides the format."""
    from matplotlib.figure import Figure  # a second of start-up that most runs do not need

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    for name in _LINES:
        values = [row[name] for row in rows]
        if any(value > 0 for value in values):
            axes.plot(steps, [value if value > 0 else float("nan") for value in values], label=name)
    for before, after in itertools.pairwise(rows):
        if (before["height"], before["width"]) != (after["height"], after["width"]):
            axes.axvline(after["step"], color="0.7", linewidth=0.8)
    axes.set(xlabel="step", ylabel="loss, weighted", yscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


class Timeline:
    """Small frames of a run, for a film of the picture becoming a painting."""

    def __init__(self, long_side: int = 480, frames: int = 48) -> None:
        self.long_side, self.frames = long_side, frames
        self.images: list[Any] = []

    def due(self, record: Progress) -> bool:
        """Frames come on a square-root scale: most happens at the beginning."""
        share = [(record.step - 1) / record.steps, record.step / record.steps]
        first, last = (int(self.frames * s**0.5) for s in share)
        return last > first or record.step in (1, record.steps)

    def add(self, image: Tensor) -> None:
        """Append (1, 3, H, W) in [0, 1], shrunk."""
        size = fit_long_side((image.shape[2], image.shape[3]), self.long_side)
        self.images.append(to_pil(resize(image.float().cpu(), size)))

    def write(self, path: Path) -> None:
        """As an animated GIF that rests on its last frame."""
        if not self.images:
            return
        durations = [80] * (len(self.images) - 1) + [2000]
        with atomic_path(path) as temporary:
            self.images[0].save(
                temporary, format="GIF", save_all=True, append_images=self.images[1:], duration=durations, loop=0
            )


class RunFolder:
    """``--run DIR``: run.json (what is painted and how), state.pt, log.csv, frames/000050.jpg."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, description: Mapping[str, Any]) -> None:
        """Begin a run. DataError if the folder holds one already."""
        if (self.folder / "run.json").exists():
            raise DataError(f"{self.folder}: holds a run already; go on with --resume {self.folder} or choose another")
        (self.folder / "frames").mkdir(parents=True, exist_ok=True)
        with atomic_path(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    def description(self) -> dict[str, Any]:
        """What `create` was told. DataError if there is no run here or it is damaged."""
        path = self.folder / "run.json"
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise DataError(f"{self.folder}: holds no run to resume (no run.json)") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if not isinstance(found, dict) or not {"photo", "styles", "settings"} <= found.keys():
            raise DataError(f"{path}: is not the description of a run")
        return found

    def settings(self) -> OptimizeSettings:
        """The settings of the run. DataError if they are of another version of this program."""
        stored = dict(self.description()["settings"])
        known = {f.name for f in fields(OptimizeSettings)}
        if stored.keys() != known:
            odd = sorted(stored.keys() ^ known)
            raise DataError(f"{self.folder}: was begun by another version, which differs in {', '.join(odd)}")
        stored["betas"] = tuple(stored["betas"])
        return OptimizeSettings(**stored)

    def save(self, optimization: Optimization, log: Log) -> None:
        """State and log, each whole or not at all."""
        with atomic_path(self.folder / "state.pt") as temporary:
            torch.save(optimization.state_dict(), temporary)
        log.write(self.folder / "log.csv")

    def load(self, optimization: Optimization, log: Log) -> None:
        """Bring both to where the run stopped; at the beginning if it never got to its first save."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=optimization.photo.device, weights_only=True)
            optimization.load_state_dict(state)
        except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
            raise DataError(f"{path}: is damaged or of another run: {error}") from error
        if (self.folder / "log.csv").exists():
            log.read(self.folder / "log.csv", optimization.step)

    def frame(self, picture: Picture, step: int) -> None:
        """Keep the picture of a step."""
        write(picture, self.folder / "frames" / f"{step:06d}.jpg", force=True)


def describe_run(
    photo: Path, styles: list[tuple[Path, float]], settings: OptimizeSettings, **more: Any
) -> dict[str, Any]:
    """What a run must know to be resumed, as plain values."""
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    return {
        "photo": {"path": str(photo.resolve()), "sha256": sha256(photo)},
        "styles": [{"path": str(p.resolve()), "sha256": sha256(p), "weight": w} for p, w in styles],
        "settings": plain,
        **more,
    }
