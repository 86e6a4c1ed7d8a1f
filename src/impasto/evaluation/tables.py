"""What an evaluation found, as tables of text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from impasto.evaluation.distances import Judge
from impasto.evaluation.intervals import Estimate
from impasto.evaluation.report import Row

__all__ = ["ScoreTable", "score_tables"]


class ScoreTable(NamedTuple):
    """A title, names of columns, and rows of as many cells; `controls` are the last rows, which show the range."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    controls: int


def score_tables(
    rows: Sequence[Row], judges: Sequence[Judge], by_style: Sequence[str], about: str
) -> Iterator[ScoreTable]:
    """For each judge: all methods, layer by layer, and style by style those named in `by_style`.

    Args:
        rows: as of `summarise`.
        judges: who judged.
        by_style: names of the contenders that know their styles.
        about: what was evaluated, for the title.
    """
    whole = sorted((row for row in rows if row.style is None), key=lambda row: row.control)
    controls = sum(row.control for row in whole)
    columns = ("", "content", "style distance", "style left", "SSIM", "pairs", "s")
    for judge in judges:
        scores = tuple(_scores(row, judge) for row in whole)
        yield ScoreTable(f"{judge.name}: {about}", columns, scores, controls)
        layers = ("", *(f"left: {tap}" for tap in judge.style), *(f"content: {tap}" for tap in judge.content))
        yield ScoreTable(
            f"{judge.name}: layer by layer", layers, tuple(_by_layer(row, judge) for row in whole), controls
        )
        for name in by_style:
            mine = tuple(_scores(row, judge) for row in rows if row.method == name and row.style is not None)
            if mine:
                yield ScoreTable(f"{judge.name}: {name}, style by style", columns, mine, 0)


def _scores(row: Row, judge: Judge) -> tuple[str, ...]:
    verdict = row.verdicts[judge.name]
    return (
        row.style or row.method,
        _interval(verdict.content, "{:.3f}"),
        _interval(verdict.style, "{:.3f}"),
        _interval(verdict.share, "{:.1%}"),
        _interval(row.ssim, "{:.3f}"),
        str(row.pairs),
        "" if row.seconds is None else f"{row.seconds:.2f}",
    )


def _by_layer(row: Row, judge: Judge) -> tuple[str, ...]:
    verdict = row.verdicts[judge.name]
    left = (f"{verdict.share_by_layer[tap].mean:.1%}" for tap in judge.style)
    content = (f"{verdict.content_by_layer[tap].mean:.3f}" for tap in judge.content)
    return row.method, *left, *content


def _interval(estimate: Estimate, form: str) -> str:
    """``0.482 [0.440-0.525]`` or ``12.3% [9.9-15.1]``: a narrow table breaks it before the bracket alone."""
    mean = form.format(estimate.mean)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} [{form.format(estimate.low).rstrip('%')}-{form.format(estimate.high).rstrip('%')}]"
