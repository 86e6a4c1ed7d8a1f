"""Painting on a Ray cluster: Ray Data hands blocks of items to actors, each of which holds an engine.

What travels through Ray is text: items to the actors, rows back. Pictures go from the source's store to the actor and
from there to the target's, as encoded bytes. The list of what is to be painted lies in the target, and is read from
there by blocks, so that neither the driver nor Ray's object store ever holds all of it.

Ray does a block again if its actor was killed, for ever, and on another actor. So an actor writes down that it begins a
block. Whoever finds a block begun takes care: it asks what the one before has noted, and writes down each picture that
it begins, so that one which kills whoever paints it is found out and given up.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final

from impasto.bulk.local import FINISHING
from impasto.bulk.lock import LOCKS
from impasto.bulk.manifest import HOME, noted_by
from impasto.bulk.stores import Store, TargetError, reaching
from impasto.bulk.targets import BEGUN, PLANS
from impasto.bulk.work import Item, Row, Task, digest
from impasto.bulk.worker import Hello, Worker
from impasto.errors import ImpastoError, OptionError, OutputError, load_library

__all__ = ["RayPool"]

PLAN_ITEMS: Final = 20_000  # in one file of the plan
BLOCK_ITEMS: Final = 16  # in one block, which an actor paints at a time
SAME_BLOCKS: Final = 16  # files of the plan after which blocks become larger: Ray holds a description of each
MOST_DEATHS: Final = 2  # of actors known to have painted one item, after which it is not tried again
OBJECT_STORE: Final = 128 << 20  # bytes, of a Ray that is started for us
LOOKS_EVERY: Final = 2.0  # seconds after which an actor looks whether its run still holds the target
LISTENS: Final = 0.5  # seconds after which whoever waits for actors looks at the clock
Block = dict[str, Any]
"""``name`` of a file of the plan, and ``place`` and ``size`` of a block in it, in bytes."""


class RayPool:
    """Actors that paint.

    Args:
        task: what is asked of all pictures; its memory is that of each actor.
        workers: how many actors at most; None is as many as the cluster has CPUs or GPUs for.
        address: the cluster's, such as ``auto`` or ``ray://host:10001``; None starts Ray on this machine.

    Attributes:
        deaths: how many blocks were begun again.
    """

    def __init__(self, task: Task, workers: int | None = None, *, address: str | None = None) -> None:
        self.deaths = 0
        self._ray: Any = load_library("ray", "ray", "painting on a cluster")
        self._task, self._wanted, self._address = task, workers, address
        self._target = Store(task.target)
        self._started = self._told_actors = False
        self._stopping: float | None = None
        if "://" not in task.target and address is not None:
            self._target.make_folder()

    def begin(self, first: Item | None) -> Hello | None:
        """Connect to the cluster, and have an actor's machine say hello. Errors as of `Worker.begin`.

        None if it was stopped while the cluster had no room for anyone who paints.
        """
        self._connect()
        self._task = ship(self._task, self._target)
        self._each = self._resources(self._ray.cluster_resources())
        answer = self._ray.remote(**self._each, max_retries=2)(_hello).remote(self._task, first)
        while not self._ray.wait([answer], timeout=LISTENS)[0]:
            if self._stopping is not None:
                self._ray.cancel(answer, force=True)
                return None
        kind, said = self._ray.get(answer)
        if kind == "full":
            raise OutputError(said)
        if kind == "failed":
            raise ImpastoError(said)
        hello: Hello = said
        resources = self._ray.cluster_resources()  # now that the first machine is there, in a cluster that grows
        self._most = self._wanted or max(1, int(min(resources.get(one, 0) / n for one, n in _needs(self._each))))
        return hello

    def paint(self, items: Iterator[Item]) -> Iterator[Row]:
        """The rows of these items, block by block as they are finished.

        Raises:
            OutputError: the target, or a machine's disk, takes nothing any more. What is painted is noted.
            ImpastoError: Ray gave up.
        """
        blocks = list(self._planned(items))
        if not blocks:
            return
        data = self._ray.data
        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # Where blocks lie, and no tasks that read them: a pool as large as the cluster leaves these no CPU, and
        # for each that asks for none Ray starts a process.
        places = data.from_items(blocks, override_num_blocks=len(blocks))
        rows = places.map_batches(
            Painter,
            batch_size=None,
            compute=data.ActorPoolStrategy(min_size=1, max_size=self._most, max_tasks_in_flight_per_actor=2),
            fn_constructor_args=(self._task,),
            **self._each,  # and Ray Data restarts actors, and does their blocks again, for ever
        )
        batches = rows.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
        try:
            for batch in _in_background(batches):
                if batch is not None:
                    yield from self._told(batch.to_pylist())
                if self._is_time_to_go():
                    return
        except self._ray.exceptions.RayError as error:
            raise ImpastoError(f"Ray gave up: {str(error).strip().splitlines()[-1][:300]}") from error
        finally:
            self._target.clear(f"{PLANS}/{self._task.run}")
            if not self._told_actors:  # or one that is late would go on
                self._target.clear(f"{BEGUN}/{self._task.run}")

    def stop(self) -> None:
        """Let those who paint finish the pictures they have in hand, in bounded time; `paint` then comes to its end."""
        self._stopping = self._stopping or time.monotonic() + FINISHING

    def _is_time_to_go(self) -> bool:
        """Whether it is to stop, and those who paint have had their time; they are told first."""
        if self._stopping is None:
            return False
        if not self._told_actors:
            with suppress(TargetError):
                self._target.put(f"{BEGUN}/{self._task.run}/stop", b"")
                self._told_actors = True
        return time.monotonic() > self._stopping

    def close(self) -> None:
        """Let go of the cluster, which ends its actors; a Ray that was started for us ends. Twice does no harm."""
        if self._started:
            self._started = False
            self._ray.shutdown()

    # -- parts ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        ray = self._ray
        if ray.is_initialized():
            return
        own: dict[str, Any] = {} if self._address else {"object_store_memory": OBJECT_STORE, "include_dashboard": False}
        try:
            with _own_sigterm():
                ray.init(address=self._address or "local", log_to_driver=False, logging_level="error", **own)
        except Exception as error:  # of a node that starts too slowly it says so by a plain one
            said = str(error).partition("\n")[0]
            what = f"no cluster at {self._address!r}" if self._address else "Ray cannot be started here"
            raise OptionError(f"`on` ray: {what} ({said})", "on") from error
        self._started = True

    def _resources(self, cluster: Mapping[str, float]) -> dict[str, float]:
        """What each actor needs of the cluster."""
        device = str(self._task.request.get("device", "auto"))
        if device.startswith("cuda") or (device == "auto" and cluster.get("GPU") and not self._is_light):
            return {"num_cpus": 1, "num_gpus": 1}
        threads = self._task.threads or 1
        self._task = replace(self._task, threads=threads)
        return {"num_cpus": threads}

    @property
    def _is_light(self) -> bool:
        return bool(self._task.request.get("engine") == "light")

    def _planned(self, items: Iterator[Item]) -> Iterator[Block]:
        """Write the list of what is to be painted into the target; gives its blocks."""
        lines = (item.to_json().encode("utf-8", "surrogatepass") + b"\n" for item in items)
        for number in count():
            if not (some := list(islice(lines, PLAN_ITEMS))):
                return
            yield from self._planned_file(number, some)

    def _planned_file(self, number: int, lines: list[bytes]) -> Iterator[Block]:
        name, place = f"{PLANS}/{self._task.run}/{number:06d}.jsonl", 0
        self._target.put(name, b"".join(lines))
        many = BLOCK_ITEMS * (1 + number // SAME_BLOCKS)
        for at in range(0, len(lines), many):
            size = sum(map(len, lines[at : at + many]))
            yield {"name": name, "place": place, "size": size}
            place += size

    def _told(self, said: Iterable[Mapping[str, str]]) -> Iterator[Row]:
        for one in said:
            if one["kind"] == "row":
                yield Row.from_json(one["text"])
            elif one["kind"] == "again":
                self.deaths += 1
            elif one["kind"] == "full":
                raise OutputError(one["text"])
            elif one["kind"] == "failed":
                raise ImpastoError(one["text"])


class Painter:
    """What an actor does with blocks."""

    def __init__(self, task: Task) -> None:
        self._task, self._name = task, os.urandom(4).hex()
        self._target = Store(task.target)
        self._worker: Worker | None = None
        self._looked, self._over = 0.0, False

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Paint a block, whose place is given; gives the rows, or why nothing is painted any more."""
        said = list(self._said(*(str(batch[key][0]) for key in ("name", "place", "size"))))
        yield {"kind": [kind for kind, _ in said], "text": [text for _, text in said]}

    def _said(self, name: str, place: str, size: str) -> Iterator[tuple[str, str]]:
        try:
            with reaching(self._target.url):
                text = self._target.read_part(name, int(place), int(size)).decode("utf-8", "surrogatepass")
                items = [Item.from_json(line) for line in text.split("\n")[:-1]]
                if self._worker is None:
                    self._worker = Worker(self._task, self._name)
                    self._worker.begin()
                yield from self._painted(items, self._worker)
        except OutputError as error:
            yield "full", str(error)
        except ImpastoError as error:
            yield "failed", str(error)

    def _painted(self, items: list[Item], worker: Worker) -> Iterator[tuple[str, str]]:
        if self._is_over():
            yield "over", ""  # so that who hands out hears of it, and looks at the clock
            return
        block = f"{BEGUN}/{self._task.run}/{digest(items[0].id).hex()}"
        earlier = list(self._target.files(block, hidden=True))
        self._target.put(f"{block}/{self._name}", b"")
        noted: dict[str, Row] = {}
        if earlier:
            yield "again", ""
            for name in {entry.name.rpartition("/")[2].partition(".")[0] for entry in earlier}:
                noted |= noted_by(self._target, f"{self._task.run}-{name}")
        rows = []
        for item in items:
            if self._is_over():
                break
            row = noted.get(item.id) or self._paint(item, worker, f"{block}-begun" if earlier else None)
            rows.append(row)
        worker.flush()  # that the block was begun stays written: its rows may be lost on their way, and asked for again
        yield from (("row", row.to_json()) for row in rows)

    def _paint(self, item: Item, worker: Worker, begun: str | None) -> Row:
        if begun is not None:
            mark = f"{begun}/{digest(item.id).hex()}"
            deaths = sum(1 for _ in self._target.files(mark, hidden=True))
            if deaths >= MOST_DEATHS:
                return worker.note(item, "WorkerError", f"{item.id}: whoever painted it ended, again and again")
            self._target.put(f"{mark}/{self._name}-{time.time_ns()}", b"")
        row = worker.paint(item)
        if begun is not None:
            self._target.clear(mark)
        return row

    def _is_over(self) -> bool:
        """Whether the run was asked to stop, or does not hold the target any more, being gone itself."""
        if not self._over and time.monotonic() - self._looked > LOOKS_EVERY:
            self._looked = time.monotonic()
            stop, lock = f"{BEGUN}/{self._task.run}/stop", f"{LOCKS}/{self._task.run}.json"
            self._over = self._target.exists(stop) or not self._target.exists(lock)
        return self._over


