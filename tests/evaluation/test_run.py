"""Which pairs are painted, and what is said of each, with painters and judges of toy size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from impasto.errors import DataError, ImageError, OptionError
from impasto.evaluation import Contender, Copied, Pasted, Plan, ResultsContender, evaluate, plan, ssim
from impasto.training.photos import open_photos
from impasto.training.sources import gather_styles

from .evaluation_samples import make_pictures, toy_judge

pytestmark = pytest.mark.usefixtures("one_thread")


class Halfway:
    """Knows two styles, and paints the mean of photo and grey."""

    name, styles = "halfway", ("night", "wave")

    def can(self, photo: str, style: str) -> bool:
        return style in self.styles

    def paint(self, photo: tuple[str, Tensor], style: tuple[str, Tensor]) -> Tensor:
        return (photo[1] + 0.5) / 2


@pytest.fixture
def photos(tmp_path: Path) -> str:
    return make_pictures(tmp_path / "photos", "one", "two", "three_3")


@pytest.fixture
def styles(tmp_path: Path) -> str:
    return make_pictures(tmp_path / "styles", "night", "wave", "fog", size=(40, 60))


def make_plan(photos: str, styles: str, *contenders: Contender, **options) -> Plan:
    return plan(open_photos(photos), gather_styles([styles]), contenders, **options)


def named(what: Plan) -> list[tuple[str, str]]:
    return [(what.names[pair.photo], what.styles[pair.style].name) for pair in what.pairs]


def test_all_pairs_photo_after_photo(photos: str, styles: str) -> None:
    what = make_plan(photos, styles)
    assert named(what) == [(p, s) for p in ("one", "three-3", "two") for s in ("fog", "night", "wave")]
    assert what.possible == 9


def test_photos_that_cannot_be_read_have_no_place_in_a_sample(photos: str, styles: str) -> None:
    Path(photos, "two.png").write_bytes(Path(photos, "two.png").read_bytes()[:60])
    for limit in (None, 5):
        what = make_plan(photos, styles, limit=limit)
        assert {photo for photo, _ in named(what)} == {"one", "three-3"}
        assert (len(what.pairs), what.possible) == (limit or 6, 6)
        (note,) = what.notes
        assert note.startswith(f"{photos}/two.png: ")


def test_a_sample_takes_photos_and_styles_evenly(photos: str, styles: str) -> None:
    found = set()
    for seed in range(4):
        what = make_plan(photos, styles, limit=6, seed=seed)
        pairs = named(what)
        assert len(set(pairs)) == 6
        assert set(Counter(photo for photo, _ in pairs).values()) == {2}
        assert set(Counter(style for _, style in pairs).values()) == {2}
        assert pairs == named(make_plan(photos, styles, limit=6, seed=seed))
        found.add(tuple(pairs))
    assert len(found) > 1
    assert what.possible == 9


def test_only_what_everybody_can_paint(photos: str, styles: str) -> None:
    assert {style for _, style in named(make_plan(photos, styles, Halfway()))} == {"night", "wave"}
    assert {style for _, style in named(make_plan(photos, styles, Halfway(), only=["wave"]))} == {"wave"}


def test_a_style_without_a_picture_is_left_out_and_told(photos: str, tmp_path: Path) -> None:
    what = make_plan(photos, make_pictures(tmp_path / "few", "wave"), Halfway())
    assert what.notes == ("halfway: no style picture is called night; left out",)


def test_names_that_do_not_match(photos: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="halfway has the styles night, wave, but the style pictures are sea"):
        make_plan(photos, make_pictures(tmp_path / "other", "sea"), Halfway())


def test_a_style_that_is_not_there(photos: str, styles: str) -> None:
    with pytest.raises(OptionError, match=r"no style picture is called 'mist': there are fog, night, wave"):
        make_plan(photos, styles, only=["mist"])


def test_every_pair_is_painted_by_all_and_by_the_controls(photos: str, styles: str) -> None:
    judges = [toy_judge(0, "left"), toy_judge(1, "right")]
    what = make_plan(photos, styles, Halfway())
    painted = list(evaluate(what, [Halfway()], judges, size=48))
    assert [p.done for p in painted] == list(range(1, 19))
    assert {p.total for p in painted} == {18}
    assert Counter(p.score.method for p in painted) == {"halfway": 6, "photo copied": 6, "style pasted": 6}
    for picture, score in ((p.picture, p.score) for p in painted):
        assert picture.shape == (1, 3, 39, 48)  # 44x36 px brought to 48 px
        assert list(score.distances) == ["left", "right"]
        assert score.control == (score.method != "halfway")
        for d in score.distances.values():
            assert list(d.content_by_layer) == ["relu1_2", "relu2_1"]
            if score.method == "photo copied":
                assert (d.content, d.style, score.ssim) == (0, d.copied, pytest.approx(1))
            else:
                assert d.content > 0
                assert d.style != d.copied


def test_what_is_painted_is_what_is_judged(photos: str, styles: str) -> None:
    """The style pasted, on a style of the photo's own size, is the style itself."""
    what = make_plan(photos, make_pictures(Path(styles).with_name("same"), "night"), only=["night"])
    pasted = [p.score for p in evaluate(what, [], [toy_judge()], size=44) if p.score.method == Pasted.name]
    assert [score.distances["toy"].style for score in pasted] == [0, 0, 0]


