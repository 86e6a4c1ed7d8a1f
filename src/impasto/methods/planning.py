"""How a picture is painted within a budget of memory: one pure function from network, size and budget to a plan.

Memory is counted as a process sees it: what it holds before (`held`: the program itself, its network, pictures),
the maps between passes (a pool; what it cannot hold goes to a file), and what is alive while a band goes
through a pass.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from impasto.errors import OptionError
from impasto.methods.passes import Maps, Pass, must_store, raw_shapes, split_into_passes
from impasto.methods.rows import MapShape, Pool
from impasto.methods.staged import StagedNetwork

__all__ = ["Machine", "Plan", "Statistics", "parse_memory", "plan_staged", "shown_bytes"]

Statistics = Literal["exact", "sampled"]

BANDS = (512, 384, 256, 192, 128, 96, 64, 48, 32, 16)  # px of picture rows; multiples of every stride there is
LARGEST_WORK = 160 << 20  # bytes alive in a pass; larger bands are no faster
SLACK = 48 << 20  # what libraries allocate besides, and what freed blocks leave unused between them
TILE = 128  # px, side of a sampled tile
SHARE = 0.08  # of the picture that is sampled
SMALLEST_SAMPLE, LARGEST_SAMPLE = 36, 256  # tiles
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class Machine:
    """How fast things go here, for choosing and for telling how long it takes."""

    flops: float = 3e11  # of a convolution, per second
    disk: float = 5e8  # bytes per second, read or written
    piece: float = 2e-3  # seconds that a band costs in a pass, however small it is


@dataclass(frozen=True)
class Plan:
    """How one picture will be painted.

    Attributes:
        height, width: of the picture, px.
        dtype: in which features are computed and stored.
        band: rows of the picture that go through a pass at a time, px.
        statistics: whether they are those of all bands or of a sample of tiles.
        passes: each with its cost, in multiply-adds.
        work: bytes that are alive while a band goes through a pass.
        pool: bytes of memory for maps between passes.
        spilled: bytes of a temporary file for those that do not fit.
        peak: bytes of memory that the process is expected to need at most.
        seconds: expected.
        sample, tile, seed: rows and columns of the grid of sampled tiles (0 tiles for exact statistics), their
            side in px, and what places them within their cells.
        folder: for the temporary file; None is the system's.
    """

    height: int
    width: int
    dtype: torch.dtype
    band: int
    statistics: Statistics
    passes: tuple[tuple[Pass, float], ...]
    work: int
    pool: int
    spilled: int
    peak: int
    seconds: float
    sample: tuple[int, int] = (0, 0)
    tile: int = TILE
    seed: int = 0
    folder: str | None = None

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        disk = f"{shown_bytes(self.spilled)} of temporary file" if self.spilled else "no temporary file"
        tiles = self.sample[0] * self.sample[1]
        taken = "" if self.statistics == "exact" else f" from {tiles} tiles of {self.tile} px"
        return (
            f"{self.width}x{self.height} px in bands of {self.band} rows, {len(self.passes)} passes, {dtype}, "
            f"{self.statistics} statistics{taken}: about {shown_bytes(self.peak)} of memory, {disk}, "
            f"{_shown_seconds(self.seconds)}"
        )


def plan_staged(
    network: StagedNetwork,
    height: int,
    width: int,
    *,
    dtype: torch.dtype,
    budget: int | None = None,
    held: int = 0,
    tile: int | None = None,
    statistics: Statistics = "exact",
    machine: Machine | None = None,
    seed: int = 0,
    folder: str | None = None,
) -> Plan:
    """The plan for one picture; nothing is measured and nothing is allocated.

    Args:
        network: whose weights may be anywhere, also on no device at all.
        height, width: of the picture, px.
        dtype: of the features.
        budget: bytes that the process may need at most, `held` included; None is no limit.
        held: bytes that the process holds already and will go on holding, pictures in and out included.
        tile: rows of a band, px; None chooses.
        statistics: ``exact``, or ``sampled`` from some tiles. A picture that is hardly larger than its sample is
            painted exactly.
        machine: rates, for the expected time.
        seed: of the places of sampled tiles.
        folder: for the temporary file.

    Raises:
        OptionError: the budget is too small (the message says what would do), or an option makes no sense.
    """
    if statistics not in get_args(Statistics):
        raise OptionError(f"statistics {statistics!r} is unknown: use {' or '.join(get_args(Statistics))}")
    if tile is not None and tile < 1:
        raise OptionError(f"tile is {tile} px, need at least 1")
    job = _Job(network, height, width, dtype)
    room = None if budget is None else budget - held
    sample = job.sample_grid(room) if statistics == "sampled" else (0, 0)
    bands = [b for b in BANDS if b <= max(BANDS[-1], job.height)]
    bands = bands if tile is None else [-(-tile // network.STRIDE) * network.STRIDE]
    plans = []
    for passes, band in itertools.product(job.ways(sample), bands):
        work = SLACK + max(job.sample_work(sample), *(job.work(step, band) for step in passes))
        pool, spilled, moved = job.storage(passes, None if room is None else room - work)
        costs = [job.cost(step) for step in passes]
        plan = Plan(
            height=height,
            width=width,
            dtype=dtype,
            band=band,
            statistics="sampled" if sample[0] else "exact",
            passes=tuple(zip(passes, costs, strict=True)),
            work=work,
            pool=pool,
            spilled=spilled,
            peak=held + work + pool,
            seconds=job.seconds(costs, sample, moved, len(passes) * job.height / band, machine or Machine()),
            sample=sample,
            seed=seed,
            folder=folder,
        )
        plans.append(plan)
    least = min(plan.work for plan in plans)
    fitting = [plan for plan in plans if room is None or plan.work <= room]
    if not fitting:
        raise OptionError(
            f"{width}x{height} px cannot be painted within {shown_bytes(budget or 0)}: "
            f"need --max-memory {_ceiling(held + least)} or more"
        )
    return min(fitting, key=lambda plan: (plan.work > max(LARGEST_WORK, least), plan.seconds, plan.peak))


class _Job:
    """Sizes and costs of one network on one picture."""

    def __init__(self, network: StagedNetwork, height: int, width: int, dtype: torch.dtype) -> None:
        stride, smallest = network.STRIDE, network.SMALLEST
        self.stride, self.dtype, self.stages = stride, dtype, network.stages()
        self.height, self.width = (-(-max(side, smallest) // stride) * stride for side in (height, width))
        self.shapes = raw_shapes(self.stages, self.height, self.width, dtype)
        self.picture = MapShape(3, self.height, self.width, torch.float32)

    def ways(self, sample: tuple[int, int]) -> list[tuple[Pass, ...]]:
        """Passes to choose from: with everything stored, with the largest maps computed again, and between."""
        if sample[0]:
            return [(Pass(0, len(self.stages) - 1, stores=False, paints=True),)]
        always = must_store(self.stages)
        others = {i: shape.bytes for i, shape in enumerate(self.shapes[:-1]) if i not in always}
        normed = [i for i, stage in enumerate(self.stages[:-1]) if stage.norm is not None and i in others]
        limits = sorted({others[i] for i in normed})
        stored = [always | {i for i in normed if others[i] <= limit} for limit in [0, *limits]]
        return [split_into_passes(self.stages, frozenset(some)) for some in stored]

    def before(self, first: int) -> MapShape:
        """What a pass that begins with the stage `first` reads."""
        return self.shapes[first - 1] if first else self.picture

    def work(self, step: Pass, band: int) -> int:
        """Bytes that are alive at most while a band goes through a pass."""
        share = band / self.height
        source = self.before(step.first)
        # Read, and what is kept beside it or its copy in another type, and finished.
        total = 3 * _rows(source, share) * source.row_bytes
        for i in range(step.first, step.last + 1):
            stage, shape = self.stages[i], self.shapes[i]
            conv, into = stage.conv.conv2d, self.before(i)
            enlarged = stage.upsample**2
            bordered = _rows(into, share) * stage.upsample + 3 * stage.conv.halo * stage.unshuffle
            total += bordered * into.width * stage.upsample * into.channels * self.dtype.itemsize
            total += into.row_bytes * _rows(into, share) * (enlarged if enlarged > 1 else 0)
            total += 3 * _rows(shape, share) * shape.row_bytes
            total += conv.weight.numel() * self.dtype.itemsize
        if step.paints:
            total += 5 * _rows(self.picture, share) * self.picture.row_bytes
        return total

    def cost(self, step: Pass) -> float:
        """Multiply-adds of a pass."""
        return float(sum(self._products(i) for i in range(step.first, step.last + 1)))

    def _products(self, i: int) -> int:
        shape, conv = self.shapes[i], self.stages[i].conv.conv2d
        positions = shape.height * shape.width // self.stages[i].shuffle ** 2
        return positions * conv.weight.numel()

    def storage(self, passes: Sequence[Pass], room: int | None) -> tuple[int, int, int]:
        """Bytes of pool and of file at the most, and bytes read and written in files, with so much room."""
        size = sum(shape.bytes for shape in self.shapes) if room is None else max(0, room)
        pool = Pool(size)
        maps = Maps(self.stages, self.shapes, pool)
        most, spilled, moved = 0, 0, 0
        for step in passes:
            maps.begin(step)
            kept = maps.kept if step.first and self.stages[step.first - 1].closes else None
            used = [store for store in (maps.source, kept, maps.finished, maps.target) if store is not None]
            moved += sum(store.bytes_on_disk for store in used)
            alive = {id(store): store for store in (*used, *([maps.kept] if maps.kept else []))}.values()
            spilled = max(spilled, sum(store.bytes_on_disk for store in alive))
            most = max(most, size - pool.left)
            maps.end(step)
        maps.close()
        return most, spilled, moved

    def sample_grid(self, room: int | None) -> tuple[int, int]:
        """Rows and columns of sampled tiles; none where the picture is hardly larger than they are together."""
        wanted = min(LARGEST_SAMPLE, SHARE * self.height * self.width / TILE**2)
        while wanted >= SMALLEST_SAMPLE:
            down = max(1, round(math.sqrt(wanted * self.height / self.width)))
            grid = (down, max(1, round(wanted / down)))
            if room is None or self.sample_work(grid) + SLACK <= room:
                fits = (
                    min(self.height, self.width) >= TILE and self.height * self.width > 4 * grid[0] * grid[1] * TILE**2
                )
                return grid if fits else (0, 0)
            wanted /= 2
        return 0, 0

    def sample_work(self, sample: tuple[int, int]) -> int:
        """Bytes alive while statistics are taken from tiles."""
        share = sample[0] * sample[1] * TILE**2 / (self.height * self.width)
        alive = (
            4 * max(self.before(i).bytes * self.stages[i].upsample ** 2, shape.bytes) + 2 * shape.bytes
            for i, shape in enumerate(self.shapes)
        )
        return int(share * max(alive))

    def seconds(
        self, costs: Sequence[float], sample: tuple[int, int], moved: int, pieces: float, machine: Machine
    ) -> float:
        """Expected time: arithmetic, files, and what every piece costs however small it is."""
        share = sample[0] * sample[1] * TILE**2 / (self.height * self.width)
        products = sum(costs) + share * sum(self._products(i) for i in range(len(self.stages)))
        return 2 * products / machine.flops + moved / machine.disk + pieces * machine.piece


def _rows(shape: MapShape, share: float) -> int:
    return min(shape.height, math.ceil(2 * shape.height * share) if share < 0.5 else shape.height)


def parse_memory(text: str) -> int:
    """``2GB``, ``600M``, ``1.5GiB`` -> bytes.

    Raises:
        OptionError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kmgt]i?|)b?\s*", text.lower())
    amount = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if amount < 1:
        raise OptionError(f"memory {text!r}: write a number with its unit, such as 600MB, 2GB or 1.5GiB")
    return amount


def shown_bytes(count: float) -> str:
    """``1.8 GB``, ``640 MB``."""
    return f"{count / 1e9:.2g} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def _ceiling(count: float) -> str:
    """The next amount that `parse_memory` understands and that is not smaller."""
    return f"{math.ceil(count / 1e8) / 10:g}GB" if count >= 1e9 else f"{math.ceil(count / 1e7) * 10}MB"


def _shown_seconds(seconds: float) -> str:
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"
