"""Each term of a loss against a few lines of numpy that say the formula."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.core.losses import ContentLoss, GramLoss, TotalVariationLoss, WassersteinLoss, reduce_error
from impasto.core.statistics import gram, moments

pytestmark = pytest.mark.usefixtures("one_thread")

shapes = st.tuples(st.just(1), st.integers(1, 8), st.integers(2, 9), st.integers(2, 9))
seeds = st.integers(0, 2**31 - 1)
quickly = settings(max_examples=25, deadline=None)


def activations(*shape: int, seed: int = 0) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2 + 1).relu()


def matrix(features: Tensor) -> np.ndarray:
    """F as (C, M)."""
    return features[0].double().numpy().reshape(features.shape[1], -1)


def agree(got: Tensor, expected: float) -> None:
    assert got.shape == ()
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(expected, rel=1e-5, abs=1e-9)


CONTENT = {
    "sum": lambda f, p: ((f - p) ** 2).sum(),
    "mean": lambda f, p: ((f - p) ** 2).mean(),
    "relative": lambda f, p: ((f - p) ** 2).sum() / (p**2).sum(),
}
GRAM_DIVISORS = {"none": lambda c, m: 1, "positions": lambda c, m: m, "all": lambda c, m: c * m}


@quickly
@given(shapes, seeds, st.sampled_from([0.25, 0.5, 1.0]))
@pytest.mark.parametrize("reduction", CONTENT)
def test_content(reduction, shape, seed, factor) -> None:
    f, p = activations(*shape, seed=seed), activations(*shape, seed=seed + 1) + 0.1
    agree(ContentLoss(p, reduction, factor)(f), factor * CONTENT[reduction](matrix(f), matrix(p)))


@quickly
@given(shapes, st.integers(2, 9), seeds, st.sampled_from([0.25, 1.0]))
@pytest.mark.parametrize("reduction", CONTENT)
@pytest.mark.parametrize("divisor", GRAM_DIVISORS)
def test_gram(divisor, reduction, shape, width, seed, factor) -> None:
    # Far apart, so that the difference of two float32 numbers keeps its digits.
    f, s = activations(*shape, seed=seed), activations(*shape[:3], width, seed=seed + 1) * 3 + 1
    a, b = (matrix(x) @ matrix(x).T / GRAM_DIVISORS[divisor](*matrix(x).shape) for x in (f, s))
    loss = GramLoss(gram(s, divisor), reduction, factor, divisor)
    agree(loss(f), factor * CONTENT[reduction](a, b))


def test_equation_4_of_gatys() -> None:
    """1/(4 C² M²) of the sum over undivided Gram matrices is what presets ask for as ¼ of a mean."""
    f, s = activations(1, 7, 5, 6, seed=1), activations(1, 7, 5, 6, seed=2)
    g, a, (c, m) = matrix(f) @ matrix(f).T, matrix(s) @ matrix(s).T, matrix(f).shape
    expected = ((g - a) ** 2).sum() / (4 * c**2 * m**2)
    agree(GramLoss(gram(s), "mean", 0.25)(f), expected)
    agree(GramLoss(gram(s, "none"), "sum", 1 / (4 * c**2 * m**2), "none")(f), expected)


@pytest.mark.parametrize("size", [(9, 12), (20, 5)])
def test_wasserstein(size) -> None:
    f, s = activations(1, 5, *size, seed=3), activations(1, 5, 14, 10, seed=4) * 2 + 0.5
    eye = 1e-4 * np.eye(5)
    a, b = (np.cov(matrix(x), bias=True) + eye for x in (f, s))
    root = scipy.linalg.sqrtm(b).real
    trace = np.trace(a + b - 2 * scipy.linalg.sqrtm(root @ a @ root).real)
    expected = (((matrix(f).mean(1) - matrix(s).mean(1)) ** 2).sum() + trace) / 5
    agree(WassersteinLoss(*moments(s))(f), expected)


def test_wasserstein_is_zero_at_its_own_target() -> None:
    s = activations(1, 6, 12, 12, seed=5)
    assert abs(float(WassersteinLoss(*moments(s))(s))) < 1e-4
    # A rearranged picture is the same Gaussian.
    assert abs(float(WassersteinLoss(*moments(s))(s.flip(2)))) < 1e-4


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize(("channels", "side"), [(8, 40), (64, 5), (128, 3)])
def test_wasserstein_is_zero_to_rounding_of_fewer_positions_than_channels_too(channels, side, scale) -> None:
    s, other = (scale * activations(1, channels, side, side, seed=seed) for seed in (7, 8))
    loss, far = WassersteinLoss(*moments(s)), float(WassersteinLoss(*moments(s))(other))
    f = s.clone().requires_grad_()
    own = loss(f)
    own.backward()
    assert 0 <= float(own.detach()) < 1e-6 * far
    assert f.grad.isfinite().all()


def test_wasserstein_of_features_that_are_flat_or_fewer_than_channels() -> None:
    for f in (torch.zeros(1, 16, 4, 4), activations(1, 64, 3, 3)):
        loss = WassersteinLoss(*moments(activations(1, f.shape[1], 4, 4, seed=6)))
        f.requires_grad_()
        value = loss(f)
        value.backward()
        assert value > 0
        assert f.grad.isfinite().all()


def numpy_total_variation(x: np.ndarray, kind: str) -> float:
    if kind == "nine-point":
        p = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
        inner = p[..., 1:-1, 1:-1]
        axes = (p[..., 1:-1, 2:] - inner, p[..., 2:, 1:-1] - inner)
        diagonals = (p[..., 1:, 1:] - p[..., :-1, :-1], p[..., 1:, :-1] - p[..., :-1, 1:])
        return sum(2 / 3 * (d**2).mean() for d in axes) + sum((d**2).mean() / 6 for d in diagonals)
    power = np.abs if kind == "l1" else np.square
    return power(np.diff(x, axis=-1)).sum() + power(np.diff(x, axis=-2)).sum()


@pytest.mark.parametrize(("kind", "levels"), [("l1", 255), ("l1", 1), ("l2", 255), ("nine-point", 1)])
def test_total_variation(kind, levels) -> None:
    x = torch.rand(1, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    loss = TotalVariationLoss(kind, levels, mean=kind == "nine-point")
    agree(loss(x), numpy_total_variation(x.double().numpy() * levels, kind))


def test_a_relative_error_of_nothing_is_finite() -> None:
    assert reduce_error(torch.zeros(3), torch.zeros(3), "relative") == 0
    assert reduce_error(torch.ones(3), torch.zeros(3), "relative").isfinite()


def test_a_relative_error_does_not_know_the_scale_of_activations() -> None:
    f, p = activations(1, 4, 6, 6, seed=1), activations(1, 4, 6, 6, seed=2)
    for scale in (1e-3, 1e3):
        agree(ContentLoss(p * scale, "relative")(f * scale), float(ContentLoss(p, "relative")(f)))
        agree(GramLoss(gram(p * scale), "relative")(f * scale), float(GramLoss(gram(p), "relative")(f)))


@pytest.mark.parametrize(
    ("build", "tolerance"),
    [
        (lambda x: ContentLoss(x), 1e-2),
        (lambda x: GramLoss(gram(x)), 2e-2),
        (lambda x: WassersteinLoss(*moments(x)), 2e-2),
    ],
)
def test_features_in_bfloat16(build, tolerance) -> None:
    f, s = activations(1, 6, 12, 12, seed=1), activations(1, 6, 12, 12, seed=2) * 2
    got = build(s.bfloat16())(f.bfloat16())
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(float(build(s)(f)), rel=tolerance)


def test_targets_are_part_of_the_module_but_never_trained() -> None:
    s = activations(1, 4, 5, 5).requires_grad_()
    losses = [ContentLoss(s), GramLoss(gram(s)), WassersteinLoss(*moments(s))]
    names = [sorted(loss.state_dict()) for loss in losses]
    assert names == [["target"], ["target"], ["mean", "root", "trace"]]
    assert not any(value.requires_grad for loss in losses for value in loss.buffers())
