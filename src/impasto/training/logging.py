"""What a training leaves to look at: TensorBoard's files, loss.csv, loss.png, and sheets of samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from torch import Tensor

from impasto.core.tensors import to_array
from impasto.files import atomic_path, output_error
from impasto.imaging import Picture, write

__all__ = ["RunLog"]

BOARD_EVERY = 10  # steps between points in TensorBoard; loss.csv has them all
PLOTTED = ("total", "content", "style", "tv")


class RunLog:
    """The log of one run, kept from step `start` on; what an earlier process wrote of later steps is forgotten.

    Every method raises OutputError where the disk is full or the folder cannot be written.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter  # seconds to load, and not every process of a run logs

        self.folder, self.table = folder, folder / "loss.csv"
        self._handle: TextIO | None = None
        self._columns: list[str] = []
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            board = folder / "tensorboard"
            self._board = SummaryWriter(str(board), purge_step=start + 1)
        self.rewind(start)

    def rewind(self, step: int) -> None:
        """Forget what is logged of steps after `step`."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        rows = [row for row in self.rows() if row["step"] <= step]
        self._columns = list(rows[0]) if rows else []
        if not rows:
            self.table.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(self._columns)
        table.writerows([int(row["step"]), *list(row.values())[1:]] for row in rows)
        with atomic_path(self.table) as temporary:
            temporary.write_bytes(text.getvalue().encode())

    def rows(self) -> list[dict[str, float]]:
        """The table so far; a last line cut short by a crash, and what is no number, are left out."""
        if not self.table.exists():
            return []
        rows = []
        with self.table.open(encoding="utf-8", errors="replace", newline="") as handle:
            for row in csv.DictReader(handle):
                with suppress(ValueError, TypeError):
                    rows.append({key: float(value) for key, value in row.items()})
        return rows

    def add(self, step: int, losses: Mapping[str, float], rate: float, speed: float) -> None:
        """Enter a step: its losses, learning rate and images a second."""
        values = {"step": step, **losses, "learning_rate": rate, "images_per_second": round(speed, 3)}
        with _writing(self.table):
            if self._handle is None:
                self._handle = self._open(list(values))
            self._handle.write(",".join(f"{values.get(column, ''):.9g}" for column in self._columns) + "\n")
        if step % BOARD_EVERY == 0 or step == 1:
            with _writing(self.folder / "tensorboard"):
                for name, value in values.items():
                    if name != "step":
                        place = name if "/" in name else f"training/{name}"
                        self._board.add_scalar(place, value, step)

    def _open(self, columns: list[str]) -> TextIO:
        begins = not self.table.exists()
        handle = self.table.open("a", encoding="utf-8", buffering=1)  # by lines: a crash costs at most one
        if begins:
            self._columns = columns
            handle.write(",".join(columns) + "\n")
        return handle

    def sheet(self, image: Tensor, step: int) -> None:
        """Keep a sheet of samples, (1, 3, H, W) in [0, 1]."""
        (self.folder / "samples").mkdir(exist_ok=True)
        write(Picture(to_array(image.clamp(0, 1))), self.folder / "samples" / f"step-{step:08d}.jpg", force=True)
        with _writing(self.folder / "tensorboard"):
            self._board.add_image("samples", image[0].clamp(0, 1), step)

    def plot(self) -> None:
        """Draw the losses over steps, on a logarithmic axis, into loss.png."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        rows = self.rows()
        figure = Figure(figsize=(7, 4))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.12, 0.12, 0.86, 0.85))  # to have room measured draws it twice
        steps = [row["step"] for row in rows]
        for name in PLOTTED:
            values = [row.get(name, 0.0) for row in rows]
            if any(value > 0 for value in values):
                axes.plot(steps, [value if value > 0 else float("nan") for value in values], label=name, linewidth=0.8)
        axes.set(xlabel="step", ylabel="loss; terms without their weights")
        if axes.lines:
            axes.set_yscale("log")
            axes.legend()
        axes.grid(visible=True, alpha=0.3)
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=110, format="png")
        with atomic_path(self.folder / "loss.png") as temporary:
            temporary.write_bytes(drawn.getbuffer())

    def close(self) -> None:
        """Flush and close; a disk that is full was told of before."""
        with suppress(OSError):
            if self._handle is not None:
                self._handle.close()
        with suppress(OSError):
            self._board.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error
