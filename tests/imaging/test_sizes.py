from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from impasto.errors import OptionError
from impasto.imaging import fit_long_side, resize, scale_schedule

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
    stripes = (torch.arange(96) % 2).float().expand(1, 3, 96, 96)
    small = resize(stripes, (32, 32))
    assert small.shape == (1, 3, 32, 32)
    assert (small - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("size", [(40, 24), (7, 5), (90, 130), (1, 1)])
def test_resize_keeps_flat_colour_range_and_place(size: tuple[int, int]) -> None:
    flat = torch.full((1, 3, 20, 30), 0.3)
    assert (resize(flat, size) - 0.3).abs().max() < 1e-6
    edge = (torch.arange(30) >= 15).float().expand(1, 1, 20, 30)
    result = resize(edge, size)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1  # bicubic alone would overshoot
    assert abs(float(result.mean()) - 0.5) < 1e-5  # not shifted


def test_resize_leaves_the_right_size_alone() -> None:
    x = torch.rand(2, 3, 8, 9)
    assert resize(x, (8, 9)) is x
    with pytest.raises(OptionError, match="size 9x0"):
        resize(x, (0, 9))


def test_resize_has_a_gradient() -> None:
    x = (torch.rand(1, 1, 6, 6, dtype=torch.float64) * 0.5 + 0.25).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, (4, 3)), x)


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


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_single_column_is_as_good_as_a_single_row(width: int) -> None:
    image = torch.rand(1, 3, 9, width, generator=torch.Generator().manual_seed(0))
    column, row = resize(image, (20, 1)), resize(image.transpose(2, 3), (1, 20))
    torch.testing.assert_close(column, row.transpose(2, 3))
    assert column.std() > 0.05
