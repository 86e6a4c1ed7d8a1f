"""``impasto lab``: every command at toy size, what it prints, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model

from ..training.training_samples import write_backbone

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


def lab(*arguments: object) -> Any:
    return CliRunner(env=PLAIN).invoke(app, ["lab", *map(str, arguments)])


def refused(result: Any, message: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def size_of(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.size


@pytest.fixture
def backbone(tiny_backbone: Path) -> list[object]:
    return ["--backbone", tiny_backbone, "--backbone-input", "none", "--precision", "float32"]


@pytest.fixture
def model(folder: Path) -> Path:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(styles=("night", "wave"), channels=16, blocks=1, detail=16))
    save_model(folder / "two.safetensors", network, recipe={}, licence="MIT")
    return folder / "two.safetensors"


# -- activations ----------------------------------------------------------------------------------------------


def test_activations_of_a_backbone(backbone: list[object]) -> None:
    options = ["-l", "relu1_1", "-l", "conv2_1", "--filters", "all", "-o", "sheet.png", "--tensors", "maps.npz"]
    result = lab("activations", "photo.png", *backbone, *options)
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert size_of("sheet.png")[0] > 1000
    with np.load("maps.npz") as maps:
        assert maps["relu1_1"].shape == (64, 36, 40)
        assert maps["conv2_1"].shape == (128, 18, 20)
        assert maps["conv2_1"].min() < 0


def test_activations_of_a_network_that_paints(model: Path) -> None:
    for style in ("night", "wave:2"):
        options = ["--layer", "block1", "--tensors", f"{style[0]}.npz", "--precision", "float32"]
        result = lab("activations", "photo.png", "--model", model, "-s", style, *options, "-o", f"{style[0]}.png")
        assert result.exit_code == 0, result.output
    with np.load("n.npz") as night:
        assert night["block1"].shape == (6, 9, 10)
    options = ["--layer", "block1", "--tensors", "first.npz", "--precision", "float32"]
    first = lab("activations", "photo.png", "--model", model, *options, "-o", "first.png")
    assert first.exit_code == 0, first.stderr
    assert "two paints in the style night here; another with --style NAME" in first.stderr
    with np.load("first.npz") as maps, np.load("n.npz") as night:
        assert (maps["block1"] == night["block1"]).all()
    named = lab("activations", "photo.png", "--model", "nobody", "-l", "stem", "-o", "x.png")
    refused(named, "no trained network and no file is called 'nobody'")


def test_a_layer_that_is_none_lists_those_there_are(backbone: list[object], model: Path) -> None:
    listed = "its layers are conv1_1, relu1_1, conv1_2, relu1_2, conv2_1, relu2_1"
    for command in ("activations", "invert", "gram"):
        refused(lab(command, "photo.png", *backbone, "-l", "relu9_9", "-o", "x.png"), listed)
    refused(lab("texture", "photo.png", *backbone, "--up-to", "relu9_9", "-o", "x.png"), listed)
    refused(lab("activations", "photo.png", *backbone, "-o", "x.png"), "which layer? tiny has conv1_1, relu1_1")
    of_model = lab("activations", "photo.png", "--model", model, "-s", "wave", "-l", "block3", "-o", "x.png")
    refused(
        of_model, "two has no layer 'block3' (did you mean 'block1'?); its layers are stem, block1_1, block1, up, head"
    )
    assert not Path("x.png").exists()


def test_what_would_be_lost_is_refused_before_the_work(backbone: list[object]) -> None:
    Path("there.png").touch()
    layer = ["-l", "relu1_1"]
    for command in ("activations", "invert", "gram"):
        refused(lab(command, "photo.png", *backbone, *layer, "-o", "there.png"), "exists already")
    refused(lab("texture", "photo.png", *backbone, "-o", "photo.png", "--force"), "is the input")
    refused(lab("activations", "photo.png", *backbone, *layer, "-o", "a.bmp"), "a sheet is written as .png")
    refused(lab("activations", "photo.png", *backbone, *layer, "-o", "a.png", "--tensors", "a.txt"), ".npz")
    refused(lab("activations", "photo.png", *backbone, *layer, "-s", "wave", "-o", "a.png"), "--style belongs to")
    refused(
        lab("activations", "photo.png", *backbone, *layer, "--filters", "few", "-o", "a.png"),
        "--filters is 'few', need a number",
    )
    refused(lab("invert", "photo.png", *backbone, *layer), "add -o FILE for a sheet, --json for numbers")


# -- invert, texture, gram ------------------------------------------------------------------------------------


def test_invert(backbone: list[object]) -> None:
    few = [*backbone, "--size", "32", "--steps", "3", "-l", "relu1_1", "-l", "relu2_1"]
    result = lab("invert", "photo.png", *few, "-o", "sheet.png", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert list(told) == ["layers"]
    assert [sorted(row) for row in told["layers"]] == [["feature_error", "layer", "psnr"]] * 2
    assert [row["layer"] for row in told["layers"]] == ["relu1_1", "relu2_1"]
    assert size_of("sheet.png")
    lines = lab("invert", "photo.png", *few, "-o", "again.png").stdout.splitlines()
    assert lines[0] == (
        f"relu1_1  PSNR {told['layers'][0]['psnr']:.2f} dB  feature error {told['layers'][0]['feature_error']:.3g}"
    )


def test_texture(backbone: list[object]) -> None:
    result = lab(
        "texture", "night.png", *backbone, "--up-to", "relu2_1", "--size", "32", "--steps", "2", "-o", "sheet.png"
    )
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert size_of("sheet.png")[0] > 3 * 256


def test_gram(backbone: list[object]) -> None:
    layers = ["-l", "relu1_1", "-l", "relu2_1"]
    both = lab("gram", "night.png", "wave.png", *backbone, *layers, "-o", "both.png")
    assert both.exit_code == 0, both.output
    assert [line.split()[0] for line in both.stdout.splitlines()] == ["relu1_1", "relu2_1"]
    told = json.loads(lab("gram", "night.png", "wave.png", *backbone, *layers, "-o", "x.png", "--json").stdout)
    for line, row in zip(both.stdout.splitlines(), told["layers"], strict=True):
        assert line == f"{row['layer']}  relative distance {row['distance']:.4g}"
        assert [len(pair) for pair in row["pairs"]] == [3, 3, 3]
    alone = lab("gram", "night.png", *backbone, *layers, "-o", "alone.png")
    assert (alone.exit_code, alone.stdout) == (0, "")
    assert size_of("alone.png")[0] < size_of("both.png")[0]


# -- timeline and experiment ----------------------------------------------------------------------------------


def test_timeline_of_a_painting(backbone: list[object]) -> None:
    few = [*backbone, "--content-layers", "relu1_2", "--style-layers", "relu1_1", "--steps", "4", "--save-every", "1"]
    painted = CliRunner(env=PLAIN).invoke(
        app, ["stylize", "photo.png", "--style", "night.png", *map(str, few), "--run", "run", "-o", "out.png"]
    )
    assert painted.exit_code == 0, painted.output
    result = lab("timeline", "run", "-o", "film.gif")
    assert (result.exit_code, result.stderr) == (0, "film.gif: 4 frames\n")
    with Image.open("film.gif") as film:
        assert film.n_frames == 4
    Path("empty").mkdir()
    refused(lab("timeline", "empty", "-o", "none.gif"), "empty: no frames of a run are in it")
    refused(lab("timeline", "empty", "-o", "none.gif"), "with a smaller --save-every if the run was short")
    refused(lab("timeline", "run", "-o", "film.gif"), "exists already")


def test_what_is_not_obeyed_beside_a_model_is_refused(folder: Path, model: Path) -> None:
    words = ["activations", "photo.png", "--model", model, "--style", "night", "-l", "conv1", "-o", "a.png"]
    told = "--backbone goes without --model, whose own layers are shown: give one of them"
    refused(lab(*words, "--backbone", "compact"), told)
    refused(lab(*words, "--backbone-input", "caffe"), told.replace("--backbone", "--backbone-input"))


def test_experiment(folder: Path) -> None:
    write_backbone(folder / "seer.safetensors", "conv4_2", rank=4)
    Path("grid.toml").write_text(
        'judge = "seer.safetensors"\n'
        '[settings]\nphoto = "photo.png"\nstyle = "night.png"\nbackbone = "seer.safetensors"\nprecision = "float32"\n'
        'content_layers = {relu1_2 = 1.0}\nstyle_layers = "relu1_1"\ntotal_steps = 2\n'
        '[axes]\npool = ["max", "average"]\nstyle_weight = [10.0]\n'
    )
    result = lab("experiment", "grid.toml", "-o", "out", "--jobs", 2)
    assert (result.exit_code, result.stdout) == (0, "out/sheet.png\n"), result.output
    assert len(result.stderr.splitlines()) == 2
    assert size_of("out/sheet.png")
    assert size_of("out/losses.png")
    with Path("out/cells.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["pool"], row["status"]) for row in rows] == [("max", "done"), ("average", "done")]
    again = lab("experiment", "grid.toml", "-o", "out")
    assert [line.rpartition(": ")[2] for line in again.stderr.splitlines()] == ["done before"] * 2
    Path("bad.toml").write_text('[settings]\nphoto = "photo.png"\nstyle = "night.png"\n[axes]\nspeed = [1]\n')
    refused(
        lab("experiment", "bad.toml", "-o", "out"),
        "unknown key 'speed' in [axes] (did you mean 'seed'?); the keys are photo, style, ",
    )


def test_an_experiment_that_failed_says_so_to_scripts(folder: Path) -> None:
    write_backbone(folder / "seer.safetensors", "conv4_2", rank=4)
    text = 'judge = "seer.safetensors"\n[settings]\nphoto = "photo.png"\nstyle = "night.png"\n'
    text += 'backbone = "seer.safetensors"\n'
    Path("grid.toml").write_text(text + 'style_layers = "relu5_1"\n[axes]\nseed = [1]\n')
    for words in ((), ("--retry-failed",), ()):  # also where they had failed before
        result = lab("experiment", "grid.toml", "-o", "out", *words)
        assert (result.exit_code, result.stdout) == (1, "out/sheet.png\n"), result.output
        assert "1 of 1 cells failed" in result.stderr


@pytest.mark.parametrize("place", ["photo", "style"])
def test_an_experiments_pictures_are_looked_for_before_anything_runs(folder: Path, place: str) -> None:
    names = {"photo": "photo.png", "style": "night.png", place: "gone.png"}
    Path("grid.toml").write_text(
        f'[settings]\nphoto = "{names["photo"]}"\nstyle = "{names["style"]}"\n[axes]\nseed = [1, 2]\n'
    )
    refused(lab("experiment", "grid.toml", "-o", "out"), "gone.png: no such file")
    trained = 'method = "johnson"\n[settings]\nphotos = "gone"\nphoto = "photo.png"\nstyle = "night.png"\n'
    Path("grid.toml").write_text(trained + "[axes]\nseed = [1, 2]\n")
    refused(lab("experiment", "grid.toml", "-o", "out"), "gone: there is no such folder or file of photos")
    assert not Path("out").exists()


def test_an_experiment_needs_a_folder(folder: Path) -> None:
    Path("grid.toml").write_text('[settings]\nphoto = "photo.png"\nstyle = "night.png"\n[axes]\nseed = [1]\n')
    refused(
        lab("experiment", "grid.toml", "-o", "photo.png"), "photo.png: is a file, need a folder for the experiments"
    )
    refused(lab("experiment", "grid.toml", "-o", "photo.png/out"), "photo.png is no folder; write elsewhere")
