"""Training the network that paints in any style, and what tells it how from one look at the style."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.backbones import BACKBONES
from impasto.core.precision import Precision
from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import Input, load_backbone
from impasto.errors import OptionError
from impasto.files import sha256
from impasto.imaging import fit_long_side
from impasto.networks.checkpoint import load_model
from impasto.networks.encoded import TAPS
from impasto.networks.registry import as_brisk, as_universal
from impasto.networks.shipped import find_model
from impasto.networks.styled import MARGIN
from impasto.networks.universal import Signature, Universal, UniversalConfig
from impasto.training.any_style import AnyStyleTask
from impasto.training.data import BadPhotos, Crop, photo_batches
from impasto.training.ground import on_random_ground
from impasto.training.objectives import FAINT_STYLE, MEASURED, GramObjective, Terms, distillation
from impasto.training.settings import UniversalSettings
from impasto.training.sources import gather_styles
from impasto.training.targets import backbone_identity
from impasto.training.task import Batch, Paint, Shard

__all__ = ["UniversalTask"]

FIRST_CUTS = 512  # cuts of style pictures from which the principal components are taken
COLOURS = 5  # keeps these random numbers apart from those of `data` and `gram_task`


class UniversalTask(AnyStyleTask):
    """Learn to paint photos in the styles of pictures, all of them cut and scaled at random.

    Half of the styles have their colour channels swapped: a blue painting in red is one more style to practise on.

    Raises:
        OptionError: no styles.
        WeightsError: a backbone cannot be loaded.
        LayerError: a backbone lacks a layer.
        DataError: photos or styles cannot be read.

    With a teacher no backbone judges, as in `gram_task.TeacherTask`.
    """

    LEAVES_OUT_STYLES = True

    network: Universal
    settings: UniversalSettings

    def __init__(
        self, settings: UniversalSettings, device: torch.device, precision: Precision, begun: Path | None = None
    ) -> None:
        super().__init__(settings, device, precision, begun)
        s = settings
        padding = UniversalConfig().padding
        encoder = load_backbone(s.encoder, input=s.encoder_input, padding=padding, device=device)
        self.contents["encoder"] = {"name": encoder.name, "identity": backbone_identity(encoder)}
        encoder = self.in_working_precision(encoder)
        sizes = {name: getattr(s, name) for name in ("channels", "blocks", "detail", "parts", "hidden", "reach")}
        sizes |= {"encoder": encoder.name, "margin": MARGIN}
        network = as_universal(self.new_network("universal", sizes, encoder))
        if network is None:
            raise TypeError("universal made another network")
        self.network, self.trained = network.to(device), _Painting(network)
        self.objectives: list[GramObjective] = []
        self.teacher: Universal | None = None
        if s.teacher is None:
            self._get_judges(encoder)
        else:
            self.teacher = self._taught_by(s.teacher)
        if s.begin_with:
            self._begin(s.begin_with)
        else:
            network.predictor.learn_basis(self._features_of_cuts())
        self.usual = self._usual_distance() if s.style_shares and self.objectives else 1.0

    def _get_judges(self, encoder: VGG) -> None:
        s = self.settings
        same = (s.backbone, s.backbone_input, s.pool) == (s.encoder, s.encoder_input, "max")
        self.objectives = [self._objective("backbone", s.backbone, s.backbone_input, encoder if same else None)]
        for number, name in enumerate(s.second_backbone, 1):
            role = f"second_backbone_{number}" if number > 1 else "second_backbone"
            kind = None if name in BACKBONES else s.second_backbone_input  # those of ours tell
            self.objectives.append(self._objective(role, name, kind))

    def _taught_by(self, name: str) -> Universal:
        path = find_model(name)
        network, about = load_model(path, encoder=self.network.encoder)
        teacher = as_universal(network)
        if teacher is None:
            raise OptionError(f"{name}: is of method {network.METHOD}, and only a network of any style can teach one")
        self._check_encoder(name, about, "teach")
        self.contents["teacher"] = sha256(path)
        return teacher.to(self.device).requires_grad_(False).eval()

    def _usual_distance(self) -> float:
        """How far photos as they are lie from styles, in the first backbone."""
        with closing(self.batches(0, Shard())) as batches:
            some = [next(batches) for _ in range(-(-MEASURED // self.settings.batch_size))]
        first = self.objectives[0]
        apart = [first.each_distance(batch.photos, self._targets(first, batch.styles)) for batch in some]
        return float(torch.cat(apart).mean())

    def _targets(self, objective: GramObjective, styles: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return objective.grams(objective.backbone(styles, self.settings.style_layer))

    def _objective(self, role: str, name: str, kind: Input | None, known: VGG | None = None) -> GramObjective:
        """The losses that a backbone sees; `known` is the encoder where it is that very backbone."""
        s = self.settings
        if known is None:
            backbone = load_backbone(name, input=kind, pool=s.pool, device=self.device)
            self.contents[role] = {"name": backbone.name, "identity": backbone_identity(backbone)}
            backbone = self.in_working_precision(backbone)
        else:
            backbone = known
        divisor = "positions" if s.weights.relative else s.DIVISOR
        return GramObjective(backbone, s.style_layer, s.content_layer, s.weights, divisor, s.style_coarse)

    def _features_of_cuts(self) -> Tensor:
        """Features of many cuts, the same in every process, (N, D)."""
        s = self.settings
        batches = photo_batches(
            self.pictures,
            batch_size=8,
            size=s.image_size,
            seed=s.seed,
            crop=Crop(enlarge=s.crop_enlarge),
            bad=BadPhotos(self.pictures),
            device=self.device,
        )
        with closing(batches):
            features = [self.network.signature(next(batches)).features for _ in range(FIRST_CUTS // 8)]
        return torch.cat(features)

    def _begin(self, start: str) -> None:
        """Take over what another network has learned, of any style or of several."""
        path = find_model(start)
        trained, about = load_model(path, encoder=self.network.encoder)
        self.contents["begin_with"] = sha256(path)
        universal, brisk = as_universal(trained), as_brisk(trained)
        if universal is not None and not self.settings.begin_style:
            self._check_encoder(start, about, "begin")
            try:
                self.network.go_on_from(universal.to(self.device))
            except OptionError as error:
                raise OptionError(f"{start}: {error}") from error
            return
        if not self.settings.begin_style:
            raise OptionError(f"{start}: is of method {trained.METHOD}: give `begin_style`, the styles that it learned")
        sources = {source.name: source for source in gather_styles(self.settings.begin_style)}
        if brisk is None or list(brisk.styles) != list(sources):
            raise OptionError(
                f"{start}: to begin with it, it must be a network of `train multistyle` with the styles that "
                "`begin_style` names, in the same order"
            )
        signatures, size = [], self.settings.style_size
        for source in sources.values():
            picture = source.picture()
            small = resize(to_tensor(picture.weighed()), fit_long_side((picture.height, picture.width), size))
            signatures.append(self.network.signature(small.to(self.device)))
        self.network.predictor.learn_basis(self._features_of_cuts())
        together = Signature(*(torch.cat(part) for part in zip(*signatures, strict=True)))
        self.network.begin_with(brisk.to(self.device), together)

    def _check_encoder(self, name: str, about: Mapping[str, Any], what: str) -> None:
        theirs, ours = about["network"]["encoder"], self.network.config.encoder
        if theirs != ours:
            raise OptionError(f"{name}: looks at styles by {theirs}, and cannot {what} what does by {ours}")

    def batches(self, start: int, shard: Shard) -> Generator[Batch, None, None]:
        """As many style pictures as photos."""
        s = self.settings
        with closing(self.pairs(start, shard)) as pairs:
            for step, (some, pictures) in enumerate(pairs, start):
                first = (step * shard.world_size + shard.rank) * s.batch_size
                dyed = torch.stack([_dyed(style, s.seed, first + i) for i, style in enumerate(pictures)])
                seen = on_random_ground(some, s.ground, s.seed, first) if s.ground else None
                styles = dyed.contiguous(memory_format=self.precision.memory_format)
                yield Batch(some, styles, turn=self._turn(step), seen=seen)

    def _turn(self, step: int) -> int:
        """Which backbone looks at a step: every n-th is one of the others', in turns."""
        others, every = len(self.objectives) - 1, self.settings.second_every
        return 1 + step // every % others if others > 0 and step % every == every - 1 else 0

    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """Paint each photo in its style and compare, with the teacher's painting where there is one."""
        photos = batch.given
        if self.teacher is not None:
            signature = self.network.signature(batch.styles)
            painted = paint(photos, signature)
            with torch.no_grad():
                wanted = self.teacher(photos, signature)
            return distillation(painted, wanted)
        objective, encoder, layers = self.objectives[batch.turn], self.network.encoder, self.settings.style_layer
        with torch.no_grad():
            seen = encoder(batch.styles, {*TAPS, *layers} if objective.backbone is encoder else TAPS)
            features = seen if objective.backbone is encoder else objective.backbone(batch.styles, layers)
            targets = objective.grams(features)
        half = self._targets(objective, F.avg_pool2d(batch.styles, 2)) if self.settings.style_coarse else None
        counts = None
        if self.settings.style_shares:
            apart = objective.each_distance(batch.photos, targets)
            counts = self.usual / torch.maximum(apart, torch.full_like(apart, FAINT_STYLE * self.usual))
        painted = paint(photos, self.network.signature(batch.styles, seen))
        return objective(painted, batch.photos, targets, half, counts=counts)

    def painter(self, style: Tensor) -> Callable[[Tensor], Tensor]:
        """One pass of the network, bound anew every time: weights change between sheets."""

        def paint(photos: Tensor) -> Tensor:
            painted: Tensor = self.network.bind_parameters([self.network.encode_style(style)])(
                photos, torch.ones(1, 1).to(photos)
            )
            return painted

        return paint


class _Painting(torch.nn.Module):
    """The part of the network that learns: what processes share must not hold the encoder."""

    def __init__(self, network: Universal) -> None:
        super().__init__()
        self.painter, self.predictor = network.painter, network.predictor
        self._network = (network,)  # in a tuple, or it would be registered as a part

    def forward(self, photos: Tensor, signature: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        painted: Tensor = self._network[0](photos, signature)
        return painted


def _dyed(style: Tensor, seed: int, number: int) -> Tensor:
    """The picture (3, h, w) with its channels swapped, or as it is: decided by its number among all."""
    rng = np.random.default_rng((COLOURS, seed, number))
    return style[torch.from_numpy(rng.permutation(3)).to(style.device)] if rng.random() < 0.5 else style
