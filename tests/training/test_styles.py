"""The style data set, and targets that are computed once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.core.metadata import read_metadata, save
from impasto.core.resizing import resize
from impasto.core.statistics import gram, mean_std
from impasto.core.tensors import to_tensor
from impasto.core.vgg import NORMALISATIONS, VGG
from impasto.errors import DataError, ImageError, LayerError, OptionError, OutputError, WeightsError
from impasto.imaging import read
from impasto.training import targets
from impasto.training.styles import StyleSet, build_styles, unique_names
from impasto.training.targets import backbone_identity, style_targets

TAPS = ("relu1_1", "relu1_2", "relu2_1")
FILES = {"The Great_Wave.png": (60, 90), "the great wave.jpg": (70, 50), "Udnie.webp": (64, 64)}


def tiny_vgg(seed: int = 0, **options: object) -> VGG:
    torch.manual_seed(seed)
    options = {"last": "conv2_1", "normalisation": NORMALISATIONS["none"], "name": "tiny"} | options
    return VGG("vgg16", **options).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return tiny_vgg()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "styles"
    path.mkdir()
    for number, (name, (height, width)) in enumerate(FILES.items()):
        coarse = np.random.default_rng(number).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(path / name)
    (path / "notes.txt").write_text("no style")
    return path


def build(folder: Path, vgg: VGG, **options: object) -> StyleSet:
    out = folder.parent / "styles.safetensors"
    for _ in build_styles(folder, out, vgg, **options):
        pass
    return StyleSet.open(out)


def test_a_record_holds_picture_name_and_statistics(folder: Path, vgg: VGG) -> None:
    found = build(folder, vgg, size=48)
    assert found.names == ("the-great-wave", "udnie", "the-great-wave-2")
    assert (found.taps, found.size, found.backbone) == (TAPS, 48, "tiny")
    assert found.backbone_identity == backbone_identity(vgg)
    for name, file in (("the-great-wave", "The Great_Wave.png"), ("the-great-wave-2", "the great wave.jpg")):
        picture, style = found.image(name), found.styles[name]
        assert (style.file, style.height, style.width) == (file, *FILES[file])
        assert (picture.name, picture.height, picture.width) == (name, *FILES[file])
        assert np.abs(picture.rgb - read(folder / file).rgb).mean() < 0.02
        scale = 48 / max(picture.height, picture.width)
        seen = vgg(resize(to_tensor(picture.rgb), (round(picture.height * scale), round(picture.width * scale))), TAPS)
        for tap in TAPS:
            mean, std = mean_std(seen[tap])
            assert torch.allclose(found.gram(name, tap), gram(seen[tap])[0], rtol=1e-4, atol=1e-6)
            assert torch.allclose(found.moments(name, tap)[0], mean.flatten(), rtol=1e-4, atol=1e-6)
            assert torch.allclose(found.moments(name, tap)[1], std.flatten(), rtol=1e-4, atol=1e-6)
            for divisor in ("none", "all"):
                expected = gram(seen[tap], divisor)[0]
                assert torch.allclose(found.gram(name, tap, divisor), expected, rtol=1e-4, atol=1e-5)


def test_progress_counts_the_styles(folder: Path, vgg: VGG, tmp_path: Path) -> None:
    records = list(build_styles(folder, tmp_path / "x.safetensors", vgg))
    assert [(record.done, record.total, record.name) for record in records] == [
        (1, 3, "the-great-wave"),
        (2, 3, "udnie"),
        (3, 3, "the-great-wave-2"),
    ]


def test_the_same_folder_gives_the_same_bytes(folder: Path, vgg: VGG) -> None:
    first = build(folder, vgg).path.read_bytes()
    assert build(folder, vgg, force=True).path.read_bytes() == first


@given(st.lists(st.text(max_size=8), max_size=12))
def test_names_are_unique_and_in_lower_case_with_hyphens(stems: list[str]) -> None:
    names = unique_names(stems)
    assert len(set(names)) == len(names) == len(stems)
    for name in names:
        assert name == name.lower()
        assert (
            all(part.isalnum() for part in name.replace("\N{COMBINING DOT ABOVE}", "x").split("-")) or name == "style"
        )


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (["Wave", "wave", "WAVE"], ["wave", "wave-2", "wave-3"]),
        (["wave-2", "wave", "wave"], ["wave-2", "wave", "wave-3"]),
        (["  Café du Soir (1888)"], ["café-du-soir-1888"]),
        (["神奈川沖浪裏", "---", ""], ["神奈川沖浪裏", "style", "style-2"]),
    ],
)
def test_names_by_example(stems: list[str], names: list[str]) -> None:
    assert unique_names(stems) == names


SIDECARS = {
    "styles.tsv": (
        "file\ttitle\tartist\tyear\nUdnie.webp\tUdnie\tFrancis Picabia\t1913\nThe Great_Wave.png\t\tHokusai\t\n"
    ),
    "styles.json": json.dumps(
        {
            "Udnie.webp": {"title": "Udnie", "artist": "Francis Picabia", "year": 1913},
            "The Great_Wave.png": {"artist": "Hokusai"},
        }
    ),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_titles_and_artists_come_from_a_list_beside_the_pictures(folder: Path, vgg: VGG, name: str) -> None:
    (folder / name).write_text(SIDECARS[name], encoding="utf-8-sig")
    found = build(folder, vgg)
    assert [(style.title, style.artist, style.year) for style in found.styles.values()] == [
        (None, "Hokusai", None),
        ("Udnie", "Francis Picabia", "1913"),
        (None, None, None),
    ]


def test_a_list_may_name_styles_otherwise(folder: Path, vgg: VGG) -> None:
    (folder / "styles.tsv").write_text("file\tname\nUdnie.webp\tYoung Girl\n")
    assert "young-girl" in build(folder, vgg).names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("styles.tsv", "picture\ttitle\nUdnie.webp\tx\n", "need columns file, name, title, artist"),
        ("styles.json", "{", "cannot be read"),
        ("styles.json", "[1, 2]", "cannot be read"),
        ("styles.json", '{"Udnie.webp": "Picabia"}', "cannot be read"),
        ("styles.json", '{"gone.jpg": {"title": "x"}}', "names gone.jpg, which the folder does not hold"),
    ],
)
def test_a_damaged_list_is_named(folder: Path, vgg: VGG, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        build(folder, vgg)


def test_an_unreadable_style_is_named_and_nothing_is_written(folder: Path, vgg: VGG) -> None:
    (folder / "zebra.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"zebra\.jpg"):
        build(folder, vgg)
    assert [path.name for path in folder.parent.iterdir()] == ["styles"]


def test_a_style_too_narrow_at_the_size_is_named(folder: Path, vgg: VGG) -> None:
    Image.new("RGB", (400, 40)).save(folder / "band.png")
    with pytest.raises(ImageError, match=r"100x10 px at size 100, need at least 32 px on the short side"):
        build(folder, vgg, size=100)


def test_a_file_that_nobody_could_read_is_not_written(folder: Path, vgg: VGG) -> None:
    for name in ("set", "set.jpg"):
        with pytest.raises(OptionError, match=f"^`out` .*{name}: give the name of a file that ends in .safetensors$"):
            list(build_styles(folder, folder.parent / name, vgg))
    assert not [*folder.parent.glob("set*")]


def test_an_existing_file_stays_unless_forced(folder: Path, vgg: VGG) -> None:
    (folder.parent / "styles.safetensors").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        build(folder, vgg)
    assert (folder.parent / "styles.safetensors").read_bytes() == b"precious"
    assert len(build(folder, vgg, force=True).names) == 3


def test_no_folder_and_no_pictures_are_named(tmp_path: Path, vgg: VGG) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        next(build_styles(tmp_path / "nowhere", tmp_path / "x", vgg))
    with pytest.raises(DataError, match="no pictures found"):
        next(build_styles(tmp_path, tmp_path / "x", vgg))


def test_questions_that_the_file_cannot_answer(folder: Path, vgg: VGG) -> None:
    found = build(folder, vgg)
    with pytest.raises(DataError, match=r"no style 'monet'; its styles are the-great-wave, udnie"):
        found.image("monet")
    with pytest.raises(LayerError, match=r"'relu5_1' .*, only for relu1_1"):
        found.gram("udnie", "relu5_1")
    with pytest.raises(DataError, match="no style"):
        found.moments("monet", "relu1_1")


def test_files_that_are_no_style_set(tmp_path: Path, folder: Path, vgg: VGG) -> None:
    with pytest.raises(WeightsError, match="gone"):
        StyleSet.open(tmp_path / "gone.safetensors")
    save(tmp_path / "x.safetensors", {"x": torch.zeros(1)}, {"kind": "backbone"})
    with pytest.raises(DataError, match="not a style set"):
        StyleSet.open(tmp_path / "x.safetensors")
    metadata = read_metadata(build(folder, vgg).path)
    save(tmp_path / "x.safetensors", {"x": torch.zeros(1)}, metadata | {"format": 99})
    with pytest.raises(DataError, match="format 99, this version reads 1"):
        StyleSet.open(tmp_path / "x.safetensors")
    del metadata["taps"]
    save(tmp_path / "x.safetensors", {"x": torch.zeros(1)}, metadata)
    with pytest.raises(DataError, match="description of the styles is damaged"):
        StyleSet.open(tmp_path / "x.safetensors")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures whose features were really computed."""
    names: list[str] = []
    compute = targets.style_features

    def count(picture, *rest):
        names.append(picture.name)
        return compute(picture, *rest)

    monkeypatch.setattr(targets, "style_features", count)
    return names


