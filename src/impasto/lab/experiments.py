"""Running a grid: cell by cell or several at once, each once, going on where an earlier run was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.core.threads import usable_cores, wait_settings
from impasto.errors import OptionError, OutputError
from impasto.files import lock_folder
from impasto.lab.cells import RESULT, Result, read_result, write_json
from impasto.lab.grid import Cell, Grid, check_pictures

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["CellDone", "cell_folder", "results", "run_grid"]

INTERRUPTED = (-signal.SIGINT, -signal.SIGTERM, 130)  # how a process ends that was asked to


@dataclass(frozen=True)
class CellDone:
    """A cell that is finished: `done` of `total` are; `before` says that an earlier run did it."""

    cell: Cell
    result: Result
    done: int
    total: int
    before: bool = False


def cell_folder(out: Path, cell: Cell) -> Path:
    """Where a cell lies."""
    return out / "cells" / cell.key


def results(grid: Grid, out: Path) -> list[Result | None]:
    """What came of each cell, in order; None where it has not been run to its end."""
    return [read_result(cell_folder(out, cell)) for cell in grid.cells]


def run_grid(grid: Grid, out: Path, *, jobs: int = 1, retry: bool = False) -> Generator[CellDone, None, None]:
    """Run every cell that has no result in `out` yet, `jobs` at a time; a record as each is finished.

    Cells that failed are not run again without `retry`. Closing the generator ends the cells that are running;
    they begin anew next time, trainings at their last checkpoint.

    Raises:
        OptionError: `jobs` is less than 1.
        OutputError: `out` is a file or cannot be written, or another process is running experiments there.
        ImageError, DataError: pictures of a cell that is to be run are not there.
    """
    if jobs < 1:
        raise OptionError(f"`jobs` is {jobs}, need at least 1")
    for cell in grid.cells:
        if _is_to_run(cell, out, retry=retry):
            check_pictures(grid.method, cell)
    lock = _locked(out)
    try:
        waiting: list[Cell] = []
        done = 0
        for cell in grid.cells:
            result = read_result(cell_folder(out, cell))
            if result is None or _is_to_run(cell, out, retry=retry):
                if cell.key not in [one.key for one in waiting]:
                    waiting.append(cell)
                continue
            done += 1
            yield CellDone(cell, result, done, len(grid.cells), before=True)
        runner = _Runner(grid, out, max(1, _threads() // jobs))
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(runner.run, cell): cell for cell in waiting}
            try:
                for future in as_completed(futures):
                    for cell in [one for one in grid.cells if one.key == futures[future].key]:
                        done += 1
                        yield CellDone(cell, future.result(), done, len(grid.cells))
            finally:
                for future in futures:
                    future.cancel()
                runner.stop()
    finally:
        lock.release()


def _is_to_run(cell: Cell, out: Path, *, retry: bool) -> bool:
    result = read_result(cell_folder(out, cell))
    return result is None or (retry and result.error is not None)


class _Runner:
    """Starts the processes of cells, and ends them."""

    def __init__(self, grid: Grid, out: Path, threads: int) -> None:
        self.grid, self.out, self.threads = grid, out, threads
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False
        self._lock = threading.Lock()

    def run(self, cell: Cell) -> Result:
        """Run a cell to its end; its log is ``cell.log`` in its folder."""
        folder = cell_folder(self.out, cell)
        told = {"method": self.grid.method, "judge": self.grid.judge, "name": cell.name, "values": cell.values}
        write_json(folder / "cell.json", told)
        (folder / RESULT).unlink(missing_ok=True)
        command = [sys.executable, "-m", "impasto.lab.cells", str(folder), str(self.threads)]
        environment = {**os.environ, **wait_settings(os.environ), "OMP_NUM_THREADS": str(self.threads)}
        with (folder / "cell.log").open("wb") as log:
            with self._lock:
                if self._stopping:
                    return Result(error="stopped")
                # Its standard input is open as long as we live: see `cells`.
                process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE, env=environment)
                self._running.add(process)
            with process:
                code = process.wait()
        with self._lock:
            self._running.discard(process)
        result = read_result(folder)
        if result is not None:
            return result
        result = Result(error=f"its process ended with code {code}: see {folder / 'cell.log'}")
        if not self._stopping and code not in INTERRUPTED:
            write_json(folder / RESULT, asdict(result))
        return result

    def stop(self) -> None:
        """End the cells that are running."""
        with self._lock:
            self._stopping = True
            for process in self._running:
                process.kill()


def _locked(out: Path) -> BaseFileLock:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, need a folder for the experiments")
    return lock_folder(out, "running experiments", extra="lab")


def _threads() -> int:
    """Those that all cells share: as many as there are cores for us, unless OMP_NUM_THREADS says how many."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal():
        return int(told)
    return usable_cores()
