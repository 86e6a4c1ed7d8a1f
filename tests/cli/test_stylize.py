"""``impasto stylize``: what its options do, what it refuses and when, and what it writes."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.core.tensors import to_array
from impasto.errors import DivergenceError, ImpastoError
from impasto.imaging import Picture, read, write
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.writing import COMPRESSION, QUALITY
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import DEFAULT_PRESET, PRESETS
from impasto.stylizer.api import stylize as stylize_in_python
from impasto.stylizer.engine import Engine
from impasto.stylizer.optimize_job import OptimizeJob
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.styles import Style

pytestmark = pytest.mark.usefixtures("one_thread", "folder")

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}
STYLIZE = typer.main.get_command(app).commands["stylize"]  # type: ignore[attr-defined]

Result = Any  # of typer or click, whichever this typer uses
Run = Callable[..., Result]


def impasto(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner(env=PLAIN).invoke(app, ["stylize", *arguments], input=stdin)


@pytest.fixture
def paint(tiny_backbone: Path) -> Run:
    """`impasto stylize` with a tiny backbone and few steps; a later option wins over an earlier one."""
    few = ["--backbone", str(tiny_backbone), "--backbone-input", "none", "--precision", "float32", "--steps", "3"]
    few += ["--content-layers", "relu1_2", "--style-layers", "relu1_1,relu2_1"]

    def run(*arguments: str, photo: str = "photo.png", style: str = "night.png", stdin: bytes | None = None) -> Result:
        return impasto(photo, "--style", style, *few, *arguments, stdin=stdin)

    return run


def refused(result: Result, message: str) -> None:
    """Exit code 2 and one line on stderr, the message."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- options --------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What a command line asks an optimisation for, before anything is painted."""

    def ask(*arguments: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        def stop(
            self: OptimizeJob, _: Engine, photo: Any, request: Any, settings: Any, beginning: Any, *__: Any
        ) -> None:
            seen.update(photo=photo, request=request, settings=settings, beginning=beginning)
            raise ImpastoError("seen")

        monkeypatch.setattr(OptimizeJob, "__init__", stop)
        refused(impasto("photo.png", "-s", "night.png", "-o", "out.png", "--method", "optimize", *arguments), "seen")
        return seen

    return ask


ALONE = {"second_backbone": None}  # with which the other cannot take turns
SETTINGS: list[tuple[list[str], dict[str, Any]]] = [
    (["--size", "100"], {"size": 100}),
    (["--init", "faint-noise"], {"init": "faint-noise"}),
    (["--keep-colors"], {"keep_colors": "luminance"}),
    (["--colors-by", "histogram"], {"keep_colors": "histogram"}),
    (["--keep-colors", "--colors-by", "histogram"], {"keep_colors": "histogram"}),
    (["--content-weight", "2.5"], {"content_weight": 2.5}),
    (["--content-weight", "0"], {"content_weight": 0.0}),
    (["--style-weight", "33"], {"style_weight": 33.0}),
    (["--tv-weight", "0.1"], {"tv_weight": 0.1}),
    (["--style-scale", "1.5"], {"style_scale": 1.5}),
    (["--style-loss", "wasserstein"], {"style_loss": "wasserstein", **ALONE}),
    (["--content-layers", "relu3_1:2,relu4_1"], {"content_layers": {"relu3_1": 2.0, "relu4_1": 1.0}}),
    (["--style-layers", "relu1_1, conv2_1:0.5"], {"style_layers": {"relu1_1": 1.0, "conv2_1": 0.5}}),
    (["--backbone", "vgg16-dev"], {"backbone": "vgg16-dev", **ALONE}),
    (["--pool", "average"], {"pool": "average"}),
    (["--steps", "7"], {"total_steps": 7}),
    (["--start-size", "64"], {"start": 64}),
    (["--optimizer", "lbfgs", "--lr", "0.5"], {"optimizer": "lbfgs", "lr": 0.5, "lr_end": 1.0, **ALONE}),
    (["--lr", "0.02"], {"lr": 0.02}),
    (["--parameterisation", "pixels"], {"parameterisation": "pixels"}),
    (["--averaging", "0.9"], {"averaging": 0.9}),
    (["--seed", "7"], {"seed": 7}),
]


@pytest.mark.parametrize(("arguments", "changes"), SETTINGS, ids=lambda value: " ".join(value))
def test_settings_reach_the_painting(asked: Any, arguments: list[str], changes: dict[str, Any]) -> None:
    """This one and no other, over the preset's."""
    assert asked(*arguments)["settings"] == replace(PRESETS[DEFAULT_PRESET], **changes)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_reach_the_painting(asked: Any, name: str) -> None:
    assert asked("--preset", name)["settings"] == PRESETS[name]
    assert asked("--preset", name, "--size", "99")["settings"] == replace(PRESETS[name], size=99)


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        (["--upscale"], {"upscale": True}),
        (["--device", "cpu"], {"device": "cpu"}),
        (["--precision", "bfloat16"], {"precision": "bfloat16"}),
        (["--backbone-input", "caffe"], {"backbone_input": "caffe"}),
        (["--max-megapixels", "3.5"], {"max_megapixels": 3.5}),
        (["--max-megapixels", "200"], {"max_megapixels": 200.0}),
        (["--init", "wave.png"], {"init": "wave.png"}),
        (["--strength", "0.5"], {"strength": 0.5}),
        (["--mask", "wave.png"], {"mask": ("wave.png",)}),
        (["--style", "wave.png:3"], {"style": [Style("night.png"), Style("wave.png", 3.0)]}),
        (["--max-memory", "2GB"], {"max_memory": "2GB"}),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_rest_reaches_the_painting(asked: Any, arguments: list[str], wish: dict[str, Any]) -> None:
    """As it was given, and nothing that was not."""
    plain = asked()["request"]
    assert plain.given == ("style", "method")
    found = asked(*arguments)
    assert found["request"] == plain.with_changes(**wish)
    assert found["request"].given == plain.with_changes(**wish).given
    assert found["beginning"] == ("wave.png" if "--init" in arguments else None)


def test_the_defaults_are_those_of_python(asked: Any) -> None:
    on_the_line = asked()
    in_python: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:

        def stop(
            self: OptimizeJob, _: Engine, photo: Any, request: Any, settings: Any, beginning: Any, *__: Any
        ) -> None:
            in_python.update(photo=photo, request=request, settings=settings, beginning=beginning)
            raise ImpastoError

        patch.setattr(OptimizeJob, "__init__", stop)
        with pytest.raises(ImpastoError):
            stylize_in_python("photo.png", "night.png", method="optimize")
    assert in_python == on_the_line
    defaults = {parameter.name: parameter.default for parameter in STYLIZE.params}
    assert (defaults["jpeg_quality"], defaults["png_compression"]) == (QUALITY, COMPRESSION)
    assert defaults["max_megapixels"] == MAX_MEGAPIXELS


FOR_FILES = {"output", "force", "save_every", "timeline", "loss_plot", "log", "run", "resume", "recipe", "no_recipe"}
FOR_FILES |= set(OutputOptions.options) | {"help"}


def test_options_are_those_of_a_request_and_of_python() -> None:
    in_python = {
        p.name for p in signature(stylize_in_python).parameters.values() if p.kind is not Parameter.VAR_KEYWORD
    }
    on_the_line = {str(parameter.name) for parameter in STYLIZE.params}
    assert on_the_line - FOR_FILES - {"jobs", "dry_run"} <= in_python
    assert set(StylizeRequest.options) | set(OutputOptions.options) <= on_the_line | {"settings"}
    fields = StylizeRequest.options | OutputOptions.options
    for parameter in STYLIZE.params:
        if parameter.name in fields:
            assert re.sub(r"--[a-z-]+", "", parameter.help) == re.sub("`[a-z_]+`", "", fields[parameter.name].help)


def test_every_option_is_tried_here() -> None:
    tried = {argument for arguments, _ in SETTINGS for argument in arguments}
    tried |= {"--preset", "--upscale", "--device", "--precision", "--backbone-input", "--max-megapixels", "--style"}
    tried |= {"--model", "--alpha", "--jobs", "--mask", "--strength", "--quality", "--ground"}  # in test_trained.py
    tried |= {"--max-memory", "--tile", "--statistics", "--dry-run"}  # in test_size.py
    tried |= {
        "--engine",
        "--method",
        *(f"--{name.replace('_', '-')}" for name in FOR_FILES),
    }  # recipes: in test_recipe.py; engines: in tests/light
    assert {parameter.opts[0] for parameter in STYLIZE.params} - {"photo"} <= tried


# -- help -----------------------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom impasto.cli.app import app\n"
        "try: app(['stylize', '--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stderr.strip()) == (0, "[]")


def test_every_option_says_what_it_does() -> None:
    assert [p.name for p in STYLIZE.params if not getattr(p, "help", None)] == []
    text = impasto("--help").stdout
    for panel in ("Pictures", "What counts", "How it moves", "Files and runs"):
        assert f"─ {panel} ─" in text
    for name in PRESETS:
        assert name in text


# -- usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a photo and at least one style are needed: impasto stylize PHOTO --style PICTURE -o FILE"),
        (["photo.png", "-o", "out.png"], "error: at least one style is needed: impasto stylize PHOTO --style"),
        (["-s", "night.png", "-o", "out.png"], "error: a photo is needed: impasto stylize PHOTO --style"),
        (["photo.png", "-s", "night.png"], "where should the painting go? add -o FILE, or -o - for standard output"),
        (["photo.png", "wave.png", "-s", "night.png"], "where should the paintings go? add -o FOLDER, such as"),
    ],
)
def test_what_is_missing(arguments: list[str], message: str) -> None:
    refused(impasto(*arguments), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "gatys"],
            "preset 'gatys' is unknown (did you mean 'gatys-code'?): use quick, good, balanced, best, gatys-paper",
        ),
        (
            ["--style-layers", "relu9_9"],
            "has no layer 'relu9_9'; its layers are conv1_1, relu1_1, conv1_2",
        ),
        (["--content-layers", "relu1_1:x"], "layer 'relu1_1:x': the weight after the colon must be a number"),
        (["--init", "nois"], "init 'nois': neither a picture's file nor one of content, noise"),
        (["--style", "wave.png:0"], "must be a number above 0, got '0'"),
        (["--style", "wave.png:-1"], "must be a number above 0, got '-1'"),
        (["--style", "wave.png:nan"], "must be a number above 0, got 'nan'"),
        (["--style", "wave.png:inf"], "must be a number above 0, got 'inf'"),
        (["--style", "none.png:2"], "none.png: no such file"),
        (["--style-weight", "inf"], "--style-weight is inf, need a finite number"),
        (["--style-scale", "0"], "--style-scale is 0, need a number from 0.1 to 100"),
        (["--averaging", "1"], "--averaging is 1.0, need a number from 0 to below 1"),
        (["--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--backbone", "resnet"], "no backbone and no file is called 'resnet'"),
        (["--backbone-input", "caffe", "--backbone", "photo.png"], "photo.png"),
        (["--max-megapixels", "0.001"], "at most 0.001 are read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense(paint: Run, arguments: list[str], message: str) -> None:
    refused(paint("-o", "out.png", *arguments), message)
    assert not Path("out.png").exists()


@pytest.mark.parametrize(
    "arguments", [["--bogus"], ["--size", "x"], ["--size", "-1"], ["--method", "x"], ["--pool", "x"]]
)
def test_usage_errors_exit_with_2(paint: Run, arguments: list[str]) -> None:
    result = paint("-o", "out.png", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert arguments[0] in result.stderr


def test_an_absent_backbone_says_how_to_get_it(paint: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(folder))
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    (folder / "hub" / "checkpoints" / "vgg19-d01eb7cb.pth").touch()
    result = impasto("photo.png", "-s", "night.png", "-o", "out.png", "--preset", "gatys-paper")
    refused(result, "vgg19 is not here: run `impasto weights fetch vgg19`")
    assert "nearest backbone present, --backbone vgg19-caffe" in result.stderr


def test_a_photo_too_thin(paint: Run, folder: Path) -> None:
    Image.new("RGB", (20_000, 32)).save(folder / "thin.png")
    refused(
        paint("-o", "out.png", photo="thin.png"),
        "thin.png: would be painted at 512x1 px, need at least 32 on the short side: use a --size of 20000 or more",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty (0 bytes)"), (b"hello", "not a picture"), (b"\x89PNG\r\n\x1a\nrest", "damaged or cut short")],
)
@pytest.mark.parametrize("role", ["photo", "style"])
def test_odd_files(paint: Run, folder: Path, content: bytes, message: str, role: str) -> None:
    (folder / "odd.png").write_bytes(content)
    refused(paint("-o", "out.png", **{role: "odd.png"}), f"odd.png: {message}")


# -- pictures -------------------------------------------------------------------------------------------------


def test_a_picture_is_painted_and_told_about(paint: Run, folder: Path) -> None:
    result = paint("-o", "out.png")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "out.png: 40x36 px, 3 steps on tiny in float32 (float32 was asked for)\n"
    assert not np.array_equal(read("out.png").rgb, read("photo.png").rgb)
    assert names(folder) == ["night.png", "out.png", "photo.png", "wave.png"]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ([], (48, 40)),
        (["--size", "40"], (40, 33)),
        (["--size", "96"], (48, 40)),
        (["--size", "60", "--upscale"], (60, 50)),
    ],
)
def test_sizes(paint: Run, arguments: list[str], size: tuple[int, int]) -> None:
    assert paint("-o", "out.png", *arguments, photo="wave.png").exit_code == 0
    got = read("out.png")
    assert (got.width, got.height) == size


