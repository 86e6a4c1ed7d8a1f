"""Stores: what is written whole or not at all, what is tried again, and what stops."""

from __future__ import annotations

import errno
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from impasto.bulk import stores
from impasto.bulk.stores import Store, TargetError, is_passing, retried
from impasto.bulk.targets import folder_of_process
from impasto.errors import OptionError


class Brittle(LocalFileSystem):
    """A local folder under a protocol of its own, which fails as often as it is told to before it works."""

    protocol = "brittle"
    failures = 0

    def pipe_file(self, path, value, **more):
        if Brittle.failures > 0:
            Brittle.failures -= 1
            Path(self._strip_protocol(path)).write_bytes(value[:2])
            raise OSError(errno.EIO, "for a moment")
        super().pipe_file(path, value, **more)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "FIRST_WAIT", 0.001)
    fsspec.register_implementation("brittle", Brittle, clobber=True)


@pytest.mark.parametrize("url", ["{}", "brittle://{}"])
def test_what_is_put_is_there_whole(tmp_path: Path, url: str) -> None:
    store = Store(url.format(tmp_path / "x"))
    store.put("more/a.txt", b"hello")
    (tmp_path / "b").write_bytes(b"file")
    store.put_file(tmp_path / "b", "more/b.txt")
    assert store.read("more/a.txt") == b"hello"
    assert store.read_part("more/b.txt", 1, 2) == b"il"
    assert {entry.name for entry in store.files()} == {"more/a.txt", "more/b.txt"}
    assert sorted(path.name for path in (tmp_path / "x" / "more").iterdir()) == ["a.txt", "b.txt"]
    assert not (tmp_path / "b").exists()
    store.delete("more/a.txt")
    store.delete("more/a.txt")
    assert not store.exists("more/a.txt")
    store.clear("more")
    assert not store.exists("more/b.txt")


@pytest.mark.parametrize("name", ["a::b", "file::c", "100%", "#1?", "a b", "{x}", "memory:d", "~", "\udcff"])
def test_a_local_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    store.put(f"{name}/a.txt", b"hello")
    assert (tmp_path / name / name / "a.txt").read_bytes() == b"hello"
    assert [entry.name for entry in store.files()] == [f"{name}/a.txt"]
    store.fetch(f"{name}/a.txt", tmp_path / "copy")
    assert store.read(f"{name}/a.txt") == (tmp_path / "copy").read_bytes() == b"hello"
    store.delete(f"{name}/a.txt")
    assert not store.exists(f"{name}/a.txt")


def test_what_fails_for_a_moment_is_tried_again_and_leaves_nothing_behind(tmp_path: Path) -> None:
    Brittle.failures = 3
    store = Store(f"brittle://{tmp_path}/x")
    store.put("a.txt", b"hello")
    assert store.read("a.txt") == b"hello"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.txt"]


def test_what_fails_for_ever_stops(tmp_path: Path) -> None:
    Brittle.failures = 1000
    with pytest.raises(TargetError, match=r"cannot be reached .*run again when it can"):
        Store(f"brittle://{tmp_path}").put("a.txt", b"hello")
    Brittle.failures = 0


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "x"), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError("503 Slow Down"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (PermissionError("x"), False),
        (FileNotFoundError("x"), False),
        (ValueError("x"), False),
        (MemoryError(), False),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes
    tries = []

    def call() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        retried(call)
    assert len(tries) == (7 if passes else 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no room on the disk"),
        (OSError(errno.EACCES, "Permission denied"), "cannot be written"),
        (PermissionError("Access Denied"), "allows no writing"),
        (FileNotFoundError("no such bucket"), "no such bucket"),
    ],
)
def test_what_cannot_be_written_is_told_at_once(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args, **_more) -> None:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", fail)
    with pytest.raises(TargetError, match=said):
        Store("memory://x").put("a.txt", b"hello")


def test_stores_within_each_other(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    a, inside, beside, link = (Store(tmp_path / name) for name in ("a", "a/b", "ab", "link"))
    assert a.overlaps(inside)
    assert inside.overlaps(a)
    assert a.overlaps(link)
    assert not a.overlaps(beside)
    assert not a.overlaps(Store("memory://a"))


def test_an_unknown_kind_of_store() -> None:
    with pytest.raises(OptionError, match="cannot be opened"):
        Store("nosuchstore://me:word@host/x")
    with pytest.raises(OptionError) as told:
        Store("nosuchstore://me:word@host/x")
    assert "word" not in str(told.value)


def test_a_store_can_be_sent_elsewhere(tmp_path: Path) -> None:
    import pickle

    assert pickle.loads(pickle.dumps(Store(tmp_path))).url == str(tmp_path)


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = place / f"impasto-bulk-{platform.node()}-{ended.pid}-abc"
    elsewhere = place / f"impasto-bulk-{platform.node()}x-{ended.pid}-abc"
    for folder in (left, elsewhere):
        folder.mkdir()
        (folder / "source.jpg").write_bytes(b"a")
    first = Path(folder_of_process())
    second = Path(folder_of_process())
    assert sorted(place.iterdir()) == sorted([elsewhere, first, second])
