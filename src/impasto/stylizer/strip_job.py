"""Painting with a trained network by strips: photos too large for memory, from file to file, and runs to resume."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from impasto.core.colour import cover
from impasto.core.memory import available_memory, held_memory, release_blocks
from impasto.core.rows import MapShape, RowStore
from impasto.core.streams import split_rows
from impasto.core.tensors import to_array, to_tensor
from impasto.errors import DataError, OptionError
from impasto.imaging import Picture, as_picture, fit_long_side, luminance
from impasto.imaging.formats import FORMATS, find_format
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.pixelfile import PixelFile, Strips
from impasto.imaging.reading import read_header
from impasto.imaging.reduced import read_reduced
from impasto.imaging.sizes import halved
from impasto.imaging.strips import check_readable, check_writable, decode_strips, encode_strips, load_pyvips
from impasto.imaging.writing import format_warnings_for
from impasto.stylizer.clear import Alpha, Clear, Primed, Seen, find_ground
from impasto.stylizer.job import JobPlan, Output, Progress, Steps
from impasto.stylizer.network_job import InTorch, coarse_work, pieces_of, tiling_options
from impasto.stylizer.request import StylizeRequest
from impasto.stylizer.sizes import sizes_of
from impasto.stylizer.strokes import REPAINTED
from impasto.stylizer.torch_model import TorchModel
from impasto.tiling.bands import BandProgress
from impasto.tiling.cascade import Coarse, Stored, Underpainting, paint_coarse, with_forms_of
from impasto.tiling.fitting import fits_in_memory, measured, paint_rows, plan_for
from impasto.tiling.journal import Journal
from impasto.tiling.photos import Photo
from impasto.tiling.plan import TilingPlan
from impasto.tiling.resized import Resized

if TYPE_CHECKING:
    from impasto.networks.bound import BoundStyle
    from impasto.stylizer.engine import Engine
    from impasto.types import PictureSource

__all__ = ["StripJob", "needs_strips"]

LIBRARY = 80 << 20  # bytes that pyvips takes, with what it decodes or encodes
SHOWN = 1024  # px of long side of a preview
FINISHED = 1 << 18  # px that are finished at a time
_PAINTING, _SMALL = "painting.tif", "painting.rows"
_FORMS, _FORMS_BEGUN, _CHANGE, _REPAINTED = "forms.rows", "forms.part", "change.rows", "repainted.rows"
_OF_BEFORE = "coarse.rows"  # in runs of earlier versions, which painted coarse to fine in another way


def needs_strips(model: TorchModel, photo: PictureSource, request: StylizeRequest, limit: int | None) -> bool:
    """Whether photo and painting do not fit into memory together with what paints them; no pixel is decoded."""
    if not isinstance(photo, str | os.PathLike):
        return False
    header = read_header(photo, max_megapixels=request.max_megapixels)
    sizes, budget = sizes_of(header.size, request, coarse_to_fine=model.coarse_to_fine), _budget(limit)
    options = tiling_options(request, budget)
    room_for: dict[str, int] = {"masks": len(request.mask), "beside": sizes.coarse_bytes}
    return not fits_in_memory(model.network, sizes.photo, sizes.painting, sizes.seen, options, **room_for)


def _budget(limit: int | None) -> int:
    return held_memory() + available_memory() if limit is None else limit


class StripJob(InTorch):
    """A photo and a network, from file to file.

    Args:
        model: what paints.
        output: a .tif, .png or .jpg file.
        folder: where unfinished work is kept, for another process to go on with; None is a temporary folder. What is
            in it must be of the same request. It is empty again when the painting is written.
        elsewhere: see `InTorch`.

    Raises:
        ImageError: a photo or mask that cannot be read, or not by strips.
        OutputError: an output of another format.
        OptionError: an option that goes with painting in memory alone, or too little memory.
        MissingExtraError: pyvips is not installed.
        DataError: what the folder keeps is of another size or precision.
    """

    output: Output

    def __init__(
        self,
        engine: Engine,
        photo: PictureSource,
        request: StylizeRequest,
        model: TorchModel,
        output: Output,
        folder: Path | None,
        elsewhere: int | None = None,
    ) -> None:
        super().__init__(engine, photo, request, model, output)
        self.elsewhere = elsewhere
        self.folder, self.finished = folder, False
        what = f"{self.sizes.photo[1]}x{self.sizes.photo[0]} px"
        self._check(f"{what} do not fit into memory at once" if folder is None else "only strips can be resumed")
        self._bound: BoundStyle | None = model.bind(request.style, request.max_megapixels, engine.limit(request))
        self._journal = None if folder is None else Journal(folder)
        self.tiling, self.coarse = self._plan_tilings()
        load_pyvips(f"{what}: painting by strips, for photos that do not fit into memory,")

    def plan(self) -> JobPlan:
        """See `Job.plan`."""
        reading = self.model.reading_bytes(self.request, (1, 1), self.engine.limit(self.request))
        network, sizes, machine = self.model.network, self.sizes, measured(self.model.network)
        peak = max(held_memory() + reading, *(tiling.peak for tiling in (*self.coarse, self.tiling)))
        seconds, _ = coarse_work(network, sizes, self.coarse, machine)
        pieces = sum(pieces_of(tiling) for tiling in (*self.coarse, self.tiling))
        tiling = replace(self.tiling, seconds=seconds + self.tiling.seconds_on(machine), peak=peak)
        message = f"by strips: {sizes.told_before}{tiling}"
        return JobPlan("strips", sizes.painting, pieces, peak, tiling.seconds, (message,))

    def opening(self) -> str:
        """See `Job.opening`."""
        return f"{self.sizes.told_before}{self.tiling}"

    def preview(self) -> Picture:
        """The photo, or at the end the painting, no larger than `SHOWN` px: rows that are done are not readable yet."""
        shown, largest = (
            (self.output.path, MAX_MEGAPIXELS) if self.finished else (self.photo, self.request.max_megapixels)
        )
        picture = read_reduced(shown, long_side=SHOWN, max_megapixels=largest)
        return picture.resized(fit_long_side((picture.height, picture.width), SHOWN))

    def result(self) -> Picture:
        """The painting, read from the output. ImageError if it is too large for that."""
        if not self.finished:
            raise RuntimeError("a painting by strips is in its file when it is finished")
        return as_picture(self.output.path, max_megapixels=MAX_MEGAPIXELS)

    def write(self) -> None:
        """Nothing: `run` writes the output as its last step."""

    def _check(self, why: str) -> None:
        request, kind = self.request, self.model.kind
        check_readable(self.photo_path, why)
        check_writable(self.output.path, why)
        if len(request.mask) > 1:
            raise OptionError(f"a `mask` for each style is not for painting by strips, and {why}: give one, or none")
        for mask in request.mask:
            if not isinstance(mask, str | os.PathLike):
                raise OptionError(f"a `mask` in memory is not for painting by strips, and {why}: give its file")
            read_header(mask, max_megapixels=request.max_megapixels)
            check_readable(mask, why)
        if request.strength < 1 and not kind.strength_in_strips:
            raise OptionError(f"this network has no `strength` when painting by strips, and {why}: use `alpha`")
        if not kind.resumable and self.folder is not None:
            raise OptionError(f"this network's paintings ({kind.method}) cannot be resumed: leave out `run`", "run")

    def _plan_tilings(self) -> tuple[TilingPlan, tuple[TilingPlan, ...]]:
        """How the painting is done, and each coarse size before it."""
        request, limit = self.request, self.engine.limit(self.request)
        release_blocks()  # what reading styles has left
        network, held = self.model.network, held_memory() + LIBRARY
        options = tiling_options(request, _budget(limit), held, resumable=self.folder is not None)
        options = replace(options, elsewhere=self.elsewhere)
        new = plan_for(network, self.sizes.seen, options)
        coarse = tuple(plan_for(network, size, replace(options, resumable=False)) for size in self.sizes.coarse)
        begun = None if self._journal is None else self._journal.plan
        if begun is None:
            return new, coarse
        if self.folder is not None and (self.folder / _OF_BEFORE).exists():
            raise DataError(f"{self.folder}: was begun by an earlier version, which painted otherwise; start a new run")
        if (begun.dtype, begun.height, begun.width) != (new.dtype, new.height, new.width):
            raise DataError(f"{self.folder}: was begun as {begun}, which this run is not; start a new run")
        return begun, coarse

    def _need(self) -> int:
        return max(tiling.work + tiling.pool for tiling in (*self.coarse, self.tiling)) + LIBRARY

    def _forget(self) -> None:
        super()._forget()
        self._bound = None

    def _work(self) -> Steps:
        """Paint, then write the output, whole or not at all."""
        request, journal = self.request, self._journal
        with ExitStack() as stack:
            place = self.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="impasto-")))
            begun = journal is not None and journal.plan is not None
            if journal is not None:
                journal.begin(self.tiling)
            photo = decode_strips(self.photo_path, max_megapixels=request.max_megapixels)
            stack.enter_context(photo.pixels)
            mask = None
            for path in request.mask:
                strips = decode_strips(path, max_megapixels=request.max_megapixels)
                stack.enter_context(strips.pixels)
                mask = Resized(_Mask(strips), self.sizes.painting)
            output, options = self.output, self.output.options
            kept = photo.metadata if options.keep_metadata else None
            self.notes += format_warnings_for(output.path, alpha=photo.has_alpha, bits=photo.bits, metadata=kept)
            at_once = not self.sizes.coarse and self.sizes.seen == self.sizes.painting
            rows = journal.state.rows if journal is not None and at_once else 0
            canvas = _Canvas(photo, self.sizes.painting, request, mask, place / _PAINTING, output.path, rows)
            stack.enter_context(canvas.pixels)
            done = 0.0
            if not begun:
                yield Progress("painting", done, 1.0, size=self.sizes.seen)
            for record in self._paint(canvas, place, journal):
                done = record.done
                yield Progress("painting", done, 1.0, left=record.left, size=self.sizes.seen)
            if done < 1:  # one colour all over is no band, and shares may not quite be 1 together
                yield Progress("painting", 1.0, 1.0, size=self.sizes.seen)
            yield Progress("writing", 0, 1)
            release_blocks()  # for pyvips, which does not share them
            encode_strips(
                canvas.pixels,
                output.path,
                quality=options.jpeg_quality,
                compression=options.png_compression,
                metadata=photo.metadata,
                keep_metadata=options.keep_metadata,
                recipe=self._recipe_text(),
            )
        if journal is not None:
            journal.remove()
            for name in (_PAINTING, _SMALL, _FORMS, _FORMS_BEGUN, _CHANGE, _REPAINTED):
                (place / name).unlink(missing_ok=True)
        self.finished = True

    def _paint(self, canvas: _Canvas, place: Path, journal: Journal | None) -> Generator[BandProgress, None, None]:
        seen = self.sizes.seen
        if self.sizes.coarse:
            yield from self._coarse_to_fine(canvas, place, journal)
            return
        if seen == self.sizes.painting:
            yield from self._walk(self._primed(canvas.seen), canvas.lay, journal)
            return
        # Strokes of another size: a smaller painting, enlarged.
        small, strength = Resized(canvas.seen, seen), self.request.strength
        path = place / _SMALL if journal is not None else None
        shape = MapShape(3, *seen, torch.float32)
        with RowStore(shape, 0, path=path) as store:
            if journal is not None:
                store.file.check(journal.state.rows * shape.row_bytes)

            def keep(top: int, rows: Tensor) -> None:
                shown = small.read(top, top + rows.shape[2])
                store.write(top, torch.lerp(shown, rows.float().cpu().clamp(0, 1), strength))
                if journal is not None:
                    store.file.flush()

            yield from self._walk(self._primed(small), keep, journal)
            canvas.enlarge(Resized(Stored(store), self.sizes.painting), Resized(small, self.sizes.painting))

    def _coarse_to_fine(
        self, canvas: _Canvas, place: Path, journal: Journal | None
    ) -> Generator[BandProgress, None, None]:
        """As `paint_coarse_to_fine` does it in memory. A run keeps what the coarse sizes gave when it is whole."""
        last = math.prod(self.sizes.seen)
        share = 1 - last / sum(math.prod(size) for size in self.sizes.all_seen)
        coarse = self.sizes.coarse[-1]
        shapes = [MapShape(3, *size, torch.float32) for size in (halved(coarse), coarse, self.sizes.seen)]
        whole, begun = place / _FORMS, place / _FORMS_BEGUN
        with ExitStack() as stack:
            paths = (begun, place / _CHANGE, place / _REPAINTED)
            forms, change, repainted = (
                stack.enter_context(RowStore(shape, 0, path=path)) for shape, path in zip(shapes, paths, strict=True)
            )
            kept = zip((whole, place / _CHANGE), shapes, strict=False)
            if journal is None or any(not path.is_file() or path.stat().st_size != of.bytes for path, of in kept):
                steps = paint_coarse(
                    self._styled(), canvas.seen, self.coarse, REPAINTED, Coarse(forms, change), prime=self._primed
                )
                for record in steps:
                    yield BandProgress(share * record.done, record.seconds)
                change.file.flush()
                forms.file.flush()
                forms.close()
                begun.replace(whole)
            forms = stack.enter_context(RowStore(shapes[0], 0, path=whole))
            if journal is not None:
                repainted.file.check(journal.state.rows * shapes[2].row_bytes)
            ground = Underpainting(canvas.seen, Stored(change))

            def keep(top: int, rows: Tensor) -> None:
                repainted.write(top, ground.repainted(top, rows, REPAINTED))
                if journal is not None:
                    repainted.file.flush()

            began = time.perf_counter()
            for record in self._walk(ground, keep, journal):
                done, earlier = (share + (1 - share) * part for part in (record.done, record.begun))
                yield BandProgress(done, time.perf_counter() - began, earlier)
            drift = stack.enter_context(RowStore(shapes[0], 0))
            canvas.lay_all(with_forms_of(forms, Stored(repainted), drift))

    def _walk(
        self, photo: Photo, put: Callable[[int, Tensor], None], journal: Journal | None
    ) -> Generator[BandProgress, None, None]:
        alpha = 1.0 if self.request.alpha is None else self.request.alpha
        yield from paint_rows(self._styled(), photo, self.tiling, put, alpha=alpha, journal=journal)

    def _primed(self, photo: Photo) -> Photo:
        """With its painter's ground."""
        return Primed(photo, self.ground) if self.ground else photo

    def _styled(self) -> BoundStyle:
        if self._bound is None:
            raise RuntimeError("this job is closed")
        return self._bound


