"""Compression at toy size: a random VGG-16 up to conv2_2 as the teacher, a few small pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from impasto.core.metadata import read_metadata, save
from impasto.core.precision import Precision
from impasto.core.tensors import to_tensor
from impasto.core.vgg import NORMALISATIONS, VGG, FactoredConv2d
from impasto.core.weights import load_backbone
from impasto.errors import DataError
from impasto.imaging import as_picture, read, write
from impasto.training import compress as module
from impasto.training.compress import (
    CompressProgress,
    CompressSettings,
    choose_ranks,
    compress,
    factor,
    layer_errors,
    read_recipe,
    run_recipe,
    spectra,
    with_unit_activations,
)

pytestmark = pytest.mark.usefixtures("one_thread")

FLOAT32 = Precision(torch.float32, channels_last=True, reason="a test")
SMALL = CompressSettings(
    last="conv2_2",
    megabytes=0.2,
    crops=5,
    crop_size=24,
    finetune_steps=4,
    finetune_batch=2,
    finetune_size=32,
    painted=2,
    painted_steps=5,
)
TAPS = ["relu1_1", "relu1_2", "relu2_1", "relu2_2"]
WIDTHS = {"conv1_2": 64, "conv2_1": 128, "conv2_2": 128}
WIDTHS_IN = {"conv1_2": 64, "conv2_1": 64, "conv2_2": 128}


def network(ranks: dict[str, int] | None = None, normalisation: str = "torchvision") -> VGG:
    """Random, but with the falling spectra of a trained network, so that some ranks matter more than others."""
    torch.manual_seed(0)
    vgg = VGG("vgg16", NORMALISATIONS[normalisation], last="conv2_2", padding="replicate", ranks=ranks)
    for conv in vgg.modules():
        if isinstance(conv, nn.Conv2d):
            nn.init.normal_(conv.weight, std=(2 / (conv.kernel_size[0] ** 2 * conv.in_channels)) ** 0.5)
            nn.init.normal_(conv.bias, std=0.1)
            u, s, v = torch.linalg.svd(conv.weight.flatten(1), full_matrices=False)
            fallen = u @ torch.diag(s * torch.linspace(1.4, 0.3, len(s))) @ v
            conv.weight.data = fallen.reshape(conv.weight.shape)
    return vgg.requires_grad_(False)


@pytest.fixture(scope="module")
def teacher() -> VGG:
    return network()


def blotches(seed: int, h: int = 40, w: int = 52) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    coarse = nn.functional.interpolate(torch.rand(1, 3, 7, 6, generator=draw), size=(h, w), mode="bicubic")
    return (coarse + 0.1 * torch.randn(1, 3, h, w, generator=draw)).clamp(0, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[list[Path], list[Path]]:
    """Four photos and three paintings, one of them smaller than a crop."""
    root = tmp_path_factory.mktemp("pictures")
    found: dict[str, list[Path]] = {"photos": [], "paintings": []}
    for kind, count in (("photos", 4), ("paintings", 3)):
        (root / kind).mkdir()
        for i in range(count):
            path = root / kind / f"{i}.png"
            write(as_picture(blotches(10 * count + i, 33 + 5 * i, 60 - 9 * i)), path)
            found[kind].append(path)
    return found["photos"], found["paintings"]


def finish(steps) -> tuple[list[CompressProgress], VGG]:
    *records, student = steps
    assert isinstance(student, VGG)
    return records, student


@pytest.fixture(scope="module")
def compressed(teacher, folders) -> tuple[list[CompressProgress], VGG]:
    return finish(compress(teacher, *folders, SMALL, FLOAT32))


def crops(count: int = 6, size: int = 32) -> Tensor:
    return torch.cat([blotches(i, size, size) for i in range(count)])


def full_ranks(**changes: int) -> dict[str, int]:
    return WIDTHS | changes


def blank(ranks: dict[str, int]) -> VGG:
    return VGG("vgg16", NORMALISATIONS["torchvision"], last="conv2_2", padding="replicate", ranks=ranks)


def fitted(teacher: VGG, ranks: dict[str, int], images: Tensor) -> VGG:
    student = blank(ranks)
    list(factor(teacher, student, images))
    return student


# -- the whole run ------------------------------------------------------------------------------------------------


def test_the_run_tells_what_it_does_and_ends_with_the_network(compressed, teacher) -> None:
    records, student = compressed
    stages = [record.stage for record in records]
    assert stages == ["ranks"] + ["regression"] * 4 + ["fine-tuning"] * 4
    assert [record.step for record in records] == [1, 1, 2, 3, 4, 1, 2, 3, 4]
    assert all(record.step <= record.steps for record in records)
    assert "conv1_1 relative error 0.000" in records[1].message
    assert (student.name, student.padding, student.normalisation) == ("compact", "replicate", teacher.normalisation)
    assert student.taps == teacher.taps
    assert student.dtype == torch.float32
    ranks = {name: child.reduce.out_channels for name, child in student.named_children() if name != "conv1_1"}
    assert records[0].message == ", ".join(f"{name} {rank}" for name, rank in ranks.items())
    for tap, f in student(blotches(1), student.taps).items():
        assert f.shape == teacher(blotches(1), [tap])[tap].shape


def test_the_same_pictures_and_settings_give_the_same_bits(compressed, teacher, folders) -> None:
    torch.manual_seed(12345)  # the state of torch's own generator must not matter
    torch.rand(7)
    _, again = finish(compress(teacher, *folders, SMALL, FLOAT32))
    for (name, a), (_, b) in zip(compressed[1].state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


def test_another_seed_gives_another_network(compressed, teacher, folders) -> None:
    settings = CompressSettings(**vars(SMALL) | {"seed": 1, "finetune_steps": 0})
    _, other = finish(compress(teacher, *folders, settings, FLOAT32))
    assert not torch.equal(other.conv2_2.expand.bias, compressed[1].conv2_2.expand.bias)


def test_the_teacher_stays_as_it_was(compressed, teacher) -> None:
    for a, b in zip(teacher.parameters(), network().parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.grad is None


def test_the_file_is_within_its_budget(compressed) -> None:
    halves = sum(2 * p.numel() for p in compressed[1].parameters())
    assert halves <= SMALL.megabytes * 1e6
    # and there was not room for another step
    assert halves + 2 * min(9 * WIDTHS_IN[n] + WIDTHS[n] for n in WIDTHS) * SMALL.rank_step > SMALL.megabytes * 1e6


def test_fine_tuning_brings_the_student_nearer(teacher, folders) -> None:
    tight = vars(SMALL) | {"megabytes": 0.1, "learning_rate": 2e-4, "finetune_batch": 3, "finetune_steps": 0}
    _, before = finish(compress(teacher, *folders, CompressSettings(**tight), FLOAT32))
    records, after = finish(compress(teacher, *folders, CompressSettings(**tight | {"finetune_steps": 40}), FLOAT32))
    assert sum(record.stage == "fine-tuning" for record in records) == 40
    judges = [to_tensor(read(path).rgb) for paths in folders for path in paths]
    errors = [layer_errors(teacher, x, judges).values() for x in (before, after)]
    features, gram = ([sum(row[kind] for row in rows) for rows in errors] for kind in ("features", "gram"))
    assert gram[1] < 0.75 * gram[0]
    assert features[1] < features[0]


@pytest.mark.parametrize("missing", [0, 1])
def test_no_pictures(teacher, folders, missing) -> None:
    some = list(folders)
    some[missing] = []
    counts = "0 and 3" if missing == 0 else "4 and 0"
    with pytest.raises(DataError, match=f"^compression needs photos and paintings, got {counts}$"):
        next(compress(teacher, *some, SMALL, FLOAT32))


def test_crops_are_windows_of_the_pictures(folders) -> None:
    paths = [*folders[0], *folders[1]]
    taken = list(module._crops(paths, 9, 24, torch.Generator().manual_seed(3)))
    assert {tuple(x.shape) for x in taken} == {(1, 3, 24, 24)}
    assert all(((x >= 0) & (x <= 1)).all() for x in taken)
    again = list(module._crops(paths, 9, 24, torch.Generator().manual_seed(3)))
    assert all(torch.equal(a, b) for a, b in zip(taken, again, strict=True))
    # Every picture before any comes twice, and never the same window.
    assert len({float(x.sum()) for x in taken}) == 9


def test_half_painted_pictures_lie_between_photo_and_style(compressed, folders) -> None:
    for steps in (1, 5):
        settings = CompressSettings(**vars(SMALL) | {"painted_steps": steps})
        made = [
            module._half_painted(compressed[1], *folders, settings, FLOAT32, torch.Generator().manual_seed(4))[0]
            for _ in range(2)
        ]
        assert made[0].shape == (1, 3, 32, 32)
        assert ((made[0] >= 0) & (made[0] <= 1)).all()
        assert torch.equal(made[0], made[1])
    assert all(p.grad is None for p in compressed[1].parameters() if not p.requires_grad)


# -- ranks --------------------------------------------------------------------------------------------------------


def test_spectra_are_the_variances_along_principal_directions(teacher) -> None:
    images = crops()
    values = spectra(teacher, images, "conv2_2")
    assert list(values) == ["conv1_1", *WIDTHS]
    for name, found in values.items():
        responses = teacher(images, [name])[name].permute(0, 2, 3, 1).flatten(0, 2).double()
        expected = torch.linalg.svdvals(responses - responses.mean(0)).square() / (len(responses) - 1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected[0]))


def falling(decay: float, n: int) -> Tensor:
    return torch.exp(-decay * torch.arange(n, dtype=torch.float64))


LAYERS = {"conv1_1": 64, **WIDTHS}


@effort(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 0.5), min_size=4, max_size=4), st.floats(0.15, 1.5), st.sampled_from([1, 8, 16, 24, 64]))
def test_ranks_use_the_budget_and_no_more(decays, megabytes, step) -> None:
    values = {name: falling(decay, LAYERS[name]) for name, decay in zip(LAYERS, decays, strict=True)}
    settings = CompressSettings(megabytes=megabytes, rank_step=step)
    price = {n: 9 * WIDTHS_IN[n] + WIDTHS[n] + 1 for n in WIDTHS}

    def parameters(ranks: dict[str, int]) -> int:
        return 64 * 28 + sum(price[n] * r + WIDTHS[n] for n, r in ranks.items())

    if 2 * parameters({n: min(step, WIDTHS[n]) for n in WIDTHS}) > megabytes * 1e6:
        with pytest.raises(DataError, match="too little for ranks of"):
            choose_ranks(values, settings)
        return
    ranks = choose_ranks(values, settings)
    assert list(ranks) == list(WIDTHS)
    assert 2 * parameters(ranks) <= megabytes * 1e6
    for n, rank in ranks.items():
        assert rank % step == 0 or rank == WIDTHS[n]
        assert 0 < rank <= WIDTHS[n]
        room = megabytes * 1e6 - 2 * parameters(ranks)
        assert rank + step >= WIDTHS[n] or 2 * price[n] * step > room  # nothing more could be bought


def test_the_layer_with_more_to_explain_gets_more() -> None:
    def ranks(first: float, last: float) -> dict[str, int]:
        decays = {"conv1_1": 0.1, "conv1_2": first, "conv2_1": 0.1, "conv2_2": last}
        settings = CompressSettings(megabytes=0.3, rank_step=8)
        return choose_ranks({n: falling(decays[n], LAYERS[n]) for n in LAYERS}, settings)

    assert ranks(0.02, 0.5)["conv1_2"] > ranks(0.5, 0.02)["conv1_2"]
    assert ranks(0.02, 0.5)["conv2_2"] < ranks(0.5, 0.02)["conv2_2"]


# -- regression ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_full_ranks_are_the_teacher(teacher) -> None:
    student = fitted(teacher, full_ranks(), crops())
    for image in (blotches(50), crops(2)):
        wanted, got = teacher(image, TAPS), student(image, TAPS)
        for tap in TAPS:
            assert (got[tap] - wanted[tap]).norm() < 1e-3 * wanted[tap].norm()


@torch.no_grad()
def test_a_single_layer_loses_what_its_spectrum_says(teacher) -> None:
    """With the teacher's own inputs, reduced-rank regression is principal component analysis."""
    images = crops()
    values = spectra(teacher, images, "conv2_2")["conv1_2"]
    for rank in (8, 24, 48):
        student = fitted(teacher, full_ranks(conv1_2=rank), images)
        wanted, got = teacher(images, ["conv1_2"])["conv1_2"], student(images, ["conv1_2"])["conv1_2"]
        spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().sum()
        lost = float((got - wanted).square().sum() / spread)
        assert lost == pytest.approx(float(values[rank:].sum() / values.sum()), rel=0.02)


