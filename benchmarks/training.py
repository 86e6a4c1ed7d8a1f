"""Images a second of `impasto train`, beside a plain loop of the same networks and losses, in one run.

    python benchmarks/training.py [--networks brisk johnson] [--batch 8] [--size 256] [--steps 5] [--threads N]
                                  [--cpu-time]

Ours is the real loop: photos are decoded, losses logged. The plain loop is what a tutorial would write: modules of
torch.nn in float32, contiguous, both photo and painting sent through the whole of the loss network (VGG-16 to
relu4_3), autograd for everything; its photos are a tensor that is there already. It runs as it is, and once more with
our setting of the C library, which keeps large blocks of memory instead of giving them back (`core/memory.py`).

Each loop has a process of its own, so that none meets the memory that another left behind. Their steps alternate, and
the fastest of each counts, because other programs may take the processor in between; where they never stop, --threads
1 --cpu-time counts the time that the processor gave us instead. Weights are random; times do not depend on them.

The limit is what the arithmetic of our step alone would take, at the rate that this machine reaches in the
convolution of 256 to 256 channels at 64x64: no loop that does the same convolutions can be faster.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import argparse
import math
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input
from torch.utils.flop_counter import FlopCounterMode

from impasto.core.memory import reuse_large_blocks
from impasto.core.metadata import save
from impasto.core.precision import Precision, choose_precision
from impasto.core.vgg import VGG
from impasto.imaging import Picture, write
from impasto.training.loop import TrainProgress, train
from impasto.training.settings import MultiStyleSettings

STYLE, CONTENT = ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "relu3_3"
LAYERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))


# -- the plain loop -------------------------------------------------------------------------------------------


class PlainVGG(nn.Module):
    """Convolutions, ReLUs and pools in a row; the features after every block's last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        before, blocks = 3, []
        for i, widths in enumerate(LAYERS):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class PlainNorm(nn.Module):
    """Instance normalisation with γ and β of each picture's style."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.gamma, self.beta = nn.Parameter(torch.ones(2, channels)), nn.Parameter(torch.zeros(2, channels))

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        return self.norm(x) * self.gamma[styles][:, :, None, None] + self.beta[styles][:, :, None, None]


class PlainStage(nn.Module):
    """Reflection padding, convolution, normalisation."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.pad, self.conv = nn.ReflectionPad2d(kernel // 2), nn.Conv2d(before, after, kernel, stride)
        self.norm = PlainNorm(after)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        return self.norm(self.conv(self.pad(x)), styles)


class PlainJohnson(nn.Module):
    """The network of Johnson 2016 with conditional instance normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([PlainStage(3, 32, 9), PlainStage(32, 64, 3, 2), PlainStage(64, 128, 3, 2)])
        self.blocks = nn.ModuleList([PlainStage(128, 128, 3) for _ in range(10)])
        self.up = nn.ModuleList([PlainStage(128, 64, 3), PlainStage(64, 32, 3)])
        self.last = PlainStage(32, 3, 9)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        for stage in self.down:
            x = F.relu(stage(x, styles))
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(F.relu(first(x, styles)), styles)
        for stage in self.up:
            x = F.relu(stage(F.interpolate(x, scale_factor=2), styles))
        return torch.sigmoid(self.last(x, styles))


class PlainBrisk(nn.Module):
    """Our network for matrix units, of torch's own parts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = PlainStage(48, 64, 3)
        self.blocks = nn.ModuleList([PlainStage(64, 64, 3) for _ in range(10)])
        self.pad = nn.ReflectionPad2d(1)
        self.up, self.norm = nn.Conv2d(64, 4 * 32, 3), PlainNorm(32)
        self.head = nn.Conv2d(32, 12, 3)
        self.matrix, self.offset = nn.Parameter(torch.eye(3).repeat(2, 1, 1)), nn.Parameter(torch.zeros(2, 3))

    def forward(self, photo: Tensor, styles: Tensor) -> Tensor:
        x = F.relu(self.stem(F.pixel_unshuffle(photo, 4), styles))
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(F.relu(first(x, styles)), styles)
        x = F.relu(self.norm(F.pixel_shuffle(self.up(self.pad(x)), 2), styles))
        colours = torch.einsum("bij,bjhw->bihw", self.matrix[styles], photo) + self.offset[styles][:, :, None, None]
        return torch.sigmoid(F.pixel_shuffle(self.head(self.pad(x)), 2) + colours)


def gram(f: Tensor) -> Tensor:
    b, c, h, w = f.shape
    f = f.view(b, c, h * w)
    return f.bmm(f.transpose(1, 2)) / (h * w)


def share(got: Tensor, target: Tensor) -> Tensor:
    return ((got - target).square().flatten(1).sum(1) / target.square().flatten(1).sum(1)).mean()


def plain_loop(network: nn.Module, photos: Tensor) -> Generator[None, None, None]:
    """One step at a time, with the losses of `impasto train`."""
    vgg, optimizer = PlainVGG(), torch.optim.Adam(network.parameters())
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():
        targets = [gram(f) for f in vgg(torch.rand(2, 3, *photos.shape[2:]))]
    styles = torch.arange(len(photos)) % 2
    while True:
        optimizer.zero_grad()
        painted = network(photos, styles)
        seen, wanted = vgg(painted), vgg(photos)
        style = sum(share(gram(f), target[styles]) for f, target in zip(seen, targets, strict=True)) / len(targets)
        variation = painted.diff(dim=2).square().sum() + painted.diff(dim=3).square().sum()
        loss = share(seen[2], wanted[2]) + 30 * style + 2 * variation / painted.numel()
        loss.backward()
        optimizer.step()
        yield


# -- ours -----------------------------------------------------------------------------------------------------


