"""Photos too large for memory: read, painted and written strip by strip, and resumed where that was stopped."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.memory import held_memory, release_blocks
from impasto.core.rows import MapShape, RowStore
from impasto.core.streams import split_rows
from impasto.errors import DataError, OptionError
from impasto.imaging import Picture, fit_long_side, luminance
from impasto.imaging.formats import FORMATS, find_format
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.pixelfile import PixelFile, Strips
from impasto.imaging.reading import read_header
from impasto.imaging.strips import check_readable, check_writable, decode_strips, encode_strips, load_pyvips
from impasto.imaging.writing import COMPRESSION, QUALITY, lost
from impasto.networks.inference import bind, check_alpha
from impasto.networks.registry import kind_of
from impasto.stylizer.finishing import Finish, cover
from impasto.stylizer.model import Model, scaled
from impasto.tiling.bands import BandProgress
from impasto.tiling.fitting import fits_in_memory, paint_rows, plan_for
from impasto.tiling.journal import Journal
from impasto.tiling.photos import Photo
from impasto.tiling.plan import TilingOptions, TilingPlan
from impasto.tiling.resized import Resized

__all__ = ["StripPainting", "Task", "needs_strips"]

LIBRARY = 80 << 20  # bytes that pyvips takes, with what it decodes or encodes
FINISHED = 1 << 18  # px that are finished at a time
_PAINTING, _SMALL = "painting.tif", "painting.rows"


@dataclass(frozen=True)
class Task:
    """One photo and what is to become of it; the options of `Model.paint`.

    Attributes:
        photo: path of a JPEG, PNG or TIFF.
        style: as of `Model.paint`.
        finish: strength, colours, and one mask (a path of the same formats, of any size) at the most.
        wishes: the budget, what the process holds excluded, and how to keep it.
    """

    photo: str | os.PathLike[str]
    style: Any = None
    finish: Finish = field(default_factory=Finish)
    alpha: float = 1.0
    style_scale: float | str = 1.0
    size: int | None = None
    upscale: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    wishes: TilingOptions = field(default_factory=TilingOptions)

    def sizes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(height, width) of the photo, of its painting, and of what the network sees, from the photo's header."""
        size = read_header(self.photo, max_megapixels=self.max_megapixels).size
        goal = fit_long_side(size, self.size or max(size), upscale=self.upscale)
        return size, goal, scaled(goal, self.style_scale)


def needs_strips(model: Model, task: Task) -> bool:
    """Whether photo and painting do not fit into memory together with what paints them; no pixel is decoded."""
    return not fits_in_memory(model.network, *task.sizes(), task.wishes)


class StripPainting:
    """A painting by strips, ready to begin: `plan` tells how, `run` paints and writes it.

    Args:
        model: what paints.
        task: what it paints.
        output: a .tif, .png or .jpg file; the caller has asked `check_output`.
        quality, compression: as of `imaging.write`.
        folder: where unfinished work is kept, for another process to go on with; None is a temporary folder. What is
            in it must be of the same task. It is empty again when the painting is written.

    Attributes:
        plan: how it will be painted.
        size: (height, width) of the painting.
        notes: after `run`: what of the photo the output's format cannot hold.

    Raises:
        ImageError: a photo or mask that cannot be read, or not by strips.
        OutputError: an output of another format.
        OptionError: a wish that goes with painting in memory alone, or too little memory.
        MissingExtraError: pyvips is not installed.
        DataError: what the folder keeps is of another size or precision.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        output: str | os.PathLike[str],
        *,
        quality: int = QUALITY,
        compression: int = COMPRESSION,
        folder: Path | None = None,
    ) -> None:
        self.model, self.task, self.output = model, task, output
        self.quality, self.compression, self.folder = quality, compression, folder
        self.notes: tuple[str, ...] = ()
        whole, self.size, self.work = task.sizes()
        what = f"{whole[1]}x{whole[0]} px"
        why = f"{what} do not fit into memory at once" if folder is None else "only strips can be resumed"
        self._check(why)
        named, shown = model.chosen(task.style, task.max_megapixels)
        self._bound = bind(model.network, named or shown)
        self.plan, self._journal = self._plan(), None if folder is None else Journal(folder)
        if self._journal is not None and self._journal.plan is not None:
            self.plan = self._same_plan(self._journal.plan)
        load_pyvips(f"{what}: painting by strips, for photos that do not fit into memory,")

    def _check(self, why: str) -> None:
        task, kind = self.task, kind_of(self.model.network)
        check_readable(task.photo, why)
        check_writable(self.output, why)
        if len(task.finish.masks) > 1:
            raise OptionError(f"a mask for each style is not for painting by strips, and {why}: give one, or none")
        for mask in task.finish.masks:
            read_header(mask, max_megapixels=task.max_megapixels)
            check_readable(mask, why)
        if task.finish.strength < 1 and not kind.strength_in_strips:
            raise OptionError(f"this network has no strength when painting by strips, and {why}: use alpha")
        if self.folder is not None and not kind.resumable:
            raise OptionError("this network's paintings (adain) cannot be resumed: leave out the run's folder")
        check_alpha(self.model.network, task.alpha)

    def _plan(self) -> TilingPlan:
        wishes = self.task.wishes
        wishes = replace(wishes, budget=wishes.limit, held=held_memory() + LIBRARY, resumable=self.folder is not None)
        return plan_for(self.model.network, self.work, wishes)

    def run(self) -> Generator[BandProgress, None, None]:
        """Paint, then write the output, whole or not at all. Closing the iterator stops, and keeps what is done.

        Raises:
            ImageError: the photo or the mask is damaged.
            OutputError: the disk has no room.
        """
        task = self.task
        with ExitStack() as stack:
            place = self.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="impasto-")))
            journal = self._journal
            if journal is not None:
                journal.begin(self.plan)
            photo = decode_strips(task.photo, max_megapixels=task.max_megapixels)
            stack.enter_context(photo.pixels)
            mask = None
            for path in task.finish.masks:
                strips = decode_strips(path, max_megapixels=task.max_megapixels)
                stack.enter_context(strips.pixels)
                mask = Resized(_Mask(strips), self.size)
            self.notes = lost(self.output, alpha=photo.has_alpha, bits=photo.bits)
            canvas = _Canvas(photo, self.size, task.finish, mask, place / _PAINTING, self.output)
            stack.enter_context(canvas.pixels)
            yield from self._paint(canvas, place, journal)
            release_blocks()  # for pyvips, which does not share them
            encode_strips(canvas.pixels, self.output, quality=self.quality, compression=self.compression)
        if journal is not None:
            journal.remove()
            for name in (_PAINTING, _SMALL):
                (place / name).unlink(missing_ok=True)

    def _same_plan(self, begun: TilingPlan) -> TilingPlan:
        """The plan that the run was begun with, if it can be this one's."""
        new = self.plan
        if (begun.dtype, begun.height, begun.width) != (new.dtype, new.height, new.width):
            raise DataError(f"{self.folder}: was begun as {begun}, which this run is not; start a new run")
        return begun

    def _paint(self, canvas: _Canvas, place: Path, journal: Journal | None) -> Iterator[BandProgress]:
        if self.work == self.size:
            yield from self._walk(canvas.photo, canvas.lay, journal)
            return
        # Strokes of another size: a smaller painting, enlarged.
        small, strength = Resized(canvas.photo, self.work), self.task.finish.strength
        path = place / _SMALL if journal is not None else None
        with RowStore(MapShape(3, *self.work, torch.float32), 0, path=path) as store:

            def keep(top: int, rows: Tensor) -> None:
                shown = small.read(top, top + rows.shape[2])
                store.write(top, torch.lerp(shown, rows.float().cpu().clamp(0, 1), strength))
                if journal is not None:
                    store.file.flush()

            yield from self._walk(small, keep, journal)
            canvas.enlarge(Resized(_Stored(store), self.size), Resized(small, self.size))

    def _walk(self, photo: Photo, painted: Any, journal: Journal | None) -> Iterator[BandProgress]:
        return paint_rows(self._bound, photo, self.plan, painted, alpha=self.task.alpha, journal=journal)


