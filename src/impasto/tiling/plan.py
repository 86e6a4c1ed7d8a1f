"""How a picture is painted within a budget of memory: a pure function from a model, its size and a budget to a plan.

Memory is counted as a process sees it: what it holds before (`held`: the program itself, its network, pictures),
the maps between passes (a pool; what it cannot hold goes to a file), and what is alive while a band goes
through a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, get_args

import torch

from impasto.core.memory import available_memory, ceiling, held_memory, shown_bytes, shown_seconds
from impasto.errors import OptionError, nearest
from impasto.tiling.passes import Pass
from impasto.types import Statistics

__all__ = [
    "CostModel",
    "Machine",
    "Statistics",
    "TilingOptions",
    "TilingPlan",
    "choose",
]


BANDS = (512, 384, 256, 192, 128, 96, 64, 48, 32, 16)  # px of picture rows; multiples of every stride there is
LARGEST_WORK = 160 << 20  # bytes alive in a pass; larger bands are no faster
SLACK = 48 << 20  # what libraries allocate besides, and what freed blocks leave unused between them
# px that are sampled: more would tell little; less than that of a small picture, which is as soon painted exactly.
SAMPLE, MOST, SMALLEST_SAMPLE = 8_000_000, 0.25, 600_000


@dataclass(frozen=True)
class Machine:
    """How fast things go here, for choosing and for telling how long it takes."""

    flops: float = 3e11  # of a convolution, per second
    disk: float = 5e8  # bytes per second, read or written
    piece: float = 2e-3  # seconds that a band costs in a pass, however small it is


@dataclass(frozen=True)
class TilingPlan:
    """How one picture will be painted.

    Attributes:
        height, width: of the picture, px.
        dtype: in which features are computed and stored.
        band: rows of the picture that go through a pass at a time, px.
        statistics: whether all are those of all bands, or some of a sample of tiles.
        passes: each with its cost, in multiply-adds.
        work: bytes that are alive while a band goes through a pass.
        pool: bytes of memory for maps between passes.
        spilled: bytes of a temporary file for those that do not fit.
        moved: bytes written to and read from it.
        peak: bytes of memory that the process is expected to need at most.
        seconds: expected.
        sample, tile: rows and columns of the grid of sampled tiles (0 tiles for exact statistics), and their side in
            px.
        padded: rows with those that make them a multiple of the network's stride; 0 in plans of earlier versions.
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
    tile: int = 0
    moved: int = 0
    padded: int = 0

    def seconds_on(self, machine: Machine) -> float:
        """What it should take there."""
        share = self.sample[0] * self.sample[1] * self.tile**2 / (self.height * self.width)
        costs = sum(cost for _, cost in self.passes) + share * self.passes[-1][1]
        pieces = len(self.passes) * self.height / self.band
        return 2 * costs / machine.flops + self.moved / machine.disk + pieces * machine.piece

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        disk = f"{shown_bytes(self.spilled)} of temporary file" if self.spilled else "no temporary file"
        tiles = self.sample[0] * self.sample[1]
        taken = "" if self.statistics == "exact" else f" from {tiles} tiles of {self.tile} px"
        return (
            f"{self.width}x{self.height} px in bands of {self.band} rows, {len(self.passes)} passes, {dtype}, "
            f"{self.statistics} statistics{taken}: about {shown_bytes(self.peak)} of memory, {disk}, "
            f"{shown_seconds(self.seconds)}"
        )


@dataclass(frozen=True)
class TilingOptions:
    """What a user may say about how a picture is painted.

    Attributes:
        budget: bytes that the process may need at most, `held` included; None is no limit.
        held: bytes that the process holds already and will go on holding, pictures in and out included.
        tile: rows of a band, px; None chooses.
        statistics: ``exact``, or ``sampled`` from some tiles, but for those of a network's first layers. A picture
            that is hardly larger than its sample is painted exactly.
        resumable: maps between passes are files with names, so that another process can go on from them (`journal`).
        reserved: bytes for the painting that the budget has left out already.
        told: bytes that a user allowed the process, for messages; None is the budget.
        elsewhere: bytes within which something else than torch would paint the picture, if it could.
    """

    budget: int | None = None
    held: int = 0
    tile: int | None = None
    statistics: Statistics = "exact"
    resumable: bool = False
    reserved: int = 0
    told: int | None = None
    elsewhere: int | None = None

    def __post_init__(self) -> None:
        if self.statistics not in get_args(Statistics):
            near = nearest(self.statistics, get_args(Statistics))
            raise OptionError(
                f"statistics {self.statistics!r} is unknown{near}: use {' or '.join(get_args(Statistics))}"
            )
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"tile is {self.tile} px, need at least 1")

    @property
    def limit(self) -> int:
        """The budget in bytes; where there is none, what the process holds and what is free."""
        return held_memory() + available_memory() if self.budget is None else self.budget

    @property
    def room(self) -> int | None:
        """Bytes that are left of the budget."""
        return None if self.budget is None else self.budget - self.held


