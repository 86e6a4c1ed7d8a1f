"""One who paints: an engine that is sent items, one after the other, and tells a row for each.

Whoever calls it, on one machine or on many, this is what happens to a picture: it is read, painted, put into the
target whole or not at all, and noted; in this order, so that what is noted is there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from impasto.bulk.manifest import RowWriter
from impasto.bulk.stores import Store, TargetError, UnfitNameError, is_url, without_secrets
from impasto.bulk.targets import folder_of_process, open_target
from impasto.bulk.work import Item, Row, Task, digest, recipe_key
from impasto.core.threads import share_cores
from impasto.errors import DataError, ImageError, ImpastoError, OptionError, OutputError
from impasto.files import sha256, shown
from impasto.networks.shipped import find_model, shipped_models
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.route import GALLERY, UNIVERSAL
from impasto.stylizer.written import obeyed_options

if TYPE_CHECKING:
    from impasto.stylizer.job import Job

__all__ = ["Hello", "Worker", "task_key"]


@dataclass(frozen=True)
class Hello:
    """What a worker tells when it is ready.

    Attributes:
        recipe: the recipe of what it paints, without any photo's.
        device: what it computes on, such as ``cpu`` or ``cuda:0``.
        memory: bytes that the process should need at most for the first picture.
    """

    recipe: Mapping[str, Any]
    device: str
    memory: int


class Worker:
    """Paints for one task.

    Args:
        task: what is asked of all pictures.
        name: its own, as no other has that ever worked for the task's run.
    """

    def __init__(self, task: Task, name: str) -> None:
        if task.threads is not None:
            share_cores(task.threads)
            os.environ.setdefault("OMP_NUM_THREADS", str(task.threads))  # torch reads it when it loads
        from impasto.stylizer.engine import Engine

        self.task, self.name = task, f"{task.run}-{name}"
        self.engine = Engine(max_memory=task.memory, at_once=1)
        self.engine.pictures = 1_000_000  # torch is worth its start, wherever it is installed
        self._options = OutputOptions.of(**task.output)
        self._store = Store(task.target)
        self._copies: str | None = None
        self._request = StylizeRequest.from_json(self._with_files(task.request))
        self._target = open_target(self._store, task, self.name)
        self._rows = RowWriter(self._store, self.name)
        self._key = ""

    def begin(self, first: Item | None = None) -> Hello:
        """Load what paints, and paint a small grey picture: what is wrong with the task is told before any other is.

        Args:
            first: a picture whose need of memory is told; a film, or one that cannot be read, tells nothing.

        Raises:
            ImpastoError: the request makes no sense, or what it needs is not here.
        """
        import numpy as np

        self._target.scratch()
        with self.engine.job(np.full((64, 64, 3), 0.5, np.float32), self._request) as job:
            if job.as_optimisation() is None:  # which knows before its first step what is wrong, and takes seconds
                with closing(job.run()) as records:
                    for _ in records:
                        pass
            recipe, made_by, memory = job.recipe.to_json(), job.recipe.made_by, job.plan().memory
        facts = {"request": recipe["request"], "used": {k: v for k, v in recipe["used"].items() if k != "photo"}}
        if self.task.own_styles:
            facts = _of_any_style(facts)
        if first is not None and first.fault is None and not first.is_film:
            with suppress(ImpastoError, OSError):
                file = self._read(first)
                with self.engine.job(str(file), self._request_of(first)) as job:
                    memory = max(memory, job.plan().memory)
        self._key = task_key(facts, self.task)
        if self.task.key not in (None, self._key):
            raise OptionError(
                f"{socket.gethostname()}: paints by another recipe ({json.dumps(facts)}): install the same version "
                "of impasto, with the same extras, everywhere"
            )
        if "engine" in facts["request"]:  # chosen once, for all workers and all pictures
            self._request = self._request.with_changes(engine=facts["request"]["engine"])
        return Hello(facts, made_by.get("device", "cpu"), memory)

    def paint(self, item: Item) -> Row:
        """Paint an item, put it into the target and note it; what is wrong with it is told in its row.

        Raises:
            TargetError: the target cannot be written.
            OutputError: this machine's disk is full.
        """
        began = time.time()
        row = Row(item.id, recipe_key(self._key, item.options), began, self.name, without_secrets(item.source))
        try:
            row = self._painted(item, row)
        except TargetError:
            raise
        except Exception as error:
            is_name = isinstance(error, UnfitNameError)
            if not is_name and isinstance(error, OutputError) and isinstance(error.__cause__, OSError):
                raise
            said = _sentence(item, error).replace(shown(self._copy_of(item)), shown(item.id))
            row = replace(row, kind=_kind(error), error=said)
        row = replace(row, time=time.time(), seconds=round(time.time() - began, 4))
        self._rows.add(row)
        if self._target.is_ready:  # not before what is in it is noted for good
            self.flush()
            self._target.pack()
        return row

    def note(self, item: Item, kind: str, error: str) -> Row:
        """Note an item that cannot be painted, for what is known of it elsewhere."""
        key, source = recipe_key(self._key, item.options), without_secrets(item.source)
        row = Row(item.id, key, time.time(), self.name, source, kind=kind, error=error)
        self._rows.add(row)
        return row

    def close(self) -> None:
        """Note for good what waits, and leave nothing but paintings behind."""
        self.flush()
        self._target.close()
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)

    def flush(self) -> None:
        """Note for good what waits to be noted."""
        self._rows.flush()

    @property
    def waiting(self) -> int:
        """How many rows wait to be noted for good."""
        return self._rows.waiting

    def _with_files(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request with this machine's own copies of the files that were sent along."""
        if not self.task.files:
            return request
        self._copies = folder_of_process()
        copied: dict[str, str] = {}
        for number, (path, place) in enumerate(self.task.files.items()):
            copy = Path(self._copies, str(number), PurePosixPath(place).name)
            copy.parent.mkdir()
            self._store.fetch(place, copy)
            copied[path] = str(copy)
        return {name: _renamed(value, copied) for name, value in request.items()}

    # -- a picture ------------------------------------------------------------------------------------------

    def _painted(self, item: Item, row: Row) -> Row:
        """The row of an item that is painted now, or was."""
        if item.fault is not None:
            raise DataError(item.fault)
        name = item.output_name(self.task)
        if self._store.is_local and os.path.realpath(item.source) == os.path.realpath(self._store.path(name)):
            raise OutputError(f"{shown(item.source)}: its painting would take its place; give another target")
        file = self._read(item)
        made = self._target.scratch() / f"painting{PurePosixPath(name).suffix}"
        with self._job(item, file, made) as job:
            row = replace(row, source_bytes=file.stat().st_size, source_sha256=job.photo_hash)
            if not item.again and (found := self._was_painted(job, name, made)):
                return replace(row, output=name, found=True, **_facts(found))
            with closing(job.run()) as records:
                for _ in records:
                    pass
            row = replace(row, notes=tuple(_named(note, file, item) for note in job.notes))
            recipe = job.recipe.to_text() if self.task.recipe else None
        facts = _facts(made)
        self._target.put(made, name, recipe)
        return replace(row, output=name, **facts)

    def _job(self, item: Item, file: Path, made: Path) -> Job:
        from impasto.stylizer.job import Output

        options = OutputOptions.of() if item.is_film else obeyed_options(self._options, made)
        output = Output(str(made), options, force=True, recipe=self.task.recipe)
        if not item.is_film:
            return self.engine.job(str(file), self._request_of(item), output=output)
        from impasto.video.job import FilmJob

        return FilmJob(self.engine, str(file), self._request_of(item), output)

    def _was_painted(self, job: Job, name: str, to: Path) -> Path | None:
        """The output that is there already, if it is of this very photo by this very recipe.

        Whoever painted it was stopped before noting it.
        """
        from impasto.stylizer.recipe import read_recipe

        if not self._target.has(name):
            return None
        try:
            self._target.fetch(name, to)
            found = read_recipe(to)
        except (ImpastoError, OSError):
            return None
        same = found.request == job.recipe.request and found.used == job.recipe.used
        return to if same else None

    def _read(self, item: Item) -> Path:
        """The item's file on this machine: its own, or a copy. ImageError if it cannot be read."""
        if not is_url(item.source) and item.offset is None:
            return Path(item.source)
        copy = self._copy_of(item)
        path, mark, query = item.source.partition("?") if item.source.startswith("http") else (item.source, "", "")
        folder, _, name = path.rpartition("/")
        try:
            store = _store(folder)
            if item.offset is None or item.size is None:
                store.fetch(name + mark + query, copy)
            else:
                copy.write_bytes(store.read_part(name, item.offset, item.size))
        except FileNotFoundError as error:
            raise ImageError(f"{without_secrets(shown(item.source))}: is gone") from error
        return copy

    def _copy_of(self, item: Item) -> Path:
        suffix = PurePosixPath(item.id).suffix or PurePosixPath(item.source).suffix
        return self._target.scratch() / f"source{suffix[:16]}"

    def _request_of(self, item: Item) -> StylizeRequest:
        return self._with(json.dumps(item.options, sort_keys=True)) if item.options else self._request

    @lru_cache(maxsize=64)  # noqa: B019  a worker lives as long as its process
    def _with(self, options: str) -> StylizeRequest:
        return self._request.with_changes(**json.loads(options))


