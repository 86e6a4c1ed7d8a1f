"""What a training is told: one dataclass per family of networks, which holds the defaults, once.

Nothing here imports torch, so that the command line can show the defaults at once.
"""

from __future__ import annotations

import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin

from impasto.errors import OptionError, nearest
from impasto.fields import option

__all__ = [
    "AdaINSettings",
    "AddStyleSettings",
    "GramSettings",
    "JohnsonSettings",
    "MultiStyleSettings",
    "TrainSettings",
    "UniversalSettings",
    "Weights",
    "settings_class",
]


class Weights(NamedTuple):
    """Factors of the loss terms; `relative` says that each term is divided by its target's squared norm."""

    content: float
    style: float
    tv: float
    relative: bool


RATES = {"brisk": 3e-3, "johnson": 1e-3}  # of `multistyle`, by its network
JUDGING = {  # what a training without backbones has no use for
    "style_balance", "style_weight", "content_weight", "tv_weight", "backbone", "backbone_input", "pool",
    "content_layer", "style_layer", "style_size", "other_backbone", "other_backbone_input", "second_backbone",
    "second_backbone_input", "second_every", "style_shares", "style_coarse",
}  # fmt: skip
# Choosing one side by a flag drops the other side of a recipe; giving both sides at once is an error.
EXCLUSIVE: tuple[tuple[set[str], set[str]], ...] = (
    ({"steps"}, {"epochs"}),
    ({"style_balance"}, {"style_weight", "content_weight"}),
    ({"teacher"}, JUDGING),
)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(ABC):
    """What all trainings have. OptionError for a value of the wrong kind or out of range."""

    FAMILY: ClassVar[str]
    ONLY_HOW: ClassVar[frozenset[str]] = frozenset({"device", "workers"})  # may change when a run is resumed

    photos: tuple[str, ...] = option((), "Folder, archive or file of photos to train on; repeat it for more.", "PATH")
    leave_out: tuple[str, ...] = option(
        (), "Photo to leave out, by its name without suffix, which may hold wildcards; repeat it.", "NAME"
    )
    style: tuple[str, ...] = option(
        (), "Style picture; repeat it for more. Also a folder, a style set, or a list in TSV.", "PICTURE"
    )
    batch_size: int = option(4, "Photos a step, in each process.", least=1)
    steps: int = option(4000, "Steps in all.", least=1)
    epochs: int | None = option(None, "Times through all photos, instead of `steps`.", least=1)
    style_balance: float | None = option(
        None, "Style against content when every term is divided by its target's norm.", above=0
    )
    style_weight: float | None = option(None, "Explicit weight of style, instead of `style_balance`.", least=0)
    content_weight: float | None = option(None, "Explicit weight of content, instead of `style_balance`.", least=0)
    tv_weight: float | None = option(None, "Weight of total variation: smoothness.", least=0)
    lr: float = option(1e-3, "Adam's learning rate, at its highest.", above=0, most=100)
    lr_decay: float = option(0.0, "The rate is divided by 1 + this x step.", least=0)
    schedule: Literal["cosine", "constant"] = option(
        "cosine", "cosine warms up and then falls to zero at the last step."
    )
    image_size: int = option(256, "Side in px of the squares cut from photos.", least=32)
    crop_enlarge: float | None = option(
        None, "Bring photos' short side to this x `image_size` and cut anywhere; else cuts vary in size.", least=1
    )
    save_every: int = option(250, "Steps between checkpoints, samples and plots.", least=1)
    seed: int = option(0, "Decides initial weights, order and crops of photos.", least=0)
    deterministic: bool = option(False, "Same seed, same machine: same weights, bit for bit; implies float32.")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "auto is bfloat16 where the processor multiplies it natively."
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", "NAME")
    workers: int | None = option(
        None,
        "Processes that decode photos ahead; half as many as there are cores unless given; 0 does it in between.",
        least=0,
    )
    licence: str = option("not stated", "Licence written into the trained file.")

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), hint))
        for f in fields(self):
            _check_limits(f.name, getattr(self, f.name), f.metadata)
        if self.deterministic and self.precision == "bfloat16":
            raise OptionError("`deterministic` implies float32, got `precision` bfloat16: leave one of them out")

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Settings from what was given, by field name; the defaults for everything else. None is "left out" here.

        Raises:
            OptionError: an unknown name, a wrong value, or two that exclude each other.
        """
        known = [f.name for f in fields(cls)]
        if stranger := next((name for name in values if name not in known), None):
            raise OptionError(f"unknown key {stranger!r}{nearest(stranger, known)}; the keys are {', '.join(known)}")
        given = {name for name, value in values.items() if value is not None}
        for ours, theirs in EXCLUSIVE:
            if (one := sorted(ours & given)) and (other := sorted(theirs & given)):
                raise OptionError(f"`{one[0]}` and `{other[0]}` exclude each other: give one of them")
        return cls(**values)

    @classmethod
    def as_begun(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a run was begun with, by this version or an earlier one, without what had no effect on it."""
        return dict(values)

    def values(self) -> dict[str, Any]:
        """What `from_values` makes the same settings from; fields without effect are left out."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.epochs is not None:
            del given["steps"]
        if self.style_weight is not None or self.content_weight is not None:
            del given["style_balance"]
        if given.get("teacher"):
            given = {name: value for name, value in given.items() if name not in JUDGING}
        return {name: value for name, value in given.items() if value is not None}

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The factors of the loss terms that these settings mean."""


