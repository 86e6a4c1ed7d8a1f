"""An evaluation from beginning to end: what is to be painted, the painting, and what came of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from impasto.core.precision import pick_device
from impasto.evaluation.contenders import Contender
from impasto.evaluation.distances import Judge
from impasto.evaluation.report import as_json, summarise
from impasto.evaluation.run import Painted, Scored, evaluate, plan
from impasto.evaluation.sheet import EvaluationSheet
from impasto.evaluation.tables import ScoreTable, score_tables
from impasto.training.photos import PhotoSource
from impasto.training.sources import StyleSource

__all__ = ["Comparison", "Sampling"]


class Sampling(NamedTuple):
    """Which pairs are painted: those of the styles `only`, at most `limit`, drawn from `seed`; see `plan`."""

    only: Sequence[str] = ()
    limit: int | None = None
    seed: int = 0


class Comparison:
    """Contenders that paint the same pairs of photo and style, compared by judges.

    Args:
        photos, styles: what is painted.
        contenders: what paints, see `load_contenders`.
        judges: what looks at the paintings, see `load_judges`.
        sampling: which pairs.
        size: long side in px of photos and styles.
        device: where judges and contenders are.

    Attributes:
        plan: the pairs, and notes about what is left out.
        scores: of the pictures painted so far.
        sheet: of their thumbnails.

    Raises:
        OptionError: as of `plan`.
    """

    def __init__(
        self,
        photos: PhotoSource,
        styles: Sequence[StyleSource],
        contenders: Sequence[Contender],
        judges: Sequence[Judge],
        sampling: Sampling = Sampling(),  # noqa: B008  it cannot be changed
        size: int = 512,
        device: str = "auto",
    ) -> None:
        only, limit, self.seed = sampling
        self.plan = plan(photos, styles, contenders, only=only, limit=limit, seed=self.seed)
        self.contenders, self.judges, self.size, self.device = contenders, judges, size, pick_device(device)
        self.scores: list[Scored] = []
        self.sheet = EvaluationSheet(self.plan, [contender.name for contender in contenders], size)

    def run(self) -> Generator[Painted, None, None]:
        """Paint and judge every pair, keeping the scores and thumbnails; errors as of `evaluate`."""
        painting = evaluate(self.plan, self.contenders, self.judges, size=self.size, device=self.device)
        with closing(painting) as records:
            for painted in records:
                self.scores.append(painted.score)
                self.sheet.add(painted)
                yield painted

    def facts(self) -> dict[str, Any]:
        """All numbers for programs, see `as_json`."""
        about = {"size": self.size, "seed": self.seed}
        about |= {"pairs": len(self.plan.pairs), "possible_pairs": self.plan.possible}
        rows = summarise(self.scores, self.judges, seed=self.seed)
        return as_json(rows, self.scores, self.judges, **about)

    def tables(self) -> Iterator[ScoreTable]:
        """The same for people, see `score_tables`."""
        pairs, possible = len(self.plan.pairs), self.plan.possible
        about = f"{pairs} pairs{f', a sample of {possible}' if pairs < possible else ''}, {self.size} px"
        by_style = [contender.name for contender in self.contenders if contender.styles is not None]
        return score_tables(summarise(self.scores, self.judges, seed=self.seed), self.judges, by_style, about)
