"""Asking the allocator to keep its blocks: only glibc, only unless told otherwise."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from impasto.core.memory import reuse_large_blocks


class FakeLibrary:
    def __init__(self, answer: int) -> None:
        self.answer, self.asked = answer, []

    def mallopt(self, option: int, value: int) -> int:
        self.asked.append((option, value))
        return self.answer


@pytest.fixture(autouse=True)
def fresh(monkeypatch) -> None:
    """As on a Linux without the variable, nothing asked yet."""
    reuse_large_blocks.cache_clear()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("IMPASTO_MALLOC", raising=False)
    yield
    reuse_large_blocks.cache_clear()


def library(monkeypatch, answer: int) -> FakeLibrary:
    fake = FakeLibrary(answer)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return fake


def test_it_asks_once_for_blocks_of_up_to_a_gibibyte(monkeypatch) -> None:
    fake = library(monkeypatch, 1)
    assert reuse_large_blocks() is True
    assert reuse_large_blocks() is True
    # M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    assert fake.asked == [(-8, 1), (-3, 2**30), (-1, 2**30)]


def test_a_refusal_is_told(monkeypatch) -> None:
    library(monkeypatch, 0)
    assert reuse_large_blocks() is False


def test_the_variable_leaves_the_allocator_alone(monkeypatch) -> None:
    fake = library(monkeypatch, 1)
    monkeypatch.setenv("IMPASTO_MALLOC", "system")
    assert reuse_large_blocks() is False
    assert fake.asked == []


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform) -> None:
    fake = library(monkeypatch, 1)
    monkeypatch.setattr(sys, "platform", platform)
    assert reuse_large_blocks() is False
    assert fake.asked == []


def test_other_c_libraries_are_left_alone(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert reuse_large_blocks() is False
    reuse_large_blocks.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # one without mallopt
    assert reuse_large_blocks() is False


PROBE = """
import ctypes
from impasto.core.memory import reuse_large_blocks

class Info(ctypes.Structure):  # struct mallinfo2 of malloc.h
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]

libc = ctypes.CDLL("libc.so.6")
libc.mallinfo2.restype, libc.malloc.restype, libc.free.argtypes = Info, ctypes.c_void_p, [ctypes.c_void_p]
agreed, before = reuse_large_blocks(), libc.mallinfo2()
block = libc.malloc(ctypes.c_size_t(64 * 2**20))
mapped = libc.mallinfo2().hblks - before.hblks
libc.free(block)
print(int(agreed), mapped, (libc.mallinfo2().arena - before.arena) // 2**20)
"""


def has_mallinfo2() -> bool:
    try:
        return hasattr(ctypes.CDLL("libc.so.6"), "mallinfo2")
    except OSError:
        return False


@pytest.mark.skipif(not has_mallinfo2(), reason="this C library cannot tell what it holds (glibc 2.33 can)")
def test_a_freed_block_of_64_megabytes_really_stays() -> None:
    found = {}
    for name in ("impasto", "system"):
        environment = os.environ | {"IMPASTO_MALLOC": name}
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True
        )
        agreed, mapped, kept = (int(x) for x in done.stdout.split())
        found[name] = bool(agreed), mapped, kept >= 60  # less what was free already
    assert found["system"] == (False, 1, False)
    if not found["impasto"][0]:
        pytest.skip("this glibc does not take thresholds of a gibibyte")
    assert found["impasto"] == (True, 0, True)
