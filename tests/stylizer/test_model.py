"""Networks loaded once: styles by name or by picture, what they remember, and who paints when nobody says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import impasto
from impasto.cli.app import app
from impasto.core.precision import choose_precision
from impasto.core.vgg import VGG
from impasto.errors import ImageError, OptionError, WeightsError
from impasto.networks import shipped
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model
from impasto.networks.universal import Universal, UniversalConfig
from impasto.stylizer.engine import Engine
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.route import gallery_styles, route
from impasto.stylizer.styles import StyleRecord
from impasto.stylizer.torch_model import TorchModel

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
SIZES = {"channels": 8, "blocks": 1, "detail": 4, "parts": 8, "hidden": 8}
WAVE = {"name": "great-wave", "title": "The Great Wave", "artist": "Hokusai", "year": "1831"}


@pytest.fixture
def toy(folder: Path) -> Path:
    """A network of two styles."""
    torch.manual_seed(0)
    network = Brisk(BriskConfig(("great-wave", "night"), channels=16, blocks=1, detail=16))
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "beta")):
            torch.nn.init.normal_(parameter)
    save_model("toy.safetensors", network, styles=[WAVE, {"name": "night"}], recipe={}, licence="MIT")
    return folder / "toy.safetensors"


@pytest.fixture
def gallery(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy as the gallery that ships."""
    monkeypatch.setattr(shipped, "SHIPPED", toy.parent)
    monkeypatch.setattr(shipped, "MODELS", {"gallery": toy.name, "universal": "universal.safetensors"})


@pytest.fixture(params=["adain", "universal"])
def any_style(request: pytest.FixtureRequest, tmp_path: Path) -> TorchModel:
    torch.manual_seed(0)
    ranks = dict.fromkeys(VGG("vgg16", last="conv4_1").convolutions[1:], 4)
    encoder = VGG("vgg16", last="conv4_1", ranks=ranks, name="tiny").requires_grad_(False)
    network: AdaIN | Universal
    if request.param == "adain":
        network = AdaIN(AdaINConfig(width=1 / 32), encoder).eval()
    else:
        network = Universal(UniversalConfig(**SIZES), encoder).eval()
    precision = choose_precision("cpu", "float32")
    return TorchModel(Engine(), network, {"styles": []}, "toy", tmp_path / "photo.png", torch.device("cpu"), precision)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_styles_are_records(toy: Path) -> None:
    model = impasto.load(toy)
    assert model.styles == (
        StyleRecord("great-wave", "The Great Wave", "Hokusai", "1831"),
        StyleRecord("night"),
    )
    assert model.description["licence"] == "MIT"


@pytest.mark.parametrize("kind", ["path", "pil", "array", "tensor"])
def test_images_of_every_kind_are_painted_alike(toy: Path, kind: str) -> None:
    image = Image.open("photo.png").convert("RGB")
    array = np.asarray(image)
    photo = {"path": "photo.png", "pil": image, "array": array, "tensor": torch.tensor(array).permute(2, 0, 1) / 255}
    model = impasto.load(toy, precision="float32")
    from_path = pixels(model.stylize("photo.png", style="night"))
    assert abs(pixels(model.stylize(photo[kind], "night")) - from_path).max() <= 1


def test_styles_may_be_mixed(toy: Path) -> None:
    model = impasto.load(toy)
    mixes = [{"great-wave": 3, "night": 1}, ["great-wave:0.75", ("night", 0.25)], ["great-wave:3", "night"]]
    painted = [pixels(model.stylize("photo.png", mix)) for mix in mixes]
    assert (painted[0] == painted[1]).all()
    assert (painted[0] == painted[2]).all()
    assert (painted[0] != pixels(model.stylize("photo.png", "night"))).any()


def test_transparency_and_depth_stay(toy: Path) -> None:
    image = Image.open("photo.png").convert("RGBA")
    image.putalpha(100)
    painted = impasto.load(toy).paint(image, "night")
    assert painted.alpha is not None
    assert np.unique(np.rint(painted.alpha * 255)).tolist() == [100]


def cut_out(name: str, hidden: int, shown: slice = slice(8, 30)) -> Image.Image:
    """A picture of which a rectangle shows; `hidden` lies beneath the rest."""
    array = np.asarray(Image.open(name).convert("RGBA")).copy()
    array[:, :, 3] = 0
    array[shown, shown, 3] = 255
    array[array[:, :, 3] == 0, :3] = hidden
    return Image.fromarray(array)


@pytest.mark.parametrize("options", [{}, {"strength": 0.5}, {"size": 33}, {"style_scale": 1.5}, {"keep_colors": True}])
def test_what_a_photo_hides_changes_nothing(toy: Path, options: dict[str, Any]) -> None:
    model = impasto.load(toy)
    black, white = (pixels(model.stylize(cut_out("photo.png", hidden), "night", **options)) for hidden in (0, 255))
    assert (black == white).all()
    assert black[0, 0, 3] == 0


