"""A network bound to the styles it is to paint in: a module from photo to painting.

What a painting needs beside the network's forward passes (regions, strength) is written once here, as a generator
that asks for one pass after the other. `BoundStyle` runs each pass over the whole photo at once; `tiling.fitting`
runs the same passes in bands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from impasto.core.vgg import VGG
from impasto.errors import OptionError, counted
from impasto.networks.encoded import EncodedStyle
from impasto.networks.staged import Stage, StagedNetwork

__all__ = [
    "BoundAlone",
    "BoundStaged",
    "BoundStyle",
    "ForwardPass",
    "StagedForward",
    "WeightedStyles",
    "check_share",
    "names_alone",
    "pictures_alone",
]

WeightedStyles = Sequence[tuple[str | EncodedStyle | Tensor, float]]
"""Names, style pictures (1, 3, h, w) in [0, 1] or what `encode` made of them; each with a weight, 0 or more."""


class ForwardPass(ABC):
    """One forward pass of a network over a whole photo."""

    @abstractmethod
    def at_once(self, photo: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> the same shape, float32."""


@dataclass(frozen=True, eq=False)
class StagedForward(ForwardPass):
    """Of a network made of stages; `mix`, (1, N), weighs its styles where it has several."""

    network: StagedNetwork
    mix: Tensor | None = None

    def at_once(self, photo: Tensor) -> Tensor:
        """See `ForwardPass`."""
        painted: Tensor = self.network(photo) if self.mix is None else self.network(photo, self.mix)
        return painted


class BoundStyle(nn.Module, ABC):
    """A network with its styles chosen; `inference.bind` makes it.

    Attributes:
        encoder: whose features of the photo the network's first stage is given; None where that is the photo itself.
        mix: (1, N) weights of the network's styles, where it has several.
        weights: of the styles that were chosen, as they were given.
    """

    mix: Tensor | None
    weights: tuple[float, ...]

    @torch.inference_mode()
    def forward(
        self, photo: Tensor, *, masks: Sequence[Tensor] | None = None, alpha: float = 1.0, strength: float = 1.0
    ) -> Tensor:
        """Repaint (B, 3, H, W) in [0, 1], any size -> the same shape, float32.

        Args:
            photo: on the network's device.
            masks: the region of each style, (1, 1, H, W) in [0, 1]; where they overlap, weights decide, and where
                there is none, they all count.
            alpha: for AdaIN: how far features are restyled (Huang & Belongie 2017, eq. 14).
            strength: in [0, 1]: 0 gives the photo back, 1 is the full style. Between them AdaIN mixes features, and
                what decoding loses of the photo fades in; other networks mix pictures.

        Raises:
            OptionError: masks that are not one to each style, alpha that means nothing to this network, alpha or
                strength out of range.
        """
        passes = self.forward_passes(photo, masks=masks, alpha=alpha, strength=strength)
        return _run(passes, lambda one: one.at_once(photo))

    def forward_passes(
        self, photo: Tensor, *, masks: Sequence[Tensor] | None = None, alpha: float = 1.0, strength: float = 1.0
    ) -> Generator[ForwardPass, Tensor, Tensor]:
        """The forward passes that a painting is made of: send what each gives; the painting is what is returned.

        Arguments and errors are those of `forward`.
        """
        check_share("strength", strength)
        self.check_alpha(alpha)
        self.check_masks(masks)
        return self._forward_passes(photo, masks, alpha, strength)

    @property
    def encoder(self) -> VGG | None:
        """None, see above."""
        return None

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The stages of what paints, in order."""

    @abstractmethod
    def whole(self, alpha: float = 1.0) -> ForwardPass:
        """The one pass of a painting of full strength in which every style counts everywhere."""

    @abstractmethod
    def count_forward_passes(self, masks: Sequence[Tensor] | None = None, strength: float = 1.0) -> int:
        """How many forward passes a painting takes."""

    @abstractmethod
    def check_alpha(self, alpha: float) -> None:
        """OptionError where `alpha` is out of range, or means nothing."""

    def check_masks(self, masks: Sequence[Tensor] | None) -> None:
        """OptionError where there are masks, but not one to each style."""
        if masks is not None and len(masks) != len(self.weights):
            count = counted(len(self.weights), "style")
            masks_told = counted(len(masks), "mask")
            raise OptionError(f"{count} with {masks_told}: give a mask to each style, or none at all", "mask")

    @abstractmethod
    def first_input(self, photo: Tensor) -> Tensor:
        """What the network's first stage is given for a photo (1, 3, H, W)."""

    @abstractmethod
    def _forward_passes(
        self, photo: Tensor, masks: Sequence[Tensor] | None, alpha: float, strength: float
    ) -> Generator[ForwardPass, Tensor, Tensor]: ...


