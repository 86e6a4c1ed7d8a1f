"""Commands that need an extra say so in one sentence, before anything else fails; the others work without."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from impasto.cli.app import app

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
EXTRAS = ("torch", "safetensors", "matplotlib", "lightning_fabric", "torchmetrics", "tensorboard", "tomli_w")
TOLD = {
    "train johnson --style a.jpg --photos p --out run": ("training needs torch", "train"),
    "train --resume run": ("training needs torch", "train"),
    "evaluate --photos p --styles s --model gallery": ("evaluating needs torch", "train"),
    "lab gram a.jpg -o b.png": ("the lab needs torch", "lab"),
    "lab experiment grid.toml --out cells": ("an experiment needs torch", "lab"),
    "dataset styles paintings": ("a data set of styles needs torch", "torch"),
    "dataset inspect styles.safetensors": ("a data set of styles needs torch", "torch"),
    "compress compact.toml": ("compressing needs torch", "torch"),
    "weights list": ("what has to do with backbones needs torch", "torch"),
    "weights fetch vgg19": ("what has to do with backbones needs torch", "torch"),
    "weights verify": ("what has to do with backbones needs torch", "torch"),
    "weights import a.pth": ("what has to do with backbones needs torch", "torch"),
}


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """As where no extra is installed."""
    for name in EXTRAS:
        monkeypatch.setitem(sys.modules, name, None)
    return CliRunner(env=PLAIN)


@pytest.mark.parametrize("command", TOLD)
def test_what_needs_an_extra_says_which(command: str, base: CliRunner) -> None:
    result = base.invoke(app, command.split())
    told, extra = TOLD[command]
    line = f"error: {told}, which is not installed: pip install 'impasto[{extra}]'\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line)


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ("lightning_fabric", "training needs lightning-fabric, which is not installed: pip install 'impasto[train]'"),
        ("tomli_w", "training needs tomli-w, which is not installed: pip install 'impasto[train]'"),
    ],
)
def test_the_library_that_is_missing_is_named(hidden: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, hidden, None)
    command = ["train", "johnson", "--style", "a.jpg", "--photos", "p", "--out", "run"]
    result = CliRunner(env=PLAIN).invoke(app, command)
    assert (result.exit_code, result.stderr) == (2, f"error: {told}\n")


@pytest.mark.parametrize("command", ["train johnson", "evaluate", "lab gram", "weights list", "compress", "info"])
def test_help_is_there(command: str, base: CliRunner) -> None:
    result = base.invoke(app, [*command.split(), "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Usage" in result.stdout


def test_info_works_without_torch(base: CliRunner) -> None:
    facts = json.loads(base.invoke(app, ["info", "--json"]).stdout)
    assert (facts["versions"]["torch"], facts["device"], facts["precision"]) == (None, "cpu", "float32")
    assert facts["versions"]["onnxruntime"]
    assert (facts["extras"]["torch"], facts["weights"]) == (False, [])
    lines = base.invoke(app, ["info"]).stdout
    assert "not installed" in lines
    assert "onnxruntime" in lines
    wrong = base.invoke(app, ["info", "--device", "cuda"])
    assert (wrong.exit_code, wrong.stderr) == (
        2, "error: device cuda needs torch, which is not installed: pip install 'impasto[torch]'\n"
    )  # fmt: skip
