"""Running a grid: each cell once, failures kept, crashes survived; and what is reported of it."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from impasto.errors import OptionError, OutputError
from impasto.lab import experiments
from impasto.lab.cells import Result, read_result, run_cell, write_json
from impasto.lab.experiments import cell_folder, results, run_grid
from impasto.lab.grid import Cell, Grid, read_grid
from impasto.lab.report import experiment_sheet, loss_figure, table, write_table

from ..training.training_samples import NETWORK, SMALL, write_backbone

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
OUT = Path("out")


@pytest.fixture
def grid() -> Grid:
    """Two by two cells, the last of which fails."""
    text = '[settings]\nphoto = "photo.png"\nstyle = "night.png"\n'
    Path("grid.toml").write_text(text + '[axes]\npool = ["max", "average"]\nstyle_weight = [1, 2]\n')
    return read_grid(Path("grid.toml"))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of cells that were run, in the place of processes that take seconds to start."""
    names: list[str] = []

    def run(self: object, cell: Cell) -> Result:
        names.append(cell.name)
        folder = cell_folder(OUT, cell)
        if cell.number == 4:
            result = Result(error="diverged", seconds=1.0)
        else:
            result = Result(None, 3, {"total": 2.0}, {"content": 0.1, "style": 0.2, "share": 0.5}, 1.5, 100.0)
        write_json(folder / "result.json", vars(result))
        if result.error is None:
            Image.new("RGB", (40, 36), "teal").save(folder / "painting.png")
            turns = "step,total,content,style,seen_by\n1,4,2,1,one\n2,30,9,9,two\n3,2,1,1,one\n"
            alone = "step,total,content,style\n1,4,2,1\n2,3,1,nan\n3,2,1,1\n"
            (folder / "losses.csv").write_text(turns if cell.number == 2 else alone)
        return result

    monkeypatch.setattr(experiments._Runner, "run", run)
    return names


def test_each_cell_once(grid: Grid, ran: list[str]) -> None:
    with closing(run_grid(grid, OUT)) as records:
        first = next(records)
    assert (first.done, first.total, first.before) == (1, 4, False)
    begun = list(ran)
    assert first.cell.name in begun
    rest = list(run_grid(grid, OUT, jobs=2))
    assert sorted(ran) == sorted(cell.name for cell in grid.cells)
    assert sum(record.before for record in rest) == len(begun)
    assert [record.done for record in rest] == [1, 2, 3, 4]
    assert [record.result.error for record in rest if record.cell.number == 4] == ["diverged"]
    assert all(record.before for record in run_grid(grid, OUT))
    assert len(ran) == 4
    again = list(run_grid(grid, OUT, retry=True))
    assert [record.cell.number for record in again if not record.before] == [4]
    assert len(ran) == 5


def test_cells_that_are_the_same_run_once(ran: list[str]) -> None:
    text = '[settings]\nphoto = "photo.png"\nstyle = "night.png"\n'
    Path("grid.toml").write_text(text + '[[cells]]\nname = "a"\nsize = 64\n[[cells]]\nname = "b"\nsize = 64\n')
    found = read_grid(Path("grid.toml"))
    assert [record.cell.name for record in run_grid(found, OUT)] == ["a", "b"]
    assert len(ran) == 1


@pytest.fixture
def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A shell script in the place of Python, for what a cell's process may do."""

    def put(script: str) -> None:
        path = folder / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(experiments.sys, "executable", str(path))

    return put


def test_a_cell_that_crashes_is_a_failure_and_the_others_go_on(grid: Grid, stand_in: Callable[[str], None]) -> None:
    stand_in("echo no memory >&2; exit 3")
    errors = [record.result.error for record in run_grid(grid, OUT, jobs=2)]
    assert len(errors) == 4
    assert all(error and error.startswith("its process ended with code 3: see out/cells/") for error in errors)
    assert (cell_folder(OUT, grid.cells[0]) / "cell.log").read_text() == "no memory\n"
    assert [result is not None for result in results(grid, OUT)] == [True] * 4


def test_a_cell_that_is_interrupted_is_none(grid: Grid, stand_in: Callable[[str], None]) -> None:
    stand_in("kill -TERM $$; sleep 5")
    list(run_grid(grid, OUT))
    assert results(grid, OUT) == [None] * 4


def test_who_stops_waiting_ends_the_cells(grid: Grid, stand_in: Callable[[str], None]) -> None:
    first = grid.cells[0].key
    stand_in(f'case "$3" in *{first}) exit 3;; esac; echo $$ > "$3/pid"; exec sleep 60')
    with closing(run_grid(grid, OUT, jobs=2)) as records:
        assert next(records).cell.number == 1
    pids = [int(path.read_text()) for path in OUT.glob("cells/*/pid")]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [result is not None for result in results(grid, OUT)] == [True, False, False, False]


