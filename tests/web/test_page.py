"""The page in a real browser: what it paints is what Python paints, and nothing leaves the tab."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import impasto

from .conftest import EXAMPLES, Serve, Studio, png

APART = 2  # of 255, anywhere
LARGE = (4000, 3000)


def difference(studio: Studio, image: Image.Image) -> int:
    found, wanted = studio.pixels(), np.asarray(image.convert("RGB")).astype(np.int16)
    assert found.shape == wanted.shape
    return int(np.abs(found - wanted).max())


def test_a_picture_is_painted_as_python_paints_it(studio: Studio, photo: Path) -> None:
    studio.open(photo)
    studio.reset()
    studio.painted()
    assert "331 \N{MULTIPLICATION SIGN} 221 pixels" in studio.status
    name, path = studio.save("jpeg")
    assert name == "chelsea-great-wave.jpg"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (331, 221))
    gallery = impasto.load("gallery", precision="float32")
    assert difference(studio, gallery.stylize(photo, "great-wave")) <= APART


def test_every_option_means_what_it_means_in_python(
    studio: Studio, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But that larger strokes are those of a smaller painting, enlarged, as networks of one style have them there."""
    monkeypatch.setattr("impasto.stylizer.model.COARSE_TO_FINE", frozenset())
    studio.open(photo)
    studio.style("the-scream")
    studio.page.select_option("#second", "udnie")
    studio.set("share", 30)
    studio.set("strength", 60)
    studio.set("strokes", 1)
    studio.painted()
    model = impasto.load("gallery", precision="float32")
    options: dict[str, Any] = {"style": {"the-scream": 0.7, "udnie": 0.3}, "strength": 0.6, "style_scale": 1.4}
    assert difference(studio, model.stylize(photo, **options)) <= APART
    studio.page.check("#keep")
    studio.painted()
    assert difference(studio, model.stylize(photo, **options, keep_colors=True)) <= APART
    studio.reset()


def test_a_dropped_painting_is_a_style(studio: Studio, photo: Path) -> None:
    with Image.open(EXAMPLES / "styles" / "composition.jpg") as image:
        painting = image.convert("RGB").resize((701, 547))
    studio.open(photo)
    studio.drop("#panel", "composition.png", png(painting))
    studio.page.wait_for_selector("input[value=own-0]:checked", state="attached")
    studio.painted()
    assert studio.page.inner_text("#credit") == "composition, a painting of yours"
    universal = impasto.load("universal", precision="float32")
    assert difference(studio, universal.stylize(photo, painting)) <= APART
    studio.reset()


def test_a_plain_wall_has_the_ground_that_it_has_in_python(studio: Studio, tmp_path: Path) -> None:
    """Without which it would be a pattern that repeats; of a size that ends amid cells and blots."""
    rows = np.full((173, 251, 3), (150, 140, 130), np.uint8)
    rows[:, 130:] = np.linspace(90, 190, 121)[:, None]
    path = tmp_path / "wall.png"
    path.write_bytes(png(Image.fromarray(rows)))
    gallery = impasto.load("gallery", precision="float32")
    studio.open(path)
    studio.reset()
    studio.painted()
    assert difference(studio, gallery.stylize(path, "great-wave")) <= APART
    studio.set("strength", 60)
    studio.painted()
    assert difference(studio, gallery.stylize(path, "great-wave", strength=0.6)) <= APART
    studio.reset()


def test_twelve_megapixels(studio: Studio, tmp_path: Path) -> None:
    """The whole picture at once, with statistics of the whole picture, and so the same as Python's."""
    with Image.open(EXAMPLES / "photos" / "astronaut.jpg") as image:
        large = image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC)
    path = tmp_path / "large.png"
    path.write_bytes(png(large))
    studio.open(path)
    assert "Painted at 1000 \N{MULTIPLICATION SIGN} 750" in studio.status  # by larger strokes, at first
    studio.set("strokes", 0)
    studio.painted(timeout=300_000)
    assert "4000 \N{MULTIPLICATION SIGN} 3000 pixels" in studio.status
    gallery = impasto.load("gallery", precision="float32")
    assert difference(studio, gallery.stylize(large, "great-wave", style_scale=1)) <= APART


def test_what_does_not_fit_is_refused_with_what_would(
    browser: Any, folder: Path, serve: Serve, photo: Path, tmp_path: Path
) -> None:
    """As it is where memory ends at 70 MB."""
    small = tmp_path / "page"
    shutil.copytree(folder, small)
    engine = small / "engine.js"
    engine.write_text(engine.read_text("utf-8").replace("WASM_LIMIT = 4e9", "WASM_LIMIT = 70e6"), "utf-8")
    context = browser.new_context(service_workers="block")
    studio = Studio(context, serve(small).address)
    with Image.open(photo) as image:
        large = tmp_path / "large.png"
        large.write_bytes(png(image.resize((400, 300))))
    studio.page.set_input_files("#picture", large)
    alert = studio.page.get_by_role("alert")
    alert.wait_for()
    told = alert.inner_text()
    assert re.search(r"400 . 300 pixels do not fit .*: a picture size of 320, or strokes of 1.2., would do", told), told
    studio.page.select_option("#size", "320")
    studio.painted()
    assert alert.is_hidden()
    context.close()