@dataclass(frozen=True, kw_only=True)
class GramSettings(TrainSettings):
    """Networks that learn Gram matrices (Johnson 2016, Dumoulin 2017).

    By default every term is divided by its target's squared norm: content + style_balance · mean over layers of
    style + tv_weight · mean squared difference of neighbours. With explicit weights the terms are the papers':
    means of squared errors, summed over layers, and the total variation of Johnson (a sum, on 0–255).
    """

    PAPER: ClassVar[Weights]  # what counts where explicit weights leave one out
    DIVISOR: ClassVar[Literal["positions", "all"]]  # of the Gram matrices, with explicit weights

    style_balance: float | None = option(
        12.0, "Style against content when every term is divided by its target's norm.", above=0
    )
    backbone: str = option("compact", "Network that sees: `impasto weights list`, or a file.", "NAME|PATH")
    backbone_input: Literal["torchvision", "caffe", "none"] | None = option(
        None, "Input normalisation of a backbone file that does not tell."
    )
    pool: Literal["max", "average"] = option("max", "How the backbone pools.")
    content_layer: str = option("relu3_3", "Layer whose features should stay; relu2_2 in Johnson's paper.", "NAME")
    style_layer: tuple[str, ...] = option(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "Layer whose Gram matrix should match; repeat it.", "NAME"
    )
    style_size: int = option(512, "Long side in px at which styles are looked at; larger: finer strokes.", least=32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.style_layer:
            raise OptionError("at least one style layer is needed")

    @property
    def weights(self) -> Weights:
        """The factors of the loss terms that these settings mean."""
        if self.style_weight is None and self.content_weight is None:
            if self.style_balance is None:
                raise OptionError("`style_balance` is needed where there are no explicit weights")
            return Weights(1.0, self.style_balance, _or(self.tv_weight, 2.0), relative=True)
        content, style = _or(self.content_weight, self.PAPER.content), _or(self.style_weight, self.PAPER.style)
        return Weights(content, style, _or(self.tv_weight, self.PAPER.tv), relative=False)


@dataclass(frozen=True, kw_only=True)
class JohnsonSettings(GramSettings):
    """One style in one network. The weights to fall back on are those of pytorch/examples, TV is Johnson's."""

    FAMILY: ClassVar[str] = "johnson"
    PAPER: ClassVar[Weights] = Weights(1e5, 1e10, 1e-6, relative=False)
    DIVISOR: ClassVar[Literal["positions", "all"]] = "all"

    style_balance: float | None = option(
        8.0, "Style against content when every term is divided by its target's norm.", above=0
    )
    output: Literal["sigmoid", "linear", "tanh"] | None = option(None, "How the last layer becomes colours.")
    width: int | None = option(None, "Channels at full resolution; 32 unless given.", least=1)
    blocks: int | None = option(None, "Residual blocks; 5 unless given.", least=1)


@dataclass(frozen=True, kw_only=True)
class ManyStylesSettings(GramSettings):
    """Gram matrices of many styles, which should all count, in large forms as well, and where a photo is flat."""

    style_shares: bool = option(
        False, "Count each style's loss as a share of what a photo as it is has, in each backbone: all count alike."
    )
    style_coarse: float = option(
        0.0, "What the style at half its size counts beside it, for larger forms; 1: as much.", least=0
    )
    ground: float = option(
        0.0,
        "Strength, at most, of noise under every other photo where it is flat; the painting is held to the photo "
        "without it.",
        least=0,
        most=1,
    )


@dataclass(frozen=True, kw_only=True)
class JudgedSettings(ManyStylesSettings):
    """Styles that are judged by several networks that see, by turns: what one of them overlooks, another sees."""

    other_backbone: tuple[str, ...] = option(
        (), "Another network that sees, by turns with `backbone`, step by step; repeat it for more.", "NAME|PATH"
    )
    other_backbone_input: Literal["torchvision", "caffe", "none"] | None = option(
        None, "Input normalisation of the other backbones' files, if those do not tell."
    )


@dataclass(frozen=True, kw_only=True)
class MultiStyleSettings(JudgedSettings):
    """N styles in one network, Dumoulin's (`johnson`, which is `multistyle` on disk) or ours (`brisk`)."""

    FAMILY: ClassVar[str] = "multistyle"
    PAPER: ClassVar[Weights] = Weights(1.0, 1e-4, 0.0, relative=False)
    DIVISOR: ClassVar[Literal["positions", "all"]] = "positions"

    network: Literal["brisk", "johnson"] = option("brisk", "brisk is ours and fast; johnson is the paper's.")
    begin_with: str = option(
        "", "Trained network to begin with; styles that it knows by name begin where they are.", "MODEL"
    )
    teacher: str | None = option(
        None,
        "Trained network that knows the styles by name: its paintings are learned, instead of what backbones see.",
        "MODEL",
    )
    lr: float = option(
        None,
        "Adam's learning rate, at its highest; 0.003 for brisk and 0.001 for johnson unless given.",
        above=0,
        most=100,
    )
    width: int | None = option(None, "johnson: channels at full resolution; 32 unless given.", least=1)
    blocks: int | None = option(None, "Residual blocks; 5 unless given.", least=1)
    channels: int | None = option(None, "brisk: channels at 1/4 resolution; 64 unless given.", least=1)
    detail: int | None = option(None, "brisk: channels at 1/2 resolution; 32 unless given.", least=1)
    palette: bool | None = option(None, "brisk: paint onto the photo in the style's colours; true unless given.")
    reach: int | None = option(
        None, "brisk: channels at 1/16 resolution of one more block, for larger forms; 0, none, unless given.", least=0
    )

    def __post_init__(self) -> None:
        if self.lr is None:
            object.__setattr__(self, "lr", RATES.get(self.network, RATES["brisk"]))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class AddStyleSettings(JudgedSettings):
    """One or more styles for a trained network, by their γ and β alone."""

    FAMILY: ClassVar[str] = "add-style"
    PAPER: ClassVar[Weights] = MultiStyleSettings.PAPER
    DIVISOR: ClassVar[Literal["positions", "all"]] = "positions"

    model: str = option("", "The trained network.", "MODEL")
    like: str | None = option(
        None,
        "Style of the network with whose strokes the new one begins, and keeps in part; the mean of all unless given.",
        "NAME",
    )
    steps: int = option(800, "Steps in all.", least=1)
    lr: float = option(1e-2, "Adam's learning rate, at its highest.", above=0, most=100)


@dataclass(frozen=True, kw_only=True)
class AdaINSettings(TrainSettings):
    """Any style (Huang & Belongie 2017).

    By default every term is divided by its target's squared norm, those of style are averaged, and some photos are
    their own style, so that a thousand steps show something. With explicit weights the loss is the paper's, eq. 11:
    content 1, style λ = 10.
    """

    FAMILY: ClassVar[str] = "adain"

    style_balance: float | None = option(
        10.0, "Style against content when every term is divided by its target's norm.", above=0
    )
    encoder: str = option("compact", "vgg19, vgg16, compact, or a file: sees, and is half of the network.", "NAME|PATH")
    encoder_input: Literal["torchvision", "caffe", "none"] | None = option(
        None, "Input normalisation of an encoder file that does not tell."
    )
    decoder_width: float | None = option(
        None, "The decoder's channels as a share of the paper's; 0.5 for compact, else 1.", above=0
    )
    pixel_weight: float = option(
        4.0,
        "Above 0 every fourth photo is its own style, and this is what its pixels' relative error is worth: colours "
        "are learned much sooner.",
        least=0,
    )
    steps: int = option(20000, "Steps in all.", least=1)
    lr: float = option(5e-4, "Adam's learning rate, at its highest.", above=0, most=100)
    crop_enlarge: float | None = option(
        2.0, "Bring pictures' short side to this x `image_size` and cut anywhere.", least=1
    )

    @property
    def weights(self) -> Weights:
        """The factors of the loss terms that these settings mean."""
        if self.style_balance is not None and self.style_weight is None and self.content_weight is None:
            return Weights(1.0, self.style_balance, _or(self.tv_weight, 0.0), relative=True)
        content, style = _or(self.content_weight, 1.0), _or(self.style_weight, 10.0)
        return Weights(content, style, _or(self.tv_weight, 0.0), relative=False)

    @classmethod
    def as_begun(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Earlier versions had the paper's weights by default."""
        told = {"style_balance", "style_weight", "content_weight"} & values.keys()
        return dict(values) if told else {**values, "style_weight": 10.0}


@dataclass(frozen=True, kw_only=True)
class UniversalSettings(ManyStylesSettings):
    """Any style by a network that looks at the style once; ours, after Ghiasi et al. 2017.

    Style pictures are cut and scaled like photos; `style_size` is for those of `begin_style` alone.
    """

    FAMILY: ClassVar[str] = "universal"
    PAPER: ClassVar[Weights] = MultiStyleSettings.PAPER
    DIVISOR: ClassVar[Literal["positions", "all"]] = "positions"

    style_balance: float | None = option(
        30.0, "Style against content when every term is divided by its target's norm.", above=0
    )
    begin_with: str = option(
        "",
        "Network to begin with: of `train universal`, or of `train multistyle`, which learned `begin_style`.",
        "MODEL",
    )
    begin_style: tuple[str, ...] = option((), "The styles of `begin_with`, as they were given to it.", "PICTURE")
    encoder: str = option("compact", "Network that looks at style pictures: a name, or a file.", "NAME|PATH")
    encoder_input: Literal["torchvision", "caffe", "none"] | None = option(
        None, "Input normalisation of an encoder file that does not tell."
    )
    teacher: str | None = option(
        None,
        "Trained network of any style with the same encoder: its paintings are learned, instead of what backbones see.",
        "MODEL",
    )
    second_backbone: tuple[str, ...] = option(
        (),
        "Network whose turn it is at every n-th step, n being `second_every`; repeated, they take turns at that.",
        "NAME|PATH",
    )
    second_backbone_input: Literal["torchvision", "caffe", "none"] | None = option(
        None, "Input normalisation of the second backbones' files, if those do not tell."
    )
    second_every: int = option(4, "How often the second backbone has its turn.", least=1)
    style_size: int = option(512, "Long side in px at which the pictures of `begin_style` are looked at.", least=32)
    steps: int = option(20000, "Steps in all.", least=1)
    lr: float = option(2e-3, "Adam's learning rate, at its highest.", above=0, most=100)
    style_layer: tuple[str, ...] = option(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), "Layer whose Gram matrix should match; repeat it.", "NAME"
    )
    crop_enlarge: float | None = option(
        1.8, "Bring pictures' short side to this x `image_size` and cut anywhere.", least=1
    )
    channels: int | None = option(None, "Channels at 1/4 resolution; 64 unless given.", least=1)
    blocks: int | None = option(None, "Residual blocks; 5 unless given.", least=1)
    detail: int | None = option(None, "Channels at 1/2 resolution; 32 unless given.", least=1)
    reach: int | None = option(
        None, "Channels at 1/16 resolution of one more block, for larger forms; 0, none, unless given.", least=0
    )
    parts: int | None = option(None, "Principal components of a style that count; 160 unless given.", least=1)
    hidden: int | None = option(None, "Numbers in which a style is summed up; 256 unless given.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.begin_style and not self.begin_with:
            raise OptionError("`begin_style` tells what `begin_with` has learned: give both or none")
        if self.style_size != GramSettings.style_size and not self.begin_style:
            raise OptionError(
                f"`style_size` {self.style_size} is for the pictures of `begin_style`, and there are none: what "
                "`train universal` practises on is scaled by `image_size` and `crop_enlarge`"
            )

    @classmethod
    def as_begun(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Earlier versions took a `style_size` that had no effect, and one second backbone, which "" was none of."""
        idle = () if values.get("begin_style") else ("style_size",)
        if values.get("second_backbone") == "":
            idle = (*idle, "second_backbone")
        return {name: value for name, value in values.items() if name not in idle}


FAMILIES: dict[str, type[TrainSettings]] = {
    kind.FAMILY: kind
    for kind in (JohnsonSettings, MultiStyleSettings, AdaINSettings, UniversalSettings, AddStyleSettings)
}


def settings_class(family: str) -> type[TrainSettings]:
    """The dataclass of a family; OptionError, listing them, for an unknown one."""
    if family not in FAMILIES:
        raise OptionError(
            f"nothing called {family!r} can be trained{nearest(family, FAMILIES)}; there are {', '.join(FAMILIES)}"
        )
    return FAMILIES[family]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _hints(kind: type[TrainSettings]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in names}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """The value in the type of its field, or OptionError; whole numbers serve as fractions, lists as tuples."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if get_origin(kind) is tuple and isinstance(value, str):
            return (value,)
        if get_origin(kind) is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return tuple(value)
        if get_origin(kind) is Literal and value in get_args(kind):
            return value
        if isinstance(kind, type) and type(value) is kind:
            return value
    raise OptionError(f"`{name}`: {value!r} is not {' or '.join(_in_words(kind) for kind in kinds)}")


def _in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(kind, "left out" if kind is type(None) else "a list of texts")


def _check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if not math.isfinite(value):
        raise OptionError(f"`{name}` is {value}, need a finite number")
    if "least" in limits and value < limits["least"]:
        raise OptionError(f"`{name}` is {value}, need at least {limits['least']}")
    if "most" in limits and value > limits["most"]:
        raise OptionError(f"`{name}` is {value}, need at most {limits['most']}")
    if "above" in limits and value <= limits["above"]:
        raise OptionError(f"`{name}` is {value}, need a number above {limits['above']}")
