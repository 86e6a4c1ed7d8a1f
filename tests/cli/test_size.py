"""``impasto stylize`` in little memory: --max-memory, --tile, --statistics, --dry-run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model

runner = CliRunner()


@pytest.fixture
def network(folder: Path) -> Path:
    torch.manual_seed(0)
    save_model(folder / "net", Brisk(BriskConfig(("a",), channels=8, blocks=1, detail=8)), recipe={}, licence="MIT")
    return folder / "net"


def run(*arguments: str) -> str:
    done = runner.invoke(app, ["stylize", "photo.png", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_in_bands_it_is_the_same_picture(network: Path) -> None:
    model = ("--model", str(network), "--precision", "float32")
    run(*model, "-o", "whole.png")
    run(*model, "-o", "bands.png", "--tile", "16")
    run(*model, "-o", "sampled.png", "--statistics", "sampled")  # too small a photo for that: exact
    whole = np.asarray(Image.open("whole.png")).astype(int)
    for name in ("bands.png", "sampled.png"):
        assert np.abs(np.asarray(Image.open(name)).astype(int) - whole).max() <= 1


def test_a_dry_run_tells_and_writes_nothing(network: Path) -> None:
    before = sorted(network.parent.iterdir())
    assert "at once" in run("--model", str(network), "--dry-run")
    assert "in bands of 16 rows" in run("--model", str(network), "--dry-run", "--tile", "16", "-o", "out.png")
    assert sorted(network.parent.iterdir()) == before


def test_a_dry_run_of_an_optimisation(folder: Path, tiny_backbone: Path) -> None:
    layers = ("--content-layers", "relu1_2", "--style-layers", "relu1_1", "--backbone-input", "none")
    told = run("-s", "night.png", "--backbone", str(tiny_backbone), "--dry-run", "--steps", "3", *layers)
    assert "3 steps: at once" in told
    assert not Path("out.png").exists()


@pytest.mark.parametrize("what", [["--model", "net"], ["-s", "night.png", "--backbone-input", "none"]])
def test_too_little_memory_is_one_sentence(network: Path, tiny_backbone: Path, what: list[str]) -> None:
    if "-s" in what:
        what = [*what, "--backbone", str(tiny_backbone), "--content-layers", "relu1_2", "--style-layers", "relu1_1"]
    done = runner.invoke(app, ["stylize", "photo.png", *what, "-o", "out.png", "--max-memory", "1MB"])
    assert done.exit_code == 2
    assert "need --max-memory" in done.output
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (["--model", "net", "--max-memory", "much"], "600MB"),
        (["-s", "night.png", "--method", "optimize", "--tile", "16"], "--tile is for networks"),
    ],
)
def test_what_makes_no_sense(network: Path, what: list[str], message: str) -> None:
    done = runner.invoke(app, ["stylize", "photo.png", *what, "-o", "out.png"])
    assert done.exit_code == 2
    assert message in done.output