def test_ssim_is_of_structure_in_luminance() -> None:
    draw = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, 32, 40, generator=draw)
    noisy = (photo + 0.2 * torch.randn(photo.shape, generator=draw)).clamp(0, 1)
    assert ssim(photo, photo) == pytest.approx(1)
    assert 0.3 < ssim(noisy, photo) < 0.95
    grey = (photo * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    assert ssim(grey, photo) == pytest.approx(1, abs=1e-4)


# -- pictures painted by another program ------------------------------------------------------------------------------


def test_results_are_found_by_the_names_of_photo_and_style(photos: str, styles: str, tmp_path: Path) -> None:
    make_pictures(tmp_path / "theirs", "one--night", "three_3--WAVE", "unrelated")
    theirs = ResultsContender(tmp_path / "theirs")
    assert theirs.name == "theirs"
    what = make_plan(photos, styles, theirs)
    assert named(what) == [("one", "night"), ("three-3", "wave")]
    scores = [p.score for p in evaluate(what, [theirs], [toy_judge()], size=44) if not p.score.control]
    assert [score.photo for score in scores] == ["one", "three-3"]
    assert all(score.distances["toy"].content > 0 for score in scores)


def test_a_copy_as_a_result_is_judged_like_the_control(photos: str, styles: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "one--fog.png").write_bytes((Path(photos) / "one.png").read_bytes())
    theirs = ResultsContender(tmp_path / "theirs")
    scores = [p.score for p in evaluate(make_plan(photos, styles, theirs), [theirs], [toy_judge()], size=44)]
    assert scores[0].distances == next(s for s in scores if s.method == Copied.name).distances


def test_a_result_of_other_proportions(photos: str, styles: str, tmp_path: Path) -> None:
    theirs = ResultsContender(Path(make_pictures(tmp_path / "theirs", "one--fog", size=(36, 44))))
    with pytest.raises(ImageError, match=r"one--fog.png: 36x44 px, .* proportions of 44x36: not a painting of it"):
        list(evaluate(make_plan(photos, styles, theirs), [theirs], [toy_judge()], size=44))


def test_results_of_other_photos(photos: str, styles: str, tmp_path: Path) -> None:
    theirs = ResultsContender(Path(make_pictures(tmp_path / "theirs", "four--fog")))
    with pytest.raises(OptionError, match="theirs has none of these photos: one, three-3, two"):
        make_plan(photos, styles, theirs)


@pytest.mark.parametrize(("folder", "told"), [("photos", "no results found"), ("nowhere", "no such folder")])
def test_a_folder_without_results(photos: str, folder: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        ResultsContender(Path(photos).with_name(folder))
