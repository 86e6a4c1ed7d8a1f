"""Any style in one pass: a fast network whose normalisations are set from the statistics of one picture.

The network is `Brisk`. What training gives each style of a gallery (γ and β of every normalisation, a palette) is
here predicted from the style picture, as in Ghiasi et al. 2017 ("Exploring the structure of a real-time, arbitrary
neural artistic stylization network"). Unlike there, what is looked at are the moments of VGG features at four
depths, which is the very thing that style losses compare, and colours are not learned but computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from impasto.core.precision import in_float64
from impasto.core.statistics import mean_std, split_weights
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.bound import BoundStaged, WeightedStyles, pictures_alone
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS, EncodedConfig, EncodedNetwork, StyleParameters
from impasto.networks.layers import pad_to_multiple
from impasto.networks.palette import colour_map
from impasto.networks.staged import check_size

__all__ = ["Signature", "Universal", "UniversalConfig"]

FAINT = 1e-6  # under a root, where its slope or what it divides would have no end
LOUD = 6.0  # standard deviations from the mean of all styles, beyond which a value is taken for less
RIDGE = 1.0  # of the mean variance: what varies less stays faint


class Signature(NamedTuple):
    """What is looked at of a style picture.

    Attributes:
        features: roots of mean and deviation of every channel at `TAPS`, (B, D).
        matrix, offset: its colours, see `palette.colour_map`, (B, 3, 3) and (B, 3).
    """

    features: Tensor
    matrix: Tensor
    offset: Tensor


@dataclass(frozen=True)
class UniversalConfig(EncodedConfig):
    """The encoder that the predictor was trained with, and the sizes of both networks.

    Attributes:
        channels, blocks, detail, reach, margin: see `BriskConfig`.
        parts: principal components of the styles' features that the predictor looks at.
        hidden: numbers in which it sums a style up.
    """

    channels: int = 64
    blocks: int = 5
    detail: int = 32
    parts: int = 160
    hidden: int = 256
    reach: int = 0
    margin: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("parts", self.parts, 8192)
        check_size("hidden", self.hidden, 8192)
        self.brisk(("style",))

    def brisk(self, styles: tuple[str, ...]) -> BriskConfig:
        """The sizes of the painting network, with room for these styles."""
        return BriskConfig(styles, self.channels, self.blocks, self.detail, reach=self.reach, margin=self.margin)


class Predictor(nn.Module):
    """From a style's features to its parameters: principal components, two layers, and what all styles have in common.

    Args:
        inputs: length of `Signature.features`.
        parts, hidden: see `UniversalConfig`.
        base: the parameters with a row per style, each (1, ...), which become the common part.
    """

    def __init__(self, inputs: int, parts: int, hidden: int, base: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.mean: Tensor
        self.basis: Tensor
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("basis", torch.zeros(inputs, parts))
        self.shapes = {name: rows.shape[1:] for name, rows in base.items()}
        self.summary = nn.Linear(parts, hidden)
        self.rows = nn.Linear(hidden, sum(rows.numel() for rows in base.values()))
        if not self.rows.weight.is_meta:
            nn.init.normal_(self.summary.weight)
            nn.init.zeros_(self.rows.weight)  # every style begins with what is common
            with torch.no_grad():
                self.rows.bias.copy_(torch.cat([rows.detach().flatten() for rows in base.values()]))

    @torch.no_grad()
    def learn_basis(self, features: Tensor) -> None:
        """Take the principal components of many styles' features (N, D), each to a variance of at most 1.

        Channels of a backbone rise and fall together: without this, what all of them say drowns what few say.
        """
        mean, basis = self.mean, self.basis
        mean.copy_(features.mean(0))
        scale = features.std(0).clamp_min(1e-3)
        standard = in_float64((features - mean) / scale)
        _, values, directions = torch.linalg.svd(standard, full_matrices=False)
        variance = values.square() / len(features)
        kept = min(basis.shape[1], len(values))
        size = (variance[:kept] + RIDGE * variance.mean()).clamp_min(FAINT)  # styles may be all the same
        whitened = directions[:kept].T / size.sqrt()
        basis.zero_()
        basis[:, :kept] = whitened.to(basis) / scale[:, None]

    @torch.no_grad()
    def fit(self, signatures: Signature, trained: StyleParameters) -> None:
        """Begin with what N styles were trained to have: rows by ridge regression on the summaries."""
        wanted = {**trained}
        wanted["palette.matrix"] = wanted["palette.matrix"] - signatures.matrix
        wanted["palette.offset"] = wanted["palette.offset"] - signatures.offset
        flat = in_float64(torch.cat([wanted[name].flatten(1) for name in self.shapes], 1))
        x = in_float64(self._summaries(signatures))
        mean_x, mean = x.mean(0), flat.mean(0)
        centred = x - mean_x
        products = centred @ centred.T
        size = (RIDGE * products.diagonal().mean()).clamp_min(FAINT)  # there may be but one style
        ridge = size * torch.eye(len(x), dtype=x.dtype, device=x.device)
        weight = torch.linalg.solve(products + ridge, flat - mean).T @ centred
        self.rows.weight.copy_(weight)
        self.rows.bias.copy_(mean - weight @ mean_x)

    @torch.no_grad()
    def take(self, other: Predictor, named: Callable[[str], str]) -> None:
        """Another's eyes, and its rows of each parameter that it calls what `named` says; others stay common to all."""
        for name in ("mean", "basis"):
            getattr(self, name).copy_(getattr(other, name))
        self.summary.load_state_dict(other.summary.state_dict())
        for here, there in ((self.rows.weight, other.rows.weight), (self.rows.bias, other.rows.bias)):
            theirs = other._by_name(there)
            for name, rows in self._by_name(here).items():
                rows.copy_(theirs.get(named(name), rows))

    def _by_name(self, rows: Tensor) -> dict[str, Tensor]:
        """Views of what `rows` has for each parameter."""
        parts = torch.split(rows, [shape.numel() for shape in self.shapes.values()])
        return dict(zip(self.shapes, parts, strict=True))

    def _summaries(self, signature: Signature) -> Tensor:
        x = ((signature.features.float() - self.mean) @ self.basis).clamp(-LOUD, LOUD)
        # Weights have a size of order one and sums are divided, so that Adam's steps, whose size is the same
        # for every weight, are not larger for what has many inputs than for a convolution.
        x = nn.functional.silu(self.summary(x / x.shape[1] ** 0.5))
        summaries: Tensor = x / x.shape[1] ** 0.5
        return summaries

    def forward(self, signature: Signature) -> StyleParameters:
        """Signatures of B styles -> their parameters, (B, ...) float32 each."""
        with torch.autocast(signature.features.device.type, enabled=False):
            flat: Tensor = self.rows(self._summaries(signature))
        parts = torch.split(flat, [shape.numel() for shape in self.shapes.values()], dim=1)
        shapes = zip(parts, self.shapes.items(), strict=True)
        parameters = {name: part.reshape(-1, *shape) for part, (name, shape) in shapes}
        parameters["palette.matrix"] = parameters["palette.matrix"] + signature.matrix
        parameters["palette.offset"] = parameters["palette.offset"] + signature.offset
        return parameters


