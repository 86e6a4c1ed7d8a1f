"""What is behind the studio's page, without a browser: desks, controls, what is said of them; needs no Gradio.

Whatever is painted or opened is tried both ways: in this process by an engine, and by a service's processes.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto
from impasto.errors import DataError, ImageError, ImpastoError, OptionError
from impasto.studio.limits import Limits
from impasto.studio.page.controls import ALL, Controls, call_for, command_for, from_recipe, output_name
from impasto.studio.page.desk import Desk, Desks, plain_name
from impasto.studio.page.events import Studio, controls_of, names_in_order, request_without_masks
from impasto.studio.page.guard import Guard
from impasto.studio.page.painting import ServicePainter, painter_of
from impasto.studio.page.several import paint_several
from impasto.studio.service import PAGE, BusyError, Service
from impasto.stylizer.engine import Engine
from impasto.stylizer.recipe import read_recipe
from impasto.stylizer.request import StylizeRequest

from .studio_samples import hostile, until

WAVE = Controls((("great-wave", 1.0),))


LONG = {"preset": "quick", "steps": 900, "size": 96, "upscale": True}  # minutes of work


@pytest.fixture(scope="module")
def shared_engine() -> Engine:
    return Engine()


@pytest.fixture(scope="module")
def page_service() -> Iterator[Service]:
    """With one process that paints, and one for what the page waits for."""
    with Service(Limits(seconds=60), workers=1, for_page=True) as service:
        assert service.wait_ready(120)
        yield service


@pytest.fixture
def service(page_service: Service) -> Iterator[Service]:
    """The service, with nothing to do; limits that a test changes are put back."""
    limits = page_service.limits
    yield page_service
    page_service.limits = limits
    for job in page_service.jobs:
        page_service.forget(job)
    until(lambda: not page_service.running() and page_service.ready)


@pytest.fixture(params=["engine", "service"])
def studio(request: pytest.FixtureRequest) -> Studio:
    return Studio(painter_of(request.getfixturevalue("shared_engine" if request.param == "engine" else "service")))


@pytest.fixture
def desk(tmp_path: Path, studio: Studio) -> Desk:
    return desk_of(studio, tmp_path / "desk")


@pytest.fixture
def served(service: Service) -> Studio:
    """What a service paints for."""
    return Studio(ServicePainter(service))


def desk_of(studio: Studio, place: Path, client: str = "somebody") -> Desk:
    return Desk(place, act=studio.painter.act_of(client), client=client)


def laid(desk: Desk, studio: Studio, folder: Path, **further: Any) -> Desk:
    """The desk with a photo and, with options of an optimisation, a painting as style."""
    studio.take_photo(desk, picture(folder / "laid.png"), "a.png")
    desk.controls, desk.further = WAVE, further
    if further:
        key = desk.take_painting(picture(folder / "own.png", seed=1), "own.png")
        desk.controls = Controls(((key, 1.0),), size=96)
    return desk


def picture(path: Path, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    """A picture of blotches, (width, height) px."""
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def brushed(values: np.ndarray) -> str:
    """A mask as the page sends it."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).convert("RGBA").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def half(height: int = 48, width: int = 64) -> np.ndarray:
    """White on the left, with a soft edge."""
    return np.tile(np.linspace(510, -255, width).clip(0, 255), (height, 1))


def shown(path: Any) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_photo_that_is_none_leaves_the_one_before(desk: Desk, tmp_path: Path) -> None:
    before = desk.take_photo(picture(tmp_path / "a.png"), "a.png")
    (tmp_path / "b.png").write_bytes(b"none")
    with pytest.raises(ImpastoError) as found:
        desk.take_photo(tmp_path / "b.png", "b.png")
    assert desk.plain(found.value).startswith("b.png: not a picture")
    assert desk.photo is before
    assert sorted(file.name for file in desk.folder.rglob("*.*")) == ["a.png", "a.png", "photo.jpg"]


def test_another_photo_takes_files_and_masks_of_the_one_before_away(desk: Desk, tmp_path: Path) -> None:
    desk.take_photo(picture(tmp_path / "a.png"), "a.png")
    desk.set_mask(ALL, brushed(half()))
    desk.take_photo(picture(tmp_path / "b.png"), "b.png")
    assert desk.masks == {}
    assert sorted(file.name for file in desk.folder.rglob("*.*")) == ["b.png", "b.png", "photo.jpg"]
    desk.clear()
    assert not desk.folder.exists()


