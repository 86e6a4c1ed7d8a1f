"""What has been done: rows that only ever are added, in shards by worker, which are put together into Parquet.

In the target's folder ``.impasto`` lie

- ``job.json``: what is asked of all pictures, with its recipe;
- ``rows/RUN-WORKER*.jsonl``: a row for each item, in the order in which they were finished. Where a store lets files
  grow, a shard grows line by line; elsewhere a worker puts a new one every few seconds;
- ``done/TIME-ID.parquet``: rows of shards that were put together. Each names the files that it stands for, so that
  nothing counts twice where whoever put them together was stopped before removing these.

Parquet holds UTF-8 alone, and names of files are any bytes: there a zero character and four hexadecimal digits stand
for what is none.

A line that was cut off counts for nothing: what it tells of is found again by its output. Of several rows of one id the
latest counts.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from impasto.bulk.stores import Store
from impasto.bulk.work import Row, digest
from impasto.errors import DataError, load_library

__all__ = ["HOME", "Ledger", "RowWriter", "Rows", "compact", "load_ledger", "load_outputs", "noted_by"]

HOME: Final = ".impasto"
ROWS, DONE = f"{HOME}/rows", f"{HOME}/done"
AT_ONCE: Final = 20_000  # rows in memory while files are put together
MOST_FILES: Final = 12  # of Parquet, from which they become one
FLUSH_ROWS, FLUSH_SECONDS = 200, 3.0  # in a store whose files do not grow
Words = NDArray[np.uint64]
_COLUMNS: Final = tuple(field.name for field in fields(Row))
_NEEDED_VALUES: Final = frozenset({"id", "recipe", "time", "worker", "source"})
_INTEGERS: Final = ("source_bytes", "output_bytes")


class RowWriter:
    """A worker's own shard of the manifest.

    Args:
        target: where the manifest lies.
        name: run and worker; no two workers have the same.
    """

    def __init__(self, target: Store, name: str) -> None:
        self._target, self._name, self._number = target, name, 0
        self._waiting: list[str] = []
        self._flushed = time.monotonic()

    def add(self, row: Row) -> None:
        """Note it; where files do not grow it may take some seconds, or `flush`. TargetError if it cannot be noted."""
        line = row.to_json() + "\n"
        if self._target.is_local:
            self._target.append(f"{ROWS}/{self._name}.jsonl", line.encode("utf-8", "surrogatepass"))
            return
        self._waiting.append(line)
        if len(self._waiting) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    @property
    def waiting(self) -> int:
        """How many rows are not yet in the store."""
        return len(self._waiting)

    def flush(self) -> None:
        """Put what waits into the store."""
        if self._waiting:
            data = "".join(self._waiting).encode("utf-8", "surrogatepass")
            self._target.put(f"{ROWS}/{self._name}-{self._number:06d}.jsonl", data)
            self._waiting.clear()
            self._number += 1
        self._flushed = time.monotonic()


class Rows:
    """All rows of a manifest, as they lie now: what each file holds, and which files count.

    Args:
        target: where the manifest lies.
    """

    def __init__(self, target: Store) -> None:
        self.target = target
        parquet = sorted(entry.name for entry in target.files(DONE, hidden=True) if entry.name.endswith(".parquet"))
        replaced = {name for one in parquet for name in _stands_for(target, one)}
        self.parquet = [name for name in parquet if name not in replaced]
        names = sorted(entry.name for entry in target.files(ROWS, hidden=True) if entry.name.endswith(".jsonl"))
        self.shards = [name for name in names if name not in replaced]
        self.replaced = [name for name in (*parquet, *names) if name in replaced]

    def of_shards(self) -> Iterator[Row]:
        """The rows that are not yet put together."""
        for name in self.shards:
            yield from rows_of(self.target, name)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """What was put together, as record batches of pyarrow."""
        pq: Any = load_library("pyarrow.parquet", "bulk", "the manifest")
        for name in self.parquet:
            with self.target.open(name) as file, pq.ParquetFile(file) as table:
                yield from table.iter_batches(AT_ONCE, columns=columns, use_threads=False)

    def __iter__(self) -> Iterator[Row]:
        for batch in self.tables():
            for values in batch.to_pylist():
                known = {name: value for name, value in values.items() if name in _COLUMNS and value is not None}
                yield Row.of({name: _told(value) for name, value in known.items()})
        yield from self.of_shards()


def noted_by(target: Store, writer: str) -> dict[str, Row]:
    """What a worker noted, or all of a run, by id."""
    names = [entry.name for entry in target.files(ROWS, hidden=True)]
    mine = [name for name in names if name.startswith((f"{ROWS}/{writer}-", f"{ROWS}/{writer}."))]
    return {row.id: row for name in sorted(mine) for row in rows_of(target, name)}


def rows_of(target: Store, name: str) -> Iterator[Row]:
    """The rows of a shard; one that was cut off, or damaged, is none."""
    for values in _values_of(target, name):
        with suppress(TypeError):
            yield Row.of(values)


def _values_of(target: Store, name: str) -> Iterator[dict[str, Any]]:
    """What the lines of a shard say, as far as they are whole."""
    try:
        file = target.open(name)
    except FileNotFoundError:
        return
    with file:
        for line in file:
            with suppress(ValueError):
                values = json.loads(line)
                if isinstance(values, dict) and values.keys() >= _NEEDED_VALUES:
                    yield values


class State(NamedTuple):
    """What a ledger knows of items, an array for each.

    Attributes:
        done: painted by their recipe.
        failures: how often in a row they could not be, by their recipe.
        other: noted with another recipe.
    """

    done: NDArray[np.bool_]
    failures: NDArray[np.int64]
    other: NDArray[np.bool_]


class Ledger:
    """What is known of every id: 25 bytes for each, whatever their length.

    Ids are told apart by 16 bytes of BLAKE2b. Two that share the first eight, which among a hundred million happens
    with a chance of one in 3,700, lose the older one's row: it is painted once more, and not lost.
    """

    def __init__(self, columns: _Columns) -> None:
        high, low, recipes, times, failed = columns.arrays()
        order = np.lexsort((times, high))
        high, low, recipes, failed = high[order], low[order], recipes[order], failed[order]
        first = np.flatnonzero(np.concatenate([[True], high[1:] != high[:-1]])) if len(high) else np.empty(0, np.int64)
        last = np.append(first[1:], len(high))[: len(first)] - 1
        self._high, self._low, self._recipes = high[last], low[last], recipes[last]
        self._failures = _in_a_row(failed, recipes, first, last)

    def __len__(self) -> int:
        return len(self._high)

    @property
    def done(self) -> int:
        """How many are painted, by whatever recipe."""
        return int((self._failures == 0).sum())

    @property
    def failed(self) -> int:
        """How many are not."""
        return len(self) - self.done

    def look_up(self, ids: bytes, recipes: Sequence[str]) -> State:
        """What is known of ids, given by their digests one after the other, that are to be painted by these recipes."""
        high, low = _split(ids)
        wanted = np.fromiter((int(key, 16) for key in recipes), np.uint64, len(recipes))
        if not len(self):
            nothing = np.zeros(len(recipes), bool)
            return State(nothing, np.zeros(len(recipes), np.int64), nothing)
        place = np.searchsorted(self._high, high).clip(0, len(self) - 1)
        known = (self._high[place] == high) & (self._low[place] == low)
        same = known & (self._recipes[place] == wanted)
        failures = np.where(same, self._failures[place], 0).astype(np.int64)
        return State(same & (failures == 0), failures, known & ~same)


class _Columns:
    """What a ledger is made of, gathered row by row or batch by batch."""

    def __init__(self) -> None:
        self._parts: list[tuple[Words, Words, Words, NDArray[np.float64], NDArray[np.bool_]]] = []
        self._digests = bytearray()
        self._recipes: list[int] = []
        self._times: list[float] = []
        self._failed: list[bool] = []

    def add(self, values: Mapping[str, Any]) -> None:
        """A row's values."""
        self._digests += digest(values["id"])
        self._recipes.append(int(values["recipe"], 16))
        self._times.append(values["time"])
        self._failed.append("kind" in values)
        if len(self._times) >= AT_ONCE:
            self._close()

    def add_batch(self, batch: Any) -> None:
        """A record batch with `digest`, `key`, `time` and `kind`."""
        high, low = _split(b"".join(batch.column("digest").to_pylist()))
        self._parts.append(
            (
                high,
                low,
                batch.column("key").to_numpy(zero_copy_only=False).astype(np.uint64),
                batch.column("time").to_numpy(zero_copy_only=False),
                np.asarray(batch.column("kind").is_valid()),
            )
        )

    def _close(self) -> None:
        high, low = _split(bytes(self._digests))
        recipes, times = np.array(self._recipes, np.uint64), np.array(self._times, np.float64)
        self._parts.append((high, low, recipes, times, np.array(self._failed, bool)))
        for gathered in (self._digests, self._recipes, self._times, self._failed):
            gathered.clear()

    def arrays(self) -> tuple[Words, Words, Words, NDArray[np.float64], NDArray[np.bool_]]:
        self._close()
        columns = tuple(np.concatenate(column) for column in zip(*self._parts, strict=True))
        self._parts.clear()
        return columns  # type: ignore[return-value]


