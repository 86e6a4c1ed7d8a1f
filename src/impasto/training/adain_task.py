"""Training the decoder that paints any style (Huang & Belongie 2017)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn

from impasto.core.precision import Precision
from impasto.core.weights import load_backbone
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.encoded import TAPS, FeatureMoments
from impasto.networks.registry import as_adain
from impasto.training.any_style import AnyStyleTask
from impasto.training.objectives import AdaINObjective, Terms, per_picture
from impasto.training.settings import AdaINSettings
from impasto.training.targets import backbone_identity
from impasto.training.task import Batch, Paint, Shard

__all__ = ["AdaINTask"]

OWN_EVERY = 4
DARK = 0.1  # mean square of a photo's pixels: in darker ones errors count no more than in this


class _Decoder(nn.Module):
    """The part of the network that learns, as a module of its own: what processes share must not hold the encoder."""

    def __init__(self, network: AdaIN) -> None:
        super().__init__()
        self.decoder = network.decoder
        self._network = (network,)  # in a tuple, or it would be registered as a part

    def forward(self, features: Tensor) -> Tensor:
        return self._network[0].decode(features)


class AdaINTask(AnyStyleTask):
    """Learn to decode features with any style's moments.

    Raises:
        OptionError: no styles.
        WeightsError: the encoder cannot be loaded.
        LayerError: the encoder does not reach relu4_1.
        DataError: photos or styles cannot be read.
    """

    network: AdaIN
    settings: AdaINSettings

    def __init__(
        self, settings: AdaINSettings, device: torch.device, precision: Precision, begun: Path | None = None
    ) -> None:
        super().__init__(settings, device, precision, begun)
        padding = AdaINConfig().padding
        encoder = load_backbone(settings.encoder, input=settings.encoder_input, padding=padding, device=device)
        self.contents["backbone"] = {"name": encoder.name, "identity": backbone_identity(encoder)}
        encoder = self.in_working_precision(encoder)
        width = settings.decoder_width or (0.5 if encoder.name == "compact" else 1.0)
        network = as_adain(self.new_network("adain", {"encoder": encoder.name, "width": width}, encoder))
        if network is None:
            raise TypeError("adain made another network")
        self.network, self.trained = network, _Decoder(network)
        self.objective = AdaINObjective(encoder, settings.weights)

    def batches(self, start: int, shard: Shard) -> Generator[Batch, None, None]:
        """As many style pictures as photos."""
        with closing(self.pairs(start, shard)) as pairs:
            for pair in pairs:
                yield self._with_own(*pair, shard)

    def _with_own(self, photos: Tensor, styles: Tensor, shard: Shard) -> Batch:
        """Every fourth photo of a step, counted over all processes, becomes its own style."""
        if not self.settings.pixel_weight:
            return Batch(photos, styles)
        first = shard.rank * len(photos)
        own = torch.tensor([(first + i) % OWN_EVERY == 0 for i in range(len(photos))], device=photos.device)
        return Batch(photos, torch.where(own[:, None, None, None], photos, styles), own.float())

    def terms(self, paint: Paint, batch: Batch) -> Terms:
        """Ask for the photo's features with the style's moments, and see how the painting has them."""
        style = self.objective.moments(batch.styles)
        with torch.no_grad():
            wanted = self.network.restyle(self.network.encode(batch.photos), [FeatureMoments(*style[TAPS[-1]])])
        painted = paint(wanted)
        terms = self.objective(painted, wanted, style)
        if batch.own is not None:
            height, width = batch.photos.shape[-2:]
            whole = painted[..., :height, :width]  # without what padding to a multiple has added
            terms["pixel"] = (per_picture(whole, batch.photos, relative=True, least=DARK) * batch.own).mean()
            terms["total"] = terms["total"] + self.settings.pixel_weight * terms["pixel"]
        return terms

    def painter(self, style: Tensor) -> Callable[[Tensor], Tensor]:
        """One pass of the network."""

        def paint(photos: Tensor) -> Tensor:
            painted: Tensor = self.network(photos, [style])
            return painted

        return paint
