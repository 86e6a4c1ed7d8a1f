"""How good a painting is: distances to photo and style, with intervals and controls.

`distances` defines what is measured, `contenders` what can be measured, `run` does it for many pairs of photo and
style, `report` sums it up.
"""

from __future__ import annotations

from impasto.evaluation.contenders import Contender, Copied, ModelContender, Pasted, PresetContender, ResultsContender
from impasto.evaluation.distances import CONTENT_TAPS, STYLE_TAPS, Distances, Judge, measure
from impasto.evaluation.intervals import Estimate, bootstrap
from impasto.evaluation.report import Row, Verdict, as_json, summarise
from impasto.evaluation.run import CONTROLS, Painted, Pair, Plan, Scored, evaluate, plan, ssim

__all__ = [
    "CONTENT_TAPS",
    "CONTROLS",
    "STYLE_TAPS",
    "Contender",
    "Copied",
    "Distances",
    "Estimate",
    "Judge",
    "ModelContender",
    "Painted",
    "Pair",
    "Pasted",
    "Plan",
    "PresetContender",
    "ResultsContender",
    "Row",
    "Scored",
    "Verdict",
    "as_json",
    "bootstrap",
    "evaluate",
    "measure",
    "plan",
    "ssim",
    "summarise",
]
