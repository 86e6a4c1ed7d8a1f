"""Networks of several styles: their numbers per style, blends, one more style that leaves the others alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import OptionError
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.multistyle import MultiStyle, MultiStyleConfig
from impasto.networks.palette import PHOTO_COVARIANCE, PHOTO_MEAN
from impasto.networks.registry import build
from impasto.networks.styled import StyledNetwork

NAMES = ("monet", "wave", "night")
ROWS = (".gamma", ".beta", ".matrix", ".offset")


@pytest.fixture(params=["multistyle", "brisk"])
def network(request) -> StyledNetwork:
    torch.manual_seed(0)
    if request.param == "brisk":
        network = Brisk(BriskConfig(NAMES, channels=32, blocks=2, detail=16))
    else:
        network = MultiStyle(MultiStyleConfig(NAMES, width=8, blocks=2))
    with torch.no_grad():
        for norm in network.norms:
            norm.gamma.add_(0.5 * torch.randn_like(norm.gamma))
            norm.beta.add_(0.5 * torch.randn_like(norm.beta))
    return network.eval()


def photo(b: int = 1) -> Tensor:
    return torch.rand(b, 3, 32, 36, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("method", ["multistyle", "brisk"])
def test_a_margin_is_painted_and_cut_off(method) -> None:
    """In use; in training it would be judged, and take time."""
    sizes = {"brisk": BriskConfig(NAMES, channels=32, blocks=1, detail=16, reach=16, margin=16)}
    config = sizes.get(method, MultiStyleConfig(NAMES, width=8, blocks=1, margin=16))
    torch.manual_seed(0)
    network, plain = build(config).eval(), build(replace(config, margin=0)).eval()
    plain.load_state_dict(network.state_dict())
    image, mix = torch.rand(1, 3, 32, 48), network.mix("wave")
    with torch.inference_mode():
        around = F.pad(image, (16,) * 4, mode="reflect")
        assert torch.equal(network(image, mix), plain(around, mix)[..., 16:-16, 16:-16])
        assert not torch.equal(network(image, mix), plain(image, mix))
        assert torch.equal(network.train()(image, mix), plain.train()(image, mix))


def test_a_network_with_a_margin_begins_with_one_without() -> None:
    older = Brisk(BriskConfig(NAMES, channels=32, blocks=1, detail=16))
    network = Brisk(BriskConfig(NAMES, channels=32, blocks=1, detail=16, margin=16))
    network.begin_with(older)
    assert torch.equal(network.up.conv2d.weight, older.up.conv2d.weight)
    assert network.config.margin == 16


@pytest.mark.parametrize("margin", [-1, 2.5, True, 257])
def test_margins_are_checked(margin) -> None:
    with pytest.raises(OptionError, match="margin is a whole number from 0 to 256"):
        BriskConfig(NAMES, margin=margin)


def test_a_style_is_3206_numbers() -> None:
    one, two = (MultiStyle(MultiStyleConfig(NAMES[:n])) for n in (1, 2))
    count = lambda network: sum(p.numel() for p in network.parameters())  # noqa: E731
    assert count(two) - count(one) == 3206
    assert sum(norm.gamma[0].numel() + norm.beta[0].numel() for norm in two.norms) == 3206
    assert len(two.norms) == 16  # every convolution, the last one too


def test_multistyle_starts_at_a_low_contrast() -> None:
    """At full contrast and with the original's N(0, 0.01), trainings began with blots that stayed."""
    torch.manual_seed(0)
    network = MultiStyle(MultiStyleConfig(NAMES))
    assert all((n.gamma == 1).all() and (n.beta == 0).all() for n in network.norms[:-1])
    assert network.norms[-1].gamma.unique().tolist() == pytest.approx([0.3])
    weights = network.res1.conv1.conv2d.weight.detach()
    assert float(weights.std()) == pytest.approx((1 / 3 / weights[0].numel()) ** 0.5, rel=0.02)  # torch's own beginning
    with torch.no_grad():
        painted = network(photo(), network.mix("wave"))
    assert float(painted.std()) < 0.1


