"""What every network that takes a photo and gives a picture must do, at toy size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from impasto.core.precision import Precision
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.layers import use_precision
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.norms import moments, scale_shift
from impasto.networks.registry import Config, Network, build, config_from
from impasto.networks.staged import StagedNetwork
from impasto.networks.universal import Signature, Universal, UniversalConfig

CONFIGS = {
    "johnson sigmoid": JohnsonConfig("sigmoid", width=8, blocks=2),
    "johnson linear": JohnsonConfig("linear", width=8, blocks=2),
    "johnson tanh": JohnsonConfig("tanh", width=8, blocks=2),
    "multistyle": MultiStyleConfig(("a", "b", "c"), width=8, blocks=2),
    "brisk": BriskConfig(("a", "b", "c"), channels=32, blocks=2, detail=16),
    "brisk without a palette": BriskConfig(("a", "b", "c"), channels=32, blocks=2, detail=16, palette=False),
    "brisk with reach": BriskConfig(("a", "b", "c"), channels=32, blocks=2, detail=16, reach=16),
    "brisk with a margin": BriskConfig(("a", "b", "c"), channels=32, blocks=2, detail=16, reach=16, margin=16),
    "adain": AdaINConfig("toy", width=1 / 8),
    "universal": UniversalConfig("toy", channels=32, blocks=2, detail=16, parts=8, hidden=8, reach=16),
}
SIZES = [(32, 32), (33, 47), (34, 131), (90, 35), (1, 1), (3, 5), (2, 40)]


@pytest.fixture(scope="module")
def encoder() -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv4_1", name="toy", padding="replicate").requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    return vgg


@pytest.fixture(params=CONFIGS, scope="module")
def network(request, encoder) -> Network:
    return untrained(CONFIGS[request.param], encoder)


@pytest.fixture(params=[name for name in CONFIGS if name not in ("adain", "universal")], scope="module")
def staged(request) -> StagedNetwork:
    return untrained(CONFIGS[request.param])


def untrained(config: Config, encoder: VGG | None = None) -> Network:
    """A network whose styles differ and whose every channel is shifted and scaled."""
    torch.manual_seed(1)
    network = build(config, encoder).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("gamma", "beta")) or ".in" in name or name.startswith("in"):
                value.add_(0.3 * torch.randn_like(value))
    if isinstance(network, Universal):
        network.predictor.learn_basis(network.signature(picture(12, 40, 40, seed=8)).features)
        torch.nn.init.normal_(network.predictor.rows.weight, std=0.3)
    return network


def painter(network: Network) -> Callable[[Tensor], Tensor]:
    """The network with everything but the photo fixed; a style that differs by photo where there are several."""
    if isinstance(network, AdaIN):
        style = network.encode_style(picture(1, 40, 40, seed=9))
        return lambda image: network(image, [style])
    if isinstance(network, Universal):
        look = network.signature(picture(1, 40, 40, seed=9))
        return lambda image: network(image, Signature(*(part.expand(len(image), *part.shape[1:]) for part in look)))
    if isinstance(network, Johnson):
        return network
    return lambda image: network(image, network.mix({"a": 0.6, "c": 0.4}))


def picture(b: int, h: int, w: int, seed: int = 0) -> Tensor:
    return torch.rand(b, 3, h, w, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_a_picture_of_that_size(network, size) -> None:
    out = painter(network)(picture(2, *size))
    assert out.shape == (2, 3, *size)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1


def test_a_photo_is_painted_alike_in_any_batch(network) -> None:
    photos = picture(3, 33, 40)
    batch = painter(network)(photos)
    for i in range(3):
        torch.testing.assert_close(painter(network)(photos[i : i + 1]), batch[i : i + 1], rtol=1e-4, atol=2e-5)
    assert (batch[0] - batch[1]).abs().max() > 1e-3


def test_the_result_depends_on_the_photo_everywhere(network) -> None:
    image = picture(1, 36, 44).requires_grad_()
    painter(network)(image).square().sum().backward()
    assert (image.grad.abs().sum(1) > 0).float().mean() > 0.9


def test_every_weight_gets_a_gradient(network) -> None:
    network.train()
    painter(network)(picture(2, 32, 32)).square().sum().backward()
    trained = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    # A constant that an instance normalisation takes away again has no gradient but rounding.
    idle = [name for name, value in trained if value.grad is None or not value.grad.abs().max() > 0]
    network.zero_grad()
    network.eval()
    assert idle == []
    assert not [name for name, value in trained if not value.isfinite().all()]


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_bfloat16_is_near_float32(network, how) -> None:
    image = picture(1, 64, 64)
    with torch.no_grad():
        exact = painter(network)(image)
        if how == "weights":
            state = {key: value.clone() for key, value in network.state_dict().items()}
            copy = build(network.config, network.encoder if isinstance(network, AdaIN | Universal) else None).eval()
            copy.load_state_dict(state)
            use_precision(copy, Precision(torch.bfloat16, True, "a test"))
            out = painter(copy)(image)
            if isinstance(network, AdaIN | Universal):
                use_precision(network.encoder, Precision(torch.float32, True, "a test"))
        else:
            with torch.autocast("cpu", torch.bfloat16):
                out = painter(network)(image)
    assert out.dtype == torch.float32
    assert (out - exact).abs().mean() < 0.02
    assert 0 < (out - exact).abs().max() < 0.2


def test_a_flat_photo_has_no_noise(staged) -> None:
    out = painter(staged)(torch.full((1, 3, 64, 64), 0.8))
    assert out.isfinite().all()
    assert out.std((2, 3)).max() < 0.02


def test_config_survives_json(network) -> None:
    again = config_from(network.METHOD, json.loads(json.dumps(asdict(network.config))))
    assert again == network.config


def test_stages_can_be_walked_by_hand(staged) -> None:
    """As somebody would who works in tiles: stop after each convolution, take statistics, scale, go on."""
    image = picture(1, 32, 48)
    mix = None if isinstance(staged, Johnson) else staged.mix({"b": 1, "c": 3})
    x = kept = staged.centre(staged.padded(image))
    for stage in staged.stages():
        kept = x if stage.opens else kept
        x = stage.convolve(x)
        if stage.norm is not None:
            scale, shift = scale_shift(*moments(x), *stage.norm.affine(mix))
            x = x * scale[..., None, None] + shift[..., None, None]
        x = torch.relu(x) if stage.relu else x
        x = x + kept if stage.closes else x
    expected = staged(image) if mix is None else staged(image, mix)
    inner = [slice(staged.margin, staged.margin + side) for side in (32, 48)]
    painted = staged.to_picture(x, staged.padded(image), mix)[:, :, *inner]
    torch.testing.assert_close(painted, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("johnson", {"output": "relu"}),
        ("johnson", {"width": 0}),
        ("johnson", {"blocks": 1.5}),
        ("johnson", {"depth": 5}),
        ("multistyle", {}),
        ("multistyle", {"styles": "abc"}),
        ("multistyle", {"styles": []}),
        ("multistyle", {"styles": ["a", "a"]}),
        ("multistyle", {"styles": ["a", 3]}),
        ("brisk", {"styles": ["a"], "channels": -32}),
        ("brisk", {"styles": ["a"], "detail": 10**9}),
        ("brisk", {"styles": ["a"], "palette": "yes"}),
        ("adain", {"encoder": ""}),
        ("adain", {"width": 100}),
        ("adain", {"padding": "wrap"}),
        ("universal", {"encoder": ""}),
        ("universal", {"parts": 0}),
        ("universal", {"styles": ["a"]}),
        ("optimize", {}),
    ],
)
def test_senseless_configs_are_refused(method, values) -> None:
    with pytest.raises(OptionError):
        config_from(method, values)


def test_default_sizes() -> None:
    with torch.device("meta"):
        johnson, multi = Johnson(), MultiStyle(MultiStyleConfig(("a",)))
        brisk = Brisk(BriskConfig(("a",)))
    assert sum(p.numel() for p in johnson.parameters()) == 1_679_235  # pytorch/examples' network
    assert len(johnson.stages()) == len(multi.stages()) == 16
    assert len(brisk.stages()) == 13
