"""What the channels of a layer answer to in the photo, for the page's lab."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import DataError, require
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.lab.layers import Layers
    from impasto.studio.page.desk import Desk

__all__ = ["Lab"]

LOOKED_AT: Final = 384  # px of the photo's long side
SEES: Final = "compact"
NETWORKS: Final = {
    "compact, which sees": SEES,
    "gallery, which paints": "gallery",
    "universal, which paints": "universal",
}


class Lab:
    """The networks that can be looked into. Needs torch."""

    networks: Final = tuple(NETWORKS)

    def layers(self, network: str, desk: Desk) -> tuple[list[str], str]:
        """The layers of a network, and one in its first third, where much can be seen."""
        names = list(self._network(network, desk).layers)
        return names, names[len(names) // 3]

    def look(self, desk: Desk, network: str, layer: str) -> Path:
        """The sheet of a layer's strongest channels, a PNG. DataError without a photo."""
        require("torch matplotlib", "torch", "looking inside")
        from impasto.core.tensors import to_tensor
        from impasto.imaging.sizes import fit_long_side
        from impasto.lab.activations import activation_sheet, activations
        from impasto.lab.sheets import as_image

        if desk.photo is None:
            raise DataError("there is no photo yet: open one under Paint first")
        photo = desk.photo.small
        photo = photo.resized(fit_long_side((photo.height, photo.width), LOOKED_AT))
        image = to_tensor(photo.seen())
        found = activations(self._network(network, desk), image, [layer])
        sheet = as_image(activation_sheet(image, found, "strongest", title=f"{desk.photo.name}, {network}"))
        path = desk.place("activations.png")
        sheet.save(path)
        return path

    def _network(self, network: str, desk: Desk) -> Layers:
        from impasto.lab.layers import PainterLayers

        name = NETWORKS.get(network)
        if name is None:
            raise DataError(f"there is no network {network!r} here: choose one of the list")
        if name == SEES:
            seen: Layers = _backbone()
            return seen
        chosen = desk.controls.styles if desk.controls is not None else ()
        if name == "gallery":
            return PainterLayers.load(name, [Style(key, weight) for key, weight in chosen if key not in desk.paintings])
        pictures = [Style(desk.paintings[key].source, weight) for key, weight in chosen if key in desk.paintings]
        if not pictures:
            raise DataError("universal paints in the manner of pictures: choose a painting of yours under Paint first")
        return PainterLayers.load(name, pictures)


@lru_cache(1)
def _backbone() -> Any:
    from impasto.lab.layers import BackboneLayers

    return BackboneLayers.load(SEES)
