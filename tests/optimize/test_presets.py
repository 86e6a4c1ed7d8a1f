"""The presets' constants, spelled out a second time, and what settings refuse."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from impasto.core.vgg import TOPOLOGIES
from impasto.errors import OptionError
from impasto.optimize.presets import DEFAULT_PRESET, EARLIER, PRESETS, OptimizeSettings, earlier, preset

CONVS = ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
RELUS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
FIFTH = dict.fromkeys(RELUS, 0.2)
FOURTH = dict.fromkeys(RELUS[:4], 0.25)

# What the six classics have in common: plain pixels, plain errors, a rate that stays.
COMMON = {
    "parameterisation": "pixels",
    "lr_end": 1.0,
    "range_weight": 0.0,
    "style_scale": 1.0,
    "keep_colors": "no",
    "rescale_pool": False,
    "pool": "max",
    "content_layers": {"relu4_2": 1.0},
    "content_reduction": "mean",
    "content_factor": 1.0,
    "style_loss": "gram",
    "style_reduction": "mean",
    "style_factor": 1.0,
    "style_divisor": "positions",
    "tv_weight": 0.0,
    "levels": 1.0,
    "clamp": False,
    "averaging": 0.0,
    "start": None,
    "size": 512,
    "init": "content",
    "total_steps": None,
}

CLASSICS = {
    "gatys-paper": {
        "backbone": "vgg19",
        "pool": "average",
        "activations": "caffe",
        "content_layers": {"conv4_2": 1.0},
        "content_reduction": "sum",
        "content_factor": 0.5,
        "style_layers": dict.fromkeys(CONVS, 0.2),
        "style_factor": 0.25,
        "content_weight": 1e-3,
        "style_weight": 1.0,
        "init": "noise",
        "optimizer": "lbfgs",
        "lr": 1.0,
        "steps": 500,
        "size": 500,
    },
    "gatys-code": {
        "backbone": "vgg19-caffe",
        "activations": "caffe",
        "style_layers": {
            "relu1_1": 1 / 64**2,
            "relu2_1": 1 / 128**2,
            "relu3_1": 1 / 256**2,
            "relu4_1": 1 / 512**2,
            "relu5_1": 1 / 512**2,
        },
        "content_weight": 1.0,
        "style_weight": 1e3,
        "levels": 255.0,
        "optimizer": "lbfgs",
        "lr": 1.0,
        "start": 512,
        "size": 1024,
        "factor": 2.0,
        "steps": 500,
        "later_steps": 200,
    },
    "neural-style": {
        "backbone": "vgg19-caffe",
        "activations": "caffe",
        "style_layers": dict.fromkeys(RELUS, 1.0),
        "style_divisor": "all",
        "content_weight": 5.0,
        "style_weight": 100.0,
        "tv_weight": 1e-3,
        "tv_kind": "l1",
        "tv_mean": False,
        "levels": 255.0,
        "init": "faint-noise",
        "optimizer": "lbfgs",
        "history": 100,
        "lr": 1.0,
        "steps": 1000,
    },
    "coursera": {
        "backbone": "vgg19-caffe",
        "pool": "average",
        "activations": "caffe",
        "style_layers": FIFTH,
        "content_factor": 0.25,
        "style_factor": 0.25,
        "content_weight": 10.0,
        "style_weight": 40.0,
        "levels": 255.0,
        "init": "coursera",
        "optimizer": "adam",
        "lr": 2.0,
        "steps": 200,
        "size": 400,
    },
    "tf-tutorial": {
        "backbone": "vgg19-caffe",
        "activations": "caffe",
        "content_layers": {"relu5_2": 1.0},
        "style_layers": FIFTH,
        "content_weight": 1e4,
        "style_weight": 1e-2,
        "tv_weight": 30.0,
        "tv_kind": "l1",
        "tv_mean": False,
        "optimizer": "adam",
        "lr": 0.02,
        "betas": (0.99, 0.999),
        "eps": 0.1,
        "clamp": True,
        "steps": 1000,
        "size": 400,
    },
    "multiscale": {
        "backbone": "vgg19",
        "activations": "as-they-are",
        "style_loss": "wasserstein",
        "style_layers": dict(zip(RELUS, (256 / 341, 64 / 341, 16 / 341, 4 / 341, 1 / 341), strict=True)),
        "content_weight": 0.015,
        "style_weight": 1.0,
        "tv_weight": 2.0,
        "tv_kind": "nine-point",
        "tv_mean": True,
        "optimizer": "adam",
        "lr": 0.02,
        "betas": (0.9, 0.99),
        "clamp": True,
        "averaging": 0.99,
        "start": 128,
        "factor": 2**0.5,
        "steps": 1000,
        "later_steps": 500,
    },
}


@pytest.mark.parametrize("name", CLASSICS)
def test_the_constants_of_a_classic(name) -> None:
    settings = PRESETS[name]
    for key, expected in (COMMON | CLASSICS[name]).items():
        found = getattr(settings, key)
        assert (dict(found) if key.endswith("_layers") else found) == pytest.approx(expected), key


def test_there_are_these_presets_and_balanced_is_the_default() -> None:
    assert list(PRESETS) == ["quick", "good", "balanced", "best", *CLASSICS]
    assert DEFAULT_PRESET == "balanced"
    assert preset() == PRESETS["balanced"]


OURS = ("quick", "good", "balanced", "best")
BEFORE = {  # what was painted before these names meant something else, as recipes of then mean it
    "quick-1": ("content", 256, 13, 8, 16.0, 0.019, 0.3, (0.5, 0.9)),
    "good-1": ("draft", 256, 8, 10, 10.0, 0.012, 0.3, (0.5, 0.9)),
    "quick-2": ("draft", 256, 4, 4, 20.0, 0.016, 0.15, (0.5, 0.9)),
    "good-2": ("draft", 256, 8, 9, 24.0, 0.016, 0.3, (0.5, 0.9)),
    "balanced-2": ("content", 128, 40, 12, 34.0, 0.015, 0.3, (0.5, 0.9)),
    "balanced-1": ("content", 128, 60, 40, 40.0, 0.015, 0.1, (0.6, 0.95)),
}


def test_ours_as_they_were_stay_at_hand() -> None:
    assert EARLIER.keys() == {"best-1", *BEFORE}
    assert EARLIER["best-1"] == replace(PRESETS["multiscale"], backbone="compact")
    for name, constants in BEFORE.items():
        s = preset(name)
        found = (s.init, s.start, s.steps, s.later_steps, s.style_weight, s.lr, s.lr_end, s.betas)
        assert found == constants
        first = name.endswith("-1")
        assert s.style_layers == (FIFTH if first else FOURTH)
        assert (s.falling, s.second_backbone) == (0 if first else 1.3, None)
        assert s.repaint == (0.6 if name == "balanced-2" else 0)
    names = (*OURS, "coursera")
    assert [earlier(name, 1) for name in names] == ["quick-1", "good-1", "balanced-1", "best-1", "coursera"]
    assert [earlier(name, 2) for name in names] == ["quick-2", "good-2", "balanced-1", "best-1", "coursera"]
    assert [earlier(name, 3) for name in names] == ["quick-2", "good-2", "balanced-2", "best", "coursera"]
    assert [earlier(name, 4) for name in names] == list(names)
    assert preset("good-1", steps=2) == replace(EARLIER["good-1"], steps=2)


def test_a_second_network_goes_where_it_cannot_see_with_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    both = replace(PRESETS["good"], second_backbone="vgg19-caffe")
    monkeypatch.setattr("impasto.optimize.presets.PRESETS", {"both": both})
    assert preset("both", steps=3).second_backbone == "vgg19-caffe"
    for alone in ({"backbone": "vgg16"}, {"optimizer": "lbfgs"}, {"style_loss": "wasserstein"}):
        assert preset("both", **alone).second_backbone is None
    assert preset("both", backbone="vgg16", second_backbone="compact").second_backbone == "compact"
    with pytest.raises(OptionError, match="leave out `second_backbone`"):
        preset("both", optimizer="lbfgs", second_backbone="compact")


def test_turns_of_a_network_that_is_not_there_are_refused() -> None:
    assert preset("good", second_every=3).second_every == 3
    for alone in ({"name": "best"}, {"name": "good", "optimizer": "lbfgs"}, {"name": "good", "backbone": "vgg16"}):
        with pytest.raises(OptionError, match=r"^`second_every` is for two networks that see in turns, and here one "):
            preset(**alone, second_every=3)


def test_two_see_in_turns_where_both_have_the_layers() -> None:
    for name in OURS[:-1]:
        assert preset(name).second_backbone == "compact-vgg19"
        assert preset(name, content_layers={"relu4_2": 1}).second_backbone == "compact-vgg19"
        for layers in ({"style_layers": {"relu1_1": 1, "relu5_1": 1}}, {"content_layers": {"relu4_3": 1}}):
            alone = preset(name, **layers)
            assert (alone.backbone, alone.second_backbone) == ("compact", None)
    assert PRESETS["best"].second_backbone is None


@pytest.mark.parametrize("name", OURS)
def test_ours_run_on_what_is_shipped(name) -> None:
    settings = PRESETS[name]
    assert settings.backbone == "compact"
    assert settings.activations == "as-they-are"
    if name != "best":  # which is a classic's losses, sooner
        assert (settings.content_reduction, settings.style_reduction) == ("relative", "relative")
    assert settings.size == 512
    # What `compact` has: a VGG-16 up to its fifth block's first layer.
    layers = [row[0] for row in TOPOLOGIES["vgg16"].layers]
    known = layers[: layers.index("conv5_1") + 1]
    for tap in (*settings.content_layers, *settings.style_layers):
        assert tap.replace("relu", "conv") in known


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_cannot_be_changed_in_place(name) -> None:
    with pytest.raises(FrozenInstanceError):
        PRESETS[name].steps = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        PRESETS[name].style_layers["relu1_1"] = 2.0  # type: ignore[index]
    with pytest.raises(TypeError):
        PRESETS[name] = OptimizeSettings()  # type: ignore[index]


def test_changes_go_over_the_preset_and_none_means_unchanged() -> None:
    changed = preset("multiscale", steps=7, tv_weight=0.0, style_scale=None, seed=3)
    assert changed == replace(PRESETS["multiscale"], steps=7, tv_weight=0.0, seed=3)
    assert preset("coursera", size=None) == PRESETS["coursera"]


def test_an_unknown_preset_lists_the_names() -> None:
    with pytest.raises(OptionError) as caught:
        preset("monet")
    names = "quick, good, balanced, best, gatys-paper, gatys-code, neural-style, coursera, tf-tutorial, multiscale"
    assert str(caught.value) == f"preset 'monet' is unknown: use {names}"


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(
        OptionError, match=r"^setting 'stile_weight' is unknown .did you mean 'style_weight'..: use .*style_weight"
    ):
        preset("quick", stile_weight=3)


NAN, INFINITE = float("nan"), float("inf")
BAD = [
    ({"steps": 0}, "`steps` must be at least 1, got 0"),
    ({"size": -5}, "`size` must be at least 1, got -5"),
    ({"history": 0}, "`history` must be at least 1, got 0"),
    ({"later_steps": -1}, "`later_steps` must not be negative, got -1"),
    ({"total_steps": 0}, "`steps` must be at least 1, got 0"),
    ({"start": 0}, "`start` must be at least 1 px, got 0"),
    ({"content_weight": -1.0}, "`content_weight` must be from 0 to 1e+15, got -1.0"),
    ({"style_weight": NAN}, "`style_weight` must be from 0 to 1e+15, got nan"),
    ({"tv_weight": INFINITE}, "`tv_weight` must be from 0 to 1e+15, got inf"),
    ({"style_weight": 1e25}, "`style_weight` must be from 0 to 1e+15, got 1e+25"),
    ({"content_weight": 0.0, "style_weight": 0.0}, "`content_weight` and `style_weight` are both 0: nothing to do"),
    ({"range_weight": -0.1}, "`range_weight` must be from 0 to 1e+15, got -0.1"),
    ({"lr": 0.0}, "`lr` must be a number above 0, got 0.0"),
    ({"lr": NAN}, "`lr` must be a number above 0, got nan"),
    ({"lr_end": -1.0}, "`lr_end` must be a number above 0, got -1.0"),
    ({"eps": 0.0}, "`eps` must be a number above 0, got 0.0"),
    ({"style_scale": 0.0}, "`style_scale` must be a number above 0, got 0.0"),
    ({"levels": -255.0}, "`levels` must be a number above 0, got -255.0"),
    ({"content_factor": 0.0}, "`content_factor` must be a number above 0, got 0.0"),
    ({"style_factor": INFINITE}, "`style_factor` must be a number above 0, got inf"),
    ({"style_layers": {"relu1_1": -2.0}}, "the weight of relu1_1 must be a number from 0 up, got -2.0"),
    ({"content_layers": {"relu4_2": NAN}}, "the weight of relu4_2 must be a number from 0 up, got nan"),
    ({"factor": 1.0, "parameterisation": "pixels"}, "`factor` must be above 1, got 1.0"),
    ({"averaging": 1.0}, "`averaging` and `betas` must be from 0 up and below 1, got 1.0"),
    ({"betas": (0.9, 1.5)}, "`averaging` and `betas` must be from 0 up and below 1, got 1.5"),
    ({"content_layers": {}}, "a content weight needs a content layer"),
    ({"style_layers": {}}, "a style weight needs a style layer"),
    ({"start": 128, "factor": 1.5}, "a pyramid's scales double, so `factor` must be 2 with it, got 1.5"),
    (
        {"parameterisation": "fourier", "start": 128},
        "frequencies are painted at one size: leave `start` out or choose another `parameterisation`",
    ),
    ({"clamp": True}, "only pixels can be clamped, not a pyramid: set `clamp` to False"),
    ({"init": "white"}, "`init` 'white' is unknown: use content, noise, faint-noise, coursera, draft"),
    ({"keep_colors": True}, "`keep_colors` True is unknown: use no, luminance, histogram"),
    ({"parameterisation": "wavelets"}, "`parameterisation` 'wavelets' is unknown: use pixels, pyramid, fourier"),
    ({"optimizer": "sgd"}, "`optimizer` 'sgd' is unknown: use adam, lbfgs"),
    ({"pool": "min"}, "`pool` 'min' is unknown: use max, average, l2"),
    ({"style_loss": "mmd"}, "`style_loss` 'mmd' is unknown: use gram, wasserstein"),
    ({"style_divisor": "channels"}, "`style_divisor` 'channels' is unknown: use none, positions, all"),
    (
        {"style_reduction": "median"},
        "`style_reduction` 'median' is unknown (did you mean 'mean'?): use sum, mean, relative",
    ),
    ({"content_reduction": "l1"}, "`content_reduction` 'l1' is unknown: use sum, mean, relative"),
    ({"tv_kind": "l3"}, "`tv_kind` 'l3' is unknown: use l1, l2, nine-point"),
    (
        {"second_backbone": "compakt"},
        "`second_backbone` 'compakt' is unknown (did you mean 'compact'?): use "
        "compact, compact-vgg19, vgg19, vgg16, vgg19-caffe, vgg16-caffe, vgg16-dev, vgg16-edges",
    ),
    *(
        (
            {"second_backbone": "compact", **alone},
            "two networks see alike only by relative errors and Gram matrices, and only adam can take turns: leave out "
            "`second_backbone`, or choose `optimizer` adam, `style_loss` gram, and relative reductions",
        )
        for alone in ({"optimizer": "lbfgs"}, {"style_loss": "wasserstein"}, {"content_reduction": "mean"})
    ),
    ({"falling": -1.0}, "`falling` must be a number from 0 up, got -1.0"),
    ({"second_every": 0}, "`second_every` must be at least 1, got 0"),
    ({"activations": "torch"}, "`activations` 'torch' is unknown: use as-they-are, unit, caffe"),
]


@pytest.mark.parametrize(("settings", "sentence"), BAD, ids=[", ".join(settings) for settings, _ in BAD])
def test_bad_settings_are_told_in_a_sentence(settings, sentence) -> None:
    with pytest.raises(OptionError) as caught:
        OptimizeSettings(**settings)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("kind", "wrong", "needed"),
    [
        ("float", ["x", None, True, 1j], "a number"),
        ("int", ["x", None, True, 1.5], "a whole number"),
        ("int | None", ["x", False, 1.5], "a whole number"),
        ("bool", ["x", None, 1], "True or False"),
        ("str", [3, None, True], "a text"),
        ("str | None", [3, True], "a text"),
        ("Layers", ["relu1_1", None, {"relu1_1": "x"}, {1: 1.0}], "a mapping of layers to numbers"),
        ("tuple[float, float]", [3, None, (0.5,), ("a", "b"), (True, 0.9)], "two numbers"),
    ],
)
def test_a_value_of_another_kind_is_told_for_every_setting(kind: str, wrong: list[Any], needed: str) -> None:
    names = [field.name for field in fields(OptimizeSettings) if field.type == kind]
    assert names
    for name in names:
        for value in wrong:
            with pytest.raises(OptionError) as caught:
                OptimizeSettings(**{name: value})
            assert str(caught.value) == f"`{name}` is {value!r}, need {needed}"
            assert caught.value.option == name


def test_numbers_of_numpy_and_lists_are_numbers() -> None:
    settings = OptimizeSettings(lr=np.float32(0.5), steps=np.int64(3), betas=[0.5, 0.9], content_weight=2)
    assert (settings.lr, settings.steps, settings.content_weight) == (0.5, 3, 2)


def test_no_weight_needs_no_layer() -> None:
    assert OptimizeSettings(content_weight=0, content_layers={}).content_layers == {}
    assert OptimizeSettings(style_weight=0, style_layers={}).style_layers == {}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("parameterisation", ["pixels", "pyramid", "fourier"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_every_preset_takes_every_optimiser_and_parameterisation(optimizer, parameterisation, name) -> None:
    settings = preset(name, optimizer=optimizer, parameterisation=parameterisation)
    assert (settings.optimizer, settings.parameterisation) == (optimizer, parameterisation)
    assert settings.style_weight == PRESETS[name].style_weight
    if (optimizer, parameterisation) == (PRESETS[name].optimizer, PRESETS[name].parameterisation):
        assert settings == PRESETS[name]


def test_another_optimiser_brings_its_own_rate_unless_told() -> None:
    # neural-style's own option: Adam at 10 grey levels.
    assert preset("neural-style", optimizer="adam").lr == 10.0
    assert preset("multiscale", optimizer="lbfgs").lr == 1.0
    assert preset("quick", optimizer="lbfgs").lr_end == 1.0
    assert not preset("quick", optimizer="lbfgs").sees_clamped  # what leaves [0, 1] costs, so nothing is gained there
    assert preset("coursera", optimizer="lbfgs").sees_clamped
    assert not any(settings.sees_clamped for settings in PRESETS.values())  # the classics' own programs do not
    assert preset("quick", optimizer="lbfgs", lr=0.5).lr == 0.5


def test_what_does_not_fit_but_was_asked_for_is_an_error() -> None:
    with pytest.raises(OptionError, match="leave `start` out"):
        preset("quick", parameterisation="fourier", start=128)
    with pytest.raises(OptionError, match="only pixels"):
        preset("multiscale", parameterisation="pyramid", clamp=True)