def test_cancel_ends_at_once_and_painting_can_be_asked_for_again(studio: Studio, tmp_path: Path) -> None:
    with Image.open(EXAMPLES / "photos" / "astronaut.jpg") as image:
        path = tmp_path / "middle.png"
        path.write_bytes(png(image.convert("RGB").resize((2000, 1500))))
    studio.open(path)
    studio.set("strokes", 0)
    studio.page.get_by_role("button", name="Cancel").click()
    studio.page.get_by_text("Stopped.").wait_for(timeout=2000)
    assert studio.page.is_disabled("#png")
    with Image.open(EXAMPLES / "styles" / "wave.jpg") as painting:
        studio.drop("#panel", "wave.png", png(painting))
    studio.page.wait_for_selector("#styles label:has-text('wave') input:checked", state="attached")
    studio.set("strokes", 6)
    studio.painted()
    assert "Painted at 250" in studio.status
    studio.reset()


def test_orientation_is_obeyed(studio: Studio, photo: Path) -> None:
    with Image.open(photo) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = photo.with_name("turned.jpg")
        image.save(turned, exif=exif)
    studio.open(turned)
    assert "221 \N{MULTIPLICATION SIGN} 331 pixels" in studio.status


def test_what_is_no_picture_is_told_and_the_one_before_stays(studio: Studio, photo: Path) -> None:
    studio.open(photo)
    studio.page.set_input_files("#picture", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"})
    alert = studio.page.get_by_role("alert")
    alert.wait_for()
    assert "not a picture" in alert.inner_text()
    studio.painted()
    assert studio.save()[0] == "chelsea-great-wave.png"


def test_the_camera_is_painted(studio: Studio, photo: Path) -> None:
    studio.open(photo)
    studio.page.evaluate(
        """() => {
            window.shown = [];
            const view = document.getElementById("view");
            const look = () => window.shown.push(view.width);
            new MutationObserver(look).observe(view, { attributes: true, attributeFilter: ["width"] });
        }"""
    )
    studio.page.get_by_role("button", name="Live camera").click()
    studio.page.locator("#view").wait_for()
    studio.page.wait_for_function("() => window.shown.length > 3")  # one frame after another
    assert studio.page.evaluate("() => window.shown[0]") == 320  # as it begins on every device
    assert studio.page.is_disabled("#png")
    studio.page.get_by_role("button", name="Keep this picture").click()
    studio.painted()
    assert studio.page.is_hidden("#live")
    assert studio.save()[0].startswith("camera-")


def test_it_is_used_by_keyboard_alone(studio: Studio, photo: Path) -> None:
    studio.open(photo)
    page = studio.page
    page.evaluate("() => document.querySelector('#styles input:checked').focus()")
    page.keyboard.press("ArrowRight")
    studio.painted()
    chosen = page.evaluate("() => document.querySelector('#styles input:checked').value")
    assert chosen == "impression-sunrise"
    assert page.evaluate("() => document.activeElement.closest('label').matches(':has(:focus-visible)')")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.id"))
    wanted = ["add", "second", "strength", "strokes", "size", "keep", "png", "jpeg"]
    assert [name for name in seen if name in wanted] == wanted
    page.locator("#split").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.locator("#split").input_value() == "3"
    assert page.locator("#split").get_attribute("aria-valuetext") == "3 % photo"
    studio.reset()


def test_everything_has_a_name(studio: Studio) -> None:
    nameless = studio.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=img]")].filter((element) =>
          !(element.getAttribute("aria-label") || element.textContent.trim() || element.labels?.[0]?.textContent.trim())
        ).map((element) => element.outerHTML)"""
    )
    assert nameless == []
    assert studio.page.get_by_role("radiogroup", name="Style").get_by_role("radio").count() >= 26
    assert studio.page.locator("[role=status][aria-live=polite]").count() == 1


def test_a_phone_scrolls_one_way(studio: Studio, photo: Path) -> None:
    studio.open(photo)
    studio.page.set_viewport_size({"width": 360, "height": 740})
    try:
        assert studio.page.evaluate("() => document.documentElement.scrollWidth") == 360
        box = studio.page.locator("#frame").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    finally:
        studio.page.set_viewport_size({"width": 1280, "height": 800})


def test_any_server_will_do_and_then_none(browser: Any, folder: Path, serve: Serve, photo: Path) -> None:
    """The service worker brings the headers that threads need, and keeps everything."""
    server = serve(folder, bare=True)
    context = browser.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    studio = Studio(context, server.address)
    page = studio.page
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert page.evaluate("() => crossOriginIsolated")
    threads = min(8, page.evaluate("() => navigator.hardwareConcurrency"))
    assert page.get_attribute("body", "data-engine") == f"wasm {threads}"
    page.wait_for_selector("body[data-offline]")
    server.shutdown()
    server.server_close()
    context.set_offline(True)
    page.reload()
    page.wait_for_selector("body[data-engine]")
    studio.open(photo)
    assert "331 \N{MULTIPLICATION SIGN} 221 pixels" in studio.status
    with Image.open(EXAMPLES / "styles" / "starry.jpg") as painting:
        studio.drop("#panel", "starry.png", png(painting))
    page.wait_for_selector("input[value=own-0]:checked", state="attached")
    studio.painted()
    assert studio.faults == []
    context.close()


def test_nothing_was_asked_of_anybody_else(studio: Studio) -> None:
    outside = [url for url in studio.requests if not url.startswith((studio.address, f"blob:{studio.address}"))]
    assert outside == []
    assert studio.faults == []
