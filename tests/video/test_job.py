"""A film as a job: painted by a network or by optimisation, whole or not at all, and the command line of it."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.errors import DataError, ImageError, OptionError, OutputError
from impasto.files import sha256
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.video.film import FilmFacts, Frame
from impasto.video.film_recipe import read_film_recipe
from impasto.video.finish import Finish
from impasto.video.job import FilmJob, _written
from impasto.video.options import Changes, FilmOptions, split_numbers, split_times
from impasto.video.painters import RequestPainter
from impasto.video.reading import open_film
from impasto.video.steady import Carried
from impasto.video.steady_job import SteadyJob

from .film_samples import asked, blobs, make_film, ramp

TIMES = [24 * number for number in range(10)]
GALLERY = StylizeRequest.of(style="great-wave")
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    make_film(tmp_path / "clip.mp4", TIMES, sound="aac", picture=blobs)
    return tmp_path / "clip.mp4"


def paint(
    engine: Engine, film: Path, target: Path | str, request: StylizeRequest = GALLERY, **options: object
) -> FilmJob:
    with FilmJob(engine, str(film), request, Output(str(target)), FilmOptions(**options)) as job:  # type: ignore[arg-type]
        records = list(job.run())
        done = [record.done for record in records if record.phase == "painting"]
        assert sorted(set(done) - {0}) == list(range(1, job.painted + 1))
    return job


def test_a_film_is_painted_with_its_sound(engine: Engine, clip: Path, tmp_path: Path) -> None:
    job = paint(engine, clip, tmp_path / "out.mp4")
    before, after = asked(clip), asked(tmp_path / "out.mp4")
    assert after["times"] == pytest.approx(before["times"])
    assert after["sound"] == before["sound"]
    assert after["size"] == before["size"]
    assert job.summary() == "10 frames of 96x64 px, by gallery"
    with open_film(clip) as one, open_film(tmp_path / "out.mp4") as other:
        pairs = list(zip(one.frames(), other.frames(), strict=True))
    assert all(np.abs(a.rgb.astype(int) - b.rgb).mean() > 10 for a, b in pairs)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_carries_its_recipe(engine: Engine, clip: Path, tmp_path: Path, suffix: str) -> None:
    out, request = tmp_path / f"a{suffix}", StylizeRequest.of(style="great-wave", strength=0.75)
    paint(engine, clip, out, request, end=Fraction(1, 10))
    found = read_recipe(out)
    assert found.request["strength"] == 0.75
    assert found.used["photo"] == sha256(clip)
    with open_film(out) as film:
        assert len(list(film.frames())) == 3
    shown = CliRunner(env=PLAIN).invoke(app, ["recipe", str(out)])
    assert "great-wave" in shown.output
    with FilmJob(engine, str(clip), request, Output(str(out), force=True, recipe=False)) as job:
        list(job.run())
    with pytest.raises(DataError, match="carries no recipe"):
        read_recipe(out)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", "/"])
def test_a_film_carries_its_recipe(engine: Engine, tmp_path: Path, suffix: str) -> None:
    """As its comment; what the painted film itself says there is kept."""
    make_film(tmp_path / "a.mp4", TIMES[:3], metadata={"title": "A clip"})
    make_film(tmp_path / "b.mp4", TIMES[:3], metadata={"comment": "by the sea"})
    request = StylizeRequest.of(style="great-wave", strength=0.75, engine="light")
    for name in "a" if suffix == ".mov" else "ab":  # MOV has no second place
        out = f"{tmp_path}/{name}-out{suffix}"
        paint(engine, tmp_path / f"{name}.mp4", out, request)
        found = read_recipe(Path(out) / "000002.png") if suffix == "/" else read_film_recipe(out)
        assert found.request["strength"] == 0.75
        assert found.used["photo"] == sha256(tmp_path / f"{name}.mp4")
        assert found.to_request().style[0].image == "great-wave"
        assert (found.request["style_scale"], found.request["ground"]) == (1.0, 0.0)
    if suffix in ("/", ".mov"):
        return
    said = {key.lower(): value for key, value in asked(tmp_path / f"b-out{suffix}")["metadata"].items()}
    assert said["comment"] == "by the sea"
    with pytest.raises(DataError, match="carries no recipe"):
        read_film_recipe(tmp_path / "b.mp4")
    shown = CliRunner(env=PLAIN).invoke(app, ["recipe", str(tmp_path / f"a-out{suffix}")])
    assert "great-wave" in shown.output


def test_a_film_tells_what_computed_it_where_nobody_asked_for_it(tmp_path: Path) -> None:
    """In a process of its own, where torch is not loaded yet."""
    film, out = tmp_path / "a.mp4", tmp_path / "out.mp4"
    make_film(film, TIMES[:3])
    words = [sys.executable, "-m", "impasto", "video", str(film), "-s", "great-wave", "-o", str(out)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    found = read_film_recipe(out)
    assert found.request["engine"] == "light"
    assert "onnxruntime" in found.made_by
    assert found.to_request().engine == "light"


def test_a_film_tells_what_changed_over_time(engine: Engine, tmp_path: Path) -> None:
    """In words, in JSON, and where a picture is painted by that."""
    film, photo = tmp_path / "a.mp4", tmp_path / "a.png"
    make_film(film, TIMES[:3])
    Image.fromarray(ramp(0)).save(photo)
    rows = ((Fraction(0), 0.0), (Fraction(2), 1.0))
    request = StylizeRequest.of(style="great-wave", strength=0)
    paint(engine, film, tmp_path / "out.mp4", request, changes=Changes(strength=rows), begin=Fraction(0))

    def run(*words: str) -> Any:
        return CliRunner(env=PLAIN).invoke(app, list(words))

    lines = [" ".join(line.split()) for line in run("recipe", str(tmp_path / "out.mp4")).output.splitlines()]
    assert "strength 0 at 0 s, 1 at 2 s" in lines
    assert "film kept 0.98" in lines
    assert not [line for line in lines if line == "strength 0.0"]
    written = run("recipe", str(tmp_path / "out.mp4"), "--json").output
    with av.open(str(tmp_path / "out.mp4")) as painted:
        assert json.loads(written) == json.loads(painted.metadata["comment"])
    assert json.loads(written)["film"]["strength"] == [[0, 0], [1, 2]]
    recipe = tmp_path / "r.json"
    recipe.write_text(written)
    assert (
        run("recipe", str(recipe)).output.splitlines() == run("recipe", str(tmp_path / "out.mp4")).output.splitlines()
    )
    words = ["stylize", str(photo), "--recipe", str(recipe), "-o", str(tmp_path / "b.png"), "--force"]
    assert "--strength is 0.0, and changed over time in the film (0 at 0 s, 1 at 2 s)" in run(*words).output
    assert "--strength is 0.5, and changed" in run(*words, "--strength", "0.5").output
    refused = run("stylize", str(photo), "--recipe", str(tmp_path / "out.mp4"), "-o", str(tmp_path / "c.png"))
    assert (
        "is a film, need a picture or a recipe's JSON: `impasto recipe FILM --json > r.json` writes" in refused.output
    )
    damaged = json.loads(written) | {"film": {"strength": [1], "style_times": ["a"]}}
    recipe.write_text(json.dumps(damaged))
    assert "[1]" in run("recipe", str(recipe)).output


def test_a_still_film_stays_still(engine: Engine, tmp_path: Path) -> None:
    make_film(
        tmp_path / "a.mkv", TIMES, picture=lambda _, size: ramp(0, size), codec="ffv1", pix_fmt="bgr0", options={}
    )
    paint(engine, tmp_path / "a.mkv", f"{tmp_path}/out/")
    with open_film(tmp_path / "out") as film:
        frames = [frame.rgb for frame in film.frames()]
    assert len(frames) == 10
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_parts_sizes_and_every_other_frame(engine: Engine, clip: Path, tmp_path: Path) -> None:
    request = StylizeRequest.of(style="great-wave", size=48)
    job = paint(engine, clip, tmp_path / "out.mp4", request, begin=Fraction(3, 25), end=Fraction(8, 25), every=2)
    found = asked(tmp_path / "out.mp4")
    assert found["size"] == [32, 48]
    assert job.painted == len(found["times"]) == 3
    assert np.diff(found["times"]) == pytest.approx([0.08, 0.08], abs=1e-3)


def test_stopping_leaves_nothing(engine: Engine, clip: Path, tmp_path: Path) -> None:
    job = FilmJob(engine, str(clip), GALLERY, Output(str(tmp_path / "out.mp4")))
    for record in job.run():
        if record.done == 3:
            break
    job.close()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_optimisation_frame_by_frame(engine: Engine, clip: Path, tmp_path: Path) -> None:
    Image.fromarray(ramp(3)).save(tmp_path / "style.png")
    request = StylizeRequest.of(style=str(tmp_path / "style.png"), quality="good", steps=3, size=64)
    job = paint(engine, clip, tmp_path / "out.mp4", request, end=Fraction(1, 8))
    assert job.summary().endswith("by optimisation")
    assert len(asked(tmp_path / "out.mp4")["times"]) == 4


def test_an_optimisation_stays_near_the_last_painting_where_that_is_trusted(engine: Engine, tmp_path: Path) -> None:
    Image.fromarray(ramp(3)).save(tmp_path / "style.png")
    request = StylizeRequest.of(style=str(tmp_path / "style.png"), quality="good", steps=20)
    facts, size = FilmFacts("a film", (48, 64), Fraction(1, 25)), (48, 64)
    painter = RequestPainter(engine, request, facts, 2, Changes())
    last = np.random.default_rng(0).uniform(0.3, 0.7, (*size, 3)).astype(np.float32)
    apart = []
    for trust in (np.ones(size, np.float32), np.zeros(size, np.float32)):
        steps = painter.paint(Frame(ramp(0, size), 1), Fraction(1, 25), Carried(last, trust), 1 << 30)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                apart.append(np.abs(end.value / 255 - last).mean())
                break
    assert apart[0] < 0.75 * apart[1]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_styles_fade(engine: Engine, clip: Path, tmp_path: Path) -> None:
    styles, rows = split_times(["great-wave@0s", "the-scream@0.3s"])
    request, changes = StylizeRequest.of(style=styles), Changes(style=rows)
    weights = [style.weight for style in changes.request(request, Fraction(1, 10)).style]
    assert weights == pytest.approx([2 / 3, 1 / 3])
    paint(engine, clip, f"{tmp_path}/out/", request, changes=changes, kept=0.0)
    for name, number in (("great-wave", 1), ("the-scream", 10)):
        paint(engine, clip, f"{tmp_path}/{name}/", StylizeRequest.of(style=name), kept=0.0)
        alone, fading = (pixels(tmp_path / part / f"{number:06d}.png") for part in (name, "out"))
        assert np.array_equal(alone, fading)
    paint(engine, clip, f"{tmp_path}/steady/", request, changes=changes)
    apart = [
        np.abs(pixels(tmp_path / name / "000010.png").astype(int) - pixels(tmp_path / "steady" / "000010.png")).mean()
        for name in ("the-scream", "great-wave")
    ]
    assert apart[0] < 0.2 * apart[1], "what is steady lags behind"
    with pytest.raises(OptionError, match="has no time"):
        split_times(["great-wave@0s", "the-scream"])
    with pytest.raises(OptionError, match="in order"):
        split_times(["great-wave@2s", "the-scream@1s"])


def test_strength_and_strokes_change(engine: Engine, clip: Path, tmp_path: Path) -> None:
    """From the photo to the full style, and from strokes of twice the size to their own."""
    text, strength = split_numbers("strength", ["0@0s", "1@0.36s"])
    assert text == "0"
    _, scale = split_numbers("style_scale", ["2@0s", "1@0.36s"])
    changes = Changes(strength=strength, style_scale=scale)
    half = changes.request(GALLERY, Fraction(18, 100))
    assert (half.strength, half.style_scale) == pytest.approx((0.5, 2**0.5))
    job = paint(engine, clip, f"{tmp_path}/out/", changes=changes, kept=0.0)
    assert job.painted == 10
    with open_film(clip) as film, open_film(tmp_path / "out") as out:
        pairs = [(before.rgb.astype(int), after.rgb) for before, after in zip(film.frames(), out.frames(), strict=True)]
    apart = [np.abs(before - after).mean() for before, after in pairs]
    assert apart[0] == 0
    assert apart == sorted(apart)
    paint(engine, clip, f"{tmp_path}/full/", kept=0.0)
    assert np.array_equal(*(pixels(tmp_path / name / "000010.png") for name in ("out", "full")))
    for wrong, said in (
        (["0.5", "1"], "say when each holds"), (["x@0s"], "need a number"), (["0.5@0s", "2@4s"], "strength"),
        (["1@4s", "0@2s"], "in order"), (["0.5@x"], "`strength` is 'x': give a time"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=said):
            split_numbers("strength", wrong)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film that moves to the left, in colours that are kept, and a mask of its right half."""
    folder = tmp_path_factory.mktemp("moving")
    size = (64, 96)
    make_film(folder / "a.mkv", [60 * n for n in range(20)], picture=blobs, codec="ffv1", pix_fmt="bgr0", options={})
    mask = np.zeros(size, np.uint8)
    mask[:, 48:] = 255
    Image.fromarray(mask).save(folder / "right.png")
    Image.fromarray(255 - mask).save(folder / "left.png")
    Image.fromarray(ramp(3)).save(folder / "style.png")
    return folder


