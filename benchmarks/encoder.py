"""`compact` beside the full network it was made from: what optimising on each leaves, and seconds per step.

For every pair, 200 steps of the same settings on both; distances are measured on the full network in float32.
Backbones alternate pair by pair, so that a noisy machine disturbs both alike.

    python benchmarks/encoder.py [--pairs 8] [--size 512] [--steps 200] [--save DIR]
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import time
from pathlib import Path

from common import SHARED, console, judge, machine, need_shared, pairs, parser, show
from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import choose_precision
from impasto.core.tensors import to_array
from impasto.core.weights import load_backbone
from impasto.evaluation import Distances, measure
from impasto.imaging import Picture, write
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import OptimizeSettings


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--save", type=Path, help="keep the paintings there")
    o = p.parse_args()
    need_shared()
    reuse_large_blocks()
    precision = choose_precision("cpu")
    eyes = judge()
    backbones = {
        "vgg16-dev": load_backbone(SHARED / "weights" / "vgg16_dev.safetensors", precision=precision),
        "compact": load_backbone("compact", precision=precision),
    }
    settings = OptimizeSettings(parameterisation="pixels", lr=0.02, lr_end=1.0, steps=o.steps)
    found: dict[str, list[Distances]] = {name: [] for name in backbones}
    fastest = dict.fromkeys(backbones, float("inf"))
    total = dict.fromkeys(backbones, 0.0)
    rows = []
    for pair, photo, style in pairs(o.pairs, o.size):
        row = [pair]
        for name, backbone in backbones.items():
            painting = Optimization(photo, [(style, 1.0)], settings, backbone)
            began = last = time.perf_counter()
            for _ in painting.run():
                now = time.perf_counter()
                fastest[name], last = min(fastest[name], now - last), now
            total[name] += last - began
            d = measure(eyes, photo, style, painting.image())
            found[name].append(d)
            row += [f"{d.share:.2%}", f"{d.content:.3f}"]
            if o.save:
                o.save.mkdir(parents=True, exist_ok=True)
                write(
                    Picture(to_array(painting.image())), o.save / f"{pair.replace(' / ', '-')}-{name}.jpg", force=True
                )
        rows.append(row)
        console.print(*row)
    share = {n: sum(d.style for d in ds) / sum(d.copied for d in ds) for n, ds in found.items()}
    content = {n: sum(d.content for d in ds) / len(ds) for n, ds in found.items()}
    full, small = backbones
    rows.append(["all", *[v for n in backbones for v in (f"{share[n]:.2%}", f"{content[n]:.3f}")]])
    show(
        f"{o.steps} steps at {o.size} px; {machine()}",
        ("pair", f"{full}: style left", "content", f"{small}: style left", "content"),
        rows,
    )
    print(f"style left, {small} over {full}: {share[small] / share[full]:.2f}")
    print(f"content, {small} over {full}: {content[small] / content[full]:.2f}")
    print(f"time of all steps, {small} over {full}: {total[small] / total[full]:.2f}")
    ratio = fastest[small] / fastest[full]
    print(f"time of the fastest step: {fastest[full]:.3f} s and {fastest[small]:.3f} s, {ratio:.2f}")


if __name__ == "__main__":
    main()
