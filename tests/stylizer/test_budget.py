"""One budget of memory: in turn, never more than there is, and nobody waits for himself."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from impasto.stylizer import budget as module
from impasto.stylizer.budget import MemoryBudget

HELD, LIMIT = 1000, 2000  # of which 1000 are to be given


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "held_memory", lambda: HELD)
    monkeypatch.setattr(module, "available_memory", lambda: LIMIT - HELD)
    return


def start(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(happened: Callable[[], object]) -> None:
    for _ in range(2000):
        if happened():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


@pytest.mark.parametrize("limit", [LIMIT, None])
def test_the_sum_never_exceeds_what_there_is(limit: int | None) -> None:
    budget, lock, taken, most, done = MemoryBudget(), threading.Lock(), [0], [0], []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(20):
            with budget.take(draw.choice([50, 200, 500, 900, 5000]), limit) as grant:
                with lock:
                    taken[0] += grant.need
                    most[0] = max(most[0], taken[0])
                time.sleep(draw.random() / 1000)
                with lock:
                    taken[0] -= grant.need
        done.append(seed)

    threads = [start(lambda seed=seed: work(seed)) for seed in range(16)]
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(16))
    assert 500 < most[0] <= LIMIT - HELD


def test_who_needs_more_than_there_is_makes_do_alone() -> None:
    budget = MemoryBudget()
    with budget.take(5000, LIMIT) as grant:
        assert (grant.need, grant.room) == (1000, 1000)
        other = []
        thread = start(lambda: other.append(budget.take(10, LIMIT)))
        time.sleep(0.05)
        assert other == []
    thread.join(10)
    assert other[0].room == 1000


def test_the_order_is_kept_so_that_nobody_large_waits_for_ever() -> None:
    budget, order = MemoryBudget(), []
    first = budget.take(600, LIMIT)

    def ask(name: str, need: int) -> None:
        with budget.take(need, LIMIT):
            order.append(name)
            time.sleep(0.02)

    large = start(lambda: ask("large", 900))
    until(lambda: len(budget._waiting) == 1)
    small = [start(lambda: ask("small", 100)) for _ in range(4)]
    until(lambda: len(budget._waiting) == 5)
    assert order == []  # a small one would fit, but came later
    first.close()
    for thread in (large, *small):
        thread.join(10)
    assert order[0] == "large"
    assert len(order) == 5


def test_a_thread_does_not_wait_for_its_own_jobs() -> None:
    budget = MemoryBudget()
    outer = budget.take(900, LIMIT)
    inner = budget.take(900, LIMIT)  # would never come back
    assert (inner.need, inner.room) == (100, 100)
    outer.close()
    inner.close()
    inner.close()
    with budget.take(1000, LIMIT) as grant:
        assert grant.room == 1000


def test_threads_that_all_hold_something_and_want_more_go_on() -> None:
    budget, barrier, done = MemoryBudget(), threading.Barrier(4), []

    def work() -> None:
        with budget.take(250, LIMIT):
            barrier.wait(10)
            with budget.take(500, LIMIT) as grant:
                done.append(grant.need)

    threads = [start(work) for _ in range(4)]
    for thread in threads:
        thread.join(10)
    assert len(done) == 4


def test_what_jobs_leave_behind_counts_as_held(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget()
    with budget.take(100, LIMIT):
        monkeypatch.setattr(module, "held_memory", lambda: HELD + 400)  # 100 of its own, and 300 of those before
        with budget.take(100, LIMIT) as grant:
            assert grant.room == LIMIT - HELD - 300 - 100
