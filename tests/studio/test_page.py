"""The studio's page in a real browser, on a server of its own: what is done on it is what Python does."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

import impasto
from impasto.cli.app import app
from impasto.imaging import read_recipe

from .studio_samples import until

pytest.importorskip("gradio", reason="needs the extra studio")
pytest.importorskip("uvicorn", reason="needs the extra studio")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
AXE = EXAMPLES.parent / "build" / "axe-core" / "axe.min.js"
PATIENCE = 300_000  # ms: machines may be busy
APART = 2  # of 255
SERVER = """
import sys
from impasto.cli.app import main
sys.argv = ["impasto", "studio", "--port", "0", "--no-browser", "--workers", "1", *sys.argv[1:]]
main()
"""
NOTEBOOK = """
import threading
from impasto.studio.page import show_page
print(show_page().local_url, flush=True)
threading.Event().wait()
"""
HEARS = """
import json, os, sys
calls = open(os.environ["CALLS"], "a", buffering=1)
def hear(event, values):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.gethostbyname"):
        place = values[0] if event != "socket.connect" else values[1]
        calls.write(json.dumps([event, str(place)]) + "\\n")
sys.addaudithook(hear)
"""
PASTE = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], name, { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""
DROP = """([at, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector(at).dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
  }
}"""


class Server:
    """`impasto studio`, or another program that serves the page, whose processes write down whom they call."""

    def __init__(self, folder: Path, *options: str, program: str = SERVER) -> None:
        self.folder, self.calls = folder, folder / "calls"
        for name in ("tmp", "hears"):
            (folder / name).mkdir()
        (folder / "hears" / "sitecustomize.py").write_text(HEARS)
        modules = os.pathsep.join(filter(None, [str(folder / "hears"), os.environ.get("PYTHONPATH")]))
        environment = {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1", "CALLS": str(self.calls)}
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *options], stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=os.environ | environment | {"PYTHONPATH": modules},
        )  # fmt: skip
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.address = next((line.strip() for line in lines if line.startswith("http://127.0.0.1:")), "")
        assert self.address, (folder / "log").read_text()

    def outside(self) -> list[str]:
        """Whom it called beside this machine."""
        own = re.compile(r"127\.0\.0\.1|localhost|::1|/")
        rows = [json.loads(line) for line in self.calls.read_text().splitlines()]
        return [row for row in rows if row[1] not in ("None", "") and not own.search(row[1])]

    def files(self) -> list[Path]:
        """What of its visitors lies on the disk."""
        return [file for file in (self.folder / "tmp").rglob("*") if file.is_file()]

    def count(self, name: str) -> float:
        """A number of the server's metrics."""
        with urlopen(f"{self.address}metrics") as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[-1])

    def workers(self) -> list[int]:
        """The numbers of the processes that it has started."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Page:
    """The page in the browser, and what one does on it."""

    def __init__(self, browser: Any, server: Server, **how: Any) -> None:
        self.server = server
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **how})
        self.context.set_default_timeout(PATIENCE)
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        for _ in range(240):  # until the server answers
            try:
                self.page.goto(server.address)
                break
            except Exception as error:
                assert server.process.poll() is None, (server.folder / "log").read_text()
                if "ERR_CONNECTION_REFUSED" not in str(error):
                    raise
                self.page.wait_for_timeout(250)
        self.page.wait_for_selector("#palette .tile")
        self.page.wait_for_selector("#easel [data-ready]")

    def shown(self, act: Any) -> None:
        """Do something, and wait until the page shows what came of it."""
        before = self.number()
        act()
        self.page.wait_for_function(
            "(before) => Number(document.querySelector('#easel [data-shown]')?.dataset.shown ?? -1) > before",
            arg=before,
        )
        self.page.wait_for_function(
            "() => document.querySelector('#easel [data-shown]').dataset.after"
            " === (document.querySelector('#easel .after').dataset.of ?? '')"
        )

    def number(self) -> int:
        return int(
            self.page.evaluate("() => Number(document.querySelector('#easel [data-shown]')?.dataset.shown ?? -1)")
        )

    def open(self, file: Any) -> None:
        """Choose a photo."""
        self.shown(lambda: self.page.set_input_files("#easel .file", file))

    def drop(self, at: str, name: str, content: bytes) -> None:
        self.page.evaluate(DROP, [at, name, base64.b64encode(content).decode()])

    def style(self, name: str) -> None:
        """Pick one by its thumbnail, and wait for its preview."""
        self.previewed(lambda: self.page.locator(f"#palette .tile:has(input[value={name}])").click())

    def previewed(self, act: Any) -> None:
        """Do something, and wait for another picture."""
        before = self.page.get_attribute("#easel .after", "data-of")
        act()
        self.page.wait_for_function(
            "(before) => { const found = document.querySelector('#easel .after').dataset.of;"
            " return found && found !== before; }",
            arg=before,
        )

    def set(self, name: str, value: int) -> None:
        """Move a slider and let go."""
        self.page.locator(f"#controls [data-name={name}]").fill(str(value))

    def picture(self) -> NDArray[np.int16]:
        """The picture that is shown as the painting."""
        return pixels(Path(str(self.page.get_attribute("#easel .after", "data-of"))))

    def chosen(self) -> list[str]:
        """The styles that are chosen."""
        return list(
            self.page.evaluate("() => [...document.querySelectorAll('#palette .tile :checked')].map((x) => x.value)")
        )

    def brush_on(self) -> None:
        self.page.get_by_role("button", name="Mask", exact=True).click()
        self.page.wait_for_selector("#easel canvas.mask:not([hidden])")

    def brush_off(self) -> None:
        self.page.get_by_role("button", name="Mask", exact=True).click()

    def stroke(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        """Brush from one place to another, shares of the picture."""
        canvas = self.page.locator("#easel canvas.mask")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end)]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        self.page.mouse.move(*points[1], steps=6)
        self.page.mouse.up()

    def save_brushed(self) -> tuple[str, Path]:
        """Save what is brushed."""
        with self.page.expect_download() as saving:
            self.page.get_by_role("button", name="Save the mask").click()
        return saving.value.suggested_filename, Path(saving.value.path())

    def mask(self) -> NDArray[np.uint8]:
        """The mask that is brushed."""
        with Image.open(self.save_brushed()[1]) as image:
            return np.asarray(image.convert("L"))

    def axe(self) -> list[str]:
        """What axe-core finds that is serious."""
        self.page.evaluate(AXE.read_text("utf-8"))
        found = self.page.evaluate("() => axe.run()")
        return [
            f"{row['id']}: {[node['target'] for node in row['nodes']]}"
            for row in found["violations"]
            if row["impact"] in ("serious", "critical")
        ]

    def paint(self) -> None:
        """At full size, to the end."""
        self.page.get_by_role("button", name="Paint at full size").click()
        self.page.wait_for_selector("#easel [data-save=png]:enabled")

    def save(self, kind: str = "png", at: str = "#easel") -> tuple[str, Path]:
        with self.page.expect_download() as saving:
            self.page.click(f"{at} [data-save={kind}]")
        return saving.value.suggested_filename, Path(saving.value.path())

    @property
    def status(self) -> str:
        return str(self.page.inner_text("#easel .status"))

    @property
    def problem(self) -> str:
        return str(self.page.inner_text("#easel .problem"))


def pixels(path: Path) -> NDArray[np.int16]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(browser: Any, server: Server) -> Iterator[Page]:
    found = Page(browser, server)
    yield found
    found.context.close()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "chelsea.png"
    with Image.open(EXAMPLES / "photos" / "chelsea.jpg") as image:
        path.write_bytes(png(image.convert("RGB").resize((331, 221))))
    return path


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("painting") / "composition.png"
    with Image.open(EXAMPLES / "styles" / "composition.jpg") as image:
        path.write_bytes(png(image.convert("RGB").resize((300, 234))))
    return path


def difference(page: Page, wanted: Image.Image) -> int:
    found = page.picture()
    expected = np.asarray(wanted.convert("RGB")).astype(np.int16)
    assert found.shape == expected.shape
    return int(np.abs(found - expected).max())


def test_a_photo_and_a_style_give_a_preview(page: Page, photo: Path) -> None:
    page.open(photo)
    assert "chelsea.png, 331 \N{MULTIPLICATION SIGN} 221 px" in page.status
    page.style("great-wave")
    assert page.status.startswith("Preview, 331 \N{MULTIPLICATION SIGN} 221 px")
    assert page.page.inner_text("#palette .credit") == "The Great Wave off Kanagawa, Katsushika Hokusai, 1831"
    assert difference(page, impasto.stylize(photo, "great-wave", style_scale="50%", engine="torch")) <= APART
    assert page.problem == ""


def test_every_control_means_what_it_means_in_python(page: Page, photo: Path) -> None:
    page.page.check("#palette .mix input")
    page.style("senecio")
    page.previewed(lambda: page.page.locator("#palette .weights [data-id=senecio] input").fill("40"))
    page.previewed(lambda: page.set("strength", 60))
    page.previewed(lambda: page.set("strokes", 100))
    page.previewed(lambda: page.page.check("#controls [data-name=keep_colors]"))
    styles = [("great-wave", 1.0), ("senecio", 0.4)]
    options: dict[str, Any] = {"strength": 0.6, "style_scale": "100%", "keep_colors": True, "engine": "torch"}
    assert difference(page, impasto.stylize(photo, styles, **options)) <= APART
    page.page.uncheck("#controls [data-name=keep_colors]")
    page.set("strokes", 50)
    page.previewed(lambda: page.set("strength", 100))
    page.page.uncheck("#palette .mix input")
    alone = impasto.stylize(photo, "great-wave", style_scale="50%", engine="torch")
    until(lambda: difference(page, alone) <= APART)  # the last of several previews
    assert page.page.locator("#palette .tile input:checked").count() == 1


def test_a_brushed_mask_is_obeyed_with_its_soft_edges(page: Page, photo: Path) -> None:
    whole = page.picture()
    page.brush_on()
    page.previewed(lambda: page.stroke((0.2, 0.3), (0.5, 0.6)))
    mask = page.mask()
    assert mask.min() == 0
    assert mask.max() == 255
    assert ((mask > 20) & (mask < 235)).mean() > 0.03  # no hard edge
    wanted = impasto.stylize(photo, "great-wave", style_scale="50%", mask=Image.fromarray(mask), engine="torch")
    assert difference(page, wanted) <= APART
    found, plain = page.picture(), pixels(photo)
    assert np.abs(found[:40, 250:] - plain[:40, 250:]).max() == 0  # far from the brush: the photo
    row, column = round(221 * 0.45), round(331 * 0.35)
    assert np.abs(found[row, column] - whole[row, column]).max() <= APART  # under it: the painting
    page.previewed(lambda: page.page.get_by_role("button", name="Clear", exact=True).click())
    assert np.abs(page.picture() - whole).max() <= APART
    page.brush_off()


def test_a_mask_is_brushed_by_keyboard(page: Page, photo: Path) -> None:
    whole = page.picture()
    page.brush_on()
    page.page.locator("#easel canvas.mask").focus()

    def act() -> None:
        page.page.keyboard.press("ArrowRight")
        page.page.keyboard.press("Space")

    page.previewed(act)
    assert 0 < (page.mask() > 127).mean() < 0.3
    page.previewed(lambda: page.page.get_by_role("button", name="Clear", exact=True).click())
    assert np.abs(page.picture() - whole).max() <= APART
    page.brush_off()


def test_strokes_that_follow_each_other_are_all_painted(page: Page) -> None:
    page.brush_on()
    page.page.get_by_role("button", name="Clear", exact=True).click()
    at = (0.2, 0.5, 0.8)
    for y in at:
        page.stroke((0.1, y), (0.3, y))
    until(lambda: page.page.wait_for_timeout(300) or all(lies(page.mask(), y) for y in at))  # what Python has
    page.previewed(lambda: page.page.get_by_role("button", name="Clear", exact=True).click())
    page.brush_off()


def lies(mask: NDArray[np.uint8], y: float) -> bool:
    """Whether a stroke lies in this row of a mask."""
    return bool(mask[int(y * len(mask)), len(mask[0]) // 5] > 127)


def test_each_of_several_styles_has_a_mask(page: Page, photo: Path) -> None:
    page.page.check("#palette .mix input")
    page.style("senecio")
    page.brush_on()
    labels = page.page.locator("#easel .target option").all_inner_texts()
    assert labels == ["Where the mix goes", "Where The Great Wave off Kanagawa goes", "Where Senecio goes"]
    page.page.select_option("#easel .target select", "senecio")
    page.previewed(lambda: page.stroke((0.7, 0.2), (0.8, 0.7)))
    masks = [Image.new("L", (331, 221), 255), Image.fromarray(page.mask())]
    wanted = impasto.stylize(photo, ["great-wave", "senecio"], style_scale="50%", mask=masks, engine="torch")
    assert difference(page, wanted) <= APART
    page.previewed(lambda: page.page.get_by_role("button", name="Clear", exact=True).click())
    page.brush_off()
    page.previewed(lambda: page.page.uncheck("#palette .mix input"))


def test_a_painting_of_ones_own_and_the_part_of_it_that_is_meant(page: Page, photo: Path, painting: Path) -> None:
    page.previewed(lambda: page.drop("#palette .palette", "composition.png", painting.read_bytes()))
    assert page.page.inner_text("#palette .credit") == "composition, a painting of yours"
    assert difference(page, impasto.stylize(photo, painting, style_scale="50%")) <= APART
    page.brush_on()
    page.page.select_option("#easel .target select", "part:own-1")
    page.previewed(lambda: page.stroke((0.3, 0.3), (0.6, 0.3)))
    name, path = page.save_brushed()
    assert name == "composition-part.png"
    with Image.open(path) as part:
        assert part.size == (300, 234)
        alpha = np.asarray(part.getchannel("A"))
    assert alpha.min() == 0
    assert alpha.max() == 255
    assert difference(page, impasto.stylize(photo, path, style_scale="50%")) <= APART
    page.page.get_by_text("The same from the command line").click()
    assert "--style composition-part.png" in page.page.input_value("#command textarea")
    page.page.get_by_text("The same from the command line").click()
    page.previewed(lambda: page.page.get_by_role("button", name="Clear", exact=True).click())
    page.brush_off()


def test_full_size_in_every_format_with_its_recipe(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(EXAMPLES / "photos" / "astronaut.jpg") as image:
        photo = image.convert("RGB").resize((900, 700))
    page.open({"name": "space walk.png", "mimeType": "image/png", "buffer": png(photo)})
    page.style("starry-night")
    assert page.page.is_disabled("#easel [data-save=png]")
    assert page.status.startswith("Preview, 512 \N{MULTIPLICATION SIGN} 398 px")
    page.previewed(lambda: page.set("strength", 80))
    page.paint()
    assert page.status.startswith("Painted at 900 \N{MULTIPLICATION SIGN} 700 px")
    saved = {}
    for kind in ("png", "jpeg", "webp", "tiff"):
        name, path = page.save(kind)
        assert Path(name).stem == "space walk-starry-night"
        recipe = json.loads(read_recipe(path) or "{}")
        assert recipe["request"]["style"] == [{"style": "starry-night", "weight": 1.0}]
        assert recipe["request"]["strength"] == 0.8
        with Image.open(path) as image:
            assert (image.format, image.size) == (kind.upper(), (900, 700))
        saved[kind] = pixels(path)
    assert np.array_equal(saved["png"], saved["tiff"])
    page.page.get_by_text("The same from the command line").click()
    command, call = (page.page.input_value(f"#{name} textarea") for name in ("command", "call"))
    page.page.get_by_text("The same from the command line").click()
    monkeypatch.chdir(tmp_path)
    photo.save("space walk.png")
    exec(compile(call, "call", "exec"), {})
    assert np.abs(pixels(Path("space walk-starry-night.png")) - saved["png"]).max() <= APART
    Path("space walk-starry-night.png").unlink()
    arguments = shlex.split(command)
    assert arguments[0] == "impasto"
    assert CliRunner().invoke(app, arguments[1:]).exit_code == 0
    assert np.abs(pixels(Path("space walk-starry-night.png")) - saved["png"]).max() <= APART


def test_the_history_and_a_painted_picture_bring_settings_back(page: Page, photo: Path, tmp_path: Path) -> None:
    page.previewed(lambda: page.set("strength", 30))
    page.style("gray-tree")
    page.page.get_by_role("tab", name="History").click()
    item = page.page.locator("#history li").first
    assert "900 \N{MULTIPLICATION SIGN} 700 px" in item.inner_text()
    page.previewed(lambda: item.get_by_role("button", name="Use the settings").click())
    page.page.get_by_role("tab", name="Paint").click()
    assert page.chosen() == ["starry-night"]
    assert page.page.input_value("#controls [data-name=strength]") == "80"
    painted = tmp_path / "painted.jpg"
    options: dict[str, Any] = {"strength": 0.5, "style_scale": "80%", "keep_colors": True}
    impasto.stylize(photo, {"senecio": 0.75, "great-wave": 0.25}, **options, output=painted)
    page.previewed(lambda: page.page.set_input_files("#controls .file", painted))
    assert page.status.startswith("The settings of that painting are set.")
    assert set(page.chosen()) == {"senecio", "great-wave"}
    assert page.page.input_value("#palette [data-id=great-wave] input") == "25"
    assert page.page.input_value("#controls [data-name=strength]") == "50"
    assert page.page.input_value("#controls [data-name=strokes]") == "80"
    assert page.page.is_checked("#controls [data-name=keep_colors]")
    page.open(painted)
    page.page.get_by_role("button", name="Take its settings").wait_for()
    page.previewed(lambda: page.page.uncheck("#palette .mix input"))


def test_an_optimisation_is_seen_as_it_goes_and_can_be_stopped(page: Page, photo: Path, painting: Path) -> None:
    page.open(photo)
    page.previewed(lambda: page.page.set_input_files("#palette .file", painting))
    page.page.locator("#controls label:has(input[value=best])").click()
    page.page.wait_for_function("() => document.querySelector('#easel .status').textContent.includes('Quality best')")
    page.page.get_by_role("button", name="Paint at full size").click()
    seen = set()
    for _ in range(1200):
        seen.add(page.page.get_attribute("#easel .after", "data-of"))
        if len(seen) > 2:  # the preview, and two pictures on the way
            break
        page.page.wait_for_timeout(100)
    assert len(seen) > 2
    assert re.search(r"step \d+ of \d+, about .* left", page.page.inner_text("#easel .left"))
    page.page.get_by_role("button", name="Stop", exact=True).click()
    page.page.get_by_text("Stopped.").wait_for(timeout=30_000)
    assert page.page.is_disabled("#easel [data-save=png]")
    assert page.page.is_hidden("#easel .work")
    page.page.locator("#controls label:has(input[value=draft])").click()
    page.style("great-wave")


def test_what_is_no_picture_is_told_and_the_photo_stays(page: Page, photo: Path) -> None:
    page.open(photo)
    page.page.set_input_files("#easel .file", {"name": "<b>a</b>.png", "mimeType": "image/png", "buffer": b"none"})
    page.page.wait_for_function("() => document.querySelector('#easel .problem').textContent")
    assert "not a picture" in page.problem
    assert str(page.server.folder) not in page.problem
    assert page.page.locator("#easel .problem b").count() == 0
    page.paint()
    assert page.save()[0] == "chelsea-great-wave.png"
    assert page.problem == ""


def test_a_photo_is_pasted(page: Page, photo: Path) -> None:
    content = base64.b64encode(photo.read_bytes()).decode()
    page.shown(lambda: page.page.evaluate(PASTE, ["pasted.png", content]))
    page.paint()
    assert page.save()[0] == "pasted-great-wave.png"


def test_several_photos_come_back_as_a_zip(page: Page, photo: Path) -> None:
    page.page.get_by_role("tab", name="Several photos").click()
    with Image.open(photo) as image:
        jpeg = io.BytesIO()
        image.resize((120, 90)).save(jpeg, "JPEG")
    files = [("one.jpg", jpeg.getvalue()), ("bad.png", b"no picture"), ("two.png", photo.read_bytes())]
    page.page.set_input_files(
        "#queue .file",
        [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in [*files, files[0]]],
    )
    page.page.wait_for_selector("#queue .begin:enabled")
    with page.page.expect_download() as saving:
        page.page.click("#queue .begin")
    with zipfile.ZipFile(saving.value.path()) as collected:
        assert collected.testzip() is None
        names = ["one-great-wave.jpg", "two-great-wave.png", "one-great-wave-2.jpg"]
        assert collected.namelist() == names
        with Image.open(io.BytesIO(collected.read(names[0]))) as image:
            assert (image.format, image.size) == ("JPEG", (120, 90))
        assert read_recipe(io.BytesIO(collected.read(names[1]))) is not None
    assert "3 of 4 painted" in page.page.inner_text("#queue .status")
    assert "not a picture" in page.page.locator("#queue li[data-state=failed]").inner_text()
    page.page.get_by_role("tab", name="Paint").click()


def test_a_layer_is_looked_at(page: Page) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra torch")
    page.page.get_by_role("tab", name="Look inside").click()
    page.page.wait_for_function("() => document.querySelector('#layer input').value")
    page.page.click("#look")
    page.page.wait_for_selector("#lab img:not([hidden])")
    page.page.wait_for_function("() => document.querySelector('#lab img').naturalWidth > 400")
    page.page.get_by_role("tab", name="Paint").click()


def test_it_is_used_by_keyboard_alone(browser: Any, server: Server, photo: Path) -> None:
    page = Page(browser, server)
    keys = page.page.keyboard
    choosers: list[Any] = []  # listened to from the start: on a busy machine a key overtakes the wish to be told
    page.page.on("filechooser", lambda chooser: choosers.append(chooser))

    def tab_to(selector: str, most: int = 60) -> None:
        for _ in range(most):
            if page.page.evaluate(f"() => document.activeElement.matches({selector!r})"):
                return
            keys.press("Tab")
        raise AssertionError(f"no Tab leads to {selector}")

    tab_to("#easel .choose")
    keys.press("Enter")
    until(lambda: choosers or page.page.wait_for_timeout(20))
    page.shown(lambda: choosers[0].set_files(photo))
    tab_to("#palette .tile input")
    page.previewed(lambda: keys.press("Space"))
    page.previewed(lambda: keys.press("ArrowRight"))
    assert page.chosen() == ["composition-vii"]
    tab_to("#controls [data-name=strength]")
    page.previewed(lambda: keys.press("ArrowLeft"))
    assert page.page.input_value("#controls [data-name=strength]") == "95"
    page.page.evaluate("() => document.querySelector('#easel .split').focus()")
    for _ in range(3):
        keys.press("ArrowRight")
    assert page.page.input_value("#easel .split") == "3"
    tab_to("#easel .paint")
    keys.press("Enter")
    page.page.wait_for_selector("#easel [data-save=png]:enabled")
    tab_to("#easel [data-save=png]")
    with page.page.expect_download() as saving:
        keys.press("Enter")
    assert saving.value.suggested_filename == "chelsea-composition-vii.png"
    assert page.faults == []
    page.context.close()


def test_a_phone_scrolls_one_way_and_works_by_touch(browser: Any, server: Server, photo: Path) -> None:
    size = {"width": 360, "height": 740}
    page = Page(browser, server, viewport=size, is_mobile=True, has_touch=True, color_scheme="dark")
    page.open(photo)
    page.previewed(lambda: page.page.locator("#palette .tile").nth(1).tap())
    page.page.get_by_role("button", name="Mask", exact=True).tap()
    page.page.get_by_role("button", name="Mask", exact=True).tap()
    page.page.evaluate("() => window.scrollTo(0, 500)")
    assert page.page.locator("#easel .frame").bounding_box()["y"] >= 0  # the picture stays in sight of the controls
    page.page.evaluate("() => window.scrollTo(0, 0)")
    page.page.get_by_role("button", name="Mask", exact=True).tap()
    assert page.page.evaluate("() => document.documentElement.scrollWidth") == 360
    for selector in ("#easel .frame", "#easel .bar", "#easel .brush", "#palette", "#controls"):
        box = page.page.locator(selector).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360, selector
    dark = page.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 150
    assert page.faults == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, server: Server, photo: Path, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: scripts/test gets it from npm")
    page = Page(browser, server, color_scheme=scheme)
    found = [("start", page.axe())]
    page.open(photo)
    page.style("great-wave")
    page.page.check("#palette .mix input")
    page.style("senecio")
    page.brush_on()
    found.append(("painted", page.axe()))
    for tab in ("Several photos", "History", "Look inside"):
        page.page.get_by_role("tab", name=tab).click()
        page.page.wait_for_timeout(300)
        found.append((tab, page.axe()))
    assert [(where, row) for where, rows in found for row in rows] == []
    page.context.close()


def test_who_closes_the_page_stops_what_is_painted(browser: Any, server: Server, photo: Path, painting: Path) -> None:
    page = Page(browser, server)
    page.open(photo)
    page.previewed(lambda: page.page.set_input_files("#palette .file", painting))
    page.page.locator("#controls label:has(input[value=best])").click()
    page.previewed(lambda: page.page.get_by_role("button", name="Paint at full size").click())  # the picture on the way
    assert server.count('impasto_running_jobs{queue="auto"}') == 1
    page.context.close()
    until(lambda: server.count('impasto_running_jobs{queue="auto"}') == 0, 120)


def test_the_page_of_a_notebook_paints_in_its_own_process(
    browser: Any, photo: Path, painting: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("IPython", reason="needs the extra lab")
    server = Server(tmp_path_factory.mktemp("notebook"), program=NOTEBOOK)
    try:
        page = Page(browser, server)
        page.open(photo)
        page.style("great-wave")
        assert difference(page, impasto.stylize(photo, "great-wave", style_scale="50%", engine="torch")) <= APART
        page.paint()
        assert page.save("jpeg")[0] == "chelsea-great-wave.jpg"
        page.previewed(lambda: page.page.set_input_files("#palette .file", painting))
        page.page.locator("#controls label:has(input[value=best])").click()
        page.previewed(page.page.get_by_role("button", name="Paint at full size").click)  # the picture on the way
        page.page.get_by_role("button", name="Stop", exact=True).click()
        page.page.get_by_text("Stopped.").wait_for()
        assert server.workers() == []
        assert (page.faults, server.outside()) == ([], [])
    finally:
        server.close()


def upload(name: str, content: bytes) -> Any:
    """A file to be chosen."""
    return {"name": name, "mimeType": "image/png", "buffer": content}


def test_nothing_was_asked_of_anybody_else(page: Page, server: Server) -> None:
    assert [url for url in page.requests if not url.startswith((server.address, "data:", "blob:"))] == []
    assert server.outside() == []
    assert page.faults == []
    for path in ("gradio_api/file=http://example.org/a.png", "gradio_api/proxy=https://a.hf.space/"):
        answer = page.context.request.get(f"{server.address}{path}")
        assert answer.status == 403
    assert server.outside() == []


def test_a_server_that_ends_leaves_no_file(page: Page, server: Server) -> None:
    """The last of all: there is no server after it."""
    assert server.files()
    server.close()
    assert server.files() == []
