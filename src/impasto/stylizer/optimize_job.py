"""Painting by optimisation as a job: pictures read and brought to size, the backbone loaded, then step by step."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.core.colour import cover, match_colours
from impasto.core.host import trainable
from impasto.core.memory import (
    PER_PIXEL,
    READ,
    available_memory,
    device_memory,
    held_memory,
    room_within,
    shown_seconds,
)
from impasto.core.precision import Precision, choose_precision, pick_device
from impasto.core.resizing import bicubic_rows
from impasto.core.tensors import to_array, to_tensor
from impasto.core.vgg import VGG
from impasto.errors import OptionError, counted
from impasto.files import shown
from impasto.imaging import Picture, fit_long_side
from impasto.imaging.reduced import read_reduced
from impasto.imaging.sizes import Bicubic
from impasto.optimize.blockwise import Layout, layout_for, state_bytes, step_cost
from impasto.optimize.loop import Optimization, scales_of
from impasto.optimize.objective import Anchor
from impasto.optimize.presets import OptimizeSettings, preset
from impasto.stylizer.finishing import read_masks
from impasto.stylizer.job import Job, JobPlan, Kept, Output, Phase, Progress, Steps
from impasto.stylizer.network_job import NetworkJob, computed_by
from impasto.stylizer.recipe import PRESETS
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import UNIVERSAL, preset_of
from impasto.stylizer.run_folder import RunFolder, damaged_state
from impasto.stylizer.styles import Style
from impasto.stylizer.torch_model import TorchModel
from impasto.tiling.fitting import bytes_at_once, measured

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine
    from impasto.types import PictureSource

__all__ = ["OptimizeJob"]

MIN_SIDE = 32  # what is left after four poolings must still be a picture
MIN_STYLE_SIDE = 16  # or, of a style, at least a pixel


class OptimizeJob(Job):
    """A photo, pictures as styles, and what is minimised.

    Args:
        settings: of the optimisation.
        beginning: a picture to begin with, instead of what `settings.init` says.

    Attributes:
        precision: in which features are computed, and why.
        optimization: what is under way; None until `run` or `prepare` was called.
        state: of an earlier run, for `prepare` to go on from.
        state_of: the folder of that run.
        near: what it is to stay near: a picture (h, w, 3) in [0, 1] of the painting's size, where each pixel of it
            counts (h, w), and the weight of its squared error; None where there is nothing.
    """

    near: tuple[NDArray[np.float32], NDArray[np.float32], float] | None = None

    def __init__(
        self,
        engine: Engine,
        photo: PictureSource,
        request: StylizeRequest,
        settings: OptimizeSettings,
        beginning: PictureSource | None = None,
        output: Output | None = None,
    ) -> None:
        super().__init__(engine, photo, request, output)
        self.settings, self.beginning = settings, beginning
        self.device = pick_device(request.device)
        self.precision: Precision = choose_precision(self.device, request.precision)
        self.optimization: Optimization | None = None
        self.state: Mapping[str, Any] | None = None
        self.state_of: RunFolder | None = None
        self._photo: Picture | None = None  # at the size of the painting
        self._masks: list[Tensor] = []
        self._check_size()  # before a network is loaded

    # -- what others call -----------------------------------------------------------------------------------

    def plan(self) -> JobPlan:
        """See `Job.plan`."""
        size, scales, layouts, memory = self._planned()
        costs = [step_cost(eye, self.settings) for eye in self._eyes()]
        first = 1 - 1 / self.settings.second_every if len(costs) > 1 else 1.0
        cost = first * costs[0] + (1 - first) * costs[-1]
        work = sum(steps * math.prod(at) * cost for at, steps in scales)
        seconds = 2 * work / measured(self._backbone()).flops
        message = [
            f"{at[1]}x{at[0]} px, {steps} steps: {'at once' if layout is None else layout}"
            for (at, steps), layout in zip(scales, layouts, strict=True)
        ]
        message.append(f"in all {shown_seconds(seconds)}")
        return JobPlan("steps", size, sum(steps for _, steps in scales), memory, seconds, tuple(message))

    def preview(self) -> Picture:
        """See `Job.preview`."""
        if self.optimization is None or not self.optimization.step:
            return self.picture()
        return self.result()

    def result(self) -> Picture:
        """See `Job.result`; the picture so far while it runs."""
        if self.optimization is None or self._photo is None:
            self._check_open()
            raise RuntimeError("nothing is painted yet")
        photo = to_tensor(self._photo.rgb)
        painted = torch.lerp(photo, self.optimization.image().float().cpu(), self.request.strength)
        return self._photo.with_rgb(to_array(cover(photo, painted, self._masks)))

    @property
    def _begun(self) -> bool:
        """Whether there is a state, of a run that has begun."""
        return self.state is not None and self.state["scale"] is not None

    @property
    def step(self) -> int:
        """Steps done."""
        return 0 if self.optimization is None else self.optimization.step

    @property
    def steps(self) -> int:
        """Steps in all."""
        return sum(steps for _, steps in scales_of(self._size(), self.settings))

    @property
    def painting_size(self) -> tuple[int, int]:
        """See `Job.painting_size`."""
        return self._size()

    def picture(self) -> Picture:
        """The photo at the size of the painting."""
        return self._photo or self.read_photo(self._size())

    def image(self) -> Tensor:
        """What the optimisation has painted so far, without strength and mask, (1, 3, H, W) in [0, 1]."""
        if self.optimization is None:
            self._check_open()
            raise RuntimeError("nothing is painted yet")
        return self.optimization.image()

    def summary(self) -> str:
        """See `Job.summary`."""
        height, width = self._size()
        dtype = str(self.precision.dtype).removeprefix("torch.")
        turns = self.step // self.settings.second_every
        seen_by = " and ".join(eye.name for eye in self._eyes()[: 2 if turns else 1])
        return f"{width}x{height} px, {counted(self.step, 'step')} on {seen_by} in {dtype} ({self.precision.reason})"

    def networks(self) -> dict[str, str]:
        """See `Job.networks`."""
        used = {"backbone": self.engine.backbone_hash(self.settings.backbone)}
        if self.settings.second_backbone is not None:
            used["second backbone"] = self.engine.backbone_hash(self.settings.second_backbone)
        return used | {"model": self._draft_model().sha256} if self._wants_network else used

    def computed_by(self) -> dict[str, str]:
        """See `Job.computed_by`."""
        return computed_by(self.device, self.precision) | PRESETS

    @property
    def resize_by(self) -> Bicubic:
        """See `Job.resize_by`."""
        return bicubic_rows

    def as_optimisation(self) -> OptimizeJob:
        """See `Job.as_optimisation`."""
        return self

    def prepare(self, room: int) -> Steps:
        """Read the pictures, bring them to size, load the backbone, paint a draft if that is what it begins with.

        `room` is how many bytes of the device that computes this and the optimisation may take.
        """
        if self.optimization is not None:
            return
        request, settings = self.request, self.settings
        picture = self._photo = self.read_photo(self._size())
        limit, largest = self.engine.limit(request), request.max_megapixels
        size, seen = (picture.height, picture.width), to_tensor(picture.seen())
        long = self._largest_style(size)
        styles = [
            (
                read_reduced(
                    row.image, long_side=long, max_megapixels=largest, room=room_within(limit), by=bicubic_rows
                ),
                row.weight,
            )
            for row in request.style
        ]
        first = None
        if self.beginning is not None:
            found = read_reduced(
                self.beginning, size=size, max_megapixels=largest, room=room_within(limit), by=bicubic_rows
            )
            first = to_tensor(found.seen())
        elif self._wants_draft:  # unless the state has what became of it
            first = seen if self._begun else to_tensor((yield from self._draft(picture, styles, room)).rgb)
        optimization = Optimization(
            trainable(seen.to(self.device)),
            [(trainable(to_tensor(style.weighed()).to(self.device)), weight) for style, weight in styles],
            settings,
            self._backbone(),
            None if first is None else trainable(first.to(self.device)),
            room,
            self._anchor(),
            second=next(iter(self._eyes()[1:]), None),
            repaint=lambda image: self._painted_over(image, styles, room),
        )
        _check_styles([style for style, _ in styles], optimization.scales[0][0], settings)
        masks = read_masks(request.mask, size, max_megapixels=largest, budget=limit, by=bicubic_rows)
        self._masks = [to_tensor(mask) for mask in masks]
        if self.state is not None:
            try:
                optimization.load_state_dict(self.state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise damaged_state(self.state_of, error) from error
            self.state = None
        self.optimization = optimization

    def _anchor(self) -> Anchor | None:
        if self.near is None:
            return None
        picture, where = (trainable(to_tensor(part).to(self.device)) for part in self.near[:2])
        return Anchor(picture, where, self.near[2])

    # -- the work -------------------------------------------------------------------------------------------

    def _need(self) -> int:
        *_, memory = self._planned()
        need = memory - held_memory()
        if self.settings.repaint and self._wants_network:
            return max(need, self._draft_bytes() + state_bytes(self.settings, self._size()))
        return max(need, self._draft_bytes()) if self._wants_draft and not self._begun else need

    def _forget(self) -> None:
        super()._forget()
        self.optimization = self._photo = self.state = None
        self._masks = []

    def _work(self) -> Steps:
        on_cuda = self.device.type == "cuda"
        try:
            yield from self.prepare(device_memory(self.device) if on_cuda else self._room - self._picture_bytes())
            finished = False
            with suppress(torch.OutOfMemoryError):
                yield from self._steps()
                finished = True
            if not finished:  # what else runs on the device was not known: once more, with half of what is free now
                if on_cuda:
                    torch.cuda.empty_cache()
                yield from self._steps(device_memory(self.device) // 2)
        except torch.OutOfMemoryError as error:
            height, width = self._size()
            raise OptionError(
                f"{width}x{height} px need more memory than {self.device} has free: choose a smaller `size`, or "
                "`device` cpu"
            ) from error
        if self.output is not None:
            yield Progress("writing", 0, 1)
            self.write()

    def paint_phase(self, phase: Phase, room: int) -> Generator[Progress, None, Picture]:
        """Paint as a phase of another job, within so many bytes; gives the painting back."""
        yield from self.prepare(device_memory(self.device) if self.device.type == "cuda" else room)
        for record in self._steps():
            yield replace(record, phase=phase)
        return self.result()

    def _steps(self, room: int | None = None) -> Steps:
        """The steps that are left, within so many bytes of the device instead of those that it was thought to have."""
        optimization = self.optimization
        if optimization is None:
            raise RuntimeError("nothing was prepared")
        note = self._why_alone() if optimization.step == 0 else None
        if room is not None:
            optimization.room = room
            note = f"{self.device} had less memory than it told: going on in smaller pieces"
        begun = optimization.step
        for record in optimization.run():
            left = record.seconds / (record.step - begun) * (record.steps - record.step)
            notes = " ".join(filter(None, (note, record.note))) or None
            note = None
            yield Progress(
                "painting",
                record.step,
                record.steps,
                left=left,
                size=record.scale,
                losses=record.losses,
                note=notes,
                seen_by=record.seen_by,
            )

    def _why_alone(self) -> str | None:
        """Why one network sees where the preset has two; None where it has one, or where one was asked for."""
        asked = self.request
        if asked.backbone is not None or "second_backbone" in asked.settings or self.settings.second_backbone:
            return None
        second = preset(preset_of(asked)).second_backbone
        if second is None:
            return None
        why = (
            "lacks one of these layers"
            if self.settings.sees_alike
            else "takes turns only by relative errors, Gram matrices and adam"
        )
        return f"{self.settings.backbone} alone sees: {second} {why}"

    @property
    def _wants_draft(self) -> bool:
        """Whether it begins with what a network paints."""
        return self.settings.init == "draft" and self.beginning is None

    @property
    def _wants_network(self) -> bool:
        """Whether a network paints some of it: what it begins with, or over what is there."""
        return self._wants_draft or (self.settings.repaint > 0 and self.beginning is None)

    def _draft(
        self, picture: Picture, styles: Sequence[tuple[Picture, float]], room: int
    ) -> Generator[Progress, None, Picture]:
        seen = to_tensor(picture.seen())
        request = StylizeRequest.of(
            style=[Style(_in_colours_of(seen, style, self.settings), weight) for style, weight in styles],
            style_scale=1,  # forms are the optimisation's own, on any ground
            ground=0,
            max_megapixels=self.request.max_megapixels,
            max_memory=self.request.max_memory,
        )
        with NetworkJob(self.engine, picture, request, self._draft_model()) as job:
            return (yield from job.paint_phase("draft", room))

    def _painted_over(self, image: Tensor, styles: Sequence[tuple[Picture, float]], room: int) -> Tensor:
        """A picture (1, 3, h, w) of the optimisation's, as the network paints it, beside what that moves."""
        room = max(0, room - state_bytes(self.settings, self._size()))
        for _ in (steps := Kept(self._draft(Picture(to_array(image)), styles, room))):
            pass
        return to_tensor(steps.value.rgb)

    def _draft_model(self) -> TorchModel:
        return self.engine.torch_model(UNIVERSAL, device=self.request.device, precision=self.request.precision)

    # -- what it takes --------------------------------------------------------------------------------------

    def _largest_style(self, size: tuple[int, int]) -> int:
        """Long side in px at which styles are looked at, at the last scale."""
        return max(1, round(max(size) * self.settings.style_scale))

    def _planned(
        self,
    ) -> tuple[tuple[int, int], Sequence[tuple[tuple[int, int], int]], Sequence[Layout | None], int]:
        """The size, the scales with their steps, the blocks of each (None: at once), and the bytes of memory."""
        size = self._size()
        scales = scales_of(size, self.settings)
        eyes = self._eyes()
        state = state_bytes(self.settings, size)
        held = held_memory() + self._picture_bytes()
        limit = self.engine.limit(self.request)
        if self.device.type == "cuda":
            room, told = device_memory(self.device) - state, 0
        else:
            room = (available_memory() - self._picture_bytes() if limit is None else limit - held) - state
            told = held + state
        found = [  # the largest first: where there is no room, it is what is told
            max((layout_for(eye, self.settings, at, room, held=told) for eye in eyes), key=lambda one: one.bytes)
            for at, _ in reversed(scales)
        ][::-1]
        memory = held if self.device.type == "cuda" else told + max(layout.bytes for layout in found)
        return size, scales, [None if one.down == one.across == 1 else one for one in found], memory

    def _picture_bytes(self) -> int:
        """What the photo, and what is made of it, takes in memory."""
        return 3 * READ * math.prod(self._size())

    def _draft_bytes(self) -> int:
        """What painting the draft takes beside that."""
        size, model = self._size(), self._draft_model()
        features = 0 if self.device.type == "cuda" else bytes_at_once(model.network, size)
        return self._picture_bytes() + PER_PIXEL * math.prod(size) + features

    def _backbone(self) -> VGG:
        return self._eyes()[0]

    def _eyes(self) -> tuple[VGG, ...]:
        """The networks that see: one, or two that take turns. LayerError where one lacks a layer of the settings."""
        settings, request = self.settings, self.request
        where: dict[str, Any] = {"device": request.device, "precision": request.precision}
        eyes = [self.engine.backbone(settings, input=request.backbone_input, **where)]
        if settings.second_backbone is not None:
            second = replace(settings, backbone=settings.second_backbone)
            eyes.append(self.engine.backbone(second, input=None, **where))
        for eye in eyes:
            eye.check([*settings.content_layers, *settings.style_layers])
        return tuple(eyes)

    def _size(self) -> tuple[int, int]:
        if self._photo is not None:
            return self._photo.height, self._photo.width
        own = self.photo_size
        return own if self.request.size == 0 else fit_long_side(own, self.settings.size, upscale=self.request.upscale)

    def _check_size(self) -> None:
        height, width = self._size()
        if min(height, width) < MIN_SIDE:
            need = math.ceil(max(self.photo_size) * MIN_SIDE / min(self.photo_size))
            name = shown(self.photo_path) if self._original is None else self._original.name
            raise OptionError(
                f"{name}: would be painted at {width}x{height} px, need at least {MIN_SIDE} on the short side: "
                f"use a `size` of {need} or more, or crop it"
            )


def _in_colours_of(photo: Tensor, style: Picture, settings: OptimizeSettings) -> Picture:
    """The style that a draft is painted in: in the photo's colours if `histogram` keeps them."""
    if settings.keep_colors != "histogram":
        return style
    style = style.cleared()
    return replace(style, rgb=to_array(match_colours(to_tensor(style.weighed()), photo)), ground=None)


def _check_styles(styles: Sequence[Picture], coarsest: tuple[int, int], settings: OptimizeSettings) -> None:
    long = max(1, round(max(coarsest) * settings.style_scale))
    for style in styles:
        height, width = fit_long_side((style.height, style.width), long, upscale=True)
        if min(height, width) < MIN_STYLE_SIDE:
            raise OptionError(
                f"{style.name}: would be looked at at {width}x{height} px, need at least {MIN_STYLE_SIDE} on the short "
                "side: use a larger `style_scale`, or crop it"
            )
