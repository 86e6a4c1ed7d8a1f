"""``impasto stylize`` by strips: when photos do not fit, runs that are stopped and resumed, odd sizes, dry runs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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

pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
pytestmark = pytest.mark.usefixtures("one_thread", "network")
MODEL = ("--model", "net", "--precision", "float32")
runner = CliRunner()


@pytest.fixture
def network(folder: Path) -> None:
    torch.manual_seed(0)
    brisk = Brisk(BriskConfig(("a",), channels=8, blocks=1, detail=8))
    for norm in brisk.norms:
        torch.nn.init.normal_(norm.beta)
    save_model(folder / "net", brisk, recipe={}, licence="MIT")


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits into memory."""
    monkeypatch.setattr("impasto.stylizer.strip_job.fits_in_memory", lambda *_, **__: False)


def stylize(*arguments: str, code: int = 0) -> str:
    done = runner.invoke(app, ["stylize", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def test_what_does_not_fit_is_streamed(request: pytest.FixtureRequest) -> None:
    stylize("photo.png", *MODEL, "-o", "whole.tif")
    request.getfixturevalue("streaming")
    told = stylize("photo.png", *MODEL, "-o", "strips.tif", "--tile", "16")
    assert "in bands of 16 rows" in told
    assert "strips.tif: 40x36 px, by net" in told
    assert np.abs(pixels("strips.tif") - pixels("whole.tif")).max() <= 1
    assert "exists already" in stylize("photo.png", *MODEL, "-o", "strips.tif", code=2)


@pytest.mark.usefixtures("streaming")
def test_several_photos_are_streamed_too() -> None:
    stylize("night.png", "wave.png", *MODEL, "-o", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["night.png", "wave.png"]


@pytest.mark.usefixtures("streaming")
def test_what_does_not_go_by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "out.webp: only .tif, .png and .jpg" in stylize("photo.png", *MODEL, "-o", "out.webp", code=2)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    told = stylize("photo.png", *MODEL, "-o", "out.png", code=2)
    assert "pip install 'impasto[huge]'" in told
    assert len(told.strip().splitlines()) == 1


# -- odd sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_strips", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1, 20_000), (1, 1), (20_000, 1)])
def test_too_thin_a_photo_is_one_sentence(request: Any, width: int, height: int, by_strips: bool) -> None:
    if by_strips:
        request.getfixturevalue("streaming")
    Image.new("L", (width, height), 128).save("thin.png")
    told = stylize("thin.png", *MODEL, "-o", "out.png", code=2)
    assert told.strip().endswith(f"thin.png: {width}x{height} px, need at least 32x32")
    assert not Path("out.png").exists()


@pytest.mark.parametrize("by_strips", [False, True])
@pytest.mark.parametrize(("width", "height"), [(32, 20_000), (20_000, 32)])
@pytest.mark.parametrize("grey", [True, False])
def test_a_very_long_photo_is_painted(request: Any, width: int, height: int, grey: bool, by_strips: bool) -> None:
    if by_strips:
        request.getfixturevalue("streaming")
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8), np.uint8)
    Image.fromarray(noise if not grey else np.full_like(noise, 128)).resize((width, height)).save("long.png")
    stylize("long.png", *MODEL, "-o", "out.png", "--ground", "0")
    out = pixels("out.png")
    assert out.shape == (height, width, 3)
    assert (out.std((0, 1)) > 1).all() != grey


# -- dry runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_a_dry_run_reads_the_header_alone(suffix: str) -> None:
    """What follows the header is not there at all."""
    Image.open("photo.png").resize((400, 300)).save(f"photo.{suffix}")
    data = Path(f"photo.{suffix}").read_bytes()
    head = data if suffix == "tif" else data[:1000]  # a TIFF may have its header at its end
    Path(f"head.{suffix}").write_bytes(head)
    told = stylize(f"head.{suffix}", *MODEL, "--dry-run")
    assert "400x300 px at once: about" in told
    assert "B of memory, about" in told
    assert "in bands of 16 rows" in stylize(f"head.{suffix}", *MODEL, "--dry-run", "--tile", "16")
    assert "200x150 px" in stylize(f"head.{suffix}", *MODEL, "--dry-run", "--size", "200")


@pytest.mark.usefixtures("streaming")
def test_a_dry_run_tells_of_strips() -> None:
    before = sorted(Path().iterdir())
    told = stylize("photo.png", *MODEL, "--dry-run", "--max-memory", "4GB")
    assert told.startswith("by strips: 40x36 px in bands of")
    assert ", about 1 s" in told
    stylize("photo.png", *MODEL, "--dry-run", "--run", "run", "-o", "out.png")
    assert sorted(Path().iterdir()) == before


# -- stopped and resumed --------------------------------------------------------------------------------------


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ctrl-C after so many records."""

    def after(count: int) -> None:
        @contextmanager
        def bar(_counts: str) -> Iterator[Any]:
            left = count

            def show(*_: object) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt

            yield show

        monkeypatch.setattr("impasto.cli.painting.bar", bar)

    return after


def begin(*options: str, code: int = 130) -> str:
    Image.open("photo.png").resize((36, 150)).save("tall.png")
    return stylize("tall.png", *MODEL, "--tile", "16", "-o", "out.tif", "--run", "run", *options, code=code)


def test_a_run_goes_on_where_it_stopped(stopping: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begin(code=0)
    expected = Path("out.tif").read_bytes()
    assert not Path("run").exists()
    Path("out.tif").unlink()
    stopping(20)
    told = begin("--mask", "night.png", "--strength", "1")
    assert re.search(r"^stopped, \d+% is done\nto go on: impasto stylize --resume run$", told, re.MULTILINE)
    assert "holds a run already" in begin(code=2)
    stopping(20)
    stylize("--resume", "run", code=130)
    stopping(10**6)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    stylize("--resume", "../run", "-o", "other.tif")
    assert Path("other.tif").exists()
    monkeypatch.chdir(tmp_path)
    assert "run: no such folder" in stylize("--resume", "run", code=2)
    stopping(30)
    begin()
    stopping(10**6)
    assert "out.tif: 36x150 px, by" in stylize("--resume", "run")
    assert Path("out.tif").read_bytes() == expected
    assert not Path("run").exists()


def test_a_changed_photo_network_or_description_ends_a_run(stopping: Any) -> None:
    stopping(5)
    begin()
    for name in ("tall.png", "net"):
        before = Path(name).read_bytes()
        Path(name).write_bytes(before + b"\0")
        assert f"{name}: has changed since the run began; start a new run" in stylize("--resume", "run", code=2)
        Path(name).unlink()
        assert f"{name}: is not there any more" in stylize("--resume", "run", code=2)
        Path(name).write_bytes(before)
    assert "leave out --tile" in stylize("--resume", "run", "--tile", "32", code=2)
    assert "--log is about steps" in stylize("--resume", "run", "--log", "log.csv", code=2)
    Path("out.tif").write_bytes(b"of somebody else")
    assert "out.tif: exists already" in stylize("--resume", "run", code=2)
    text = Path("run/run.json").read_text()
    Path("run/run.json").write_text(json.dumps(json.loads(text) | {"request": {}}))
    assert "the description of the run is damaged" in stylize("--resume", "run", code=2)


def test_what_cannot_be_resumed_makes_no_folder() -> None:
    assert "only strips can be resumed" in begin("--mask", "night.png", "--mask", "wave.png", code=2)
    assert not Path("run").exists()