def load_ledger(rows: Rows) -> Ledger:
    """What all rows of a manifest say."""
    columns = _Columns()
    for batch in rows.tables(["digest", "key", "time", "kind"]):
        columns.add_batch(batch)
    for name in rows.shards:
        for values in _values_of(rows.target, name):
            columns.add(values)
    return Ledger(columns)


def compact(target: Store) -> int:
    """Put the shards of a manifest together into Parquet, and many files of Parquet into one.

    Gives how many rows said of an id what another had said: that it is painted by the same recipe. The first is kept.
    Only for whoever holds the target's lock, while nobody paints. It may be stopped at any moment.
    """
    rows = Rows(target)
    for name in rows.replaced:  # whoever put them together was stopped here
        target.delete(name)
    merged = rows.parquet if len(rows.parquet) >= MOST_FILES else []
    if not rows.shards and not merged:
        return 0
    rows.parquet = merged
    twice = _write_parquet(target, rows)
    for name in (*rows.parquet, *rows.shards):
        target.delete(name)
    return twice


def _write_parquet(target: Store, rows: Rows) -> int:
    pa: Any = load_library("pyarrow", "bulk", "the manifest")
    pq: Any = load_library("pyarrow.parquet", "bulk", "the manifest")
    schema = _schema(pa).with_metadata({"impasto": json.dumps([*rows.parquet, *rows.shards])})
    once = _Once()
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        path = Path(folder, "rows.parquet")
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            new = filter(once.is_new, rows)
            while group := list(islice(new, AT_ONCE)):
                writer.write_table(
                    pa.Table.from_pylist([_values(row) for row in group], schema), row_group_size=AT_ONCE
                )
        target.put(f"{DONE}/{time.time_ns():020d}-{os.urandom(4).hex()}.parquet", path.read_bytes())
    return once.twice


