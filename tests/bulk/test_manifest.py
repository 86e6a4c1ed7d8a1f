"""The manifest: what counts as done, whatever moment it was cut off at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from impasto.bulk import manifest
from impasto.bulk.manifest import DONE, ROWS, Rows, RowWriter, compact, load_ledger, noted_by
from impasto.bulk.stores import Store
from impasto.bulk.work import Row, digest

KEY, OTHER = "00112233445566aa", "ffeeddccbbaa9988"


def row(name: str, time: float = 1.0, *, recipe: str = KEY, kind: str | None = None) -> Row:
    error = None if kind is None else f"{name}: no"
    output = None if kind is not None else name
    return Row(name, recipe, time, "w", f"/{name}", 3, "aa" * 32, output, 4, "bb" * 32, 0.5, kind, error)


@pytest.fixture(params=["local", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(tmp_path / "out")
        return
    yield Store("memory://manifest")
    memory = fsspec.filesystem("memory")
    if memory.exists("/manifest"):
        memory.rm("/manifest", recursive=True)


def write(target: Store, name: str, *rows: Row) -> None:
    writer = RowWriter(target, name)
    for one in rows:
        writer.add(one)
    writer.flush()


def known(target: Store, *names: str, recipe: str = KEY) -> list[str]:
    state = load_ledger(Rows(target)).look_up(b"".join(map(digest, names)), [recipe] * len(names))
    return [
        "done" if done else "other" if other else f"failed {failures}" if failures else "new"
        for done, failures, other in zip(*state, strict=True)
    ]


def test_nothing_is_known_of_an_empty_target(target: Store) -> None:
    assert known(target, "a", "b") == ["new", "new"]
    assert compact(target) == 0


def test_rows_of_several_workers_count(target: Store) -> None:
    write(target, "run-0", row("a"), row("b", kind="ImageError"))
    write(target, "run-1", row("c"))
    assert known(target, "a", "b", "c", "d") == ["done", "failed 1", "done", "new"]
    assert known(target, "a", recipe=OTHER) == ["other"]


def test_putting_together_changes_nothing_that_is_known(target: Store) -> None:
    write(target, "run-0", row("a"), row("b", kind="ImageError"), row("ä/1\n.jpg"), row("\udcff.jpg"), row("x\0dcff"))
    before = list(Rows(target))
    assert compact(target) == 0
    assert sorted(Rows(target), key=lambda one: one.id) == sorted(before, key=lambda one: one.id)
    assert known(target, "a", "b", "ä/1\n.jpg", "\udcff.jpg") == ["done", "failed 1", "done", "done"]
    assert list(target.files(ROWS, hidden=True)) == []
    write(target, "run-1", row("b", 2.0))
    assert known(target, "b") == ["done"]
    compact(target)
    assert known(target, "a", "b") == ["done", "done"]


def test_the_latest_row_counts(target: Store) -> None:
    write(target, "run-0", row("a", 1.0, kind="ImageError"), row("a", 2.0, kind="ImageError"))
    assert known(target, "a") == ["failed 2"]
    write(target, "run-1", row("a", 3.0))
    assert known(target, "a") == ["done"]
    write(target, "run-2", row("a", 4.0, kind="Missing"))
    assert known(target, "a") == ["failed 1"]


def test_failures_by_another_recipe_do_not_count(target: Store) -> None:
    write(target, "run-0", row("a", 1.0, recipe=OTHER, kind="ImageError"), row("a", 2.0, kind="ImageError"))
    assert known(target, "a") == ["failed 1"]


@pytest.mark.parametrize("end", range(1, 40, 7))
def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path: Path, end: int) -> None:
    target = Store(tmp_path / "out")
    write(target, "run-0", row("a"), row("b"))
    (path,) = (tmp_path / "out" / ROWS).iterdir()
    path.write_bytes(path.read_bytes()[:-end])
    assert known(target, "a", "b") == ["done", "done" if end == 1 else "new"]
    compact(target)
    assert known(target, "a", "b") == ["done", "done" if end == 1 else "new"]


def test_whoever_puts_together_may_be_stopped_before_removing(target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write(target, "run-0", row("a"), row("b", kind="ImageError"))
    write(target, "run-1", row("c"))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compact(target)
    assert len(list(target.files(ROWS, hidden=True))) == 2
    assert sorted(one.id for one in Rows(target)) == ["a", "b", "c"]
    write(target, "run-2", row("d"))
    assert compact(target) == 0
    assert sorted(one.id for one in Rows(target)) == ["a", "b", "c", "d"]
    assert list(target.files(ROWS, hidden=True)) == []


def test_what_is_noted_twice_is_counted_once(target: Store) -> None:
    write(target, "run-0", row("a"), row("b"))
    write(target, "run-1", row("a", 2.0))
    assert compact(target) == 1
    assert sorted(one.id for one in Rows(target)) == ["a", "b"]


def test_painted_again_after_it_was_found_missing_is_not_twice(target: Store) -> None:
    write(target, "run-0", row("a", 1.0))
    write(target, "run-1", row("a", 2.0, kind="Missing"))
    write(target, "run-2", row("a", 3.0))
    assert compact(target) == 0
    assert known(target, "a") == ["done"]


def test_many_files_become_one(target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MOST_FILES", 3)
    for number in range(5):
        write(target, f"run-{number}", row(f"{number}.jpg"))
        compact(target)
    assert len(list(target.files(DONE, hidden=True))) < 4
    assert sorted(one.id for one in Rows(target)) == [f"{number}.jpg" for number in range(5)]


def test_what_a_worker_noted_can_be_asked_for(target: Store) -> None:
    write(target, "run-0001", row("a"))
    write(target, "run-0002", row("b"))
    assert noted_by(target, "run-0001").keys() == {"a"}
    assert noted_by(target, "run").keys() == {"a", "b"}
    assert noted_by(target, "run-000").keys() == set()


def test_a_shard_grows_line_by_line_where_files_grow(tmp_path: Path) -> None:
    writer = RowWriter(Store(tmp_path), "run-0")
    for count, name in enumerate("abc", 1):
        writer.add(row(name))
        (path,) = (tmp_path / ROWS).iterdir()
        lines = path.read_text().splitlines()
        assert len(lines) == count
        assert json.loads(lines[-1])["id"] == name
        assert writer.waiting == 0


def test_elsewhere_rows_wait_until_there_are_some() -> None:
    writer = RowWriter(Store("memory://waiting"), "run-0")
    try:
        writer.add(row("a"))
        assert writer.waiting == 1
        assert noted_by(Store("memory://waiting"), "run-0") == {}
        writer.flush()
        assert writer.waiting == 0
        assert noted_by(Store("memory://waiting"), "run-0").keys() == {"a"}
    finally:
        fsspec.filesystem("memory").rm("/waiting", recursive=True)
