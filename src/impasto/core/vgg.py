"""VGG networks (Simonyan & Zisserman 2015, arXiv:1409.1556) as a source of named features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.core import frozen
from impasto.core.backbones import place_of
from impasto.errors import ImageError, LayerError, nearest
from impasto.types import Pool

__all__ = ["NORMALISATIONS", "TOPOLOGIES", "VGG", "Layer", "Normalisation", "Padding", "Pool", "Topology"]

Padding = Literal["zeros", "replicate"]

# Activations shrink when a maximum becomes a mean; these factors undo it.
POOL_SCALES: dict[Pool, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}


@dataclass(frozen=True)
class Normalisation:
    """What a network expects as input: ``(scale * rgb - mean) / std``, channels reversed where `bgr`."""

    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in RGB order, whatever `bgr` says
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> the same shape as the network wants it."""
        if self == Normalisation():
            return image
        mean = image.new_tensor(self.mean).view(1, 3, 1, 1)
        std = image.new_tensor(self.std).view(1, 3, 1, 1)
        x = (image * self.scale - mean) / std
        return x.flip(1) if self.bgr else x


NORMALISATIONS: dict[str, Normalisation] = {
    "torchvision": Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "caffe": Normalisation(scale=255.0, mean=(123.68, 116.779, 103.939), bgr=True),
    "none": Normalisation(),
}


@dataclass(frozen=True)
class Topology:
    """How many convolutions each of the five blocks has; widths are 64-128-256-512-512."""

    name: str
    convs_per_block: tuple[int, ...]

    @property
    def layers(self) -> tuple[tuple[str, int, int], ...]:
        """(name, channels in, channels out) of every convolution, in order; names are ``conv4_2``."""
        rows, before = [], 3
        for block, (count, width) in enumerate(zip(self.convs_per_block, WIDTHS, strict=True), start=1):
            for i in range(1, count + 1):
                rows.append((f"conv{block}_{i}", before, width))
                before = width
        return tuple(rows)


WIDTHS = (64, 128, 256, 512, 512)
TOPOLOGIES: dict[str, Topology] = {
    "vgg16": Topology("vgg16", (2, 2, 3, 3, 3)),
    "vgg19": Topology("vgg19", (2, 2, 4, 4, 4)),
}


class FactoredConv2d(nn.Module):
    """A 3x3 convolution to `rank` channels and a 1x1 back (Zhang et al. 2015, arXiv:1505.06798, section 3)."""

    def __init__(self, channels_in: int, channels_out: int, rank: int, padding: int = 1) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels_in, rank, 3, padding=padding)
        self.expand = nn.Conv2d(rank, channels_out, 1)


