"""Settings of an optimisation, and the presets: each classic with its own constants, and ours.

Constants are those of the papers and programs named beside them; where a paper and its code differ, both are
here under their own names. Pixel values are [0, 1] unless `levels` says 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from impasto.core.backbones import BACKBONES
from impasto.errors import OptionError, nearest
from impasto.fields import is_a, needed
from impasto.types import Divisor, Init, Parameterisation, Pool, Reduction
from impasto.types import TotalVariation as TotalVariationKind

__all__ = ["DEFAULT_PRESET", "EARLIER", "PRESETS", "Init", "KeepColors", "OptimizeSettings", "earlier", "preset"]

KeepColors = Literal["no", "luminance", "histogram"]
Activations = Literal["as-they-are", "unit", "caffe"]
StyleLoss = Literal["gram", "wasserstein"]
Optimizer = Literal["adam", "lbfgs"]
Layers = Mapping[str, float]


def _layers(names: str, weight: float = 1.0) -> Layers:
    return MappingProxyType(dict.fromkeys(names.split(), weight))


@dataclass(frozen=True, kw_only=True)
class OptimizeSettings:
    """Everything that decides a painting apart from the pictures. Sizes are long sides in px."""

    # What sees
    backbone: str = "compact"
    # The name of another that sees in turns with it: of no one network's taste alone
    second_backbone: str | None = None
    second_every: int = 2  # its turn is every so many steps
    pool: Pool = "max"
    rescale_pool: bool = False
    activations: Activations = "as-they-are"  # what the weights below were chosen for
    # What counts
    content_layers: Layers = field(default_factory=lambda: _layers("relu4_2"))
    style_layers: Layers = field(default_factory=lambda: _layers("relu1_1 relu2_1 relu3_1 relu4_1 relu5_1", 0.2))
    content_reduction: Reduction = "relative"
    content_factor: float = 1.0
    style_loss: StyleLoss = "gram"
    style_divisor: Divisor = "positions"
    style_reduction: Reduction = "relative"
    style_factor: float = 1.0
    content_weight: float = 1.0
    style_weight: float = 20.0
    tv_weight: float = 0.0
    tv_kind: TotalVariationKind = "l2"
    tv_mean: bool = True
    range_weight: float = 50.0  # on the mean square of what leaves [0, 1]
    # How it moves
    init: Init = "content"
    optimizer: Optimizer = "adam"
    parameterisation: Parameterisation = "pyramid"
    levels: float = 1.0  # grey levels of a pixel, 1 or 255: the unit of `lr` and of TV
    lr: float = 0.0085
    lr_end: float = 0.3  # share of `lr` at the last step
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    history: int = 100  # of L-BFGS
    clamp: bool = False  # to [0, 1] after every step
    # Losses, but for `range_weight`'s, are of the picture clamped to [0, 1], as it is written
    sees_clamped: bool = False
    averaging: float = 0.0  # exponential average of the iterates
    # How large, how long
    size: int = 512
    start: int | None = None  # size of the first scale; None paints at the final size at once
    factor: float = 2.0  # from scale to scale
    steps: int = 30  # on the first scale
    later_steps: int = 30  # on each later one
    falling: float = 0.0  # above 512 px a scale has fewer steps by this power of its size: 0 no fewer, 1 in proportion
    # How far the network of any style paints over what is there, as the last scale begins and each of 384 px and more;
    # the rate begins anew then
    repaint: float = 0.0
    total_steps: int | None = None  # if given, shared among the scales in the proportion of the two above
    style_scale: float = 1.0  # the style picture's long side as a factor of the result's
    keep_colors: KeepColors = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            if get_origin(kind) is Literal:
                choices = get_args(kind)
                known = is_a(value, kind)
                _require(known, f"`{name}` {value!r} is unknown{nearest(value, choices)}: use {', '.join(choices)}")
            else:
                _require(is_a(value, kind), f"`{name}` is {value!r}, need {needed(kind)}")
        for name in ("steps", "size", "history", "second_every"):
            _require(getattr(self, name) >= 1, f"`{name}` must be at least 1, got {getattr(self, name)}")
        _require(self.later_steps >= 0, f"`later_steps` must not be negative, got {self.later_steps}")
        _require(
            self.total_steps is None or self.total_steps >= 1, f"`steps` must be at least 1, got {self.total_steps}"
        )
        _require(self.start is None or self.start >= 1, f"`start` must be at least 1 px, got {self.start}")
        for name in ("content_weight", "style_weight", "tv_weight", "range_weight"):
            value = getattr(self, name)
            _require(0 <= value <= LARGEST_WEIGHT, f"`{name}` must be from 0 to {LARGEST_WEIGHT:g}, got {value}")
        _require(
            self.content_weight + self.style_weight > 0, "`content_weight` and `style_weight` are both 0: nothing to do"
        )
        for name in ("lr", "lr_end", "eps", "style_scale", "levels", "content_factor", "style_factor"):
            value = getattr(self, name)
            _require(0 < value < float("inf"), f"`{name}` must be a number above 0, got {value}")
        self._check_second()
        for layer, weight in [*self.content_layers.items(), *self.style_layers.items()]:
            _require(0 <= weight < float("inf"), f"the weight of {layer} must be a number from 0 up, got {weight}")
        _require(0 <= self.falling < float("inf"), f"`falling` must be a number from 0 up, got {self.falling}")
        _require(self.factor > 1, f"`factor` must be above 1, got {self.factor}")
        _require(0 <= self.repaint <= 1, f"`repaint` must be from 0 to 1, got {self.repaint}")
        for value in (self.averaging, *self.betas):
            _require(0 <= value < 1, f"`averaging` and `betas` must be from 0 up and below 1, got {value}")
        _require(0 <= self.seed < 2**63, f"`seed` must be from 0 up and below 2**63, got {self.seed}")
        _require(bool(self.content_layers) or self.content_weight == 0, "a content weight needs a content layer")
        _require(bool(self.style_layers) or self.style_weight == 0, "a style weight needs a style layer")
        _require(
            self.parameterisation != "pyramid" or self.start is None or self.factor == 2,
            f"a pyramid's scales double, so `factor` must be 2 with it, got {self.factor}",
        )
        _require(
            self.parameterisation != "fourier" or self.start is None,
            "frequencies are painted at one size: leave `start` out or choose another `parameterisation`",
        )
        _require(
            self.parameterisation == "pixels" or not self.clamp,
            f"only pixels can be clamped, not a {self.parameterisation}: set `clamp` to False",
        )

    def _check_second(self) -> None:
        if self.second_backbone is None:
            return
        _require(
            self.second_backbone in BACKBONES,
            f"`second_backbone` {self.second_backbone!r} is unknown{nearest(self.second_backbone, BACKBONES)}: "
            f"use {', '.join(BACKBONES)}",
        )
        _require(
            self.sees_alike,
            "two networks see alike only by relative errors and Gram matrices, and only adam can take turns: leave out "
            "`second_backbone`, or choose `optimizer` adam, `style_loss` gram, and relative reductions",
        )

    @property
    def sees_alike(self) -> bool:
        """Whether losses of two networks can be compared, and an optimiser bear that they change from step to step."""
        relative = self.content_reduction == self.style_reduction == "relative"
        return relative and self.style_loss == "gram" and self.optimizer == "adam"


@cache
def _kinds() -> Mapping[str, Any]:
    """The kind of each setting."""
    return get_type_hints(OptimizeSettings)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise OptionError(message)


_PAPER_STYLE = "conv1_1 conv2_1 conv3_1 conv4_1 conv5_1"
_RELU_STYLE = "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1"
_CODE_WEIGHTS = {"relu1_1": 64, "relu2_1": 128, "relu3_1": 256, "relu4_1": 512, "relu5_1": 512}
_CROWSON_WEIGHTS = (256, 64, 16, 4, 1)
LARGEST_WEIGHT = 1e15  # of a loss: above 1e19 the squares that Adam keeps are infinite, and nothing moves
# Content is judged at two depths, and Adam forgets quickly: with so few steps a long memory overshoots, which
# costs content and brings no style (benchmarks/convergence.py has both beside each other).
_ALONE: dict[str, Any] = {
    "content_layers": _layers("relu3_3 relu4_2", 0.5),
    "betas": (0.5, 0.9),
}
# They begin with what the network of any style paints: few steps then reach further, in the eyes of other networks too.
# Style at relu5_1 as well costs half again as much content and brings none to other eyes. Large pictures get their form
# at small sizes, and few steps at their own.
_OF_ONE_EYE: dict[str, Any] = _ALONE | {
    "init": "draft",
    "style_layers": _layers("relu1_1 relu2_1 relu3_1 relu4_1", 0.25),
    "falling": 1.3,
}
# What pleases one network alone pleases no other, and has colours that no painting has: two see in turns.
_OURS: dict[str, Any] = _OF_ONE_EYE | {"second_backbone": "compact-vgg19"}
_CLASSIC: dict[str, Any] = {
    "parameterisation": "pixels",
    "content_reduction": "mean",
    "style_reduction": "mean",
    "range_weight": 0.0,
    "lr_end": 1.0,
    "tv_mean": False,
}
_CROWSON: dict[str, Any] = {
    **{key: value for key, value in _CLASSIC.items() if key not in ("range_weight", "lr_end")},
    "tv_mean": True,
    "style_loss": "wasserstein",
    "style_layers": MappingProxyType(
        {n: w / sum(_CROWSON_WEIGHTS) for n, w in zip(_RELU_STYLE.split(), _CROWSON_WEIGHTS, strict=True)}
    ),
    "content_weight": 0.015,
    "style_weight": 1.0,
    "tv_weight": 2.0,
    "tv_kind": "nine-point",
}

PRESETS: Mapping[str, OptimizeSettings] = MappingProxyType(
    {
        # Ours: relative losses, a pyramid, coarse strokes first.
        "quick": OptimizeSettings(**_OURS, start=256, steps=4, later_steps=4, style_weight=20.0, lr=0.012, lr_end=0.15),
        "good": OptimizeSettings(**_OURS, start=256, steps=8, later_steps=9, style_weight=20.0, lr=0.012),
        # Large forms come of small sizes and of the photo alone: a draft has its strokes there already. Then a network
        # lays crisp strokes over them, which other networks see too, and few steps are left to be made.
        "balanced": OptimizeSettings(
            **_OURS | {"init": "content"}, start=128, steps=40, later_steps=12, repaint=0.6, style_weight=28.0, lr=0.012
        ),
        # What `multiscale` below looks for, on a pyramid and with the rate falling: as good in a twelfth of the time.
        "best": OptimizeSettings(
            **_CROWSON | {"parameterisation": "pyramid"},
            range_weight=5.0,
            lr=0.025,
            lr_end=0.1,
            averaging=0.9,
            start=128,
            steps=150,
            later_steps=50,
            falling=0.25,
        ),
        # Gatys, Ecker & Bethge 2016 (CVPR), sections 2 and 3, with the larger of the ratios that they publish, 1e-3 and
        # 1e-4; the number of steps is our choice. They say that their network was rescaled to a mean activation of 1
        # (`activations="unit"`); but their content loss is a sum and their style loss a mean, and with such activations
        # the photo stays as it is. Counted with Caffe's own activations, their ratios paint.
        "gatys-paper": OptimizeSettings(
            **_CLASSIC | {"content_reduction": "sum"},
            backbone="vgg19",
            pool="average",
            activations="caffe",
            content_layers=_layers("conv4_2"),
            style_layers=_layers(_PAPER_STYLE, 0.2),
            content_factor=0.5,
            style_factor=0.25,
            content_weight=1e-3,
            style_weight=1.0,
            init="noise",
            optimizer="lbfgs",
            lr=1.0,
            steps=500,
            size=500,
        ),
        # Their PyTorch program (PytorchNeuralStyleTransfer): 512 px, then 1024 px from what was painted.
        "gatys-code": OptimizeSettings(
            **_CLASSIC,
            backbone="vgg19-caffe",
            activations="caffe",
            style_layers=MappingProxyType({name: 1.0 / c**2 for name, c in _CODE_WEIGHTS.items()}),
            content_weight=1.0,
            style_weight=1e3,
            levels=255.0,
            optimizer="lbfgs",
            lr=1.0,
            size=1024,
            start=512,
            steps=500,
            later_steps=200,
        ),
        # Justin Johnson's neural-style, in its PyTorch edition (L1 total variation).
        "neural-style": OptimizeSettings(
            **_CLASSIC,
            backbone="vgg19-caffe",
            activations="caffe",
            style_layers=_layers(_RELU_STYLE),
            style_divisor="all",
            content_weight=5.0,
            style_weight=100.0,
            tv_weight=1e-3,
            tv_kind="l1",
            levels=255.0,
            init="faint-noise",
            optimizer="lbfgs",
            lr=1.0,
            steps=1000,
        ),
        # The programming exercise of the Coursera course "Convolutional Neural Networks"; its `convX_Y` are
        # outputs of the rectified layer.
        "coursera": OptimizeSettings(
            **_CLASSIC,
            backbone="vgg19-caffe",
            pool="average",
            activations="caffe",
            style_layers=_layers(_RELU_STYLE, 0.2),
            content_factor=0.25,
            style_factor=0.25,
            content_weight=10.0,
            style_weight=40.0,
            levels=255.0,
            init="coursera",
            lr=2.0,
            betas=(0.9, 0.999),
            steps=200,
            size=400,
        ),
        # TensorFlow's tutorial "Neural style transfer". Both weights are divided by the number of layers.
        "tf-tutorial": OptimizeSettings(
            **_CLASSIC,
            backbone="vgg19-caffe",
            activations="caffe",
            content_layers=_layers("relu5_2"),
            style_layers=_layers(_RELU_STYLE, 0.2),
            content_weight=1e4,
            style_weight=1e-2,
            tv_weight=30.0,
            tv_kind="l1",
            lr=0.02,
            betas=(0.99, 0.999),
            eps=0.1,
            clamp=True,
            steps=1000,
            size=400,
        ),
        # Katherine Crowson's style-transfer-pytorch.
        "multiscale": OptimizeSettings(
            **_CROWSON,
            range_weight=0.0,
            lr_end=1.0,
            backbone="vgg19",
            lr=0.02,
            clamp=True,
            averaging=0.99,
            start=128,
            factor=2**0.5,
            steps=1000,
            later_steps=500,
        ),
    }
)
EARLIER: Mapping[str, OptimizeSettings] = MappingProxyType(
    {
        "best-1": replace(PRESETS["multiscale"], backbone="compact"),
        "quick-1": OptimizeSettings(**_ALONE, start=256, steps=13, later_steps=8, style_weight=16.0, lr=0.019),
        "quick-2": OptimizeSettings(
            **_OF_ONE_EYE, start=256, steps=4, later_steps=4, style_weight=20.0, lr=0.016, lr_end=0.15
        ),
        "good-2": OptimizeSettings(**_OF_ONE_EYE, start=256, steps=8, later_steps=9, style_weight=24.0, lr=0.016),
        "balanced-2": OptimizeSettings(
            **_OF_ONE_EYE | {"init": "content"},
            start=128,
            steps=40,
            later_steps=12,
            repaint=0.6,
            style_weight=34.0,
            lr=0.015,
        ),
        "good-1": OptimizeSettings(
            **_ALONE, init="draft", start=256, steps=8, later_steps=10, style_weight=10.0, lr=0.012
        ),
        "balanced-1": OptimizeSettings(
            **_ALONE | {"betas": (0.6, 0.95)},
            start=128,
            steps=60,
            later_steps=40,
            style_weight=40.0,
            lr=0.015,
            lr_end=0.1,
        ),
    }
)
"""Ours as they were: what recipes of that time mean."""
_LASTED: Mapping[str, int] = MappingProxyType(
    {"quick-1": 1, "good-1": 1, "balanced-1": 2, "best-1": 2, "quick-2": 3, "good-2": 3, "balanced-2": 3}
)
"""Until which of `recipe.PRESETS`, of each preset the oldest first."""

DEFAULT_PRESET = "balanced"


def earlier(name: str, presets: int) -> str:
    """What is called now what a preset's name stood for when recipes said this number of `recipe.PRESETS`."""
    ours = (old for old, last in _LASTED.items() if old.rpartition("-")[0] == name and presets <= last)
    return next(ours, name)


