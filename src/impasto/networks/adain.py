"""Any style in one network (Huang & Belongie 2017): match the moments of VGG features, then decode them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from impasto.core.statistics import mean_std, shares_of, split_weights
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.bound import BoundStyle, ForwardPass, WeightedStyles, check_share, pictures_alone
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS, EncodedConfig, EncodedNetwork, FeatureMoments
from impasto.networks.layers import ReflectConv, pad_to_multiple, working_dtype
from impasto.networks.restyling import EPS, fill_regions, match, normalised_weights, shrink_mask
from impasto.networks.staged import Stage, run_stages

__all__ = ["AdaIN", "AdaINConfig", "AdaINForward", "BoundAdaIN"]

# The style loss sees all of `TAPS`, the decoder starts from the last. It mirrors VGG-19: name, channels in and out at
# width 1, factor of the upsampling before it.
DECODER = (
    ("conv4_1", 512, 256, 1),
    ("conv3_4", 256, 256, 2),
    ("conv3_3", 256, 256, 1),
    ("conv3_2", 256, 256, 1),
    ("conv3_1", 256, 128, 1),
    ("conv2_2", 128, 128, 2),
    ("conv2_1", 128, 64, 1),
    ("conv1_2", 64, 64, 2),
    ("conv1_1", 64, 3, 1),
)


@dataclass(frozen=True)
class AdaINConfig(EncodedConfig):
    """The encoder that the decoder belongs to, and the decoder's size.

    Attributes:
        width: the decoder's channels as a share of the paper's 256-128-64; what comes in stays 512.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.width, bool) or not isinstance(self.width, int | float) or not 1 / 64 <= self.width <= 4:
            raise OptionError(f"width is a number from 1/64 to 4, got {self.width!r}")


class AdaIN(EncodedNetwork):
    """An encoder that never trains, and a decoder with reflected borders and without normalisation.

    Arguments and errors are those of `EncodedNetwork`.
    """

    METHOD: ClassVar[str] = "adain"
    config: AdaINConfig

    def __init__(self, config: AdaINConfig | None = None, encoder: VGG | None = None) -> None:
        super().__init__(config or AdaINConfig(), encoder)
        self.decoder = nn.ModuleDict()
        for i, (name, before, after, _) in enumerate(DECODER):
            first, last = i == 0, i == len(DECODER) - 1
            conv = ReflectConv(before if first else self._width(before), after if last else self._width(after), 3)
            # Nothing normalises in here, so the weights must keep the scale of what passes; grey comes out.
            nn.init.kaiming_normal_(conv.conv2d.weight, nonlinearity="linear" if last else "relu")
            if first or last:  # features are several times as large as colours, which begin near grey
                with torch.no_grad():
                    conv.conv2d.weight.mul_(0.2)
            nn.init.constant_(cast(Tensor, conv.conv2d.bias), 0.5 if last else 0.0)
            self.decoder[name] = conv

    def _width(self, channels: int) -> int:
        return max(1, round(channels * self.config.width))

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], any size -> relu4_1 (B, 512, ceil(H / 8), ceil(W / 8)), at least 2x2."""
        features: Tensor = self.encoder(pad_to_multiple(image, STRIDE, SMALLEST), TAPS[-1:])[TAPS[-1]]
        return features

    def encode_style(self, style: Tensor) -> FeatureMoments:
        """What there is to know of style pictures (B, 3, H, W), to be kept for the next photo.

        A fourth channel, where there is one, says how far a pixel counts.
        """
        rgb, weights = split_weights(pad_to_multiple(style, STRIDE, SMALLEST))
        features = self.encode(rgb)
        return FeatureMoments(*mean_std(features, EPS, shares_of(weights, (features.shape[2], features.shape[3]))))

    @torch.no_grad()
    def bind(self, styles: WeightedStyles) -> BoundAdaIN:
        """Ready to paint in a blend of style pictures.

        Raises:
            OptionError: no picture, or a name; what another network made of a picture; a negative weight, or all 0.
        """
        known, weights = [], []
        for style, weight in pictures_alone(styles):
            encoded = self.encode_style(style) if isinstance(style, Tensor) else style
            if not isinstance(encoded, FeatureMoments):
                raise OptionError("this style was encoded by a network of another method: encode it with this one")
            known.append(encoded)
            weights.append(weight)
        return BoundAdaIN(self, known, weights)

    def restyle(
        self,
        features: Tensor,
        styles: Sequence[FeatureMoments],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[Tensor] | None = None,
        alpha: float = 1.0,
        own: Sequence[FeatureMoments] | None = None,
    ) -> Tensor:
        """Content features (B, C, h, w) with the moments of the styles; eq. 8, eq. 14 and eq. 15 of the paper.

        Without masks the styles' moments are averaged by weight, which is the same as averaging the results.
        With masks each style fills its own region, and the region's own moments are what it replaces: a dark
        corner does not darken because the sky elsewhere is bright. Where masks overlap, weights decide the
        shares; where they do not add up to 1, the rest is the photo's own features.

        Args:
            features: from `encode`.
            styles: from `encode_style`, with batches of 1 or B.
            weights: one per style, 0 or more, normalised here; equal by default.
            masks: one per style, (B or 1, 1, h, w) at the size of the features, in [0, 1].
            alpha: 0 gives the features back, 1 the full style.
            own: what is replaced, where `features` are but a part of the photo's: the whole's moments, or those
                of each mask's region.

        Raises:
            OptionError: wrong numbers of weights or masks, a negative weight, alpha outside [0, 1].
        """
        shares = normalised_weights(len(styles), weights)
        if not 0 <= alpha <= 1:
            raise OptionError(f"alpha is between 0 and 1, got {alpha}")
        x = features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
        if masks is None:
            mean = cast(Tensor, sum(share * style.mean for share, style in zip(shares, styles, strict=True)))
            std = cast(Tensor, sum(share * style.std for share, style in zip(shares, styles, strict=True)))
            out = match(x, own[0] if own else FeatureMoments(*mean_std(x, EPS)), FeatureMoments(mean, std))
        else:
            out = fill_regions(x, styles, shares, masks, own)
        return torch.lerp(x, out, alpha).to(features.dtype) if alpha < 1 else out.to(features.dtype)

    def stages(self) -> tuple[Stage, ...]:
        """The decoder's stages in order."""
        last = DECODER[-1][0]
        return tuple(
            Stage(cast(ReflectConv, self.decoder[name]), relu=name != last, upsample=up) for name, _, _, up in DECODER
        )

    def decode(self, features: Tensor) -> Tensor:
        """relu4_1 (B, 512, h, w) -> float32 picture (B, 3, 8 h, 8 w), in eval mode clamped to [0, 1].

        In training values are left free, because a clamped one has no gradient that could bring it back.
        """
        stages = self.stages()
        x = run_stages(stages, features.to(working_dtype(stages[0].conv.conv2d.weight))).float()
        return x if self.training else x.clamp(0, 1)

    def forward(
        self,
        content: Tensor,
        styles: Sequence[Tensor | FeatureMoments],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[Tensor] | None = None,
        alpha: float = 1.0,
    ) -> Tensor:
        """Paint (B, 3, H, W) in [0, 1], any size, in the styles' manner -> the same shape, float32.

        Args:
            content: the photos.
            styles: pictures (1 or B, 3, H', W'), or what `encode_style` kept of them.
            weights, alpha: see `restyle`.
            masks: one per style, (1 or B, 1, any height, any width) in [0, 1], stretched over the photo.
        """
        known = [style if isinstance(style, FeatureMoments) else self.encode_style(style) for style in styles]
        h, w = content.shape[-2:]
        small = None if masks is None else [shrink_mask(mask, (h, w)) for mask in masks]
        target = self.restyle(self.encode(content), known, weights=weights, masks=small, alpha=alpha)
        return self.decode(target)[..., :h, :w]


