"""Whether a photo of any size looks like its proof: style and content of large paintings, at their size and from afar.

    python benchmarks/look.py [--pairs 4] [--sizes 512 1920] [--networks universal gallery] [--judges vgg16_dev ...]
                              [--scales 1 auto] [--save DIR] [--sheets DIR]

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

import numpy as np
from torch import Tensor

import impasto
from common import PAIRS, SHARED, console, judge, machine, need_shared, parser, picture, show
from impasto.core.memory import reuse_large_blocks
from impasto.core.metadata import SHIPPED
from impasto.core.resizing import resize
from impasto.core.tensors import to_array, to_tensor
from impasto.evaluation import Judge
from impasto.evaluation.distances import Look
from impasto.imaging import Picture, fit_long_side, read, write
from impasto.imaging import resize as resize_rows
from impasto.imaging.sheets import Cell, contact_sheet
from impasto.stylizer.strokes import GROUND

PROOF = 512
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SHOWN = (  # photo, network, style, and where the part begins, from the top and from the left
    ("astronaut", "gallery", "composition-vii", (0.02, 0.32)),
    ("astronaut", "universal", "starry", (0.02, 0.32)),
    ("rocket", "gallery", "great-wave", (0.2, 0.4)),
    ("chelsea", "universal", "wave", (0.3, 0.25)),
)
SWATCHES = (
    *("great-wave", "starry-night", "the-scream", "roman-mosaic"),
    *("composition-vii", "large-blue-horses", "udnie", "naruto-whirlpools"),
)
README = (
    *("great-wave", "starry-night", "the-scream", "roman-mosaic"),
    *("composition-vii", "udnie", "mondrian-composition", "woman-with-hat"),
    *("gray-tree", "delaunay-metzinger", "contrast-of-forms", "wheat-field-cypresses"),
)
ENLARGED = (
    ("rocket", "gallery", "woman-with-hat"),
    ("chelsea", "gallery", "great-wave"),
    ("rocket", "universal", "composition-vii"),
    ("chelsea", "universal", "starry-night"),
)
ON_GROUND = {
    "gallery": ("great-wave", "composition-vii", "udnie", "starry-night"),
    "universal": ("wave", "composition", "cypresses", "starry"),
}


def style_of(network: str, name: str) -> str | Path:
    """What the network is given: a name of the gallery, or the picture's file."""
    return name.replace("_", "-") if network == "gallery" else SHARED / "data" / "gallery" / f"{name}.jpg"


def every_size(size: int = 1920, side: int = 300) -> Picture:
    """Proof, painting in strokes of one size in pixels, and coarse to fine: whole, and a part as it is."""
    rows = []
    for photo_name, network, style, at in SHOWN:
        image = read(EXAMPLES / "photos" / f"{photo_name}.jpg").rgb
        image = resize_rows(image, fit_long_side((image.shape[0], image.shape[1]), size, upscale=True))
        model, part = (
            impasto.load(network),
            tuple(
                slice(int(x * side_of), int(x * side_of) + side) for x, side_of in zip(at, image.shape, strict=False)
            ),
        )
        given = style if network == "gallery" else EXAMPLES / "styles" / f"{style}.jpg"
        proof, fine, coarse = (
            model.paint(Picture(image), given, **how).rgb for how in ({"size": PROOF}, {"style_scale": 1}, {})
        )
        labels = (
            "proof of 512 px",
            f"{size} px, style_scale 1",
            "a part of it",
            f"{size} px, coarse to fine",
            "the same part",
        )
        rows.append([Cell(*cell) for cell in zip((proof, fine, fine[part], coarse, coarse[part]), labels, strict=True)])
    return contact_sheet(rows, side)


