"""How threads wait: what programs set before torch loads, what they leave alone, and which cores we may use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from impasto.core import threads
from impasto.core.threads import SPIN, share_cores, usable_cores, wait_settings

OLD = "sys/fs/cgroup/cpu/cpu.cfs"  # version 1's files
SAID = ("OMP_", "GOMP_", "KMP_")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(SAID)} | {"NO_COLOR": "1"}


def python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=CLEAN | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def info(**environment: str) -> dict:
    """What a program says, and what torch had been told when it was loaded."""
    code = (
        "import os, sys\nfrom importlib.abc import MetaPathFinder\n"
        "class Watch(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch':\n"
        "            print(*(os.environ.get(n) for n in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')), file=sys.stderr)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from impasto.cli.app import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "info", "--json", "--device", "cpu"],
        env=CLEAN | environment, capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    return json.loads(done.stdout)["threads"] | {"torch_saw": tuple(done.stderr.split()[:2])}


def test_the_program_sets_it_before_torch_loads() -> None:
    told = info()
    expected = {(str(SPIN), "None"): ("default", str(SPIN)), ("None", "passive"): ("passive", "0")}
    assert (told["policy"], told["spin_count"]) == expected[told["torch_saw"]]
    assert told["set_by"] == "impasto"
    assert told["number"] >= 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"OMP_WAIT_POLICY": "PASSIVE"}, ("passive", "0")),
        ({"GOMP_SPINCOUNT": "7"}, ("default", "7")),
        ({"KMP_BLOCKTIME": "0"}, ("default", "300000")),
    ],
)
def test_what_the_user_said_stays(said: dict[str, str], expected: tuple[str, str]) -> None:
    assert wait_settings(said) == {}
    told = info(**said)
    assert told["torch_saw"] == (said.get("GOMP_SPINCOUNT", "None"), said.get("OMP_WAIT_POLICY", "None"))
    assert (told["policy"], told["spin_count"], told["set_by"]) == (*expected, "user")


@pytest.mark.parametrize(
    ("running", "cores", "usable", "crowded"),
    [
        ("1/120", 2, 2, False),
        ("2/120", 2, 2, True),
        ("40/900", 64, 8, False),
        ("58/900", 64, 8, True),
        ("?", 2, 2, False),
    ],
)
def test_other_work_makes_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: str, cores: int, usable: int, crowded: bool
) -> None:
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(threads, "usable_cores", lambda: usable)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/loadavg").write_text(f"0.00 0.00 0.00 {running} 5016\n")
    assert threads._crowded(tmp_path) is crowded
    monkeypatch.setattr(threads, "_crowded", lambda root: crowded)
    assert wait_settings({}) == ({"OMP_WAIT_POLICY": "passive"} if crowded else {"GOMP_SPINCOUNT": str(SPIN)})


def test_work_that_is_gone_at_a_second_look_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([9, 1, 9])
    monkeypatch.setattr(threads, "_running", lambda root: next(seen))
    assert not threads._crowded(Path("/"))


def test_the_library_sets_nothing() -> None:
    code = (
        "import os\nbefore = dict(os.environ)\nimport impasto\nimpasto.load\nimport impasto.cli.app\nimport torch\n"
        "from impasto.core.threads import waiting, apply_wait_settings\n"
        "apply_wait_settings()\n"  # too late: torch is there
        "assert 'GOMP_SPINCOUNT' not in os.environ and 'OMP_WAIT_POLICY' not in os.environ\n"
        "print(*waiting())"
    )
    assert python(code) == "default 300000 nobody\n"


def test_one_of_several_processes_sleeps_unless_the_user_said_how() -> None:
    code = (
        "from impasto.core import threads\nthreads._crowded = lambda root: False\nthreads.apply_wait_settings()\n"
        "found = threads.environment_for_several()\nprint(found.get('OMP_WAIT_POLICY'), found.get('GOMP_SPINCOUNT'))"
    )
    assert python(code).split() == ["passive", "None"]
    assert python(code, GOMP_SPINCOUNT="77").split() == ["None", "77"]
    assert python(code, OMP_WAIT_POLICY="active").split() == ["active", "None"]


def test_processes_that_read_photos_inherit_it(tmp_path: Path) -> None:
    """Those of a training are begun by the same server as this one."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os\n"
        "def told(): return {name: os.environ[name] for name in os.environ if name[:4] in ('GOMP', 'OMP_')}\n"
        "if __name__ == '__main__':\n"
        "    from impasto.core.threads import apply_wait_settings\n"
        "    apply_wait_settings()\n"
        "    from impasto.training.workers import start_method\n"
        "    assert told()\n"
        "    with start_method('impasto.errors').Pool(1) as pool: print(pool.apply(told) == told())\n"
    )
    done = subprocess.run(
        [sys.executable, str(program)], env=CLEAN, capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stdout == "True\n"


def test_cells_of_an_experiment_are_programs_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from impasto.lab import experiments
    from impasto.lab.grid import Cell

    for name in [name for name in os.environ if name.startswith(SAID)]:
        monkeypatch.delenv(name)
    seen: list[dict[str, str]] = []

    class Started:
        def __init__(self, command: list[str], *, env: dict[str, str], **_: object) -> None:
            seen.append(env)

        def __enter__(self) -> Started:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def wait(self) -> int:
            return 1

    class Grid:
        method, judge = "optimize", "compact"

    monkeypatch.setattr(threads, "_crowded", lambda root: False)
    monkeypatch.setattr(experiments.subprocess, "Popen", Started)
    experiments._Runner(Grid(), tmp_path, 1).run(Cell(1, "one", {}, {}, "key"))
    assert seen[0]["GOMP_SPINCOUNT"] == str(SPIN)
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, float("inf")),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a b/c\n", "sys/fs/cgroup/a b/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, float("inf")),
        ({f"{OLD}_quota_us": "-1\n", f"{OLD}_period_us": "100000\n"}, float("inf")),
        ({f"{OLD}_quota_us": "300000\n", f"{OLD}_period_us": "100000\n"}, 3.0),
    ],
)  # fmt: skip
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert threads._quota(tmp_path) == cores


def test_half_a_core_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_quota", lambda root: 0.5)
    assert usable_cores() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_affinity_counts() -> None:
    code = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    assert python(code + "from impasto.core.threads import usable_cores\nprint(usable_cores())") == "1\n"


def test_cores_that_are_shared_with_processes_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_shares", [])
    before = usable_cores()
    share_cores(1)
    assert usable_cores() == 1
    share_cores(before + 5)
    assert usable_cores() == before
