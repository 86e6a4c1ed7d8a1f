"""Batches of photos in a seeded order that can be taken up at any step, decoded by several processes."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from impasto.errors import DataError, ImpastoError, OptionError, OutputError
from impasto.training.crops import Crop, cut
from impasto.training.photos import PhotoSource, open_photos
from impasto.training.workers import begin, start_method, start_worker

__all__ = [
    "Bad",
    "BadPhotos",
    "BatchPlan",
    "Crop",
    "PhotoSource",
    "open_photos",
    "photo_batches",
    "photos_of",
    "steps_per_epoch",
    "with_removed",
]

MAX_BAD = 0.05
LOOKED_THROUGH = 200  # photos of a collection that is looked through before too many bad ones end the training
TOLD = 4  # bad photos by name in a message
ORDER, CROP = 0, 1  # keep the random numbers of orders and of crops apart


class Place(NamedTuple):
    """One photo in one epoch."""

    epoch: int
    photo: int


@dataclass(frozen=True)
class BatchPlan:
    """Which photos make up which batch: a pure function of the step, so that any step can be taken up again.

    All epochs, each a permutation of the photos, form one endless row; every step takes the next
    `batch_size` x `world_size` of it, and rank r its r-th part. A batch may thus reach into the next epoch.
    """

    photos: int
    batch_size: int  # per process
    seed: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name in ("photos", "batch_size", "world_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name.replace('_', ' ')} is {getattr(self, name)}, need at least 1")
        if not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank is {self.rank}, need one from 0 to {self.world_size - 1}")
        if self.seed < 0:
            raise OptionError(f"the seed is {self.seed}, need 0 or more")

    def places(self, step: int) -> list[Place]:
        """The photos of this process at `step` (from 0), in their order."""
        first = (step * self.world_size + self.rank) * self.batch_size
        row = (divmod(position, self.photos) for position in range(first, first + self.batch_size))
        return [Place(epoch, int(_order(self.seed, epoch, self.photos)[at])) for epoch, at in row]


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, photos: int) -> NDArray[np.int64]:
    return np.random.default_rng((ORDER, seed, epoch)).permutation(photos)


def steps_per_epoch(photos: int, batch_size: int, world_size: int = 1) -> int:
    """The steps after which every photo was seen at least once."""
    return -(-photos // (batch_size * world_size))


class Bad(NamedTuple):
    """A photo that could not be read."""

    name: str
    reason: str
    number: int | None = None  # None in the lists of earlier versions


class BadPhotos:
    """Photos of a source that could not be read: counted, listed in a file, and too many once they are more than 5 %.

    The file has a line per photo (name, tab, reason, tab, number), is appended to at once, and is taken up again by a
    resumed run and shared by the processes of one run. Those that are gone from the source no longer count.
    """

    def __init__(self, source: PhotoSource, path: Path | None = None) -> None:
        self.total, self.what, self.path = len(source) - len(source.gone), source.what, path
        self._gone = source.gone
        self._listed: dict[str, Bad] = {}
        self._reread()

    def __len__(self) -> int:
        return len(self._counted())

    def __iter__(self) -> Iterator[str]:
        """All names, with those that are gone."""
        return iter(self._listed)

    def add(self, bad: Bad) -> None:
        """Enter a photo, once however often it is met; OutputError if the file cannot be written."""
        bad = Bad(_one_line(bad.name), _one_line(bad.reason), bad.number)
        if bad.name not in self._listed:
            self._reread()
        if bad.name not in self._listed:
            self._listed[bad.name] = bad
            self._append(f"{bad.name}\t{bad.reason}\t{'' if bad.number is None else bad.number}\n")

    def too_many(self) -> bool:
        """Whether they are more than 5 %."""
        return len(self) > MAX_BAD * self.total

    def error(self, *, all_known: bool) -> DataError:
        """What is wrong and what is to be done; `all_known` says that no photo was left unlooked at."""
        bad = self._counted()
        named = "; ".join(f"{one.name}: {one.reason}" for one in bad[:TOLD])
        more = f"; and {len(bad) - TOLD} more" if len(bad) > TOLD else ""
        rest = "" if all_known else "; the others were not all looked at"
        go_on = (
            f"; {self.path} lists them: keep it if you remove some, delete it if you mend all, and go on with "
            f"`impasto train --resume {self.path.parent}`"
            if self.path
            else ""
        )
        return DataError(
            f"{len(self)} of {self.total} {self.what} cannot be read, need at most {MAX_BAD:.0%} of them "
            f"bad: mend or remove them ({named}{more}{rest}){go_on}"
        )

    def _counted(self) -> list[Bad]:
        """Those that are there, each once, though it was listed by another path before the photos were moved."""
        there = [one for one in self._listed.values() if one.number not in self._gone]
        return list({one.name if one.number is None else one.number: one for one in there}.values())

    def _reread(self) -> None:
        if self.path:
            self._listed |= {bad.name: bad for bad in _read_bad(self.path)}

    def _append(self, line: str) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="replace") as handle:
                handle.write(line)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _read_bad(path: Path) -> list[Bad]:
    if not path.exists():
        return []
    rows = [line.split("\t") for line in path.read_text("utf-8", "replace").splitlines()]
    return [
        Bad(name, reason, int(number[0]) if number and number[0].isdecimal() else None)
        for name, reason, *number in (row for row in rows if len(row) > 1)
    ]


def with_removed(source: PhotoSource, listed: Path) -> PhotoSource:
    """The photos of a run that goes on, with their old numbers, though some that it listed as bad were removed.

    So the others come in the order they had. Photos may lie in another folder than when they were listed.
    """
    names = [_one_line(source.name(number)) for number in range(len(source))]
    here, gone = set(names), dict[int, str]()
    known = {bad.number: bad.name for bad in _read_bad(listed) if bad.number is not None}
    for number, name in sorted(known.items()):
        now = number - len(gone)
        moved = now < len(names) and Path(names[now]).name == Path(name).name
        if name not in here and not moved and now <= len(names):
            gone[number] = name
    return source.with_gone(gone) if gone else source


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


def photos_of(source: PhotoSource, plan: BatchPlan, step: int, bad: Collection[str] = ()) -> list[str]:
    """Names of the photos of a step, those in `bad` replaced by the next that are not, as `photo_batches` does it."""
    names = []
    for place in plan.places(step):
        following = (source.name((place.photo + offset) % len(source)) for offset in range(len(source)))
        names.append(next((name for name in following if name not in bad), source.name(place.photo)))
    return names


class _Batch(NamedTuple):
    pixels: Tensor | None  # (B, S, S, 3) uint8; None where too many photos in a row are bad
    bad: list[Bad]


class _Steps(Dataset[_Batch]):
    """Batches by step. Bytes, not floats, travel from the workers: a quarter of the memory traffic."""

    def __init__(self, source: PhotoSource, plan: BatchPlan, size: int, crop: Crop) -> None:
        self.source, self.plan, self.size, self.crop = source, plan, size, crop
        self._bad: dict[int, str] = {}  # so that a bad photo is tried once per worker

    def __getitem__(self, step: int) -> _Batch:
        batch = np.empty((self.plan.batch_size, self.size, self.size, 3), np.uint8)
        met: dict[int, str] = {}
        for i, place in enumerate(self.plan.places(step)):
            square = self._square(place, met)
            if square is None:
                return _Batch(None, self._named(met))
            batch[i] = square
        return _Batch(torch.from_numpy(batch), self._named(met))

    def _named(self, met: dict[int, str]) -> list[Bad]:
        return [Bad(self.source.name(index), reason, index) for index, reason in met.items()]

    def look_through(self) -> list[Bad]:
        """All photos that cannot be read; it takes as long as reading all."""
        met: dict[int, str] = {}
        for index in range(len(self.source)):
            if index not in self.source.gone:
                self._cut(Place(0, index), index, met)
        return self._named(met)

    def _square(self, place: Place, met: dict[int, str]) -> NDArray[np.uint8] | None:
        """The photo's crop, or that of the next good photo: chosen by the photos alone, never by chance."""
        gone = self.source.gone
        for offset in range(int(MAX_BAD * len(self.source)) + 1 + len(gone)):
            index = (place.photo + offset) % len(self.source)
            if index not in gone and (square := self._cut(place, index, met)) is not None:
                return square
        return None

    def _cut(self, place: Place, index: int, met: dict[int, str]) -> NDArray[np.uint8] | None:
        """The crop that belongs to a place, from photo `index`; None where it is bad, which is entered in `met`."""
        if index not in self._bad:
            name = self.source.name(index)
            rng = np.random.default_rng((CROP, self.plan.seed, *place))
            try:
                return cut(self.source.read(index), name, self.size, self.crop, rng)
            except ImpastoError as error:  # "stream" is what a picture without a file is called
                self._bad[index] = str(error).removeprefix(f"{name}: ").removeprefix("stream: ")
        met[index] = self._bad[index]
        return None


