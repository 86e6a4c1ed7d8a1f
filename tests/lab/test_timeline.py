"""Films of runs: order, timing, formats, and folders that hold none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from impasto.errors import DataError, MissingExtraError, OptionError, OutputError
from impasto.lab.timeline import check_film, find_frames, write_film

GREYS = {5: 10, 25: 80, 100: 160, 1000000: 240}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as `stylize --run` leaves it; with so many steps names no longer sort by step."""
    (tmp_path / "run" / "frames").mkdir(parents=True)
    for step, grey in GREYS.items():
        Image.new("RGB", (45, 33), (grey, grey, grey)).save(tmp_path / "run" / "frames" / f"{step:06d}.jpg")
    return tmp_path / "run"


def greys(path: Path) -> list[int]:
    with Image.open(path) as film:
        return [round(float(np.asarray(frame.convert("L")).mean())) for frame in ImageSequence.Iterator(film)]


def test_frames_come_in_the_order_of_their_steps(run: Path) -> None:
    assert [int(path.stem) for path in find_frames(run)] == list(GREYS)


def test_a_training_has_samples(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    for step in (250, 500):
        Image.new("RGB", (8, 8)).save(tmp_path / "samples" / f"step-{step:08d}.jpg")
    assert [path.name for path in find_frames(tmp_path)] == ["step-00000250.jpg", "step-00000500.jpg"]


def test_no_run_and_no_frames(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: no such folder, need one that `impasto stylize --run`"):
        find_frames(tmp_path / "nothing")
    (tmp_path / "frames").mkdir()
    with pytest.raises(DataError, match=r"no frames of a run are in it .* a smaller `save_every`"):
        find_frames(tmp_path)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".apng"])
def test_animations(run: Path, tmp_path: Path, suffix: str) -> None:
    write_film(find_frames(run), tmp_path / f"film{suffix}", fps=10)
    assert greys(tmp_path / f"film{suffix}") == pytest.approx(list(GREYS.values()), abs=2)
    with Image.open(tmp_path / f"film{suffix}") as film:
        assert film.n_frames == 4
        assert film.size == (45, 33)
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
        assert durations == [100, 100, 100, 2000]
        assert film.info["loop"] == 0


def test_mp4(run: Path, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="needs the extra video")
    write_film(find_frames(run), tmp_path / "film.mp4", fps=8)
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (44, 32)  # H.264 wants even sides
        assert stream.average_rate == 8
        means = [float(frame.to_ndarray(format="gray").mean()) for frame in film.decode(stream)]
    assert len(means) == 4 + 16
    assert means[:4] == sorted(means[:4])
    assert means[3:] == pytest.approx([means[3]] * 17, abs=2)


def test_mp4_without_the_extra(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"PyAV, which is not installed: pip install 'impasto\[video\]'"):
        write_film(find_frames(run), tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_size(run: Path, tmp_path: Path) -> None:
    write_film(find_frames(run), tmp_path / "film.gif", size=30)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (30, 22)


def test_what_cannot_be(run: Path, tmp_path: Path) -> None:
    frames = find_frames(run)
    with pytest.raises(OutputError, match=r"a film is written as \.gif"):
        check_film(tmp_path / "film.avi")
    with pytest.raises(OptionError, match="need a number above 0"):
        write_film(frames, tmp_path / "film.gif", fps=0)
    with pytest.raises(OptionError, match="at least one frame"):
        write_film([], tmp_path / "film.gif")
    (tmp_path / "film.gif").touch()
    with pytest.raises(OutputError, match="exists already"):
        write_film(frames, tmp_path / "film.gif")
