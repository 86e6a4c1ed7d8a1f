"""AdaIN on pictures of any size: encoder and decoder have no statistics inside, so both go in one pass each.

Between them lies relu4_1 of the whole picture, stored, whose moments are those of the content.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core import frozen
from impasto.core.host import in_our_settings
from impasto.core.precision import in_float64
from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.streams import Pieces, Window, slide, split_rows
from impasto.core.vgg import VGG, Layer
from impasto.networks.adain import AdaIN
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS, FeatureMoments
from impasto.networks.norms import RunningMoments
from impasto.networks.restyling import EPS, shrink_mask
from impasto.tiling.bands import BandProgress, PutRows
from impasto.tiling.cost import padded_size, rows_of, work_of_stages
from impasto.tiling.passes import Pass, chain, raw_shapes
from impasto.tiling.photos import Padded, Photo, draw_tiles
from impasto.tiling.plan import SLACK, TilingOptions, TilingPlan, choose

__all__ = ["AdaINCost", "encode_pieces", "paint_adain", "plan_adain"]


def plan_adain(
    network: AdaIN, size: tuple[int, int], dtype: torch.dtype, options: TilingOptions | None = None
) -> TilingPlan:
    """How a picture of this (height, width) is painted; OptionError if the budget is too small."""
    return choose(AdaINCost(network, size, dtype), options or TilingOptions())


def encode_pieces(vgg: VGG, tap: str, pieces: Pieces, height: int) -> Pieces:
    """Features at one tap of a picture (1, 3, n, W) in [0, 1] that comes in pieces, `height` rows in all."""
    dtype = vgg.dtype
    pieces = (vgg.normalisation(x).to(dtype).contiguous(memory_format=torch.channels_last) for x in pieces)
    for layer in vgg.layers_to(tap):
        for i, kernel in enumerate(layer.kernels):
            pieces = _convolve(kernel, pieces, height, replicate=layer.replicate and i == 0)
        pieces = _after(vgg, layer, pieces, height)
        height = height // 2 if layer.pool else height
    return pieces


def _convolve(kernel: frozen.Kernel, pieces: Pieces, height: int, *, replicate: bool) -> Pieces:
    side = kernel.weight.shape[-1]
    window = Window(side, 1, side // 2, "replicate" if replicate else "zeros")
    return slide(pieces, height, window, lambda x: F.conv2d(x, kernel.weight, kernel.bias))


def _after(vgg: VGG, layer: Layer, pieces: Pieces, height: int) -> Pieces:
    rectified = (F.relu_(x) for x in pieces) if layer.relu else pieces
    return slide(rectified, height, Window(2, 2), vgg.pooled) if layer.pool else rectified


class AdaINCost:
    """Sizes and costs of AdaIN on one picture; a `plan.CostModel`."""

    tile = 128

    def __init__(self, network: AdaIN, size: tuple[int, int], dtype: torch.dtype) -> None:
        self.size, self.stride, self.dtype = size, STRIDE, dtype
        self.padded = padded_size(size, STRIDE, SMALLEST)
        self.stages = network.stages()
        self.layers = tuple(network.encoder.layers_to(TAPS[-1]))
        channels = self.layers[-1].kernels[-1].weight.shape[0]
        self.features = MapShape(channels, self.padded[0] // STRIDE, self.padded[1] // STRIDE, dtype)
        self.shapes = raw_shapes(self.stages, self.features.height, self.features.width, dtype)

    def pass_choices(self, sampled: bool) -> list[tuple[Pass, ...]]:
        """Encode, then decode; or both in one."""
        if sampled:
            return [(Pass(0, 1, stores=False, paints=True),)]
        return [(Pass(0, 0, stores=True), Pass(1, 1, stores=False, paints=True))]

    def work(self, step: Pass, band: int) -> int:
        """Bytes that are alive at most while a band goes through a pass."""
        share, total = band / self.padded[0], 0
        if step.first == 0:
            for shape, weight in self._encoder():
                total += 3 * rows_of(shape, share) * shape.row_bytes + weight.numel() * self.dtype.itemsize
        if step.last == 1:
            total += 5 * rows_of(self.features, share) * self.features.row_bytes  # some in float32
            total += work_of_stages(self.stages, self.shapes, self.features, share)
            picture = MapShape(3, *self.padded, torch.float32)
            total += 5 * rows_of(picture, share) * picture.row_bytes
        return total

    def sample_work(self, share: float) -> int:
        """Bytes alive while statistics are taken from tiles."""
        return int(4 * share * max(shape.bytes for shape, _ in self._encoder()))

    def cost(self, step: Pass) -> float:
        """Multiply-adds of a pass."""
        total = 0
        if step.first == 0:
            total += sum(shape.height * shape.width * weight.numel() for shape, weight in self._encoder())
        if step.last == 1:
            for stage, shape in zip(self.stages, self.shapes, strict=True):
                total += shape.height * shape.width * stage.conv.conv2d.weight.numel()
        return float(total)

    def storage(self, passes: Sequence[Pass], room: int | None) -> tuple[int, int, int]:
        """Bytes of pool and of file at the most, and bytes moved to and from files, with so much room."""
        if len(passes) == 1:
            return 0, 0, 0
        store = Pool(self.features.bytes if room is None else max(0, room)).take(self.features)
        return self.features.bytes - store.bytes_on_disk, store.bytes_on_disk, 2 * store.bytes_on_disk

    def at_once(self) -> int:
        """Bytes that it takes beside the photo to paint without bands: the largest layer thrice, and pictures."""
        largest = max(*(shape.bytes for shape, _ in self._encoder()), *(shape.bytes for shape in self.shapes))
        return SLACK + 4 * largest + 3 * 12 * self.padded[0] * self.padded[1]

    def _encoder(self) -> Iterator[tuple[MapShape, Tensor]]:
        """What every convolution of the encoder gives, and its weight."""
        height, width = self.padded
        for layer in self.layers:
            for kernel in layer.kernels:
                yield MapShape(kernel.weight.shape[0], height, width, self.dtype), kernel.weight
            height, width = (height // 2, width // 2) if layer.pool else (height, width)


@in_our_settings
@torch.inference_mode()
def paint_adain(
    network: AdaIN,
    photo: Photo,
    plan: TilingPlan,
    put_rows: PutRows,
    styles: Sequence[FeatureMoments],
    *,
    weights: Sequence[float] | None = None,
    masks: Sequence[Tensor] | None = None,
    alpha: float = 1.0,
) -> Generator[BandProgress, None, None]:
    """Paint a picture band by band in the manner of `styles`, giving finished rows to `put_rows` from the top down.

    Args:
        network: on its device, in its precision, in eval mode.
        photo: of any size.
        plan: from `plan_adain`, made for this network and this size.
        styles, weights, alpha: see `AdaIN.restyle`.
        masks: see `AdaIN.forward`. With masks statistics are exact, whatever the plan says.

    Closing the iterator stops, and gives memory and disk back.

    Raises:
        OptionError: as from `AdaIN.restyle`.
        OutputError: the disk has no room for what memory cannot hold.
    """
    padded, device = Padded(photo, STRIDE, SMALLEST), network.encoder.device
    small = None if masks is None else [shrink_mask(m, (photo.height, photo.width)).to(device) for m in masks]
    encoded = encode_pieces(network.encoder, TAPS[-1], (x.to(device) for x in padded.pieces(plan.band)), padded.height)
    began, total = time.perf_counter(), sum(cost for _, cost in plan.passes)
    model = AdaINCost(network, (photo.height, photo.width), network.encoder.dtype)
    with closing(Pool(plan.pool, device=device).take(model.features)) as store:
        if plan.statistics == "sampled" and small is None:
            moments = RunningMoments()
            moments.add(
                network.encode(draw_tiles(padded.read, (padded.height, padded.width), plan.tile, plan).to(device))
            )
            features, own, before = encoded, [_known(moments)], 0.0
        else:
            regions = _Regions(small)
            before = model.cost(Pass(0, 0, stores=True))
            for share in regions.measure(encoded, store):
                yield BandProgress(share * before / total, time.perf_counter() - began)
            features, own = _stored(store, max(1, plan.band // STRIDE)), regions.moments()
        restyled = _restyled(network, features, styles, weights, small, alpha, own)
        stages, row = network.stages(), 0
        for x in chain(stages, [None] * len(stages), restyled, model.features.height):
            out = x.float().clamp_(0, 1)[:, :, : max(0, photo.height - row), : photo.width]
            if out.shape[2]:
                put_rows(row, out)
            row += x.shape[2]
            done = (before + (total - before) * row / padded.height) / total
            yield BandProgress(min(1.0, done), time.perf_counter() - began)


def _restyled(
    network: AdaIN,
    features: Pieces,
    styles: Sequence[FeatureMoments],
    weights: Sequence[float] | None,
    masks: Sequence[Tensor] | None,
    alpha: float,
    own: Sequence[FeatureMoments],
) -> Pieces:
    row, dtype = 0, network.stages()[0].conv.conv2d.weight.dtype
    for x in features:
        bottom = row + x.shape[2]
        regions = None if masks is None else [mask[:, :, row:bottom] for mask in masks]
        yield network.restyle(x, styles, weights=weights, masks=regions, alpha=alpha, own=own).to(dtype)
        row = bottom


def _stored(store: RowStore, piece: int) -> Pieces:
    for top, bottom in split_rows(store.shape.height, piece):
        yield store.read(top, bottom)


def _known(moments: RunningMoments) -> FeatureMoments:
    mean, variance = moments.result()
    return FeatureMoments(mean.view(1, -1, 1, 1), (variance + EPS).sqrt().view(1, -1, 1, 1))


class _Regions:
    """The content's moments: of all of it, or of each mask's region (`region_moments`, in float64)."""

    def __init__(self, masks: Sequence[Tensor] | None) -> None:
        self.masks, self.whole = masks, RunningMoments()
        self.sums: list[list[Tensor]] = [[] for _ in masks or ()]

    def measure(self, features: Pieces, store: RowStore) -> Iterator[float]:
        """Count all pieces in and store them; yields the share that is done."""
        row = 0
        for x in features:
            store.write(row, x)
            if self.masks is None:
                self.whole.add(x)
            else:
                self._add(x, row)
            row += x.shape[2]
            yield row / store.shape.height

    def _add(self, x: Tensor, row: int) -> None:
        wide = in_float64(x)
        for i, mask in enumerate(self.masks or ()):
            m = in_float64(mask[:, :, row : row + x.shape[2]])
            weighted = wide * m
            parts = [m.sum((2, 3), keepdim=True), weighted.sum((2, 3), keepdim=True)]
            parts.append((weighted * wide).sum((2, 3), keepdim=True))
            self.sums[i] = [a + b for a, b in zip(self.sums[i], parts, strict=True)] if self.sums[i] else parts

    def moments(self) -> list[FeatureMoments]:
        """Of all that was counted in."""
        if self.masks is None:
            return [_known(self.whole)]
        out = []
        for (area, first, second), mask in zip(self.sums, self.masks, strict=True):
            area = area.clamp_min(1e-6)
            mean = first / area
            std = ((second / area - mean.square()).clamp_min(0) + EPS).sqrt()
            out.append(FeatureMoments(mean.float().to(mask.device), std.float().to(mask.device)))
        return out
