"""A `Chain` out of layers as other people's files list them, one after the other.

Readers of formats say what comes: padding, a convolution, a normalisation, the opening of a residual block. What
belongs to one stage is gathered here; what no stage can hold is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.chain import Chain, ChainConfig, ChainOutput, Mode, StageConfig
from impasto.networks.layers import state_dict_mismatch

__all__ = ["ChainBuilder"]


class ChainBuilder:
    """Gathers layers; `build` makes the network of them.

    Every method but `build` is one layer. Weights are (O, I, k, k), whatever the file's order was.
    """

    def __init__(self) -> None:
        self._stages: list[StageConfig] = []
        self._tensors: dict[str, Tensor] = {}
        self._before: dict[str, Any] = {}  # what the next convolution is preceded by
        self._pad: tuple[tuple[int, int], Mode] | None = None
        self._opens = False
        self._open = False
        self._output: ChainOutput = "linear"
        self._gain, self._offset = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
        self._ended = False

    # -- what precedes a convolution ------------------------------------------------------------------------------

    def pad(self, before: int, after: int, mode: Mode) -> None:
        """A border of so many pixels."""
        self._check_open_for("a border")
        if before == after == 0:
            return
        if self._pad is not None:
            self._to_extension()
        self._pad = (before, after), mode

    def upsample(self, factor: int) -> None:
        """Each pixel repeated."""
        self._check_open_for("an enlargement")
        if self._pad is not None:
            self._to_extension()
        self._before["upsample"] = self._before.get("upsample", 1) * factor

    def open(self) -> None:
        """What a later `close` adds is what is here."""
        self._check_open_for("a residual block")
        if self._open or self._pad is not None or self._before or not self._stages:
            raise WeightsError(
                "a residual block begins where none can: inside another, at the start, or after a border"
            )
        self._opens = self._open = True

    def _to_extension(self) -> None:
        if self._pad is None:
            return
        (before, after), mode = self._pad
        if mode != "reflect" or before != after or self._before:
            raise WeightsError(f"a border of {mode} that stands alone, need one by reflection, alike on all sides")
        self._before["extend"], self._pad = before, None

    # -- a convolution, and what follows it -----------------------------------------------------------------------

    def convolve(
        self, weight: Tensor, bias: Tensor | None, *, stride: int = 1, zeros: tuple[int, int] | Literal["same"] = (0, 0)
    ) -> None:
        """A convolution, whose own border are so many zeros."""
        mode: Mode = "zeros"
        padding = zeros
        if zeros != (0, 0) and self._pad is not None:
            self._to_extension()
        if self._pad is not None:
            padding, mode = self._pad
        self._add(weight, bias, stride=stride, padding=padding, mode=mode)

    def transpose(self, weight: Tensor, bias: Tensor | None, *, factor: int, before: int, after: int) -> None:
        """A transposed convolution by (I, O, k, k), which leaves out so many rows and columns on each side.

        A negative `after` adds rows, as torch's `output_padding` does.
        """
        if self._pad is not None:
            self._to_extension()
        _check_kernel(weight)
        kernel = weight.shape[2]
        plain = weight.transpose(0, 1).flip(2, 3)
        if factor == 1:
            self._add(plain, bias, padding=(kernel - 1 - before, kernel - 1 - after), mode="zeros")
            return
        self._before["spread"] = factor
        self._add(plain, bias, padding=(kernel - 1 - before, kernel - factor - after), mode="zeros")

    def _add(self, weight: Tensor, bias: Tensor | None, **how: Any) -> None:
        self._check_open_for("a convolution")
        _check_kernel(weight)
        out, into, kernel, _ = weight.shape
        if bias is not None and tuple(bias.shape) != (out,):
            raise WeightsError(f"a convolution of {out} channels has {tuple(bias.shape)} biases")
        try:
            row = StageConfig(into, out, kernel, bias=bias is not None, opens=self._opens, **self._before, **how)
        except OptionError as error:
            raise WeightsError(str(error)) from error
        self._stages.append(row)
        key = f"stage{len(self._stages)}"
        self._tensors[f"{key}.conv.conv2d.weight"] = weight
        if bias is not None:
            self._tensors[f"{key}.conv.conv2d.bias"] = bias
        self._before, self._pad, self._opens = {}, None, False

    def normalise(self, gamma: Tensor, beta: Tensor, eps: float) -> None:
        """Instance normalisation."""
        last = self._last("a normalisation")
        if last.eps is not None or last.closes or gamma.shape != (last.channels,) or beta.shape != gamma.shape:
            raise WeightsError(f"a normalisation of {gamma.numel()} channels where none of {last.channels} can be")
        first = last.relu
        self._change(eps=eps, relu=False, relu_first=first)
        key = f"stage{len(self._stages)}.norm"
        self._tensors[f"{key}.weight"], self._tensors[f"{key}.bias"] = gamma, beta

    def affine(self, scale: Tensor, shift: Tensor) -> None:
        """Every channel times a number, plus another: a batch normalisation in use. It becomes part of the weights."""
        last = self._last("a batch normalisation")
        if last.relu or last.closes or scale.shape != (last.channels,) or shift.shape != scale.shape:
            raise WeightsError(
                f"a batch normalisation of {scale.numel()} channels where none of {last.channels} can be"
            )
        key = f"stage{len(self._stages)}"
        first, second = (f"{key}.norm.weight", f"{key}.norm.bias")
        if last.eps is None:
            first, second = (f"{key}.conv.conv2d.weight", f"{key}.conv.conv2d.bias")
            self._tensors.setdefault(second, torch.zeros(last.channels))
            self._change(bias=True)
        rows = scale.view(-1, *[1] * (self._tensors[first].ndim - 1))
        self._tensors[first] = self._tensors[first] * rows
        self._tensors[second] = self._tensors[second] * scale + shift

    def relu(self) -> None:
        """Negative values become zero."""
        last = self._last("a ReLU")
        self._change(**{"relu_sum" if last.closes else "relu": True})

    def close(self, crop: int = 0) -> None:
        """Add what the residual block began with, without so many pixels on each side."""
        last = self._last("the end of a residual block")
        if not self._open or last.closes:
            raise WeightsError("a residual block ends that did not begin")
        self._open = False
        self._change(closes=True, crop=crop)

    # -- the end --------------------------------------------------------------------------------------------------

    def output(self, kind: ChainOutput) -> None:
        """The values of the last stage go through this."""
        self._last("the output")
        if self._ended:
            raise WeightsError(f"{kind} comes after the output")
        self._ended, self._output = True, kind

    def scale(self, factor: Sequence[float] | float, term: Sequence[float] | float = 0.0) -> None:
        """Times a number, plus another, or one for each channel; after the output."""
        self._last("a factor")
        self._ended = True
        self._gain, self._offset = _after(self._gain, self._offset, _three(factor), _three(term))

    def build(
        self,
        *,
        scale: Sequence[float] | float = 255.0,
        shift: Sequence[float] | float = 0.0,
        bgr: bool = False,
        unit: Sequence[float] | float = 1 / 255,
        back: Sequence[float] | float = 0.0,
    ) -> Chain:
        """The network, in eval mode.

        Args:
            scale, shift: what a picture in [0, 1] is made of for it, by channel in its own order.
            bgr: whether its channels are blue, green, red.
            unit, back: what comes out of it, times `unit`, plus `back`, is in [0, 1].

        Raises:
            WeightsError: the layers are no network from a picture to a picture as large.
        """
        if self._open or self._before or self._pad is not None or not self._stages:
            raise WeightsError("the layers end in the middle of a block, or there are none")
        gain, offset = _after(self._gain, self._offset, _three(unit), _three(back))
        try:
            config = ChainConfig(tuple(self._stages), _three(scale), _three(shift), bgr, self._output, gain, offset)
            with torch.device("meta"):
                network = Chain(config)
        except OptionError as error:
            raise WeightsError(str(error)) from error
        tensors = {key: value.detach().float().contiguous().clone() for key, value in self._tensors.items()}
        reason = state_dict_mismatch(network, tensors)
        if reason is not None:
            raise WeightsError(reason)
        network.load_state_dict(tensors, assign=True)
        return network.eval()

    def _last(self, what: str) -> StageConfig:
        if not self._stages or self._before or self._pad is not None or self._opens:
            raise WeightsError(f"{what} follows no convolution")
        if self._ended and what not in ("a factor", "the output"):
            raise WeightsError(f"{what} follows the output")
        return self._stages[-1]

    def _change(self, **values: Any) -> None:
        self._stages[-1] = replace(self._stages[-1], **values)

    def _check_open_for(self, what: str) -> None:
        if self._ended:
            raise WeightsError(f"{what} follows the output")


def _check_kernel(weight: Tensor) -> None:
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not weight.numel():
        raise WeightsError(f"a convolution has weights of shape {tuple(weight.shape)}, need four dimensions, square")


Three = tuple[float, float, float]


def _after(gain: Three, offset: Three, factor: Three, term: Three) -> tuple[Three, Three]:
    """``(x * gain + offset) * factor + term`` as a gain and an offset."""
    gains = [a * b for a, b in zip(gain, factor, strict=True)]
    offsets = [a * b + c for a, b, c in zip(offset, factor, term, strict=True)]
    return _three(gains), _three(offsets)


def _three(value: Sequence[float] | float) -> Three:
    if not isinstance(value, int | float) and len(value) != 3:
        raise WeightsError(f"{len(value)} numbers for the colours of a picture, need 3")
    first, second, third = (value,) * 3 if isinstance(value, int | float) else value
    return float(first), float(second), float(third)
