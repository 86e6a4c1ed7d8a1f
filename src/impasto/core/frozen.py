"""Convolutions whose weights never train, remembering only what a gradient to the *picture* needs.

Autograd keeps the input of every convolution for the gradient of its weights. A loss network has frozen
weights, so between two taps it is enough to remember the sign of the activations (one byte each) and, over a
max pool, which of the four pixels won (two bytes a window). That is most of the memory of style transfer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input

from impasto.core import winograd

__all__ = ["Kernel", "Step", "average_pool", "rectified", "run"]


class Kernel(NamedTuple):
    """One convolution, stride 1: weight (O, I, k, k), bias (O,), zero padding in px."""

    weight: Tensor
    bias: Tensor
    padding: int


class Step(NamedTuple):
    """Convolutions in a row without anything between them, then maybe a 2x2 max pool, then maybe a ReLU.

    A max pool commutes with ReLU, so pooling first does a quarter of the work of rectifying first. Without
    kernels there must be a pool, so that the input, which somebody else may hold, is not rectified in place.
    """

    kernels: tuple[Kernel, ...]
    relu: bool
    pool: bool
    keep_output: bool  # somebody else keeps the output alive anyway: its sign costs nothing


def run(x: Tensor, step: Step) -> Tensor:
    """Apply `step` to x (B, C, h, w); differentiable with respect to x alone if the weights are frozen."""
    trains = any(k.weight.requires_grad or k.bias.requires_grad for k in step.kernels)
    if torch.is_grad_enabled() and x.requires_grad and not trains:
        out: Tensor = _Frozen.apply(x, step)  # type: ignore[no-untyped-call]
        return out
    for kernel in step.kernels:
        x = F.conv2d(x, kernel.weight, kernel.bias, padding=kernel.padding) if trains else _convolve(x, kernel)
    if step.pool:
        x = F.max_pool2d(x, 2)
    return F.relu_(x) if step.relu else x


def rectified(tap: Tensor) -> Tensor:
    """ReLU of a tensor that somebody keeps alive: unlike `F.relu` it remembers that one, not its own result."""
    return F.threshold(tap, 0.0, 0.0)


def average_pool(x: Tensor) -> Tensor:
    """2x2 mean of x (B, C, h, w), remembering no more of x than its size."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return F.avg_pool2d(x, 2)
    out: Tensor = _AveragePool.apply(x)  # type: ignore[no-untyped-call]
    return out


class _AveragePool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        like = _unwritten(ctx.shape, grads[0])
        out: Tensor = torch.ops.aten.avg_pool2d_backward(grads[0], like, [2, 2], [2, 2], [0, 0], False, True, None)
        return out


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step) -> Tensor:
        shapes = []
        for kernel in step.kernels:
            shapes.append(x.shape)
            x = _convolve(x, kernel)
        winner = None
        if step.pool:
            shapes.append(x.shape)
            x, winner = _pool(x)
        ctx.kernels, ctx.shapes, ctx.keep_output = step.kernels, shapes, step.keep_output
        alive = None
        if step.relu:
            x = x.relu_()
            alive = x if step.keep_output else _signs(x)
        ctx.save_for_backward(alive, winner)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        alive, winner = ctx.saved_tensors
        g, shapes = grads[0], list(ctx.shapes)
        if alive is not None:
            g = torch.ops.aten.threshold_backward(g, alive, 0) if ctx.keep_output else _where(alive, g)
        if winner is not None:
            before = shapes.pop()
            g = _unpool(g, winner, before)
        for kernel, shape in zip(reversed(ctx.kernels), reversed(shapes), strict=True):
            g = _input_gradient(g, kernel, shape)
        return g, None


def _convolve(x: Tensor, kernel: Kernel) -> Tensor:
    if winograd.pays(x.shape, kernel.weight, kernel.padding):
        return winograd.convolve(x, kernel.weight, kernel.bias, kernel.padding)
    return F.conv2d(x, kernel.weight, kernel.bias, padding=kernel.padding)


