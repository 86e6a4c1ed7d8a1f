"""What ``impasto evaluate`` leaves: tables on the console, a file of numbers, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from impasto.evaluation import Contender, Estimate, Judge, Painted, Plan, Row
    from impasto.imaging import Picture

__all__ = ["Sheet", "print_tables", "write_json"]

SHEET_SIDE = 192  # px of a picture on the sheet, at most


def write_json(facts: Mapping[str, Any], file: str) -> None:
    """To a file, whole or not at all, or to standard output for ``-``."""
    from impasto.files import atomic_path

    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    if file == "-":
        typer.echo(text)
        return
    with atomic_path(file) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


class Sheet:
    """Photos by styles, the styles on top; for several methods, each photo has a row for each."""

    def __init__(self, what: Plan, methods: Sequence[str], size: int) -> None:
        self._what, self._methods, self._side = what, methods, min(size, SHEET_SIDE)
        self._small: dict[tuple[str, str, str], NDArray[np.float32]] = {}
        self._photos: dict[str, NDArray[np.float32]] = {}

    def add(self, painted: Painted) -> None:
        """Keep a thumbnail."""
        from impasto.core.tensors import to_array
        from impasto.evaluation import Copied
        from impasto.imaging.sheets import thumbnail

        score = painted.score
        if score.method in self._methods:
            self._small[score.method, score.photo, score.style] = thumbnail(to_array(painted.picture), self._side)
        elif score.method == Copied.name and score.photo not in self._photos:
            self._photos[score.photo] = thumbnail(to_array(painted.picture), self._side)

    def picture(self) -> Picture:
        """All that was added."""
        from impasto.imaging.sheets import Cell, contact_sheet

        styles = [self._what.styles[i] for i in sorted({pair.style for pair in self._what.pairs})]
        rows = [[Cell(), *(Cell(style.picture().seen(), style.name) for style in styles)]]
        for photo, image in self._photos.items():
            for number, method in enumerate(self._methods):
                label = method if len(self._methods) > 1 else ""
                first = Cell(image, photo) if number == 0 else Cell()
                found = [self._small.get((method, photo, style.name)) for style in styles]
                rows.append([first, *(Cell(picture, label if picture is not None else "") for picture in found)])
        return contact_sheet(rows, self._side)


def print_tables(rows: Sequence[Row], judges: Sequence[Judge], contenders: Sequence[Contender], about: str) -> None:
    """For each judge: all methods, layer by layer, and style by style those that know their styles."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    many = [c.name for c in contenders if c.styles is not None]
    for judge in judges:
        console.print(_table(f"{judge.name}: {about}", [row for row in rows if row.style is None], judge))
        console.print(_layers(judge, [row for row in rows if row.style is None]))
        for name in many:
            one_by_one = [row for row in rows if row.method == name and row.style is not None]
            if one_by_one:
                console.print(_table(f"{judge.name}: {name}, style by style", one_by_one, judge))


def _table(title: str, rows: Sequence[Row], judge: Judge) -> Table:
    table = _new_table(title, "", "content", "style distance", "style left", "SSIM", "pairs", "s")
    for i, row in enumerate(rows):
        verdict = row.verdicts[judge.name]
        cells = (
            row.style or row.method,
            _interval(verdict.content, "{:.3f}"),
            _interval(verdict.style, "{:.3f}"),
            _interval(verdict.share, "{:.1%}"),
            _interval(row.ssim, "{:.3f}"),
            str(row.pairs),
            "" if row.control else f"{row.seconds:.2f}",
        )
        controls_next = i + 1 < len(rows) and rows[i + 1].control and not row.control
        table.add_row(*cells, style="dim" if row.control else None, end_section=controls_next)
    return table


def _layers(judge: Judge, rows: Sequence[Row]) -> Table:
    left, content = [f"left: {tap}" for tap in judge.style], [f"content: {tap}" for tap in judge.content]
    table = _new_table(f"{judge.name}: layer by layer", "", *left, *content)
    for row in rows:
        verdict = row.verdicts[judge.name]
        cells = [f"{verdict.share_by_layer[tap].mean:.1%}" for tap in judge.style]
        cells += [f"{verdict.content_by_layer[tap].mean:.3f}" for tap in judge.content]
        table.add_row(row.method, *cells, style="dim" if row.control else None)
    return table


def _new_table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold", no_wrap=number == 0)
    return table


def _interval(estimate: Estimate, form: str) -> str:
    """``0.482 [0.440-0.525]`` or ``12.3% [9.9-15.1]``: a narrow table breaks it before the bracket alone."""
    mean = form.format(estimate.mean)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} [{form.format(estimate.low).rstrip('%')}-{form.format(estimate.high).rstrip('%')}]"
