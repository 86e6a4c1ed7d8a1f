"""What tests of trainings share."""

from __future__ import annotations

import pytest

from impasto.training.logging import RunLog


@pytest.fixture
def plotless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are drawn for those tests alone that say so, by `plotted`: it takes longer than a tiny training."""
    if "plotted" not in request.fixturenames:
        monkeypatch.setattr(RunLog, "plot", lambda self: None)


@pytest.fixture
def plotted() -> None:
    """Losses are drawn nevertheless."""
