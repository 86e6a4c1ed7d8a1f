"""Activation maps: which channels, what is drawn, what is saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.core.vgg import VGG
from impasto.errors import OptionError, OutputError
from impasto.lab.activations import activation_sheet, activations, choose_filters, map_tiles, save_maps
from impasto.lab.layers import BackboneLayers

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGE = torch.rand(1, 3, 34, 44, generator=torch.Generator().manual_seed(0))


class Fixed:
    """A network whose only layer answers the same to everything."""

    name, layers = "fixed", ("only",)

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        return {"only": self.maps[None]}


@pytest.fixture(scope="module")
def network() -> BackboneLayers:
    torch.manual_seed(0)
    return BackboneLayers(VGG("vgg16", last="conv2_1").requires_grad_(False))


def test_filters() -> None:
    strengths = torch.tensor([0.5, 3.0, 0.0, 2.0] + [1.0] * 10)
    assert choose_filters(strengths, "3") == [0, 1, 2]
    assert choose_filters(strengths, "99") == list(range(14))
    assert choose_filters(strengths, "all") == list(range(14))
    assert choose_filters(strengths, "strongest") == [1, 3, *range(4, 14)]
    for wrong in ("0", "-1", "some", "1.5", ""):
        with pytest.raises(OptionError, match="a number from 1 up, all or strongest"):
            choose_filters(strengths, wrong)


def test_strength_is_the_mean_of_absolute_values() -> None:
    maps = torch.stack([torch.full((4, 5), -2.0), torch.eye(4, 5)])
    (found,) = activations(Fixed(maps), IMAGE, ["only"])
    assert found.strengths.tolist() == pytest.approx([2.0, 0.2])


def test_the_maps_saved_are_the_layers(network: BackboneLayers, tmp_path: Path) -> None:
    found = activations(network, IMAGE, ["relu2_1", "relu1_1", "relu2_1"])
    assert [one.layer for one in found] == ["relu2_1", "relu1_1"]
    save_maps(found, "strongest", tmp_path / "maps.npz")
    features = network(IMAGE, ["relu1_1"])["relu1_1"][0]
    with np.load(tmp_path / "maps.npz") as saved:
        assert sorted(saved) == ["relu1_1", "relu1_1_channels", "relu2_1", "relu2_1_channels"]
        channels = saved["relu1_1_channels"]
        assert np.array_equal(saved["relu1_1"], features[channels.tolist()].numpy())
        means = features.mean((1, 2)).numpy()
        assert means[channels].min() >= np.delete(means, channels).max()
    with pytest.raises(OutputError, match=r"written as \.npz"):
        save_maps(found, "6", tmp_path / "maps.zip")


def test_the_sheet_grows_with_what_it_shows(network: BackboneLayers) -> None:
    found = activations(network, IMAGE, ["relu1_1", "relu2_1"])
    few, all_of_them = (activation_sheet(IMAGE, found, filters) for filters in ("6", "all"))
    texts = [text.get_text() for text in all_of_them.axes[0].texts]
    assert "relu2_1: 128 of 128 channels, 22x17 px each" in texts
    assert {str(channel) for channel in range(128)} <= set(texts)
    assert any(text.get_text().startswith("5, max ") for text in few.axes[0].texts)
    assert few.get_figheight() < all_of_them.get_figheight()


def test_each_map_has_its_own_scale() -> None:
    maps = torch.stack([torch.full((8, 8), 0.01), torch.full((8, 8), 100.0), torch.zeros(8, 8)])
    (found,) = activations(Fixed(maps), IMAGE, ["only"])
    faint, loud, silent = (tile.image for tile in map_tiles(found, [0, 1, 2], 8))
    assert np.array_equal(faint, loud)
    assert silent.max() < 10


def test_values_below_zero_are_shown_as_such() -> None:
    (found,) = activations(Fixed(torch.tensor([[[-1.0, 1.0], [0.0, 0.5]]])), IMAGE, ["only"])
    texts = [text.get_text() for text in activation_sheet(IMAGE, [found], "all").axes[0].texts]
    assert "-largest" in texts