def test_two_at_once_are_refused(grid: Grid, ran: list[str]) -> None:
    with closing(run_grid(grid, OUT)) as records:
        next(records)
        with pytest.raises(OutputError, match="another process is running experiments there"):
            next(run_grid(grid, OUT))
    with pytest.raises(OptionError, match="`jobs` is 0"):
        next(run_grid(grid, OUT, jobs=0))


# -- one cell --------------------------------------------------------------------------------------------------


def cell_of(text: str) -> Path:
    """The folder of the first cell of a grid, ready to run."""
    Path("grid.toml").write_text(text)
    grid = read_grid(Path("grid.toml"))
    folder = cell_folder(OUT, grid.cells[0])
    write_json(
        folder / "cell.json",
        {"method": grid.method, "judge": grid.judge, "name": "a", "values": grid.cells[0].values},
    )
    return folder


@pytest.fixture
def seer(folder: Path) -> str:
    """A backbone of random weights, deep enough to judge."""
    write_backbone(folder / "seer.safetensors", "conv4_2", rank=4)
    return 'judge = "seer.safetensors"\n'


def test_a_cell_that_paints(seer: str) -> None:
    folder = cell_of(
        seer + '[settings]\nphoto = "photo.png"\nstyle = "night.png"\nbackbone = "seer.safetensors"\n'
        'precision = "float32"\ncontent_layers = "relu1_2"\nstyle_layers = "relu1_1"\ntotal_steps = 2\n'
        "[axes]\nstyle_weight = [50.0]\n"
    )
    result = run_cell(folder)
    assert result.error is None
    assert result == read_result(folder)
    with Image.open(folder / "painting.png") as painting:
        assert painting.size == (40, 36)
    with (folder / "losses.csv").open(newline="") as handle:
        last = list(csv.DictReader(handle))[-1]
    assert int(last["step"]) == result.steps == 2
    terms = result.losses
    assert terms["total"] == pytest.approx(terms["content"] + 50 * terms["style"] + terms["range"], rel=1e-4)
    assert result.distances["content"] > 0
    assert result.distances["style"] > 0
    assert result.seconds > 0
    assert result.memory_mib is None or result.memory_mib > 50


def test_a_cell_that_trains(seer: str) -> None:
    settings = {**SMALL, **NETWORK, "steps": 2, "photo": "photo.png", "photos": ".", "style": "night.png"}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    folder = cell_of(
        f'method = "multistyle"\n{seer}[settings]\n{lines}\nbackbone = "seer.safetensors"\nsize = 36\n'
        "[axes]\nstyle_balance = [3.0]\n"
    )
    result = run_cell(folder)
    assert (result.error, result.steps) == (None, 2)
    assert {"total", "content", "style"} <= result.losses.keys()
    with Image.open(folder / "painting.png") as painting:
        assert painting.size == (36, 32)
    assert (folder / "losses.csv").read_bytes() == (folder / "run" / "loss.csv").read_bytes()


def test_a_failure_is_a_result() -> None:
    folder = cell_of('[settings]\nphoto = "gone.png"\nstyle = "night.png"\n[axes]\nsize = [40]\n')
    result = run_cell(folder)
    assert result.error is not None
    assert "gone.png: no such file" in result.error
    assert read_result(folder) == result


# -- what is reported ------------------------------------------------------------------------------------------


def test_the_table(grid: Grid, ran: list[str]) -> None:
    list(run_grid(grid, OUT))
    rows = table(grid, OUT)
    write_table(rows, Path("cells.csv"))
    with Path("cells.csv").open(newline="") as handle:
        read = list(csv.DictReader(handle))
    assert [row["status"] for row in read] == ["done"] * 3 + ["failed"]
    assert read[1]["pool"] == "max"
    assert read[1]["style_weight"] == "2"
    assert read[0]["loss_total"] == "2.0"
    assert read[0]["distance_style"] == "0.2"
    assert (read[0]["seconds"], read[0]["memory_mib"], read[3]["error"]) == ("1.5", "100.0", "diverged")
    assert read[3]["loss_total"] == ""
    assert read[0]["photo"] == "photo.png"


def test_the_sheet_and_the_curves(grid: Grid, ran: list[str]) -> None:
    waiting = [text.get_text() for text in experiment_sheet(grid, OUT).axes[0].texts]
    assert "style_weight 1\nnot run yet" in waiting
    list(run_grid(grid, OUT))
    texts = [text.get_text() for text in experiment_sheet(grid, OUT).axes[0].texts]
    assert {"pool max", "pool average", "style_weight 2\nfailed: diverged"} <= set(texts)
    assert texts.count("style_weight 1\nc 0.100  s 0.200") == 2
    assert (
        "style_weight from left to right, pool from top to bottom; c and s are the distances to photo and style"
        in texts
    )
    total, content, style = loss_figure(grid, OUT).axes
    assert len(total.lines) == 4
    assert total.lines[0].get_ydata().tolist() == [4, 3, 2]
    assert total.lines[1].get_ydata().tolist() == [4, 2]  # the first network's, where two see in turns
    assert content.get_yscale() == "log"
    assert style.lines[3].get_ydata().size == 0
