"""``impasto import``: what it writes, what it tells, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.core.metadata import read_metadata
from impasto.core.weights import load_backbone
from impasto.errors import WeightsError
from impasto.files import sha256
from impasto.networks.checkpoint import load_model

from .foreign_samples import Johnson7, Lengstrom, picture, write_first_version
from .test_kinds import magenta_variables

pytestmark = pytest.mark.usefixtures("one_thread")
INSTEAD = "give an -o/--output that ends in .safetensors, of which `impasto export onnx` makes one"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.fixture
def candy(tmp_path) -> Path:
    Johnson7().write(tmp_path / "candy.t7", preprocessing="vgg")
    return tmp_path / "candy.t7"


def test_a_network_of_ours_by_its_name(tmp_path) -> None:
    told = "error: gallery: is a model of ours already\n"
    assert run("import", "gallery", "-o", tmp_path / "x.safetensors") == (2, told)


def test_the_state_of_a_training_is_none(tmp_path) -> None:
    torch.save({"family": "johnson", "settings": {}, "optimizer": {}, "network": {}}, tmp_path / "step-3.pt")
    told = (
        f"error: {tmp_path}/step-3.pt: is the state of a training of ours: give the model.safetensors of its run, or "
    )
    assert run("import", tmp_path / "step-3.pt", "--explain")[1].startswith(told)


def test_a_file_of_ours(candy, tmp_path) -> None:
    out = tmp_path / "mine.safetensors"
    assert run("import", candy, "-o", out)[0] == 0
    description = read_metadata(out)
    assert description["styles"] == [{"name": "candy"}]
    assert description["licence"] == "unknown"
    assert description["recipe"]["imported"] == "candy.t7"
    assert description["recipe"]["sha256"] == sha256(candy)
    assert description["came_from"]["kind"] == "jcjohnson"
    image = picture(61, 83)
    with torch.inference_mode():
        assert torch.equal(load_model(out)[0](image), load_model(candy)[0](image))


def test_what_is_told(candy, tmp_path) -> None:
    code, told = run("import", candy, "--explain")
    assert code == 0
    for words in (
        "jcjohnson",
        "BGR, 0 to 255, minus 103.939",
        "reflection by 16",
        "9x9, 3 to 4, zeros by 4",
        "3x3, 8 to 6, transposed by 2",
        "adds the block's input less 2 px",
        "bfloat16 would differ",
        "method chain",
        "3x3 median",
    ):
        assert words in told
    assert list(tmp_path.iterdir()) == [candy]


def test_styles_of_magenta_s(tmp_path) -> None:
    file, out = tmp_path / "monet.ckpt", tmp_path / "monet.safetensors"
    write_first_version(file, magenta_variables())
    assert "style-02" in run("styles", "--model", file)[1]
    assert run("import", file, "-o", out, "--style-names", "haystacks, lilies,bridge")[0] == 0
    assert [row["name"] for row in read_metadata(out)["styles"]] == ["haystacks", "lilies", "bridge"]
    assert "lilies" in run("styles", "--model", out)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--explain"),
        (["-o", "mine.pth"], r".safetensors"),
        (["-o", "mine.safetensors", "--kind", "jcjonson"], "did you mean 'jcjohnson'"),
        (["-o", "mine.safetensors", "--channels", "gbr"], "rgb or bgr"),
        (["-o", "mine.safetensors", "--kind", "onnx"], "no ONNX"),
        (["-o", "mine.safetensors", "--channels", "bgr"], "--channels is for files of kind onnx"),
        (["--explain", "--values", "255"], "--values is for files of kind onnx"),
        (["--explain", "--values", "0"], "--values is 1 or 255"),
        (["--explain", "--style-names", "a,b"], "--style-names is for files of kind magenta"),
        (["-o", "mine.onnx"], "candy.t7: only an .onnx file becomes .onnx as it is"),
    ],
)
def test_what_is_refused(arguments, words, candy, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = run("import", candy, *arguments)
    assert code == 2
    assert words in told
    assert list(tmp_path.iterdir()) == [candy]


def test_folders(candy, tmp_path) -> None:
    Lengstrom().write(tmp_path / "wave")
    told = run("import", tmp_path / "wave", "-o", tmp_path / "mine.onnx")
    assert told == (2, f"error: {tmp_path}/wave: only an .onnx file becomes .onnx as it is: {INSTEAD}\n")
    for command in (["import", tmp_path, "--explain"], ["import", tmp_path, "-o", tmp_path / "mine.onnx"]):
        assert run(*command) == (2, f"error: {tmp_path}: is a folder, name the file in it that paints: candy.t7\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "my_predict.tflite").touch()
    for command in (["import", tmp_path / "empty", "--explain"], ["styles", "--model", tmp_path / "empty"]):
        assert "is a folder that holds no network: need manifest.json, " in run(*command)[1]
    (tmp_path / "empty" / "one" / "deeper").mkdir(parents=True)
    Lengstrom().write(tmp_path / "empty" / "one" / "wave")
    told = (
        f"{tmp_path}/empty/one: is a folder that holds no network itself: give the one in it, {tmp_path}/empty/one/wave"
    )
    assert run("import", tmp_path / "empty" / "one", "--explain") == (2, f"error: {told}\n")
    assert run("import", tmp_path / "gone", "--explain") == (2, f"error: {tmp_path}/gone: no such file\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "is a JPEG picture"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "is a WebP picture"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.onnx", "a.tflite"])
def test_what_is_no_network(content, told, name, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    assert f"{tmp_path}/{name}: {told}" in run("import", tmp_path / name, "--explain")[1]
    with pytest.raises(WeightsError, match=told):
        load_backbone(tmp_path / name)


def test_options_of_what_takes_none(candy, tmp_path) -> None:
    assert run("import", candy, "-o", tmp_path / "ours.safetensors")[0] == 0
    assert "leave --median out" in run("import", tmp_path / "ours.safetensors", "--explain", "--median")[1]
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    assert "leave --values out" in run("import", tmp_path / "a.tflite", "--explain", "--values", 1)[1]


def test_files_are_not_written_over(candy, tmp_path) -> None:
    out = tmp_path / "mine.safetensors"
    assert run("import", candy, "-o", out)[0] == 0
    before = out.read_bytes()
    assert "exists" in run("import", candy, "-o", out)[1]
    assert run("import", candy, "-o", out, "--force")[0] == 0
    assert out.read_bytes() == before
    assert "ours already" in run("import", out, "-o", tmp_path / "again.safetensors")[1]
    assert "is the input" in run("import", out, "-o", out, "--force")[1]


def test_what_we_exported_is_told(candy, tmp_path) -> None:
    pytest.importorskip("onnx")
    assert run("export", "onnx", candy, "-o", tmp_path / "candy.onnx")[0] == 0
    assert "impasto export onnx" in run("import", tmp_path / "candy.onnx", "--explain")[1]
