"""Style and content distance against steps and seconds, for presets and parameterisations, all from the photo.

Distances are measured on vgg16_dev at the painting's size, style as a share of the copied photo's: the mean over
pairs divided by the mean of the copies. Seconds are those spent in steps.

    python benchmarks/convergence.py [--pairs 8] [--size 512] [--only quick balanced ...] [--backbone compact]
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import time

from common import console, judge, machine, need_shared, pairs, parser, show, step_gflop, throughput
from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import choose_precision
from impasto.core.weights import load_backbone
from impasto.evaluation import measure
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import OptimizeSettings, preset

SAME = {"content_layers": preset("quick").content_layers, "style_weight": preset("quick").style_weight}
VARIANTS: dict[str, OptimizeSettings] = {  # one network sees, and nothing is painted over
    "quick": preset("quick", backbone="compact", init="content"),
    "balanced": preset("balanced", backbone="compact", repaint=0.0),
    "quick with a long memory": preset("quick", backbone="compact", init="content", betas=(0.9, 0.99)),
    "pyramid at one scale, 12 steps": OptimizeSettings(**SAME, lr=0.019, betas=(0.5, 0.9), steps=12),
    "pixels, 12 steps": OptimizeSettings(**SAME, parameterisation="pixels", lr=0.02, betas=(0.5, 0.9), steps=12),
    "Fourier, 12 steps": OptimizeSettings(**SAME, parameterisation="fourier", lr=0.02, betas=(0.5, 0.9), steps=12),
    "L-BFGS on the pyramid, 12 steps": OptimizeSettings(**SAME, optimizer="lbfgs", lr=1.0, lr_end=1.0, steps=12),
}


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    p.add_argument("--backbone", default="compact")
    o = p.parse_args()
    need_shared()
    reuse_large_blocks()
    precision = choose_precision("cpu")
    eyes, backbone = judge(), load_backbone(o.backbone, precision=precision)
    pictures = pairs(o.pairs, o.size)
    rows = []
    for name in o.only:
        settings = VARIANTS[name]
        found, spent, steps = [], 0.0, 0
        for _, photo, style in pictures:
            painting = Optimization(photo, [(style, 1.0)], settings, backbone)
            began = time.perf_counter()
            steps = sum(1 for _ in painting.run())
            spent += time.perf_counter() - began
            found.append(measure(eyes, photo, style, painting.image()))
        share = sum(d.style for d in found) / sum(d.copied for d in found)
        content = sum(d.content for d in found) / len(found)
        worst = max(d.share for d in found)
        rows.append((name, str(steps), f"{spent / len(found):.1f} s", f"{share:.1%}", f"{worst:.1%}", f"{content:.3f}"))
        console.print(*rows[-1])
    show(
        f"Convergence on {o.backbone} at {o.size} px, {len(pictures)} pairs; {machine()}",
        ("", "steps", "seconds", "style left", "worst pair", "content"),
        rows,
    )
    height, width = pictures[0][1].shape[2:]
    rate, work = throughput(precision.dtype), step_gflop(backbone, (height, width), "relu5_1")
    print(f"a step at {width}x{height}: {work:.0f} GFLOP, at the measured {rate:.0f} GFLOP/s {work / rate:.2f} s")


if __name__ == "__main__":
    main()