def test_multistyle_begins_with_the_mean_colour_of_a_style() -> None:
    torch.manual_seed(0)
    network = MultiStyle(MultiStyleConfig(NAMES, width=8, blocks=1))
    style = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(1, 3, 20, 30)
    before = network.norms[-1].beta.detach().clone()
    network.begin_style("wave", style)
    with torch.no_grad():
        painted = network(photo(), network.mix("wave"))
    assert painted.mean((0, 2, 3)).tolist() == pytest.approx([0.2, 0.5, 0.8], abs=0.02)
    assert torch.equal(network.norms[-1].beta[[0, 2]], before[[0, 2]])
    hidden = torch.cat([torch.cat([style, 1 - style], 3), torch.ones(1, 1, 20, 60)], 1)
    hidden[..., 30:].clamp_(0, 1)[:, 3] = 0
    network.begin_style("wave", hidden)  # what is transparent does not count
    with torch.no_grad():
        again = network(photo(), network.mix("wave"))
    assert torch.allclose(again, painted, atol=1e-4)


def test_brisk_agrees_with_torchs_own_functions() -> None:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(("a", "b"), channels=16, blocks=1, detail=8)).eval()
    state = {key: value.detach() for key, value in network.state_dict().items()}
    for key in state:
        if key.endswith(("gamma", "beta", "matrix", "offset")):
            state[key].add_(0.3 * torch.randn_like(state[key]))
    mix = torch.tensor([[0.25, 0.75]])

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), state[f"{name}.conv2d.weight"])

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta = (mix @ state[f"{name}.{rows}"] for rows in ("gamma", "beta"))
        return F.instance_norm(x, weight=gamma[0], bias=beta[0])

    def shuffle(x: Tensor) -> Tensor:  # torch's order of channels is colour first, ours last
        return F.pixel_shuffle(x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2), 2)

    image = photo()
    x = F.pixel_unshuffle(image, 4).unflatten(1, (3, 16)).transpose(1, 2).flatten(1, 2)
    x = F.relu(norm(conv(x, "stem"), "in_stem"))
    x = x + norm(conv(F.relu(norm(conv(x, "res1.conv1"), "res1.in1")), "res1.conv2"), "res1.in2")
    x = F.relu(norm(shuffle(conv(x, "up")), "in_up"))
    head = shuffle(conv(x, "head") + state["head.conv2d.bias"][:, None, None])
    matrix = torch.einsum("n,nij->ij", mix[0], state["palette.matrix"])
    offset = torch.einsum("n,ni->i", mix[0], state["palette.offset"])
    colours = torch.einsum("ij,bjhw->bihw", matrix, 2 * image - 1) + offset[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(network(image, mix), torch.sigmoid(head + colours), rtol=1e-4, atol=1e-5)


def test_without_strokes_brisk_gives_the_photo_at_a_lower_contrast() -> None:
    network = Brisk(BriskConfig(("a",), channels=16, blocks=1, detail=16)).eval()
    nn.init.zeros_(network.head.conv2d.weight)
    nn.init.zeros_(network.head.conv2d.bias)
    image = photo()
    torch.testing.assert_close(network(image, network.mix("a")), torch.sigmoid(2 * (2 * image - 1)))


def test_an_average_photo_gets_the_colours_of_the_style() -> None:
    draw = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(torch.tensor(PHOTO_COVARIANCE))
    pixels = root @ torch.randn(3, 4096, generator=draw) + torch.tensor(PHOTO_MEAN)[:, None]
    image = ((pixels + 1) / 2).view(1, 3, 64, 64)
    style = torch.rand(1, 3, 20, 30, generator=draw) * torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1) + 0.1
    network = Brisk(BriskConfig(("a", "b"), channels=16, blocks=1, detail=16)).eval()
    before = network.palette(image, network.mix("b"))
    network.begin_style("b", style)
    got = network.palette(image, network.mix("b")).flatten(2)[0]
    wanted = torch.logit(style).flatten(2)[0]
    torch.testing.assert_close(got.mean(1), wanted.mean(1), rtol=0, atol=0.1)
    assert (got.std(1) < before.flatten(2)[0].std(1)).all()  # this style has less contrast
    assert (got.std(1) > 0.3 * wanted.std(1)).all()
    assert torch.equal(network.palette(image, network.mix("a")), before)


def test_flat_features_leave_no_checkerboard() -> None:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(("a",), channels=16, blocks=1, detail=16)).eval()
    for conv in (network.up.conv2d, network.head.conv2d):
        nn.init.normal_(conv.weight)
    nn.init.normal_(network.head.conv2d.bias)

    def unevenness() -> float:
        stage = network.stages()[-1]
        painted = stage.convolve(torch.full((1, 16, 8, 8), 0.7))[..., 4:-4, 4:-4]
        return float(painted.detach().std((2, 3)).max())

    assert unevenness() > 0.1
    network.constrain()
    assert unevenness() < 1e-5
    kept = network.head.conv2d.weight.detach().clone()
    network.constrain()
    torch.testing.assert_close(network.head.conv2d.weight, kept)
    network.requires_grad_(False)
    nn.init.normal_(network.head.conv2d.weight)
    network.constrain()  # leaves alone what does not train
    assert unevenness() > 0.1


