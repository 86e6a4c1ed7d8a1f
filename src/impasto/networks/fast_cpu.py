"""Shortcuts for processors: torch's kernels of other operations, which happen to give what we want, and sooner.

Each stands for a plain way in `norms` or `layers`, which a test holds it against. Normalisation's are taken on every
processor; convolution's in training alone, since they sum in another order, and in use the bits of a picture must not
depend on how it is cut. Feature maps are channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.core import winograd
from impasto.networks.pixel_shuffle import depth_to_space, space_to_depth

__all__ = [
    "at_least_float32",
    "convolve_by_winograd",
    "convolve_doubled",
    "convolve_in_blocks",
    "gradients",
    "in_whole_vectors",
    "moments_of_parts",
    "normalise",
    "normalise_in_training",
]


def at_least_float32(x: Tensor) -> Tensor:
    """x, or x in float32 where its type is narrower."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def moments_of_parts(x: Tensor, parts: int, eps: float) -> tuple[Tensor, Tensor]:
    """Means and variances of (B, C, n, 1), (B, C) each; `parts` is B where all have as many rows, else 0.

    `eps` is what will be added to the variances: those far below it need not be exact.
    """
    return _by_group_norm(x, eps) if parts else _by_batch_norm(x, eps)


def _by_group_norm(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Of (parts, C, n, 1), channels-last, on a CPU: (parts, C) each.

    The statistics that group normalisation takes with a channel a group; what it normalises is thrown away. Every
    thread reads a stretch of the map, the one that it wrote and will write again: where the processor's cores have
    caches of their own, reading each part with all of them makes the next pass three times as slow.
    """
    parts, channels, positions, _ = x.shape
    one = at_least_float32(x.new_ones(channels))  # its type is that of the result
    _, means, inverse = torch.native_group_norm(x, one, one, parts, channels, positions, channels, 0.0)
    variances = inverse.square().reciprocal()
    # It takes E[x²] - μ², good to some 1e-5 of μ²: too little where a part is nearly flat and far from 0, and where eps
    # is all that counts, to tell what varies from what convolutions round. Photographs have next to no such parts.
    squares = means.square()
    _take_exactly(x, means, variances, (squares > 30 * (variances + eps)) | (squares > 1e4 * variances))
    return means, variances


def _by_batch_norm(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Of (1, C, n, 1), channels-last, on a CPU: (1, C) each.

    What batch normalisation takes is ten times as fast as `var_mean` on channels-last features. It also updates a
    running average, by nothing here, and its type is that of the result.
    """
    unused = at_least_float32(x.new_zeros(2, x.shape[1]))
    means, variances = (value[None] for value in torch.ops.aten.batch_norm_update_stats(x, *unused, 0.0))
    # Thousands of values are summed one by one in float32: the mean of what is flat and far from 0 is off by more than
    # such channels vary.
    _take_exactly(x, means, variances, means.square() > 1e6 * variances)
    return means, variances


def _take_exactly(x: Tensor, means: Tensor, variances: Tensor, vague: Tensor) -> None:
    """Go through some channels of (parts, C, n, 1) again, the slow way; statistics are changed in place."""
    for i in vague.any(1).nonzero()[:, 0].tolist():
        exact = torch.var_mean(x[i, vague[i]].double(), (1, 2), correction=0)
        variances[i, vague[i]], means[i, vague[i]] = (part.to(means.dtype) for part in exact)


def in_whole_vectors(x: Tensor, parts: int = 1) -> Tensor:
    """(B, C, n, w) seen as (parts, k · C, positions, 1), channels-last: of k neighbours the channels fill vectors.

    Of 24 channels torch takes the last 8 one by one, five times as slow, and rounds them in another way. So k depends
    on nothing that a piece of a map has not in common with all of it.
    """
    channels, positions = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3] // parts
    k = 2 if channels % 32 and x.shape[3] % 2 == 0 else 1
    x = x.contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).reshape(parts, positions // k, 1, channels * k).permute(0, 3, 1, 2)


def normalise(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, eps: float, *, overwrite: bool = False
) -> Tensor:
    """`norms.normalise` of a channels-last map."""
    seen = in_whole_vectors(x)
    k = seen.shape[1] // x.shape[1]
    gamma, beta, mean, variance = torch.stack((gamma, beta, mean, variance)).repeat(1, k)
    if overwrite:
        unused = {"save_mean": mean.new_empty(0), "save_invstd": mean.new_empty(0)}
        torch.ops.aten.native_batch_norm.out(
            seen, gamma, beta, mean, variance, training=False, momentum=0.0, eps=eps, out=seen, **unused
        )
        return x
    out = F.batch_norm(seen, mean, variance, gamma, beta, eps=eps)
    b, channels, rows, width = x.shape
    return out.permute(0, 2, 3, 1).reshape(b, rows, width, channels).permute(0, 3, 1, 2)


def normalise_in_training(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised x, and the (B, C) mean and 1/σ of it: group normalisation with one channel a group.

    Half the time of going picture by picture for many small maps. In channels-last the variance is E[x²] - μ², good
    to some 1e-5 (μ/σ)² of itself; normalised features have μ/σ of order one, and pictures are centred before the
    first convolution (`staged`), so that is enough to train by. Pictures with γ of their own go one by one.
    """
    b, c, h, w = x.shape
    if len(gamma) > 1:
        parts = [normalise_in_training(x[i : i + 1], gamma[i : i + 1], beta[i : i + 1], eps) for i in range(b)]
        outs, *statistics = zip(*parts, strict=True)
        mean, inverse = map(torch.cat, statistics)
        return _joined(outs, x), mean, inverse
    if _is_thin(x):
        out, mean, inverse = normalise_in_training(x.contiguous(), gamma, beta, eps)
        return out.contiguous(memory_format=torch.channels_last), mean, inverse
    out, mean, inverse = torch.native_group_norm(x, gamma[0], beta[0], b, c, h * w, c, eps)
    return out, mean.view(b, c), inverse.view(b, c)


def gradients(
    grad: Tensor, x: Tensor, gamma: Tensor, mean: Tensor, inverse: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch normalisation's gradient of one picture after the other, in two fifths of the time of the sums."""
    if _is_thin(x):
        dx, dgamma, dbeta = gradients(grad.contiguous(), x.contiguous(), gamma, mean, inverse, eps)
        return dx.contiguous(memory_format=torch.channels_last), dgamma, dbeta
    gamma = gamma.to(mean.dtype).expand(len(x), -1)
    parts = [
        torch.ops.aten.native_batch_norm_backward(
            grad[i : i + 1], x[i : i + 1], gamma[i], None, None, mean[i], inverse[i], True, eps, [True, True, True]
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


class _Convolve(torch.autograd.Function):
    """``conv2d(x, weight, bias)`` and its gradient to x by `winograd`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return winograd.convolve(x, weight, None if bias is None else bias.to(x.dtype), padding=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, weight, bias), (of_x, *of_rest) = ctx.saved_tensors, ctx.needs_input_grad
        dx = winograd.input_gradient(grad, weight, padding=0) if of_x else None
        if not any(of_rest):
            return dx, None, None
        how = [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, *of_rest]
        _, dweight, dbias = torch.ops.aten.convolution_backward(grad, x, weight, [len(weight)], *how)
        return dx, dweight, dbias if bias is None or dbias is None else dbias.to(bias.dtype)


def convolve_by_winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv2d(x, weight, bias)`` where `winograd.pays`, with a gradient."""
    out: Tensor = _Convolve.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def convolve_in_blocks(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv2d(x, weight, bias)``, four neighbouring pixels at a time as four times the channels; sides are even."""
    shifted = [F.pad(weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    kernels = torch.cat([space_to_depth(kernel, 2) for kernel in shifted])
    return depth_to_space(F.conv2d(space_to_depth(x, 2), kernels, _repeated(bias)), 2)


def convolve_doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x` enlarged twice by repetition, then convolved, at 4/9 of the products.

    (B, I, h + 2, w + 2), (O, I, 3, 3) -> (B, O, 2 h, 2 w). x has a border that repeats one pixel, which is what
    reflection makes of the border of the enlarged map. Of three neighbours in that two are the same pixel, so each of
    the four positions within a pixel has a 2x2 kernel of its own, the sums of rows and columns.
    """
    kernels = torch.cat([kernel for rows in _pairs(weight, 2) for kernel in _pairs(rows, 3)])
    maps = F.conv2d(x, kernels, _repeated(bias))
    rows: Tensor = _Interleave.apply(maps)  # type: ignore[no-untyped-call]
    return rows.permute(0, 3, 1, 2)


def _pairs(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Of a kernel three wide what falls on two pixels, for the first and for the second position within a pixel."""
    a, b, c = kernel.unbind(dim)
    return torch.stack((a, b + c), dim), torch.stack((a + b, c), dim)


def _repeated(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.repeat(4)


class _Interleave(torch.autograd.Function):
    """(B, 4 C, h + 1, w + 1) -> (B, 2 h, 2 w, C): of each position within a pixel the map, one row or column apart."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        maps = maps.contiguous(memory_format=torch.channels_last)
        ctx.shape = maps.shape
        b, c, h, w = maps.shape
        return _by_position(maps).reshape(b, 2 * h - 2, 2 * w - 2, c // 4)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        maps = torch.empty(ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last).zero_()
        view = _by_position(maps)
        view.copy_(grad.reshape(view.shape))
        return maps


def _by_position(maps: Tensor) -> Tensor:
    """Channels-last (B, 4 C, h + 1, w + 1) seen as (B, h, 2, w, 2, C): pixels of the interleaved map in their order."""
    b, channels, h, w = maps.shape
    c = channels // 4
    picture, _, row, column = maps.stride()
    return maps.as_strided((b, h - 1, 2, w - 1, 2, c), (picture, row, row + 2 * c, column, column + c, 1))
