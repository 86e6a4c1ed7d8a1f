"""Whether flat parts of a photo become brickwork: how much of the painted texture comes again at an even distance.

    python benchmarks/flat.py [--size 512] [--styles 12] [--ground 0 0.5 1] [--networks gallery universal] [--save DIR]

A plain grey, a gradient and the sky of a photo are painted in each style. Of the painted texture (luminance without
what is larger than 64 px) the autocorrelation is taken; what counts is its highest peak, a value above its neighbours',
between 6 and 64 px away, as a share of the variance: even texture has high ones, irregular strokes have none. The sky
is that of ../shared/data/content/bsds_135069.jpg, the lower third, unless --sky names another photo.
"""

from __future__ import annotations

import before_torch  # noqa: F401

# isort: split
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import impasto
from common import SHARED, machine, need_shared, parser, show
from impasto.imaging import Picture, fit_long_side, read, resize, write
from impasto.imaging.colour import luminance

Floats = NDArray[np.float32]
NEAR, FAR = 6, 64  # px between which peaks are looked for
NOTHING = 0.5 / 255
STYLES = 12


def peak(painted: Floats) -> float:
    """The highest local maximum of the autocorrelation of a painting (H, W, 3) between NEAR and FAR px, in [0, 1].

    0 where there is no texture: what varies by less than `NOTHING` cannot be seen.
    """
    light = luminance(painted).astype(np.float64)
    texture = light - smooth(light, FAR / 2)
    if texture.std() < NOTHING:
        return 0.0
    size = [2 * side for side in texture.shape]
    spectrum = np.fft.rfft2(texture, size)
    sums = np.fft.irfft2(spectrum * spectrum.conj(), size)
    overlap = np.fft.irfft2(np.abs(np.fft.rfft2(np.ones_like(texture), size)) ** 2, size)
    found = np.roll(sums / np.maximum(overlap, 1), (FAR + 1, FAR + 1), (0, 1))[: 2 * FAR + 3, : 2 * FAR + 3]
    found /= max(found[FAR + 1, FAR + 1], 1e-12)
    middle = found[1:-1, 1:-1]
    around = [found[1 + y : found.shape[0] - 1 + y, 1 + x : found.shape[1] - 1 + x] for y, x in NEIGHBOURS]
    away = np.hypot(*np.mgrid[-FAR : FAR + 1, -FAR : FAR + 1])
    is_peak = np.logical_and.reduce([middle > one for one in around]) & (away >= NEAR) & (away <= FAR)
    return float(middle[is_peak].max(initial=0.0))


NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def smooth(light: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Blurred by a Gaussian, continued by reflection."""
    reach = int(3 * deviation)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(light, [(reach, reach) if side == axis else (0, 0) for side in (0, 1)], mode="reflect")
        light = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return light


def photos(size: int, sky: Path) -> dict[str, tuple[Floats, slice]]:
    """Name -> picture with this long side, and the rows that are flat."""
    height = size * 3 // 4
    grey = np.full((height, size, 3), 0.6, np.float32)
    across, down = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, height))
    ends = np.array([[0.25, 0.45, 0.8], [0.95, 0.85, 0.7]], np.float32)
    share = (0.3 * across + 0.7 * down)[:, :, None].astype(np.float32)
    picture = read(sky).rgb
    picture = resize(picture, fit_long_side((picture.shape[0], picture.shape[1]), size, upscale=True))
    rows = slice(picture.shape[0] * 2 // 3, None)
    whole = slice(None)
    return {"grey": (grey, whole), "gradient": (ends[0] + share * (ends[1] - ends[0]), whole), "sky": (picture, rows)}


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--styles", type=int, default=STYLES)
    p.add_argument("--ground", type=float, nargs="+", default=[0.0, 1.0])
    p.add_argument("--networks", nargs="+", default=["gallery", "universal"])
    p.add_argument("--sky", type=Path, default=SHARED / "data" / "content" / "bsds_135069.jpg")
    p.add_argument("--save", type=Path, help="keep the paintings there")
    o = p.parse_args()
    need_shared()
    print(machine())
    pictures = photos(o.size, o.sky)
    for name in o.networks:
        model, rows = impasto.load(name), []
        for style in styles(name, o.styles):
            cells = []
            for kind, (picture, flat) in pictures.items():
                for ground in o.ground:
                    painted = model.paint(Picture(picture), style, ground=ground).rgb
                    cells.append(peak(painted[flat]))
                    if o.save is not None:
                        o.save.mkdir(parents=True, exist_ok=True)
                        write(Picture(painted), o.save / f"{name}-{kind}-{Path(style).stem}-{ground:g}.png", force=True)
            rows.append((Path(style).stem, *(f"{cell:.2f}" for cell in cells)))
        numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
        rows.append(("mean", *(f"{value:.2f}" for value in numbers.mean(0))))
        rows.append(("above .3", *(str(value) for value in (numbers > 0.3).sum(0))))
        columns = [f"{kind}, {ground:g}" for kind in pictures for ground in o.ground]
        show(f"{name} at {o.size} px: highest peak; photo, ground", ("", *columns), rows)


def styles(network: str, count: int) -> list[str]:
    """Names of the gallery, or the pictures of the same styles."""
    pictures = sorted((SHARED / "data" / "gallery").glob("*.jpg"))
    names = {record.name for record in impasto.load("gallery").styles}
    chosen = [path for path in pictures if path.stem.replace("_", "-") in names][:count]
    return [path.stem.replace("_", "-") if network == "gallery" else str(path) for path in chosen]


if __name__ == "__main__":
    main()
