"""Runs from Python: interrupted and resumed they give the same picture; folders of earlier versions too."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import impasto
from impasto.errors import DataError, DivergenceError, ImageError, ImpastoError, OptionError, OutputError
from impasto.export.web import export_web
from impasto.files import sha256
from impasto.imaging import check_output
from impasto.networks.shipped import find_model
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import preset
from impasto.stylizer.engine import Engine, default_engine
from impasto.stylizer.job import Output, Progress
from impasto.stylizer.recorder import Recorder, Records, begin_run, resume_run
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.run_description import describe_file, describe_settings
from impasto.stylizer.run_folder import RunFolder
from impasto.training.loop import train
from impasto.training.settings import JohnsonSettings

pytestmark = pytest.mark.usefixtures("one_thread", "folder")


@pytest.fixture
def few(tiny_backbone: Path) -> dict[str, Any]:
    """An optimisation of six steps at two sizes, on the processor, which adds in the same order every time."""
    backbone = {"backbone": str(tiny_backbone), "backbone_input": "none", "precision": "float32", "device": "cpu"}
    layers = {"content_layers": "relu1_2", "style_layers": "relu1_1,relu2_1"}
    return backbone | layers | {"start_size": 20, "steps": 6, "style": ["night.png", "wave.png:0.5"], "strength": 0.8}


STRIPS: dict[str, Any] = {
    "style": "great-wave",
    "tile": 16,
    "precision": "float32",
    "device": "cpu",
    "mask": "wave.png",
}


@pytest.fixture
def tall() -> str:
    pytest.importorskip("pyvips", reason="the extra huge (pyvips) is not installed")
    Image.open("photo.png").resize((32, 160)).save("tall.png")
    return "tall.png"


def interrupted_at(count: int) -> Any:
    """A callback that is stopped as Ctrl-C stops it, after so many pieces of the painting."""
    told: list[Progress] = []

    def progress(record: Progress) -> None:
        if record.phase == "painting" and record.done:
            told.append(record)
        if len(told) == count:
            raise KeyboardInterrupt

    return progress


def same(a: Image.Image, b: Image.Image) -> bool:
    return (a.mode, a.size, a.tobytes()) == (b.mode, b.size, b.tobytes())


# -- optimisation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 3, 5])
@pytest.mark.parametrize("more", [{}, {"init": "noise"}, {"init": "wave.png", "mask": "wave.png"}, {"quality": "good"}])
def test_an_optimisation_goes_on_bit_for_bit(few: dict[str, Any], more: dict[str, Any], at: int) -> None:
    options = few | more
    whole = impasto.stylize("photo.png", **options)
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", **options, run="runs/one", progress=interrupted_at(at))
    assert not Path("runs/one/painting.png").exists()
    records: list[Progress] = []
    resumed = impasto.resume("runs/one", progress=records.append)
    assert same(resumed, whole)
    steps = [record.done for record in records if record.phase == "painting"]
    assert steps[-1] == 6
    assert len(steps) == 6 - at
    assert same(Image.open("runs/one/painting.png"), whole)
    assert len(Path("runs/one/log.csv").read_text().splitlines()) == 1 + 6


def test_a_run_from_another_folder_to_another_place(few: dict[str, Any], folder: Path, monkeypatch: Any) -> None:
    whole = impasto.stylize("photo.png", **few)
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", **few, run="run", output="out.png", progress=interrupted_at(2))
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert same(impasto.resume("../run", output="other.png"), whole)
    assert Path("other.png").exists()
    assert not (folder / "out.png").exists()
    assert same(impasto.resume("../run"), whole)  # finished: written again
    assert (folder / "out.png").exists()


def test_a_generator_that_is_closed_keeps_what_is_done(few: dict[str, Any]) -> None:
    whole = impasto.stylize("photo.png", **few)
    recorder = begin_run(Engine(), "photo.png", StylizeRequest.of(**few), Output("out.png"), RunFolder("run"))
    with recorder.job, closing(recorder.run()) as records:
        for record in records:
            if record.done == 4:
                break
    state = RunFolder("run").state()
    assert state is not None
    assert state["step"] == 4
    assert same(impasto.resume("run"), whole)


def test_an_error_that_no_step_can_stand_keeps_the_last_state(few: dict[str, Any], monkeypatch: Any) -> None:
    real = Optimization._move

    def move(self: Optimization, objective: Any) -> Any:
        if self.step == 4:
            raise DivergenceError("the painting diverged")
        return real(self, objective)

    with monkeypatch.context() as patch:
        patch.setattr(Optimization, "_move", move)
        recorder = begin_run(
            Engine(),
            "photo.png",
            StylizeRequest.of(**few),
            Output("out.png"),
            RunFolder("run"),
            Records(log=Path("a.csv")),
        )
        with recorder.job, pytest.raises(DivergenceError):
            list(recorder.run())
    assert Path("out.png").exists()  # the last good one
    assert len(Path("a.csv").read_text().splitlines()) == 1 + 4


def test_a_run_goes_on_into_another_format(few: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", **few, run="run", output="a.jpg", jpeg_quality=5, progress=interrupted_at(2))
    impasto.resume("run", output="b.png")  # which has no quality
    assert Path("b.png").exists()


# -- networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 15, 28])
def test_a_network_goes_on_by_strips_bit_for_bit(tall: str, at: int) -> None:
    whole = impasto.stylize(tall, **STRIPS, run="whole", output="whole.tif")
    assert not Path("whole").exists()  # nothing is left to resume
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize(tall, **STRIPS, run="run", output="out.tif", progress=interrupted_at(at))
    assert not Path("out.tif").exists()
    records: list[Progress] = []
    assert same(impasto.resume("run", progress=records.append), whole)
    assert Path("out.tif").read_bytes() == Path("whole.tif").read_bytes()  # its recipe as well
    assert not Path("run").exists()
    if at == 28:
        assert records[0].done > 0.15


def test_a_network_is_refused_what_it_cannot_resume(tall: str) -> None:
    with pytest.raises(OptionError, match=r"a `mask` in memory is not for painting by strips, and only strips can"):
        impasto.stylize(tall, "great-wave", run="run", mask=[np.zeros((9, 9), np.uint8)], output="out.tif")
    assert not Path("run").exists()


# -- what is refused ------------------------------------------------------------------------------------------


def test_what_goes_wrong_at_the_beginning_leaves_no_folder(few: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        impasto.stylize("gone.png", **few, run="a/run")
    assert not Path("a/run").exists()
    with Image.open("photo.png") as image, pytest.raises(OptionError, match="`run` needs the photo's file"):
        impasto.stylize(image, **few, run="run")
    with Image.open("night.png") as image, pytest.raises(OptionError, match="a picture in memory"):
        impasto.stylize("photo.png", **few | {"style": image}, run="run")
    assert not Path("run").exists()
    Path("mine").mkdir()
    with pytest.raises(ImageError):
        impasto.stylize("gone.png", **few, run="mine")
    assert Path("mine").is_dir()


def test_what_cannot_be_resumed(few: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^none: no such folder; a run by a network removes its own "):
        impasto.resume("none")
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", **few, run="run", progress=interrupted_at(2))
    with pytest.raises(DataError, match="holds a run already"):
        impasto.stylize("photo.png", **few, run="run")
    Path("out.png").touch()
    with pytest.raises(OutputError, match="exists already"):
        impasto.resume("run", output="out.png")
    Image.open("wave.png").save("night.png")
    with pytest.raises(DataError, match=r"night\.png: has changed since the run began"):
        impasto.resume("run")
    Path("night.png").unlink()
    with pytest.raises(DataError, match=r"night\.png: is not there any more"):
        impasto.resume("run")


def test_records_are_about_steps() -> None:
    job = default_engine().job("photo.png", StylizeRequest.of(style="great-wave"), output=Output("out.png"))
    with job, pytest.raises(OptionError, match="`timeline` is about steps, and a network paints in one pass"):
        Recorder(job, Records(timeline=Path("a.gif")))


# -- folders of the version before ----------------------------------------------------------------------------


def of_version_1(folder: Path, tiny_backbone: Path) -> dict[str, Any]:
    """run.json of an optimisation as version 0.1 wrote it."""
    settings = preset(
        "balanced",
        backbone=str(tiny_backbone),
        content_layers={"relu1_2": 1.0},
        style_layers={"relu1_1": 1.0, "relu2_1": 1.0},
        start=20,
        total_steps=6,
    )
    return {
        "photo": describe_file(folder / "photo.png"),
        "styles": [
            {**describe_file(folder / "night.png"), "weight": 1.0},
            {**describe_file(folder / "wave.png"), "weight": 0.5},
        ],
        "beginning": None,
        "mask": describe_file(folder / "wave.png"),
        "backbone": describe_file(tiny_backbone),
        "settings": describe_settings(settings),
        "how": {
            "backbone_input": "none",
            "device": "cpu",
            "precision": "float32",
            "upscale": False,
            "max_megapixels": 200.0,
            "strength": 0.8,
            "max_memory": None,
        },
        "keep": {"save_every": 2, "quality": 92, "compression": 6},
        "output": str(folder / "old.png"),
    }


def test_an_optimisation_of_the_version_before_goes_on(few: dict[str, Any], folder: Path, tiny_backbone: Path) -> None:
    options = few | {"mask": "wave.png"}
    whole = impasto.stylize("photo.png", **options)
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize("photo.png", **options, run="run", progress=interrupted_at(3))
    old = of_version_1(folder, tiny_backbone)
    (folder / "run" / "run.json").write_text(json.dumps(old), encoding="utf-8")
    records: list[Progress] = []
    assert same(impasto.resume("run", progress=records.append), whole)
    assert [record.done for record in records if record.losses] == [4, 5, 6]
    assert same(Image.open("old.png"), whole)
    assert (folder / "run" / "frames" / "000006.jpg").exists()


def test_a_network_of_the_version_before_goes_on(tall: str, folder: Path) -> None:
    whole = impasto.stylize(tall, **STRIPS, run="whole", output="whole.tif")
    with pytest.raises(KeyboardInterrupt):
        impasto.stylize(tall, **STRIPS, run="run", output="out.tif", progress=interrupted_at(28))
    files = [tall, find_model("gallery"), "wave.png"]
    look = {
        "model": "gallery",
        "style": ["great-wave"],
        "size": None,
        "upscale": False,
        "keep_colors": False,
        "strength": 1.0,
        "alpha": 1.0,
        "style_scale": 1.0,
        "mask": [str(folder / "wave.png")],
        "device": "cpu",
        "precision": "float32",
        "max_megapixels": 200.0,
        "max_memory": None,
        "tile": 16,
        "statistics": "exact",
    }
    old = {
        "files": [{"path": str(Path(path).resolve()), "sha256": sha256(Path(path))} for path in files],
        "photo": str(folder / tall),
        "look": look,
        "keep": {"save_every": None, "quality": 92, "compression": 6},
        "output": str(folder / "old.tif"),
        "force": False,
    }
    (folder / "run" / "run.json").write_text(json.dumps(old), encoding="utf-8")
    assert same(impasto.resume("run"), whole)
    assert np.array_equal(tifffile.imread("old.tif"), tifffile.imread("whole.tif"))


@pytest.mark.parametrize("change", [{"how": {"brushes": 3}}, {"styles": 3}, {"settings": {}}, {"keep": {}}])
def test_a_damaged_folder_of_the_version_before(folder: Path, tiny_backbone: Path, change: dict[str, Any]) -> None:
    (folder / "run.json").write_text(json.dumps(of_version_1(folder, tiny_backbone) | change), encoding="utf-8")
    with pytest.raises(DataError, match=r"damaged|begun by another version"):
        resume_run(Engine(), RunFolder(folder))


def test_a_place_without_a_name_is_refused() -> None:
    for options in ({"run": ""}, {"output": ""}, {"run": "run", "output": ""}):
        with pytest.raises(ImpastoError, match=r"empty|no suffix"):
            impasto.stylize("photo.png", "great-wave", **options)
    with pytest.raises(OptionError, match="`run` is empty, need a path"):
        impasto.resume("")
    with pytest.raises(OptionError, match="`out` is empty, need a path"):
        train(JohnsonSettings(photos=("photos",), style=("night.png",)), "")
    with pytest.raises(OptionError, match="`output` is empty, need a path"):
        export_web("")
    with pytest.raises(OutputError, match="the name of the output is empty"):
        check_output("", format="png")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"style": "great-wave", "max_memory": -1}, "max_memory"),
        ({"style": "great-wave", "max_memory": 5}, "max_memory"),
        ({"style": "great-wave:0"}, "style"),
        ({"style": [("great-wave", 0)]}, "style"),
        ({"style": ["great-wave", "night.png"]}, "style"),
        ({"style": "great-wave", "device": "banana", "engine": "torch"}, "device"),
        ({"style": "night.png", "preset": "quicker"}, "preset"),
        ({"style": "great-wave", "size": 10**400, "upscale": True}, "size"),
    ],
)
def test_an_error_names_the_option_that_is_to_be_changed(options: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as told:
        impasto.stylize("photo.png", **options)
    assert told.value.option == option
