"""Painting on this machine: processes that are sent items and send rows back. One that is killed costs no picture."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from impasto.bulk.manifest import noted_by
from impasto.bulk.stores import Store
from impasto.bulk.work import Item, Row, Task
from impasto.bulk.worker import Hello, Worker
from impasto.core.memory import available_memory
from impasto.core.threads import usable_cores
from impasto.errors import ImpastoError, OutputError

__all__ = ["FINISHING", "LocalPool"]

AHEAD: Final = 2  # items that a process has: the one it paints, and the next
MOST_DEATHS: Final = 2  # of processes while they paint one item, after which it is not tried again
MOST_FALSE_STARTS: Final = 3  # of processes that end before they are ready, one after the other
PLENTY: Final = 4  # times the need of the first picture; a limit has its price, 2 to 10 % of a picture's time
FINISHING: Final = 30.0  # seconds that processes have to finish what is in hand once they are to stop
IDLE: Final = 1.0  # seconds without work after which a process notes for good what waits
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG of prctl.h
Work = tuple[Item, str | None]
"""An item, and why it cannot be painted if that is known already."""


class LocalPool:
    """Processes that paint. A context manager, which ends them.

    Args:
        task: what is asked of all pictures; its memory is that of all processes together.
        workers: how many processes; None is one for each core, or fewer if memory is short, and one for each GPU.

    Attributes:
        deaths: how many processes ended that nobody had asked to.
    """

    def __init__(self, task: Task, workers: int | None = None) -> None:
        self.deaths = 0
        self._task, self._wanted, self._target = task, workers, Store(task.target)
        self._each, self._count = task, 1
        self._workers: list[_Process] = []
        self._started = self._false_starts = 0
        self._again: deque[Work] = deque()
        self._deaths_at: Counter[str] = Counter()
        self._stopping: float | None = None

    def begin(self, first: Item | None) -> Hello:
        """Start the first process, and decide from what it tells how many there will be.

        Args:
            first: a picture whose need of memory stands for that of all.

        Raises:
            ImpastoError: the task makes no sense, or what it needs is not here.
        """
        cores = usable_cores()
        count = self._wanted or cores
        budget = self._task.memory or available_memory()
        alone = self._each = replace(self._task, threads=max(1, cores // count))
        hello = self._first(first)
        if self._wanted is None and hello.device.startswith("cuda"):
            count = _gpus()
        elif self._wanted is None:
            count = max(1, min(cores, budget // max(1, hello.memory)))
        self._count, self._each = count, replace(alone, threads=max(1, cores // count))
        if self._task.memory is not None or budget < PLENTY * count * hello.memory:
            self._each = replace(self._each, memory=budget // count)
        if self._each != alone:
            self._workers.pop().end()
            hello = self._first(None)  # within its share it may paint by something else
        return hello

    def paint(self, items: Iterator[Item]) -> Iterator[Row]:
        """The rows of these items, in the order in which they are noted.

        Raises:
            OutputError: the target, or this machine's disk, takes nothing any more. What is painted is noted.
            ImpastoError: processes end again and again before they can paint.
        """
        while len(self._workers) < self._count:
            self._start(None)
        while True:
            more = self._hand_out(items)
            if not any(worker.in_hand or worker.unnoted for worker in self._workers):
                return
            if self._stopping is not None and time.monotonic() > self._stopping:
                return
            for worker in self._heard(more):
                yield from worker.listen()
                if worker.ended:
                    yield from self._bury(worker)

    def stop(self) -> None:
        """Let those who paint finish what they have in hand, in bounded time; `paint` then comes to its end."""
        self._stopping = self._stopping or time.monotonic() + FINISHING

    def close(self) -> None:
        """End all processes, whatever they do. Twice does no harm."""
        while self._workers:
            self._workers.pop().end()

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- processes ------------------------------------------------------------------------------------------

    def _start(self, first: Item | None) -> _Process:
        worker = _Process(self._each, f"{self._started:04d}", first)
        self._started += 1
        self._workers.append(worker)
        return worker

    def _first(self, first: Item | None) -> Hello:
        """What the first process says; another one is started where it ends without a word."""
        while True:
            worker = self._start(first)
            while not worker.ended:
                list(worker.listen())
                if worker.hello is not None:
                    return worker.hello
            self._workers.pop()
            self._count_end(worker)

    def _count_end(self, worker: _Process) -> None:
        """Count a process that has ended unasked. ImpastoError if they end again and again before they begin."""
        worker.end()
        self.deaths += 1
        self._false_starts = 0 if worker.hello is not None else self._false_starts + 1
        if self._false_starts >= MOST_FALSE_STARTS:
            raise ImpastoError(
                f"processes that should paint end before they begin{_how(worker.code)}: if memory is short, give fewer "
                "`workers`"
            )

    def _hand_out(self, items: Iterator[Item]) -> bool:
        """Give work to all who have little; whether there is more."""
        if self._stopping is not None:
            return False
        for depth in range(1, AHEAD + 1):  # the first to everybody, or the last ones would lie where others are idle
            for worker in self._workers:
                if len(worker.in_hand) < depth:
                    if self._again:
                        work = self._again.popleft()
                    elif (item := next(items, None)) is not None:
                        work = (item, None)
                    else:
                        return False
                    worker.give(work)
        return True

    def _heard(self, more: bool) -> list[_Process]:
        """Those who say something, within half a second; who has nothing to do is asked to note what waits."""
        for worker in self._workers:
            if not more and worker.unnoted and not worker.in_hand:
                worker.ask_to_note()
        ready = wait([worker.connection for worker in self._workers], timeout=0.5)
        return [worker for worker in self._workers if worker.connection in ready]

    def _bury(self, worker: _Process) -> Iterator[Row]:
        """Hand on what an ended process had, but for what it noted, and start another."""
        self._workers.remove(worker)
        self._count_end(worker)
        noted = noted_by(self._target, f"{self._task.run}-{worker.name}")
        if worker.hello is not None and worker.in_hand and worker.in_hand[0][0].id not in noted:
            self._deaths_at[worker.in_hand[0][0].id] += 1
        for item, fault in [*worker.unnoted.values(), *worker.in_hand]:
            if item.id in noted:
                yield noted[item.id]
            elif self._deaths_at[item.id] >= MOST_DEATHS:
                self._again.append((item, f"{item.id}: twice the process that painted it ended{_how(worker.code)}"))
            else:
                self._again.append((item, fault))
        if self._stopping is None:
            self._start(None)


class _Process:
    """One process, and what is known of it.

    Attributes:
        in_hand: what it was given and has not painted, in order.
        unnoted: by id, what it has painted and not noted for good.
        hello: what it told when it was ready.
    """

    def __init__(self, task: Task, name: str, first: Item | None) -> None:
        self.name, self.ended = name, False
        self.hello: Hello | None = None
        self.in_hand: deque[Work] = deque()
        self.unnoted: dict[str, Work] = {}
        self._asked = False
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid(), task, name, first), daemon=True)
        # What Ctrl-C sends to all processes of a terminal must not end one that has not yet said it will ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def code(self) -> int | None:
        """How it ended; negative for a signal."""
        self._process.join(1)
        return self._process.exitcode

    def give(self, work: Work) -> None:
        """Hand it an item."""
        self.in_hand.append(work)
        self._asked = False
        self._send(work)

    def ask_to_note(self) -> None:
        """Have it note for good what waits, once."""
        if not self._asked:
            self._asked = True
            self._send(None)

    def listen(self) -> Iterator[Row]:
        """Hear one thing from it, and give the rows that it has noted. OutputError, ImpastoError if it gives up."""
        try:
            kind, said = self.connection.recv()
        except (EOFError, OSError):
            self.ended = True
            return
        if kind == "hello":
            self.hello = said
        elif kind == "painted":
            work = self.in_hand.popleft()
            self.unnoted[work[0].id] = work
        elif kind == "noted":
            for row in said:
                self.unnoted.pop(row.id, None)
            yield from said
        elif kind == "full":
            raise OutputError(said)
        else:
            raise ImpastoError(said)

    def end(self) -> None:
        """End it: at once if it waits, else by force."""
        self.connection.close()
        if not self.in_hand:
            self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _send(self, what: Any) -> None:
        with suppress(OSError):  # it has ended, which is heard of when it is listened to
            self.connection.send(what)


def _serve(connection: Connection, parent: int, task: Task, name: str, first: Item | None) -> None:
    """What a process does: says hello, then paints what it is sent until nobody sends any more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever started us decides when we stop
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if not _dies_with(parent):
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            worker = Worker(task, name)
            connection.send(("hello", worker.begin(first)))
        except OutputError as error:
            connection.send(("full", str(error)))
        except Exception as error:  # noqa: BLE001  whatever it is, whoever started us has to hear it
            said = str(error) if isinstance(error, ImpastoError) else f"{type(error).__name__}: {error}"
            connection.send(("failed", said))
        else:
            _paint_all(connection, worker)
            worker.close()


