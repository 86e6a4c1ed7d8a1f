"""What a training minimises: perceptual losses of whole batches, taken picture by picture and averaged.

Every term is a mean over the pictures of a batch, so that two halves of a batch, averaged, give the whole's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.statistics import Divisor, gram, mean_std, total_variation
from impasto.core.vgg import VGG
from impasto.networks.encoded import TAPS
from impasto.training.settings import Weights

__all__ = ["FAINT_STYLE", "MEASURED", "AdaINObjective", "GramObjective", "Terms", "distillation", "per_picture"]

MEASURED = 16  # photos, of which is known how far they are from styles
FAINT_STYLE = 0.25  # of the usual distance to a style: nearer ones count no more than that
FAINT = 0.01  # of a mean square: what is fainter has no share of its own
Terms = dict[str, Tensor]
"""Scalars: ``total`` is minimised; ``content``, ``style``, ``tv`` are unweighted, ``style/relu1_2`` … by layer."""


def per_picture(got: Tensor, target: Tensor, *, relative: bool, least: Tensor | float = 0.0) -> Tensor:
    """Squared error of each picture as a mean, or as a share of its target's squared norm; (B, ...) -> (B,).

    The share makes weights comparable across layers, backbones and styles. A target whose mean square is below `least`,
    a number or one of each picture, counts as having that: a blank picture would divide by nothing.
    """
    error = _squared_norm(got.float() - target.float())
    if not relative:
        return error / target[0].numel()
    norm = _squared_norm(target.float())
    return error / torch.maximum(norm, torch.as_tensor(least, device=norm.device) * target[0].numel()).clamp_min(1e-12)


def distillation(painted: Tensor, wanted: Tensor) -> Terms:
    """Mean difference of paintings (B, 3, H, W), and that of their neighbours' differences, for crisp strokes."""
    apart = painted.float() - wanted.float()
    pixels, edges = apart.abs().mean(), apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()
    return {"total": pixels + edges, "pixels": pixels, "edges": edges}


def _content(got: Tensor, wanted: Tensor, *, relative: bool) -> Tensor:
    """The mean over a batch; a photo in which a backbone sees nothing is measured by what it sees in the others."""
    return per_picture(got, wanted, relative=relative, least=FAINT * wanted.float().square().mean()).mean()


def _squared_norm(x: Tensor) -> Tensor:
    """(B, ...) -> (B,); the gradient needs no map of squares."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)))
    return norm.square()


def _variation(painted: Tensor, weights: Weights) -> Tensor:
    """Mean squared difference of neighbours in [0, 1]; or Johnson's sum on 0–255, by picture."""
    if weights.relative:
        return total_variation(painted, "l2", mean=True)
    return total_variation(painted * 255, "l2") / len(painted)


def _sum_up(content: Tensor, style: Tensor, layers: Mapping[str, Tensor], painted: Tensor, weights: Weights) -> Terms:
    total = weights.content * content + weights.style * style
    terms = {"content": content, "style": style}
    if weights.tv:
        terms["tv"] = _variation(painted, weights)
        total = total + weights.tv * terms["tv"]
    return {"total": total, **terms, **{f"style/{tap}": value for tap, value in layers.items()}}


