"""The nearest name to one that is unknown, and everywhere that a name is looked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.core.memory import shown_bytes
from impasto.core.weights import load_backbone
from impasto.errors import ImageError, ImpastoError, in_figures, nearest
from impasto.imaging.guards import Limits
from impasto.networks.shipped import find_model
from impasto.optimize.presets import preset
from impasto.stylizer.route import named_in_gallery, split_init
from impasto.training.recipe import fill
from impasto.training.settings import settings_class

STYLES = ("great-wave", "starry-night", "the-scream")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("grate-wave", "great-wave"),
        ("Great_Wave", "great-wave"),
        ("starry night", "starry-night"),
        ("scream", "the-scream"),
    ],
)
def test_the_nearest_name(word: str, found: str) -> None:
    assert nearest(word, STYLES) == f" (did you mean {found!r}?)"


@pytest.mark.parametrize("word", ["", "xyz", "e", "photograph"])
def test_nothing_is_near(word: str) -> None:
    assert nearest(word, STYLES) == ""


LOOKED_UP: dict[str, tuple[Callable[[], Any], str]] = {
    "preset": (lambda: preset("quik"), "quick"),
    "setting": (lambda: preset(style_wieght=3), "style_weight"),
    "value": (lambda: preset(optimizer="adams"), "adam"),
    "backbone": (lambda: load_backbone("compakt"), "compact"),
    "model": (lambda: find_model("galery"), "gallery"),
    "style": (lambda: named_in_gallery(["grate-wave"]), "great-wave"),
    "beginning": (lambda: split_init("nois"), "noise"),
    "network": (lambda: settings_class("jonson"), "johnson"),
    "recipe": (lambda: fill("johnson", {}, {"style_wieght": 3}), "style_weight"),
}


@pytest.mark.parametrize("kind", LOOKED_UP)
def test_who_looks_up_a_name_tells_the_nearest(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, name = LOOKED_UP[kind]
    with pytest.raises(ImpastoError, match=f"did you mean '{name}'"):
        call()


LAYERS = ("relu1_1", "relu2_1", "relu5_1")


@pytest.mark.parametrize("word", ["relu9_9", "conv9_9", "conv5_1"])
def test_what_is_far_off_is_not_guessed(word: str) -> None:
    assert nearest(word, LAYERS) == ""


@pytest.mark.parametrize("word", ["relu5-1", "rleu5_1", "RELU51"])
def test_a_near_layer_is_guessed(word: str) -> None:
    assert nearest(word, LAYERS) == " (did you mean 'relu5_1'?)"


def test_large_numbers_have_no_exponent() -> None:
    numbers = (0.0, 0.012345, 12.3456, 9999.4, 9999.6, 10_000, 123_456.7)
    assert [in_figures(number) for number in numbers] == [
        "0", "0.01235", "12.35", "9999", "10000", "10000", "123457"
    ]  # fmt: skip
    assert [shown_bytes(count) for count in (9.96e9, 99.4e9, 99.6e9, 1.28e11)] == ["10 GB", "99 GB", "100 GB", "128 GB"]
    with pytest.raises(ImageError, match="is 10000 megapixels"):
        Limits().check("a.png", 100_000, 100_000)
