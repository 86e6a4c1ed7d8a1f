"""Patterns of file names: what exists as it is written stands for itself, the rest for what it matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.batch import gather, is_many
from impasto.errors import DataError
from impasto.files import expand_pattern, is_pattern, split_pattern
from impasto.training.photos import open_photos


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders whose names are patterns as well, with empty files that are called like photos."""
    for name in (
        "Holiday [2019]/a.png", "Holiday [2019]/b.png", "Holiday [2019]/c [1].png", "Holiday 2/d.png",
        "Trip/[x]/e.png", "Trip/x/f.png", "Tour/x/g.png", "{p,q}/h.png", "Trip/deep/er/i.png",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("Holiday [2019]/*.png", ["a", "b", "c [1]"]),
        ("Holiday [2019]/[ab].png", ["a", "b"]),
        ("Holiday [2019]/c [1].png", ["c [1]"]),
        ("Holiday [0-9]/*.png", ["d"]),  # no folder is called like that, so it is a pattern
        ("T*/[x]/*.png", ["g", "e"]),  # in Trip a folder is called [x], in Tour it is a pattern for x
        ("Trip/?/*.png", ["f"]),
        ("Trip/nothing/*.png", []),
    ],
)
def test_what_exists_is_taken_as_it_is_written(album: Path, pattern: str, found: list[str]) -> None:
    assert [path.stem for path in expand_pattern(pattern)] == found
    assert [path.stem for path in expand_pattern(album / pattern)] == found


def test_two_stars_go_down_where_that_is_asked_for(album: Path) -> None:
    assert [path.stem for path in expand_pattern("Trip/**/*.png", recursive=True)] == ["e", "i", "f"]
    assert [path.stem for path in expand_pattern("Trip/**/*.png")] == ["e", "f"]


def test_a_missing_file_in_a_folder_with_brackets_is_no_pattern(album: Path) -> None:
    assert not is_pattern("Holiday [2019]/missing.png")
    assert not is_pattern("Holiday [2019]/c [1].png")
    assert is_pattern("Holiday [2019]/*.png")
    assert split_pattern("Holiday [2019]/x/*.png") == (Path("Holiday [2019]"), "x/*.png")


def test_a_batch_finds_the_photos_of_a_folder_with_brackets(album: Path) -> None:
    assert is_many(["Holiday [2019]/*.png"])
    works = gather(["Holiday [2019]/*.png"], "out")
    assert [work.photo for work in works] == [f"Holiday [2019]/{name}.png" for name in ("a", "b", "c [1]")]


def test_training_and_evaluation_find_them_too(album: Path) -> None:
    photos = open_photos("Holiday [2019]/*.png")
    assert [Path(photos.name(i)).stem for i in range(len(photos))] == ["a", "b", "c [1]"]
    assert len(open_photos("{p,q}/*.png")) == 1
    assert len(open_photos("Holiday [2019]/{a,b}.png")) == 2
    with pytest.raises(DataError, match="bbbb"):
        open_photos("Holiday [2019]/{a,bbbbbbbbb}.png")
