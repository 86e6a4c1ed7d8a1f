"""What a Gram matrix holds: which channels answer together, and how far two pictures are apart in that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.losses import reduce_error
from impasto.core.statistics import gram
from impasto.lab.layers import Layers
from impasto.lab.sheets import Legend, Sheet, Tile, colours, picture_tile, thumbnails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GramView", "gram_distances", "gram_facts", "gram_sheet", "gram_views", "strongest_pairs"]

PAIRS = 3
MATRIX, PICTURE = 256, 220  # px
FRAME = 4  # px between maps
DECADES = 4  # of the logarithmic scale that matrices are drawn on


@dataclass(frozen=True, eq=False)
class GramView:
    """One layer of one picture.

    Attributes:
        layer: its name.
        matrix: G = F·Fᵀ/M, (C, C) float32 on the CPU.
        pairs: channels (i, j) that answer together most.
        maps: (2 * pairs, h, w) float32, the activations of i, j of each pair in turn.
    """

    layer: str
    matrix: Tensor
    pairs: tuple[tuple[int, int], ...]
    maps: Tensor


@in_our_settings
def gram_views(network: Layers, image: Tensor, layers: Sequence[str], pairs: int = PAIRS) -> list[GramView]:
    """The Gram matrices of a picture (1, 3, H, W) in [0, 1] at some layers.

    LayerError, listing the layers there are, for one that is unknown.
    """
    views = []
    for layer, features in network(image, list(dict.fromkeys(layers))).items():
        matrix = gram(features.float())[0].cpu()
        chosen = strongest_pairs(matrix, pairs)
        maps = features[0][[channel for pair in chosen for channel in pair]].float().cpu()
        views.append(GramView(layer, matrix, chosen, maps))
    return views


def strongest_pairs(matrix: Tensor, count: int) -> tuple[tuple[int, int], ...]:
    """The largest entries off the diagonal of (C, C), as (row, column) with row < column.

    No channel is in two of them: a channel that always answers would be in all.
    """
    c = len(matrix)
    above = matrix.masked_fill(~torch.ones(c, c).triu(1).bool(), -torch.inf)
    found: list[tuple[int, int]] = []
    while len(found) < min(count, c // 2):
        i, j = divmod(int(above.argmax()), c)
        found.append((i, j))
        for channel in (i, j):
            above[channel, :] = above[:, channel] = -torch.inf
    return tuple(found)


@in_our_settings
def gram_distances(one: Sequence[GramView], other: Sequence[GramView]) -> dict[str, float]:
    """|G - G'|² / |G'|² by layer, G' being `other`'s: what style losses measure, as `evaluation` does."""
    return {a.layer: float(reduce_error(a.matrix, b.matrix, "relative")) for a, b in zip(one, other, strict=True)}


def gram_facts(views: Sequence[GramView], distances: Mapping[str, float]) -> list[dict[str, Any]]:
    """In types that JSON has: for each ``layer`` its ``pairs`` [i, j, G_ij], and its ``distance``, if there is one."""
    return [
        {
            "layer": view.layer,
            "pairs": [[i, j, float(view.matrix[i, j])] for i, j in view.pairs],
            "distance": distances.get(view.layer),
        }
        for view in views
    ]


@in_our_settings
def gram_sheet(
    pictures: Sequence[tuple[str, Tensor, Sequence[GramView]]], *, title: str = "", note: str = ""
) -> Figure:
    """One or two pictures (name, (1, 3, H, W), views), layer by layer: matrices, pairs, and how far apart they are."""
    sheet = Sheet(title or "Gram matrices", note, Legend("small", "large"))
    sheet.row([picture_tile(image, PICTURE, name) for name, image, _ in pictures])
    views = [views for _, _, views in pictures]
    distances = gram_distances(views[0], views[1]) if len(views) == 2 else {}
    for row in zip(*views, strict=True):
        layer = row[0].layer
        apart = f", relative distance {distances[layer]:.3g}" if distances else ""
        top = max(float(view.matrix.max()) for view in row)
        tiles = [tile for view in row for tile in (_matrix_tile(view, top), _pairs_tile(view))]
        sheet.row(tiles, heading=f"{layer}: {len(row[0].matrix)} channels{apart}")
    return sheet.figure()


def _matrix_tile(view: GramView, top: float) -> Tile:
    """On a logarithmic scale, as far down as DECADES: a few loud channels would leave the rest black."""
    small = view.matrix.clamp_min(0) / (top or 1.0)
    shade = (small.clamp_min(10.0**-DECADES).log10() / DECADES + 1)[None]
    return Tile(
        colours(thumbnails(shade, MATRIX)[0], 1.0), f"Gram matrix, logarithmic\nlargest {float(view.matrix.max()):.3g}"
    )


def _pairs_tile(view: GramView) -> Tile:
    """Three columns: channel i, channel j, and their product, whose mean is the entry of the matrix."""
    height, width = view.maps.shape[1:]
    side = round((MATRIX / max(1, len(view.pairs)) - FRAME) * max(1.0, width / height))  # all as high as the matrix
    lines = []
    for n in range(len(view.pairs)):
        first, second = view.maps[2 * n], view.maps[2 * n + 1]
        small = thumbnails(torch.stack([first, second, first * second]), side)
        lines.append(np.concatenate([_framed(colours(one, float(one.max()))) for one in small], axis=1))
    named = ", ".join(f"{i} x {j}" for i, j in view.pairs)
    image = np.concatenate(lines) if lines else np.full((1, 1, 3), 255, np.uint8)
    return Tile(image, f"strongest pairs, and their products:\n{named}")


def _framed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """White on the right and below, so that neighbours do not touch."""
    return np.pad(image, ((0, FRAME), (0, FRAME), (0, 0)), constant_values=255)
