"""Painting by optimisation: move a picture until its features say photo and its statistics say style.

Gatys, Ecker & Bethge 2015 (arXiv:1508.06576) and 2016 (CVPR). One loop serves every preset; what differs is in
`presets.py` (settings), `objective.py` (losses) and `canvas.py` (what the optimiser moves).
"""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.colour import luminance, match_colours, match_luminance, tame_colours, transfer_luminance
from impasto.core.host import in_our_settings, trainable
from impasto.core.optimisers import LBFGS, Adam
from impasto.core.resizing import resize
from impasto.core.rows import Pool
from impasto.core.vgg import VGG
from impasto.errors import DivergenceError, OptionError
from impasto.imaging import fit_long_side, scale_schedule
from impasto.optimize.blockwise import BlockObjective, Layout, layout_for, state_bytes
from impasto.optimize.objective import Anchor, Objective, Terms, activation_factors, weight_multipliers
from impasto.optimize.parameterisation import Canvas, Fourier, Pixels, Pyramid
from impasto.optimize.presets import OptimizeSettings

__all__ = ["Optimization", "StepProgress", "scales_of"]

Repaint = Callable[[Tensor], Tensor]
RESTARTS = 6  # halvings of the step before a diverging run is given up
BLOW_UP = 20.0  # times the best loss so far
REMEMBER_EVERY = 10  # steps between copies of an iterate known to be good
JUDGED_EVERY = 50  # steps between looks at the picture as it would be written: each costs a third of a step
PROOF = 512  # px of long side above which `falling` counts
PAINTED_OVER = 384  # px of long side from which on a scale begins with strokes of a network, see `repaint`
SMALLEST = 16  # px on the short side of a coarse scale: what four pools still leave a pixel of


@dataclass(frozen=True)
class StepProgress:
    """One step done.

    `losses` are the weighted terms by name, of what the optimiser saw before it moved. Where values may leave [0, 1],
    ``written`` beside them is the total of the picture clamped, as it would be written now; it is looked at every so
    many steps, and at the last of each scale. `note` is there when something must be told.
    """

    step: int
    steps: int
    scale: tuple[int, int]  # height, width being painted
    losses: Mapping[str, float]
    seconds: float  # since the run, or its resumption, began
    note: str | None = None
    seen_by: str | None = None  # the name of the network that saw, where two take turns