def test_more_ranks_lose_less(teacher) -> None:
    images = crops()
    errors = []
    for share in (1 / 8, 1 / 4, 1 / 2):
        student = fitted(teacher, {n: int(width * share) for n, width in WIDTHS.items()}, images)
        errors.append(layer_errors(teacher, student, [blotches(60)])["relu2_2"]["features"])
    assert errors[0] > errors[1] > errors[2] > 0.01


def test_later_layers_make_good_for_earlier_ones(teacher) -> None:
    """Fitted on the student's own inputs, the network is nearer than one fitted layer by layer on the teacher's."""
    images, ranks = crops(), {"conv1_2": 8, "conv2_1": 16, "conv2_2": 64}
    asymmetric, symmetric = fitted(teacher, ranks, images), blank(ranks)
    symmetric.conv1_1.load_state_dict(teacher.conv1_1.state_dict())
    with torch.no_grad():
        for name in ranks:
            own = module._columns(teacher(images, [name])[name])
            module._factor_one(teacher.get_submodule(name), symmetric.get_submodule(name), own, own)
    errors = [layer_errors(teacher, x, [images])["relu2_2"]["features"] for x in (asymmetric, symmetric)]
    assert errors[0] < 0.97 * errors[1]


def test_the_reported_errors_are_those_of_the_layers(teacher) -> None:
    images, student = crops(), blank(dict.fromkeys(WIDTHS, 16))
    records = list(factor(teacher, student, images))
    errors = layer_errors(teacher, student, [images])
    for record, tap in zip(records, TAPS, strict=True):
        name, _, _, reported = record.message.split()
        assert name == tap.replace("relu", "conv")
        assert float(reported) == pytest.approx(errors[tap]["features"], abs=1e-3)


