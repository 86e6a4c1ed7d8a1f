"""The training loop, every family of networks, at toy size."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from impasto.core.metadata import save
from impasto.core.precision import choose_precision
from impasto.core.tensors import to_tensor
from impasto.errors import DataError, DivergenceError, ImageError, OptionError, OutputError, WeightsError
from impasto.files import sha256
from impasto.imaging import read
from impasto.networks.checkpoint import load_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.palette import colour_map
from impasto.networks.registry import build
from impasto.training import loop, universal_task
from impasto.training.adain_task import AdaINTask
from impasto.training.checkpoint import Checkpoints
from impasto.training.data import BatchPlan, open_photos
from impasto.training.gram_task import GramTask, style_numbers
from impasto.training.ground import on_random_ground
from impasto.training.loop import TrainProgress, train
from impasto.training.recipe import fill
from impasto.training.settings import JUDGING, AddStyleSettings, MultiStyleSettings, TrainSettings
from impasto.training.styles import build_styles
from impasto.training.task import Batch, Shard

from .training_samples import SMALL, adain, johnson, multistyle, paint_file, universal, workspace, write_backbone

pytestmark = pytest.mark.usefixtures("one_thread", "cache", "plotless")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Targets are cached here and not in the user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(universal_task, "FIRST_CUTS", 16)
    return workspace(tmp_path / "work")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which `whole` and `trained` lie."""
    root = workspace(tmp_path_factory.mktemp("finished") / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        run(johnson(root), root / "whole")
        run(multistyle(root, licence="CC BY 4.0"), root / "trained")
    return root


@pytest.fixture
def whole(finished: Path) -> Path:
    """The folder of a training of one style that nothing interrupted, to be compared with."""
    return finished / "whole"


@pytest.fixture
def trained(finished: Path) -> Path:
    """The folder of a training of two styles, to be copied by who goes on with its network."""
    return finished / "trained"


def run(settings: TrainSettings, out: Path, **options: Any) -> list[TrainProgress]:
    return list(train(settings, out, **options))


def part(settings: TrainSettings, out: Path, steps: int, **options: Any) -> list[TrainProgress]:
    """The first records, up to that of step `steps`; then the generator is closed, as Ctrl-C does it."""
    taken = []
    with closing(train(settings, out, **options)) as records:
        for record in records:
            taken.append(record)
            if record.step == steps:
                break
    return taken


def weights(out: Path, **options: Any) -> dict[str, torch.Tensor]:
    return load_model(out / "model.safetensors", **options)[0].state_dict()


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def table(out: Path) -> list[dict[str, str]]:
    with (out / "loss.csv").open() as handle:
        return list(csv.DictReader(handle))


# -- what a run gives -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plotted")
def test_a_run_leaves_a_model_and_all_that_there_is_to_look_at(root: Path) -> None:
    records = run(johnson(root, save_every=2, licence="CC0"), root / "run")
    assert [record.step for record in records] == [*range(7), 6]
    assert {"total", "content", "style", "tv", "style/relu1_1", "style/relu2_1"} == records[1].losses.keys()
    assert records[-1].model == root / "run" / "model.safetensors"
    assert {"recipe.toml", "loss.csv", "loss.png", "checkpoints", "samples", "tensorboard"} < set(files(root / "run"))
    assert [row["step"] for row in table(root / "run")] == list("123456")
    for record, row in zip(records[1:7], table(root / "run"), strict=True):
        assert float(row["total"]) == pytest.approx(record.losses["total"], rel=1e-6)
        assert float(row["learning_rate"]) == pytest.approx(record.rate, rel=1e-6)
    with Image.open(root / "run" / "samples" / "step-00000006.jpg") as sheet:
        assert sheet.size == (2 * 32, 5 * 32)  # photo and style wide; style and four photos high
    network, about = load_model(root / "run" / "model.safetensors")
    assert isinstance(network, Johnson)
    assert (network.config.width, network.config.blocks) == (4, 1)
    assert about["styles"] == [{"name": "a"}]
    assert about["licence"] == "CC0"
    assert about["recipe"]["train"] == "johnson"
    assert about["recipe"]["steps"] == 6
    assert str(root) not in str(about)  # nobody's folders travel with a model


def test_total_is_the_weighted_sum_of_its_terms(root: Path) -> None:
    for record in run(johnson(root, tv_weight=0.5, style_balance=7), root / "run")[1:-1]:
        terms = record.losses
        assert terms["total"] == pytest.approx(terms["content"] + 7 * terms["style"] + 0.5 * terms["tv"], rel=1e-4)
        assert terms["style"] == pytest.approx((terms["style/relu1_1"] + terms["style/relu2_1"]) / 2, rel=1e-4)


def test_explicit_weights_are_the_papers(root: Path) -> None:
    given = johnson(root, style_weight=3, content_weight=2, tv_weight=0)
    for record in run(given, root / "run")[1:-1]:
        terms = record.losses
        assert terms["total"] == pytest.approx(2 * terms["content"] + 3 * terms["style"], rel=1e-4)
        assert terms["style"] == pytest.approx(terms["style/relu1_1"] + terms["style/relu2_1"], rel=1e-4)


def test_training_learns(root: Path) -> None:
    settings = multistyle(root, steps=30, save_every=30, batch_size=4, lr=1e-2, image_size=32)
    totals = [record.losses["total"] for record in run(settings, root / "run")[1:-1]]
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])


