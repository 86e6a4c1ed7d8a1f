"""Training networks whose styles are fixed: one (johnson), several (multistyle, brisk), one more (add-style)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.core.backbones import BACKBONES
from impasto.core.precision import Precision
from impasto.core.tensors import to_tensor
from impasto.core.weights import Input, load_backbone
from impasto.errors import OptionError
from impasto.files import sha256
from impasto.networks.checkpoint import load_model
from impasto.networks.registry import Network, as_styled
from impasto.networks.shipped import find_model
from impasto.networks.styled import MARGIN, StyledNetwork
from impasto.training.ground import on_random_ground
from impasto.training.objectives import FAINT_STYLE, MEASURED, GramObjective, Terms, distillation
from impasto.training.settings import (
    AddStyleSettings,
    GramSettings,
    JohnsonSettings,
    JudgedSettings,
    MultiStyleSettings,
)
from impasto.training.sources import StyleSource, gather_styles, gram_targets, renamed
from impasto.training.targets import backbone_identity
from impasto.training.task import BAD_PHOTOS, Batch, Exhibit, Paint, Shard, Task

__all__ = ["GramTask", "TeacherTask", "style_numbers"]

STYLE_ORDER = 2  # keeps these random numbers apart from those of `data`


@dataclass(frozen=True, eq=False)
class _GramJudge:
    """The losses that a backbone sees, and the styles' Gram matrices in it, at their size and perhaps at half of it.

    `counts`, (N,), is what each style counts; None: all alike.
    """

    objective: GramObjective
    targets: list[dict[str, Tensor]]
    counts: Tensor | None = None


class GramTask(Task):
    """Learn the Gram matrices of `settings.style`.

    Raises:
        OptionError: no style, several for `johnson`, or a model for `add-style` that knows no styles.
        WeightsError: the backbone or the model cannot be loaded.
        LayerError: the backbone lacks a layer.
        DataError, ImageError: photos or styles cannot be read.
    """

    settings: GramSettings

    def __init__(
        self, settings: GramSettings, device: torch.device, precision: Precision, begun: Path | None = None
    ) -> None:
        super().__init__(settings, device, precision, begun)
        self.model: dict[str, Any] | None = None  # what the model to add to says of itself
        self.network, self.sources = self._network(settings)
        self.trained = self.network
        self.notes += renamed(self.sources)
        self.contents["styles"] = {source.name: source.sha256 for source in self.sources}
        judged = settings if isinstance(settings, JudgedSettings) else None
        self.ground, self.coarse = (judged.ground, judged.style_coarse) if judged else (0.0, 0.0)
        self.judges: list[_GramJudge] = []
        self._prepare(settings)

    def _prepare(self, settings: GramSettings) -> None:
        """Get ready to judge."""
        self.judges = [self._judge("backbone", settings.backbone, settings.backbone_input)]
        if isinstance(settings, JudgedSettings):
            for number, name in enumerate(settings.other_backbone, 1):
                kind = None if name in BACKBONES else settings.other_backbone_input  # those of ours tell
                self.judges.append(self._judge(f"other_backbone_{number}", name, kind))
            if settings.style_shares:
                self._count_shares()

    def _judge(self, role: str, name: str, kind: Input | None) -> _GramJudge:
        s, weights = self.settings, self.settings.weights
        backbone = load_backbone(name, input=kind, pool=s.pool, device=self.device)
        self.contents[role] = {"name": backbone.name, "identity": backbone_identity(backbone)}
        divisor = "positions" if weights.relative else s.DIVISOR
        sizes = (s.style_size, s.style_size // 2) if self.coarse else (s.style_size,)
        targets = [gram_targets(self.sources, backbone, s.style_layer, size, divisor) for size in sizes]
        backbone = self.in_working_precision(backbone)
        return _GramJudge(
            GramObjective(backbone, s.style_layer, s.content_layer, weights, divisor, self.coarse), targets
        )

    def _count_shares(self) -> None:
        """Let styles count so that photos are as far from each, in each backbone, as in the first from all."""
        batches = self.photo_batches(self.photos, 0, Shard(), seed=self.settings.seed, bad=BAD_PHOTOS)
        with closing(batches):
            photos = torch.cat([next(batches) for _ in range(-(-MEASURED // self.settings.batch_size))])
        apart = [judge.objective.style_distances(photos, judge.targets[0]) for judge in self.judges]
        self.judges = [
            replace(judge, counts=apart[0].mean() / distances.clamp_min(FAINT_STYLE * distances.median()))
            for judge, distances in zip(self.judges, apart, strict=True)
        ]

    def _network(self, s: GramSettings) -> tuple[Network, list[StyleSource]]:
        if isinstance(s, AddStyleSettings):
            return self._grown(s)
        sources = gather_styles(s.style)
        if isinstance(s, JohnsonSettings):
            if len(sources) > 1:
                raise OptionError(f"johnson learns one style, got {len(sources)}: use `impasto train multistyle`")
            return self.new_network("johnson", {"output": s.output, "width": s.width, "blocks": s.blocks}), sources
        if not isinstance(s, MultiStyleSettings):
            raise TypeError(f"no network for {type(s).__name__}")
        method = "multistyle" if s.network == "johnson" else s.network
        sizes: dict[str, Any] = {"styles": tuple(source.name for source in sources), "margin": MARGIN}
        sizes |= {name: getattr(s, name) for name in ("width", "blocks", "channels", "detail", "reach", "palette")}
        network = self.new_network(method, sizes, called=f"`network` {s.network}")
        known = self._begin(network, s.begin_with) if s.begin_with else ()
        _begin_styles(network, [source for source in sources if source.name not in known])
        return network, sources

    def _begin(self, network: Network, start: str) -> tuple[str, ...]:
        """Take over the weights of `start`, and tell the styles that it knows."""
        _, known, _, self.contents["begin_with"] = _styled_model(start, "can begin one")
        if (styled := as_styled(network)) is None:
            raise TypeError(f"a network of {network.METHOD} knows no styles")
        styled.begin_with(known)
        return known.styles

    def _grown(self, s: AddStyleSettings) -> tuple[Network, list[StyleSource]]:
        network, styled, self.model, self.contents["model"] = _styled_model(s.model, "can learn more")
        sources = gather_styles(s.style, taken=styled.styles)
        for source in sources:
            styled.add_style(source.name, like=s.like)
        _begin_styles(network, sources)
        styled.train_only(*(source.name for source in sources))
        return network, sources

    def batches(self, start: int, shard: Shard) -> Generator[Batch, None, None]:
        """Photos, with the numbers (among those to be learned) of the styles they are to be painted in."""
        s, n = self.settings, len(self.sources)
        with closing(self.photo_batches(self.photos, start, shard, seed=s.seed, bad=BAD_PHOTOS)) as photos:
            for step, pictures in enumerate(photos, start):
                first = (step * shard.world_size + shard.rank) * s.batch_size
                numbers = style_numbers(s.seed, first, s.batch_size, n)
                seen = on_random_ground(pictures, self.ground, s.seed, first) if self.ground else None
                turn = step % max(1, len(self.judges))
                yield Batch(pictures, torch.tensor(numbers, device=self.device), turn=turn, seen=seen)

    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """Paint each photo in its style and compare."""
        judge, painted = self.judges[batch.turn], self._painted(paint, batch)
        wanted = [{tap: grams[batch.styles] for tap, grams in targets.items()} for targets in judge.targets]
        counts = None if judge.counts is None else judge.counts[batch.styles]
        return judge.objective(painted, batch.photos, *wanted, counts=counts)

    def _painted(self, paint: Paint, batch: Batch) -> Tensor:
        photos = batch.given
        return paint(photos, self._mix(batch.styles)) if self.network.styles else paint(photos)

    def _mix(self, numbers: Tensor) -> Tensor:
        """Weights of all the network's styles, of which the ones to be learned are the last: (B, N)."""
        known = len(self.network.styles)
        return F.one_hot(numbers + known - len(self.sources), known).float()

    def gallery(self) -> list[Exhibit]:
        """The styles that are being learned."""
        return [(self.show(source.picture()), self._painter(i)) for i, source in enumerate(self.sources)]

    def _painter(self, number: int) -> Callable[[Tensor], Tensor]:
        def paint(photos: Tensor) -> Tensor:
            chosen = torch.full((1,), number, device=self.device)
            painted: Tensor = self.network(photos, self._mix(chosen)) if self.network.styles else self.network(photos)
            return painted

        return paint

    def styles(self) -> list[dict[str, Any]]:
        """The records of the styles: those the model had, and those that are being learned."""
        return [*(self.model or {}).get("styles", []), *(source.record for source in self.sources)]

    def licence(self) -> str:
        """The model's own, unless another is given."""
        told: str = self.model["licence"] if self.model and "licence" in self.model else "not stated"
        return super().licence() if super().licence() != "not stated" else told

    def describe(self) -> dict[str, Any]:
        """The recipe; for an added style with that of the model it was added to."""
        base = {"added_to": self.model["recipe"]} if self.model and "recipe" in self.model else {}
        return {**super().describe(), **base}


