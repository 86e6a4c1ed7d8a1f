"""Scores of many pictures, summed up."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from statistics import median
from typing import Any

from impasto.evaluation.distances import Distances, Judge
from impasto.evaluation.intervals import CONFIDENCE, RESAMPLES, Estimate, bootstrap
from impasto.evaluation.run import Scored
from impasto.files import atomic_path

__all__ = ["Row", "Verdict", "as_json", "summarise", "write_json"]

FORMAT = 1


@dataclass(frozen=True)
class Verdict:
    """What one judge says of one method. Distances are means over pairs, shares means divided by the copies' mean."""

    content: Estimate
    style: Estimate
    share: Estimate
    content_by_layer: Mapping[str, Estimate]
    style_by_layer: Mapping[str, Estimate]
    share_by_layer: Mapping[str, Estimate]


@dataclass(frozen=True)
class Row:
    """One method, over all pairs or over those of one style.

    `seconds` is the median of a picture's; None if the method paints none.
    """

    method: str
    control: bool
    style: str | None
    pairs: int
    seconds: float | None
    ssim: Estimate
    verdicts: Mapping[str, Verdict]


def summarise(scores: Sequence[Scored], judges: Sequence[Judge], *, seed: int = 0) -> list[Row]:
    """A row for every method in the order of appearance, then, where there are several styles, one for each of them."""
    by_method: dict[str, list[Scored]] = {}
    for score in scores:
        by_method.setdefault(score.method, []).append(score)
    rows = [_row(mine, None, judges, seed) for mine in by_method.values()]
    for mine in by_method.values():
        styles = sorted({score.style for score in mine})
        if len(styles) > 1:
            rows += [_row([score for score in mine if score.style == style], style, judges, seed) for style in styles]
    return rows


def _row(scores: Sequence[Scored], style: str | None, judges: Sequence[Judge], seed: int) -> Row:
    seconds = [score.seconds for score in scores if score.seconds is not None]
    return Row(
        scores[0].method,
        scores[0].control,
        style,
        len(scores),
        median(seconds) if seconds else None,
        bootstrap([score.ssim for score in scores], seed=seed),
        {judge.name: _verdict([score.distances[judge.name] for score in scores], judge, seed) for judge in judges},
    )


def _verdict(found: Sequence[Distances], judge: Judge, seed: int) -> Verdict:
    def over(taps: Iterable[str], get: Callable[[Distances, str], float]) -> dict[str, Estimate]:
        return {tap: bootstrap([get(d, tap) for d in found], seed=seed) for tap in taps}

    style, copied = [d.style for d in found], [d.copied for d in found]
    return Verdict(
        bootstrap([d.content for d in found], seed=seed),
        bootstrap(style, seed=seed),
        bootstrap(style, copied, seed=seed),
        over(judge.content, lambda d, tap: d.content_by_layer[tap]),
        over(judge.style, lambda d, tap: d.style_by_layer[tap]),
        {
            tap: bootstrap([d.style_by_layer[tap] for d in found], [d.copied_by_layer[tap] for d in found], seed=seed)
            for tap in judge.style
        },
    )


def as_json(rows: Sequence[Row], scores: Sequence[Scored], judges: Sequence[Judge], **about: Any) -> dict[str, Any]:
    """All of it for programs; numbers that are not finite become null.

    Keys: ``kind`` ("evaluation"), ``format``, whatever `about` says, ``confidence``, ``resamples``, ``backbones``
    (``name``, ``content_layers``, ``style_layers``), ``methods`` (one per row, see below), ``pictures`` (the single
    results: ``method``, ``photo``, ``style``, ``ssim``, ``seconds`` and, by backbone, ``distances`` with
    ``content``, ``style``, ``copied``, ``content_by_layer``, ``style_by_layer``, ``copied_by_layer``).

    A method has ``method``, ``control``, ``style`` (null for the row over all), ``pairs``, ``seconds``, ``ssim``
    and, by backbone, ``verdicts`` with ``content``, ``style``, ``share``, ``content_by_layer``, ``style_by_layer``
    and ``share_by_layer``. An estimate has ``mean``, ``low`` and ``high``; the last two are null for one pair alone.
    """
    found: dict[str, Any] = {
        "kind": "evaluation",
        "format": FORMAT,
        **about,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "backbones": [
            {"name": judge.name, "content_layers": judge.content, "style_layers": judge.style} for judge in judges
        ],
        "methods": rows,
        "pictures": scores,
    }
    return {key: _plain(value) for key, value in found.items()}


def write_json(facts: Mapping[str, Any], file: str | os.PathLike[str]) -> None:
    """Write what `as_json` made, whole or not at all. OutputError if it cannot be written."""
    with atomic_path(file) as temporary:
        text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Whatever is in there as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
