"""Statistics against their definitions, their derivatives and what must hold for any features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from impasto.core import statistics as stats

pytestmark = pytest.mark.usefixtures("one_thread")

DIVISORS = {"none": lambda c, m: 1, "positions": lambda c, m: m, "all": lambda c, m: c * m}

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**31 - 1)
quickly = settings(max_examples=25, deadline=None)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def positive_definite(c: int, seed: int) -> Tensor:
    x = draw(c, 3 * c, seed=seed)
    return x @ x.T / (3 * c) + 0.1 * torch.eye(c, dtype=x.dtype)


def close(a: Tensor, b: Tensor | np.ndarray, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=tolerance, atol=tolerance)


# -- derivatives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_of_gram(divisor, batch, layout) -> None:
    f = draw(batch, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
    # A weight that is not symmetric: the derivative must not count on a symmetric one.
    weight = draw(batch, 3, 3, seed=1)
    assert gradcheck(lambda x: stats.gram(x, divisor) * weight, f)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: stats.mean_std(x),
        lambda x: stats.moments(x),
        lambda x: stats.covariance(*stats.moments(x)),
        lambda x: stats.adain(x, draw(2, 3, 6, 5, seed=3)),
        lambda x: stats.adain(draw(2, 3, 6, 5, seed=3), x),
        lambda x: stats.total_variation(x, "l2"),
        lambda x: stats.total_variation(x, "l1"),  # random values: no two neighbours are equal
        lambda x: stats.total_variation(x, "nine-point"),
        lambda x: stats.total_variation(x, "nine-point", mean=True),
    ],
)
def test_gradients_to_features(function) -> None:
    assert gradcheck(function, draw(2, 3, 4, 5).requires_grad_())


def test_gradients_of_roots_and_distances() -> None:
    a = positive_definite(4, 0).requires_grad_()
    # Symmetrised, since a numerical derivative leaves the symmetric matrices.
    assert gradcheck(lambda x: stats.trace_of_root((x + x.T) / 2), a)


@quickly
@given(st.integers(1, 12), seeds)
def test_the_trace_of_the_root_is_scipys(c, seed) -> None:
    a = positive_definite(c, seed).requires_grad_()
    root = scipy.linalg.sqrtm(a.detach().numpy()).real
    trace = stats.trace_of_root(a)
    close(trace.detach(), np.trace(root), 1e-8)
    close(torch.autograd.grad(trace, a)[0], np.linalg.inv(root) / 2, 1e-7)


def test_the_trace_of_the_root_of_few_dimensions() -> None:
    """All but two eigenvalues are 0, or what rounding makes of that; in float32 too, whatever their size."""
    x = draw(8, 2)
    for scale in (1e-20, 1.0, 1e8):
        a = (scale * x @ x.T).float().requires_grad_()
        trace = stats.trace_of_root(a)
        close(trace.detach().double() / scale**0.5, np.linalg.svd(x.numpy())[1].sum(), 1e-3)
        assert torch.autograd.grad(trace, a)[0].isfinite().all()
    assert stats.trace_of_root(torch.zeros(3, 3)) == 0


def test_the_trace_of_a_root_of_what_is_no_number() -> None:
    a = torch.full((4, 4), torch.nan, requires_grad=True)
    trace = stats.trace_of_root(a)
    trace.backward()
    assert trace.isnan()
    assert a.grad.isnan().all()


# -- Gram, moments, AdaIN -----------------------------------------------------------------------------------------


@quickly
@given(shapes, seeds)
@pytest.mark.parametrize("divisor", DIVISORS)
def test_gram_is_its_definition_and_blind_to_places(divisor, shape, seed) -> None:
    f = draw(*shape, seed=seed)
    b, c, h, w = shape
    rows = f.numpy().reshape(b, c, h * w)
    close(stats.gram(f, divisor), rows @ rows.transpose(0, 2, 1) / DIVISORS[divisor](c, h * w))
    order = torch.randperm(h * w, generator=torch.Generator().manual_seed(seed))
    close(stats.gram(f.flatten(2)[..., order].reshape(shape), divisor), stats.gram(f, divisor))


@quickly
@given(shapes, seeds)
def test_a_constant_picture_has_no_covariance(shape, seed) -> None:
    b, c, h, w = shape
    flat = draw(b, c, 1, 1, seed=seed).expand(b, c, h, w)
    close(stats.covariance(*stats.moments(flat)), torch.zeros(b, c, c))


def test_covariance_is_that_of_numpy() -> None:
    f = draw(2, 5, 6, 7)
    cov = stats.covariance(*stats.moments(f))
    for one, expected in zip(cov, f.numpy().reshape(2, 5, 42), strict=True):
        close(one, np.cov(expected, bias=True))


def test_moments_may_be_averaged_over_tiles() -> None:
    f = draw(1, 4, 6, 8)
    tiles = [stats.moments(tile) for tile in f.split(4, dim=3)]
    for whole, parts in zip(stats.moments(f), zip(*tiles, strict=True), strict=True):
        close(whole, (parts[0] + parts[1]) / 2)


@quickly
@given(shapes, seeds, st.sampled_from([1e-5, 1e-2, 1.0]))
def test_mean_and_deviation(shape, seed, eps) -> None:
    f = draw(*shape, seed=seed)
    mean, std = stats.mean_std(f, eps)
    assert mean.shape == std.shape == (*shape[:2], 1, 1)
    close(mean, f.numpy().mean((2, 3), keepdims=True))
    close(std, np.sqrt(f.numpy().var((2, 3), keepdims=True) + eps))


def test_a_flat_channel_has_the_deviation_of_eps_alone() -> None:
    _, std = stats.mean_std(torch.full((1, 2, 4, 4), 7.0), eps=1e-4)
    close(std.flatten(), torch.full((2,), 1e-2), 1e-6)
    close(stats.mean_std(torch.zeros(1, 1, 3, 3))[1].flatten(), torch.tensor([1e-5]).sqrt(), 1e-6)


@quickly
@given(seeds)
def test_adain_gives_the_styles_mean_and_deviation(seed) -> None:
    content, style = draw(2, 4, 5, 6, seed=seed) * 3, draw(2, 4, 8, 3, seed=seed + 1) * 2 + 1
    result = stats.adain(content, style, eps=1e-12)
    assert result.shape == content.shape
    for got, wanted in zip(stats.mean_std(result, 1e-12), stats.mean_std(style, 1e-12), strict=True):
        close(got, wanted, 1e-6)
    close(stats.adain(content, content), content)


def test_bfloat16_features_give_float32_statistics() -> None:
    f = draw(2, 8, 16, 20, dtype=torch.float32) + 1
    g = f.bfloat16()
    pairs = [
        *zip(stats.mean_std(g), stats.mean_std(f), strict=True),
        *zip(stats.moments(g), stats.moments(f), strict=True),
        (stats.gram(g), stats.gram(f)),
        (stats.gram(g[:1]), stats.gram(f[:1])),
    ]
    for got, wanted in pairs:
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=2e-2, atol=2e-2)
    assert stats.adain(g, g).dtype == torch.bfloat16
    torch.testing.assert_close(stats.adain(g, f).float(), stats.adain(f, f), rtol=2e-2, atol=2e-2)


def test_a_covariance_from_bfloat16_does_not_drown_in_the_mean() -> None:
    # Second moments near 2,500 rounded to three digits would say nothing of a variance of 1.
    f = (draw(1, 4, 32, 32, dtype=torch.float32) * 4 + 50).bfloat16()
    got = stats.covariance(*stats.moments(f))[0]
    close(got, np.cov(f.double().numpy().reshape(4, -1), bias=True), 1e-2)
    assert torch.linalg.eigvalsh(got).min() > 0


# -- total variation ----------------------------------------------------------------------------------------------


def numpy_total_variation(x: np.ndarray, kind: str, mean: bool) -> float:
    h, w = x.shape[2:]
    if kind == "nine-point":
        p = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
        axes = [
            p[:, :, 1 : h + 1, 2:] - p[:, :, 1 : h + 1, 1 : w + 1],
            p[:, :, 2:, 1 : w + 1] - p[:, :, 1 : h + 1, 1 : w + 1],
        ]
        diagonals = [p[:, :, 1:, 1:] - p[:, :, :-1, :-1], p[:, :, 1:, :-1] - p[:, :, :-1, 1:]]
        reduce = np.mean if mean else np.sum
        return 2 * (sum(reduce(d**2) / 3 for d in axes) + sum(reduce(d**2) / 12 for d in diagonals))
    power = {"l1": np.abs, "l2": np.square}[kind]
    total = power(np.diff(x, axis=2)).sum() + power(np.diff(x, axis=3)).sum()
    return total / x.size if mean else total


@quickly
@given(shapes, seeds, st.booleans())
@pytest.mark.parametrize("kind", ["l1", "l2", "nine-point"])
def test_total_variation_is_its_definition(kind, shape, seed, mean) -> None:
    x = draw(*shape, seed=seed)
    got = stats.total_variation(x, kind, mean=mean)
    close(got, np.asarray(numpy_total_variation(x.numpy(), kind, mean)))
    assert stats.total_variation(torch.ones(shape), kind, mean=mean) == 0


def test_nine_points_see_a_slope_alike_in_every_direction() -> None:
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij")
    for angle in np.linspace(0, np.pi, 7):
        plane = (x * np.cos(angle) + y * np.sin(angle))[None, None].double()
        assert stats.total_variation(plane, "nine-point", mean=True) == pytest.approx(1, rel=0.02)


def test_an_unknown_kind_of_variation_is_named() -> None:
    with pytest.raises(ValueError, match="'l3'"):
        stats.total_variation(torch.zeros(1, 3, 4, 4), "l3")


# -- colours ------------------------------------------------------------------------------------------------------


def test_shares_count_positions_as_if_the_others_were_not_there() -> None:
    x = draw(1, 5, 6, 8, seed=3, dtype=torch.float32)
    weights = torch.zeros(1, 1, 12, 16)
    weights[:, :, :, :8] = 0.5
    shares, seen = stats.shares_of(weights, (6, 8)), x[..., :4]
    assert shares is not None
    close(shares, torch.tensor([2.0] * 4 + [0.0] * 4).expand(1, 1, 6, 8))
    close(stats.gram(x, "positions", shares), stats.gram(seen, "positions"), 1e-5)
    close(stats.gram(x, "all", shares), stats.gram(seen, "all"), 1e-5)
    close(stats.gram(x, "none", shares), stats.gram(seen, "none") * 2, 1e-4)  # as of a picture of the whole size
    for got, wanted in zip(stats.mean_std(x, shares=shares), stats.mean_std(seen), strict=True):
        close(got, wanted, 1e-5)
    for got, wanted in zip(stats.moments(x, shares), stats.moments(seen), strict=True):
        close(got, wanted, 1e-5)


def test_a_fourth_channel_says_how_far_a_pixel_counts() -> None:
    picture = draw(2, 4, 5, 5, seed=1)
    rgb, weights = stats.split_weights(picture)
    assert weights is not None
    assert (rgb.shape[1], weights.shape[1]) == (3, 1)
    assert stats.split_weights(rgb)[1] is None
    assert stats.shares_of(None, (2, 2)) is None