class CostModel(Protocol):
    """Sizes and costs of one network on one picture."""

    size: tuple[int, int]  # of the picture, px
    padded: tuple[int, int]
    stride: int  # of which bands are multiples, px
    dtype: torch.dtype
    tile: int  # px, side of a sampled tile

    def pass_choices(self, sampled: bool) -> Sequence[tuple[Pass, ...]]:
        """Passes to choose from."""

    def work(self, step: Pass, band: int) -> int:
        """Bytes that are alive at most while a band goes through a pass."""

    def sample_work(self, share: float) -> int:
        """Bytes that are alive while statistics are taken from this share of the picture."""

    def cost(self, step: Pass) -> float:
        """Multiply-adds of a pass."""

    def storage(self, passes: Sequence[Pass], room: int | None) -> tuple[int, int, int]:
        """Bytes of pool and of file at the most, and bytes moved to and from files, with so much room."""


def choose(model: CostModel, options: TilingOptions) -> TilingPlan:
    """The fastest plan that fits; nothing is measured and nothing is allocated.

    Raises:
        OptionError: the budget is too small; the message says what would do.
    """
    sample = _sample_grid(model, options.room) if options.statistics == "sampled" else (0, 0)
    least = max(BANDS[-1], model.stride)
    bands = [b for b in BANDS if b % model.stride == 0 and b <= max(least, model.padded[0])] or [least]
    bands = bands if options.tile is None else [-(-options.tile // model.stride) * model.stride]
    plans = [_plan(model, options, way, band, sample) for way in model.pass_choices(sample != (0, 0)) for band in bands]
    least = min(plan.work for plan in plans)
    fitting = [plan for plan in plans if options.room is None or plan.work <= options.room]
    if not fitting:
        raise _too_little(model, options, least)
    return min(fitting, key=lambda plan: (plan.work > max(LARGEST_WORK, least), plan.seconds, plan.peak))


def _too_little(model: CostModel, options: TilingOptions, least: int) -> OptionError:
    """What to say where at `least` so many bytes are needed beside what is held, which are more than there are."""
    budget = options.budget or 0
    told = budget if options.told is None else options.told
    need = told + least - (budget - options.held)
    if options.elsewhere is not None:
        need = min(need, options.elsewhere)
    return OptionError(
        f"{model.size[1]}x{model.size[0]} px cannot be painted within {shown_bytes(told)}: "
        f"need `max_memory` {ceiling(need)} or more"
    )


def _plan(
    model: CostModel, options: TilingOptions, passes: tuple[Pass, ...], band: int, sample: tuple[int, int]
) -> TilingPlan:
    share, room = _share(model, sample), options.room
    work = SLACK + max(model.sample_work(share), *(model.work(step, band) for step in passes))
    pool, spilled, moved = model.storage(passes, None if room is None else room - work)
    costs = [model.cost(step) for step in passes]
    plan = TilingPlan(
        height=model.size[0],
        width=model.size[1],
        dtype=model.dtype,
        band=band,
        statistics="sampled" if share else "exact",
        passes=tuple(zip(passes, costs, strict=True)),
        work=work,
        pool=pool,
        spilled=spilled,
        peak=options.held + work + pool,
        seconds=0.0,
        sample=sample,
        tile=model.tile,
        moved=moved,
        padded=model.padded[0],
    )
    return replace(plan, seconds=plan.seconds_on(Machine()))


def _sample_grid(model: CostModel, room: int | None) -> tuple[int, int]:
    """Rows and columns of sampled tiles; none where the picture is hardly larger than they are together."""
    height, width = model.padded
    wanted = min(SAMPLE, MOST * height * width) / model.tile**2
    while wanted * model.tile**2 >= SMALLEST_SAMPLE and min(height, width) >= model.tile:
        down = max(1, round(math.sqrt(wanted * height / width)))
        grid = (down, max(1, round(wanted / down)))
        if room is None or model.sample_work(_share(model, grid)) + SLACK <= room:
            return grid
        wanted /= 2
    return 0, 0


def _share(model: CostModel, sample: tuple[int, int]) -> float:
    return sample[0] * sample[1] * model.tile**2 / (model.padded[0] * model.padded[1])