def shown(folder: Path, end: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    """The frames of the film that moves, each with what is in a folder."""
    with open_film(folder.parent / "a.mkv") as film:
        frames = [frame.rgb for frame in film.frames()]
    return [(frame, pixels(folder / f"{n:06d}.png")) for n, frame in enumerate(frames[:end], 1)]


@pytest.mark.parametrize(
    ("wishes", "kept", "end"),
    [
        ({"style": "great-wave"}, 0.98, 20),
        ({"style": "great-wave", "keep_colors": True, "strength": 0.7}, 0.5, 20),
        ({"style": "style.png", "quality": "good", "steps": 3}, 0.98, 4),
    ],
)
def test_a_mask_stays_where_it_is(engine: Engine, moving: Path, wishes: dict[str, Any], kept: float, end: int) -> None:
    """Nothing of the painting is carried into the photo along with what moves, nor the other way round."""
    if wishes["style"] == "style.png":
        wishes = {**wishes, "style": str(moving / "style.png")}
    request, out = StylizeRequest.of(**wishes, mask=[str(moving / "right.png")]), moving / "out"
    job = paint(engine, moving / "a.mkv", f"{out}/", request, kept=kept, end=Fraction(end, 10))
    assert job.painted == end
    for frame, found in shown(out, end):
        assert np.array_equal(frame[:, :48], found[:, :48])
        assert np.abs(frame[:, 48:].astype(int) - found[:, 48:]).mean((0, 2)).min() > 5
    shutil.rmtree(out)


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_what_is_finished_is_between_photo_and_painting(alpha: int) -> None:
    """Also of a frame of which nothing shows."""
    photo, painted, mask = ramp(0), ramp(9), np.zeros((64, 96), np.float32)
    mask[:, 40:] = 0.5
    found = Finish([mask])(painted, Frame(photo, 0, alpha=np.full((64, 96), alpha, np.uint8)), 0.5)
    assert np.array_equal(found[:, :40], photo[:, :40])
    apart = found.astype(float) - (0.75 * photo + 0.25 * painted)
    assert np.abs(apart[:, 40:]).max() <= 0.51
    assert Finish()(painted, Frame(photo, 0), 1.0) is painted


def test_each_style_stays_in_its_region(engine: Engine, moving: Path) -> None:
    styles, alone = ["great-wave", "the-scream"], []
    masks = [str(moving / "left.png"), str(moving / "right.png")]
    for request in (*(StylizeRequest.of(style=one) for one in styles), StylizeRequest.of(style=styles, mask=masks)):
        paint(engine, moving / "a.mkv", f"{moving}/{len(alone)}/", request, kept=0.0 if len(alone) < 2 else 0.98)
        alone.append([found.astype(int) for _, found in shown(moving / str(len(alone)))])
    for one, other, both in zip(*alone, strict=True):
        for part, (own, foreign) in ((slice(6, 40), (one, other)), (slice(56, 90), (other, one))):
            apart = [np.abs(both - whole)[:, part].mean() for whole in (own, foreign)]
            assert apart[0] < 0.6 * apart[1]


def test_strength_is_that_of_the_moment(engine: Engine, moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the painting when it has gone; nor of the photo, and few frames are painted for it."""
    calls: list[int] = []
    before = RequestPainter.paint
    monkeypatch.setattr(RequestPainter, "paint", lambda self, one, *rest: calls.append(1) or before(self, one, *rest))
    out = moving / "strength"
    paint(engine, moving / "a.mkv", f"{moving}/full/")
    few = len(calls)
    for times, at in ((["1@0.4s", "0@0.8s"], slice(8, 20)), (["0@0.4s", "1@0.8s"], slice(0, 5))):
        changes = Changes(strength=split_numbers("strength", times)[1])
        calls.clear()
        paint(engine, moving / "a.mkv", f"{out}/", changes=changes)
        assert len(calls) == few < 20
        rows = list(zip(shown(out), shown(moving / "full"), strict=True))
        assert all(np.array_equal(frame, found) for (frame, found), _ in rows[at])
        full = slice(0, 5) if at.start else slice(8, 20)
        assert all(np.array_equal(found, whole) for (_, found), (_, whole) in rows[full])
        shutil.rmtree(out)


def test_a_still_film_of_changing_strength_is_painted_once(engine: Engine, tmp_path: Path) -> None:
    make_film(
        tmp_path / "a.mkv", TIMES, picture=lambda _, size: ramp(0, size), codec="ffv1", pix_fmt="bgr0", options={}
    )
    changes = Changes(strength=split_numbers("strength", ["0@0s", "1@0.36s"])[1])
    paint(engine, tmp_path / "a.mkv", f"{tmp_path}/out/", changes=changes)
    outs = [pixels(tmp_path / "out" / f"{number:06d}.png").astype(int) for number in range(1, 11)]
    apart = [np.abs(out - outs[0]).mean() for out in outs]
    assert apart == sorted(set(apart))


def test_what_has_changed_is_added_up() -> None:
    """Of styles those that are others, of strokes doublings; of strength what a network makes of it alone."""
    changes = Changes(
        style=split_times(["a@0s", "a@1s", "b@3s", "a@4s"])[1],
        strength=((Fraction(0), 0.0), (Fraction(2), 1.0)),
        style_scale=((Fraction(2), 4.0), (Fraction(4), 1.0)),
    )
    times = [Fraction(time, 2) for time in (0, 2, 4, 6, 8, 20)]
    assert [changes.changed(time, strength=False) for time in times] == pytest.approx([0, 0, 0.5, 2, 4, 4])
    assert [changes.changed(time, strength=True) for time in times] == pytest.approx([0, 0.5, 1.5, 3, 5, 5])


def test_a_time_past_the_end_is_told(engine: Engine, clip: Path, tmp_path: Path) -> None:
    for times, notes in ((["0@0s", "1@0.3s"], []), (["1@5s"], ["`strength` at 5 s is past the end of the film"])):
        changes = Changes(strength=split_numbers("strength", times)[1])
        with FilmJob(engine, str(clip), GALLERY, Output(f"{tmp_path}/out/"), FilmOptions(changes=changes)) as job:
            assert [note.partition(",")[0] for note in job.notes] == notes


def test_a_film_without_a_name_is_refused(engine: Engine, clip: Path) -> None:
    with pytest.raises(OptionError, match="`output` is empty"):
        FilmJob(engine, str(clip), GALLERY, Output(""))
    with pytest.raises(OptionError, match="`run` is empty"):
        FilmOptions(run="")  # type: ignore[arg-type]


def test_a_style_that_is_read_once_is_for_all_frames(engine: Engine, clip: Path, tmp_path: Path) -> None:
    Image.fromarray(ramp(0, (48, 64))).save(tmp_path / "style.png")
    with (tmp_path / "style.png").open("rb") as style:
        request = StylizeRequest.of(style=style)
        with pytest.raises(OptionError, match="`run` needs files"):
            paint(engine, clip, tmp_path / "out.mp4", request, run=str(tmp_path / "run"))
        assert paint(engine, clip, tmp_path / "out.mp4", request, end=Fraction(1, 8)).painted == 4


def test_steady_takes_flicker_out_of_foreign_frames(engine: Engine, tmp_path: Path) -> None:
    def flickering(number: int, size: tuple[int, int]) -> np.ndarray:
        noise = np.random.default_rng(number).normal(0, 20, (*size, 3))
        return (blobs(number, size, speed=0) + noise).clip(0, 255).astype(np.uint8)

    make_film(tmp_path / "a.mp4", TIMES, picture=lambda _, size: blobs(0, size), sound="aac")
    make_film(tmp_path / "b.mp4", TIMES, picture=flickering)
    with SteadyJob(engine, str(tmp_path / "b.mp4"), str(tmp_path / "a.mp4"), Output(str(tmp_path / "c.mp4"))) as job:
        list(job.run())
    spread = []
    for name in ("b", "c"):
        with open_film(tmp_path / f"{name}.mp4") as film:
            spread.append(np.std([frame.rgb.astype(float) for frame in film.frames()][4:], axis=0).mean())
    assert spread[1] < spread[0] / 2
    assert asked(tmp_path / "c.mp4")["sound"] == asked(tmp_path / "a.mp4")["sound"]


@pytest.mark.parametrize("name", ["painted.mp4", "painted.gif", "painted/"])
def test_a_steadied_film_keeps_its_recipe(engine: Engine, clip: Path, tmp_path: Path, name: str) -> None:
    paint(engine, clip, f"{tmp_path}/{name}", end=Fraction(1, 10), kept=0.0)
    output = Output(str(tmp_path / "out.mp4"))
    with SteadyJob(engine, f"{tmp_path}/{name}", str(clip), output, FilmOptions(kept=0.9)) as job:
        list(job.run())
    found = read_film_recipe(tmp_path / "out.mp4")
    assert found.to_request().style[0].image == "great-wave"
    assert found.used["photo"] == sha256(clip)
    assert (found.film["kept"], found.film["steadied"]) == (0.0, 0.9)
    assert ("film steadied", "0.9") in list(found.describe())
    with SteadyJob(engine, str(clip), str(clip), Output(str(tmp_path / "other.mp4"))) as job:
        list(job.run())
    with pytest.raises(DataError, match="carries no recipe"):
        read_film_recipe(tmp_path / "other.mp4")


def test_films_of_other_shapes_do_not_belong_together(engine: Engine, clip: Path, tmp_path: Path) -> None:
    output = Output(str(tmp_path / "out.mp4"))
    for size, fits in (((96, 64), False), ((64, 64), False), ((32, 48), True), ((64, 112), True)):
        make_film(tmp_path / "a.mp4", TIMES[:2], size=size)
        if fits:
            SteadyJob(engine, str(tmp_path / "a.mp4"), str(clip), output).close()
            continue
        told = rf"a\.mp4 has {size[1]}x{size[0]} px, and \S+clip\.mp4 has 96x64 px: need frames of one shape"
        with pytest.raises(ImageError, match=told):
            SteadyJob(engine, str(tmp_path / "a.mp4"), str(clip), output)
    with pytest.raises(OptionError, match="`kept` is 0, which changes nothing"):
        SteadyJob(engine, str(clip), str(clip), output, FilmOptions(kept=0.0))


@pytest.mark.parametrize(("painted", "like"), [(6, 10), (10, 6)])
def test_the_longer_film_is_told(engine: Engine, tmp_path: Path, painted: int, like: int) -> None:
    for name, count in (("painted", painted), ("like", like)):
        make_film(tmp_path / f"{name}.mp4", TIMES[:count])
    films = [str(tmp_path / f"{name}.mp4") for name in ("painted", "like")]
    with SteadyJob(engine, *films, Output(str(tmp_path / "out.mp4"))) as job:
        list(job.run())
    longer, shorter = films if painted > like else films[::-1]
    assert job.painted == 6
    assert job.notes == [f"{longer}: has more frames than {shorter}: the steadied film ends with that"]


def test_a_painted_film_that_is_cut_short_is_told(engine: Engine, tmp_path: Path) -> None:
    for name in ("painted", "like"):
        make_film(tmp_path / f"{name}.mkv", [24 * number for number in range(40)])
    whole = (tmp_path / "painted.mkv").read_bytes()
    (tmp_path / "painted.mkv").write_bytes(whole[: len(whole) // 2])
    films = [str(tmp_path / f"{name}.mkv") for name in ("painted", "like")]
    with SteadyJob(engine, *films, Output(str(tmp_path / "out.mp4"))) as job:
        list(job.run())
    assert any(note.startswith(f"{films[0]}: is cut short") for note in job.notes)


@pytest.mark.parametrize(("options", "seconds"), [({}, 0.4), ({"end": Fraction(3, 10)}, 0.3)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif"])
def test_a_film_of_few_frames_lasts_as_long(
    engine: Engine, tmp_path: Path, suffix: str, options: dict[str, Any], seconds: float
) -> None:
    clip, out = tmp_path / "clip.mp4", tmp_path / f"out{suffix}"
    make_film(clip, TIMES, picture=blobs)
    for every, painted in ((4, 3 if seconds > 0.35 else 2), (1000, 1)):
        if painted == 1 and suffix == ".gif":
            continue  # one frame is no animation
        job = paint(engine, clip, out, every=every, **options)
        out.rename(tmp_path / f"{every}{suffix}")
        assert job.painted == painted
        with open_film(tmp_path / f"{every}{suffix}") as film:
            assert film.facts.seconds == pytest.approx(seconds, abs=0.011)


def packets(path: Path) -> list[tuple[int, int, bytes]]:
    with av.open(str(path)) as film:
        return [(one.pts, one.dts, bytes(one)) for one in film.demux() if one.size]


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mp4", "auto"), (".mkv", "auto"), (".mp4", "hevc"), (".mp4", "av1"), (".mkv", "vp9")]
)
def test_a_run_that_was_killed_ends_the_same(engine: Engine, tmp_path: Path, suffix: str, codec: Any) -> None:
    """Segments of two seconds; the job is dropped in the middle of the second one."""
    times = [90 * number + (number % 3) * 7 for number in range(32)]
    clip = tmp_path / "clip.mp4"
    make_film(clip, times, sound="aac", picture=blobs)
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
    paint(engine, clip, whole, run=tmp_path / "one", codec=codec)
    begun = FilmOptions(run=tmp_path / "two", codec=codec)
    job = FilmJob(engine, str(clip), GALLERY, Output(str(parts)), begun)
    for record in job.run():
        if record.done == 20:
            break
    job.close()
    assert not parts.exists()
    with pytest.raises(DataError, match="add `resume`"):
        paint(engine, clip, parts, run=tmp_path / "two", codec=codec)
    other = StylizeRequest.of(style="the-scream")
    with pytest.raises(DataError, match="another film, style or option"):
        paint(engine, clip, parts, other, run=tmp_path / "two", resume=True, codec=codec)
    earlier(tmp_path / "two")  # whose segments are counted, in each codec
    job = FilmJob(engine, str(clip), GALLERY, Output(str(parts)), replace(begun, resume=True))
    with job:
        painted = [record.done for record in job.run() if record.phase == "painting"]
    assert painted[0] > 10
    assert packets(parts) == packets(whole)
    before, after = asked(clip), asked(parts)
    assert after["times"] == pytest.approx(before["times"], abs=1e-9 if suffix == ".mp4" else 1e-3)
    sounds = [[digest for _, digest in found["sound"]] for found in (before, after)]
    cut = 0 if suffix == ".mp4" else 1  # what MP4's edit list cuts away, and Matroska would play
    assert sounds[1] == sounds[0][cut:]
    assert after["tags"] == [1, 1, 1, 1]


def test_a_masked_film_that_fades_ends_the_same_when_it_is_resumed(engine: Engine, tmp_path: Path) -> None:
    clip, mask = tmp_path / "clip.mp4", np.zeros((64, 96), np.uint8)
    make_film(clip, [90 * number for number in range(32)], picture=blobs)
    mask[:, 40:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    styles, rows = split_times(["great-wave@1s", "the-scream@3s"])
    request = StylizeRequest.of(style=styles, mask=[str(tmp_path / "mask.png")])
    changes = Changes(style=rows, strength=split_numbers("strength", ["0.2@0s", "1@4s"])[1])
    paint(engine, clip, tmp_path / "whole.mp4", request, run=tmp_path / "one", changes=changes)
    options = FilmOptions(run=tmp_path / "two", changes=changes)
    with FilmJob(engine, str(clip), request, Output(str(tmp_path / "parts.mp4")), options) as job:
        next(record for record in job.run() if record.done == 20)
    again = replace(options, resume=True)
    with FilmJob(engine, str(clip), request, Output(str(tmp_path / "parts.mp4")), again) as job:
        painted = [record.done for record in job.run() if record.phase == "painting"]
    assert painted[0] > 10
    assert packets(tmp_path / "parts.mp4") == packets(tmp_path / "whole.mp4")


@pytest.fixture(scope="module")
def stopped(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with long.mp4 and with `run`, of which two segments are finished."""
    folder = tmp_path_factory.mktemp("stopped")
    make_film(folder / "long.mp4", [90 * number for number in range(40)], picture=blobs)
    options = FilmOptions(run=folder / "run")
    job = FilmJob(engine, str(folder / "long.mp4"), GALLERY, Output(str(folder / "out.mp4")), options)
    with job, closing(job.run()) as records:
        for _ in records:
            if job.painted > job.finished > 20:
                break
    assert sorted(path.name for path in (folder / "run").iterdir()) == [
        ".lock", "film.json", "segment-00001.mp4", "segment-00002.mp4", "steady-00002.npz"
    ]  # fmt: skip
    return folder


def earlier(run: Path) -> None:
    """Make a run one that an earlier build has begun, which kept no hashes."""
    found = json.loads((run / "film.json").read_text())
    found["segments"] = [{name: row[name] for name in ("first", "last", "frames")} for row in found["segments"]]
    (run / "film.json").write_text(json.dumps(found))


@pytest.mark.parametrize("name", ["segment-00001.mp4", "segment-00002.mp4", "steady-00002.npz"])
@pytest.mark.parametrize(
    ("build", "how"),
    [("now", "changed"), *itertools.product(("now", "earlier"), ("missing", "empty", "half", "nearly whole"))],
)
def test_a_run_that_was_damaged_says_so(
    engine: Engine, stopped: Path, tmp_path: Path, how: str, name: str, build: str
) -> None:
    """In one sentence, and leaves what is there."""
    run = tmp_path / "run"
    shutil.copytree(stopped / "run", run)
    if build == "earlier":
        earlier(run)
    data = (run / name).read_bytes()
    if how == "missing":
        (run / name).unlink()
    else:
        middle = len(data) // 2
        parts = {"empty": b"", "half": data[:middle], "nearly whole": data[:-200]}
        changed = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        (run / name).write_bytes(parts.get(how, changed))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with pytest.raises(DataError) as caught:
        paint(engine, stopped / "long.mp4", tmp_path / "out.mp4", run=run, resume=True)
    assert re.fullmatch(rf"\S+{name}: is damaged \([^()]+\): begin the run again in another folder", str(caught.value))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert not (tmp_path / "out.mp4").exists()


def test_a_run_of_an_earlier_build_goes_on(engine: Engine, stopped: Path, tmp_path: Path) -> None:
    for name in ("now", "earlier"):
        shutil.copytree(stopped / "run", tmp_path / name)
    earlier(tmp_path / "earlier")
    for name in ("now", "earlier"):
        out = tmp_path / f"{name}.mp4"
        with FilmJob(
            engine, str(stopped / "long.mp4"), GALLERY, Output(str(out)), FilmOptions(run=tmp_path / name, resume=True)
        ) as job:
            list(job.run())
        assert job.painted == 40
    assert packets(tmp_path / "now.mp4") == packets(tmp_path / "earlier.mp4")


def test_a_run_that_lost_its_list_is_not_begun_over(engine: Engine, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped / "run", tmp_path / "run")
    (tmp_path / "run" / "film.json").unlink()
    for resume in (True, False):
        with pytest.raises(DataError, match=r"film\.json: is missing, and segments are there"):
            paint(engine, stopped / "long.mp4", tmp_path / "out.mp4", run=tmp_path / "run", resume=resume)
    assert len(list((tmp_path / "run").iterdir())) == 4


def test_what_a_killed_process_left_goes(engine: Engine, stopped: Path, tmp_path: Path) -> None:
    run, film = tmp_path / "run", stopped / "long.mp4"
    shutil.copytree(stopped / "run", run)
    left = [".impasto-0123456789abcdef.mp4", ".impasto-0123456789abcdef.npz", ".impasto-0123456789abcdef.json"]
    for name in (*left, "steady-00001.npz", "mine.txt"):
        (run / name).write_bytes(b"half")
    options = FilmOptions(run=run, resume=True)
    with FilmJob(engine, str(film), GALLERY, Output(str(tmp_path / "out.mp4")), options) as job:
        for record in job.run():
            if record.phase == "painting":
                names = {path.name for path in run.iterdir()}
                assert not {*left, "steady-00001.npz"} & names
            elif record.phase == "writing":
                (run / left[0]).write_bytes(b"half")
    names = {path.name for path in run.iterdir()}
    assert [name for name in names if name.startswith(".")] == [".lock"]
    assert {"film.json", "mine.txt", "segment-00003.mp4", "steady-00003.npz"} < names


def test_one_process_at_a_time_paints_in_a_run(engine: Engine, clip: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out.mp4"
    job = FilmJob(engine, str(clip), GALLERY, Output(str(out)), FilmOptions(run=run))
    with job, closing(job.run()) as records:
        next(record for record in records if record.done == 2)
        before = sorted(path.name for path in run.iterdir())
        for resume in (False, True):
            with pytest.raises(OutputError, match=r"run: another process is painting there: wait for it, or stop it"):
                paint(engine, clip, tmp_path / "other.mp4", run=run, resume=resume)
        assert sorted(path.name for path in run.iterdir()) == before
        list(records)
    assert out.exists()


def test_a_run_that_is_finished_is_put_together_again(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no rate is told, since no frame is painted."""

    def run(*words: str) -> str:
        words = ("video", str(clip), "-s", "great-wave", "-o", "out.mp4", "--run", "run", *words)
        return CliRunner(env=PLAIN).invoke(app, list(words)).output

    monkeypatch.chdir(tmp_path)
    assert "frames/s" in run()
    before = packets(tmp_path / "out.mp4")
    told = run("--resume", "--force").splitlines()
    assert "10 frames finished, which is the whole film: put together anew" in told
    assert "out.mp4: 10 frames of 96x64 px, by gallery" in told
    assert packets(tmp_path / "out.mp4") == before


def test_the_folder_of_a_run_is_its_own(engine: Engine, clip: Path, tmp_path: Path) -> None:
    pictures, empty = tmp_path / "frames", tmp_path / "empty"
    for folder in (pictures, empty):
        folder.mkdir()
    (pictures / "f001.png").write_bytes(b"")
    (empty / ".DS_Store").write_bytes(b"")
    for run, told in (
        (clip, r"clip\.mp4: is a file, need a folder for the run$"),
        (
            pictures,
            r"frames: holds files that no run of a film has put there, such as f001\.png; give a new or an empty",
        ),
    ):
        for resume in (False, True):
            with pytest.raises(OutputError, match=told):
                paint(engine, clip, tmp_path / "out.mp4", run=run, resume=resume)
    assert [path.name for path in pictures.iterdir()] == ["f001.png"]
    assert paint(engine, clip, tmp_path / "out.mp4", run=empty).painted == 10


def test_resume_begins_where_nothing_is_finished(engine: Engine, clip: Path, tmp_path: Path) -> None:
    """As after a process that was killed early; a folder that is not there is a mistake."""
    run = tmp_path / "run"
    with pytest.raises(DataError, match="run: no run of a film is there: leave out `resume` to begin one"):
        paint(engine, clip, tmp_path / "a.mp4", run=run, resume=True)
    assert not run.exists()
    run.mkdir()
    (run / "segment-00001.mp4").write_bytes(b"finished, but not counted")
    job = paint(engine, clip, tmp_path / "a.mp4", run=run, resume=True)
    assert any("no frames are finished there: beginning with the first" in note for note in job.notes)
    assert job.painted == 10


def test_ctrl_c_tells_how_much_is_kept(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = FilmJob._write_all
    stop_at: int | None = 0

    def interrupted(self: FilmJob, *arguments: Any) -> Any:
        if stop_at is None:
            raise KeyboardInterrupt
        for record in work(self, *arguments):
            yield record
            if record.done == stop_at:
                raise KeyboardInterrupt

    monkeypatch.setattr(FilmJob, "_write_all", interrupted)
    film, out, run = str(stopped / "long.mp4"), str(tmp_path / "out.mp4"), str(tmp_path / "run")
    for stop_at, more, told in (  # noqa: B007  the number is looked at above
        (None, [], "stopped before the first frame\n"),
        (5, [], "stopped after 5 frames, of which none is kept: the first two seconds were not finished\n"),
        (18, ["--resume"], "stopped after 18 frames, of which 14 are kept; add --resume to go on\n"),
    ):
        result = CliRunner(env=PLAIN).invoke(app, ["video", film, "-s", "great-wave", "-o", out, "--run", run, *more])
        assert result.exit_code != 0
        assert told in result.output


def test_what_is_wrong_is_told_before_the_work(engine: Engine, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is the input"):
        FilmJob(engine, str(clip), GALLERY, Output(str(clip)))
    with pytest.raises(OutputError, match=r"\.wmv"):
        FilmJob(engine, str(clip), GALLERY, Output(str(tmp_path / "a.wmv")))
    with pytest.raises(OptionError, match="codec"):
        FilmJob(engine, str(clip), GALLERY, Output(str(tmp_path / "a.webm")), FilmOptions(codec="h264"))
    with pytest.raises(ImageError, match="no such film"):
        FilmJob(engine, str(tmp_path / "x.mp4"), GALLERY, Output(str(tmp_path / "a.mp4")))
    with (
        pytest.raises(ImageError, match="has no frames from 9 s"),
        FilmJob(engine, str(clip), GALLERY, Output(str(tmp_path / "a.mp4")), FilmOptions(begin=Fraction(9))) as job,
    ):
        list(job.run())
    assert not (tmp_path / "a.mp4").exists()
    for target, more in (("new/", {}), ("a.mp4", {"run": tmp_path / "new"})):
        with pytest.raises(ImageError, match="has no frames from 9 s"):
            paint(engine, clip, f"{tmp_path}/{target}", begin=Fraction(9), **more)
        assert not (tmp_path / "new").exists()


def test_options_that_would_not_be_obeyed_are_errors(engine: Engine, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="say by `run`"):
        FilmOptions(resume=True)
    for target, options, said in (
        ("a.gif", {"codec": "vp9"}, "`codec` is for films"), ("a.webp", {"crf": 30}, "`crf` is for films"),
        ("a/", {"codec": "hevc"}, "`codec` is for films"), ("a/", {"run": tmp_path / "run"}, "a run is kept of films"),
        ("a.mp4", {"rate": Fraction(10)}, "`rate` is for numbered pictures"),
    ):  # fmt: skip
        for make in (
            lambda output, asked: FilmJob(engine, str(clip), GALLERY, output, asked),
            lambda output, asked: SteadyJob(engine, str(clip), str(clip), output, asked),
        ):
            with pytest.raises(OptionError, match=said):
                make(Output(f"{tmp_path}/{target}"), FilmOptions(**options))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_pictures_that_are_read_stay(engine: Engine, clip: Path, tmp_path: Path) -> None:
    paint(engine, clip, f"{tmp_path}/nums/%03d.png", kept=0.0)
    films, output = [str(tmp_path / "nums"), str(clip)], Output(f"{tmp_path}/nums/%03d.png", force=True)
    with pytest.raises(OutputError, match=r"001\.png: is an input"):
        FilmJob(engine, films[0], GALLERY, output)
    for painted, like in (films, films[::-1]):
        with pytest.raises(OutputError, match=r"001\.png: is an input"):
            SteadyJob(engine, painted, like, output)


def test_a_photo_is_no_film(engine: Engine, clip: Path, tmp_path: Path) -> None:
    """And is sent to what paints it where something is to be painted alone."""
    photo, output = str(tmp_path / "a.jpg"), Output(str(tmp_path / "b.mp4"))
    Image.fromarray(ramp(0)).save(photo)
    with pytest.raises(ImageError, match=r"still picture.*`impasto stylize`"):
        FilmJob(engine, photo, GALLERY, output)
    for films in ((photo, str(clip)), (str(clip), photo)):
        with pytest.raises(ImageError, match="still picture") as caught:
            SteadyJob(engine, *films, output)
        assert "stylize" not in str(caught.value)


def test_command_line(clip: Path, tmp_path: Path) -> None:
    def run(*words: str):
        return CliRunner(env=PLAIN).invoke(app, list(words))

    out = str(tmp_path / "out.gif")
    done = run("video", str(clip), "--style", "great-wave", "-o", out, "--to", "0.2", "--steady", "0")
    assert done.exit_code == 0, done.output
    assert "an animation has no sound" in done.output
    assert "5 frames of 96x64 px, by gallery" in done.output
    words = ["video", str(clip), "-s", "great-wave", "-o", str(tmp_path / "p.mp4"), "--preview", "0.2", "--no-recipe"]
    done = run(*words)
    assert "5 frames of 48x32 px" in done.output
    assert "the whole at 96 px will take" in done.output
    with pytest.raises(DataError, match="carries no recipe"):
        read_film_recipe(tmp_path / "p.mp4")
    small = [*words, "--size", "60", "--force"]
    assert "frames of 48x32 px" in run(*small).output  # no method paints less
    again = run("video", str(clip), "--style", "great-wave", "-o", out)
    assert again.exit_code == 2
    wrong = run("video", str(clip), "--style", "great-wave", "-o", out, "--from", "soon", "--force")
    assert wrong.exit_code == 2
    assert "--from is 'soon'" in wrong.output
    assert run("video", str(clip), "-o", out, "--force").exit_code == 2
    words = ["video", str(clip), "-s", "great-wave", "-o", out, "--to", "0.1", "--force", "--strength"]
    done = run(*words, "0.2@0s", "--strength", "1@0.1s", "--style-scale", "1.5")
    assert done.exit_code == 0, done.output
    assert "--strength is '1.x', need a number before the @, such as 1@4s\n" in run(*words, "1.x@0s").output
    words[-1] = "--style-scale"
    for value in ("50%", "auto"):
        told = f"--style-scale is '{value}', need a number before the @, such as 1@4s; per cent and auto are for"
        assert told in run(*words, f"{value}@0s").output
    words = ["video", str(clip), "-s", "great-wave", "-o", str(tmp_path / "q.mp4")]
    assert "leave out --run" in run(*words, "--preview", "0.2", "--run", str(tmp_path / "run")).output
    assert "say by --run" in run(*words, "--resume").output
    assert "--fps is for numbered pictures" in run(*words, "--fps", "10").output
    done = run("steady", str(clip), "--like", str(clip), "-o", str(tmp_path / "s.mp4"))
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kept", [[], ["--run", "run"]])
def test_a_film_that_is_stopped_leaves_nothing_half_done(
    clip: Path, tmp_path: Path, number: signal.Signals, kept: list[str]
) -> None:
    code = (
        "import signal, time\nfrom impasto.cli.app import command\nfrom impasto.video.frame_times import FrameTimes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def see(self, painted):\n"
        "    if painted == 3:\n"
        "        print('painting', flush=True)\n"
        "        time.sleep(100)\n"
        "FrameTimes.see = see\nFrameTimes.seconds = 1\ncommand()"
    )
    line = [sys.executable, "-c", code, "video", str(clip), "-s", "great-wave", "-o", "out.mp4", *kept]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "painting\n"
        process.send_signal(number)
        _, told = process.communicate(timeout=50)
    assert process.returncode == 128 + number
    assert "stopped after 3 frames" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", *kept[1:]]
    assert [path.name for path in tmp_path.rglob(".impasto-*")] == []


def test_a_weight_and_a_time_exclude_each_other() -> None:
    for styles in (["great-wave:2@0s", "udnie@1s"], ["great-wave@0s:2", "udnie@1s"]):
        with pytest.raises(OptionError, match="has a weight and a time, which exclude each other"):
            split_times(styles)


def test_an_animation_is_a_film_without_a_note_and_a_photo_with_one(engine: Engine, tmp_path: Path) -> None:
    make_film(tmp_path / "clip.mp4", TIMES, picture=blobs)
    paint(engine, tmp_path / "clip.mp4", tmp_path / "a.gif")
    assert paint(engine, tmp_path / "a.gif", tmp_path / "b.gif").notes == []
    with engine.job(str(tmp_path / "a.gif"), GALLERY, output=Output(str(tmp_path / "one.png"))) as job:
        list(job.run())
    assert job.notes == ["a.gif: is animated, and its first frame is painted: `impasto video` paints them all"]


def test_a_request_is_written_as_runs_that_were_begun_earlier_have_it() -> None:
    """By pydantic, with which it was compared; a run of other options is not gone on with."""
    request = StylizeRequest.of(
        style=["é.png:2"], strength="0.5", lr=1.5e-05, tv_weight=1e-7, style_weight=1e22, max_megapixels=math.inf
    )
    assert _written(request.plain()) == (
        '{"style":[{"style":"é.png","weight":2.0}],"model":null,"size":null,"upscale":false,"strength":0.5,"mask":[],'
        '"init":null,"keep_colors":false,"colors_by":null,"max_megapixels":null,"preset":null,"quality":null,'
        '"content_weight":null,"style_weight":1e+22,"tv_weight":1e-7,"style_scale":null,"ground":null,'
        '"style_loss":null,"content_layers":null,"style_layers":null,"backbone":null,"backbone_input":null,'
        '"pool":null,"method":null,"alpha":null,"steps":null,"start_size":null,"optimizer":null,"lr":0.000015,'
        '"parameterisation":null,"averaging":null,"seed":null,"settings":{},"engine":"auto","device":"auto",'
        '"precision":"auto","max_memory":null,"tile":null,"statistics":null}'
    )


def test_arguments_of_other_kinds_are_one_sentence(engine: Engine, clip: Path, tmp_path: Path) -> None:
    film, out = str(clip), Output(str(tmp_path / "out.mp4"))
    calls: dict[str, tuple[Any, ...]] = {
        "^`request` is 'great-wave', need an impasto.StylizeRequest": (engine, film, "great-wave", out),
        "^`output` is 'out.mp4', need an impasto.Output": (engine, film, GALLERY, "out.mp4"),
        "^`film` is 5, need a file, a folder of numbered pictures": (engine, 5, GALLERY, out),
        "^`options` is 5, need FilmOptions": (engine, film, GALLERY, out, 5),
    }
    for told, given in calls.items():
        with pytest.raises(OptionError, match=told):
            FilmJob(*given)
    with pytest.raises(OptionError, match=r"^`painted` is None, need a film"):
        SteadyJob(engine, None, film, out)  # type: ignore[arg-type]


def test_a_closed_film_says_so(engine: Engine, clip: Path, tmp_path: Path) -> None:
    job = FilmJob(engine, str(clip), GALLERY, Output(str(tmp_path / "out.mp4")))
    job.close()
    for call in (job.result, job.preview, lambda: list(job.run())):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_how_pictures_are_written_is_not_for_films(engine: Engine, clip: Path, tmp_path: Path) -> None:
    out = Output(str(tmp_path / "out.mp4"), OutputOptions.of(png_compression=1))
    with pytest.raises(OptionError, match=r"^`png_compression` is for pictures, not for films: leave it out"):
        FilmJob(engine, str(clip), GALLERY, out)
