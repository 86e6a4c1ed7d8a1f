"""Pieces that the feed-forward networks share: convolution at a mirrored border, moving pixels into channels
and back, padding to a multiple of the stride, and the precision of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from impasto.core import winograd
from impasto.core.precision import Precision
from impasto.core.streams import fill_border

__all__ = [
    "ReflectConv",
    "bordered",
    "depth_to_space",
    "icnr_",
    "less_colours",
    "level_phases_",
    "pad_to_multiple",
    "space_to_depth",
    "state_dict_mismatch",
    "sum_colours",
    "use_precision",
    "working_dtype",
]


class ReflectConv(nn.Module):
    """A convolution whose input is continued by reflection, `halo` pixels on each side (none is lost).

    The weights are those of the submodule `conv2d`, as in pytorch/examples' networks. In training some shapes take
    shorter ways to the same sums, in another order; in use a picture by bands must have the bits of a picture at once.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.halo = kernel // 2
        self.conv2d = nn.Conv2d(channels_in, channels_out, kernel, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, h, w), both sides larger than the halo -> (B, O, ceil(h / stride), ceil(w / stride))."""
        padded = _continued(x, self.halo, "reflect", self.conv2d.weight)
        if self._learns() and self._is_thin(padded):
            return _convolve_in_blocks(padded, self.conv2d.weight, self.conv2d.bias)
        if self._learns() and self.conv2d.stride == (1, 1):
            weight = self.conv2d.weight.to(padded.dtype)
            if winograd.pays(padded.shape, weight, 0):
                half: Tensor = _Convolve.apply(padded, weight, self.conv2d.bias)  # type: ignore[no-untyped-call]
                return half
        out: Tensor = self.conv2d(padded)
        return out

    def upsampled(self, x: Tensor, factor: int) -> Tensor:
        """`forward` of x enlarged by a whole factor, each pixel repeated."""
        if self._learns() and factor == 2 and self.conv2d.kernel_size == (3, 3) and self.conv2d.stride == (1, 1):
            return _convolve_doubled(x, self.conv2d.weight, self.conv2d.bias)
        out: Tensor = self(F.interpolate(x, scale_factor=factor, mode="nearest"))
        return out

    def _learns(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _is_thin(self, padded: Tensor) -> bool:
        """Whether it gives so few channels that a CPU, which computes 16 at a time, wastes most of its work."""
        few = self.conv2d.out_channels <= 4 and self.halo > 1 and self.conv2d.stride == (1, 1)
        return few and padded.device.type == "cpu" and padded.shape[2] % 2 == 0 and padded.shape[3] % 2 == 0


def _continued(x: Tensor, halo: int, mode: str, weight: Tensor) -> Tensor:
    """x with a border, in the type that a convolution by `weight` computes in.

    Autocast would pad in float32 and convert before and after, a twentieth of a training step.
    """
    x = x.to(working_dtype(weight))
    with torch.autocast(x.device.type, enabled=False):
        return F.pad(x, (halo,) * 4, mode=mode)


def bordered(x: Tensor, border: int, *, rectify: bool, plus: Tensor | None = None) -> Tensor:
    """x, or max(x, 0), or x + `plus`, (B, C, h, w), continued by reflection on each side, channels-last; no gradient.

    In one pass over a map that is too large for a cache, and a little.
    """
    b, c, h, w = x.shape
    shape = (b, c, h + 2 * border, w + 2 * border)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    rows = out[:, :, border:-border]
    middle = rows[..., border:-border]
    if rectify:
        x = torch.clamp_min(x, 0, out=None if plus is not None else middle)
    if plus is not None:
        torch.add(x, plus, out=middle)
    elif not rectify:
        middle.copy_(x)
    for field, dim in ((rows, 3), (out, 2)):
        fill_border(field, dim, border, "reflect", low=True)
        fill_border(field, dim, border, "reflect", low=False)
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


def _convolve_in_blocks(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``conv2d(x, weight, bias)``, four neighbouring pixels at a time as four times the channels; sides are even."""
    shifted = [F.pad(weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    kernels = torch.cat([space_to_depth(kernel, 2) for kernel in shifted])
    return depth_to_space(F.conv2d(space_to_depth(x, 2), kernels, _repeated(bias)), 2)


def _convolve_doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, I, h, w), (O, I, 3, 3) -> (B, O, 2 h, 2 w): x twice as large by repetition, convolved, 4/9 of the products.

    Of three neighbours in the enlarged map two are the same pixel, so each of the four positions within a pixel has
    a 2x2 kernel of its own, the sums of rows and columns. Reflected at its border, the enlarged map repeats it.
    """
    kernels = torch.cat([kernel for rows in _pairs(weight, 2) for kernel in _pairs(rows, 3)])
    maps = F.conv2d(_continued(x, 1, "replicate", weight), kernels, _repeated(bias))
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


def space_to_depth(x: Tensor, block: int) -> Tensor:
    """(B, C, h, w) -> (B, block² C, h / block, w / block); channels come in the order (row, column, C).

    With that order neighbouring columns stay neighbours in channels-last memory, which makes this two to
    three times as fast as `F.pixel_unshuffle`, whose order is (C, row, column).
    """
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b, h // block, block, w // block, block * c)
    return _swapped(rows).reshape(b, h // block, w // block, block * block * c).permute(0, 3, 1, 2)


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """The inverse of `space_to_depth`: (B, block² C, h, w) -> (B, C, h · block, w · block)."""
    b, c, h, w = x.shape
    c //= block * block
    rows = x.permute(0, 2, 3, 1).reshape(b, h, w, block, block * c)
    return _swapped(rows).reshape(b, h * block, w * block, c).permute(0, 3, 1, 2)


def _swapped(rows: Tensor) -> Tensor:
    """(b, h, u, v, c) -> (b, h, v, u, c), copied.

    Copied as numbers of eight or four bytes, where that many lie together: a CPU takes two thirds of the time for
    fewer of them.
    """
    together = rows.shape[4] * rows.element_size()
    wide = torch.int64 if together % 8 == 0 else torch.int32
    aligned = rows.is_contiguous() and rows.data_ptr() % 8 == 0 and together % wide.itemsize == 0
    if rows.device.type != "cpu" or rows.requires_grad or not aligned:
        return rows.transpose(2, 3).contiguous()
    return rows.view(wide).transpose(2, 3).contiguous().view(rows.dtype)


@torch.no_grad()
def icnr_(conv: nn.Conv2d, block: int) -> None:
    """Give the channels that `depth_to_space` puts side by side the same weights, in place.

    So the untrained layer upsamples by nearest neighbour and has no checkerboard that training would have to
    unlearn (Aitken et al. 2017, arXiv:1707.02937).
    """
    if conv.weight.is_meta:  # about to be replaced; and torch would load its compiler, a second's work, to repeat it
        return
    base = conv.weight[: conv.out_channels // block**2]
    conv.weight.copy_(base.repeat(block**2, 1, 1, 1))
    if conv.bias is not None:
        conv.bias.copy_(conv.bias[: len(base)].repeat(block**2))


@torch.no_grad()
def level_phases_(conv: nn.Conv2d, block: int) -> None:
    """Make the channels that `depth_to_space` puts side by side answer alike to flat features, in place.

    Their filters may differ in shape but not in sum, nor in bias, so that where nothing changes no pattern of
    `block` pixels appears: the condition of Sugawara et al. 2018 (arXiv:1806.02658) for layers without
    checkerboards. The least change of the weights that brings it is made.
    """
    phases = conv.weight.view(block**2, -1, *conv.weight.shape[1:])  # (block², O, I, k, k)
    sums = phases.mean((3, 4), keepdim=True)
    phases.add_(sums.mean(0, keepdim=True) - sums)
    if conv.bias is not None:
        biases = conv.bias.view(block**2, -1)
        biases.copy_(biases.mean(0, keepdim=True).expand_as(biases))


def pad_to_multiple(image: Tensor, multiple: int, smallest: int) -> Tensor:
    """Continue a picture by reflection, below and to the right, to sides that are multiples of `multiple`.

    Sides become at least `smallest`; a picture smaller than what it lacks is reflected several times. The
    upper left (h, w) of the result is the picture itself, so cropping to it undoes the padding.
    """
    height, width = (-(-max(side, smallest) // multiple) * multiple for side in image.shape[-2:])
    while image.shape[-2:] != (height, width):
        h, w = image.shape[-2:]
        down, right = min(height - h, max(h - 1, 1)), min(width - w, max(w - 1, 1))
        # A single row has no other to mirror: it repeats.
        image = F.pad(image, (0, 0, 0, down), mode="reflect" if down < h else "replicate")
        image = F.pad(image, (0, right, 0, 0), mode="reflect" if right < w else "replicate")
    return image


def sum_colours(image: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Sums of every channel over positions, (B, C, h, w) -> (B, C, 1, 1), row upon row where that is how they lie."""
    if image.is_contiguous(memory_format=torch.channels_last):
        return image.permute(0, 2, 3, 1).sum(1, dtype=dtype).sum(1)[:, :, None, None]
    return image.sum((2, 3), keepdim=True, dtype=dtype)


def less_colours(image: Tensor, colours: Tensor) -> Tensor:
    """(B, 3, h, w) - (B, 3, 1, 1), row upon row where that is how the image lies: a CPU is faster at long rows."""
    if not image.is_contiguous(memory_format=torch.channels_last):
        return image - colours
    b, c, h, w = image.shape
    rows = image.permute(0, 2, 3, 1).reshape(b, h, w * c) - colours.view(-1, 1, c).repeat(1, 1, w)
    return rows.view(b, h, w, c).permute(0, 3, 1, 2)


def use_precision(network: nn.Module, precision: Precision) -> None:
    """Set type and layout of the convolutions' weights, in place; normalisations keep float32 parameters.

    For use only: a network in training keeps float32 weights and computes under autocast.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype=precision.dtype, memory_format=precision.memory_format)  # type: ignore[call-overload]


def working_dtype(weight: Tensor) -> torch.dtype:
    """What a convolution with this weight computes in: autocast's type where it is on, else the weight's."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def state_dict_mismatch(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """Why these tensors are not the network's state, in a few words about the first difference; None if they are."""
    wanted = network.state_dict()
    for key, tensor in wanted.items():
        if key not in tensors:
            return f"{key} is missing"
        if tensors[key].shape != tensor.shape:
            return f"{key} is {tuple(tensors[key].shape)}, need {tuple(tensor.shape)}"
    stranger = next((key for key in tensors if key not in wanted), None)
    return None if stranger is None else f"{stranger} does not belong there"
