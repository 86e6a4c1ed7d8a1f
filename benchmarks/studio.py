"""The studio's page in headless Chromium on this machine: from letting go of a slider to the new picture on the page.

Needs Chromium, Playwright's client (extra `dev`) and the extra `studio`. Beside each time stands that of the same job
without page and server: what is over is Gradio's, the browser's, and encoding.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from PIL import Image

from common import console, parser, show, tell
from impasto.imaging.reduced import read_reduced
from impasto.stylizer.engine import Engine
from impasto.stylizer.request import StylizeRequest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PROGRAM = "from impasto.cli.app import main; import sys; sys.argv[0] = 'impasto'; main()"
LIMIT = 0.5  # seconds
SIZE = (4000, 3000)
MOVED = """(value) => new Promise((resolve) => {
  const after = document.querySelector("#easel .after");
  const slider = document.querySelector("#controls [data-name=strength]");
  const began = performance.now();
  new MutationObserver((_, watching) => {
    watching.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve((performance.now() - began) / 1000)));
  }).observe(after, { attributes: true, attributeFilter: ["data-of"] });
  slider.value = value;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  slider.dispatchEvent(new Event("change", { bubbles: true }));
})"""


def is_ready(address: str) -> bool:
    """Whether the processes of a server can paint."""
    try:
        with urlopen(f"{address}readyz"):
            return True
    except HTTPError:
        return False


def moves(page: Any, repeats: int) -> list[float]:
    """Seconds from the slider's release to the frame with the new picture, whose file is decoded by then."""
    return [page.evaluate(MOVED, 100 - 5 * (turn % 10 + 1)) for turn in range(repeats)]


def job(photo: Path, style: str, repeats: int) -> list[float]:
    """Seconds of the same job, called from Python."""
    engine, found = Engine(), []
    small = read_reduced(photo, long_side=512)
    small = small.resized((384, 512))
    for turn in range(repeats + 1):
        request = StylizeRequest.of(style=style, strength=1 - 0.05 * (turn % 10 + 1), style_scale="50%", engine="torch")
        began = time.perf_counter()
        with engine.job(small, request) as one:
            for _ in one.run():
                pass
            one.result()
        found.append(time.perf_counter() - began)
    return found[1:]


def measure(browser: Any, address: str, folder: Path, repeats: int) -> None:
    photo = folder / "photo.jpg"
    with Image.open(EXAMPLES / "photos" / "astronaut.jpg") as image:
        image.convert("RGB").resize(SIZE).save(photo, quality=92)
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.wait_for_selector("#palette .tile")
    began = time.perf_counter()
    page.set_input_files("#easel .file", photo)
    page.wait_for_selector("#easel figure:not([hidden])")
    opened = time.perf_counter() - began
    rows, found = [], {}
    for name, style in (("gallery", "great-wave"), ("universal", str(EXAMPLES / "styles" / "composition.jpg"))):
        if name == "gallery":
            page.locator(f"#palette .tile:has(input[value={style}])").click()
        else:
            page.set_input_files("#palette .file", style)
        page.wait_for_function("() => document.querySelector('#easel .after').dataset.of")
        page.wait_for_timeout(1000)
        moves(page, 2)
        found[name] = moves(page, repeats)
        alone = job(photo, style, repeats)
        values = [f"{value:.3f}" for value in (min(found[name]), statistics.median(found[name]), min(alone))]
        rows.append((name, *values, f"{min(found[name]) - min(alone):.3f}"))
    page.close()
    show(
        f"Preview at 512 px of a {SIZE[0]}x{SIZE[1]} photo, strokes of 50 %, {repeats} moves of a slider",
        ("style", "least s", "median s", "the job alone, least s", "over it, s"),
        rows,
    )
    console.print(f"The photo was shown {opened:.2f} s after it was chosen.")
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        tell(f"{name}: {middle:.3f} s from the slider's release to the picture, at most {LIMIT}", middle <= LIMIT)


def main() -> None:
    """Measure and print."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=10)
    asked = arguments.parse_args()
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no Chromium is here")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as client:
        command = [sys.executable, "-c", PROGRAM, "studio", "--port", "0", "--no-browser"]
        server = subprocess.Popen(command, env=os.environ | {"TMPDIR": place}, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = client.chromium.launch(executable_path=program, args=root)
        try:
            while not is_ready(address):
                time.sleep(0.25)
            measure(browser, address, Path(place), asked.repeats)
        finally:
            browser.close()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