@torch.no_grad()
def test_middle_channels_have_unit_variance(teacher) -> None:
    """Small numbers would be lost in the float16 of the file."""
    images, student = crops(), blank(dict.fromkeys(WIDTHS, 16))
    list(factor(teacher, student, images))
    middle = student.conv1_2.reduce(student(images, ["relu1_1"])["relu1_1"])
    torch.testing.assert_close(middle.std((0, 2, 3)), torch.ones(16), rtol=0.02, atol=0)
    assert isinstance(student.conv2_2, FactoredConv2d)
    smallest = min(float(p.abs().max()) for p in student.parameters())
    assert smallest > 1e-3


# -- errors by layer ----------------------------------------------------------------------------------------------


def test_a_network_does_not_differ_from_itself(teacher) -> None:
    errors = layer_errors(teacher, teacher, [blotches(1), blotches(2)])
    assert errors == {tap: {"features": 0.0, "gram": 0.0} for tap in TAPS}


def test_errors_of_a_known_difference(teacher) -> None:
    """A first layer that is a tenth louder: a tenth in features, (1.1² - 1)² in Gram matrices."""
    louder = network()
    for value in louder.conv1_1.parameters():
        value.mul_(1.1)
    errors = layer_errors(teacher, louder, [blotches(1), blotches(2, 30, 30)])["relu1_1"]
    assert errors["features"] == pytest.approx(0.1, rel=1e-4)
    assert errors["gram"] == pytest.approx(0.21**2, rel=1e-4)