@dataclass(frozen=True, eq=False)
class AdaINForward(ForwardPass):
    """One forward pass of AdaIN; the attributes are arguments of `AdaIN.forward`."""

    network: AdaIN
    styles: Sequence[FeatureMoments]
    weights: Sequence[float]
    masks: Sequence[Tensor] | None = None
    alpha: float = 1.0

    def at_once(self, photo: Tensor) -> Tensor:
        """See `ForwardPass`."""
        painted: Tensor = self.network(photo, self.styles, weights=self.weights, masks=self.masks, alpha=self.alpha)
        return painted


class BoundAdaIN(BoundStyle):
    """AdaIN with encoded styles and their weights.

    Raises:
        OptionError: a negative weight, or all of them 0.
    """

    def __init__(self, network: AdaIN, known: Sequence[FeatureMoments], weights: Sequence[float]) -> None:
        super().__init__()
        normalised_weights(len(known), weights)
        self.network, self.known, self.weights = network, tuple(known), tuple(weights)
        self.register_buffer("mix", None)
        self.training = network.training

    @property
    def encoder(self) -> VGG:
        """See `BoundStyle`."""
        return self.network.encoder

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The decoder's."""
        return self.network.stages()

    def whole(self, alpha: float = 1.0) -> AdaINForward:
        """See `BoundStyle`."""
        self.check_alpha(alpha)
        return AdaINForward(self.network, self.known, self.weights, alpha=alpha)

    def count_forward_passes(self, masks: Sequence[Tensor] | None = None, strength: float = 1.0) -> int:
        """One; where strength is neither 0 nor 1, one more for the photo as the decoder would draw it."""
        return 1 if strength in (0, 1) else 2

    def check_alpha(self, alpha: float) -> None:
        """OptionError unless it is from 0 to 1."""
        check_share("alpha", alpha)

    def first_input(self, photo: Tensor) -> Tensor:
        """The photo's features, restyled."""
        features = self.network.restyle(self.network.encode(photo), self.known, weights=self.weights)
        return features.to(working_dtype(self.stages[0].conv.conv2d.weight))

    def _forward_passes(
        self, photo: Tensor, masks: Sequence[Tensor] | None, alpha: float, strength: float
    ) -> Generator[ForwardPass, Tensor, Tensor]:
        painted = yield AdaINForward(self.network, self.known, self.weights, masks, alpha * strength)
        painted = painted.clamp(0, 1)
        if strength == 1:
            return painted
        if strength == 0:
            return photo.float()
        redrawn = yield AdaINForward(self.network, self.known, self.weights, alpha=0.0)
        return (painted + (1 - strength) * (photo - redrawn)).clamp(0, 1)
