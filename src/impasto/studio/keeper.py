"""A thread that keeps one worker process at work: starts it, hands it jobs, ends what takes too much, replaces it."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.core.memory import shown_bytes
from impasto.core.threads import environment_for_several
from impasto.studio.jobs import Failure, StudioJob

if TYPE_CHECKING:
    from impasto.studio.service import Service

__all__ = ["FAULT", "Keeper", "WorkerProcess"]

LOOK: Final = 0.25  # seconds between looks at the clock and at the process's memory
GRACE: Final = 3.0  # seconds in which a worker that is told to stop may do so by itself
START: Final = 600.0  # seconds in which a process must be ready: where others take the cores, minutes are nothing odd
AGAIN: Final = 2.0  # seconds before another is started where one could not be
TRIES: Final = 3  # processes that are tried for a job that none of them has begun with
FAULT: Final = "a fault of the program: whoever runs this server finds it in its log"
BEYOND: Final = 1.5  # times its share of the memory that a process may hold before it is ended
_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from impasto.studio.worker import main; "
    "main(int(sys.argv[2]), json.loads(sys.argv[3]))"
)

_OF_FILE: Final = re.compile(r"(photo|style|mask|init)\b")  # what files of a request are called, with a number

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A process that runs `worker.main`, and the socket to it.

    Args:
        settings: what `worker.main` takes.
        folder: its own, for temporary files; it goes with the process, however that ends.
    """

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        self._folder = folder
        ours, theirs = socket.socketpair()
        with theirs:
            # A program of its own instead of a fork: a copy of this process, with its threads, may deadlock.
            command = [sys.executable, "-P", "-c", _CODE, json.dumps(sys.path), str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*command, json.dumps(dict(settings))],
                env=environment_for_several() | {"TMPDIR": str(folder)},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, do: str, **facts: Any) -> None:
        """Tell it something. OSError if it is gone."""
        with self._lock:
            self._connection.send_bytes(json.dumps({"do": do, **facts}).encode())

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """What it says; None if that is nothing for so many seconds. EOFError or OSError if it is gone."""
        if not self._connection.poll(timeout):
            return None
        told: dict[str, Any] = json.loads(self._connection.recv_bytes())
        return told

    def memory(self) -> int:
        """Bytes that it holds; 0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
        except (OSError, ValueError, IndexError):
            return 0

    def end(self) -> int:
        """End it, whatever it does; gives its exit code, below 0 for the signal that ended it."""
        self._process.kill()
        code = self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        with self._lock:
            self._connection.close()
        return code


class Keeper(threading.Thread):
    """Takes jobs from a queue, one after the other, and has them painted by a process of its own.

    Args:
        service: whose jobs they are.
        queue: that they wait in.
        settings: what `worker.main` takes.

    Attributes:
        took: whether the process has begun with the job that it was given last.
        starts: how many processes were started.
    """

    def __init__(self, service: Service, queue: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name=f"impasto-keeper-{queue}", daemon=True)
        self._service, self.queue, self._settings = service, queue, settings
        self._worker: WorkerProcess | None = None
        self.took, self.starts = False, 0

    @property
    def ready(self) -> bool:
        """Whether its process waits for a job, or paints one."""
        return self._worker is not None

    @property
    def pid(self) -> int | None:
        """The number of its process."""
        worker = self._worker
        return None if worker is None else worker.pid

    def memory(self) -> int:
        """Bytes that its process holds."""
        worker = self._worker
        return 0 if worker is None else worker.memory()

    def run(self) -> None:
        """Keep a process at work until the service ends."""
        while not self._service.ended.is_set():
            if not self._is_alive() and not self._start():
                self._service.ended.wait(AGAIN)
            job = self._service.next_job(self.queue, LOOK)
            if job is None:
                continue
            try:
                self._paint(job)
            except Exception:  # a fault of ours: this thread has to go on with other jobs  # noqa: BLE001
                _log.exception("a fault of the studio")
                self._end()
                job.update(state="failed", failure=Failure("fault", FAULT))
            self._service.has_ended(job)
        self._end()

    def _start(self) -> bool:
        """Start a process, and wait until it is ready; False if it does not get there."""
        try:
            worker = WorkerProcess(self._settings, self._service.new_folder("worker"))
        except OSError as error:
            _log.error("a worker process could not be started (%s)", error)
            return False
        try:
            by = time.monotonic() + START
            while not self._service.ended.is_set() and time.monotonic() < by:
                if worker.receive(LOOK) is not None:
                    self._worker = worker
                    self.starts += 1
                    return True
        except (EOFError, OSError):
            pass
        how = _how(worker.end())
        if not self._service.ended.is_set():
            _log.error("a worker process could not be started (it %s)", how)
        return False

    def _is_alive(self) -> bool:
        """Whether there is a process; what an idle one says has no meaning, but that it is gone."""
        try:
            while self._worker is not None and self._worker.receive(0) is not None:
                pass
        except (EOFError, OSError):
            self._lost()
        return self._worker is not None

    def _lost(self) -> str:
        """Let go of a process that died; how it did."""
        how = self._end()
        _log.warning("a worker process %s, and is replaced", how)
        return how

    def _end(self) -> str:
        worker, self._worker = self._worker, None
        return "" if worker is None else _how(worker.end())

    def _paint(self, job: StudioJob) -> None:
        """Have a job painted, to whatever end."""
        job.update(state="running", began=time.monotonic())
        for _ in range(TRIES):
            if not self._is_alive() and not self._start():
                break
            self.took = False
            try:
                self._have_painted(job)
                return
            except (EOFError, OSError):
                how = self._lost()
                if self.took:
                    job.update(state="failed", failure=_died(job, how))
                    return
                # else it had died before it heard of this job
        job.update(state="failed", failure=Failure("worker", "no process to paint can be started here"))

    def _have_painted(self, job: StudioJob) -> None:
        """Have a job painted by the process there is. EOFError or OSError if that dies."""
        worker = self._worker
        if worker is None:
            raise EOFError

        def tell(what: str) -> None:
            with suppress(OSError):  # it is gone: we are about to hear of it
                worker.send(what, id=job.id)

        worker.send(**job.task, id=job.id)
        job.update(tell_worker=tell)
        self._follow(job, worker)

    def _follow(self, job: StudioJob, worker: WorkerProcess) -> None:
        """Listen until the job has ended, and see to it that it does."""
        why: Failure | None = None
        stop_by = None
        while True:
            told = worker.receive(LOOK)
            if told is not None and told["id"] == job.id:
                self._heard(job, told, why)
            if job.has_ended:
                return
            if stop_by is None and (job.asked_to_stop or (why := self._too_much(job, worker)) is not None):
                stop_by = time.monotonic() + (GRACE if why is None or why.kind != "memory" else 0)
                worker.send("stop", id=job.id)
            if stop_by is not None and time.monotonic() >= stop_by:
                self._end()
                _stopped(job, why)
                return

    def _too_much(self, job: StudioJob, worker: WorkerProcess) -> Failure | None:
        """Why a job must end now; None where it may go on."""
        limits, now = self._service.limits, time.monotonic()
        if job.began is not None and now - job.began > limits.seconds:
            message = f"not finished after {limits.seconds:g} s, which is what a job has here: choose a smaller `size`"
            return Failure("time", message, "size")
        if now > self._service.stops_at:
            return Failure("stopping", "the server is being stopped, and could not finish this: send it again later")
        if worker.memory() > BEYOND * self._settings["max_memory"]:
            return self._too_large(job)
        return None

    def _heard(self, job: StudioJob, told: Mapping[str, Any], why: Failure | None) -> None:
        """Obey what the worker says of its job."""
        self.took = True
        if told["is"] == "plan":
            job.update(progress=told["record"], size=tuple(told["record"]["size"]))
        elif told["is"] == "progress":
            record = told["record"]
            note = job.as_sent(record["note"] or "")
            notes = (note,) if note and note not in job.notes else ()
            job.update(progress=record, notes=job.notes + notes)
        elif told["is"] == "preview":
            job.update(previews=job.previews + 1)
        elif told["is"] == "done":
            self._service.painted(told["seconds"])
            told_at_last = tuple(map(job.as_sent, told["notes"]))
            job.update(state="done", notes=told_at_last, summary=told["summary"], progress=_finished(job))
        elif told["is"] == "answer":
            job.update(state="done", answer=told["answer"])
        elif told["is"] == "stopped":
            _stopped(job, why)
        elif told["is"] == "failed":
            job.update(state="failed", failure=self._failure(job, told))

    def _too_large(self, job: StudioJob) -> Failure:
        told = f"this takes more memory than the {shown_bytes(self._settings['max_memory'])} that a job has here"
        if job.paints:
            return Failure("memory", f"{told}: choose a smaller `size`", "size")
        return Failure("memory", f"{told}: take a smaller picture")

    def _failure(self, job: StudioJob, told: Mapping[str, Any]) -> Failure:
        kind, message = told["kind"], told["message"]
        if kind == "fault":
            _log.error("a fault while painting:\n%s", message)
            return Failure("fault", FAULT)
        if kind == "memory":
            return self._too_large(job)
        message = message.replace(f"{job.folder}{os.sep}", "")
        file = _OF_FILE.match(message)
        return Failure(kind, job.as_sent(message), told["option"] or (file[1] if file else None))


def _stopped(job: StudioJob, why: Failure | None) -> None:
    if why is None:
        job.update(state="cancelled")
    else:
        job.update(state="failed", failure=why)


def _finished(job: StudioJob) -> Mapping[str, Any] | None:
    """The last record of a job, with all of it done: what is told before that is that it is being written."""
    last = job.progress
    return None if last is None else {**last, "phase": "writing", "done": last["total"], "left": 0.0, "size": job.size}


def _died(job: StudioJob, how: str) -> Failure:
    if job.paints:
        return Failure("worker", f"the process that painted this {how}: try again, or a smaller `size`", "size")
    return Failure("worker", f"the process that was at this {how}: try again, or another file")


def _how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended by itself (exit code {code})"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was killed ({name}{', perhaps for want of memory' if name == 'SIGKILL' else ''})"
