"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development weights and pictures beside the project; skips where it is absent."""
    if not (SHARED / "weights" / "vgg16_dev.safetensors").exists():
        pytest.skip("the development weights and pictures (../shared) are not here")
    return SHARED
