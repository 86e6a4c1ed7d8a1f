"""Trained networks in use: which styles each takes, and what strength means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from impasto.core.precision import choose_precision
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import Network
from impasto.networks.inference import paint, ready
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.universal import Universal, UniversalConfig

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {"channels": 8, "blocks": 1, "detail": 4}


def networks() -> dict[str, Network]:
    torch.manual_seed(0)
    ranks = dict.fromkeys(VGG("vgg16", last="conv4_1").convolutions[1:], 4)
    encoder = VGG("vgg16", last="conv4_1", ranks=ranks, name="tiny").requires_grad_(False)
    made: dict[str, Network] = {
        "johnson": Johnson(JohnsonConfig(width=4, blocks=1)),
        "linear": Johnson(JohnsonConfig("linear", width=4, blocks=1)),
        "multistyle": MultiStyle(MultiStyleConfig(("a", "b"), width=4, blocks=1)),
        "brisk": Brisk(BriskConfig(("a", "b"), **SIZES)),
        "alone": Brisk(BriskConfig(("a",), **SIZES)),
        "adain": AdaIN(AdaINConfig(width=1 / 32), encoder),
        "universal": Universal(UniversalConfig(**SIZES, parts=8, hidden=8), encoder),
    }
    for network in made.values():
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "beta")):
                torch.nn.init.normal_(parameter)
        ready(network, choose_precision("cpu", "float32"))
    return made


NETWORKS = networks()
PICTURE = torch.rand(1, 3, 40, 36, generator=torch.Generator().manual_seed(3))
CHOICE = {
    "multistyle": {"styles": "b"},
    "brisk": {"styles": {"a": 3, "b": 1}},
    "adain": {"pictures": [(PICTURE, 1.0)]},
    "universal": {"pictures": [(PICTURE, 1.0)]},
}


def photo(height: int = 45, width: int = 38) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_comes_back_as_it_was(name: str) -> None:
    painted = paint(NETWORKS[name], photo(), **CHOICE.get(name, {}))
    assert painted.shape == photo().shape
    assert painted.dtype == torch.float32
    assert 0 <= painted.min() <= painted.max() <= 1
    assert (painted - photo()).abs().mean() > 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_strength_0_is_the_photo_1_the_style_and_between_it_grows(name: str) -> None:
    def moved(strength: float) -> Tensor:
        return (paint(NETWORKS[name], photo(), strength=strength, **CHOICE.get(name, {})) - photo()).abs().mean()

    assert moved(0) == 0
    full = paint(NETWORKS[name], photo(), **CHOICE.get(name, {}))
    assert torch.equal(full, paint(NETWORKS[name], photo(), strength=1, **CHOICE.get(name, {})))
    if name != "adain":  # whose path through feature space need not be straight in pixels
        assert moved(0.25) < moved(0.5) < moved(1)


def test_weights_of_styles_need_not_sum_to_1() -> None:
    brisk = NETWORKS["brisk"]
    assert torch.equal(
        paint(brisk, photo(), styles={"a": 3, "b": 1}), paint(brisk, photo(), styles={"a": 0.75, "b": 0.25})
    )
    assert torch.equal(paint(brisk, photo(), styles="a"), paint(brisk, photo(), styles={"a": 2, "b": 0}))
    assert not torch.equal(paint(brisk, photo(), styles="a"), paint(brisk, photo(), styles="b"))


def test_masks_give_each_picture_its_region() -> None:
    left = torch.zeros(1, 1, 40, 40)
    left[..., :20] = 1
    other = 1 - PICTURE
    both = [(PICTURE, 1.0), (other, 1.0)]
    masked = paint(NETWORKS["adain"], photo(48, 48), pictures=both, masks=[left, 1 - left])
    assert not torch.equal(masked, paint(NETWORKS["adain"], photo(48, 48), pictures=both))


def test_half_precision_is_close() -> None:
    exact = paint(NETWORKS["brisk"], photo(), styles="a")
    torch.manual_seed(0)
    twin = ready(networks()["brisk"], choose_precision("cpu", "bfloat16"))
    rough = paint(twin, photo(), styles="a")
    assert not torch.equal(exact, rough)
    assert (exact - rough).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("name", "choice", "message"),
    [
        ("brisk", {}, "which style.*a, b"),
        ("brisk", {"styles": "c"}, "no style 'c' in this network; it has a, b"),
        ("brisk", {"pictures": [(PICTURE, 1.0)]}, r"knows its own styles alone \(a, b\)"),
        ("johnson", {"pictures": [(PICTURE, 1.0)]}, "knows its own styles alone"),
        ("johnson", {"styles": "a"}, "has a single style"),
        ("adain", {}, "any picture"),
        ("adain", {"styles": "a"}, "any picture"),
        ("adain", {"pictures": [(PICTURE, -1.0)]}, "weights of styles are 0 or more"),
        ("universal", {"styles": "a"}, "any picture"),
        ("universal", {**CHOICE["universal"], "alpha": 0.5}, r"that decode features \(adain\): use strength"),
        ("alone", {"alpha": 0.5}, r"that decode features \(adain\): use strength"),
        ("alone", {"alpha": 1.5}, "alpha is 1.5, need a number from 0 to 1"),
    ],
)
def test_wrong_choices_are_refused(name: str, choice: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        paint(NETWORKS[name], photo(), **choice)
