"""Painting with trained networks in the memory there is: at once where that fits, else in bands."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core.host import in_our_settings
from impasto.core.memory import PER_PIXEL, READ, held_memory, release_blocks
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINForward
from impasto.networks.bound import BoundStyle, ForwardPass, StagedForward
from impasto.networks.operators import OperatorsForward
from impasto.networks.registry import Network, as_adain, as_operators, painter_of
from impasto.networks.staged import StagedNetwork
from impasto.tiling.adain_bands import AdaINCost, paint_adain
from impasto.tiling.bands import BandProgress, PutRows, paint_staged
from impasto.tiling.cost import StagedCost
from impasto.tiling.journal import Journal
from impasto.tiling.operator_bands import OperatorsCost, paint_operators
from impasto.tiling.photos import Photo, TensorPhoto
from impasto.tiling.plan import Machine, TilingOptions, TilingPlan, choose

__all__ = [
    "bytes_at_once",
    "fits_in_memory",
    "measured",
    "paint",
    "paint_rows",
    "plan_bands",
    "plan_for",
    "seconds_at_once",
]

FRESH: Final = 60.0  # seconds for which a machine is as fast as it was measured

Cost = StagedCost | AdaINCost | OperatorsCost
MASK = 4  # bytes per pixel of a mask in memory
_Key = tuple[tuple[int, int], torch.dtype, bool]
_costs: WeakKeyDictionary[StagedNetwork, tuple[_Key, StagedCost]] = WeakKeyDictionary()


@torch.inference_mode()
def paint(
    bound: BoundStyle,
    photo: Tensor,
    options: TilingOptions | None = None,
    *,
    masks: Sequence[Tensor] | None = None,
    alpha: float = 1.0,
    strength: float = 1.0,
) -> Generator[BandProgress, None, Tensor]:
    """Repaint a photo, at once where that fits into the budget (or what is free) and `options` ask for nothing else.

    Otherwise it is painted in bands, with a record after each: the share of the whole painting that is done, which
    only grows. What the generator returns is the painting, as `bound` itself gives it. Closing it stops, and gives
    memory and disk back.

    Args:
        bound: a network with its styles, from `inference.bind`.
        photo: (1, 3, H, W) in [0, 1] on the network's device.
        options: the budget and how to keep it; what the process holds is measured.
        masks, alpha, strength: see `BoundStyle.forward`.

    Raises:
        OptionError: the budget is too small; and as from `BoundStyle.forward`.
        OutputError: the disk has no room for what memory cannot hold.
    """
    passes = bound.forward_passes(photo, masks=masks, alpha=alpha, strength=strength)
    count = bound.count_forward_passes(masks, strength)
    options = options or TilingOptions()
    budget, began, number, size = options.limit, time.perf_counter(), 0, (photo.shape[2], photo.shape[3])
    options = replace(options, budget=budget)
    model = _cost_of(bound.whole(), size)
    at_once = _fits_at_once(model, options, budget - held_memory())
    if not at_once:  # what is free already, but kept, would count as held
        release_blocks()
        at_once = _fits_at_once(model, options, budget - held_memory())
    one = next(passes)
    while True:
        if at_once:
            painted = one.at_once(photo)
        else:
            painted = torch.empty_like(photo, dtype=torch.float32)
            plan = choose(_cost_of(one, size), _holding(options, size))
            with closing(_rows_of(one, TensorPhoto(photo), plan, _into(painted))) as records:
                for record in records:
                    yield BandProgress((number + record.done) / count, time.perf_counter() - began)
        number += 1
        try:
            one = passes.send(painted)
        except StopIteration as end:
            result: Tensor = end.value
            return result
        del painted  # or it would live on beside the next


def paint_rows(
    bound: BoundStyle,
    photo: Photo,
    plan: TilingPlan,
    put_rows: PutRows,
    *,
    alpha: float = 1.0,
    journal: Journal | None = None,
) -> Generator[BandProgress, None, None]:
    """Repaint a photo that need not be in memory, in bands: finished rows go to `put_rows` from the top to the bottom.

    Closing the generator stops between two bands, and gives memory and disk back.

    Args:
        bound: a network with its styles, from `inference.bind`.
        photo: of any size.
        plan: from `plan_for`, made for this network and this size.
        put_rows: takes the first row's number, and (1, 3, n, W) in [0, 1].
        alpha: see `BoundStyle.forward`.
        journal: where to keep how far it is, see `paint_staged`; only where the network's `NetworkKind` is `resumable`.

    Raises:
        OptionError: `alpha` is out of range or means nothing to the network; or a journal, where it is not resumable.
        OutputError: the disk has no room for what memory cannot hold.
    """
    return _rows_of(bound.whole(alpha), photo, plan, put_rows, journal)


def plan_for(network: Network, size: tuple[int, int], options: TilingOptions | None = None) -> TilingPlan:
    """How a picture of this (height, width) is painted in bands; OptionError if the budget is too small."""
    options = options or TilingOptions()
    return choose(_cost_model(network, size, resumable=options.resumable), options)


def plan_bands(network: Network, size: tuple[int, int], options: TilingOptions | None = None) -> TilingPlan | None:
    """How `paint` would paint a photo of this (height, width) as things are now; None is at once.

    Raises:
        OptionError: the budget is too small.
    """
    options = options or TilingOptions()
    options = replace(options, budget=options.limit)
    model = _cost_model(network, size)
    if _fits_at_once(model, options, options.limit - held_memory()):
        return None
    return choose(model, _holding(options, size))


def fits_in_memory(
    network: Network,
    size: tuple[int, int],
    goal: tuple[int, int],
    work: tuple[int, int],
    options: TilingOptions,
    *,
    masks: int = 0,
    beside: int = 0,
) -> bool:
    """Whether a photo of this (height, width) and its painting have room beside what paints them.

    `goal` is the size of the painting, `work` that at which the network sees it. There are so many `masks`, and so many
    other bytes `beside` it.
    """
    budget = options.limit
    held = held_memory() + beside + READ * math.prod(size) + (READ * math.prod(goal) if goal != size else 0)
    held += masks * MASK * math.prod(goal)
    if math.prod(work) > math.prod(goal):  # photo and painting as the network has them
        held += (READ + PER_PIXEL) * math.prod(work)
    if _fits_at_once(_cost_model(network, work), options, budget - held):
        return True
    try:
        plan_for(network, work, replace(options, budget=budget, held=held + PER_PIXEL * math.prod(goal)))
    except OptionError:
        return False
    return True


def bytes_at_once(network: Network, size: tuple[int, int]) -> int:
    """Bytes that painting a photo of this (height, width) at once takes, photo and painting aside."""
    return _cost_model(network, size).at_once()


def seconds_at_once(network: Network, size: tuple[int, int], machine: Machine) -> float:
    """How long that should take."""
    model = _cost_model(network, size)
    return 2 * sum(model.cost(step) for step in model.pass_choices(sampled=True)[0]) / machine.flops


_measured: dict[tuple[torch.dtype, torch.device, int], tuple[float, Machine]] = {}


@in_our_settings
def measured(network: nn.Module) -> Machine:
    """How fast this machine is with this network's kind of numbers, now or a minute ago; finding out takes 0.02 s.

    Neighbours come and go, so that it does not hold for long.
    """
    weight = next(value for value in network.parameters() if value.ndim == 4)
    key = (weight.dtype, weight.device, torch.get_num_threads())
    when, known = _measured.get(key, (-math.inf, None))
    if known is not None and time.monotonic() < when + FRESH:
        return known
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 64, 128, 128, generator=draw).to(weight).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3, generator=draw).to(weight).contiguous(memory_format=torch.channels_last)
    best = math.inf
    with torch.inference_mode():
        for _ in range(4):  # the first one warms up
            began = time.perf_counter()
            F.conv2d(x, kernel).sum().item()
            best = min(best, time.perf_counter() - began)
    found = Machine(flops=2 * kernel.numel() * 126**2 / best)
    _measured[key] = time.monotonic(), found
    return found


def _fits_at_once(model: Cost, options: TilingOptions, room: int) -> bool:
    """Whether so many bytes do for painting at once, and nothing else is asked for."""
    return options.tile is None and options.statistics == "exact" and model.at_once() <= room


def _holding(options: TilingOptions, size: tuple[int, int]) -> TilingOptions:
    """The options where photo and painting of this size are in memory, as things are now."""
    return replace(options, held=held_memory() + max(0, PER_PIXEL * size[0] * size[1] - options.reserved))


def _cost_model(network: Network, size: tuple[int, int], *, resumable: bool = False) -> Cost:
    if (adain := as_adain(network)) is not None:
        return _adain_cost(adain, size)
    if (listed := as_operators(network)) is not None:
        return OperatorsCost(listed, size, resumable=resumable)
    return _staged_cost(painter_of(network), size, resumable=resumable)


def _cost_of(one: ForwardPass, size: tuple[int, int]) -> Cost:
    match one:
        case StagedForward():
            return _staged_cost(one.network, size)
        case AdaINForward():
            return _adain_cost(one.network, size)
        case OperatorsForward():
            return OperatorsCost(one.network, size)
    raise TypeError(f"no cost model for {type(one).__name__}")


def _staged_cost(network: StagedNetwork, size: tuple[int, int], *, resumable: bool = False) -> StagedCost:
    """What it costs, asked for several times a picture: the last answer for a network is kept with it."""
    key = size, next(network.parameters()).dtype, resumable
    known = _costs.get(network)
    if known is None or known[0] != key:
        dtype = network.stages()[0].conv.conv2d.weight.dtype
        known = _costs[network] = key, StagedCost(network, size, dtype, resumable=resumable)
    return known[1]


def _adain_cost(network: AdaIN, size: tuple[int, int]) -> AdaINCost:
    return AdaINCost(network, size, network.encoder.dtype)


def _rows_of(
    one: ForwardPass, photo: Photo, plan: TilingPlan, put_rows: PutRows, journal: Journal | None = None
) -> Generator[BandProgress, None, None]:
    """One forward pass in bands."""
    match one:
        case StagedForward():
            return paint_staged(one.network, photo, plan, put_rows, mix=one.mix, journal=journal)
        case OperatorsForward():
            return paint_operators(one.network, photo, plan, put_rows, one.parameters, journal=journal)
        case AdaINForward():
            _check_no_journal(journal, one.network.METHOD)
            return paint_adain(
                one.network, photo, plan, put_rows, one.styles, weights=one.weights, masks=one.masks, alpha=one.alpha
            )
    raise TypeError(f"no bands for {type(one).__name__}")


def _check_no_journal(journal: Journal | None, method: str) -> None:
    if journal is not None:
        raise OptionError(f"this network's paintings ({method}) cannot be resumed: leave out the run's folder")


def _into(out: Tensor) -> Callable[[int, Tensor], None]:
    def put(top: int, rows: Tensor) -> None:
        out[:, :, top : top + rows.shape[2]] = rows

    return put
