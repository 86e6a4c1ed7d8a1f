"""One run at a time on one target: the second says so and stops; what a run that was killed left behind does not hold.

A store need not offer more than putting and listing files. Whoever wants a target puts a file of its own, asking, and
looks at those of others: one that runs, or asks and has the smaller name, goes first. The file is put again every few
seconds; one that has not been for a minute, or whose process on this machine is gone, holds nothing.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from impasto.bulk.manifest import HOME
from impasto.bulk.stores import Store, TargetError
from impasto.errors import OutputError

__all__ = ["LOCKS", "LockFacts", "TargetLock", "read_lock"]

LOCKS: Final = f"{HOME}/locks"
BEAT: Final = 10.0  # seconds between two signs of life
STALE: Final = 60.0  # seconds without one after which a lock holds nothing
LOOK: Final = 0.2  # seconds between two looks at others that ask as well


@dataclass(frozen=True)
class LockFacts:
    """What a lock's file says.

    Attributes:
        run, state, host, process: of whoever put it.
        alive: whether that still works.
    """

    run: str
    state: str
    host: str
    process: int
    alive: bool

    @property
    def who(self) -> str:
        """In words."""
        return f"the run {self.run} on {self.host} (process {self.process})"


class TargetLock:
    """Holds a target for a run; a context manager.

    Args:
        target: what is held.
        run: name of the run, as no other has.

    Attributes:
        lost: whether it could not be kept up, so that another may have taken the target.
        took_over: whether a run that was killed had held it.
    """

    def __init__(self, target: Store, run: str) -> None:
        self._target, self._run, self._file = target, run, f"{LOCKS}/{run}.json"
        self.lost = self.took_over = False
        self._ended = threading.Event()
        self._beats: threading.Thread | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            OutputError: another run holds it.
            TargetError: the target cannot be written.
        """
        self._put("asking")
        try:
            while self._others_ask():
                time.sleep(LOOK)
        except BaseException:
            self._target.delete(self._file)
            raise
        self._put("running")
        self._beats = threading.Thread(target=self._keep_up, name="lock", daemon=True)
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._beats is not None:
            self._beats.join()
        with suppress(TargetError):
            self._target.delete(self._file)

    def _others_ask(self) -> bool:
        """Whether another one asks that has to let us go first. OutputError if one goes before us."""
        asking = False
        for name in [entry.name for entry in self._target.files(LOCKS, hidden=True)]:
            found = read_lock(self._target, name)
            if name == self._file or found is None:
                continue
            if not found.alive:
                self._target.delete(name)
                self.took_over |= found.state == "running"
            elif found.state == "running" or found.run < self._run:
                raise OutputError(f"{self._target.url}: {found.who} paints there now; wait for it, or stop it")
            else:
                asking = True
        return asking

    def _put(self, state: str) -> None:
        facts = {
            "run": self._run,
            "state": state,
            "host": socket.gethostname(),
            "boot": _boot(),
            "process": os.getpid(),
            "started": _started(os.getpid()),
            "beat": time.time(),
        }
        self._target.put(self._file, json.dumps(facts).encode())
        self._last = time.monotonic()

    def _keep_up(self) -> None:
        while not self._ended.wait(BEAT):
            try:
                self._put("running")
            except TargetError:
                self.lost = time.monotonic() - self._last > STALE - BEAT


def read_lock(target: Store, name: str) -> LockFacts | None:
    """What a lock's file says; None if it is gone, or none."""
    try:
        found = json.loads(target.read(name))
        return LockFacts(found["run"], found["state"], found["host"], found["process"], _alive(found))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _alive(found: dict[str, Any]) -> bool:
    """Whether whoever put this lock still works."""
    if found["host"] == socket.gethostname() and found.get("boot") == _boot():
        return _started(found["process"]) == found.get("started")
    return time.time() - float(found["beat"]) < STALE


def _boot() -> str:
    """What tells this start of this machine, or this container, from others; empty where the system does not tell."""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text('ascii').strip()} {space}"
    return ""


def _started(process: int) -> str | None:
    """When a process of this machine began, as the system counts it; None if there is none such."""
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "unknown"
    return "unknown"