def test_several_styles_with_weights(paint: Run) -> None:
    paintings = []
    for i, styles in enumerate((["wave.png"], ["wave.png:9", "night.png"], ["wave.png", "night.png:9"])):
        mixed = [argument for style in styles[1:] for argument in ("-s", style)]
        assert paint("-o", f"{i}.png", "--steps", "8", *mixed, style=styles[0]).exit_code == 0
        paintings.append(read(f"{i}.png").rgb)
    only, mostly, hardly = paintings
    assert 0 < np.abs(mostly - only).mean() < np.abs(hardly - only).mean()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no colons in file names")
def test_a_name_with_a_colon(paint: Run, folder: Path) -> None:
    (folder / "wave.png").rename(folder / "wave:2")
    assert paint("-o", "a.png", style="wave:2").exit_code == 0
    assert paint("-o", "b:3.png", photo="wave:2").exit_code == 0
    assert (folder / "b:3.png").exists()


def test_standard_input_and_output(paint: Run) -> None:
    assert paint("-o", "out.png").exit_code == 0
    result = paint("-o", "-", photo="-", stdin=Path("photo.png").read_bytes())
    assert result.exit_code == 0
    Path("streamed.png").write_bytes(result.stdout_bytes)
    assert np.array_equal(read("streamed.png").rgb, read("out.png").rgb)
    assert result.stderr.startswith("standard output: 40x36 px, 3 steps")
    again = paint("-o", "again.png", style="-:0.5", stdin=Path("night.png").read_bytes())
    assert again.exit_code == 0
    assert np.array_equal(read("again.png").rgb, read("out.png").rgb)


