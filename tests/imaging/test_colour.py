from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.errors import ImageError
from impasto.imaging import luminance, match_luminance, transfer_luminance

# FCC 1953 NTSC, the classic matrix from RGB to YIQ
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def random(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_luminance_is_y_of_yiq() -> None:
    x = random(0, 2, 3, 5, 6)
    expected = np.einsum("c,bchw->bhw", YIQ[0], x.numpy())
    assert luminance(x).shape == (2, 1, 5, 6)
    assert np.abs(luminance(x)[:, 0].numpy() - expected).max() < 1e-6
    assert torch.allclose(luminance(torch.full((1, 3, 2, 2), 0.7)), torch.tensor(0.7))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_transfer_keeps_luminance_and_hue(seed: int) -> None:
    painted, photo = random(seed, 1, 3, 6, 7), random(seed + 1, 1, 3, 6, 7)
    result = transfer_luminance(painted, photo)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert torch.allclose(luminance(result), luminance(painted), atol=1e-5)
    before, after = photo - luminance(photo), result - luminance(result)
    scale = (before * after).sum(1) / (before * before).sum(1).clamp_min(1e-9)
    assert ((after - scale[:, None] * before).abs() < 1e-5).all()  # the same hue, perhaps paler
    assert (scale < 1 + 1e-4).all()


def test_transfer_equals_yiq_inside_the_cube() -> None:
    painted, photo = 0.4 + 0.2 * random(1, 1, 3, 8, 8), 0.4 + 0.2 * random(2, 1, 3, 8, 8)
    yiq = np.einsum("dc,bchw->bdhw", YIQ, photo.numpy().astype(np.float64))
    yiq[:, 0] = np.einsum("c,bchw->bhw", YIQ[0], painted.numpy())
    expected = np.einsum("cd,bdhw->bchw", np.linalg.inv(YIQ), yiq)
    assert np.abs(transfer_luminance(painted, photo).numpy() - expected).max() < 1e-4


def test_transfer_of_a_picture_onto_itself_and_onto_grey() -> None:
    x = random(3, 1, 3, 8, 8)
    assert torch.allclose(transfer_luminance(x, x), x, atol=1e-6)
    grey = transfer_luminance(x, torch.full_like(x, 0.2))
    assert torch.allclose(grey, luminance(x).expand_as(x), atol=1e-6)
    for level in (0.0, 1.0):  # nothing is as bright or dark as a colour
        flat = torch.full_like(x, level)
        assert torch.allclose(transfer_luminance(flat, x), flat, atol=1e-5)


def test_transfer_needs_equal_sizes() -> None:
    with pytest.raises(ImageError, match="colours of 9x8 px cannot go onto 7x6 px; resize one of them first"):
        transfer_luminance(torch.zeros(1, 3, 6, 7), torch.zeros(1, 3, 8, 9))


def test_match_luminance() -> None:
    style, photo = random(4, 1, 3, 9, 8) * 0.3, random(5, 1, 3, 5, 6)
    matched, target = match_luminance(style, photo), luminance(photo)
    assert matched.shape == (1, 1, 9, 8)
    assert torch.allclose(matched.mean(), target.mean(), atol=1e-5)
    assert torch.allclose(matched.std(correction=0), target.std(correction=0), atol=1e-5)
    flat = match_luminance(torch.full((1, 3, 4, 4), 0.5), photo)
    assert torch.allclose(flat, target.mean().expand_as(flat), atol=1e-4)
