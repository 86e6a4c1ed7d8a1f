"""The notebooks, run from their first to their last cell with small numbers in the place of their parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = PROJECT / "notebooks"
FROM_SCRATCH, PICKER, TRAINING = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
TOY_TRAINING = {"steps": 4, "save_every": 2, "image_size": 32, "style_size": 48, "batch_size": 2}
TOY_NETWORK = {"channels": 8, "blocks": 1, "detail": 4}

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")


def opened(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def parameters(notebook: Any) -> int:
    """Where the cell with the parameters is."""
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    return place


def executed(name: str, monkeypatch: pytest.MonkeyPatch, **values: Any) -> Any:
    """The notebook with its outputs, after a cell with these values behind its parameters."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra lab")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = opened(name)
    assignments = [f"{key} = {value!r}" for key, value in values.items()]
    cell = nbformat.v4.new_code_cell("\n".join(["from pathlib import PosixPath, WindowsPath", *assignments]))
    notebook.cells.insert(parameters(notebook) + 1, cell)
    folder = {"metadata": {"path": str(NOTEBOOKS)}}
    waits = {"timeout": 600, "startup_timeout": 600}  # for a busy machine
    nbclient.NotebookClient(notebook, kernel_name="python3", resources=folder, **waits).execute()
    return notebook


def said(notebook: Any) -> str:
    """Everything that was printed."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("name", [FROM_SCRATCH, PICKER, TRAINING])
def test_they_are_kept_without_outputs(name: str) -> None:
    notebook = opened(name)
    nbformat.validate(notebook)
    parameters(notebook)
    for cell in notebook.cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


def test_from_scratch_in_twelve_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(cell.cell_type == "code" for cell in opened(FROM_SCRATCH).cells) == 12
    notebook = executed(FROM_SCRATCH, monkeypatch, SIZE=48, STEPS=3)
    assert "by the package" in said(notebook)
    assert pictures(notebook) == 5


def test_picture_picker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(styles=("night", "wave"), channels=16, blocks=1, detail=16))
    (tmp_path / "toy").mkdir()
    save_model(tmp_path / "toy" / "model.safetensors", network, recipe={}, licence="MIT")
    pytest.importorskip("gradio", reason="needs the extra studio")
    notebook = executed(PICKER, monkeypatch, SIZE=48, RUNS=tmp_path, SETTINGS={"steps": 1})
    assert "astronaut, painted by optimisation, as composition" in said(notebook)
    assert "astronaut, painted toy, as night" in said(notebook)
    assert pictures(notebook) >= 4
    shown = [o.data for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs if "data" in o]
    assert any(re.search(r"<iframe src=\"http://127.0.0.1:\d+", data.get("text/html", "")) for data in shown)


def test_training_and_experiments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = {"size": 48, "total_steps": 6, "preset": "quick"}
    toy = TOY_TRAINING | TOY_NETWORK
    notebook = executed(TRAINING, monkeypatch, OUT=str(tmp_path), TRAINING=toy, GRID=small, WEIGHTS=[0.01, 1000.0])
    assert "step 4 of 4" in said(notebook)
    assert "style_weight 1000 done" in said(notebook)
    assert pictures(notebook) == 5
    assert (tmp_path / "training" / "model.safetensors").exists()
