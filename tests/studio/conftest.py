"""A service with one worker process for all tests of the studio, and a server of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from impasto.studio.limits import Limits
from impasto.studio.service import Service

from .studio_samples import served, until


@pytest.fixture(scope="session")
def shared_service() -> Iterator[Service]:
    with Service(Limits(seconds=60, upload="2MB"), workers=1) as service:
        assert service.wait_ready(120)
        yield service


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """The service, with nothing to do; limits that a test changes are put back."""
    limits = shared_service.limits
    yield shared_service
    shared_service.limits = limits
    for job in [*shared_service.jobs]:
        shared_service.forget(job)
    until(lambda: not shared_service.running() and not shared_service.waiting())


@pytest.fixture(scope="session")
def shared_server(shared_service: Service) -> Iterator[str]:
    with served(shared_service) as address:
        yield address


@pytest.fixture
def server(shared_server: str, service: Service) -> str:
    """The address of a server of the service."""
    return shared_server


@pytest.fixture(scope="session")
def project() -> Path:
    """The folder of the project."""
    return Path(__file__).resolve().parents[2]
