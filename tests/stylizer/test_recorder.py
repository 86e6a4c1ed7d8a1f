"""What a run leaves behind: log, plot, film, and the folder it is resumed from."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import pickle
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from impasto.errors import DataError, OutputError
from impasto.imaging import read
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import PRESETS, preset
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output, Progress
from impasto.stylizer.optimize_job import OptimizeJob
from impasto.stylizer.recorder import Recorder, begin_run, resume_run
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.run_description import (
    RunDescription,
    describe_file,
    describe_settings,
    same_file,
    stored_settings,
)
from impasto.stylizer.run_folder import RunFolder
from impasto.stylizer.run_log import Log, Timeline, plot_losses

pytestmark = pytest.mark.usefixtures("one_thread", "folder")

LOSSES = {"total": 2.5, "content": 0.5, "style": 2.0, "tv": 0.0, "range": 0.0}


def record(step: int, steps: int = 10, *, total: float = 2.5, scale: tuple[int, int] = (36, 40)) -> Progress:
    losses = {**LOSSES, "total": total}
    return Progress("painting", step, steps, seconds=step / 8, size=scale, losses=losses)


def log_of(*records: Progress) -> Log:
    log = Log()
    for one in records:
        log.add(one)
    return log


@pytest.fixture
def painting(tiny_backbone: Path) -> Optimization:
    settings = preset(
        backbone=str(tiny_backbone),
        content_layers={"relu1_2": 1.0},
        style_layers={"relu1_1": 1.0},
        start=20,
        total_steps=4,
    )
    request = StylizeRequest.of(style="night.png", backbone_input="none", precision="float32")
    job = OptimizeJob(Engine(), "photo.png", request, settings)
    list(job.prepare(1 << 30))
    assert job.optimization is not None
    return job.optimization


# -- log and plot ---------------------------------------------------------------------------------------------


def test_the_log_is_a_table(folder: Path) -> None:
    log_of(record(1), record(2, total=1.25)).write(folder / "log.csv")
    with (folder / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert rows[0] == {
        "step": "1",
        "height": "36",
        "width": "40",
        "total": "2.5",
        "content": "0.5",
        "style": "2.0",
        "tv": "0.0",
        "range": "0.0",
        "written": "",  # is known of some steps alone
        "seen_by": "",  # where two networks take turns
        "seconds": "0.125",
    }
    assert [row["total"] for row in rows] == ["2.5", "1.25"]


def test_a_log_read_and_written_is_the_same(folder: Path) -> None:
    log_of(record(1), replace(record(2), seen_by="one"), replace(record(3), seen_by="two")).write(folder / "a.csv")
    log = Log()
    log.read(folder / "a.csv", up_to=3)
    assert [row.get("seen_by") for row in log.rows] == [None, "one", "two"]
    log.write(folder / "b.csv")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_a_log_goes_on_where_the_state_is(folder: Path) -> None:
    log_of(*map(record, range(1, 6))).write(folder / "log.csv")
    log = Log()
    log.read(folder / "log.csv", up_to=3)
    log.add(record(4))
    assert [row["step"] for row in log.rows] == [1, 2, 3, 4]
    assert [row["seconds"] for row in log.rows] == [1 / 8, 2 / 8, 3 / 8, 3 / 8 + 4 / 8]


def test_steps_taken_again_replace_the_first_try() -> None:
    log = log_of(*map(record, [1, 2, 3, 4]), record(3, total=1.0), record(4))
    assert [row["step"] for row in log.rows] == [1, 2, 3, 4]
    assert log.rows[2]["total"] == 1.0


HEADER = b"step,height,width,total,content,style,tv,range,seconds\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"step,total\n1,2\n",
        HEADER + b"1,36,40,2.5\n",
        HEADER + b"1,36,40,much,0,0,0,0,0\n",
        HEADER + b"1.5,36,40,2.5,0,0,0,0,0\n",
        HEADER + b"1" * 200_000,
    ],
)
def test_a_damaged_log(folder: Path, content: bytes) -> None:
    (folder / "log.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"log\.csv: the log cannot be read .*; delete it to go on without"):
        Log().read(folder / "log.csv", up_to=9)


def test_networks_that_see_in_turns_have_lines_of_their_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[float]] = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.update(lines_of(figure)))
    seen = [replace(record(i, total=float(i)), seen_by="one" if i % 2 else "two") for i in range(1, 6)]
    plot_losses(log_of(*seen).rows, folder / "losses.png")
    assert {name: values for name, values in drawn.items() if name.startswith("total")} == {
        "total, one": [1.0, 3.0, 5.0],
        "total, two": [2.0, 4.0],
    }
    drawn.clear()
    plot_losses(log_of(record(1, total=1.0), record(2, total=2.0)).rows, folder / "losses.png")
    assert drawn["total"] == [1.0, 2.0]


def lines_of(figure: Figure) -> dict[str, list[float]]:
    return {str(line.get_label()): [float(value) for value in line.get_ydata()] for line in figure.axes[0].lines}


@pytest.mark.parametrize("count", [1, 5])
def test_the_plot_is_a_picture(folder: Path, count: int) -> None:
    rows = log_of(*(record(i, scale=(18, 20) if i < 3 else (36, 40)) for i in range(1, count + 1))).rows
    plot_losses(rows, folder / "losses.png")
    picture = read("losses.png")
    assert min(picture.rgb.shape[:2]) > 300
    assert picture.rgb.std() > 0.05
    plot_losses(rows, folder / "losses.svg")
    assert b"<svg" in (folder / "losses.svg").read_bytes()


def test_a_plot_of_nothing_but_zeros(folder: Path) -> None:
    plot_losses([dict.fromkeys(("step", "height", "width", *LOSSES), 0.0)], folder / "losses.png")
    assert read("losses.png").width > 300


# -- film -----------------------------------------------------------------------------------------------------


def test_the_film_has_few_frames_most_at_the_beginning_and_the_last_one() -> None:
    film = Timeline(frames=20)
    due = [step for step in range(1, 401) if film.due(record(step, 400))]
    assert due[0] == 1
    assert due[-1] == 400
    assert 18 <= len(due) <= 21
    gaps = [b - a for a, b in itertools.pairwise(due)]
    assert gaps[0] < gaps[-1]
    assert [step for step in range(1, 6) if film.due(record(step, 5))] == [1, 2, 3, 4, 5]


def test_the_film_is_an_animated_gif(folder: Path) -> None:
    film = Timeline(long_side=24)
    for step in range(1, 4):
        film.add(torch.full((1, 3, 30, 48), step / 4), step)
    assert film.last == 3
    film.write(folder / "film.gif")
    with Image.open("film.gif") as gif:
        assert (gif.format, gif.n_frames, gif.size, gif.info["loop"]) == ("GIF", 3, (24, 15), 0)
        durations = []
        for frame in range(3):
            gif.seek(frame)
            assert gif.convert("RGB").getpixel((5, 5))[0] == pytest.approx(255 * (frame + 1) / 4, abs=2)
            durations.append(gif.info["duration"])
    assert durations[-1] > 10 * durations[0] > 0


def test_a_film_of_nothing_is_no_file(folder: Path) -> None:
    Timeline().write(folder / "film.gif")
    assert not (folder / "film.gif").exists()


# -- run folders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name: str) -> None:
    assert stored_settings(json.loads(json.dumps(describe_settings(PRESETS[name])))) == PRESETS[name]


def test_settings_that_came_later_are_as_they_were_before() -> None:
    stored = describe_settings(PRESETS["quick"])
    later = {"sees_clamped", "second_backbone", "second_every", "falling"}
    assert later <= stored.keys()
    before = stored_settings({name: stored[name] for name in stored if name not in later})
    assert before == replace(PRESETS["quick"], second_backbone=None, falling=0.0)


def test_settings_of_another_version() -> None:
    stored = describe_settings(PRESETS["quick"]) | {"brushes": 3}
    del stored["lr"]
    with pytest.raises(DataError, match="begun by another version, whose settings differ in brushes, lr"):
        stored_settings(stored)


def test_a_file_is_known_again_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = describe_file("photo.png")
    monkeypatch.chdir(folder.parent)
    assert same_file(row, folder) == str(folder / "photo.png")
    with (folder / "photo.png").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(DataError, match=r"photo\.png: has changed since the run began"):
        same_file(row, folder)
    (folder / "photo.png").unlink()
    with pytest.raises(DataError, match=r"photo\.png: is not there any more"):
        same_file(row, folder)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        describe_file("none.png")


def description(**changes: Any) -> RunDescription:
    values = {"photo": "photo.png", "request": StylizeRequest.of(style="night.png"), "output": Output("out.png")}
    return RunDescription(**(values | changes))


def test_a_run_is_begun_once(folder: Path) -> None:
    run = RunFolder(folder / "a" / "run")
    run.create(description())
    assert json.loads((folder / "a" / "run" / "run.json").read_text("utf-8"))["format"] == 2
    with pytest.raises(DataError, match=r"holds a run already; go on with `resume` .*run or choose another"):
        run.create(description())
    with pytest.raises(DataError, match=r"holds a run already"), run.making():
        pass


def test_a_description_comes_back_and_has_no_names_of_the_command_line(folder: Path, tiny_backbone: Path) -> None:
    settings = preset("quick", backbone=str(tiny_backbone), betas=(0.5, 0.9))
    request = StylizeRequest.of(
        style=[("night.png", 0.3), "wave.png"], mask="wave.png", strength=0.5, betas=(0.5, 0.9), style_layers="relu1_1"
    )
    options = OutputOptions.of(jpeg_quality=80, keep_metadata=True)
    output = Output("out.jpg", options, force=True, recipe=False)
    given = description(request=request, settings=settings, output=output, beginning="wave.png", save_every=3)
    run = RunFolder(folder / "run")
    run.create(given)
    found = run.description()
    assert found.request == request.anywhere()
    assert found.output == Output(str(folder / "out.jpg"), options, force=True, recipe=False)
    assert (found.settings, found.beginning, found.save_every) == (settings, str(folder / "wave.png"), 3)
    text = (folder / "run" / "run.json").read_text("utf-8")
    assert "--" not in text
    names = json.loads(text)
    assert set(names["request"]) - {"format"} <= set(StylizeRequest.options)
    assert {Path(row["path"]).name for row in names["files"]} == {
        "photo.png", "night.png", "wave.png", tiny_backbone.name
    }  # fmt: skip


def test_a_run_where_no_folder_can_be(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(DataError, match="file: is not a folder"):
        RunFolder(folder / "file").create(description())
    with pytest.raises(OutputError, match="its folder cannot be made"):
        RunFolder(folder / "file" / "run").create(description())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"photo": 1, "styles": 2}', "\udcff", '{"format": 3}'])
def test_a_damaged_description(folder: Path, text: str) -> None:
    (folder / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"run\.json: (cannot be read|is not the description)"):
        RunFolder(folder).description()


@pytest.mark.parametrize("change", [{"request": 3}, {"settings": {}}, {"output": None}, {"files": [{}]}])
def test_a_description_in_which_something_is_damaged(folder: Path, change: dict[str, Any]) -> None:
    RunFolder(folder).create(description())
    found = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps(found | change), encoding="utf-8")
    with pytest.raises(DataError, match=r"damaged|begun by another version"):
        RunFolder(folder).description()


def test_a_state_comes_back(folder: Path, painting: Optimization) -> None:
    run, records = RunFolder(folder), painting.run()
    assert run.state() is None
    for _ in range(3):
        next(records)
        run.save_state(painting.state_dict())
    before = painting.image()
    next(records)
    assert not torch.equal(before, painting.image())
    painting.load_state_dict(run.state() or {})
    assert painting.step == 3
    assert torch.equal(before, painting.image())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("pwned"),))


def damaged_states() -> dict[str, bytes]:
    whole = io.BytesIO()
    torch.save({"step": 3, "weights": torch.zeros(200)}, whole)
    listed = io.BytesIO()
    torch.save([1, 2], listed)
    return {
        "empty": b"",
        "text": b"no state",
        "cut short": whole.getvalue()[:-300],
        "of something else": whole.getvalue(),
        "a list": listed.getvalue(),
        "evil": pickle.dumps(Evil()),
    }


def begin(tiny_backbone: Path, **options: Any) -> Recorder:
    few = {"backbone": str(tiny_backbone), "backbone_input": "none", "precision": "float32", "device": "cpu"}
    few |= {"content_layers": "relu1_2", "style_layers": "relu1_1", "start_size": 20, "steps": 4}
    request = StylizeRequest.of(**{"style": "night.png"} | few | options)
    return begin_run(Engine(), "photo.png", request, Output("out.png"), RunFolder("run"))


def stop_after(recorder: Recorder, steps: int) -> None:
    """Run so many pieces of a run, and close it."""
    with recorder.job, closing(recorder.run()) as records:
        for _ in range(steps):
            next(records)


@pytest.mark.parametrize("damage", damaged_states())
def test_a_damaged_state(folder: Path, tiny_backbone: Path, damage: str) -> None:
    stop_after(begin(tiny_backbone), 2)
    (folder / "run" / "state.pt").write_bytes(damaged_states()[damage])
    with pytest.raises(DataError, match=r"^[^\n]*damaged or of another run \(.*\); start a new run$"):
        list(resume_run(Engine(), RunFolder("run")).run())
    assert not Path("pwned").exists()


def test_a_state_of_another_size_is_told(folder: Path, tiny_backbone: Path) -> None:
    stop_after(begin(tiny_backbone), 3)
    kept = (folder / "run" / "state.pt").read_bytes()
    shutil.rmtree("run")
    stop_after(begin(tiny_backbone, size=36), 3)
    (folder / "run" / "state.pt").write_bytes(kept)
    with pytest.raises(DataError, match=r"of another run \(.* another size\); start a new run$"):
        list(resume_run(Engine(), RunFolder("run")).run())


def test_a_log_ahead_of_the_state_is_cut(folder: Path, tiny_backbone: Path) -> None:
    """As after a kill between writing the one and the other."""
    stop_after(begin(tiny_backbone), 2)
    state = (folder / "run" / "state.pt").read_bytes()
    stop_after(resume_run(Engine(), RunFolder("run")), 1)
    assert len((folder / "run" / "log.csv").read_text().splitlines()) == 1 + 3
    (folder / "run" / "state.pt").write_bytes(state)
    recorder = resume_run(Engine(), RunFolder("run"))
    with recorder.job, closing(recorder.run()) as records:
        assert next(records).done == 3
        assert [row["step"] for row in recorder.log.rows] == [1, 2, 3]


def test_a_full_disk_keeps_the_state_before(
    folder: Path, painting: Optimization, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, records = RunFolder(folder), painting.run()
    next(records)
    run.save_state(painting.state_dict())
    next(records)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="no room on the disk"):
            run.save_state(painting.state_dict())
    state = run.state()
    assert state is not None
    assert state["step"] == 1


def test_frames_are_pictures(folder: Path) -> None:
    run = RunFolder(folder)
    run.keep_frame(read("photo.png"), 25)
    run.keep_frame(read("night.png"), 25)
    assert read(folder / "frames" / "000025.jpg").height == 40
