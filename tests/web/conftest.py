"""The page in a real browser."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.export.runtime import VENDOR, WASM
from impasto.export.serve import PageServer
from impasto.export.web import export_web

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 300_000  # ms: machines may be busy
DROP = """([at, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const how = { dataTransfer: data, bubbles: true, cancelable: true };
    document.querySelector(at).dispatchEvent(new DragEvent(kind, how));
  }
}"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a folder; skips where its runtime is not at hand, since tests use no network."""
    if not all(any(VENDOR.glob(f"{name}*")) for name in WASM):
        pytest.skip("onnxruntime-web is not here: run scripts/vendor")
    return export_web(tmp_path_factory.mktemp("web") / "page", runtime=VENDOR).path


class Bare(SimpleHTTPRequestHandler):
    """What any static server does: no headers of ours."""

    def log_message(self, *_: Any) -> None: ...


class BareServer(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Bare, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server_address[1]}/"


Serve = Callable[..., Any]


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Serves folders until all tests are done, as `impasto web` does, or as any server."""
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(folder: Path, *, bare: bool = False) -> ThreadingHTTPServer:
        server = BareServer(folder) if bare else PageServer(folder, 0)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


class Studio:
    """The page, and what one does with it."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address, self.requests, self.faults = context, address, [], []
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: self.requests.append(request.url))
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._hear)
        self.begin()

    def _hear(self, message: Any) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            self.faults.append(message.text)

    def begin(self) -> None:
        """Load the page until it can paint."""
        self.page.goto(f"{self.address}?engine=wasm")
        self.page.wait_for_selector("body[data-engine]")

    def open(self, file: Path | dict[str, Any]) -> None:
        """Choose a picture, and wait for its painting."""
        self.page.set_input_files("#picture", file)
        self.painted()

    def painted(self, timeout: float = PATIENCE) -> None:
        """Wait for the painting."""
        self.page.wait_for_selector("#png:enabled", timeout=timeout)

    def style(self, name: str) -> None:
        """Pick one by its thumbnail."""
        self.page.locator(f"#styles label:has(input[value={name}])").click()

    def set(self, control: str, value: int) -> None:
        """Move a slider."""
        self.page.locator(f"#{control}").fill(str(value))

    def reset(self) -> None:
        """All controls as they are at first."""
        self.style("great-wave")
        self.page.select_option("#second", "")
        self.set("strength", 100)
        self.page.locator("#keep").uncheck()
        if self.page.locator("#size option").count() > 1:
            self.page.select_option("#size", "0")

    def drop(self, where: str, name: str, content: bytes) -> None:
        """Drop a file of these bytes there."""
        self.page.evaluate(DROP, [where, name, base64.b64encode(content).decode()])

    def save(self, button: str = "png") -> tuple[str, Path]:
        """Save, and give the file's name and place."""
        with self.page.expect_download() as saving:
            self.page.click(f"#{button}")
        return saving.value.suggested_filename, Path(saving.value.path())

    def pixels(self) -> NDArray[np.int16]:
        """The saved PNG."""
        with Image.open(self.save()[1]) as image:
            return np.asarray(image.convert("RGB")).astype(np.int16)

    @property
    def status(self) -> str:
        """What is said of it."""
        return str(self.page.inner_text("#status"))


@pytest.fixture(scope="session")
def studio(browser: Any, folder: Path, serve: Serve) -> Iterator[Studio]:
    """The page on a server that sends the headers for threads, without its service worker."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, service_workers="block")
    found = Studio(context, serve(folder).address)
    yield found
    context.close()


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of odd sides, as PNG: decoders of JPEG differ."""
    path = tmp_path_factory.mktemp("photo") / "chelsea.png"
    with Image.open(EXAMPLES / "photos" / "chelsea.jpg") as image:
        path.write_bytes(png(image.convert("RGB").resize((331, 221))))
    return path
