"""Any style in one pass, as others built it: two lists of operators, one that looks at a style and one that paints.

What looks tells numbers of a style picture; what paints takes them in some of its operators. Which ones, and how,
differs from author to author, so the lists are the network's config. `programs.py` says what each operator does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from impasto.core.statistics import split_weights
from impasto.errors import OptionError
from impasto.networks.bound import BoundAlone, ForwardPass, WeightedStyles, pictures_alone
from impasto.networks.encoded import StyleParameters
from impasto.networks.layers import pad_to_multiple
from impasto.networks.programs import Operator, Program, check_program, operator_from, width_of
from impasto.networks.restyling import normalised_weights
from impasto.networks.staged import Stage

__all__ = ["BoundOperators", "Operators", "OperatorsConfig", "OperatorsForward"]

LARGEST_SIDE = 512  # px, up to which a smallest picture is looked for
PARAMETERS = "parameters"  # what there is to keep of a style, (1, P)


@dataclass(frozen=True)
class OperatorsConfig:
    """The whole network.

    Attributes:
        paint: operators, or their fields, in order; 0 is the photo, RGB in [0, 1], 1 what the first gives, and so on.
            What the last gives is the painting, RGB in [0, 1] once it is clamped.
        look: the same for a style picture.
        told: whose values, one after the other, are what the style's numbers are.
    """

    paint: tuple[Operator, ...]
    look: tuple[Operator, ...]
    told: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("paint", "look"):
            rows = getattr(self, name)
            if not isinstance(rows, Sequence) or isinstance(rows, str) or not 1 <= len(rows) <= 1024:
                raise OptionError(f"{name} is from 1 to 1024 operators")
            object.__setattr__(self, name, tuple(operator_from(row) for row in rows))
        object.__setattr__(self, "told", tuple(self.told))
        looked = check_program(self.look, looks=True)
        if not self.told or not all(isinstance(at, int) and 0 < at <= len(self.look) for at in self.told):
            raise OptionError(f"told is numbers of operators that look, got {self.told!r}")
        numbers = sum(looked[at] for at in self.told)
        painted = check_program(self.paint, looks=False)
        if painted[-1] != 3:
            raise OptionError(f"the last operator gives {painted[-1]} channels, need 3")
        for row, width in zip(self.paint, painted[1:], strict=True):
            if row.numbers(width) and not 0 <= row.at <= numbers - row.numbers(width):
                raise OptionError(f"{row.kind} takes numbers of a style from {row.at} on, and there are {numbers}")

    @property
    def numbers(self) -> int:
        """How many a style is told in."""
        return sum(width_of(self.look)[at] for at in self.told)


class Operators(nn.Module):
    """Both lists with their weights, which are those of the file that they were read from.

    Raises:
        OptionError: no picture comes out as large as it goes in.
    """

    METHOD: ClassVar[str] = "operators"
    FLOAT32_ALONE: ClassVar[bool] = True  # of most the values reach 255; none was trained to be rounded

    def __init__(self, config: OperatorsConfig) -> None:
        super().__init__()
        self.config = config
        self.paint, self.look = Program(config.paint), Program(config.look)
        self.SMALLEST = _smallest(self.paint, painted=True)
        self.smallest_style = _smallest(self.look, painted=False)

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles that it knows: none, it takes pictures."""
        return ()

    def constrain(self) -> None:
        """Nothing: it is not trained."""

    @torch.no_grad()
    def encode_style(self, style: Tensor) -> StyleParameters:
        """What there is to keep of style pictures (B, 3 or 4, H, W) in [0, 1]: numbers, (B, P).

        A fourth channel, which says how far pixels count, is left out: these networks know nothing of it.
        """
        rgb, _ = split_weights(style)
        values = self.look.run(pad_to_multiple(rgb, 1, self.smallest_style), None, self.config.told)
        return {PARAMETERS: torch.cat([value.float().flatten(1) for value in values], 1)}

    @torch.no_grad()
    def bind(self, styles: WeightedStyles) -> BoundOperators:
        """Ready to paint in a blend of style pictures: the weighted mean of what is kept of each.

        Raises:
            OptionError: no picture, or a name; what another network made of a picture; a negative weight, or all 0.
        """
        rows, weights = [], []
        for style, weight in pictures_alone(styles):
            encoded = self.encode_style(style) if isinstance(style, Tensor) else style
            found = encoded.get(PARAMETERS) if isinstance(encoded, Mapping) else None
            if found is None or found.shape[1] != self.config.numbers:
                raise OptionError("this style was encoded by a network of another method: encode it with this one")
            rows.append(found)
            weights.append(weight)
        return BoundOperators(self, rows, weights)

    def forward(self, photo: Tensor, parameters: Tensor) -> Tensor:
        """Photos (B, 3, H, W) in [0, 1], any size, and a style's numbers (1, P) -> the same shape, float32."""
        larger = pad_to_multiple(photo, 1, self.SMALLEST)
        (painted,) = self.paint.run(larger, parameters, (len(self.config.paint),))
        return painted.float().clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]


def _smallest(program: Program, *, painted: bool) -> int:
    """The side from which on a picture can be taken; if it is `painted`, so that it comes out no smaller."""
    good = 0
    for side in range(1, LARGEST_SIDE):
        sides = program.sides(side)
        good = good + 1 if sides is not None and (not painted or sides[-1] >= side) else 0
        if good == 17:
            return max(8, side - 16)
    raise OptionError("no picture comes out as large as it goes in")


@dataclass(frozen=True, eq=False)
class OperatorsForward(ForwardPass):
    """One forward pass; the attributes are arguments of `Operators.forward`."""

    network: Operators
    parameters: Tensor

    def at_once(self, photo: Tensor) -> Tensor:
        """See `ForwardPass`."""
        painted: Tensor = self.network(photo, self.parameters)
        return painted


class BoundOperators(BoundAlone):
    """The network with the numbers of its styles, (1, P) each, and their weights.

    Raises:
        OptionError: a negative weight, or all of them 0.
    """

    def __init__(self, network: Operators, rows: Sequence[Tensor], weights: Sequence[float]) -> None:
        super().__init__()
        shares = normalised_weights(len(rows), weights)
        self.network, self.rows, self.weights = network, tuple(rows), tuple(weights)
        self.mixed = torch.stack([share * row for share, row in zip(shares, rows, strict=True)]).sum(0)
        self.register_buffer("mix", None)
        self.training = network.training

    @property
    def stages(self) -> tuple[Stage, ...]:
        """None: it is made of operators."""
        return ()

    def whole(self, alpha: float = 1.0) -> OperatorsForward:
        """See `BoundStyle`."""
        self.check_alpha(alpha)
        return OperatorsForward(self.network, self.mixed)

    def alone_in(self, style: int) -> OperatorsForward:
        """See `BoundAlone`."""
        return OperatorsForward(self.network, self.rows[style])

    def first_input(self, photo: Tensor) -> Tensor:
        """The photo, as large as it must be."""
        return pad_to_multiple(photo, 1, self.network.SMALLEST)
