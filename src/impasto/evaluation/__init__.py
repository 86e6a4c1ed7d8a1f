"""How good a painting is: distances to photo and style, with intervals and controls.

`distances` defines what is measured, `contenders` what can be measured, `run` does it for many pairs of photo and
style, `report` sums it up, `tables` and `sheet` show it.
"""

from __future__ import annotations

from impasto.evaluation.comparison import Comparison, Sampling
from impasto.evaluation.contenders import (
    Contender,
    Copied,
    ModelContender,
    Pasted,
    PresetContender,
    ResultsContender,
    load_contenders,
)
from impasto.evaluation.distances import CONTENT_TAPS, STYLE_TAPS, Distances, Judge, load_judges, measure
from impasto.evaluation.intervals import Estimate, bootstrap
from impasto.evaluation.report import Row, Verdict, as_json, summarise, write_json
from impasto.evaluation.run import CONTROLS, Painted, Pair, Plan, Scored, evaluate, plan, ssim
from impasto.evaluation.sheet import EvaluationSheet
from impasto.evaluation.tables import ScoreTable, score_tables

__all__ = [
    "CONTENT_TAPS",
    "CONTROLS",
    "STYLE_TAPS",
    "Comparison",
    "Contender",
    "Copied",
    "Distances",
    "Estimate",
    "EvaluationSheet",
    "Judge",
    "ModelContender",
    "Painted",
    "Pair",
    "Pasted",
    "Plan",
    "PresetContender",
    "ResultsContender",
    "Row",
    "Sampling",
    "ScoreTable",
    "Scored",
    "Verdict",
    "as_json",
    "bootstrap",
    "evaluate",
    "load_contenders",
    "load_judges",
    "measure",
    "plan",
    "score_tables",
    "ssim",
    "summarise",
    "write_json",
]
