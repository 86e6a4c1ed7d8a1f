"""Layers by name, of backbones and of each of our networks."""

from __future__ import annotations

import pytest
import torch

from impasto.core.vgg import VGG
from impasto.errors import LayerError, OptionError
from impasto.lab.layers import BackboneLayers, PainterLayers, stage_names
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.inference import bind
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.layers import pad_to_multiple
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.staged import run_stages
from impasto.networks.universal import Universal, UniversalConfig

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGE = torch.rand(1, 3, 26, 37, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def brisk() -> Brisk:
    torch.manual_seed(0)
    return Brisk(BriskConfig(styles=("night", "wave"), channels=16, blocks=2, detail=16)).eval()


@pytest.fixture(scope="module")
def encoder() -> VGG:
    torch.manual_seed(0)
    return VGG("vgg16", last="conv4_1", ranks={f"conv{b}_{i}": 4 for b, i in [(2, 2), (3, 2), (3, 3), (4, 1)]})


@pytest.fixture(scope="module")
def adain(encoder: VGG) -> AdaIN:
    torch.manual_seed(0)
    return AdaIN(AdaINConfig(width=1 / 16), encoder).eval()


@pytest.fixture(scope="module")
def universal(encoder: VGG) -> Universal:
    torch.manual_seed(0)
    network = Universal(UniversalConfig(channels=16, blocks=2, detail=16, parts=2, hidden=8), encoder).eval()
    network.predictor.learn_basis(network.signature(torch.rand(4, 3, 32, 32)).features)
    torch.nn.init.normal_(network.predictor.rows.weight)
    return network


def test_names(brisk: Brisk, adain: AdaIN) -> None:
    assert stage_names(brisk) == ("stem", "block1_1", "block1", "block2_1", "block2", "up", "head")
    johnson = ("conv1", "conv2", "conv3", "block1_1", "block1", "deconv1", "deconv2", "deconv3")
    assert stage_names(Johnson(JohnsonConfig(width=4, blocks=1))) == johnson
    assert stage_names(MultiStyle(MultiStyleConfig(styles=("a",), width=4, blocks=1))) == johnson
    assert stage_names(adain)[:2] == ("decoder_conv4_1", "decoder_conv3_4")
    pictures = [(IMAGE, 1.0)]
    assert PainterLayers(adain, "any", pictures=pictures).layers[:2] == ("conv1_1", "relu1_1")


def test_the_last_layer_is_what_the_picture_is_made_of(brisk: Brisk) -> None:
    seen = PainterLayers(brisk, "two", {"wave": 1.0})(IMAGE, ["head", "stem"])
    with torch.no_grad():
        padded = pad_to_multiple(IMAGE, 4, 8)
        mix = brisk.mix("wave")
        assert torch.equal(run_stages(brisk.stages(), brisk.centre(padded), mix), seen["head"])
        painted = brisk.to_picture(seen["head"], padded, mix)[..., :26, :37]
        assert torch.allclose(painted, brisk(IMAGE, mix), atol=1e-6)
    assert list(seen) == ["head", "stem"]
    assert seen["stem"].shape == (1, 16, 7, 10)


def test_a_block_is_what_comes_out_of_its_sum(brisk: Brisk) -> None:
    # A block whose second normalisation gives nothing hands its input on.
    import copy

    network = copy.deepcopy(brisk)
    with torch.no_grad():
        network.res1.in2.gamma.zero_()
        network.res1.in2.beta.zero_()
    seen = PainterLayers(network, "two", {"night": 1.0})(IMAGE, ["stem", "block1"])
    assert torch.equal(seen["stem"], seen["block1"])
    other = PainterLayers(brisk, "two", {"night": 1.0})(IMAGE, ["stem", "block1"])
    assert not torch.equal(other["stem"], other["block1"])


def test_any_style_has_an_encoder_and_a_decoder(adain: AdaIN) -> None:
    layers = PainterLayers(adain, "any", pictures=[(IMAGE.flip(3) * 0.5, 1.0)])
    seen = layers(IMAGE, ["decoder_conv1_1", "relu1_1"])
    with torch.no_grad():
        painted = adain(IMAGE, [IMAGE.flip(3) * 0.5])
        assert torch.equal(seen["decoder_conv1_1"].clamp(0, 1)[..., :26, :37], painted)
        assert torch.equal(seen["relu1_1"], adain.encoder(IMAGE, ["relu1_1"])["relu1_1"])


@torch.no_grad()
def test_any_style_by_what_was_predicted_has_the_stages_of_its_painter(universal: Universal, brisk: Brisk) -> None:
    pictures = [(IMAGE.flip(3) * 0.5, 3.0), (1 - IMAGE, 1.0)]
    layers = PainterLayers(universal, "any", pictures=pictures)
    assert layers.layers == stage_names(brisk)
    seen = layers(IMAGE, ["head", "stem"])
    bound = universal.bind_parameters([universal.encode_style(picture) for picture, _ in pictures])
    painted = bound.to_picture(seen["head"], pad_to_multiple(IMAGE, 4, 8), bound.mix({"1": 3.0, "2": 1.0}))
    assert torch.equal(painted[..., :26, :37], bind(universal, pictures)(IMAGE))
    alone = PainterLayers(universal, "any", pictures=pictures[:1])(IMAGE, ["stem"])
    assert not torch.equal(alone["stem"], seen["stem"])


def test_an_unknown_layer_lists_those_there_are(brisk: Brisk) -> None:
    with pytest.raises(
        LayerError, match=r"two has no layer 'block9' .did you mean 'block2'..; its layers are stem, block1_1, .*head"
    ):
        PainterLayers(brisk, "two", {"wave": 1.0})(IMAGE, ["block9"])
    with pytest.raises(
        LayerError, match=r"no layer 'relu9_1' .did you mean 'relu1_1'..; its layers are conv1_1, relu1_1"
    ):
        BackboneLayers(VGG("vgg16", last="conv1_1"))(IMAGE, ["relu9_1"])


def test_styles_that_do_not_fit(brisk: Brisk, adain: AdaIN, universal: Universal) -> None:
    with pytest.raises(OptionError, match="which style\\? two has night, wave"):
        PainterLayers(brisk, "two")
    with pytest.raises(OptionError, match="a manner of its own"):
        PainterLayers(brisk, "two", pictures=[(IMAGE, 1.0)])
    with pytest.raises(OptionError, match="any picture: give it one as `style`"):
        PainterLayers(adain, "any")
    with pytest.raises(OptionError, match="any picture: give it one as `style`"):
        PainterLayers(universal, "any", {"1": 1.0})
    with pytest.raises(OptionError, match="a manner of its own"):
        PainterLayers(Johnson(JohnsonConfig(width=4, blocks=1)), "one", {"a": 1.0})
