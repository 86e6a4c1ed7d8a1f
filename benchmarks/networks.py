"""Seconds per picture of the feed-forward networks, beside what their arithmetic alone would take.

    python benchmarks/networks.py [--size 512x512 1080x1920] [--precision auto] [--threads N] [--repeats 5]

The limit is the network's floating-point operations over the rate at which this machine, at that moment, does
the convolution that `brisk` mostly consists of (3x3, 96 to 96 channels at 1/4 resolution). The share is what
the network reaches of it: what is missing goes to statistics, borders, layouts and smaller convolutions.
Weights are random; times do not depend on them.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import Precision, choose_precision
from impasto.networks.brisk import BriskConfig
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.layers import use_precision
from impasto.networks.multistyle import MultiStyleConfig
from impasto.networks.registry import Network, build

CONFIGS = {
    "johnson": JohnsonConfig(),
    "multistyle": MultiStyleConfig(("a", "b")),
    "brisk": BriskConfig(("a", "b")),
    "brisk, detail 32": BriskConfig(("a", "b"), detail=32),
}


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of `repeats` runs, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def paint(network: Network, image: Tensor) -> Tensor:
    return network(image) if isinstance(network, Johnson) else network(image, network.mix({"a": 0.6, "b": 0.4}))


def operations(network: Network, image: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        paint(network, image)
    return counter.get_total_flops()


def convolution_rate(size: tuple[int, int], precision: Precision, repeats: int) -> float:
    """Operations a second in a 3x3 convolution of 96 channels at a quarter of this size."""
    h, w = size[0] // 4, size[1] // 4
    x = torch.randn(1, 96, h + 2, w + 2).to(precision.dtype).contiguous(memory_format=precision.memory_format)
    weight = torch.randn(96, 96, 3, 3).to(precision.dtype).contiguous(memory_format=precision.memory_format)
    return 2 * 9 * 96 * 96 * h * w / fastest(lambda: F.conv2d(x, weight), 3 * repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds per picture of the networks, and their limit.")
    parser.add_argument("--size", nargs="+", default=["512x512", "1080x1920"], help="height x width")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    reuse_large_blocks()
    precision = choose_precision("cpu", options.precision)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {precision.dtype}: {precision.reason}")
    print(f"{'network':<18}{'size':>11}{'seconds':>9}{'GFLOP':>8}{'GFLOP/s':>9}{'limit':>8}{'share':>7}")
    for size in ([int(side) for side in text.split("x")] for text in options.size):
        image = torch.rand(1, 3, *size)
        for name, config in CONFIGS.items():
            network = build(config).eval()
            use_precision(network, precision)
            with torch.inference_mode():
                work = operations(network, image)
                rate = convolution_rate((size[0], size[1]), precision, options.repeats)
                seconds = fastest(lambda network=network, image=image: paint(network, image), options.repeats)
            row = f"{seconds:9.3f}{work / 1e9:8.1f}{rate / 1e9:9.0f}{work / rate:8.3f}{work / rate / seconds:7.0%}"
            print(f"{name:<18}{size[0]:>6}x{size[1]:<4}{row}", flush=True)


if __name__ == "__main__":
    main()
