"""Lists of operators on pictures of any size, in bands of rows.

What is normalised, or taken by several operators, is stored whole, in memory or in a file; everything between is
computed for the rows that are asked for, with as many above and below as operators look at.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.streams import split_rows
from impasto.networks.chain import Mode
from impasto.networks.layers import spread_out
from impasto.networks.norms import RunningMoments
from impasto.networks.operators import Operators
from impasto.networks.programs import NORMS, Program, adjusted, continued
from impasto.tiling.bands import BandProgress, PutRows
from impasto.tiling.journal import FilePool, Journal, State, named
from impasto.tiling.passes import Pass
from impasto.tiling.photos import Padded, Photo
from impasto.tiling.plan import SLACK, TilingPlan

__all__ = ["OperatorsCost", "paint_operators"]

Rows = tuple[int, int]


def _stored(program: Program) -> tuple[int, ...]:
    """Whose values are kept whole, in the order in which they are made; the last is the painting, which is not."""
    takers: dict[int, int] = {}
    for row in program.rows:
        for at in row.of:
            takers[at] = takers.get(at, 0) + 1
    normalised = {row.of[0] for row in program.rows if row.kind in NORMS}
    return tuple(number for number in range(1, len(program.rows)) if number in normalised or takers.get(number, 0) > 1)


class OperatorsCost:
    """Sizes and costs of such a network on one picture; a `plan.CostModel`."""

    tile = 128
    stride = 1

    def __init__(self, network: Operators, size: tuple[int, int], *, resumable: bool = False) -> None:
        self.program, self.size, self.resumable = network.paint, size, resumable
        self.dtype = next(network.paint.parameters()).dtype
        self.padded = (max(size[0], network.SMALLEST), max(size[1], network.SMALLEST))
        heights, widths = (self.program.sides(side) or [] for side in self.padded)
        self.shapes = [
            MapShape(width, height, across, torch.float32 if self.dtype == torch.float32 or not at else self.dtype)
            for at, (width, height, across) in enumerate(zip(self.program.widths, heights, widths, strict=True))
        ]
        self.stored = _stored(self.program)

    def pass_choices(self, sampled: bool) -> list[tuple[Pass, ...]]:
        """One way: a pass for each map that is stored, and one that paints. Statistics are exact, whatever is asked."""
        last = len(self.program.rows)
        ends = [*self.stored, last]
        return [tuple(Pass(end, end, stores=end != last, paints=end == last) for end in ends)]

    def between(self, end: int) -> list[int]:
        """Operators that are computed on the way to one, itself included."""
        found, waiting = [], [end]
        while waiting:
            number = waiting.pop()
            found.append(number)
            waiting += [at for at in self.program.rows[number - 1].of if at and at not in self.stored]
        return found

    def work(self, step: Pass, band: int) -> int:
        """Bytes that are alive at most while a band goes through a pass."""
        share, total = band / self.padded[0], 0
        for number in self.between(step.last):
            row, out = self.program.rows[number - 1], self.shapes[number]
            for at in row.of:
                into = self.shapes[at]
                rows = min(into.height, int(2 * into.height * share) + 2 * row.kernel + 2 * sum(row.padding) + 2)
                total += 2 * rows * into.row_bytes
            total += 2 * min(out.height, int(2 * out.height * share) + 2) * out.row_bytes
        return total

    def sample_work(self, share: float) -> int:
        """Nothing is sampled."""
        return 0

    def cost(self, step: Pass) -> float:
        """Multiply-adds of a pass."""
        return float(sum(self._products(number) for number in self.between(step.last)))

    def _products(self, number: int) -> int:
        row, out = self.program.rows[number - 1], self.shapes[number]
        into = self.program.widths[row.of[0]] // row.groups if row.kind == "conv" else 1
        return out.channels * out.height * out.width * into * row.kernel**2

    def storage(self, passes: Sequence[Pass], room: int | None) -> tuple[int, int, int]:
        """Bytes of pool and of file at the most, and bytes moved to and from files, with so much room."""
        size = sum(self.shapes[at].bytes for at in self.stored) if room is None else max(0, room)
        size = 0 if self.resumable else size
        pool, most, spilled, moved = Pool(size), 0, 0, 0
        alive: dict[int, RowStore] = {}
        for step in passes:
            used = [alive[at] for at in self._reads(step.last)]
            if step.stores:
                alive[step.last] = pool.take(self.shapes[step.last])
                used.append(alive[step.last])
            moved += sum(store.bytes_on_disk for store in used)
            most = max(most, size - pool.left)
            spilled = max(spilled, sum(store.bytes_on_disk for store in alive.values()))
            for at in self.finished_after(step.last):
                pool.give_back(alive.pop(at))
        for store in alive.values():
            store.close()
        return most, spilled, moved

    def _reads(self, end: int) -> set[int]:
        taken = {at for number in self.between(end) for at in self.program.rows[number - 1].of}
        return taken & set(self.stored)

    def finished_after(self, end: int) -> list[int]:
        """Stored maps that no later pass reads."""
        later = [other for other in (*self.stored, len(self.program.rows)) if other > end]
        needed = {at for other in later for at in self._reads(other)}
        return [at for at in self.stored if at <= end and at not in needed and at in self._reads(end)]

    def at_once(self) -> int:
        """Bytes that it takes beside the photo to paint without bands: the largest operator, and what waits."""
        last, alive, most = self.program.last_use, {0}, 0
        for number, row in enumerate(self.program.rows, 1):
            alive.add(number)
            factor = 3 if row.kind == "conv" else 2
            most = max(most, sum(self.shapes[at].bytes for at in alive) + factor * self.shapes[row.of[0]].bytes)
            alive -= {at for at in row.of if last[at] == number}
        return SLACK + most + 3 * self.shapes[0].bytes


@in_our_settings
@torch.inference_mode()
def paint_operators(
    network: Operators,
    photo: Photo,
    plan: TilingPlan,
    put_rows: PutRows,
    parameters: Tensor,
    *,
    journal: Journal | None = None,
) -> Generator[BandProgress, None, None]:
    """Paint a picture band by band, giving finished rows to `put_rows` from the top down.

    Closing the iterator stops, and gives memory and disk back.

    Args:
        network: on its device, in eval mode.
        photo: of any size.
        plan: from `plan.choose` with `OperatorsCost` of this network and this size.
        parameters: of the style, (1, P).
        journal: see `bands.paint_staged`.

    Raises:
        OutputError: the disk has no room for what memory cannot hold.
    """
    began, total = time.perf_counter(), sum(cost for _, cost in plan.passes)
    with closing(_Walk(network, photo, plan, parameters, journal)) as walk:
        done = sum(cost for _, cost in plan.passes[: walk.state.passes])
        begun = (done + plan.passes[-1][1] * walk.state.rows / photo.height) / total
        for step, cost in plan.passes[walk.state.passes :]:
            for share in walk.paint(put_rows) if step.paints else walk.store(step.last):
                yield BandProgress(min(1.0, (done + share * cost) / total), time.perf_counter() - began, begun)
            done += cost


class _Walk:
    """Rows of any operator's values, and the maps that are stored."""

    def __init__(
        self, network: Operators, photo: Photo, plan: TilingPlan, parameters: Tensor, journal: Journal | None
    ) -> None:
        self.program, self.plan, self.parameters = network.paint, plan, parameters
        self.photo, self.size = Padded(photo, 1, network.SMALLEST), (photo.height, photo.width)
        self.device = next(network.parameters()).device
        self.model = OperatorsCost(network, self.size)
        self.journal, self.state = journal, State() if journal is None else journal.state
        self.pool: Pool = Pool(plan.pool, device=self.device)
        self.kept: dict[int, RowStore] = {}
        if journal is not None:
            self.pool = pool = FilePool(journal.maps, self.device)
            self.kept = {number: pool.again(*store) for number, store in self.state.maps.items()}
        # Of what a normalisation takes, by its own number.
        self.moments = {
            number: (mean.to(self.device), variance.to(self.device))
            for number, (mean, variance) in self.state.moments.items()
        }

    def close(self) -> None:
        """Give memory and disk back."""
        for store in self.kept.values():
            self.pool.give_back(store)
        self.kept.clear()

    def _save(self, rows: int = 0, passes: int = 0) -> None:
        """Tell the journal that so many more rows are painted, or passes done."""
        if self.journal is not None:
            maps = {number: named(store) for number, store in self.kept.items()}
            done, painted = self.state.passes + passes, self.state.rows + rows
            self.state = State(done, rows=painted, maps=maps, moments=dict(self.moments))
            self.journal.save(self.state)

    def _pieces(self, number: int) -> list[Rows]:
        height = self.model.shapes[number].height
        piece = max(1, self.plan.band * height // self.model.padded[0])
        return split_rows(height, piece)

    def store(self, number: int) -> Generator[float, None, None]:
        """Keep what an operator gives, and take its statistics where it is normalised."""
        shape = self.model.shapes[number]
        store = self.kept[number] = self.pool.take(shape)
        norms = [at for at, row in enumerate(self.program.rows, 1) if row.kind in NORMS and row.of[0] == number]
        whole = RunningMoments()
        for top, bottom in self._pieces(number):
            x = self._compute(number, (top, bottom))
            store.write(top, x)
            if norms:
                whole.add(x)
            yield bottom / shape.height
        for at in norms:
            self.moments[at] = adjusted(whole, self.program.rows[at - 1])
        if self.journal is not None:
            store.file.flush()
        for at in self.model.finished_after(number):
            self.pool.give_back(self.kept.pop(at))
        self._save(passes=1)

    def paint(self, put_rows: PutRows) -> Generator[float, None, None]:
        last, (height, width) = len(self.program.rows), self.size
        for top, bottom in self._pieces(last):
            if self.state.rows < min(bottom, height):  # all of them, or none, are painted already
                x = self._compute(last, (top, min(bottom, height))).float()
                put_rows(top, x.clamp_(0, 1)[..., :width])
                self._save(rows=x.shape[2])
            yield min(1.0, bottom / height)

    def rows(self, number: int, rows: Rows) -> Tensor:
        """Some rows, all of them inside."""
        if number == 0:
            return self.photo.read(*rows).to(self.device).contiguous(memory_format=torch.channels_last)
        return self.kept[number].read(*rows) if number in self.kept else self._compute(number, rows)

    def _beyond(self, number: int, rows: Rows, mode: Mode) -> Tensor:
        """Some rows, above the first and below the last too."""
        (top, bottom), height = rows, self.model.shapes[number].height
        if top >= 0 and bottom <= height:
            return self.rows(number, rows)
        if mode == "zeros":
            x = self.rows(number, (max(0, top), min(bottom, height)))
            return F.pad(x, (0, 0, max(0, -top), max(0, bottom - height)))
        wanted = torch.arange(top, bottom)
        wanted = wanted.clamp(0, height - 1) if mode == "replicate" else _reflected(wanted, height)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        return self.rows(number, (low, high))[:, :, (wanted - low).to(self.device)]

    def _compute(self, number: int, rows: Rows) -> Tensor:
        row, (top, bottom) = self.program.rows[number - 1], rows
        at, program = row.of[0], self.program
        match row.kind:
            case "conv":
                first = top * row.stride - row.padding[0]
                x = self._beyond(at, (first, (bottom - 1) * row.stride - row.padding[0] + row.kernel), row.mode)
                return program.convolve(number, continued(x, (0, 0), row.padding, row.mode))
            case "pad":
                x = self._beyond(at, (top - row.size, bottom - row.size), row.mode)
                return continued(x, (0, 0), (row.size, row.size), row.mode)
            case "crop":
                return self.rows(at, (top + row.size, bottom + row.size))[..., row.size : -row.size]
            case "nearest" | "spread":
                first = top // row.factor
                x = self.rows(at, (first, -(-bottom // row.factor)))
                larger = spread_out(x, row.factor) if row.kind == "spread" else _nearest(x, row.factor)
                return larger[:, :, top - first * row.factor : bottom - first * row.factor]
            case "bilinear":  # what lies beyond the border is as at it, and one row more on each side is enough
                first = top // row.factor - 1
                x = self._beyond(at, (first, -(-bottom // row.factor) + 1), "replicate")
                larger = F.interpolate(x, scale_factor=row.factor, mode="bilinear")
                return larger[:, :, top - first * row.factor : bottom - first * row.factor]
            case "max_pool":
                x = self.rows(at, (2 * top, min(2 * bottom, self.model.shapes[at].height)))
                return F.max_pool2d(x, 2, ceil_mode=True)
            case "norm" | "style_norm":
                return program.normalise(number, self.rows(at, rows), *self.moments[number], self.parameters)
        return program.pointwise(number, [self.rows(one, rows) for one in row.of], self.parameters)


def _nearest(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="nearest")


def _reflected(wanted: Tensor, height: int) -> Tensor:
    inside = wanted.abs()
    return torch.where(inside >= height, 2 * (height - 1) - inside, inside)
