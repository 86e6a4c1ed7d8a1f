"""A run: what is left to paint, handed out, counted, and told at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np

from impasto.bulk.lock import LOCKS, TargetLock
from impasto.bulk.manifest import HOME, Ledger, Rows, compact, load_ledger
from impasto.bulk.report import Tally, write_report
from impasto.bulk.sources import Source, open_source
from impasto.bulk.stores import Store, is_url, reaching, without_secrets
from impasto.bulk.targets import FolderTarget, open_target
from impasto.bulk.work import FORMAT, Item, Row, Task, digest, recipe_key
from impasto.bulk.worker import Hello, task_key
from impasto.errors import DataError, ImpastoError, OptionError, OutputError
from impasto.files import shown

__all__ = ["BulkProgress", "BulkRun", "Left", "read_job", "survey"]

JOB: Final = f"{HOME}/job.json"
AT_ONCE: Final = 4096  # items that are looked up together
WINDOW: Final = 60.0  # seconds over which speed is measured


class Pool(Protocol):
    """Those who paint: `LocalPool`, or `on_ray.RayPool`."""

    deaths: int

    def begin(self, first: Item) -> Hello | None:
        """Begin; what is wrong with the task is told here. None if it was stopped before anybody could begin."""

    def paint(self, items: Iterator[Item]) -> Iterator[Row]:
        """The rows of these items."""

    def stop(self) -> None:
        """Let those who paint finish what is in hand."""

    def close(self) -> None:
        """End all, whatever they do. Twice does no harm."""


@dataclass(frozen=True)
class BulkProgress:
    """How far a run is.

    Attributes:
        done: painted by now, in this run.
        failed: that could not be painted, in this run.
        before: painted by earlier runs, or given up by them.
        total: pictures and films of the source.
        seconds: since this run began to paint.
        rate: items a second lately.
        left: seconds that the rest should take; None where nothing is known of it yet.
        row: what was noted last; None before anything is.
    """

    done: int
    failed: int
    before: int
    total: int
    seconds: float
    rate: float
    left: float | None
    row: Row | None = None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        values = {name: getattr(self, name) for name in ("done", "failed", "before", "total")}
        rounded = {"seconds": round(self.seconds, 1), "rate": round(self.rate, 2)}
        return {**values, **rounded, "left": None if self.left is None else round(self.left)}


@dataclass(frozen=True)
class Left:
    """What there is to do.

    Attributes:
        total: items of the source.
        done: of them painted already.
        given_up: of them that could not be painted as often as they may be tried.
        failed_before: of those to be painted, how many could not be before.
    """

    total: int
    done: int
    given_up: int
    failed_before: int

    @property
    def to_paint(self) -> int:
        """How many there are to be painted."""
        return self.total - self.done - self.given_up


class BulkRun:
    """Paints all of a source that is not painted yet.

    Args:
        source: a folder, pattern, manifest or tar shards, see `open_source`.
        task: what is asked of every picture.
        pool: those who paint.
        retry_failed: how often an item that could not be painted is tried again, in later runs.
        new_recipe: paint everything anew where the target holds paintings by another recipe.
        force: take a target that holds files which no such run has put there.

    Attributes:
        left: what there is to do, once that is known; None if it was stopped before.
        tally: what was counted.
        stopped: whether it was asked to stop.
    """

    def __init__(
        self,
        source: str,
        task: Task,
        pool: Pool,
        *,
        retry_failed: int = 1,
        new_recipe: bool = False,
        force: bool = False,
    ) -> None:
        if retry_failed < 0:
            raise OptionError(f"`retry_failed` is {retry_failed}, need 0 or more", "retry_failed")
        self.task, self.pool, self.source = task, pool, source
        self.left: Left | None = None
        self.tally = Tally()
        self.stopped = False
        self._retries, self._new_recipe, self._force = retry_failed, new_recipe, force
        self._target = Store(task.target)
        self._lock = TargetLock(self._target, task.run)

    def stop(self) -> None:
        """Finish what is in hand, in bounded time, and come to an end."""
        self.stopped = True
        self.pool.stop()

    def run(self) -> Generator[BulkProgress, None, None]:
        """Paint; yields a record after every item. Closing the generator ends all work at once, and loses none.

        Raises:
            OutputError: another run holds the target, or it takes nothing any more.
            OptionError: the request makes no sense, or is another than the target's.
            DataError: the source or the manifest cannot be read.
        """
        source = open_source(self.source)
        with reaching(self._target.url):
            self._check_places(source)
            is_new = next(self._target.files(HOME, hidden=True), None) is None
            folders = self._target.missing_folders()
            refused = False
            try:
                with self._lock:
                    try:
                        yield from self._run(source)
                    except ImpastoError:
                        refused = is_new and not self.tally.done + self.tally.failed
                        raise
                    finally:
                        self.pool.close()
                        if refused:  # while nobody else can have begun there
                            self._take_back()
            finally:
                if refused:
                    self._target.prune(HOME, folders)

    def _take_back(self) -> None:
        """Remove what a run that was refused has made, but not the locks, which may be of others who wait."""
        for entry in list(self._target.files(HOME, hidden=True)):
            if not entry.name.startswith(f"{LOCKS}/"):
                self._target.delete(entry.name)

    def _run(self, source: Source) -> Generator[BulkProgress, None, None]:
        with closing(open_target(self._target, self.task, f"{self.task.run}-end")) as target:
            yield from self._run_into(source, target)

    def _run_into(self, source: Source, target: FolderTarget) -> Generator[BulkProgress, None, None]:
        target.recover()
        if (first := next(source.items(), None)) is None:
            raise DataError(f"{without_secrets(shown(self.source))}: holds no pictures or films; check its name")
        hello = self.pool.begin(first)
        if hello is None:
            return
        key = task_key(hello.recipe, self.task)
        self._take_target(hello.recipe, key)
        ledger = load_ledger(Rows(self._target))
        self.left = left = survey(source, ledger, self.task, key, retries=self._retries, new_recipe=self._new_recipe)
        yield from self._counted(left, self._to_paint(source, ledger, key))
        self.pool.close()  # nobody notes anything while rows are put together
        if not self.stopped:
            target.pack_all()
        self.tally.twice += compact(self._target)
        self.tally.deaths = self.pool.deaths
        write_report(self._target, self.tally, target, self._facts(hello, left))

    def _counted(self, left: Left, items: Iterator[Item]) -> Iterator[BulkProgress]:
        """The records of a run, while it is painted."""
        began = time.monotonic()
        clock = _Clock(began)
        before = left.done + left.given_up
        yield BulkProgress(0, 0, before, left.total, 0.0, 0.0, None)
        for row in self.pool.paint(items) if left.to_paint else ():
            self.tally.add(row)
            if self._lock.lost:
                raise OutputError(f"{self._target.url}: could not be reached for a minute; run again when it can")
            rate = clock.tick()
            count = self.tally.done + self.tally.failed
            seconds = None if not rate else max(0, left.to_paint - count) / rate
            told = (self.tally.done, self.tally.failed, before, left.total, time.monotonic() - began, rate, seconds)
            yield BulkProgress(*told, row)
        self.tally.seconds = time.monotonic() - began

    def _to_paint(self, source: Source, ledger: Ledger, key: str) -> Iterator[Item]:
        for items in _batches(source):
            digests = b"".join(digest(item.id) for item in items)
            state = ledger.look_up(digests, [recipe_key(key, item.options) for item in items])
            wanted = ~state.done & (state.failures <= self._retries)
            for item, one, failures in zip(items, wanted, state.failures, strict=True):
                if one:
                    yield replace(item, again=True) if failures else item

    def _check_places(self, source: Source) -> None:
        """Source and target must not lie within each other, and the target must be a folder that is ours, or empty."""
        if self._target.exists(""):
            raise OutputError(f"{self._target.url}: is a file; give a folder")
        if source.store is not None and source.store.overlaps(self._target):
            raise OutputError(
                f"{self._target.url}: the target and the source {source.store.url} lie within each other; give "
                "a folder beside it"
            )
        if not self._force and not self._target.exists(JOB):
            other = next(iter(self._target.files()), None)
            if other is not None:
                raise OutputError(
                    f"{self._target.url}: holds files that no such run has put there, such as {other.name}; give an "
                    "empty folder, or `force`"
                )

    def _take_target(self, recipe: Mapping[str, Any], key: str) -> None:
        """Write down what is asked for, or compare it with what was."""
        job = read_job(self._target)
        history: list[Any] = []
        if job is not None:
            if job["task"]["layout"] != self.task.layout:
                kept = {"folders": "folders", "tar": "tar shards"}[job["task"]["layout"]]
                raise OptionError(f"{self._target.url}: holds {kept}: ask for the same, or give another target")
            if job["key"] == key:
                return
            if not self._new_recipe:
                differs = ", ".join(_differences(job, recipe, self.task))
                raise OptionError(
                    f"{self._target.url}: was painted by another recipe ({differs}); ask for the same, give another "
                    "target, or `new_recipe` to paint everything anew"
                )
            history = [*job["history"], {"key": job["key"], "recipe": job["recipe"], "task": job["task"]}]
        facts = {"impasto_bulk": FORMAT, "key": key, "recipe": recipe, "task": self.task.about_pictures()}
        text = json.dumps({**facts, "history": history}, ensure_ascii=False, indent=1)
        self._target.put(JOB, text.encode("utf-8", "backslashreplace"))

    def _facts(self, hello: Hello, left: Left) -> dict[str, Any]:
        return {
            "run": self.task.run,
            "source": self.source,
            "target": self._target.url,
            "recipe": hello.recipe,
            "stopped": self.stopped,
            "total": left.total,
            "done_before": left.done,
            "given_up": left.given_up,
        }


def survey(source: Source, ledger: Ledger, task: Task, key: str, *, retries: int, new_recipe: bool) -> Left:
    """What of a source is left to paint.

    Raises:
        OptionError: two items would have the same output, one would take the place of a source, or one was painted with
            other options and `new_recipe` is not given.
        DataError: the source cannot be read.
    """
    ids: list[Any] = []
    names: list[Any] = []
    inside: list[Any] = []  # names of sources that lie in the target
    target = None if source.store is not None or task.layout == "tar" else Store(task.target)
    total = done = given_up = failed = 0
    for items in _batches(source):
        keys = [recipe_key(key, item.options) for item in items]
        digests = b"".join(digest(item.id) for item in items)
        state = ledger.look_up(digests, keys)
        total += len(items)
        done += int(state.done.sum())
        given_up += int((state.failures > retries).sum())
        failed += int(((state.failures > 0) & (state.failures <= retries)).sum())
        if not new_recipe and state.other.any():
            other = items[int(state.other.argmax())].id
            raise OptionError(
                f"{other}: was painted with other options than its row has now; give another target, or `new_recipe` "
                "to paint it anew"
            )
        ids.append(np.frombuffer(digests, np.uint64))
        names.append(np.frombuffer(b"".join(digest(_output(item, task)) for item in items), np.uint64))
        if target is not None and (found := [name for item in items if (name := _name_within(target, item))]):
            inside.append(np.frombuffer(b"".join(map(digest, found)), np.uint64))
    if (twice := _twice(ids)) is not None:
        name = next(item.id for item in source.items() if digest(item.id) == twice)
        raise OptionError(f"{name!r} is the id of two pictures: leave one out, or give each an `id` of its own")
    if (lost := _in_both(names, inside)) is not None:
        item = next(item for item in source.items() if digest(_output(item, task)) == lost)
        place = Store(task.target).shown(_output(item, task))
        raise OptionError(f"{item.id}: its painting would take the place of the source {place}; give another target")
    if (twice := _twice(names)) is not None:
        both = [item for item in source.items() if digest(_output(item, task)) == twice]
        raise OptionError(
            f"{both[0].id} and {both[1].id} would both become {_output(both[0], task)}: paint them into different "
            "targets, or give each an `id` of its own in a manifest"
        )
    return Left(total, done, given_up, failed)


def read_job(target: Store) -> dict[str, Any] | None:
    """What a target was painted by; None where no run has begun. DataError if that is damaged."""
    try:
        found = json.loads(target.read(JOB))
        if found["impasto_bulk"] != FORMAT:
            raise DataError(f"{target.url}: of format {found['impasto_bulk']!r}, and this version reads {FORMAT}")
        return {name: found[name] for name in ("key", "recipe", "task", "history")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{target.shown(JOB)}: is damaged ({error}); remove it, and go on with `force`") from error


def _twice(parts: list[Any]) -> bytes | None:
    """A digest that is there twice, if any; the parts are let go of."""
    digests = np.concatenate([np.empty(0, np.uint64), *parts]).reshape(-1, 2)
    parts.clear()
    ordered = digests[np.lexsort((digests[:, 1], digests[:, 0]))]
    same = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
    return bytes(ordered[same[0]].tobytes()) if len(same) else None


def _in_both(parts: list[Any], others: list[Any]) -> bytes | None:
    """A digest that is among both, if any."""
    if not others:
        return None
    one, other = (np.concatenate(digests).view("u8,u8") for digests in (parts, others))
    same: Any = np.intersect1d(one, other)
    return bytes(same[0].tobytes()) if len(same) else None


def _output(item: Item, task: Task) -> str:
    with suppress(DataError):  # told when its turn comes
        if item.fault is None:
            return item.output_name(task)
    return f"\0{item.id}"


def _name_within(target: Store, item: Item) -> str | None:
    """What a source is called in the target, if it lies there."""
    folder, slash, name = item.source.rpartition("/")
    if target.is_local:
        place, folder = _real(target.root), folder if is_url(item.source) else _real(folder or slash or ".")
    else:
        place = target.url
    within = f"{folder}/{name}"
    return within[len(place) + 1 :] if within.startswith(f"{place}/") else None


@lru_cache(1024)  # of millions of folders not all are kept
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def _batches(source: Source) -> Iterator[list[Item]]:
    items = source.items()
    while batch := list(islice(items, AT_ONCE)):
        yield batch


def _differences(job: Mapping[str, Any], recipe: Mapping[str, Any], task: Task) -> Iterator[str]:
    """What differs between what a target was painted by and what is asked for, in a few words each."""
    for part in ("request", "used"):
        before, now = job["recipe"].get(part, {}), recipe.get(part, {})
        for name in dict.fromkeys([*before, *now]):
            if before.get(name) != now.get(name):
                if part == "used":
                    yield f"`{name.partition(' ')[0]}` is another file"
                else:
                    yield f"`{name}` was {_said(before.get(name))}, and is {_said(now.get(name))}"
    before, now = job["task"], task.about_pictures()
    for name in now:
        if before.get(name) != now[name]:
            yield f"`{name}` was {_said(before.get(name))}, and is {_said(now[name])}"


def _said(value: Any) -> str:
    return "not given" if value in (None, {}) else json.dumps(value, ensure_ascii=False)


class _Clock:
    """Items a second over the last minute."""

    def __init__(self, began: float) -> None:
        self._marks = [(began, 0)]
        self._count = 0

    def tick(self) -> float:
        self._count += 1
        now = time.monotonic()
        if now - self._marks[-1][0] > 1:
            self._marks = [mark for mark in self._marks if now - mark[0] < WINDOW] or self._marks[-1:]
            self._marks.append((now, self._count))
        first, count = self._marks[0]
        return (self._count - count) / max(now - first, 1e-6)
