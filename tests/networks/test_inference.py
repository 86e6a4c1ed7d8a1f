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
from impasto.networks.inference import bind, encode, ready
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.registry import Network, as_encoded, kind_named, kind_of
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
        "adain": AdaIN(AdaINConfig(width=1 / 16), encoder),
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
    "multistyle": [("b", 1.0)],
    "brisk": [("a", 3), ("b", 1)],
    "adain": [(PICTURE, 1.0)],
    "universal": [(PICTURE, 1.0)],
}


def photo(height: int = 45, width: int = 38) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_comes_back_as_it_was(name: str) -> None:
    painted = bind(NETWORKS[name], CHOICE.get(name, []))(photo())
    assert painted.shape == photo().shape
    assert painted.dtype == torch.float32
    assert 0 <= painted.min() <= painted.max() <= 1
    assert (painted - photo()).abs().mean() > 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_strength_0_is_the_photo_1_the_style_and_between_it_grows(name: str) -> None:
    def moved(strength: float) -> Tensor:
        return (bind(NETWORKS[name], CHOICE.get(name, []))(photo(), strength=strength) - photo()).abs().mean()

    assert moved(0) == 0
    full = bind(NETWORKS[name], CHOICE.get(name, []))(photo())
    assert torch.equal(full, bind(NETWORKS[name], CHOICE.get(name, []))(photo(), strength=1))
    if name != "adain":  # whose path through feature space need not be straight in pixels
        assert moved(0.25) < moved(0.5) < moved(1)


def test_weights_of_styles_need_not_sum_to_1() -> None:
    brisk = NETWORKS["brisk"]
    assert torch.equal(bind(brisk, [("a", 3), ("b", 1)])(photo()), bind(brisk, [("a", 0.75), ("b", 0.25)])(photo()))
    assert torch.equal(bind(brisk, [("a", 1.0)])(photo()), bind(brisk, [("a", 2), ("b", 0)])(photo()))
    assert not torch.equal(bind(brisk, [("a", 1.0)])(photo()), bind(brisk, [("b", 1.0)])(photo()))


def test_masks_give_each_picture_its_region() -> None:
    left = torch.zeros(1, 1, 40, 40)
    left[..., :20] = 1
    other = 1 - PICTURE
    both = [(PICTURE, 1.0), (other, 1.0)]
    masked = bind(NETWORKS["adain"], both)(photo(48, 48), masks=[left, 1 - left])
    assert not torch.equal(masked, bind(NETWORKS["adain"], both)(photo(48, 48)))


def test_half_precision_is_close() -> None:
    exact = bind(NETWORKS["brisk"], [("a", 1.0)])(photo())
    torch.manual_seed(0)
    twin = ready(networks()["brisk"], choose_precision("cpu", "bfloat16"))
    rough = bind(twin, [("a", 1.0)])(photo())
    assert not torch.equal(exact, rough)
    assert (exact - rough).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("name", "choice", "message"),
    [
        ("brisk", [], "which style.*a, b"),
        ("brisk", [("c", 1.0)], "no style 'c' in this network; it has a, b"),
        ("brisk", [(PICTURE, 1.0)], r"knows its own styles alone \(a, b\)"),
        ("johnson", [(PICTURE, 1.0)], "knows its own styles alone"),
        ("johnson", [("a", 1.0)], "has a single style"),
        ("adain", [], "any picture"),
        ("adain", [("a", 1.0)], "any picture"),
        ("adain", [(PICTURE, -1.0)], "weights of styles are 0 or more"),
        ("adain", [(encode(NETWORKS["universal"], PICTURE), 1.0)], "encoded by a network of another method"),
        ("universal", [("a", 1.0)], "any picture"),
        ("universal", [(encode(NETWORKS["adain"], PICTURE), 1.0)], "encoded by a network of another method"),
    ],
)
def test_wrong_choices_are_refused(name: str, choice: list, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        bind(NETWORKS[name], choice)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("universal", {"alpha": 0.5}, r"that decode features \(adain\): use strength"),
        ("alone", {"alpha": 0.5}, r"that decode features \(adain\): use strength"),
        ("alone", {"alpha": 1.5}, "alpha is 1.5, need a number from 0 to 1"),
        ("adain", {"alpha": -0.5}, "alpha is -0.5, need a number from 0 to 1"),
        ("adain", {"strength": 2}, "strength is 2, need a number from 0 to 1"),
        ("brisk", {"masks": [torch.ones(1, 1, 45, 38)]}, "2 styles with 1 mask"),
        ("adain", {"masks": [torch.ones(1, 1, 45, 38)] * 2}, "1 style with 2 masks"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict, message: str) -> None:
    bound = bind(NETWORKS[name], CHOICE.get(name, []))
    with pytest.raises(OptionError, match=message):
        bound(photo(), **options)


def test_only_networks_of_any_style_encode_pictures() -> None:
    with pytest.raises(OptionError, match="method brisk knows its own styles alone"):
        encode(NETWORKS["brisk"], PICTURE)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_the_registry_says_holds(name: str) -> None:
    network = NETWORKS[name]
    kind = kind_of(network)
    assert kind_named(network.METHOD) is kind
    assert type(network) is kind.network
    assert type(network.config) is kind.config
    assert bool(network.styles) == (kind.styled_by == "names")
    assert (as_encoded(network) is not None) == (kind.styled_by == "pictures")
    bound, image = bind(network, CHOICE.get(name, [])), photo()
    if kind.alpha:
        assert not torch.equal(bound(image, alpha=0.5), bound(image))
    if kind.blends:
        two = [("a", 1.0), ("b", 1.0)] if network.styles else [(PICTURE, 1.0), (1 - PICTURE, 1.0)]
        assert name == "alone" or bind(network, two)(image).shape == image.shape
    assert bound.count_forward_passes() == 1