@pytest.mark.parametrize(
    ("arguments", "photo", "message"),
    [
        (["-o", "out.png", "-s", "-"], "-", "standard input, which holds one picture"),
        (["-o", "-", "--run", "run"], "photo.png", "--run needs a file as -o/--output"),
        (["-o", "out.png", "--run", "run", "-s", "-"], "photo.png", "--run needs files"),
        (["-o", "out.png", "--run", "run"], "-", "--run needs files"),
        (["-o", "-", "--save-every", "1"], "photo.png", "--save-every needs -o/--output or --run"),
        (["-o", "-", "--log", "-"], "photo.png", "--log -: give the name of a file that ends in .csv"),
    ],
)
def test_what_a_stream_cannot_do(paint: Run, arguments: list[str], photo: str, message: str) -> None:
    refused(paint(*arguments, photo=photo, stdin=b"x"), message)
    assert not Path("run").exists()


def test_an_empty_standard_input_is_called_so(paint: Run) -> None:
    told = "-: standard input is empty, need a picture; pipe one in or name a file"
    refused(paint("-o", "out.png", photo="-", stdin=b""), told)
    refused(paint("-o", "out.png", "-s", "-", stdin=b""), told)


def test_transparency_and_depth_are_carried(paint: Run) -> None:
    alpha = np.linspace(0, 1, 36 * 40, dtype=np.float32).reshape(36, 40)
    write(Picture(read("photo.png").rgb, alpha, bits=16), "deep.png")
    result = paint("-o", "out.png", photo="deep.png")
    got = read("out.png")
    assert got.bits == 16
    assert got.alpha is not None
    assert np.abs(got.alpha - alpha).max() < 1e-4
    assert result.stderr.count("\n") == 1
    result = paint("-o", "out.jpg", photo="deep.png")
    assert read("out.jpg").alpha is None
    assert "JPEG has no transparency" in result.stderr
    assert "JPEG is written with 8 bits" in result.stderr