class GramObjective:
    """Features of the photo, Gram matrices of a style (Johnson et al. 2016, section 3.2).

    Args:
        backbone: frozen.
        style_layers: where Gram matrices, divided as `divisor` says, are compared.
        content_layer: where the features of photo and painting are compared.
        weights: with `relative`, style is the mean over layers, otherwise the sum.
        coarse: what the style at half the size counts besides (Snelgrove 2017, "High-resolution multi-scale neural
            texture synthesis"): layers see forms of twice the size there.
    """

    def __init__(
        self,
        backbone: VGG,
        style_layers: Sequence[str],
        content_layer: str,
        weights: Weights,
        divisor: Divisor = "positions",
        coarse: float = 0.0,
    ) -> None:
        self.coarse = coarse
        self.backbone, self.style_layers, self.weights = backbone, tuple(style_layers), weights
        self.content_layer, self.divisor = content_layer, divisor
        self.taps = backbone.check([*style_layers, content_layer])

    def grams(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gram matrices at the style layers, name -> (B, C, C)."""
        return {tap: gram(features[tap], self.divisor) for tap in self.style_layers}

    def __call__(
        self,
        painted: Tensor,
        photos: Tensor,
        targets: Mapping[str, Tensor],
        half: Mapping[str, Tensor] | None = None,
        *,
        counts: Tensor | None = None,
    ) -> Terms:
        """(B, 3, H, W) both, and what `grams` gave of each picture's style, and of that at `half` its size -> terms.

        `counts`, (B,), says what the style of each picture counts; all alike by default.
        """
        relative = self.weights.relative
        with torch.no_grad():
            wanted = self.backbone(photos, [self.content_layer])[self.content_layer]
        content, layers = painted.new_zeros(()), dict.fromkeys(self.style_layers, painted.new_zeros(()))
        for tap, features in self.backbone.each(painted, self.taps):
            if tap == self.content_layer:
                content = _content(features, wanted, relative=relative)
            if tap in layers:
                layers[tap] = self._layer(features, targets[tap], counts)
        style = self._together(layers)
        terms = _sum_up(content, style, layers, painted, self.weights)
        if half is not None and self.coarse:
            seen = self.backbone.each(F.avg_pool2d(painted, 2), self.style_layers)
            terms["coarse"] = self._together({tap: self._layer(features, half[tap], counts) for tap, features in seen})
            terms["total"] = terms["total"] + self.weights.style * self.coarse * terms["coarse"]
        return terms

    def each_distance(self, photos: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """How far photos (B, 3, H, W) as they are lie from styles, each from its own, (B,)."""
        relative = self.weights.relative
        with torch.no_grad():
            own = self.grams(self.backbone(photos, self.style_layers))
        return self._together({tap: per_picture(own[tap], targets[tap], relative=relative) for tap in own})

    def style_distances(self, photos: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """How far photos (B, 3, H, W) as they are lie from each of N styles, the mean over them, (N,)."""
        with torch.no_grad():
            own = self.grams(self.backbone(photos, self.style_layers))
        number = len(next(iter(targets.values())))
        return torch.stack([self._distance(own, targets, style) for style in range(number)])

    def _distance(self, own: Mapping[str, Tensor], targets: Mapping[str, Tensor], style: int) -> Tensor:
        wanted = {tap: targets[tap][style].expand_as(grams) for tap, grams in own.items()}
        relative = self.weights.relative
        return self._together({tap: per_picture(own[tap], wanted[tap], relative=relative).mean() for tap in own})

    def _layer(self, features: Tensor, target: Tensor, counts: Tensor | None) -> Tensor:
        errors = per_picture(gram(features, self.divisor), target, relative=self.weights.relative)
        return (errors if counts is None else errors * counts).mean()

    def _together(self, layers: Mapping[str, Tensor]) -> Tensor:
        return torch.stack(list(layers.values())).sum(0) / (len(layers) if self.weights.relative else 1)


class AdaINObjective:
    """Features that were asked for, moments of the style (Huang & Belongie 2017, eq. 11 to 13).

    The moments of a layer count with the sum of both errors; with `relative` weights, with the mean of both, and
    style is the mean over layers instead of the sum.
    """

    def __init__(self, encoder: VGG, weights: Weights) -> None:
        self.encoder, self.weights = encoder, weights

    def moments(self, styles: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Mean and deviation at each tap of style pictures (B, 3, H, W)."""
        with torch.no_grad():
            return {tap: mean_std(f) for tap, f in self.encoder(styles, TAPS).items()}

    def __call__(self, painted: Tensor, wanted: Tensor, style: Mapping[str, tuple[Tensor, Tensor]]) -> Terms:
        """The paintings (B, 3, H, W), what relu4_1 should be (B, 512, h, w), `moments` of the styles -> terms."""
        relative = self.weights.relative
        features = self.encoder(painted, TAPS)
        content = _content(features[TAPS[-1]], wanted, relative=relative)
        layers = {tap: self._layer(mean_std(features[tap]), style[tap]) for tap in TAPS}
        total = torch.stack(list(layers.values())).sum() / (len(layers) if relative else 1)
        return _sum_up(content, total, layers, painted, self.weights)

    def _layer(self, got: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        relative = self.weights.relative
        # A blank style's deviations are next to nothing; photos' and paintings' are a tenth of their means and more.
        least = FAINT / 10 * wanted[0].float().square().flatten(1).mean(1)
        errors = [per_picture(a, b, relative=relative, least=least).mean() for a, b in zip(got, wanted, strict=True)]
        return torch.stack(errors).sum() / (len(errors) if relative else 1)
