"""``impasto stylize`` with a network, strip by strip: photos too large for memory, and runs that can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from impasto.cli.common import show_note
from impasto.cli.jobs import Keep
from impasto.cli.looks import Look, bar
from impasto.core.memory import parse_memory
from impasto.errors import DataError
from impasto.imaging import check_output
from impasto.networks.shipped import find_model
from impasto.recording import RunFolder, describe_file, same_file
from impasto.stylizer import Finish, Model, StripPainting, Task, load, parse_style
from impasto.tiling.bands import BandProgress
from impasto.tiling.plan import TilingOptions

if TYPE_CHECKING:
    from impasto.batch import Work

__all__ = ["begin_run", "is_run_of_network", "paint_by_strips", "prepared", "resume_run", "task_of"]


def task_of(photo: str, look: Look) -> Task:
    """What is to be painted, as the stylizer takes it."""
    return Task(
        photo,
        list(look.style) or None,
        Finish(look.strength, look.keep_colors, look.mask),
        alpha=look.alpha,
        style_scale=look.style_scale,
        size=look.size,
        upscale=look.upscale,
        max_megapixels=look.max_megapixels,
        wishes=TilingOptions(parse_memory(look.max_memory), tile=look.tile, statistics=look.statistics),
    )


def prepared(model: Model, work: Work, look: Look, keep: Keep, folder: Path | None = None) -> StripPainting:
    """One photo's painting by strips, ready to begin; errors as of `StripPainting`."""
    task, quality, compression = task_of(work.photo, look), keep.quality, keep.compression
    return StripPainting(model, task, work.output, quality=quality, compression=compression, folder=folder)


def paint_by_strips(painting: StripPainting, look: Look, progress: Callable[[BandProgress], None] | None) -> str:
    """Tell the plan, paint and write; what was painted is told."""
    show_note(str(painting.plan))
    with closing(painting.run()) as records:
        for record in records:
            if progress is not None:
                progress(record)
    for sentence in painting.notes:
        show_note(sentence)
    height, width = painting.size
    return f"{painting.output}: {width}x{height} px, by {look.model}"


def begin_run(work: Work, look: Look, keep: Keep, folder: RunFolder, *, force: bool) -> None:
    """Paint one photo by strips, keeping what is done in a folder until the painting is written."""
    folder.check_free()
    model = load(look.model, device=look.device, precision=look.precision)
    look = _anywhere(look, any_style=model.any_style)
    painting = prepared(model, work, look, keep, folder.folder)
    files: list[str | Path] = [work.photo, find_model(look.model), *look.mask]
    files += [parse_style(text)[0] for text in look.style] if model.any_style else []
    folder.create(
        {
            "files": [describe_file(path) for path in files],
            "photo": str(Path(work.photo).resolve()),
            "look": vars(look),
            "keep": vars(keep),
            "output": str(Path(work.output).absolute()),
            "force": force,
        }
    )
    _run(painting, look, folder)


def resume_run(folder: RunFolder, output: str | None, *, force: bool) -> None:
    """Go on with a run that `begin_run` began; DataError if it is damaged, or its files gone or changed."""
    from impasto.batch import Work

    found = folder.description()
    try:
        for row in found["files"]:
            same_file(row)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in found["look"].items()
        }
        look, keep, work = Look(**values), Keep(**found["keep"]), Work(found["photo"], output or found["output"])
        force = force or (output is None and bool(found["force"]))
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder.folder}: the description of the run is damaged ({error}); start a new run") from error
    check_output(work.output, force=force, inputs=[work.photo, *look.inputs])
    model = load(look.model, device=look.device, precision=look.precision)
    _run(prepared(model, work, look, keep, folder.folder), look, folder)


def is_run_of_network(folder: RunFolder) -> bool:
    """Whether `begin_run` began it; DataError if there is no run."""
    return "look" in folder.description()


def _run(painting: StripPainting, look: Look, folder: RunFolder) -> None:
    done = 0.0

    def tell(record: BandProgress) -> None:
        nonlocal done
        done = record.done
        show(record)

    try:
        with bar() as show:
            told = paint_by_strips(painting, look, tell)
    except KeyboardInterrupt:
        show_note(f"stopped, {done:.0%} is done; to go on: impasto stylize --resume {folder.folder}")
        raise typer.Exit(130) from None
    folder.close()
    show_note(told)


def _anywhere(look: Look, *, any_style: bool) -> Look:
    """The same look from whatever folder it is resumed."""
    changes: dict[str, Any] = {"mask": tuple(str(Path(path).resolve()) for path in look.mask)}
    if any_style:
        parts = [parse_style(text) for text in look.style]
        changes["style"] = tuple(f"{Path(path).resolve()}:{weight}" for path, weight in parts)
    if Path(look.model).exists():
        changes["model"] = str(Path(look.model).resolve())
    return replace(look, **changes)