def our_loop(folder: Path, network: str, batch: int, size: int, steps: int) -> Generator[TrainProgress, None, None]:
    torch.manual_seed(0)
    (folder / "photos").mkdir(exist_ok=True)
    for i in range(batch):
        write(Picture(torch.rand(20, 30, 3).repeat_interleave(20, 0).repeat_interleave(20, 1).numpy()),
              folder / "photos" / f"{i}.jpg", force=True)  # fmt: skip
    weights = folder / "vgg.safetensors"
    if not weights.exists():
        vgg = VGG("vgg16", last="conv4_3")
        for module in vgg.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        about = {"kind": "backbone", "name": "random", "topology": "vgg16", "normalisation": "none"}
        save(weights, {key: value.contiguous() for key, value in vgg.state_dict().items()}, about)
    settings = MultiStyleSettings(
        photos=(str(folder / "photos"),),
        style=(str(folder / "photos" / "0.jpg"), str(folder / "photos" / "1.jpg")),
        backbone=str(weights),
        network="johnson" if network == "johnson" else "brisk",
        batch_size=batch,
        image_size=size,
        steps=steps + 10,  # what a run does at its end is no step's
        workers=0,  # so that all time is seen
        save_every=10**6,
        licence="none",
    )
    return train(settings, folder / network)


# -- measuring ------------------------------------------------------------------------------------------------


LOOPS = ("plain", "plain, our memory", "ours")


@dataclass(frozen=True)
class Run:
    """What every process is told."""

    network: str
    batch: int
    size: int
    steps: int
    threads: int
    cpu_time: bool

    def clock(self) -> float:
        return time.process_time() if self.cpu_time else time.perf_counter()

    def seconds(self, work: Callable[[], object]) -> float:
        start = self.clock()
        work()
        return self.clock() - start


def serve(asked: Connection, run: Run, kind: str) -> None:
    """Warm a loop up, send the operations of a step; then for whatever comes make one, and send its seconds."""
    torch.set_num_threads(run.threads)
    if kind != "plain":
        reuse_large_blocks()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "ours":
            loop: Generator[Any, None, None] = our_loop(Path(folder), run.network, run.batch, run.size, run.steps)
            next(loop)  # the beginning
        else:
            network = PlainJohnson() if run.network == "johnson" else PlainBrisk()
            loop = plain_loop(network, torch.rand(run.batch, 3, run.size, run.size))
        counter = FlopCounterMode(display=False)
        with counter:
            next(loop)
        asked.send(counter.get_total_flops())
        while asked.recv():
            asked.send(run.seconds(lambda: next(loop)))
        loop.close()


def rates(precision: Precision, run: Run) -> tuple[float, float]:
    """Operations a second, forwards and backwards to the input, of the convolution that VGG mostly consists of."""
    side, batch = run.size // 4, run.batch
    x = torch.randn(batch, 256, side, side).to(precision.dtype).contiguous(memory_format=precision.memory_format)
    weight = torch.randn(256, 256, 3, 3).to(precision.dtype).contiguous(memory_format=precision.memory_format)
    work = 2 * 9 * 256 * 256 * side * side * batch
    with torch.no_grad():
        forwards = min(run.seconds(lambda: F.conv2d(x, weight, padding=1)) for _ in range(3))
        backwards = min(run.seconds(lambda: conv2d_input(x.shape, weight, x, padding=1)) for _ in range(3))
    return work / forwards, work / backwards


def compare(run: Run) -> None:
    """Print a network's row."""
    precision = choose_precision("cpu")
    fastest, rate, operations = dict.fromkeys(LOOPS, math.inf), (0.0, 0.0), {}
    context = get_context("spawn")
    with ExitStack() as stack:
        ends: dict[str, Connection] = {}
        for kind in LOOPS:
            ends[kind], other = context.Pipe()
            process = context.Process(target=serve, args=(other, run, kind), daemon=True)
            process.start()
            other.close()
            stack.callback(process.join)
            stack.callback(ends[kind].send, False)
            operations[kind] = ends[kind].recv()
        for _ in range(run.steps):
            for kind, end in ends.items():
                end.send(True)
                fastest[kind] = min(fastest[kind], end.recv())
            now = rates(precision, run)
            rate = max(rate[0], now[0]), max(rate[1], now[1])
    plain, helped, ours = (run.batch / fastest[kind] for kind in LOOPS)
    limit = run.batch * 2 / (1 / rate[0] + 1 / rate[1]) / operations["ours"]
    ratios = f"{ours / plain:8.2f}{ours / helped:8.2f}"
    print(f"{run.network:<9}{plain:8.2f}{helped:8.2f}{ours:8.2f}{ratios}{limit:9.2f}{ours / limit:9.0%}", flush=True)
    print(f"{'':<9}convolution: {rate[0] / 1e9:.0f} GFLOP/s forwards, {rate[1] / 1e9:.0f} backwards")


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of training, ours and plainly written.")
    parser.add_argument("--networks", nargs="+", default=["brisk", "johnson"], choices=["brisk", "johnson"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, not the clock's")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    precision = choose_precision("cpu")
    print(f"torch {torch.__version__}, {o.threads} threads, {precision.dtype}: {precision.reason}")
    print(f"\n{'':<9}{'images a second':^24}{'ratio of ours':^16}")
    print(f"{'network':<9}{'plain':>8}{'helped':>8}{'ours':>8}{'plain':>8}{'helped':>8}{'limit':>9}{'of limit':>9}")
    for name in o.networks:
        compare(Run(name, o.batch, o.size, o.steps, o.threads, o.cpu_time))
    print("\nhelped: the plain loop with our setting of the C library's memory.")


if __name__ == "__main__":
    main()
