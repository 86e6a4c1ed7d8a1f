"""``impasto export onnx``, as a user sees it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.networks.checkpoint import save_model

from .export_samples import network

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


def export(*arguments: str) -> Any:
    return CliRunner(env=PLAIN).invoke(app, ["export", "onnx", *arguments])


def refused(result: Any, message: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with brisk.safetensors and adain.safetensors."""
    monkeypatch.chdir(tmp_path)
    save_model("brisk.safetensors", network("brisk"), recipe={}, licence="CC0")
    return tmp_path


def test_a_file_and_how_far_it_is_from_the_network(here: Path) -> None:
    result = export("brisk.safetensors", "-o", "out/brisk.onnx", "--check")
    assert (result.exit_code, Path("out").exists()) == (2, False)
    assert "out does not exist; create it first" in result.stderr
    Path("out").mkdir()
    result = export("brisk.safetensors", "-o", "out/brisk.onnx", "--check")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"out/brisk\.onnx: 0\.\d MB\n", result.stderr)
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "Differences, in steps of 255"
    assert lines[1].split() == ["painted", "largest", "mean", "by", "more", "than", "1"]
    assert len(lines) == 7
    for line in lines[2:]:
        style, size, px, largest, mean, share = line.split()
        assert style.rstrip(",") in ("a", "b", "c")
        assert re.fullmatch(r"\d+x\d+", size)
        assert px == "px"
        assert float(mean) <= float(largest) < 0.01
        assert share == "0.0000%"


def test_what_is_refused(here: Path) -> None:
    (here / "there.onnx").write_bytes(b"")
    refused(
        export("brisk.safetensors", "-o", "there.onnx"),
        "there.onnx exists: choose another name, or replace it with --force",
    )
    assert export("brisk.safetensors", "-o", "there.onnx", "--force").exit_code == 0
    refused(export("brisk.safetensors", "-o", "-"), "-: a graph is written as .onnx")
    refused(export("brisk.safetensors", "-o", "brisk.pb"), "brisk.pb: a graph is written as .onnx")
    refused(export("galery", "-o", "a.onnx"), "no trained network and no file is called 'galery'")
    (here / "foreign.safetensors").write_bytes(b"PK\x03\x04 nothing")
    refused(export("foreign.safetensors", "-o", "a.onnx"), "foreign.safetensors")
    wrong = export("brisk.safetensors", "-o", "a.onnx", "--precision", "bfloat16")
    assert wrong.exit_code == 2
    assert "float16" in wrong.stderr
    assert export("brisk.safetensors").exit_code == 2
    assert not (here / "a.onnx").exists()


def test_without_the_library_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    refused(export("brisk.safetensors", "-o", "a.onnx"), "pip install 'impasto[onnx]'")
