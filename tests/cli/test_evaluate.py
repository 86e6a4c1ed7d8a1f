"""``impasto evaluate``: networks, presets and other programs' pictures, judged side by side at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from impasto.cli.app import app
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model
from impasto.networks.johnson import Johnson, JohnsonConfig

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "160", "FORCE_COLOR": None}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two photos, three styles, a network of two of them and a network of one."""
    for number, name in enumerate(["photos/cat", "photos/dog", "styles/Night", "styles/the wave", "styles/fog"]):
        blotches = np.random.default_rng(number).integers(0, 256, (5, 6, 3), np.uint8)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(blotches).resize((48, 40), Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    torch.manual_seed(0)
    styles = [{"name": "night"}, {"name": "the-wave"}]
    two = Brisk(BriskConfig(styles=("night", "the-wave"), channels=16, blocks=1, detail=16))
    save_model(tmp_path / "two.safetensors", two, styles=styles, recipe={}, licence="MIT")
    one = Johnson(JohnsonConfig(width=8, blocks=1))
    save_model(tmp_path / "one.safetensors", one, styles=styles[:1], recipe={}, licence="MIT")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, size: int = 48) -> Result:
    given = ["evaluate", "--photos", "photos", "--styles", "styles", "--size", str(size), "--precision", "float32"]
    return CliRunner(env=PLAIN).invoke(app, [*given, *arguments])


def test_a_network_of_two_styles(desk: Path) -> None:
    done = run("--model", "two.safetensors", "--json", "out.json", "--sheet", "sheet.png")
    assert done.exit_code == 0, done.output
    for told in ("compact: 4 pairs, 48 px", "two", "photo copied", "style pasted", "style by style", "the-wave"):
        assert told in done.stdout
    assert "100.0% [100.0-100.0]" in done.stdout

    facts = json.loads((desk / "out.json").read_text("utf-8"))
    assert (facts["pairs"], facts["possible_pairs"], facts["size"]) == (4, 4, 48)
    assert {(p["photo"], p["style"]) for p in facts["pictures"]} == {
        (photo, style) for photo in ("cat", "dog") for style in ("night", "the-wave")
    }
    rows = {row["method"]: row for row in facts["methods"] if row["style"] is None}
    copied, pasted, two = (rows[name]["verdicts"]["compact"] for name in ("photo copied", "style pasted", "two"))
    assert (copied["content"]["mean"], copied["share"]["mean"]) == (0, 1)
    assert (pasted["share"]["mean"], pasted["share"]["high"]) == (0, 0)  # the sizes are equal
    assert two["content"]["low"] <= two["content"]["mean"] <= two["content"]["high"]
    mean = np.mean([p["distances"]["compact"]["content"] for p in facts["pictures"] if p["method"] == "two"])
    assert two["content"]["mean"] == pytest.approx(mean)

    with Image.open("sheet.png") as sheet:  # photos and two styles across; styles and two photos down, labels above
        assert sheet.size == (4 * 4 + 3 * 48, 4 * 4 + 3 * (40 + 15))


def test_several_methods_and_backbones_on_the_same_pairs(desk: Path, shared: Path) -> None:
    (desk / "theirs").mkdir()
    for photo in ("cat", "dog"):
        (desk / "theirs" / f"{photo}--night.png").write_bytes((desk / "photos" / f"{photo}.png").read_bytes())
    judges = ["--backbone", "compact", "--backbone", str(shared / "weights" / "vgg16_dev.safetensors")]
    methods = ["--model", "one.safetensors", "--model", "two.safetensors", "--results", "theirs", "--preset", "good"]
    done = run(*methods, *judges, "--json", "-", "--limit", "1", "--sheet", "sheet.jpg")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["pairs"], facts["possible_pairs"]) == (1, 2)
    rows = {row["method"]: row for row in facts["methods"]}
    assert list(rows) == ["one", "two", "good", "theirs", "photo copied", "style pasted"]
    assert [row["seconds"] is None for row in rows.values()] == [False, False, False, True, True, True]
    assert [p["method"] for p in facts["pictures"] if p["seconds"] is None] == [*rows][3:]
    for name in ("compact", "vgg16-dev"):
        assert rows["theirs"]["verdicts"][name] == rows["photo copied"]["verdicts"][name]
        assert rows["good"]["verdicts"][name]["share"]["mean"] < 0.7
    assert rows["good"]["verdicts"]["compact"] != rows["good"]["verdicts"]["vgg16-dev"]


def test_only_one_style(desk: Path) -> None:
    done = run("--model", "two.safetensors", "--style", "the-wave", "--json", "-")
    assert {p["style"] for p in json.loads(done.stdout)["pictures"]} == {"the-wave"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --model, --preset or --results"),
        (["--model", "three.safetensors"], "no trained network and no file is called 'three.safetensors'"),
        (["--preset", "quicker"], "preset 'quicker' is unknown"),
        (["--preset", "gatys-code"], "vgg19-caffe"),
        (["--results", "photos"], "no results found"),
        (["--model", "two.safetensors", "--style", "fog"], "two has the styles night, the-wave"),
        (["--model", "two.safetensors", "--style", "mist"], "no style picture is called 'mist'"),
        (["--model", "two.safetensors", "--backbone", "vgg99"], "no backbone and no file is called 'vgg99'"),
        (["--model", "two.safetensors", "--model", "two.safetensors"], "two things are called 'two'"),
        (["--model", "two.safetensors", "--sheet", "two.safetensors"], "written as .safetensors"),
        (["--model", "two.safetensors", "--json", "nowhere/out.json"], "does not exist"),
        (["--model", "two.safetensors", "--sheet", "photos/cat.png", "--force"], "is the input"),
        (["--model", "two.safetensors", "--photos", "nowhere"], "nowhere"),
        (["--model", "two.safetensors", "--styles", "empty"], "no style pictures found"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    desk: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    (desk / "empty").mkdir()
    monkeypatch.setenv("TORCH_HOME", str(desk / "empty"))  # whatever was fetched on this machine
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


@pytest.mark.parametrize("folder", ["photos", "styles"])
def test_a_picture_that_is_none_is_left_out_and_told(desk: Path, folder: str) -> None:
    (desk / folder / "bad.png").write_bytes(b"")
    done = run("--model", "two.safetensors", "--json", "-")
    assert done.exit_code == 0
    assert f"{folder}/bad.png: empty (0 bytes), need a picture; copy or download it again; left out" in done.stderr
    assert "bad" not in {name for row in json.loads(done.stdout)["pictures"] for name in (row["photo"], row["style"])}
    Image.new("RGBA", (64, 64)).save(desk / folder / "bad.png")
    told = (
        f"{folder}/bad.png: transparent everywhere, need something that shows; make it opaque or choose another; left"
    )
    assert told in run("--model", "two.safetensors", "--json", "-").stderr
    for path in (desk / folder).iterdir():
        path.write_bytes(b"")
    done = run("--model", "two.safetensors")
    assert done.exit_code == 2
    assert f"error: {folder}/" in done.stderr


def test_an_output_that_is_there_is_left_alone(desk: Path) -> None:
    (desk / "out.json").write_text("{}")
    done = run("--model", "two.safetensors", "--json", "out.json")
    assert done.exit_code == 2
    assert "out.json: exists already" in done.stderr
    assert (desk / "out.json").read_text() == "{}"
    assert run("--model", "two.safetensors", "--json", "out.json", "--limit", "1", "--force").exit_code == 0
    assert json.loads((desk / "out.json").read_text())["pairs"] == 1