def test_errors_are_means_over_pictures(teacher, compressed) -> None:
    one, two = blotches(1), blotches(2, 30, 50)
    both = layer_errors(teacher, compressed[1], [one, two])
    each = [layer_errors(teacher, compressed[1], [x]) for x in (one, two)]
    for tap in TAPS:
        for kind in ("features", "gram"):
            assert both[tap][kind] == pytest.approx((each[0][tap][kind] + each[1][tap][kind]) / 2, rel=1e-6)
            assert 0 <= both[tap][kind] < 1


# -- recipes ------------------------------------------------------------------------------------------------------

RECIPE = """
output = "made/compact.safetensors"
teacher = "teacher.safetensors"
photos = "photos"
paintings = "paintings"
every = 2
threads = 1
licence = "none"
origin = "random numbers"

[settings]
last = "conv2_1"
megabytes = 0.09
crops = 3
crop_size = 24
finetune_steps = 2
finetune_batch = 1
finetune_size = 32
painted = 1
painted_steps = 4
"""


@pytest.fixture
def recipe(tmp_path, folders, teacher) -> Path:
    tensors = {key: value.contiguous() for key, value in teacher.state_dict().items()}
    about = {"kind": "backbone", "name": "toy", "topology": "vgg16", "normalisation": "torchvision"}
    save(tmp_path / "teacher.safetensors", tensors, about)
    for kind, paths in zip(("photos", "paintings"), folders, strict=True):
        (tmp_path / kind).symlink_to(paths[0].parent, target_is_directory=True)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_is_run_into_the_same_bytes_twice(recipe, tmp_path) -> None:
    job = read_recipe(recipe)
    threads = torch.get_num_threads()
    records = [list(run_recipe(job, output)) for output in (job.output, tmp_path / "again.safetensors")]
    assert torch.get_num_threads() == threads
    assert job.output.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert records[0] == records[1]
    assert records[0][-1].stage == "written"
    assert job.output.stat().st_size <= 0.09e6 + 4000  # numbers, and what the file says of itself
    assert (job.output.parent / "manifest.json").exists()
    assert not (tmp_path / "manifest.json").exists()

    student = load_backbone(job.output)
    assert (student.name, student.padding) == ("compact", "replicate")
    assert student.normalisation == NORMALISATIONS["torchvision"]
    assert student.convolutions == ("conv1_1", "conv1_2", "conv2_1")
    metadata = read_metadata(job.output)
    assert metadata["recipe"]["megabytes"] == 0.09
    assert set(metadata["errors"]) == {"relu1_1", "relu1_2", "relu2_1"}
    assert 0 < metadata["errors"]["relu2_1"]["features"] < 1


