"""How close a result is: to the photo in content, to the style picture in statistics.

Distances are relative, so they compare across layers, pictures and backbones. A style distance means little by
itself; beside that of the photo copied unchanged (`copied`) it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from impasto.core.backbones import BACKBONES, Input
from impasto.core.host import in_our_settings
from impasto.core.precision import pick_device
from impasto.core.statistics import gram, shares_of, split_weights
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.errors import ImageError, OptionError

__all__ = [
    "CONTENT_TAPS",
    "STYLE_TAPS",
    "Distances",
    "Judge",
    "Look",
    "check_names",
    "load_judges",
    "measure",
]

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT_TAPS = ("relu3_3", "relu4_2")


@dataclass(frozen=True)
class Distances:
    """Of a result, and the style distance that its photo had; the layers' own, of which the two are means."""

    content: float
    style: float
    copied: float
    content_by_layer: Mapping[str, float] = field(default_factory=dict)
    style_by_layer: Mapping[str, float] = field(default_factory=dict)
    copied_by_layer: Mapping[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Style distance left, as a share of the copied photo's; infinite where that had none to lose."""
        return self.style / self.copied if self.copied else math.inf if self.style else 0.0


@dataclass(frozen=True)
class Look:
    """What a judge keeps of a picture: features (1, C, h, w) of its content layers, Gram matrices of its style's."""

    features: Mapping[str, Tensor]
    grams: Mapping[str, Tensor]


@dataclass(frozen=True)
class Judge:
    """A network that judges, and the layers that it judges by.

    `network` takes a picture (1, 3, H, W) in [0, 1] and names of layers and gives their features by name, as a
    VGG does.
    """

    name: str
    network: Callable[[Tensor, Sequence[str]], Mapping[str, Tensor]]
    content: tuple[str, ...] = CONTENT_TAPS
    style: tuple[str, ...] = STYLE_TAPS

    @in_our_settings
    @torch.inference_mode()
    def look(self, image: Tensor) -> Look:
        """At a picture (1, 3 or 4, H, W); LayerError if the network lacks one of the layers.

        In its Gram matrices, pixels count as far as a fourth channel says.
        """
        rgb, weights = split_weights(image)
        seen = self.network(rgb, [*dict.fromkeys((*self.style, *self.content))])
        grams = {
            tap: gram(f, shares=shares_of(weights, (f.shape[2], f.shape[3])))
            for tap, f in ((tap, seen[tap]) for tap in self.style)
        }
        return Look({tap: seen[tap].float() for tap in self.content}, grams)

    @in_our_settings
    def compare(self, result: Look, photo: Look, style: Look) -> Distances:
        """Distances of a result to a photo of its size, and to a style of any.

        Content: mean over the content layers of |F - F_photo|² / |F_photo|². Style: mean over the style layers
        of |G - G_style|² / |G_style|², G = F·Fᵀ/M.
        """
        content = {tap: _apart(result.features[tap], photo.features[tap]) for tap in self.content}
        to_style = {tap: _apart(result.grams[tap], style.grams[tap]) for tap in self.style}
        copied = {tap: _apart(photo.grams[tap], style.grams[tap]) for tap in self.style}
        mean = [fmean(by_layer.values()) for by_layer in (content, to_style, copied)]
        return Distances(mean[0], mean[1], mean[2], content, to_style, copied)


@in_our_settings
def measure(backbone: VGG, photo: Tensor, style: Tensor, result: Tensor) -> Distances:
    """Distances of `result` to `photo`, both (1, 3, H, W), and to `style` (1, 3 or 4, h, w), as `backbone` sees them.

    LayerError if the backbone lacks a tap, ImageError if the sizes of `photo` and `result` differ.
    """
    if photo.shape != result.shape:
        height, width = photo.shape[2:]
        raise ImageError(f"a result is compared with a photo of its size, {width}x{height} px: resize one of them")
    judge = Judge(backbone.name, backbone)
    return judge.compare(judge.look(result), judge.look(photo), judge.look(style))


def _apart(got: Tensor, wanted: Tensor) -> float:
    """|got - wanted|² / |wanted|²."""
    return float((got - wanted).square().sum() / wanted.square().sum())


def load_judges(backbones: Sequence[str], backbone_input: Input | None = None, device: str = "auto") -> list[Judge]:
    """A judge for each backbone, by name or file; `backbone_input` is what files want that are not in the table.

    OptionError if two have one name, WeightsError as of `load_backbone`.
    """
    where, judges = pick_device(device), []
    for name in dict.fromkeys(backbones):
        network = load_backbone(name, input=None if name in BACKBONES else backbone_input, device=where)
        judges.append(Judge(network.name, network))
    check_names([judge.name for judge in judges])
    return judges


def check_names(names: Sequence[str]) -> None:
    """OptionError if two of what is compared have one name, by which alone a report tells them apart."""
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"two things are called {name!r} in this evaluation: leave one out or rename its file")
