"""Textures at toy size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from impasto.core.losses import reduce_error
from impasto.core.statistics import gram
from impasto.core.vgg import VGG
from impasto.errors import LayerError
from impasto.lab.textures import Texture, cumulative_layers, texture_sheet

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def toy() -> VGG:
    torch.manual_seed(0)
    network = VGG("vgg16", last="conv3_1", ranks={"conv2_2": 8, "conv3_1": 8})
    for parameter in network.parameters():
        nn.init.kaiming_normal_(parameter) if parameter.ndim == 4 else nn.init.zeros_(parameter)
    return network.requires_grad_(False)


def stripes(height: int = 32, width: int = 48) -> torch.Tensor:
    x = torch.arange(width).float()
    return (0.5 + 0.4 * torch.sin(x)).expand(1, 3, height, width) * torch.tensor([1.0, 0.6, 0.3]).view(1, 3, 1, 1)


def test_rows_grow_layer_by_layer(toy: VGG) -> None:
    assert cumulative_layers(toy, "relu3_1") == [
        ("relu1_1",),
        ("relu1_1", "relu2_1"),
        ("relu1_1", "relu2_1", "relu3_1"),
    ]
    assert cumulative_layers(toy, "conv2_2") == [("conv1_1",), ("conv1_1", "conv2_2")]
    with pytest.raises(LayerError, match="no layer 'relu5_1'"):
        cumulative_layers(toy, "relu5_1")


def test_a_texture_has_the_pictures_statistics_and_not_its_picture(toy: VGG) -> None:
    picture = stripes()
    begun = Texture(layers=("relu1_1", "relu2_1"), steps=20, start=40).begin(picture, toy, 40)
    noise = begun.image()
    assert noise.shape == (1, 3, 27, 40)
    list(begun.run())

    def apart(image: torch.Tensor) -> float:
        got, wanted = (gram(toy(x, ["relu2_1"])["relu2_1"]) for x in (image, picture))
        return float(reduce_error(got, wanted, "relative"))

    assert apart(begun.image()) < 0.2 * apart(noise)


def test_the_seed_decides(toy: VGG) -> None:
    def made(seed: int) -> torch.Tensor:
        begun = Texture(layers=("relu1_1",), steps=2, start=32, seed=seed).begin(stripes(), toy, 32)
        list(begun.run())
        return begun.image()

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))


def test_labels_say_what_each_knows() -> None:
    image = stripes()
    figure = texture_sheet(image, [(["relu1_1"], image), (["relu1_1", "relu2_1"], image)])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"relu1_1\none Gram matrix", "relu1_1 ... relu2_1\n2 Gram matrices"} <= set(texts)
