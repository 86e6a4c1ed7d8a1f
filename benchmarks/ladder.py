"""The qualities for a picture as style: seconds, style and content, as `impasto stylize --quality` paints.

    python benchmarks/ladder.py [--pairs 8] [--sizes 512 1920] [--only draft good best]

Seconds are those of painting, with networks loaded and the style not yet looked at; the style's part of them is in
brackets for `draft`, which looks once and remembers. Distances are measured at the painting's size; "left" is the
style distance as a share of the copied photo's, the mean over pairs divided by the copies' mean. `best` takes
six minutes a pair at 512 px, and over an hour at 1920.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import time
from collections.abc import Callable

from torch import Tensor

from common import console, judge, machine, need_shared, pairs, parser, show, tell
from impasto import load
from impasto.core.memory import reuse_large_blocks
from impasto.core.tensors import to_tensor
from impasto.evaluation import Distances, PresetContender, measure
from impasto.stylizer.route import UNIVERSAL

CHOICES = ("draft", "quick", "good", "balanced", "best")


def painter(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """What paints (photo, style) at this quality."""
    if name == "draft":
        network = load(UNIVERSAL)
        return lambda photo, style: to_tensor(network.paint(photo, style).rgb)
    contender = PresetContender(name)
    return lambda photo, style: contender.paint(("", photo), ("", style))


def again(name: str, photo: Tensor, style: Tensor) -> float:
    """Seconds of a second painting in the same style."""
    network = load(UNIVERSAL)
    network.paint(photo, style)
    began = time.perf_counter()
    network.paint(photo, style)
    return time.perf_counter() - began


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--pairs", type=int, default=8)
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1920])
    p.add_argument("--only", nargs="+", choices=CHOICES, default=["draft", "good"])
    o = p.parse_args()
    need_shared()
    reuse_large_blocks()
    eyes = [judge("vgg16_dev"), judge("vgg16_edges"), judge("vgg19_caffe")]
    for size in o.sizes:
        pictures, rows, means = pairs(o.pairs, size), [], {}
        for name in o.only:
            paint, spent = painter(name), 0.0
            paint(*(picture[..., :64, :64] for picture in pictures[0][1:]))  # the first call compiles kernels
            found: list[list[Distances]] = [[] for _ in eyes]
            for _, photo, style in pictures:
                began = time.perf_counter()
                painted = paint(photo, style)
                spent += time.perf_counter() - began
                for eye, distances in zip(eyes, found, strict=True):
                    distances.append(measure(eye, photo, style, painted))
            seconds = spent / len(pictures)
            shares = [sum(d.style for d in row) / sum(d.copied for d in row) for row in found]
            contents = [sum(d.content for d in row) / len(row) for row in found]
            means[name] = seconds, shares[0], contents[0]
            of_it = f" ({again(name, *pictures[0][1:]):.2f})" if name == "draft" else ""
            seen = (f"{v:.1%}, {c:.3f}" for v, c in zip(shares, contents, strict=True))
            rows.append((name, f"{seconds:.2f} s{of_it}", *seen))
            console.print(*rows[-1])
        show(
            f"{len(pictures)} pairs, long side {size} px; {machine()}",
            ("quality", "seconds (style known)", *(f"{eye.name}: style left, content" for eye in eyes)),
            rows,
        )
        if size == 512 and {"draft", "good"} <= means.keys():
            draft, good = means["draft"], means["good"]
            tell(f"good takes {good[0]:.1f} s, at most 3", good[0] <= 3)
            tell(f"good leaves {good[1]:.1%} of style, at most half of draft's {draft[1]:.1%}", good[1] <= draft[1] / 2)
            tell(f"good's content {good[2]:.3f}, at most draft's {draft[2]:.3f}", good[2] <= draft[2])


if __name__ == "__main__":
    main()
