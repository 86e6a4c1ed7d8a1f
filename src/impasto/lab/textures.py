"""What style is made of: textures that share nothing with a picture but the Gram matrices of some layers.

Gatys, Ecker & Bethge 2015, "Texture Synthesis Using Convolutional Neural Networks" (arXiv:1505.07376), and figure 1
of their "A Neural Algorithm of Artistic Style": from conv1_1 alone to conv1_1 ... conv5_1 together the strokes grow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.vgg import VGG
from impasto.imaging import fit_long_side
from impasto.lab.sheets import Sheet, picture_tile
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import OptimizeSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Texture", "cumulative_layers", "texture_sheet"]

TILE = 256


@dataclass(frozen=True, kw_only=True)
class Texture:
    """How a texture is made: style alone, from noise.

    Attributes:
        layers: whose Gram matrices it shares with the picture, all of the same weight.
        steps: at each size.
        start: long side of the first size, in px; sizes double from there.
        seed: of the noise.
    """

    layers: tuple[str, ...]
    steps: int = 80
    start: int = 64
    seed: int = 0

    def settings(self) -> OptimizeSettings:
        """The same for `Optimization`, whose checks (OptionError) they pass through."""
        return OptimizeSettings(
            content_layers={},
            content_weight=0.0,
            style_layers=dict.fromkeys(self.layers, 1 / max(1, len(self.layers))),
            style_weight=1.0,
            init="noise",
            optimizer="lbfgs",
            parameterisation="pixels",
            lr=1.0,
            lr_end=1.0,
            range_weight=10.0,
            start=self.start,
            steps=self.steps,
            later_steps=self.steps,
            seed=self.seed,
        )

    def begin(self, picture: Tensor, backbone: VGG, size: int) -> Optimization:
        """The optimisation for a picture (1, 3, H, W) in [0, 1] on the backbone's device, ready to `run`.

        The texture has the picture's proportions and a long side of `size` px.

        Raises:
            LayerError: the backbone lacks a layer.
            OptionError: settings that make no sense, no layers among them.
        """
        shape = fit_long_side((picture.shape[2], picture.shape[3]), size, upscale=True)
        return Optimization(picture.new_zeros(1, 3, *shape), [(picture, 1.0)], self.settings(), backbone)


def cumulative_layers(backbone: VGG, up_to: str) -> list[tuple[str, ...]]:
    """The rows of the figure: ``relu3_1`` -> relu1_1; relu1_1, relu2_1; relu1_1, relu2_1, relu3_1.

    The first layer of each block, before or after its ReLU as `up_to` is, and `up_to` itself last. LayerError for
    a layer that the backbone lacks.
    """
    backbone.check([up_to])
    match = re.fullmatch(r"(conv|relu)(\d)_\d", up_to)
    if match is None:
        raise ValueError(f"{up_to!r} is no name of a VGG's layer")
    layers = [*(f"{match[1]}{block}_1" for block in range(1, int(match[2]))), up_to]
    return [tuple(layers[: i + 1]) for i in range(len(layers))]


@in_our_settings
def texture_sheet(
    picture: Tensor, found: Sequence[tuple[Sequence[str], Tensor]], *, title: str = "", note: str = ""
) -> Figure:
    """The picture (1, 3, H, W), and textures (layers, (1, 3, h, w)), with the layers they know above them."""
    tiles = [picture_tile(picture, TILE, "the picture\n")]
    for layers, image in found:
        name = layers[0] if len(layers) == 1 else f"{layers[0]} ... {layers[-1]}"
        count = "one Gram matrix" if len(layers) == 1 else f"{len(layers)} Gram matrices"
        tiles.append(picture_tile(image, TILE, f"{name}\n{count}"))
    sheet = Sheet(title or "Textures from more and more layers", note)
    sheet.row(tiles, columns=6 if len(tiles) != 4 else 4)
    return sheet.figure()
