"""Masks that do what nobody means, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.imaging import read
from impasto.imaging.masks import mask_note


def mask(colour: int, shape: int | None = None, *, spot: int | None = None) -> Image.Image:
    """64x64 of one grey; `shape` is the alpha of its left half, `spot` the grey of that half."""
    grey = np.full((64, 64), colour, np.uint8)
    if spot is not None:
        grey[:, :32] = spot
    if shape is None:
        return Image.fromarray(grey)
    alpha = np.full((64, 64), 255 - shape, np.uint8)
    alpha[:, :32] = shape
    return Image.fromarray(np.dstack([grey, alpha]))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (mask(0, spot=1), ["brightest value is 1 of 255", "make white 255"]),
        (mask(0), ["black everywhere", "make it white"]),
        (mask(0, 255), ["black everywhere", "transparency", "nothing is painted"]),
        (mask(255, 255), ["white everywhere", "transparency", "50.0% are painted", "invert"]),
        (mask(255), ["white everywhere", "as without a mask"]),
    ],
)
def test_what_is_odd_is_said_with_what_to_do(tmp_path: Path, image: Image.Image, words: list[str]) -> None:
    image.save(tmp_path / "mask.png")
    note = mask_note(read(tmp_path / "mask.png"))
    assert note is not None
    assert note.startswith("mask mask.png: ")
    for word in words:
        assert word in note


def test_a_mask_that_leaves_out_nearly_all_is_perhaps_inverted(tmp_path: Path) -> None:
    grey = np.zeros((64, 64), np.uint8)
    grey[0, :4] = 255
    Image.fromarray(grey).save(tmp_path / "mask.png")
    assert "invert it" in str(mask_note(read(tmp_path / "mask.png")))


@pytest.mark.parametrize("image", [mask(0, spot=255), mask(0, spot=128), mask(255, spot=30), mask(200)])
def test_masks_as_they_are_need_no_words(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "mask.png")
    assert mask_note(read(tmp_path / "mask.png")) is None
