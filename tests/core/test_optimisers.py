"""Optimisers without torch's compiler: what is loaded, and that they do what torch's own do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from impasto.core.optimisers import LBFGS, Adam

ALONE = """
import copy, sys, torch
from impasto.core.optimisers import LBFGS, Adam
x = torch.nn.Parameter(torch.ones(3))
def closure():
    x.grad = 2 * x.detach()
    return torch.tensor(1.0)
for optimiser in (Adam([x], lr=0.1), LBFGS([x])):
    optimiser.step(closure)
    optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    optimiser.step(closure)
assert "torch._dynamo" not in sys.modules, "loaded"
torch.optim.Adam([x])
assert "torch._dynamo" in sys.modules, "torch no longer loads it: core/optimisers.py can go"
"""


def test_the_compiler_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (Adam, torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9)}),
        (LBFGS, torch.optim.LBFGS, {"lr": 0.5, "max_iter": 1, "history_size": 4}),
    ],
)
def test_steps_and_states_are_torchs(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    begin, goal = torch.randn(2, 5, 7)
    found, states = [], []
    for kind in (ours, theirs):
        x = torch.nn.Parameter(begin.clone())
        optimiser = kind([x], **options)

        def closure(x: torch.nn.Parameter = x) -> torch.Tensor:
            assert torch.is_grad_enabled()
            x.grad = None
            loss = (x - goal).square().sum() + x.abs().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        for _ in range(3):
            optimiser.step(closure)
        again = kind([x], **options)
        again.load_state_dict(optimiser.state_dict())
        again.step(closure)
        found.append(x.detach())
        states.append(again.state_dict())
    assert torch.equal(*found)
    assert not torch.equal(found[0], begin)
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert states[0]["state"].keys() == states[1]["state"].keys()
