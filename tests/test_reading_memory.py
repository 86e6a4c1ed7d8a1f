"""Within `max_memory`: styles, masks, photos and beginnings of 25 Mpx, which would take 600 MB if read whole."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.core.memory import held_memory, release_blocks
from impasto.errors import OptionError
from impasto.stylizer.api import load, stylize
from impasto.stylizer.request import StylizeRequest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")

ROOM = 300 << 20  # bytes beside what the process holds when it has painted something small

CHILD = textwrap.dedent("""
    import sys
    from pathlib import Path
    import torch
    import impasto
    torch.set_num_threads(1)
    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
    def paint(photo, style, mask, init):
        budget = memory("VmRSS:") + %d
        for options in %s:
            impasto.stylize(photo, style, mask=mask, max_memory=budget, **options, **init)
        return budget
    paint("small.png", "small.png", None, {})
    budget = eval("paint(" + sys.argv[1] + ")")
    print(memory("VmHWM:"), budget)
""")
WAYS = {
    "a network": "[{}]",
    "optimisation": '[{"preset": "quick", "backbone": "compact", "steps": 1, "size": 64}]',
}
PICTURES = {
    "style.png": '"small.png", "large.png", None, {}',
    "style.jpg": '"small.png", "large.jpg", None, {}',
    "mask.png": '"small.png", "small.png", "large.png", {}',
    "mask.jpg": '"small.png", "small.png", "large.jpg", {}',
}
OF_OPTIMISATION = {
    "photo": '"large.jpg", "small.png", None, {}',
    "init": '"small.png", "small.png", None, {"init": "large.png"}',
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    blotches = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    Image.fromarray(np.kron(blotches, np.ones((2, 2, 1), np.uint8))).save(folder / "small.png")
    large = Image.fromarray(np.kron(blotches, np.ones((100, 100, 1), np.uint8)))
    large.save(folder / "large.png", compress_level=1)
    large.save(folder / "large.jpg")
    large.save(folder / "large.webp", method=0, quality=50)
    return folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", PICTURES | OF_OPTIMISATION)
def test_the_peak_stays_within(what: str, way: str, pictures: Path) -> None:
    if what in OF_OPTIMISATION and way != "optimisation":
        pytest.skip("networks paint photos at their own size, and begin with nothing")
    arguments = (PICTURES | OF_OPTIMISATION)[what]
    command = [sys.executable, "-c", CHILD % (ROOM, WAYS[way]), arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=pictures)
    assert done.returncode == 0, done.stderr
    peak, budget = (int(number) for number in done.stdout.split())
    assert peak <= budget


@pytest.mark.parametrize("quality", ["draft", "good"])
def test_what_cannot_be_read_within_is_refused(quality: str, pictures: Path) -> None:
    gc.collect()
    release_blocks()  # or what earlier tests have left would be room
    limit = held_memory() + ROOM
    with pytest.raises(OptionError, match=r"large.webp: to read 5000x5000 px of WEBP takes .* raise it by \d+ MB"):
        stylize(pictures / "small.png", pictures / "large.webp", quality=quality, max_memory=limit)


def test_what_reading_takes_is_known_before(pictures: Path) -> None:
    model = load("universal")
    small_png, large_webp = str(pictures / "small.png"), str(pictures / "large.webp")
    requests = [
        StylizeRequest.of(style=small_png),
        StylizeRequest.of(style=large_webp),
        StylizeRequest.of(style=small_png, mask=large_webp),
    ]
    small, large, masked = (model.reading_bytes(request, (100, 100), None) for request in requests)
    assert small < 1e6 < 300e6 < large
    assert 300e6 < masked < large
