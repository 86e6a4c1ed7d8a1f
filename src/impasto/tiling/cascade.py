"""Painting coarse to fine: large forms as in a small painting, and strokes of the network's own size on top of them.

A network learns strokes of one size in pixels. A large picture is therefore painted small first. What that changed of
the photo is enlarged and laid on the next larger photo, whose detail is all there, and that is painted again, not at
full strength; and so on up to the picture's own size. Painting again changes forms and colours too, which the smaller
painting had as they should be: that drift, as seen at half its size, is taken back (what an enlarged picture lacks is
found so in iterative back projection, Irani & Peleg 1991), and what stays are the finer strokes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.resizing import resize
from impasto.core.rows import MapShape, RowStore
from impasto.core.streams import split_rows
from impasto.imaging.sizes import halved
from impasto.networks.bound import BoundStyle
from impasto.tiling.bands import BandProgress, PutRows
from impasto.tiling.fitting import paint, paint_rows
from impasto.tiling.photos import Photo, TensorPhoto
from impasto.tiling.plan import TilingOptions, TilingPlan
from impasto.tiling.resized import Resized

__all__ = [
    "Coarse",
    "Stored",
    "Underpainting",
    "paint_coarse",
    "paint_coarse_to_fine",
    "with_forms_of",
]

# What is brought to another size at a time. These are always the same rows, so that no bit depends on whether a picture
# is in memory, or on its bands: of the last bits networks make strokes.
COPIED = 1 << 20  # px of a photo
BLOCK = 64  # rows of what a size changed


@torch.inference_mode()
def paint_coarse_to_fine(
    bound: BoundStyle,
    photo: Tensor,
    coarse: Sequence[tuple[int, int]],
    strength: float,
    options: TilingOptions | None = None,
    *,
    masks: Sequence[Tensor] | None = None,
    prime: Callable[[Tensor], Tensor] = lambda photo: photo,
) -> Generator[BandProgress, None, Tensor]:
    """Repaint a photo at each of the `coarse` (height, width), the smallest first, and then at its own.

    Each size is painted as `fitting.paint` does, at once or in bands, with the same bits either way. A record comes
    after every band, and after every size; what the generator returns is the painting, (1, 3, H, W) in [0, 1].

    Args:
        bound: a network with its styles, from `inference.bind`.
        photo: (1, 3, H, W) in [0, 1] on the network's device.
        coarse: ascending, smaller than the photo.
        strength: in [0, 1], of every size but the first; what is painted before keeps the rest.
        options: as of `paint`.
        masks: the region of each style at the photo's size, see `BoundStyle.forward`.
        prime: what the first size is painted on, given its photo.

    Raises:
        OptionError, OutputError: as from `paint`.
    """
    photos = [photo]
    for size in reversed(coarse):
        photos.insert(0, _empty(photo, size))
        _copy(Resized(TensorPhoto(photos[1]), size), partial(_put, photos[0]))
    total, began, done = sum(one.shape[2] * one.shape[3] for one in photos), time.perf_counter(), 0.0
    forms: Tensor | None = None  # of the painting before
    change: Tensor | None = None  # what that is, less its photo
    while True:
        small = photos.pop(0)
        size = (small.shape[2], small.shape[3])
        if change is None:
            ground = prime(small)
        else:
            ground = _empty(photo, size)
            _copy(Underpainting(TensorPhoto(small), TensorPhoto(change)), partial(_put, ground))
        del change
        regions = None if masks is None else [resize(mask, size) for mask in masks]
        part = small.shape[2] * small.shape[3] / total
        painted = yield from _shares(paint(bound, ground, options, masks=regions), done, part, began)
        if forms is not None:
            painted.lerp_(ground, 1 - strength)
            _copy(_drift(TensorPhoto(forms), TensorPhoto(painted)), partial(_put, forms))
            _copy(Underpainting(TensorPhoto(painted), TensorPhoto(forms)), partial(_put, painted))
        del ground
        done += part
        yield BandProgress(min(1.0, done), time.perf_counter() - began)
        if not photos:
            return painted
        forms = _empty(photo, halved(size))
        _copy(Resized(TensorPhoto(painted), halved(size), clamp=False), partial(_put, forms))
        change = painted.sub_(small)
        del painted


class Underpainting:
    """A `Photo` and on it, enlarged, what the size before changed, or what is taken back to keep its forms.

    Args:
        photo: of this size.
        change: of a smaller one, (1, 3, n, w) by rows, in [-1, 1].
    """

    def __init__(self, photo: Photo, change: Photo) -> None:
        self.photo, self.height, self.width = photo, photo.height, photo.width
        self.change = Resized(change, (photo.height, photo.width), clamp=False)
        self._last: tuple[int, Tensor] | None = None  # the block that the next rows may begin in

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        first = top // BLOCK * BLOCK
        blocks = torch.cat([self._block(start) for start in range(first, bottom, BLOCK)], 2)
        return (blocks[:, :, top - first : bottom - first] + self.photo.read(top, bottom)).clamp_(0, 1)

    def _block(self, start: int) -> Tensor:
        if self._last is None or self._last[0] != start:
            self._last = start, self.change.read(start, min(self.height, start + BLOCK))
        return self._last[1]

    def repainted(self, top: int, rows: Tensor, strength: float) -> Tensor:
        """What finished rows (1, 3, n, W) from `top` on become at this strength, on the processor."""
        return rows.float().cpu().clamp(0, 1).lerp_(self.read(top, top + rows.shape[2]), 1 - strength)


class Difference:
    """One `Photo` less another of its size, in [-1, 1]."""

    def __init__(self, one: Photo, other: Photo) -> None:
        self.one, self.other, self.height, self.width = one, other, one.height, one.width

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return self.one.read(top, bottom) - self.other.read(top, bottom)


def _drift(forms: Photo, painted: Photo) -> Difference:
    """What a painting is to give back, so that its forms are those of the size before, as seen at half that size."""
    return Difference(forms, Resized(painted, (forms.height, forms.width), clamp=False))


class Stored:
    """The rows of a store, as a `Photo`."""

    def __init__(self, store: RowStore) -> None:
        self.store, self.height, self.width = store, store.shape.height, store.shape.width

    def read(self, top: int, bottom: int) -> Tensor:
        """See `Photo`."""
        return self.store.read(top, bottom)


@in_our_settings
@torch.inference_mode()
def paint_coarse(
    bound: BoundStyle,
    photo: Photo,
    plans: Sequence[TilingPlan],
    strength: float,
    out: Coarse,
    *,
    prime: Callable[[Photo], Photo] = lambda photo: photo,
) -> Generator[BandProgress, None, None]:
    """Paint the coarse sizes of a photo that need not be in memory, and put what the last one gave into `out`.

    Nothing of any size is held in memory but bands of rows: the photo at each size, its painting, and what changed, lie
    in temporary files, which go when the next size is painted, or when the generator is closed.

    Args:
        bound: a network with its styles, from `inference.bind`.
        photo: of the painting's own size.
        plans: how each coarse size is painted, the smallest first, from `fitting.plan_for`.
        strength: as of `paint_coarse_to_fine`.
        out: of the last coarse size.
        prime: as of `paint_coarse_to_fine`.

    Raises:
        OutputError: the disk has no room.
    """
    with ExitStack() as stack:
        photos: list[RowStore] = []
        for plan in reversed(plans):
            store = stack.enter_context(_scratch(plan.height, plan.width))
            _copy(Resized(Stored(photos[0]) if photos else photo, (plan.height, plan.width)), store.write)
            photos.insert(0, store)
        total, began, done = sum(plan.height * plan.width for plan in plans), time.perf_counter(), 0.0
        before: Coarse | None = None
        for plan, store in zip(plans, photos, strict=True):
            small, painting = Stored(store), stack.enter_context(_scratch(plan.height, plan.width))
            part = plan.height * plan.width / total
            ground = None if before is None else Underpainting(small, Stored(before.change))
            put = partial(_keep, ground, strength, painting)
            yield from _shares(paint_rows(bound, ground or prime(small), plan, put), done, part, began)
            if before is not None:
                _copy(with_forms_of(before.forms, Stored(painting), before.forms), painting.write)
                before.forms.close()
                before.change.close()
            if plan is plans[-1]:
                before = out
            else:
                forms = stack.enter_context(_scratch(*halved((plan.height, plan.width))))
                before = Coarse(forms, stack.enter_context(_scratch(plan.height, plan.width)))
            shape = before.forms.shape
            _copy(Resized(Stored(painting), (shape.height, shape.width), clamp=False), before.forms.write)
            _copy(Difference(Stored(painting), small), before.change.write)
            painting.close()
            store.close()
            done += part


@dataclass(frozen=True)
class Coarse:
    """What one size gives to the next: the forms of its painting, and what that changed of its photo."""

    forms: RowStore
    change: RowStore


def with_forms_of(forms: RowStore, painted: Photo, drift: RowStore) -> Underpainting:
    """A painting whose forms are those of the size before; the drift that is taken back lies in `drift` for it."""
    _copy(_drift(Stored(forms), painted), drift.write)
    return Underpainting(painted, Stored(drift))


def _scratch(height: int, width: int) -> RowStore:
    return RowStore(MapShape(3, height, width, torch.float32), 0)


def _keep(ground: Underpainting | None, strength: float, into: RowStore, top: int, rows: Tensor) -> None:
    """Put finished rows into a store, at this strength where they are painted on something."""
    into.write(top, rows.float().cpu().clamp(0, 1) if ground is None else ground.repainted(top, rows, strength))


def _copy(source: Photo, put: PutRows) -> None:
    for top, bottom in split_rows(source.height, max(1, min(source.height, COPIED // source.width))):
        put(top, source.read(top, bottom))


def _empty(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, 3, h, w) where the photo is, in the layout that rows have which are read from files."""
    return torch.empty((1, 3, *size), device=photo.device, memory_format=torch.channels_last)


def _put(out: Tensor, top: int, rows: Tensor) -> None:
    out[:, :, top : top + rows.shape[2]] = rows


def _shares(
    records: Generator[BandProgress, None, Tensor] | Generator[BandProgress, None, None],
    before: float,
    part: float,
    began: float,
) -> Generator[BandProgress, None, Tensor]:
    """The records of one size as those of all; gives back what it gives back."""
    with closing(records):
        while True:
            try:
                record = next(records)
            except StopIteration as end:
                painted: Tensor = end.value
                return painted
            yield BandProgress(min(1.0, before + part * record.done), time.perf_counter() - began)
