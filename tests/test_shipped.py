"""The trained networks in the package, on example photos: what they know, and what every control promises."""

from __future__ import annotations

import hashlib
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impasto
from impasto.core.metadata import SHIPPED, read_manifest, read_metadata
from impasto.core.resizing import resize
from impasto.core.tensors import to_array, to_tensor
from impasto.core.weights import load_backbone
from impasto.evaluation import measure
from impasto.imaging import Picture, fit_long_side, read, write
from impasto.networks.shipped import MODELS, find_model, place_of_picture, shipped_models
from impasto.stylizer.torch_model import TorchModel

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZE = 224
STYLE = {"gallery": "great-wave", "universal": str(EXAMPLES / "styles" / "wave.jpg")}
MOST = 19e6  # bytes of trained files and their pictures
GRAIN = 0.5 / 255
NOISE = 0.005  # of a distance, as a share of the photo's own

pytestmark = pytest.mark.usefixtures("one_thread")
both = pytest.mark.parametrize("name", MODELS)


@cache
def model(name: str) -> TorchModel:
    return impasto.load(name, precision="float32")


@cache
def photo(name: str = "chelsea") -> Tensor:
    image = to_tensor(read(EXAMPLES / "photos" / f"{name}.jpg").rgb)
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), SIZE))


def paint(name: str, style: Any = None, **options: Any) -> Tensor:
    return to_tensor(model(name).paint(photo(), style or STYLE[name], **options).rgb)


def test_both_ship_within_the_space_there_is() -> None:
    assert shipped_models() == tuple(MODELS)
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= MOST
    sums = {name: hashlib.sha256((SHIPPED / name).read_bytes()).hexdigest() for name in MODELS.values()}
    manifest = read_manifest(SHIPPED)
    assert sums == {name: manifest[name] for name in sums}


@both
def test_a_file_describes_itself(name: str) -> None:
    told = read_metadata(find_model(name))
    assert told["licence"] == "CC BY 4.0"
    assert told["recipe"]["train"] == {"gallery": "multistyle", "universal": "universal"}[name]
    assert told["recipe"]["steps"] > 100
    assert told["recipe"]["begin_with"]  # a longer training
    assert "/" not in str(told["recipe"]["photos"])  # names, no folders of whoever trained it


def test_the_gallery_knows_what_it_shows() -> None:
    records = model("gallery").styles
    assert len(records) >= 24
    assert len({record.name for record in records}) == len(records)
    for record in records:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", record.name)
        assert record.title
        assert record.artist
        assert record.year
        assert read(place_of_picture(record.name, "swatch")).rgb.shape == (256, 256, 3)
        assert max(read(place_of_picture(record.name, "thumbnail")).rgb.shape) == 256


def test_styles_differ_from_each_other_and_from_the_photo() -> None:
    painted = [paint("gallery", record.name) for record in model("gallery").styles]
    for i, one in enumerate(painted):
        assert (one - photo()).abs().mean() > 0.03
        assert all((one - other).abs().mean() > 0.01 for other in painted[:i])


@both
def test_style_grows_and_content_fades_with_strength(name: str) -> None:
    judge = load_backbone("compact")
    picture = to_tensor(read(EXAMPLES / "styles" / "wave.jpg").rgb)
    style = resize(picture, fit_long_side((picture.shape[2], picture.shape[3]), SIZE))
    found = [measure(judge, photo(), style, paint(name, strength=k / 4)) for k in range(5)]
    assert found[0].content < 1e-3
    for before, after in itertools.pairwise(found):
        assert after.content >= before.content - NOISE
        if name == "universal":  # the gallery's Great Wave is the painting, not this swatch
            assert after.style <= before.style + NOISE * found[0].copied
    assert found[4].content > 0.1
    assert found[4].share < 1


@both
def test_strength_0_is_the_photo(name: str) -> None:
    assert (paint(name, strength=0.0) - photo()).abs().max() <= 1 / 255


@both
def test_a_blend_of_a_style_with_itself_is_that_style(name: str) -> None:
    style = STYLE[name]
    assert (paint(name, [(style, 0.3), (style, 0.7)]) - paint(name)).abs().max() < 1e-3


@both
def test_where_the_mask_is_black_the_photo_stays_bit_for_bit(name: str, tmp_path: Path) -> None:
    original = Picture(to_array(photo())).integers(8, with_alpha=False)
    mask = np.zeros((SIZE, SIZE, 3), np.float32)
    mask[:, SIZE // 2 :] = 1
    write(Picture(mask), tmp_path / "mask.png")
    write(Picture(to_array(photo())), tmp_path / "photo.png")
    model(name).stylize(tmp_path / "photo.png", STYLE[name], mask=tmp_path / "mask.png").save(tmp_path / "out.png")
    painted = read(tmp_path / "out.png").integers(8, with_alpha=False)
    half = original.shape[1] // 2
    assert (painted[:, : half - 2] == original[:, : half - 2]).all()
    assert (painted[:, half + 2 :] != original[:, half + 2 :]).mean() > 0.5


@both
def test_a_print_shows_what_its_proof_showed(name: str) -> None:
    """Strokes in per cent: four times as large a painting, shrunk, is as far from the style as the small one."""
    judge, style = load_backbone("compact"), to_tensor(read(EXAMPLES / "styles" / "wave.jpg").rgb)
    style = resize(style, fit_long_side((style.shape[2], style.shape[3]), SIZE))
    large = resize(photo(), (4 * photo().shape[2], 4 * photo().shape[3]))
    proof = paint(name, style_scale="40%")
    printed = to_tensor(model(name).paint(large, STYLE[name], style_scale="40%").rgb)
    shrunk = resize(printed, (proof.shape[2], proof.shape[3]))
    distances = [measure(judge, photo(), style, painted).style for painted in (proof, shrunk)]
    assert distances[1] == pytest.approx(distances[0], rel=0.1)


@both
def test_a_flat_photo_gets_no_grid(name: str) -> None:
    """Sub-pixel convolutions leave patterns of 2 and 4 pixels where they can; ours are levelled."""
    grey = torch.full((1, 3, 128, 128), 0.6)
    painted = to_tensor(model(name).paint(grey, STYLE[name], ground=0).rgb)[0].mean(0)[32:96, 32:96]
    spectrum = torch.fft.rfft2(painted - painted.mean()).abs()
    for row, column in ((32, 0), (0, 32), (32, 32), (16, 0), (0, 16)):  # periods of 2 and 4 px
        assert spectrum[row, column] / painted.numel() < 2 * GRAIN