@pytest.mark.parametrize("network", ["brisk", "johnson"])
def test_several_styles(root: Path, network: str) -> None:
    sizes = {"channels": None, "detail": None, "width": 4} if network == "johnson" else {}
    settings = multistyle(root, network=network, **sizes, schedule="constant")
    assert len({record.rate for record in run(settings, root / "run")[1:-1]}) == 1
    network_, about = load_model(root / "run" / "model.safetensors")
    method = "brisk" if network == "brisk" else "multistyle"
    assert method == network_.METHOD
    assert [style["name"] for style in about["styles"]] == ["a", "b"]


def test_every_style_has_its_turn_whatever_the_processes() -> None:
    for n, batch in ((1, 4), (2, 4), (3, 4), (5, 2)):
        numbers = style_numbers(7, 0, 60, n)
        assert all(sorted(numbers[i : i + n]) == list(range(n)) for i in range(0, 60, n))
        assert numbers == [one for first in range(0, 60, batch) for one in style_numbers(7, first, batch, n)]
    assert style_numbers(0, 0, 60, 3) != style_numbers(1, 0, 60, 3)


def test_any_style(root: Path) -> None:
    from impasto.core.weights import load_backbone

    records = run(adain(root), root / "run")
    assert {"content", "style", "style/relu1_1", "style/relu4_1"} < records[1].losses.keys()
    encoder = load_backbone(root / "deep.safetensors", padding="replicate")
    network, about = load_model(root / "run" / "model.safetensors", encoder=encoder)
    assert network.METHOD == "adain"
    assert about["network"]["width"] == 0.0625
    terms = records[3].losses
    assert terms["total"] == pytest.approx(terms["content"] + 10 * terms["style"] + 4 * terms["pixel"], rel=1e-4)


def test_every_fourth_photo_may_be_its_own_style(root: Path) -> None:
    records = run(adain(root, pixel_weight=2.0, batch_size=5, steps=1), root / "run")
    losses = next(record.losses for record in records if record.losses)
    without = next(
        record.losses
        for record in run(adain(root, pixel_weight=0.0, batch_size=5, steps=1), root / "other")
        if record.losses
    )
    assert "pixel" not in without
    assert losses["pixel"] > 0
    assert losses["total"] == pytest.approx(losses["content"] + 10 * losses["style"] + 2 * losses["pixel"], rel=1e-4)
    task = AdaINTask(
        adain(root, pixel_weight=2.0, batch_size=5), torch.device("cpu"), choose_precision("cpu", "float32")
    )
    with closing(task.batches(0, Shard())) as batches:
        batch = next(batches)
    assert batch.own.tolist() == [1, 0, 0, 0, 1]
    assert torch.equal(batch.styles[4], batch.photos[4])
    assert not torch.equal(batch.styles[1], batch.photos[1])
    with closing(task.batches(0, Shard(rank=1, world_size=2))) as batches:
        assert next(batches).own.tolist() == [0, 0, 0, 1, 0]


def test_any_style_balanced_and_with_odd_sizes(root: Path) -> None:
    settings = adain(root, style_balance=5, image_size=36, steps=2)
    terms = run(settings, root / "run")[1].losses
    assert terms["total"] == pytest.approx(terms["content"] + 5 * terms["style"] + 4 * terms["pixel"], rel=1e-4)
    assert terms["style"] == pytest.approx(sum(terms[f"style/relu{i}_1"] for i in (1, 2, 3, 4)) / 4, rel=1e-4)


def test_epochs_are_counted_in_photos(root: Path) -> None:
    given = {**johnson(root).values(), "epochs": 2}
    del given["steps"]
    settings = fill("johnson", {}, given)
    assert run(settings, root / "run")[-1].step == 2 * 3  # five photos, two a step


