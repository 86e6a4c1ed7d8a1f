"""Tar shards: every painting once, whatever moment it was cut off at."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from impasto.bulk.stores import Store
from impasto.bulk.targets import PACKS, STAGED, TarTarget


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(tmp_path / "out")
        return
    yield Store("memory://shards")
    memory = fsspec.filesystem("memory")
    if memory.exists("/shards"):
        memory.rm("/shards", recursive=True)


def put(target: TarTarget, *names: str) -> None:
    for name in names:
        file = target.scratch() / "painting.jpg"
        file.write_bytes(name.encode() * 10)
        target.put(file, name, json.dumps({"of": name}))


def members(store: Store) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in store.files("shards"):
        with store.open(entry.name) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                assert member.name not in found
                found[member.name] = tar.extractfile(member).read()
    return found


def names_of(target: TarTarget) -> list[str]:
    return sorted(output.name for output in target.outputs())


def test_paintings_become_shards_with_their_recipes(store: Store) -> None:
    target = TarTarget(store, "run-0", most=150)
    put(target, "a.jpg", "x/b.jpg")
    assert not target.is_ready
    assert target.has("a.jpg")
    assert names_of(target) == ["a.jpg", "x/b.jpg"]
    put(target, "c.jpg")
    assert target.is_ready
    target.pack()
    assert not target.is_ready
    put(target, "d.jpg")
    TarTarget(store, "end", most=150).pack_all()
    assert list(store.files(STAGED, hidden=True)) == []
    found = members(store)
    assert set(found) == {f"{name}.{kind}" for name in ("a", "x/b", "c", "d") for kind in ("jpg", "json")}
    assert found["x/b.jpg"] == b"x/b.jpg" * 10
    assert json.loads(found["x/b.json"]) == {"of": "x/b.jpg"}
    assert len(list(store.files("shards"))) == 2
    assert names_of(target) == ["a.jpg", "c.jpg", "d.jpg", "x/b.jpg"]


class Killed(BaseException):
    """Stands for the end of a process at any moment."""


@pytest.mark.parametrize("after", range(12))
def test_whoever_packs_may_be_killed_between_any_two_steps(
    store: Store, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TarTarget(store, "run-0", most=10)
    put(target, "a.jpg", "b.jpg", "c.jpg")
    steps = iter(range(after))

    def counted(method):
        def call(self, *given):
            if next(steps, None) is None:
                raise Killed
            return method(self, *given)

        return call

    with monkeypatch.context() as patch:
        for name in ("put", "put_file", "delete"):
            patch.setattr(Store, name, counted(getattr(Store, name)))
        with suppress(Killed):
            target.pack()
    later = TarTarget(store, "later", most=10**6)
    later.recover()
    assert list(store.files(PACKS, hidden=True)) == []
    assert names_of(later) == ["a.jpg", "b.jpg", "c.jpg"]
    later.pack_all()
    assert set(members(store)) == {f"{name}.{kind}" for name in "abc" for kind in ("jpg", "json")}


def test_a_recipe_whose_painting_never_came_is_removed(store: Store) -> None:
    target = TarTarget(store, "run-0", most=10)
    put(target, "a.jpg")
    store.put(f"{STAGED}/lost.json", b"{}")
    target.recover()
    assert {entry.name for entry in store.files(STAGED, hidden=True)} == {f"{STAGED}/a.jpg", f"{STAGED}/a.json"}


def test_groups_keep_a_picture_and_its_recipe_together(store: Store) -> None:
    target = TarTarget(store, "run-0", most=10**6)
    put(target, *(f"{number}.jpg" for number in range(9)))
    TarTarget(store, "end", most=100).pack_all()
    for entry in store.files("shards"):
        with store.open(entry.name) as file, tarfile.open(fileobj=file) as tar:
            stems = [name.partition(".")[0] for name in tar.getnames()]
        assert stems[::2] == stems[1::2]
    assert len(list(store.files("shards"))) > 1