def test_blends_are_normalised(network) -> None:
    third = torch.tensor([[2 / 3, 0, 1 / 3]])
    torch.testing.assert_close(network.mix({"monet": 4, "night": 2}), third)
    torch.testing.assert_close(network.mix([("monet", 1), ("night", 1), ("monet", 1)]), third)
    assert network.mix("wave").tolist() == [[0, 1, 0]]


def test_a_blend_of_a_style_with_itself_is_that_style(network) -> None:
    image = photo()
    alone, twice = network.mix("wave"), network.mix([("wave", 0.7), ("wave", 0.3)])
    torch.testing.assert_close(network(image, twice), network(image, alone))
    assert (network(image, alone) - network(image, network.mix("night"))).abs().mean() > 0.01


def test_each_photo_of_a_batch_has_its_own_style(network) -> None:
    images = photo(3)
    mixes = torch.cat([network.mix(name) for name in NAMES])
    batch = network(images, mixes)
    for i, name in enumerate(NAMES):
        alone = network(images[i : i + 1], network.mix(name))
        torch.testing.assert_close(batch[i : i + 1], alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "blend",
    ["monat", {"monet": -1}, {"monet": float("nan")}, {"monet": float("inf")}, {"monet": 0, "wave": 0}, {}],
)
def test_senseless_blends_are_refused(network, blend) -> None:
    with pytest.raises(OptionError):
        network.mix(blend)


@pytest.mark.parametrize("shape", [(3,), (1, 2), (2, 3), (1, 1, 3)])
def test_weights_of_another_shape_are_refused(network, shape) -> None:
    with pytest.raises(OptionError, match="weights of the styles"):
        network(photo(), torch.full(shape, 1 / 3))


def test_one_more_style_leaves_the_others_bit_for_bit(network) -> None:
    image, names = photo(), network.styles
    before = {name: network(image, network.mix(name)).detach() for name in names}
    convs = {key: value.clone() for key, value in network.state_dict().items() if "conv2d" in key}
    network.add_style("waterlilies")
    assert network.config.styles == (*names, "waterlilies")
    assert all(torch.equal(n.gamma[3], n.gamma[:3].mean(0)) for n in network.norms)

    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(8):
        painted = network.train()(
            photo(2), torch.cat([network.mix("waterlilies"), network.mix({"wave": 1, "waterlilies": 1})])
        )
        loss = (painted - 0.9).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    network.eval()
    assert losses[-1] < 0.8 * losses[0]
    assert not any(torch.equal(n.beta[3], n.beta[:3].mean(0)) for n in network.norms)
    for name in names:
        assert torch.equal(network(image, network.mix(name)), before[name])
    assert all(torch.equal(network.state_dict()[key], value) for key, value in convs.items())


def test_one_more_style_begins_like_another(network) -> None:
    network.add_style("storm", like="wave")
    row = NAMES.index("wave")
    assert all(torch.equal(n.gamma[-1], n.gamma[row]) and torch.equal(n.beta[-1], n.beta[row]) for n in network.norms)
    with pytest.raises(OptionError, match="nobody"):
        network.add_style("calm", like="nobody")
    assert network.styles == (*NAMES, "storm")


def test_after_a_pause_only_the_new_style_trains_again(network) -> None:
    """As when a training is resumed: the network is new and only its state is known."""
    network.train_only("night")
    marked = {name for name, value in network.named_parameters() if value.requires_grad}
    assert marked == {name for name, _ in network.named_parameters() if name.endswith(ROWS)}
    network(photo(), network.mix({"night": 1, "wave": 1})).square().sum().backward()
    for module, name in network.rows:
        grad = getattr(module, name).grad
        assert grad[:2].abs().max() == 0
        assert grad[2].abs().max() > 0
    network.train_all()
    network.zero_grad()
    network(photo(), network.mix({"night": 1, "wave": 1})).square().sum().backward()
    assert all(value.requires_grad for value in network.parameters())
    assert all(norm.gamma.grad[1].abs().max() > 0 for norm in network.norms)


def test_a_style_is_not_added_twice(network) -> None:
    with pytest.raises(OptionError, match="differ"):
        network.add_style("wave")
    with pytest.raises(OptionError, match="no style"):
        network.train_only("nobody")
    assert network.styles == NAMES
