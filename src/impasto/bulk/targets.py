"""Where paintings go: folders as the sources', or tar shards with the recipe beside each picture."""

from __future__ import annotations

import glob
import io
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from impasto.bulk.manifest import HOME
from impasto.bulk.stores import Entry, Store
from impasto.bulk.work import Task

__all__ = ["BEGUN", "PLANS", "REPORTS", "FolderTarget", "Found", "TarTarget", "folder_of_process", "open_target"]

REPORTS: Final = ("impasto-report.html", "impasto-report.json")
SCRATCH: Final = f"{HOME}/scratch"
LOOKED_INTO: Final = 3  # shards that are searched for a sample
PLANS, BEGUN = f"{HOME}/plans", f"{HOME}/begun"  # of runs on a cluster: what is to be painted, and what was begun
STAGED, PACKS, SHARDS = f"{HOME}/staged", f"{HOME}/packs", "shards"


def folder_of_process() -> str:
    """A new temporary folder of this process; those of processes that were killed on this machine are removed."""
    mine = f"impasto-bulk-{platform.node()}-"
    for found in Path(tempfile.gettempdir()).glob(f"{glob.escape(mine)}*"):
        number = found.name.removeprefix(mine).partition("-")[0]
        if number.isdigit() and not _is_alive(int(number)):
            shutil.rmtree(found, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-")


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where a signal of 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Found(NamedTuple):
    """An output that lies in a target: its name, and what its bytes are read from."""

    name: str
    file: BinaryIO


class FolderTarget:
    """Outputs as files of their own, below the target as their sources below the source.

    Args:
        store: the target.
        worker: run and worker, for files of its own.
    """

    prefix = ""

    def __init__(self, store: Store, worker: str) -> None:
        self.store, self.worker = store, worker
        self._temporary: str | None = None

    def scratch(self) -> Path:
        """A folder to work in, from which `put` can move files."""
        if self.store.is_local:
            self.store.make_folder(f"{SCRATCH}/{self.worker}")
            return Path(self.store.path(f"{SCRATCH}/{self.worker}"))
        if self._temporary is None:
            self._temporary = folder_of_process()
        return Path(self._temporary)

    def close(self) -> None:
        """Remove what was worked in."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def has(self, name: str) -> bool:
        """Whether there is such an output that no shard has."""
        return self.store.exists(self.prefix + name)

    def fetch(self, name: str, to: Path) -> None:
        """Copy an output to this machine."""
        self.store.fetch(self.prefix + name, to)

    def fetch_any(self, name: str, to: Path) -> None:
        """The same, wherever it lies by now. FileNotFoundError if it does not."""
        self.fetch(name, to)

    def put(self, file: Path, name: str, recipe: str | None) -> None:
        """Move an output into the target, whole or not at all. TargetError if that cannot be."""
        self.store.put_file(file, self.prefix + name)

    @property
    def is_ready(self) -> bool:
        """Whether this worker has put so much that it should become a shard."""
        return False

    def pack(self) -> None:
        """Make a shard of what this worker has put, once all of it is noted."""

    def pack_all(self) -> None:
        """Make shards of what all workers have left, once all of it is noted and nobody paints."""

    def recover(self) -> None:
        """Put right what a run that was killed left behind. Only for whoever holds the target's lock."""
        for folder in (SCRATCH, PLANS, BEGUN):
            self.store.clear(folder)

    def outputs(self) -> Iterator[Found]:
        """All outputs, those that nobody noted as well."""
        for entry in self.store.files():
            if entry.name not in REPORTS:
                with self.store.open(entry.name) as file:
                    yield Found(entry.name, file)


class TarTarget(FolderTarget):
    """Outputs in tar shards, in WebDataset's layout: ``cat.jpg`` and ``cat.json``, its recipe.

    A painting is put as a file of its own first, so that no more than one is lost with a worker. From some hundred
    megabytes on a worker puts what it has there into a shard. What a shard is made of is written down before, and gone
    after it: whoever comes later knows which files are in it already.

    Args:
        store, worker: as of `FolderTarget`.
        most: bytes of paintings from which they become a shard.
    """

    prefix = f"{STAGED}/"

    def __init__(self, store: Store, worker: str, most: int) -> None:
        super().__init__(store, worker)
        self._most, self._bytes, self._number = most, 0, 0
        self._mine: list[str] = []

    def put(self, file: Path, name: str, recipe: str | None) -> None:
        """See `FolderTarget.put`."""
        size = file.stat().st_size
        if recipe is not None:
            beside = beside_name(name)
            self.store.put(self.prefix + beside, recipe.encode())
            self._mine.append(beside)
        super().put(file, name, recipe)
        self._mine.append(name)
        self._bytes += size

    def fetch_any(self, name: str, to: Path) -> None:
        """See `FolderTarget.fetch_any`; the last shards alone are looked into."""
        if self.has(name):
            self.fetch(name, to)
            return
        for entry in sorted(self.store.files(SHARDS), reverse=True)[:LOOKED_INTO]:
            with self.store.open(entry.name) as file, tarfile.open(fileobj=file, mode="r:") as tar, suppress(KeyError):
                content = tar.extractfile(name)
                if content is not None:
                    to.write_bytes(content.read())
                    return
        raise FileNotFoundError(name)

    @property
    def is_ready(self) -> bool:
        """See `FolderTarget.is_ready`."""
        return self._bytes >= self._most

    def pack(self) -> None:
        """See `FolderTarget.pack`."""
        self._pack(self._mine)
        self._mine, self._bytes = [], 0

    def pack_all(self) -> None:
        """See `FolderTarget.pack_all`."""
        sizes = [(entry.name.removeprefix(self.prefix), self.store.size(entry)) for entry in self._staged()]
        for group in _grouped(sorted(sizes), self._most):
            self._pack(group)

    def recover(self) -> None:
        """See `FolderTarget.recover`."""
        super().recover()
        for entry in list(self.store.files(PACKS, hidden=True)):
            told = json.loads(self.store.read(entry.name))
            if self.store.exists(told["shard"]):
                self._unstage(told["names"])
            self.store.delete(entry.name)
        names = {entry.name.removeprefix(self.prefix) for entry in self._staged()}
        kept = {beside_name(name) for name in names if not name.endswith(".json")}
        self._unstage([name for name in names if name.endswith(".json") and name not in kept])

    def outputs(self) -> Iterator[Found]:
        """See `FolderTarget.outputs`."""
        for entry in self.store.files(SHARDS):
            with self.store.open(entry.name) as file, tarfile.open(fileobj=file, mode="r|") as tar:
                for member in tar:
                    content = tar.extractfile(member)
                    if content is not None and not member.name.endswith(".json"):
                        yield Found(member.name, content)  # type: ignore[arg-type]
        for entry in self._staged():
            if not entry.name.endswith(".json"):
                with self.store.open(entry.name) as file:
                    yield Found(entry.name.removeprefix(self.prefix), file)

    def _staged(self) -> Iterator[Entry]:
        return self.store.files(STAGED, hidden=True)

    def _pack(self, names: list[str]) -> None:
        shard, pack = f"{SHARDS}/{self.worker}-{self._number:05d}.tar", f"{PACKS}/{self.worker}-{self._number:05d}.json"
        self._number += 1
        self.store.put(pack, json.dumps({"shard": shard, "names": names}).encode())
        file = self.scratch() / "shard.tar"
        with file.open("wb") as open_file, tarfile.open(fileobj=open_file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in names:
                data = self.store.read(self.prefix + name)
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
            open_file.flush()
            os.fsync(open_file.fileno())
        self.store.put_file(file, shard)
        self._unstage(names)
        self.store.delete(pack)

    def _unstage(self, names: list[str]) -> None:
        for name in names:
            self.store.delete(self.prefix + name)


def open_target(store: Store, task: Task, worker: str) -> FolderTarget:
    """The target of a task, as a worker sees it."""
    return TarTarget(store, worker, task.shard_bytes) if task.layout == "tar" else FolderTarget(store, worker)


def beside_name(name: str) -> str:
    """Where a painting's recipe lies in a shard."""
    return f"{name.rpartition('.')[0]}.json"


def _grouped(sizes: list[tuple[str, int]], most: int) -> Iterator[list[str]]:
    """Names in groups of about so many bytes; a picture and its recipe, which follow each other, stay together."""
    group: list[str] = []
    total = 0
    for name, size in sizes:
        if total >= most and group and name.rpartition(".")[0] != group[-1].rpartition(".")[0]:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    if group:
        yield group
