"""The objective of an optimisation, worked through block by block: the same loss, the same gradient, less memory.

What style and content are compared by are sums over positions. So every block is looked at once to gather the
sums; then the loss and its derivative by the sums are known; then every block's own gradient follows from those
(Galerne, Raad, Lezama & Morel 2023, "Scaling Painting Style Transfer", arXiv:2212.13459). Blocks lie on the grid
of the pools and are seen with a margin as wide as the network looks, so that nothing depends on where they end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.core import winograd
from impasto.core.backbones import place_of
from impasto.core.losses import ContentLoss, error_divisor
from impasto.core.memory import ceiling, shown_bytes
from impasto.core.precision import accumulator_dtype
from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.statistics import gram, shares_of, split_weights
from impasto.core.vgg import VGG, WIDTHS, Layer
from impasto.errors import OptionError
from impasto.optimize.objective import Objective
from impasto.optimize.presets import OptimizeSettings

__all__ = [
    "Block",
    "BlockObjective",
    "Layout",
    "block_bytes",
    "block_features",
    "layout_for",
    "margin_of",
    "split",
    "state_bytes",
    "step_cost",
    "transformed_bytes",
]

MOST = 24  # blocks per side


class Block(NamedTuple):
    """One block in px: what is its own, and what is looked at for that."""

    top: int
    bottom: int
    left: int
    right: int
    outer_top: int
    outer_bottom: int
    outer_left: int
    outer_right: int

    @property
    def pixels(self) -> int:
        """How many are looked at."""
        return (self.outer_bottom - self.outer_top) * (self.outer_right - self.outer_left)

    def cut(self, image: Tensor) -> Tensor:
        """What is looked at of a picture."""
        return image[:, :, self.outer_top : self.outer_bottom, self.outer_left : self.outer_right]


@dataclass(frozen=True)
class Layout:
    """How a picture is divided: blocks down and across, and how many keep what they remember between both looks."""

    down: int
    across: int
    retained: int
    bytes: int  # expected to be alive at most
    effort: float  # of a step, relative to looking at the whole at once

    def __str__(self) -> str:
        return (
            f"{self.down}x{self.across} blocks, about {shown_bytes(self.bytes)} of memory beside the picture, "
            f"{self.effort:.2f} times the work"
        )


def margin_of(backbone: VGG, taps: Iterable[str]) -> tuple[int, int]:
    """How many px around a block its features depend on, and the side of the pools' grid at the deepest tap."""
    reach, step, grid = 0, 1, 1
    for layer in _layers(backbone, taps):
        reach += sum(step * (kernel.weight.shape[-1] // 2) for kernel in layer.kernels)
        grid = max(grid, step)
        step *= 2 if layer.pool else 1
    return -(-reach // grid) * grid, grid


def split(size: tuple[int, int], down: int, across: int, margin: int, grid: int) -> list[Block]:
    """Blocks that cover a picture of this height and width, each beginning on the grid."""
    rows, columns = (_cuts(side, parts, grid) for side, parts in zip(size, (down, across), strict=True))
    return [
        Block(
            *(top, bottom, left, right),
            *(max(0, top - margin), min(size[0], bottom + margin)),
            *(max(0, left - margin), min(size[1], right + margin)),
        )
        for top, bottom in rows
        for left, right in columns
    ]


def _cuts(side: int, parts: int, grid: int) -> list[tuple[int, int]]:
    cells = max(1, side // grid)
    edges = sorted({round(cells * i / min(parts, cells)) * grid for i in range(min(parts, cells))})
    return list(zip(edges, [*edges[1:], side], strict=True))


def block_features(backbone: VGG, image: Tensor, block: Block, taps: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    """The features of a block alone, from `image` as `Block.cut` cuts it: name and (1, C, h, w), as `VGG.each`."""
    return ((tap, _own(f, tap, block)) for tap, f in backbone.each(image, taps))


def _step(tap: str) -> int:
    """Pixels of the picture to a position of the layer."""
    step: int = 2 ** (place_of(tap)[0] - 1)
    return step


def _own(features: Tensor, tap: str, block: Block) -> Tensor:
    step = _step(tap)
    top, left = (block.top - block.outer_top) // step, (block.left - block.outer_left) // step
    # The last block of a side has whatever the pools have left of it, and no margin there.
    bottom = features.shape[2] if block.bottom == block.outer_bottom else top + (block.bottom - block.top) // step
    right = features.shape[3] if block.right == block.outer_right else left + (block.right - block.left) // step
    return features[:, :, top:bottom, left:right]


class BlockObjective(Objective):
    """`Objective`, block by block. Its value and gradient are the same but for the order of summing."""

    def __init__(
        self,
        backbone: VGG,
        photo: Tensor,
        styles: Sequence[tuple[Tensor, float]],
        settings: OptimizeSettings,
        multipliers: dict[str, tuple[float, float]] | None = None,
        *,
        layout: Layout,
        pool: Pool,
    ) -> None:
        # The base takes its targets as it is made, and by blocks; modules allow plain attributes before that.
        self.layout, self.pool = layout, pool
        self.margin, self.grid = margin_of(backbone, [*settings.content_layers, *settings.style_layers])
        self.size = (photo.shape[2], photo.shape[3])
        self.targets: list[dict[str, RowStore]] = []
        self.divisors: dict[str, Tensor] = {}
        super().__init__(backbone, photo, styles, settings, multipliers)

    def blocks(self, size: tuple[int, int]) -> list[Block]:
        """Those of a picture of any size, about as large as the layout's."""
        down, across = (
            math.ceil(mine * side / whole)
            for mine, side, whole in zip((self.layout.down, self.layout.across), size, self.size, strict=True)
        )
        return split(size, down, across, self.margin, self.grid)

    @torch.no_grad()
    def _content(self, photo: Tensor) -> dict[str, ContentLoss]:
        """Take the targets of every block; there is no loss that has the whole of one."""
        taps = tuple(self.settings.content_layers)
        norms, counts = (
            {tap: photo.new_zeros((), dtype=accumulator_dtype(photo.device)) for tap in taps},
            dict.fromkeys(taps, 0),
        )
        for block in self.blocks(self.size):
            stores = {}
            for tap, f in block_features(self.backbone, block.cut(photo), block, taps):
                stores[tap] = self.pool.take(MapShape(f.shape[1], f.shape[2], f.shape[3], f.dtype))
                stores[tap].write(0, f)
                norms[tap] += f.float().square().sum()
                counts[tap] += f.numel()
            self.targets.append(stores)
        reduction = self.settings.content_reduction
        self.divisors = {tap: error_divisor(norms[tap], counts[tap], reduction).float() for tap in taps}
        return {}

    def _statistics(self, picture: Tensor) -> dict[str, list[Tensor]]:
        size, taps = (picture.shape[2], picture.shape[3]), tuple(self.settings.style_layers)
        sums, (rgb, weights) = _Sums(), split_weights(picture)
        for block in self.blocks(size):
            for tap, f in block_features(self.backbone, block.cut(rgb), block, taps):
                step = _step(tap)
                shares = shares_of(weights, (size[0] // step, size[1] // step))
                if shares is not None:
                    top, left = block.top // step, block.left // step
                    shares = shares[:, :, top : top + f.shape[2], left : left + f.shape[3]]
                sums.add(tap, self._summed(f, shares), *_shape(f))
        return {tap: self._divided(parts, *sums.shape[tap]) for tap, parts in sums.parts.items()}

    def _summed(self, f: Tensor, shares: Tensor | None = None) -> list[Tensor]:
        """What style compares, before it is divided by the number of positions; differentiable."""
        if self.settings.style_loss == "gram":
            return [gram(f, "none", shares)]
        x = f if f.dtype == torch.float64 else f.float()
        return [(x if shares is None else x * shares).sum((2, 3)), gram(x, "none", shares)]

    def _divided(self, parts: Sequence[Tensor], channels: int, positions: int) -> list[Tensor]:
        s = self.settings
        by = {"none": 1, "positions": positions, "all": channels * positions}[s.style_divisor]
        return [part / (by if s.style_loss == "gram" else positions) for part in parts]

    def _seen(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wanted = torch.is_grad_enabled() and image.requires_grad
        total, content, style = _ByBlocks.apply(image, self, wanted)  # type: ignore[no-untyped-call]
        return total, content, style

    def evaluate(self, image: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weighted content and style of a picture, scalars, and the gradient of their sum, like the picture."""
        blocks = self.blocks(self.size)
        sums, kept = _Sums(), dict[int, _Seen]()
        errors = {tap: image.new_zeros((), dtype=accumulator_dtype(image.device)) for tap in self.divisors}
        for n, block in enumerate(blocks):
            retain = with_gradient and n < self.layout.retained
            with torch.set_grad_enabled(retain):
                seen = self._look(image, n, block, retain)
            for tap, parts in seen.parts.items():
                sums.add(tap, [part.detach() for part in parts], *seen.shapes[tap])
            for tap, error in seen.errors.items():
                errors[tap] += error.detach()
            if retain:
                kept[n] = seen
            del seen
        style, residuals = self._style_of(sums, image)
        factor = self.settings.content_weight * self.settings.content_factor
        shares = {tap: factor * self.content_share(tap) / self.divisors[tap] for tap in errors}
        content = sum((errors[tap].float() * shares[tap] for tap in errors), image.new_zeros(()))
        if not with_gradient:
            return content, style, None
        grad = torch.zeros_like(image)
        with torch.enable_grad():
            for n, block in enumerate(blocks):
                seen = kept.pop(n) if n in kept else self._look(image, n, block, True)
                _pull(seen, residuals, shares)
                block.cut(grad).add_(seen.piece.grad if seen.piece.grad is not None else 0)
                del seen
        return content, style, grad

    def _look(self, image: Tensor, n: int, block: Block, with_gradient: bool) -> _Seen:
        """What counts of a block, taken of its features as they come (see `VGG.each`)."""
        piece = block.cut(image.detach())
        seen = _Seen(piece.clone().requires_grad_() if with_gradient else piece, {}, {}, {})
        for tap, f in block_features(self.backbone, seen.piece, block, [*self.divisors, *self.style_losses]):
            if tap in self.style_losses:
                seen.parts[tap], seen.shapes[tap] = self._summed(f), _shape(f)
            if tap in self.divisors:
                seen.errors[tap] = self._error(n, tap, f)
        return seen

    def _error(self, n: int, tap: str, f: Tensor) -> Tensor:
        store = self.targets[n][tap]
        return (f.float() - store.read(0, store.shape.height).float()).square().sum()

    def _style_of(self, sums: _Sums, image: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """The weighted style loss, and its derivatives by the sums of every layer."""
        residuals = {}
        with torch.enable_grad():
            style = image.new_zeros(())
            for tap, loss in self.style_losses.items():
                leaves = [part.detach().requires_grad_() for part in sums.parts[tap]]
                parts = self._divided(leaves, *sums.shape[tap])
                value = loss.of(*parts) * (self.style_share(tap) * self.settings.style_weight)
                residuals[tap] = list(torch.autograd.grad(value, leaves))
                style = style + value.detach()
        return style, residuals


class _Seen(NamedTuple):
    """What a look at a block found, by layer: sums for style, over how many channels and positions, and errors."""

    piece: Tensor
    parts: dict[str, list[Tensor]]
    shapes: dict[str, tuple[int, int]]
    errors: dict[str, Tensor]


def _pull(seen: _Seen, residuals: dict[str, list[Tensor]], shares: dict[str, Tensor]) -> None:
    """Send the derivatives back to the block's pixels."""
    terms = [
        (part * residual).sum()
        for tap, known in residuals.items()
        for part, residual in zip(seen.parts[tap], known, strict=True)
    ]
    terms += [seen.errors[tap] * share for tap, share in shares.items()]
    if terms:
        torch.autograd.backward([torch.stack(terms).sum()])


def _shape(f: Tensor) -> tuple[int, int]:
    return f.shape[1], f.shape[2] * f.shape[3]


class _Sums:
    """Sums over blocks by layer, and what they are sums over: channels and positions."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Tensor]] = {}
        self.shape: dict[str, tuple[int, int]] = {}

    def add(self, tap: str, parts: list[Tensor], channels: int, new: int) -> None:
        """Count a block's sums, over so many positions, in."""
        before, (_, positions) = self.parts.get(tap), self.shape.get(tap, (0, 0))
        self.parts[tap] = parts if before is None else [a + b for a, b in zip(before, parts, strict=True)]
        self.shape[tap] = channels, positions + new


class _ByBlocks(torch.autograd.Function):
    """The gradient comes with the value, since it takes the same second look."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, objective: BlockObjective, wanted: bool) -> tuple[Tensor, Tensor, Tensor]:
        content, style, grad = objective.evaluate(image, wanted)
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(content, style)
        return content + style, content, style

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        (grad,) = ctx.saved_tensors
        return None if grad is None else grad * grads[0], None, None


def block_bytes(backbone: VGG, taps: Iterable[str], content: Iterable[str] = ()) -> tuple[float, float]:
    """Bytes per pixel looked at: what is remembered for the gradient, and what is alive only for a moment.

    Of `content`, layers among the taps, there are a target and a difference in float32 besides.
    """
    wanted, compared = set(backbone.check(taps)), set(content)
    item, remembered, share, largest = backbone.dtype.itemsize, 3 * 4.0, 1.0, 0.0
    for layer in _layers(backbone, wanted):
        channels = layer.kernels[-1].weight.shape[0]
        tapped = {layer.name, layer.name.replace("conv", "relu")} & wanted
        remembered += share * channels * (item * len(tapped) or 1) + 8 * share * channels * len(tapped & compared)
        largest = max(largest, share * channels)
        if layer.pool:
            share /= 4
            remembered += share * channels * (2 + item)  # winners; the pooled map is the next layer's input
    return remembered, 6 * largest * item


def transformed_bytes(backbone: VGG, taps: Iterable[str]) -> int:
    """What convolutions up to the deepest tap hold beside their weights once they were used."""
    kernels = [kernel for layer in _layers(backbone, taps) for kernel in layer.kernels]
    return sum(winograd.kernel_bytes(kernel.weight, kernel.padding) for kernel in kernels)


def step_cost(backbone: VGG, settings: OptimizeSettings) -> float:
    """Multiply-adds of a step, per pixel: features, and their gradient with respect to the picture."""
    cost, positions = 0.0, 1.0
    for layer in _layers(backbone, (*settings.content_layers, *settings.style_layers)):
        cost += positions * sum(kernel.weight.numel() for kernel in layer.kernels)
        positions /= 4 if layer.pool else 1
    return 2 * cost


def _layers(backbone: VGG, taps: Iterable[str]) -> Iterator[Layer]:
    """Those on the way to the deepest of some taps."""
    return backbone.layers_to(max(backbone.check(taps), key=backbone.taps.index))


def layout_for(backbone: VGG, settings: OptimizeSettings, size: tuple[int, int], room: int, held: int = 0) -> Layout:
    """The division of a picture that costs the least time of those that fit into `room` bytes.

    Raises:
        OptionError: none does; the message says which budget would do, `held` being what else it has to hold.
    """
    taps = [*settings.content_layers, *settings.style_layers]
    margin, grid = margin_of(backbone, taps)
    kernels = transformed_bytes(backbone, taps)
    remembered, momentary = block_bytes(backbone, taps, settings.content_layers)
    downs, acrosses = ({n: _sides(side, n, margin, grid) for n in range(1, MOST + 1)} for side in size)
    best, least = None, math.inf
    for (down, (tallest, heights)), (across, (widest, widths)) in (
        (d, a) for d in downs.items() for a in acrosses.items()
    ):
        block, blocks = tallest * widest, down * across
        work = block * (remembered + momentary) + kernels
        least = min(least, work)
        if work > room:
            continue
        retained = min(blocks, 1 + int((room - work) // (block * remembered)))
        looked = heights * widths / (size[0] * size[1])
        effort = looked * (1 + (1 - retained / blocks) / 2)
        layout = Layout(down, across, retained, int(work + (retained - 1) * block * remembered), effort)
        if best is None or (effort, layout.bytes) < (best.effort, best.bytes):
            best = layout
    if best is None:
        raise OptionError(
            f"{size[1]}x{size[0]} px cannot be painted within {shown_bytes(room + held)}: "
            f"need `max_memory` {ceiling(least + held)} or more"
        )
    return best


def state_bytes(settings: OptimizeSettings, size: tuple[int, int]) -> int:
    """What an optimisation of a picture of this size holds beside what looks at it: it is made of float32 pictures.

    The canvas (a pyramid is 4/3 of a picture), its gradient, two copies to go back to; the optimiser's state; the
    picture that is looked at, its gradient, what total variation and range need of it, and the average. And, where two
    networks see in turns, what the other one compares with.
    """
    canvas = 4 / 3 if settings.parameterisation == "pyramid" else 1.0
    optimiser = 2 if settings.optimizer == "adam" else 2 * settings.history + 5
    pictures = canvas * (4 + optimiser) + 3 + (5 if settings.tv_weight else 2) + (2 if settings.averaging else 0)
    other_targets = 0.0 if settings.second_backbone is None else sum(map(_target_bytes, settings.content_layers))
    return int((pictures * 12 + other_targets) * size[0] * size[1])


def _target_bytes(tap: str) -> float:
    """What a content layer is compared with, per pixel of the picture."""
    return 4 * WIDTHS[place_of(tap)[0] - 1] / _step(tap) ** 2


def _sides(side: int, parts: int, margin: int, grid: int) -> tuple[int, int]:
    """The longest side of a block with its margin, and the sum of all."""
    lengths = [min(side, high + margin) - max(0, low - margin) for low, high in _cuts(side, parts, grid)]
    return max(lengths), sum(lengths)
