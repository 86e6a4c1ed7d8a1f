"""Painting pictures of any size with trained networks, in the memory that a plan allows.

Tiles are bands of rows as wide as the picture. What a band needs of the one above is kept, not computed again,
and statistics are those of all bands, so the result is that of the untiled network but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.rows import Pool
from impasto.core.streams import Pieces, Window, slide, split_rows
from impasto.networks.chain import median_of_nine
from impasto.networks.layers import working_dtype
from impasto.networks.norms import RunningMoments
from impasto.networks.staged import Stage, StagedNetwork
from impasto.tiling.journal import FilePool, Journal, State, named
from impasto.tiling.passes import (
    Affine,
    Maps,
    Pass,
    chain,
    convolve,
    finish,
    inner_columns,
    raw_shapes,
    wrong_rows,
)
from impasto.tiling.photos import Padded, Photo, draw_tiles
from impasto.tiling.plan import TilingPlan

__all__ = ["BandProgress", "PutRows", "paint_staged"]

PutRows = Callable[[int, Tensor], None]  # takes finished rows: the first one's number, and (1, 3, n, W) in [0, 1]


@dataclass(frozen=True)
class BandProgress:
    """A band done: which share of the whole work is, and how many seconds that took since it was `begun`."""

    done: float
    seconds: float
    begun: float = 0.0  # the share that an earlier process did

    @property
    def left(self) -> float:
        """Seconds that the rest should take."""
        return self.seconds * (1 - self.done) / max(1e-9, self.done - self.begun)


@in_our_settings
@torch.inference_mode()
def paint_staged(
    network: StagedNetwork,
    photo: Photo,
    plan: TilingPlan,
    put_rows: PutRows,
    *,
    mix: Tensor | None = None,
    journal: Journal | None = None,
) -> Generator[BandProgress, None, None]:
    """Paint a picture band by band, giving finished rows to `put_rows` from the top to the bottom.

    Args:
        network: on its device, in its precision, in eval mode.
        photo: of any size.
        plan: from `cost.plan_staged`, made for this network and this size.
        mix: (1, N) weights of a network of several styles.
        journal: where to keep how far the painting is, so that another process can go on and give the same picture;
            it skips the rows that `put_rows` had before. `plan` must be the journal's, and rows given to `put_rows`
            must be safely stored when that returns.

    Closing the iterator stops, and gives memory and disk back.

    Raises:
        OutputError: the disk has no room for what memory cannot hold.
    """
    began, total = time.perf_counter(), sum(cost for _, cost in plan.passes)
    with closing(_BandPainter(network, photo, plan, mix, journal)) as painter:
        if painter.flat and network.FLAT_STAYS_FLAT:
            painter.paint_flat(put_rows)
            return
        done = sum(cost for _, cost in plan.passes[: painter.state.passes])
        begun = (done + plan.passes[-1][1] * painter.state.rows / painter.photo.height) / total
        for step, cost in plan.passes[painter.state.passes :]:
            if step.paints and plan.statistics == "sampled":
                painter.sample(step.first)
            for share in painter.paint(step, put_rows) if step.paints else painter.measure(step):
                part = min(1.0, (done + share * cost) / total)
                yield BandProgress(part, time.perf_counter() - began, begun)
            done += cost


class _BandPainter:
    """What is known between passes."""

    def __init__(
        self, network: StagedNetwork, photo: Photo, plan: TilingPlan, mix: Tensor | None, journal: Journal | None
    ) -> None:
        self.network, self.plan, self.mix, self.journal = network, plan, mix, journal
        self.stages = network.stages()
        weight = self.stages[0].conv.conv2d.weight
        self.photo = Padded(photo, network.STRIDE, network.SMALLEST, network.margin)
        self.size = (photo.height, photo.width)
        self.device = weight.device
        mean, self.flat = self.photo.mean(plan.band)
        self.mean = mean.to(self.device)
        self.shapes = raw_shapes(self.stages, self.photo.height, self.photo.width, working_dtype(weight))
        self.state = State() if journal is None else journal.state
        self.affines: list[Affine | None] = [None] * len(self.stages)
        if journal is None:
            self.maps = Maps(self.stages, self.shapes, Pool(plan.pool, device=self.device))
            return
        pool = FilePool(journal.maps, self.device)
        self.maps = Maps(self.stages, self.shapes, pool)
        for i, affine in enumerate(self.state.affines):
            if affine is not None:
                mean, variance, gamma, beta = (value.to(self.device) for value in affine)
                self.affines[i] = (mean, variance, gamma, beta)
        self.maps.source = self.state.source and pool.again(*self.state.source)
        self.maps.kept = self.state.kept and pool.again(*self.state.kept)

    def _save(self, rows: int = 0, passes: int = 0) -> None:
        """Tell the journal that so many more rows are painted, or passes done."""
        if self.journal is not None:
            source, kept = (None if store is None else named(store) for store in (self.maps.source, self.maps.kept))
            known = list(self.affines)
            self.state = State(self.state.passes + passes, known, source, kept, self.state.rows + rows)
            self.journal.save(self.state)

    def paint_flat(self, put_rows: PutRows) -> None:
        """A picture of one colour gives one of one colour.

        There is nothing in it to normalise but how convolutions round, which depends on the size of a band.
        """
        side = max(self.network.SMALLEST, self.network.STRIDE)
        colour = self.network.paint(self.photo.read(0, 1)[..., :1].to(self.device).expand(1, 3, side, side), self.mix)[
            ..., :1, :1
        ]
        for top, bottom in split_rows(self.size[0], self.plan.band):
            put_rows(top, colour.expand(1, 3, bottom - top, self.size[1]))

    def sample(self, first: int) -> None:
        """Take the statistics of the stages from `first` on from the middle of some tiles of what that is given.

        Near its border a tile is seen with its own reflection instead of its neighbours.
        """
        height = self._height()
        width = self.photo.width * height // self.photo.height
        side = max(1, self.plan.tile * height // self.photo.height)
        x = draw_tiles(lambda top, bottom: self._given(first, top, bottom), (height, width), side, self.plan)
        kept: Tensor | None = None
        for i, stage in enumerate(self.stages[first:], first):
            kept = x if stage.opens else kept
            x = stage.convolve(x)
            if stage.norm is not None:
                # A network that sees further than a tile is large has to make do with what is near its middle.
                moments, wrong = RunningMoments(), min(wrong_rows(self.stages[first : i + 1]), 3 * x.shape[2] // 8)
                inner = x[..., wrong : x.shape[2] - wrong, wrong : x.shape[3] - wrong]
                moments.add(inner.transpose(0, 1).flatten(1, 2)[None].contiguous(memory_format=torch.channels_last))
                self.affines[i] = self._affine(stage, moments)
            cropped = kept if kept is None or not stage.crop else _inner(kept, stage.crop)
            x = finish(stage, x, self.affines[i], cropped if stage.closes else None)

    def measure(self, step: Pass) -> Iterator[float]:
        """A pass that takes statistics, and stores a map or not; yields the share that is done."""
        stage, height = self.stages[step.last], self.shapes[step.last].height
        self.maps.begin(step)
        moments, row = RunningMoments(), 0
        for x in self._raw(step):
            if stage.norm is not None:
                moments.add(x)
            if self.maps.target is not None:
                self.maps.target.write(row, x)
            row += x.shape[2]
            yield row / height
        if stage.norm is not None:
            self.affines[step.last] = self._affine(stage, moments)
        for store in (self.maps.finished, self.maps.target):
            if store is not None and self.journal is not None:
                store.file.flush()
        self.maps.end(step)
        self._save(passes=1)

    def paint(self, step: Pass, put_rows: PutRows) -> Iterator[float]:
        """The last pass, but for the rows that are painted already."""
        height = self._height()
        skipped, top = self._skipped(wrong_rows(self.stages[step.first :]))
        row = max(0, top * self.photo.height // height - self.network.margin)
        pictures = self._pictures(step, skipped, top)
        if self.network.smooths:  # all of its rows are read again, see `_skipped`
            pictures = slide(pictures, self.size[0], Window(3, 1, 1, "replicate"), median_of_nine)
        for x in pictures:
            below, done = row + x.shape[2], self.state.rows
            if below > done:
                out = x[:, :, max(0, done - row) :]
                put_rows(max(row, done), out)
                self._save(rows=out.shape[2])
            row = below
            yield min(1.0, max(row, done) / self.size[0])

    def _pictures(self, step: Pass, skipped: int, top: int) -> Pieces:
        """What is painted, from the first piece that is not skipped on."""
        stages, height, margin = self.stages[step.first :], self._height(), self.network.margin
        row = top * self.photo.height // height
        for x in chain(stages, self.affines[step.first :], self._finished(step.first, skipped), height - top):
            first, last = max(0, margin - row), min(x.shape[2], margin + self.size[0] - row)
            if first < last:
                image = self.photo.read(row + first, row + last).to(self.device)
                painted = self.network.to_picture(x[:, :, first:last], image, self.mix)
                yield painted[..., margin : margin + self.size[1]]
            row += x.shape[2]

    def _skipped(self, wrong: int) -> tuple[int, int]:
        """How many pieces need not be read again for what is left to paint, and how many rows of them.

        The first pieces that are read give `wrong` rows that are not to be used, and are otherwise cut than those
        of a painting from the top; by the rows that are used, both are over, so these are the same bit for bit.
        Networks of others have borders that make maps higher than their share, so they read all of them again.
        """
        if not all(stage.conv.plain for stage in self.stages):
            return 0, 0
        height, used = self._height(), self.state.rows - 2 * wrong
        splits = split_rows(height, self._piece(height))
        skipped = sum(bottom * self.photo.height // height <= used for _, bottom in splits[:-1])
        skipped = max(0, skipped - 1)
        return skipped, splits[skipped][0]

    def _piece(self, height: int) -> int:
        """Rows of a piece of a map of this height."""
        return max(1, self.plan.band * height // self.photo.height)

    def _raw(self, step: Pass) -> Pieces:
        between = self.stages[step.first : step.last]
        pieces = chain(between, self.affines[step.first : step.last], self._finished(step.first), self._height())
        height = self.shapes[step.last - 1].height if between else self._height()
        return convolve(self.stages[step.last], pieces, height)

    def _height(self) -> int:
        """Rows of what a pass begins with."""
        return self.photo.height if self.maps.source is None else self.maps.source.shape.height

    def _finished(self, first: int, skipped: int = 0) -> Pieces:
        """What the stage `first` is given, all of it or from a later piece on."""
        height = self._height()
        for top, bottom in split_rows(height, self._piece(height))[skipped:]:
            x = self._given(first, top, bottom)
            if self.maps.finished is not None:
                self.maps.finished.write(top, x)
            yield x

    def _given(self, first: int, top: int, bottom: int) -> Tensor:
        """Some rows of what the stage `first` is given."""
        if self.maps.source is None:
            return self.network.centre(self.photo.read(top, bottom).to(self.device), self.mean)
        stage = self.stages[first - 1]
        kept = None
        if stage.closes and self.maps.kept is not None:
            kept = inner_columns(self.maps.kept.read(top + stage.crop, bottom + stage.crop), stage.crop)
        return finish(stage, self.maps.source.read(top, bottom), self.affines[first - 1], kept)

    def _affine(self, stage: Stage, moments: RunningMoments) -> Affine:
        if stage.norm is None:
            raise RuntimeError("a stage without normalisation needs no statistics")
        gamma, beta = stage.norm.affine(self.mix)
        return *stage.norm.statistics(*moments.result()), gamma[0].float(), beta[0].float()

    def close(self) -> None:
        """Give memory and disk back."""
        self.maps.close()


def _inner(x: Tensor, crop: int) -> Tensor:
    return x[:, :, crop:-crop, crop:-crop]
