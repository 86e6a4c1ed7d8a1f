"""``impasto dataset``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.dataset import dataset_app
from impasto.core.metadata import save
from impasto.core.vgg import VGG
from impasto.errors import DataError, OutputError

WIDE = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160"}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with two styles and a small backbone beside it."""
    torch.manual_seed(0)
    weights = {name: value.contiguous() for name, value in VGG("vgg16", last="conv2_1").state_dict().items()}
    about = {"kind": "backbone", "name": "tiny", "topology": "vgg16", "normalisation": "none", "padding": "zeros"}
    save(tmp_path / "tiny.safetensors", weights, about)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 50), "teal").save(tmp_path / "pictures" / "Deep Teal.png")
    Image.new("RGB", (64, 48), "red").save(tmp_path / "pictures" / "[red].png")
    (tmp_path / "pictures" / "styles.tsv").write_text("file\ttitle\tartist\n[red].png\tRed\tA. Painter\n")
    return tmp_path


def run(made: Path, *arguments: str):
    return CliRunner(env=WIDE).invoke(dataset_app, [part.format(at=made) for part in arguments])


STYLES = ("styles", "{at}/pictures", "-o", "{at}/out.safetensors", "--backbone", "{at}/tiny.safetensors")


def test_styles_are_gathered_and_shown(made: Path) -> None:
    result = run(made, *STYLES, "--size", "64")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"{made}/out.safetensors"
    shown = run(made, "inspect", "{at}/out.safetensors").stdout
    for word in ("deep-teal", "40x50", "red", "64x48", "Red", "A. Painter", "[red].png", "tiny", "64 px", "relu2_1"):
        assert word in shown


def test_inspect_gives_json_for_programs(made: Path) -> None:
    run(made, *STYLES)
    facts = json.loads(run(made, "inspect", "--json", "{at}/out.safetensors").stdout)
    assert [style["name"] for style in facts["styles"]] == ["deep-teal", "red"]
    assert facts["taps"] == ["relu1_1", "relu1_2", "relu2_1"]
    assert facts["backbone"]["name"] == "tiny"
    assert facts["size"] == 512
    assert facts["styles"][1]["positions"]["relu1_1"] == 64 * 48


def test_values_stay_whole_where_no_terminal_is(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a-very-long-name-that-no-narrow-terminal-has-room-for"
    (made / "pictures" / "Deep Teal.png").rename(made / "pictures" / f"{long}.png")
    run(made, *STYLES)
    monkeypatch.setitem(WIDE, "COLUMNS", "40")
    shown = run(made, "inspect", "{at}/out.safetensors").stdout.splitlines()
    assert [long, "40x50", f"{long}.png"] in [line.split() for line in shown]


def test_an_existing_file_needs_force(made: Path) -> None:
    run(made, *STYLES)
    assert isinstance(run(made, *STYLES).exception, OutputError)
    assert run(made, *STYLES, "--force").exit_code == 0


def test_another_file_is_refused(made: Path) -> None:
    assert isinstance(run(made, "inspect", "{at}/tiny.safetensors").exception, DataError)


def test_the_commands_load_nothing_heavy_before_they_run() -> None:
    code = "import sys, impasto.cli.dataset; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
