"""Size of the strokes: a factor, per cent of the picture, or as large as in a proof by painting coarse to fine."""

from __future__ import annotations

import math
from typing import Final

from impasto.errors import OptionError
from impasto.imaging import fit_long_side

__all__ = [
    "AUTO",
    "COARSE_TO_FINE",
    "GROUND",
    "GROUNDED",
    "REPAINTED",
    "coarse_sizes",
    "factor_for_network",
    "factor_for_optimisation",
    "parse_scale",
]

AUTO: Final = "auto"
"""The `style_scale` of networks where none is given: of a large picture, strokes as in its proof, and finer ones."""

COARSE_TO_FINE: Final = frozenset({"brisk", "multistyle", "universal"})
"""Methods of networks that paint large pictures so; what others' networks paint is what it was elsewhere."""

GROUNDED: Final = frozenset({"brisk", "universal"})
"""Methods that are ours alone: others paint a photo of usual size as they do elsewhere."""

LEAST_SCALE, MOST_SCALE = 0.1, 100.0
PROOF: Final = 512  # px of long side at which 100 % are the network's own strokes
LARGE: Final = 1024  # px of long side above which AUTO paints coarse to fine
LEAST_GROWTH, MOST_GROWTH = 1.4, 2.1  # of a side, from one size to the next
REPAINTED: Final = 0.7
"""The strength of every size but the first: what is painted already keeps the rest."""
GROUND: Final = 0.15
"""The painter's ground of networks that are `GROUNDED`, where none is asked for: hardly more than a camera's noise, and
enough that a plain wall does not become a pattern that repeats to the pixel."""
NARROWEST: Final = 128  # px that the short side of the first size has at least


def parse_scale(scale: float | str) -> tuple[float, bool]:
    """The number that is meant, and whether in per cent of the picture.

    >>> parse_scale("2"), parse_scale("50%")
    ((2.0, False), (0.5, True))

    Raises:
        OptionError: neither, or no size that strokes can have.
    """
    text = str(scale).strip()
    relative = text.endswith("%")
    try:
        value = float(text.removesuffix("%")) / (100 if relative else 1)
    except ValueError:
        value = math.nan
    if not LEAST_SCALE <= value <= MOST_SCALE:
        shown = (scale if scale.strip() else repr(scale)) if isinstance(scale, str) else f"{scale:g}"
        raise OptionError(
            f"`style_scale` is {shown}, need a number from {LEAST_SCALE} to {MOST_SCALE:g}, such as 2, or per cent of "
            f"the picture, such as 50%, or {AUTO}"
        )
    return value, relative


def factor_for_network(scale: float | str, size: tuple[int, int]) -> float:
    """By how much a network's strokes are enlarged in a painting of this (height, width).

    At 100 % they are to a painting of any size what they are to one whose long side is 512 px.
    """
    value, relative = parse_scale(scale)
    return value * max(size) / PROOF if relative else value


def factor_for_optimisation(scale: float | str) -> float:
    """The style picture's long side as a share of the painting's, which is relative already."""
    return parse_scale(scale)[0]


def coarse_sizes(size: tuple[int, int], factor: float | None = None) -> tuple[tuple[int, int], ...]:
    """The (height, width) at which a picture is painted before its own, the smallest first; perhaps none.

    Args:
        size: (height, width) of the picture.
        factor: by how much the largest strokes are enlarged; None begins with the proof of a large picture.

    >>> coarse_sizes((3000, 4000)), coarse_sizes((768, 1024))
    (((384, 512), (762, 1016), (1512, 2016)), ())
    >>> coarse_sizes((768, 1024), 2), coarse_sizes((768, 1024), 0.5)
    (((384, 512),), ())
    """
    long = max(size)
    first = max(PROOF, NARROWEST * long / min(size)) if factor is None else max(1, long / factor)
    if long <= (max(LARGE, LEAST_GROWTH * first) if factor is None else first):
        return ()
    steps = math.ceil(math.log(long / first) / math.log(MOST_GROWTH))
    sizes = (fit_long_side(size, round(first * (long / first) ** (step / steps))) for step in range(steps))
    return tuple(one for one in sizes if one != size)