def _paint_all(connection: Connection, worker: Worker) -> None:
    rows: list[Row] = []
    while True:
        if rows and not connection.poll(IDLE):
            rows = _noted(connection, worker, rows)
        try:
            work = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if work is None:
                rows = _noted(connection, worker, rows)
                continue
            item, fault = work
            rows.append(worker.paint(item) if fault is None else worker.note(item, "WorkerError", fault))
            connection.send(("painted", item.id))
            if not worker.waiting:
                rows = _noted(connection, worker, rows)
        except OutputError as error:
            connection.send(("full", str(error)))
            return


def _noted(connection: Connection, worker: Worker, rows: list[Row]) -> list[Row]:
    worker.flush()
    connection.send(("noted", rows))
    return []


def _dies_with(parent: int) -> bool:
    """Have Linux end this process with the one that started it, however that ends; False if it has ended already.

    Nobody would hear of what it paints, and another run might paint the same picture meanwhile. Elsewhere it finds out
    after the picture.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    return os.getppid() == parent


def _how(code: int | None) -> str:
    """How a process ended, for a sentence."""
    if code is None or code >= 0:
        return "" if code is None else f" (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f" ({name}{', perhaps for lack of memory' if code == -signal.SIGKILL else ''})"


def _gpus() -> int:
    """How many GPUs there are."""
    import torch

    return max(1, torch.cuda.device_count())