def test_targets_are_grams_of_each_picture(folder: Path, vgg: VGG, tmp_path: Path) -> None:
    files = [folder / name for name in FILES]
    found = style_targets(files, vgg, TAPS, 48, divisor="all", cache_dir=tmp_path / "cache")
    assert tuple(found) == TAPS
    for tap in TAPS:
        for row, file in zip(found[tap], files, strict=True):
            features = targets.style_features(read(file), vgg, [tap], 48)[tap]
            assert torch.allclose(row, gram(features, "all")[0])


def test_targets_are_computed_once(folder: Path, vgg: VGG, tmp_path: Path, counted: list[str]) -> None:
    files = [folder / name for name in FILES]
    first = style_targets(files, vgg, TAPS, 48, cache_dir=tmp_path / "cache")
    assert counted == list(FILES)
    second = style_targets(files[::-1], tiny_vgg(), TAPS, 48, cache_dir=tmp_path / "cache")
    assert counted == list(FILES)
    assert all(torch.equal(first[tap], second[tap].flip(0)) for tap in TAPS)
    assert all(path.suffix == ".safetensors" for path in (tmp_path / "cache").iterdir())


CHANGES: dict[str, Callable[[dict], dict]] = {
    "weights": lambda _: {"backbone": tiny_vgg(1)},
    "pooling": lambda _: {"backbone": tiny_vgg(pool="average")},
    "normalisation": lambda _: {"backbone": tiny_vgg(normalisation=NORMALISATIONS["caffe"])},
    "padding": lambda _: {"backbone": tiny_vgg(padding="replicate")},
    "precision": lambda _: {"backbone": tiny_vgg().to(torch.bfloat16)},
    "size": lambda _: {"size": 44},
    "no size": lambda _: {"size": None},
    "taps": lambda _: {"taps": TAPS[:2]},
    "divisor": lambda _: {"divisor": "none"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_means_computing_anew(
    folder: Path, vgg: VGG, tmp_path: Path, counted: list[str], change: str
) -> None:
    options = {"backbone": vgg, "taps": TAPS, "size": 40, "cache_dir": tmp_path / "cache"}
    files = [folder / "Udnie.webp"]
    style_targets(files, **options)
    changed = options | CHANGES[change](options)
    found = style_targets(files, **changed)
    assert len(counted) == 2
    straight = style_targets(files, **(changed | {"cache_dir": tmp_path / "other"}))
    assert all(torch.equal(found[tap], straight[tap]) for tap in changed["taps"])


def test_another_picture_under_the_same_name_is_computed_anew(
    folder: Path, vgg: VGG, tmp_path: Path, counted: list[str]
) -> None:
    style_targets([folder / "Udnie.webp"], vgg, TAPS, 40, cache_dir=tmp_path / "cache")
    Image.new("RGB", (64, 64), "red").save(folder / "Udnie.webp")
    style_targets([folder / "Udnie.webp"], vgg, TAPS, 40, cache_dir=tmp_path / "cache")
    assert len(counted) == 2


def test_pictures_in_memory_are_known_by_their_pixels(
    folder: Path, vgg: VGG, tmp_path: Path, counted: list[str]
) -> None:
    picture = read(folder / "Udnie.webp")
    rgb = to_tensor(picture.rgb)
    forms = [picture, rgb, rgb.clone()]
    found = style_targets(forms, vgg, TAPS, 40, cache_dir=tmp_path / "cache")["relu1_1"]
    assert len(counted) == 1
    assert torch.equal(found[0], found[2])
    style_targets([1 - rgb], vgg, TAPS, 40, cache_dir=tmp_path / "cache")
    assert len(counted) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_entry_is_computed_anew_and_mended(
    folder: Path, vgg: VGG, tmp_path: Path, counted: list[str], damage: str
) -> None:
    files, cache = [folder / "Udnie.webp"], tmp_path / "cache"
    first = style_targets(files, vgg, TAPS, 40, cache_dir=cache)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    flipped = whole[:-9] + bytes([whole[-9] ^ 255]) + whole[-8:]
    entry.write_bytes({"empty": b"", "cut": whole[:-100], "flipped": flipped, "foreign": b"x" * 999}[damage])
    second = style_targets(files, vgg, TAPS, 40, cache_dir=cache)
    assert len(counted) == 2
    assert all(torch.equal(first[tap], second[tap]) for tap in TAPS)
    assert entry.read_bytes() == whole


def test_a_cache_that_cannot_be_written_only_costs_time(folder: Path, vgg: VGG, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    found = style_targets([folder / "Udnie.webp"], vgg, TAPS, 40, cache_dir=tmp_path / "cache")
    assert found["relu1_1"].shape == (1, 64, 64)


def test_what_cannot_be_seen_is_named(folder: Path, vgg: VGG, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="gone"):
        style_targets([tmp_path / "gone.jpg"], vgg, TAPS, 40, cache_dir=tmp_path)
    with pytest.raises(ImageError, match="notes"):
        style_targets([folder / "notes.txt"], vgg, TAPS, 40, cache_dir=tmp_path)
    with pytest.raises(LayerError, match="relu9_9"):
        style_targets([folder / "Udnie.webp"], vgg, ["relu9_9"], 40, cache_dir=tmp_path)


def test_jpeg_is_what_others_can_open(folder: Path, vgg: VGG) -> None:
    image = Image.open(io.BytesIO(build(folder, vgg).jpeg("udnie")))
    assert (image.format, image.size) == ("JPEG", (64, 64))


def test_what_a_style_hides_reaches_neither_targets_nor_sets(vgg: VGG, tmp_path: Path) -> None:
    found = []
    for name, hidden in (("black", 0), ("white", 255)):
        array = np.random.default_rng(0).integers(0, 256, (48, 64, 4), np.uint8)
        array[:, :, 3] = 255
        array[:, 30:] = (hidden, hidden, hidden, 0)
        folder = tmp_path / name
        folder.mkdir()
        Image.fromarray(array).save(folder / "cut.png")
        targets_of = style_targets([folder / "cut.png"], vgg, TAPS, 48, cache_dir=tmp_path / "cache")
        for _ in build_styles(folder, tmp_path / f"{name}.safetensors", vgg, size=48):
            pass
        styles = StyleSet.open(tmp_path / f"{name}.safetensors")
        for tap in TAPS:  # but for JPEG
            assert torch.allclose(
                styles.gram("cut", tap), targets_of[tap][0], rtol=0.2, atol=0.05 * targets_of[tap].max()
            )
        found.append((targets_of, styles.jpeg("cut")))
    assert found[0][1] == found[1][1]
    for tap in TAPS:
        assert torch.equal(found[0][0][tap], found[1][0][tap])
