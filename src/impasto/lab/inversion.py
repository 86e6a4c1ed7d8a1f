"""What of a picture survives in a layer: the picture that the layer's features lead back to.

Mahendran & Vedaldi 2015 (arXiv:1412.0035), eq. 1: minimise the error of the features plus a little total variation,
nothing else. It is the optimisation of `optimize` with content alone. We begin with plain grey, where they
begin with noise: what a layer cannot see then stays grey, and noise would stay noise. And we go from coarse to fine,
without which large areas take hundreds of steps to find their colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.losses import reduce_error
from impasto.core.resizing import resize
from impasto.core.vgg import VGG
from impasto.lab.sheets import Sheet, picture_tile
from impasto.optimize.loop import Optimization
from impasto.optimize.presets import OptimizeSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Inversion", "Reconstruction", "inversion_sheet", "psnr", "reconstruction"]

PERFECT = 99.0  # dB; what PSNR is called where nothing differs
TILE = 256


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """How a picture is reconstructed.

    Attributes:
        layer: whose features are all that is known of it.
        steps: of L-BFGS, at each size.
        start: long side of the first size, in px; sizes double from there.
        tv_weight: of the mean squared difference of neighbours, against the relative error of the features.
    """

    layer: str
    steps: int = 60
    start: int = 64
    tv_weight: float = 0.05

    def settings(self) -> OptimizeSettings:
        """The same for `Optimization`, whose checks (OptionError) they pass through."""
        return OptimizeSettings(
            content_layers={self.layer: 1.0},
            style_layers={},
            style_weight=0.0,
            tv_weight=self.tv_weight,
            range_weight=10.0,
            optimizer="lbfgs",
            parameterisation="pixels",
            lr=1.0,
            lr_end=1.0,
            start=self.start,
            steps=self.steps,
            later_steps=self.steps,
        )

    def begin(self, picture: Tensor, backbone: VGG) -> Optimization:
        """The optimisation for a picture (1, 3, H, W) in [0, 1] on the backbone's device, ready to `run`.

        Raises:
            LayerError: the backbone lacks the layer.
            OptionError: settings that make no sense.
            ImageError: the picture is too small for the layer.
        """
        return Optimization(picture, [], self.settings(), backbone, start=torch.full_like(picture, 0.5))


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A picture made from one layer, and how close it came.

    Attributes:
        layer: its name.
        image: (1, 3, H, W) in [0, 1], on the CPU.
        psnr: against the picture itself, in dB.
        feature_error: |F - F_picture|² / |F_picture|² at the layer.
    """

    layer: str
    image: Tensor
    psnr: float
    feature_error: float


@in_our_settings
@torch.no_grad()
def reconstruction(optimization: Optimization) -> Reconstruction:
    """What an optimisation that `Inversion.begin` made has come to."""
    (layer,) = optimization.settings.content_layers
    picture, image, backbone = optimization.photo, optimization.image(), optimization.backbone
    got, target = (backbone(x, [layer])[layer].float() for x in (image, picture))
    error = float(reduce_error(got, target, "relative"))
    return Reconstruction(layer, image.float().cpu(), psnr(image, picture), error)


@in_our_settings
def psnr(image: Tensor, picture: Tensor) -> float:
    """Peak signal-to-noise ratio of two pictures of one shape in [0, 1]: -10 log10(mean squared error), in dB."""
    error = float((image.float() - picture.float()).square().mean())
    return PERFECT if error == 0 else min(PERFECT, float(-10 * torch.tensor(error).log10()))


@in_our_settings
def inversion_sheet(picture: Tensor, found: Sequence[Reconstruction], *, title: str = "", note: str = "") -> Figure:
    """The picture (1, 3, H, W) and its reconstructions, with PSNR and the error of the features above them."""
    side = min(TILE, max(picture.shape[2:]))
    tiles = [picture_tile(picture, side, "the picture\n")]
    for one in found:
        label = f"{one.layer}: {one.psnr:.1f} dB\nfeature error {one.feature_error:.2g}"
        tiles.append(picture_tile(resize(one.image, (picture.shape[2], picture.shape[3])), side, label))
    sheet = Sheet(title or "Reconstructed from single layers", note)
    sheet.row(tiles, columns=6)
    return sheet.figure()
