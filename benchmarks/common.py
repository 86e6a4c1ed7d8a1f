"""What the benchmarks share: pictures and judges from ../shared, peak memory, convolution throughput, tables."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from impasto.core.precision import choose_precision
from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.imaging import fit_long_side, read

SHARED = Path(__file__).resolve().parents[2] / "shared"
console = Console(width=130)

# Photos not among those that `compact` was made from (recipes/compact.toml takes every third), paintings that it
# was not made from either.
PAIRS = (
    ("bsds_103078", "starry_night"),
    ("in1k_n01843383_toucan", "great_wave"),
    ("coco_000000006723", "the_scream"),
    ("in1k_n02114367_timber_wolf", "composition_vii"),
    ("bsds_183066", "udnie"),
    ("in1k_n02859443_boathouse", "water_lilies"),
    ("bsds_66075", "grande_jatte"),
    ("in1k_n09428293_seashore", "shipwreck_minotaur"),
)

# For networks trained on ../shared/data: their recipes leave these photos out, and `universal` these paintings.
HELD_OUT = (
    *(photo for photo, _ in PAIRS),
    "coco_000000000436",
    "coco_000000007991",
    "imagen_n02129604_7580_tiger",
    "imagen_n02374451_17657_horse",
)
HELD_OUT_STYLES = tuple(style for _, style in PAIRS)


def need_shared() -> None:
    """End with a sentence where the development pictures are missing."""
    if not SHARED.exists():
        raise SystemExit(f"{SHARED} is not here: this benchmark needs the development pictures and weights")


def picture(path: Path, size: int) -> Tensor:
    """(1, 3, H, W) with the given long side, enlarged if need be."""
    image = to_tensor(read(path).rgb)
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), size, upscale=True))


def pairs(count: int, size: int) -> list[tuple[str, Tensor, Tensor]]:
    """(name, photo, style) with both long sides at `size`."""
    data = SHARED / "data"
    return [
        (f"{p} / {s}", picture(data / "content" / f"{p}.jpg", size), picture(data / "gallery" / f"{s}.jpg", size))
        for p, s in PAIRS[:count]
    ]


def judge(name: str = "vgg16_dev") -> VGG:
    """A full network in float32 to measure with."""
    # The original VGG-19's file says nothing of its input, as files of others do.
    return load_backbone(SHARED / "weights" / f"{name}.safetensors", input="caffe" if name == "vgg19_caffe" else None)


def peak_memory() -> float:
    """The process's peak resident memory so far, MB (Linux).

    Not `getrusage`: what that gives begins with what the parent held when it started this process.
    """
    lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def held_memory() -> float:
    """The process's resident memory now, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def throughput(dtype: torch.dtype, seconds: float = 1.0) -> float:
    """GFLOP/s of a 3x3 convolution of 256 channels at 128 px, the best of a second's worth."""
    x = torch.randn(1, 256, 128, 128).to(dtype).contiguous(memory_format=torch.channels_last)
    w = (torch.randn(256, 256, 3, 3) * 0.01).to(dtype).contiguous(memory_format=torch.channels_last)
    work, best, began = 2 * 256 * 256 * 9 * 128 * 128 / 1e9, 0.0, time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - began < seconds:
            t = time.perf_counter()
            F.conv2d(x, w, padding=1)
            best = max(best, work / (time.perf_counter() - t))
    return best


def step_gflop(network: VGG, size: tuple[int, int], deepest: str) -> float:
    """Arithmetic of one step, forward and back to the picture, of the convolutions up to `deepest`."""
    total, h, w = 0.0, *size
    for name in network.convolutions:
        if name.endswith("_1") and name != "conv1_1":
            h, w = h // 2, w // 2
        module = network.get_submodule(name)
        parameters = sum(p.numel() for n, p in module.named_parameters() if n.endswith("weight"))
        total += 2 * 2 * parameters * h * w / 1e9
        if name == deepest.replace("relu", "conv"):
            break
    return total


def child(script: str, *arguments: str, **environment: str) -> str:
    """Run a part of a benchmark in a process of its own: peak memory and settings of the processor are per process."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def tell(claim: str, holds: bool) -> None:
    """Print whether a target is met."""
    console.print(f"{'met   ' if holds else 'MISSED'}  {claim}", soft_wrap=True, highlight=False, markup=False)


def machine() -> str:
    """One line on what this ran on."""
    precision = choose_precision("cpu")
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {precision.dtype} ({precision.reason})"


def parser(text: str) -> argparse.ArgumentParser:
    """An argument parser with the module's description."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