def photo_batches(
    source: PhotoSource,
    *,
    batch_size: int,
    size: int,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    crop: Crop | None = None,
    bad: BadPhotos | None = None,
    device: torch.device | str = "cpu",
) -> Generator[Tensor, None, None]:
    """Batches without end, from `start_step` on: (batch_size, 3, size, size) RGB float32 in [0, 1], channels-last.

    What a step yields depends on the photos, `seed`, `crop` and the sizes alone: not on `workers`, on where
    one starts, or (taking all ranks together) on `world_size`. A photo that cannot be read is entered in
    `bad` and replaced by the next that can; one that is gone from the source is replaced as well.

    `workers` processes decode ahead; with 0 it is done here. They are started without fork, so that a script
    that asks for them needs the usual ``if __name__ == "__main__"``. They end when the iterator is closed
    or collected, and when this process dies.

    Raises:
        OptionError: a number out of range, at once.
        DataError: more than 5 % of the photos are bad, or a worker died; while iterating.
    """
    plan = BatchPlan(len(source), batch_size, seed, rank, world_size)
    for name, value, least in (("size", size, 32), ("start step", start_step, 0), ("workers", workers, 0)):
        if value < least:
            raise OptionError(f"{name} is {value}, need at least {least}")
    steps = _Steps(source, plan, size, crop or Crop())
    return _iterate(_loader(steps, start_step, workers), steps, BadPhotos(source) if bad is None else bad, device)


