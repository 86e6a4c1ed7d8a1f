"""One engine for many threads: the same pictures as one after another, loaded once, within one budget."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.core import weights
from impasto.core.memory import held_memory
from impasto.errors import OptionError
from impasto.imaging import Picture
from impasto.networks import checkpoint
from impasto.stylizer import engine as module
from impasto.stylizer.budget import MemoryBudget
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.request import StylizeRequest

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
SIZES = [(32, 48), (40, 36), (64, 33), (50, 50), (33, 80), (72, 40)]


def photo(size: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def request(i: int, **options: Any) -> StylizeRequest:
    """Names, pictures, bands and masks by turns."""
    kinds: list[dict[str, Any]] = [
        {"style": "great-wave"},
        {"style": "night.png"},
        {"style": ["night.png:0.3", "wave.png"], "strength": 0.7},
        {"style": "great-wave", "tile": 16},
        {"style": "wave.png", "mask": "night.png", "keep_colors": True},
    ]
    return StylizeRequest.of(**kinds[i % len(kinds)], precision="float32", **options)


def paint(engine: Engine, i: int, **options: Any) -> Picture:
    with engine.job(photo(SIZES[i % len(SIZES)], i), request(i, **options)) as job:
        list(job.run())
        return job.result()


class Watched(MemoryBudget):
    """Remembers how much was granted at the most, and to how many."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.together = 0

    def take(self, need: int, limit: int | None = None) -> Any:
        grant = super().take(need, limit)
        with self._changed:
            self.most = max(self.most, sum(row.need for row in self._grants))
            self.together = max(self.together, len(self._grants))
        return grant


def test_sixteen_threads_paint_what_one_paints() -> None:
    one = Engine()
    expected = [paint(one, i) for i in range(30)]
    shared = Engine(max_memory=held_memory() + (400 << 20))
    shared.budget = watched = Watched()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: paint(shared, i % 30), range(60)))
    for i, picture in enumerate(found):
        assert np.array_equal(picture.rgb, expected[i % 30].rgb), i
    assert 0 < watched.most <= 400 << 20
    assert watched.together > 1
    assert watched._grants == watched._waiting == []


def test_what_is_scarce_is_shared_without_deadlock() -> None:
    """So little that most have to paint in bands, alone; more threads than may compute at once."""
    expected = [paint(Engine(), i) for i in range(6)]
    shared = Engine(max_memory=held_memory() + (90 << 20), at_once=2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: paint(shared, i % 6), range(24)))
    for i, picture in enumerate(found):
        assert np.abs(picture.rgb - expected[i % 6].rgb).max() < 2 / 255


def test_one_thread_may_step_through_two_jobs_by_turns() -> None:
    engine = Engine(max_memory=held_memory() + (120 << 20))
    jobs = [engine.job(photo((64, 48), i), request(3)) for i in range(2)]
    runs = [job.run() for job in jobs]
    done = [0, 0]
    while runs:
        for run in list(runs):
            if next(run, None) is None:
                runs.remove(run)
            else:
                done[jobs.index(next(job for job in jobs if job._running is not None))] += 1
    alone = [paint(Engine(), 3) for _ in range(1)]
    assert alone
    for i, job in enumerate(jobs):
        with Engine().job(photo((64, 48), i), request(3)) as single:
            list(single.run())
            assert np.array_equal(single.result().rgb, job.result().rgb)
        job.close()


def test_style_pictures_are_encoded_once_though_many_threads_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, count, lock = Engine(), [0], threading.Lock()
    model = engine.model("universal", precision="float32")
    from impasto.stylizer import torch_model as models

    real = models.encode

    def encode(*arguments: Any) -> Any:
        with lock:
            count[0] += 1
        return real(*arguments)

    monkeypatch.setattr(models, "encode", encode)
    monkeypatch.setattr(models, "REMEMBERED", 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: model.paint(photo((40, 40), 0), ["night.png", "wave.png"][i % 2]), range(16)))
    assert count[0] == 2
    styles = [photo((40, 40), seed) for seed in range(5)]  # more than are remembered: none is lost while it is used
    expected = [model.paint(photo((40, 40), 0), style).rgb for style in styles]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: model.paint(photo((40, 40), 0), styles[i % 5]).rgb, range(20)))
    assert all(np.array_equal(rgb, expected[i % 5]) for i, rgb in enumerate(found))


def test_models_and_backbones_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for many photos and many threads; and hashed once for their recipes."""
    counts = {"model": 0, "backbone": 0, "hash": 0}

    def counted(name: str, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(checkpoint, "load_model", counted("model", checkpoint.load_model))
    monkeypatch.setattr(weights, "load_backbone", counted("backbone", weights.load_backbone))
    monkeypatch.setattr(module, "sha256", counted("hash", module.sha256))
    engine = Engine()

    def paint_one(i: int) -> None:
        options = {"style": "night.png", "quality": "good", "steps": 1, "precision": "float32"}
        with engine.job("photo.png", StylizeRequest.of(**options), output=Output(f"{i}.png")) as job:
            list(job.run())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(paint_one, range(6)))
    assert counts == {"model": 1, "backbone": 2, "hash": 2}  # two networks see
    assert all(Path(f"{i}.png").exists() for i in range(6))


def test_what_fails_to_load_is_tried_again() -> None:
    engine = Engine()
    for _ in range(2):
        with pytest.raises(Exception, match="no trained network and no file"):
            engine.model("gone.safetensors")


def test_a_request_may_ask_for_less_than_the_engine_has() -> None:
    engine = Engine(max_memory="2GB")
    assert engine.limit(StylizeRequest.of(style="a")) == 2 * 10**9
    assert engine.limit(StylizeRequest.of(style="a", max_memory="1GB")) == 10**9
    assert engine.limit(StylizeRequest.of(style="a", max_memory="3GB")) == 2 * 10**9
    assert Engine().limit(StylizeRequest.of(style="a")) is None
    with pytest.raises(OptionError, match="`max_memory` is 'much'"):
        Engine(max_memory="much")


@pytest.mark.parametrize(("amount", "bytes_"), [(500, 500), ("500b", 500), ("20kB", 20_000)])
def test_memory_for_nothing_is_told_as_it_was_given(amount: int | str, bytes_: int) -> None:
    told = f"`max_memory` is {bytes_} bytes, in which nothing can be painted: give it with its unit"
    with pytest.raises(OptionError, match=told):
        Engine(max_memory=amount)
    with pytest.raises(OptionError, match=told):
        Engine().limit(StylizeRequest.of(style="a", max_memory=amount))


CHILD = textwrap.dedent("""
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    import numpy as np
    import torch
    from impasto.core.memory import held_memory
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.request import StylizeRequest

    torch.set_num_threads(1)
    engine = Engine()
    request = StylizeRequest.of(style="great-wave", precision="float32")
    def paint(size):
        with engine.job(np.full((*size, 3), 90, np.uint8), request) as job:
            list(job.run())
    paint((64, 64))
    engine.max_memory = limit = held_memory() + (260 << 20)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(paint, [(300, 400), (500, 500), (200, 700)] * 6))
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    print(peak, limit)
""")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_threads_together_stay_within_the_budget() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak, limit = (int(number) for number in done.stdout.split())
    assert peak <= limit