def test_features_that_float16_cannot_hold_are_told(recipe, teacher, tmp_path) -> None:
    tensors = {key: value * (1e7 if key.endswith("weight") else 1) for key, value in teacher.state_dict().items()}
    about = {"kind": "backbone", "name": "toy", "topology": "vgg16", "normalisation": "torchvision"}
    save(tmp_path / "teacher.safetensors", {key: value.contiguous() for key, value in tensors.items()}, about)
    job = read_recipe(recipe)
    with pytest.raises(DataError, match="kept in float16, its features are no finite numbers"):
        list(run_recipe(job, job.output))
    assert not job.output.exists()


def test_a_teacher_with_large_activations_is_compressed_all_the_same(recipe, teacher, tmp_path) -> None:
    """Such as Caffe's; and what its file does not tell is told by the recipe."""
    tensors = {key: value * 1e7 if "1_1" in key else value for key, value in teacher.state_dict().items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "teacher.safetensors")
    told = 'name = "small"\nteacher = "teacher.safetensors"\nteacher_input = "caffe"\nunit_activations = true'
    recipe.write_text(RECIPE.replace('teacher = "teacher.safetensors"', told))
    job = read_recipe(recipe)
    list(run_recipe(job, job.output))
    student = load_backbone(job.output)
    assert (student.name, student.normalisation) == ("small", NORMALISATIONS["caffe"])
    assert read_metadata(job.output)["recipe"]["unit_activations"] is True
    full = load_backbone(tmp_path / "teacher.safetensors", input="caffe", padding="replicate")
    (wanted,), (got,) = (net(crops(2), ["relu2_1"]).values() for net in (full, student))
    assert float(got.mean()) == pytest.approx(1, rel=0.3)
    assert float((got / got.norm() - wanted / wanted.norm()).norm()) < 0.7


