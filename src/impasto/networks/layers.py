"""Pieces that the feed-forward networks share.

Convolution at a mirrored border, padding to a multiple of the stride, and the precision of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core import winograd
from impasto.core.precision import Precision
from impasto.core.streams import fill_border
from impasto.networks import fast_cpu

__all__ = [
    "ReflectConv",
    "bordered",
    "continued",
    "less_colours",
    "pad_to_multiple",
    "padded_side",
    "spread_out",
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

    plain: ClassVar[bool] = True
    """Whether it is this, and not a kind of it whose border is another (`chain.ChainConv`)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.halo = kernel // 2
        self.conv2d = nn.Conv2d(channels_in, channels_out, kernel, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, h, w), both sides larger than the halo -> (B, O, ceil(h / stride), ceil(w / stride))."""
        padded = _continued(x, self.halo, "reflect", self.conv2d.weight)
        if self._learns() and self._is_thin(padded):
            return fast_cpu.convolve_in_blocks(padded, self.conv2d.weight, self.conv2d.bias)
        if self._learns() and self.conv2d.stride == (1, 1):
            weight = self.conv2d.weight.to(padded.dtype)
            if winograd.pays(padded.shape, weight, 0):
                return fast_cpu.convolve_by_winograd(padded, weight, self.conv2d.bias)
        out: Tensor = self.conv2d(padded)
        return out

    def pads(self, side: int) -> tuple[int, int]:
        """By how much an input as high, or wide, as this is continued: before its first and after its last pixel."""
        return self.halo, self.halo

    def upsampled(self, x: Tensor, factor: int) -> Tensor:
        """`forward` of x enlarged by a whole factor, each pixel repeated."""
        if self._learns() and factor == 2 and self.conv2d.kernel_size == (3, 3) and self.conv2d.stride == (1, 1):
            padded = _continued(x, 1, "replicate", self.conv2d.weight)
            return fast_cpu.convolve_doubled(padded, self.conv2d.weight, self.conv2d.bias)
        out: Tensor = self(F.interpolate(x, scale_factor=factor, mode="nearest"))
        return out

    def _learns(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _is_thin(self, padded: Tensor) -> bool:
        """Whether it gives so few channels that a CPU, which computes 16 at a time, wastes most of its work."""
        few = self.conv2d.out_channels <= 4 and self.halo > 1 and self.conv2d.stride == (1, 1)
        return few and padded.device.type == "cpu" and padded.shape[2] % 2 == 0 and padded.shape[3] % 2 == 0


def _continued(x: Tensor, halo: int, mode: str, weight: Tensor) -> Tensor:
    """`x` with a border, in the type that a convolution by `weight` computes in.

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


def spread_out(x: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h factor, w factor): each pixel in the upper left of its block, zeros around it."""
    b, c, h, w = x.shape
    out = torch.zeros(b, h * factor, w * factor, c, dtype=x.dtype, device=x.device).permute(0, 3, 1, 2)
    out[..., ::factor, ::factor] = x
    return out


def pad_to_multiple(image: Tensor, multiple: int, smallest: int, margin: int = 0) -> Tensor:
    """Continue a picture by reflection to sides that are multiples of `multiple`, and at least `smallest`.

    It is continued below and to the right, and by a `margin` on each side first. From (margin, margin) on, (h, w) of
    the result are the picture itself. One smaller than what it lacks is reflected several times.
    """
    h, w = image.shape[-2:]
    down, right = (padded_side(side, multiple, smallest, margin) - side - margin for side in (h, w))
    if max(margin, down) < h and max(margin, right) < w:
        pads = (margin, right, margin, down)
        return F.pad(image, pads, mode="reflect") if any(pads) else image
    rows, columns = (continued(side, multiple, smallest, margin).to(image.device) for side in (h, w))
    return image[..., rows, :][..., columns]


def padded_side(side: int, multiple: int, smallest: int, margin: int = 0) -> int:
    """How high, or wide, `pad_to_multiple` makes a picture that is as high or wide as this."""
    return -(-max(side + 2 * margin, smallest) // multiple) * multiple


def continued(side: int, multiple: int, smallest: int, margin: int = 0) -> Tensor:
    """The row, or column, of a picture that each of what `pad_to_multiple` makes of it is a copy of."""
    places = torch.arange(padded_side(side, multiple, smallest, margin)) - margin
    period = max(1, 2 * (side - 1))  # a single row has no other to mirror: it repeats
    there = places.abs() % period
    return torch.minimum(there, period - there)


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
