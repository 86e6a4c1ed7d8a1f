"""The coordinates of a picture: there and back, and what a step in them moves."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from impasto.optimize.parameterisation import Canvas, Fourier, Pixels, Pyramid, build_pyramid, collapse_pyramid

pytestmark = pytest.mark.usefixtures("one_thread")

CANVASES = {
    "pixels": Pixels,
    "grey levels": lambda image: Pixels(image, 255.0),
    "pyramid": Pyramid,
    "coarse pyramid": lambda image: Pyramid(image, halvings=2),
    "fourier": Fourier,
}
sides = st.integers(8, 45)
quickly = settings(max_examples=20, deadline=None)


def picture(h: int = 21, w: int = 34, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@quickly
@given(sides, sides, st.integers(0, 1000))
@pytest.mark.parametrize("kind", CANVASES)
def test_a_canvas_is_the_picture_it_was_made_from(kind, h, w, seed) -> None:
    image = picture(h, w, seed)
    canvas = CANVASES[kind](image)
    close(canvas.whole(), image)
    if kind != "coarse pyramid":
        close(canvas.image(), image)


@pytest.mark.parametrize("kind", CANVASES)
def test_parameters_are_leaves_that_get_gradients(kind) -> None:
    image = picture()
    canvas: Canvas = CANVASES[kind](image)
    canvas.image().square().sum().backward()
    for p in canvas.parameters:
        assert p.is_leaf
        assert p.requires_grad
        assert p.is_contiguous()
        assert p.grad.abs().sum() > 0
    assert {id(p) for p in canvas.parameters} <= {id(p) for p in canvas.everything}


@pytest.mark.parametrize("kind", CANVASES)
def test_a_canvas_shares_no_memory_with_the_picture(kind) -> None:
    image = picture().expand(1, 3, -1, -1)
    before = image.clone()
    canvas = CANVASES[kind](image)
    with torch.no_grad():
        for p in canvas.everything:
            p.add_(1)
    assert torch.equal(image, before)
    assert not torch.allclose(canvas.whole(), before)


@pytest.mark.parametrize("levels", [1.0, 255.0])
def test_pixels_are_counted_in_levels_and_can_be_clamped(levels) -> None:
    canvas = Pixels(picture(), levels)
    assert canvas.parameters[0].max() > 0.9 * levels
    with torch.no_grad():
        canvas.parameters[0].mul_(4).sub_(levels)
    assert canvas.image().min() < -0.5
    assert canvas.image().max() > 2
    canvas.clamp_()
    assert canvas.image().min() == 0
    assert canvas.image().max() == 1


@quickly
@given(sides, sides, st.integers(1, 8))
def test_a_pyramid_and_its_collapse(h, w, levels) -> None:
    image = picture(h, w, dtype=torch.float64)
    pyramid = build_pyramid(image, levels)
    assert 1 <= len(pyramid) <= levels
    for finer, coarser in pairwise(pyramid):
        assert coarser.shape[2:] == tuple((n + 1) // 2 for n in finer.shape[2:])
    assert len(pyramid) == levels or min(pyramid[-1].shape[2:]) < 4
    close(collapse_pyramid(pyramid), image, 1e-12)


def test_the_differences_of_a_flat_picture_are_nothing() -> None:
    *details, small = build_pyramid(torch.full((1, 3, 40, 24), 0.3), 4)
    assert len(details) == 3
    for detail in details:
        close(detail, torch.zeros_like(detail))
    close(small, torch.full_like(small, 0.3))


@pytest.mark.parametrize("function", [lambda x: build_pyramid(x, 3), lambda x: collapse_pyramid(build_pyramid(x, 3))])
def test_gradients_of_a_pyramid(function) -> None:
    assert gradcheck(lambda x: _tuple(function(x)), _leaf(picture(7, 6)))


def test_gradients_of_frequencies() -> None:
    image = picture(6, 7, dtype=torch.float64)
    canvas = Fourier(image)

    def paint(p: Tensor) -> Tensor:
        canvas.parameters = [p]
        return canvas.image()

    assert gradcheck(paint, canvas.parameters[0])


def _leaf(x: Tensor) -> Tensor:
    return x.double().requires_grad_()


def _tuple(x: Tensor | list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(x) if isinstance(x, list) else (x,)


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_halvings_paint_a_smaller_picture_and_leave_the_finer_levels(size) -> None:
    image = picture(*size)
    canvas = Pyramid(image, halvings=2)
    assert canvas.image().shape[2:] == ((size[0] + 3) // 4, (size[1] + 3) // 4)
    details = [p.detach().clone() for p in canvas.everything[:2]]
    canvas.image().sum().backward()
    assert [p.grad is None for p in canvas.everything] == [True, True] + [False] * len(canvas.parameters)
    with torch.no_grad():
        for p in canvas.parameters:
            p.add_(0.1)
    assert all(torch.equal(a, b) for a, b in zip(details, canvas.everything, strict=False))
    assert canvas.whole().shape == image.shape
    # Each level adds its tenth, enlarged; the two details stay what they were.
    close(canvas.whole(), image + 0.1 * len(canvas.parameters))
    canvas.halvings = 0
    close(canvas.image(), canvas.whole(), 0)


def test_a_pyramid_keeps_a_level_to_paint() -> None:
    canvas = Pyramid(picture(16, 16), levels=3, halvings=9)
    assert len(canvas.parameters) == 1
    assert canvas.image().shape[2:] == (4, 4)


@pytest.mark.parametrize("kind", ["pyramid", "fourier"])
def test_what_has_no_bounds_is_not_clamped(kind) -> None:
    canvas = CANVASES[kind](picture() * 3)
    canvas.clamp_()
    assert canvas.image().max() > 2


def test_a_step_in_frequencies_moves_the_coarse_most() -> None:
    """White gradients become 1/f strokes: the point of the scaling."""
    canvas = Fourier(torch.full((1, 3, 64, 64), 0.5))
    with torch.no_grad():
        canvas.parameters[0].add_(torch.randn(canvas.parameters[0].shape, generator=torch.Generator().manual_seed(0)))
    power = torch.fft.rfft2(canvas.image().detach() - 0.5).abs().square().mean((0, 1))
    assert power[1:4, 1:4].mean() > 30 * power[20:24, 20:24].mean()


def test_the_colours_of_frequencies_are_decorrelated_axes() -> None:
    grey = Fourier(torch.rand(1, 1, 16, 16).expand(1, 3, 16, 16))
    brightness, colour_1, colour_2 = grey.parameters[0].detach()[0]
    assert brightness.abs().max() > 0.1
    close(colour_1, torch.zeros_like(colour_1))
    close(colour_2, torch.zeros_like(colour_2))
