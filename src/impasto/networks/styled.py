"""Networks that know several styles by name: blending them, and teaching one more without touching the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from impasto.errors import OptionError
from impasto.networks.blend import blend_weights
from impasto.networks.bound import BoundStaged, WeightedStyles, names_alone
from impasto.networks.norms import ConditionalInstanceNorm
from impasto.networks.palette import ConditionalPalette
from impasto.networks.staged import StagedNetwork

__all__ = ["MARGIN", "StyledConfig", "StyledNetwork"]

MARGIN = 16  # px, of a network that is trained anew
LARGEST_MARGIN = 256


@dataclass(frozen=True)
class StyledConfig:
    """What all networks of several styles have.

    What judges in training continues pictures by zeros, and to please it a network learns to paint their edges pale: a
    frame, which has no place in a painting. So a photo is continued by reflection before it is painted, as Johnson et
    al. 2016 do (supplement, table 1), and what was added is cut off with the frame.

    Attributes:
        styles: their names, in the order of γ's and β's rows.
        margin: px by which a photo is continued on each side, but for training; 0 in files from before there was one.
    """

    styles: tuple[str, ...]
    margin: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        check_margin(self.margin)
        if isinstance(self.styles, str) or not isinstance(self.styles, Sequence):
            raise OptionError(f"styles is a list of names, got {self.styles!r}")
        object.__setattr__(self, "styles", tuple(self.styles))
        if not self.styles or not all(isinstance(name, str) and name for name in self.styles):
            raise OptionError(f"a network needs at least one style, each with a name, got {list(self.styles)}")
        if len(set(self.styles)) < len(self.styles):
            raise OptionError(f"style names must differ, got {', '.join(self.styles)}")


class StyledNetwork(StagedNetwork):
    """A network whose normalisations hold a γ and a β of every style."""

    METHOD: ClassVar[str]
    ADDITIONS: ClassVar[tuple[str, ...]] = ()
    """Sizes of parts that a network may lack (0) which begins one that has them: they paint nothing until trained."""
    REPEATED: ClassVar[tuple[str, ...]] = ()
    """Numbers of like parts, of which a network may have fewer than what begins it: `named_in` tells which."""
    config: StyledConfig
    _freezing: tuple[RemovableHandle, ...] = ()

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of the styles."""
        return self.config.styles

    @property
    def margin(self) -> int:
        """See `StyledConfig`."""
        return 0 if self.training else self.config.margin

    @property
    def norms(self) -> tuple[ConditionalInstanceNorm, ...]:
        """All conditional normalisations, from the picture inwards and out again."""
        return tuple(module for module in self.modules() if isinstance(module, ConditionalInstanceNorm))

    @property
    def rows(self) -> tuple[tuple[nn.Module, str], ...]:
        """Modules and names of all parameters that have a row for every style."""
        owners = (
            module for module in self.modules() if isinstance(module, ConditionalInstanceNorm | ConditionalPalette)
        )
        return tuple((module, name) for module in owners for name in module.ROWS)

    def begin_style(self, name: str, picture: Tensor) -> None:
        """Begin a style with what its picture (1, 3 or 4, h, w) tells without training; by default nothing."""

    def bind(self, styles: WeightedStyles = ()) -> BoundStaged:
        """Ready to paint in a blend of styles, by name; the name may be left out where there is but one.

        Raises:
            OptionError: an unknown name, no name or a picture, or weights of which `mix` can make nothing.
        """
        named = names_alone(styles, self.styles)
        if not named and len(self.styles) > 1:
            raise OptionError(f"which style? this network has {', '.join(self.styles)}", "style")
        named = named or [(self.styles[0], 1.0)]
        mixes = self.mix(named), [self.mix(name) for name, _ in named]
        return BoundStaged(self, mixes, [weight for _, weight in named])

    def mix(self, blend: str | Mapping[str, float] | Iterable[tuple[str, float]]) -> Tensor:
        """The weights of a blend such as ``{"monet": 0.7, "wave": 0.3}``, (1, N) float32, their sum 1.

        A name alone means that style alone; a name given twice counts with both weights.

        Raises:
            OptionError: an unknown name, a negative or non-finite weight, or weights that are all zero.
        """
        return torch.tensor([blend_weights(blend, self.styles)], device=self.norms[0].gamma.device)

    def add_style(self, name: str, like: str | None = None) -> None:
        """Grow γ and β by a row for one more style, and let nothing else train.

        It begins `like` another style, or with the mean of all.

        The parameters that hold the rows are new objects: make the optimiser after this. See `train_only`.

        Raises:
            OptionError: there is a style of that name, the name is empty, or there is none to begin like.
        """
        row = None if like is None else int(self.mix(like).argmax())
        self.config = replace(self.config, styles=(*self.styles, name))
        for module, rows in self.rows:
            old: Tensor = getattr(module, rows).detach()
            new = old.mean(0, keepdim=True) if row is None else old[row : row + 1]
            setattr(module, rows, nn.Parameter(torch.cat((old, new))))
        self.train_only(name)

    @torch.no_grad()
    def begin_with(self, other: StyledNetwork) -> None:
        """Take over another network's weights, in place; styles that it does not know begin with its styles' mean.

        What `ADDITIONS` stand for may be missing there, and stays as it is; of `REPEATED` parts there may be more.

        Raises:
            OptionError: it is of another method or other sizes.
        """
        lacks = {name: getattr(self.config, name) for name in self.ADDITIONS if getattr(other.config, name, 0) == 0}
        for name in self.REPEATED:
            if getattr(other.config, name, 0) > getattr(self.config, name):
                lacks[name] = getattr(self.config, name)
        theirs = replace(other.config, styles=self.styles, margin=self.config.margin, **lacks)
        if type(other) is not type(self) or theirs != self.config:
            raise OptionError(
                f"a network of {other.METHOD} with {_sizes(other)} cannot begin one of {self.METHOD} with "
                f"{_sizes(self)}: leave the sizes out or choose another"
            )
        rows = [other.styles.index(name) if name in other.styles else None for name in self.styles]
        weights = dict(other.named_parameters())
        of_styles = {id(getattr(module, name)) for module, name in self.rows}
        for name, parameter in self.named_parameters():
            named = self.named_in(other, name)
            if named not in weights:
                continue
            old: Tensor = weights[named].detach()
            if id(parameter) in of_styles:
                mean = old.mean(0)
                old = torch.stack([mean if row is None else old[row] for row in rows])
            parameter.copy_(old)

    def named_in(self, other: StyledNetwork, name: str) -> str:
        """What a parameter is called in a network that begins this one."""
        return name

    def train_only(self, *names: str) -> None:
        """Let only the γ and β of these styles train; call it again after loading such a training's state.

        The other rows stay bit for bit what they are under any optimiser that leaves a parameter alone whose
        gradient was always zero: SGD and Adam do, those that decay weights do not.

        Raises:
            OptionError: an unknown name.
        """
        self.train_all()
        self.requires_grad_(False)
        keep = self.mix([(name, 1.0) for name in names])[0] > 0
        handles = []

        def mask(grad: Tensor) -> Tensor:
            return grad * keep.to(grad).view(-1, *(1 for _ in grad.shape[1:]))

        for module, name in self.rows:
            rows: Tensor = getattr(module, name)
            rows.requires_grad_(True)
            handles.append(rows.register_hook(mask))  # type: ignore[no-untyped-call]
        self._freezing = tuple(handles)

    def train_all(self) -> None:
        """Let everything train again."""
        for handle in self._freezing:
            handle.remove()
        self._freezing = ()
        self.requires_grad_(True)

    def check_mix(self, image: Tensor, mix: Tensor) -> None:
        """OptionError unless `mix` has a weight for every style, for each picture or for all of them at once."""
        if mix.ndim != 2 or mix.shape[0] not in (1, len(image)) or mix.shape[1] != len(self.styles):
            wanted = f"({len(image)} or 1, {len(self.styles)})"
            raise OptionError(f"the weights of the styles have shape {tuple(mix.shape)}, but must have {wanted}")

    def forward(self, image: Tensor, mix: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1], any size, and style weights (B, N) or (1, N) -> the same, painted.

        Rows of `mix` sum to 1, as those of the method of that name do.
        """
        self.check_mix(image, mix)
        return self.paint(image, mix)


def check_margin(margin: object) -> None:
    """OptionError unless it is a whole number of pixels that a picture may be continued by."""
    if not isinstance(margin, int) or isinstance(margin, bool) or not 0 <= margin <= LARGEST_MARGIN:
        raise OptionError(f"margin is a whole number from 0 to {LARGEST_MARGIN}, got {margin!r}")


def _sizes(network: StyledNetwork) -> str:
    sizes = {key: value for key, value in vars(network.config).items() if key not in ("styles", "margin")}
    return ", ".join(f"{key} {value}" for key, value in sizes.items())
