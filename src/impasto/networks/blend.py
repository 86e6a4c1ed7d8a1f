"""Weights of a blend of styles that a network knows by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from impasto.errors import OptionError, nearest

__all__ = ["blend_weights"]


def blend_weights(blend: str | Mapping[str, float] | Iterable[tuple[str, float]], known: Sequence[str]) -> list[float]:
    """A weight for each of the `known` styles, their sum 1, from a blend such as ``{"monet": 0.7, "wave": 0.3}``.

    A name alone means that style alone; a name given twice counts with both weights.

    >>> blend_weights([("wave", 3), ("monet", 1)], ["monet", "wave", "kiss"])
    [0.25, 0.75, 0.0]

    Raises:
        OptionError: an unknown name, a negative or non-finite weight, or weights that are all zero.
    """
    if isinstance(blend, str):
        blend = {blend: 1.0}
    pairs = blend.items() if isinstance(blend, Mapping) else blend
    weights = [0.0] * len(known)
    for name, weight in pairs:
        if name not in known:
            raise OptionError(
                f"no style {name!r} in this network{nearest(name, known)}; it has {', '.join(known)}", "style"
            )
        if not math.isfinite(weight) or weight < 0:
            raise OptionError(f"the weight of style {name!r} is {weight}, but must be 0 or more", "style")
        weights[known.index(name)] += weight
    total = sum(weights)
    if not 0 < total < math.inf:
        raise OptionError("no style has a weight above 0: give at least one", "style")
    return [weight / total for weight in weights]