class _Mask:
    """A mask's luminance, transparent counting as black, as `finishing.read_masks` has it."""

    def __init__(self, strips: Strips) -> None:
        self.strips, self.height, self.width = strips, strips.height, strips.width

    def read(self, top: int, bottom: int) -> Tensor:
        light = luminance(self.strips.read(top, bottom))
        light = light * self.strips.read_alpha(top, bottom) if self.strips.has_alpha else light
        return to_tensor(light.clip(0, 1))


class _Canvas:
    """Where finished rows are gathered: strength, colours, mask and transparency are those of a picture in memory."""

    def __init__(
        self,
        photo: Strips,
        size: tuple[int, int],
        request: StylizeRequest,
        mask: Photo | None,
        path: Path,
        output: str | os.PathLike[str],
        rows: int,
    ) -> None:
        held = FORMATS[find_format(output)]
        ground = find_ground(photo)
        self.photo, self.request, self.mask = Clear(photo, size, ground), request, mask
        self.seen: Photo = self.photo if ground is None else Seen(self.photo, ground)
        self.alpha = Resized(Alpha(photo), size) if photo.has_alpha else None
        self.bits, self.with_alpha = min(photo.bits, held.bits), held.alpha
        channels = 4 if photo.has_alpha and held.alpha else 3
        self.pixels = PixelFile(size, channels, self.bits, path=path, rows=rows)

    def lay(self, top: int, painted: Tensor) -> None:
        """Finish rows of a painting (1, 3, n, W) of full strength."""
        for low, high in self._parts(painted.shape[2]):
            rows = painted[:, :, low:high].float().cpu().clamp(0, 1)
            photo = self.photo.read(top + low, top + high)
            self._put(top + low, photo, torch.lerp(photo, rows, self.request.strength))
        self.pixels.file.flush()

    def lay_all(self, painted: Photo) -> None:
        """Finish all of a painting of full strength."""
        for low, high in self._parts(painted.height):
            self.lay(low, painted.read(low, high))

    def enlarge(self, painted: Photo, shrunk: Photo) -> None:
        """Finish a painting of this strength; what shrinking the photo took from it comes back as the strength goes."""
        rest = 1 - self.request.strength
        for low, high in self._parts(self.photo.height):
            photo, rows = self.photo.read(low, high), painted.read(low, high)
            self._put(low, photo, rows if rest == 0 else rows + rest * (photo - shrunk.read(low, high)))

    def _parts(self, rows: int) -> Sequence[tuple[int, int]]:
        return split_rows(rows, max(1, min(rows, math.ceil(FINISHED / self.photo.width))))

    def _put(self, top: int, photo: Tensor, painted: Tensor) -> None:
        masks = () if self.mask is None else (self.mask.read(top, top + photo.shape[2]),)
        rgb = cover(photo, painted, masks, keep_colors=self.request.keep_colors).clamp(0, 1)
        alpha = None if self.alpha is None else to_array(self.alpha.read(top, top + photo.shape[2]))[:, :, 0]
        self.pixels.write(top, Picture(to_array(rgb), alpha).integers(self.bits, self.with_alpha))
