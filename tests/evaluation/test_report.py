"""Sums over pairs and styles, from scores made up."""

from __future__ import annotations

import json
import math

import pytest

from impasto.evaluation import Distances, Scored, as_json, summarise

from .evaluation_samples import toy_judge

JUDGE = toy_judge()


def scored(method: str, style: str, content: float, left: float, copied: float) -> Scored:
    by_style, by_copy = dict.fromkeys(JUDGE.style, left), dict.fromkeys(JUDGE.style, copied)
    distances = Distances(content, left, copied, dict.fromkeys(JUDGE.content, content), by_style, by_copy)
    return Scored(method, method == "control", "photo", style, 0.5, 2.0, {JUDGE.name: distances})


SCORES = [
    scored("brush", "night", content=0.4, left=0.1, copied=1.0),
    scored("control", "night", content=0.0, left=1.0, copied=1.0),
    scored("brush", "wave", content=0.8, left=0.1, copied=0.25),
    scored("control", "wave", content=0.0, left=0.25, copied=0.25),
]


def test_methods_first_then_their_styles() -> None:
    rows = summarise(SCORES, [JUDGE])
    found = [(row.method, row.style, row.pairs, row.control) for row in rows]
    assert found == [
        ("brush", None, 2, False),
        ("control", None, 2, True),
        ("brush", "night", 1, False),
        ("brush", "wave", 1, False),
        ("control", "night", 1, True),
        ("control", "wave", 1, True),
    ]


def test_shares_are_means_divided_by_the_copies_mean() -> None:
    brush, control, night, *_ = (row.verdicts[JUDGE.name] for row in summarise(SCORES, [JUDGE]))
    assert brush.content.mean == pytest.approx(0.6)
    assert brush.style.mean == pytest.approx(0.1)
    assert brush.share.mean == pytest.approx(0.2 / 1.25)
    assert brush.share_by_layer["relu2_1"].mean == pytest.approx(0.2 / 1.25)
    assert brush.content_by_layer["relu1_2"].mean == pytest.approx(0.6)
    assert night.share.mean == pytest.approx(0.1)
    assert control.share.mean == 1


def test_one_style_has_no_rows_of_its_own() -> None:
    assert [row.style for row in summarise(SCORES[:2], [JUDGE])] == [None, None]


def test_json_holds_all_of_it_and_no_nan() -> None:
    scores = [*SCORES, scored("brush", "none", content=math.inf, left=0.0, copied=0.0)]
    facts = as_json(summarise(scores, [JUDGE]), scores, [JUDGE], size=512)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["kind"], facts["format"], facts["size"], facts["confidence"]) == ("evaluation", 1, 512, 0.95)
    assert facts["backbones"] == [
        {"name": "toy", "content_layers": ["relu1_2", "relu2_1"], "style_layers": ["relu1_1", "relu2_1"]}
    ]
    overall = facts["methods"][0]
    assert overall["method"] == "brush"
    assert overall["style"] is None
    assert overall["verdicts"]["toy"]["content"]["mean"] is None
    assert overall["verdicts"]["toy"]["style_by_layer"]["relu1_1"]["mean"] == pytest.approx(0.2 / 3)
    assert facts["pictures"][0]["distances"]["toy"]["content"] == 0.4
    assert facts["pictures"][-1]["distances"]["toy"]["content"] is None
