"""Painting with a trained network, in memory: at once where that fits, else in bands, with the same result."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from impasto.core.colour import cover
from impasto.core.memory import (
    PER_PIXEL,
    READ,
    available_memory,
    device_memory,
    held_memory,
    shown_bytes,
    shown_seconds,
)
from impasto.core.precision import Precision
from impasto.core.resizing import bicubic_rows, resize
from impasto.core.tensors import to_array, to_tensor
from impasto.errors import OptionError
from impasto.imaging import Picture
from impasto.imaging.noise import on_ground
from impasto.imaging.sizes import Bicubic
from impasto.stylizer.by_network import ByNetwork, InMemory
from impasto.stylizer.finishing import read_masks
from impasto.stylizer.job import JobPlan, Phase, Progress
from impasto.stylizer.request import EngineName, StylizeRequest
from impasto.stylizer.sizes import Sizes
from impasto.stylizer.strokes import REPAINTED
from impasto.stylizer.torch_model import TorchModel
from impasto.tiling.bands import BandProgress
from impasto.tiling.cascade import paint_coarse_to_fine
from impasto.tiling.fitting import (
    bytes_at_once,
    measured,
    paint,
    plan_bands,
    seconds_at_once,
)
from impasto.tiling.plan import Machine, TilingOptions, TilingPlan

if TYPE_CHECKING:
    from impasto.networks.bound import BoundStyle
    from impasto.networks.registry import Network

__all__ = ["InTorch", "NetworkJob", "coarse_work", "computed_by", "pieces_of", "tiling_options"]


def tiling_options(
    request: StylizeRequest, budget: int | None, held: int = 0, *, resumable: bool = False
) -> TilingOptions:
    """How a network may divide a picture, given a request, and a budget of which `held` bytes are taken."""
    return TilingOptions(
        budget=budget, held=held, tile=request.tile, statistics=request.statistics or "exact", resumable=resumable
    )


def computed_by(device: torch.device, precision: Precision) -> dict[str, str]:
    """See `Job.computed_by`: where torch computes, and in which numbers."""
    return {
        "torch": version("torch"),
        "device": device.type,
        "precision": str(precision.dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


def pieces_of(tiling: TilingPlan) -> int:
    """Bands times passes."""
    return len(tiling.passes) * max(1, (tiling.padded or tiling.height) // tiling.band)  # as `split_rows` has it


def coarse_work(
    network: Network, sizes: Sizes, plans: Sequence[TilingPlan | None], machine: Machine
) -> tuple[float, int]:
    """Seconds that the coarse sizes should take, each by its plan (None is at once), and their pieces."""
    seconds, pieces = 0.0, 0
    for size, plan in zip(sizes.coarse, plans, strict=True):
        seconds += seconds_at_once(network, size, machine) if plan is None else plan.seconds_on(machine)
        pieces += 1 if plan is None else 1 + pieces_of(plan)
    return seconds, pieces


class InTorch(ByNetwork[TorchModel]):
    """What jobs have in common that a network in torch paints.

    Attributes:
        elsewhere: bytes within which onnxruntime would paint it, where that was tried first.
    """

    elsewhere: int | None = None

    @property
    def computes_in(self) -> EngineName:
        """See `Job.computes_in`."""
        return "torch"

    def computed_by(self) -> dict[str, str]:
        """See `Job.computed_by`."""
        return computed_by(self.model.device, self.model.precision)

    @property
    def resize_by(self) -> Bicubic:
        """See `Job.resize_by`."""
        return bicubic_rows


class NetworkJob(InMemory[TorchModel], InTorch):
    """A photo and a network, in memory; arguments as of `ByNetwork`."""

    def plan(self) -> JobPlan:
        """See `Job.plan`."""
        sizes, network = self.sizes, self.model.network
        limit, machine = self.engine.limit(self.request), measured(network)
        held = self.engine.budget.held_before()  # what others take meanwhile is free again when this one's turn comes
        room = (available_memory() if limit is None else limit - held) - sizes.picture_bytes
        reading = self.model.reading_bytes(self.request, sizes.painting, limit)
        options = self._options(held_memory() + self._features(room))
        *coarse, tiling = (plan_bands(network, size, options) for size in sizes.all_seen)
        seconds, pieces = coarse_work(network, sizes, coarse, machine)
        if tiling is None:
            work = max(reading, bytes_at_once(network, sizes.seen))
            memory = held + sizes.picture_bytes + work
            seconds += seconds_at_once(network, sizes.seen, machine)
            shown = f"about {shown_bytes(memory)} of memory, {shown_seconds(seconds)}"
            message = f"{sizes.told_before}{sizes.seen[1]}x{sizes.seen[0]} px at once: {shown}"
            return JobPlan("at once", sizes.painting, pieces + 1, memory, seconds, (message,))
        peak = tiling.peak - held_memory() + held + sizes.picture_bytes
        peak = max(peak, held + READ * math.prod(sizes.photo) + reading)
        tiling = replace(tiling, seconds=seconds + tiling.seconds_on(machine), peak=peak)
        pieces += pieces_of(tiling) + bool(coarse)
        return JobPlan("bands", sizes.painting, pieces, tiling.peak, tiling.seconds, (f"{sizes.told_before}{tiling}",))

    def _need(self) -> int:
        return self.need

    @property
    def need(self) -> int:
        """Bytes that painting takes at most if it can, beside what the process holds."""
        reading = self.model.reading_bytes(self.request, self.sizes.painting, self.engine.limit(self.request))
        return self.sizes.picture_bytes + max(reading, bytes_at_once(self.model.network, self.sizes.seen))

    def paint_phase(self, phase: Phase, room: int) -> Generator[Progress, None, Picture]:
        """See `InMemory.paint_phase`."""
        picture = self._photo = self.read_photo(self.sizes.painting)
        bound = self.model.bind(self.request.style, self.request.max_megapixels, self.engine.limit(self.request))
        room -= self.sizes.picture_bytes - self.sizes.coarse_bytes  # which is measured, once it is there
        yield Progress(phase, 0, 1.0, size=self.sizes.seen)
        with suppress(torch.OutOfMemoryError):
            return (yield from self._paint(picture, bound, phase, self._features(room)))
        # What else runs on the device was not known: once more, within half of what seems to be free now.
        device = self.model.device
        if device.type == "cuda":
            torch.cuda.empty_cache()
        note = f"{device} had less memory than it told: painting again in smaller pieces"
        yield Progress(phase, 0, 1.0, size=self.sizes.seen, note=note)
        try:
            return (yield from self._paint(picture, bound, phase, self._features(room) // 2))
        except torch.OutOfMemoryError as error:
            height, width = self.sizes.painting
            raise OptionError(
                f"{width}x{height} px need more memory than {device} has free: choose a smaller `size`, or `device` cpu"
            ) from error

    @torch.inference_mode()
    def _paint(
        self, picture: Picture, bound: BoundStyle, phase: Phase, room: int
    ) -> Generator[Progress, None, Picture]:
        """The painting, its features within so many bytes of the model's device."""
        request, goal, seen = self.request, self.sizes.painting, self.sizes.seen
        photo, shown = (to_tensor(rows).to(self.model.device) for rows in (picture.rgb, picture.seen()))
        masks = [
            to_tensor(mask).to(self.model.device)
            for mask in read_masks(
                request.mask,
                goal,
                styles=max(1, len(request.style)),
                max_megapixels=request.max_megapixels,
                budget=self.engine.limit(request),
                by=bicubic_rows,
            )
        ]
        work = resize(shown, seen)
        regions = [resize(mask, seen) for mask in masks] if len(masks) > 1 else None
        alpha = 1.0 if request.alpha is None else request.alpha
        options = self._options(held_memory() + room)
        # What mixes features has a strength of its own; to all others a painting of less is one mixed with the photo.
        inside = request.strength if self.model.mixes_features else 1.0
        prime = partial(self._primed, inside)
        if self.sizes.coarse:
            walk = paint_coarse_to_fine(bound, work, self.sizes.coarse, REPAINTED, options, masks=regions, prime=prime)
        else:
            walk = paint(bound, prime(work), options, masks=regions, alpha=alpha, strength=inside)
        painted = yield from self._told(walk, phase)
        if inside != request.strength:
            painted = torch.lerp(work, painted, request.strength)
        if seen != goal:
            painted = resize(painted, goal)
            if request.strength < 1:
                # What shrinking took from the photo comes back as the strength goes, or 0 would be a blurred photo.
                painted = painted + (1 - request.strength) * (shown - resize(work, goal))
        if request.strength < 1 and picture.ground is not None:
            painted = painted + (1 - request.strength) * (photo - shown)  # where transparency begins, it was shown less
        return picture.with_rgb(to_array(cover(photo, painted, masks, keep_colors=request.keep_colors)))

    def _options(self, budget: int) -> TilingOptions:
        """How it may be divided within a budget that leaves out what the painting takes."""
        options, reserved = tiling_options(self.request, budget), PER_PIXEL * math.prod(self.sizes.painting)
        told = self.engine.limit(self.request)
        return replace(options, reserved=reserved, told=told, elsewhere=self.elsewhere)

    def _primed(self, strength: float, photo: Tensor) -> Tensor:
        """A photo (1, 3, H, W) with its painter's ground, as strong as its painting will be."""
        if not self.ground:
            return photo
        return to_tensor(on_ground(to_array(photo), self.ground * strength)).to(photo.device)

    def _told(self, walk: Generator[BandProgress, None, Tensor], phase: Phase) -> Generator[Progress, None, Tensor]:
        """The records of a walk in bands, as those of a job, the last one at its end; gives back what it gives back."""
        done = 0.0
        while True:
            try:
                record = next(walk)
            except StopIteration as end:
                painted: Tensor = end.value
                if done < 1:  # there were no bands, or their shares are not quite 1 together
                    yield Progress(phase, 1.0, 1.0, size=self.sizes.seen)
                return painted
            done = record.done
            try:
                yield Progress(phase, record.done, 1.0, left=record.left, size=self.sizes.seen)
            except GeneratorExit:
                walk.close()
                raise

    def _features(self, room: int) -> int:
        """Bytes there are for features: beside the processor's memory, a device has its own."""
        return room if self.model.device.type == "cpu" else device_memory(self.model.device)
