"""Instance normalisation (Ulyanov et al. 2016), plain and conditional on a style (Dumoulin et al. 2017).

`RunningMoments` gathers the statistics of a map that comes in pieces; `instance_norm` takes a whole one, with the same
result, which is how the networks call it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from impasto.core.precision import in_float64
from impasto.networks import fast_cpu
from impasto.networks.fast_cpu import at_least_float32

__all__ = [
    "EPS",
    "NOISE",
    "ConditionalInstanceNorm",
    "InstanceNorm",
    "RunningMoments",
    "instance_norm",
    "moments",
    "normalise",
    "scale_shift",
    "without_noise",
]

EPS = 1e-5
NOISE = (1e-10, 1e-12)  # of the mean's square, and besides: a variance that is no more is what convolutions round
FAINT = 1e-2 * EPS  # variance of which a training learns nothing
# Positions, at most, whose statistics are taken together, but for a row alone. That makes more than 2048, and half of
# them, more than the 1024 below which torch goes another way, a hundred times as slow.
PART = 4096


class RunningMoments:
    """Mean and variance of each channel of a map, (1, C, h, w), that comes in pieces of rows.

    They are taken of parts of some rows, and the parts' are joined in float64. Where a part begins depends on the map
    alone: however it is cut, the result is the same, bit for bit.
    """

    def __init__(self) -> None:
        self.count = 0
        self._rest: Tensor | None = None  # rows that are not yet a part for every thread
        # Σ x and Σ x² in float64, (2, C). Changed in place: thousands of little tensors that stay, between large ones
        # that go, would leave the heap in pieces.
        self._sums: Tensor | None = None
        self._like = torch.empty(0)  # of the type and on the device of the result

    def add(self, x: Tensor) -> None:
        """Count (1, C, n, w) in: the next rows, in any floating type."""
        self.add_last(x)
        if self._rest is not None:
            self._rest = self._rest.clone()  # or the whole piece would live on

    def add_last(self, x: Tensor) -> None:
        """The same for rows after which none come: what does not fill a part for every thread is kept as it is."""
        rows, threads = max(1, PART // x.shape[3]), torch.get_num_threads()
        together = rows * threads
        if self._rest is not None:
            lacking = together - self._rest.shape[2]
            first, x = torch.cat((self._rest, x[:, :, :lacking]), 2), x[:, :, lacking:]
            if first.shape[2] < together:
                self._rest = first
                return
            self._take(first, threads)
        whole = x.shape[2] // together * together
        if whole:
            self._take(x[:, :, :whole], whole // rows)
        self._rest = x[:, :, whole:] if whole < x.shape[2] else None

    def _take(self, x: Tensor, parts: int = 0) -> None:
        """(1, C, n, w), so many parts of as many rows each; 0 is the rest of a map."""
        means, variances = _moments_of_parts(x, parts)
        self._like, positions = means[0, :0], x.shape[2] * x.shape[3]
        means, variances = in_float64(means), in_float64(variances)
        terms = torch.stack((means, variances.addcmul_(means, means)), 1).mul_(positions / len(means))
        if self._sums is None:
            self._sums = torch.zeros_like(terms[0])
        # Summed one by one in the order of the rows, whatever comes together.
        self._sums.copy_(torch.cat((self._sums[None], terms)).cumsum(0)[-1])
        self.count += positions

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of all rows counted in, (C,) each, at least float32."""
        if self._rest is not None:
            self._take(self._rest)
            self._rest = None
        if self._sums is None:
            raise RuntimeError("no piece has been counted in")
        mean, square = self._sums / self.count
        return mean.to(self._like), (square - mean.square()).clamp_min(0).to(self._like)