class VGG(nn.Module):
    """Features of a picture at named layers.

    `last` is the deepest convolution there is (``conv5_1``); `ranks` maps a convolution's name to the rank of
    its factored form (`compact`). ``reluX_Y`` is taken after the ReLU, ``convX_Y`` before it. `rescale_pool`
    multiplies every pooled activation by POOL_SCALES. The module computes in the precision and layout of its weights.
    """

    def __init__(
        self,
        topology: str = "vgg16",
        normalisation: Normalisation = NORMALISATIONS["torchvision"],
        *,
        pool: Pool = "max",
        padding: Padding = "zeros",
        rescale_pool: bool = False,
        last: str | None = None,
        ranks: dict[str, int] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name or topology
        self.topology, self.normalisation = TOPOLOGIES[topology], normalisation
        self.pool, self.padding = pool, padding
        self.pool_scale = POOL_SCALES[pool] if rescale_pool else 1.0
        rows = self.topology.layers
        if last is not None:
            rows = rows[: [row[0] for row in rows].index(last) + 1]
        self.convolutions = tuple(row[0] for row in rows)
        for layer, channels_in, channels_out in rows:
            # The first padding is applied by hand where it replicates; the state dict is the same.
            inner = 0 if layer == "conv1_1" and padding == "replicate" else 1
            rank = (ranks or {}).get(layer)
            conv = (
                FactoredConv2d(channels_in, channels_out, rank, inner)
                if rank
                else nn.Conv2d(channels_in, channels_out, 3, padding=inner)
            )
            self.add_module(layer, conv)

    @property
    def taps(self) -> tuple[str, ...]:
        """Every layer name this network answers to, from the picture inwards."""
        return tuple(tap for conv in self.convolutions for tap in (conv, conv.replace("conv", "relu")))

    @property
    def dtype(self) -> torch.dtype:
        """The precision it computes in."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def width(self, tap: str) -> int:
        """The channels of a tap."""
        (tap,) = self.check([tap])
        return {name: after for name, _, after in self.topology.layers}[tap.replace("relu", "conv")]

    def check(self, taps: Iterable[str]) -> tuple[str, ...]:
        """The taps as asked for; LayerError, listing what there is, for one this network lacks."""
        wanted = tuple(dict.fromkeys(taps))
        for tap in wanted:
            if tap not in self.taps:
                raise LayerError(
                    f"{self.name} has no layer {tap!r}{self._where_it_is(tap)}; its layers are {', '.join(self.taps)}"
                )
        return wanted

    def _where_it_is(self, tap: str) -> str:
        kernel = tap.replace("relu", "conv")
        having = [name for name, one in TOPOLOGIES.items() if any(row[0] == kernel for row in one.layers)]
        elsewhere = having and self.topology.name not in having
        return f", which only {' and '.join(having)} has" if elsewhere else nearest(tap, self.taps)

    def forward(self, image: Tensor, taps: Iterable[str]) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0, 1] -> name -> (B, C, h, w) in the weights' precision, channels-last.

        Nothing deeper than the deepest tap is computed. LayerError for an unknown tap, ImageError for a picture
        that the pools before the deepest tap would leave nothing of.
        """
        return dict(self.each(image, taps))

    def each(self, image: Tensor, taps: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """What `forward` gives, name and features, from the picture inwards, before anything deeper is computed.

        A loss that is taken of them at once is also the last that autograd goes back through: its gradient, as
        large as the features, is not made before that of everything deeper is used up.
        """
        wanted = self.check(taps)
        self._check_size(image, wanted)
        x = self.normalisation(image).to(self.dtype).contiguous(memory_format=torch.channels_last)
        for group in self._plan(wanted):
            kernels = tuple(self.kernels(group.conv))
            if group.conv == "conv1_1" and self.padding == "replicate":
                x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            step = frozen.Step(kernels, group.relu, group.max_pool, keep_output=group.tap in wanted)
            x = frozen.run(x, step)
            if group.tap in wanted:
                yield group.tap, x
            if group.pool_then_rectify:
                x = frozen.run(x, frozen.Step((), relu=True, pool=True, keep_output=False))
            if group.rectify_after:  # a tap before the ReLU must stay as it is
                x = frozen.rectified(x)
                if (tap := group.tap.replace("conv", "relu")) in wanted:
                    yield tap, x
            if group.pool_after:
                x = self.pooled(x)

    def layers_to(self, tap: str) -> Iterator[Layer]:
        """What `forward` does on the way to one tap, in order, for whoever walks a picture by pieces."""
        for group in self._plan(self.check([tap])):
            relu = group.relu or group.rectify_after or group.pool_then_rectify
            pool = group.max_pool or group.pool_after or group.pool_then_rectify
            replicate = group.conv == "conv1_1" and self.padding == "replicate"
            yield Layer(group.conv, tuple(self.kernels(group.conv)), relu, pool, replicate)

    def _check_size(self, image: Tensor, wanted: tuple[str, ...]) -> None:
        height, width = image.shape[2:]
        deepest = max(wanted, key=self.taps.index, default=self.taps[0])
        least = 2 ** (place_of(deepest)[0] - 1)
        if min(height, width) < least:
            raise ImageError(f"a picture of {width}x{height} px is too small for {deepest}: need {least} px a side")

    def _plan(self, wanted: tuple[str, ...]) -> Iterator[_Group]:
        """The convolutions to compute for `wanted`, each with what can be fused into it."""
        last_index = max((self.taps.index(tap) // 2 for tap in wanted), default=-1)
        names = self.convolutions[: last_index + 1]
        for i, conv in enumerate(names):
            tapped_before_relu, relu = conv in wanted, conv.replace("conv", "relu")
            ends_block = i + 1 < len(names) and names[i + 1].endswith("_1")
            needs_relu = i < last_index or relu in wanted
            # What the max pool leaves out need not be rectified, nor remembered.
            pool_first = ends_block and self.pool == "max" and relu not in wanted
            yield _Group(
                conv,
                tap=conv if tapped_before_relu else relu,
                relu=not tapped_before_relu,
                max_pool=pool_first and not tapped_before_relu,
                pool_then_rectify=pool_first and tapped_before_relu,
                rectify_after=tapped_before_relu and needs_relu and not pool_first,
                pool_after=ends_block and not pool_first,
            )

    def kernels(self, conv: str) -> Iterator[frozen.Kernel]:
        """The convolutions of a layer, one or, where it is factored, two in a row."""
        module = self.get_submodule(conv)
        parts = [module.reduce, module.expand] if isinstance(module, FactoredConv2d) else [module]
        for part in parts:
            if not isinstance(part, nn.Conv2d) or part.bias is None:
                raise TypeError(f"{conv} is not a convolution with a bias")
            yield frozen.Kernel(part.weight, part.bias, int(part.padding[0]))

    def pooled(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h // 2, w // 2), by the network's kind of pool."""
        if self.pool == "max":
            pooled = frozen.run(x, frozen.Step((), relu=False, pool=True, keep_output=False))
        elif self.pool == "average":
            pooled = frozen.average_pool(x)
        else:
            # The root of the sum, not of the mean, is what 0.78 corrects. Its gradient is infinite at 0, where
            # every window of a dead channel is.
            pooled = F.avg_pool2d(x.float().square(), 2, divisor_override=1).add(1e-12).sqrt().to(x.dtype)
        return pooled * self.pool_scale if self.pool_scale != 1.0 else pooled


class Layer(NamedTuple):
    """Convolutions in a row, then maybe a ReLU, then maybe a pool.

    `replicate`: the first convolution wants its input continued by its outermost pixels, not by zeros.
    """

    name: str
    kernels: tuple[frozen.Kernel, ...]
    relu: bool
    pool: bool
    replicate: bool


@dataclass(frozen=True)
class _Group:
    conv: str
    tap: str
    relu: bool
    max_pool: bool
    pool_then_rectify: bool
    rectify_after: bool
    pool_after: bool
