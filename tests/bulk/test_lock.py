"""One run at a time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from impasto.bulk import lock
from impasto.bulk.lock import LOCKS, TargetLock
from impasto.bulk.stores import Store, TargetError
from impasto.errors import OutputError


@pytest.fixture(params=["local", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(tmp_path / "out")
        return
    yield Store("memory://locked")
    memory = fsspec.filesystem("memory")
    if memory.exists("/locked"):
        memory.rm("/locked", recursive=True)


def locks(target: Store) -> list[str]:
    return [entry.name for entry in target.files(LOCKS, hidden=True)]


def test_the_second_says_so_and_leaves_the_first_alone(target: Store) -> None:
    with TargetLock(target, "run-1"):
        for name in ("run-0", "run-2"):
            with pytest.raises(OutputError, match=r"the run run-1 on .* paints there now"), TargetLock(target, name):
                pass
        assert locks(target) == [f"{LOCKS}/run-1.json"]
    assert locks(target) == []
    with TargetLock(target, "run-3") as third:
        assert not third.took_over


def put(target: Store, name: str, **facts) -> None:
    here = {"run": name, "state": "running", "host": socket.gethostname(), "boot": lock._boot(), "process": 1}
    target.put(f"{LOCKS}/{name}.json", json.dumps({**here, "started": "0", "beat": time.time(), **facts}).encode())


def test_what_a_killed_run_left_behind_holds_nothing(target: Store) -> None:
    put(target, "killed", process=2**22 + 1)
    put(target, "elsewhere", host="another", beat=time.time() - 3600)
    with TargetLock(target, "run-1") as mine:
        assert mine.took_over
        assert locks(target) == [f"{LOCKS}/run-1.json"]


def test_a_run_elsewhere_holds_as_long_as_it_gives_signs_of_life(target: Store) -> None:
    put(target, "elsewhere", host="another", beat=time.time() - 5)
    with pytest.raises(OutputError, match="the run elsewhere on another"), TargetLock(target, "run-1"):
        pass
    assert locks(target) == [f"{LOCKS}/elsewhere.json"]


def test_of_two_that_ask_the_smaller_name_waits_for_the_other_to_see(target: Store) -> None:
    put(target, "run-2", state="asking", host="another")
    timer = threading.Timer(0.5, target.delete, [f"{LOCKS}/run-2.json"])
    timer.start()
    began = time.monotonic()
    with TargetLock(target, "run-1"):
        assert time.monotonic() - began > 0.4
    put(target, "run-0", state="asking", host="another")
    with pytest.raises(OutputError), TargetLock(target, "run-1"):
        pass


def test_a_lock_that_cannot_be_kept_up_is_lost(target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    monkeypatch.setattr(lock, "STALE", 0.1)
    with TargetLock(target, "run-1") as mine:

        def fail(*_: object) -> None:
            raise TargetError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "put", fail)
            end = time.monotonic() + 10
            while not mine.lost and time.monotonic() < end:
                time.sleep(0.01)
            assert mine.lost


def test_many_at_once_one_gets_it(target: Store) -> None:
    inside, refused = [], []
    barrier = threading.Barrier(6)

    def run(number: int) -> None:
        barrier.wait()
        try:
            with TargetLock(target, f"run-{number}"):
                inside.append(number)
                time.sleep(0.4)
        except OutputError:
            refused.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 1
    assert len(refused) == 5
