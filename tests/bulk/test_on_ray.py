"""The same on Ray: on a cluster of this machine, by Ray's own test utility."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from impasto.bulk import on_ray
from impasto.bulk.checking import verify
from impasto.bulk.manifest import Rows
from impasto.bulk.on_ray import Painter, ship
from impasto.bulk.stores import Store
from impasto.bulk.work import Item, Row, run_name

pytest.importorskip("ray")


def block(photos: Path, target: Path) -> dict[str, list[object]]:
    """Of a plan that lies in the target, as Ray hands it to a painter."""
    lines = [Item(name, str(photos / name)).to_json() + "\n" for name in ("a.jpg", "b.png", "d.jpg")]
    Store(target).put(".impasto/plans/x.jsonl", f"before\n{''.join(lines)}after\n".encode())
    return {"name": [".impasto/plans/x.jsonl"], "place": [7], "size": [sum(map(len, lines))]}


def rows_of(painter: Painter, batch: dict[str, list[object]]) -> list[Row]:
    (said,) = painter(batch)
    assert set(said["kind"]) <= {"row", "again", "over"}, said
    return [Row.from_json(text) for kind, text in zip(said["kind"], said["text"], strict=True) if kind == "row"]


def hold(target: Path, run: str) -> None:
    """As a run does that holds the target."""
    Store(target).put(f".impasto/locks/{run}.json", b"{}")


class Killed(BaseException):
    """Stands for the end of an actor."""


def test_a_block_that_was_begun_goes_on_where_the_one_before_was_killed(
    photos: Path, tmp_path: Path, task_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_for(tmp_path / "out")
    hold(tmp_path / "out", task.run)
    first = Painter(task)

    def killed(_self, item: Item, row: Row) -> Row:
        if item.id == "d.jpg":
            raise Killed
        return painted(_self, item, row)

    from impasto.bulk.worker import Worker

    painted = Worker._painted
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "_painted", killed)
        with pytest.raises(Killed):
            rows_of(first, block(photos, tmp_path / "out"))
    second = Painter(task)
    assert [row.id for row in rows_of(second, block(photos, tmp_path / "out"))] == ["a.jpg", "b.png", "d.jpg"]
    third = Painter(task)  # what the second one said was lost on its way
    assert [row.id for row in rows_of(third, block(photos, tmp_path / "out"))] == ["a.jpg", "b.png", "d.jpg"]
    assert Counter(row.id for row in Rows(Store(tmp_path / "out"))) == {"a.jpg": 1, "b.png": 1, "d.jpg": 1}


def test_a_picture_that_kills_again_and_again_is_given_up(
    photos: Path, tmp_path: Path, task_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    from impasto.bulk.worker import Worker

    task = task_for(tmp_path / "out")
    hold(tmp_path / "out", task.run)
    painted = Worker._painted

    def deadly(self, item: Item, row: Row) -> Row:
        if item.id == "b.png":
            raise Killed
        return painted(self, item, row)

    monkeypatch.setattr(Worker, "_painted", deadly)
    for _ in range(3):
        with pytest.raises(Killed):
            rows_of(Painter(task), block(photos, tmp_path / "out"))
    found = {row.id: row.kind for row in rows_of(Painter(task), block(photos, tmp_path / "out"))}
    assert found == {"a.jpg": None, "b.png": "WorkerError", "d.jpg": None}


def test_an_actor_whose_run_is_gone_paints_no_more(photos: Path, tmp_path: Path, task_for) -> None:
    task = task_for(tmp_path / "out")
    assert rows_of(Painter(task), block(photos, tmp_path / "out")) == []


def test_files_of_a_request_travel_with_it(photos: Path, tmp_path: Path, task_for) -> None:
    target = Store(tmp_path / "out")
    task = ship(task_for(tmp_path / "out", str(photos / "c.webp")), target)
    (place,) = task.files.values()
    assert target.read(place) == (photos / "c.webp").read_bytes()
    (photos / "c.webp").unlink()
    hold(tmp_path / "out", task.run)
    assert [row.kind for row in rows_of(Painter(task), block(photos, tmp_path / "out"))] == [None] * 3


def test_whoever_waits_for_a_cluster_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "LISTENS", 0.01)
    more = threading.Event()

    def batches() -> Iterator[int]:
        yield 1
        more.wait(30)
        yield 2
        raise ValueError("gone")

    heard = on_ray._in_background(batches())
    assert next(heard) == 1
    assert [next(heard), next(heard)] == [None, None]
    more.set()
    while (one := next(heard)) is None:
        pass
    assert one == 2
    with pytest.raises(ValueError, match="gone"):
        list(heard)


def start(photos: Path, target: Path) -> subprocess.Popen[str]:
    given = (str(photos), str(target), "--style", "great-wave", "--engine", "light", "--on", "ray", "--json-progress")
    return subprocess.Popen(
        (sys.executable, "-c", "from impasto.cli.app import main; main()", "bulk", *given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "TMPDIR": "/tmp"},  # a socket's path may have 107 letters
    )


def noted(target: Path) -> int:
    return sum(path.read_text().count("\n") for path in (target / ".impasto" / "rows").glob("*.jsonl"))


def test_sigterm_lets_a_cluster_finish_what_is_in_hand(
    photos: Path, tmp_path: Path, slowly, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(monkeypatch, 0.5)
    for number in range(40):
        (photos / f"{number}.jpg").write_bytes((photos / "a.jpg").read_bytes())
    target = tmp_path / "out"
    command = start(photos, target)
    end = time.monotonic() + 120
    while not noted(target) and command.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    command.send_signal(signal.SIGTERM)
    said, errors = command.communicate(timeout=60)
    assert command.returncode == 130, errors[-3000:]
    last = json.loads(said.splitlines()[-1])
    assert last["stopped"]
    assert 1 <= last["done"] < last["total"] == 46
    assert len([path for path in target.rglob("*") if path.suffix in (".jpg", ".png", ".webp")]) == last["done"]
    assert len(list(Rows(Store(target)))) == last["done"]
    for folder in ("locks", "plans"):
        assert [path for path in (target / ".impasto" / folder).rglob("*") if path.is_file()] == []


def test_a_cluster_paints_though_an_actor_is_killed(photos: Path, tmp_path: Path) -> None:
    for number in range(40):
        (photos / f"{number}.jpg").write_bytes((photos / "a.jpg").read_bytes())
    target = tmp_path / "out"
    command = start(photos, target)
    actors: list[int] = []
    end = time.monotonic() + 120
    while not actors and command.poll() is None and time.monotonic() < end:
        if noted(target) >= 2:
            actors = [one for one in below(command.pid) if "MapWorker" in title(one)]
        time.sleep(0.05)
    for actor in actors[:1]:
        os.kill(actor, signal.SIGKILL)
    said, errors = command.communicate(timeout=400)
    assert command.returncode == 0, errors[-3000:]
    last = json.loads(said.splitlines()[-1])
    assert (last["done"], last["failed"], last["total"]) == (46, 0, 46)
    assert actors
    assert Counter(row.id for row in Rows(Store(target))).most_common(1)[0][1] == 1
    *_, found = verify(str(target), run_name())
    assert (found.good, found.faults) == (46, 0)


def title(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def below(parent: int) -> list[int]:
    """All processes below one."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found, open_ends = [], [parent]
    while open_ends:
        one = open_ends.pop()
        mine = [process for process, above in parents.items() if above == one]
        found += mine
        open_ends += mine
    return found
