"""Seconds per step and peak memory of optimisation on a VGG-19, ours beside a plain implementation.

(a) plain: eager float32, contiguous layout, torchvision-like Sequential, Gram by reshape and mm, as a tutorial
writes it. (b) ours: `impasto.methods`. Same losses (Gram MSE at relu1_1 ... relu5_1, content MSE at relu4_2),
same random weights. Each runs in a process of its own; (a) and (b) alternate, and the best of `--rounds` counts.
With the processor's bfloat16 units, and without (ONEDNN_MAX_CPU_ISA=AVX2).

    python benchmarks/optimize.py [--sizes 512 1024] [--steps 4] [--rounds 2]
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from common import child, held_memory, machine, parser, peak_memory, show, step_gflop, throughput

STYLE, CONTENT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), "relu4_2"


def plain_network() -> tuple[nn.Sequential, dict[int, str]]:
    """VGG-19 to relu5_1 as a plain Sequential, and which of its layers are tapped."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    names: dict[int, str] = {}
    channels = 3
    for block, (count, width) in enumerate(zip((2, 2, 4, 4, 1), (64, 128, 256, 512, 512), strict=True), start=1):
        if block > 1:
            layers.append(nn.MaxPool2d(2))
        for i in range(1, count + 1):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight)
            layers += [conv, nn.ReLU()]
            names[len(layers) - 1] = f"relu{block}_{i}"
            channels = width
    network = nn.Sequential(*layers).requires_grad_(False)
    return network, {i: n for i, n in names.items() if n in (*STYLE, CONTENT)}


def plain(size: int, steps: int) -> tuple[float, float]:
    """-> seconds per step, peak MB above the weights."""
    network, names = plain_network()
    torch.manual_seed(1)
    photo, style = torch.rand(1, 3, size, size), torch.rand(1, 3, size, size)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def features(x: Tensor) -> dict[str, Tensor]:
        out, x = {}, (x - mean) / std
        for i, layer in enumerate(network):
            x = layer(x)
            if i in names:
                out[names[i]] = x
        return out

    def gram(f: Tensor) -> Tensor:
        f = f.view(f.shape[1], -1)
        return f @ f.t() / f.shape[1]

    before = held_memory()
    with torch.no_grad():
        target = features(photo)[CONTENT]
        grams = {n: gram(f) for n, f in features(style).items() if n in STYLE}
    image = photo.clone().requires_grad_()
    adam = torch.optim.Adam([image], lr=0.02)

    def step() -> None:
        f = features(image)
        loss = (f[CONTENT] - target).square().mean()
        for n in STYLE:
            loss = loss + 1e-4 * (gram(f[n]) - grams[n]).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()

    return timed(step, steps, before)


def ours(size: int, steps: int) -> tuple[float, float]:
    """-> seconds per step, peak MB above the weights."""
    from impasto.core.memory import reuse_large_blocks
    from impasto.core.precision import choose_precision
    from impasto.core.vgg import VGG
    from impasto.optimize.loop import Optimization
    from impasto.optimize.presets import OptimizeSettings

    reuse_large_blocks()
    precision = choose_precision("cpu")
    plain_layers = [m for m in plain_network()[0] if isinstance(m, nn.Conv2d)]
    vgg = VGG("vgg19", last="conv5_1")
    for name, conv in zip(vgg.convolutions, plain_layers, strict=True):
        vgg.get_submodule(name).load_state_dict(conv.state_dict())
    vgg.requires_grad_(False).to(precision.dtype).to(memory_format=precision.memory_format)
    del plain_layers
    torch.manual_seed(1)
    photo, style = torch.rand(1, 3, size, size), torch.rand(1, 3, size, size)
    settings = OptimizeSettings(
        parameterisation="pixels",
        content_reduction="mean",
        style_reduction="mean",
        style_weight=5e-4,
        range_weight=0.0,
        lr=0.02,
        steps=steps + 1,
    )
    before = held_memory()
    run = Optimization(photo, [(style, 1.0)], settings, vgg).run()
    return timed(lambda: next(run), steps, before)


def timed(step: Callable[[], object], steps: int, before: float) -> tuple[float, float]:
    """Best of `steps` after a first one; peak above what the process held before, its weights included."""
    step()
    best = float("inf")
    for _ in range(steps):
        began = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - began)
    return best, peak_memory() - before


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--one", nargs=2, metavar=("WHICH", "SIZE"))
    o = p.parse_args()
    if o.one:
        seconds, memory = {"plain": plain, "ours": ours}[o.one[0]](int(o.one[1]), o.steps)
        print(json.dumps([seconds, memory]))
        return
    if o.steps < 1:
        raise SystemExit("--steps must be at least 1")
    print(machine())
    rows = []
    for units, environment in (("native units", {}), ("AVX2 only", {"ONEDNN_MAX_CPU_ISA": "AVX2"})):
        for size in o.sizes:
            best: dict[str, tuple[float, float]] = {}
            for _ in range(o.rounds):
                for which in ("plain", "ours"):
                    out = child(__file__, "--one", which, str(size), "--steps", str(o.steps), **environment)
                    seconds, memory = json.loads(out)
                    old = best.get(which, (float("inf"), float("inf")))
                    best[which] = (min(seconds, old[0]), min(memory, old[1]))
            (a, ma), (b, mb) = best["plain"], best["ours"]
            faster, share = f"{a / b:.2f}x", f"{mb / ma:.0%}"
            memory = (f"{ma:.0f} MB", f"{mb:.0f} MB", share)
            rows.append((units, f"{size}x{size}", f"{a:.2f} s", f"{b:.2f} s", faster, *memory))
    show(
        "Optimisation on a VGG-19 topology, a step",
        ("", "picture", "plain", "ours", "faster", "plain: memory", "ours: memory", "share"),
        rows,
    )
    from impasto.core.vgg import VGG

    for dtype in (torch.float32, torch.bfloat16):
        rate = throughput(dtype)
        work = step_gflop(VGG("vgg19"), (512, 512), "relu5_1")
        told = f"the {work:.0f} GFLOP of direct convolutions at 512x512 take {work / rate:.2f} s or more"
        print(f"{dtype}: {rate:.0f} GFLOP/s measured, so {told}; ours does about half of them (core/winograd.py)")


if __name__ == "__main__":
    main()
