"""Whether two checkouts paint the same pictures, bit for bit, and as fast: for changes that must change neither.

    python benchmarks/same_pictures.py BEFORE AFTER [--only NAME ...] [--precision auto float32] [--size 256]
    python benchmarks/same_pictures.py BEFORE AFTER --time [--rounds 9] [--sizes 512x512 1920x1080]
    python benchmarks/same_pictures.py BEFORE AFTER --memory [--photos 50]

BEFORE and AFTER are folders with `pyproject.toml` and `src/`. Both are run by this interpreter, through the command
line that their `pyproject.toml` names, each call in a process of its own with --threads threads (1 unless said).

Pictures: networks (gallery, universal, an AdaIN that BEFORE trains for two steps), masks, blends, strength, bands,
strips, presets with few steps, a run that is interrupted and resumed, and one that BEFORE began and AFTER resumes. A
call of a network is made once for each --precision. Where pictures differ, the largest and the mean difference are
printed, of 255. Ends with 1 if any differ.

--time: whole commands, and pictures by a network that is loaded already, in turns (A B, B A, ...), because other
programs may take the processor in between; medians, and the median of the rounds' ratios. --memory: the peak of a
process that paints a folder of photos, after some of them and at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from common import console, parser, show, tell

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PHOTO = str(EXAMPLES / "photos" / "astronaut.jpg")
STARRY, WAVE = (str(EXAMPLES / "styles" / f"{name}.jpg") for name in ("starry", "wave"))
SLOWER = 1.03  # times as long, at most
GREW = 1.05  # times the memory after five photos, at most
PATIENCE = 600  # seconds that any call may take

BEGIN = """
import importlib, json, pathlib, sys
import impasto
source = pathlib.Path(sys.argv.pop(1)).resolve()
if source not in pathlib.Path(impasto.__file__).resolve().parents:
    sys.exit(f"impasto was imported from {impasto.__file__}, not from {source}")
