"""What travels between the one who hands out work and those who paint: tasks, items, rows. All of it is plain data."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

from impasto.errors import DataError, OptionError, OutputError
from impasto.imaging.formats import find_format
from impasto.stylizer.written import check_written

__all__ = ["FILMS", "Item", "Layout", "Row", "Task", "digest", "is_film", "recipe_key", "run_name"]

FORMAT: Final = 1
FILMS: Final = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".mpg", ".mpeg", ".ts", ".wmv")
FILMS_OUT: Final = (".mp4", ".mov", ".mkv", ".webm")  # in which a film keeps its suffix; others become .mp4
Layout = Literal["folders", "tar"]


@dataclass(frozen=True)
class Task:
    """What is asked of every picture of a run, the same for all who paint.

    Attributes:
        request: `StylizeRequest.to_json` of what holds for all.
        output: `OutputOptions` that were given.
        target: address of the target.
        layout: whether outputs lie in folders as their sources do, or in tar shards.
        format: suffix of all painted pictures without its dot; None keeps the source's where it can be written.
        recipe: whether paintings carry how they were made.
        memory: bytes that each worker may need at most; None is what is free.
        threads: that each worker computes with.
        shard_bytes: of painted pictures, from which they become one tar shard.
        run: the name of the run.
        own_styles: whether every item has a style of its own; the request's is then one of them, to begin with.
        files: of the request's files, where they lie in the target for machines that have none of their own.
        key: what `worker.task_key` must give for whoever paints; None where that is not known yet.
    """

    request: Mapping[str, Any]
    output: Mapping[str, Any]
    target: str
    layout: Layout = "folders"
    format: str | None = None
    recipe: bool = True
    memory: int | None = None
    threads: int | None = None
    shard_bytes: int = 256_000_000
    run: str = ""
    own_styles: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None

    def __post_init__(self) -> None:
        if self.format is not None:
            try:
                check_written(self.output, [f"a.{find_format('', self.format)}"])
            except OutputError as error:
                raise OptionError(str(error), "format") from error

    def about_pictures(self) -> dict[str, Any]:
        """What of the task decides on the bytes and names of the outputs, beside the request."""
        return {"output": dict(self.output), "layout": self.layout, "format": self.format, "recipe": self.recipe}


@dataclass(frozen=True)
class Item:
    """A picture or a film to be painted.

    Attributes:
        id: what it is known by for ever: its path below the source, or what a manifest says.
        source: the file's address, or that of the tar shard it lies in.
        options: fields of the request for this one alone.
        offset, size: where it lies in a tar shard.
        again: whether it was noted before, so that an output of its name that is there already does not count.
        fault: why it cannot be painted, where the source tells: a tar shard that ends too early.
    """

    id: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    offset: int | None = None
    size: int | None = None
    again: bool = False
    fault: str | None = None

    @property
    def is_film(self) -> bool:
        """Whether it is a film."""
        return is_film(self.id) or is_film(self.source)

    def output_name(self, task: Task) -> str:
        """Where its painting goes below the target. DataError for an id that no file can have."""
        folder, slash, last = self.id.rpartition("/")
        if not last or f"/{self.id}".startswith(("//", "/.impasto")) or "/../" in f"/{self.id}/" or "\0" in self.id:
            raise DataError(f"id {self.id!r}: cannot be a file's name below the target; give another `id`")
        stem, suffix = _parted(last)
        if task.layout == "tar":
            stem = stem.replace(".", "_")  # WebDataset takes what follows the first dot for the kind of file
        suffix = suffix or _parted(self.source)[1]
        return f"{folder}{slash}{stem}{_suffix_out(suffix, task.format, film=self.is_film)}"

    def to_json(self) -> str:
        """As a line of text."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Item:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Row:
    """What the manifest notes of one item.

    Attributes:
        id: the item's.
        recipe: 16 hexadecimal digits for the recipe, the item's own options included.
        time: when it was noted, seconds since 1970.
        worker: who noted it: run and worker.
        source: the file's address.
        source_bytes, source_sha256: of the source's file; None where it could not be read.
        output: its path below the target; None where there is no painting.
        output_bytes, output_sha256: of the painting's file.
        seconds: that it took, from reading to writing.
        kind: of the error; None where it is painted.
        error: why there is no painting, in a sentence.
        found: whether the painting was there already, painted by one who was stopped before noting it.
        notes: sentences about the painting.
    """

    id: str
    recipe: str
    time: float
    worker: str
    source: str
    source_bytes: int | None = None
    source_sha256: str | None = None
    output: str | None = None
    output_bytes: int | None = None
    output_sha256: str | None = None
    seconds: float = 0.0
    kind: str | None = None
    error: str | None = None
    found: bool = False
    notes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether it is painted."""
        return self.kind is None

    def to_json(self) -> str:
        """As a line of text; what is not there is left out."""
        values = {name: value for name, value in asdict(self).items() if value not in (None, False, ())}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Row:
        """What `to_json` wrote. ValueError, TypeError for anything else."""
        return cls.of(json.loads(text))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Row:
        """The row with these values, as JSON has them. TypeError if one is missing, or is none of a row."""
        return cls(**{**values, "notes": tuple(values.get("notes", ()))})


def digest(text: str) -> bytes:
    """Sixteen bytes that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def recipe_key(task_key: str, options: Mapping[str, Any]) -> str:
    """Sixteen digits for a task's recipe together with an item's own options; the task's own where it has none."""
    if not options:
        return task_key
    return digest(task_key + json.dumps(options, sort_keys=True, default=str)).hex()[:16]


def run_name() -> str:
    """A name for a run, as no other has; later ones are sorted after earlier ones."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def is_film(name: str) -> bool:
    """Whether a file is a film, by its name."""
    return name.lower().endswith(FILMS)


def _parted(name: str) -> tuple[str, str]:
    """What comes before the last dot of a name, and that dot with what follows it; a first letter is none."""
    place = name.rfind(".")
    return (name[:place], name[place:]) if place > name.rfind("/") + 1 else (name, "")


@lru_cache(maxsize=256)
def _suffix_out(suffix: str, wanted: str | None, *, film: bool) -> str:
    if film:
        return suffix if suffix.lower() in FILMS_OUT else ".mp4"
    if wanted is not None:
        return f".{wanted.lower().lstrip('.')}"
    try:
        find_format(f"a{suffix}")
    except OutputError:
        return ".png"
    return suffix