def preset(name: str = DEFAULT_PRESET, **changes: Any) -> OptimizeSettings:
    """The settings called `name`, with `changes` where they are not None.

    Another optimiser or parameterisation brings along what it cannot do without, unless that is changed as well.
    OptionError for an unknown preset or setting, or for a value that makes no sense.
    """
    base = PRESETS.get(name) or EARLIER.get(name)
    if base is None:
        raise OptionError(f"preset {name!r} is unknown{nearest(name, PRESETS)}: use {', '.join(PRESETS)}", "preset")
    known = {f.name for f in fields(OptimizeSettings)}
    if unknown := sorted(set(changes) - known):
        raise OptionError(
            f"setting {unknown[0]!r} is unknown{nearest(unknown[0], known)}: use {', '.join(sorted(known))}"
        )
    given = {key: value for key, value in changes.items() if value is not None}
    changes = _what_fits(base, given) | given
    settings = _sees_with(base, changes)
    if settings.second_backbone is None and "second_every" in given:
        raise OptionError(
            "`second_every` is for two networks that see in turns, and here one sees: leave it out, or name a "
            "`second_backbone`"
        )
    return settings


def _sees_with(base: OptimizeSettings, changes: Mapping[str, Any]) -> OptimizeSettings:
    """A preset with changes, without its second network where they are not for two and name none."""
    if base.second_backbone is None or "second_backbone" in changes:
        return replace(base, **changes)
    alone = replace(base, **{**changes, "second_backbone": None})
    sees = BACKBONES[base.second_backbone].sees([*alone.content_layers, *alone.style_layers])
    return replace(base, **changes) if sees and alone.sees_alike and "backbone" not in changes else alone


def _what_fits(base: OptimizeSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that the preset chose for its own optimiser and parameterisation and that fit no other."""
    fits: dict[str, Any] = {}
    moved, optimizer = (given.get(name, getattr(base, name)) for name in ("parameterisation", "optimizer"))
    if moved != base.parameterisation and moved != "pixels":
        fits |= {"clamp": False} | ({"factor": 2.0} if moved == "pyramid" else {"start": None})
    if optimizer != base.optimizer:
        # 10 grey levels is the rate of neural-style's own option for Adam.
        fits |= {"lr": 10 * base.levels / 255}
        if optimizer == "lbfgs":  # what it gains outside of [0, 1] is lost when the picture is written
            fits |= {"lr": 1.0, "lr_end": 1.0, "sees_clamped": base.range_weight == 0}
    return fits
