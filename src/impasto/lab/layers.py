"""Networks whose layers can be looked at by name: backbones, and our own networks that paint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.memory import reuse_large_blocks
from impasto.core.precision import PrecisionName, choose_precision, pick_device
from impasto.core.resizing import resize
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.core.weights import Input, load_backbone
from impasto.errors import LayerError, OptionError, nearest
from impasto.imaging import as_picture, fit_long_side, read
from impasto.networks.adain import AdaIN
from impasto.networks.encoded import TAPS
from impasto.networks.inference import bind
from impasto.networks.registry import Network, as_adain, as_operators, kind_of, painter_of
from impasto.networks.staged import Stage, StagedNetwork
from impasto.stylizer.engine import default_engine
from impasto.stylizer.styles import Style

__all__ = ["BackboneLayers", "Layers", "PainterLayers", "read_picture", "stage_names"]


class Layers(Protocol):
    """Call it with a picture (1, 3, H, W) in [0, 1] and layers; it gives their features, name -> (1, C, h, w).

    LayerError, listing the layers there are, for one that is unknown.
    """

    name: str
    layers: tuple[str, ...]

    def __call__(self, image: Tensor, layers: Sequence[str], /) -> Mapping[str, Tensor]:
        """Name -> features of the picture."""
        ...


class BackboneLayers:
    """The taps of a VGG."""

    def __init__(self, backbone: VGG) -> None:
        self.backbone, self.name, self.layers = backbone, backbone.name, backbone.taps

    @classmethod
    def load(
        cls,
        name: str | PathLike[str],
        input: Input | None = None,  # noqa: A002
        device: str = "auto",
        precision: PrecisionName = "auto",
    ) -> BackboneLayers:
        """Those of a backbone by its name or file; errors as of `load_backbone` and `pick_device`."""
        where = pick_device(device)
        return cls(load_backbone(name, input=input, precision=choose_precision(where, precision), device=where))

    @in_our_settings
    @torch.no_grad()
    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """See `Layers`."""
        features: dict[str, Tensor] = self.backbone(image.to(self.backbone.device), layers)
        return {name: features[name] for name in layers}


class PainterLayers:
    """The stages of a network that paints, each as it leaves its normalisation and ReLU.

    Args:
        network: from `load_model`, on its device and in its precision.
        name: what to call it.
        styles: names with weights, for a network that knows its styles; may be left out where it knows but one.
        pictures: style pictures (1, 3, h, w) with weights, for a network of any style.

    Attributes:
        chosen: the style in which it paints because `load` was told none of several; else None.

    Raises:
        OptionError: styles that the network does not know, or a choice that it does not have.
    """

    chosen: str | None = None

    def __init__(
        self,
        network: Network,
        name: str,
        styles: Mapping[str, float] | None = None,
        pictures: Sequence[tuple[Tensor, float]] = (),
    ) -> None:
        kind = kind_of(network)
        if kind.styled_by == "pictures":
            if styles or not pictures:
                raise OptionError(f"{name} paints in the manner of any picture: give it one as `style`")
        elif pictures or (styles and kind.styled_by == "single"):
            raise OptionError(f"{name} paints in a manner of its own: leave `style` out")
        elif not styles and len(network.styles) > 1:
            raise OptionError(f"which style? {name} has {', '.join(network.styles)}: name one as `style`")
        if as_operators(network) is not None:
            raise OptionError(f"{name} is a list of operators of others, whose layers have no names to look at")
        self.device = next(network.parameters()).device
        shown = [(picture.to(self.device), weight) for picture, weight in pictures]
        self.bound = bind(network, shown or list((styles or {}).items()))
        self.name, encoder = name, self.bound.encoder
        self.stages = dict(zip(stage_names(as_adain(network) or painter_of(network)), self.bound.stages, strict=True))
        self.encoder = () if encoder is None else encoder.taps[: encoder.taps.index(TAPS[-1]) + 1]
        self.layers = (*self.encoder, *self.stages)

    @classmethod
    def load(
        cls,
        model: str | PathLike[str],
        styles: Sequence[Style] = (),
        device: str = "auto",
        precision: PrecisionName = "auto",
    ) -> PainterLayers:
        """Those of a shipped network or a file of `impasto train`, painting in these styles: names or pictures.

        Raises:
            WeightsError: no such name or file, or one that is damaged.
            ImageError: a style picture that cannot be read.
            OptionError: as of the class.
        """
        loaded = default_engine().torch_model(model, device=device, precision=precision)
        name, chosen = Path(loaded.name).stem, None
        if loaded.any_style:
            pictures = [(to_tensor(as_picture(style.image).weighed()), style.weight) for style in styles]
            return cls(loaded.network, name, pictures=pictures)
        if not styles and len(loaded.styles) > 1:
            chosen = loaded.styles[0].name
            styles = [Style(chosen)]
        layers = cls(loaded.network, name, {str(style.image): style.weight for style in styles} or None)
        layers.chosen = chosen
        return layers

    @in_our_settings
    @torch.no_grad()
    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """See `Layers`."""
        for layer in layers:
            if layer not in self.layers:
                near = nearest(layer, self.layers)
                raise LayerError(f"{self.name} has no layer {layer!r}{near}; its layers are {', '.join(self.layers)}")
        image = image.to(self.device)
        seen = [layer for layer in layers if layer in self.encoder]
        found: dict[str, Tensor] = {}
        if seen and self.bound.encoder is not None:
            found |= self.bound.encoder(image, seen)
        painted = [layer for layer in layers if layer in self.stages]
        if painted:
            found |= self._walk(self.bound.first_input(image), painted)
        return {layer: found[layer] for layer in layers}

    def _walk(self, x: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """As `networks.staged.run_stages`, stopping after the last stage that is wanted."""
        found: dict[str, Tensor] = {}
        kept: Tensor | None = None
        for name, stage in self.stages.items():
            kept = x if stage.opens else kept
            x = stage.finish(stage.convolve(x), self.bound.mix, kept if stage.closes else None)
            if name in wanted:
                found[name] = x
            if len(found) == len(set(wanted)):
                break
        return found


@in_our_settings
def read_picture(path: str | PathLike[str], size: int) -> Tensor:
    """A picture (1, 3, H, W) in [0, 1] with a long side of at most `size` px. ImageError if it cannot be read."""
    reuse_large_blocks()
    rgb = to_tensor(read(path).seen())
    return resize(rgb, fit_long_side((rgb.shape[2], rgb.shape[3]), size))


def stage_names(network: StagedNetwork | AdaIN) -> tuple[str, ...]:
    """Names of the stages in order, from those of the convolutions in the network's file.

    ``res3.conv1`` and ``res3.conv2`` become ``block3_1`` and, as it is the block's result, ``block3``;
    AdaIN's ``decoder.conv4_1`` becomes ``decoder_conv4_1``, since the encoder has a conv4_1 as well.
    """
    modules = {id(module): name for name, module in network.named_modules()}
    return tuple(_stage_name(modules[id(stage.conv)], stage) for stage in network.stages())


def _stage_name(module: str, stage: Stage) -> str:
    block = re.fullmatch(r"res(\d+)\.conv[12]", module)
    if block:
        return f"block{block[1]}" if stage.closes else f"block{block[1]}_1"
    return module.replace(".", "_")
