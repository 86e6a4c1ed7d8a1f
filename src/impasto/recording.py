"""What an optimisation leaves behind beside its picture: frames, a log, a plot, a film, and a state to resume."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import DataError
from impasto.files import atomic_path, sha256
from impasto.imaging import Picture, fit_long_side, resize, to_pil, write
from impasto.optimize.loop import Optimization, StepProgress
from impasto.optimize.presets import OptimizeSettings

__all__ = [
    "Log",
    "RunFolder",
    "Timeline",
    "describe_file",
    "describe_settings",
    "plot_losses",
    "same_file",
    "stored_settings",
]

_DESCRIPTION = "run.json"
_ENTRIES = frozenset({"photo", "styles", "beginning", "backbone", "settings", "how", "keep", "output"})
_ENTRIES_OF_NETWORKS = frozenset({"files", "photo", "look", "keep", "output", "force"})
_COLUMNS = ("step", "height", "width", "total", "content", "style", "tv", "range", "seconds")
_KINDS = {"step": int, "height": int, "width": int}  # the others are fractions
_LINES = ("total", "content", "style", "tv", "range")


class Log:
    """The records of a run as rows of a table, one for every step."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._seconds = 0.0  # that earlier parts of the run took

    def add(self, record: StepProgress) -> None:
        """Append a record; the rows of steps that are taken again are replaced."""
        self.cut(record.step - 1)
        height, width = record.scale
        seconds = self._seconds + record.seconds
        self.rows.append({"step": record.step, "height": height, "width": width, **record.losses, "seconds": seconds})

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
                    {name: _KINDS.get(name, float)(row[name]) for name in _COLUMNS} for row in csv.DictReader(handle)
                ]
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise DataError(f"{path}: the log cannot be read ({error!r}); delete it to go on without") from error
        self.rows = rows
        self.cut(up_to)
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0


def plot_losses(rows: list[dict[str, float]], path: Path) -> None:
    """The weighted loss terms over steps, on a logarithmic axis; the suffix decides the format."""
    from matplotlib.figure import Figure  # a second of start-up that most runs do not need

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    for name in _LINES:
        values = [row[name] for row in rows]
        if any(value > 0 for value in values):
            shown = [value if value > 0 else float("nan") for value in values]
            axes.plot(steps, shown, label=name, marker="o" if len(rows) == 1 else None)
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

    def due(self, record: StepProgress) -> bool:
        """Frames come on a square-root scale: most happens at the beginning."""
        share = [(record.step - 1) / record.steps, record.step / record.steps]
        first, last = (int(self.frames * s**0.5) for s in share)
        return last > first or record.step in (1, record.steps)

    def add(self, image: Tensor, step: int) -> None:
        """Append (1, 3, H, W) in [0, 1], shrunk, as the frame of a step."""
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


class RunFolder:
    """``--run DIR``: run.json (what is painted and how), state.pt, log.csv, frames/000050.jpg."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check_free(self) -> None:
        """DataError if the folder holds a run already, or is none."""
        if (self.folder / _DESCRIPTION).exists():
            raise DataError(f"{self.folder}: holds a run already; go on with --resume {self.folder} or choose another")
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder}: is not a folder; choose another name for the run")

    def create(self, description: Mapping[str, Any]) -> None:
        """Begin a run. DataError if the folder holds one already, OutputError if it cannot be written."""
        self.check_free()
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        with atomic_path(self.folder / _DESCRIPTION, make_folders=True) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def description(self) -> dict[str, Any]:
        """What `create` was told. DataError if there is no run here or it is damaged."""
        path = self.folder / _DESCRIPTION
        try:
            found = json.loads(path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(f"{self.folder}: holds no run to resume (no {_DESCRIPTION})") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if isinstance(found, dict) and any(found.keys() >= entries for entries in (_ENTRIES, _ENTRIES_OF_NETWORKS)):
            return found
        raise DataError(f"{path}: is not the description of a run")

    def close(self) -> None:
        """End a run of which nothing is left to resume: its description goes, and the folder if it is empty then."""
        (self.folder / _DESCRIPTION).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def save(self, optimization: Optimization, log: Log) -> None:
        """Log and state, each whole or not at all. The log goes first: what it has too much is cut off by `load`."""
        log.write(self.folder / "log.csv")
        buffer = io.BytesIO()  # torch's own writing to disk tells no reason when it fails
        torch.save(optimization.state_dict(), buffer)
        with atomic_path(self.folder / "state.pt") as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load(self, optimization: Optimization, log: Log) -> None:
        """Bring both to where the run stopped; at the beginning if it never got to its first save."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=optimization.photo.device, weights_only=True)
            optimization.load_state_dict(state)
        except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            raise DataError(f"{path}: is damaged or of another run ({reason}); start a new run") from error
        if (self.folder / "log.csv").exists():
            log.read(self.folder / "log.csv", optimization.step)

    def frame(self, picture: Picture, step: int) -> None:
        """Keep the picture of a step."""
        frames = self.folder / "frames"
        with suppress(OSError):  # `write` says it better
            frames.mkdir(exist_ok=True)
        write(picture, frames / f"{step:06d}.jpg", force=True)


def describe_file(path: str | Path) -> dict[str, Any]:
    """Where a file lies and what is in it, for the description of a run. DataError if it cannot be read."""
    try:
        return {"path": str(Path(path).resolve()), "sha256": sha256(Path(path))}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def same_file(row: Mapping[str, Any]) -> str:
    """The path of a file that `describe_file` described; DataError if it is gone or another by now."""
    path = str(row["path"])
    if not Path(path).is_file():
        raise DataError(f"{path}: is not there any more, so the run cannot go on; put it back or start a new run")
    if describe_file(path)["sha256"] != row["sha256"]:
        raise DataError(f"{path}: has changed since the run began; start a new run")
    return path


def describe_settings(settings: OptimizeSettings) -> dict[str, Any]:
    """Settings as plain values, for JSON."""
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def stored_settings(stored: Mapping[str, Any]) -> OptimizeSettings:
    """The inverse of `describe_settings`. DataError if they are of another version of this program."""
    odd = sorted(stored.keys() ^ {f.name for f in fields(OptimizeSettings)})
    if odd:
        raise DataError(f"the run was begun by another version, whose settings differ in {', '.join(odd)}")
    return OptimizeSettings(**{**stored, "betas": tuple(stored["betas"])})
