"""``impasto recipe``, ``stylize --recipe`` and ``--no-recipe``: how a painting was made, told and done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.files import sha256
from impasto.imaging import read
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


def impasto(*arguments: str) -> Any:
    return CliRunner(env=PLAIN).invoke(app, list(arguments))


def done(*arguments: str) -> Any:
    result = impasto(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def few(tiny_backbone: Path) -> list[str]:
    layers = ["--content-layers", "relu1_2", "--style-layers", "relu1_1,relu2_1"]
    return ["--backbone", str(tiny_backbone), "--backbone-input", "none", "--steps", "3", *layers]


@pytest.fixture
def painted(few: list[str]) -> Path:
    """A painting of photo.png as night.png, with a recipe."""
    done("stylize", "photo.png", "-s", "night.png", *few, "--seed", "7", "-o", "painted.png")
    return Path("painted.png")


def test_a_recipe_is_shown(painted: Path) -> None:
    told = done("recipe", str(painted)).stdout
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert f"style 1 night.png, weight 1 (SHA-256 {sha256(Path('night.png'))})" in lines
    assert f"photo SHA-256 {sha256(Path('photo.png'))}" in lines
    assert "seed 7" in lines
    facts = json.loads(done("recipe", str(painted), "--json").stdout)
    assert (facts["impasto"], facts["request"]["steps"]) == (1, 3)
    assert facts["used"]["style 1"] == sha256(Path("night.png"))
    assert facts["made_by"]["torch"] == torch.__version__
    Path("recipe.json").write_text(json.dumps(facts))
    assert done("recipe", "recipe.json").stdout == told


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photo.png", "photo.png: carries no recipe; it was painted by another program, or without one"),
        ("none.png", "none.png: no such file"),
        ("none.json", "none.json: cannot be read"),
        ("bad.json", "bad.json: the recipe is damaged (it lacks 'impasto'); it cannot be used"),
        ("list.json", "list.json: the recipe is damaged (it is no object); it cannot be used"),
        ("bad.png", "bad.png: not a picture"),
    ],
)
def test_what_has_no_recipe_is_one_line(name: str, message: str) -> None:
    Path("bad.json").write_text("{}")
    Path("list.json").write_text("[1]")
    Path("bad.png").write_text("no picture")
    for arguments in (["recipe", name], ["stylize", "photo.png", "--recipe", name, "-o", "out.png"]):
        result = impasto(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1
        assert message in result.stderr


def test_it_is_painted_again(painted: Path, few: list[str]) -> None:
    given = ["--recipe", str(painted), "--style", "night.png", "--backbone", few[1]]
    same = done("stylize", "photo.png", *given, "-o", "again.png")
    assert same.stderr.startswith("again.png: ")
    assert Path("again.png").read_bytes() == painted.read_bytes()
    other = done("stylize", "wave.png", *given, "-o", "other.png").stderr
    assert other.startswith("not the very picture of the recipe: the photo is another\n")
    changed = done("stylize", "photo.png", *given, "--steps", "2", "-o", "two.png").stderr
    assert changed.startswith("not the very picture of the recipe: --steps is 2, and was 3\n")
    assert "2 steps" in changed
    styled = done(
        "stylize", "photo.png", "--recipe", str(painted), "-s", "wave.png", "--backbone", few[1], "-o", "w.png"
    )
    assert styled.stderr.startswith("not the very picture of the recipe: --style is another")


def test_a_style_that_is_not_at_hand_is_asked_for(painted: Path) -> None:
    result = impasto("stylize", "photo.png", "--recipe", str(painted), "-o", "again.png")
    digest = sha256(Path("night.png"))
    assert result.exit_code == 2
    assert f"the recipe needs the style 'night.png' (SHA-256 {digest}): give its file as --style\n" in result.stderr


def test_options_given_beside_a_recipe_win(folder: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(ord(name[0]))
        save_model(folder / name, Brisk(BriskConfig(("a", "b"), channels=8, blocks=1, detail=8)), recipe={}, licence="")
    done("stylize", "photo.png", "--model", "one", "-s", "a", "-o", "a.png")
    done("stylize", "photo.png", "--recipe", "a.png", "--model", "one", "-s", "b", "-o", "b.png")
    done("stylize", "photo.png", "--model", "one", "-s", "b", "-o", "expected.png")
    assert np.array_equal(read("b.png").rgb, read("expected.png").rgb)
    done("stylize", "photo.png", "--recipe", "a.png", "--model", "two", "-o", "c.png")
    done("stylize", "photo.png", "--model", "two", "-s", "a", "-o", "expected-2.png")
    assert np.array_equal(read("c.png").rgb, read("expected-2.png").rgb)


def test_a_recipe_for_several_photos_tells_once_what_differs(painted: Path, few: list[str]) -> None:
    given = ["--recipe", str(painted), "--style", "night.png", "--backbone", few[1]]
    told = done("stylize", "night.png", "wave.png", *given, "-o", "out").stderr
    assert told.count("the photo is another") == 1
    assert "2 of 2 photos are painted" in told


def test_no_recipe_leaves_it_out(few: list[str]) -> None:
    done("stylize", "photo.png", "-s", "night.png", *few, "--no-recipe", "-o", "out.png")
    assert "carries no recipe" in impasto("recipe", "out.png").stderr


def test_standard_input_has_no_name_in_a_recipe(few: list[str]) -> None:
    arguments = ["stylize", "photo.png", "-s", "-", *few, "-o", "out.png"]
    assert CliRunner(env=PLAIN).invoke(app, arguments, input=Path("night.png").read_bytes()).exit_code == 0
    digest = sha256(Path("night.png"))
    assert f"picture, weight 1 (SHA-256 {digest})\n" in done("recipe", "out.png").stdout
    told = impasto("stylize", "photo.png", "--recipe", "out.png", "-o", "x.png").stderr
    assert f"the recipe needs the style 'picture' (SHA-256 {digest}): give its file as --style" in told


def test_an_option_that_only_the_recipe_has_is_said_to_be_its(few: list[str]) -> None:
    done("stylize", "photo.png", "-s", "night.png", *few, "--start-size", "38", "-o", "painted.png")
    given = ["--recipe", "painted.png", "-s", "night.png", "--backbone", few[1], "--size", "36", "-o", "out.png"]
    told = impasto("stylize", "photo.png", *given).stderr
    assert "--start-size 38 is larger than the painting, which has 36 px" in told
    assert told.endswith("; it is the recipe that says --start-size\n")
    assert "the recipe that says" not in impasto("stylize", "photo.png", *given, "--start-size", "37").stderr
    done("stylize", "photo.png", *given, "--start-size", "36")


@pytest.mark.parametrize("by", ["network", "optimisation"])
def test_odd_masks_are_told_of_before_the_work(folder: Path, few: list[str], by: str) -> None:
    from PIL import Image

    Image.new("L", (40, 36), 0).save("black.png")
    save_model(folder / "net", Brisk(BriskConfig(("a",), channels=8, blocks=1, detail=8)), recipe={}, licence="")
    how = ["--model", "net"] if by == "network" else ["-s", "night.png", *few]
    note = "mask black.png: black everywhere: nothing is painted; make it white where there is to be style"
    told = done("stylize", "photo.png", *how, "--mask", "black.png", "-o", "out.png").stderr.splitlines()
    assert told[0] == note
    assert told.count(note) == 1
    assert np.array_equal(read("out.png").rgb, read("photo.png").rgb)
    many = done("stylize", "photo.png", "wave.png", *how, "--mask", "black.png", "-o", "out").stderr
    assert many.count(note) == 1
