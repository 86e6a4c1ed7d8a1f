"""What a picture carries of how it was made, and painting it again from that."""

from __future__ import annotations

import getpass
import io
import json
import shutil
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto.errors import DataError, OptionError
from impasto.files import sha256
from impasto.imaging import Picture, write
from impasto.optimize.presets import preset
from impasto.stylizer import recipe as module
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.recipe import Recipe, read_recipe
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import route
from impasto.stylizer.strokes import GROUND
from impasto.stylizer.styles import Style

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
ENGINE = Engine()
GREAT_WAVE = [{"style": "great-wave", "weight": 1.0}]

WAYS: dict[str, dict[str, Any]] = {
    "gallery": {"style": ["great-wave:0.3", "starry-night:0.7"], "strength": 0.8},
    "universal": {"style": ["night.png:2", "wave.png"], "mask": "wave.png", "keep_colors": True},
    "good": {"style": "night.png", "quality": "good", "steps": 2, "style_layers": {"relu1_1": 0.5, "relu2_1": 1.0}},
    "preset": {"style": "wave.png", "preset": "quick", "steps": 2, "init": "night.png", "betas": (0.5, 0.9)},
}


def paint(options: dict[str, Any] | StylizeRequest, output: str = "out.png", photo: Any = "photo.png") -> np.ndarray:
    request = options if isinstance(options, StylizeRequest) else StylizeRequest.of(precision="float32", **options)
    with ENGINE.job(photo, request, output=Output(output, force=True)) as job:
        list(job.run())
        return job.result().integers(8)


def files_of(options: dict[str, Any]) -> dict[str, Any]:
    """The pictures of a request as they are given beside its recipe."""
    styles = [str(style).partition(":")[0] for style in np.atleast_1d(options["style"])]
    pictures: dict[str, Any] = {"style": [style for style in styles if style.endswith(".png")] or None}
    pictures |= {
        name: [options[name]] if name == "mask" else options[name] for name in ("mask", "init") if name in options
    }
    return pictures


# -- carried --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["out.jpg", "out.png", "out.webp", "out.tif", "out.avif"])
@pytest.mark.parametrize("depth", [8, 16])
def test_every_format_carries_it(output: str, depth: int) -> None:
    if depth == 16:
        write(Picture(impasto.imaging.read("photo.png").rgb, bits=16), "photo.png", force=True)
    paint(WAYS["universal"], output)
    recipe = read_recipe(output)
    assert recipe.request["style"] == [{"style": "night.png", "weight": 2.0}, {"style": "wave.png", "weight": 1.0}]
    assert recipe.request["mask"] == ["wave.png"]
    used = {"style 1": "night.png", "style 2": "wave.png", "mask 1": "wave.png", "photo": "photo.png"}
    assert {role: recipe.used[role] for role in used} == {role: sha256(Path(name)) for role, name in used.items()}
    assert recipe.used["model"] == ENGINE.model("universal").sha256
    assert recipe.made_by["impasto"] == impasto.__version__
    assert recipe.made_by["precision"] == "float32"


@pytest.mark.parametrize("output", ["out.jpg", "out.png", "out.tif"])
def test_strips_carry_it_too(output: str) -> None:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    request = StylizeRequest.of(style="great-wave", precision="float32", tile=16)
    with ENGINE.job("photo.png", request, output=Output(output), folder=Path("run")) as job:
        list(job.run())
        assert read_recipe(output) == job.recipe
    wanted = {"style": GREAT_WAVE, "precision": "float32", "tile": 16, "engine": "torch", "style_scale": "auto"}
    assert read_recipe(output).request == {**wanted, "ground": GROUND}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_tells_where_and_by_whom(way: str, folder: Path) -> None:
    options = {
        name: [str(folder / one) if str(one).endswith(".png") else one for one in np.atleast_1d(value)]
        if name in ("style", "mask")
        else str(folder / value) if name == "init" else value
        for name, value in WAYS[way].items()
    }  # fmt: skip
    paint(options, photo=str(folder / "photo.png"))
    text = read_recipe("out.png").to_text()
    assert str(folder) not in text
    assert "/" not in text.replace("CPU @", "").replace(read_recipe("out.png").made_by["processor"], "")
    for name in (getpass.getuser(), socket.gethostname()):
        assert f'"{name}"' not in text
    json.loads(text)


def test_a_path_that_is_not_there_is_no_path_either(monkeypatch: pytest.MonkeyPatch, tiny_backbone: Path) -> None:
    monkeypatch.setenv("HOME", str(tiny_backbone.parent))
    few = {"content_layers": "relu1_2", "style_layers": "relu1_1", "backbone_input": "none", "steps": 1}
    paint({"style": "night.png", "backbone": f"~/{tiny_backbone.name}", **few})
    recipe = read_recipe("out.png")
    assert recipe.request["backbone"] == tiny_backbone.name
    assert recipe.used["backbone"] == sha256(tiny_backbone)


