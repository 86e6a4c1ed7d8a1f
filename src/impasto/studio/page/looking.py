"""What the channels of a layer answer to in the photo, for the page's lab. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import DataError, require
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.lab.layers import Layers

__all__ = ["NETWORKS", "find_layers", "look_inside"]

LOOKED_AT: Final = 384  # px of the photo's long side
SEES: Final = "compact"
NETWORKS: Final = {
    "compact, which sees": SEES,
    "gallery, which paints": "gallery",
    "universal, which paints": "universal",
}

Rows = Sequence[tuple[str, float]]
"""Styles with their weights."""


def find_layers(network: str, names: Rows, pictures: Rows) -> list[str]:
    """The layers of one of `NETWORKS`, in their order. DataError for a network that there is not, or without a style.

    Args:
        network: a key of `NETWORKS`.
        names: styles of the gallery that it is to paint in.
        pictures: files that it is to paint in the style of.
    """
    return list(_network(network, names, pictures).layers)


def look_inside(photo: str, title: str, network: str, layer: str, names: Rows, pictures: Rows, output: str) -> None:
    """Write the sheet of a layer's strongest channels, a PNG.

    Args:
        photo: its file.
        title: what it is called on the sheet.
        network, names, pictures: as of `find_layers`.
        layer: one of them.
        output: the sheet's file.
    """
    require("torch matplotlib", "torch", "looking inside")
    from impasto.core.tensors import to_tensor
    from impasto.imaging import read
    from impasto.imaging.sizes import fit_long_side
    from impasto.lab.activations import activation_sheet, activations
    from impasto.lab.sheets import as_image

    picture = read(photo, min_side=1)
    picture = picture.resized(fit_long_side((picture.height, picture.width), LOOKED_AT))
    image = to_tensor(picture.seen())
    found = activations(_network(network, names, pictures), image, [layer])
    as_image(activation_sheet(image, found, "strongest", title=f"{title}, {network}")).save(output)


def _network(network: str, names: Rows, pictures: Rows) -> Layers:
    from impasto.lab.layers import PainterLayers

    name = NETWORKS.get(network)
    if name is None:
        raise DataError(f"there is no network {network!r} here: choose one of the list")
    if name == SEES:
        seen: Layers = _backbone()
        return seen
    if name == "gallery":
        return PainterLayers.load(name, [Style(style, weight) for style, weight in names])
    if not pictures:
        raise DataError("universal paints in the manner of pictures: choose a painting of yours under Paint first")
    return PainterLayers.load(name, [Style(path, weight) for path, weight in pictures])


@lru_cache(1)
def _backbone() -> Any:
    from impasto.lab.layers import BackboneLayers

    return BackboneLayers.load(SEES)
