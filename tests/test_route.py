"""Who paints: names, pictures, and the wishes that decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from impasto.errors import OptionError
from impasto.stylizer import route
from impasto.stylizer.model import StyleRecord
from impasto.stylizer.route import network_for


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
        (["picture.jpg"], {"tuned": True}, None),
        (["picture.jpg"], {"quality": "draft", "tuned": True}, "universal"),  # which then refuses what is tuned
        (["picture.jpg"], {"model": "own.safetensors"}, "own.safetensors"),
        (["anything"], {"model": "own.safetensors"}, "own.safetensors"),
    ],
)
def test_who_paints(styles: list[str], wishes: dict[str, Any], network: str | None) -> None:
    assert network_for(styles, **wishes) == network


@pytest.mark.parametrize(
    ("styles", "wishes", "says"),
    [
        (["great-wave"], {"quality": "good"}, "quality is for a picture as style"),
        (["great-wave"], {"method": "optimize"}, "give one as style, and no model"),
        (["picture.jpg"], {"quality": "good", "method": "network"}, "quality good is painted by optimisation"),
        (["picture.jpg"], {"quality": "draft", "method": "optimize"}, "quality draft is painted by a network"),
        (["picture.jpg"], {"quality": "fine"}, "'fine' is unknown: use draft, good, best"),
        (["great-wave", "picture.jpg"], {}, "give names alone or pictures alone"),
        (["graet-wave"], {}, "no picture and no style of the gallery"),
    ],
)
def test_wishes_that_do_not_go_together(styles: list[str], wishes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        network_for(styles, **wishes)


def test_a_file_counts_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("great-wave").touch()
    assert network_for(["great-wave"]) == "universal"


def test_without_the_network_of_any_style_pictures_are_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "shipped_models", lambda: ("gallery",))
    assert network_for(["picture.jpg"]) is None