def test_it_can_be_left_out() -> None:
    with ENGINE.job("photo.png", StylizeRequest.of(style="great-wave"), output=Output("out.png", recipe=False)) as job:
        list(job.run())
    with pytest.raises(DataError, match=r"out\.png: carries no recipe"):
        read_recipe("out.png")
    impasto.stylize("photo.png", "great-wave", output="with.png")
    assert read_recipe("with.png").request == {
        "style": GREAT_WAVE,
        "engine": "torch",
        "style_scale": "auto",
        "ground": GROUND,
    }


def test_pictures_in_memory_are_known_by_their_pixels() -> None:
    night, mask, photo = Image.open("night.png"), Image.open("wave.png"), Image.open("photo.png")
    paint({"style": night, "mask": mask}, photo=photo)
    recipe = read_recipe("out.png")
    assert recipe.request["style"] == [{"style": "picture", "weight": 1.0}]
    assert {"style 1", "mask 1", "photo", "model"} == set(recipe.used)
    again = recipe.to_request({"style": [np.array(night)], "mask": [mask]})
    assert np.array_equal(paint(again, photo=photo), np.array(Image.open("out.png")))
    with pytest.raises(OptionError, match=r"the recipe needs the style 'picture' \(SHA-256 [0-9a-f]{64}\)"):
        recipe.to_request()


def test_a_network_s_recipe_may_be_optimised() -> None:
    """What a network ran in means nothing then."""
    paint({"style": "night.png"})
    request = read_recipe("out.png").to_request({"style": ["night.png"]}, quality="good", steps=1)
    assert "engine" not in request.given
    assert route(request).settings is not None


@pytest.mark.parametrize("way", WAYS)
def test_every_file_is_hashed_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = {}

    def counted(path: Path) -> str:
        counts[Path(path).name] = counts.get(Path(path).name, 0) + 1
        return sha256(path)

    for place in ("recipe", "job"):
        monkeypatch.setattr(f"impasto.stylizer.{place}.sha256", counted)
    request = StylizeRequest.of(precision="float32", **WAYS[way])
    with ENGINE.job("photo.png", request, output=Output("out.png")) as job:
        list(job.run())
        assert read_recipe("out.png").differences(job) == ()
    assert counts["photo.png"] == 1
    assert max(counts.values()) <= 2  # the same picture as style and as mask


# -- painted again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_painted_again_it_is_the_same_bit_for_bit(way: str) -> None:
    expected = paint(WAYS[way])
    Path("elsewhere").mkdir()
    files = files_of(WAYS[way])
    for name, given in files.items():
        rows = (
            [shutil.copy(row, f"elsewhere/{name}{i}.png") for i, row in enumerate(np.atleast_1d(given))]
            if given
            else None
        )
        files[name] = rows if name in ("style", "mask") or rows is None else rows[0]
    request = read_recipe("out.png").to_request(files)
    assert np.array_equal(paint(request, "again.png"), expected)
    with ENGINE.job("photo.png", request) as job:
        assert read_recipe("out.png").differences(job) == ()  # other names of the same files are none


def test_a_recipe_as_json() -> None:
    expected = paint(WAYS["gallery"])
    Path("recipe.json").write_text(read_recipe("out.png").to_text(), encoding="utf-8")
    assert read_recipe("recipe.json") == read_recipe("out.png")
    assert np.array_equal(paint(read_recipe("recipe.json").to_request()), expected)


def test_what_is_not_at_hand_is_asked_for_by_name_and_hash() -> None:
    paint(WAYS["universal"])
    recipe = read_recipe("out.png")
    digest = sha256(Path("night.png"))
    with pytest.raises(
        OptionError, match=rf"needs the style 'night\.png' \(SHA-256 {digest}\): give its file as `style`"
    ):
        recipe.to_request({"mask": ["wave.png"]})
    with pytest.raises(OptionError, match=r"needs the mask 'wave\.png'"):
        recipe.to_request({"style": ["night.png", "wave.png"]})


def test_styles_are_found_by_their_hash_whatever_their_order() -> None:
    paint(WAYS["universal"])
    recipe = read_recipe("out.png")
    for given in (["wave.png", "night.png"], ["night.png", "wave.png"]):
        request = recipe.to_request({"style": given, "mask": "wave.png"})
        assert request.style == (Style("night.png", 2.0), Style("wave.png", 1.0))


def test_others_in_their_place_are_taken_and_told() -> None:
    paint(WAYS["universal"])
    recipe = read_recipe("out.png")
    request = recipe.to_request({"style": ["photo.png", "wave.png"], "mask": "wave.png"})
    assert request.style == (Style("photo.png", 2.0), Style("wave.png", 1.0))
    with ENGINE.job("photo.png", request) as job:
        assert recipe.differences(job) == ("`style` is another",)


