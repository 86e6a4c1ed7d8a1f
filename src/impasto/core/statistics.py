"""What style is made of: second-order statistics of features, and the maths that matches them.

Notation: a feature map F is (B, C, h, w) and M = h·w. Everything here is a function; nothing keeps state.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.core.precision import in_float64
from impasto.types import Divisor, TotalVariation

__all__ = [
    "Divisor",
    "TotalVariation",
    "adain",
    "covariance",
    "gram",
    "mean_std",
    "moments",
    "shares_of",
    "split_weights",
    "total_variation",
    "trace_of_root",
]

FAINT = 1e-12  # of the largest eigenvalue: what is less is rounding, in float64 too


def flatten(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, M, C); a view, not a copy, where the features are channels-last."""
    b, c, h, w = features.shape
    return features.permute(0, 2, 3, 1).reshape(b, h * w, c)


def split_weights(picture: Tensor) -> tuple[Tensor, Tensor | None]:
    """A picture (B, 3 or 4, H, W) -> colours (B, 3, H, W), and how far each pixel counts, (B, 1, H, W), if it tells."""
    return picture[:, :3], picture[:, 3:] if picture.shape[1] == 4 else None


def shares_of(weights: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """Weights of pixels (B, 1, H, W) for features of this height and width: (B, 1, h, w), their mean 1; None stays."""
    if weights is None:
        return None
    small = F.adaptive_avg_pool2d(_at_least_float32(weights), size)
    return small / small.mean((2, 3), keepdim=True).clamp_min(torch.finfo(small.dtype).tiny)


def gram(features: Tensor, divisor: Divisor = "positions", shares: Tensor | None = None) -> Tensor:
    """Gram matrix F·Fᵀ of each picture, (B, C, h, w) -> (B, C, C), at least float32.

    The divisor is 1 (``none``: Gatys, Ecker & Bethge 2016, eq. 3), M (``positions``: Gatys' code, Magenta)
    or C·M (``all``: Johnson et al. 2016, eq. 3). The product itself is taken in the precision of the features.
    Positions count by their `shares`, see `shares_of`, all the same by default.
    """
    if shares is not None:
        features = features * shares.to(features.dtype).sqrt()
    product: Tensor = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return _at_least_float32(product) / _divide_by(features, divisor)


class _Gram(torch.autograd.Function):
    """fᵀ·f of f = `flatten` of (B, C, h, w), -> (B, C, C).

    Autograd's own derivative takes two products where f·(D + Dᵀ) takes one, and would keep a copy of a part of a map.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        f = flatten(features)
        # A batch of one long, thin product is several times slower on the CPU than the plain product.
        return (f[0].t() @ f[0])[None] if len(f) == 1 else torch.bmm(f.transpose(1, 2), f)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        f, d = flatten(features), grads[0] + grads[0].transpose(1, 2)
        back = (f[0] @ d[0])[None] if len(f) == 1 else torch.bmm(f, d)
        return back.view(len(f), *features.shape[2:], -1).permute(0, 3, 1, 2)


def _divide_by(features: Tensor, divisor: Divisor) -> int:
    channels, positions = features.shape[1], features.shape[2] * features.shape[3]
    return {"none": 1, "positions": positions, "all": channels * positions}[divisor]


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def mean_std(features: Tensor, eps: float = 1e-5, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over positions, (B, C, h, w) -> two of (B, C, 1, 1).

    The variance is the biased one, with `eps` added under the root (Huang & Belongie 2017, section 3). Positions
    count by their `shares`, see `shares_of`, all the same by default.
    """
    x = _at_least_float32(features)
    if shares is not None:
        mean = (x * shares).mean((2, 3), keepdim=True)
        return mean, (((x - mean).square() * shares).mean((2, 3), keepdim=True) + eps).sqrt()
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return mean, (variance + eps).sqrt()


def adain(content: Tensor, style: Tensor, eps: float = 1e-5) -> Tensor:
    """Content features with the style's mean and deviation in every channel, both (B, C, h, w).

    Huang & Belongie 2017, eq. 8. The style may have any size; the result has the content's.
    """
    mean_c, std_c = mean_std(content, eps)
    mean_s, std_s = mean_std(style, eps)
    return ((_at_least_float32(content) - mean_c) * (std_s / std_c) + mean_s).to(content.dtype)


def moments(features: Tensor, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and second moment of the features, (B, C, h, w) -> (B, C) and (B, C, C), at least float32.

    Unlike a covariance, these two may be averaged over pictures and over tiles. The products are taken in float32
    whatever the features are: a covariance is a small difference of large numbers. Positions count by their
    `shares`, see `shares_of`, all the same by default.
    """
    x = _at_least_float32(features)
    return (x if shares is None else x * shares).mean(dim=(2, 3)), gram(x, shares=shares)


def covariance(mean: Tensor, second: Tensor) -> Tensor:
    """E[f fᵀ] - μ μᵀ from `moments`, (..., C) and (..., C, C) -> (..., C, C)."""
    return second - mean.unsqueeze(-1) * mean.unsqueeze(-2)


def trace_of_root(matrix: Tensor) -> Tensor:
    """The trace of A^½, of symmetric matrices without negative eigenvalues, (..., C, C) -> (...), in float64 if it can.

    By eigenvalues. Its gradient is A^-½ / 2; eigenvalues of less than 1e-12 of the largest, whose part of it has no
    end, count in it with so much. What rounding made negative counts as 0.
    """
    trace: Tensor = _TraceOfRoot.apply(matrix)  # type: ignore[no-untyped-call]
    return trace


class _TraceOfRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        wide = in_float64(matrix)
        if not bool(wide.isfinite().all()):  # of which there are no eigenvalues
            ctx.save_for_backward(torch.full_like(matrix, torch.nan))
            unknown: Tensor = matrix.new_full(matrix.shape[:-2], torch.nan)
            return unknown
        values, vectors = torch.linalg.eigh(wide)
        roots = values.clamp_min(0).sqrt()
        least = (FAINT * values[..., -1:]).clamp_min(torch.finfo(torch.float32).tiny).sqrt()
        inverse = vectors / torch.maximum(roots, least).unsqueeze(-2) @ vectors.mT
        ctx.save_for_backward(inverse.to(matrix))
        trace: Tensor = roots.sum(-1).to(matrix)
        return trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        inverse: Tensor = ctx.saved_tensors[0]
        return grads[0][..., None, None] * inverse / 2


def total_variation(image: Tensor, kind: TotalVariation = "l2", *, mean: bool = False) -> Tensor:
    """How much neighbouring pixels differ, (B, C, H, W) -> scalar: a sum, or a mean over the picture's values.

    ``l1`` sums |Δ| (neural-style-pt, TensorFlow's tutorial), ``l2`` sums Δ² (neural-style, Johnson et al. 2016,
    section 3.2), ``nine-point`` sums ⅔ Δ² to the right and below and ⅙ Δ² along both diagonals of a picture whose
    frame is replicated: |∇|², seen alike in all eight directions (Crowson's style-transfer-pytorch).
    """
    right, down = image[..., :, 1:] - image[..., :, :-1], image[..., 1:, :] - image[..., :-1, :]
    if kind == "l1":
        total = right.abs().sum() + down.abs().sum()
    elif kind == "l2":
        total = right.square().sum() + down.square().sum()
    elif kind == "nine-point":
        framed = F.pad(image, (1, 1, 1, 1), mode="replicate")
        falling, rising = framed[..., 1:, 1:] - framed[..., :-1, :-1], framed[..., 1:, :-1] - framed[..., :-1, 1:]
        # A frame has one more diagonal each way than there are pixels; a mean is over its own number of them.
        share = image.numel() / falling.numel() if mean else 1.0
        diagonal = (falling.square().sum() + rising.square().sum()) * share
        total = (right.square().sum() + down.square().sum()) * 2 / 3 + diagonal / 6
    else:
        raise ValueError(f"kind is 'l1', 'l2' or 'nine-point', got {kind!r}")
    return total / image.numel() if mean else total
