"""Many threads asking one engine: are all pictures right, is the budget of memory kept, and did the plans tell it?

    python benchmarks/engine.py [--threads 16] [--pictures 200] [--max-memory 1.5GB]

Paints pictures of six sizes with the gallery, first one after the other by an engine without a budget, then from all
threads by one engine within it. Prints the process's largest memory (Linux: VmHWM, reset before), the largest that a
plan told, and how many pictures differ in a bit.
"""

from __future__ import annotations

import before_torch  # noqa: F401  isort: skip
import argparse
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from impasto.core.memory import held_memory, parse_memory, release_blocks
from impasto.stylizer.engine import Engine
from impasto.stylizer.request import StylizeRequest

SIZES = ((256, 192), (384, 512), (512, 512), (720, 960), (1080, 1920), (1440, 1080))  # height, width
STYLES = ("great-wave", "starry-night", "the-scream")


def photo(number: int) -> np.ndarray:
    """(H, W, 3) uint8: waves of colour, another for each number."""
    height, width = SIZES[number % len(SIZES)]
    y, x = np.mgrid[:height, :width] / 64
    waves = [np.sin(x * (1 + number % 7) / 3 + c) + np.cos(y * (1 + number % 5) / 2 - c) for c in range(3)]
    return ((np.stack(waves, 2) + 2) * 63).astype(np.uint8)


def paint(engine: Engine, number: int, max_memory: str | None) -> tuple[str, int]:
    """SHA-256 of a painting, and the memory that its plan told."""
    request = StylizeRequest.of(engine="torch", style=STYLES[number % len(STYLES)], max_memory=max_memory)
    with engine.job(photo(number), request) as job:
        told = job.plan().memory
        for _ in job.run():
            pass
        return hashlib.sha256(np.ascontiguousarray(job.result().integers(8)).tobytes()).hexdigest(), told


def largest_memory() -> int:
    """Bytes that the process had at most since the last reset."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--max-memory", default="1.5GB")
    arguments = parser.parse_args()
    count, limit = arguments.pictures, parse_memory(arguments.max_memory)
    kinds = range(len(SIZES) * len(STYLES) * 35)  # numbers that repeat are the same picture
    began = time.perf_counter()
    alone = Engine(at_once=1)
    expected = {n % len(kinds): paint(alone, n % len(kinds), None)[0] for n in range(count)}
    print(f"one after the other: {count / (time.perf_counter() - began):.2f} pictures/s")
    del alone
    release_blocks()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # VmHWM begins again
    shared, began = Engine(max_memory=arguments.max_memory), time.perf_counter()
    with ThreadPoolExecutor(arguments.threads) as pool:
        found = list(pool.map(lambda n: paint(shared, n % len(kinds), None), range(count)))
    seconds = time.perf_counter() - began
    wrong = sum(digest != expected[n % len(kinds)] for n, (digest, _) in enumerate(found))
    peak, told = largest_memory(), max(memory for _, memory in found)
    print(f"{arguments.threads} threads: {count / seconds:.2f} pictures/s, {wrong} of {count} differ")
    print(f"largest memory {peak / 1e6:.0f} MB of {limit / 1e6:.0f}, the largest plan told {told / 1e6:.0f} MB")
    print(f"afterwards {held_memory() / 1e6:.0f} MB are held, {threading.active_count()} thread(s) run")
    kept = peak <= limit and not wrong
    print("holds" if kept else "MISSED")


if __name__ == "__main__":
    main()
