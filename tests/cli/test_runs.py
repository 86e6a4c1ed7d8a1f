"""``impasto stylize`` interrupted: Ctrl-C, kills, ``--run`` and ``--resume``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.imaging import read
from impasto.optimize.loop import Optimization

pytestmark = pytest.mark.usefixtures("one_thread", "folder")

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}
WAYS = {
    "pyramid": ["--start-size", "20"],
    "pixels": ["--start-size", "20", "--parameterisation", "pixels", "--averaging", "0.8", "--init", "noise"],
    "lbfgs": ["--start-size", "20", "--optimizer", "lbfgs"],
    "fourier": ["--parameterisation", "fourier"],
}
STEPS = 6  # 3 at 20 px and 3 at 40 px where there are two scales


def impasto(*arguments: str) -> Any:
    return CliRunner(env=PLAIN).invoke(app, ["stylize", *arguments])


@pytest.fixture
def job(tiny_backbone: Path) -> list[str]:
    # On the processor, which adds in the same order every time.
    few = ["--backbone", str(tiny_backbone), "--backbone-input", "none", "--precision", "float32", "--device", "cpu"]
    few += ["--content-layers", "relu1_2", "--style-layers", "relu1_1,relu2_1", "--steps", str(STEPS)]
    return ["photo.png", "--style", "night.png", "--style", "wave.png:0.5", *few]


@pytest.fixture
def python_sigint() -> Iterator[None]:
    """Ctrl-C as a fresh interpreter has it, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], Any]], None]:
    """Do something in the middle of a step: after the optimiser has moved, before the step is counted."""
    real = Optimization._move

    def arrange(step: int, act: Callable[[], Any]) -> None:
        def move(self: Optimization, objective: Any) -> Any:
            terms = real(self, objective)
            if self.step + 1 == step:
                act()
            return terms

        monkeypatch.setattr(Optimization, "_move", move)

    return arrange


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def give_up() -> None:
    raise KeyboardInterrupt


def rows(path: str) -> list[dict[str, str]]:
    """Of a log, without what depends on the clock."""
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(handle)]


def same_as_uninterrupted(job: list[str]) -> None:
    """That out.png and run/log.csv are what a run in one piece leaves."""
    result = impasto(*job, "-o", "whole.png", "--log", "whole.csv")
    assert result.exit_code == 0, result.stderr
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()
    assert rows("run/log.csv") == rows("whole.csv")


# -- Ctrl-C ---------------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_the_picture_so_far_and_says_so(job: list[str], at_step: Any, python_sigint: None) -> None:
    at_step(4, press_ctrl_c)
    extras = ["--log", "log.csv", "--timeline", "film.gif", "--loss-plot", "plot.png"]
    result = impasto(*job, "-o", "out.png", *extras)
    assert (result.exit_code, result.stdout) == (130, "")
    told = result.stderr.splitlines()
    assert told[:2] == [
        "stopping after this step; Ctrl-C once more stops at once",
        "stopped at step 4 of 6: keeping the picture so far",
    ]
    assert told[2].startswith("out.png: 40x36 px, 4 steps on tiny")
    assert len(told) == 3
    assert not np.array_equal(read("out.png").rgb, read("photo.png").rgb)
    assert [row["step"] for row in rows("log.csv")] == ["1", "2", "3", "4"]
    assert Path("film.gif").exists()
    assert Path("plot.png").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_ctrl_c_does_not_wait(job: list[str], at_step: Any, python_sigint: None) -> None:
    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    at_step(4, twice)
    result = impasto(*job, "-o", "out.png")
    assert result.exit_code == 130
    assert "stopped at step 3 of 6: keeping the picture so far\n" in result.stderr
    assert read("out.png").width == 40
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_anything_is_painted(job: list[str], at_step: Any, folder: Path) -> None:
    at_step(1, give_up)
    result = impasto(*job, "-o", "out.png", "--log", "log.csv")
    assert (result.exit_code, result.stderr) == (130, "stopped at step 0 of 6: nothing is painted yet\n")
    assert sorted(path.name for path in folder.iterdir()) == ["night.png", "photo.png", "wave.png"]


