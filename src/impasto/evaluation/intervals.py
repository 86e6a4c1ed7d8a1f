"""How sure a mean over pairs is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CONFIDENCE", "RESAMPLES", "Estimate", "bootstrap"]

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; one value alone has none."""

    mean: float
    low: float | None = None
    high: float | None = None


def bootstrap(values: Sequence[float], over: Sequence[float] | None = None, *, seed: int = 0) -> Estimate:
    """The mean of `values`, or their mean divided by the mean of `over`, with a 95 % interval.

    Percentile bootstrap (Efron & Tibshirani 1993, chapter 13): RESAMPLES times as many pairs as there are, drawn
    with replacement, `values` and `over` of a pair together; the interval leaves out 2.5 % of the resamples' means
    on each side. The same seed draws the same pairs for every method, so that methods are compared on equal draws.
    Pairs that share a photo or a style resemble each other, and are drawn as if they did not: the interval says how
    far other pairs like these would move the mean, not how far a new style would.
    """
    top = np.asarray(values, dtype=np.float64)
    bottom = np.ones_like(top) if over is None else np.asarray(over, dtype=np.float64)
    tail = 100 * (1 - CONFIDENCE) / 2
    # A style that the copies have already leaves no share of it, a black photo no relative distance.
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = float(top.sum() / bottom.sum())
        if len(top) < 2:
            return Estimate(mean)
        draws = np.random.default_rng(seed).integers(len(top), size=(RESAMPLES, len(top)))
        means = top[draws].sum(axis=1) / bottom[draws].sum(axis=1)
        low, high = np.percentile(means, [tail, 100 - tail])
    return Estimate(mean, float(low), float(high))
