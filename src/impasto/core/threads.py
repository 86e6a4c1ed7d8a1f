"""How the threads of a computation wait for each other, and how many cores this process may use.

torch on Linux computes with libgomp, whose threads spin while they wait: for some milliseconds, as if every core were
theirs alone. Beside other work they use up the time slices that the thread they wait for needs, and a picture takes
three to thirty times as long. Threads that go to sleep at once suffer least from it, but are slower where nothing else
runs, since waking takes longer than most waits. So :func:`apply_wait_settings` asks for sleep where cores are taken
now, and else for a short spin, whose loss is bounded when other work comes later.

libgomp reads its settings from the environment, once, when torch loads it. So programs of ours ask before they import
torch; as a library we set nothing. Other OpenMP libraries (macOS, Windows, some builds for Linux) do not look at these
variables. Nothing here imports torch.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = [
    "Waiting",
    "apply_wait_settings",
    "environment_for_several",
    "openmp_library",
    "share_cores",
    "usable_cores",
    "wait_settings",
    "waiting",
]

SPIN = 20_000
LOOKS, BETWEEN = 3, 0.005  # how often we look for other work, and seconds between
POLICY, SPIN_COUNT, INTEL = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_"
SPINS = {"passive": "0", "active": "infinite", "default": "300000"}  # libgomp's own, for its policies (env.c)

_set: set[str] = set()  # what we have set in this process
_shares: list[int] = []  # cores that are ours, where several processes share them


class Waiting(NamedTuple):
    """What is in force: names as libgomp has them.

    Attributes:
        policy: ``active``, ``passive``, or ``default`` where none was named.
        spin_count: looks at the memory that another thread will write, before a thread goes to sleep.
        set_by: who said so.
    """

    policy: str
    spin_count: str
    set_by: Literal["user", "impasto", "nobody"]


def wait_settings(environment: Mapping[str, str], *, busy: bool = False) -> dict[str, str]:
    """Variables to add to a program's environment before torch loads; none where the user has set any of the kind.

    `busy`: whether the program has other threads that want the cores meanwhile.
    """
    if _told(environment):
        return {}
    return {POLICY: "passive"} if busy or _crowded(Path("/")) else {SPIN_COUNT: str(SPIN)}


def _told(environment: Mapping[str, str]) -> bool:
    return any(name in (POLICY, SPIN_COUNT) or name.startswith(INTEL) for name in environment)


def apply_wait_settings(*, busy: bool = False) -> None:
    """Let the threads of this process, and of those that it starts, wait briefly: for programs, before they load torch.

    Does nothing where the user has said how to wait, or where torch is there already and would not hear of it.

    Args:
        busy: whether the program has other threads that want the cores meanwhile, as films have: then waiting threads
            sleep at once.
    """
    if "torch" not in sys.modules:
        added = wait_settings(os.environ, busy=busy)
        os.environ.update(added)
        _set.update(added)


def waiting() -> Waiting:
    """What the environment of this process says. That is what libgomp obeys if it was said before torch was loaded."""
    policy = os.environ.get(POLICY, "").strip().lower() or "default"
    spins = os.environ.get(SPIN_COUNT, "").strip() or SPINS.get(policy, SPINS["default"])
    if _set:
        return Waiting(policy, spins, "impasto")
    return Waiting(policy, spins, "user" if _told(os.environ) else "nobody")


def environment_for_several() -> dict[str, str]:
    """This process's environment, for one of several that compute on the same cores: their threads sleep as they wait.

    libgomp spins less where one process has more threads than there are cores, but does not know of other processes.
    Two that paint pictures of 512 px on two cores took twice the time for each with even our short spin.
    """
    found = dict(os.environ)
    if waiting().set_by != "user":
        found.pop(SPIN_COUNT, None)
        found[POLICY] = "passive"
    return found


def _crowded(root: Path) -> bool:
    """Whether others run on so many of the machine's cores, all the time that we look, that ours would share some."""
    free = (os.cpu_count() or 1) - usable_cores()
    for look in range(LOOKS):
        time.sleep(BETWEEN if look else 0)
        others = _running(root) - 1  # without this thread
        if others <= free:
            return False
    return True


def _running(root: Path) -> int:
    """Threads that run or could run now on the whole machine, ours included; 1 where the system does not tell."""
    try:
        return int(_read(root / "proc/loadavg").split()[3].partition("/")[0])
    except (IndexError, ValueError):
        return 1


def openmp_library() -> str | None:
    """The OpenMP library in this process, such as ``libgomp``, once torch is loaded; None where Linux does not tell."""
    loaded = _read(Path("/proc/self/maps"))
    return next((name for name in ("libgomp", "libiomp5", "libomp") if f"/{name}" in loaded), None)


def share_cores(count: int) -> None:
    """From now on `usable_cores` is at most `count` in this process: others like it have the rest."""
    _shares[:] = [count]


def usable_cores() -> int:
    """Cores that this process may use, at least 1: under taskset or in a container fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(Path("/")), *_shares)))


def _quota(root: Path) -> float:
    """Cores' worth of time that Linux control groups leave us, infinite without a limit.

    Version 2 says it in each folder from our group's up, of which a container sees its own as the top; version 1 in two
    files of which the limit may be -1, for none.
    """
    groups = root / "sys/fs/cgroup"
    limits = [math.inf]
    for folder in _groups(root, groups):
        limits.append(_ratio(_read(folder / "cpu.max")))
    limits.append(_ratio(_read(groups / "cpu/cpu.cfs_quota_us") + _read(groups / "cpu/cpu.cfs_period_us")))
    return min(limits)


def _groups(root: Path, top: Path) -> list[Path]:
    lines = [line for line in _read(root / "proc/self/cgroup").splitlines() if line.startswith("0::")]
    folder = top / lines[0].removeprefix("0::").strip("/") if lines else top
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(top))]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def _ratio(text: str) -> float:
    """Cores of a quota: "50000 100000" is half of one; "max 100000", a quota of -1 and nothing at all are no limit."""
    try:
        quota, period = map(int, text.split())
    except ValueError:
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf
