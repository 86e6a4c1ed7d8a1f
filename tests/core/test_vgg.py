"""VGG against plain torch.nn.Sequential networks with the same weights."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core import frozen
from impasto.core.vgg import NORMALISATIONS, TOPOLOGIES, VGG, Normalisation
from impasto.errors import ImageError, LayerError

pytestmark = pytest.mark.usefixtures("one_thread")

# name, channels in, channels out; what VGG-19 adds to VGG-16 is marked
TABLE_19 = [
    ("conv1_1", 3, 64), ("conv1_2", 64, 64),
    ("conv2_1", 64, 128), ("conv2_2", 128, 128),
    ("conv3_1", 128, 256), ("conv3_2", 256, 256), ("conv3_3", 256, 256), ("conv3_4", 256, 256),
    ("conv4_1", 256, 512), ("conv4_2", 512, 512), ("conv4_3", 512, 512), ("conv4_4", 512, 512),
    ("conv5_1", 512, 512), ("conv5_2", 512, 512), ("conv5_3", 512, 512), ("conv5_4", 512, 512),
]  # fmt: skip
TABLES = {"vgg19": TABLE_19, "vgg16": [row for row in TABLE_19 if not row[0].endswith("_4")]}

POOLS = {"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2), "l2": nn.LPPool2d(2, 2)}
RESCALE = {"max": 1.0, "average": 2.0, "l2": 0.78}

CAFFE_MEAN = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)  # blue, green, red
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
INPUTS = {
    "none": lambda x: x,
    "torchvision": lambda x: (x - IMAGENET[0].to(x)) / IMAGENET[1].to(x),
    "caffe": lambda x: 255 * x[:, [2, 1, 0]] - CAFFE_MEAN.to(x),
}


def network(topology: str = "vgg16", last: str | None = "conv3_1", seed: int = 0, **options) -> VGG:
    """Random weights that keep activations alive, frozen."""
    normalisation = NORMALISATIONS[options.pop("normalisation", "none")]
    torch.manual_seed(seed)
    vgg = VGG(topology, normalisation, last=last, **options)
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / (9 * module.in_channels)) ** 0.5)
            nn.init.normal_(module.bias, std=0.1)
    return vgg.requires_grad_(False)


def plain(vgg: VGG, image: Tensor, normalisation: str = "none") -> dict[str, Tensor]:
    """Every layer, one plain module after the other, with the weights of `vgg`."""
    x, out = INPUTS[normalisation](image), {}
    for name, inwards, outwards in TABLES[vgg.topology.name]:
        if name not in vgg.convolutions:
            break
        if name.endswith("_1") and name != "conv1_1":
            x = POOLS[vgg.pool](x) * vgg.pool_scale
        mode = "replicate" if name == "conv1_1" and vgg.padding == "replicate" else "zeros"
        conv = nn.Conv2d(inwards, outwards, 3, padding=1, padding_mode=mode).to(x.dtype)
        conv.load_state_dict(vgg.get_submodule(name).state_dict())
        out[name] = nn.Sequential(conv)(x)
        out[name.replace("conv", "relu")] = x = nn.ReLU()(out[name])
    return out


def picture(h: int = 24, w: int = 32, seed: int = 0, b: int = 1) -> Tensor:
    return torch.rand(b, 3, h, w, generator=torch.Generator().manual_seed(seed))


def same(got: dict[str, Tensor], wanted: dict[str, Tensor], names: Iterable[str], tolerance: float = 1e-5) -> None:
    assert list(got)
    for name in names:
        scale = float(wanted[name].detach().abs().max())
        torch.testing.assert_close(got[name], wanted[name], rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("topology", ["vgg16", "vgg19"])
def test_the_whole_table_of_channels(topology) -> None:
    with torch.device("meta"):
        vgg = VGG(topology)
    shapes = {key: tuple(value.shape) for key, value in vgg.state_dict().items()}
    expected = {f"{name}.weight": (o, i, 3, 3) for name, i, o in TABLES[topology]}
    expected |= {f"{name}.bias": (o,) for name, _, o in TABLES[topology]}
    assert shapes == expected
    assert TOPOLOGIES[topology].layers == tuple(TABLES[topology])
    assert vgg.taps == tuple(tap for n, _, _ in TABLES[topology] for tap in (n, n.replace("conv", "relu")))


@pytest.mark.parametrize("topology", ["vgg16", "vgg19"])
def test_every_layer_of_the_whole_network(topology) -> None:
    vgg, x = network(topology, last=None), picture(20, 36, b=2)
    expected = plain(vgg, x)
    with torch.no_grad():
        got = vgg(x, vgg.taps)
    assert list(got) == list(expected)
    same(got, expected, expected)


@pytest.mark.parametrize("normalisation", ["none", "torchvision", "caffe"])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_input_normalisation_and_the_first_padding(normalisation, padding) -> None:
    vgg = network(last="conv2_1", normalisation=normalisation, padding=padding)
    got = vgg(picture(), ["relu1_1", "conv2_1"])
    same(got, plain(vgg, picture(), normalisation), ["relu1_1", "conv2_1"])


def test_without_normalisation_the_picture_is_passed_on() -> None:
    x = picture()
    assert Normalisation()(x) is x
    assert NORMALISATIONS["caffe"](x).std() > 50
    assert VGG("vgg16", last="conv1_1").normalisation == NORMALISATIONS["torchvision"]


def test_replicated_frames_look_like_the_inside() -> None:
    flat = torch.full((1, 3, 8, 8), 0.6)
    for padding, edge_is_special in (("replicate", False), ("zeros", True)):
        features = network(last="conv1_1", padding=padding)(flat, ["conv1_1"])["conv1_1"]
        inside = features[..., 4:5, 4:5].expand_as(features)
        assert torch.allclose(features, inside, atol=1e-5) is not edge_is_special


@pytest.mark.parametrize("pool", ["max", "average", "l2"])
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("taps", [["relu3_1"], ["relu1_2", "conv2_2", "conv3_1"], ["conv1_2", "relu1_2", "relu3_1"]])
def test_pools_and_their_scales(pool, rescale, taps) -> None:
    vgg, x = network(pool=pool, rescale_pool=rescale), picture(21, 30)
    assert vgg.pool_scale == (RESCALE[pool] if rescale else 1.0)
    same(vgg(x, taps), plain(vgg, x), taps)


def test_an_l2_pool_of_nothing_has_a_finite_gradient() -> None:
    vgg = network(pool="l2")
    for conv in (vgg.conv1_1, vgg.conv1_2):
        conv.bias.fill_(-100)
    x = picture().requires_grad_()
    vgg(x, ["relu2_1"])["relu2_1"].sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("topology", ["vgg16", "vgg19"])
def test_nothing_deeper_than_the_deepest_tap_is_computed(topology, monkeypatch) -> None:
    vgg, calls = network(topology, last=None), []
    real = F.conv2d
    monkeypatch.setattr(F, "conv2d", lambda x, *a, **k: calls.append(x.shape) or real(x, *a, **k))
    names = [row[0] for row in TABLES[topology]]
    for count, name in enumerate(names, start=1):
        for tap in (name, name.replace("conv", "relu")):
            calls.clear()
            vgg(picture(16, 16), ["relu1_1", tap] if count > 1 else [tap])
            assert len(calls) == count, tap
    assert vgg(picture(16, 16), []) == {}


def test_no_pool_follows_the_last_tap(monkeypatch) -> None:
    vgg = network()
    steps = []
    real = frozen.run
    monkeypatch.setattr(frozen, "run", lambda x, step: steps.append(step) or real(x, step))
    monkeypatch.setattr(vgg, "pooled", lambda x: pytest.fail("pooled"))
    vgg(picture(), ["conv1_2"])
    vgg(picture(), ["relu1_2"])
    assert [step.pool for step in steps] == [False] * 4


def test_a_missing_layer_is_named_and_the_others_listed() -> None:
    vgg = network(last="conv2_1", name="toy")
    with pytest.raises(LayerError) as caught:
        vgg(picture(), ["relu1_1", "relu5_2"])
    listed = "conv1_1, relu1_1, conv1_2, relu1_2, conv2_1, relu2_1"
    assert str(caught.value) == f"toy has no layer 'relu5_2' (did you mean 'relu1_2'?); its layers are {listed}"
    with pytest.raises(LayerError, match="vgg16 has no layer '28'"):
        network(last="conv1_1").check(["28"])
    with pytest.raises(LayerError, match="vgg16 has no layer 'relu3_4', which only vgg19 has; its layers are conv1_1"):
        network().check(["relu3_4"])


def test_a_tap_asked_for_twice_comes_once() -> None:
    vgg = network(last="conv1_2")
    assert vgg.check(["relu1_2", "relu1_1", "relu1_2"]) == ("relu1_2", "relu1_1")


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("pool", ["max", "average"])
def test_a_layer_before_its_relu_is_not_rectified_later(grad, pool) -> None:
    vgg, x = network(pool=pool), picture().requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        alone = {tap: vgg(x, [tap])[tap] for tap in vgg.taps}
        together = vgg(x, vgg.taps)
        convs = vgg(x, [tap for tap in vgg.taps if tap.startswith("conv")])
    for conv, relu in zip(vgg.taps[::2], vgg.taps[1::2], strict=True):
        assert (alone[conv] < 0).any()
        assert (alone[relu] >= 0).all()
        assert torch.equal(alone[relu], alone[conv].clamp_min(0))
    same(together, alone, alone, 0)
    same(convs, alone, convs, 0)


@pytest.mark.parametrize("size", [(33, 47), (35, 17), (4, 4), (5, 31)])
def test_odd_sizes(size) -> None:
    vgg, x = network(), picture(*size)
    got = vgg(x, ["relu1_1", "relu2_2", "conv3_1"])
    same(got, plain(vgg, x), got)
    assert got["conv3_1"].shape[2:] == (size[0] // 4, size[1] // 4)


def test_a_picture_of_which_the_pools_leave_nothing() -> None:
    vgg = network()
    assert vgg(picture(1, 40), ["relu1_2"])["relu1_2"].shape[2:] == (1, 40)
    with pytest.raises(ImageError) as caught:
        vgg(picture(3, 40), ["relu1_2", "relu3_1"])
    assert str(caught.value) == "a picture of 40x3 px is too small for relu3_1: need 4 px a side"


def test_precision_and_layout_are_those_of_the_weights() -> None:
    vgg, x = network(last="conv2_1"), picture()
    expected = vgg(x, ["relu1_1", "conv2_1"])
    half = network(last="conv2_1").to(torch.bfloat16).to(memory_format=torch.channels_last)
    assert half.dtype == torch.bfloat16
    assert half.device == torch.device("cpu")
    for name, f in half(x, expected).items():
        assert f.dtype == torch.bfloat16
        assert f.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(f.float(), expected[name], rtol=0.05, atol=0.05)


def test_the_last_layer_and_the_factored_ones() -> None:
    ranks = {"conv1_2": 16, "conv2_1": 24}
    vgg, x = network(last="conv2_2", ranks=ranks, padding="replicate"), picture()
    assert vgg.taps[-2:] == ("conv2_2", "relu2_2")
    shapes = {key: tuple(value.shape) for key, value in vgg.state_dict().items() if key.startswith("conv2_1")}
    assert shapes == {
        "conv2_1.reduce.weight": (24, 64, 3, 3),
        "conv2_1.reduce.bias": (24,),
        "conv2_1.expand.weight": (128, 24, 1, 1),
        "conv2_1.expand.bias": (128,),
    }
    # The same network with each pair of convolutions multiplied into one.
    full = network(last="conv2_2", padding="replicate")
    merged = dict(vgg.state_dict())
    for name in ranks:
        reduce, expand = (
            [merged.pop(f"{name}.{part}.{key}") for key in ("weight", "bias")] for part in ("reduce", "expand")
        )
        merged[f"{name}.weight"] = torch.einsum("or,rikl->oikl", expand[0][..., 0, 0], reduce[0])
        merged[f"{name}.bias"] = expand[0][..., 0, 0] @ reduce[1] + expand[1]
    full.load_state_dict(merged)
    same(vgg(x, vgg.taps), full(x, full.taps), full.taps)


def test_every_block_halves_the_size() -> None:
    sizes = [f.shape[2:] for f in network(last=None)(picture(32, 32), ["relu1_1", "relu2_1", "relu5_3"]).values()]
    assert [tuple(size) for size in sizes] == [(32, 32), (16, 16), (2, 2)]
