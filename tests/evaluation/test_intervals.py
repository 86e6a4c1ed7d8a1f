"""The bootstrap against what is known of means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from impasto.evaluation import Estimate, bootstrap


def test_one_value_has_no_interval() -> None:
    assert bootstrap([0.3]) == Estimate(0.3)


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap([0.25] * 5) == Estimate(0.25, 0.25, 0.25)


def test_the_interval_of_a_mean_is_two_standard_errors_to_each_side() -> None:
    values = np.random.default_rng(0).normal(3, 1, 400)
    got = bootstrap(list(values))
    error = values.std() / math.sqrt(len(values))
    assert got.mean == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_ratio_is_that_of_the_means_and_not_the_mean_of_ratios() -> None:
    got = bootstrap([1.0, 1.0], over=[1.0, 4.0])
    assert got.mean == 2 / 5
    assert (got.low, got.high) == (0.25, 1.0)


def test_values_and_divisors_are_drawn_together() -> None:
    divisors = [1.0, 10.0, 100.0]
    assert bootstrap([d / 2 for d in divisors], over=divisors) == Estimate(0.5, 0.5, 0.5)


def test_the_seed_decides() -> None:
    values = [0.1, 0.5, 0.2, 0.9]
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(list(range(30)), seed=1) != bootstrap(list(range(30)), seed=2)


def test_where_there_was_nothing_to_lose() -> None:
    assert math.isnan(bootstrap([0.0, 0.0], over=[0.0, 0.0]).mean)