def task_key(recipe: Mapping[str, Any], task: Task) -> str:
    """Sixteen hexadecimal digits for a recipe and whatever else of a task decides on the outputs."""
    facts = {"recipe": recipe, "task": task.about_pictures()}
    return digest(json.dumps(facts, sort_keys=True)).hex()[:16]


def _of_any_style(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of all pictures whose styles differ: any of the package's networks may paint one of them."""
    request = {name: value for name, value in recipe["request"].items() if name != "style"}
    used = {role: value for role, value in recipe["used"].items() if not role.startswith("style ")}
    if "backbone" not in used:
        used.pop("model", None)
        used |= {f"model {name}": sha256(find_model(name)) for name in (GALLERY, UNIVERSAL) if name in shipped_models()}
    return {"request": request, "used": used}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The value with these names in place of those, wherever in it."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    return {key: _renamed(one, names) for key, one in value.items()} if isinstance(value, dict) else value


@lru_cache(maxsize=64)
def _store(folder: str) -> Store:
    return Store(folder or "/")


def _facts(file: Path) -> dict[str, Any]:
    return {"output_bytes": file.stat().st_size, "output_sha256": sha256(file)}


def _kind(error: Exception) -> str:
    """What kind of error it is, for counting: ours by name, a library's too."""
    if isinstance(error, OptionError | ImpastoError):
        return type(error).__name__
    return "StoreError" if isinstance(error, OSError) else type(error).__name__


def _named(note: str, file: Path, item: Item) -> str:
    """A note with the item's name in place of the file that it was read from."""
    name, said = shown(file.name), shown(item.id)
    return f"{said}{note.removeprefix(name)}" if note.startswith(f"{name}:") else note


def _sentence(item: Item, error: Exception) -> str:
    """Why there is no painting, in one sentence that names the item."""
    said = without_secrets(shown(str(error).partition("\n")[0]))[:400]
    if isinstance(error, OptionError):  # which speaks of the option alone
        return f"{shown(item.id)}: {said}"
    if isinstance(error, ImpastoError):
        return said
    return f"{shown(item.id)}: could not be painted: {type(error).__name__}{said and ': '}{said}"
