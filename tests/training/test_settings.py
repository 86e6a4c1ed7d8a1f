"""Settings and recipes: defaults, limits, what comes first, what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from impasto.errors import DataError, OptionError
from impasto.training.recipe import changes, fill, from_table, inherited, read_recipe, to_toml
from impasto.training.settings import (
    FAMILIES,
    AdaINSettings,
    JohnsonSettings,
    MultiStyleSettings,
    UniversalSettings,
    Weights,
    settings_class,
)

from .training_samples import adain, johnson, multistyle


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_survive_a_recipe(family: str, tmp_path: Path) -> None:
    settings = settings_class(family)()
    table = read_recipe(write(tmp_path / "r.toml", to_toml(settings)))
    assert from_table(table, "r.toml") == settings
    assert changes(settings, from_table(table, "r.toml")) == []


def test_a_recipe_means_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = MultiStyleSettings(photos=("photos", "/more/*.tar"), style=("a.png",), backbone="vgg16", epochs=3)
    text = to_toml(settings)
    assert tomllib.loads(text)["photos"] == [str(tmp_path / "photos"), "/more/*.tar"]
    assert tomllib.loads(text)["backbone"] == "vgg16"  # a name, not a path
    assert "steps" not in tomllib.loads(text)  # epochs count
    (tmp_path / "sub").mkdir()
    relative = read_recipe(write(tmp_path / "sub" / "r.toml", 'photos = ["../photos"]\nbackbone = "x.safetensors"\n'))
    assert relative == {"photos": [str(tmp_path / "photos")], "backbone": str(tmp_path / "sub" / "x.safetensors")}


def test_flags_come_before_the_recipe_before_the_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path / "r.toml", "batch-size = 3\nlr = 0.5\nsteps = 9\nstyle_balance = 4\n"))
    settings = fill("johnson", {"lr": 0.25, "seed": None, "style": []}, recipe)
    assert (settings.lr, settings.batch_size, settings.steps, settings.seed) == (0.25, 3, 9, JohnsonSettings().seed)
    by_epochs = fill("johnson", {"epochs": 2}, recipe)
    assert (by_epochs.epochs, by_epochs.values().get("steps")) == (2, None)
    assert fill("johnson", {"style_weight": 7.0}, recipe).weights == Weights(1e5, 7.0, 1e-6, relative=False)
    assert fill("johnson", {"style_balance": 7.0}, {"content_weight": 2}).weights.relative


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 3", r"r\.toml: unknown key 'colour'; the keys are photos, leave_out, style, batch_size, .*blocks"),
        ("lr = 'fast'", r"r\.toml: `lr`: 'fast' is not a number"),
        ("steps = 2.5", r"r\.toml: `steps`: 2\.5 is not a whole number"),
        ("steps = true", r"`steps`: True is not a whole number"),
        ("photos = 3", r"`photos`: .* is not a list of texts"),
        ("style_layer = [1]", r"`style_layer`: \[1\] is not a list of texts"),
        ("deterministic = 1", r"`deterministic`: 1 is not true or false"),
        ("output = 'relu'", r"`output`: 'relu' is not sigmoid or linear or tanh"),
        ("steps = 3\nepochs = 3", r"`steps` and `epochs` exclude each other"),
        ("steps = [", r"r\.toml: cannot be read as a recipe"),
        ("train = 'adain'", r"r\.toml: is a recipe for 'adain', not for 'johnson'"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "r.toml", text)
    with pytest.raises(DataError, match=message):
        fill("johnson", {}, read_recipe(path), path)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.toml: no such file, need a recipe"):
        read_recipe(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 0}, "`batch_size` is 0, need at least 1"),
        ({"lr": 0.0}, "`lr` is 0.0, need a number above 0"),
        ({"lr": float("nan")}, "`lr` is nan, need a finite number"),
        ({"lr": 1000.0}, "`lr` is 1000.0, need at most 100"),
        ({"image_size": 31}, "`image_size` is 31, need at least 32"),
        ({"seed": -1}, "`seed` is -1, need at least 0"),
        ({"style_balance": 1.0, "style_weight": 2.0}, "`style_balance` and `style_weight` exclude each other"),
        ({"content_weight": 1.0, "style_balance": 1.0}, "`style_balance` and `content_weight` exclude each other"),
        ({"deterministic": True, "precision": "bfloat16"}, "`deterministic` implies float32"),
        ({"style_layer": []}, "at least one style layer"),
        ({"nonsense": 1}, "unknown key 'nonsense'"),
    ],
)
def test_wrong_values_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        JohnsonSettings.from_values(given)


def test_unknown_families_are_refused() -> None:
    with pytest.raises(OptionError, match="nothing called 'gan' can be trained; there are johnson, multistyle"):
        settings_class("gan")


def test_weights_of_the_families() -> None:
    assert JohnsonSettings().weights == Weights(1.0, 8.0, 2.0, relative=True)
    assert MultiStyleSettings().weights == Weights(1.0, 12.0, 2.0, relative=True)
    assert MultiStyleSettings(style_balance=5).weights == Weights(1.0, 5.0, 2.0, relative=True)
    assert MultiStyleSettings(content_weight=2).weights == Weights(2.0, 1e-4, 0.0, relative=False)
    assert UniversalSettings().weights == Weights(1.0, 30.0, 2.0, relative=True)
    assert UniversalSettings(style_weight=3).weights == Weights(1.0, 3.0, 0.0, relative=False)
    assert AdaINSettings().weights == Weights(1.0, 10.0, 0.0, relative=True)
    assert AdaINSettings(style_weight=10).weights == Weights(1.0, 10.0, 0.0, relative=False)
    assert AdaINSettings(style_weight=3).weights == Weights(1.0, 3.0, 0.0, relative=False)
    assert AdaINSettings(style_balance=3, tv_weight=1).weights == Weights(1.0, 3.0, 1.0, relative=True)


def test_a_training_of_adain_that_was_begun_with_the_papers_weights_has_them_still() -> None:
    begun = AdaINSettings.from_values(AdaINSettings.as_begun({"lr": 1e-4, "pixel_weight": 0.0}))
    assert begun.weights == Weights(1.0, 10.0, 0.0, relative=False)
    for settings in (AdaINSettings(), AdaINSettings(style_weight=3.0)):
        assert AdaINSettings.from_values(AdaINSettings.as_begun(settings.values())) == settings


def test_the_rate_of_multistyle_is_its_networks() -> None:
    assert MultiStyleSettings().lr == 3e-3
    assert MultiStyleSettings(network="johnson").lr == 1e-3
    assert MultiStyleSettings(network="johnson", lr=0.5).lr == 0.5
    assert fill("multistyle", {"network": "johnson"}, {}).lr == 1e-3
    assert fill("multistyle", {}, {"network": "johnson", "lr": 2e-3}).lr == 2e-3
    with pytest.raises(OptionError, match="`network`: 'gan' is not brisk or johnson"):
        MultiStyleSettings(network="gan")


def test_changes_are_named_and_places_are_not(tmp_path: Path) -> None:
    before = multistyle(tmp_path)
    now = multistyle(tmp_path, photos=["/elsewhere"], workers=3, device="auto", lr=0.5, epochs=None)
    assert changes(before, now) == ["`lr` is 0.5, was 0.001"]
    assert changes(before, adain(tmp_path)) == ["it trains adain, trained multistyle"]
    assert changes(before, johnson(tmp_path)) == ["it trains johnson, trained multistyle"]


def test_the_names_are_those_people_know() -> None:
    known = {name for kind in FAMILIES.values() for name in kind().values()} | {"epochs", "style_weight"}
    for name in ("photos", "style", "backbone", "encoder", "network", "deterministic", "batch_size", "epochs", "steps",
                 "style_weight", "lr", "lr_decay", "image_size", "style_size", "save_every", "seed"):  # fmt: skip
        assert name in known


def test_settings_load_without_torch() -> None:
    code = "import sys, impasto.training.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_tells_how_its_styles_were_learned(tmp_path: Path) -> None:
    from impasto.networks.brisk import Brisk, BriskConfig
    from impasto.networks.checkpoint import save_model

    network = Brisk(BriskConfig(("a",), channels=8, blocks=1, detail=4))
    told = {"style_balance": 12.0, "style_size": 300, "backbone": "vgg16", "lr": 0.5, "contents": {}}
    save_model(tmp_path / "m.safetensors", network, recipe=told, licence="x")
    assert inherited(tmp_path / "m.safetensors") == {"style_balance": 12.0, "style_size": 300, "backbone": "vgg16"}
    save_model(tmp_path / "m.safetensors", network, recipe={**told, "backbone": "own.safetensors"}, licence="x")
    assert "backbone" not in inherited(tmp_path / "m.safetensors")
