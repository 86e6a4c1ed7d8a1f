"""The studio's page in a real browser, on a server of its own: what is done on it is what Python does."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import impasto

pytest.importorskip("gradio", reason="needs the extra studio")
pytest.importorskip("uvicorn", reason="needs the extra studio")
pytestmark = pytest.mark.alone  # a browser takes both cores, and a page that waits for them may wait too long

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 120_000  # ms: machines may be busy
APART = 2  # of 255
SERVER = """
import json, sys
calls = open(sys.argv.pop(1), "a", buffering=1)
def hear(event, values):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.gethostbyname"):
        place = values[0] if event != "socket.connect" else values[1]
        calls.write(json.dumps([event, str(place)]) + "\\n")
sys.addaudithook(hear)
import socket, runpy
found = socket.socket()
found.bind(("127.0.0.1", 0))
port = found.getsockname()[1]
found.close()
print(port, flush=True)
sys.argv = ["page", str(port)]
runpy.run_module("impasto.studio.page", run_name="__main__")
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
    """The page alone, in a process that writes down whom it calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        (folder / "uploads").mkdir()
        environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1"}
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.calls)], stdout=subprocess.PIPE, stderr=self.log, env=environment,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}/"

    def outside(self) -> list[str]:
        """Whom it called beside this machine."""
        own = re.compile(r"127\.0\.0\.1|localhost|::1|/")
        rows = [json.loads(line) for line in self.calls.read_text().splitlines()]
        return [row for row in rows if row[1] not in ("None", "") and not own.search(row[1])]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


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

    def shown(self, act: Any) -> None:
        """Do something, and wait until the page shows what came of it."""
        before = self.number()
        act()
        self.page.wait_for_function(
            "(before) => Number(document.querySelector('#easel [data-shown], #easel[data-shown]')?.dataset.shown ?? -1)"
            " > before",
            arg=before,
        )

    def number(self) -> int:
        return int(
            self.page.evaluate(
                "() => Number(document.querySelector('#easel [data-shown], #easel[data-shown]')?.dataset.shown ?? -1)"
            )
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
        return pixels(self.server_file(str(self.page.get_attribute("#easel .after", "data-of"))))

    def server_file(self, name: str) -> Path:
        return Path(name)

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


def test_a_photo_and_a_style_give_a_preview(page: Page, photo: Path) -> None:
    page.open(photo)
    assert "chelsea.png, 331 \N{MULTIPLICATION SIGN} 221 px" in page.status
    page.style("great-wave")
    assert page.status.startswith("Preview, 331 \N{MULTIPLICATION SIGN} 221 px")
    wanted = impasto.stylize(photo, "great-wave", style_scale="50%")
    assert np.abs(page.picture() - np.asarray(wanted).astype(np.int16)).max() <= APART
    assert page.problem == ""
