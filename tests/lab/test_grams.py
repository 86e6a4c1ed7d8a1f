"""Gram matrices: what they hold and what they do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from impasto.core.vgg import VGG
from impasto.evaluation import measure
from impasto.lab.grams import gram_distances, gram_sheet, gram_views, strongest_pairs
from impasto.lab.layers import BackboneLayers

pytestmark = pytest.mark.usefixtures("one_thread")
TAPS = ["relu1_1", "relu2_1"]


def picture(seed: int, height: int = 40, width: int = 36) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def vgg() -> VGG:
    torch.manual_seed(0)
    network = VGG("vgg16", last="conv4_2", ranks={"conv4_1": 8, "conv4_2": 8})
    for parameter in network.parameters():
        nn.init.kaiming_normal_(parameter) if parameter.ndim == 4 else nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def test_pairs_are_the_largest_and_share_no_channel() -> None:
    matrix = torch.tensor(
        [
            [9.0, 7.0, 6.0, 1.0, 0.0],
            [7.0, 9.0, 5.0, 2.0, 0.0],
            [6.0, 5.0, 9.0, 3.0, 0.0],
            [1.0, 2.0, 3.0, 9.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 9.0],
        ]
    )
    assert strongest_pairs(matrix, 1) == ((0, 1),)
    assert strongest_pairs(matrix, 9) == ((0, 1), (2, 3))


def test_views_hold_what_they_say(vgg: VGG) -> None:
    image = picture(0)
    for view in gram_views(BackboneLayers(vgg), image, TAPS, pairs=2):
        f = vgg(image, [view.layer])[view.layer][0]
        assert torch.allclose(view.matrix, torch.einsum("chw,dhw->cd", f, f) / f[0].numel(), rtol=1e-4, atol=1e-5)
        for n, (i, j) in enumerate(view.pairs):
            assert torch.equal(view.maps[2 * n], f[i])
            assert torch.equal(view.maps[2 * n + 1], f[j])
            mean = (view.maps[2 * n] * view.maps[2 * n + 1]).mean()
            assert float(mean) == pytest.approx(float(view.matrix[i, j]), rel=1e-4)


def test_distances_are_those_of_the_evaluation(vgg: VGG) -> None:
    network, one, other = BackboneLayers(vgg), picture(0), picture(1, 33, 50)
    taps = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
    views = [gram_views(network, image, taps) for image in (one, other)]
    found = gram_distances(views[0], views[1])
    assert list(found) == taps
    assert sum(found.values()) / 4 == pytest.approx(measure(vgg, one, other, one).style, rel=1e-4)
    assert set(gram_distances(views[0], views[0]).values()) == {0.0}


def test_a_sheet_of_one_and_of_two(vgg: VGG) -> None:
    network = BackboneLayers(vgg)
    shown = [(f"{n}.jpg", image, gram_views(network, image, TAPS)) for n, image in enumerate((picture(0), picture(1)))]
    alone, both = gram_sheet(shown[:1]), gram_sheet(shown)
    headings = [text.get_text() for text in both.axes[0].texts]
    distance = gram_distances(shown[0][2], shown[1][2])["relu2_1"]
    assert f"relu2_1: 128 channels, relative distance {distance:.3g}" in headings
    assert "relu2_1: 128 channels" in [text.get_text() for text in alone.axes[0].texts]
    assert both.get_figwidth() > alone.get_figwidth()


def test_a_picture_that_nothing_answers_to() -> None:
    network = VGG("vgg16", last="conv1_1")
    nn.init.zeros_(network.conv1_1.weight)
    nn.init.zeros_(network.conv1_1.bias)
    black = torch.zeros(1, 3, 20, 20)
    views = gram_views(BackboneLayers(network.requires_grad_(False)), black, ["relu1_1"])
    assert float(views[0].matrix.max()) == 0
    assert gram_sheet([("black", black, views)]).axes
