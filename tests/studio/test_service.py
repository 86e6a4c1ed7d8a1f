"""The service without HTTP: pictures, progress, limits, and processes that die."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.errors import OptionError
from impasto.imaging import read
from impasto.studio import keeper as keeper_module
from impasto.studio.jobs import StudioJob
from impasto.studio.keeper import WorkerProcess
from impasto.studio.limits import Limits
from impasto.studio.service import FOLDERS, LOCK, PAGE, BusyError, Service
from impasto.stylizer.engine import Engine
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import StylizeRequest

from .studio_samples import data_of, photo, until

LONG = {
    "style": [photo((40, 48), seed=1)],
    "preset": "balanced",
    "size": 96,
    "upscale": True,
    "steps": 900,
}  # minutes of work


def file_of(folder: Path, image: Image.Image, name: str = "picture") -> Path:
    path = folder / name
    path.write_bytes(data_of(image))
    return path


def finished(job: StudioJob, seconds: float = 60) -> StudioJob:
    assert job.wait(seconds), job
    return job


def begun(service: Service, **changes) -> StudioJob:
    """A long job that is being painted."""
    job = service.submit(photo(), StylizeRequest.of(**LONG | changes))
    until(lambda: (job.progress or {}).get("losses") or job.has_ended)
    assert job.state == "running", job.failure
    return job


def preview(job: StudioJob) -> np.ndarray:
    """The picture so far."""
    before = job.ask_preview()
    until(lambda: job.previews > before)
    return read(job.preview_path).rgb


@pytest.mark.parametrize("style", ["great-wave", "picture"])
def test_it_paints_what_the_engine_paints(service: Service, tmp_path: Path, style: str) -> None:
    given = file_of(tmp_path, photo(), "photo.png")
    styles = [style if style == "great-wave" else file_of(tmp_path, photo(seed=2))]
    request = StylizeRequest.of(style=styles, strength=0.8)
    job = finished(service.submit(given, request))
    assert (job.state, job.failure) == ("done", None)
    engine = Engine()
    engine.pictures = 1_000_000
    with engine.job(given, request) as plain:
        for _ in plain.run():
            pass
        expected = plain.result().integers(8)
    assert np.array_equal(read(job.result_path).integers(8), expected)
    assert "px, by" in job.summary
    assert read_recipe(job.result_path).request["strength"] == 0.8
    folder = job.folder
    assert folder.exists()
    service.forget(job)
    assert not folder.exists()
    assert service.job(job.id) is None
    assert given.exists()


def test_pictures_may_be_in_memory(service: Service) -> None:
    mask = Image.new("L", (80, 64))
    mask.paste(255, (0, 0, 40, 64))
    whole = np.asarray(photo())
    request = StylizeRequest.of(style="the-scream", mask=[mask])
    job = finished(service.submit(whole, request, format="tiff", recipe=False))
    painted = read(job.result_path).integers(8)
    assert np.array_equal(painted[:, 44:], whole[:, 44:])
    assert not np.array_equal(painted[:, :36], whole[:, :36])


def test_an_optimisation_tells_progress_and_shows_the_picture_so_far(service: Service) -> None:
    job = begun(service)
    seen: list[float] = []
    end = job.watch(lambda: seen.append(job.progress["done"] if job.progress else 0))
    before = preview(job)
    until(lambda: len(seen) > 5)
    end()
    assert seen == sorted(seen)
    assert job.progress["losses"]["total"] > 0
    assert (job.progress["total"], job.progress["phase"]) == (900, "painting")
    after = preview(job)
    assert after.shape == before.shape == (77, 96, 3)
    assert not np.array_equal(before, after)
    service.cancel(job)
    assert finished(job, 30).state == "cancelled"
    assert not job.result_path.exists()


def test_what_waits_is_cancelled_at_once(service: Service) -> None:
    first = begun(service)
    second = service.submit(photo(), StylizeRequest.of(style="great-wave"))
    assert (second.state, service.waiting()) == ("queued", 1)
    assert second.ask_preview() is None
    assert service.before(second) == 0
    service.cancel(second)
    assert (second.state, service.waiting()) == ("cancelled", 0)
    service.cancel(first)
    finished(first, 30)
    service.cancel(first)  # does no harm


def test_a_job_that_is_deaf_is_ended_with_its_process(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "GRACE", 0.2)
    job = begun(service)
    worker = service.keepers[0].pid
    os.kill(worker, signal.SIGSTOP)
    service.cancel(job)
    assert finished(job, 30).state == "cancelled"
    until(lambda: service.ready)
    assert service.keepers[0].pid != worker


def test_a_process_that_dies_fails_its_job_and_is_replaced(service: Service) -> None:
    job, worker = begun(service), service.keepers[0].pid
    os.kill(worker, signal.SIGKILL)
    finished(job, 30)
    assert (job.state, job.failure.kind) == ("failed", "worker")
    assert "was killed (SIGKILL, perhaps for want of memory)" in job.failure.message
    after = finished(service.submit(photo(), StylizeRequest.of(style="great-wave")), 120)
    assert after.state == "done"
    os.kill(service.keepers[0].pid, signal.SIGKILL)  # and with nothing to do
    assert finished(service.submit(photo(), StylizeRequest.of(style="great-wave")), 120).state == "done"
    assert service.keepers[0].pid not in (None, worker)


def test_a_process_that_cannot_start_fails_jobs_instead_of_keeping_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_CODE", "raise SystemExit(3)")
    with Service(workers=1) as service:
        job = finished(service.submit(photo(), StylizeRequest.of(style="great-wave")))
        assert (job.failure.kind, job.failure.message) == ("worker", "no process to paint can be started here")
        assert not service.ready


def test_time_and_memory_of_a_job_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.limits = replace(service.limits, seconds=0.5)
    job = finished(service.submit(photo(), StylizeRequest.of(**LONG)), 30)
    assert (job.state, job.failure.kind) == ("failed", "time")
    service.limits = replace(service.limits, seconds=60)
    monkeypatch.setattr(WorkerProcess, "memory", lambda self: 10**15)
    job = finished(service.submit(photo(), StylizeRequest.of(**LONG)), 30)
    assert (job.state, job.failure.kind) == ("failed", "memory")
    assert "takes more memory than" in job.failure.message


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"style": "great-wave", "size": 9000, "upscale": True}, "megapixels, and at most 50 are painted here"),
        ({**LONG, "settings": {"no_such": 1}}, "none of the finer settings"),
        ({**LONG, "settings": {"backbone": "/etc/hostname"}}, "none of the finer settings"),
        ({**LONG, "settings": {"total_steps": 10**9}}, "none of the finer settings"),
        ({"style": [photo((40, 48))], "quality": "best"}, "steps are asked for, and at most 20 are made here"),
    ],
)
def test_what_only_the_worker_can_tell_fails_the_job(service: Service, options: dict, part: str) -> None:
    service.limits = replace(service.limits, steps=20 if "quality" in options else 1000)
    job = finished(service.submit(photo(), StylizeRequest.of(**options)))
    assert job.failure is not None
    assert (job.state, job.failure.kind) == ("failed", "request")
    assert part in job.failure.message


def test_who_asked_for_no_bound_is_not_told_to_raise_it() -> None:
    with Service(Limits(memory="400MB"), workers=1) as service:
        job = finished(service.submit(photo((1500, 2000)), StylizeRequest.of(style="great-wave")))
        assert (job.failure.kind, job.failure.option) == ("memory", "size")
        with pytest.raises(OptionError, match="`memory` 400MB is too little"):
            Service(Limits(memory="400MB"), workers=2)


def test_a_text_is_a_name_and_never_a_file(service: Service, tmp_path: Path) -> None:
    there = str(file_of(tmp_path, photo()))
    for options in (
        {"style": there},
        {"style": [there, photo()]},
        {"style": "great-wave", "mask": there},
        {"style": "great-wave", "mask": "-"},
        {"style": [photo()], "init": there},
        {"style": [photo()], "init": "-"},
        {"model": there},
        {"style": [photo()], "backbone": there},
    ):
        with pytest.raises(OptionError, match="not known here"):
            service.submit(photo(), StylizeRequest.of(**options))
    with pytest.raises(OptionError, match="did you mean 'great-wave'"):
        service.submit(photo(), StylizeRequest.of(style="grate-wave"))
    with pytest.raises(OptionError, match="`format` is 'pgn'"):
        service.submit(photo(), StylizeRequest.of(style="great-wave"), format="pgn")


def test_messages_name_the_role_of_a_file_and_no_path(service: Service) -> None:
    folder = service.new_folder()
    (folder / "photo-1").write_bytes(b"no picture")
    job = finished(service.submit(folder / "photo-1", StylizeRequest.of(style="great-wave"), folder=folder))
    assert job.failure.message.startswith("photo-1: not a picture")


def test_limits_of_steps_and_megapixels_are_told_at_once(service: Service) -> None:
    for options in ({"steps": 5001}, {"max_megapixels": 51.0}):
        with pytest.raises(OptionError, match=r"at most .* is allowed here"):
            service.submit(photo(), StylizeRequest.of(style=[photo()], **options))


def test_a_client_and_the_queue_have_so_many_places(service: Service) -> None:
    service.limits = replace(service.limits, jobs_per_client=2, queue=2)
    quick = StylizeRequest.of(style="great-wave")
    jobs = [begun(service), service.submit(photo(), quick)]
    with pytest.raises(BusyError, match="2 jobs of yours") as refused:
        service.submit(photo(), quick)
    assert refused.value.why == "client"
    jobs.append(service.submit(photo(), quick, client="another"))
    with pytest.raises(BusyError, match="2 jobs are waiting") as refused:
        service.check_room("a third")
    assert refused.value.why == "queue"
    assert refused.value.retry_after >= 1
    for job in jobs:
        service.cancel(job)
    assert finished(jobs[0], 30).state == "cancelled"
    until(lambda: not service.running())
    service.check_room("a third")


def test_each_device_has_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_CODE", "import time; time.sleep(1000)")  # processes that are never ready
    with Service(devices=("cpu", "cuda:0"), workers=1) as service:
        assert not service.wait_ready(0.1)
        assert [keeper.queue for keeper in service.keepers] == ["cpu", "cuda:0"]
        jobs = [service.submit(photo(), StylizeRequest.of(style="great-wave")) for _ in range(3)]
        jobs.append(service.submit(photo(), StylizeRequest.of(style="great-wave", device="cuda:0")))
        assert [job.queue for job in jobs] == ["cpu", "cuda:0", "cpu", "cuda:0"]
        assert [service.waiting(device) for device in ("cpu", "cuda:0", None)] == [2, 2, 4]
        with pytest.raises(OptionError, match="none of cpu, cuda:0"):
            service.submit(photo(), StylizeRequest.of(style="great-wave", device="cuda:1"))


def test_what_somebody_at_the_page_waits_for_has_places_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_CODE", "import time; time.sleep(1000)")  # processes that are never ready
    quick = StylizeRequest.of(style="great-wave")
    with Service(Limits(queue=2, jobs_per_client=1), devices=("cpu", "cuda:0"), workers=1, for_page=True) as service:
        assert [keeper.queue for keeper in service.keepers] == ["cpu", "cuda:0", PAGE]
        job = service.submit(photo(), quick, client="a")
        for submit in (
            lambda client: service.submit(photo(), quick, client=client, at_page=True),
            lambda client: service.submit_act("recipe_of", {"path": "x"}, client=client),
        ):
            small = submit("a")  # though they have one in the queue of a device
            assert (job.queue, small.queue, service.before(small)) == ("cpu", PAGE, service.waiting(PAGE) - 1)
            with pytest.raises(BusyError, match="1 jobs of yours"):
                submit("a")
            service.cancel(small)
        for client in ("b", "c"):
            service.submit(photo(), quick, client=client, at_page=True)
        with pytest.raises(BusyError, match="2 jobs are waiting"):
            service.submit_act("recipe_of", {"path": "x"}, client="d")
        assert (service.waiting(), service.waiting(PAGE), service.waiting("cpu")) == (3, 2, 1)
        service.check_room("d")


def test_what_has_ended_last_is_kept_longest(service: Service) -> None:
    service.limits = replace(service.limits, kept=1)
    slow = begun(service)
    others = [service.submit(photo(), StylizeRequest.of(style="great-wave")) for _ in range(2)]
    for job in others:
        service.cancel(job)
    until(lambda: [job for job in service.jobs if job.has_ended] == [others[1]])
    service.cancel(slow)
    finished(slow, 30)
    until(lambda: service.jobs == (slow,))


def test_old_results_go(service: Service) -> None:
    service.limits = replace(service.limits, kept_seconds=0.01)
    job = finished(service.submit(photo(), StylizeRequest.of(style="great-wave")))
    until(lambda: service.job(job.id) is None)
    until(lambda: not job.folder.exists())


def test_it_ends_in_bounded_time_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, others = tmp_path / f"{FOLDERS}old", tmp_path / f"{FOLDERS}another's"
    for folder in (old, others):
        folder.mkdir()
        (folder / LOCK).touch()
    long_ago = time.time() - 1000
    os.utime(old / LOCK, (long_ago, long_ago))
    service = Service(workers=1)
    assert not old.exists()
    assert service.wait_ready(120)
    first = begun(service, steps=40)
    second, third = begun_later(service), begun_later(service)
    service.drain(60)
    assert (second.state, second.failure.kind) == (third.state, third.failure.kind) == ("failed", "stopping")
    with pytest.raises(BusyError, match="being stopped"):
        service.submit(photo(), StylizeRequest.of(style="great-wave"))
    assert finished(first).state == "done"  # it had the time
    process = service.keepers[0].pid
    service.close()
    service.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert [path.name for path in tmp_path.iterdir()] == [others.name]


def begun_later(service: Service) -> StudioJob:
    return service.submit(photo(), StylizeRequest.of(**LONG))


def test_what_has_not_finished_in_time_is_handed_back() -> None:
    with Service(workers=1) as service:
        assert service.wait_ready(120)
        job = begun(service)
        service.close(0.2)
        assert (job.state, job.failure.kind) == ("failed", "stopping")


@pytest.mark.parametrize(
    "limits",
    [
        {"steps": 0},
        {"seconds": 0.0},
        {"queue": -1},
        {"upload": "much"},
        {"memory": "0"},
        {"megapixels": -1.0},
        {"seconds": math.inf},
    ],
)
def test_limits_that_make_no_sense(limits: dict) -> None:
    with pytest.raises(OptionError):
        Limits(**limits)