def _moments_of_parts(x: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Means and variances of (1, C, n, w), of which each part has as many rows; (k · parts, C) each."""
    seen = fast_cpu.in_whole_vectors(x, max(1, parts))
    if x.device.type == "cpu":
        means, variances = fast_cpu.moments_of_parts(seen, parts, EPS)
    else:
        variances, means = torch.var_mean(at_least_float32(seen), (2, 3), correction=0)
    return means.view(-1, x.shape[1]), variances.view(-1, x.shape[1])


def normalise(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, *, overwrite: bool = False
) -> Tensor:
    """(B, C, n, w), with given statistics, γ and β, (C,) each -> γ (x - μ)/√(σ² + eps) + β in the type of x.

    As batch normalisation in use, which takes bfloat16 features with float32 statistics. With `overwrite` the result
    may take the place of x, which saves a third of the time of a large map.
    """
    if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return F.batch_norm(x, mean, variance, gamma, beta, eps=EPS)
    return fast_cpu.normalise(x, mean, variance, gamma, beta, EPS, overwrite=overwrite)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over positions, (B, C, h, w) -> two of (B, C), at least float32."""
    variance, mean = torch.var_mean(at_least_float32(x), dim=(2, 3), correction=0)
    return mean, variance


def without_noise(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics to normalise with: infinite variance where a channel varies by no more than convolutions round.

    Divided by √eps, that noise would grow 300 times at every layer, until a flat map, or a picture of two pixels, had
    a pattern that depends on the order of sums.
    """
    return mean, variance.masked_fill(_is_flat(mean, variance), torch.inf)


def _is_flat(mean: Tensor, variance: Tensor) -> Tensor:
    return variance < NOISE[0] * mean.square() + NOISE[1]


def scale_shift(mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The (scale, shift) with which ``x * scale + shift`` is γ·(x - μ)/√(σ² + eps) + β.

    `mean` and `variance` are (B, C), `gamma` and `beta` (B, C) or (1, C); the results are (B, C).
    """
    scale = gamma * torch.rsqrt(variance + EPS)
    return scale, beta - mean * scale


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, overwrite: bool = False) -> Tensor:
    """Normalise each channel of each picture, then scale by γ and shift by β.

    Args:
        x: (B, C, h, w) features of any floating type; statistics are float32 at least, whatever it is.
        gamma, beta: (B, C), or (1, C) where all pictures share them.
        overwrite: the result may take the place of x, where no gradient is wanted.

    Returns:
        (B, C, h, w) in the type and layout of x.
    """
    if torch.is_grad_enabled() and (x.requires_grad or gamma.requires_grad or beta.requires_grad):
        out: Tensor = _Normalise.apply(x, gamma, beta)  # type: ignore[no-untyped-call]
        return out
    wide = at_least_float32(x.new_empty(0)).dtype
    gamma, beta = gamma.to(wide), beta.to(wide)
    return (
        _normalise_on_cpu(x, gamma, beta, overwrite)
        if x.device.type == "cpu"
        else _normalise_in_parts(x, gamma, beta)[0]
    )


def _normalise_on_cpu(x: Tensor, gamma: Tensor, beta: Tensor, overwrite: bool) -> Tensor:
    """Picture by picture.

    `tiled` does the same with the rows of a picture, so both give the same bits; and so does a picture whatever
    else is in its batch.
    """
    outs = []
    for i in range(len(x)):
        whole, row = RunningMoments(), min(i, len(gamma) - 1)
        whole.add_last(x[i : i + 1])
        statistics = without_noise(*whole.result())
        outs.append(normalise(x[i : i + 1], *statistics, gamma[row], beta[row], overwrite=overwrite))
    return outs[0] if len(outs) == 1 else torch.cat(outs)


def _normalise_in_parts(x: Tensor, gamma: Tensor, beta: Tensor, faint: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised x, and the (B, C) mean and 1/σ of it; a variance below `faint` is none."""
    mean, variance = without_noise(*moments(x))
    variance = variance.masked_fill(variance < faint, torch.inf)
    scale, shift = scale_shift(mean, variance, gamma, beta)
    return (x * _maps(scale) + _maps(shift)).to(x.dtype), mean, torch.rsqrt(variance + EPS)


def _silence_flat(x: Tensor, out: Tensor, mean: Tensor, inverse: Tensor, beta: Tensor) -> None:
    """Flat channels become β and pass no gradient on, as if their variance were infinite; changed in place.

    Those that are flat in use (`without_noise`), and those that are so faint that they would be a tenth of a deviation
    at most. Otherwise a blank photo's gradients would grow by 1/√eps at every normalisation.
    """
    variance = inverse.double().pow(-2) - EPS  # to some 1e-5 of the mean's square: what may be flat is taken again
    doubtful = variance < 1e-4 * mean.double().square() + 2 * FAINT
    for i in doubtful.any(1).nonzero()[:, 0].tolist():
        channels = doubtful[i].nonzero()[:, 0]
        exact, centre = torch.var_mean(x[i, channels].double(), (1, 2), correction=0)
        flat = channels[_is_flat(centre, exact) | (exact < FAINT)]
        row = beta[min(i, len(beta) - 1)]
        out[i, flat] = row[flat, None, None].to(out.dtype)
        inverse[i, flat] = 0.0


class _Normalise(torch.autograd.Function):
    """The gradient in closed form: a few passes, where autograd's own takes many, and group normalisation's more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        wide = at_least_float32(x.new_empty(0)).dtype
        if x.device.type == "cpu":
            out, mean, inverse = fast_cpu.normalise_in_training(x, gamma.to(wide), beta.to(wide), EPS)
            _silence_flat(x, out, mean, inverse, beta)
        else:
            out, mean, inverse = _normalise_in_parts(x, gamma.to(wide), beta.to(wide), FAINT)
        ctx.save_for_backward(x, gamma, mean, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gamma, mean, inverse = ctx.saved_tensors
        if x.device.type == "cpu":
            dx, dgamma, dbeta = fast_cpu.gradients(grad, x, gamma, mean, inverse, EPS)
        else:
            dx, dgamma, dbeta = _gradients_in_parts(grad, x, gamma, mean, inverse)
        return dx, _like(dgamma, gamma), _like(dbeta, gamma)


def _gradients_in_parts(
    grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """With x̂ = (x - μ)/σ: dx = γ/σ (g - mean(g) - x̂ mean(g x̂)); of each picture Σ g x̂ and Σ g."""
    mean_g = grad.mean((2, 3), dtype=mean.dtype)
    mean_gx = inverse * ((grad * x).mean((2, 3), dtype=mean.dtype) - mean * mean_g)
    a = gamma.to(mean.dtype) * inverse
    b = -a * inverse * mean_gx
    shift = -a * mean_g - b * mean
    dx = torch.addcmul(_maps(shift).to(x.dtype), x, _maps(b).to(x.dtype))
    dx.addcmul_(grad, _maps(a).to(x.dtype))
    positions = x.shape[2] * x.shape[3]
    return dx, mean_gx * positions, mean_g * positions


class InstanceNorm(nn.Module):
    """One γ and one β per channel; parameters named `weight` and `bias`, as torch's own calls them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def affine(self, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """γ and β, (1, C) each; there are no styles to mix."""
        return self.weight[None], self.bias[None]

    def statistics(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """What to normalise with, (C,) each, where a map has these moments."""
        return without_noise(mean, variance)

    def forward(self, x: Tensor, mix: Tensor | None = None, *, overwrite: bool = False) -> Tensor:
        """(B, C, h, w) -> the same shape, normalised; see `instance_norm`."""
        return instance_norm(x, *self.affine(mix), overwrite=overwrite)


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
        weights = at_least_float32(mix)[:, :, None]
        return (weights * self.gamma).sum(1), (weights * self.beta).sum(1)

    def statistics(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """What to normalise with, (C,) each, where a map has these moments."""
        return without_noise(mean, variance)

    def forward(self, x: Tensor, mix: Tensor | None, *, overwrite: bool = False) -> Tensor:
        """(B, C, h, w), (B, N) or (1, N) weights -> (B, C, h, w), normalised; see `instance_norm`."""
        return instance_norm(x, *self.affine(mix), overwrite=overwrite)


def _maps(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def _like(rows: Tensor, parameter: Tensor) -> Tensor:
    """(B, C) gradients summed to the rows of the parameter, in its type."""
    return (rows if len(rows) == len(parameter) else rows.sum(0, keepdim=True)).to(parameter.dtype)
