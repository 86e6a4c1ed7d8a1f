"""An evaluation from beginning to end in Python: scores, numbers, tables, sheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from impasto.errors import OptionError
from impasto.evaluation import Comparison, Copied, Pasted, Sampling, load_contenders, load_judges, write_json
from impasto.training.photos import open_photos
from impasto.training.sources import gather_styles

pytestmark = pytest.mark.usefixtures("one_thread", "folder")


class Half(Copied):
    """Half of the photo's light."""

    name = "half"

    def paint(self, photo, style):
        return photo[1] / 2


@pytest.fixture
def comparison(tiny_backbone: Path) -> Comparison:
    from impasto.core.weights import load_backbone
    from impasto.evaluation import Judge

    judge = Judge("tiny", load_backbone(tiny_backbone, input="none"), content=("relu1_2",), style=("relu1_1",))
    photos, styles = open_photos(["photo.png", "wave.png"]), gather_styles(["night.png"])
    return Comparison(photos, styles, [Half()], [judge], Sampling(limit=1), 40, "cpu")


def test_it_paints_counts_and_shows(comparison: Comparison, tmp_path: Path) -> None:
    records = list(comparison.run())
    assert [record.done for record in records] == [1, 2, 3]
    assert [score.method for score in comparison.scores] == ["half", Copied.name, Pasted.name]
    facts = comparison.facts()
    assert (facts["pairs"], facts["possible_pairs"], facts["size"], facts["seed"]) == (1, 2, 40, 0)
    whole, layers = comparison.tables()
    assert whole.title == "tiny: 1 pairs, a sample of 2, 40 px"
    assert [row[0] for row in whole.rows] == ["half", Copied.name, Pasted.name]
    assert whole.controls == layers.controls == 2
    assert all(len(row) == len(table.columns) for table in (whole, layers) for row in table.rows)
    assert whole.rows[1][3] == "100.0%"
    assert comparison.sheet.picture().rgb.shape[1] > 80
    write_json(facts, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == json.loads(json.dumps(facts))


def test_two_of_one_name_are_refused() -> None:
    photos, styles = open_photos(["photo.png"]), gather_styles(["night.png"])
    with pytest.raises(OptionError, match="two things are called 'half'"):
        Comparison(photos, styles, [Half(), Half()], [])
    with pytest.raises(OptionError, match="two things are called 'photo copied'"):
        Comparison(photos, styles, [Copied()], [])


def test_judges_and_contenders_by_name() -> None:
    assert [judge.name for judge in load_judges(["compact", "compact"])] == ["compact"]
    assert [one.name for one in load_contenders(["gallery"], ["quick"])] == ["gallery", "quick"]
