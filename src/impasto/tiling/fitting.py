"""Painting with trained networks in the memory there is: at once where that fits, else in bands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, Moments
from impasto.networks.checkpoint import Network
from impasto.networks.inference import AtOnce
from impasto.networks.johnson import Johnson
from impasto.networks.staged import StagedNetwork
from impasto.networks.styled import StyledNetwork
from impasto.networks.universal import Universal
from impasto.tiling.adain_bands import AdaINJob, paint_adain, plan_adain
from impasto.tiling.bands import TileProgress, paint_staged
from impasto.tiling.cost import StagedJob, plan_staged
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import (
    Machine,
    Plan,
    Wishes,
    held_memory,
    shown_bytes,
    shown_seconds,
)

__all__ = ["InBands", "fits_in_memory", "measured", "plan_for", "renderer_for", "told_at_once"]

READ = 16  # bytes per pixel of a photo in memory: float32, with transparency
MASK = 4  # bytes per pixel of a mask in memory
PER_PIXEL = 52  # bytes: the result in float32, then mixed, clamped and rounded on its way to a file


def plan_for(network: Network, size: tuple[int, int], wishes: Wishes | None = None) -> Plan:
    """How a picture of this (height, width) is painted in bands; OptionError if the budget is too small."""
    if isinstance(network, AdaIN):
        return plan_adain(network, size, network.encoder.dtype, wishes)
    painter = _painter(network)
    return plan_staged(painter, size, painter.stages()[0].conv.conv2d.weight.dtype, wishes)


def renderer_for(
    network: Network,
    size: tuple[int, int],
    wishes: Wishes | None = None,
    progress: Callable[[TileProgress], None] | None = None,
) -> AtOnce | InBands:
    """What paints a photo of this (height, width) that is in memory already.

    At once where that fits into the budget, or into what is free if there is none, and nothing else is wished.
    """
    wishes = wishes or Wishes()
    budget = wishes.limit
    if _fits_at_once(network, size, wishes, budget - held_memory()):
        return AtOnce()
    return InBands(replace(wishes, budget=budget), progress)


def fits_in_memory(
    network: Network,
    size: tuple[int, int],
    goal: tuple[int, int],
    work: tuple[int, int],
    wishes: Wishes,
    *,
    masks: int = 0,
) -> bool:
    """Whether a photo of this (height, width) and its painting have room beside what paints them.

    `goal` is the size of the painting, `work` that at which the network sees it. There are so many `masks`.
    """
    budget = wishes.limit
    held = held_memory() + READ * math.prod(size) + (READ * math.prod(goal) if goal != size else 0)
    held += masks * MASK * math.prod(goal)
    if _fits_at_once(network, work, wishes, budget - held):
        return True
    try:
        plan_for(network, work, replace(wishes, budget=budget, held=held + PER_PIXEL * math.prod(goal)))
    except OptionError:
        return False
    return True


def told_at_once(network: Network, size: tuple[int, int], machine: Machine, *, reading: int = 0) -> str:
    """What painting at once needs of memory and time, as a `Plan` in words.

    `reading` is how many bytes it takes beside the photo to read styles and masks, which comes first.
    """
    job = _job(network, size)
    passes = job.ways(sampled=True)[0]
    peak = held_memory() + READ * math.prod(size) + max(reading, job.at_once())
    seconds = 2 * sum(job.cost(step) for step in passes) / machine.flops
    return f"{size[1]}x{size[0]} px at once: about {shown_bytes(peak)} of memory, {shown_seconds(seconds)}"


@in_our_settings
def measured(network: Network) -> Machine:
    """How fast this machine is with this network's kind of numbers; takes some hundredths of a second."""
    weight = next(value for value in network.parameters() if value.ndim == 4)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, 128, 128, generator=draw).to(weight).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3, generator=draw).to(weight).contiguous(memory_format=torch.channels_last)
    best = math.inf
    with torch.inference_mode():
        for _ in range(4):  # the first one warms up
            began = time.perf_counter()
            F.conv2d(x, kernel).sum().item()
            best = min(best, time.perf_counter() - began)
    return Machine(flops=2 * kernel.numel() * 126**2 / best)


def _fits_at_once(network: Network, size: tuple[int, int], wishes: Wishes, room: int) -> bool:
    """Whether so many bytes do for painting at once, and nothing else is wished."""
    return wishes.tile is None and wishes.statistics == "exact" and _job(network, size).at_once() <= room


def _job(network: Network, size: tuple[int, int]) -> StagedJob | AdaINJob:
    if isinstance(network, AdaIN):
        return AdaINJob(network, size, network.encoder.dtype)
    painter = _painter(network)
    return StagedJob(painter, size, painter.stages()[0].conv.conv2d.weight.dtype)


def _painter(network: Johnson | StyledNetwork | Universal) -> StagedNetwork:
    """What is walked of a network: all of it, or that which paints."""
    return network.painter if isinstance(network, Universal) else network


class InBands:
    """A `feedforward.Renderer` for photos, one at a time, that are too large to be painted at once.

    Args:
        wishes: the budget and how to keep it. What the process holds is measured when painting begins.
        progress: called with a record after every band.
    """

    def __init__(self, wishes: Wishes, progress: Callable[[TileProgress], None] | None = None) -> None:
        self.wishes, self.progress = wishes, progress

    def staged(self, network: StagedNetwork, photo: Tensor, mix: Tensor | None) -> Tensor:
        """See `feedforward.Renderer`."""
        plan, out = self.plan(network, _size(photo)), torch.empty_like(photo, dtype=torch.float32)
        for record in paint_staged(network, TensorPhoto(photo), plan, _into(out), mix=mix):
            self._tell(record)
        return out

    def adain(
        self,
        network: AdaIN,
        photo: Tensor,
        styles: Sequence[Tensor | Moments],
        weights: Sequence[float],
        masks: Sequence[Tensor] | None,
        alpha: float,
    ) -> Tensor:
        """See `feedforward.Renderer`."""
        known = [style if isinstance(style, Moments) else network.moments(style) for style in styles]
        plan, out = self.plan(network, _size(photo)), torch.empty_like(photo, dtype=torch.float32)
        walk = paint_adain(
            network, TensorPhoto(photo), plan, _into(out), known, weights=weights, masks=masks, alpha=alpha
        )
        for record in walk:
            self._tell(record)
        return out

    def plan(self, network: Network | StagedNetwork, size: tuple[int, int]) -> Plan:
        """How a photo that is in memory will be painted, as things are now; OptionError if the budget is too small."""
        held = held_memory() + PER_PIXEL * size[0] * size[1]
        return plan_for(cast(Network, network), size, replace(self.wishes, held=held))

    def _tell(self, record: TileProgress) -> None:
        if self.progress is not None:
            self.progress(record)


def _size(photo: Tensor) -> tuple[int, int]:
    return photo.shape[2], photo.shape[3]


def _into(out: Tensor) -> Callable[[int, Tensor], None]:
    def put(top: int, rows: Tensor) -> None:
        out[:, :, top : top + rows.shape[2]] = rows

    return put
