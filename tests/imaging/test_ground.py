"""What transparency hides reaches nothing: not what networks see, not sizes, not what is written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import ImageError
from impasto.imaging import Picture, as_picture, read
from impasto.imaging.ground import GroundSums, ground_of, texture

from .imaging_samples import gradient, saved


def cut_out(hidden: int, *, soft: bool = False) -> NDArray[np.uint8]:
    """A gradient (36, 48) of which an oval shows; `hidden` lies beneath the rest."""
    y, x = np.mgrid[:36, :48]
    away = np.hypot((y - 18) / 16, (x - 24) / 20)
    alpha = np.clip((1 - away) * 8, 0, 1) if soft else (away < 1).astype(float)
    array = np.dstack([gradient(), np.rint(alpha * 255)]).astype(np.uint8)
    array[alpha == 0, :3] = hidden
    return array


def looks(picture: Picture) -> list[np.ndarray]:
    clear, small = picture.cleared(), picture.resized((17, 21))
    return [
        clear.rgb,
        small.rgb,
        picture.seen(),
        small.seen(),
        picture.textured(),
        picture.weighed(),
        clear.opaque().rgb,
    ]


@pytest.mark.parametrize("soft", [False, True])
def test_the_hidden_colour_changes_nothing(soft: bool) -> None:
    black, white = (looks(as_picture(cut_out(hidden, soft=soft))) for hidden in (0, 255))
    for ours, theirs in zip(black, white, strict=True):
        assert np.array_equal(ours, theirs)


def test_what_shows_stays_and_reading_keeps_the_file() -> None:
    array = cut_out(77, soft=True)
    picture = read(io.BytesIO(saved(array, "PNG")))
    assert np.array_equal(picture.integers(8), array)  # a copy of the file is a copy
    shown, opaque = array[:, :, 3] > 0, array[:, :, 3] == 255
    assert np.array_equal(picture.cleared().integers(8)[shown], array[shown])
    for view in (picture.seen(), picture.textured()):
        assert np.array_equal(np.rint(view * 255)[opaque], array[opaque][:, :3])


def test_half_transparent_everywhere_is_seen_as_opaque() -> None:
    for alpha in (1, 128):
        picture = as_picture(np.dstack([gradient(), np.full((36, 48), alpha, np.uint8)]))
        assert np.array_equal(picture.seen(), as_picture(gradient()).rgb)


def test_an_opaque_picture_is_left_alone() -> None:
    picture = as_picture(np.dstack([gradient(), np.full((36, 48), 255, np.uint8)]))
    assert picture.cleared() is picture
    assert picture.seen() is picture.rgb
    assert picture.weighed().shape[2] == 3
    assert np.array_equal(picture.resized((18, 24)).rgb, as_picture(gradient()).resized((18, 24)).rgb)


@pytest.mark.parametrize("size", [(9, 12), (18, 24), (72, 96), (30, 31)])
def test_the_edge_of_a_cut_out_keeps_its_colour_at_every_size(size: tuple[int, int]) -> None:
    array = cut_out(0)
    array[array[:, :, 3] > 0, :3] = (200, 90, 30)
    small = as_picture(array).resized(size)
    assert small.alpha is not None
    for view in (small.rgb, small.seen(), small.textured()):
        assert np.abs(view * 255 - [200.0, 90, 30]).max() < 0.01
    mean = np.tensordot(array[:, :, 3] / 255, np.ones(1), 0).mean()
    assert float(small.alpha.mean()) == pytest.approx(float(mean), abs=0.01)


def test_resizing_weighs_colours_by_alpha() -> None:
    array = np.zeros((40, 40, 4), np.uint8)
    array[:, :20] = (250, 0, 0, 255)
    array[:, 20:] = (0, 0, 250, 51)  # a fifth as visible
    small = as_picture(array).resized((1, 1))
    assert small.alpha is not None
    assert (small.rgb[0, 0] * 255).tolist() == pytest.approx([250 / 1.2, 0, 250 * 0.2 / 1.2], abs=0.5)
    assert float(small.alpha[0, 0]) == pytest.approx(0.6, abs=0.01)


def test_the_ground_goes_over_from_what_is_near() -> None:
    array = np.zeros((64, 64, 4), np.uint8)
    array[:, :8], array[:, 56:] = (240, 0, 0, 255), (0, 0, 240, 255)
    seen = as_picture(array).seen()
    red, blue = seen[32, :, 0], seen[32, :, 2]
    assert (np.diff(red) <= 1e-6).all()
    assert (np.diff(blue) >= -1e-6).all()
    assert red[12] > 0.8
    assert blue[52] > 0.8
    assert seen[:, :, 1].max() == 0


def test_rows_and_whole_have_the_same_ground() -> None:
    array = cut_out(9, soft=True) / np.float32(255)
    rgb, alpha = array[:, :, :3], array[:, :, 3:]
    whole, sums = ground_of(rgb, alpha), GroundSums((36, 48))
    for top, bottom in ((20, 36), (0, 7), (7, 20)):
        sums.add(top, rgb[top:bottom], alpha[top:bottom])
    assert whole is not None
    assert np.array_equal(whole.cells, sums.ground().cells)
    for size in ((36, 48), (11, 80)):
        parts = [whole.rows(size, top, min(size[0], top + 5)) for top in range(0, size[0], 5)]
        assert np.array_equal(np.concatenate(parts), whole.rows(size, 0, size[0]))


def test_a_mirror_image_stands_beyond_the_edge() -> None:
    colours = np.random.default_rng(0).random((40, 60, 3), np.float32)
    alpha = np.zeros((40, 60, 1), np.float32)
    alpha[:, :40] = 1
    ground = np.dstack([np.zeros_like(colours), np.ones_like(alpha)])
    found = texture(colours, alpha, ground)
    assert np.array_equal(found[:, :40], colours[:, :40])
    assert np.array_equal(found[:, 40:], colours[:, 38:18:-1])


def test_a_picture_of_which_nothing_shows_is_told() -> None:
    picture = as_picture(np.zeros((36, 48, 4), np.uint8))
    for ask in (picture.cleared, picture.seen, picture.weighed, picture.opaque, lambda: picture.resized((9, 9))):
        with pytest.raises(ImageError, match="array: transparent everywhere, need something that shows; make it"):
            ask()


def test_a_single_pixel_that_shows_fills_everything() -> None:
    array = np.zeros((36, 48, 4), np.uint8)
    array[30, 2] = (10, 200, 100, 1)
    for view in (as_picture(array).seen(), as_picture(array).textured()):
        assert np.abs(view * 255 - [10.0, 200, 100]).max() < 0.01


def test_it_is_a_pil_image_s_hidden_colour_too() -> None:
    views = [as_picture(Image.fromarray(cut_out(hidden))).seen() for hidden in (0, 255)]
    assert np.array_equal(*views)
