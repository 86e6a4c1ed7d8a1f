"""Where pictures come from: folders, patterns, manifests (CSV, JSONL, Parquet), tar shards; local or anywhere else.

Items are told one after the other, and may be told again: nothing here keeps them.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import os
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from impasto.bulk.stores import Store, is_of_store, is_url, without_secrets
from impasto.bulk.work import Item, is_film
from impasto.errors import DataError, load_library, nearest
from impasto.files import shown
from impasto.imaging.naming import is_photo
from impasto.stylizer.request import StylizeRequest

__all__ = ["Source", "open_source", "split_address"]

MANIFESTS: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
OWN_COLUMNS: Final = ("path", "id")
NOT_PER_ROW: Final = ("max_memory", "settings")


class Source(ABC):
    """Pictures and films with their ids.

    Attributes:
        store: the folder that is searched with those below it; None where none is, so that what lies beside its files
            is never taken for one of them.
    """

    store: Store | None = None

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """All of them, in an order of the source's own; each call begins again.

        Raises:
            DataError: the source cannot be read, or is damaged.
        """


def open_source(where: str) -> Source:
    """The source that a path or an address means.

    A folder is searched with all below it for pictures and films; where it has none, but tar shards, for those. A
    pattern may hold ``*``, ``?``, ``[..]``, ``**`` for any folders, and braces: ``shards/{000..012}.tar``, ``{a,b}/*``.

    Raises:
        DataError: there is no such thing.
        MissingExtraError: fsspec, the store's own library or, for Parquet, pyarrow are not installed.
    """
    folder, name = split_address(where)
    store = Store(folder)
    with _telling(f"{store.url}: cannot be read"):
        if not name and store.is_folder():
            return _Folder(store)
        if not name:
            folder, slash, name = folder.rstrip("/").rpartition("/")
            store = Store(folder or slash or ".")
        if is_pattern(name):
            return _Pattern(store, name)
        is_there = store.exists(name)
    if not is_there:
        raise DataError(f"{shown(without_secrets(where))}: there is no such folder, file or pattern; check the name")
    return _of_file(store, name)


def _of_file(store: Store, name: str) -> Source:
    lower = name.lower()
    if lower.endswith(MANIFESTS):
        return _Manifest(store, name)
    if lower.endswith(".tar"):
        return _Shards(store, [name])
    if is_photo(name) or is_film(name):
        return _One(store, name)
    raise DataError(
        f"{store.shown(name)}: neither a picture, a film, a tar file nor a manifest ({', '.join(MANIFESTS)})"
    )


def split_address(where: str) -> tuple[str, str]:
    """A folder, and what follows it from the first part with a wildcard or a brace on; empty where there is none.

    >>> split_address("s3://b/photos/**/*.jpg"), split_address("photos")
    (('s3://b/photos', '**/*.jpg'), ('photos', ''))
    """
    if not is_pattern(where) or (not is_url(where) and os.path.lexists(where)):
        return where, ""
    head, parts = "", where.split("/")
    for number, part in enumerate(parts):
        if is_pattern(part):
            return head.rstrip("/") or ("/" if where.startswith("/") else "."), "/".join(parts[number:])
        head += f"{part}/"
    return where, ""


def is_pattern(text: str) -> bool:
    """Whether it holds a wildcard or a brace."""
    return re.search(r"[*?\[{]", text) is not None


def _listed(store: Store, names: Iterable[Any]) -> Iterator[str]:
    """The names, with DataError for what goes wrong on the way."""
    with _telling(f"{store.url}: cannot be searched for pictures"):
        for entry in names:
            yield entry.name


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Turns what a store raises inside into a `DataError` that begins so."""
    try:
        yield
    except Exception as error:
        if is_of_store(error):
            raise DataError(f"{what} ({_reason(error)})") from error
        raise


class _Folder(Source):
    """A folder with all below it; ids are paths below it."""

    def __init__(self, store: Store) -> None:
        self.store: Store = store

    def items(self) -> Iterator[Item]:
        shards, found = [], False
        for name in _listed(self.store, self.store.files()):
            if is_photo(name) or is_film(name):
                found = True
                yield Item(name, address(self.store, name))
            elif name.lower().endswith(".tar") and not found:
                shards.append(name)
        if not found:
            yield from _Shards(self.store, sorted(shards)).items()


class _Pattern(Source):
    """Files that a pattern stands for; ids are paths below what of it exists as it is written."""

    def __init__(self, store: Store, pattern: str) -> None:
        self._where = store
        self._patterns = [one.split("/") for one in _without_braces(pattern)]
        deep = any("**" in one for one in self._patterns)
        self._depth = None if deep else max(map(len, self._patterns))
        self.store = None if self._depth == 1 else store

    def items(self) -> Iterator[Item]:
        shards = []
        for name in _listed(self._where, self._where.files(depth=self._depth)):
            parts = name.split("/")
            if any(_matches(parts, pattern) for pattern in self._patterns):
                if is_photo(name) or is_film(name):
                    yield Item(name, address(self._where, name))
                elif name.lower().endswith(".tar"):
                    shards.append(name)
        yield from _Shards(self._where, sorted(shards)).items()


class _One(Source):
    """A single picture or film."""

    def __init__(self, store: Store, name: str) -> None:
        self._where, self._name = store, name

    def items(self) -> Iterator[Item]:
        yield Item(self._name, address(self._where, self._name))


