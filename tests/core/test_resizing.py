"""Tensors at another size, and pictures: as `torch` does it."""

from __future__ import annotations

import pytest
import torch

from impasto.core.resizing import resize
from impasto.errors import OptionError


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


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_single_column_is_as_good_as_a_single_row(width: int) -> None:
    image = torch.rand(1, 3, 9, width, generator=torch.Generator().manual_seed(0))
    column, row = resize(image, (20, 1)), resize(image.transpose(2, 3), (1, 20))
    torch.testing.assert_close(column, row.transpose(2, 3))
    assert column.std() > 0.05