def _input_gradient(g: Tensor, kernel: Kernel, shape: torch.Size) -> Tensor:
    if winograd.pays(shape, kernel.weight, kernel.padding):
        return winograd.input_gradient(g, kernel.weight, kernel.padding)
    out: Tensor = conv2d_input(shape, kernel.weight, g, padding=kernel.padding)  # type: ignore[no-untyped-call]
    return out


def _signs(x: Tensor) -> Tensor:
    """1 where a rectified x is not zero, else 0, in one byte each: ``x > 0``, but seven times as fast on a CPU."""
    return x.to(torch.bool).view(torch.int8)


def _where(signs: Tensor, g: Tensor) -> Tensor:
    """`g` where `signs` is 1, else 0; `torch.where` takes ten times as long on a CPU.

    In bands of rows, since the signs have to be written out in g's own type.
    """
    out = torch.empty_like(g)
    for top, bottom in _bands(g.shape, g.device):
        band, into = g[:, :, top:bottom], out[:, :, top:bottom]
        torch.ops.aten.threshold_backward.grad_input(band, signs[:, :, top:bottom].to(g.dtype), 0, grad_input=into)
    return out


def _pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 max pool of x (B, C, H, W) and, in two bytes, which pixel of each window won."""
    b, c, h, w = x.shape
    pooled = torch.empty((b, c, h // 2, w // 2), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    winner = torch.empty_like(pooled, dtype=_offset_dtype(x.shape))
    for top, bottom in _bands(pooled.shape, x.device):
        band = x[:, :, 2 * top : 2 * bottom]
        pooled[:, :, top:bottom], index = F.max_pool2d(band, 2, return_indices=True)
        winner[:, :, top:bottom] = index - _window_corner(index.shape, band.shape, x.device)
    return pooled, winner


def _unpool(g: Tensor, winner: Tensor, before: torch.Size) -> Tensor:
    """The gradient g (B, C, h, w) behind a pool, put where the winners were: (B, C, H, W), zero elsewhere."""
    b, c, _, w = before
    out = torch.empty(before, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)
    out[:, :, 2 * g.shape[2] :] = 0  # an odd last row belongs to no window
    for top, bottom in _bands(g.shape, g.device):
        # On the CPU the kernel for bfloat16 takes three times as long as the one for float32.
        band = g[:, :, top:bottom]
        band = band.float() if g.dtype == torch.bfloat16 and not g.is_cuda else band
        band = band.contiguous(memory_format=torch.channels_last)
        shape = torch.Size((b, c, 2 * (bottom - top), w))
        index = winner[:, :, top:bottom].to(torch.int64) + _window_corner(band.shape, shape, g.device)
        out[:, :, 2 * top : 2 * bottom] = torch.ops.aten.max_pool2d_with_indices_backward(
            band, _unwritten(shape, band), [2, 2], [2, 2], [0, 0], [1, 1], False, index
        )
    return out


def _bands(shape: torch.Size, device: torch.device) -> list[tuple[int, int]]:
    """Rows of a map in pieces of about 2^19 values: what is written out of them for a moment stays small.

    Of 2^26 on a GPU, which would wait for its orders most of the time.
    """
    rows = max(1, 2 ** (19 if device.type == "cpu" else 26) // max(1, shape[0] * shape[1] * shape[3]))
    return [(top, min(top + rows, shape[2])) for top in range(0, shape[2], rows)]


def _unwritten(shape: torch.Size, g: Tensor) -> Tensor:
    """For a pool's backward kernel, which asks for its input but reads only shape and layout.

    Memory that is never written costs none.
    """
    return torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)


def _window_corner(pooled: torch.Size, before: torch.Size, device: torch.device) -> Tensor:
    """Flat position of each 2x2 window's first pixel, (1, 1, h, w)."""
    rows = torch.arange(pooled[-2], device=device) * (2 * before[-1])
    columns = torch.arange(pooled[-1], device=device) * 2
    return (rows[:, None] + columns)[None, None]


def _offset_dtype(before: torch.Size) -> torch.dtype:
    """Within a window the winner is 0, 1, W or W + 1 further on."""
    return torch.int16 if before[-1] < 2**15 - 1 else torch.int32