class _Mask:
    """A mask's luminance, transparent counting as black, as `finishing.read_masks` has it."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        light = luminance(self.strips.read(top, bottom))
        light = light * self.strips.read_alpha(top, bottom) if self.strips.has_alpha else light
        return light.clamp(0, 1)


class _Alpha:
    """A photo's transparency."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        return self.strips.read_alpha(top, bottom)


class _Stored:
    """The rows of a store."""

    def __init__(self, store: RowStore) -> None:
        self.store, self.height, self.width = store, store.shape.height, store.shape.width

    def read(self, top: int, bottom: int) -> Tensor:
        return self.store.read(top, bottom)


class _Canvas:
    """Where finished rows are gathered: strength, colours, mask and transparency are those of a picture in memory."""

    def __init__(
        self,
        photo: Strips,
        size: tuple[int, int],
        finish: Finish,
        mask: Photo | None,
        path: Path,
        output: str | os.PathLike[str],
    ) -> None:
        held = FORMATS[find_format(output)]
        self.photo, self.finish, self.mask = Resized(photo, size), finish, mask
        self.alpha = Resized(_Alpha(photo), size) if photo.has_alpha else None
        self.bits, self.with_alpha = min(photo.bits, held.bits), held.alpha
        channels = 4 if photo.has_alpha and held.alpha else 3
        self.pixels = PixelFile(size, channels, self.bits, path=path)

    def lay(self, top: int, painted: Tensor) -> None:
        """Finish rows of a painting (1, 3, n, W) of full strength."""
        for low, high in self._parts(painted.shape[2]):
            rows = painted[:, :, low:high].float().cpu().clamp(0, 1)
            photo = self.photo.read(top + low, top + high)
            self._put(top + low, photo, torch.lerp(photo, rows, self.finish.strength))
        self.pixels.file.flush()

    def enlarge(self, painted: Photo, shrunk: Photo) -> None:
        """Finish a painting of this strength; what shrinking the photo took from it comes back as the strength goes."""
        rest = 1 - self.finish.strength
        for low, high in self._parts(self.photo.height):
            photo, rows = self.photo.read(low, high), painted.read(low, high)
            self._put(low, photo, rows if rest == 0 else rows + rest * (photo - shrunk.read(low, high)))

    def _parts(self, rows: int) -> Sequence[tuple[int, int]]:
        return split_rows(rows, max(1, min(rows, math.ceil(FINISHED / self.photo.width))))

    def _put(self, top: int, photo: Tensor, painted: Tensor) -> None:
        masks = () if self.mask is None else (self.mask.read(top, top + photo.shape[2]),)
        rgb = cover(photo, painted, masks, keep_colors=self.finish.keep_colors).clamp(0, 1)
        alpha = None if self.alpha is None else self.alpha.read(top, top + photo.shape[2])
        self.pixels.write(top, Picture(rgb, alpha).integers(self.bits, self.with_alpha))