@pytest.mark.parametrize(
    ("way", "changes", "told"),
    [
        ("gallery", {"strength": 0.5}, ("`strength` is 0.5, and was 0.8",)),
        ("gallery", {"size": 36, "strength": 0.8}, ("`size` is 36, and was not given",)),
        ("gallery", {"max_memory": "9GB"}, ()),
        ("universal", {"keep_colors": False}, ("`keep_colors` is false, and was true",)),
        ("good", {"steps": 1}, ("`steps` is 1, and was 2",)),
        ("preset", {"preset": "balanced"}, ("`preset` is balanced, and was quick",)),
    ],
)
def test_an_option_given_beside_it_wins_and_is_told(way: str, changes: dict[str, Any], told: tuple[str, ...]) -> None:
    paint(WAYS[way])
    recipe = read_recipe("out.png")
    request = recipe.to_request(files_of(WAYS[way]), **changes)
    for name, value in changes.items():
        assert getattr(request, name) == value
    with ENGINE.job("photo.png", request) as job:
        assert recipe.differences(job) == told


@pytest.mark.parametrize(
    ("way", "style", "changes"),
    [
        ("preset", "great-wave", {}),
        ("good", "great-wave", {}),
        ("good", "wave.png", {"quality": "draft"}),
        ("good", "wave.png", {"method": "network"}),
    ],
)
def test_options_of_the_recipe_alone_give_way_to_a_network(way: str, style: str, changes: dict[str, Any]) -> None:
    paint(WAYS[way])
    recipe = read_recipe("out.png")
    request = recipe.to_request({"style": style}, **changes)
    assert route(request).model in ("gallery", "universal")
    assert not {"preset", "steps", "settings", "style_layers", "init"} & {*request.given}
    with ENGINE.job("photo.png", request) as job:
        assert any("is not given, and was" in told for told in recipe.differences(job))
    given = {"style": style, "init": "night.png"}
    with pytest.raises(OptionError, match=r"in one pass: leave out `(init|preset)`"):
        route(recipe.to_request(given, **{**changes, "preset": "quick"}))


def test_options_of_the_recipe_alone_give_way_to_an_optimisation() -> None:
    paint({"style": "wave.png", "ground": 0.5, "tile": 64, "method": "network"})
    request = read_recipe("out.png").to_request({"style": "wave.png"}, preset="quick")
    assert request.given == ("style", "preset", "style_scale", "precision")
    assert route(request).settings == preset("quick")


def test_a_recipe_of_before_may_upscale_to_nothing() -> None:
    made = {"request": {"style": GREAT_WAVE, "upscale": True}, "used": {"model": "", "photo": ""}, "made_by": {}}
    recipe = Recipe(**made)
    assert "upscale" not in recipe.to_request().given
    assert recipe.to_request(size=99).upscale


def test_a_photo_from_a_stream_is_the_file_that_it_was() -> None:
    for photo in ("photo.png", io.BytesIO(Path("photo.png").read_bytes())):
        paint({"style": io.BytesIO(Path("wave.png").read_bytes())}, photo=photo)
        recipe = read_recipe("out.png")
        assert recipe.used["photo"] == sha256(Path("photo.png"))
        assert recipe.used["style 1"] == sha256(Path("wave.png"))
        with ENGINE.job("photo.png", recipe.to_request({"style": "wave.png"})) as job:
            assert recipe.differences(job) == ()


def test_a_picture_that_was_changed_is_not_the_file() -> None:
    picture = impasto.imaging.read(io.BytesIO(Path("photo.png").read_bytes()))
    assert picture.digest == sha256(Path("photo.png"))
    for other in (picture.with_rgb(1 - picture.rgb), picture.resized((20, 20)), impasto.imaging.read("photo.png")):
        assert other.digest == ""


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"quality": "good"}, "good-1"),
        ({"preset": "quick"}, "quick-1"),
        ({"method": "optimize"}, "balanced-1"),
        ({"preset": "coursera"}, "coursera"),
        ({"quality": "best"}, "best-1"),
    ],
)
def test_recipes_of_before_mean_the_presets_of_before(asked: dict[str, Any], meant: str) -> None:
    style = {"style": [{"style": "wave.png", "weight": 1.0}]}
    before = Recipe({**style, **asked}, {"backbone": "0", "style 1": sha256(Path("wave.png"))}, {"impasto": "0.1.0"})
    request = before.to_request({"style": ["wave.png"]})
    assert (request.preset, request.quality) == (meant, None)
    assert route(request).settings == preset(meant)
    now = Recipe(before.request, before.used, {**before.made_by, **module.PRESETS})
    means_now = route(StylizeRequest.of(style="wave.png", **asked)).settings
    assert route(now.to_request({"style": ["wave.png"]})).settings == means_now
    if meant != "coursera":  # and what was meant in between
        later = Recipe(before.request, before.used, {**before.made_by, "presets": "3"}).to_request(
            {"style": ["wave.png"]}
        )
        assert route(later).settings == preset({"best-1": "best"}.get(meant, meant.replace("-1", "-2")))
    # What is given beside it is what it is called now.
    assert before.to_request({"style": ["wave.png"]}, quality="best").preset is None


