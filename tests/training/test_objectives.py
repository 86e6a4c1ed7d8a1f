"""Losses of batches, against the formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from impasto.core.statistics import gram
from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.networks.adain import TAPS
from impasto.training.objectives import AdaINObjective, GramObjective
from impasto.training.settings import Weights

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ("relu1_1", "relu2_1")
BALANCED = Weights(1.0, 30.0, 2.0, relative=True)
EXPLICIT = Weights(3.0, 5.0, 1e-3, relative=False)


@pytest.fixture(scope="module")
def vgg() -> VGG:
    torch.manual_seed(0)
    options = {"last": "conv4_1", "ranks": dict.fromkeys(("conv3_1", "conv3_2", "conv3_3", "conv4_1"), 8)}
    return VGG("vgg16", NORMALISATIONS["none"], **options).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def targets(vgg: VGG) -> dict[str, Tensor]:
    styles = torch.rand(3, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    return {tap: gram(f) for tap, f in vgg(styles, LAYERS).items()}


def of(targets: dict[str, Tensor], numbers: list[int]) -> dict[str, Tensor]:
    """Of each picture's style, by its number."""
    return {tap: grams[numbers] for tap, grams in targets.items()}


def pictures(seed: int, count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weights", [BALANCED, EXPLICIT])
def test_gram_terms_are_the_formulas(vgg: VGG, targets: dict[str, Tensor], weights: Weights) -> None:
    painted, photos, styles = pictures(2), pictures(3), [0, 2, 1, 2]
    terms = GramObjective(vgg, LAYERS, "relu1_2", weights)(painted, photos, of(targets, styles))
    f, p = vgg(painted, ["relu1_2", *LAYERS]), vgg(photos, ["relu1_2"])["relu1_2"]

    def error(got: Tensor, target: Tensor) -> Tensor:
        return ((got - target) ** 2).sum() / (target**2).sum() if weights.relative else ((got - target) ** 2).mean()

    content = sum(error(f["relu1_2"][i], p[i]) for i in range(4)) / 4
    style = {
        tap: sum(error(gram(f[tap][i : i + 1])[0], targets[tap][styles[i]]) for i in range(4)) / 4 for tap in LAYERS
    }
    both = sum(style.values()) / (2 if weights.relative else 1)
    right, down = painted.diff(dim=3).square().sum(), painted.diff(dim=2).square().sum()
    tv = (right + down) / painted.numel() if weights.relative else (right + down) * 255**2 / 4
    assert terms["content"] == pytest.approx(float(content), rel=1e-4)
    assert terms["style"] == pytest.approx(float(both), rel=1e-4)
    assert terms["tv"] == pytest.approx(float(tv), rel=1e-4)
    for tap in LAYERS:
        assert terms[f"style/{tap}"] == pytest.approx(float(style[tap]), rel=1e-4)
    total = weights.content * content + weights.style * both + weights.tv * tv
    assert terms["total"] == pytest.approx(float(total), rel=1e-4)


@pytest.mark.parametrize("weights", [BALANCED, EXPLICIT])
def test_halves_of_a_batch_average_to_the_whole(vgg: VGG, targets: dict[str, Tensor], weights: Weights) -> None:
    painted, photos, styles = pictures(2), pictures(3), [0, 2, 1, 2]
    objective = GramObjective(vgg, LAYERS, "relu1_2", weights)
    whole = objective(painted, photos, of(targets, styles))
    halves = [objective(painted[i : i + 2], photos[i : i + 2], of(targets, styles[i : i + 2])) for i in (0, 2)]
    for name, value in whole.items():
        assert value == pytest.approx(float(halves[0][name] + halves[1][name]) / 2, rel=1e-4)


def test_a_painting_that_is_photo_and_style_at_once_costs_nothing(vgg: VGG) -> None:
    photos = pictures(4, 2)
    objective = GramObjective(vgg, LAYERS, "relu2_1", BALANCED)
    own = objective.grams(vgg(photos, LAYERS))
    terms = objective(photos, photos, own)
    assert terms["content"] < 1e-10
    assert terms["style"] < 1e-8
    assert objective(photos, photos, of(own, [1, 0]))["style"] > 1e-4


def test_balanced_weights_do_not_know_how_large_activations_are(vgg: VGG, targets: dict[str, Tensor]) -> None:
    painted, photos = pictures(2), pictures(3)
    grams = of(targets, [0, 2, 1, 2])["relu1_1"]
    larger = VGG("vgg16", NORMALISATIONS["none"], last="conv2_1").requires_grad_(False)
    larger.load_state_dict({k: v for k, v in vgg.state_dict().items() if k[4] < "2" or k.startswith("conv2_1")})
    objective = GramObjective(larger, ["relu1_1"], "relu1_1", BALANCED)
    small = objective(painted, photos, {"relu1_1": grams})
    larger.conv1_1.weight.mul_(10)
    larger.conv1_1.bias.mul_(10)
    large = objective(painted, photos, {"relu1_1": grams * 100})
    for name, value in small.items():
        assert large[name] == pytest.approx(float(value), rel=1e-4)


def test_a_black_photo_gives_a_finite_loss(vgg: VGG, targets: dict[str, Tensor]) -> None:
    black = torch.zeros(2, 3, 32, 32)
    empty = {tap: torch.zeros_like(target) for tap, target in of(targets, [0, 1]).items()}
    assert GramObjective(vgg, LAYERS, "relu1_2", BALANCED)(black, black, empty)["total"].isfinite()


def test_gram_matrices_are_divided_as_told(vgg: VGG) -> None:
    features = vgg(pictures(2), [*LAYERS, "relu1_2"])
    for divisor in ("positions", "all"):
        grams = GramObjective(vgg, LAYERS, "relu1_2", EXPLICIT, divisor).grams(features)
        assert list(grams) == list(LAYERS)
        for tap in LAYERS:
            torch.testing.assert_close(grams[tap], gram(features[tap], divisor))


@pytest.mark.parametrize("weights", [Weights(1.0, 10.0, 0.0, relative=False), Weights(1.0, 4.0, 0.0, relative=True)])
def test_adain_terms_are_the_formulas(vgg: VGG, weights: Weights) -> None:
    painted, styles = pictures(5, 2), pictures(6, 2)
    objective = AdaINObjective(vgg, weights)
    wanted = torch.rand(2, 512, 4, 4, generator=torch.Generator().manual_seed(7))
    terms = objective(painted, wanted, objective.moments(styles))
    f, s = vgg(painted, TAPS), vgg(styles, TAPS)

    def error(got: Tensor, target: Tensor) -> Tensor:
        squared = ((got - target) ** 2).flatten(1)
        return (squared.sum(1) / (target**2).flatten(1).sum(1) if weights.relative else squared.mean(1)).mean()

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), (x.var((2, 3), correction=0) + 1e-5).sqrt()

    layers = [
        sum(error(a, b) for a, b in zip(moments(f[tap]), moments(s[tap]), strict=True)) / (2 if weights.relative else 1)
        for tap in TAPS
    ]
    style = sum(layers) / (4 if weights.relative else 1)
    content = error(f["relu4_1"], wanted)
    assert terms["style"] == pytest.approx(float(style), rel=1e-3)
    assert terms["content"] == pytest.approx(float(content), rel=1e-4)
    assert terms["total"] == pytest.approx(float(content + weights.style * style), rel=1e-3)
    assert "tv" not in terms


def test_gradients_reach_the_painting(vgg: VGG, targets: dict[str, Tensor]) -> None:
    painted = pictures(2).requires_grad_()
    objective, wanted = GramObjective(vgg, LAYERS, "relu1_2", BALANCED), of(targets, [0, 2, 1, 2])
    objective(painted, pictures(3), wanted)["total"].backward()
    assert painted.grad is not None
    step = torch.randn(painted.shape, generator=torch.Generator().manual_seed(9)) * 1e-3

    def total(x: Tensor) -> float:
        return float(objective(x, pictures(3), wanted)["total"])

    with torch.no_grad():
        numeric = (total(painted + step) - total(painted - step)) / 2
    assert numeric == pytest.approx(float((painted.grad * step).sum()), rel=0.05, abs=1e-3)