class _Once:
    """Tells rows that say something new from those that say again of an id that it is painted by the same recipe."""

    def __init__(self) -> None:
        self.twice = 0
        self._seen = set[bytes]()

    def is_new(self, row: Row) -> bool:
        key = digest(row.id) + bytes.fromhex(row.recipe)
        if not row.done:
            self._seen.discard(key)  # painted again after this, it counts again
            return True
        if key in self._seen:
            self.twice += 1
            return False
        self._seen.add(key)
        return True


def _values(row: Row) -> dict[str, Any]:
    """As Parquet has it."""
    return {
        **{column: _writable(getattr(row, column)) for column in _COLUMNS},
        "digest": digest(row.id),
        "key": int(row.recipe, 16),
    }


def _writable(value: Any) -> Any:
    """The same as Parquet can have it."""
    if isinstance(value, tuple):
        return [_writable(one) for one in value]
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return value
    return re.sub("[\0\ud800-\udfff]", lambda found: f"\0{ord(found[0]):04x}", value)


def _told(value: Any) -> Any:
    """What `_writable` was given."""
    if isinstance(value, list):
        return [_told(one) for one in value]
    if not isinstance(value, str) or "\0" not in value:
        return value
    return re.sub("\0([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), value)


def _schema(pa: Any) -> Any:
    kinds = {"time": pa.float64(), "seconds": pa.float32(), "found": pa.bool_(), "notes": pa.list_(pa.string())}
    kinds |= dict.fromkeys(_INTEGERS, pa.int64())
    columns = [pa.field("digest", pa.binary(16)), pa.field("key", pa.uint64())]
    return pa.schema(columns + [pa.field(name, kinds.get(name, pa.string())) for name in _COLUMNS])


def _stands_for(target: Store, name: str) -> list[str]:
    """The files that one of Parquet was put together from."""
    pq: Any = load_library("pyarrow.parquet", "bulk", "the manifest")
    try:
        with target.open(name) as file, pq.ParquetFile(file) as table:
            return [str(one) for one in json.loads(table.schema_arrow.metadata[b"impasto"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{target.shown(name)}: this part of the manifest is damaged ({error}); remove it: the next run finds "
            "what is painted by its recipe"
        ) from error


def _split(digests: bytes) -> tuple[Words, Words]:
    words = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    return words[:, 0].copy(), words[:, 1].copy()


def _in_a_row(
    failed: NDArray[np.bool_], recipes: Words, first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """How many of each id's latest rows, of one recipe, are failures, up to 255; rows are sorted by id and time."""
    found = np.zeros(len(last), np.uint8)
    open_ones, at = np.arange(len(last)), last.copy()
    for _ in range(255):
        going_on = (at >= first[open_ones]) & failed[at.clip(0)] & (recipes[at.clip(0)] == recipes[last[open_ones]])
        open_ones, at = open_ones[going_on], at[going_on] - 1
        if not len(open_ones):
            break
        found[open_ones] += 1
    return found


def load_outputs(rows: Iterable[Row]) -> dict[str, Row]:
    """The latest row of each id that has an output, by the output's name."""
    latest: dict[str, Row] = {}
    for row in rows:
        if row.id not in latest or row.time >= latest[row.id].time:
            latest[row.id] = row
    return {row.output: row for row in latest.values() if row.output is not None}
