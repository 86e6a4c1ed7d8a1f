"""A painter's ground: noise where a photo is flat, and nowhere else; the same for the same place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.imaging.noise import CELL, DEVIATION, GroundNoise, on_ground

GREY = np.full((200, 300, 3), 0.5, np.float32)


def letters(size: tuple[int, int] = (200, 300)) -> np.ndarray:
    """Strokes of some pixels all over, black on white."""
    y, x = np.mgrid[: size[0], : size[1]]
    lines = ((x // 3 + y // 7) % 3 > 0).astype(np.float32)
    return np.repeat(lines[:, :, None], 3, 2)


def test_what_is_flat_gets_faint_blots_around_its_colour() -> None:
    noise = on_ground(GREY) - GREY
    assert noise.std() == pytest.approx(DEVIATION, rel=0.3)
    assert abs(noise.mean()) < DEVIATION / 5
    near, far = (np.corrcoef(noise[:, :-step, 0].ravel(), noise[:, step:, 0].ravel())[0, 1] for step in (2, 48))
    assert near > 0.9
    assert abs(far) < 0.3


def test_most_of_it_is_brightness() -> None:
    noise = on_ground(GREY) - GREY
    own = noise - noise.mean(2, keepdims=True)
    assert 0.1 < own.std() / noise.std() < 0.6


def test_a_gradient_is_flat_and_letters_are_not() -> None:
    gradient = np.repeat(np.linspace(0.1, 0.9, 300, dtype=np.float32)[None, :, None], 200, 0).repeat(3, 2)
    assert (on_ground(gradient) - gradient).std() > 0.8 * DEVIATION
    assert np.array_equal(on_ground(letters()), letters())


def test_it_fades_towards_what_is_to_be_seen() -> None:
    picture = GREY.copy()
    picture[:, :100] = letters((200, 100))
    noise = np.abs(on_ground(picture) - picture).mean((0, 2))
    assert noise[:100].max() < 0.5 / 255
    assert noise[160:].mean() > 0.6 * DEVIATION


def test_a_blot_depends_on_its_place_alone() -> None:
    assert np.abs(on_ground(GREY)[:90, :130] - on_ground(GREY[:90, :130])).max() < 1e-6
    assert np.array_equal(on_ground(GREY), on_ground(GREY))


def test_strength_is_how_much_there_is() -> None:
    assert np.abs((on_ground(GREY, 0.5) - GREY) - (on_ground(GREY) - GREY) / 2).max() < 1e-6
    white = np.ones_like(GREY)
    assert on_ground(white).max() <= 1


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    step=st.integers(1, 5),
    piece=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_by_rows_it_is_the_same(size: tuple[int, int], step: int, piece: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    picture = (0.5 + 0.02 * draw.standard_normal((*size, 3))).astype(np.float32).clip(0, 1)
    noise = GroundNoise(size)
    for top in range(0, size[0], step * CELL):
        noise.look(top, picture[top : top + step * CELL])
    rows = [noise.add(top, picture[top : top + piece]) for top in range(0, size[0], piece)]
    assert np.abs(np.concatenate(rows) - on_ground(picture)).max() < 1e-6
