"""Training the network of any style that looks once: batches, whose turn it is, and a run at toy size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.core.precision import choose_precision
from impasto.core.weights import load_backbone
from impasto.errors import DataError, OptionError
from impasto.files import sha256
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.universal import Universal
from impasto.training import universal_task
from impasto.training.checkpoint import Checkpoints
from impasto.training.loop import TrainProgress, train
from impasto.training.objectives import GramObjective
from impasto.training.recipe import from_table, read_recipe
from impasto.training.run_folder import RunFolder
from impasto.training.settings import JUDGING, TrainSettings, UniversalSettings, Weights
from impasto.training.sources import open_styles
from impasto.training.task import Batch, Shard
from impasto.training.universal_task import UniversalTask

from .training_samples import johnson, multistyle, universal, workspace, write_backbone

pytestmark = pytest.mark.usefixtures("one_thread", "plotless")
RECIPES = Path(__file__).resolve().parents[2] / "recipes"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(universal_task, "FIRST_CUTS", 16)
    root = workspace(tmp_path / "work")
    write_backbone(root / "second.safetensors", seed=7)
    return root


def make(root: Path, **changes: Any) -> UniversalTask:
    return UniversalTask(universal(root, **changes), torch.device("cpu"), choose_precision("cpu", "float32"))


def take(task: UniversalTask, count: int, start: int = 0, **shard: int) -> list[Batch]:
    with closing(task.batches(start, Shard(**shard))) as batches:
        return [next(batches) for _ in range(count)]


def run(settings: TrainSettings, out: Path, **options: Any) -> list[TrainProgress]:
    return list(train(settings, out, **options))


def loaded(root: Path, out: Path) -> tuple[Universal, dict[str, Any]]:
    network, about = load_model(out / "model.safetensors", encoder=load_backbone(root / "deep.safetensors"))
    assert isinstance(network, Universal)
    return network, about


# -- batches --------------------------------------------------------------------------------------------------


def test_each_photo_has_a_style_of_its_size(root: Path) -> None:
    first, second = take(make(root, batch_size=3), 2)
    assert first.photos.shape == first.styles.shape == (3, 3, 32, 32)
    assert first.own is None
    assert not torch.equal(first.styles, second.styles)
    assert not torch.equal(first.styles, first.photos)


def test_batches_go_on_where_they_were_and_are_shared_among_processes(root: Path) -> None:
    task = make(root, batch_size=4, second_backbone=str(root / "second.safetensors"), second_every=2)
    half = make(root, batch_size=2, second_backbone=str(root / "second.safetensors"), second_every=2)
    whole = take(task, 4)
    for ours, theirs in zip(whole[2:], take(task, 2, start=2), strict=True):
        assert torch.equal(ours.photos, theirs.photos)
        assert torch.equal(ours.styles, theirs.styles)
        assert ours.turn == theirs.turn
    parts = [take(half, 4, rank=rank, world_size=2) for rank in (0, 1)]
    for batch, one, other in zip(whole, *parts, strict=True):
        assert torch.equal(batch.photos, torch.cat([one.photos, other.photos]))
        assert torch.equal(batch.styles, torch.cat([one.styles, other.styles]))
        assert batch.turn == one.turn == other.turn


def test_half_of_the_styles_are_dyed_which_their_number_alone_decides() -> None:
    grey = torch.tensor([0.1, 0.5, 0.9])[:, None, None].expand(3, 2, 2)
    dyed = [universal_task._dyed(grey, 3, number) for number in range(600)]
    orders = [tuple(one[:, 0, 0].tolist()) for one in dyed]
    plain = orders.count(tuple(grey[:, 0, 0].tolist()))
    assert len(set(orders)) == 6
    assert plain / 600 == pytest.approx(1 / 2 + 1 / 2 / 6, abs=0.06)  # one of the six orders is the same
    for number in (0, 7, 311):
        other = torch.rand(3, 4, 5)
        places = [grey[:, 0, 0].tolist().index(value) for value in orders[number]]
        assert torch.equal(universal_task._dyed(other, 3, number), other[places])
    assert orders != [tuple(universal_task._dyed(grey, 4, number)[:, 0, 0].tolist()) for number in range(600)]


def test_the_styles_of_a_batch_are_dyed_by_their_numbers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def dyed(style: Tensor, seed: int, number: int) -> Tensor:
        asked.append((seed, number))
        return style

    monkeypatch.setattr(universal_task, "_dyed", dyed)
    take(make(root, batch_size=2, seed=5), 2, start=3, rank=1, world_size=2)
    assert asked == [(5, number) for number in (14, 15, 18, 19)]


def test_the_second_backbone_takes_its_turns(root: Path) -> None:
    task = make(root, second_backbone=str(root / "second.safetensors"), second_every=3)
    assert [batch.turn for batch in take(task, 7)] == [0, 0, 1, 0, 0, 1, 0]
    assert [batch.turn for batch in take(task, 3, start=4)] == [0, 1, 0]
    assert [objective.backbone.name for objective in task.objectives] == ["tiny", "second"]
    batch = take(task, 1)[0]
    with torch.no_grad():
        first, second = (
            task.terms(task.trained, Batch(batch.photos, batch.styles, turn=turn))["total"] for turn in (0, 1)
        )
    assert first != pytest.approx(float(second), rel=1e-3)
    assert [batch.turn for batch in take(make(root, second_every=2), 4)] == [0, 0, 0, 0]  # there is no second


def test_several_second_backbones_take_turns_at_their_steps(root: Path) -> None:
    write_backbone(root / "third.safetensors", seed=8)
    others = [str(root / f"{name}.safetensors") for name in ("second", "third")]
    task = make(root, second_backbone=others, second_every=2)
    assert [batch.turn for batch in take(task, 8)] == [0, 1, 0, 2, 0, 1, 0, 2]
    assert [objective.backbone.name for objective in task.objectives] == ["tiny", "second", "third"]
    assert {"second_backbone", "second_backbone_2"} <= task.contents.keys()
    assert task.describe()["second_backbone"] == ["second.safetensors", "third.safetensors"]


def test_a_run_of_one_second_backbone_or_none_goes_on() -> None:
    table = {"train": "universal", "photos": ["p"], "style": ["s"]}
    assert from_table({**table, "second_backbone": ""}, "an old run") == from_table(table, "a new one")
    alone = from_table({**table, "second_backbone": "vgg16"}, "an old run")
    assert alone == from_table({**table, "second_backbone": ["vgg16"]}, "a new one")


def test_styles_count_as_shares_of_what_photos_lack(root: Path) -> None:
    task = make(root, style_shares=True)
    plain = make(root)
    batch = take(task, 1)[0]
    objective = task.objectives[0]
    apart = objective.each_distance(batch.photos, task._targets(objective, batch.styles))
    assert task.usual > 0
    for number, distance in enumerate(apart.tolist()):
        alone = Batch(batch.photos[[number]], batch.styles[[number]])
        with torch.no_grad():
            counted, usual = (float(one.terms(plain.trained, alone)["style"]) for one in (task, plain))
        assert counted == pytest.approx(usual * task.usual / max(distance, 0.25 * task.usual), rel=1e-4)


def test_styles_count_at_half_their_size_too(root: Path) -> None:
    task, batch = make(root, style_coarse=0.5), take(make(root), 1)[0]
    with torch.no_grad():
        terms = task.terms(task.trained, batch)
        painted = task.trained(batch.photos, task.network.signature(batch.styles))
    halves = [torch.nn.functional.avg_pool2d(pictures, 2) for pictures in (painted, batch.styles)]
    coarse = task.objectives[0].each_distance(halves[0], task._targets(task.objectives[0], halves[1])).mean()
    assert float(terms["coarse"]) == pytest.approx(float(coarse), rel=1e-4)
    balance = task.settings.weights.style
    rest = terms["content"] + balance * terms["style"] + task.settings.weights.tv * terms["tv"]
    assert float(terms["total"]) == pytest.approx(float(rest + 0.5 * balance * coarse), rel=1e-4)


def test_the_painting_on_a_ground_is_held_to_the_photo(root: Path) -> None:
    for number in range(5):
        Image.new("RGB", (48, 40), (40 * number, 90, 200)).save(root / "photos" / f"{number}.png")
    task = make(root, ground=1.0, batch_size=8)
    batch = take(task, 1)[0]
    assert batch.seen is not None
    changed = (batch.seen != batch.photos).flatten(1).any(1)
    assert 0 < int(changed.sum()) < 8
    shown: list[Tensor] = []

    def paint(photos: Tensor, signature: Any) -> Tensor:
        shown.append(photos)
        return photos.clone()

    with torch.no_grad():
        terms = task.terms(paint, batch)
    assert torch.equal(shown[0], batch.seen)
    assert float(terms["content"]) > 0  # the ground itself would have none


def taught(root: Path, teacher: Path, **changes: Any) -> UniversalSettings:
    """A training without backbones, but for the options in `changes`."""
    values = universal(root, **changes).values()
    kept = {key: v for key, v in values.items() if key not in JUDGING or key in changes}
    return UniversalSettings.from_values(kept | {"teacher": str(teacher)})


def test_a_smaller_network_learns_the_paintings_of_a_larger(root: Path) -> None:
    run(universal(root, blocks=3, steps=8), root / "large")
    large = root / "large" / "model.safetensors"
    settings = taught(root, large, begin_with=str(large), blocks=2, reach=8, steps=60, save_every=60, lr=1e-3)
    records = run(settings, root / "small")
    assert records[1].losses.keys() == {"total", "pixels", "edges"}
    network, about = loaded(root, root / "small")
    assert (network.config.blocks, network.config.reach) == (2, 8)
    assert about["recipe"]["contents"]["teacher"] == sha256(large)
    assert "backbone" not in about["recipe"]
    task = UniversalTask(settings, torch.device("cpu"), choose_precision("cpu", "float32"))
    teacher, _ = loaded(root, root / "large")
    batch = take(task, 1)[0]
    with torch.no_grad():
        first, last, own = (float(task.terms(one, batch)["total"]) for one in (task.trained, network, teacher))
    assert last < 0.9 * first
    assert own == pytest.approx(0, abs=1e-5)  # the teacher itself makes no mistake
    with pytest.raises(OptionError, match="`teacher` and `style_balance` exclude each other"):
        taught(root, large, style_balance=3.0)


def test_a_teacher_is_of_any_style(root: Path) -> None:
    save_model(root / "one.safetensors", Johnson(JohnsonConfig(width=4, blocks=1)), recipe={}, licence="")
    run(universal(root), root / "run")
    write_backbone(root / "eyes.safetensors", last="conv4_1", seed=3)
    with pytest.raises(OptionError, match="looks at styles by deep, and cannot teach what does by eyes"):
        UniversalTask(
            taught(root, root / "run" / "model.safetensors", encoder=str(root / "eyes.safetensors")),
            torch.device("cpu"),
            choose_precision("cpu", "float32"),
        )
    with pytest.raises(OptionError, match="only a network of any style can teach one"):
        UniversalTask(taught(root, root / "one.safetensors"), torch.device("cpu"), choose_precision("cpu", "float32"))


def test_fewer_blocks_and_reach_paint_as_the_others_did_at_first(root: Path) -> None:
    run(universal(root, blocks=3), root / "run")
    start = root / "run" / "model.safetensors"
    run(universal(root, begin_with=str(start), blocks=2, reach=8, steps=1, lr=1e-12), root / "less")
    before, _ = loaded(root, root / "run")
    after, _ = loaded(root, root / "less")
    with torch.no_grad():
        style = torch.rand(1, 3, 48, 40)
        theirs, ours = before.encode_style(style), after.encode_style(style)
    for here, there in (("res1.in1.gamma", "res1.in1.gamma"), ("res2.in2.beta", "res3.in2.beta"), ("in_up.gamma",) * 2):
        torch.testing.assert_close(ours[here], theirs[there])
    assert ours["reach.in_up1.gamma"].abs().max() < 1e-9  # silent
    for here, there in (("res2", "res3"), ("head", "head")):
        pair = getattr(after.painter, here), getattr(before.painter, there)
        weights = [
            dict(one.named_parameters())["conv2.conv2d.weight" if here != "head" else "conv2d.weight"] for one in pair
        ]
        torch.testing.assert_close(*weights)
    with pytest.raises(
        OptionError, match=r"a network with blocks 3 cannot begin one with blocks 4"
    ):  # none can be made of nothing
        run(universal(root, begin_with=str(start), blocks=4), root / "more")
    with pytest.raises(
        OptionError, match="a network with reach 8 cannot begin one with reach 0"
    ):  # what it has cannot be taken away
        run(universal(root, begin_with=str(root / "less" / "model.safetensors"), blocks=2), root / "away")


def test_leave_out_is_for_styles_too(root: Path) -> None:
    task = make(root, leave_out=["a", "1"])
    assert [Path(task.pictures.name(i)).name for i in range(len(task.pictures))] == ["b.png"]
    assert len(task.photos) == 4
    assert task.contents["styles"]["count"] == 1
    with pytest.raises(DataError, match="all style pictures are left out, need at least one: change `leave_out`"):
        open_styles([str(root / "a.png")], ["a"])


def test_a_name_to_leave_out_that_is_nowhere_is_told(root: Path) -> None:
    for name, fix in (("gone", "correct it, or do without"), ("1.png", "write '1'"), ("photos/1.png", "write '1'")):
        with pytest.raises(OptionError, match=f"`leave_out` '{name}' is no photo here; .* no suffix: {fix}"):
            make(root, leave_out=["a", "1", name])
        with pytest.raises(OptionError, match=f"`leave_out` '{name}' is no photo here") as told:
            run(johnson(root, leave_out=["1", name]), root / "run")
        assert told.value.option == "leave_out"
    with pytest.raises(OptionError, match="`leave_out` 'a' is no photo here"):  # but a style
        run(johnson(root, leave_out=["a"]), root / "run")


def test_styles_are_needed(root: Path) -> None:
    with pytest.raises(OptionError, match="`style` is needed"):
        make(root, style=[])


def test_a_size_of_styles_is_refused_where_it_has_no_effect(root: Path) -> None:
    with pytest.raises(OptionError, match=r"`style_size` 48 is for the pictures of `begin_style`, and there are none"):
        universal(root, style_size=48)


def test_a_run_whose_size_of_styles_had_no_effect_goes_on(root: Path) -> None:
    with closing(train(universal(root), root / "run")) as records:
        next(records)
        next(records)
    recipe = root / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("style_size = 512", "style_size = 300"))
    checkpoints = Checkpoints(root / "run" / "checkpoints")
    state = checkpoints.load(1)
    state["settings"]["style_size"] = 300
    checkpoints.save(1, {k: v for k, v in state.items() if k not in ("format", "step", "sha256")}, None)
    settings = RunFolder(root / "run").settings()
    assert run(settings, root / "run", resume=True)[-1].step == settings.steps


# -- losses ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_paintings_are_compared_with_their_own_styles(root: Path) -> None:
    task = make(root, batch_size=2)
    (batch,) = take(task, 1)
    painted = torch.rand(2, 3, 32, 32)
    terms = task.terms(lambda photos, signature: painted, batch)
    tiny = load_backbone(root / "tiny.safetensors")
    objective = GramObjective(tiny, ("relu1_1", "relu2_1"), "relu1_2", Weights(1.0, 30.0, 2.0, relative=True))
    targets = objective.grams(tiny(batch.styles, ("relu1_1", "relu2_1")))
    for name, value in objective(painted, batch.photos, targets).items():
        torch.testing.assert_close(terms[name], value)


@torch.no_grad()
def test_an_encoder_that_is_the_backbone_looks_once_and_sees_the_same(root: Path) -> None:
    deep = str(root / "deep.safetensors")
    shared = make(root, backbone=deep)
    assert shared.objectives[0].backbone is shared.network.encoder
    assert "backbone" not in shared.contents
    apart = make(root, backbone=deep, pool="average")
    assert apart.objectives[0].backbone is not apart.network.encoder
    (batch,) = take(shared, 1)
    looked: list[Tensor] = []
    hook = shared.network.encoder.register_forward_pre_hook(lambda _, given: looked.append(given[0]))
    terms = shared.terms(lambda photos, signature: photos, batch)
    hook.remove()
    assert sum(one is batch.styles for one in looked) == 1
    encoder = shared.network.encoder
    objective = shared.objectives[0]
    expected = objective(batch.photos, batch.photos, objective.grams(encoder(batch.styles, ("relu1_1", "relu2_1"))))
    torch.testing.assert_close(terms["total"], expected["total"])


@torch.no_grad()
def test_what_is_painted_is_each_photo_in_its_style(root: Path) -> None:
    task = make(root, batch_size=2)
    (batch,) = take(task, 1)
    seen: list[Tensor] = []

    def paint(photos: Tensor, signature: Any) -> Tensor:
        seen.append(task.trained(photos, signature))
        return seen[-1]

    task.terms(paint, batch)
    for i in range(2):
        bound = task.network.bind_parameters([task.network.encode_style(batch.styles[i : i + 1])])
        alone = bound(batch.photos[i : i + 1], torch.ones(1, 1))
        torch.testing.assert_close(seen[0][i : i + 1], alone, rtol=0, atol=1e-5)


def test_what_processes_share_does_not_hold_the_encoder(root: Path) -> None:
    task = make(root)
    learning = {id(value) for value in task.network.parameters() if value.requires_grad}
    assert {id(value) for value in task.trained.parameters() if value.requires_grad} == learning
    assert not any("encoder" in name for name, _ in task.trained.named_parameters())


def test_components_are_taken_from_the_styles(root: Path) -> None:
    first, again = make(root).network.predictor, make(root).network.predictor
    assert first.basis.abs().max() > 0
    assert torch.equal(first.basis, again.basis)
    other = make(root, style=[str(root / "c.png")]).network.predictor
    assert not torch.equal(first.mean, other.mean)


# -- runs -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plotted")
def test_a_run_leaves_a_network_of_any_style(root: Path) -> None:
    records = run(universal(root, licence="CC0", second_backbone=str(root / "second.safetensors")), root / "run")
    assert [record.step for record in records] == [*range(7), 6]
    assert {"total", "content", "style", "tv", "style/relu1_1", "style/relu2_1"} == records[1].losses.keys()
    for record in records[1:-1]:
        terms = record.losses
        assert terms["total"] == pytest.approx(terms["content"] + 30 * terms["style"] + 2 * terms["tv"], rel=1e-4)
    network, about = loaded(root, root / "run")
    assert (network.config.channels, network.config.parts, network.config.hidden) == (8, 8, 8)
    assert about["network"]["encoder"] == "deep"
    assert about["styles"] == []
    assert (about["recipe"]["train"], about["recipe"]["second_backbone"]) == ("universal", ["second.safetensors"])
    assert {"encoder", "backbone", "second_backbone", "styles", "photos"} == about["recipe"]["contents"].keys()
    assert str(root) not in str(about)  # nobody's folders travel with a model
    assert network.predictor.rows.weight.abs().max() > 0  # styles are told apart
    assert (root / "run" / "samples" / "step-00000006.jpg").exists()


def test_training_learns(root: Path) -> None:
    totals = [r.losses["total"] for r in run(universal(root, steps=40, save_every=40, lr=1e-2), root / "run")[1:-1]]
    assert sum(totals[-8:]) < 0.8 * sum(totals[:8])


def test_strokes_stay_without_patterns(root: Path) -> None:
    run(universal(root, lr=1e-2), root / "run")
    for conv in (loaded(root, root / "run")[0].painter.up.conv2d, loaded(root, root / "run")[0].painter.head.conv2d):
        sums = conv.weight.view(4, -1, *conv.weight.shape[1:]).sum((3, 4))
        assert (sums - sums.mean(0)).abs().max() < 1e-5


def test_styles_of_one_colour_can_be_trained(root: Path) -> None:
    Image.new("RGB", (48, 48), (200, 30, 30)).save(root / "flat.png")
    records = run(universal(root, style=[str(root / "flat.png")], steps=2), root / "run")
    assert not any(record.notes for record in records)
    assert torch.tensor([record.losses["total"] for record in records[1:-1]]).isfinite().all()


def test_bfloat16_is_close(root: Path) -> None:
    exact, rough = (run(universal(root, precision=p, steps=1), root / p)[1] for p in ("float32", "bfloat16"))
    assert rough.losses["total"] != exact.losses["total"]
    assert rough.losses["total"] == pytest.approx(exact.losses["total"], rel=0.05)


@pytest.mark.parametrize("name", ["deep", "tiny", "second"])
def test_other_weights_are_refused_by_name(root: Path, name: str) -> None:
    settings = universal(root, second_backbone=str(root / "second.safetensors"))
    with closing(train(settings, root / "run")) as records:
        assert [next(records).step, next(records).step] == [0, 1]
    deep = {"last": "conv4_1", "rank": 8} if name == "deep" else {}
    write_backbone(root / f"{name}.safetensors", seed=99, **deep)
    role = {"deep": "encoder", "tiny": "backbone", "second": "second backbone"}[name]
    with pytest.raises(DataError, match=f"the {role} is {name} with other weights or settings than those of {name}"):
        run(settings, root / "run", resume=True)


def test_other_styles_are_refused(root: Path) -> None:
    with closing(train(universal(root), root / "run")) as records:
        assert [next(records).step, next(records).step] == [0, 1]
    more = universal(root, style=[str(root / "a.png"), str(root / "b.png"), str(root / "c.png")])
    with pytest.raises(DataError, match="there are 3 styles, were 2"):
        run(more, root / "run", resume=True)


def test_a_style_that_cannot_be_read(root: Path) -> None:
    (root / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        run(universal(root), root / "run")


def test_a_run_may_begin_with_a_network_of_several_styles(root: Path) -> None:
    run(multistyle(root, steps=2), root / "start")
    start, styles = str(root / "start" / "model.safetensors"), [str(root / "a.png"), str(root / "b.png")]
    settings = universal(root, begin_with=start, begin_style=styles, steps=1, lr=1e-12)
    run(settings, root / "run")
    network, about = loaded(root, root / "run")
    before, _ = load_model(start)
    torch.testing.assert_close(network.painter.stem.conv2d.weight, before.stem.conv2d.weight)
    assert network.predictor.rows.weight.abs().max() > 1e-4
    assert (about["recipe"]["begin_with"], about["recipe"]["begin_style"]) == ("model.safetensors", ["a.png", "b.png"])
    assert about["recipe"]["contents"]["begin_with"] == sha256(root / "start" / "model.safetensors")
    again = from_table(read_recipe(root / "run" / "recipe.toml"), "recipe.toml")
    assert again == settings
    for wrong in (styles[::-1], styles[:1], [str(root / "c.png")]):
        with pytest.raises(OptionError, match="with the styles that `begin_style` names, in the same order"):
            make(root, begin_with=start, begin_style=wrong)
    with pytest.raises(OptionError, match=r"cannot begin one of 16, 1 and 4: give it the same sizes"):
        make(root, begin_with=start, begin_style=styles, channels=16)
    save_model(root / "one.safetensors", Johnson(JohnsonConfig(width=4, blocks=1)), recipe={}, licence="MIT")
    with pytest.raises(OptionError, match="must be a network of `train multistyle`"):
        make(root, begin_with=str(root / "one.safetensors"), begin_style=styles)


def test_a_run_may_begin_with_a_network_of_any_style(root: Path) -> None:
    run(universal(root, steps=2), root / "start")
    start = str(root / "start" / "model.safetensors")
    run(universal(root, begin_with=start, steps=1, lr=1e-12, seed=5), root / "run")
    network, about = loaded(root, root / "run")
    before, _ = load_model(start, encoder=network.encoder)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    assert about["recipe"]["contents"]["begin_with"] == sha256(Path(start))
    with pytest.raises(OptionError, match="cannot begin one with"):
        make(root, begin_with=start, channels=16)


def test_a_beginning_of_several_styles_needs_them(root: Path) -> None:
    with pytest.raises(OptionError, match="`begin_style` tells what `begin_with` has learned: give both or none"):
        UniversalSettings.from_values({"begin_style": ["a.png"]})
    run(multistyle(root, steps=1), root / "start")
    with pytest.raises(OptionError, match=r"is of method brisk: give `begin_style`, the styles that it learned"):
        make(root, begin_with=str(root / "start" / "model.safetensors"))


# -- the recipe -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["universal-strokes", "universal-photo", "universal-long", "universal-bold", "universal"]
)
def test_the_recipes_of_what_ships_are_some(name: str) -> None:
    path = RECIPES / f"{name}.toml"
    settings = from_table(read_recipe(path), path)
    assert isinstance(settings, UniversalSettings)
    assert settings.weights.relative
    assert settings.licence != "not stated"
    for place in (*settings.photos, *settings.style, *settings.begin_style, *settings.second_backbone):
        assert Path(place).is_absolute()  # and not relative to where one happens to be
    assert settings.encoder == "compact"  # a name stays a name


def test_the_second_backbone_of_a_recipe_is_beside_it(root: Path) -> None:
    (root / "r.toml").write_text('train = "universal"\nsecond_backbone = "second.safetensors"\nstyle = ["a.png"]\n')
    settings = from_table(read_recipe(root / "r.toml"), "r.toml")
    assert isinstance(settings, UniversalSettings)
    assert settings.second_backbone == (str(root / "second.safetensors"),)
