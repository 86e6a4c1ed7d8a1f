"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development weights and pictures beside the project; skips where it is absent."""
    if not (SHARED / "weights" / "vgg16_dev.safetensors").exists():
        pytest.skip("the development weights and pictures (../shared) are not here")
    return SHARED


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests of many tiny operations, where threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
