"""``impasto stylize`` with a trained network: one pass a photo."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.cli.common import show_note
from impasto.cli.jobs import Keep
from impasto.cli.looks import Look, bar
from impasto.cli.strips import begin_run, paint_by_strips, prepared, task_of
from impasto.errors import OptionError
from impasto.imaging import check_output, losses, write
from impasto.recording import RunFolder
from impasto.stylizer import load, needs_strips
<<<<<<< HEAD
from impasto.tiling.fitting import measured, message_at_once
=======
from impasto.tiling.fitting import READ, measured, told_at_once
from impasto.tiling.plan import held_memory
>>>>>>> c2f918ac45496f65d7e94e87cf30c7951a795aa2

if TYPE_CHECKING:
    from impasto.batch import Work

__all__ = ["Look", "paint_with_model", "painter", "show_plan"]


def painter(look: Look, keep: Keep, *, force: bool, with_bar: bool = False) -> Callable[[Work], str]:
    """What paints and writes one photo after another with the network, loaded once; it tells what it wrote.

    `with_bar` shows how far a photo is that is painted in bands; there can be but one bar at a time.
    """
    model = load(look.model, device=look.device, precision=look.precision)
    if look.alpha < 1 and not model.mixes_features:
        raise OptionError("--alpha is for networks that decode features (adain): use --strength")
    names = (
        *("strength", "alpha", "style_scale", "keep_colors", "mask", "size", "upscale", "max_megapixels"),
        *("max_memory", "tile", "statistics"),
    )
    options: dict[str, Any] = {name: getattr(look, name) for name in names}

    def paint(work: Work) -> str:
        inputs = [work.photo, *look.inputs]
        check_output(work.output, force=force, inputs=inputs)
        with bar() if with_bar else nullcontext() as progress:
            if work.photo != "-" and needs_strips(model, task_of(work.photo, look)):
                return paint_by_strips(prepared(model, work, look, keep), look, progress)
            picture = model.paint(work.photo, list(look.style) or None, progress=progress, **options)
        for sentence in losses(picture, work.output, keep_metadata=keep.metadata):
            show_note(sentence)
        write(
            picture,
            work.output,
            force=force,
            inputs=inputs,
            quality=keep.quality,
            compression=keep.compression,
            keep_metadata=keep.metadata,
        )
        where = "standard output" if work.output == "-" else work.output
        return f"{where}: {picture.width}x{picture.height} px, by {look.model}"

    return paint


def paint_with_model(work: Work, look: Look, keep: Keep, *, force: bool, run: Path | None = None) -> None:
    """Paint and write one photo; what cannot be written is refused before the network is loaded.

    With the folder `run` it is painted by strips, and can be resumed from there.
    """
    if [work.photo, *look.inputs].count("-") > 1:
        raise OptionError("- stands for standard input, which holds one picture: name a file for the others")
    check_output(work.output, force=force, inputs=[work.photo, *look.inputs])
    if run is not None:
        begin_run(work, look, keep, RunFolder(run), force=force)
        return
    show_note(painter(look, keep, force=force, with_bar=True)(work))


def show_plan(work: Work, look: Look, keep: Keep, run: Path | None = None) -> None:
    """Tell how a photo would be painted, and paint nothing; of the photo the header alone is read."""
    model = load(look.model, device=look.device, precision=look.precision)
    task, machine, styles = task_of(work.photo, look), measured(model.network), list(look.style) or None
    if run is not None or needs_strips(model, task):
        work = replace(work, output=work.output if work.output != "-" else "painting.tif")
        reading = model.reading_bytes(
            styles, (), (1, 1), max_megapixels=look.max_megapixels, max_memory=look.max_memory
        )
        plan = prepared(model, work, look, keep, run).plan
        peak = max(plan.peak, held_memory() + reading)
        show_note(f"by strips: {replace(plan, seconds=plan.seconds_on(machine), peak=peak)}")
        return
    photo, goal, size = task.sizes()
    reading = model.reading_bytes(
        styles, look.mask, goal, max_megapixels=look.max_megapixels, max_memory=look.max_memory
    )
    found = model.plan(size, style_scale=1.0, max_memory=look.max_memory, tile=look.tile, statistics=look.statistics)
    if found is None:
<<<<<<< HEAD
        show_note(message_at_once(model.network, size, machine))
=======
        show_note(told_at_once(model.network, size, machine, reading=reading))
>>>>>>> c2f918ac45496f65d7e94e87cf30c7951a795aa2
    else:
        peak = max(found.peak, held_memory() + READ * math.prod(photo) + reading)
        show_note(str(replace(found, seconds=found.seconds_on(machine), peak=peak)))