def _loader(steps: _Steps, start_step: int, workers: int) -> DataLoader[_Batch]:
    parallel: dict[str, Any] = {}
    if workers:
        parallel = {"multiprocessing_context": start_method(__name__), "worker_init_fn": start_worker}
    return DataLoader(
        steps,
        batch_size=None,  # the data set makes whole batches itself
        sampler=range(start_step, sys.maxsize),
        collate_fn=_same,
        num_workers=workers,
        generator=torch.Generator(),  # or else it would draw from the global one, which is the trainer's
        **parallel,
    )


def _enter(met: Iterable[Bad], bad: BadPhotos) -> None:
    for one in met:
        bad.add(one)


def _same(batch: Any) -> Any:
    return batch


def _iterate(
    loader: DataLoader[_Batch], steps: _Steps, bad: BadPhotos, device: torch.device | str
) -> Generator[Tensor, None, None]:
    try:
        first, others = begin(loader)
        for pixels, met in itertools.chain([first], others):
            _enter(met, bad)
            if met and bad.too_many():
                if all_known := len(steps.source) <= LOOKED_THROUGH:
                    _enter(steps.look_through(), bad)
                raise bad.error(all_known=all_known)
            if pixels is None:
                raise DataError(f"no photo can be read where {met[0].name} lies ({met[0].reason})")
            yield pixels.to(device).permute(0, 3, 1, 2) / 255
    except (RuntimeError, OSError, EOFError) as error:  # the latter where it died while handing over
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        *_, reason = str(error).splitlines() or ["no reason known"]
        raise DataError(f"a process that reads photos died ({reason}): use fewer workers if memory ran out") from error
