"""Instance normalisation (Ulyanov et al. 2016), plain and conditional on a style (Dumoulin et al. 2017).

`Moments` gathers the statistics of a map that comes in pieces; `instance_norm` takes a whole one, with the same
result, which is how the networks call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = [
    "EPS",
    "ConditionalInstanceNorm",
    "InstanceNorm",
    "Moments",
    "instance_norm",
    "moments",
    "normalise",
    "scale_shift",
    "without_noise",
]

EPS = 1e-5
FAINT = 1e-2 * EPS  # variance of which a training learns nothing
# Positions, at most, whose statistics are taken together, but for a row alone. That makes more than 2048, and half of
# them, more than the 1024 below which torch goes another way, a hundred times as slow.
PART = 4096


class Moments:
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
        self._dtype = torch.float32

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
        self._dtype, positions = means.dtype, x.shape[2] * x.shape[3]
        means, variances = means.double(), variances.double()
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
        return mean.to(self._dtype), (square - mean.square()).clamp_min(0).to(self._dtype)


def _moments_of_parts(x: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Means and variances of (1, C, n, w), of which each part has as many rows; (k · parts, C) each."""
    seen = _in_whole_vectors(x, max(1, parts))
    if x.device.type != "cpu":
        variances, means = torch.var_mean(_at_least_float32(seen), (2, 3), correction=0)
    elif parts:
        means, variances = _by_group_norm(seen)
    else:
        means, variances = _by_batch_norm(seen)
    return means.view(-1, x.shape[1]), variances.view(-1, x.shape[1])


def _by_group_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of (parts, C, n, 1), channels-last, on a CPU: (parts, C) each.

    The statistics that group normalisation takes with a channel a group; what it normalises is thrown away. Every
    thread reads a stretch of the map, the one that it wrote and will write again: where the processor's cores have
    caches of their own, reading each part with all of them makes the next pass three times as slow.
    """
    parts, channels, positions, _ = x.shape
    one = _at_least_float32(x.new_ones(channels))  # its type is that of the result
    _, means, inverse = torch.native_group_norm(x, one, one, parts, channels, positions, channels, 0.0)
    variances = inverse.square().reciprocal()
    # It takes E[x²] - μ², of which too little is left where a part is nearly flat and far from 0.
    _take_exactly(x, means, variances, means.square() > 1e3 * (variances + EPS))
    return means, variances


def _by_batch_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of (1, C, n, 1), channels-last, on a CPU: (1, C) each.

    What batch normalisation takes is ten times as fast as `var_mean` on channels-last features. It also updates a
    running average, by nothing here, and its type is that of the result.
    """
    unused = _at_least_float32(x.new_zeros(2, x.shape[1]))
    means, variances = (value[None] for value in torch.ops.aten.batch_norm_update_stats(x, *unused, 0.0))
    # Thousands of values are summed one by one in float32: the mean of what is flat and far from 0 is off by more than
    # such channels vary.
    _take_exactly(x, means, variances, means.square() > 1e6 * (variances + EPS))
    return means, variances


def _take_exactly(x: Tensor, means: Tensor, variances: Tensor, vague: Tensor) -> None:
    """Go through some channels of (parts, C, n, 1) again, the slow way; statistics are changed in place."""
    for i in vague.any(1).nonzero()[:, 0].tolist():
        exact = torch.var_mean(x[i, vague[i]].double(), (1, 2), correction=0)
        variances[i, vague[i]], means[i, vague[i]] = (part.to(means.dtype) for part in exact)


