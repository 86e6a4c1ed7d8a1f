"""``impasto compress``: a tiny recipe from beginning to end, and what is refused before the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.core.metadata import read_manifest, read_metadata, save
from impasto.core.weights import load_backbone
from impasto.files import sha256
from impasto.training.compress import CompressProgress

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}
RECIPE = """
output = "made/small.safetensors"
teacher = "teacher.safetensors"
photos = "photos"
paintings = "paintings"
every = 2
threads = 1
licence = "CC0"
origin = "random numbers"

[settings]
last = "conv2_1"
megabytes = 0.03
rank_step = 4
crops = 6
crop_size = 36
finetune_steps = 4
finetune_batch = 2
finetune_size = 36
painted = 1
painted_steps = 4
"""


def compress(*arguments: str) -> Any:
    return CliRunner(env=PLAIN).invoke(app, ["compress", *arguments])


def refused(result: Any, message: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_backbone: Path) -> Path:
    """A folder with recipe.toml and all that it names."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    description = {"kind": "backbone", "name": "teacher", "topology": "vgg16", "normalisation": "none"}
    save(tmp_path / "teacher.safetensors", safetensors.torch.load_file(tiny_backbone), description)
    for folder, seed in (("photos", 0), ("paintings", 10)):
        (tmp_path / folder).mkdir()
        for number in range(4):
            pixels = np.random.default_rng(seed + number).integers(0, 256, (48, 56, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_makes_a_backbone_the_same_every_time(here: Path) -> None:
    result = compress("recipe.toml")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    told = result.stderr.splitlines()
    assert told[0].startswith("ranks: conv1_2 ")
    assert [line.split()[1] for line in told if "relative error" in line] == ["conv1_1", "conv1_2", "conv2_1"]
    assert told[-2].startswith("fine-tuning: features ")
    assert told[-1].startswith(f"{here / 'made' / 'small.safetensors'}: 0.0")

    made = here / "made" / "small.safetensors"
    described = read_metadata(made)
    assert (described["name"], described["licence"], described["origin"]) == ("compact", "CC0", "random numbers")
    assert made.stat().st_size < 35_000
    assert read_manifest(here / "made") == {"small.safetensors": sha256(made)}
    assert load_backbone(made).taps == load_backbone(here / "teacher.safetensors").taps

    assert compress(str(here / "recipe.toml"), "-o", "again.safetensors").exit_code == 0
    assert (here / "again.safetensors").read_bytes() == made.read_bytes()
    assert not (here / "manifest.json").exists()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Path]]:
    """What the compression was asked for; it writes one byte at once."""
    asked = []

    def run(recipe: Any, output: Path) -> Iterator[CompressProgress]:
        asked.append((recipe, output))
        output.write_bytes(b"1")
        yield CompressProgress("written", 1, 1, "1 byte")

    monkeypatch.setattr("impasto.training.compress.run_recipe", run)
    return asked


def test_its_own_place_is_replaced_and_another_only_with_force(here: Path, work: list[Any]) -> None:
    for name in ("made/small.safetensors", "old.safetensors"):
        (here / name).write_bytes(b"old")
    refused(compress("recipe.toml", "-o", "old.safetensors"), "old.safetensors: exists already")
    assert (here / "old.safetensors").read_bytes() == b"old"
    assert work == []
    assert compress("recipe.toml", "-o", "old.safetensors", "--force").exit_code == 0
    assert (here / "old.safetensors").read_bytes() == b"1"
    assert (here / "made" / "small.safetensors").read_bytes() == b"old"
    assert compress("recipe.toml").exit_code == 0
    assert (here / "made" / "small.safetensors").read_bytes() == b"1"


def replaced(old: str, new: str) -> Callable[[Path], None]:
    return lambda here: (here / "recipe.toml").write_text(RECIPE.replace(old, new)) and None


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda here: (here / "recipe.toml").unlink(), [], "recipe.toml: no such file, need a recipe"),
        (lambda here: (here / "recipe.toml").write_bytes(b"a = ["), [], "recipe.toml: cannot be read as a recipe"),
        (
            replaced("crops", "crop"),
            [],
            "recipe.toml: unknown key 'crop' (did you mean 'crops'?); the keys are crop_size, crops",
        ),
        (replaced('origin = "random numbers"', ""), [], "recipe.toml: the key 'origin' is missing"),
        (lambda here: (here / "made").rmdir(), [], "made does not exist; create it first"),
        (lambda here: None, ["-o", "made"], "made: a folder; give the name of a file in it"),
        (lambda here: None, ["-o", "teacher.safetensors", "--force"], "is the input"),
        (lambda here: None, ["-o", "recipe.toml", "--force"], "is the input recipe.toml"),
        (lambda here: None, ["-o", "-"], "-: give the name of a file"),
    ],
)
def test_refused_before_the_work(
    here: Path, work: list[Any], spoil: Callable[[Path], None], arguments: list[str], message: str
) -> None:
    spoil(here)
    refused(compress("recipe.toml", *arguments), message)
    assert work == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda here: (here / "teacher.safetensors").unlink(), "teacher.safetensors"),
        (lambda here: (here / "teacher.safetensors").write_bytes(b"x" * 64), "teacher.safetensors"),
        (lambda here: [path.unlink() for path in (here / "photos").iterdir()], "photos: holds no pictures"),
        (lambda here: (here / "paintings" / "0.png").write_bytes(b"x"), "0.png"),
    ],
)
def test_what_the_recipe_names_must_be_there(here: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(here)
    refused(compress("recipe.toml"), message)
    assert list((here / "made").iterdir()) == []


def test_an_interruption_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.training.compress.save", interrupted)
    result = compress("recipe.toml")
    assert result.exit_code == 130
    assert result.stderr.endswith("interrupted\n")
    assert list((here / "made").iterdir()) == []


def test_the_recipe_that_is_shipped_can_be_read() -> None:
    from impasto.training.compress import read_recipe

    project = Path(__file__).resolve().parents[2]
    recipe = read_recipe(project / "recipes" / "compact.toml")
    assert recipe.output == project / "src" / "impasto" / "weights" / "compact.safetensors"
    assert recipe.licence == "MIT, CC BY 4.0"