class Optimization:
    """One painting under way.

    `photo` is (1, 3, H, W) at the size of the result; `styles` are pictures (1, 3 or 4, h, w), as large as they are,
    with weights; a fourth channel says how far a pixel counts. `start`, if given, is a picture to begin with instead
    of `settings.init`. All on the backbone's device. Iterate over `run()`; `image()` is the picture at any time;
    `state_dict()` is enough for another object, made from the same pictures and settings, to go on.

    `room` is how many bytes painting may take beside what the process holds already: where the picture cannot be
    looked at as a whole within it, it is looked at by blocks, with the same result. What blocks are compared with
    goes to a temporary file if there is no room for that either.

    `repaint` paints a picture (1, 3, h, w) in the styles, for settings that want it painted over. What begins with a
    picture that is given is not painted over.

    `anchor` is what the painting is to stay near, of the size of the result. `second` is the other network that sees,
    where `settings.second_backbone` names one: its turn is every `settings.second_every`-th step.

    OptionError if there is no style, unless `settings.style_weight` is 0, or its weights are not positive;
    LayerError for a layer the backbone lacks; OptionError if there is no room for even the smallest blocks.
    """

    @in_our_settings
    def __init__(
        self,
        photo: Tensor,
        styles: Sequence[tuple[Tensor, float]],
        settings: OptimizeSettings,
        backbone: VGG,
        start: Tensor | None = None,
        room: int | None = None,
        anchor: Anchor | None = None,
        second: VGG | None = None,
        repaint: Repaint | None = None,
    ) -> None:
        missing = not styles and settings.style_weight > 0
        if missing or any(not (w > 0 and math.isfinite(w)) for _, w in styles):
            raise OptionError("painting needs at least one style, each with a weight above 0")
        if (second is None) != (settings.second_backbone is None):
            raise ValueError("a second network that sees is given exactly where the settings name one")
        if settings.repaint and repaint is None and start is None:
            raise ValueError("these settings want something that paints over: give it as `repaint`")
        self.eyes = (backbone,) if second is None else (backbone, second)
        for eye in self.eyes:
            eye.check([*settings.content_layers, *settings.style_layers])
        photo, styles = trainable(photo), [(trainable(style), weight) for style, weight in styles]
        start = None if start is None else trainable(start)
        self.settings, self.backbone, self.photo = settings, backbone, photo
        self.content, self.styles = _recolour(photo, styles, settings)
        self.scales = scales_of((photo.shape[2], photo.shape[3]), settings)
        self.steps = sum(steps for _, steps in self.scales)
        self.repaint = repaint if start is None and settings.repaint else None
        self.step = 0
        self.restarts = 0
        self.start, self.room, self.anchor = start, room, anchor
        self.layouts = [self._layout(size, eye) for size, _ in self.scales for eye in self.eyes]
        self.canvas = self._canvas_at(next(i for i, (_, steps) in enumerate(self.scales) if steps))
        self.scale: int | None = None  # index of the one being painted
        self.optimizer: torch.optim.Optimizer | None = None
        self.good = _Good.of(len(self.eyes))
        self.average: Tensor | None = None
        self.average_weight = 0.0
        self._notes = [] if settings.activations == "as-they-are" else [self._rescale_note()]
        self.multipliers = self._multipliers()

    @in_our_settings
    def run(self) -> Iterator[StepProgress]:
        """Paint, yielding a record after every step. Closing the iterator stops; `image()` stays."""
        began, done = time.perf_counter(), 0
        for index, (size, steps) in enumerate(self.scales):
            done += steps
            if self.step >= done:
                continue
            if self.scale != index:
                self._enter(index, size)
            objectives = [self._objective(size, eye) for eye in self.eyes]
            losses_of_grey = [functools.cache(functools.partial(_loss_of_grey, one, size)) for one in objectives]
            while self.step < done:
                self._set_rate()
                self.good.hold(self._iterate, self.step)
                turn = self._turn()
                objective = objectives[turn]
                terms = self._move(objective)
                if not self.good.accepts(float(terms.total), turn, losses_of_grey[turn]) or not self._is_finite():
                    self._restart(terms)
                    continue
                self.step += 1
                self._update_average()
                note = " ".join(self._notes) or None
                self._notes.clear()
                losses = {name: float(value) for name, value in terms._asdict().items()}
                if self.anchor is None:
                    del losses["temporal"]
                if not self.settings.clamp and (self.step % JUDGED_EVERY == 0 or self.step == done):
                    losses["written"] = self._written(objective)
                yield StepProgress(
                    self.step, self.steps, size, losses, time.perf_counter() - began, note, self._name_of(turn)
                )

    @in_our_settings
    @torch.no_grad()
    def image(self) -> Tensor:
        """The picture so far, (1, 3, H, W) in [0, 1], at the size of the result."""
        image = self.canvas.whole() if self.average is None else self.average / self.average_weight
        image = resize(image.clamp(0, 1), (self.photo.shape[2], self.photo.shape[3]))
        if self.settings.keep_colors == "luminance":
            return transfer_luminance(image, self.photo)
        # The style has the photo's colours, but what is between two of them need not be one.
        return tame_colours(image, self.photo) if self.settings.keep_colors == "histogram" else image

    @in_our_settings
    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers only, so that it can be stored and read back without running any code."""
        return {
            "step": self.step,
            "scale": self.scale,
            "restarts": self.restarts,
            "parameters": [p.detach().clone() for p in self.canvas.everything],
            "optimizer": copy.deepcopy(self.optimizer.state_dict()) if self.optimizer else None,
            "average": None if self.average is None else self.average.clone(),
            "average_weight": self.average_weight,
            "good": vars(self.good)
            | {
                "first": [*self.good.first],
                "best": [*self.good.best],
                "known": vars(self.good.known) if self.good.known else None,
            },
        }

    @in_our_settings
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; ValueError if it is that of another run."""
        index = state["scale"]
        if index is None:
            return  # it had not begun
        canvas = self._canvas_at(min(index, len(self.scales) - 1))
        if [p.shape for p in canvas.everything] != [p.shape for p in state["parameters"]]:
            raise ValueError("the stored state belongs to a painting of another size")
        with torch.no_grad():
            for mine, stored in zip(canvas.everything, state["parameters"], strict=True):
                mine.copy_(stored)
        self.canvas, self.scale = canvas, index
        self.step, self.restarts = int(state["step"]), int(state["restarts"])
        self.average = None if state["average"] is None else state["average"].clone()
        self.average_weight = float(state["average_weight"])
        good = dict(state["good"])
        for name in ("first", "best"):  # in states of earlier versions one number for all eyes
            good[name] = [good[name]] * len(self.eyes) if isinstance(good[name], float) else [*good[name]]
        self.good = _Good(**good | {"known": _Iterate(**good["known"]) if good["known"] else None})
        self.optimizer = self._new_optimizer()
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

    # -- scales ---------------------------------------------------------------------------------------------

    def _canvas_at(self, index: int) -> Canvas:
        """A canvas for a scale, as the settings want it to begin."""
        s, size = self.settings, self.scales[index][0]
        full = (self.content.shape[2], self.content.shape[3])
        size = full if s.parameterisation == "pyramid" else size
        content = resize(self.content, size)
        return self._canvas_of(_initial(content, s) if self.start is None else resize(self.start, size), index)

    def _canvas_of(self, image: Tensor, index: int) -> Canvas:
        s = self.settings
        if s.parameterisation == "pyramid":
            return Pyramid(image, levels=max(6, len(self.scales)), halvings=len(self.scales) - 1 - index)
        return Fourier(image) if s.parameterisation == "fourier" else Pixels(image, s.levels)

    def _enter(self, index: int, size: tuple[int, int]) -> None:
        """Bring canvas and optimiser to a scale that begins."""
        self.scale, self.good = index, _Good.of(len(self.eyes))
        if isinstance(self.canvas, Pyramid):
            self.canvas.halvings = len(self.scales) - 1 - index
        elif tuple(self.canvas.image().shape[2:]) != size:
            # The average, not the last iterate, is the better start for the next scale (Crowson).
            image = self.canvas.image() if self.average is None else self.average / self.average_weight
            self.canvas = Pixels(_enlarge(image.detach(), size), self.settings.levels)
            self.average, self.average_weight = None, 0.0
        painted_over = self._paint_over(index)
        before, self.optimizer = self.optimizer, self._new_optimizer()
        if before is not None and not painted_over:
            _carry_over(before, self.optimizer)

    @torch.no_grad()
    def _paint_over(self, index: int) -> bool:
        """Have a scale begin with strokes of the network, if it is to."""
        if self.repaint is None or index < self._first_painted_over:
            return False
        size, whole = self.scales[index][0], self.canvas.whole().clamp(0, 1)
        full, image = (whole.shape[2], whole.shape[3]), resize(whole, size)
        painted = torch.lerp(image, self.repaint(image).to(image), self.settings.repaint)
        if self.settings.keep_colors == "luminance":
            painted = luminance(painted).expand_as(painted)
        # Of a pyramid the finer levels are there already, with the photo's detail.
        whole = painted if size == full else whole + resize(painted - image, full)
        self.canvas, self.average, self.average_weight = self._canvas_of(whole, index), None, 0.0
        return True

    @property
    def _first_painted_over(self) -> int:
        """The first scale that may be painted over: the last, or one that is large enough before."""
        large = (i for i, (size, _) in enumerate(self.scales) if max(size) >= PAINTED_OVER)
        return next(large, len(self.scales) - 1)

    def _turn(self) -> int:
        """Which of the eyes sees the step that comes."""
        every = self.settings.second_every
        return int(len(self.eyes) > 1 and self.step % every == every - 1)

    def _name_of(self, turn: int) -> str | None:
        return self.eyes[turn].name if len(self.eyes) > 1 else None

    def _objective(self, size: tuple[int, int], eye: VGG | None = None) -> Objective:
        s, eye = self.settings, eye or self.backbone
        long = max(1, round(max(size) * s.style_scale))
        styles = [(resize(x, fit_long_side((x.shape[2], x.shape[3]), long, upscale=True)), w) for x, w in self.styles]
        photo, layout = resize(self.content, size), self._layout(size, eye)
        if layout is None:
            objective = Objective(eye, photo, styles, s, self.multipliers)
        else:
            spare = (self.room or 0) - self._state_bytes() - layout.bytes
            pool = Pool(spare // len(self.eyes), device=self.photo.device)
            objective = BlockObjective(eye, photo, styles, s, self.multipliers, layout=layout, pool=pool)
        if self.anchor is not None:
            picture, where, weight = self.anchor
            objective.anchor = Anchor(resize(picture, size), resize(where, size), weight)
        return objective.to(self.photo.device)

    def _layout(self, size: tuple[int, int], eye: VGG) -> Layout | None:
        """The blocks of a scale; None where it is looked at as a whole."""
        if self.room is None:
            return None
        state = self._state_bytes()
        layout = layout_for(eye, self.settings, size, self.room - state, held=state)
        return None if layout.down == layout.across == 1 else layout

    def _state_bytes(self) -> int:
        return state_bytes(self.settings, (self.photo.shape[2], self.photo.shape[3]))

    # -- steps ----------------------------------------------------------------------------------------------

    def _new_optimizer(self) -> torch.optim.Optimizer:
        s = self.settings
        if s.optimizer == "adam":
            return Adam(self.canvas.parameters, lr=self._rate(), betas=s.betas, eps=s.eps)
        # One evaluation a call, so that every step can be shown, stored and interrupted.
        return LBFGS(
            self.canvas.parameters,
            lr=self._rate(),
            max_iter=1,
            history_size=s.history,
            tolerance_grad=0,
            tolerance_change=0,
        )

    def _rate(self) -> float:
        """It falls in a straight line, and again once something is painted over; every restart has halved it."""
        s, first, end = self.settings, 0, self.steps
        if self.repaint is not None:
            before = sum(steps for _, steps in self.scales[: self._first_painted_over])
            first, end = (before, end) if self.step >= before else (0, before)
        # Adam's steps are in units of what it moves, and only pixels are counted in grey levels.
        unit = s.levels if s.optimizer == "adam" and s.parameterisation != "pixels" else 1.0
        return s.lr / unit * (1 - (1 - s.lr_end) * (self.step - first) / (end - first)) * 0.5**self.restarts

    def _set_rate(self) -> None:
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()

    def _move(self, objective: Objective) -> Terms:
        """One step of the optimiser; -> the terms before it."""
        if self.optimizer is None:
            raise RuntimeError("a scale must be entered before a step is taken")
        seen: list[Terms] = []

        def closure() -> Tensor:
            for p in self.canvas.parameters:
                p.grad = None
            terms = objective(self.canvas.image())
            terms.total.backward()
            for p in self.canvas.parameters:
                if p.grad is not None and not p.grad.is_contiguous():
                    p.grad = p.grad.contiguous()  # L-BFGS wants to view gradients as one vector
            seen.append(Terms(*(t.detach() for t in terms)))
            return seen[-1].total

        self.optimizer.step(closure)  # type: ignore[arg-type]
        if self.settings.clamp:
            self.canvas.clamp_()
        return seen[0]

    @torch.no_grad()
    def _written(self, objective: Objective) -> float:
        """The total loss of the picture clamped to [0, 1]."""
        return float(objective(self.canvas.image().clamp(0, 1)).total)

    def _restart(self, terms: Terms) -> None:
        """Back to the last iterate known to be good, with half the step and no momentum."""
        failed, self.restarts = self.step, self.restarts + 1
        self._go_back(self.good.iterate)
        if self.restarts > RESTARTS:
            exact = all(weight.dtype == torch.float32 for eye in self.eyes for weight in eye.parameters())
            raise DivergenceError(
                f"the painting diverged at step {failed} (loss {float(terms.total):.3g}) in spite of {RESTARTS} "
                "restarts with halved steps: lower `lr` or `style_weight`"
                f"{'' if exact else ', or use `precision` float32'}"
            )
        if self.restarts == 1:
            self._notes.append(f"the loss blew up at step {failed}: going on from before with half the step")
        self.optimizer = self._new_optimizer()

    def _is_finite(self) -> bool:
        """Whether the last move left a picture: its own loss is known only after the next."""
        return all(bool(p.isfinite().all()) for p in self.canvas.parameters)

    def _iterate(self) -> _Iterate:
        average = None if self.average is None else self.average.clone()
        return _Iterate(self.step, [p.detach().clone() for p in self.canvas.parameters], average, self.average_weight)

    @torch.no_grad()
    def _go_back(self, iterate: _Iterate) -> None:
        for p, stored in zip(self.canvas.parameters, iterate.parameters, strict=True):
            p.copy_(stored)
        self.step, self.average_weight = iterate.step, iterate.average_weight
        self.average = None if iterate.average is None else iterate.average.clone()

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = self.settings.averaging
        if not decay:
            return
        image = self.canvas.whole()
        self.average = image * (1 - decay) if self.average is None else self.average.lerp_(image, 1 - decay)
        self.average_weight = 1 - (1 - self.average_weight) * decay

    # -- weights on another backbone ------------------------------------------------------------------------

    def _multipliers(self) -> dict[str, tuple[float, float]]:
        s = self.settings
        matches_caffe = s.activations == "caffe" and self.backbone.name in ("vgg19-caffe", "vgg16-caffe")
        if s.activations == "as-they-are" or matches_caffe:
            self._notes.clear()
            return {}
        size = fit_long_side((self.content.shape[2], self.content.shape[3]), 512)
        pictures = [resize(self.content, size)]
        pictures += [resize(x[:, :3], fit_long_side((x.shape[2], x.shape[3]), 512)) for x, _ in self.styles]
        return weight_multipliers(activation_factors(self.backbone, pictures, s), s)

    def _rescale_note(self) -> str:
        meant = "a mean activation of 1" if self.settings.activations == "unit" else "the original Caffe VGG"
        return f"weights are rescaled by layer, from {meant} to the activations of {self.backbone.name}"


@dataclass(frozen=True)
class _Iterate:
    """What it takes to go back to a step."""

    step: int
    parameters: list[Tensor]
    average: Tensor | None
    average_weight: float


@dataclass
class _Good:
    """The last iterate whose loss was seen to be fine, and what fine means at this scale to each of the eyes."""

    first: list[float]
    best: list[float]
    held: _Iterate | None = None  # only during a step
    known: _Iterate | None = None

    @property
    def iterate(self) -> _Iterate:
        """Where to go back to."""
        if self.known is None:
            raise RuntimeError("no iterate is held before the first step")
        return self.known

    def hold(self, copy_now: Callable[[], _Iterate], step: int) -> None:
        """Copy an iterate now and then; whether it is good is known once its loss is."""
        if self.known is None or step - self.known.step >= REMEMBER_EVERY:
            self.held = copy_now()

    @classmethod
    def of(cls, eyes: int) -> _Good:
        """Before anything was seen."""
        return cls([math.inf] * eyes, [math.inf] * eyes)

    def accepts(self, loss: float, turn: int, loss_of_grey: Callable[[], float]) -> bool:
        """Whether the loss that this eye sees of the iterate that was held, or would have been, is fine."""
        if math.isinf(self.first[turn]) and math.isfinite(loss):
            self.first[turn] = abs(loss)
        most = max(BLOW_UP * self.best[turn], 2 * self.first[turn])
        fine = math.isfinite(loss) and (loss <= most or loss <= loss_of_grey())
        # The first iterate of a scale is a picture at least, and there is no other to go back to.
        if self.held is not None and (fine or self.known is None):
            self.known = self.held
        self.held = None
        if fine:
            self.best[turn] = min(self.best[turn], abs(loss))
        return fine


@torch.no_grad()
def _loss_of_grey(objective: Objective, size: tuple[int, int]) -> float:
    """Nothing better than plain grey has blown up, however near to 0 the loss began (photo and style alike)."""
    return float(objective(torch.full((1, 3, *size), 0.5, device=objective.backbone.device)).total)


def _recolour(
    photo: Tensor, styles: Sequence[tuple[Tensor, float]], settings: OptimizeSettings
) -> tuple[Tensor, list[tuple[Tensor, float]]]:
    """Photo and styles as they are painted with: grey, or the styles in the photo's colours, or untouched.

    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer". A style keeps its fourth channel.
    """
    if settings.keep_colors == "no":
        return photo, list(styles)
    if settings.keep_colors == "histogram":
        return photo, [(torch.cat([match_colours(x, photo), x[:, 3:]], 1), w) for x, w in styles]
    three = (-1, 3, -1, -1)
    matched = [(torch.cat([match_luminance(x, photo).clamp(0, 1).expand(three), x[:, 3:]], 1), w) for x, w in styles]
    return luminance(photo).expand(three), matched


def scales_of(full: tuple[int, int], settings: OptimizeSettings) -> list[tuple[tuple[int, int], int]]:
    """((height, width), steps) of every scale of a painting of this size, coarse to fine; the last is its own size."""
    s = settings
    longs = [max(full)] if s.start is None else scale_schedule(max(full), s.start, s.factor)
    if s.parameterisation == "pyramid":
        sizes = [full]
        while len(sizes) < len(longs):
            sizes.insert(0, ((sizes[0][0] + 1) // 2, (sizes[0][1] + 1) // 2))
    else:
        sizes = [full if long == max(full) else fit_long_side(full, long) for long in longs]
    sizes = [size for size in sizes if size == full or min(size) >= SMALLEST]
    steps = [s.steps] + [s.later_steps] * (len(sizes) - 1)
    steps = [_fallen(count, size, s.falling) for size, count in zip(sizes, steps, strict=True)]
    if s.total_steps is not None:
        share = [s.total_steps * sum(steps[: i + 1]) / sum(steps) for i in range(len(steps))]
        steps = [round(b) - round(a) for a, b in zip([0.0, *share[:-1]], share, strict=True)]
    return [(size, count) for size, count in zip(sizes, steps, strict=True)]


def _fallen(steps: int, size: tuple[int, int], falling: float) -> int:
    """What is left of a scale's steps above the size of a proof: forms are there already, and steps are dear."""
    share = min(1.0, math.pow(PROOF / max(size), falling))
    return max(min(1, steps), round(steps * share))


def _initial(content: Tensor, settings: OptimizeSettings) -> Tensor:
    """Where a painting begins, (1, 3, H, W); the noise depends on the seed alone, not on the device."""
    if settings.init == "draft":
        raise ValueError("a draft is painted by who calls, who gives it as the start")
    if settings.init == "content":
        return content
    generator = torch.Generator().manual_seed(settings.seed)
    uniform = torch.rand(content.shape, generator=generator).to(content.device)
    if settings.init == "noise":
        return uniform
    mean = content.new_tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1) / 255
    if settings.init == "coursera":  # 0.6 U(-20, 20) + 0.4 content, on mean-subtracted grey levels
        return mean + 0.6 * (uniform * 40 - 20) / 255 + 0.4 * (content - mean)
    normal = torch.randn(content.shape, generator=generator).to(content.device)
    return mean + 0.001 * normal / 255  # neural-style: 0.001 N(0, 1), likewise


def _enlarge(image: Tensor, size: tuple[int, int]) -> Tensor:
    """To another size without clamping: an iterate may leave [0, 1] on its way."""
    return F.interpolate(image, size=size, mode="bicubic", antialias=True)


def _carry_over(before: torch.optim.Optimizer, after: torch.optim.Optimizer) -> None:
    """Adam's moments at the next scale: those of the same tensor, or enlarged with the picture (Crowson)."""
    if not isinstance(after, torch.optim.Adam):
        return
    old, new = (list(o.param_groups[0]["params"]) for o in (before, after))
    for p in new:
        same = [q for q in old if q is p]
        source = same[0] if same else old[0] if len(old) == len(new) == 1 else None
        state = before.state.get(source) if source is not None else None
        if not state:
            continue
        moments = {"exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
        if not same:
            moments = {key: _enlarge(value, (p.shape[2], p.shape[3])) for key, value in moments.items()}
            moments["exp_avg_sq"].clamp_min_(0)  # bicubic weights may be negative
        after.state[p] = {"step": state["step"].clone(), **moments}
