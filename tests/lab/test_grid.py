"""Grids of experiments as files: what they mean and what is refused before anything runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from impasto.errors import DataError
from impasto.lab.grid import optimize_settings, read_grid, shown_value, train_settings
from impasto.optimize.presets import PRESETS

pytestmark = pytest.mark.usefixtures("folder")
PROJECT = Path(__file__).resolve().parents[2]
BASE = '[settings]\nphoto = "photo.png"\nstyle = "night.png"\n'
TRAIN = 'method = "johnson"\n[settings]\nphoto = "photo.png"\nphotos = "."\nstyle = "night.png"\n'


def grid(text: str, name: str = "grid.toml"):
    Path(name).write_text(text, encoding="utf-8")
    return read_grid(Path(name))


def test_every_combination_is_a_cell(folder: Path) -> None:
    found = grid(BASE + '[axes]\npool = ["max", "average"]\nstyle-weight = [1, 10.5, 100]\n')
    assert found.method == "optimize"
    assert list(found.axes) == ["pool", "style_weight"]
    assert [cell.number for cell in found.cells] == [1, 2, 3, 4, 5, 6]
    assert found.cells[1].varied == {"pool": "max", "style_weight": 10.5}
    assert found.cells[5].name == "pool average, style_weight 100"
    assert found.cells[0].values["photo"] == str(folder / "photo.png")
    assert len({cell.key for cell in found.cells}) == 6


def test_paths_are_meant_from_the_grids_folder_and_names_stay(folder: Path) -> None:
    text = TRAIN.replace("johnson", "universal") + 'begin_with = "gallery"\nbegin_style = ["list.tsv"]\n'
    (cell,) = grid(text + 'second_backbone = ["vgg16", "eyes.safetensors"]\n[axes]\nsteps = [3]\n').cells
    assert cell.values["begin_with"] == "gallery"
    assert cell.values["begin_style"] == [str(folder / "list.tsv")]
    assert cell.values["second_backbone"] == ["vgg16", str(folder / "eyes.safetensors")]
    assert train_settings("universal", cell.values).values()["begin_style"] == (str(folder / "list.tsv"),)


def test_cells_one_by_one() -> None:
    found = grid(BASE + '[[cells]]\nname = "a"\nsize = 64\n[[cells]]\nstyle = "wave.png"\n')
    assert [cell.name for cell in found.cells] == ["a", "2"]
    assert not found.axes
    assert Path(found.cells[1].values["style"]).name == "wave.png"


def test_values_reach_the_settings() -> None:
    text = BASE + 'preset = "quick"\nbetas = [0.5, 0.9]\nstyle_layers = "relu1_1:2,relu2_1"\nprecision = "float32"\n'
    (cell,) = grid(text + "[axes]\nstyle_weight = [7.0]\n").cells
    settings = optimize_settings(cell.values)
    assert (settings.style_weight, settings.betas) == (7.0, (0.5, 0.9))
    assert settings.style_layers == {"relu1_1": 2.0, "relu2_1": 1.0}
    assert settings.lr == PRESETS["quick"].lr
    (trained,) = grid(TRAIN + 'style_layer = "relu1_2"\nsize = 64\n[axes]\nepochs = [3]\n').cells
    assert train_settings("johnson", trained.values).epochs == 3
    assert train_settings("johnson", trained.values).style_layer == ("relu1_2",)


def test_the_key_changes_with_whatever_decides_the_result(folder: Path) -> None:
    def key(text: str) -> str:
        return grid(text).cells[0].key

    text = BASE + "[axes]\nstyle_weight = [1]\n"
    assert key(text) == key(text.replace("[axes]", "\n[axes]"))
    assert key(text) != key('judge = "vgg19"\n' + text)
    assert key(text) != key(text.replace("[1]", "[2]"))
    before = key(text)
    (folder / "night.png").write_bytes((folder / "wave.png").read_bytes())
    assert key(text) != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("speed = 1\n" + BASE, r"unknown key 'speed' at the top; the keys are method, judge, settings, axes, cells"),
        (BASE + "speed = 1\n", r"unknown key 'speed' in \[settings\] .*; the keys are photo, style, preset, .*lr_end"),
        (BASE + "[axes]\nspeed = [1]\n", r"unknown key 'speed' in \[axes\] .*; the keys are .*style_weight"),
        (BASE + "[[cells]]\nspeed = 1\n", r"unknown key 'speed' in cell 1 .*; the keys are"),
        (
            TRAIN + "[axes]\ninit = [1]\n",
            r"unknown key 'init' in \[axes\]; the keys are photo, size, photos, leave_out, style, ",
        ),
        ('method = "magic"\n' + BASE, r"method 'magic' is unknown: use optimize, johnson, multistyle, adain"),
        (BASE, r"give either \[axes\] or \[\[cells\]\]"),
        (BASE + "[axes]\nsize = [64]\n[[cells]]\nsize = 32\n", r"give either \[axes\] or \[\[cells\]\]"),
        (BASE + "[axes]\nsize = 64\n", r"the axis size is 64, need a list of values"),
        (BASE + "[axes]\nsize = []\n", r"the axis size is \[\], need a list"),
        (BASE + "[axes]\nsize = [64, 32, 64]\n", r"the axis size has 64 twice: leave one out"),
        (BASE + "[axes]\ntv_weight = [0, 0]\n", r"the axis tv_weight has 0 twice: leave one out"),
        (BASE + '[[cells]]\nname = "a"\nsize = 64\n[[cells]]\nname = "a"\nsize = 32\n', r"two cells are called 'a': "),
        (BASE + '[[cells]]\nname = "2"\nsize = 64\n[[cells]]\nsize = 32\n', r"two cells are called '2': "),
        (BASE + '[axes]\npool = ["median"]\n', r"cell 'pool median' makes no sense: `pool` 'median' is unknown"),
        (BASE + '[axes]\nlr = ["fast"]\n', r"cell 'lr fast' makes no sense"),
        (BASE + '[axes]\npreset = ["none"]\n', r"preset 'none' is unknown: use quick"),
        ("[axes]\nsize = [64]\n", r"cell 'size 64' has no photo: add photo = \.\.\. to \[settings\]"),
        (TRAIN + "[axes]\nbatch_size = [0]\n", r"`batch_size` is 0, need at least 1"),
        ("settings = 1\n", r"settings is no table: write \[settings\]"),
        ("cells = [1]\n" + BASE, r"cells is no list of tables"),
        ("= 1", r"cannot be read as a grid of experiments"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        grid(text)
    assert str(caught.value).startswith("grid.toml: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, told in (
        (tmp_path / "gone.toml", "no such file"),
        (tmp_path, "cannot be read as a grid of experiments: "),
    ):
        with pytest.raises(DataError, match=f"^{path}: {told}") as caught:
            read_grid(path)
        assert "Errno" not in str(caught.value)


def test_values_in_short() -> None:
    values = [1e10, 0.5, True, "/a/b/wave.jpg", [1.0, 2.0], {"relu1_1": 1.0}]
    assert list(map(shown_value, values)) == ["1e+10", "0.5", "True", "wave.jpg", "1, 2", "relu1_1:1"]


def test_the_seeds_five_experiments() -> None:
    """Weights, pooling, batch sizes and the proportions of epochs are those of Johnson 2016."""
    path = PROJECT / "recipes" / "seed-grid.toml"
    found = read_grid(path)
    rows = [
        (c["batch_size"], c["epochs"], c["style_weight"], c["content_weight"], c["pool"])
        for c in (cell.values for cell in found.cells)
    ]
    assert rows == [
        (4, 200, 1e10, 1e5, "max"),
        (4, 80, 10e10, 10e3, "max"),
        (4, 40, 10e10, 10e5, "max"),
        (8, 400, 10e10, 10e5, "average"),
        (4, 40, 10e20, 10e3, "max"),
    ]
    comments = [line for line in path.read_text("utf-8").splitlines() if line.startswith("epochs")]
    beside = [int(line.partition("#")[2]) for line in comments]
    assert [tomllib.loads(line)["epochs"] / epochs for line, epochs in zip(comments, beside, strict=True)] == [20] * 5
