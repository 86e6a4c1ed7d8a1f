from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.core.resizing import bicubic_rows
from impasto.errors import OptionError
from impasto.imaging import fit_long_side, resize, scale_schedule, sizes
from impasto.imaging.sizes import bicubic, bicubic_weights

side = st.integers(1, 20_000)


@given(side, side, side, st.booleans())
def test_fit_long_side(height: int, width: int, long: int, upscale: bool) -> None:
    h, w = fit_long_side((height, width), long, upscale)
    if max(height, width) <= long and not upscale:
        assert (h, w) == (height, width)
    else:
        assert max(h, w) == long
        exact = min(height, width) * long / max(height, width)
        assert min(h, w) == max(1, round(exact))
        assert (h - w) * (height - width) >= 0


def test_fit_long_side_examples() -> None:
    assert fit_long_side((3000, 4000), 512) == (384, 512)
    assert fit_long_side((4000, 3000), 512) == (512, 384)
    assert fit_long_side((300, 400), 512) == (300, 400)
    assert fit_long_side((300, 400), 512, upscale=True) == (384, 512)
    with pytest.raises(OptionError, match="size 0: need at least 1 pixel"):
        fit_long_side((3, 4), 0)


def test_resize_is_antialiased() -> None:
    """Lines of one pixel, shrunk by 3: without a filter they would turn into stripes of 0 and 1."""
    stripes = np.tile(np.arange(96) % 2, (96, 1)).astype(np.float32)
    small = resize(stripes, (32, 32))
    assert small.shape == (32, 32)
    assert np.abs(small - 0.5).max() < 0.1


@pytest.mark.parametrize("size", [(40, 24), (7, 5), (90, 130), (1, 1)])
def test_resize_keeps_flat_colour_range_and_place(size: tuple[int, int]) -> None:
    assert np.abs(resize(np.full((20, 30, 3), 0.3, np.float32), size) - 0.3).max() < 1e-6
    edge = np.tile(np.arange(30) >= 15, (20, 1)).astype(np.float32)
    result = resize(edge, size)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1  # bicubic alone would overshoot
    assert abs(float(result.mean()) - 0.5) < 1e-5  # not shifted


def test_resize_leaves_the_right_size_alone() -> None:
    x = np.zeros((8, 9, 3), np.float32)
    assert resize(x, (8, 9)) is x
    with pytest.raises(OptionError, match="size 9x0"):
        resize(x, (0, 9))


sides = st.tuples(st.integers(1, 120), st.integers(1, 120))


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=60, deadline=None)
@given(size=sides, wanted=sides, channels=st.integers(1, 4))
def test_bicubic_is_that_of_torch(size: tuple[int, int], wanted: tuple[int, int], channels: int) -> None:
    rows = np.random.default_rng(channels).random((*size, channels), np.float32)
    found = bicubic(rows, wanted)
    assert found.shape == (*wanted, channels)
    assert np.abs(found - bicubic_rows(rows, wanted)).max() < 2e-5


@pytest.mark.parametrize(("size", "wanted"), [((900, 1300), (40, 61)), ((61, 40), (1300, 900)), ((700, 3), (699, 3))])
def test_bicubic_in_many_parts_is_what_its_weights_say(
    size: tuple[int, int], wanted: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch works out its weights in float32, so that it is a little off where sides are long: here, in float64."""
    monkeypatch.setattr(sizes, "PART", 1 << 14)
    rows = np.random.default_rng(0).random((*size, 3), np.float32)
    down, across = (np.zeros((new, old), np.float64) for old, new in zip(size, wanted, strict=True))
    for matrix in (down, across):
        new, old = matrix.shape
        low, high, weights = bicubic_weights(old, new, 0, new)
        matrix[:, low:high] = weights if old != new else np.eye(old)
    exact = np.einsum("nh,mw,hwc->nmc", down, across, rows, optimize=True)
    assert np.abs(bicubic(rows, wanted) - exact).max() < 2e-6


@given(st.integers(1, 5000), st.integers(16, 600), st.floats(1.2, 4))
def test_scale_schedule(final: int, start: int, factor: float) -> None:
    sides = scale_schedule(final, start, factor)
    assert sides[-1] == final
    assert sides == sorted(set(sides))
    assert sides[0] >= min(start, final)
    assert sides[0] < start * factor + 1 or len(sides) == 1
    for low, high in pairwise(sides):
        assert abs(high / low - factor) < factor / low  # equal steps, up to rounding


def test_scale_schedule_examples() -> None:
    assert scale_schedule(512) == [128, 181, 256, 362, 512]
    assert scale_schedule(500) == [177, 250, 354, 500]
    assert scale_schedule(100) == [100]
    assert scale_schedule(1024, start=256, factor=2) == [256, 512, 1024]
    assert math.isclose(scale_schedule(4096)[0], 128)
    with pytest.raises(OptionError, match="factor above 1"):
        scale_schedule(512, factor=1)
