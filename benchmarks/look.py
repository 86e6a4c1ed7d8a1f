"""Whether a photo of any size looks like its proof: style and content of large paintings, at their size and from afar.

    python benchmarks/look.py [--pairs 4] [--sizes 512 1920] [--networks universal gallery] [--judges vgg16_dev ...]
                              [--scales 1 auto] [--save DIR]

Each network paints the pairs of common.py (photos and paintings that took no part in training `universal`; the gallery
has been trained on its styles) with each `style_scale`: 1, whose strokes have one size in pixels, and auto. "Seen at
1920 px" compares painting, photo and style at that size; "seen at 512 px" all three made as small. "left" is the style
distance as a share of the copied photo's, the mean over pairs divided by the copies' mean. There are no photos larger
than some 600 px in ../shared: beyond, they are enlarged, and smoother than a telephone's.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import time
from pathlib import Path

from torch import Tensor

import impasto
from common import PAIRS, SHARED, console, judge, machine, need_shared, parser, picture, show
from impasto.core.memory import reuse_large_blocks
from impasto.core.resizing import resize
from impasto.core.tensors import to_array, to_tensor
from impasto.evaluation import Judge
from impasto.evaluation.distances import Look
from impasto.imaging import Picture, fit_long_side, write

PROOF = 512


def style_of(network: str, name: str) -> str | Path:
    """What the network is given: a name of the gallery, or the picture's file."""
    return name.replace("_", "-") if network == "gallery" else SHARED / "data" / "gallery" / f"{name}.jpg"


def seen(image: Tensor, size: int) -> Tensor:
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), size))


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--pairs", type=int, default=4)
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1920])
    p.add_argument("--networks", nargs="+", default=["universal", "gallery"])
    p.add_argument("--scales", nargs="+", default=["1", "auto"])
    p.add_argument("--judges", nargs="+", default=["vgg16_dev"])
    p.add_argument("--save", type=Path, help="keep the paintings there")
    o = p.parse_args()
    need_shared()
    reuse_large_blocks()
    print(machine())
    eyes = [Judge(network.name, network) for network in map(judge, o.judges)]
    for size in o.sizes:
        at = sorted({size, PROOF})
        rows: dict[tuple[str, str], list[float]] = {}
        for photo_name, style_name in PAIRS[: o.pairs]:
            photo = picture(SHARED / "data" / "content" / f"{photo_name}.jpg", size)
            style = picture(SHARED / "data" / "gallery" / f"{style_name}.jpg", size)
            known = {
                (eye.name, s, i): eye.look(seen(x, s)) for eye in eyes for s in at for i, x in enumerate((photo, style))
            }
            for network in o.networks:
                for scale in o.scales:
                    painted, seconds = paint(network, photo, style_of(network, style_name), scale)
                    if o.save is not None:
                        keep(o.save, f"{size}-{network}-{scale}", f"{photo_name}--{style_name}", painted)
                    found = judged(eyes, at, painted, known)
                    row = rows.setdefault((network, scale), [0.0] * (1 + len(found)))
                    for i, value in enumerate((seconds, *found)):
                        row[i] += value
            console.print(f"{size} px: {photo_name} in {style_name} is done")
        columns = [f"{eye.name} at {s} px: left, content" for eye in eyes for s in at]
        table = []
        for (network, scale), row in rows.items():
            sums = iter(row[1:])
            cells = [
                f"{style / copied:.1%}, {content / o.pairs:.3f}"
                for style, copied, content in zip(sums, sums, sums, strict=True)
            ]
            table.append((network, scale, f"{row[0] / o.pairs:.2f} s", *cells))
        show(f"{o.pairs} pairs at {size} px; {machine()}", ("network", "style_scale", "a picture", *columns), table)


def paint(network: str, photo: Tensor, style: str | Path, scale: str) -> tuple[Tensor, float]:
    """The painting and the seconds that it took, the style known."""
    model = impasto.load(network)
    given = scale if scale == "auto" else float(scale)
    model.paint(photo[..., :64, :64], style)
    began = time.perf_counter()
    painted = model.paint(photo, style, style_scale=given)
    return to_tensor(painted.rgb), time.perf_counter() - began


def judged(eyes: list[Judge], at: list[int], painted: Tensor, known: dict[tuple[str, int, int], Look]) -> list[float]:
    """Style, the copied photo's style and content, for every judge and size at which it looks."""
    found = []
    for eye in eyes:
        for size in at:
            apart = eye.compare(eye.look(seen(painted, size)), known[eye.name, size, 0], known[eye.name, size, 1])
            found += [apart.style, apart.copied, apart.content]
    return found


def keep(folder: Path, kind: str, name: str, painted: Tensor) -> None:
    place = folder / kind
    place.mkdir(parents=True, exist_ok=True)
    write(Picture(to_array(painted)), place / f"{name}.jpg", force=True)


if __name__ == "__main__":
    main()
