"""What outputs are called, and what travels."""

from __future__ import annotations

import json

import pytest

from impasto.bulk.stores import without_secrets
from impasto.bulk.work import Item, Row, Task, recipe_key
from impasto.errors import DataError, OptionError


def name(item_id: str, **more: str) -> str:
    return Item(item_id, f"/photos/{item_id}").output_name(Task({}, {}, "/out", **more))


@pytest.mark.parametrize(
    ("item_id", "output"),
    [
        ("a.jpg", "a.jpg"),
        ("x/y/a.JPG", "x/y/a.JPG"),
        ("a.bmp", "a.png"),
        ("a.b.gif", "a.b.png"),
        ("clip.mov", "clip.mov"),
        ("clip.avi", "clip.mp4"),
        (".a.jpg", ".a.jpg"),
    ],
)
def test_outputs_are_called_as_their_sources_where_that_can_be_written(item_id: str, output: str) -> None:
    assert name(item_id) == output


def test_one_format_for_all_but_films() -> None:
    assert name("a.png", format="jpg") == "a.jpg"
    assert name("a.mkv", format="jpg") == "a.mkv"
    with pytest.raises(OptionError, match="not known"):
        name("a.png", format="jpog")


def test_in_shards_a_name_has_one_dot() -> None:
    assert name("x.y/a.b.jpg", layout="tar") == "x.y/a_b.jpg"


def test_an_id_without_a_suffix_takes_the_sources() -> None:
    assert Item("17", "/photos/a.jpg").output_name(Task({}, {}, "/out")) == "17.jpg"


@pytest.mark.parametrize(
    "item_id", ["", "/etc/a.jpg", "../a.jpg", "x/../../a.jpg", "x/", ".impasto/job.json", "a\0.jpg"]
)
def test_no_output_leaves_the_target(item_id: str) -> None:
    with pytest.raises(DataError, match="cannot be a file's name"):
        name(item_id)


def test_rows_and_items_come_back_from_json() -> None:
    row = Row("a.jpg", "0123456789abcdef", 1.5, "w", "/a.jpg", 3, "ff", "a.jpg", 4, "ee", 0.25, notes=("on white",))
    assert Row.from_json(row.to_json()) == row
    assert "error" not in json.loads(row.to_json())
    item = Item("a.jpg", "s3://b/a.jpg", {"strength": 0.5}, 512, 100)
    assert Item.from_json(item.to_json()) == item


def test_an_items_own_options_change_its_recipe() -> None:
    plain, own = recipe_key("0" * 16, {}), recipe_key("0" * 16, {"strength": 0.5})
    assert plain == "0" * 16
    assert own != plain
    assert own == recipe_key("0" * 16, {"strength": 0.5})


def test_no_secret_is_told() -> None:
    said = without_secrets("cannot open s3://key:word@b/a.jpg and https://h/a?X-Amz-Signature=12&b=3 now")
    assert said == "cannot open s3://b/a.jpg and https://h/a now"


def test_how_another_format_is_written_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^`jpeg_quality` is for JPEG, WebP, AVIF and HEIC, and PNG is written"):
        Task({}, {"jpeg_quality": 50}, "/out", format="png")
    for name in ("jpg", None):  # None: each picture's own
        Task({}, {"jpeg_quality": 50}, "/out", format=name)
