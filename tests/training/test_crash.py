"""Trainings that are killed, and trainings in several processes, as the command line starts them."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.files import sha256
from impasto.networks.checkpoint import load_model

from .training_samples import flags, johnson, multistyle, workspace

# lightning-fabric would load torchmetrics, for seconds, to read its version; a training does without.
PROGRAM = """import sys

sys.modules["torchmetrics"] = None
from impasto.cli.app import main

if __name__ == "__main__":
    main()
"""
pytestmark = pytest.mark.usefixtures("one_thread")
PATIENCE = 240  # seconds, on a machine that does much else


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return workspace(tmp_path / "work")


def start(root: Path, *arguments: str, processes: int = 0) -> subprocess.Popen[str]:
    script = str(root.parent / "program.py")
    Path(script).write_text(PROGRAM)
    one, many = ["-W", "error"], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"XDG_CACHE_HOME": str(root / "cache"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    environment.pop("FORCE_COLOR", None)
    return subprocess.Popen(
        [sys.executable, *(many if processes else one), script, "train", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def here(root: Path, *arguments: str) -> tuple[int, str, str]:
    """What `finish(start(…))` gives of one process that nobody disturbs, without the seconds that it takes to begin."""
    environment = {"XDG_CACHE_HOME": str(root / "cache"), "NO_COLOR": "1", "FORCE_COLOR": None}
    done = CliRunner(env=environment).invoke(app, ["train", *arguments])
    return done.exit_code, done.stdout, done.stderr


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def rows(out: Path) -> list[dict[str, str]]:
    """The whole lines of the table so far."""
    try:
        lines = (out / "loss.csv").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return list(csv.DictReader(lines))


def wait_for_step(process: subprocess.Popen[str], out: Path, step: int) -> None:
    end = time.monotonic() + PATIENCE
    while not any(int(row["step"]) >= step for row in rows(out)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.002)


def test_killed_at_any_moment_and_resumed_ends_in_the_same_bits(root: Path) -> None:
    settings = johnson(root, deterministic=True, steps=40, save_every=7)
    code, out, err = here(root, "johnson", *flags(settings), "--out", str(root / "whole"))
    assert (code, out.strip()) == (0, str(root / "whole" / "model.safetensors")), err
    dice = random.Random()
    for attempt, last in enumerate((16, 34)):
        moment = dice.randint(last - 14, last), dice.random() * 0.05
        print(f"killed {moment[1]:.3f} s after step {moment[0]} was seen")
        arguments = (
            ["--resume", str(root / "run")] if attempt else ["johnson", *flags(settings), "--out", str(root / "run")]
        )
        process = start(root, *arguments)
        wait_for_step(process, root / "run", moment[0])
        time.sleep(moment[1])
        process.send_signal(signal.SIGKILL)
        assert finish(process)[0] == -signal.SIGKILL
        assert not (root / "run" / "model.safetensors").exists()
    code, _, err = finish(start(root, "--resume", str(root / "run")))
    assert code == 0, err
    assert re.search(r"going on after step \d+ of 40", err)
    assert sha256(root / "whole" / "model.safetensors") == sha256(root / "run" / "model.safetensors")
    assert [row["step"] for row in rows(root / "run")] == [str(step) for step in range(1, 41)]
    totals = [[row["total"] for row in rows(root / name)] for name in ("whole", "run")]
    assert totals[0] == totals[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_keeps_the_step_and_says_how_to_go_on(root: Path, number: signal.Signals, code: int) -> None:
    settings = johnson(root, steps=3000, save_every=1000)
    process = start(root, "johnson", *flags(settings), "--out", str(root / "run"))
    wait_for_step(process, root / "run", 3)
    process.send_signal(number)
    assert_stopped(root, process, code)


def assert_stopped(root: Path, process: subprocess.Popen[str], expected: int) -> None:
    code, out, err = finish(process)
    assert (code, out) == (expected, ""), err
    told = re.search(r"stopped after step (\d+), which is kept: impasto train --resume (\S+)", err)
    assert told, err
    assert told[2] == str(root / "run")
    assert (root / "run" / "checkpoints" / f"step-{int(told[1]):08d}.pt").exists()
    assert rows(root / "run")[-1]["step"] == told[1]


def test_two_processes_are_one_with_twice_the_batch(root: Path) -> None:
    # At ten times this rate Adam makes a difference in the last digit grow to 1e-3 within the 20 steps.
    common: dict[str, Any] = {"steps": 20, "save_every": 20, "lr": 1e-4}
    one, two = multistyle(root, batch_size=8, **common), multistyle(root, batch_size=4, **common)
    apart = start(root, "multistyle", *flags(two), "--out", str(root / "two"), processes=2)
    code, out, err = finish(apart)
    assert code == 0, err
    assert out.strip() == str(root / "two" / "model.safetensors")  # once, though there are two
    assert err.count("step 20/20") == 1, err
    code, _, err = here(root, "multistyle", *flags(one), "--out", str(root / "one"))
    assert code == 0, err
    pairs = list(zip(rows(root / "one"), rows(root / "two"), strict=True))
    assert len(pairs) == 20
    for ours, theirs in pairs:
        for name in ("total", "content", "style", "tv", "style/relu1_1", "style/relu2_1"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-4), (ours["step"], name)
    networks = [load_model(root / name / "model.safetensors")[0] for name in ("one", "two")]
    # Not their parameters: of those that the next normalisation takes away again, Adam makes noise.
    photo = torch.rand(1, 3, 40, 44)
    with torch.no_grad():
        for name in "ab":
            painted = [network(photo, network.mix(name)) for network in networks]
            assert (painted[0] - painted[1]).abs().max() < 1e-5


def workers_of(agent: int) -> list[int]:
    """Processes started by `agent`, by the kernel's account."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
                if int(status.rsplit(")", 1)[1].split()[1]) == agent:
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc to find a worker to kill")
def test_a_killed_worker_ends_the_job_and_it_resumes(root: Path) -> None:
    settings = johnson(root, steps=4000, save_every=5)
    process = start(root, "johnson", *flags(settings), "--out", str(root / "run"), processes=2)
    wait_for_step(process, root / "run", 12)
    victim = next(
        pid for pid in workers_of(process.pid) if b"RANK=1" in (Path("/proc") / str(pid) / "environ").read_bytes()
    )
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    code, out, err = finish(process)
    assert code != 0
    assert out == ""
    assert "Signal 9" in err or "SIGKILL" in err
    assert time.monotonic() - began < 100  # it ended, it did not wait for a time limit
    last = int(rows(root / "run")[-1]["step"])
    assert 12 <= last < 4000
    # Fewer processes cannot go on with it: the batches would be others.
    code, _, err = here(root, "--resume", str(root / "run"))
    assert code == 2
    assert "it runs in 1 processes, ran in 2" in err
    process = start(root, "--resume", str(root / "run"), processes=2)
    wait_for_step(process, root / "run", last + 3)
    process.send_signal(signal.SIGTERM)
    finish(process)