def test_ctrl_c_while_pictures_are_read(job: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.stylizer.optimize_job.OptimizeJob.read_photo", lambda *_, **__: give_up())
    result = impasto(*job, "-o", "out.png")
    assert (result.exit_code, result.stderr) == (130, "stopped at step 0 of 6: nothing is painted yet\n")


def test_ctrl_c_in_the_last_step_is_too_late(job: list[str], at_step: Any, python_sigint: None) -> None:
    at_step(STEPS, press_ctrl_c)
    assert impasto(*job, "-o", "out.png").exit_code == 0
    assert impasto(*job, "-o", "whole.png").exit_code == 0
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()


def test_sigterm_is_as_ctrl_c(job: list[str], at_step: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    at_step(4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = impasto(*job, "-o", "out.png")
    assert result.exit_code == 143
    assert "stopped at step 4 of 6: keeping the picture so far\n" in result.stderr
    assert read("out.png").width == 40
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_among_several_photos_abandons_those_in_hand(job: list[str], at_step: Any, python_sigint: None) -> None:
    steps: list[float] = []

    def in_the_second() -> None:
        steps.append(time.monotonic())
        if len(steps) == 2:
            press_ctrl_c()
            time.sleep(0.5)  # it is the main thread that hears it

    at_step(2, in_the_second)
    result = impasto("night.png", "wave.png", *job, "-o", "out")
    assert result.exit_code == 130
    told = result.stderr.splitlines()
    assert told[0].startswith("out/night.png: ")
    assert told[1:] == [
        "stopping after this step; Ctrl-C once more stops at once",
        "stopped: 1 of 3 photos are painted, in out; what was in hand is not kept",
    ]
    assert [path.name for path in Path("out").iterdir()] == ["night.png"]


def test_ctrl_c_in_the_last_step_of_the_last_photo_is_too_late(
    job: list[str], at_step: Any, python_sigint: None
) -> None:
    ended: list[int] = []

    def in_the_second() -> None:
        ended.append(1)
        if len(ended) == 2:
            press_ctrl_c()
            time.sleep(0.5)

    at_step(STEPS, in_the_second)
    result = impasto("night.png", *job, "-o", "out")
    assert result.exit_code == 0
    assert result.stderr.endswith("2 of 2 photos are painted, in out\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["night.png", "photo.png"]


def test_the_second_ctrl_c_among_several_photos_ends_the_process(job: list[str], folder: Path) -> None:
    """In the midst of a step, which nothing can stop; the file that is being written does not stay."""
    code = (
        "import signal, sys, time\nimport torch\ntorch.set_num_threads(1)\n"
        "from impasto.cli.app import command\nfrom impasto.files import atomic_path\n"
        "from impasto.optimize.loop import Optimization\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def move(self, objective):\n"
        "    with atomic_path('out/half.png'):\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(100)\n"
        "Optimization._move = move\ncommand()"
    )
    line = [sys.executable, "-c", code, "stylize", "night.png", *job, "-o", "out"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping after this step; Ctrl-C once more stops at once\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=50)
    assert told == "stopped: 0 of 2 photos are painted, in out; what was in hand is not kept\n"
    assert process.returncode == 130
    assert list((folder / "out").iterdir()) == []


# -- going on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [2, 3, 5])
def test_stopped_and_resumed_it_is_the_same_picture(
    job: list[str], way: str, step: int, at_step: Any, python_sigint: None
) -> None:
    """Bit for bit, also where a scale ends (step 3)."""
    job += WAYS[way]
    at_step(step, press_ctrl_c)
    result = impasto(*job, "-o", "out.png", "--run", "run")
    assert result.exit_code == 130
    assert result.stderr.endswith("to go on: impasto stylize --resume run\n")
    at_step(0, give_up)
    result = impasto("--resume", "run")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    same_as_uninterrupted(job)


@pytest.mark.parametrize(("way", "step"), [*((way, 4) for way in WAYS), ("pyramid", 1), ("pyramid", 6)])
def test_torn_out_of_a_step_and_resumed_it_is_the_same_picture(
    job: list[str], way: str, step: int, at_step: Any
) -> None:
    """The state goes back to the last one saved: what a step has half done is not in it."""
    job += WAYS[way]
    at_step(step, give_up)
    assert impasto(*job, "-o", "out.png", "--run", "run", "--save-every", "2").exit_code == 130
    at_step(0, give_up)
    assert impasto("--resume", "run").exit_code == 0
    same_as_uninterrupted(job)


def test_killed_and_resumed_it_is_the_same_picture(job: list[str], folder: Path) -> None:
    """A kill that no program can catch, in the middle of a step."""
    code = (
        "import os, signal, sys\nimport torch\ntorch.set_num_threads(1)\n"
        "from impasto.cli.app import app\nfrom impasto.optimize.loop import Optimization\n"
        "real = Optimization._move\n"
        "def move(self, objective):\n"
        "    terms = real(self, objective)\n"
        "    if self.step + 1 == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return terms\n"
        "Optimization._move = move\napp(sys.argv[1:])"
    )
    line = ["stylize", *job, "-o", "out.png", "--run", "run", "--save-every", "2"]
    killed = subprocess.run([sys.executable, "-c", code, *line], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / "out.png").exists()
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["frames", "log.csv", "run.json", "state.pt"]
    assert impasto("--resume", "run").exit_code == 0
    same_as_uninterrupted(job)


def test_resumed_twice_from_another_folder(
    job: list[str], folder: Path, at_step: Any, python_sigint: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(2, press_ctrl_c)
    assert impasto(*job, "-o", "out.png", "--run", "run", "--init", "wave.png").exit_code == 130
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    at_step(4, press_ctrl_c)
    assert impasto("--resume", "../run").exit_code == 130
    at_step(0, press_ctrl_c)
    assert impasto("--resume", "../run").exit_code == 0
    assert list(Path().iterdir()) == []
    monkeypatch.chdir(folder)
    same_as_uninterrupted([*job, "--init", "wave.png"])


def test_a_run_remembers_how_it_was_begun(job: list[str], at_step: Any, python_sigint: None) -> None:
    at_step(2, press_ctrl_c)
    how = ["--save-every", "4", "--jpeg-quality", "20", "--upscale", "--size", "48"]
    assert impasto(*job, "-o", "out.jpg", "--run", "run", *how).exit_code == 130
    at_step(0, press_ctrl_c)
    assert impasto("--resume", "run").exit_code == 0
    assert impasto(*job, "-o", "whole.jpg", *how, "--force").exit_code == 0
    assert Path("out.jpg").read_bytes() == Path("whole.jpg").read_bytes()
    assert sorted(path.name for path in Path("run/frames").iterdir()) == ["000004.jpg", "000006.jpg"]


def test_a_finished_run_writes_its_picture_again(job: list[str]) -> None:
    assert impasto(*job, "-o", "out.png", "--run", "run").exit_code == 0
    first = Path("out.png").read_bytes()
    Path("out.png").unlink()
    result = impasto("--resume", "run", "--log", "log.csv", "--loss-plot", "plot.png", "--timeline", "film.gif")
    assert result.exit_code == 0
    assert result.stderr.endswith("this run was finished before; its picture is written again\n")
    assert Path("out.png").read_bytes() == first
    assert rows("log.csv") == rows("run/log.csv")
    assert Path("plot.png").exists()
    assert Path("film.gif").exists()


def test_another_output_is_not_replaced_unasked(job: list[str]) -> None:
    assert impasto(*job, "-o", "out.png", "--run", "run").exit_code == 0
    Path("new.png").write_bytes(b"old")
    refused(impasto("--resume", "run", "-o", "new.png"), "new.png: exists already")
    refused(impasto("--resume", "run", "-o", "photo.png", "--force"), "photo.png: is the input")
    refused(impasto("--resume", "run", "--log", "new.png"), "--log new.png: give the name of a file that ends in .csv")
    assert impasto("--resume", "run", "-o", "new.png", "--force").exit_code == 0
    assert Path("new.png").read_bytes() == Path("out.png").read_bytes()


# -- runs that cannot go on -----------------------------------------------------------------------------------


def refused(result: Any, message: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.fixture
def stopped(job: list[str], at_step: Any, tmp_path: Path, python_sigint: None) -> Path:
    """The folder of a run that stopped half-way."""
    at_step(3, press_ctrl_c)
    backbone = shutil.copy(job[job.index("--backbone") + 1], tmp_path / "tiny.safetensors")
    line = [*job, "--backbone", str(backbone), "--init", "wave.png", "-o", "out.png", "--run", "run"]
    assert impasto(*line).exit_code == 130
    return tmp_path / "run"


def append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b" ")


def change(name: str, value: Any) -> Callable[[Path], None]:
    """Replace one entry of run.json; None takes it out."""

    def act(run: Path) -> None:
        found = json.loads((run / "run.json").read_text("utf-8"))
        if value is None:
            del found[name]
        else:
            found[name] = value
        (run / "run.json").write_text(json.dumps(found), encoding="utf-8")

    return act


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "photo changed": (lambda run: append(run.parent / "photo.png"), "photo.png: has changed since the run began"),
    "style changed": (lambda run: append(run.parent / "night.png"), "night.png: has changed since the run began"),
    "style gone": (lambda run: (run.parent / "night.png").unlink(), "night.png: is not there any more"),
    "init changed": (lambda run: append(run.parent / "wave.png"), "wave.png: has changed since the run began"),
    "backbone changed": (lambda run: append(run.parent / "tiny.safetensors"), "tiny.safetensors: has changed"),
    "state cut short": (lambda run: os.truncate(run / "state.pt", 900), "state.pt: is damaged or of another run"),
    "state empty": (lambda run: os.truncate(run / "state.pt", 0), "state.pt: is damaged or of another run"),
    "log damaged": (lambda run: os.truncate(run / "log.csv", 90), "log.csv: the log cannot be read"),
    "description cut short": (lambda run: os.truncate(run / "run.json", 90), "run.json: cannot be read"),
    "no photo": (change("photo", None), "the description of the run is damaged (it lacks 'photo')"),
    "photo of no kind": (change("photo", 7), "the description of the run is damaged"),
    "styles of no kind": (change("request", {"format": 1, "style": [{}]}), "the description of the run is damaged"),
    "output of no kind": (change("output", {"path": "out.png"}), "the description of the run is damaged"),
    "settings of another version": (change("settings", {"brushes": 3}), "the run was begun by another version"),
    "no run": (lambda run: (run / "run.json").unlink(), "run: holds no run to resume (no run.json)"),
    "a file": (lambda run: (shutil.rmtree(run), run.touch()), "run: holds no run to resume (no run.json)"),
    "no folder": (shutil.rmtree, "if this one was moved, name the folder where it is now"),
    "a training": (
        lambda run: (run / "run.json").rename(run / "recipe.toml"),
        "go on with `impasto train --resume run`",
    ),
    "a photo that was moved": (
        lambda run: Path("photo.png").rename("beach.png"),
        "photo.png: is not there any more, so the run cannot go on; put it back, or a link to where it is now, "
        "then go on with --resume run",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_that_cannot_go_on_is_one_line(stopped: Path, damage: str) -> None:
    before = Path("out.png").read_bytes()
    act, message = DAMAGE[damage]
    act(stopped)
    refused(impasto("--resume", "run"), message)
    assert Path("out.png").read_bytes() == before


def test_a_state_of_another_size(stopped: Path, job: list[str], at_step: Any) -> None:
    at_step(0, press_ctrl_c)
    assert impasto(*job, "-o", "b.png", "--size", "48", "--upscale", "--run", "other").exit_code == 0
    shutil.copy("other/state.pt", stopped)
    refused(impasto("--resume", "run"), "state.pt: is damaged or of another run")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["photo.png"], "PHOTO"),
        (["-s", "wave.png"], "--style"),
        (["--preset", "quick"], "--preset"),
        (["--run", "b"], "--run"),
        (["--steps", "9"], "--steps"),
        (["--size", "9"], "--size"),
        (["--seed", "0"], "--seed"),
        (["--device", "auto"], "--device"),
        (["--method", "optimize"], "--method"),
        (["--save-every", "1"], "--save-every"),
        (["--keep-colors"], "--keep-colors"),
        (["--max-megapixels", "200"], "--max-megapixels"),
        (["--jpeg-quality", "92"], "--jpeg-quality"),
    ],
)
def test_what_would_be_ignored_is_refused(folder: Path, arguments: list[str], name: str) -> None:
    refused(impasto("--resume", "run", *arguments), f"--resume goes on as the run began: leave out {name}\n")