class Universal(EncodedNetwork):
    """An encoder that never trains, a predictor, and the network that paints.

    Arguments and errors are those of `EncodedNetwork`.
    """

    METHOD: ClassVar[str] = "universal"
    config: UniversalConfig

    def __init__(self, config: UniversalConfig | None = None, encoder: VGG | None = None) -> None:
        super().__init__(config or UniversalConfig(), encoder)
        config = self.config
        self.painter = Brisk(config.brisk(("style",)))
        base: dict[str, Tensor] = dict(self._rows(self.painter))
        for name in ("palette.matrix", "palette.offset"):  # the colours are the picture's own, until learned better
            base[name] = torch.zeros(base[name].shape)  # of a tensor without memory, `zeros_like` would load sympy
        widths = [self.encoder.width(tap) for tap in TAPS]
        self.predictor = Predictor(2 * sum(widths), config.parts, config.hidden, base)
        for _, rows in self._rows(self.painter):
            rows.requires_grad_(False)  # the predictor's take their place

    @staticmethod
    def _rows(painter: Brisk) -> list[tuple[str, nn.Parameter]]:
        names = {id(getattr(module, name)) for module, name in painter.rows}
        return [(name, parameter) for name, parameter in painter.named_parameters() if id(parameter) in names]

    @torch.no_grad()
    def signature(self, style: Tensor, features: Mapping[str, Tensor] | None = None) -> Signature:
        """What is looked at of style pictures (B, 3 or 4, H, W) in [0, 1], any size.

        In its colours, pixels count as far as a fourth channel says. Features are those of the whole picture: without
        what its border does to them, statistics are unlike any that were seen in training.

        `features` are the encoder's at `TAPS`, if they are known already.
        """
        if features is None:
            rgb, _ = split_weights(style)
            features = cast(Mapping[str, Tensor], self.encoder(pad_to_multiple(rgb, STRIDE, SMALLEST), TAPS))
        moments = [value.flatten(1) for tap in TAPS for value in mean_std(features[tap])]
        colours = [colour_map(picture[None].float()) for picture in style]
        matrix, offset = (torch.stack(part) for part in zip(*colours, strict=True))
        return Signature((torch.cat(moments, 1).clamp_min(0) + FAINT).sqrt(), matrix, offset)

    def encode_style(self, style: Tensor) -> StyleParameters:
        """All there is to keep of style pictures (B, 3 or 4, H, W), for the next photo; see `signature`."""
        parameters: StyleParameters = self.predictor(self.signature(style))
        return parameters

    @torch.no_grad()
    def bind(self, styles: WeightedStyles) -> BoundStaged:
        """Ready to paint in a blend of style pictures.

        Raises:
            OptionError: no picture, or a name; what another network made of a picture; weights of which
                `StyledNetwork.mix` can make nothing.
        """
        parameters, weights = [], []
        for style, weight in pictures_alone(styles):
            encoded = self.encode_style(style) if isinstance(style, Tensor) else style
            if not isinstance(encoded, dict):
                raise OptionError("this style was encoded by a network of another method: encode it with this one")
            parameters.append(encoded)
            weights.append(weight)
        painter = self.bind_parameters(parameters)
        return painter.bind(list(zip(painter.styles, weights, strict=True)))

    def constrain(self) -> None:
        """See `EncodedNetwork`."""
        self.painter.constrain()

    @torch.no_grad()
    def begin_with(self, trained: Brisk, signatures: Signature) -> None:
        """Take over a network of N styles: its weights, and its rows as what to predict from their `signatures`.

        Raises:
            OptionError: it is of other sizes.
        """
        if replace(trained.config, styles=("style",), margin=self.config.margin) != self.painter.config:
            raise OptionError(
                f"a brisk network of {trained.config.channels} channels, {trained.config.blocks} blocks and detail "
                f"{trained.config.detail} cannot begin one of {self.config.channels}, {self.config.blocks} and "
                f"{self.config.detail}: give it the same sizes"
            )
        theirs = dict(trained.named_parameters())
        rows = [name for name, _ in self._rows(self.painter)]
        for name, parameter in self.painter.named_parameters():
            if name not in rows:
                parameter.copy_(theirs[name])
        self.predictor.fit(signatures, {name: theirs[name] for name in rows})

    @torch.no_grad()
    def go_on_from(self, trained: Universal) -> None:
        """Take over a network of any style, which may have more blocks, and lack `reach`.

        Raises:
            OptionError: it is of other sizes, or has another encoder.
        """
        theirs, ours = trained.config, self.config
        theirs = replace(theirs, margin=ours.margin)
        if replace(theirs, blocks=min(ours.blocks, theirs.blocks), reach=theirs.reach or ours.reach) != ours:
            differ = [name for name in vars(ours) if getattr(ours, name) != getattr(theirs, name)]
            has, wanted = (", ".join(f"{name} {getattr(one, name)}" for name in differ) for one in (theirs, ours))
            raise OptionError(
                f"a network with {has} cannot begin one with {wanted}: only `blocks` may be fewer and `reach` added"
            )
        weights = dict(trained.painter.named_parameters())
        rows = {name for name, _ in self._rows(self.painter)}
        for name, parameter in self.painter.named_parameters():
            named = self.painter.named_in(trained.painter, name)
            if name not in rows and named in weights:
                parameter.copy_(weights[named])
        self.predictor.take(trained.predictor, lambda name: self.painter.named_in(trained.painter, name))

    def bind_parameters(self, styles: Sequence[StyleParameters]) -> Brisk:
        """The painting network with these styles, each of batch 1, named "1", "2" and so on; weights are shared."""
        names = tuple(str(number) for number in range(1, len(styles) + 1))
        with torch.device("meta"):
            painter = Brisk(self.config.brisk(names))
        state = dict(self.painter.state_dict())
        state |= {name: torch.cat([style[name] for style in styles]) for name in styles[0]}
        painter.load_state_dict(state, assign=True)
        return painter.train(self.training)

    def forward(self, photos: Tensor, signature: Signature) -> Tensor:
        """Photos (B, 3, H, W) in [0, 1], each in the style of its signature -> the same shape, float32."""
        parameters = self.predictor(signature)
        mix = torch.eye(len(photos), device=photos.device)
        rows = {f"painter.{name}": value for name, value in parameters.items()}
        painted: Tensor = functional_call(_Free(self.painter), rows, (photos, mix))
        return painted


class _Free(nn.Module):
    """The painting network without the check that it has as many styles as it was made for."""

    def __init__(self, painter: Brisk) -> None:
        super().__init__()
        self.painter = painter

    def forward(self, photos: Tensor, mix: Tensor) -> Tensor:
        return self.painter.paint(photos, mix)
