"""``impasto train``: options, lines, errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from impasto.cli import train as command
from impasto.cli.app import app
from impasto.networks.checkpoint import load_model
from impasto.training import universal_task
from impasto.training.loop import TrainProgress
from impasto.training.settings import FAMILIES

from ..training.training_samples import adain, flag, flags, johnson, multistyle, universal, workspace

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(universal_task, "FIRST_CUTS", 16)
    return workspace(tmp_path / "work")


def run(*arguments: object):
    return CliRunner(env=PLAIN).invoke(app, ["train", *map(str, arguments)])


@pytest.mark.parametrize("make", [johnson, multistyle, adain, universal])
def test_training_from_flags(root: Path, make: Any) -> None:
    settings = make(root, steps=3)
    result = run(settings.FAMILY, *flags(settings), "--out", root / "run")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{root / 'run' / 'model.safetensors'}\n"
    lines = result.stderr.splitlines()
    assert len(lines) == 4  # advice, and then quick enough for the first and the last line alone
    assert re.match(r"step 1/3  total \S+  content \S+  style \S+  \S+ images/s  0:\d\d:\d\d left", lines[2])
    assert lines[3].startswith("step 3/3  total")
    assert lines[3].endswith("0:00:00 left")


@pytest.mark.parametrize(
    ("make", "changes", "advice"),
    [
        (johnson, {"style_balance": 7}, "Photo lost: lower --style-balance (now 7). Style too faint: raise it"),
        (adain, {"style_weight": 10.0}, "Photo lost: lower --style-weight (now 10). Style too faint: raise it"),
        (
            johnson,
            {"style_weight": 5, "content_weight": 2},
            "Photo lost: raise --content-weight (now 2). Style too faint: raise --style-weight (now 5)",
        ),
    ],
)
def test_a_training_tells_what_to_turn(root: Path, make: Any, changes: dict[str, Any], advice: str) -> None:
    settings = make(root, steps=1, **changes)
    result = run(settings.FAMILY, *flags(settings), "--out", root / "run")
    assert result.exit_code == 0, result.stderr
    assert f"Look at {root / 'run' / 'samples'} meanwhile. {advice}, or more --steps." in result.stderr
    assert "lower --lr (now 0.001)" in result.stderr


def test_a_recipe_and_flags_over_it(root: Path) -> None:
    made = run("multistyle", *flags(multistyle(root, steps=2)), "--out", root / "first")
    assert made.exit_code == 0, made.stderr
    again = run("multistyle", "--recipe", root / "first" / "recipe.toml", "--steps", 1, "--out", root / "second")
    assert again.exit_code == 0, again.stderr
    assert load_model(root / "second" / "model.safetensors")[1]["recipe"]["steps"] == 1


@pytest.mark.parametrize(("given", "palette"), [([], True), (["--palette"], True), (["--no-palette"], False)])
def test_brisk_may_paint_onto_nothing(root: Path, given: list[str], palette: bool) -> None:
    made = run("multistyle", *flags(multistyle(root, steps=1)), *given, "--out", root / "run")
    assert made.exit_code == 0, made.stderr
    assert load_model(root / "run" / "model.safetensors")[0].config.palette is palette


def test_a_style_is_added_with_the_models_own_settings(root: Path) -> None:
    settings = multistyle(root, steps=2)
    assert run("multistyle", *flags(settings), "--out", root / "run").exit_code == 0
    result = run(
        "add-style", root / "run" / "model.safetensors", "--style", root / "c.png", "--photos", root / "photos",
        "--backbone", root / "tiny.safetensors", "--steps", 2, "--workers", 0, "--out", root / "more",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    network, about = load_model(root / "more" / "model.safetensors")
    assert network.config.styles == ("a", "b", "c")
    for name in ("style_layer", "content_layer", "style_size", "image_size"):
        value = getattr(settings, name)
        assert about["recipe"][name] == (list(value) if isinstance(value, tuple) else value)


def test_interrupted_runs_go_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    usual = command._as_lines

    def pressing(records: Any, console: Any) -> Any:
        for record in usual(records, console):
            if record.step == 2:
                signal.raise_signal(signal.SIGINT)
            yield record

    monkeypatch.setattr(command, "_as_lines", pressing)
    before = signal.getsignal(signal.SIGINT)
    result = run("johnson", *flags(johnson(root)), "--out", root / "run")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert f"stopped after step 2, which is kept: impasto train --resume {root / 'run'}" in result.stderr
    assert signal.getsignal(signal.SIGINT) == before
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    for told, *arguments in (
        ("going on after step", "--resume", root / "run"),
        ("all 6 steps are done", "johnson", *flags(johnson(root)), "--out", root / "run", "--resume"),
    ):
        result = run(*arguments)
        assert result.exit_code == 0, result.stderr
        assert told in result.stderr


def test_the_recipe_of_a_run_must_not_change(root: Path) -> None:
    assert run("johnson", *flags(johnson(root, steps=2)), "--out", root / "run").exit_code == 0
    recipe = root / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("lr = 0.001", "lr = 0.5"))
    result = run("--resume", root / "run")
    assert result.exit_code == 2
    assert "--lr is 0.5, was 0.001" in result.stderr


def test_a_resumed_run_speaks_as_the_first_did(root: Path) -> None:
    def said(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(("Look at", "Blots"))]

    first = run("johnson", *flags(johnson(root, steps=3)), "--out", root / "run")
    assert len(said(first.stderr)) == 2
    assert "lower --style-balance (now " in first.stderr
    (root / "run" / "checkpoints" / "step-00000003.pt").unlink()
    again = run("--resume", root / "run")
    assert (again.exit_code, said(again.stderr)) == (0, said(first.stderr))


def test_a_finished_run_has_nothing_to_advise(root: Path) -> None:
    assert run("johnson", *flags(johnson(root, steps=2)), "--out", root / "run").exit_code == 0
    same = ["johnson", *flags(johnson(root, steps=2)), "--out", root / "run", "--resume"]
    for arguments in (["--resume", root / "run"], same):
        result = run(*arguments)
        assert result.exit_code == 0
        assert result.stderr == "all 2 steps are done: the model is written again\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "{root}/photos"], "holds no run to resume"),
        (["--resume", "{root}/photos", "johnson", "--out", "x"], "goes without a command"),
        (["johnson", "--photos", "{root}/photos", "--out", "{root}/x"], "--style is needed"),
        (["johnson", "--style", "{root}/a.png", "--out", "{root}/x"], "--photos is needed"),
        (["johnson", "--photos", "{root}/photos", "--style", "{root}/go*.png", "--out", "{root}/x"], "no such file"),
        (["multistyle", "--photos", "{root}/photos", "--style", "{root}/a.png", "--width", "8", "--out", "{root}/x"],
         "brisk has no --width: it has --blocks, --channels, --detail, --palette, --reach"),
        (["multistyle", "--network", "johnson", "--channels", "8", "--photos", "{root}/photos", "--style",
          "{root}/a.png", "--out", "{root}/x"], "--network johnson has no --channels: it has --width, --blocks"),
        (["multistyle", "--recipe", "{root}/a.png", "--out", "{root}/x"], "a.png: is a PNG picture, need a recipe"),
        (["multistyle", "--recipe", "{root}/latin.toml", "--out", "{root}/x"], "a recipe: is no text in UTF-8"),
        (["add-style", "--photos", "{root}/photos", "--style", "{root}/a.png", "--out", "{root}/x"],
         "MODEL is needed: the trained network"),
        (["add-style", "{root}/a.png", "--photos", "{root}/photos", "--style", "{root}/a.png", "--out", "{root}/x"],
         "a.png: is a PNG picture, need a network"),
        (["johnson", "--photos", "{root}/nowhere", "--style", "{root}/a.png", "--out", "{root}/x"], "no such folder"),
        (["multistyle", "--recipe", "{root}/nowhere.toml", "--out", "{root}/x"], "nowhere.toml: no such file"),
        (["adain", "--epochs", "2", "--steps", "3", "--out", "{root}/x"], "exclude each other"),
        (["johnson", "--style-balance", "2", "--style-weight", "3", "--out", "{root}/x"], "exclude each other"),
        (["johnson", "--lr", "0", "--out", "{root}/x"], "--lr is 0.0, need a number above 0"),
        (["add-style", "{root}/nowhere", "--out", "{root}/x"], "nowhere"),
        (
            ["johnson", "--photos", "{root}/photos", "--style", "{root}/a.png", "--backbone", "{root}/tiny.safetensors",
             "--workers", "0", "--out", "{root}/x"],
            "tiny has no layer 'relu2_2'",
        ),
    ],
)  # fmt: skip
def test_errors_are_one_line(root: Path, arguments: list[str], message: str) -> None:
    (root / "latin.toml").write_bytes('licence = "caf\xe9"'.encode("latin-1"))
    result = run(*(part.format(root=root) for part in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (root / "x").exists()


@pytest.mark.parametrize(("name", "told"), [("photos", "there is no such folder"), ("style", "no such file")])
def test_what_is_not_there_is_told_before_torch_is_loaded(root: Path, name: str, told: str) -> None:
    given = flags(johnson(root, **{name: [str(root / "gone.png")]}))
    code = "import sys\nfrom impasto.cli.app import main\ntry: main()\nexcept SystemExit: print('torch' in sys.modules)"
    words = ["train", "johnson", *map(str, given), "--out", str(root / "run")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "False\n"
    assert f"gone.png: {told}" in done.stderr


def test_libraries_are_silent(root: Path) -> None:
    words = [*map(str, flags(johnson(root, steps=1, precision="bfloat16"))), "--out", str(root / "run")]
    command = [sys.executable, "-m", "impasto", "train", "johnson", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["Look", "Blots,", "step"]


def test_out_is_needed() -> None:
    result = run("johnson", "--photos", "x")
    assert result.exit_code == 2
    assert "--out" in result.stderr


@pytest.mark.parametrize("family", FAMILIES)
def test_help_lists_every_field(family: str) -> None:
    shown = run(family, "--help").stdout
    for name in FAMILIES[family]().values():
        assert flag(name) in shown or name == "model"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    records = [
        TrainProgress(0, 2),
        TrainProgress(1, 2, {"total": 2.5, "content": 0.5, "style": 0.1}, 1e-3, 7.0, ("told once",)),
        TrainProgress(2, 2, {"total": 1.5}, 1e-3, 8.0),
    ]
    console = Console(force_terminal=True, width=140, color_system=None)
    assert list(command._shown(iter(records), console)) == records
    shown = capsys.readouterr().out
    assert "2/2" in shown
    assert "total 1.5  8 images/s" in shown
    assert shown.count("told once") == 1


def test_the_other_processes_are_silent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    result = run("johnson", *flags(johnson(root, steps=1)), "--out", root / "run")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_the_command_loads_nothing_heavy_before_it_runs() -> None:
    code = "import sys, impasto.cli.train; sys.exit(bool({'torch', 'PIL', 'lightning_fabric'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