class BoundAlone(BoundStyle):
    """A network that paints in its styles mixed, and, where they have regions, in each of them alone."""

    @abstractmethod
    def alone_in(self, style: int) -> ForwardPass:
        """The forward pass in one of the styles, by its place."""

    def count_forward_passes(self, masks: Sequence[Tensor] | None = None, strength: float = 1.0) -> int:
        """One, or one for each region."""
        return 1 if masks is None else len(self.weights)

    def check_alpha(self, alpha: float) -> None:
        """OptionError unless it is 1."""
        check_share("alpha", alpha)
        if alpha < 1:
            raise OptionError("alpha is for networks that decode features (adain): use strength")

    def _forward_passes(
        self, photo: Tensor, masks: Sequence[Tensor] | None, alpha: float, strength: float
    ) -> Generator[ForwardPass, Tensor, Tensor]:
        painted = (yield self.whole()) if masks is None else (yield from self._by_regions(photo, masks))
        painted = painted.clamp_(0, 1)
        return painted if strength == 1 else torch.lerp(photo.float(), painted, strength)

    def _by_regions(self, photo: Tensor, masks: Sequence[Tensor]) -> Generator[ForwardPass, Tensor, Tensor]:
        """Paint in each style alone; masks and weights decide the share of each."""
        shares = torch.stack(
            [weight * (mask.to(photo) + 1e-6) for weight, mask in zip(self.weights, masks, strict=True)]
        )
        shares = shares / shares.sum(0)
        out = torch.zeros_like(photo, dtype=torch.float32)
        for i, share in enumerate(shares):
            out += share * (yield self.alone_in(i))
        return out


class BoundStaged(BoundAlone):
    """A network made of stages, with weights of its styles where it has several.

    Args:
        painter: the network.
        mixes: (1, N) each: all styles by their weights, and each style alone. None for a network of one style.
        weights: of each style alone, as they were given.
    """

    def __init__(
        self,
        painter: StagedNetwork,
        mixes: tuple[Tensor, Sequence[Tensor]] | None = None,
        weights: Sequence[float] = (1,),
    ) -> None:
        super().__init__()
        self.painter, self.weights = painter, tuple(weights)
        self.alone: Tensor | None
        self.register_buffer("mix", None if mixes is None else mixes[0], persistent=False)
        self.register_buffer("alone", None if mixes is None else torch.cat(tuple(mixes[1])), persistent=False)
        self.training = painter.training

    @property
    def stages(self) -> tuple[Stage, ...]:
        """See `BoundStyle`."""
        return self.painter.stages()

    def whole(self, alpha: float = 1.0) -> StagedForward:
        """See `BoundStyle`."""
        self.check_alpha(alpha)
        return StagedForward(self.painter, self.mix)

    def alone_in(self, style: int) -> StagedForward:
        """See `BoundAlone`."""
        return StagedForward(self.painter, None if self.alone is None else self.alone[style : style + 1])

    def first_input(self, photo: Tensor) -> Tensor:
        """The photo, padded and centred."""
        return self.painter.centre(self.painter.padded(photo))


def check_share(name: str, value: float) -> None:
    """OptionError unless the option's value is a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise OptionError(f"{name} is {value}, need a number from 0 to 1")


def names_alone(styles: WeightedStyles, known: Sequence[str]) -> list[tuple[str, float]]:
    """The styles of a network that has its own, each by name; OptionError where one is a picture."""
    named = [(style, weight) for style, weight in styles if isinstance(style, str)]
    if len(named) < len(styles):
        names = ", ".join(known) or "one without a name"
        raise OptionError(f"this network knows its own styles alone ({names}): give names, not pictures", "style")
    return named


def pictures_alone(styles: WeightedStyles) -> list[tuple[EncodedStyle | Tensor, float]]:
    """The styles of a network of any style; OptionError where one is a name, or there is none."""
    if not styles:
        raise OptionError("this network paints in the manner of any picture: give one as `style`")
    shown = [(style, weight) for style, weight in styles if not isinstance(style, str)]
    if len(shown) < len(styles):
        raise OptionError(
            "this network paints in the manner of any picture: give pictures as styles, not names", "style"
        )
    return shown


def _run(passes: Generator[ForwardPass, Tensor, Tensor], paint: Callable[[ForwardPass], Tensor]) -> Tensor:
    one = next(passes)
    while True:
        try:
            one = passes.send(paint(one))
        except StopIteration as end:
            painted: Tensor = end.value
            return painted