def test_what_a_style_hides_changes_nothing(any_style: TorchModel) -> None:
    black, white = (pixels(any_style.stylize("photo.png", cut_out("night.png", hidden))) for hidden in (0, 255))
    assert (black == white).all()
    assert (black != pixels(any_style.stylize("photo.png", "night.png"))).any()


@pytest.mark.parametrize("which", ["photo", "style"])
def test_a_picture_of_which_nothing_shows_is_told(any_style: TorchModel, which: str) -> None:
    clear = Image.new("RGBA", (40, 40))
    photo, style = (clear, "night.png") if which == "photo" else ("photo.png", clear)
    with pytest.raises(ImageError, match="transparent everywhere, need something that shows"):
        any_style.stylize(photo, style)
    with pytest.raises(ImageError, match="transparent everywhere, need something that shows"):
        impasto.stylize(photo, style, preset="quick")


@pytest.mark.parametrize(
    ("style", "options", "message"),
    [
        ("fog", {}, "no style 'fog' in this network; it has great-wave, night"),
        (None, {}, "which style"),
        (Path("night.png"), {}, "knows its own styles alone: give a name such as 'great-wave', no picture"),
        ("night.png", {}, "knows its own styles alone: give a name such as 'great-wave', no picture"),
        ("night", {"strength": 1.1}, "`strength` is 1.1, need a number from 0 to 1"),
        ("night", {"alpha": 0.5}, "`alpha` is for networks that decode features"),
        ("night", {"style_scale": 101}, "`style_scale` is 101, need a number from 0.1 to 100"),
        ("night", {"mask": ["photo.png"] * 3}, "1 style with 3 masks"),
    ],
)
def test_what_makes_no_sense(toy: Path, style: object, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        impasto.load(toy).stylize("photo.png", style, **options)


def test_an_encoded_style_is_remembered_by_its_content(any_style: TorchModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = any_style.stylize("photo.png", "night.png")
    assert any_style.any_style
    monkeypatch.setattr(any_style.network, "encode_style", None)  # would fail if it were called again
    assert (pixels(any_style.stylize("photo.png", Image.open("night.png"))) == pixels(first)).all()
    with pytest.raises(TypeError):
        any_style.stylize("photo.png", "wave.png")


def test_strength_of_any_style_begins_at_the_photo(any_style: TorchModel) -> None:
    photo = pixels(Image.open("photo.png").convert("RGB"))
    moved = []
    for strength in (0, 0.25, 0.5, 0.75, 1):
        painted = pixels(any_style.stylize("photo.png", "night.png", strength=strength))
        moved.append(abs(painted - photo).mean())
    assert moved[0] == 0
    assert moved == sorted(moved)
    if any_style.kind.alpha:
        redrawn = pixels(any_style.stylize("photo.png", "night.png", alpha=0))
        assert (redrawn != photo).any()  # alpha leaves what decoding loses
    else:
        with pytest.raises(OptionError, match="`alpha` is for networks that decode features"):
            any_style.stylize("photo.png", "night.png", alpha=0)


def test_a_file_of_universal_paints_in_any_style(folder: Path) -> None:
    torch.manual_seed(0)
    network = Universal(UniversalConfig(**SIZES))  # with the encoder that ships
    save_model("universal.safetensors", network, recipe={}, licence="MIT", dtype=torch.float16)
    model = impasto.load("universal.safetensors", precision="float32")
    assert (model.any_style, model.kind.alpha, model.styles) == (True, False, ())
    night, wave = (pixels(model.stylize("photo.png", style)) for style in ("night.png", "wave.png"))
    assert night.shape == (36, 40, 3)
    assert (night != wave).any()
    both = pixels(model.stylize("photo.png", [("night.png", 3.0), ("wave.png", 1.0)], size=36))
    assert both.shape == (32, 36, 3)
    bands = pixels(model.stylize("photo.png", "night.png", tile=16))
    assert abs(bands - night).max() <= 1
    assert model.plan("photo.png", "night.png").how == "at once"
    assert model.plan("photo.png", "night.png", tile=16).how == "bands"
    with pytest.raises(ImageError, match="fog: no such file"):
        model.stylize("photo.png", "fog")


def test_a_mask_for_each_picture(any_style: TorchModel) -> None:
    left = Image.new("L", (40, 36), 0)
    left.paste(255, (0, 0, 20, 36))
    photo = pixels(Image.open("photo.png").convert("RGB"))
    one = pixels(any_style.stylize("photo.png", "night.png", mask=left))
    assert (one[:, 20:] == photo[:, 20:]).all()
    assert (one[:, :20] != photo[:, :20]).any()
    both = [left, Image.eval(left, lambda v: 255 - v)]
    two = pixels(any_style.stylize("photo.png", ["night.png", "wave.png"], mask=both))
    assert (two[:, 20:] != photo[:, 20:]).any()


# -- who paints -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gallery")
def test_a_name_goes_to_the_gallery() -> None:
    assert [record.name for record in gallery_styles()] == ["great-wave", "night"]
    once = impasto.stylize("photo.png", "great-wave", precision="float32")
    assert (
        pixels(once) == pixels(impasto.load("gallery", precision="float32").stylize("photo.png", "great-wave"))
    ).all()
    mixed = impasto.stylize("photo.png", ["great-wave:0.5", "night:0.5"], size=36, strength=0.5)
    assert max(mixed.size) == 36


@pytest.mark.usefixtures("gallery")
def test_a_file_counts_before_a_name(folder: Path) -> None:
    assert route(StylizeRequest.of(style="night")).model == "gallery"
    (folder / "night").write_bytes((folder / "night.png").read_bytes())
    assert route(StylizeRequest.of(style="night")).model != "gallery"


@pytest.mark.usefixtures("gallery")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-s", "great-wave", "-s", "wave.png"], "great-wave is a style of the gallery and wave.png is none"),
        (["-s", "grate-wave"], "'grate-wave': no picture and no style of the gallery (did you mean 'great-wave'?)"),
        (["-s", "gone.png"], "gone.png: no such file"),
        (
            ["-s", "great-wave", "--preset", "quick"],
            "gallery are painted in one pass: leave out --preset",
        ),
        (["-s", "great-wave", "--method", "optimize"], "--method optimize paints in the manner of pictures"),
        (["-s", "wave.png", "--method", "network"], "universal is not part of this version yet"),
        (["-s", "wave.png", "--quality", "draft", "--method", "optimize"], "--quality draft is painted by a network"),
        (["-s", "wave.png", "--quality", "good", "--method", "network"], "--quality good is painted by optimisation"),
        (["-s", "wave.png", "--quality", "best", "--preset", "quick"], "is a preset of its own: leave out --preset"),
        (["-s", "great-wave", "--quality", "good"], "--quality is for a picture as style"),
        (["-s", "wave.png", "--alpha", "0.5"], "--alpha is for networks: use --strength"),
        (["-s", "wave.png", "--mask", "wave.png", "--mask", "wave.png"], "takes one --mask for all styles, got 2"),
        (["-s", "great-wave", "--model", "galery"], "no trained network and no file is called 'galery'"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["stylize", "photo.png", "-o", "out.png", *arguments])
    assert done.exit_code == 2
    assert told in done.output
    assert not Path("out.png").exists()


@pytest.mark.usefixtures("gallery")
def test_mistakes_in_python() -> None:
    with pytest.raises(OptionError, match="leave out `steps`"):
        impasto.stylize("photo.png", "great-wave", steps=3)
    with pytest.raises(ImageError, match=r"gone\.png"):
        impasto.stylize("photo.png", "gone.png")
    with pytest.raises(OptionError, match=r"^`quality` 'better' is unknown: use draft, good or best$"):
        impasto.stylize("photo.png", "wave.png", quality="better")


def test_without_a_gallery_a_name_is_no_picture(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", folder)
    assert gallery_styles() == ()
    with pytest.raises(ImageError, match="great-wave: no such file"):
        impasto.stylize("photo.png", "great-wave")
    with pytest.raises(WeightsError, match="gallery is not part of this version yet"):
        impasto.load("gallery")
    (folder / "manifest.json").write_text('{"gallery.safetensors": {"sha256": "0"}}')
    with pytest.raises(WeightsError, match=r"gallery belongs to the package, but .* is missing"):
        impasto.load("gallery")


# -- impasto styles -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gallery")
def test_styles_are_listed() -> None:
    shown = CliRunner().invoke(app, ["styles"]).output
    for text in ("great-wave", "The Great Wave", "Hokusai", "1831", "night"):
        assert text in shown
    listed = json.loads(CliRunner().invoke(app, ["styles", "--json"]).output)
    assert listed == [asdict(record) for record in gallery_styles()]
    assert set(listed[0]) == {"name", "title", "artist", "year"}


@pytest.mark.usefixtures("gallery")
def test_a_sheet_of_all_styles() -> None:
    done = CliRunner().invoke(app, ["styles", "--sheet", "photo.png", "-o", "sheet.png", "--size", "40"])
    assert done.exit_code == 0, done.output
    with Image.open("sheet.png") as sheet:
        width, height = sheet.size
    assert width > 3 * 40
    assert height < 80
    again = CliRunner().invoke(app, ["styles", "--sheet", "photo.png", "-o", "sheet.png"])
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert CliRunner().invoke(app, ["styles", "--sheet", "photo.png"]).exit_code == 2
