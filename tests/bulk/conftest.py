"""What tests of bulk painting share: folders of small pictures, and a task that paints them in onnxruntime."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.bulk.work import Item, Row, Task, run_name
from impasto.bulk.worker import Worker
from impasto.stylizer.request import StylizeRequest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked in goes with the test."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six pictures of 40x36 px, two of them in folders below, and a text."""
    names = ["a.jpg", "b.png", "c.webp", "d.jpg", "more/e.jpg", "more/deep/f.bmp"]
    for seed, name in enumerate(names):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blotches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(blotches).resize((40, 36), Image.Resampling.BICUBIC).save(path)
    (tmp_path / "photos" / "readme.txt").write_text("no picture")
    return tmp_path / "photos"


class Here:
    """Who paints in this very process, where nothing is killed: a second less for each run."""

    deaths = 0

    def __init__(self, task: Task) -> None:
        self._worker = Worker(task, "0000")
        self.begin = self._worker.begin
        self.close = self._worker.close

    def paint(self, items: Iterator[Item]) -> Iterator[Row]:
        for item in items:
            row = self._worker.paint(item)
            self._worker.flush()
            yield row

    def stop(self) -> None:
        raise NotImplementedError


@pytest.fixture
def here() -> type[Here]:
    """Makes of a task who paints in this process."""
    return Here


@pytest.fixture
def task_for() -> Callable[..., Task]:
    """Makes a task for a target, under a run's name of its own."""

    def make(target: Path | str, style: str = "great-wave", **more) -> Task:
        request = StylizeRequest.of(style=style, engine="light", **more.pop("options", {}))
        return Task(request.to_json(), more.pop("output", {}), str(target), run=run_name(), **more)

    return make


@pytest.fixture
def slowly(tmp_path: Path) -> Callable[[pytest.MonkeyPatch, float], None]:
    """Has processes that are started from now on take at least so many seconds for a picture."""

    def make(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        (tmp_path / "slow").mkdir()
        (tmp_path / "slow" / "sitecustomize.py").write_text(
            "import sys, time, importlib.abc\n"
            "class Slow(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'impasto.bulk.local':\n"
            "            sys.meta_path.remove(self)\n"
            "            from impasto.bulk.worker import Worker\n"
            "            paint = Worker._painted\n"
            f"            Worker._painted = lambda self, *given: (time.sleep({seconds}), paint(self, *given))[1]\n"
            "sys.meta_path.insert(0, Slow())\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'slow'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    return make
