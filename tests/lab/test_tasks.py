"""The lab's tasks from Python: what the command line does, with its options described once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from impasto.errors import LayerError, OptionError, OutputError
from impasto.lab.tasks import TASKS, Activate, Gram, Invert, LabProgress, LabResult, LabTask

pytestmark = pytest.mark.usefixtures("one_thread", "folder")


def run(task: LabTask) -> tuple[list[LabProgress], LabResult]:
    steps, records = task.run(), []
    while True:
        try:
            records.append(next(steps))
        except StopIteration as end:
            return records, end.value


@pytest.fixture
def seen(tiny_backbone: Path) -> dict[str, Any]:
    return {"backbone": str(tiny_backbone), "backbone_input": "none", "precision": "float32"}


def test_layers_are_inverted_with_progress(seen: dict[str, Any]) -> None:
    records, found = run(Invert(photo="photo.png", layer=("relu1_1",), size=32, steps=3, output=Path("a.png"), **seen))
    assert [record.done for record in records] == [1, 2, 3]
    assert {(record.total, record.name) for record in records} == {(3, "relu1_1")}
    (row,), (line,) = found.facts, found.lines
    assert line == f"relu1_1  PSNR {row['psnr']:.2f} dB  feature error {row['feature_error']:.3g}"
    with Image.open("a.png") as sheet:
        assert sheet.width > 100


def test_distances_are_of_two_pictures(seen: dict[str, Any]) -> None:
    given = {"layer": ("relu1_1",), "size": 32, **seen}
    _, both = run(Gram(picture="night.png", other="wave.png", output=Path("both.png"), **given))
    _, one = run(Gram(picture="night.png", output=Path("one.png"), **given))
    assert both.facts[0]["distance"] > 0
    assert one.facts[0]["distance"] is None
    assert one.lines == []


def test_what_makes_no_sense(seen: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"which layer\? tiny has conv1_1"):
        run(Activate(photo="photo.png", output=Path("a.png"), **seen))
    with pytest.raises(LayerError, match="relu9_9"):
        run(Activate(photo="photo.png", output=Path("a.png"), layer=("relu9_9",), **seen))
    with pytest.raises(OptionError, match="`style` belongs to `model`"):
        run(Activate(photo="photo.png", output=Path("a.png"), layer=("relu1_1",), style=("night.png",), **seen))
    with pytest.raises(OutputError, match="is the input"):
        run(Gram(picture="photo.png", output=Path("photo.png"), force=True, **seen))
    assert not Path("a.png").exists()


@pytest.mark.parametrize("kind", TASKS)
def test_every_option_is_described(kind: type[LabTask]) -> None:
    names = [field.name for field in fields(kind)]
    assert all(field.metadata["help"] for field in fields(kind))
    assert set(kind.ARGUMENTS) <= set(names)


def test_tasks_are_described_without_torch() -> None:
    code = "import sys, impasto.lab.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