def test_a_mask_must_be_a_png(desk: Desk) -> None:
    for wrong in ("data:text/html;base64,AAAA", "data:image/png;base64,!", "data:image/png;base64,AAAA", "/a.png"):
        with pytest.raises(ImageError, match="brush it again"):
            desk.set_mask(ALL, wrong)
    assert desk.masks == {}


def test_the_same_painting_twice_is_one(desk: Desk, tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert desk.take_painting(tmp_path / "a.png", "a.png") == desk.take_painting(tmp_path / "b.png", "b.png")
    assert sorted(file.name for file in desk.folder.rglob("*.*")) == ["a.png", "style.jpg"]


def test_desks_are_apart_and_go_when_nobody_works_at_them(tmp_path: Path) -> None:
    desks = Desks(tmp_path / "desks")
    one, other = desks.of("one"), desks.of("other")
    one.take_photo(picture(tmp_path / "a.png"), "a.png")
    assert other.photo is None
    assert desks.of("one") is one
    one.used -= 7200
    desks.sweep()
    assert not one.folder.exists()
    assert desks.of("one") is not one
    desks.clear()
    assert not (tmp_path / "desks").exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a.png", "a.png"), ("../../etc/passwd", "passwd"), ("C:\\x\\<img src=x>.jpg", "_img src_x_.jpg"),
     ("..", "picture"), ("", "picture"), ("a" * 300 + ".png", "a" * 80 + ".png"), ("-rf.png", "rf.png"),
     ("a;b|c.png", "a_b_c.png")],
)  # fmt: skip
def test_names_of_files_are_plain(name: str, kept: str) -> None:
    assert plain_name(name) == kept


def test_names_are_each_once() -> None:
    assert names_in_order(["a.png", "a.png", "b.png", "a-2.png", "a.png"]) == [
        "a.png", "a-2.png", "b.png", "a-2-2.png", "a-3.png",
    ]  # fmt: skip


def test_controls_become_a_request_of_what_differs_from_the_defaults(desk: Desk) -> None:
    request = WAVE.request(desk)
    assert request.given == ("style", "style_scale")
    found = controls_of({"chosen": [{"id": "great-wave", "weight": 0.5}]}, 50, 120, True, "good", 1024)
    request = found.request(desk)
    assert (request.strength, request.style_scale, request.keep_colors, request.size) == (0.5, "120%", True, 1024)
    assert request.quality is None  # the gallery has one
    with pytest.raises(OptionError, match="choose a style"):
        Controls().request(desk)
    with pytest.raises(OptionError, match="not here any more"):
        Controls((("own-7", 1.0),)).request(desk)


def test_a_preview_is_painted_in_one_pass(desk: Desk, tmp_path: Path) -> None:
    key = desk.take_painting(picture(tmp_path / "a.png"), "a.png")
    controls = Controls(((key, 1.0),), strokes=10, quality="best", size=2048)
    desk.further = {"steps": 7}
    assert controls.request(desk).quality == "best"
    assert controls.request(desk).steps == 7
    preview = controls.preview(desk)
    assert preview.given == ("style", "style_scale")
    assert preview.style_scale == "35%"


def test_masks_are_one_for_all_or_one_for_each(desk: Desk) -> None:
    both = Controls((("great-wave", 1.0), ("senecio", 1.0)))
    desk.set_mask(ALL, brushed(half()))
    assert len(both.request(desk).mask) == len(WAVE.request(desk).mask) == 1
    desk.set_mask("senecio", brushed(half()))
    first, second = both.request(desk).mask
    assert shown(first).min() == 255
    assert Path(second) == desk.masks["senecio"]
    assert request_without_masks(both, desk).mask == ()
    desk.set_mask(ALL, "")
    desk.set_mask("senecio", "")
    assert both.request(desk).mask == ()