"""
COMMAND = """
module, _, function = sys.argv.pop(1).partition(":")
getattr(importlib.import_module(module), function)()
"""
# Paints a picture whenever it reads a line, and answers with the seconds that it took.
LOOP = """
import time
from PIL import Image
model, style, photo = sys.argv[1:4]
network, image = impasto.load(model, device="cpu"), Image.open(photo).convert("RGB")
network.stylize(image, style)
print(flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    network.stylize(image, style)
    print(time.perf_counter() - began, flush=True)
"""


IN_TORCH = "(in torch)"  # stands for what a checkout needs to be told for that


class CallError(Exception):
    """A call that did not end as it should; the message is what it printed last."""


@dataclass(frozen=True)
class Checkout:
    """A folder with the project, and how its code is run."""

    folder: Path
    threads: int

    def python(self, code: str, *arguments: str) -> list[str]:
        """A command that runs `code` with this checkout's package imported."""
        return [sys.executable, "-c", BEGIN + code, str(self.folder / "src"), *arguments]

    def impasto(self, *arguments: str) -> list[str]:
        """Its command line."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))["project"]
        return self.python(COMMAND, project["scripts"]["impasto"], *arguments)

    @property
    def torch(self) -> list[str]:
        """Options that have a network run in torch, where there is a choice."""
        return ["--engine", "torch"] if (self.folder / "src" / "impasto" / "light").is_dir() else []

    @property
    def environment(self) -> dict[str, str]:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        return os.environ | threads | {"PYTHONPATH": str(self.folder / "src"), "NO_COLOR": "1", "TERM": "dumb"}

    def call(self, command: list[str], code: int = 0, interrupt: Callable[[], bool] | None = None) -> None:
        """Run to the end, which must be `code`; Ctrl-C is pressed as soon as `interrupt` says so."""
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT
            )
            try:
                if interrupt is not None:
                    while process.poll() is None and not interrupt():
                        time.sleep(0.01)
                    if process.poll() is None:
                        process.send_signal(signal.SIGINT)
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()
            told.seek(0)
            text = told.read().decode(errors="replace").strip()
        if process.returncode != code:
            raise CallError(f"ended with {process.returncode} instead of {code}: {text[-400:]}")


# -- the same pictures ------------------------------------------------------------------------------------------------


@dataclass
class Scratch:
    """Pictures and a network for the calls; the folder holds one folder for each checkout."""

    folder: Path
    before: Checkout
    size: int
    masks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        y, x = np.mgrid[:200, :300]
        for name, array in (("left", 255 - x * 255 // 299), ("below", y * 255 // 199)):
            path = self.folder / f"{name}.png"
            Image.fromarray(array.astype(np.uint8)).save(path)
            self.masks.append(str(path))

    def adain(self) -> str:
        """A network that is hardly trained, with pictures that change all the same when its arithmetic does."""
        out = self.folder / "adain"
        if not (out / "model.safetensors").exists():
            data = ["--photos", str(EXAMPLES / "photos"), "--style", str(EXAMPLES / "styles")]
            small = ["--steps", "2", "--batch-size", "2", "--image-size", "64", "--decoder-width", "0.25"]
            how = ["--seed", "0", "--device", "cpu", "--workers", "0", "--out", str(out)]
            self.before.call(self.before.impasto("train", "adain", *data, *small, *how))
        return str(out / "model.safetensors")


def networks(scratch: Scratch) -> dict[str, list[str]]:
    """Name -> arguments of the calls that networks paint."""
    gallery, universal = ["-s", "great-wave"], ["-s", STARRY]
    left, below = scratch.masks
    two = ["-s", STARRY, "-s", WAVE]
    return {
        "gallery": gallery,
        "universal": universal,
        "adain": ["-s", f"{STARRY}:1", "-s", f"{WAVE}:2", "--alpha", "0.8", "--model", scratch.adain()],
        "mask, keep colours": [*gallery, "--mask", left, "--keep-colors"],
        "a mask a style": [*two, "--mask", left, "--mask", below],
        "blend, style scale": ["-s", "great-wave:1", "-s", "cafe-terrace:2", "--style-scale", "1.5"],
        "strength": [*universal, "--strength", "0.5"],
        "bands": [*gallery, "--tile", "64"],
        "bands, adain": [*universal, "--model", scratch.adain(), "--tile", "64"],
    }


def strips(scratch: Scratch) -> dict[str, list[str]]:
    """Calls that keep a run, and so paint by strips."""
    return {
        "strips": ["-s", "great-wave", "--mask", scratch.masks[0]],
        "strips, strength": ["-s", WAVE, "--strength", ".5"],
    }


PRESETS = {
    "quick": ["--preset", "quick", "--steps", "12"],
    "balanced": ["--preset", "balanced", "--steps", "20", "--keep-colors"],
    "good": ["--quality", "good", "--steps", "10"],
    "gatys-code": ["--preset", "gatys-code", "--backbone", "compact", "--steps", "5"],
}
RESUMED, HANDED_ON = "resumed", "begun by the first, resumed by each"


def paint(checkout: Checkout, arguments: list[str], size: int, out: Path) -> None:
    checkout.call(
        checkout.impasto(
            "stylize", PHOTO, *meant(checkout, arguments), "--size", str(size), "--device", "cpu", "-o", str(out)
        )
    )


def interrupted(checkout: Checkout, size: int, out: Path, run: Path) -> None:
    """Begin a run, and stop it after its third step at the earliest: a resumed run is what a whole one is."""
    wish = ["-s", STARRY, "--preset", "quick", "--steps", "60", "--size", str(size), "--device", "cpu", "--seed", "1"]
    keep = ["--run", str(run), "--save-every", "1", "-o", str(out)]
    command = checkout.impasto("stylize", PHOTO, *wish, *keep)
    checkout.call(command, code=130, interrupt=lambda: len(list(run.glob("frames/*.jpg"))) >= 3)


def meant(checkout: Checkout, arguments: list[str]) -> list[str]:
    """The arguments as this checkout has them: the same library paints for both."""
    return [said for one in arguments for said in (checkout.torch if one == IN_TORCH else [one])]


def compare(one: Path, other: Path) -> tuple[bool, str]:
    """Whether two pictures have the same pixels, and how they differ."""
    with Image.open(one) as a, Image.open(other) as b:
        first, second = np.asarray(a).astype(np.int32), np.asarray(b).astype(np.int32)
        if (a.mode, a.size) != (b.mode, b.size):
            return False, f"{a.mode} {a.size} and {b.mode} {b.size}"
    difference = np.abs(first - second)
    if not difference.any():
        return True, "same"
    return False, f"largest {difference.max()}, mean {difference.mean():.3f} of 255"


@dataclass(frozen=True)
class Case:
    """One picture: `paint` it by a checkout into a file."""

    name: str
    paint: Callable[[Checkout, Path], None]
    suffix: str = ".png"


def cases(scratch: Scratch, precisions: list[str]) -> list[Case]:
    size, found = scratch.size, []

    def plain(name: str, arguments: list[str]) -> Case:
        return Case(name, lambda checkout, out: paint(checkout, arguments, size, out))

    def by_strips(name: str, arguments: list[str]) -> Case:
        return Case(name, lambda checkout, out: paint(checkout, [*arguments, "--run", f"{out}.run"], size, out), ".tif")

    def resumed(checkout: Checkout, out: Path) -> None:
        run = out.with_suffix(".run")
        interrupted(checkout, size, out, run)
        checkout.call(checkout.impasto("stylize", "--resume", str(run)))

    def handed_on(checkout: Checkout, out: Path) -> None:
        begun, run = scratch.folder / "begun", out.with_suffix(".run")
        if not begun.exists():
            interrupted(scratch.before, size, scratch.folder / "begun.png", begun)
        shutil.copytree(begun, run)
        checkout.call(checkout.impasto("stylize", "--resume", str(run), "-o", str(out)))

    for precision in precisions:
        how = ["--precision", precision]
        found += [plain(f"{name} ({precision})", [*a, *how, IN_TORCH]) for name, a in networks(scratch).items()]
        found += [by_strips(f"{name} ({precision})", [*a, *how]) for name, a in strips(scratch).items()]
    found += [plain(name, ["-s", STARRY, "--seed", "0", *arguments]) for name, arguments in PRESETS.items()]
    return [*found, Case(RESUMED, resumed), Case(HANDED_ON, handed_on)]


def same_pictures(checkouts: list[Checkout], o: Any, folder: Path) -> bool:
    """Paint all cases with both; whether all pictures are the same."""
    rows, well = [], True
    for number, case in enumerate(cases(Scratch(folder, checkouts[0], o.size), o.precision)):
        if o.only and not any(case.name.startswith(name) for name in o.only):
            continue
        files, seconds, told = [], [], ""
        for letter, checkout in zip("AB", checkouts, strict=True):
            file, began = folder / f"{number}-{letter}{case.suffix}", time.perf_counter()
            try:
                case.paint(checkout, file)
            except CallError as error:
                told += f"{letter} {error} "
            files.append(file)
            seconds.append(f"{time.perf_counter() - began:.1f} s")
        same, difference = (False, f"FAILED: {told}") if told else compare(*files)
        console.print(f"{case.name}: {difference}", highlight=False, markup=False, soft_wrap=True)
        rows.append((case.name, difference[:60], *seconds))
        well = well and same
    show("The same pictures", ("", "difference", "A", "B"), rows)
    tell(f"{len(rows)} pictures are bit for bit the same", well)
    return well


# -- as fast ----------------------------------------------------------------------------------------------------------


def stretched(size: str, folder: Path, name: str = "photo") -> str:
    """The example photo at WIDTHxHEIGHT, as PNG."""
    path = folder / f"{name}-{size}.png"
    width, height = map(int, size.split("x"))
    with Image.open(PHOTO) as image:
        image.resize((width, height), Image.Resampling.BICUBIC).save(path)
    return str(path)


def in_turns(rounds: int, measure: list[Callable[[], float]]) -> list[list[float]]:
    """Seconds of each, `rounds` times in changing order; the first round is not counted."""
    spent: list[list[float]] = [[] for _ in measure]
    for number in range(rounds + 1):
        for i in sorted(range(len(measure)), reverse=bool(number % 2)):
            seconds = measure[i]()
            if number:
                spent[i].append(seconds)
    return spent


def whole_command(checkouts: list[Checkout], arguments: list[str], rounds: int) -> list[list[float]]:
    def timed(checkout: Checkout) -> float:
        began = time.perf_counter()
        checkout.call(checkout.impasto("stylize", *arguments, "--device", "cpu", "--force"))
        return time.perf_counter() - began

    return in_turns(rounds, [lambda checkout=checkout: timed(checkout) for checkout in checkouts])


def loop(checkouts: list[Checkout], arguments: list[str], rounds: int) -> list[list[float]]:
    """Seconds of a picture by a network that is loaded already, one process for each checkout."""
    processes = [
        subprocess.Popen(
            checkout.python(LOOP, *arguments),
            env=checkout.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for checkout in checkouts
    ]

    def answer(process: Any) -> str:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("a process that paints has ended: see above")
        return str(line)

    def timed(process: Any) -> float:
        process.stdin.write("\n")
        process.stdin.flush()
        return float(answer(process))

    try:
        for process in processes:
            answer(process)
        return in_turns(rounds, [lambda process=process: timed(process) for process in processes])
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def as_fast(checkouts: list[Checkout], o: Any, folder: Path) -> bool:
    rows, well = [], True
    for size in o.sizes:
        photo, out = stretched(size, folder), str(folder / "out.png")
        for model, style in (("gallery", "great-wave"), ("universal", STARRY)):
            for what, spent in (
                ("command", whole_command(checkouts, [photo, "-s", style, "-o", out], o.rounds)),
                ("picture", loop(checkouts, [model, style, photo], o.rounds * 3)),
            ):
                ratio = median(b / a for a, b in zip(*spent, strict=True))
                well = well and ratio <= SLOWER
                rows.append((f"{model}, {size}, {what}", *(f"{median(s):.3f} s" for s in spent), f"{ratio:.3f}"))
                tell(f"{rows[-1][0]}: {ratio:.3f} times as long, at most {SLOWER}", ratio <= SLOWER)
    show(f"{o.threads} threads, in turns", ("", "A", "B", "B / A, median"), rows)
    return well


# -- a folder of photos -----------------------------------------------------------------------------------------------


def peaks(checkout: Checkout, photos: Path, count: int, marks: list[int], style: str, out: Path) -> dict[int, float]:
    """Photos painted -> peak resident memory of the process so far, MB (Linux)."""
    command = checkout.impasto("stylize", str(photos), "-s", style, "--device", "cpu", "-o", str(out))
    process = subprocess.Popen(command, env=checkout.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found: dict[int, float] = {}
    while process.poll() is None:
        done = len(list(out.glob("photo*.png")))
        lines = Path(f"/proc/{process.pid}/status").read_text("ascii", errors="replace").splitlines()
        peak = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
        for mark in marks:
            if peak is not None and done >= mark and (mark not in found or done == count):
                found[mark] = found.get(mark, peak) if mark < count else peak
        time.sleep(0.02)
    if process.returncode or len(list(out.glob("photo*.png"))) != count:
        raise SystemExit(f"{checkout.folder}: the folder was not painted, exit code {process.returncode}")
    return found


def flat_memory(checkouts: list[Checkout], o: Any, folder: Path) -> bool:
    photos, rows, well = folder / "photos", [], True
    photos.mkdir()
    sizes = ("512x384", "384x512", "320x320", "448x300", "256x256")  # all of them among the first five
    for number in range(o.photos):
        stretched(sizes[number % len(sizes)], photos, f"photo{number:03d}")
    marks = [min(5, o.photos), max(1, o.photos // 2), o.photos]
    for model, style in (("gallery", "great-wave"), ("universal", STARRY)):
        for letter, checkout in zip("AB", checkouts, strict=True):
            found = peaks(checkout, photos, o.photos, marks, style, folder / f"{model}-{letter}")
            held = [found[mark] for mark in marks]
            rows.append((f"{model}, {letter}", *(f"{peak:.0f} MB" for peak in held)))
            flat = held[-1] <= held[0] * GREW
            tell(f"{rows[-1][0]}: {held[-1] / held[0]:.3f} times the memory of five photos, at most {GREW}", flat)
            well = well and (flat or letter == "A")
    show("Peak memory of a batch, after so many photos", ("", *map(str, marks)), rows)
    return well


def main() -> None:
    p: argparse.ArgumentParser = parser(__doc__ or "")
    p.add_argument("checkouts", nargs=2, type=Path, metavar="FOLDER")
    p.add_argument("--time", action="store_true", help="how long, instead of the pictures")
    p.add_argument("--memory", action="store_true", help="memory of a batch, instead of the pictures")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", nargs="+", metavar="NAME", help="pictures whose name begins so")
    p.add_argument("--precision", nargs="+", default=["auto", "float32"], metavar="NAME")
    p.add_argument("--size", type=int, default=256, help="longest side of the pictures, px")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--sizes", nargs="+", default=["512x512", "1920x1080"], help="width x height, for --time")
    p.add_argument("--photos", type=int, default=50, help="for --memory")
    o = p.parse_args()
    checkouts = [Checkout(folder.resolve(), o.threads) for folder in o.checkouts]
    console.print(
        "\n".join(f"{letter}  {c.folder}" for letter, c in zip("AB", checkouts, strict=True)), highlight=False
    )
    task = as_fast if o.time else flat_memory if o.memory else same_pictures
    with tempfile.TemporaryDirectory() as folder:
        try:
            well = task(checkouts, o, Path(folder))
        except CallError as error:
            raise SystemExit(f"a call {error}") from None
    raise SystemExit(0 if well else 1)


if __name__ == "__main__":
    main()
