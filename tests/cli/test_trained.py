"""``impasto stylize --model``: trained networks of each kind, used from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.methods.brisk import Brisk, BriskConfig
from impasto.methods.files import save_model
from impasto.methods.johnson import Johnson, JohnsonConfig

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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-s", "fog"], "night"),
        ([], "which style"),
        (["-s", "wave", "--steps", "3"], "leave out --steps"),
        (["-s", "wave", "--preset", "quick"], "leave out --preset"),
    ],
)
def test_what_makes_no_sense_is_one_line(photo: Path, two_styles: Path, options: list[str], told: str) -> None:
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
