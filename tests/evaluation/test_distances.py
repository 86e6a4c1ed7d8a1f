"""Distances against the formula written out with numpy, on a VGG of random weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.core.statistics import gram
from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.errors import ImageError, LayerError
from impasto.evaluation import CONTENT_TAPS, STYLE_TAPS, Distances, measure

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def vgg() -> VGG:
    torch.manual_seed(0)
    network = VGG("vgg16", NORMALISATIONS["torchvision"], last="conv4_2")
    for parameter in network.parameters():
        torch.nn.init.kaiming_normal_(parameter) if parameter.ndim == 4 else torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def picture(seed: int, height: int = 40, width: int = 36) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


PHOTO, RESULT, STYLE = picture(0), picture(1), picture(2, 33, 50)


def test_against_the_formula(vgg: VGG) -> None:
    def features(image: Tensor, tap: str) -> np.ndarray:
        return vgg(image, [tap])[tap][0].double().numpy()

    def gram_of(image: Tensor, tap: str) -> np.ndarray:
        f = features(image, tap)
        return np.einsum("chw,dhw->cd", f, f) / (f.shape[1] * f.shape[2])

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return ((a - b) ** 2).sum() / (b**2).sum()

    got = measure(vgg, PHOTO, STYLE, RESULT)
    assert got.content == pytest.approx(
        np.mean([apart(features(RESULT, t), features(PHOTO, t)) for t in CONTENT_TAPS]), rel=1e-5
    )
    assert got.style == pytest.approx(
        np.mean([apart(gram_of(RESULT, t), gram_of(STYLE, t)) for t in STYLE_TAPS]), rel=1e-5
    )
    assert got.copied == pytest.approx(
        np.mean([apart(gram_of(PHOTO, t), gram_of(STYLE, t)) for t in STYLE_TAPS]), rel=1e-5
    )
    assert got.share == got.style / got.copied


def test_hidden_parts_of_a_style_do_not_count(vgg: VGG) -> None:
    found = []
    for alpha in (0.0, 1.0):
        style = torch.cat([STYLE, torch.full_like(STYLE[:, :1], 1)], 1)
        style[..., 24:] = style[..., 24:] * torch.tensor([1, 1, 1, alpha]).view(1, 4, 1, 1)
        found.append(measure(vgg, PHOTO, style, RESULT))
    whole = measure(vgg, PHOTO, STYLE, RESULT)
    assert found[1].style == pytest.approx(whole.style, rel=1e-5)
    assert found[0].style != pytest.approx(whole.style, rel=1e-3)
    seen = vgg(STYLE, ["relu1_1"])["relu1_1"][..., :24]
    expected, got = gram(seen), gram(vgg(RESULT, ["relu1_1"])["relu1_1"])
    apart = float((got - expected).square().sum() / expected.square().sum())
    assert found[0].style_by_layer["relu1_1"] == pytest.approx(apart, rel=1e-4)


def test_the_photo_itself_is_all_content_and_keeps_its_style_distance(vgg: VGG) -> None:
    got = measure(vgg, PHOTO, STYLE, PHOTO)
    assert (got.content, got.share) == (0, 1)
    assert got.style > 0


def test_the_style_itself_has_no_style_distance(vgg: VGG) -> None:
    got = measure(vgg, PHOTO, RESULT, RESULT)
    assert (got.style, got.share) == (0, 0)
    assert got.content > 0


def test_a_photo_of_no_style_distance_has_none_to_lose() -> None:
    assert Distances(content=0.0, style=0.0, copied=0.0).share == 0
    assert Distances(content=0.1, style=0.2, copied=0.0).share == math.inf


def test_where_the_result_is_another_size(vgg: VGG) -> None:
    with pytest.raises(ImageError, match="a photo of its size, 36x40 px"):
        measure(vgg, PHOTO, STYLE, STYLE)


def test_where_the_backbone_lacks_a_layer() -> None:
    with pytest.raises(LayerError, match=r"has no layer 'relu3_1' .*; its layers are conv1_1, .*relu2_1"):
        measure(VGG("vgg16", last="conv2_1"), PHOTO, STYLE, RESULT)
