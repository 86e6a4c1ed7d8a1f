"""Whatever the program around us has set in torch: the same numbers, and its settings as they were, at every moment."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack

import pytest
import torch

from impasto.core.host import (
    compute_with,
    computing_threads,
    host_settings,
    in_our_settings,
    our_settings,
    step_by_step,
    trainable,
)

from .host_samples import HOSTS, OURS, state


@pytest.mark.parametrize("host", HOSTS)
def test_within_are_our_settings_and_afterwards_the_hosts(host: str) -> None:
    with HOSTS[host]():
        before = state()
        with our_settings():
            within = state()
            made = torch.zeros(2)
            with our_settings():
                assert state() == within
            assert state() == within
        assert state() == before
    assert (made.dtype, made.device, made.is_inference()) == (torch.float32, torch.device("cpu"), False)
    same = {"none": "ieee"}  # of precisions: nothing said is exact as well
    # Checks while nothing is checked; and the seed, which is whatever tests before this have left.
    idle = {"anomaly checks", "seed"}
    assert {k: same.get(v, v) for k, v in within.items() if k not in idle} == {
        k: same.get(v, v) for k, v in OURS.items() if k not in idle
    }


@pytest.mark.parametrize("host", HOSTS)
def test_between_two_steps_of_a_generator_are_the_hosts_settings(host: str) -> None:
    seen = []

    @in_our_settings
    def work() -> Generator[int, None, None]:
        try:
            for number in range(9):
                seen.append(state())
                yield number
        finally:
            seen.append(state())

    with HOSTS[host]():
        before = state()
        steps = work()
        assert state() == before
        for _ in range(3):
            next(steps)
            assert state() == before
        steps.close()
        assert state() == before
        with our_settings():
            within = state()
    assert seen == [within] * 4


def test_a_generator_gets_what_is_sent_and_thrown_and_gives_what_it_returns() -> None:
    def work() -> Generator[str, str, str]:
        told = yield "first"
        try:
            yield told
        except KeyError:
            yield "caught"
        return "end"

    steps = step_by_step(work())
    assert [next(steps), steps.send("hello"), steps.throw(KeyError())] == ["first", "hello", "caught"]
    with pytest.raises(StopIteration, match="end"):
        next(steps)


def test_an_error_leaves_the_hosts_settings() -> None:
    with HOSTS["float64"](), torch.inference_mode():
        before = state()
        with pytest.raises(ZeroDivisionError), our_settings():
            raise ZeroDivisionError
        assert state() == before


def test_a_callback_has_the_hosts_settings() -> None:
    with HOSTS["float64"](), HOSTS["default device"](), torch.autocast("cpu"), torch.inference_mode():
        before = state()
        with our_settings():
            within = state()
            with host_settings():
                assert state() == before
                with our_settings():
                    assert state() == within
            assert state() == within
        assert state() == before


def test_deterministic_as_long_as_one_wants_it() -> None:
    with HOSTS["deterministic if it can"]():
        with our_settings():
            assert torch.get_deterministic_debug_mode() == 0
            with our_settings(deterministic=True):
                assert torch.get_deterministic_debug_mode() == 2
            assert torch.get_deterministic_debug_mode() == 0
        assert torch.get_deterministic_debug_mode() == 1


def test_threads_beside_each_other() -> None:
    """The first that leaves does not take the settings of the process from the other."""
    inside, left, seen = threading.Event(), threading.Event(), []

    def long() -> None:
        with our_settings():
            inside.set()
            left.wait(60)
            seen.append((torch.get_default_dtype(), torch.is_inference_mode_enabled()))

    with HOSTS["float64"](), torch.inference_mode():
        other = threading.Thread(target=long)
        with ExitStack() as stack:
            stack.enter_context(our_settings())
            other.start()
            assert inside.wait(60)
        assert torch.is_inference_mode_enabled()
        left.set()
        other.join()
        assert torch.get_default_dtype() == torch.float64
    assert seen == [(torch.float32, False)]


def test_what_is_made_in_inference_mode_is_copied_for_gradients() -> None:
    with torch.inference_mode():
        x = torch.ones(2)
        with our_settings():
            copy = trainable(x)
    assert copy.requires_grad_().sum().requires_grad
    plain = torch.ones(2)
    assert trainable(plain) is plain


def test_a_thread_computes_with_a_number_of_its_own() -> None:
    """And no other does: neither the one that began before nor one that begins afterwards."""
    before, seen = torch.get_num_threads(), list[int]()
    torch.set_num_threads(3)

    def one() -> None:
        compute_with(2)
        seen.append(computing_threads())

    try:
        for work in (one, lambda: seen.append(computing_threads())):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert seen == [2, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