def test_a_style_set_serves_as_styles(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto.core.weights import load_backbone
    from impasto.training import sources

    (root / "pictures").mkdir()
    for name in "ab":
        (root / f"{name}.png").rename(root / "pictures" / f"{name}.png")
    (root / "pictures" / "styles.tsv").write_text("file\ttitle\tartist\na.png\tA\tSomebody\n")
    backbone = load_backbone(root / "tiny.safetensors")
    for _ in build_styles(root / "pictures", root / "set.safetensors", backbone, size=48):
        pass
    computed = []
    monkeypatch.setattr(sources, "style_targets", lambda *a, **k: computed.append(a))
    run(multistyle(root, style=[str(root / "set.safetensors")], steps=2), root / "run")
    assert computed == []  # the set holds what is needed
    assert load_model(root / "run" / "model.safetensors")[1]["styles"] == [
        {"name": "a", "title": "A", "artist": "Somebody"},
        {"name": "b"},
    ]
    monkeypatch.undo()
    run(adain(root, style=[str(root / "set.safetensors")], steps=1), root / "adain")


def test_a_folder_of_styles(root: Path) -> None:
    (root / "styles").mkdir()
    for number, name in enumerate(("Great Wave.png", "great_wave.jpg")):
        paint_file(root / "styles" / name, number)
    run(multistyle(root, style=[str(root / "styles")], steps=1), root / "run")
    styles = load_model(root / "run" / "model.safetensors")[1]["styles"]
    assert [style["name"] for style in styles] == ["great-wave", "great-wave-2"]


def test_a_list_of_styles_names_them_and_tells_of_them(root: Path) -> None:
    rows = ["file\tname\ttitle\tartist\tyear", "b.png\tBlue\tBlue I\tSomebody\t1901", "a.png\t\t\t\t"]
    (root / "list.tsv").write_text("\n".join(rows))
    run(multistyle(root, style=[str(root / "list.tsv")], steps=1), root / "run")
    assert load_model(root / "run" / "model.safetensors")[1]["styles"] == [
        {"name": "blue", "title": "Blue I", "artist": "Somebody", "year": "1901"},
        {"name": "a"},
    ]


# -- beginning with another network -----------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["brisk", "johnson"])
def test_a_training_may_begin_with_another_ones_network(root: Path, network: str) -> None:
    sizes = {"channels": None, "detail": None, "width": 4} if network == "johnson" else {}
    first = multistyle(root, network=network, style=[str(root / "a.png"), str(root / "b.png")], **sizes)
    run(first, root / "run")
    model = root / "run" / "model.safetensors"
    more = multistyle(
        root,
        network=network,
        begin_with=str(model),
        style=[str(root / "c.png"), str(root / "a.png")],
        steps=1,
        lr=1e-12,
        **sizes,
    )
    run(more, root / "more")
    before, _ = load_model(model)
    after, about = load_model(root / "more" / "model.safetensors")
    assert about["recipe"]["begin_with"] == "model.safetensors"
    assert "begin_with" in about["recipe"]["contents"]
    photo = torch.rand(1, 3, 40, 44)
    with torch.no_grad():
        assert torch.allclose(before(photo, before.mix("a")), after(photo, after.mix("a")), atol=1e-5)
    for old, new in zip(before.norms, after.norms, strict=True):  # new ones begin as the mean
        assert torch.allclose(new.gamma[0], old.gamma.mean(0), atol=1e-5)
    if network == "brisk":  # but in its own colours
        matrix, offset = colour_map(to_tensor(read(root / "c.png").rgb))
        assert torch.allclose(after.palette.matrix[0], matrix, atol=1e-5)
        assert torch.allclose(after.palette.offset[0], offset, atol=1e-5)


def test_beginning_with_a_network_of_other_sizes(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    run(johnson(root, steps=1), root / "one")
    model = str(root / "run" / "model.safetensors")
    with pytest.raises(OptionError, match=r"channels 8, .* cannot begin one of brisk with channels 16"):
        run(multistyle(root, begin_with=model, channels=16), root / "more")
    with pytest.raises(OptionError, match="is of method johnson, and only multistyle and brisk"):
        run(multistyle(root, begin_with=str(root / "one" / "model.safetensors")), root / "more")
    with pytest.raises(WeightsError, match="no trained network and no file"):
        run(multistyle(root, begin_with=str(root / "gone.safetensors")), root / "more")


def test_a_beginning_must_not_change(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "one")
    run(multistyle(root, steps=1, seed=1), root / "other")
    more = multistyle(root, begin_with=str(root / "one" / "model.safetensors"))
    part(more, root / "more", 1)
    (root / "other" / "model.safetensors").replace(root / "one" / "model.safetensors")
    with pytest.raises(DataError, match="the model to begin with has changed"):
        run(more, root / "more", resume=True)


# -- one more style -------------------------------------------------------------------------------------------


def added(root: Path, **changes: Any) -> AddStyleSettings:
    given = {
        "photos": [str(root / "photos")],
        "style": [str(root / "c.png")],
        "model": str(root / "run" / "model.safetensors"),
        "backbone": str(root / "tiny.safetensors"),
    }
    return AddStyleSettings.from_values({**SMALL, **given, **changes})


def test_styles_that_get_another_name_are_told_once(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    (root / "more").mkdir()
    shutil.copy(root / "c.png", root / "more" / "C.png")
    given = added(root, style=[str(root / name) for name in ("a.png", "c.png", "more/C.png")])
    told = "a is known already: the new one is called a-2; c is known already: the new one is called c-2"
    assert notes(part(given, root / "again", 1)) == [told]
    assert told not in notes(run(given, root / "again", resume=True))
    assert [one["name"] for one in load_model(root / "again" / "model.safetensors")[1]["styles"]] == [
        "a", "b", "a-2", "c", "c-2",
    ]  # fmt: skip


def test_a_style_is_added_and_the_others_stay_bit_for_bit(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    run(added(root, lr=0.1), root / "more")
    before, _ = load_model(root / "run" / "model.safetensors")
    after, about = load_model(root / "more" / "model.safetensors")
    assert [style["name"] for style in about["styles"]] == ["a", "b", "c"]
    assert about["licence"] == "CC BY 4.0"
    assert about["recipe"]["added_to"]["train"] == "multistyle"
    photo = torch.rand(1, 3, 40, 44)
    with torch.no_grad():
        for name in "ab":
            assert torch.equal(before(photo, before.mix(name)), after(photo, after.mix(name)))
        assert not torch.equal(after(photo, after.mix("c")), after(photo, after.mix({"a": 1, "b": 1})))
    grown = after.state_dict()
    for key, value in before.state_dict().items():
        kept = grown[key][: len(value)] if key.endswith(("gamma", "beta", "matrix", "offset")) else grown[key]
        assert torch.equal(kept, value)


def test_a_style_of_the_same_name_gets_another(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    run(added(root, style=[str(root / "a.png")]), root / "more")
    assert [s["name"] for s in load_model(root / "more" / "model.safetensors")[1]["styles"]] == ["a", "b", "a-2"]


def test_adding_to_what_cannot_learn_more(root: Path) -> None:
    run(johnson(root), root / "run")
    with pytest.raises(OptionError, match="only multistyle and brisk"):
        run(added(root), root / "more")


def test_adding_to_a_model_with_nan(root: Path, trained: Path) -> None:
    from impasto.core.metadata import read_metadata

    shutil.copytree(trained, root / "run")
    path = root / "run" / "model.safetensors"
    broken = {key: value.clone() for key, value in weights(root / "run").items()}
    broken["stem.conv2d.weight"][0, 0, 0, 0] = float("nan")
    save(path, {key: value.contiguous() for key, value in broken.items()}, read_metadata(path))
    with pytest.raises(WeightsError, match=r"stem\.conv2d\.weight has values that are infinite or no numbers"):
        run(added(root), root / "more")
    assert not (root / "more").exists()


# -- going on -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plotted")
@pytest.mark.parametrize("make", [johnson, multistyle, adain, universal])
def test_closed_and_resumed_is_bit_for_bit_the_same(root: Path, make: Any) -> None:
    from impasto.core.weights import load_backbone

    turns = {"second_backbone": str(root / "deep.safetensors"), "second_every": 2} if make is universal else {}
    settings = make(root, save_every=2, deterministic=True, **turns)
    run(settings, root / "whole")
    for stop in (1, 3):  # the second time between two checkpoints
        assert part(settings, root / "parts", stop, resume=True)[-1].step == stop
    records = run(settings, root / "parts", resume=True)
    assert records[0].step == 3
    assert "going on after step 3 of 6" in records[0].notes
    encoder = {"encoder": load_backbone(root / "deep.safetensors")} if make in (adain, universal) else {}
    assert same(weights(root / "whole", **encoder), weights(root / "parts", **encoder))
    assert sha256(root / "whole" / "model.safetensors") == sha256(root / "parts" / "model.safetensors")
    losses = [[{**row, "images_per_second": ""} for row in table(root / out)] for out in ("whole", "parts")]
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("plotted")
def test_an_added_style_is_resumed_too(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    run(added(root), root / "whole")
    part(added(root), root / "parts", 3)
    run(added(root), root / "parts", resume=True)
    assert same(weights(root / "whole"), weights(root / "parts"))


def test_a_finished_run_stays_finished(root: Path) -> None:
    run(johnson(root), root / "run")
    before = sha256(root / "run" / "model.safetensors")
    records = run(johnson(root), root / "run", resume=True)
    assert (len(records), records[-1].model) == (2, root / "run" / "model.safetensors")
    assert sha256(root / "run" / "model.safetensors") == before


def test_the_last_two_and_the_best_are_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([5.0, 5.0, 1.0, 1.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0])
    usual = loop._Run._learn

    def learn(self: Any, batch: Any) -> Any:
        found, good = usual(self, batch)
        return {**found, "total": next(losses)}, good

    monkeypatch.setattr(loop._Run, "_learn", learn)
    run(johnson(root, save_every=2, steps=10), root / "run")
    kept = Checkpoints(root / "run" / "checkpoints")
    assert kept.steps() == [4, 8, 10]
    assert kept.load(10)["best"] == (4, 1.0)


@pytest.mark.usefixtures("plotted")
def test_a_torn_checkpoint_is_passed_over_and_told(root: Path, whole: Path) -> None:
    part(johnson(root, save_every=2), root / "run", 4)
    torn = root / "run" / "checkpoints" / "step-00000004.pt"
    torn.write_bytes(torn.read_bytes()[:-1000])
    (torn.parent / ".impasto-0123456789abcdef.pt").write_bytes(b"left by a crash")
    records = run(johnson(root, save_every=2), root / "run", resume=True)
    assert records[0].step == 2
    assert "step-00000004.pt: is damaged" in records[0].notes[0]
    assert "going back to step-00000002.pt" in records[0].notes[0]
    assert same(weights(whole), weights(root / "run"))
    assert "step-00000004.pt.damaged" in files(torn.parent)
    assert not any(name.startswith(".") for name in files(torn.parent))


def test_no_whole_checkpoint_at_all(root: Path) -> None:
    part(johnson(root, save_every=2), root / "run", 3)
    for path in (root / "run" / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"step-00000002\.pt: is damaged .*no older checkpoint"):
        run(johnson(root, save_every=2), root / "run", resume=True)


def test_an_existing_run_needs_resume(root: Path) -> None:
    part(johnson(root), root / "run", 1)
    with pytest.raises(OutputError, match=r"a run already: go on with `impasto train --resume .*or choose another"):
        run(johnson(root), root / "run")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lr": 0.5}, r"`lr` is 0\.5, was 0\.001"),
        ({"style_layer": ["relu1_1"]}, "`style_layer` is relu1_1, was relu1_1,relu2_1"),
        ({"steps": 7, "seed": 3}, "`steps` is 7, was 6; `seed` is 3, was 0"),
        ({"width": None}, "`width` is not given, was 4"),
        ({"style_weight": 2.0, "style_balance": None}, "`style_balance` is not given, was 8"),
    ],
)
def test_a_changed_recipe_is_refused_by_name(root: Path, changes: dict[str, Any], named: str) -> None:
    part(johnson(root), root / "run", 1)
    values = {key: value for key, value in {**johnson(root).values(), **changes}.items() if value is not None}
    with pytest.raises(DataError, match=named):
        run(type(johnson(root)).from_values(values), root / "run", resume=True)


def test_changed_pictures_are_refused(root: Path) -> None:
    part(multistyle(root), root / "run", 1)
    paint_file(root / "photos" / "new.png", 50)
    with pytest.raises(DataError, match="there are 6 photos, were 5"):
        run(multistyle(root), root / "run", resume=True)
    (root / "photos" / "new.png").unlink()
    paint_file(root / "b.png", 51)
    with pytest.raises(DataError, match="the style picture of b has changed"):
        run(multistyle(root), root / "run", resume=True)
    paint_file(root / "b.png", 101, (64, 56))
    write_backbone(root / "tiny.safetensors", seed=1)
    with pytest.raises(DataError, match="the backbone is tiny with other weights"):
        run(multistyle(root), root / "run", resume=True)


def test_a_run_can_move(root: Path, whole: Path) -> None:
    part(johnson(root), root / "run", 3)
    (root / "photos").rename(root / "elsewhere")
    (root / "a.png").rename(root / "elsewhere.png")
    (root / "elsewhere.png").rename(root / "elsewhere" / ".a.png")
    (root / "styles").mkdir()
    (root / "elsewhere" / ".a.png").rename(root / "styles" / "a.png")
    (root / "run").rename(root / "moved")
    moved = johnson(root, photos=[str(root / "elsewhere")], style=[str(root / "styles" / "a.png")], workers=1)
    run(moved, root / "moved", resume=True)
    assert same(weights(whole), weights(root / "moved"))


def test_changed_styles_are_told_apart(root: Path) -> None:
    part(multistyle(root), root / "run", 1)
    paint_file(root / "b.png", 51)
    pictures = [str(root / "b.png"), str(root / "c.png")]
    told = "because the style a is missing, the style c is new, the style picture of b has changed: change"
    with pytest.raises(DataError, match=told):
        run(multistyle(root, style=pictures), root / "run", resume=True)
    with pytest.raises(DataError, match="because it trains johnson, trained multistyle: change"):
        run(johnson(root), root / "run", resume=True)


# -- trouble --------------------------------------------------------------------------------------------------


def bad_terms(monkeypatch: pytest.MonkeyPatch, is_bad: Any) -> list[int]:
    """Make the loss NaN in those calls, by number from 1, for which `is_bad` says so."""
    calls: list[int] = []
    usual = GramTask.terms

    def terms(self: Any, paint: Any, batch: Any) -> Any:
        calls.append(len(calls) + 1)
        found = usual(self, paint, batch)
        return {**found, "total": found["total"] * float("nan")} if is_bad(calls[-1]) else found

    monkeypatch.setattr(GramTask, "terms", terms)
    return calls


def notes(records: list[TrainProgress]) -> list[str]:
    return [note for record in records for note in record.notes]


def photos(root: Path, step: int) -> str:
    """Names of the photos of a step, from 0, as notes tell them."""
    source = open_photos([str(root / "photos")])
    return ", ".join(source.name(place.photo) for place in BatchPlan(len(source), 2, 0).places(step))


@pytest.mark.usefixtures("plotted")
def test_a_step_without_a_finite_loss_is_skipped_and_told_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_terms(monkeypatch, {2, 3, 5}.__contains__)
    records = run(johnson(root, save_every=2), root / "run")
    assert [record.step for record in records] == [*range(7), 6]
    assert notes(records) == [
        f"step 2 is skipped: its loss (total) is infinite or no number (photos: {photos(root, 1)})",
        f"step 5 is skipped: its loss (total) is infinite or no number (photos: {photos(root, 4)})",
    ]
    assert Checkpoints(root / "run" / "checkpoints").steps() == [4, 6]  # none of step 2


@pytest.mark.usefixtures("plotted")
def test_three_in_a_row_go_back_with_half_the_rate(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_terms(monkeypatch, {3, 4, 5}.__contains__)
    records = run(johnson(root, save_every=2, schedule="constant"), root / "run")
    assert [record.step for record in records] == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 6]
    assert [record.rate for record in records[1:-1]] == [1e-3] * 5 + [5e-4] * 4
    assert len(notes(records)) == 2
    assert notes(records)[1] == (
        "steps 3 to 5 were all skipped: training goes back to what it had learned by step 2, and goes on from there "
        "with half the learning rate, as if `lr` were 0.0005 (time 1 of 6)"
    )
    assert [row["step"] for row in table(root / "run")] == list("123456")
    assert Checkpoints(root / "run" / "checkpoints").load(6)["restarts"] == 1


def test_a_step_that_is_skipped_again_is_not_told_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_terms(monkeypatch, {1, 2, 3, 4, 5, 6}.__contains__)
    told = notes(run(johnson(root), root / "run"))
    assert [note.split()[:2] for note in told] == [["step", "1"], ["steps", "1"], ["steps", "1"]]


def test_the_rate_is_halved_each_time_and_at_last_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_terms(monkeypatch, lambda call: call > 2)
    rates = []

    def collect() -> None:
        for record in train(johnson(root, save_every=2, schedule="constant"), root / "run"):
            rates.append(record.rate)

    with pytest.raises(DivergenceError, match="infinite or no number at step 5, after going back 6 times"):
        collect()
    halvings = [1e-3 / 2**i for i in range(1, 7)]
    assert rates[1:] == [1e-3] * 5 + [rate for rate in halvings for _ in range(3)]
    assert Checkpoints(root / "run" / "checkpoints").steps() == [0, 2]


def test_weights_that_are_no_numbers_are_never_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, calls = loop._Run._learn, []

    def learn(self: Any, batch: Any) -> Any:
        found = usual(self, batch)
        calls.append(self.step + 1)
        if len(calls) in (4, 10):  # step 4, a step with a checkpoint; and then step 6, the last
            self.parameters[0].data[0] = float("nan")
        return found

    monkeypatch.setattr(loop._Run, "_learn", learn)
    records = run(johnson(root, save_every=2), root / "run")
    assert calls == [1, 2, 3, 4, 5, 6, 3, 4, 5, 6, 5, 6]
    assert len([note for note in notes(records) if "goes back" in note]) == 2
    assert all(value.isfinite().all() for value in weights(root / "run").values())


@pytest.mark.usefixtures("plotted")
def test_a_full_disk_stops_with_a_clear_error_and_a_whole_checkpoint(root: Path, whole: Path) -> None:
    resource = pytest.importorskip("resource")
    part(johnson(root, save_every=2), root / "run", 2)
    kept = {path: sha256(path) for path in (root / "run" / "checkpoints").iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=r"step-00000004\.pt: no room on the disk .*File too large"):
            run(johnson(root, save_every=2), root / "run", resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: sha256(path) for path in (root / "run" / "checkpoints").iterdir()} == kept
    run(johnson(root, save_every=2), root / "run", resume=True)
    assert same(weights(whole), weights(root / "run"))


# -- bad and odd input ----------------------------------------------------------------------------------------


def test_no_photos(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="no photos found, need at least one"):
        run(johnson(root, photos=[str(root / "empty")]), root / "run")
    with pytest.raises(OptionError, match="`photos` is needed"):
        run(johnson(root, photos=[]), root / "run")
    assert not (root / "run").exists()


def test_one_photo_grey_and_cmyk_work(root: Path) -> None:
    (root / "few").mkdir()
    Image.open(root / "photos" / "0.png").convert("L").save(root / "few" / "grey.jpg")
    run(johnson(root, photos=[str(root / "few")], steps=2), root / "one")
    Image.open(root / "photos" / "1.png").convert("CMYK").save(root / "few" / "cmyk.jpg")
    Image.open(root / "photos" / "1.png").convert("CMYK").save(root / "a.jpg")
    run(johnson(root, photos=[str(root / "few")], style=[str(root / "a.jpg")], steps=2), root / "two")
    assert not (root / "two" / "bad_photos.tsv").exists()


def test_too_many_bad_photos(root: Path) -> None:
    (root / "photos" / "2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="1 of 5 photos cannot be read"):
        run(johnson(root), root / "run")
    assert "2.png\t" in (root / "run" / "bad_photos.tsv").read_text()


@pytest.mark.usefixtures("plotted")
def test_a_run_among_its_photos_goes_on(root: Path) -> None:
    for out in (root / "photos" / "run", root / "photos"):
        part(johnson(root, save_every=2, steps=3), out, 2)
        assert any((out / "samples").iterdir())
        assert run(johnson(root, save_every=2, steps=3), out, resume=True)[-1].step == 3


def damaged(root: Path, count: int) -> list[Path]:
    """Photos that cannot be read any more."""
    names = [root / "photos" / f"{number}.png" for number in range(count)]
    for name in names:
        name.write_bytes(b"no picture")
    return names


@pytest.mark.parametrize("relative", [False, True])
def test_bad_photos_may_be_removed_and_the_run_goes_on(
    root: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    settings = replace(johnson(root, **({"photos": ["photos"]} if relative else {})), epochs=2)
    names = damaged(root, 2)
    with pytest.raises(DataError, match=r"2 of 5 photos cannot be read.*0\.png.*1\.png.*--resume") as told:
        run(settings, root / "run")
    assert str(root / "run") in str(told.value)
    for name in names:
        name.unlink()
    done = part(settings, root / "run", 3, resume=True)
    assert "removed since it began: 2 photos that could not be read; others take their place" in notes(done)
    monkeypatch.chdir(root.parent)
    records = run(replace(settings, photos=(str(root / "photos"),)), root / "run", resume=True)
    assert records[-1].step == 2 * 3  # epochs are those of five photos


def test_steps_before_too_many_bad_photos_are_kept(root: Path) -> None:
    order = [place.photo for step in range(3) for place in BatchPlan(5, 2, 0).places(step)]
    (root / "photos" / f"{order[4]}.png").write_bytes(b"no picture")  # met in step 3
    with pytest.raises(DataError, match="1 of 5 photos"):
        run(johnson(root), root / "run")
    assert Checkpoints(root / "run" / "checkpoints").steps() == [0, 2]


def test_bad_paintings_are_called_so_and_may_be_removed(root: Path) -> None:
    (root / "styles").mkdir()
    for number in range(4):
        paint_file(root / "styles" / f"{number}.png", number)
    (root / "styles" / "2.png").write_bytes(b"no picture")
    settings = adain(root, style=[str(root / "styles")])
    with pytest.raises(DataError, match=r"1 of 4 style pictures cannot be read.*styles/2\.png"):
        run(settings, root / "run")
    (root / "styles" / "2.png").unlink()
    records = run(settings, root / "run", resume=True)
    assert "removed since it began: 1 style picture that could not be read; others take their place" in notes(records)


def test_an_unreadable_style(root: Path) -> None:
    (root / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=f"^{root}/a\\.png: "):
        run(johnson(root), root / "run")
    with pytest.raises(ImageError, match=r"gone\.png"):
        run(johnson(root, style=[str(root / "gone.png")]), root / "run")
    with pytest.raises(DataError, match=r"a\.png"):
        run(adain(root, style=[str(root / "a.png")], steps=2), root / "run")


def test_styles_must_be_given_and_johnson_takes_one(root: Path) -> None:
    with pytest.raises(OptionError, match="`style` is needed"):
        run(multistyle(root, style=[]), root / "run")
    with pytest.raises(OptionError, match="`style` is needed"):
        run(adain(root, style=[]), root / "run")
    with pytest.raises(OptionError, match="johnson learns one style, got 2"):
        run(johnson(root, style=[str(root / "a.png"), str(root / "b.png")]), root / "run")


def test_sizes_of_the_other_network_are_refused(root: Path) -> None:
    with pytest.raises(OptionError, match=r"brisk has no `width`: it has `blocks`, `channels`, .* `reach`$"):
        run(multistyle(root, width=8), root / "run")


def test_a_list_is_named_with_what_it_lacks(root: Path) -> None:
    (root / "list.tsv").write_text("file\nnope.png\n")
    with pytest.raises(ImageError, match=r"list\.tsv names .*nope\.png: no such file"):
        run(multistyle(root, style=[str(root / "list.tsv")]), root / "run")


def test_out_is_a_file(root: Path) -> None:
    with pytest.raises(OutputError, match="is a file, need a folder"):
        run(johnson(root), root / "a.png")


def test_global_settings_are_left_as_they_were(root: Path) -> None:
    before = torch.get_rng_state()
    run(johnson(root, deterministic=True), root / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [johnson, multistyle])
def test_a_program_with_other_settings_trains_the_same(root: Path, make: Callable[..., TrainSettings]) -> None:
    """Inference mode, another default type and autocast; they are the program's own again between two steps."""
    settings = make(root, deterministic=True, steps=3)
    run(settings, root / "alone")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu"):
            random, mine = torch.get_rng_state(), (True, torch.float64, True, False)
            for resume in (False, True):
                steps = train(settings, root / "run", resume=resume)
                for number, _ in enumerate(steps):
                    assert mine == (
                        torch.is_inference_mode_enabled(),
                        torch.get_default_dtype(),
                        torch.is_autocast_enabled("cpu"),
                        torch.are_deterministic_algorithms_enabled(),
                    )
                    if not resume and number == 2:
                        steps.close()
            assert torch.equal(torch.get_rng_state(), random)
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(weights(root / "alone"), weights(root / "run"))


def test_initial_weights_are_the_seeds(root: Path) -> None:
    states = []
    for seed in (1, 1, 2):
        part(johnson(root, seed=seed), root / f"{len(states)}", 0)
        states.append(Checkpoints(root / f"{len(states)}" / "checkpoints").load(0)["network"])
    assert same(states[0], states[1])
    assert not same(states[0], states[2])
    assert build(JohnsonConfig(width=4, blocks=1)).state_dict().keys() == states[0].keys()


def test_bfloat16_trains_with_float32_master_weights(root: Path) -> None:
    records = run(johnson(root, precision="bfloat16"), root / "half")
    exact = run(johnson(root), root / "full")
    assert all(value.dtype == torch.float32 for value in weights(root / "half").values())
    assert records[1].losses["total"] == pytest.approx(exact[1].losses["total"], rel=0.05)
    assert records[1].losses["total"] != exact[1].losses["total"]


def test_two_cannot_train_in_one_folder(root: Path) -> None:
    with closing(train(johnson(root), root / "run")) as records:
        next(records)
        with pytest.raises(OutputError, match="another process is training there"):
            run(johnson(root), root / "run", resume=True)
    run(johnson(root), root / "run", resume=True)


# -- several judges, a ground, larger forms ---------------------------------------------------------------------


def test_backbones_have_their_turns(root: Path) -> None:
    write_backbone(root / "other.safetensors", seed=1)
    settings = multistyle(root, other_backbone=[str(root / "deep.safetensors"), str(root / "other.safetensors")])
    task = GramTask(settings, torch.device("cpu"), choose_precision("cpu", "float32"))
    batches = task.batches(0, Shard())
    some = [next(batches) for _ in range(4)]
    batches.close()
    assert [batch.turn for batch in some] == [0, 1, 2, 0]
    assert [judge.objective.backbone.name for judge in task.judges] == ["tiny", "deep", "other"]
    paint = task.trained
    seen = [float(task.terms(paint, replace(some[0], turn=turn))["style"].detach()) for turn in range(3)]
    assert len(set(seen)) == 3
    records = run(settings, root / "run")
    about = load_model(records[-1].model)[1]["recipe"]
    assert about["other_backbone"] == ["deep.safetensors", "other.safetensors"]
    assert {"backbone", "other_backbone_1", "other_backbone_2"} <= about["contents"].keys()
    write_backbone(root / "other.safetensors", seed=2)
    with pytest.raises(DataError, match="the other backbone 2 is other with other weights"):
        run(settings, root / "run", resume=True)


def test_a_trained_network_may_get_reach(root: Path, trained: Path) -> None:
    shutil.copytree(trained, root / "run")
    start = str(root / "run" / "model.safetensors")
    run(multistyle(root, begin_with=start, reach=8, steps=1, lr=1e-12), root / "more")
    before, _ = load_model(start)
    after, about = load_model(root / "more" / "model.safetensors")
    assert (after.config.reach, about["recipe"]["reach"]) == (8, 8)
    photo = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(before(photo, before.mix("a")), after(photo, after.mix("a")), atol=1e-5)
    run(multistyle(root, begin_with=start, reach=8, steps=6), root / "further")
    further, _ = load_model(root / "further" / "model.safetensors")
    assert further.reach.in_up1.gamma.abs().max() > 0
    assert not torch.equal(further.reach.far1.conv2d.weight, after.reach.far1.conv2d.weight)
    with pytest.raises(OptionError, match="cannot begin one of brisk"):  # what it has cannot be taken away
        run(multistyle(root, begin_with=str(root / "more" / "model.safetensors")), root / "less")


def test_a_network_may_begin_one_of_fewer_blocks(root: Path) -> None:
    run(multistyle(root, blocks=3), root / "run")
    start = str(root / "run" / "model.safetensors")
    run(multistyle(root, begin_with=start, blocks=2, steps=1, lr=1e-12), root / "less")
    before, _ = load_model(start)
    after, _ = load_model(root / "less" / "model.safetensors")
    for here, there in ((after.res1, before.res1), (after.res2, before.res3), (after.head, before.head)):
        for a, b in zip(here.state_dict().values(), there.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b)
    with pytest.raises(OptionError, match="cannot begin one of brisk"):  # none can be made of nothing
        run(multistyle(root, begin_with=start, blocks=4), root / "more")


def taught(root: Path, **changes: Any) -> MultiStyleSettings:
    """A training without backbones, but for the options in `changes`."""
    teacher = changes.pop("teacher")
    values = {key: v for key, v in multistyle(root, **changes).values().items() if key not in JUDGING or key in changes}
    return MultiStyleSettings.from_values({**values, "teacher": teacher})


def test_a_teacher_is_learned_from(root: Path) -> None:
    run(multistyle(root, blocks=2, steps=30, save_every=30, lr=0.01), root / "run")
    teacher = str(root / "run" / "model.safetensors")
    shutil.copy(teacher, root / "start.safetensors")
    changes = {"blocks": 1, "steps": 40, "save_every": 40, "lr": 0.01, "begin_with": str(root / "start.safetensors")}
    settings = taught(root, teacher=teacher, **changes)
    records = run(settings, root / "student")
    known, (student, about) = load_model(teacher)[0], load_model(records[-1].model)
    assert records[-2].losses.keys() == {"total", "pixels", "edges"}
    assert records[-2].losses["total"] == pytest.approx(records[-2].losses["pixels"] + records[-2].losses["edges"])
    assert about["recipe"]["teacher"] == "model.safetensors"
    assert not {"backbone", "style_balance", "style_layer"} & about["recipe"].keys()
    fresh = run(taught(root, blocks=1, steps=1, lr=1e-12, teacher=teacher), root / "fresh")
    photo = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = {name: known(photo, known.mix(name)) for name in known.styles}
        apart = [
            sum(float((network(photo, network.mix(name)) - wanted[name]).abs().mean()) for name in known.styles)
            for network in (student, load_model(fresh[-1].model)[0])
        ]
    assert apart[0] < 0.8 * apart[1]
    run(multistyle(root, seed=1, blocks=2), root / "other")
    shutil.copy(root / "other" / "model.safetensors", teacher)
    with pytest.raises(DataError, match="the teacher has changed"):
        run(settings, root / "student", resume=True)


def test_a_teacher_knows_the_styles(root: Path) -> None:
    run(multistyle(root, style=[str(root / "a.png")]), root / "run")
    teacher = str(root / "run" / "model.safetensors")
    with pytest.raises(OptionError, match="'b'"):
        run(taught(root, teacher=teacher), root / "student")
    with pytest.raises(OptionError, match="`teacher` and `style_balance` exclude each other"):
        taught(root, teacher=teacher, style_balance=3.0)
    run(johnson(root), root / "one")
    with pytest.raises(OptionError, match="only multistyle and brisk can teach"):
        run(taught(root, teacher=str(root / "one" / "model.safetensors")), root / "student")


def test_forms_of_twice_the_size_may_count(root: Path) -> None:
    records = run(multistyle(root, style_coarse=0.5, style_balance=10.0, style_size=96), root / "run")
    for record in records[1:-1]:
        losses = record.losses
        parts = losses["content"] + 10 * losses["style"] + 2 * losses["tv"] + 5 * losses["coarse"]
        assert losses["total"] == pytest.approx(parts, rel=1e-4)
        assert losses["coarse"] != losses["style"]


def test_the_ground_is_under_what_is_flat_of_every_other_photo() -> None:
    photos = torch.full((16, 3, 64, 64), 0.5)
    photos[:, :, :, 40:] = torch.rand(3, 64, 24, generator=torch.Generator().manual_seed(0))
    laid = on_random_ground(photos, 1.0, seed=0, first=0)
    changed = [not torch.equal(a, b) for a, b in zip(laid, photos, strict=True)]
    assert 3 < sum(changed) < 13
    assert torch.equal(laid[:, :, :, 48:], photos[:, :, :, 48:])  # what is not flat stays
    assert (laid - photos).abs().max() < 0.25
    spread = (laid - photos)[:, :, :, :16].std((1, 2, 3))
    assert spread.max() > 0.01
    assert torch.equal(on_random_ground(photos[4:], 1.0, seed=0, first=4), laid[4:])  # by number alone
    assert not torch.equal(on_random_ground(photos, 1.0, seed=1, first=0), laid)


def test_styles_may_count_as_shares(root: Path) -> None:
    write_backbone(root / "other.safetensors", seed=1)
    settings = multistyle(root, other_backbone=[str(root / "other.safetensors")], style_shares=True)
    task = GramTask(settings, torch.device("cpu"), choose_precision("cpu", "float32"))
    batches = task.batches(0, Shard())
    photos = torch.cat([next(batches).photos for _ in range(8)])
    batches.close()
    found = [judge.objective.style_distances(photos, judge.targets[0]) for judge in task.judges]
    # As far from every style, by either backbone, as from all of them by the first.
    shares = torch.stack([judge.counts * apart for judge, apart in zip(task.judges, found, strict=True)])
    assert torch.allclose(shares, found[0].mean().expand_as(shares), rtol=1e-3)
    assert not torch.allclose(found[0], found[1], rtol=1e-2)
    lost, plain = Batch(photos[:1], torch.tensor([1])), replace(task.judges[0], counts=None)
    counted = task.terms(lambda x, _: x, lost)["style"]
    task.judges[0] = plain
    assert counted == pytest.approx(float(task.terms(lambda x, _: x, lost)["style"] * shares[0, 1] / found[0][1]))
