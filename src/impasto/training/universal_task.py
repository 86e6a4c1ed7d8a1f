"""Training the network that paints in any style, and what tells it how from one look at the style."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

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
from impasto.networks.universal import Signature, Universal, UniversalConfig
from impasto.training.any_style import AnyStyleTask
from impasto.training.data import BadPhotos, Crop, photo_batches
from impasto.training.objectives import GramObjective, Terms
from impasto.training.settings import UniversalSettings
from impasto.training.sources import gather_styles, names_digest, open_styles
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
    """

    network: Universal
    settings: UniversalSettings

    def __init__(self, settings: UniversalSettings, device: torch.device, precision: Precision) -> None:
        super().__init__(settings, device, precision)
        self.pictures = open_styles(settings.style, settings.leave_out)
        s = settings
        padding = UniversalConfig().padding
        encoder = load_backbone(s.encoder, input=s.encoder_input, padding=padding, device=device)
        self.contents |= {
            "styles": {"count": len(self.pictures), "names": names_digest(self.pictures)},
            "encoder": {"name": encoder.name, "identity": backbone_identity(encoder)},
        }
        encoder = self.in_working_precision(encoder)
        sizes = {
            "channels": s.channels, "blocks": s.blocks, "detail": s.detail, "parts": s.parts, "hidden": s.hidden
        }  # fmt: skip
        network = as_universal(self.new_network("universal", {"encoder": encoder.name, **sizes}, encoder))
        if network is None:
            raise TypeError("universal made another network")
        self.network, self.trained = network.to(device), _Painting(network)
        same = (s.backbone, s.backbone_input, s.pool) == (s.encoder, s.encoder_input, "max")
        self.objectives = [self._objective("backbone", s.backbone, s.backbone_input, encoder if same else None)]
        if s.second_backbone:
            self.objectives.append(self._objective("second_backbone", s.second_backbone, s.second_backbone_input))
        if s.begin_with:
            self._begin(s.begin_with)
        else:
            network.predictor.learn_basis(self._features_of_cuts())

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
        return GramObjective(backbone, s.style_layer, s.content_layer, s.weights, divisor)

    def _features_of_cuts(self) -> Tensor:
        """Features of many cuts, the same in every process, (N, D)."""
        s = self.settings
        batches = photo_batches(
            self.pictures,
            batch_size=8,
            size=s.image_size,
            seed=s.seed,
            crop=Crop(enlarge=s.crop_enlarge),
            bad=BadPhotos(len(self.pictures)),
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
            if universal.config != self.network.config or about["network"]["encoder"] != universal.config.encoder:
                raise OptionError(f"{start}: a network of other sizes or with another encoder cannot begin this one")
            self.network.load_state_dict(universal.state_dict())
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

    def batches(self, start: int, shard: Shard) -> Generator[Batch, None, None]:
        """As many style pictures as photos."""
        s = self.settings
        with closing(self.pairs(start, shard)) as pairs:
            for step, (some, pictures) in enumerate(pairs, start):
                first = (step * shard.world_size + shard.rank) * s.batch_size
                dyed = torch.stack([_dyed(style, s.seed, first + i) for i, style in enumerate(pictures)])
                turn = int(step % s.second_every == s.second_every - 1) if len(self.objectives) > 1 else 0
                yield Batch(some, dyed.contiguous(memory_format=self.precision.memory_format), turn=turn)

    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """Paint each photo in its style and compare."""
        objective, encoder, layers = self.objectives[batch.turn], self.network.encoder, self.settings.style_layer
        with torch.no_grad():
            seen = encoder(batch.styles, {*TAPS, *layers} if objective.backbone is encoder else TAPS)
            features = seen if objective.backbone is encoder else objective.backbone(batch.styles, layers)
            targets = objective.grams(features)
        return objective(paint(batch.photos, self.network.signature(batch.styles, seen)), batch.photos, targets)

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
