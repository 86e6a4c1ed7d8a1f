"""Size of the strokes: a factor, or per cent of the picture, by which a proof and its print look the same."""

from __future__ import annotations

import math

from impasto.errors import OptionError

__all__ = ["factor_for_network", "factor_for_optimisation", "parse_scale"]

LEAST_SCALE, MOST_SCALE = 0.1, 100.0
PROOF = 512  # px of long side at which 100 % are the network's own strokes


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
        shown = scale if isinstance(scale, str) else f"{scale:g}"
        raise OptionError(
            f"`style_scale` is {shown}, need a number from {LEAST_SCALE} to {MOST_SCALE:g}, such as 2, or per cent of "
            "the picture, such as 50%"
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
