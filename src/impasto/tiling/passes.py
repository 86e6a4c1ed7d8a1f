"""Running a network whose normalisations need the whole picture, without having the whole picture in memory.

A pass goes over the picture from top to bottom, from a map that is stored to one that is to be, and measures the
statistics that the next pass normalises with. Maps that are dearer to store than to compute again are passed
through once more instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.streams import Pieces, Window, extend, slide
from impasto.networks.chain import ChainConv
from impasto.networks.layers import spread_out
from impasto.networks.norms import normalise
from impasto.networks.pixel_shuffle import depth_to_space, space_to_depth
from impasto.networks.staged import Stage

__all__ = [
    "Affine",
    "Maps",
    "Pass",
    "chain",
    "convolve",
    "finish",
    "inner_columns",
    "must_store",
    "raw_shapes",
    "split_for_sample",
    "split_into_passes",
    "wrong_rows",
]

Affine = tuple[Tensor, Tensor, Tensor, Tensor]  # mean, variance, γ and β of each channel, (C,) float32


@dataclass(frozen=True)
class Pass:
    """From the map stored last, through the stages `first` to `last`; statistics are taken of what `last` gives.

    `stores` says whether that is stored too; the last pass of a network neither measures nor stores, it paints.
    """

    first: int
    last: int
    stores: bool
    paints: bool = False


def must_store(stages: Sequence[Stage]) -> frozenset[int]:
    """Stages whose maps are stored in any case: those that a residual block needs again, and those inside it."""
    opening = [i for i, stage in enumerate(stages) if stage.opens]
    closing = [i for i, stage in enumerate(stages) if stage.closes]
    return frozenset(range(max(0, opening[0] - 1), closing[-1] + 1)) if opening else frozenset()


def split_into_passes(stages: Sequence[Stage], stored: frozenset[int]) -> tuple[Pass, ...]:
    """The passes over a picture if the maps of these stages are stored, in order."""
    passes, first = [], 0
    for i, stage in enumerate(stages):
        if stage.norm is not None or i in stored:
            passes.append(Pass(first, i, i in stored))
        first = i + 1 if i in stored else first
    return (*passes, Pass(first, len(stages) - 1, False, paints=True))


def split_for_sample(stages: Sequence[Stage]) -> tuple[Pass, ...]:
    """Passes that measure the first half of the stages, to where a residual block closes; the last does the rest.

    What is wrong early grows, in bfloat16 by how everything after it is then rounded; what a sample says of the
    later stages is near enough, and costs them but one pass.
    """
    closing = [i for i, stage in enumerate(stages) if stage.closes]
    if not closing:
        return (Pass(0, len(stages) - 1, False, paints=True),)
    cut = min(closing, key=lambda i: abs(i + 1 - len(stages) / 2))
    measured = [step for step in split_into_passes(stages, must_store(stages)) if step.last <= cut]
    return (*measured, Pass(cut + 1, len(stages) - 1, False, paints=True))


def raw_shapes(stages: Sequence[Stage], height: int, width: int, dtype: torch.dtype) -> list[MapShape]:
    """What every stage's convolution gives for a picture of this (padded) size."""
    shapes = []
    for stage in stages:
        height, width = stage.side(height), stage.side(width)
        shapes.append(MapShape(stage.conv.conv2d.out_channels // stage.shuffle**2, height, width, dtype))
    return shapes


def wrong_rows(stages: Sequence[Stage]) -> int:
    """How many rows at the top of the last stage's map differ where the first is given a map without its upper part."""
    wrong = 0
    for stage in stages:
        wrong = -(-(wrong + stage.extend) // stage.unshuffle) * stage.upsample * stage.spread
        wrong = -(-(wrong + stage.conv.halo) // stage.conv.conv2d.stride[0]) * stage.shuffle
    return wrong


class Maps:
    """The maps between passes. The planner goes through the same motions, where nothing is written.

    Attributes:
        source: what the stage before a pass gave, not yet normalised; None before the first is stored.
        kept: what a residual block adds where it closes, finished.
        finished: during a pass, where the finished source goes if a block opens with it.
        target: during a pass, where what it stores goes.
    """

    def __init__(self, stages: Sequence[Stage], shapes: Sequence[MapShape], pool: Pool) -> None:
        self.stages, self.shapes, self.pool = stages, shapes, pool
        self.source: RowStore | None = None
        self.kept: RowStore | None = None
        self.finished: RowStore | None = None
        self.target: RowStore | None = None

    def begin(self, step: Pass) -> None:
        """Take what the pass writes to."""
        if self.source is not None and not step.paints and self.stages[step.first].opens:
            again = self.pool.overwrites and self.stages[step.first - 1].closes
            again = again and self.kept is not None and self.kept.shape == self.source.shape
            self.finished = self.kept if again else self.pool.take(self.source.shape)
        if step.stores:
            # A convolution looks at rows below the one it gives, so those have been read by then.
            in_place = self.pool.overwrites and self.source is not None and step.first == step.last
            in_place = in_place and self.source is not None and self.source.shape == self.shapes[step.last]
            self.target = self.source if in_place else self.pool.take(self.shapes[step.last])

    def end(self, step: Pass) -> None:
        """Give back what no later pass reads."""
        if step.stores:
            if self.source is not None and self.source is not self.target:
                self.pool.give_back(self.source)
            if self.kept is not None and self.kept is not self.finished and self.stages[step.first - 1].closes:
                self.pool.give_back(self.kept)
                self.kept = None
            self.source, self.kept = self.target, self.finished or self.kept
        self.finished = self.target = None

    def close(self) -> None:
        """Give everything back."""
        for store in {id(s): s for s in (self.source, self.kept, self.finished, self.target) if s}.values():
            self.pool.give_back(store)
        self.source = self.kept = self.finished = self.target = None


def convolve(stage: Stage, pieces: Pieces, height: int) -> Pieces:
    """`Stage.convolve` by pieces of a map of `height` rows."""
    if stage.extend:
        pieces = extend(pieces, height, stage.extend)
        height += 2 * stage.extend
    if stage.unshuffle > 1:
        block = stage.unshuffle
        pieces = slide(pieces, height, Window(block, block), lambda x: space_to_depth(x, block))
        height //= block
    if stage.spread > 1:
        pieces = (spread_out(x, stage.spread) for x in pieces)
        height *= stage.spread
    if stage.upsample > 1:
        pieces = (F.interpolate(x, scale_factor=stage.upsample, mode="nearest") for x in pieces)
        height *= stage.upsample
    conv = stage.conv.conv2d
    window = Window(conv.kernel_size[0], conv.stride[0], stage.conv.halo)
    if isinstance(stage.conv, ChainConv):
        columns = stage.conv.pad_columns
        pieces = (columns(x) for x in pieces)
        before, after = stage.conv.pads(height)
        window = Window(conv.kernel_size[0], conv.stride[0], before, stage.conv.mode, after, columns=False)
    pieces = slide(pieces, height, window, lambda x: F.conv2d(x, conv.weight, conv.bias, conv.stride))
    if stage.relu_first:
        pieces = (F.relu(x) for x in pieces)
    return (depth_to_space(x, stage.shuffle) for x in pieces) if stage.shuffle > 1 else pieces


def finish(stage: Stage, x: Tensor, affine: Affine | None, kept: Tensor | None) -> Tensor:
    """`Stage.finish` where the statistics are known; leaves x alone."""
    if affine is None:
        x = F.relu(x) if stage.relu else x
        x = x + kept if kept is not None else x
        return F.relu(x) if stage.relu_sum else x
    mean, variance, gamma, beta = affine
    x = normalise(x, mean, variance, gamma, beta)
    if stage.relu:
        x = F.relu_(x)
    x = x.add_(kept) if kept is not None else x
    return F.relu_(x) if stage.relu_sum else x


def chain(stages: Sequence[Stage], affines: Sequence[Affine | None], pieces: Pieces, height: int) -> Pieces:
    """Through several stages in one go; what residual blocks keep waits until their sums want it.

    `pieces` are finished features, or the centred picture, of `height` rows.
    """
    waiting: deque[Tensor] = deque()
    for stage, affine in zip(stages, affines, strict=True):
        if stage.opens:
            waiting = deque()
            pieces = _keep(pieces, waiting)
        raw = convolve(stage, pieces, height)
        pieces = _finish_all(stage, affine, raw, waiting if stage.closes else None)
        height = stage.side(height)
    return pieces


def _keep(pieces: Pieces, waiting: deque[Tensor]) -> Pieces:
    for x in pieces:
        waiting.append(x)
        yield x


def _finish_all(stage: Stage, affine: Affine | None, pieces: Pieces, waiting: deque[Tensor] | None) -> Pieces:
    cropped = stage.crop  # rows of what was kept that are still to be left out
    for x in pieces:
        kept = None
        if waiting is not None:
            if cropped:
                _next_rows(waiting, cropped)
            kept, cropped = _next_rows(waiting, x.shape[2]), 0
        yield finish(stage, x, affine, kept if kept is None else inner_columns(kept, stage.crop))


def inner_columns(x: Tensor, crop: int) -> Tensor:
    """X without so many columns on both sides."""
    return x[..., crop:-crop] if crop else x


def _next_rows(waiting: deque[Tensor], count: int) -> Tensor:
    parts = []
    while count:
        x = waiting.popleft()
        if x.shape[2] > count:
            waiting.appendleft(x[:, :, count:])
            x = x[:, :, :count]
        parts.append(x)
        count -= x.shape[2]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
