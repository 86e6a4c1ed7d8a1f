"""Optimisers of torch that do not load its compiler, which are 800 modules and half a second or more.

In torch 2.13 an optimiser loads `torch._dynamo` when it is made, and Adam again at every step, to tell the compiler
what it should leave alone (findings/torch-optimizer-compiler.sh). Nothing here is ever compiled, so that the methods
are called as they are beneath that. Where torch has no such layer, these are torch's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LBFGS", "Adam"]


class _NeverCompiled(torch.optim.Optimizer):
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _beneath(torch.optim.Optimizer.add_param_group)(self, param_group)

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = _beneath(torch.optim.Optimizer.state_dict)(self)
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        _beneath(torch.optim.Optimizer.load_state_dict)(self, state_dict)


class Adam(_NeverCompiled, torch.optim.Adam):
    """`torch.optim.Adam`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """See `torch.optim.Optimizer.step`."""
        return _beneath(torch.optim.Adam.step)(self, closure)


class LBFGS(_NeverCompiled, torch.optim.LBFGS):
    """`torch.optim.LBFGS`."""


def _beneath(method: Callable[..., Any]) -> Callable[..., Any]:
    return getattr(method, "__wrapped__", method)
