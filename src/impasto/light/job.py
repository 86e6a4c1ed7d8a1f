"""Painting with a trained network in onnxruntime, at once."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from impasto.core.memory import available_memory, ceiling, held_memory, shown_bytes
from impasto.core.threads import usable_cores
from impasto.errors import OptionError
from impasto.imaging import Picture, resize
from impasto.imaging.colour import transfer_luminance
from impasto.imaging.noise import on_ground
from impasto.imaging.reduced import reading_bytes
from impasto.imaging.sizes import bicubic, halved
from impasto.light.graphs import Graph, load_onnxruntime
from impasto.light.model import STYLE_SIZE, LightModel, LightStyle, planes
from impasto.light.pieces import PIECES
from impasto.stylizer.by_network import InMemory
from impasto.stylizer.choice import TORCH_TAKES, has_torch
from impasto.stylizer.finishing import read_masks
from impasto.stylizer.job import JobPlan, Phase, Progress
from impasto.stylizer.request import EngineName
from impasto.stylizer.strokes import REPAINTED

__all__ = ["LightJob"]

Floats = NDArray[np.float32]
LOADING = 10_000_000  # bytes by which what a process holds may still grow until it paints
FAINT = 1e-6  # of a mask, so that where there is none, all styles count


class LightJob(InMemory[LightModel]):
    """A photo and a network of onnxruntime's; arguments as of `ByNetwork`."""

    # -- what others call -----------------------------------------------------------------------------------

    def plan(self) -> JobPlan:
        """See `Job.plan`."""
        self._check_room(self._free())
        memory, (height, width) = held_memory() + self._need(), self.sizes.seen
        told = self.sizes.told_before
        message = f"{told}{width}x{height} px at once in onnxruntime: about {shown_bytes(memory)} of memory"
        notes = (self.model.note,) if self.model.note else ()
        return JobPlan("at once", self.sizes.painting, len(self.sizes.all_seen), memory, None, (message, *notes))

    @property
    def computes_in(self) -> EngineName:
        """See `Job.computes_in`."""
        return "light"

    def computed_by(self) -> dict[str, str]:
        """See `Job.computed_by`."""
        return {
            "onnxruntime": load_onnxruntime().__version__,
            "device": "cpu",
            "precision": "float32",
            "threads": str(usable_cores()),
        }

    def fits(self) -> bool:
        """Whether there is memory enough."""
        return self._need() <= self._free()

    @property
    def enough(self) -> int:
        """Bytes of the whole process that would do, once its graph is loaded."""
        if isinstance(self.model.graph, Graph):
            self.model.graph.wait()
        return held_memory() + self._need() + LOADING

    # -- the work -------------------------------------------------------------------------------------------

    def _need(self) -> int:
        request, limit = self.request, self._free()
        largest, size = request.max_megapixels, self.sizes.painting
        pictures = [row.image for row in request.style] if self.model.any_style else []
        reading = [reading_bytes(one, long_side=STYLE_SIZE, max_megapixels=largest, room=limit) for one in pictures]
        reading += [
            reading_bytes(one, size=size, light=True, max_megapixels=largest, room=limit) for one in request.mask
        ]
        return self.sizes.picture_bytes + max([*reading, self._features()])

    def _features(self) -> int:
        return self.model.graph.bytes_per_pixel * math.prod(self.sizes.seen)

    def _free(self) -> int:
        """Bytes that may be taken beside what the process holds."""
        limit = self.engine.limit(self.request)
        return available_memory() if limit is None else limit - held_memory()

    def _check_room(self, room: int) -> None:
        """OptionError, naming the size that would do, where the painting needs more than there is."""
        need, long = self._need(), max(self.sizes.painting)
        if need <= room:
            return
        would_do = math.floor(long * math.sqrt(max(0, room) / need) / 1.02)
        limit = self.engine.limit(self.request)
        remedy = f"choose a `size` of {would_do} or less" if would_do >= 32 else ""
        if limit is not None:
            remedy += f"{', or give' if remedy else 'need'} `max_memory` {ceiling(self.enough)} or more"
        remedy = remedy or "free some memory"
        (height, width), finer = self.sizes.seen, self.sizes.seen > self.sizes.painting
        if finer:
            remedy = f"choose a larger `style_scale`, for which it is painted smaller, {remedy.removeprefix('choose ')}"
        what = f"{width}x{height} px need {shown_bytes(need)} of memory in onnxruntime"
        if limit is None or held_memory() < limit:
            what += f", and there are {shown_bytes(max(0, room))}"
        else:
            what += f" beside the {shown_bytes(held_memory())} that the process has, and may have {shown_bytes(limit)}"
        raise OptionError(f"{what}: {remedy}{self._by_torch_instead(limit)}")

    def _by_torch_instead(self, limit: int | None) -> str:
        """How torch would paint it, as the end of a sentence; empty where it would not within this limit."""
        if self.model.path.suffix != PIECES or (limit is not None and limit < TORCH_TAKES):
            return ""
        if not has_torch():
            return ", or install impasto[torch], which paints any size piece by piece"
        if self.request.engine == "light":
            return ", or leave out `engine`: torch paints any size piece by piece"
        return ""

    def paint_phase(self, phase: Phase, room: int) -> Generator[Progress, None, Picture]:
        """See `InMemory.paint_phase`."""
        self._check_room(room)
        picture = self._photo = self.read_photo(self.sizes.painting)
        yield Progress(phase, 0, 1.0, size=self.sizes.seen)
        style = self.model.bind(self.request.style, self.request.max_megapixels, self.engine.limit(self.request))
        painted = yield from self._paint(picture, style)
        yield Progress(phase, 1.0, 1.0, size=self.sizes.seen)
        return painted

    def _paint(self, picture: Picture, style: LightStyle) -> Generator[Progress, None, Picture]:
        """As `NetworkJob._paint`, with arrays (H, W, C)."""
        request, goal, seen = self.request, self.sizes.painting, self.sizes.seen
        masks = read_masks(
            request.mask,
            goal,
            styles=max(1, len(request.style)),
            max_megapixels=request.max_megapixels,
            budget=self.engine.limit(request),
        )
        photo, shown = picture.rgb, picture.seen()
        lost, regions = 1 - request.strength, masks if len(masks) > 1 else []
        work = resize(shown, seen)
        primed_alone = bool(self.ground) and not self.model.mixes_features
        inside = 1.0 if self.sizes.coarse or primed_alone else request.strength
        if self.sizes.coarse:
            painted = yield from self._coarse_to_fine(work, style, regions)
        else:
            painted = yield from self._at_once(self._primed(work, inside), style, regions, inside, (0.0, 1.0))
        if inside != request.strength:
            painted = painted + lost * (work - painted)
        if seen != goal:
            painted = resize(painted, goal)
            if lost:  # what shrinking took from the photo comes back as the strength goes
                painted = painted + lost * (shown - resize(work, goal))
        if lost and picture.ground is not None:
            painted = painted + lost * (photo - shown)  # where transparency begins, it was shown less
        if request.keep_colors:
            painted = transfer_luminance(painted, photo)
        if masks:
            where = sum(masks[1:], masks[0]).clip(0, 1)[:, :, None]
            painted = photo + where * (painted - photo)
        return picture.with_rgb(painted)

    def _coarse_to_fine(
        self, photo: Floats, style: LightStyle, masks: Sequence[Floats]
    ) -> Generator[Progress, None, Floats]:
        """As `tiling.cascade.paint_coarse_to_fine`, which says why, does it with tensors."""
        photos = [photo]
        for size in reversed(self.sizes.coarse):
            photos.insert(0, resize(photos[0], size))
        total, done = sum(one.size for one in photos), photos[0].size
        painted = yield from self._at_once(self._primed(photos[0]), style, masks, 1.0, (0.0, done / total))
        for before, now in pairwise(photos):
            yield Progress("painting", done / total, 1.0, size=self.sizes.seen)
            shares = done / total, (done + now.size) / total
            half = halved((before.shape[0], before.shape[1]))
            forms = _shrunk(painted, half)
            painted -= before
            again = yield from self._at_once(_enlarged_onto(now, painted), style, masks, REPAINTED, shares)
            forms -= _shrunk(again, half)
            painted = _enlarged_onto(again, forms, out=again)
            done += now.size
        return painted

    def _primed(self, photo: Floats, strength: float = 1.0) -> Floats:
        """As `NetworkJob._primed`."""
        return on_ground(photo, self.ground * strength) if self.ground else photo

    def _at_once(
        self, work: Floats, style: LightStyle, masks: Sequence[Floats], strength: float, done: tuple[float, float]
    ) -> Generator[Progress, None, Floats]:
        """A picture painted at its size; with masks, of any size, in each style alone: the masks decide the shares.

        `done` is how much of all the work is done before and after.
        """
        if not masks:
            return self._run(work, style.whole, strength)
        regions = [resize(mask, (work.shape[0], work.shape[1])) for mask in masks]
        return (yield from self._by_regions(work, style, regions, strength, done))

    def _by_regions(
        self, work: Floats, style: LightStyle, regions: Sequence[Floats], strength: float, done: tuple[float, float]
    ) -> Generator[Progress, None, Floats]:
        """Painted in each style alone; masks and weights decide the share of each."""
        shares = [weight * (mask + FAINT) for weight, mask in zip(style.weights, regions, strict=True)]
        total, out = sum(shares[1:], shares[0]), np.zeros_like(work)
        for number, (share, alone) in enumerate(zip(shares, style.alone, strict=True)):
            if number:
                part = done[0] + (done[1] - done[0]) * number / len(shares)
                yield Progress("painting", part, 1.0, size=self.sizes.seen)
            out += (share / total)[:, :, None] * self._run(work, alone, strength)
        return out

    def _run(self, work: Floats, style: Mapping[str, Floats], strength: float) -> Floats:
        inputs = {"image": planes(work), "strength": np.array(strength, np.float32), **style}
        if self.model.mixes_features:
            alpha = self.request.alpha
            inputs["alpha"] = np.array(1.0 if alpha is None else alpha, np.float32)
        painted: Floats = self.model.graph.run(**inputs)[0].transpose(1, 2, 0)
        return painted


def _enlarged_onto(photo: Floats, change: Floats, out: Floats | None = None) -> Floats:
    """What belongs to a smaller picture, (h, w, 3), laid on this one, (H, W, 3) in [0, 1]; `out` may be that one.

    Channels lie one after the other in memory, so that `planes` needs no copy, and are enlarged one by one.
    """
    height, width, channels = photo.shape
    found = np.empty((channels, height, width), np.float32) if out is None else out.transpose(2, 0, 1)
    for number, plane in enumerate(found):
        larger = bicubic(change[:, :, number : number + 1], (height, width))[:, :, 0]
        np.add(larger, photo[:, :, number], out=plane)
    return np.clip(found, 0, 1, out=found).transpose(1, 2, 0)


def _shrunk(picture: Floats, size: tuple[int, int]) -> Floats:
    """By channels, which lie one after the other; not clamped."""
    return np.concatenate([bicubic(picture[:, :, number : number + 1], size) for number in range(picture.shape[2])], 2)
