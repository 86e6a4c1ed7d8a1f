"""Pictures with nothing on them, or next to nothing, among those that one trains on."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.training import universal_task
from impasto.training.checkpoint import Checkpoints
from impasto.training.gradients import LIMIT, GradientLimit
from impasto.training.gram_task import GramTask
from impasto.training.loop import TrainProgress, train
from impasto.training.settings import TrainSettings

from .training_samples import adain, johnson, multistyle, universal, workspace

pytestmark = pytest.mark.usefixtures("one_thread", "plotless")
SIDE = 48
STEPS = 8


def blank(kind: str) -> np.ndarray[Any, Any]:
    """A picture (SIDE, SIDE, 3) of 8 bits with (next to) nothing on it."""
    picture = np.full((SIDE, SIDE, 3), {"black": 0, "black noise": 0, "grey": 128}.get(kind, 255), np.uint8)
    noise = np.random.default_rng(0).integers(0, 2, picture.shape, np.uint8)
    if kind == "white noise":
        picture -= noise
    elif kind == "black noise":
        picture += noise
    elif kind == "one pixel":
        picture[20, 20] = 254
    elif kind == "gradient":
        picture -= np.linspace(0, 40, SIDE).astype(np.uint8)[None, :, None]
    return picture


BLANKS = ("white", "black", "grey", "white noise", "black noise", "one pixel", "gradient")
MAKERS: dict[str, Callable[..., TrainSettings]] = {
    "johnson": johnson,
    "brisk": multistyle,
    "multistyle": lambda root, **k: multistyle(root, network="johnson", channels=None, detail=None, width=4, **k),
    "universal": universal,
    "adain": adain,
    "adain, balanced": lambda root, **k: adain(root, style_balance=10.0, pixel_weight=4.0, **k),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(universal_task, "FIRST_CUTS", 16)
    return workspace(tmp_path / "work", photos=2)


def run(settings: TrainSettings, out: Path, **options: Any) -> list[TrainProgress]:
    return list(train(settings, out, **options))


def notes(records: list[TrainProgress]) -> list[str]:
    return [note for record in records for note in record.notes]


def second_moment(out: Path) -> float:
    """What Adam remembers of the size of gradients: the root of its largest second moment."""
    state = Checkpoints(out / "checkpoints").load(STEPS)["optimizer"]["state"]
    return max(float(one["exp_avg_sq"].max()) for one in state.values()) ** 0.5


def settings(root: Path, kind: str, **changes: Any) -> TrainSettings:
    common = {"steps": STEPS, "save_every": STEPS, "batch_size": 1, "schedule": "constant", "lr_decay": 0.0}
    return MAKERS[kind](root, **common, **changes)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], float]:
    """The `second_moment` of a training in which no picture is blank; each kind trains once."""

    @cache
    def of(kind: str) -> float:
        folder = workspace(tmp_path_factory.mktemp("usual") / "work", photos=2)
        run(settings(folder, kind), folder / "run")
        return second_moment(folder / "run")

    return of


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("photo", BLANKS)
def test_a_blank_photo_costs_no_step_and_spoils_nothing(root: Path, usual, kind: str, photo: str) -> None:
    Image.fromarray(blank(photo)).save(root / "photos" / "zz.png")
    records = run(settings(root, kind), root / "run")
    assert notes(records) == []
    assert len({record.rate for record in records[1:-1]}) == 1
    assert all(0 < record.losses["total"] < 1e6 for record in records[1:-1])
    assert second_moment(root / "run") < 2 * LIMIT * usual(kind)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("style", ["white", "grey", "one pixel"])  # these backbones see nothing at all in black
def test_a_blank_style_spoils_nothing(root: Path, usual, kind: str, style: str) -> None:
    Image.fromarray(blank(style)).save(root / "a.png")
    records = run(settings(root, kind), root / "run")
    assert notes(records) == []
    assert second_moment(root / "run") < 2 * LIMIT * usual(kind)


@pytest.mark.usefixtures("plotted")
@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_but_blank_photos(root: Path, kind: str) -> None:
    for number, photo in enumerate(("white", "black")):
        Image.fromarray(blank(photo)).save(root / "photos" / f"{number}.png")
    assert notes(run(settings(root, kind), root / "run")) == []


# -- gradients ------------------------------------------------------------------------------------------------


def test_large_gradients_are_scaled_to_five_times_the_usual() -> None:
    limit = GradientLimit()
    for _ in range(3):
        assert limit.apply({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}) == ""
    assert limit.usual == pytest.approx(5)
    large = {"a": torch.tensor([300.0]), "b": torch.tensor([400.0])}
    limit.apply(large)
    assert [float(value) for value in large.values()] == pytest.approx([15, 20])
    assert limit.usual == pytest.approx(0.9 * 5 + 0.1 * 25)
    usual = {"a": torch.tensor([6.0]), "b": torch.tensor([8.0])}
    limit.apply(usual)
    assert [float(value) for value in usual.values()] == [6, 8]


def test_what_is_not_finite_in_gradients_is_named() -> None:
    bad = torch.tensor([float("nan"), 1.0])
    limit = GradientLimit(2.0)
    assert limit.apply({"conv1.weight": torch.ones(2), "conv2.weight": bad}) == "gradient (conv2.weight)"
    names = [f"conv{i}" for i in range(5)]
    assert limit.apply(dict.fromkeys(names, bad)) == "gradient (conv0, conv1, conv2 and 2 more)"
    assert limit.usual == 2.0


@pytest.mark.parametrize(
    ("spoilt", "named"),
    [("style/relu2_1", r"loss \(style/relu2_1\)"), ("total", r"loss \(total\)"), ("", r"gradient \(conv1\.")],
)
def test_a_skipped_step_tells_why(root: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str, named: str) -> None:
    usual, calls = GramTask.terms, []

    def terms(self: Any, paint: Any, batch: Any) -> Any:
        found = usual(self, paint, batch)
        calls.append(len(calls))
        if len(calls) != 2:
            return found
        if not spoilt:
            found["total"].register_hook(lambda grad: grad * float("nan"))
        return {**found, **({spoilt: found[spoilt] * float("inf")} if spoilt else {})}

    monkeypatch.setattr(GramTask, "terms", terms)
    (note,) = notes(run(johnson(root, batch_size=2), root / "run"))
    assert note.startswith("step 2 is skipped: its ")
    assert re.search(named, note)
    assert "(photos: " in note
    assert "0.png" in note
    assert "1.png" in note


def test_the_names_are_of_the_photos_that_took_the_place_of_bad_ones(root: Path) -> None:
    from impasto.training.data import BatchPlan, open_photos, photos_of

    source = open_photos([str(root / "photos")])
    plan = BatchPlan(2, 2, seed=0)
    names = photos_of(source, plan, 0)
    assert sorted(Path(name).name for name in names) == ["0.png", "1.png"]
    assert photos_of(source, plan, 0, {names[0]}) == [names[1], names[1]]


def test_runs_of_earlier_versions_go_on(root: Path) -> None:
    out = root / "run"
    records = train(johnson(root), out)
    for record in records:
        if record.step == 3:
            break
    records.close()
    checkpoints = Checkpoints(out / "checkpoints")
    state = checkpoints.load(3)
    assert state["gradient"] > 0
    for name in ("gradient", "format", "step", "sha256"):
        state.pop(name)
    checkpoints.save(3, state, None)
    assert run(johnson(root), out, resume=True)[-1].step == 6