class _Shards(Source):
    """Tar files in WebDataset's layout; ids are shard and name: ``000/cat.jpg``."""

    def __init__(self, store: Store, names: Sequence[str]) -> None:
        self._where, self._names = store, names

    def items(self) -> Iterator[Item]:
        for name in self._names:
            yield from self._members(name)

    def _members(self, name: str) -> Iterator[Item]:
        """What is in a shard; a damaged one is an item too, with its fault, after what comes before the damage."""
        store, shard = self._where, name.removesuffix(".tar").removesuffix(".TAR")
        try:
            with (
                _telling(f"{store.shown(name)}: cannot be read"),
                store.open(name) as file,
                tarfile.open(fileobj=file, mode="r:") as tar,
            ):
                for member in tar:
                    path = member.name.removeprefix("./")
                    if member.isreg() and not member.issparse() and (is_photo(path) or is_film(path)):
                        yield Item(f"{shard}/{path}", address(store, name), offset=member.offset_data, size=member.size)
                    tar.members.clear()  # type: ignore[attr-defined]  # or it would keep them all
        except (tarfile.TarError, EOFError) as error:
            said = f"{store.shown(name)}: cannot be read as a plain tar file, or not to its end ({_reason(error)})"
            yield Item(name, address(store, name), fault=said)


class _Manifest(Source):
    """Rows with a path, perhaps an id, and any fields of the request for this one alone."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name, self._label = store, name, store.shown(name)
        self._folder = address(store, name)[: -len(name.rpartition("/")[2])]

    def items(self) -> Iterator[Item]:
        try:
            with _telling(f"{self._label}: cannot be read"):
                for number, row in enumerate(self._rows(), 1):
                    yield self._item(number, {key: value for key, value in row.items() if value not in (None, "")})
        except (ValueError, csv.Error) as error:
            raise DataError(f"{self._label}: cannot be read ({_reason(error)})") from error

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        lower = self._name.lower()
        if lower.endswith(".parquet"):
            yield from self._parquet_rows()
            return
        with self._store.open(self._name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            if lower.endswith((".csv", ".tsv")):
                reader = csv.DictReader(text, delimiter="\t" if lower.endswith(".tsv") else ",", strict=True)
                self._check_columns(reader.fieldnames or ())
                yield from reader
                return
            for number, line in enumerate(text, 1):
                if line.strip():
                    yield self._line(number, line)

    def _line(self, number: int, line: str) -> Mapping[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self._label}: line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{self._label}: line {number} is no object such as " + '{"path": "a.jpg"}')
        return row

    def _parquet_rows(self) -> Iterator[Mapping[str, Any]]:
        pq: Any = load_library("pyarrow.parquet", "bulk", "a manifest in Parquet")
        with self._store.open(self._name) as file, pq.ParquetFile(file) as table:
            self._check_columns(table.schema_arrow.names)
            for batch in table.iter_batches(4096, use_threads=False):
                yield from batch.to_pylist()

    def _item(self, number: int, row: dict[str, Any]) -> Item:
        """The item of a row, which is used up."""
        if None in row:
            raise DataError(f"{self._label}: row {number} has more values than there are columns")
        if wrong := _wrong_column(tuple(row)):
            raise DataError(f"{self._label}: row {number}: {wrong}")
        path, name = str(row.pop("path")), row.pop("id", None)
        elsewhere = path.startswith("/") or is_url(path)
        if name is None:
            name = re.sub(r"^[a-zA-Z0-9+.:-]+://", "", without_secrets(path)).lstrip("/") if elsewhere else path
        return Item(str(name), path if elsewhere else self._folder + path, row)

    def _check_columns(self, names: Sequence[str]) -> None:
        if wrong := _wrong_column(tuple(names)):
            raise DataError(f"{self._label}: {wrong}")


@lru_cache(maxsize=256)
def _wrong_column(names: tuple[str, ...]) -> str | None:
    """What is wrong with a manifest's columns, if anything."""
    if "path" not in names:
        return f"has no `path`, but {', '.join(map(repr, names)) or 'nothing'}"
    known = [*OWN_COLUMNS, *(name for name in StylizeRequest.options if name not in NOT_PER_ROW)]
    for name in names:
        if name not in known:
            return f"`{name}` is no option of a picture{nearest(name, known)}; leave the column out"
    return None


def address(store: Store, name: str) -> str:
    """A file's path or address."""
    return f"{store.root}/{name}" if store.is_local else f"{store.url}/{name}"


def _without_braces(pattern: str) -> list[str]:
    """The patterns that one with braces stands for: ``{000..012}``, ``{a,b}``."""
    if span := re.search(r"\{(\d+)\.\.(\d+)\}", pattern):
        first, last = span.groups()
        choices: Iterable[str] = (f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1))
    elif span := re.search(r"\{([^{}]*,[^{}]*)\}", pattern):
        choices = span.group(1).split(",")
    else:
        return [pattern]
    parts = (_without_braces(pattern[: span.start()] + one + pattern[span.end() :]) for one in choices)
    return list(chain.from_iterable(parts))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path are as a pattern says; ``**`` stands for any folders, none included."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(_matches(parts[skipped:], rest) for skipped in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _reason(error: BaseException) -> str:
    return without_secrets(shown(str(getattr(error, "strerror", None) or error)))[:200]
