"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import typer.testing
from PIL import Image

from impasto.core.vgg import TOPOLOGIES

try:
    import fcntl
except ImportError:  # where there are no such locks, tests run in one process
    fcntl = None  # type: ignore[assignment]

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With `pytest -n`: a test marked `alone` runs while no other process has one."""
    if "PYTEST_XDIST_WORKER" not in os.environ or fcntl is None:
        yield
        return
    alone, folder = request.node.get_closest_marker("alone"), tmp_path_factory.getbasetemp().parent
    with (folder / "door.lock").open("w") as door, (folder / "room.lock").open("w") as inside:
        fcntl.flock(door, fcntl.LOCK_EX)  # or others would go in and out, and never leave the room to one
        fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of pages come first, so that with `pytest -n` one process has them all and one browser at a time runs."""
    items.sort(key=lambda item: "browser" not in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", autouse=True)
def commands_once() -> Iterator[None]:
    """Typer's runner makes all commands anew for each line that it is given, which takes longer than most lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development weights and pictures beside the project; skips where it is absent."""
    if not (SHARED / "weights" / "vgg16_dev.safetensors").exists():
        pytest.skip("the development weights and pictures (../shared) are not here")
    return SHARED


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window, driven by Playwright's client, with a camera that shows a pattern."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is here: on Debian, apt-get install chromium")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as client:
        found = client.chromium.launch(executable_path=program, args=[*root, *CAMERA])
        yield found
        found.close()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For tests of many tiny operations, where threads that wait for each other take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with VGG-16 up to conv2_1 and random weights, which says nothing of itself."""
    draw = torch.Generator().manual_seed(0)
    state = {}
    for name, channels_in, channels_out in TOPOLOGIES["vgg16"].layers[:3]:
        weights = torch.randn(channels_out, channels_in, 3, 3, generator=draw)
        state[f"{name}.weight"] = weights * (2 / (9 * channels_in)) ** 0.5
        state[f"{name}.bias"] = torch.randn(channels_out, generator=draw) * 0.1
    path = tmp_path_factory.mktemp("backbone") / "tiny.safetensors"
    safetensors.torch.save_file(state, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photo.png (40x36 px) and two styles, night.png (40x40 px) and wave.png (48x40 px)."""
    for seed, (name, size) in enumerate({"photo": (36, 40), "night": (40, 40), "wave": (40, 48)}.items()):
        blotches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(blotches).resize(size[::-1], Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
