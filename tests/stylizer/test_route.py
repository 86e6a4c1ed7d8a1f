"""Who paints: names, pictures, and the wishes that decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from impasto.errors import OptionError
from impasto.stylizer import route
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.styles import StyleRecord


def network_for(styles: list[str], *, run: bool = False, **options: Any) -> Any:
    """The network that paints, None where it is optimisation."""
    return route.route(StylizeRequest.of(style=styles, **options), keeps_run=run).model


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "gallery_styles", lambda: (StyleRecord("great-wave"),))
    monkeypatch.setattr(route, "shipped_models", lambda: ("gallery", "universal"))


@pytest.mark.parametrize(
    ("styles", "wishes", "network"),
    [
        (["great-wave"], {}, "gallery"),
        (["great-wave"], {"method": "network"}, "gallery"),
        (["picture.jpg"], {}, "universal"),
        (["picture.jpg"], {"quality": "draft"}, "universal"),
        (["picture.jpg"], {"method": "network"}, "universal"),
        (["picture.jpg"], {"quality": "good"}, None),
        (["picture.jpg"], {"quality": "best"}, None),
        (["picture.jpg"], {"method": "optimize"}, None),
        (["picture.jpg"], {"method": "optimize", "quality": "good"}, None),
        (["picture.jpg"], {"steps": 5}, None),
        (["picture.jpg"], {"factor": 2.0}, None),
        (["picture.jpg"], {"keep_colors": True}, "universal"),
        (["picture.jpg"], {"keep_colors": "luminance"}, "universal"),
        (["picture.jpg"], {"keep_colors": "histogram"}, None),
        (["picture.jpg"], {"run": True}, None),
        (["great-wave"], {"run": True}, "gallery"),
        (["picture.jpg"], {"model": "own.safetensors"}, "own.safetensors"),
        (["anything"], {"model": "own.safetensors"}, "own.safetensors"),
    ],
)
def test_who_paints(styles: list[str], wishes: dict[str, Any], network: str | None) -> None:
    assert network_for(styles, **wishes) == network


@pytest.mark.parametrize(
    ("styles", "wishes", "says"),
    [
        (["great-wave"], {"quality": "good"}, "`quality` is for a picture as style"),
        (["great-wave"], {"method": "optimize"}, "give one as style, and no model"),
        (["picture.jpg"], {"quality": "good", "method": "network"}, "`quality` good is painted by optimisation"),
        (["picture.jpg"], {"quality": "draft", "method": "optimize"}, "`quality` draft is painted by a network"),
        (["picture.jpg"], {"quality": "fine"}, "^`quality` 'fine' is unknown: use draft, good or best$"),
        (["great-wave", "picture.jpg"], {}, "give names alone or pictures alone"),
        (["graet-wave"], {}, "no picture and no style of the gallery"),
        (["picture.jpg"], {"quality": "draft", "steps": 5}, "one pass: leave out `steps`"),
        (["picture.jpg"], {"quality": "draft", "preset": "quick"}, "^`quality` draft paints .*, or `quality`$"),
        (["picture.jpg"], {"method": "network", "preset": "quick"}, "^`method` network paints .*, or `method`$"),
        (["picture.jpg"], {"model": "own", "preset": "quick"}, "^`model` own paints .*, or give .* no `model`$"),
        (["great-wave"], {"preset": "quick"}, "^styles of the gallery are painted .*, or give a picture as `style`$"),
        (["great-wave"], {"factor": 2.0}, "one pass: leave out `factor`"),
        (["great-wave"], {"upscale": True}, "^`upscale` enlarges a photo to `size`: give that as well"),
        (["great-wave"], {"upscale": True, "size": 0}, "^`upscale` enlarges a photo to `size`"),
        (["picture.jpg"], {"upscale": True, "size": 0, "steps": 5}, "^`upscale` enlarges a photo to `size`"),
        (["picture.jpg"], {"start_size": 5000, "size": 64}, "`start_size` 5000 is larger .*, which has 64 px: give"),
        (["picture.jpg"], {"start_size": 513}, "`start_size` 513 is larger than the painting, which has 512 px"),
        (["great-wave"], {"keep_colors": "histogram"}, "one pass: leave out `colors_by`"),
        (["picture.jpg"], {"steps": 5, "tile": 16}, "^`tile` is for networks, which paint in one pass: leave it out$"),
        (["picture.jpg"], {"steps": 5, "alpha": 0.5}, "^`alpha` is for networks: use `strength`$"),
        (["picture.jpg"], {"preset": "quick", "quality": "good"}, "is a preset of its own: leave out `preset`"),
    ],
)
def test_wishes_that_do_not_go_together(styles: list[str], wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        network_for(styles, **wishes)


@pytest.mark.parametrize(
    "wishes",
    [{"upscale": True, "steps": 5}, {"upscale": True, "size": 99}, {"start_size": 64, "size": 64}, {"start_size": 64}],
)
def test_wishes_that_go_together(wishes: dict[str, Any]) -> None:
    network_for(["picture.jpg"], **wishes)


def test_a_file_counts_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("great-wave").touch()
    assert network_for(["great-wave"]) == "universal"


def test_without_the_network_of_any_style_pictures_are_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "shipped_models", lambda: ("gallery",))
    assert network_for(["picture.jpg"]) is None