class TeacherTask(GramTask):
    """Learn the paintings of a network that knows `settings.style`: what took it hours takes a smaller one minutes.

    No backbone sees: a step costs the two networks alone. What the smaller one cannot paint comes out soft; some
    steps of an ordinary training that begins with it bring it back.

    Raises:
        OptionError: the teacher is of another method than multistyle and brisk, or lacks a style.
    """

    def _prepare(self, settings: GramSettings) -> None:
        if not isinstance(settings, MultiStyleSettings) or settings.teacher is None:
            raise TypeError(f"no teacher in {type(settings).__name__}")
        _, teacher, _, self.contents["teacher"] = _styled_model(settings.teacher, "can teach")
        self.teacher = teacher.to(self.device).requires_grad_(False).eval()
        self.known = torch.cat([teacher.mix(source.name) for source in self.sources])

    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """Paint each photo in its style, and let the teacher do the same."""
        painted = self._painted(paint, batch)
        with torch.no_grad():
            wanted = self.teacher(batch.given, self.known[batch.styles])
        return distillation(painted, wanted)


def _styled_model(name: str, can: str) -> tuple[Network, StyledNetwork, dict[str, Any], str]:
    """A trained network, the same as one of several styles, what it says of itself, and its file's SHA-256.

    Raises:
        OptionError: it is of another method; `can` is what it cannot do therefore.
    """
    path = find_model(name)
    network, about = load_model(path)
    if (styled := as_styled(network)) is None:
        raise OptionError(f"{name}: is of method {network.METHOD}, and only multistyle and brisk {can}")
    return network, styled, about, sha256(path)


def _begin_styles(network: Network, sources: list[StyleSource]) -> None:
    styled = as_styled(network)
    if styled is not None:
        for source in sources:
            styled.begin_style(source.name, to_tensor(source.picture().weighed()))


def style_numbers(seed: int, first: int, count: int, styles: int) -> list[int]:
    """The styles of `count` pictures from number `first` on, counted over all steps and processes.

    Every `styles` pictures in a row are painted in all styles, in an order drawn anew: none is left behind.
    """
    numbers = []
    for position in range(first, first + count):
        turn, place = divmod(position, styles)
        numbers.append(int(np.random.default_rng((STYLE_ORDER, seed, turn)).permutation(styles)[place]))
    return numbers
