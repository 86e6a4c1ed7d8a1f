"""``impasto stylize --model``: trained networks of each kind, used from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.networks import shipped
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.universal import Universal, UniversalConfig

runner = CliRunner()


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def two_styles(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(styles=("night", "wave"), channels=16, blocks=1, detail=16))
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name.endswith(("gamma", "beta")):
                p.add_(torch.randn(p.shape) * 0.5)
    save_model(
        tmp_path / "two.safetensors", network, styles=[{"name": "night"}, {"name": "wave"}], recipe={}, licence="MIT"
    )
    return tmp_path / "two.safetensors"


def test_a_named_style_paints_at_the_photos_own_size(photo: Path, two_styles: Path) -> None:
    pictures = []
    for style in ("night", "wave", "night:1"):
        out = photo.with_name(f"{style.replace(':', '-')}.png")
        done = runner.invoke(app, ["stylize", str(photo), "--model", str(two_styles), "-s", style, "-o", str(out)])
        assert done.exit_code == 0, done.output
        pictures.append(np.asarray(Image.open(out)))
    assert pictures[0].shape == (40, 56, 3)
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] == pictures[2]).all()


def test_size_and_kept_colours_count(photo: Path, two_styles: Path) -> None:
    out = photo.with_name("small.png")
    done = runner.invoke(
        app,
        [
            "stylize",
            str(photo),
            "--model",
            str(two_styles),
            "-s",
            "wave",
            "--size",
            "48",
            "--keep-colors",
            "-o",
            str(out),
        ],
    )
    assert done.exit_code == 0, done.output
    assert size_of(out) == (48, 34)


def test_a_network_of_one_style_needs_no_name(photo: Path) -> None:
    model = photo.with_name("one.safetensors")
    network = Johnson(JohnsonConfig(width=8, blocks=1))
    save_model(model, network, styles=[{"name": "night"}], recipe={}, licence="MIT")
    out = photo.with_name("painted.png")
    done = runner.invoke(app, ["stylize", str(photo), "--model", str(model), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert size_of(out) == (56, 40)


@pytest.fixture
def any_style(tmp_path: Path) -> Path:
    """A network of any style that looks with the encoder that ships, and pictures, night.png and wave.png."""
    torch.manual_seed(0)
    network = Universal(UniversalConfig(channels=8, blocks=1, detail=4, parts=8, hidden=8))
    save_model(tmp_path / "universal.safetensors", network, recipe={}, licence="MIT")
    for seed, name in enumerate(("night", "wave")):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 40), Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    return tmp_path / "universal.safetensors"


def test_a_picture_is_a_style_for_a_network_of_any(photo: Path, any_style: Path) -> None:
    night, wave = (painted(photo, any_style, "-s", str(photo.with_name(f"{name}.png"))) for name in ("night", "wave"))
    assert night.shape == (40, 56, 3)
    assert (night != wave).any()
    pair = ["-s", f"{photo.with_name('night.png')}:3", "-s", f"{photo.with_name('wave.png')}:1"]
    blend = painted(photo, any_style, *pair)
    assert abs(blend - night).mean() < abs(blend - wave).mean()
    bands = painted(photo, any_style, "-s", str(photo.with_name("night.png")), "--tile", "16")
    assert abs(bands - night).max() <= 1


@pytest.mark.parametrize("options", [[], ["--quality", "draft"], ["--method", "network"]])
def test_where_it_ships_it_paints_pictures_as_styles(
    photo: Path, any_style: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(shipped, "SHIPPED", any_style.parent)
    style, out = str(photo.with_name("night.png")), photo.with_name("draft.png")
    done = runner.invoke(app, ["stylize", str(photo), "-s", style, "-o", str(out), *options])
    assert done.exit_code == 0, done.output
    assert (np.asarray(Image.open(out)) == painted(photo, any_style, "-s", style)).all()


def test_alpha_is_not_for_it(photo: Path, any_style: Path) -> None:
    out = photo.with_name("painted.png")
    arguments = ["--model", str(any_style), "-s", str(photo.with_name("night.png")), "--alpha", "0.5"]
    done = runner.invoke(app, ["stylize", str(photo), "-o", str(out), *arguments])
    assert done.exit_code == 2
    assert "--alpha is for networks that decode features (adain): use --strength" in done.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-s", "fog"], "night"),
        ([], "which style"),
        (["-s", "wave", "--steps", "3"], "leave out --steps"),
        (["-s", "wave", "--preset", "quick"], "leave out --preset"),
        (["-s", "wave", "--alpha", "0.5"], "networks that decode features (adain): use --strength"),
        (["-s", "wave", "--method", "optimize"], "method optimize paints in the manner of pictures"),
        (["-s", "wave", "--mask", "gone.png"], "gone.png: no such file"),
        (["-s", "wave", "--mask", "photo.png", "--mask", "photo.png"], "1 style with 2 masks"),
        (["-s", "wave", "--style-scale", "0"], "--style-scale is 0, need a number from 0.1 to 100"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    photo: Path, two_styles: Path, options: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    out = photo.with_name("painted.png")
    done = runner.invoke(app, ["stylize", str(photo), "--model", str(two_styles), "-o", str(out), *options])
    assert done.exit_code == 2
    assert told in done.output
    assert not out.exists()


def test_a_file_that_is_no_network(photo: Path) -> None:
    out = photo.with_name("painted.png")
    done = runner.invoke(app, ["stylize", str(photo), "--model", str(photo), "-o", str(out)])
    assert done.exit_code == 2
    assert "photo.png" in done.output


# -- controls -------------------------------------------------------------------------------------------------


def painted(photo: Path, model: Path, *options: str, out: str = "painted.png") -> np.ndarray:
    place = photo.with_name(out)
    arguments = ["stylize", str(photo), "--model", str(model), "-o", str(place), "--force", *options]
    done = runner.invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return np.asarray(Image.open(place)).astype(int)


def test_strength_0_is_the_photo_and_1_the_painting(photo: Path, two_styles: Path) -> None:
    original = np.asarray(Image.open(photo)).astype(int)
    full = painted(photo, two_styles, "-s", "wave")
    assert (painted(photo, two_styles, "-s", "wave", "--strength", "0") == original).all()
    assert (painted(photo, two_styles, "-s", "wave", "--strength", "1") == full).all()
    half = painted(photo, two_styles, "-s", "wave", "--strength", "0.5")
    assert abs(half - (original + full) / 2).max() <= 1


def test_a_black_area_of_the_mask_is_the_photo_bit_for_bit(photo: Path, two_styles: Path) -> None:
    mask = np.zeros((40, 56), np.uint8)
    mask[:, 28:] = 255
    Image.fromarray(mask).save(photo.with_name("mask.png"))
    original, full = np.asarray(Image.open(photo)).astype(int), painted(photo, two_styles, "-s", "wave")
    got = painted(photo, two_styles, "-s", "wave", "--mask", str(photo.with_name("mask.png")))
    assert (got[:, :28] == original[:, :28]).all()
    assert (got[:, 28:] == full[:, 28:]).all()


def test_each_style_has_its_own_mask(photo: Path, two_styles: Path) -> None:
    left = np.zeros((40, 56), np.uint8)
    left[:, :28] = 255
    options = []
    for name, area in (("left", left), ("right", 255 - left)):
        Image.fromarray(area).save(photo.with_name(f"{name}.png"))
        options += ["--mask", str(photo.with_name(f"{name}.png"))]
    got = painted(photo, two_styles, "-s", "wave", "-s", "night", *options)
    assert abs(got[:, :28] - painted(photo, two_styles, "-s", "wave")[:, :28]).max() <= 1
    assert abs(got[:, 28:] - painted(photo, two_styles, "-s", "night")[:, 28:]).max() <= 1


def test_a_blend_of_a_style_with_itself_is_that_style(photo: Path, two_styles: Path) -> None:
    once = painted(photo, two_styles, "-s", "wave")
    assert (painted(photo, two_styles, "-s", "wave:0.7", "-s", "wave:0.3") == once).all()
    blend = painted(photo, two_styles, "-s", "wave:0.7", "-s", "night:0.3")
    assert (blend != once).any()


def test_larger_strokes_at_the_same_size(photo: Path, two_styles: Path) -> None:
    once, twice = (painted(photo, two_styles, "-s", "wave", "--style-scale", scale) for scale in ("1", "2"))
    assert once.shape == twice.shape
    half = painted(photo, two_styles, "-s", "wave", "--size", "28")

    def from_afar(picture: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(picture.astype(np.uint8)).resize((14, 10), Image.Resampling.BICUBIC), int)

    off = [abs(from_afar(picture) - from_afar(half)).mean() for picture in (once, twice)]
    assert off[1] < 0.5 * off[0]
    original = np.asarray(Image.open(photo)).astype(int)
    nothing = painted(photo, two_styles, "-s", "wave", "--style-scale", "2", "--strength", "0")
    assert abs(nothing - original).max() <= 1


def test_a_ground_is_for_what_is_flat(two_styles: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.new("RGB", (96, 96), (150, 140, 130)).save(grey)
    plain, primed = (painted(grey, two_styles, "-s", "wave", "--ground", ground) for ground in ("0", "1"))
    assert primed.std(axis=(0, 1)).mean() > plain.std(axis=(0, 1)).mean() + 1


# -- several photos -------------------------------------------------------------------------------------------


def test_a_folder_of_photos(photo: Path, two_styles: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one.png", "two.gif"):
        Image.open(photo).save(photos / name)
    (photos / "notes.txt").write_text("no picture")
    out = tmp_path / "new" / "painted"
    options = ["--model", str(two_styles), "-s", "wave", "-o", str(out), "--jobs", "2"]
    done = runner.invoke(app, ["stylize", str(photos), *options])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    assert "2 of 2 photos are painted" in done.output
    again = runner.invoke(app, ["stylize", str(photos), *options])
    assert again.exit_code == 1
    assert again.output.count("exists already") == 2


def test_what_is_wrong_for_all_photos_is_told_once(photo: Path, two_styles: Path) -> None:
    Image.open(photo).save(photo.with_name("other.png"))
    arguments = ["stylize", str(photo.with_name("*.png")), "-o", str(photo.with_name("out"))]
    done = runner.invoke(app, [*arguments, "-s", "grate-wave"])  # known before anything is painted
    assert done.exit_code == 2, done.output
    assert done.output.count("error: ") == done.output.count("did you mean 'great-wave'?") == 1
    assert "photos are painted" not in done.output
    done = runner.invoke(app, [*arguments, "--model", str(two_styles), "-s", "nosuch"])  # by the network alone
    assert done.exit_code == 1, done.output
    assert "0 of 2 photos are painted" in done.output
    assert done.output.count("error: ") == 1
    assert done.output.rstrip().endswith("(2 photos)")


def test_what_fails_is_told_at_the_end_and_the_others_are_painted(photo: Path, two_styles: Path) -> None:
    photo.with_name("bad.png").write_bytes(b"no picture")
    arguments = ["stylize", str(photo.with_name("*.png")), "--model", str(two_styles), "-s", "wave"]
    done = runner.invoke(app, [*arguments, "-o", str(photo.with_name("out"))])
    assert done.exit_code == 1
    assert "1 of 2 photos are painted" in done.output
    assert "error: " in done.output.splitlines()[-1]
    assert "bad.png" in done.output.splitlines()[-1]
    assert [path.name for path in photo.with_name("out").iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photo.png", "-", "-o", "out"], "standard input"),
        (["*.jpg", "-o", "out"], "*.jpg: no file is called like that"),
        (["empty", "-o", "out"], "empty: a folder without pictures"),
        (["photo.png", "empty", "-o", "photo.png"], "empty: a folder without pictures"),
        (["photo.png", "two", "-o", "photo.png"], "photo.png: a file, need a folder for 2 photos"),
        (["photo.png", "two", "-o", "out", "--save-every", "2"], "this is about one painting: leave out --save-every"),
    ],
)
def test_several_photos_that_make_no_sense(
    photo: Path, two_styles: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("empty").mkdir()
    Path("two").mkdir()
    Image.open(photo).save("two/other.png")
    done = runner.invoke(app, ["stylize", *arguments, "--model", str(two_styles), "-s", "wave"])
    assert done.exit_code == 2
    assert told in done.output


def test_the_styles_of_a_network_of_any_are_told_in_a_sentence(any_style: Path) -> None:
    result = runner.invoke(app, ["styles", "--model", str(any_style)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{any_style} takes any picture as a style: --style PICTURE with `impasto stylize`\n"
    assert runner.invoke(app, ["styles", "--model", str(any_style), "--json"]).stdout == "[]\n"


def test_a_sheet_of_styles_on_standard_output(photo: Path, two_styles: Path) -> None:
    words = ["styles", "--model", str(two_styles), "--size", "32", "-o", "-", "--sheet", str(photo)]
    result = runner.invoke(app, words)
    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert result.stderr == f"standard output: 2 styles of {two_styles} on {photo}\n"
