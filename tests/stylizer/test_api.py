"""The call for programs: every kind of picture, styles with weights, settings, sizes, and what is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.errors import ImageError, ImpastoError, LayerError, OptionError, WeightsError
from impasto.imaging import Picture, read, write
from impasto.optimize.presets import DEFAULT_PRESET, PRESETS
from impasto.stylizer.api import load, resume, stylize
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output, Progress
from impasto.stylizer.optimize_job import OptimizeJob
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import OutputOptions, StylizeRequest, parse_layers
from impasto.stylizer.route import split_init
from impasto.stylizer.styles import Style, as_styles, parse_style

pytestmark = pytest.mark.usefixtures("one_thread", "folder")


class Paint:
    """`stylize` with a tiny backbone and few steps."""

    def __init__(self, backbone: Path) -> None:
        self.settings: dict[str, Any] = {
            "backbone": str(backbone),
            "backbone_input": "none",
            "content_layers": {"relu1_2": 1.0},
            "style_layers": "relu1_1,relu2_1",
            "steps": 2,
            "precision": "float32",
        }

    def __call__(self, photo: Any = "photo.png", style: Any = "night.png", **settings: Any) -> Image.Image:
        return stylize(photo, style, **{**self.settings, **settings})


@pytest.fixture
def paint(tiny_backbone: Path) -> Paint:
    return Paint(tiny_backbone)


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()


# -- pictures -------------------------------------------------------------------------------------------------


def test_the_result_is_a_painted_picture_of_the_photos_size(paint: Paint) -> None:
    got = paint()
    assert (type(got), got.mode, got.size) == (Image.Image, "RGB", (40, 36))
    assert not same(got, Image.open("photo.png"))
    assert same(got, paint())


def test_pictures_may_be_anything_that_holds_one(paint: Paint) -> None:
    expected = paint()
    pixels = np.array(Image.open("photo.png"))
    for photo in (
        Path("photo.png"),
        io.BytesIO(Path("photo.png").read_bytes()),
        Image.open("photo.png"),
        pixels,
        pixels.astype(np.float32) / 255,
        torch.from_numpy(pixels).permute(2, 0, 1) / 255,
        read("photo.png"),
    ):
        assert same(paint(photo), expected)
    night = np.array(Image.open("night.png"))
    for style in (Path("night.png"), Image.open("night.png"), night, Style("night.png"), ["night.png"], [night]):
        assert same(paint(style=style), expected)


def test_a_photo_larger_than_size_is_shrunk_and_a_smaller_one_stays(paint: Paint) -> None:
    assert paint("wave.png", size=40).size == (40, 33)
    assert paint("wave.png", size=100).size == (48, 40)


def test_upscale_enlarges_where_asked(paint: Paint) -> None:
    assert paint("wave.png", size=96, upscale=True).size == (96, 80)


def test_transparency_is_carried_and_depth_kept_until_the_pil_image(paint: Paint) -> None:
    alpha = np.linspace(0, 1, 36 * 40, dtype=np.float32).reshape(36, 40)
    write(Picture(read("photo.png").rgb, alpha, bits=16), "deep.png")
    got = paint("deep.png")
    assert got.mode == "RGBA"
    assert np.abs(np.array(got)[:, :, 3] / 255 - alpha).max() < 0.003
    request = StylizeRequest.of(style="night.png", **paint.settings)
    with Engine().job("deep.png", request) as job:
        list(job.run())
        assert (job.result().bits, job.result().name) == (16, "deep.png")


def test_a_photo_too_thin_for_its_size_is_one_sentence(paint: Paint) -> None:
    long = np.zeros((32, 20_000, 3), np.uint8)
    with pytest.raises(
        OptionError,
        match=r"^array: would be painted at 512x1 px, need at least 32 on the short side: use a `size` of 20000",
    ):
        paint(long)
    with pytest.raises(OptionError, match=r"painted at 20x18 px, .* use a `size` of 36 or more, or crop it"):
        paint(size=20)
    assert paint(size=36).size == (36, 32)


def test_a_photo_too_thin_is_told_of_before_a_network_is_loaded(paint: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "backbone", None)
    with pytest.raises(OptionError, match=r"^photo\.png: would be painted at 20x18 px"):
        paint(size=20)


def test_a_style_too_thin_is_one_sentence(paint: Paint) -> None:
    with pytest.raises(OptionError, match=r"array: would be looked at at 40x2 px, .* larger `style_scale`"):
        paint(style=np.zeros((32, 640, 3), np.uint8))
    with pytest.raises(OptionError, match=r"night\.png: would be looked at at 4x4 px"):
        paint(style_scale=0.1)


@pytest.mark.parametrize(
    ("photo", "style", "message"),
    [
        ("none.png", "night.png", r"none\.png: no such file"),
        ("photo.png", "none.png", r"none\.png: no such file"),
        ("photo.png", "none.png:0.5", r"none\.png: no such file"),
        ("photo.png", np.zeros((8, 8, 3), np.uint8), "array: 8x8 px, need at least 32x32"),
        (torch.zeros(2, 3, 40, 40), "night.png", r"tensor: shape \(2, 3, 40, 40\)"),
        (7, "night.png", "int: not a picture"),
    ],
)
def test_bad_pictures(paint: Paint, photo: Any, style: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        paint(photo, style)


def test_max_megapixels(paint: Paint) -> None:
    with pytest.raises(ImageError, match=r"at most 0\.001 are read"):
        paint(max_megapixels=0.001)


# -- styles ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.jpg", "a.jpg", 1.0),
        ("a.jpg:0.3", "a.jpg", 0.3),
        ("a.jpg:2", "a.jpg", 2.0),
        ("a.jpg:1e-3", "a.jpg", 0.001),
        ("b/c d.jpg:.5", "b/c d.jpg", 0.5),
        ("monet:0.7", "monet", 0.7),
        ("-:0.7", "-", 0.7),
        (r"C:\pic.jpg", r"C:\pic.jpg", 1.0),
        (r"C:\pic.jpg:0.3", r"C:\pic.jpg", 0.3),
        ("C:/pic.jpg:4", "C:/pic.jpg", 4.0),
        ("C:1", "C:1", 1.0),  # a file in the current folder of a drive
        ("12:30 o'clock.jpg", "12:30 o'clock.jpg", 1.0),
        ("12:30 o'clock.jpg:2", "12:30 o'clock.jpg", 2.0),
        ("a:b:c:3", "a:b:c", 3.0),
        ("a.jpg:", "a.jpg:", 1.0),
        ("a.jpg:thick", "a.jpg:thick", 1.0),
        ("x" * 5000, "x" * 5000, 1.0),
        ("x" * 5000 + ":2", "x" * 5000, 2.0),
    ],
)
def test_styles_with_weights(text: str, path: str, weight: float) -> None:
    assert parse_style(text) == (path, weight)


@pytest.mark.parametrize("weight", ["0", "-1", "-0.0", "nan", "inf", "-inf", "1e999"])
def test_weights_that_are_none(weight: str) -> None:
    with pytest.raises(OptionError, match=rf"'a\.jpg:{weight}': the weight after the colon must be a number above 0"):
        parse_style(f"a.jpg:{weight}")


def test_a_weight_of_nothing() -> None:
    with pytest.raises(OptionError, match="':2'"):
        parse_style(":2")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no colons in file names")
def test_a_file_whose_name_has_a_colon_is_that_file(paint: Paint) -> None:
    Path("night.png").rename("night:0.5")
    assert parse_style("night:0.5") == ("night:0.5", 1.0)
    assert parse_style("night:0.5:3") == ("night:0.5", 3.0)
    assert paint(style="night:0.5").size == (40, 36)


def test_styles_in_every_form() -> None:
    pixels = np.zeros((4, 4), np.uint8)
    assert list(as_styles(["aa:2", Path("bb:2"), ("cc:2", 3), Style("dd", 4)])) == [
        Style("aa", 2),
        Style(Path("bb:2")),
        Style("cc:2", 3),
        Style("dd", 4),
    ]
    assert [style.image is pixels for style in as_styles((pixels, 2))] == [True]


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), "2", None, 1j])
def test_weights_that_are_none_in_python(weight: Any) -> None:
    with pytest.raises(OptionError, match="weight of a style must be a number above 0"):
        Style("a", weight)
    with pytest.raises(OptionError, match="weight of a style must be a number above 0"):
        list(as_styles(("a", weight)))


def test_brackets_of_three_are_explained() -> None:
    with pytest.raises(OptionError, match=r"\(picture, weight\), got 3 things: use a list"):
        list(as_styles(("a", "b", "c")))


def test_no_style_at_all(paint: Paint) -> None:
    with pytest.raises(OptionError, match="at least one `style`"):
        paint(style=[])


def test_weights_decide_between_styles(paint: Paint) -> None:
    def far(a: Image.Image, b: Image.Image) -> float:
        return float(np.abs(np.array(a, np.float32) - np.array(b, np.float32)).mean())

    night, wave = paint(steps=8), paint(style="wave.png", steps=8)
    both = paint(style=["night.png:9", ("wave.png", 1)], steps=8)
    assert 0 < far(both, night) < far(both, wave)
    assert same(both, paint(style=[Style("night.png", 0.9), Style(Image.open("wave.png"), 0.1)], steps=8))


# -- settings -------------------------------------------------------------------------------------------------


def captured(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> dict[str, Any]:
    """The settings that `stylize` paints with."""
    seen: dict[str, Any] = {}

    class Stopped(OptimizeJob):
        def __init__(self, engine: Any, photo: Any, request: Any, settings: Any, beginning: Any, output: Any) -> None:
            seen.update(settings=settings, beginning=beginning)
            raise ImpastoError

    monkeypatch.setattr("impasto.stylizer.optimize_job.OptimizeJob", Stopped)
    with pytest.raises(ImpastoError):
        stylize("p.jpg", "s.jpg", **arguments)
    return seen


def test_optimisation_without_more_words_is_the_default_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(monkeypatch, method="optimize")["settings"] == PRESETS[DEFAULT_PRESET]


def test_qualities_are_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(monkeypatch, quality="good")["settings"] == PRESETS["good"]
    assert captured(monkeypatch, quality="best")["settings"] == PRESETS["best"]
    assert captured(monkeypatch, quality="best", backbone="vgg16")["settings"].backbone == "vgg16"


def test_a_picture_as_style_without_more_words_is_painted_in_one_pass() -> None:
    photo, style = torch.rand(1, 3, 48, 40), torch.rand(1, 3, 64, 64)
    painted = impasto.stylize(photo, style, precision="float32")
    assert painted.size == (40, 48)
    universal = impasto.load("universal", precision="float32").stylize(photo, style)
    assert painted.tobytes() == universal.tobytes()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(monkeypatch, preset=name)["settings"] == PRESETS[name]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"steps": 7}, {"total_steps": 7}),
        ({"start_size": 64}, {"start": 64}),
        ({"init": "noise"}, {"init": "noise"}),
        ({"content_layers": "relu1_1,relu2_1:2"}, {"content_layers": {"relu1_1": 1.0, "relu2_1": 2.0}}),
        ({"style_layers": {"relu1_1": 3.0}}, {"style_layers": {"relu1_1": 3.0}}),
        ({"size": 99, "style_weight": 5.0, "seed": 3}, {"size": 99, "style_weight": 5.0, "seed": 3}),
    ],
)
def test_settings_reach_the_painting(
    given: dict[str, Any], meant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = captured(monkeypatch, preset="quick", **given)
    assert seen["settings"] == replace(PRESETS["quick"], **meant)
    assert seen["beginning"] is None


def test_init_may_be_a_picture(paint: Paint) -> None:
    start = Image.open("wave.png")
    from_wave = paint(init=start, steps=1, lr=1e-9)
    wave = np.array(start.resize((40, 36), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(np.array(from_wave, np.float32) - wave).max() < 4
    assert same(from_wave, paint(init="wave.png", steps=1, lr=1e-9))
    assert not same(from_wave, paint(steps=1, lr=1e-9))


def test_init_of_nothing() -> None:
    assert split_init(None) == (None, None)
    assert split_init("noise") == ("noise", None)
    assert split_init("-") == (None, "-")
    assert split_init("photo.png") == (None, "photo.png")
    with pytest.raises(OptionError, match="`init` 'nois': neither a picture's file nor one of content, noise, faint-"):
        split_init("nois")


def test_the_seed_decides_the_noise(paint: Paint) -> None:
    assert same(paint(init="noise", seed=1), paint(init="noise", seed=1))
    assert not same(paint(init="noise", seed=1), paint(init="noise", seed=2))


@pytest.mark.parametrize(
    "text", ["relu1_1:", "relu1_1:x", ":2", "", "relu1_1:0", "relu1_1:-1", "a:nan", "a:inf", "a,,b"]
)
def test_layers_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match=r"^layer "):
        parse_layers(text)


def test_a_layer_twice() -> None:
    with pytest.raises(OptionError, match=r"^layer 'relu1_1' is given twice: give it once, with its weight$"):
        parse_layers("relu1_1:2, relu2_1, relu1_1")


def test_layers_in_another_form() -> None:
    with pytest.raises(OptionError, match="a mapping of names to weights, got"):
        parse_layers(["relu1_1"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"preset": "gatys"},
            OptionError,
            r"preset 'gatys' is unknown .*: use quick, good, balanced, best, gatys-paper",
        ),
        ({"stile_weight": 2}, OptionError, r"^`stile_weight` is no option \(did you mean 'style_weight'\?\)$"),
        ({"style_weight": float("nan")}, OptionError, "^`style_weight` is nan, need a number from 0 up$"),
        ({"seed": 2**63}, OptionError, "^`seed` is 9223372036854775808, need a whole number from 0"),
        ({"steps": 0}, OptionError, "^`steps` is 0, need a whole number from 1 up$"),
        ({"device": "tpu"}, OptionError, "device 'tpu' is unknown"),
        ({"precision": "half"}, OptionError, "^`precision` 'half' is unknown: use auto, float32 or bfloat16$"),
        ({"style_layers": "relu9_9"}, LayerError, r"has no layer 'relu9_9'; its layers are conv1_1, .*, relu2_1$"),
        (
            {"backbone": "resnet"},
            WeightsError,
            "no backbone and no file is called 'resnet': there are compact, compact-vgg19",
        ),
        ({"backbone_input": None}, WeightsError, "nothing says what input it wants"),
        ({"backbone_input": "bgr"}, OptionError, "^`backbone_input` 'bgr' is unknown: use torchvision, caffe or none$"),
    ],
)
def test_settings_that_make_no_sense(
    paint: Paint, settings: dict[str, Any], error: type[ImpastoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        paint(**settings)


@pytest.mark.parametrize("layers", ["content_layers", "style_layers"])
@pytest.mark.parametrize("name", ["foo", "relu", "relux_1", "4_2", "relu6_1"])
def test_a_layers_name_that_is_none_before_anything_is_painted(
    layers: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OptimizeJob, "prepare", None)
    for also in ({}, {"second_backbone": "compact-vgg19"}):
        with pytest.raises(LayerError, match=f"^compact has no layer '{name}'.*; its layers are conv1_1, "):
            stylize("photo.png", "night.png", preset="quick", size=40, **{layers: name}, **also)


def test_an_absent_backbone_says_how_to_get_it_and_what_could_stand_in(
    paint: Paint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "vgg19-d01eb7cb.pth").touch()
    with pytest.raises(
        WeightsError,
        match=r"^vgg19 is not here: run `impasto weights fetch vgg19` .* nearest .* `backbone` vgg19-caffe$",
    ):
        paint(preset="gatys-paper", backbone=None)


# -- progress -------------------------------------------------------------------------------------------------


def test_progress_is_told_after_every_step(paint: Paint) -> None:
    records: list[Progress] = []
    paint(steps=5, start_size=20, progress=records.append)
    assert [record.done for record in records] == [1, 2, 3, 4, 5]
    assert {record.total for record in records} == {5}
    assert list(dict.fromkeys(record.size for record in records)) == [(18, 20), (36, 40)]
    assert all(record.losses["total"] > 0 for record in records)
    assert [record.seconds for record in records] == sorted(record.seconds for record in records)


def test_an_error_of_the_listener_stops_the_painting(paint: Paint) -> None:
    class EnoughError(Exception):
        pass

    def stop(record: Progress) -> None:
        if record.done == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        paint(steps=100_000, progress=stop)


def test_the_root_has_the_same_names() -> None:
    assert (impasto.stylize, impasto.Style) == (stylize, Style)


# -- arguments of other kinds -----------------------------------------------------------------------------------------


WAVE = StylizeRequest.of(style="great-wave")
COARSE = OutputOptions.of(jpeg_quality=5)


class Closed(io.BytesIO):
    """A file that was closed before it came here."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.close()


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "~nobody-of-this-name/x.jpg"])
def test_a_folder_of_a_user_that_is_not_there_is_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(ImpastoError, match="nobody-of-this-name"):
        load(name)
    for options in ({"style": name}, {"style": "a.jpg", "backbone": name}, {"model": name, "style": "great-wave"}):
        with pytest.raises(ImpastoError, match="nobody-of-this-name"):
            stylize(np.zeros((32, 32, 3), np.uint8), **options)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: stylize(io.StringIO("a"), "great-wave"), "opened as text"),
        (lambda: stylize(Closed(), "great-wave"), "closed file"),
        (lambda: stylize("", "great-wave"), "the name of a picture is empty"),
        (lambda: stylize(Image.new("RGB", (48, 48)), "great-wave", output=5), "`output` must be a path, got int"),
        (lambda: stylize("a.jpg", "great-wave", run=5), "`run` must be a path, got int"),
        (lambda: resume(None), "`run` must be a path, got NoneType"),
        (lambda: resume("none", progress=5), "`progress` is 5, need a function"),
        (lambda: stylize("photo.png", "great-wave", progress=5), "`progress` is 5, need a function"),
        (lambda: load().stylize("photo.png", "great-wave", progress=5), "`progress` is 5, need a function"),
        (lambda: stylize("photo.png", "night.png", preset="quick", betas=3), "`betas` is 3, need two numbers"),
        (lambda: stylize("photo.png", "great-wave", size=True), "`size` is True, need a whole number"),
        (lambda: stylize("photo.png", "great-wave", jpeg_quality=9), "`jpeg_quality` .*: give `output` as well"),
        (
            lambda: stylize("photo.png", "great-wave", output="a.png", jpeg_quality=9),
            "^`jpeg_quality` is for JPEG, WebP",
        ),
        (
            lambda: stylize("photo.png", "great-wave", output="a.jpg", png_compression=9),
            "^`png_compression` is for PNG",
        ),
        (lambda: stylize("photo.png", "great-wave", run="run", jpeg_quality=9), "^`jpeg_quality` is for JPEG"),
        (lambda: Engine().job("photo.png", WAVE, output=Output("a.png", COARSE)), "^`jpeg_quality` is for JPEG"),
        (lambda: load().stylize("photo.png", "great-wave", jpeg_quality=9), "`jpeg_quality` .* to impasto.stylize"),
        (lambda: load(3), "`model` is 3, need a name of the package's networks, or a file"),
        (
            lambda: load(np.zeros((40, 40, 3))),
            "^`model` is a value of type ndarray, need a name",
        ),
        (
            lambda: stylize("photo.png", "great-wave", progress=np.zeros(99)),
            "^`progress` is a value of type ndarray, need",
        ),
        (lambda: stylize("photo.png", ("great-wave", True)), "weight of a style must be a number above 0, got True"),
        (lambda: stylize("photo.png", [("great-wave", True)]), "weight of a style must be a number above 0, got True"),
        (lambda: stylize("photo.png", {"great-wave": True}), "weight of a style must be a number above 0, got True"),
        (lambda: Engine().job("photo.png", "great-wave"), "^`request` is 'great-wave', need an impasto.StylizeRequest"),
        (lambda: Engine().job("photo.png", {"style": "great-wave"}), "^`request` is {'style': 'great-wave'}, need"),
        (lambda: Engine().job("photo.png", WAVE, output="x.png"), "^`output` is 'x.png', need an impasto.Output, such"),
        (lambda: Engine().job("photo.png", WAVE, model="gallery"), "^`model` is 'gallery', need what `impasto.load` g"),
        (lambda: Engine().job("photo.png", WAVE, folder="run"), "^`folder` is 'run', need a pathlib.Path"),
        (lambda: Output(5), "^`path` is 5, need a path"),
        (lambda: Output("x.png", 90), "^`options` is 90, need impasto.OutputOptions"),
        (lambda: Engine(at_once=[0] * 99), "`at_once` must be a whole number from 1 up, got a value of type list"),
        (lambda: Engine(max_memory=[0] * 99), "`max_memory` is a value of type list: write a number with its unit"),
        (lambda: read_recipe(None), "^`path` is None, need a painted picture, or a recipe in JSON"),
        (lambda: load(None), "`model` is None"),
        (lambda: Engine(at_once=0), "`at_once` must be a whole number from 1 up, got 0"),
        (lambda: Engine(at_once="2"), "`at_once` must be a whole number from 1 up, got '2'"),
        (lambda: StylizeRequest.from_json("x"), "a request in JSON is an object, got str"),
        (lambda: StylizeRequest.from_json(None), "a request in JSON is an object, got NoneType"),
    ],
)
def test_arguments_of_other_kinds_are_one_sentence(call: Callable[[], object], told: str) -> None:
    with pytest.raises(ImpastoError, match=told):
        call()


