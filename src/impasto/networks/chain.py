"""A network that its config spells out, stage by stage: what the networks in other people's files become.

Johnson's idea has been built with zeros, reflection or nothing at borders, with transposed convolutions, with other
channel orders and ranges. All of these are chains of stages, so they are run, tiled and exported as ours are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.errors import OptionError
from impasto.networks.bound import BoundStaged, WeightedStyles, names_alone
from impasto.networks.layers import ReflectConv, working_dtype
from impasto.networks.norms import EPS, InstanceNorm, RunningMoments, instance_norm, normalise
from impasto.networks.staged import Stage, StagedNetwork, check_size

__all__ = ["Chain", "ChainConfig", "ChainConv", "ChainNorm", "ChainOutput", "Mode", "StageConfig", "median_of_nine"]

Mode = Literal["reflect", "replicate", "zeros"]
ChainOutput = Literal["linear", "tanh", "sigmoid"]
LARGEST_SIDE = 4096  # px, up to which a smallest picture is looked for


@dataclass(frozen=True)
class StageConfig:
    """One stage; `Stage` says what `upsample`, `spread`, `extend`, `relu`, `opens` and so on mean.

    Attributes:
        channels_in, channels: of the convolution.
        kernel, stride: of the convolution.
        padding: by how much its input is continued on each side before and after, or ``same``: as TensorFlow does,
            so that the result is as large as the input divided by the stride, rounded up.
        mode: what the input is continued with.
        bias: whether the convolution has one.
        eps: under the root of the instance normalisation; None is none.
    """

    channels_in: int
    channels: int
    kernel: int
    stride: int = 1
    padding: tuple[int, int] | Literal["same"] = (0, 0)
    mode: Mode = "zeros"
    bias: bool = True
    eps: float | None = None
    relu: bool = False
    relu_first: bool = False
    upsample: int = 1
    spread: int = 1
    extend: int = 0
    opens: bool = False
    closes: bool = False
    crop: int = 0
    relu_sum: bool = False

    def __post_init__(self) -> None:
        for name, largest in {"channels_in": 8192, "channels": 8192, "kernel": 64, "stride": 16}.items():
            check_size(name, getattr(self, name), largest)
        check_size("upsample", self.upsample, 16)
        check_size("spread", self.spread, 16)
        for name in ("extend", "crop"):
            _check_border(name, getattr(self, name))
        if self.padding != "same":
            pads = self.padding
            if not isinstance(pads, Sequence) or isinstance(pads, str) or len(pads) != 2:
                raise OptionError(f"padding is two whole numbers or 'same', got {pads!r}")
            for pad in pads:
                _check_border("padding", pad)
            object.__setattr__(self, "padding", tuple(pads))
        if self.spread > 1 and (
            self.stride > 1 or self.mode != "zeros" or self.padding == "same" or self.padding[0] >= self.kernel
        ):
            raise OptionError("a transposed convolution has zeros around it, fewer than its kernel, and no stride more")
        if self.mode not in get_args(Mode):
            raise OptionError(f"mode is one of {', '.join(get_args(Mode))}, got {self.mode!r}")
        if self.eps is not None and not 0 < _number("eps", self.eps) <= 1:
            raise OptionError(f"eps is a number above 0 and up to 1, got {self.eps!r}")


@dataclass(frozen=True)
class ChainConfig:
    """The whole network.

    Attributes:
        stages: in order; each is a `StageConfig` or its fields.
        scale, shift: of each channel, in the network's order: a picture in [0, 1] goes in as ``x * scale + shift``.
        bgr: whether the network's channels are blue, green, red, going in and coming out.
        output: what becomes of the last stage's values before they become colours.
        gain, offset: of that, in [0, 1]: ``output(y) * gain + offset``, then clamped.
        median: whether each value of the painting becomes the median of the 3x3 around it, as a program of others does
            with what its network gives.
    """

    stages: tuple[StageConfig, ...]
    scale: tuple[float, float, float] = (255.0, 255.0, 255.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bgr: bool = False
    output: ChainOutput = "linear"
    gain: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    median: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.median, bool):
            raise OptionError(f"median is true or false, got {self.median!r}")
        if not isinstance(self.stages, Sequence) or not 1 <= len(self.stages) <= 512:
            raise OptionError("a chain has from 1 to 512 stages")
        object.__setattr__(self, "stages", tuple(_stage(row) for row in self.stages))
        for name in ("scale", "shift", "gain", "offset"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 3:
                raise OptionError(f"{name} is three numbers, got {values!r}")
            object.__setattr__(self, name, tuple(_number(name, value) for value in values))
        if self.output not in get_args(ChainOutput):
            raise OptionError(f"output is one of {', '.join(get_args(ChainOutput))}, got {self.output!r}")
        _check_joints(self.stages)


def _stage(row: StageConfig | Mapping[str, Any]) -> StageConfig:
    if isinstance(row, StageConfig):
        return row
    known = {field.name for field in fields(StageConfig)}
    if not isinstance(row, Mapping) or not row.keys() <= known:
        raise OptionError(f"a stage has no settings but {', '.join(sorted(known))}, got {row!r}")
    try:
        return StageConfig(**row)
    except TypeError as error:
        raise OptionError(f"a stage needs more settings: {error}") from error


def _check_joints(stages: Sequence[StageConfig]) -> None:
    """OptionError unless channels fit from stage to stage, 3 to 3, and what opens closes."""
    channels, kept = 3, 0
    for number, stage in enumerate(stages, 1):
        if stage.channels_in != channels:
            raise OptionError(f"stage {number} takes {stage.channels_in} channels and is given {channels}")
        if stage.opens:
            kept = channels if number > 1 else 0
        channels = stage.channels
        if stage.closes:
            if kept != channels:
                raise OptionError(f"stage {number} adds {kept} channels to {channels}")
            kept = 0
    if channels != 3 or kept:
        raise OptionError(f"the last stage gives {channels} channels, need 3, and every sum closed")


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise OptionError(f"{name}: {value!r} is no number")
    return float(value)


def _check_border(name: str, value: object) -> None:
    if value != 0 or isinstance(value, bool):
        check_size(name, value, 256)


class ChainConv(ReflectConv):
    """A convolution whose input is continued as its stage's config says."""

    plain: ClassVar[bool] = False

    def __init__(self, stage: StageConfig) -> None:
        super().__init__(stage.channels_in, stage.channels, stage.kernel, stride=stage.stride, bias=stage.bias)
        self.padding, self.mode = stage.padding, stage.mode
        self.halo = stage.kernel // 2 if stage.padding == "same" else max(stage.padding)

    def pads(self, side: int) -> tuple[int, int]:
        """See `ReflectConv`."""
        if self.padding != "same":
            return self.padding
        kernel, stride = self.conv2d.kernel_size[0], self.conv2d.stride[0]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2

    def pad_columns(self, x: Tensor) -> Tensor:
        """X continued to the left and right alone."""
        return _pad(x, (*self.pads(x.shape[3]), 0, 0), self.mode)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, h, w) -> (B, O, h', w')."""
        x = x.to(working_dtype(self.conv2d.weight))
        out: Tensor = self.conv2d(_pad(x, (*self.pads(x.shape[3]), *self.pads(x.shape[2])), self.mode))
        return out

    def upsampled(self, x: Tensor, factor: int) -> Tensor:
        """See `ReflectConv`."""
        out: Tensor = self(F.interpolate(x, scale_factor=factor, mode="nearest"))
        return out


def _pad(x: Tensor, pads: tuple[int, ...], mode: Mode) -> Tensor:
    if not any(pads):
        return x
    return F.pad(x, pads, mode="constant" if mode == "zeros" else mode)


class ChainNorm(InstanceNorm):
    """Instance normalisation with another ε: ours adds its own, so the difference is added to the variance."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels)
        self.eps = eps

    def statistics(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """See `InstanceNorm`."""
        mean, variance = super().statistics(mean, variance)
        return mean, variance + (self.eps - EPS)

    def forward(self, x: Tensor, mix: Tensor | None = None, *, overwrite: bool = False) -> Tensor:
        """(B, C, h, w) -> the same shape, normalised."""
        if self.eps == EPS:
            return instance_norm(x, *self.affine(mix), overwrite=overwrite)
        if torch.is_grad_enabled():
            return F.instance_norm(x.float(), weight=self.weight, bias=self.bias, eps=self.eps).to(x)
        gamma, beta = (value[0].float() for value in self.affine(mix))
        outs = []
        for i in range(len(x)):
            one, whole = x[i : i + 1], RunningMoments()
            whole.add_last(one)
            outs.append(normalise(one, *self.statistics(*whole.result()), gamma, beta, overwrite=overwrite))
        return outs[0] if len(outs) == 1 else torch.cat(outs)


class _Link(nn.Module):
    """The weights of one stage."""

    def __init__(self, stage: StageConfig) -> None:
        super().__init__()
        self.conv = ChainConv(stage)
        self.norm = None if stage.eps is None else ChainNorm(stage.channels, stage.eps)


class Chain(StagedNetwork):
    """One style in one network of any stages; weights are those of the file that it was read from."""

    METHOD: ClassVar[str] = "chain"
    FLAT_STAYS_FLAT: ClassVar[bool] = False  # zeros at the border are seen far inside
    FLOAT32_ALONE: bool = True  # values up to 255 and frames of zeros leave bfloat16 too few digits

    def __init__(self, config: ChainConfig) -> None:
        super().__init__()
        self.config = config
        for number, stage in enumerate(config.stages, 1):
            self.add_module(f"stage{number}", _Link(stage))
        self.STRIDE, self.SMALLEST = _smallest(self.stages())

    def stages(self) -> tuple[Stage, ...]:
        """All stages in order."""
        links = [module for module in self.children() if isinstance(module, _Link)]
        return tuple(
            Stage(
                link.conv,
                link.norm,
                relu=row.relu,
                upsample=row.upsample,
                opens=row.opens,
                closes=row.closes,
                extend=row.extend,
                spread=row.spread,
                relu_first=row.relu_first,
                crop=row.crop,
                relu_sum=row.relu_sum,
            )
            for link, row in zip(links, self.config.stages, strict=True)
        )

    def bind(self, styles: WeightedStyles = ()) -> BoundStaged:
        """Ready to paint; there is no style to choose. OptionError where one is given."""
        if names_alone(styles, ()):
            raise OptionError("this network has a single style: leave its name out", "style")
        return BoundStaged(self)

    def centre(self, image: Tensor, mean: Tensor | None = None) -> Tensor:
        """The picture as the network was trained to see it."""
        weight = self.stages()[0].conv.conv2d.weight
        x = image.flip(1) if self.config.bgr else image
        return (x * _row(self.config.scale, x) + _row(self.config.shift, x)).to(working_dtype(weight))

    def to_picture(self, features: Tensor, image: Tensor, mix: Tensor | None = None) -> Tensor:
        """Colours, clamped in eval mode."""
        x = features.float()
        x = torch.tanh(x) if self.config.output == "tanh" else x.sigmoid() if self.config.output == "sigmoid" else x
        x = x * _row(self.config.gain, x) + _row(self.config.offset, x)
        x = x.flip(1) if self.config.bgr else x
        return x if self.training else x.clamp(0, 1)

    @property
    def smooths(self) -> bool:
        """As configured."""
        return self.config.median

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1], any size -> the same, painted; cut off where the network gives more."""
        painted = self.paint(image)
        return median_of_nine(F.pad(painted, (1, 1, 1, 1), mode="replicate")) if self.smooths else painted


def median_of_nine(x: Tensor) -> Tensor:
    """(B, C, h + 2, w + 2) -> (B, C, h, w), each value the median of the 3x3 around it."""
    h, w = x.shape[2] - 2, x.shape[3] - 2
    around = [x[:, :, down : down + h, right : right + w] for down in range(3) for right in range(3)]
    return torch.stack(around).median(0).values


def _row(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(1, 3, 1, 1)


def _smallest(stages: Sequence[Stage]) -> tuple[int, int]:
    """Of what a side must be a multiple, 1 if possible, and how large it must be, for as large a picture to come out.

    OptionError where there is no such size.
    """
    for stride in (1, 2, 4, 8, 16):
        good = 0
        for side in range(stride, LARGEST_SIDE, stride):
            good = good + 1 if _fits(stages, side) else 0
            if good == 17:  # all remainders that strides can leave
                return stride, max(8, side - 16 * stride)
    raise OptionError("no picture comes out as large as it goes in")


def _fits(stages: Sequence[Stage], side: int) -> bool:
    size, kept = side, 0
    for stage in stages:
        kept = size if stage.opens else kept
        inner = (size + 2 * stage.extend) * stage.upsample * stage.spread
        reflected = stage.conv.halo if getattr(stage.conv, "mode", "reflect") == "reflect" else 0
        if size <= stage.extend or inner <= reflected:
            return False
        size = stage.side(size)
        if size < 1 or (stage.closes and size != kept - 2 * stage.crop):
            return False
    return size >= side