def test_masks_are_obeyed_and_a_part_of_a_painting_is_what_is_meant(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    photo = picture(tmp_path / "a.png")
    shutil.copy(photo, tmp_path / "copy.png")
    studio.take_photo(desk, tmp_path / "copy.png", "a.png")
    desk.controls = Controls((("great-wave", 1.0), ("senecio", 1.0)))
    studio.brush(desk, "senecio", brushed(half()))
    studio.preview(desk)
    masks = [Image.new("L", (64, 48), 255), Image.fromarray(half().astype(np.uint8))]
    wanted = impasto.stylize(photo, ["great-wave", "senecio"], mask=masks, style_scale="50%", engine="torch")
    assert np.abs(shown(studio.view(desk)["after"]) - np.asarray(wanted).astype(int)).max() <= 1
    key = desk.take_painting(picture(tmp_path / "b.png", seed=2), "b.png")
    desk.controls = Controls(((key, 1.0),))
    studio.brush(desk, f"part:{key}", brushed(half()))
    with Image.open(desk.paintings[key].source) as part:
        assert part.mode == "RGBA"
        assert np.abs(np.asarray(part.getchannel("A")).astype(float) - half()).max() <= 2
    rows = {row["id"]: row["label"] for row in studio.view(desk)["targets"]}
    assert rows == {ALL: "Where the style goes", f"part:{key}": "Which part of b is meant"}


def test_the_command_and_the_call_name_files_without_folders(desk: Desk, tmp_path: Path) -> None:
    key = desk.take_painting(picture(tmp_path / "a.png"), "my painting.png")
    desk.set_mask(ALL, brushed(half()))
    controls = Controls(((key, 0.5),), strength=70, keep_colors=True, quality="good", size=0)
    request, name = controls.request(desk), output_name("beach.jpg", controls, desk)
    assert command_for(request, "beach.jpg", f"{name}.png") == (
        "impasto stylize beach.jpg --style 'my painting.png:0.5' --size 0 --strength 0.7 --mask mask.png --keep-colors "
        "--quality good --style-scale 50% -o 'beach-my painting.png'"
    )
    call = call_for(request, "beach.jpg", f"{name}.png")
    assert "    [('my painting.png', 0.5)],\n" in call
    assert "    mask='mask.png',\n    keep_colors=True,\n" in call
    assert str(tmp_path) not in call


def test_a_recipe_sets_the_controls_back(desk: Desk, tmp_path: Path) -> None:
    photo, own = picture(tmp_path / "a.png"), picture(tmp_path / "own.png", seed=3)
    options: dict[str, Any] = {"strength": 0.25, "style_scale": "80%", "keep_colors": True, "size": 44}
    impasto.stylize(photo, own, **options, output=tmp_path / "b.png")
    recipe = read_recipe(tmp_path / "b.png")
    controls, notes = from_recipe(recipe, desk)
    assert controls.styles == ()
    assert "own.png, a picture that is not here" in notes[0]
    key = desk.take_painting(own, "other name.png")
    controls, notes = from_recipe(recipe, desk)
    assert controls == Controls(((key, 1.0),), 25.0, 80.0, True, "draft", 44)
    assert notes == []


def test_strokes_of_a_recipe_count_at_the_size_of_its_painting(desk: Desk, tmp_path: Path) -> None:
    impasto.stylize(picture(tmp_path / "a.png", (1024, 40)), "senecio", style_scale=2, output=tmp_path / "b.png")
    desk.take_photo(tmp_path / "a.png", "a.png")
    assert from_recipe(read_recipe(tmp_path / "b.png"), desk)[0].strokes == 100.0


def test_options_without_a_control_are_kept_until_they_are_left_out(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", seed=3)
    options: dict[str, Any] = {"preset": "quick", "steps": 1, "seed": 3, "size": 44}
    impasto.stylize(picture(tmp_path / "a.png"), own, **options, output=tmp_path / "b.png")
    key = desk.take_painting(own, "own.png")
    studio.take_settings(desk, read_recipe(tmp_path / "b.png"))
    assert desk.controls is not None
    request = desk.controls.request(desk)
    assert (request.preset, request.steps, request.seed, request.style[0].image) == (
        "quick", 1, 3, desk.paintings[key].path
    )  # fmt: skip
    assert studio.view(desk)["further"] == "preset quick, steps 1, seed 3"
    studio.leave_out(desk)
    assert desk.controls.request(desk).given == ("style", "size", "style_scale")


def test_painting_at_full_size_is_kept_and_changes_make_it_old(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    studio.take_photo(desk, picture(tmp_path / "a.png"), "a.png")
    studio.choose(desk, WAVE)
    records = [studio.view(desk) for _ in studio.paint(desk)]
    assert all(record["running"] for record in records)
    view = studio.view(desk)
    assert view["ready"]
    assert not view["running"]
    assert [row["title"] for row in studio.history(desk)["rows"]] == ["a-great-wave"]
    studio.save(desk, "jpeg")
    assert studio.view(desk)["saved"]["name"] == "a-great-wave.jpg"
    studio.choose(desk, Controls(WAVE.styles, strength=50))
    assert not studio.view(desk)["ready"]
    with pytest.raises(DataError, match="paint it first"):
        studio.save(desk, "png")
    studio.save(desk, "png", 0)


def test_stopping_leaves_nothing_half_written(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    studio.take_photo(desk, picture(tmp_path / "a.png"), "a.png")
    studio.choose(desk, WAVE)
    steps = studio.paint(desk)
    next(steps)
    desk.stop()
    list(steps)
    assert studio.view(desk)["status"] == "Stopped."
    assert not studio.view(desk)["running"]
    assert desk.done == []
    assert not [file for file in desk.folder.rglob("*great-wave*") if file.is_file()]


def test_files_that_are_one_upload_are_as_many_as_were_chosen(desk: Desk, tmp_path: Path) -> None:
    upload = tmp_path / "hash" / "a.png"
    upload.parent.mkdir()
    desk.add_waiting([(picture(upload), "a.png"), (upload, "a.png")])
    assert [file.name for file in desk.waiting] == ["a.png", "a.png"]
    assert not upload.parent.exists()
    desk.clear_waiting()
    assert not [file for file in desk.folder.rglob("*") if file.is_file()]


def test_a_server_s_limits_hold_on_its_page(served: Studio, service: Service, tmp_path: Path) -> None:
    service.limits = Limits(megapixels=0.002, steps=3, seconds=30)
    place = Desks(tmp_path / "desks", service.limits.megapixels, served.painter.act_of).of("one", "somebody")
    with pytest.raises(ImpastoError, match=r"a.png: 64x48 px .* megapixels"):
        served.take_photo(place, picture(tmp_path / "a.png"), "a.png")
    served.take_photo(place, picture(tmp_path / "a.png", (44, 40)), "a.png")
    key = place.take_painting(picture(tmp_path / "b.png", (44, 40), seed=1), "b.png")
    place.controls = Controls(((key, 1.0),), quality="good")
    with pytest.raises(OptionError, match="at most 3"):
        list(served.paint(place))
    place.controls, place.further = Controls(WAVE.styles, size=100), {"upscale": True}
    with pytest.raises(OptionError, match=r"100x91 px .* choose a smaller `size`"):
        list(served.paint(place))
    place.further = {}
    service.limits = Limits(seconds=1e-9)
    with pytest.raises(OptionError, match="not finished after 1e-09 s"):
        list(served.paint(place))
    assert place.done == []
    assert not served.view(place)["running"]
    assert list(place.folder.rglob("*great-wave*")) == []


def test_a_full_queue_is_told_on_the_page(served: Studio, service: Service, tmp_path: Path) -> None:
    service.limits = replace(service.limits, queue=1, jobs_per_client=1)
    first, second, third = (
        laid(desk_of(served, tmp_path / f"desk{i}", f"client {i}"), served, tmp_path, **LONG) for i in range(3)
    )
    paintings = [served.paint(one) for one in (first, second)]
    for painting in paintings:
        next(painting)
        next(painting)
    until(lambda: (next(paintings[1]), "Waiting" in served.view(second)["progress"]["label"])[1])
    assert served.view(second)["progress"]["label"] == "Waiting for its turn"
    with pytest.raises(BusyError) as refused:
        list(served.paint(third))
    served.told(third, refused.value)
    assert served.view(third)["problem"] == "1 jobs are waiting, and no more are taken now: try again later"
    again = desk_of(served, tmp_path / "again", "client 0")
    with pytest.raises(BusyError, match="1 jobs of yours are waiting or running"):
        list(served.paint(laid(again, served, tmp_path, **LONG)))
    third.controls, third.further = WAVE, {}
    served.preview(third)  # what is small does not wait for what is large
    assert served.view(third)["after"]
    for painting in paintings:
        painting.close()  # as by who closes the page
    until(lambda: service.jobs == () and not service.running())
    assert first.stops is None


def test_several_photos_wait_for_room(served: Studio, service: Service, tmp_path: Path) -> None:
    service.limits = replace(service.limits, jobs_per_client=1)
    other = service.submit(Image.new("RGB", (64, 48)), StylizeRequest.of(style="great-wave"), client="somebody")
    os.kill(service.keepers[0].pid, signal.SIGSTOP)
    desk = laid(desk_of(served, tmp_path / "desk"), served, tmp_path)
    desk.add_waiting([(picture(tmp_path / "b.jpg"), "b.jpg")])
    told = []
    try:
        for record in paint_several(served, desk):
            told.append(record["rows"][0]["told"])
            if "busy" in told[-1]:
                service.forget(other)
                os.kill(service.keepers[0].pid, signal.SIGCONT)
    finally:
        os.kill(service.keepers[0].pid, signal.SIGCONT)
    assert told[1] == "Waiting: the server is busy"
    assert told[-1] == "b-great-wave.jpg"
    assert desk.archive is not None


@pytest.mark.parametrize("queue", ["auto", PAGE])
def test_a_process_that_is_killed_is_told_and_replaced(
    served: Studio, service: Service, tmp_path: Path, queue: str
) -> None:
    keeper = next(keeper for keeper in service.keepers if keeper.queue == queue)
    before, starts = keeper.pid, keeper.starts
    desk = laid(desk_of(served, tmp_path / "desk"), served, tmp_path, **(LONG if queue == "auto" else {}))

    def paint() -> None:
        for _ in served.paint(desk):
            if "step" in served.view(desk)["progress"]["label"]:
                os.kill(keeper.pid, signal.SIGKILL)

    def preview() -> None:
        large = picture(tmp_path / "large.png", (2400, 1800))
        request = StylizeRequest.of(style="great-wave", style_scale=1)
        with ThreadPoolExecutor(1) as beside:
            working = beside.submit(served.painter.preview, desk, large, request, desk.place("preview.png"))
            until(lambda: keeper.took and any(job.tell_worker for job in service.jobs))  # it has begun with this
            os.kill(keeper.pid, signal.SIGKILL)
            working.result()

    with pytest.raises(ImpastoError) as found:
        (paint if queue == "auto" else preview)()
    served.told(desk, found.value)
    assert served.view(desk)["problem"].startswith("The process that painted this was killed (SIGKILL")
    assert not served.view(desk)["running"]
    desk.controls, desk.further = WAVE, {}
    list(served.paint(desk))
    served.preview(desk)
    assert served.view(desk)["after"]
    assert (keeper.starts, keeper.pid == before) == (starts + 1, False)


def test_an_optimisation_shows_pictures_on_the_way(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    laid(desk, studio, tmp_path, **LONG)
    seen: set[str] = set()
    for _ in studio.paint(desk):
        view = studio.view(desk)
        if view["after"]:
            seen.add(view["after"])
            assert shown(view["after"]).shape == (72, 96, 3)
        if len(seen) > 2:
            desk.stop()
    assert studio.view(desk)["status"] == "Stopped."
    assert desk.stops is None


def test_hostile_files_are_opened_elsewhere(served: Studio, service: Service, tmp_path: Path) -> None:
    desk, starts = desk_of(served, tmp_path / "desk"), [keeper.starts for keeper in service.keepers]
    for name, data in [*hostile()][::12]:
        file = tmp_path / "x.png"
        file.write_bytes(data)
        with pytest.raises(ImpastoError):
            served.take_photo(desk, file, "x.png")
        assert desk.photo is None, name
    assert [keeper.starts for keeper in service.keepers] == starts
    assert not [file for file in desk.folder.rglob("*") if file.is_file()]


def test_several_photos_stop_after_the_one_that_is_painted(desk: Desk, studio: Studio, tmp_path: Path) -> None:
    desk.add_waiting([(picture(tmp_path / name), name) for name in ("a.png", "b.png")])
    desk.controls = WAVE
    found = []
    for record in paint_several(studio, desk):
        found.append(record)
        if record["rows"][0]["state"] == "done":
            desk.stop()
    assert [row["state"] for row in found[-1]["rows"]] == ["done", "left"]
    assert found[-1]["status"].startswith("Stopped: 1 of 2 painted")
    assert [record["n"] for record in found] == sorted({record["n"] for record in found})


def test_what_goes_wrong_is_one_sentence_without_folders(desk: Desk, studio: Studio) -> None:
    studio.told(desk, OptionError("`style_scale` is 0, need more"))
    assert studio.view(desk)["problem"] == "Stroke size is 0, need more"
    studio.told(desk, ImpastoError(f"{desk.folder}/0123456789abcdef/a.png: is damaged"))
    assert studio.view(desk)["problem"] == "a.png: is damaged"
    studio.told(desk, KeyError("x"))
    assert "KeyError" in studio.view(desk)["problem"]


def test_the_guard_lets_no_address_through() -> None:
    passed: list[str] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        passed.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def status(path: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        with ThreadPoolExecutor(1) as alone:  # Playwright's own loop may be running in this thread
            alone.submit(asyncio.run, Guard(app)({"type": "http", "path": path}, None, send)).result()  # type: ignore[arg-type]
        return int(sent[0]["status"])

    for path in (
        "/gradio_api/file=http://a.b/c",
        "/file=HTTPS://a.b/c",
        "/gradio_api/proxy=https://a.b",
        "/x/file=ftp://a/b",
    ):
        assert status(path) == 403
    for path in ("/", "/gradio_api/file=/tmp/a.png", "/gradio_api/file=C:/a.png", "/v1/stylize"):
        assert status(path) == 200
    assert len(passed) == 4