def ship(task: Task, target: Store) -> Task:
    """The task with its files (styles, masks, networks) in the target, where every machine can read them."""
    from impasto.files import sha256
    from impasto.stylizer.request import StylizeRequest

    files = dict(task.files)
    for name in StylizeRequest.from_json(task.request).file_names:
        path = Path(name)
        if name in files or not path.is_file():
            continue
        place = f"{HOME}/inputs/{sha256(path)}/{path.name}"
        if not target.exists(place):
            target.put(place, path.read_bytes())
        files[name] = place
    return replace(task, files=files)


def _hello(task: Task, first: Item | None) -> tuple[str, Any]:
    """What a machine of the cluster says of the task."""
    try:
        return "hello", Worker(task, f"hello-{os.urandom(4).hex()}").begin(first)
    except OutputError as error:
        return "full", str(error)
    except ImpastoError as error:
        return "failed", str(error)


def _in_background(batches: Iterable[Any]) -> Iterator[Any]:
    """The same, got by a thread; None whenever there was none for half a second, so that nobody waits for ever."""
    got: Queue[tuple[str, Any]] = Queue(maxsize=2)

    def get() -> None:
        try:
            for batch in batches:
                got.put(("batch", batch))
            got.put(("end", None))
        except BaseException as error:  # noqa: BLE001  it belongs to whoever waits
            got.put(("error", error))

    threading.Thread(target=get, name="ray", daemon=True).start()
    while True:
        try:
            kind, said = got.get(timeout=LISTENS)
        except Empty:
            kind, said = "batch", None
        if kind == "end":
            return
        if kind == "error":
            raise said
        yield said


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this program does on SIGTERM: `ray.init` puts in its place that the program exits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _needs(each: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    return ((names[name], count) for name, count in each.items())
