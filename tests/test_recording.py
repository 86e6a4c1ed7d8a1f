"""What a run leaves behind: log, plot, film, and the folder it is resumed from."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from impasto.recording import (
    Log,
    RunFolder,
    Timeline,
    describe_file,
    describe_settings,
    plot_losses,
    same_file,
    stored_settings,
)
from PIL import Image

from impasto.errors import DataError, OutputError
from impasto.imaging import read
from impasto.optimize.loop import Optimization, StepProgress
from impasto.optimize.presets import PRESETS, preset
from impasto.stylizer import Style, prepare

pytestmark = pytest.mark.usefixtures("one_thread", "folder")

LOSSES = {"total": 2.5, "content": 0.5, "style": 2.0, "tv": 0.0, "range": 0.0}


def record(step: int, steps: int = 10, *, total: float = 2.5, scale: tuple[int, int] = (36, 40)) -> StepProgress:
    return StepProgress(step, steps, scale, {**LOSSES, "total": total}, seconds=step / 8)


def log_of(*records: StepProgress) -> Log:
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
    how: dict[str, Any] = {"backbone_input": "none", "precision": "float32"}
    return prepare("photo.png", [Style("night.png")], settings, **how).optimization


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
        "seconds": "0.125",
    }
    assert [row["total"] for row in rows] == ["2.5", "1.25"]


def test_a_log_read_and_written_is_the_same(folder: Path) -> None:
    log_of(record(1), record(2), record(3)).write(folder / "a.csv")
    log = Log()
    log.read(folder / "a.csv", up_to=3)
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


@pytest.mark.parametrize("count", [1, 5])
def test_the_plot_is_a_picture(folder: Path, count: int) -> None:
    rows = log_of(*(record(i, scale=(18, 20) if i < 3 else (36, 40)) for i in range(1, count + 1))).rows
    plot_losses(rows, folder / "losses.png")
    picture = read("losses.png")
    assert min(picture.rgb.shape[2:]) > 300
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


def test_settings_of_another_version() -> None:
    stored = describe_settings(PRESETS["quick"]) | {"brushes": 3}
    del stored["lr"]
    with pytest.raises(DataError, match="begun by another version, whose settings differ in brushes, lr"):
        stored_settings(stored)


def test_a_file_is_known_again_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = describe_file("photo.png")
    monkeypatch.chdir(folder.parent)
    assert same_file(row) == str(folder / "photo.png")
    with (folder / "photo.png").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(DataError, match=r"photo\.png: has changed since the run began"):
        same_file(row)
    (folder / "photo.png").unlink()
    with pytest.raises(DataError, match=r"photo\.png: is not there any more"):
        same_file(row)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        describe_file("none.png")


def test_a_run_is_begun_once(folder: Path) -> None:
    run = RunFolder(folder / "a" / "run")
    run.create({"photo": "ü"})
    assert json.loads((folder / "a" / "run" / "run.json").read_text("utf-8")) == {"photo": "ü"}
    with pytest.raises(DataError, match=r"holds a run already; go on with --resume .*run or choose another"):
        run.create({})
    with pytest.raises(DataError, match="is not the description of a run"):
        run.description()


def test_a_run_where_no_folder_can_be(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(DataError, match="file: is not a folder"):
        RunFolder(folder / "file").create({})
    with pytest.raises(OutputError, match="its folder cannot be made"):
        RunFolder(folder / "file" / "run").create({})


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"photo": 1, "styles": 2}', "\udcff"])
def test_a_damaged_description(folder: Path, text: str) -> None:
    (folder / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"run\.json: (cannot be read|is not the description)"):
        RunFolder(folder).description()


def test_a_state_comes_back(folder: Path, painting: Optimization) -> None:
    run, log = RunFolder(folder / "run"), Log()
    run.create({})
    records = painting.run()
    for _ in range(3):
        log.add(next(records))
        run.save(painting, log)
    before = painting.image()
    next(records)
    assert not torch.equal(before, painting.image())
    found = Log()
    run.load(painting, found)
    assert painting.step == 3
    assert found.rows == log.rows
    assert torch.equal(before, painting.image())


def test_a_run_without_a_state_begins_at_the_beginning(folder: Path, painting: Optimization) -> None:
    RunFolder(folder).load(painting, Log())
    assert painting.step == 0


def test_a_log_ahead_of_the_state_is_cut(folder: Path, painting: Optimization) -> None:
    """As after a kill between writing the one and the other."""
    run, records, log = RunFolder(folder), painting.run(), Log()
    log.add(next(records))
    run.save(painting, log)
    log.add(next(records))
    log.write(folder / "log.csv")
    found = Log()
    run.load(painting, found)
    assert (painting.step, [row["step"] for row in found.rows]) == (1, [1])


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


@pytest.mark.parametrize("damage", damaged_states())
def test_a_damaged_state(folder: Path, painting: Optimization, damage: str) -> None:
    (folder / "state.pt").write_bytes(damaged_states()[damage])
    with pytest.raises(DataError, match=r"^[^\n]*state\.pt: is damaged or of another run \(.*\); start a new run$"):
        RunFolder(folder).load(painting, Log())
    assert not Path("pwned").exists()
    assert painting.step == 0


def test_a_full_disk_keeps_the_state_before(
    folder: Path, painting: Optimization, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, records, log = RunFolder(folder), painting.run(), Log()
    log.add(next(records))
    run.save(painting, log)
    next(records)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="no room on the disk"):
            run.save(painting, log)
    run.load(painting, Log())
    assert painting.step == 1


def test_frames_are_pictures(folder: Path) -> None:
    run = RunFolder(folder)
    run.frame(read("photo.png"), 25)
    run.frame(read("night.png"), 25)
    assert read(folder / "frames" / "000025.jpg").height == 40
