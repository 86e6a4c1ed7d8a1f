from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto import imaging
from impasto.core.colour import luminance, match_colours, match_luminance, tame_colours, transfer_luminance
from impasto.core.tensors import to_array
from impasto.errors import ImageError

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
    assert np.abs(imaging.luminance(to_array(x)) - expected[0]).max() < 1e-6  # the same of a picture


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


def flat_and_poor() -> dict[str, Tensor]:
    """Pictures of few colours: none but grey, the shades of one tint, a single one."""
    light = random(5, 1, 1, 20, 20) * 0.8 + 0.1
    return {
        "grey": light.expand(-1, 3, -1, -1).clone(),
        "sepia": light * torch.tensor([1.0, 0.8, 0.6]).view(1, 3, 1, 1),
        "flat": torch.tensor([0.7, 0.4, 0.2]).view(1, 3, 1, 1).expand(1, 3, 20, 20).clone(),
        "full": random(6, 1, 3, 20, 20),
    }


def spread(x: Tensor) -> float:
    return float((x.amax(1) - x.amin(1)).mean())


def test_matched_colours_have_the_photos_mean_and_covariance() -> None:
    style, photo = random(1, 1, 3, 30, 40) * 0.3 + 0.2, random(2, 1, 3, 21, 17) * 0.2 + 0.4
    photo[:, 1] = photo[:, 0] * 0.5 + photo[:, 1] * 0.5
    got = match_colours(style, photo)[0].flatten(1)
    torch.testing.assert_close(got.mean(1), photo[0].flatten(1).mean(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(got.cov(), photo[0].flatten(1).cov(), rtol=5e-3, atol=1e-6)
    torch.testing.assert_close(match_colours(style, style), style, rtol=0, atol=1e-5)


@pytest.mark.parametrize("style", flat_and_poor())
@pytest.mark.parametrize("photo", flat_and_poor())
def test_poor_colours_are_matched_and_tamed_without_inventing_any(style: str, photo: str) -> None:
    ours, theirs = flat_and_poor()[style], flat_and_poor()[photo]
    for result in (match_colours(ours, theirs), tame_colours(ours, theirs)):
        assert result.isfinite().all()
        assert result.min() >= 0
        assert result.max() <= 1 + 1e-6
        if photo == "grey":
            assert spread(result) < 1e-4
        if photo == "sepia":
            light = luminance(result)
            hue = (theirs - luminance(theirs)).mean((2, 3), keepdim=True)
            chroma = result - light
            share = (chroma * hue).sum(1, keepdim=True) / hue.square().sum()
            torch.testing.assert_close(chroma, share * hue, rtol=0, atol=1e-3)
    tame = tame_colours(ours, theirs)
    assert spread(tame) <= spread(theirs) + 1e-6
    torch.testing.assert_close(luminance(tame), luminance(ours), rtol=0, atol=1e-5)


def test_hidden_pixels_do_not_count_in_matching() -> None:
    photo, style = random(1, 1, 3, 20, 20), random(2, 1, 3, 20, 20)
    halves = []
    for hidden in (0.0, 1.0):
        cut = torch.cat([style, torch.ones_like(style[:, :1])], 1)
        cut[:, :3, :, 10:], cut[:, 3:, :, 10:] = hidden, 0
        halves.append(match_colours(cut, photo)[..., :10])
        assert torch.allclose(match_luminance(cut, photo)[..., :10], match_luminance(style[..., :10], photo), atol=1e-5)
    torch.testing.assert_close(halves[0], match_colours(style[..., :10], photo), rtol=0, atol=1e-5)
    torch.testing.assert_close(*halves, rtol=0, atol=1e-5)


def test_a_painting_within_the_photos_colours_keeps_its_own() -> None:
    photo = random(3, 1, 3, 30, 30)
    pale = photo.mean((2, 3), keepdim=True) + 0.3 * (photo - photo.mean((2, 3), keepdim=True))
    rest = tame_colours(pale, photo) - pale
    assert rest.abs().mean() < 0.02
    torch.testing.assert_close(tame_colours(photo, photo), photo, rtol=0, atol=1e-4)