def test_quality_and_compression(paint: Run) -> None:
    for name, option, value in (("jpg", "--jpeg-quality", "10"), ("png", "--png-compression", "0")):
        assert paint("-o", f"a.{name}").exit_code == 0
        assert paint("-o", f"b.{name}", option, value).exit_code == 0
    assert Path("b.jpg").stat().st_size < 0.8 * Path("a.jpg").stat().st_size
    assert Path("b.png").stat().st_size > 1.1 * Path("a.png").stat().st_size
    assert np.array_equal(read("a.png").rgb, read("b.png").rgb)


def test_of_several_photos_each_takes_what_its_format_has(paint: Run) -> None:
    Image.open("photo.png").convert("RGB").save("other.jpg")
    for folder, *options in (("plain",), ("asked", "--jpeg-quality", "10", "--png-compression", "0")):
        assert paint("other.jpg", "-o", folder, *options).exit_code == 0
    assert Path("asked/other.jpg").stat().st_size < 0.8 * Path("plain/other.jpg").stat().st_size
    assert Path("asked/photo.png").stat().st_size > 1.1 * Path("plain/photo.png").stat().st_size


def test_how_another_format_is_written_is_refused(paint: Run, no_work: None) -> None:
    quality, compression = ["--jpeg-quality", "10"], ["--png-compression", "0"]
    for output in ("a.png", "a.tif", "-", "folder/"):  # where the photo's own format is PNG
        refused(paint("-o", output, *quality), "--jpeg-quality is for JPEG, WebP, AVIF and HEIC, and ")
    for output in ("a.jpg", "a.webp", "a.avif"):
        refused(paint("-o", output, *compression), "--png-compression is for PNG and TIFF, and ")
        refused(paint("-o", output, *compression, "--dry-run"), "--png-compression is for PNG and TIFF, and ")
    shutil.copy("photo.png", "other.png")
    refused(
        paint("other.png", "-o", "several", *quality), "--jpeg-quality is for JPEG, WebP, AVIF and HEIC, and PNG is"
    )