def grounds(size: int = 512, side: int = 230) -> Picture:
    """A plain wall and a sky on grounds of several strengths."""
    rows = []
    sky = read(EXAMPLES / "photos" / "rocket.jpg").rgb
    sky = resize_rows(sky, fit_long_side((sky.shape[0], sky.shape[1]), size))
    wall = np.full((size // 2, size, 3), 0.6, np.float32)
    for network, styles in ON_GROUND.items():
        for image, ground in ((wall, 0), (wall, GROUND), (sky, 0), (sky, GROUND), (sky, 0.5)):
            model = impasto.load(network)
            given = [style if network == "gallery" else EXAMPLES / "styles" / f"{style}.jpg" for style in styles]
            labels = [f"{style}, ground {ground:g}" for style in styles]
            rows.append(
                [
                    Cell(model.paint(Picture(image), one, ground=ground).rgb, label)
                    for one, label in zip(given, labels, strict=True)
                ]
            )
    return contact_sheet(rows, side)


def any_style(size: int = 512, side: int = 300) -> Picture:
    """Two photos in the manner of eight swatches, whose own pictures `universal` has not seen in training."""
    model, rows = impasto.load("universal"), []
    for photo_name in ("astronaut", "chelsea"):
        image = read(EXAMPLES / "photos" / f"{photo_name}.jpg").rgb
        image = resize_rows(image, fit_long_side((image.shape[0], image.shape[1]), size, upscale=True))
        for names in (SWATCHES[:4], SWATCHES[4:]):
            cells = []
            for name in names:
                swatch = read(SHIPPED / "gallery" / f"{name}-swatch.jpg")
                cells += [
                    Cell(resize_rows(swatch.rgb, (120, 120)), name),
                    Cell(model.paint(Picture(image), swatch).rgb),
                ]
            rows.append(cells)
    return contact_sheet(rows, side)


def enlarged(size: int = 1920, side: int = 480) -> Picture:
    """A proof, strokes of one size in pixels, a part of that as it is, and what is painted if nothing is said."""
    rows = []
    for photo_name, network, style in ENLARGED:
        image = read(EXAMPLES / "photos" / f"{photo_name}.jpg").rgb
        image = resize_rows(image, fit_long_side((image.shape[0], image.shape[1]), size, upscale=True))
        given = style if network == "gallery" else SHIPPED / "gallery" / f"{style}-swatch.jpg"
        model = impasto.load(network)
        ways = ({"size": PROOF}, {"style_scale": 1}, {})
        proof, fine, large = (model.paint(Picture(image), given, **how).rgb for how in ways)
        high, wide = (slice(3 * length // 8, 5 * length // 8) for length in fine.shape[:2])
        labels = (
            f"{network}, {style}: {PROOF} px",
            f"{size} px, --style-scale 1",
            "a quarter of its width, pixel by pixel",
            f"{size} px",
        )
        rows.append([Cell(*cell) for cell in zip((proof, fine, fine[high, wide], large), labels, strict=True)])
    return contact_sheet(rows, side)


def readme(size: int = 451, side: int = 400) -> Picture:
    """Two photos in twelve styles of the gallery."""
    model, rows = impasto.load("gallery"), []
    titles = {record.name: record.title or record.name for record in model.styles}
    for photo_name, part in (("chelsea", 1), ("astronaut", 2 / 3)):
        image = read(EXAMPLES / "photos" / f"{photo_name}.jpg").rgb
        image = image[: round(part * image.shape[0])]
        image = resize_rows(image, fit_long_side((image.shape[0], image.shape[1]), size, upscale=True))
        for names in (README[:4], README[4:8], README[8:]):
            rows.append([Cell(model.paint(Picture(image), name).rgb, titles[name]) for name in names])
    return contact_sheet(rows, side)


def seen(image: Tensor, size: int) -> Tensor:
    return resize(image, fit_long_side((image.shape[2], image.shape[3]), size))


SHEETS = {
    "gallery": readme,
    "look/sizes": every_size,
    "look/grounds": grounds,
    "models/universal": any_style,
    "models/large": enlarged,
}


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--pairs", type=int, default=4)
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1920])
    p.add_argument("--networks", nargs="+", default=["universal", "gallery"])
    p.add_argument("--scales", nargs="+", default=["1", "auto"])
    p.add_argument("--judges", nargs="+", default=["vgg16_dev"])
    p.add_argument("--save", type=Path, help="keep the paintings there")
    p.add_argument(
        "--sheets",
        type=Path,
        help="draw the sheets of README.md, docs/look.md and docs/models there (docs), and no more",
    )
    o = p.parse_args()
    if o.sheets is not None:
        for name, draw in SHEETS.items():
            write(draw(), o.sheets / f"{name}.jpg", force=True, quality=85)
        return
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
