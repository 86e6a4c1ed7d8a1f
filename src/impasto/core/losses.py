"""The terms of a perceptual loss: each a small module that holds its target, called with what it judges.

Constants that differ between papers are arguments; `optimize/loop.py` chooses them. A target may be any
size: Gram matrices are divided by their own picture's positions, so a style need not be as large as the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from impasto.core.precision import in_float64
from impasto.core.statistics import Divisor, covariance, gram, moments, total_variation, trace_of_root
from impasto.core.statistics import TotalVariation as TotalVariationKind
from impasto.types import Reduction

__all__ = [
    "ContentLoss",
    "GramLoss",
    "Reduction",
    "TotalVariationLoss",
    "WassersteinLoss",
    "error_divisor",
    "reduce_error",
]


def reduce_error(got: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Squared error as a sum, as a mean, or as a share of the target's own squared norm; -> scalar.

    The share needs no knowledge of how large a network's activations are, which is what makes weights
    comparable across layers, backbones and styles.
    """
    # Not F.mse_loss, whose gradient is contiguous whatever the features are: seven times as long in channels-last.
    errors = (got - target).square()
    if reduction == "mean":
        return errors.mean()
    return errors.sum() / error_divisor(target.square().sum(), target.numel(), reduction)


def error_divisor(norm: Tensor, count: int, reduction: Reduction) -> Tensor:
    """What a sum of squared errors is divided by, from the target's squared norm and its number of values."""
    if reduction == "relative":
        # A flat target (a black picture's deepest features) would divide by nothing.
        return norm.clamp_min(1e-12)
    return torch.full_like(norm, 1.0 if reduction == "sum" else count)


class ContentLoss(nn.Module):
    """factor · error(F, P) between features of the result and of the photo, both (B, C, h, w).

    Gatys 2016, eq. 1, is factor ½ of the sum; most code takes the mean.
    """

    target: Tensor

    def __init__(self, target: Tensor, reduction: Reduction = "mean", factor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("target", target.detach().float())
        self.reduction, self.factor = reduction, factor

    def forward(self, features: Tensor) -> Tensor:
        """-> scalar."""
        return self.factor * reduce_error(features.float(), self.target, self.reduction)


class GramLoss(nn.Module):
    """factor · error(G, A) between Gram matrices, (1, C, C) as target.

    Gatys 2016, eq. 4, is 1/(4 C² M²) of the sum with G undivided: here factor ¼, ``mean`` and divisor
    ``positions``, which is the same number where photo and style have the same size, and right where not.
    """

    target: Tensor

    def __init__(
        self,
        target: Tensor,
        reduction: Reduction = "mean",
        factor: float = 1.0,
        divisor: Divisor = "positions",
    ) -> None:
        super().__init__()
        self.register_buffer("target", target.detach())
        self.reduction, self.factor, self.divisor = reduction, factor, divisor

    def forward(self, features: Tensor) -> Tensor:
        """Features (1, C, h, w) -> scalar."""
        return self.of(gram(features, self.divisor))

    def of(self, grams: Tensor) -> Tensor:
        """The Gram matrix itself, (1, C, C), divided as the target is -> scalar."""
        return self.factor * reduce_error(grams, self.target, self.reduction)


class WassersteinLoss(nn.Module):
    """Squared Wasserstein-2 distance of the features to a Gaussian given by mean (1, C) and second moment.

    |μ - μ_s|² + tr(Σ + Σ_s - 2 (Σ_s^½ Σ Σ_s^½)^½) (Olkin & Pukelsheim 1982), both terms as means over C, with `eps` on
    the diagonals. Roots are by eigenvalues in float64: the three traces nearly cancel, and of fewer positions than
    channels most eigenvalues are `eps`, which float32 cannot tell from what it rounds.
    """

    mean: Tensor
    trace: Tensor
    root: Tensor

    def __init__(self, mean: Tensor, second: Tensor, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = eps
        values, vectors = torch.linalg.eigh(self._covariance(mean, second))
        values = values.clamp_min(0)
        self.register_buffer("mean", mean.detach())
        self.register_buffer("root", ((vectors * values.sqrt().unsqueeze(-2)) @ vectors.mT).detach())
        self.register_buffer("trace", values.mean(-1).detach())

    def _covariance(self, mean: Tensor, second: Tensor) -> Tensor:
        wide = covariance(in_float64(mean), in_float64(second))
        return wide + self.eps * in_float64(torch.eye(mean.shape[-1], device=mean.device))

    def forward(self, features: Tensor) -> Tensor:
        """Features (1, C, h, w) -> scalar."""
        return self.of(*moments(features))

    def of(self, mean: Tensor, second: Tensor) -> Tensor:
        """The moments themselves, (1, C) and (1, C, C) -> scalar."""
        cov = self._covariance(mean, second)
        root = self.root.to(cov)
        cross = trace_of_root(root @ cov @ root) / mean.shape[-1]
        traces = torch.diagonal(cov, dim1=-2, dim2=-1).mean(-1) - 2 * cross + self.trace.to(cov)
        return ((mean - self.mean).square().mean(-1) + traces.clamp_min(0).to(mean)).sum()


class TotalVariationLoss(nn.Module):
    """Total variation of a picture in [0, 1], counted in units of 1/`levels` (255 where the code did)."""

    def __init__(self, kind: TotalVariationKind = "l2", levels: float = 1.0, mean: bool = False) -> None:
        super().__init__()
        self.kind, self.levels, self.mean = kind, levels, mean

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> scalar."""
        return total_variation(image * self.levels, self.kind, mean=self.mean)
