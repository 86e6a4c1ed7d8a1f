"""The whole loss of every preset against numpy, on features that are given; then weights across backbones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.errors import LayerError
from impasto.optimize.objective import CAFFE_ACTIVATIONS, Objective, activation_factors, weight_multipliers
from impasto.optimize.presets import PRESETS, OptimizeSettings, preset

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTHS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}


class Canned(nn.Module):
    """A backbone that answers each picture, known by its first pixel, with random features of its own."""

    name = "canned"

    def __init__(self, widths: dict[str, int] = WIDTHS, scales: dict[str, float] | None = None) -> None:
        super().__init__()
        self.widths, self.scales = widths, scales or {}
        self.asked: list[tuple[str, ...]] = []

    def check(self, taps: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(taps))

    def forward(self, image: Tensor, taps: Iterable[str]) -> dict[str, Tensor]:
        self.asked.append(tuple(taps))
        return {tap: self.features(image, tap) for tap in taps}

    def each(self, image: Tensor, taps: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        yield from self(image, taps).items()

    def features(self, image: Tensor, tap: str) -> Tensor:
        picture, layer = round(float(image[0, 0, 0, 0].detach()) * 1000), sum(map(ord, tap))
        draw = torch.Generator().manual_seed(1000 * picture + layer)
        x = torch.randn(1, self.widths[tap[4]], 9, 13, generator=draw) * (1 + picture / 500) + 1
        return (x.relu() if tap.startswith("relu") else x) * self.scales.get(tap, 1.0)


def picture(name: int, h: int = 9, w: int = 13) -> Tensor:
    """A random picture with values a little outside [0, 1], whose first pixel is name/1000."""
    x = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(name)) * 1.4 - 0.2
    x[0, 0, 0, 0] = name / 1000
    return x


PHOTO, STYLE, RESULT, OTHER = picture(100), picture(700), picture(300), picture(500)


def rows(features: Tensor) -> np.ndarray:
    return features[0].double().numpy().reshape(features.shape[1], -1)


def gram(f: np.ndarray) -> np.ndarray:
    return f @ f.T


def wasserstein(f: np.ndarray, s: np.ndarray) -> float:
    eye = 1e-4 * np.eye(len(f))
    a, b = np.cov(f, bias=True) + eye, np.cov(s, bias=True) + eye
    root = scipy.linalg.sqrtm(b).real
    cross = scipy.linalg.sqrtm(root @ a @ root).real
    return (np.square(f.mean(1) - s.mean(1)).sum() + np.trace(a + b - 2 * cross)) / len(f)


CROWSON = {"relu1_1": 256, "relu2_1": 64, "relu3_1": 16, "relu4_1": 4, "relu5_1": 1}

# The formulas of the papers and programs: features of result, photo and style as (C, M) -> the weighted term.
CONTENT = {
    "gatys-paper": lambda f, p: 1e-3 * 0.5 * np.square(f - p).sum(),
    "gatys-code": lambda f, p: np.square(f - p).mean(),
    "neural-style": lambda f, p: 5 * np.square(f - p).mean(),
    "coursera": lambda f, p: 10 * np.square(f - p).sum() / (4 * f.shape[0] * f.shape[1]),
    "tf-tutorial": lambda f, p: 1e4 * np.square(f - p).mean() / 1,
    "multiscale": lambda f, p: 0.015 * np.square(f - p).mean(),
}
STYLE_TERM = {
    "gatys-paper": lambda f, s, layer: (
        1 / 5 * np.square(gram(f) - gram(s)).sum() / (4 * f.shape[0] ** 2 * f.shape[1] ** 2)
    ),
    "gatys-code": lambda f, s, layer: 1e3 / len(f) ** 2 * np.square((gram(f) - gram(s)) / f.shape[1]).mean(),
    "neural-style": lambda f, s, layer: 100 * np.square((gram(f) - gram(s)) / f.size).mean(),
    "coursera": lambda f, s, layer: (
        40 * 0.2 * np.square(gram(f) - gram(s)).sum() / (4 * f.shape[0] ** 2 * f.shape[1] ** 2)
    ),
    "tf-tutorial": lambda f, s, layer: 1e-2 / 5 * np.square((gram(f) - gram(s)) / f.shape[1]).mean(),
    "multiscale": lambda f, s, layer: CROWSON[layer] / 341 * wasserstein(f, s),
}
LAYERS = {
    "gatys-paper": ("conv4_2", "conv1_1 conv2_1 conv3_1 conv4_1 conv5_1"),
    "gatys-code": ("relu4_2", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"),
    "neural-style": ("relu4_2", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"),
    "coursera": ("relu4_2", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"),
    "tf-tutorial": ("relu5_2", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"),
    "multiscale": ("relu4_2", "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"),
}


def absolute_differences(x: np.ndarray) -> float:
    return np.abs(np.diff(x, axis=-1)).sum() + np.abs(np.diff(x, axis=-2)).sum()


def nine_points(x: np.ndarray) -> float:
    p = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="edge")
    inner = p[..., 1:-1, 1:-1]
    axes = np.square(p[..., 1:-1, 2:] - inner).mean() + np.square(p[..., 2:, 1:-1] - inner).mean()
    diagonals = (
        np.square(p[..., 1:, 1:] - p[..., :-1, :-1]).mean() + np.square(p[..., 1:, :-1] - p[..., :-1, 1:]).mean()
    )
    return 2 * (axes / 3 + diagonals / 12)


VARIATION = {
    "neural-style": lambda x: 1e-3 * absolute_differences(255 * x),
    "tf-tutorial": lambda x: 30 * absolute_differences(x),
    "multiscale": lambda x: 2 * nine_points(x),
}


@pytest.mark.parametrize("name", CONTENT)
def test_every_term_of_every_classic(name) -> None:
    # Fewer channels than positions for Wasserstein, whose roots are exact only where nothing is singular.
    backbone = Canned(dict.fromkeys(WIDTHS, 6)) if name == "multiscale" else Canned()
    terms = Objective(backbone, PHOTO, [(STYLE, 1.0)], PRESETS[name])(RESULT)
    content_layer, style_layers = LAYERS[name]
    at = {
        who: lambda tap, x=x: rows(backbone.features(x, tap))
        for who, x in zip("fps", (RESULT, PHOTO, STYLE), strict=True)
    }
    content = CONTENT[name](at["f"](content_layer), at["p"](content_layer))
    style = sum(STYLE_TERM[name](at["f"](tap), at["s"](tap), tap) for tap in style_layers.split())
    tv = VARIATION[name](RESULT.double().numpy()) if name in VARIATION else 0.0
    for got, expected in zip(terms, (content + style + tv, content, style, tv, 0.0, 0.0), strict=True):
        assert float(got) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["quick", "balanced"])
def test_the_relative_losses_of_ours(name) -> None:
    backbone, s = Canned(), PRESETS[name]
    assert (s.style_loss, s.content_factor, s.style_factor) == ("gram", 1, 1)
    terms = Objective(backbone, PHOTO, [(STYLE, 1.0)], s)(RESULT)
    content = style = 0.0
    for tap, weight in s.content_layers.items():
        f, p = (rows(backbone.features(x, tap)) for x in (RESULT, PHOTO))
        content += s.content_weight * weight * np.square(f - p).sum() / np.square(p).sum()
    for tap, weight in s.style_layers.items():
        g, a = (gram(rows(backbone.features(x, tap))) for x in (RESULT, STYLE))
        style += s.style_weight * weight * np.square(g - a).sum() / np.square(a).sum()
    x = RESULT.double().numpy()
    outside = s.range_weight * np.square(x - x.clip(0, 1)).mean()
    assert outside > 0
    for got, expected in ((terms.content, content), (terms.style, style), (terms.range, outside)):
        assert float(got) == pytest.approx(expected, rel=1e-5)
    assert float(terms.total) == pytest.approx(content + style + outside + float(terms.tv), rel=1e-5)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_several_styles_are_one_target_with_weights_that_sum_to_one(style_loss) -> None:
    s = preset(
        "quick", style_loss=style_loss, style_layers={"relu1_1": 1.0}, style_reduction="mean", content_weight=0.0
    )
    backbone = Canned(dict.fromkeys(WIDTHS, 5))
    one, same = (Objective(backbone, PHOTO, [(STYLE, 3 * k), (OTHER, k)], s)(RESULT).style for k in (0.25, 17.0))
    assert float(one) == pytest.approx(float(same), rel=1e-5)
    f, a, b = (rows(backbone.features(x, "relu1_1")) for x in (RESULT, STYLE, OTHER))
    m = f.shape[1]
    mixed = 0.75 * gram(a) / m + 0.25 * gram(b) / m
    if style_loss == "gram":
        expected = np.square(gram(f) / m - mixed).mean()
    else:  # mean and second moment of the two together
        mean = 0.75 * a.mean(1) + 0.25 * b.mean(1)
        cov, own, eye = mixed - np.outer(mean, mean), np.cov(f, bias=True), 1e-4 * np.eye(5)
        root = scipy.linalg.sqrtm(cov + eye).real
        cross = scipy.linalg.sqrtm(root @ (own + eye) @ root).real
        expected = (np.square(f.mean(1) - mean).sum() + np.trace(own + cov + 2 * eye - 2 * cross)) / 5
    assert float(one) == pytest.approx(s.style_weight * expected, rel=1e-4)


def test_a_layer_counts_with_its_weight() -> None:
    both = preset("neural-style", style_layers={"relu1_1": 2.0, "relu3_1": 0.5}, tv_weight=0.0)
    total = Objective(Canned(), PHOTO, [(STYLE, 1)], both)(RESULT).style
    parts = [
        Objective(Canned(), PHOTO, [(STYLE, 1)], preset("neural-style", style_layers={tap: 1.0}))(RESULT).style
        for tap in ("relu1_1", "relu3_1")
    ]
    assert float(total) == pytest.approx(2 * float(parts[0]) + 0.5 * float(parts[1]), rel=1e-5)


def test_a_term_without_weight_is_not_computed() -> None:
    backbone = Canned()
    terms = Objective(backbone, PHOTO, [(STYLE, 1)], preset("quick", content_weight=0.0, range_weight=0.0))(RESULT)
    assert (float(terms.content), float(terms.range), float(terms.tv)) == (0, 0, 0)
    assert not any("relu4_2" in taps for taps in backbone.asked)
    backbone = Canned()
    terms = Objective(backbone, PHOTO, [(STYLE, 1)], preset("quick", style_weight=0.0))(RESULT)
    assert float(terms.style) == 0
    assert {tap for taps in backbone.asked for tap in taps} == set(PRESETS["quick"].content_layers)


def toy(scale: float = 1.0) -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", NORMALISATIONS["none"], last="conv2_1", name="toy")
    for value in vgg.parameters():
        nn.init.normal_(value, std=0.1)
    with torch.no_grad():  # without biases further in, everything grows with the first layer
        for value in vgg.conv1_1.parameters():
            value.mul_(scale)
        vgg.conv1_2.bias.zero_()
        vgg.conv2_1.bias.zero_()
    return vgg.requires_grad_(False)


TOY_LAYERS = {"content_layers": {"relu2_1": 1.0}, "style_layers": {"conv1_1": 0.5, "relu2_1": 0.5}}


def test_the_gradient_reaches_the_picture_and_nothing_else() -> None:
    image = picture(300, 24, 20).requires_grad_()
    objective = Objective(toy(), picture(100, 24, 20), [(picture(700, 18, 30), 1)], preset("quick", **TOY_LAYERS))
    objective(image).total.backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().max() > 0
    assert all(p.grad is None for p in objective.parameters())


def test_the_photo_itself_has_no_content_error_nor_the_style_a_style_error() -> None:
    photo, style = picture(100, 24, 20), picture(700, 18, 30)
    objective = Objective(toy(), photo, [(style, 1)], preset("coursera", **TOY_LAYERS))
    assert float(objective(photo).content) == 0
    assert float(objective(photo).style) > 0
    at_style = Objective(toy(), style, [(style, 1)], preset("coursera", **TOY_LAYERS))(style)
    assert float(at_style.total) == pytest.approx(0, abs=1e-6)


def test_a_layer_that_the_backbone_lacks() -> None:
    with pytest.raises(LayerError, match=r"^toy has no layer 'relu4_2' .*; its layers are conv1_1, relu1_1, "):
        Objective(toy(), PHOTO, [(STYLE, 1)], PRESETS["multiscale"])


# -- weights on another backbone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "relative"])
@pytest.mark.parametrize("activations", ["unit", "caffe"])
def test_multipliers_undo_the_scale_of_a_backbone(activations, reduction, style_loss) -> None:
    """Two backbones that differ by a factor at every layer lose the same once the weights are rescaled."""
    s = preset(
        "gatys-paper",
        activations=activations,
        content_reduction=reduction,
        style_reduction=reduction,
        style_loss=style_loss,
        content_layers={"relu4_2": 1.0},
        style_layers={"conv1_1": 0.5, "relu3_1": 2.0},
    )
    totals = []
    for scales in ({}, {"relu4_2": 0.3, "conv1_1": 7.0, "relu1_1": 7.0, "relu3_1": 40.0}):
        backbone = Canned(dict.fromkeys(WIDTHS, 6), scales)
        factors = activation_factors(backbone, [PHOTO, STYLE], s)
        terms = Objective(backbone, PHOTO, [(STYLE, 1)], s, weight_multipliers(factors, s))(RESULT)
        totals.append((float(terms.content), float(terms.style)))
    assert totals[1] == pytest.approx(totals[0], rel=1e-3)  # eps on the covariances does not scale


def test_factors_bring_the_mean_activation_to_what_was_meant() -> None:
    backbone = toy(scale=3.0)
    pictures = [picture(100, 24, 20), picture(700, 18, 30)]
    mean = np.mean([float(backbone(x, ["relu1_1"])["relu1_1"].mean()) for x in pictures])
    unit = activation_factors(backbone, pictures, preset("gatys-paper", activations="unit", **TOY_LAYERS))
    caffe = activation_factors(backbone, pictures, preset("neural-style", **TOY_LAYERS))
    # A layer before its ReLU is judged by the one after it.
    assert unit["conv1_1"] == pytest.approx(1 / mean, rel=1e-5)
    assert caffe["conv1_1"] == pytest.approx(CAFFE_ACTIVATIONS["relu1_1"] / mean, rel=1e-5)
    assert set(unit) == {"conv1_1", "relu2_1"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"content_reduction": "mean", "style_reduction": "mean"}, (4.0, 16.0)),
        ({"content_reduction": "sum", "style_reduction": "sum"}, (4.0, 16.0)),
        ({"content_reduction": "relative", "style_reduction": "relative"}, (1.0, 1.0)),
        ({"content_reduction": "mean", "style_loss": "wasserstein"}, (4.0, 4.0)),
    ],
)
def test_powers_of_the_factor(changes, expected) -> None:
    assert weight_multipliers({"relu1_1": 2.0}, OptimizeSettings(**changes)) == {"relu1_1": expected}


def test_the_table_of_activations_has_every_layer_of_vgg19() -> None:
    with torch.device("meta"):
        vgg19 = VGG("vgg19")
    assert set(CAFFE_ACTIVATIONS) == {tap for tap in vgg19.taps if tap.startswith("relu")}
    assert all(value > 0 for value in CAFFE_ACTIVATIONS.values())