def test_a_file_opened_as_text_is_one_sentence(tmp_path: Path) -> None:
    Image.new("RGB", (48, 48), "red").save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open(encoding="utf-8") as file, pytest.raises(ImpastoError, match="'rb'"):
        stylize(file, "great-wave")  # type: ignore[arg-type]


def test_an_output_is_written_as_asked(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a wave"
    Image.open("photo.png").convert("RGB").save(photo, exif=exif)
    for name, options in {"usual": {}, "coarse": {"jpeg_quality": 5, "keep_metadata": True}}.items():
        stylize(photo, "great-wave", output=tmp_path / f"{name}.jpg", **options)
    stylize(photo, "great-wave", output=tmp_path / "flat.png", png_compression=0)
    stylize(photo, "great-wave", output=tmp_path / "usual.png")
    assert (tmp_path / "coarse.jpg").stat().st_size < (tmp_path / "usual.jpg").stat().st_size
    assert (tmp_path / "flat.png").stat().st_size > (tmp_path / "usual.png").stat().st_size
    with Image.open(tmp_path / "coarse.jpg") as coarse, Image.open(tmp_path / "usual.jpg") as usual:
        assert (coarse.getexif().get(0x010E), usual.getexif().get(0x010E)) == ("a wave", None)


def test_pictures_that_can_be_read_but_once() -> None:
    expected = stylize("photo.png", "night.png", mask="wave.png")
    photo, style, mask = (io.BytesIO(Path(f"{name}.png").read_bytes()) for name in ("photo", "night", "wave"))
    for engine in ("light", "torch"):
        for file in (photo, style, mask):
            file.seek(0)
        assert stylize(photo, style, mask=mask, engine=engine, precision="float32").size == expected.size
    for options in ({"photo": photo}, {"style": style}, {"mask": mask}):
        with pytest.raises(OptionError, match="`run` needs"):
            stylize(**{"photo": "photo.png", "style": "night.png", "preset": "quick", "run": "run", **options})


def test_an_output_that_exists_is_replaced_where_asked(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    photo = Image.new("RGB", (48, 48), "red")
    with pytest.raises(ImpastoError, match="exists already"):
        stylize(photo, "great-wave", output=out)
    assert out.read_bytes() == b"old"
    stylize(photo, "great-wave", output=out, force=True)
    assert out.read_bytes() != b"old"
