"""Jobs: what they plan, tell, show, and leave behind, whichever way they are painted."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.errors import OptionError, OutputError
from impasto.optimize.loop import Optimization
from impasto.stylizer import network_job, strokes
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Job, Output, Progress
from impasto.stylizer.request import StylizeRequest

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
ENGINE = Engine()

KINDS: dict[str, dict[str, Any]] = {
    "gallery": {"style": "great-wave"},
    "bands": {"style": "great-wave", "tile": 8},
    "universal": {"style": "night.png"},
    "universal in bands, weaker": {"style": "night.png", "tile": 8, "strength": 0.5},
    "optimisation": {"style": "night.png", "preset": "quick", "init": "content", "steps": 4, "start_size": 20},
    "draft, then optimisation": {"style": "night.png", "quality": "good", "steps": 3},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def job_of(kind: str, photo: Any = "photo.png", output: str | None = None, **options: Any) -> Job:
    request = StylizeRequest.of(precision="float32", **(KINDS[kind] | options))
    return ENGINE.job(photo, request, output=None if output is None else Output(output))


def painted(kind: str, **options: Any) -> np.ndarray:
    with job_of(kind, **options) as job:
        list(job.run())
        return job.result().integers(8)


# -- plan -----------------------------------------------------------------------------------------------------


def test_too_little_memory_is_told_of_the_pictures_size() -> None:
    message = "^1200x900 px cannot be painted within 200 MB: need `max_memory` "
    large = np.zeros((900, 1200, 3), np.uint8)
    with (
        job_of("optimisation", large, size=1200, max_memory="200MB") as job,
        pytest.raises(OptionError, match=message),
    ):
        job.plan()


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, None),
        ({"backbone": "compact"}, None),
        ({"preset": "best"}, None),
        ({"style_layers": "relu1_1,relu5_1"}, "compact alone sees: compact-vgg19 lacks one of these layers"),
        (
            {"optimizer": "lbfgs"},
            "compact alone sees: compact-vgg19 takes turns only by relative errors, Gram matrices and adam",
        ),
    ],
    ids=str,
)
def test_why_one_network_sees_where_the_preset_has_two(changes: dict[str, Any], note: str | None) -> None:
    with job_of("optimisation", **{"steps": 1, **changes}) as job:
        notes = [record.note for record in job.run() if record.note]
        assert job.summary().startswith("40x36 px, 1 step on compact in float32")
    assert notes == ([] if note is None else [note])


@every_kind
def test_a_plan_reads_no_pixel_and_paints_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a pixel was read")

    job = job_of(kind, output="out.png")
    monkeypatch.setattr("impasto.imaging.rows.Rows.whole", never)
    plan = job.plan()
    assert plan.size == (36, 40)
    assert plan.pieces >= 1
    assert plan.memory > 0
    assert plan.seconds is not None
    assert all(plan.message)
    assert job.plan().how == plan.how
    assert plan.how == {"bands": "bands", "gallery": "at once", "universal": "at once"}.get(
        kind, "bands" if "bands" in kind else "steps"
    )
    assert not Path("out.png").exists()
    job.close()


def test_a_plan_tells_how_many_pieces_there_are() -> None:
    for kind in ("bands", "optimisation"):
        with job_of(kind) as job:
            pieces = job.plan().pieces
            assert len([record for record in job.run() if record.phase == "painting" and record.done]) == pieces


CHILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    import torch
    from impasto.core.memory import reuse_large_blocks
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.request import StylizeRequest
    torch.set_num_threads(1)
    engine, options = Engine(), eval(sys.argv[1])
    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
    with engine.job("small.png", StylizeRequest.of(**options)) as job:
        list(job.run())
    with engine.job("large.png", StylizeRequest.of(**options)) as job:
        plan, before = job.plan(), memory("VmRSS:")
        list(job.run())
    print(plan.memory, memory("VmHWM:"), before)
""")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
@pytest.mark.parametrize(
    "options",
    [
        {"style": "great-wave", "precision": "float32"},
        {"style": "great-wave", "precision": "float32", "tile": 64},
        {"style": "small.png", "precision": "float32"},
        {"style": "small.png", "precision": "float32", "preset": "quick", "init": "content", "steps": 1, "size": 1000},
    ],
)
def test_the_memory_of_a_plan_is_kept_and_not_much_too_large(options: dict[str, Any], folder: Path) -> None:
    blotches = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    blotches.resize((64, 64)).save("small.png")
    blotches.resize((1000, 900)).save("large.png")
    done = subprocess.run([sys.executable, "-c", CHILD, repr(options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    planned, peak, before = (int(number) for number in done.stdout.split())
    assert peak <= planned
    careful = 6 if "preset" in options else 3  # what an optimisation takes depends on which steps keep their maps
    assert planned - before < careful * (peak - before) + (100 << 20)


# -- progress -------------------------------------------------------------------------------------------------


@every_kind
def test_progress_only_grows_and_ends_with_the_picture(kind: str) -> None:
    with job_of(kind, output="out.png") as job:
        records = list(job.run())
        phases = [record.phase for record in records]
        assert phases == sorted(phases, key=["draft", "painting", "writing"].index)
        assert phases[-1] == "writing"
        for phase in set(phases):
            done = [record.done for record in records if record.phase == phase]
            assert done == sorted(done)
            assert all(0 <= record.share <= 1 for record in records)
        assert [r.seconds for r in records] == sorted(r.seconds for r in records)
        assert "painting" in phases
        assert Path("out.png").exists()
        assert all(record.left is None or record.left >= 0 for record in records)
        assert any(record.losses for record in records) == ("optimisation" in kind)


@every_kind
def test_whoever_listens_changes_nothing(kind: str) -> None:
    told: list[Any] = []
    with_callback = impasto.stylize("photo.png", **KINDS[kind], progress=told.append, precision="float32")
    without = impasto.stylize("photo.png", **KINDS[kind], precision="float32")
    assert with_callback.tobytes() == without.tobytes()
    assert told


PATHS: dict[str, dict[str, Any]] = {
    "at once": {"style": "great-wave"},
    "of any style": {"style": "night.png"},
    "weaker and smaller": {"style": "great-wave", "strength": 0.5, "style_scale": 2},
    "one mask": {"style": "great-wave", "mask": "night.png"},
    "a mask for each style": {"style": ["great-wave", "starry-night"], "mask": ["night.png", "wave.png"]},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    "how", [{"engine": "light"}, {"engine": "torch"}, {"engine": "torch", "tile": 16}], ids=["light", "torch", "bands"]
)
def test_every_painting_tells_when_it_begins_and_when_it_is_done(
    path: str, coarse: bool, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if coarse:
        for name, value in (("LARGE", 24), ("PROOF", 20), ("NARROWEST", 8)):
            monkeypatch.setattr(strokes, name, value)
    with ENGINE.job("photo.png", StylizeRequest.of(**PATHS[path], **how)) as job:
        records = list(job.run())
    check_told(records)
    assert len(records) > 2 or not (coarse and "style_scale" not in PATHS[path])


@pytest.mark.parametrize("photo", ["photo.png", "flat.png"])
@pytest.mark.parametrize("style_scale", [None, 2])
def test_a_painting_by_strips_tells_when_it_begins_and_when_it_is_done(photo: str, style_scale: int | None) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    Image.new("RGB", (40, 36), (200, 100, 50)).save("flat.png")
    request = StylizeRequest.of(style="great-wave", precision="float32", style_scale=style_scale)
    with ENGINE.job(photo, request, output=Output("out.tif"), folder=Path("run")) as job:
        check_told([record for record in job.run() if record.phase == "painting"])


def check_told(records: list[Progress]) -> None:
    done = [record.done for record in records]
    assert (done[0], done[-1]) == (0, 1)
    assert done == sorted(done)
    assert {record.phase for record in records} == {"painting"}
    assert all(record.size is not None for record in records)


@pytest.mark.parametrize("engine", ["light", "torch"])
def test_who_listens_can_stop_a_painting_of_one_piece(engine: Any) -> None:
    def stop(_record: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", "great-wave", engine=engine, progress=stop, output="out.png")
    assert not Path("out.png").exists()


# -- stopping -------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("how", ["generator", "job", "error"])
def test_stopped_between_two_pieces_nothing_is_left(kind: str, how: str, tmp_path: Path, monkeypatch: Any) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    threads = set(threading.enumerate())
    job = job_of(kind, output="out.png")
    steps = job.run()
    next(steps)
    assert ENGINE.budget._grants
    if how == "generator":
        steps.close()
    elif how == "error":
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt())
    job.close()
    assert list(steps) == []
    job.close()
    assert ENGINE.budget._grants == []
    assert [path for path in temporary.iterdir() if not path.name.startswith("torchinductor")] == []  # torch keeps it
    assert set(threading.enumerate()) <= threads
    assert not Path("out.png").exists()
    with pytest.raises(RuntimeError, match="closed"):
        next(job.run())


@every_kind
def test_another_thread_may_stop_a_job(kind: str) -> None:
    job = job_of(kind, steps=100_000) if "optimisation" in kind else job_of(kind)
    begun, may_go_on, records = threading.Event(), threading.Event(), []

    def run() -> None:
        for record in job.run():
            records.append(record)
            begun.set()
            may_go_on.wait(20)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(20)
    job.close()
    may_go_on.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(records) == 1
    assert ENGINE.budget._grants == []


def test_a_job_that_is_at_work_in_another_thread_stops_after_the_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, closed, real = threading.Event(), threading.Event(), Optimization._move

    def move(self: Optimization, objective: Any) -> Any:
        at_work.set()
        closed.wait(20)
        return real(self, objective)

    monkeypatch.setattr(Optimization, "_move", move)
    job = job_of("optimisation")
    thread = threading.Thread(target=lambda: list(job.run()))
    thread.start()
    at_work.wait(20)
    job.close()
    closed.set()
    thread.join(20)
    assert not thread.is_alive()
    assert ENGINE.budget._grants == []
    assert job.step == 0  # type: ignore[attr-defined]  # it has let go of everything


@every_kind
def test_a_closed_job_holds_no_picture(kind: str) -> None:
    photo = torch.rand(1, 3, 40, 36)
    job = job_of(kind, photo)
    for _ in job.run():
        pass
    kept = [weakref.ref(job.result().rgb), weakref.ref(job.preview().rgb)]
    job.close()
    gc.collect()
    assert [ref() for ref in kept] == [None, None]
    with pytest.raises(RuntimeError, match="this job is closed"):
        job.result()


def test_memory_of_many_jobs_is_flat() -> None:
    """Tensors that are alive after the tenth picture and after the thirtieth."""

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(found), torch.Tensor | np.ndarray) for found in gc.get_objects())

    counts = []
    for i in range(30):
        painted("universal" if i % 2 else "bands")
        if i in (9, 29):
            counts.append(alive())
    assert counts[1] <= counts[0]


# -- preview --------------------------------------------------------------------------------------------------


@every_kind
def test_a_preview_is_the_photo_then_the_picture_so_far(kind: str) -> None:
    with job_of(kind, size=36) as job:
        before = job.preview()
        assert (before.height, before.width) == (32, 36)
        with closing(job.run()) as steps:
            for record in itertools.islice(steps, 2):
                now = job.preview()
                assert (now.height, now.width) == (32, 36)
                if record.losses:
                    assert (now.rgb != before.rgb).any()
            list(steps)
        assert np.array_equal(job.preview().rgb, job.result().rgb)
        assert not np.array_equal(job.result().rgb, before.rgb)


def test_a_preview_of_strips_is_small() -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    Image.open("photo.png").resize((1500, 700)).save("wide.png")
    request = StylizeRequest.of(style="great-wave", precision="float32")
    with ENGINE.job("wide.png", request, output=Output("out.tif"), folder=Path("run")) as job:
        assert job.plan().how == "strips"
        before = job.preview()
        assert (before.height, before.width) == (478, 1024)
        list(job.run())
        after = job.preview()
        assert (after.height, after.width) == (478, 1024)
        assert np.abs(before.rgb - after.rgb).mean() > 0.02


def test_nothing_painted_is_no_result() -> None:
    for kind in KINDS:
        with job_of(kind) as job, pytest.raises(RuntimeError, match="nothing is painted yet"):
            job.result()


# -- options --------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "network": {"style": "night.png"},
    "gallery": {"style": "great-wave"},
    "optimisation": {"style": "night.png", "preset": "quick", "steps": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_saying_that_colours_are_kept(way: str) -> None:
    def paint(**options: Any) -> bytes:
        return impasto.stylize("photo.png", precision="float32", **WAYS[way], **options).tobytes()

    assert paint() == paint(keep_colors=False) == paint(keep_colors="no")
    assert paint() != paint(keep_colors=True) == paint(keep_colors="luminance")


def test_alpha_from_python() -> None:
    with pytest.raises(OptionError, match=r"^`alpha` is for networks that decode features"):
        impasto.stylize("photo.png", "great-wave", alpha=0.5)
    whole = impasto.stylize("photo.png", "great-wave", alpha=1.0)
    assert whole.tobytes() == impasto.stylize("photo.png", "great-wave").tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_a_size_of_0_is_the_photos_own(way: str) -> None:
    Image.open("photo.png").resize((700, 80)).save("wide.png")
    assert impasto.stylize("wide.png", **WAYS[way], size=0).size == (700, 80)


def test_an_output_in_the_way_is_told_before_anything_is_painted() -> None:
    Path("out.png").touch()
    for kind in KINDS:
        with pytest.raises(OutputError, match="exists already"):
            job_of(kind, output="out.png")
    with pytest.raises(OutputError):
        job_of("universal", output="night.png")


# -- devices that have less memory than they told ---------------------------------------------------------------


def failing(real: Callable[..., Any], times: int) -> tuple[Callable[..., Any], list[Any]]:
    """A generator function that runs out of memory at first; and the options of each call."""
    calls: list[Any] = []

    def paint(bound: Any, photo: Any, options: Any, **more: Any) -> Any:
        calls.append(options)
        if len(calls) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return (yield from real(bound, photo, options, **more))

    return paint, calls


def test_out_of_memory_once_is_a_smaller_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = painted("gallery")
    paint, calls = failing(network_job.paint, 1)
    monkeypatch.setattr(network_job, "paint", paint)
    with job_of("gallery") as job:
        records = list(job.run())
        assert np.array_equal(job.result().integers(8), expected)
    assert len(calls) == 2
    assert calls[1].budget < calls[0].budget
    notes = [record.note for record in records if record.note]
    assert notes == ["cpu had less memory than it told: painting again in smaller pieces"]


def test_out_of_memory_twice_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    paint, calls = failing(network_job.paint, 9)
    monkeypatch.setattr(network_job, "paint", paint)
    with job_of("universal") as job, pytest.raises(OptionError, match=r"^40x36 px need more memory than cpu has free"):
        list(job.run())
    assert len(calls) == 2


@pytest.mark.parametrize("times", [1, 2])
def test_an_optimisation_goes_on_in_smaller_pieces(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, real, failed = painted("optimisation"), Optimization._move, []

    def move(self: Optimization, objective: Any) -> Any:
        if self.step == 2 and len(failed) < times:
            failed.append(self.room)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, objective)

    monkeypatch.setattr(Optimization, "_move", move)
    with job_of("optimisation") as job:
        if times == 2:
            with pytest.raises(OptionError, match=r"^40x36 px need more memory than cpu has free: choose a smaller"):
                list(job.run())
            return
        records = list(job.run())
        assert [record.done for record in records] == [1, 2, 3, 4]
        assert records[2].note == "cpu had less memory than it told: going on in smaller pieces"
        assert np.abs(job.result().integers(8).astype(int) - expected.astype(int)).max() <= 1
