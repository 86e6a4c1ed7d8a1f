"""``impasto stylize`` with several photos: a bar, a summary of what failed, exit code 1 if anything did."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from impasto.batch import Done, Work, gather, paint_all
from impasto.cli.common import show_error, show_note
from impasto.imaging import losses, write

if TYPE_CHECKING:
    from impasto.cli.jobs import Job

__all__ = ["optimizer_of", "paint_many"]


def optimizer_of(job_of: Callable[[Work], Job], *, force: bool) -> Callable[[Work], str]:
    """What paints one photo after another by optimisation, and tells what it wrote."""

    def paint(work: Work) -> str:
        job = job_of(work)
        job.check(force=force, with_run=False)
        painting = job.prepare()
        for _ in painting.optimization.run():
            pass
        picture, keep = painting.result(), job.keep
        for sentence in losses(picture, work.output, keep_metadata=keep.metadata):
            show_note(sentence)
        write(
            picture,
            work.output,
            force=force,
            inputs=job.inputs,
            quality=keep.quality,
            compression=keep.compression,
            keep_metadata=keep.metadata,
        )
        return f"{work.output}: {picture.width}x{picture.height} px, {painting.optimization.steps} steps"

    return paint


def paint_many(photos: Sequence[str], folder: str, painter: Callable[[], Callable[[Work], str]], jobs: int) -> None:
    """Paint all photos into a folder; what fails is told at the end, and stops no other."""
    works = gather(photos, folder)
    failed: list[Done] = []
    done = 0
    with closing(paint_all(works, painter(), jobs)) as records:
        try:
            for record in _with_bar(records, len(works)):
                done = record.done
                if record.error is None:
                    show_note(record.told)
                else:
                    failed.append(record)
        except KeyboardInterrupt:
            show_note(f"stopped: {done - len(failed)} of {len(works)} photos are painted")
            raise typer.Exit(130) from None
    show_note(f"{len(works) - len(failed)} of {len(works)} photos are painted, in {folder}")
    for record in failed:
        show_error(record.reason)
    if failed:
        raise typer.Exit(1)


def _with_bar(records: Iterator[Done], total: int) -> Iterator[Done]:
    """The records, counted on the terminal as they come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("painting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("painting", total=total)
        for record in records:
            bar.update(task, completed=record.done)
            yield record
