"""What the planner has to know of a network: passes to choose from, what they cost, what is alive in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from impasto.core.rows import MapShape, Pool
from impasto.networks.layers import padded_side
from impasto.networks.staged import Stage, StagedNetwork
from impasto.tiling.passes import Maps, Pass, must_store, raw_shapes, split_for_sample, split_into_passes
from impasto.tiling.plan import SLACK, TilingOptions, TilingPlan, choose

__all__ = ["StagedCost", "padded_size", "plan_staged", "rows_of", "work_of_stages"]


def plan_staged(
    network: StagedNetwork, size: tuple[int, int], dtype: torch.dtype, options: TilingOptions | None = None
) -> TilingPlan:
    """How a picture of this (height, width) is painted; OptionError if the budget is too small."""
    options = options or TilingOptions()
    return choose(StagedCost(network, size, dtype, resumable=options.resumable), options)


def padded_size(size: tuple[int, int], multiple: int, smallest: int, margin: int = 0) -> tuple[int, int]:
    """What `pad_to_multiple` makes of a height and width."""
    height, width = (padded_side(side, multiple, smallest, margin) for side in size)
    return height, width


class StagedCost:
    """Sizes and costs of one staged network on one picture; a `plan.CostModel`.

    Neighbours within a tile say little that is new: of the same area, many small tiles know more than few large
    ones, as long as the middle of one is not yet touched by what is reflected at its border.

    Args:
        network: whose weights may be anywhere, also on no device at all.
        size: height and width of the picture, px.
        dtype: of the features.
        resumable: see `plan.TilingOptions`.
    """

    tile = 48

    def __init__(
        self, network: StagedNetwork, size: tuple[int, int], dtype: torch.dtype, *, resumable: bool = False
    ) -> None:
        self.resumable = resumable
        self._at_once: int | None = None  # once it is known
        self.size, self.dtype, self.stages = size, dtype, network.stages()
        self.stride = max(network.STRIDE, network.LEAST_BAND)
        self.padded = padded_size(size, network.STRIDE, network.SMALLEST, network.margin)
        self.shapes = raw_shapes(self.stages, *self.padded, dtype)
        self.picture = MapShape(3, *self.padded, torch.float32)

    def pass_choices(self, sampled: bool) -> list[tuple[Pass, ...]]:
        """Passes to choose from: with everything stored, with the largest maps computed again, and between."""
        if sampled:
            return [split_for_sample(self.stages)]
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
        share = band / self.padded[0]
        source = self.before(step.first)
        # Read, and what is kept beside it or its copy in another type, and finished.
        total = 3 * rows_of(source, share) * source.row_bytes
        part = slice(step.first, step.last + 1)
        total += work_of_stages(self.stages[part], self.shapes[part], source, share)
        if step.paints:
            total += 5 * rows_of(self.picture, share) * self.picture.row_bytes
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
        size = 0 if self.resumable else size
        pool = Pool(size, overwrites=not self.resumable)
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

    def sample_work(self, share: float) -> int:
        """Bytes alive while statistics are taken from tiles."""
        first = split_for_sample(self.stages)[-1].first
        alive = (
            4 * max(self.before(i).bytes * self.stages[i].upsample ** 2 * self.stages[i].spread ** 2, shape.bytes)
            + 2 * shape.bytes
            for i, shape in enumerate(self.shapes)
            if i >= first
        )
        return int(share * max(alive))

    def at_once(self) -> int:
        """Bytes that it takes beside the photo to paint without bands: the largest stage as one band, and pictures."""
        if self._at_once is None:
            stages = (self.work(Pass(i, i, stores=True), self.padded[0]) for i in range(len(self.stages)))
            self._at_once = SLACK + max(stages) + 3 * self.picture.bytes
        return self._at_once


def work_of_stages(stages: Sequence[Stage], shapes: Sequence[MapShape], source: MapShape, share: float) -> int:
    """Bytes alive at most while this share of a map's rows, `source`, goes through stages that give `shapes`.

    Each holds its input with borders (before that enlarged, perhaps), its output, and twice that in finishing.
    """
    total = 0
    for stage, into, out in zip(stages, [source, *shapes], shapes, strict=False):
        weight, item = stage.conv.conv2d.weight, out.dtype.itemsize
        factor = stage.upsample * stage.spread
        rows = rows_of(into, share) + 2 * stage.extend
        bordered = rows * factor + 3 * stage.conv.halo * stage.unshuffle
        total += bordered * into.width * factor * into.channels * item
        total += rows * into.row_bytes * (factor**2 if factor > 1 else 0)
        total += 3 * rows_of(out, share) * out.row_bytes + weight.numel() * item
    return total


def rows_of(shape: MapShape, share: float) -> int:
    """Rows of a map in a piece of this share of a picture: the last piece may be nearly twice as large."""
    return min(shape.height, math.ceil(2 * shape.height * share) if share < 0.5 else shape.height)