def test_numbers_written_by_hand_are_read() -> None:
    text = json.dumps({"impasto": 1, "request": {}, "used": {}, "made_by": {"presets": 3, "threads": 2}})
    assert Recipe.from_text(text, "mine.json").made_by == {"presets": "3", "threads": "2"}


def test_presets_of_before_are_no_difference_and_later_ones_are() -> None:
    paint({"style": "wave.png", "preset": "quick-2", "steps": 2})
    found = read_recipe("out.png")
    for presets, told in (("3", ()), ("4", ()), ("9", ("presets is 4, and was 9",))):
        recipe = Recipe(found.request, found.used, {**found.made_by, "presets": presets})
        with ENGINE.job("photo.png", recipe.to_request({"style": ["wave.png"]}, preset="quick-2")) as job:
            assert [one for one in recipe.differences(job) if "presets" in one] == list(told)


def test_a_recipe_of_before_paints_its_picture_again() -> None:
    options = {"style": "wave.png", "steps": 2}
    painted = paint({**options, "preset": "quick-1"})
    found = read_recipe("out.png")
    assert found.made_by.keys() >= module.PRESETS.keys()
    made_by = {name: value for name, value in found.made_by.items() if name not in module.PRESETS}
    before = Recipe({**found.request, "preset": "quick"}, found.used, made_by)
    request = before.to_request({"style": ["wave.png"]})
    assert (paint(request) == painted).all()
    with ENGINE.job("photo.png", request) as job:
        assert before.differences(job) == ()


def test_options_that_exclude_others_win_too() -> None:
    paint(WAYS["good"])
    request = read_recipe("out.png").to_request({"style": ["night.png"]}, preset="quick")
    assert (request.preset, request.quality) == ("quick", None)
    paint({"style": "night.png", "preset": "quick", "steps": 1, "keep_colors": "histogram"})
    request = read_recipe("out.png").to_request({"style": ["night.png"]}, keep_colors=False)
    assert (request.keep_colors, request.colors_by) == (False, None)
    paint(WAYS["gallery"])
    request = read_recipe("out.png").to_request({"style": ["night.png"]})
    assert request.style == (Style("night.png"),)
    request = read_recipe("out.png").to_request(style="great-wave")
    assert request.style == (Style("great-wave"),)


def test_what_of_photo_machine_and_versions_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    paint(WAYS["gallery"])
    recipe = read_recipe("out.png")
    monkeypatch.setattr(module, "processor", lambda: "an abacus")
    was = recipe.made_by["processor"]
    older = Recipe(recipe.request, {**recipe.used, "model": "0" * 64}, {**recipe.made_by, "torch": "2.0"})
    now = version("torch")
    with ENGINE.job("night.png", older.to_request()) as job:
        assert older.differences(job) == (
            "the photo is another",
            "the network is another",
            f"processor is an abacus, and was {was}",
            f"torch is {now}, and was 2.0",
        )


# -- damaged --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the recipe is damaged"),
        ("[]", "the recipe is damaged"),
        ('{"impasto": 1}', "the recipe is damaged"),
        ('{"impasto": 1, "request": 3, "used": {}, "made_by": {}}', "the recipe is damaged"),
        ('{"impasto": 2}', "its recipe is of format 2, this version reads 1"),
    ],
)
def test_what_is_no_recipe_is_one_sentence(text: str, told: str) -> None:
    Path("recipe.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_recipe("recipe.json")


def test_a_recipe_with_a_request_that_makes_no_sense() -> None:
    recipe = Recipe({"style": [{"style": "great-wave", "weight": 1.0}], "strength": 3}, {}, {})
    with pytest.raises(OptionError, match="`strength` is 3"):
        recipe.to_request()
    for request in ({"style": 3}, {"style": [3]}, {"style": [{"style": "a"}]}, {"mask": 3}, {"brush": 1}):
        with pytest.raises((OptionError, DataError)):
            Recipe(request, {"style 1": "0", "mask 1": "0"}, {}).to_request()


def test_what_is_missing_or_no_picture() -> None:
    with pytest.raises(DataError, match=r"gone\.json: cannot be read"):
        read_recipe("gone.json")
    with pytest.raises(DataError, match=r"photo\.png: carries no recipe"):
        read_recipe("photo.png")
