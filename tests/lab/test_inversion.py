"""Pictures from single layers, at toy size; the real figures with the development weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.errors import LayerError, OptionError
from impasto.imaging import fit_long_side, read
from impasto.lab.inversion import PERFECT, Inversion, inversion_sheet, psnr, reconstruction

pytestmark = pytest.mark.usefixtures("one_thread")
PHOTO = Path(__file__).resolve().parents[2] / "examples" / "photos" / "chelsea.jpg"


@pytest.fixture(scope="module")
def toy() -> VGG:
    torch.manual_seed(0)
    network = VGG("vgg16", last="conv2_1")
    for parameter in network.parameters():
        nn.init.kaiming_normal_(parameter) if parameter.ndim == 4 else nn.init.zeros_(parameter)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    rgb = to_tensor(read(PHOTO).rgb)
    return resize(rgb, fit_long_side((rgb.shape[2], rgb.shape[3]), 48))


def test_psnr() -> None:
    black = torch.zeros(1, 3, 4, 4)
    assert psnr(black + 0.1, black) == pytest.approx(20, abs=1e-4)
    assert psnr(black, black) == PERFECT


def test_the_picture_comes_back_from_the_first_layer(toy: VGG, photo: torch.Tensor) -> None:
    grey = psnr(torch.full_like(photo, 0.5), photo)
    begun = Inversion(layer="relu1_1", steps=25, start=24).begin(photo, toy)
    assert begun.steps == 50
    before = reconstruction(begun)
    assert before.psnr == pytest.approx(grey)
    *_, last = begun.run()
    assert last.losses["style"] == 0
    found = reconstruction(begun)
    assert found.image.shape == photo.shape
    assert found.psnr > grey + 12
    assert found.feature_error < 0.02 < before.feature_error


def test_what_is_told_of_it_is_what_was_made(toy: VGG, photo: torch.Tensor) -> None:
    begun = Inversion(layer="relu2_1", steps=3, start=48).begin(photo, toy)
    list(begun.run())
    found = reconstruction(begun)
    got, wanted = (toy(x, ["relu2_1"])["relu2_1"] for x in (found.image, photo))
    assert found.feature_error == pytest.approx(float((got - wanted).square().sum() / wanted.square().sum()), rel=1e-4)
    assert found.psnr == pytest.approx(psnr(found.image, photo))
    texts = [text.get_text() for text in inversion_sheet(photo, [found]).axes[0].texts]
    assert f"relu2_1: {found.psnr:.1f} dB\nfeature error {found.feature_error:.2g}" in texts


def test_what_makes_no_sense(toy: VGG, photo: torch.Tensor) -> None:
    with pytest.raises(LayerError, match="no layer 'relu5_1'"):
        Inversion(layer="relu5_1").begin(photo, toy)
    with pytest.raises(OptionError, match="`steps` must be at least 1"):
        Inversion(layer="relu1_1", steps=0).begin(photo, toy)


def test_compact_keeps_the_first_layer_and_loses_more_with_depth(photo: torch.Tensor) -> None:
    compact = load_backbone("compact")
    found = []
    for layer in ("relu1_1", "relu3_1"):
        begun = Inversion(layer=layer, steps=12, start=24).begin(photo, compact)
        list(begun.run())
        found.append(reconstruction(begun).psnr)
    assert found[0] > 25
    assert found[0] > found[1] + 5
