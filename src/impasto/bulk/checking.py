"""Looking at a target: what is done there, and whether it is all there and as it was painted."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from impasto.bulk.lock import LOCKS, TargetLock, read_lock
from impasto.bulk.manifest import Rows, RowWriter
from impasto.bulk.run import read_job
from impasto.bulk.stores import Store, reaching, without_secrets
from impasto.bulk.targets import REPORTS, open_target
from impasto.bulk.work import Row, Task, digest
from impasto.errors import DataError

__all__ = ["Status", "Verified", "status", "verify"]

NAMED = 20  # of each kind of fault, by name
PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Status:
    """What a target holds.

    Attributes:
        target: its address.
        recipe: what it was last painted by.
        done: ids that are painted by that.
        earlier: ids that are painted by a recipe before.
        failed: ids that could not be painted.
        errors: how many of each kind.
        running: who paints there now, in words; None where nobody does.
    """

    target: str
    recipe: dict[str, Any]
    done: int
    earlier: int
    failed: int
    errors: dict[str, int]
    running: str | None


@dataclass
class Verified:
    """What became of a target's paintings.

    Attributes:
        good: that are as they were painted.
        damaged: whose bytes are others.
        missing: that are noted and not there.
        orphaned: that are there and not noted.
        twice: that lie in more than one place.
        names: the first of each kind that is a fault, by kind.
    """

    good: int = 0
    damaged: int = 0
    missing: int = 0
    orphaned: int = 0
    twice: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        """All that is not as it should be."""
        return self.damaged + self.missing + self.orphaned + self.twice

    def add(self, kind: str, name: str) -> None:
        """Count a fault."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(names := self.names.setdefault(kind, [])) < NAMED:
            names.append(name)


def status(where: str) -> Status:
    """What a target holds. DataError if no run ever painted there."""
    with reaching(without_secrets(where)):
        return _status(*_opened(where))


def _status(target: Store, job: dict[str, Any]) -> Status:
    latest: dict[bytes, tuple[float, str, str | None]] = {}
    for row in Rows(target):
        key = digest(row.id)
        if key not in latest or row.time >= latest[key][0]:
            latest[key] = (row.time, row.recipe, row.kind)
    kinds = Counter(kind for _, _, kind in latest.values() if kind is not None)
    known = {job["key"]}
    painted = [recipe for _, recipe, kind in latest.values() if kind is None]
    old = {one["key"] for one in job["history"]}
    earlier = sum(recipe in old and recipe not in known for recipe in painted)
    running = None
    for entry in target.files(LOCKS, hidden=True):
        found = read_lock(target, entry.name)
        if found is not None and found.alive:
            running = found.who
    return Status(
        target.url, job["recipe"], len(painted) - earlier, earlier, kinds.total(), dict(kinds.most_common()), running
    )


def verify(where: str, run: str) -> Iterator[Verified]:
    """Read all paintings of a target and compare them with its manifest; yields counts, the last being the result.

    What is damaged or missing is noted as failed, so that the next run paints it again. What is orphaned is left alone.

    Args:
        where: the target.
        run: a name for this, as no run has.

    Raises:
        DataError: no run ever painted there, or the manifest is damaged.
        OutputError: a run paints there now.
    """
    with reaching(without_secrets(where)):
        yield from _verified(where, run)


def _verified(where: str, run: str) -> Iterator[Verified]:
    target, job = _opened(where)
    task = Task({}, {}, where, layout=job["task"]["layout"], run=run)
    with TargetLock(target, run), closing(open_target(target, task, f"{run}-verify")) as place:
        place.recover()
        expected = _expected(target)
        found, faults = Verified(), dict[bytes, str]()
        seen = set[bytes]()
        for output in place.outputs():
            if output.name in REPORTS:
                continue
            key = digest(output.name)
            if key not in expected:
                found.add("orphaned", output.name)
            elif key in seen:
                found.add("twice", output.name)
            elif _sha256(output.file) == expected[key]:
                found.good += 1
            else:
                found.add("damaged", output.name)
                faults[key] = "Damaged"
            seen.add(key)
            yield found
        faults |= dict.fromkeys(expected.keys() - seen, "Missing")
        _note(target, f"{run}-verify", faults, found)
        yield found


def _opened(where: str) -> tuple[Store, dict[str, Any]]:
    target = Store(where)
    if (job := read_job(target)) is None:
        raise DataError(f"{target.url}: no run has painted there; check the name")
    return target, job


def _expected(target: Store) -> dict[bytes, bytes]:
    """By a digest of the name of each output that should be there, the SHA-256 of its bytes."""
    latest: dict[bytes, tuple[float, bytes, bytes]] = {}
    for row in Rows(target):
        key = digest(row.id)
        if key not in latest or row.time >= latest[key][0]:
            latest[key] = (row.time, digest(row.output or ""), bytes.fromhex(row.output_sha256 or ""))
    return {name: content for _, name, content in latest.values() if content}


def _note(target: Store, writer: str, faults: dict[bytes, str], found: Verified) -> None:
    """Note outputs that are damaged or missing as failed."""
    if not faults:
        return
    rows = RowWriter(target, writer)
    lost: dict[str, Row] = {}
    for row in Rows(target):
        if row.done and digest(row.output or "") in faults and row.time >= lost.get(row.id, row).time:
            lost[row.id] = row
    for row in lost.values():
        kind = faults[digest(row.output or "")]
        if kind == "Missing":
            found.add("missing", row.output or "")
        said = f"{row.output}: was {kind.lower()} when the target was verified"
        rows.add(replace(row, time=time.time(), worker=writer, kind=kind, error=said, output=None, found=False))
    rows.flush()


def _sha256(file: BinaryIO) -> bytes:
    found = hashlib.sha256()
    while piece := file.read(PIECE):
        found.update(piece)
    return found.digest()
