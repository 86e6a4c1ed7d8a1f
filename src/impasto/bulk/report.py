"""What a run did, told at its end: counts, speed, errors by kind, the slowest; as JSON and as a page with samples."""

from __future__ import annotations

import base64
import html
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from heapq import heappush, heappushpop
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from impasto.bulk.stores import Store
from impasto.bulk.targets import REPORTS, FolderTarget
from impasto.bulk.work import Row, is_film
from impasto.errors import ImpastoError
from impasto.imaging.reduced import read_reduced
from impasto.imaging.sheets import Cell, contact_sheet
from impasto.imaging.writing import encode

__all__ = ["FORMAT", "Tally", "write_report"]

FORMAT: Final = 1
SAMPLES, SLOWEST, SENTENCES = 20, 10, 20
SIDE: Final = 160  # px of a sample
COLUMNS: Final = 5


class Tally:
    """Counts rows; what it keeps does not grow with them.

    Attributes:
        done, failed: items.
        found: items among those done that were there already, unnoted.
        pictures, films: items among those done.
        bytes: of paintings.
        seconds: that the run painted.
        deaths: processes or actors that ended unasked.
        twice: rows that said of an item again that it is painted.
        kinds: how many errors of each kind.
        noted: items among those done of which a sentence is told.
    """

    def __init__(self) -> None:
        self.done = self.failed = self.found = self.films = self.bytes = self.deaths = self.twice = self.noted = 0
        self.seconds = self.busy = 0.0
        self.kinds: Counter[str] = Counter()
        self._errors: dict[str, list[Row]] = {}
        self._slowest: list[tuple[float, str]] = []
        self._samples: list[Row] = []
        self._noted: list[Row] = []
        self._random = random.Random(0)

    def add(self, row: Row) -> None:
        """Count a row."""
        if not row.done:
            self.failed += 1
            self.kinds[row.kind or ""] += 1
            sentences = self._errors.setdefault(row.kind or "", [])
            if len(sentences) < SENTENCES:
                sentences.append(row)
            return
        self.done += 1
        self.found += row.found
        self.films += is_film(row.output or "")
        self.bytes += row.output_bytes or 0
        self.busy += row.seconds
        self.noted += bool(row.notes)
        if row.notes and len(self._noted) < SENTENCES:
            self._noted.append(row)
        (heappush if len(self._slowest) < SLOWEST else heappushpop)(self._slowest, (row.seconds, row.id))
        if len(self._samples) < SAMPLES:
            self._samples.append(row)
        elif (place := self._random.randrange(self.done)) < SAMPLES:
            self._samples[place] = row

    @property
    def samples(self) -> tuple[Row, ...]:
        """Some of the painted ones, each with the same chance."""
        return tuple(self._samples)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        count = self.done + self.failed
        return {
            "kind": "bulk",
            "format": FORMAT,
            "done": self.done,
            "failed": self.failed,
            "found": self.found,
            "films": self.films,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 2),
            "rate": round(count / self.seconds, 3) if self.seconds else None,
            "seconds_each": round(self.busy / self.done, 4) if self.done else None,
            "deaths": self.deaths,
            "noted_twice": self.twice,
            "errors": {
                kind: {"count": count, "first": [{"id": row.id, "error": row.error} for row in self._errors[kind]]}
                for kind, count in self.kinds.most_common()
            },
            "notes": {
                "count": self.noted,
                "first": [{"id": row.id, "notes": list(row.notes)} for row in self._noted],
            },
            "slowest": [{"id": name, "seconds": seconds} for seconds, name in sorted(self._slowest, reverse=True)],
        }


def write_report(store: Store, tally: Tally, target: FolderTarget, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the report of a run into its target, as a page and as JSON, and give the latter."""
    told = {**facts, **tally.to_json()}
    sheet = _sheet(tally, target)
    # A file's name may be no UTF-8: what cannot be written is, as JSON has it, \udcff.
    store.put(REPORTS[0], _page(told, sheet).encode("utf-8", "backslashreplace"))
    store.put(REPORTS[1], json.dumps(told, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
    return told


def _sheet(tally: Tally, target: FolderTarget) -> bytes | None:
    """A JPEG of some paintings; None where there are none to show. Of shards none is unpacked for it."""
    cells = []
    with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
        for row in tally.samples:
            name = row.output or ""
            if is_film(name):
                continue
            with suppress(ImpastoError, OSError):
                copy = Path(folder, f"sample{PurePosixPath(name).suffix}")
                target.fetch_any(name, copy)
                small = read_reduced(copy, long_side=SIDE).seen()
                cells.append(Cell(np.asarray(small, np.float32), PurePosixPath(name).name))
    if not cells:
        return None
    rows = [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)]
    return encode(contact_sheet(rows, SIDE), "jpeg", quality=85)


def _page(told: Mapping[str, Any], sheet: bytes | None) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{html.escape(str(told['target']))}</title>",
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
        "color:#222;background:#fff}table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;"
        "vertical-align:top;border-bottom:1px solid #ddd}img{max-width:100%}code{overflow-wrap:anywhere}"
        "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}</style>",
        f"<h1>{told['done']:,} painted, {told['failed']:,} failed</h1>",
        _table(_facts_of(told)),
    ]
    if sheet is not None:
        data = base64.b64encode(sheet).decode()
        parts.append(f"<h2>Samples</h2><img alt='Some of the paintings' src='data:image/jpeg;base64,{data}'>")
    if told["errors"]:
        parts.append("<h2>Errors</h2>")
        for kind, row in told["errors"].items():
            parts.append(f"<h3>{html.escape(kind)}: {row['count']:,}</h3>")
            parts.append(_table((one["id"], one["error"]) for one in row["first"]))
    if told["notes"]["count"]:
        parts.append(f"<h2>Notes: {told['notes']['count']:,}</h2>")
        parts.append(_table((row["id"], " ".join(row["notes"])) for row in told["notes"]["first"]))
    if told["slowest"]:
        parts.append("<h2>Slowest</h2>")
        parts.append(_table((row["id"], f"{row['seconds']:.2f} s") for row in told["slowest"]))
    parts.append(f"<h2>Recipe</h2><code>{html.escape(json.dumps(told['recipe'], ensure_ascii=False))}</code></html>")
    return "\n".join(parts)


def _facts_of(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "source", str(told["source"])
    yield "target", str(told["target"])
    yield "run", f"{told['run']}{', stopped before its end' if told['stopped'] else ''}"
    yield "of the source", f"{told['total']:,} pictures and films"
    yield "painted before", f"{told['done_before']:,}"
    if told["given_up"]:
        yield "given up before", f"{told['given_up']:,}"
    yield "took", f"{told['seconds']:,.1f} s" + (f", {told['rate']:,.2f} a second" if told["rate"] else "")
    if told["seconds_each"]:
        yield "each", f"{told['seconds_each']:.3f} s of one who paints, {told['bytes'] / told['done'] / 1e3:,.0f} kB"
    if told["found"]:
        yield "found", f"{told['found']:,} that were painted and not noted when a run was stopped"
    if told["deaths"]:
        yield "workers that ended", f"{told['deaths']:,}"


def _table(rows: Any) -> str:
    cells = "".join(f"<tr><th>{html.escape(str(a))}<td>{html.escape(str(b))}" for a, b in rows)
    return f"<table>{cells}</table>"