def test_a_plan_without_an_output_says_nothing_of_its_format(paint: Run) -> None:
    assert paint("--dry-run", "--jpeg-quality", "10").exit_code == 0


# -- what is refused before the work --------------------------------------------------------------------------


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where pictures are read or a step is taken."""

    def worked(*_: Any, **__: Any) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr(OptimizeJob, "read_photo", worked)
    monkeypatch.setattr(Optimization, "__init__", worked)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "old.png"], "old.png: exists already; give another name, or --force to replace it"),
        (["-o", "out.png", "--log", "old.csv"], "old.csv: exists already"),
        (["-o", "out.png", "--timeline", "old.gif"], "old.gif: exists already"),
        (["-o", "out.png", "--loss-plot", "old.png"], "old.png: exists already"),
        (["-o", "photo.png", "--force"], "photo.png: is the input photo.png, which would be lost"),
        (["-o", "night.png", "--force"], "night.png: is the input night.png"),
        (["-o", "link.png", "--force"], "link.png: is the input photo.png"),
        (["-o", "wave.png", "--force", "--init", "wave.png"], "wave.png: is the input wave.png"),
        (["-o", "out.png", "--loss-plot", "photo.png", "--force"], "photo.png: is the input photo.png"),
        (["-o", "out.txt"], "out.txt: pictures cannot be written as .txt"),
        (["-o", "none/out.png"], "does not exist; create it first"),
        (["-o", "out.png", "--loss-plot", "out.png"], "--loss-plot out.png: another option writes this file already"),
        (["-o", "out.png", "--loss-plot", "./x/../out.png"], "another option writes this file already"),
        (["-o", "out.png", "--timeline", "film.mp4"], "--timeline film.mp4: give the name of a file that ends in .gif"),
        (["-o", "out.png", "--loss-plot", "plot"], "ends in .png or .svg or .pdf or .jpg"),
        (["-o", "out.png", "--log", "none/log.csv"], "does not exist; create it first"),
        (
            ["-o", "out.png", "--run", "old"],
            "old: holds a run already; go on with --resume old or choose another folder",
        ),
        (["-o", "out.png", "--run", "old.csv"], "old.csv: is not a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_before_the_work(paint: Run, folder: Path, arguments: list[str], message: str) -> None:
    for name in ("old.png", "old.csv", "old.gif"):
        (folder / name).write_bytes(b"old")
    (folder / "x").mkdir()
    (folder / "old").mkdir()
    (folder / "old" / "run.json").touch()
    (folder / "link.png").symlink_to("photo.png")
    before = sorted(folder.rglob("*"))
    refused(paint(*arguments), message)
    assert sorted(folder.rglob("*")) == before
    assert (folder / "old.png").read_bytes() == b"old"


def test_force_replaces_what_is_there(paint: Run, folder: Path) -> None:
    old = ["out.png", "log.csv", "film.gif", "plot.png", "out-000002.png"]
    for name in old:
        (folder / name).write_bytes(b"old")
    extras = ["--log", "log.csv", "--timeline", "film.gif", "--loss-plot", "plot.png", "--save-every", "2"]
    assert paint("-o", "out.png", *extras, "--force").exit_code == 0
    assert [name for name in old if (folder / name).read_bytes() == b"old"] == []


# -- files about the painting ---------------------------------------------------------------------------------


def test_save_every_keeps_pictures_beside_the_output(paint: Run, folder: Path) -> None:
    assert paint("-o", "out.png", "--steps", "5", "--save-every", "2").exit_code == 0
    assert sorted(path.name for path in folder.glob("out*")) == ["out-000002.png", "out-000004.png", "out.png"]
    assert paint("-o", "two.png", "--steps", "2", "--save-every", "2").exit_code == 0
    assert np.array_equal(read("two.png").rgb, read("two-000002.png").rgb)


def test_save_every_leaves_files_alone(paint: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "out-000004.png").write_bytes(b"old")
    monkeypatch.setattr(Optimization, "run", lambda _: pytest.fail("the work had begun"))
    refused(paint("-o", "out.png", "--steps", "5", "--save-every", "2"), "out-000004.png: exists already")
    assert sorted(path.name for path in folder.glob("out*")) == ["out-000004.png"]


def test_save_every_with_a_run_keeps_them_there(paint: Run, folder: Path) -> None:
    assert paint("-o", "out.png", "--steps", "5", "--save-every", "2", "--run", "run").exit_code == 0
    assert names(folder / "run") == ["frames", "log.csv", "run.json", "state.pt"]
    assert names(folder / "run" / "frames") == ["000002.jpg", "000004.jpg", "000005.jpg"]
    assert [path.name for path in folder.glob("out*")] == ["out.png"]
    assert np.abs(read("run/frames/000005.jpg").rgb - read("out.png").rgb).mean() < 0.05


@pytest.mark.parametrize("way", [[], ["--parameterisation", "pixels"]])
def test_the_timeline_is_a_film_of_one_size(paint: Run, way: list[str]) -> None:
    assert paint("-o", "out.png", "--steps", "6", "--start-size", "20", "--timeline", "film.gif", *way).exit_code == 0
    with Image.open("film.gif") as film:
        assert (film.format, film.size, film.is_animated, film.n_frames) == ("GIF", (40, 36), True, 6)
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.array(film.convert("RGB"), np.float32))
    assert {frame.shape for frame in frames} == {(36, 40, 3)}
    painted = read("out.png").integers(8).astype(np.float32)
    assert np.abs(frames[-1] - painted).mean() < np.abs(frames[0] - painted).mean()


def test_the_loss_plot_is_a_picture(paint: Run) -> None:
    assert paint("-o", "out.png", "--loss-plot", "plot.png").exit_code == 0
    assert min(read("plot.png").rgb.shape[:2]) > 300


def table(path: str) -> list[dict[str, float]]:
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(handle)]


def test_the_log_is_a_table_with_a_row_for_every_step(paint: Run) -> None:
    assert paint("-o", "out.png", "--steps", "7", "--start-size", "20", "--log", "log.csv").exit_code == 0
    rows = table("log.csv")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert (rows[0]["width"], rows[-1]["width"]) == (20, 40)
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    for row in rows:
        assert row["total"] == pytest.approx(row["content"] + row["style"] + row["tv"] + row["range"], rel=1e-5)


# -- divergence -----------------------------------------------------------------------------------------------


def test_a_painting_that_diverges_keeps_its_last_good_picture(
    paint: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 4 on everything goes wrong."""
    real = Optimization._move
    images = []

    def move(self: Optimization, objective: Any) -> Any:
        terms = real(self, objective)
        if self.step >= 4:
            with torch.no_grad():
                self.canvas.parameters[0].fill_(torch.nan)
            return terms._replace(total=terms.total * torch.nan)
        images.append(to_array(self.image()))
        return terms

    monkeypatch.setattr(Optimization, "_move", move)
    monkeypatch.setattr("impasto.optimize.loop.REMEMBER_EVERY", 1)
    result = paint("-o", "out.png", "--steps", "9", "--log", "log.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    *notes, error = result.stderr.splitlines()
    assert error.startswith("error: the painting diverged at step 4")
    assert notes[-1] == "the picture of step 3, the last good one, was kept"
    assert np.abs(read("out.png").rgb - images[2]).max() < 0.003
    assert [row["step"] for row in table("log.csv")] == [1, 2, 3]


def test_nothing_is_kept_of_a_painting_that_diverges_at_once(
    paint: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(_: Optimization) -> Iterator[Any]:
        raise DivergenceError("diverged")
        yield

    monkeypatch.setattr(Optimization, "run", diverge)
    refused(paint("-o", "out.png", "--log", "log.csv"), "diverged")
    assert names(folder) == ["night.png", "photo.png", "wave.png"]


def test_notes_of_the_painting_are_told(paint: Run) -> None:
    result = paint("-o", "out.png", "--preset", "neural-style", "--steps", "2")
    assert result.exit_code == 0, result.stderr
    assert "weights are rescaled by layer, from the original Caffe VGG to the activations of tiny\n" in result.stderr


# -- names that are empty, folders, pipes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["photo.png", "-s", "great-wave", "-o", ""], "where should the painting go?"),
        (["", "-s", "great-wave", "-o", "out.png"], "the name of a picture is empty"),
        (["", "photo.png", "-s", "great-wave", "-o", "out"], "the name of a photo is empty"),
        (["photo.png", "-s", "", "-o", "out.png"], "style '': no picture and no style of the gallery"),
    ],
)
def test_empty_names_are_refused(arguments: list[str], told: str) -> None:
    before = sorted(Path.cwd().iterdir())
    result = impasto(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize("there", [True, False])
def test_one_photo_goes_into_a_folder(there: bool) -> None:
    if there:
        Path("painted").mkdir()
    result = impasto("photo.png", "-s", "great-wave", "--size", "48", "-o", "painted" if there else "painted/")
    assert result.exit_code == 0, result.stderr
    assert list(Path("painted").iterdir()) == [Path("painted/photo.png")]


def test_a_dry_run_makes_no_folder() -> None:
    result = impasto("photo.png", "-s", "great-wave", "-o", "painted/", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert not Path("painted").exists()


def test_standard_input_has_no_name_in_a_folder() -> None:
    result = impasto("-", "-s", "great-wave", "-o", "painted/")
    assert result.exit_code == 2
    assert "painted/ is a folder, and standard input has no name: give -o/--output a file name" in result.stderr
    assert not Path("painted").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_photo_comes_through_a_pipe_that_has_a_name() -> None:
    os.mkfifo("pipe")
    data = Path("photo.png").read_bytes()
    writer = Thread(target=lambda: Path("pipe").write_bytes(data))
    writer.start()
    result = impasto("pipe", "-s", "great-wave", "--size", "48", "-o", "out.png")
    writer.join()
    assert result.exit_code == 0, result.stderr
    with Image.open("out.png") as found:
        assert found.size == (40, 36)


@pytest.mark.parametrize("option", ["-s", "--mask"])
def test_a_style_and_a_mask_for_a_network_come_from_standard_input(option: str) -> None:
    style = [] if option == "-s" else ["-s", "night.png"]
    given = [*style, "--size", "36"]
    assert impasto("photo.png", *given, option, "wave.png", "-o", "file.png").exit_code == 0
    result = impasto("photo.png", *given, option, "-", "-o", "stream.png", stdin=Path("wave.png").read_bytes())
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(read("stream.png").rgb, read("file.png").rgb)
    many = impasto("photo.png", "night.png", *given, option, "-", "-o", "out", stdin=Path("wave.png").read_bytes())
    assert many.exit_code == 0, many.stderr
    assert np.array_equal(read("out/photo.png").rgb, read("file.png").rgb)


# -- several photos, and where they go ------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["-", "one.png", "one.JPEG", "one.gif", "new/one.tif"])
@pytest.mark.parametrize("photos", [["photo.png", "wave.png"], ["folder"], ["p*.png"]])
def test_several_photos_need_a_folder(output: str, photos: list[str], folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder" / "a.png").write_bytes((folder / "photo.png").read_bytes())
    before = names(folder)
    refused(impasto(*photos, "-s", "great-wave", "-o", output), "several photos need a folder as -o/--output, got")
    assert names(folder) == before


def test_a_folder_with_the_name_of_a_picture_is_one_if_it_is_there_or_meant(folder: Path) -> None:
    (folder / "there.png").mkdir()
    for output in ("there.png", "new.png/"):
        assert impasto("photo.png", "wave.png", "-s", "great-wave", "--size", "36", "-o", output).exit_code == 0
        assert names(folder / output) == ["photo.png", "wave.png"]


def test_a_folder_called_dash_is_not_standard_input(folder: Path) -> None:
    (folder / "-").mkdir()
    photo = (folder / "photo.png").read_bytes()
    result = impasto("-", "-s", "great-wave", "--size", "36", "-o", "-", stdin=photo)
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes.startswith(b"\x89PNG")
    assert names(folder / "-") == []


def test_names_that_clash_stop_none_of_the_others(folder: Path) -> None:
    for name in ("a/anim.gif", "a/anim.png", "a/one.bmp", "a/two.bmp", "a/two.gif", "b/anim.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.open("photo.png").save(folder / name)
    given = ["a", "b", "a/anim.png", "-s", "great-wave", "--size", "36", "-o", "out"]
    result = impasto(*given)
    assert result.exit_code == 1
    assert names(folder / "out") == ["anim.gif.png", "anim.png", "one.png", "two.bmp.png", "two.gif.png"]
    assert "error: b/anim.png: would become out/anim.png, as a/anim.png does: paint it into another folder" in (
        result.stderr.splitlines()
    )
    assert "5 of 6 photos are painted" in result.stderr
    assert "5 of 6 photos are painted" in impasto(*given, "--force").stderr
    assert len(names(folder / "out")) == 5


# -- sentences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-dash.jpg", "-zoo", "--dash.jpg"])
def test_a_file_that_begins_with_a_dash(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / "photo.png").read_bytes())
    told = f"impasto stylize has no option {name}: if that is a file, write ./{name}"
    refused(impasto(name, "-s", "great-wave", "-o", "x.png"), told)
    assert impasto(f"./{name}", "-s", "great-wave", "--size", "36", "-o", "x.png").exit_code == 0


@pytest.mark.parametrize("amount", ["500", "foo", "2000000000"])
def test_memory_has_its_unit(amount: str) -> None:
    told = f"--max-memory is '{amount}': write a number with its unit, such as 600MB"
    refused(impasto("photo.png", "-s", "great-wave", "-o", "x.png", "--max-memory", amount), told)