@torch.no_grad()
@pytest.mark.parametrize("ranks", [{}, {"conv1_2": 40, "conv2_2": 100}])
def test_activations_are_rescaled_and_nothing_else(ranks) -> None:
    """Each layer's by one factor, on all pictures, with biases and in two factors as well."""
    loud = network(ranks)
    loud.conv1_1.weight.mul_(300)
    loud.conv1_1.bias.mul_(300)
    even = with_unit_activations(loud, images := crops(), "conv2_1")
    assert even.convolutions == ("conv1_1", "conv1_2", "conv2_1")
    for other in (images, blotches(70)):
        taps = ["relu1_1", "relu1_2", "relu2_1"]
        before, after = loud(other, taps), even(other, taps)
        for tap in taps:
            factor_of = float(loud(images, [tap])[tap].mean())
            torch.testing.assert_close(after[tap] * factor_of, before[tap], rtol=1e-3, atol=1e-3 * factor_of)
            if other is images:
                assert float(after[tap].mean()) == pytest.approx(1, rel=1e-4)


def test_a_layer_that_sees_nothing_cannot_be_rescaled(teacher) -> None:
    blind = network()
    blind.conv1_2.weight.zero_()
    blind.conv1_2.bias.fill_(-1)
    with pytest.raises(DataError, match=r"the mean activation of conv1_2 is 0\.0, need a number above 0"):
        with_unit_activations(blind, crops(2), "conv2_1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("every = 2", "every = 1"), "every must be at least 2, so that pictures are left to judge by, got 1"),
        (("every = 2\n", ""), "the key 'every' is missing"),
        (("crops = 3", "crop = 3"), "unknown key 'crop' .*; the keys are .*crop_size"),
        (("[settings]", "[setting]"), "unknown key 'setting' .*; the keys are .*settings"),
        (("[settings]", "[settings"), "cannot be read as a recipe"),
        (("threads = 1", 'threads = "two"'), "threads is 'two', need a whole number"),
        (("threads = 1", "threads = true"), "threads is True, need a whole number"),
        (("every = 2", "every = 2.5"), "every is 2.5, need a whole number"),
        (("every = 2", 'every = 2\nunit_activations = "no"'), "unit_activations is 'no', need true or false"),
        (
            ("every = 2", 'every = 2\nteacher_input = "kaffe"'),
            "teacher_input is 'kaffe', need torchvision or caffe or none",
        ),
        (("megabytes = 0.09", 'megabytes = "much"'), "megabytes is 'much', need a number"),
        (('photos = "photos"', "photos = 3"), "photos is 3, need a text"),
    ],
)
def test_a_bad_recipe(recipe, change, message) -> None:
    recipe.write_text(RECIPE.replace(*change))
    with pytest.raises(DataError, match=message):
        read_recipe(recipe)


def test_a_layer_and_a_folder_that_are_not_there(recipe) -> None:
    recipe.write_text(RECIPE.replace('last = "conv2_1"', 'last = "conv2_9"'))
    with pytest.raises(
        DataError, match=r"`last` 'conv2_9' is unknown \(did you mean .*\): use conv1_2, conv2_1, conv2_2"
    ):
        list(run_recipe(job := read_recipe(recipe), job.output))
    recipe.write_text(RECIPE.replace('photos = "photos"', 'photos = "elsewhere"'))
    with pytest.raises(DataError, match="elsewhere: no such folder, need one of pictures"):
        list(run_recipe(job := read_recipe(recipe), job.output))


def test_a_missing_recipe_and_a_folder_without_pictures(recipe, tmp_path) -> None:
    with pytest.raises(DataError, match=r"none\.toml: no such file, need a recipe"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "photos").unlink()
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="photos: holds no pictures"):
        list(run_recipe(read_recipe(recipe), tmp_path / "out.safetensors"))
