"""Instance normalisation (Ulyanov et al. 2016), plain and conditional on a style (Dumoulin et al. 2017).

The parts are functions, so that a picture may also be worked through piece by piece: `moments` of the whole,
then `scale_shift`, then ``x * scale + shift``. `instance_norm` does all three at once, which is how the
networks call it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["EPS", "ConditionalInstanceNorm", "InstanceNorm", "instance_norm", "moments", "scale_shift"]

EPS = 1e-5


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over positions, (B, C, h, w) -> two of (B, C), at least float32."""
    variance, mean = torch.var_mean(_at_least_float32(x), dim=(2, 3), correction=0)
    return mean, variance


def scale_shift(mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The (scale, shift) with which ``x * scale + shift`` is γ·(x - μ)/√(σ² + eps) + β.

    `mean` and `variance` are (B, C), `gamma` and `beta` (B, C) or (1, C); the results are (B, C).
    """
    scale = gamma * torch.rsqrt(variance + EPS)
    return scale, beta - mean * scale


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalise each channel of each picture, then scale by γ and shift by β.

    Args:
        x: (B, C, h, w) features of any floating type; statistics are float32 at least, whatever it is.
        gamma, beta: (B, C), or (1, C) where all pictures share them.

    Returns:
        (B, C, h, w) in the type and layout of x.
    """
    if torch.is_grad_enabled() and (x.requires_grad or gamma.requires_grad or beta.requires_grad):
        out: Tensor = _Normalise.apply(x, gamma, beta)  # type: ignore[no-untyped-call]
        return out
    return _normalise(x, gamma, beta)[0]


def _normalise(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised x, and the (B, C) mean and 1/σ of it."""
    wide = _at_least_float32(x.new_empty(0)).dtype
    gamma, beta = gamma.to(wide), beta.to(wide)
    return _normalise_on_cpu(x, gamma, beta) if x.device.type == "cpu" else _normalise_in_parts(x, gamma, beta)


def _normalise_in_parts(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = moments(x)
    scale, shift = scale_shift(mean, variance, gamma, beta)
    return (x * _maps(scale) + _maps(shift)).to(x.dtype), mean, torch.rsqrt(variance + EPS)


def _normalise_on_cpu(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group normalisation with one channel a group: one pass for both moments and one to write the result.

    It takes bfloat16 features with float32 γ and β, and is about ten times as fast as `moments` on
    channels-last features. It takes one γ for the whole batch: pictures with γ of their own go one by one,
    which also makes a picture's result the same bits whatever else is in its batch.

    In channels-last the variance is E[x²] - μ², good to some 1e-5 (μ/σ)² of itself. Normalised features have
    μ/σ of order one, and pictures are centred before the first convolution (`staged`), so that is enough.
    """
    b, c, h, w = x.shape
    if len(gamma) > 1:
        parts = [_normalise_on_cpu(x[i : i + 1], gamma[i : i + 1], beta[i : i + 1]) for i in range(b)]
        out, mean, inverse = (torch.cat(part) for part in zip(*parts, strict=True))
        return out, mean, inverse
    out, mean, inverse = torch.native_group_norm(x, gamma[0], beta[0], b, c, h * w, c, EPS)
    return out, mean.view(b, c), inverse.view(b, c)


class _Normalise(torch.autograd.Function):
    """The gradient in closed form: a few passes, where autograd's own takes many (and torch's, on a CPU, more)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        out, mean, inverse = _normalise(x, gamma, beta)
        ctx.save_for_backward(x, gamma, mean, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With x̂ = (x - μ)/σ: dx = γ/σ (g - mean(g) - x̂ mean(g x̂)), dγ = Σ g x̂, dβ = Σ g."""
        x, gamma, mean, inverse = ctx.saved_tensors
        mean_g = grad.mean((2, 3), dtype=mean.dtype)
        mean_gx = inverse * ((grad * x).mean((2, 3), dtype=mean.dtype) - mean * mean_g)
        a = gamma.to(mean.dtype) * inverse
        b = -a * inverse * mean_gx
        shift = -a * mean_g - b * mean
        dx = torch.addcmul(_maps(shift).to(x.dtype), x, _maps(b).to(x.dtype))
        dx.addcmul_(grad, _maps(a).to(x.dtype))
        positions = x.shape[2] * x.shape[3]
        dgamma, dbeta = (_like(v * positions, gamma) for v in (mean_gx, mean_g))
        return dx, dgamma, dbeta


class InstanceNorm(nn.Module):
    """One γ and one β per channel; parameters named `weight` and `bias`, as torch's own calls them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def affine(self, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """γ and β, (1, C) each; there are no styles to mix."""
        return self.weight[None], self.bias[None]

    def forward(self, x: Tensor, mix: Tensor | None = None) -> Tensor:
        """(B, C, h, w) -> the same shape, normalised."""
        return instance_norm(x, *self.affine(mix))


class ConditionalInstanceNorm(nn.Module):
    """A γ and a β of every style, (N, C) each, mixed by the weights of the styles (Dumoulin et al. 2017, eq. 5)."""

    ROWS: ClassVar[tuple[str, ...]] = ("gamma", "beta")

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(styles, channels))
        self.beta = nn.Parameter(torch.zeros(styles, channels))

    def affine(self, mix: Tensor | None) -> tuple[Tensor, Tensor]:
        """γ and β of the mixtures, (B, N) weights -> (B, C) each, at least float32.

        Products and sums by element, because autocast would take a matrix product in bfloat16.
        """
        if mix is None:
            raise ValueError("a network of several styles needs their weights")
        weights = _at_least_float32(mix)[:, :, None]
        return (weights * self.gamma).sum(1), (weights * self.beta).sum(1)

    def forward(self, x: Tensor, mix: Tensor | None) -> Tensor:
        """(B, C, h, w), (B, N) or (1, N) weights -> (B, C, h, w), normalised."""
        return instance_norm(x, *self.affine(mix))


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _maps(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def _like(rows: Tensor, parameter: Tensor) -> Tensor:
    """(B, C) gradients summed to the rows of the parameter, in its type."""
    return (rows if len(rows) == len(parameter) else rows.sum(0, keepdim=True)).to(parameter.dtype)
