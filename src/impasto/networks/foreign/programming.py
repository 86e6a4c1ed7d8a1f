"""An `Operators` network out of what readers of formats say, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError, WeightsError
from impasto.networks.layers import state_dict_mismatch
from impasto.networks.operators import Operators, OperatorsConfig
from impasto.networks.programs import Operator, OperatorKind

__all__ = ["ListBuilder", "network_of", "take"]


class ListBuilder:
    """Gathers operators. Every method gives the number of what comes out; each goes on from the last unless `of`."""

    def __init__(self) -> None:
        self.rows: list[Operator] = []
        self.tensors: dict[str, Tensor] = {}
        self._widths = [3]

    @property
    def last(self) -> int:
        """The number of what came out last; 0 is the picture."""
        return len(self.rows)

    def width(self, number: int) -> int:
        """Channels of the picture, or of what an operator gives."""
        return self._widths[number]

    def add(self, kind: OperatorKind, *, of: Sequence[int] | None = None, **how: Any) -> int:
        """Any operator without weights."""
        try:
            row = Operator(kind, (self.last,) if of is None else tuple(of), **how)
        except OptionError as error:
            raise WeightsError(str(error)) from error
        self.rows.append(row)
        self._widths.append(row.width([self._widths[at] for at in row.of]))
        return self.last

    def convolve(
        self, weight: Tensor, bias: Tensor | None, *, border: int | None = None, of: int | None = None, **how: Any
    ) -> int:
        """A convolution by (O, I, k, k); without `border`, with half a kernel on each side; reflected unless `mode`."""
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or not weight.numel():
            raise WeightsError(
                f"a convolution has weights of shape {tuple(weight.shape)}, need four dimensions, square"
            )
        side = int(weight.shape[2])
        pads = side // 2 if border is None else border
        how = {"mode": "reflect", "padding": (pads, pads), **how}
        number = self.add(
            "conv",
            of=None if of is None else (of,),
            channels=int(weight.shape[0]),
            kernel=side,
            bias=bias is not None,
            **how,
        )
        self._keep(number, weight, bias)
        return number

    def normalise(self, weight: Tensor, bias: Tensor, *, of: int | None = None, eps: float = 1e-5) -> int:
        """Instance normalisation."""
        number = self.add("norm", of=None if of is None else (of,), eps=eps)
        self._keep(number, weight, bias)
        return number

    def affine(self, weight: Sequence[float] | Tensor, bias: Sequence[float] | Tensor, *, of: int | None = None) -> int:
        """Every channel times a number, plus another."""
        number = self.add("affine", of=None if of is None else (of,))
        self._keep(number, *(torch.as_tensor(value, dtype=torch.float32) for value in (weight, bias)))
        return number

    def recombine(self, weight: Tensor, *, at: int) -> int:
        """See `Operator`."""
        number = self.add("recombine", at=at)
        self._keep(number, weight, None)
        return number

    def _keep(self, number: int, weight: Tensor, bias: Tensor | None) -> None:
        self.tensors[f"{number}.weight"] = weight
        if bias is not None:
            self.tensors[f"{number}.bias"] = bias


def network_of(paint: ListBuilder, look: ListBuilder, told: Sequence[int]) -> Operators:
    """The network, in eval mode; WeightsError where the operators make none."""
    try:
        config = OperatorsConfig(tuple(paint.rows), tuple(look.rows), tuple(told))
        with torch.device("meta"):
            network = Operators(config)
    except OptionError as error:
        raise WeightsError(str(error)) from error
    named = {f"paint.{key}": value for key, value in paint.tensors.items()}
    named |= {f"look.{key}": value for key, value in look.tensors.items()}
    tensors = {key: value.detach().float().contiguous().clone() for key, value in named.items()}
    reason = state_dict_mismatch(network, tensors)
    if reason is not None:
        raise WeightsError(reason)
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def take(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """A weight and a bias; WeightsError where one is missing."""
    for key in (f"{name}.weight", f"{name}.bias"):
        if key not in state or not state[key].ndim:
            raise WeightsError(f"{key} is missing")
    return state[f"{name}.weight"], state[f"{name}.bias"]