def _in_whole_vectors(x: Tensor, parts: int = 1) -> Tensor:
    """(B, C, n, w) seen as (parts, k · C, positions, 1), channels-last: of k neighbours the channels fill vectors.

    Of 24 channels torch takes the last 8 one by one, five times as slow, and rounds them in another way. So k depends
    on nothing that a piece of a map has not in common with all of it.
    """
    channels, positions = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3] // parts
    k = 2 if channels % 32 and x.shape[3] % 2 == 0 else 1
    x = x.contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).reshape(parts, positions // k, 1, channels * k).permute(0, 3, 1, 2)


def normalise(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, *, overwrite: bool = False
) -> Tensor:
    """(B, C, n, w), with given statistics, γ and β, (C,) each -> γ (x - μ)/√(σ² + eps) + β in the type of x.

    As batch normalisation in use, which takes bfloat16 features with float32 statistics. With `overwrite` the result
    may take the place of x, which saves a third of the time of a large map.
    """
    if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return F.batch_norm(x, mean, variance, gamma, beta, eps=EPS)
    seen = _in_whole_vectors(x)
    k = seen.shape[1] // x.shape[1]
    gamma, beta, mean, variance = torch.stack((gamma, beta, mean, variance)).repeat(1, k)
    if overwrite:
        unused = {"save_mean": mean.new_empty(0), "save_invstd": mean.new_empty(0)}
        torch.ops.aten.native_batch_norm.out(
            seen, gamma, beta, mean, variance, training=False, momentum=0.0, eps=EPS, out=seen, **unused
        )
        return x
    out = F.batch_norm(seen, mean, variance, gamma, beta, eps=EPS)
    b, channels, rows, width = x.shape
    return out.permute(0, 2, 3, 1).reshape(b, rows, width, channels).permute(0, 3, 1, 2)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel over positions, (B, C, h, w) -> two of (B, C), at least float32."""
    variance, mean = torch.var_mean(_at_least_float32(x), dim=(2, 3), correction=0)
    return mean, variance


def without_noise(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics to normalise with: infinite variance where a channel varies by no more than convolutions round.

    Divided by √eps, that noise would grow 300 times at every layer, until a flat map, or a picture of two pixels, had
    a pattern that depends on the order of sums.
    """
    return mean, variance.masked_fill(_is_flat(mean, variance), torch.inf)


def _is_flat(mean: Tensor, variance: Tensor) -> Tensor:
    return variance < 1e-10 * mean.square() + 1e-12


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
    wide = _at_least_float32(x.new_empty(0)).dtype
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
        whole, row = Moments(), min(i, len(gamma) - 1)
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


def _normalise_in_training(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `_normalise_in_parts`, of a whole batch: group normalisation with one channel a group.

    Half the time of `_normalise_on_cpu` for many small maps. In channels-last the variance is E[x²] - μ², good to
    some 1e-5 (μ/σ)² of itself; normalised features have μ/σ of order one, and pictures are centred before the first
    convolution (`staged`), so that is enough to train by. Pictures with γ of their own go one by one.
    """
    wide = _at_least_float32(x.new_empty(0)).dtype
    gamma, beta = gamma.to(wide), beta.to(wide)
    if x.device.type != "cpu":
        return _normalise_in_parts(x, gamma, beta, FAINT)
    b, c, h, w = x.shape
    if len(gamma) > 1:
        parts = [_normalise_in_training(x[i : i + 1], gamma[i : i + 1], beta[i : i + 1]) for i in range(b)]
        outs, *statistics = zip(*parts, strict=True)
        mean, inverse = map(torch.cat, statistics)
        return _joined(outs, x), mean, inverse
    if _is_thin(x):
        out, mean, inverse = _normalise_in_training(x.contiguous(), gamma, beta)
        return out.contiguous(memory_format=torch.channels_last), mean, inverse
    out, mean, inverse = torch.native_group_norm(x, gamma[0], beta[0], b, c, h * w, c, EPS)
    mean, inverse = mean.view(b, c), inverse.view(b, c)
    _silence_flat(x, out, mean, inverse, beta[0])
    return out, mean, inverse


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
        out[i, flat] = beta[flat, None, None].to(out.dtype)
        inverse[i, flat] = 0.0


class _Normalise(torch.autograd.Function):
    """The gradient in closed form: a few passes, where autograd's own takes many, and group normalisation's more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        out, mean, inverse = _normalise_in_training(x, gamma, beta)
        ctx.save_for_backward(x, gamma, mean, inverse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gamma, mean, inverse = ctx.saved_tensors
        gradients = _gradients_on_cpu if x.device.type == "cpu" else _gradients_in_parts
        dx, dgamma, dbeta = gradients(grad, x, gamma, mean, inverse)
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


def _gradients_on_cpu(
    grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, inverse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same: batch normalisation's gradient of one picture after the other, in two fifths of the time."""
    if _is_thin(x):
        dx, dgamma, dbeta = _gradients_on_cpu(grad.contiguous(), x.contiguous(), gamma, mean, inverse)
        return dx.contiguous(memory_format=torch.channels_last), dgamma, dbeta
    gamma = gamma.to(mean.dtype).expand(len(x), -1)
    parts = [
        torch.ops.aten.native_batch_norm_backward(
            grad[i : i + 1], x[i : i + 1], gamma[i], None, None, mean[i], inverse[i], True, EPS, [True, True, True]
        )
        for i in range(len(x))
    ]
    maps, dgammas, dbetas = zip(*parts, strict=True)
    return _joined(maps, x), torch.stack(dgammas), torch.stack(dbetas)


def _is_thin(x: Tensor) -> bool:
    """Whether torch's kernels, for which channels lie side by side, would find too few to fill a vector.

    Three channels take them 3 ms for 256 px, and plane by plane .04.
    """
    return x.shape[1] < 16 and not x.is_contiguous()


def _joined(maps: Sequence[Tensor], like: Tensor) -> Tensor:
    """``torch.cat`` of one map for each of `like`'s, in its layout; torch's own copies with one thread on a CPU."""
    out = torch.empty_like(like)
    for i, part in enumerate(maps):
        out[i : i + 1].copy_(part)
    return out


class InstanceNorm(nn.Module):
    """One γ and one β per channel; parameters named `weight` and `bias`, as torch's own calls them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def affine(self, mix: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """γ and β, (1, C) each; there are no styles to mix."""
        return self.weight[None], self.bias[None]

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
        weights = _at_least_float32(mix)[:, :, None]
        return (weights * self.gamma).sum(1), (weights * self.beta).sum(1)

    def forward(self, x: Tensor, mix: Tensor | None, *, overwrite: bool = False) -> Tensor:
        """(B, C, h, w), (B, N) or (1, N) weights -> (B, C, h, w), normalised; see `instance_norm`."""
        return instance_norm(x, *self.affine(mix), overwrite=overwrite)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _maps(values: Tensor) -> Tensor:
    return values[:, :, None, None]


def _like(rows: Tensor, parameter: Tensor) -> Tensor:
    """(B, C) gradients summed to the rows of the parameter, in its type."""
    return (rows if len(rows) == len(parameter) else rows.sum(0, keepdim=True)).to(parameter.dtype)
