"""3x3 convolutions with half the multiplications, for CPUs (Winograd 1980; Lavin & Gray 2016, arXiv:1509.09308).

Four rows of the result need six rows of the input. The algorithm F(4, 3), along the columns alone, makes six
other rows of those six, convolves each with a kernel of one row of its own, and mixes the six results into the
four: 6 x 3 multiplications where there were 4 x 9. The interpolation points are 0, 1/√2, -1/√2, √2, -√2 and ∞
(points that round well: Barabasz et al. 2020, arXiv:1803.10986). Of those tried they lose the least in bfloat16,
and each one's inverse is among them, so that the kernels of the way back, which are the same upside down, are the
same six in another order.

Rounding: relative to the result about 4e-7 in float32 (directly 2e-7) and 0.7 % in bfloat16 (directly 0.2 %).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from impasto.core.precision import multiplies_in_tiles

__all__ = ["convolve", "input_gradient", "kernel_bytes", "pays"]

A, B = 2**-0.5, 2**0.5  # the points, each with its negative
INVERTED = (5, 3, 4, 1, 2, 0)  # of points in the order 0, A, -A, B, -B, ∞

# Moving the rows costs as much as it saves where there are few channels or little to do (measured with AVX-512).
LEAST_CHANNELS = 32  # harmonic: in * out / (in + out)
LEAST_WORK = 2e8  # floating-point operations, done directly
LEAST_ROWS = 8
BAND = 2**20  # values of one of the six rows' maps: all of a band's stay in the processor's cache

_Maps = Sequence[Tensor]
_kernels: MutableMapping[Tensor, tuple[tuple[int, int, torch.dtype], tuple[Tensor, ...]]] = WeakIdKeyDictionary()


def suits(weight: Tensor, padding: int) -> bool:
    """Whether this algorithm is meant for a convolution of stride 1 with `weight` (O, I, k, k)."""
    outputs, inputs, *kernel = weight.shape
    return (
        kernel == [3, 3]
        and padding in (0, 1)
        and weight.device.type == "cpu"
        and (weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and not multiplies_in_tiles()))
        and inputs * outputs >= LEAST_CHANNELS * (inputs + outputs)
    )


def pays(shape: Sequence[int], weight: Tensor, padding: int) -> bool:
    """Whether it is worth its while for an input of `shape` (B, I, H, W)."""
    batch, _, height, width = shape
    work = 2 * weight.numel() * batch * height * width
    return height >= LEAST_ROWS and work >= LEAST_WORK and suits(weight, padding)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """``conv2d(x, weight, bias, padding=padding)``, channels-last.

    (B, I, H, W), (O, I, 3, 3), (O,) -> (B, O, H, W) with a padding of 1, (B, O, H - 2, W - 2) with none.
    """
    biases = [None] * 6 if bias is None else [share * bias for share in _bias_shares()]
    kernels = _transformed(weight)

    def along_rows(maps: _Maps) -> list[Tensor]:
        return [F.conv2d(m, k, b, padding=(0, padding)) for m, k, b in zip(maps, kernels, biases, strict=True)]

    return _by_bands(x, weight.shape[0], padding, along_rows)


def input_gradient(g: Tensor, weight: Tensor, padding: int) -> Tensor:
    """What `convolve` passes back to its input, channels-last: (B, O, h, w), (O, I, 3, 3) -> (B, I, H, W)."""
    kernels = [_transformed(weight)[i] for i in INVERTED]

    def along_rows(maps: _Maps) -> list[Tensor]:
        return [F.conv_transpose2d(m, k, padding=(0, padding)) for m, k in zip(maps, kernels, strict=True)]

    return _by_bands(g, weight.shape[1], 2 - padding, along_rows)


def kernel_bytes(weight: Tensor, padding: int) -> int:
    """What the transformed kernels of `weight` take; they live as long as it does."""
    return 2 * weight.numel() * weight.dtype.itemsize if suits(weight, padding) else 0


def _by_bands(x: Tensor, channels: int, padding: int, along_rows: Callable[[_Maps], list[Tensor]]) -> Tensor:
    """Of x, continued by `padding` zeros on each side, all neighbourhoods of three rows and three columns."""
    batch, before, height, width = x.shape
    shape = (batch, channels, height + 2 * padding - 2, width + 2 * padding - 2)
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    fours = -(-shape[2] // 4)
    bands = -(-fours // max(1, BAND // (batch * max(before, channels) * width)))
    for i in range(bands):  # all about as high: a last band of a row or two would take its time for little
        first, last = i * fours // bands, (i + 1) * fours // bands
        _mix(along_rows(_spread(*_sixes(x, first, last, padding))), out[:, :, 4 * first : 4 * last])
    return out


def _sixes(x: Tensor, first: int, last: int, padding: int) -> tuple[_Maps, int, int]:
    """The rows of x under the fours of results from `first` to `last`, as six maps (B, C, n, W).

    Of the first map as many rows are left out above as the first number says, and of the last one below as the second:
    they are zero. That is so where only they lie outside x; else x is copied with zeros around it, all of a band.
    """
    top, bottom, height = 4 * first - padding, 4 * last + 2 - padding, x.shape[2]
    above, below = max(0, -top), max(0, bottom - height)
    n = last - first
    if above > 1 or below > 1:
        rows = F.pad(x[:, :, max(0, top) : bottom], (0, 0, above, below))
        return [rows[:, :, i::4][:, :, :n] for i in range(6)], 0, 0
    starts = [top + 4 * above, *range(top + 1, top + 6)]
    counts = [n - above, n, n, n, n, n - below]
    return [x[:, :, start::4][:, :, :count] for start, count in zip(starts, counts, strict=True)], above, below


def _spread(sixes: _Maps, above: int, below: int) -> _Maps:
    """What `_sixes` gives -> for each point a map (B, C, n, W)."""
    d0, d1, d2, d3, d4, d5 = sixes
    even, odd = torch.sub(d4, d2, alpha=B * B), torch.sub(d3, d1, alpha=B * B)
    others_even, others_odd = torch.sub(d4, d2, alpha=A * A), torch.sub(d3, d1, alpha=A * A)
    nought, infinity = torch.sub(d4, d2, alpha=A * A + B * B), torch.sub(d1, d3, alpha=A * A + B * B)
    nought[:, :, above:].add_(d0)
    infinity[:, :, : infinity.shape[2] - below].add_(d5)
    return (
        nought,
        torch.add(even, odd, alpha=A),
        even.sub_(odd, alpha=A),
        torch.add(others_even, others_odd, alpha=B),
        others_even.sub_(others_odd, alpha=B),
        infinity,
    )


def _mix(maps: _Maps, out: Tensor) -> None:
    """Six maps (B, C, n, W) -> rows `out` (B, C, at most 4 n, W); the maps are used up."""
    m0, m1, m2, m3, m4, m5 = maps
    s, d = m1 + m2, m1.sub_(m2)
    t, e = m3 + m4, m3.sub_(m4)
    y0, y1, y2, y3 = (out[:, :, i::4] for i in range(4))
    _add(m0.sub_(s, alpha=B), t, A, y0)
    _add(e, d, -1.0, y1)
    _add(m5.sub_(d, alpha=0.5), e, 2.0, y3)
    _add(t.mul_(B), s, -A, y2)


def _add(a: Tensor, b: Tensor, factor: float, out: Tensor) -> None:
    n = out.shape[2]  # the last rows of the last four may lie below the picture
    torch.add(a[:, :, :n], b[:, :, :n], alpha=factor, out=out)


def _transformed(weight: Tensor) -> tuple[Tensor, ...]:
    """(O, I, 3, 3) -> six kernels (O, I, 1, 3): its rows as a polynomial at each point, scaled as `_mix` expects.

    Kept for as long as the weight lives and is not changed.
    """
    version = -1 if weight.is_inference() else weight._version  # tensors of inference mode count no changes
    state = (weight.data_ptr(), version, weight.dtype)
    known = _kernels.get(weight)
    if known is not None and known[0] == state:
        return known[1]
    w = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    g0, g1, g2 = w[:, :, :1], w[:, :, 1:2], w[:, :, 2:]
    near, far = (B * g0 + A * g2) / 3, (A * g0 + B * g2) / 3
    exact = (g0, near + g1 / 3, near - g1 / 3, far + g1 / 3, far - g1 / 3, g2)
    kernels = tuple(k.to(weight.dtype, memory_format=torch.channels_last) for k in exact)
    _kernels[weight] = state, kernels
    return kernels


@cache
def _bias_shares() -> tuple[float, ...]:
    """What of the bias each map is given so that `_mix` gives all four rows one bias; the smallest such numbers."""
    unit = torch.eye(6, dtype=torch.float64).view(6, 6, 1, 1)
    mixing = unit.new_empty(1, 6, 4, 1)  # what `_mix` makes of each map alone
    _mix([m[None].clone() for m in unit], mixing)
    return tuple((torch.linalg.pinv(mixing[0, :, :, 0].T) @ unit.new_ones(4)).tolist())
