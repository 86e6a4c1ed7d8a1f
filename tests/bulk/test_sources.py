"""Where pictures come from."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from impasto.bulk.sources import open_source, split_address
from impasto.bulk.work import Item
from impasto.errors import DataError

ALL = {"a.jpg", "b.png", "c.webp", "d.jpg", "more/e.jpg", "more/deep/f.bmp"}


def ids(where: object) -> set[str]:
    return {item.id for item in open_source(str(where)).items()}


def test_a_folder_has_all_pictures_below_it(photos: Path) -> None:
    assert ids(photos) == ALL
    assert ids(f"{photos}/") == ALL
    for item in open_source(str(photos)).items():
        assert Path(item.source).read_bytes()


def test_a_source_can_be_told_again(photos: Path) -> None:
    source = open_source(str(photos))
    assert list(source.items()) == list(source.items())


def test_hidden_files_are_left_out_and_links_are_followed(photos: Path, tmp_path: Path) -> None:
    (photos / ".hidden.jpg").write_bytes(b"x")
    (photos / ".cache").mkdir()
    (photos / ".cache" / "g.jpg").write_bytes(b"x")
    (photos / "link.jpg").symlink_to(photos / "a.jpg")
    (photos / "back").symlink_to(photos)
    assert ids(photos) == ALL | {"link.jpg"}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", {"a.jpg", "d.jpg"}),
        ("**/*.jpg", {"a.jpg", "d.jpg", "more/e.jpg"}),
        ("more/**", {"e.jpg", "deep/f.bmp"}),
        ("{a,c}.*", {"a.jpg", "c.webp"}),
        ("[ab].???", {"a.jpg", "b.png"}),
        ("*/*", {"more/e.jpg"}),
        ("a.jpg", {"a.jpg"}),
    ],
)
def test_patterns(photos: Path, pattern: str, found: set[str]) -> None:
    assert ids(photos / pattern) == found


def test_what_exists_as_it_is_written_is_no_pattern(photos: Path) -> None:
    odd = photos / "best [1]"
    odd.mkdir()
    (photos / "a.jpg").rename(odd / "a.jpg")
    assert ids(odd) == {"a.jpg"}


def test_addresses_are_split_where_the_pattern_begins() -> None:
    assert split_address("s3://b/x/{00..12}.tar") == ("s3://b/x", "{00..12}.tar")
    assert split_address("*.jpg") == (".", "*.jpg")
    assert split_address("/*.jpg") == ("/", "*.jpg")


def test_any_store(photos: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{photos}/", "/sources/", recursive=True)
    try:
        assert ids("memory://sources") == ALL
        assert ids("memory://sources/*.jpg") == {"a.jpg", "d.jpg"}
        assert {item.source for item in open_source("memory://sources/more").items()} == {
            "memory://sources/more/e.jpg",
            "memory://sources/more/deep/f.bmp",
        }
    finally:
        memory.rm("/sources", recursive=True)


ROWS = [
    {"path": "a.jpg", "id": "first", "style": "the-scream", "strength": 0.5},
    {"path": "more/e.jpg", "id": None, "style": None, "strength": 0.25},
]


def write_manifest(path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ROWS[0].keys(), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_manifests(photos: Path, suffix: str) -> None:
    first, second = open_source(str(write_manifest(photos / f"rows{suffix}"))).items()
    assert (first.id, second.id) == ("first", "more/e.jpg")
    assert (first.source, second.source) == (f"{photos}/a.jpg", f"{photos}/more/e.jpg")
    assert first.options["style"] == "the-scream"
    assert float(first.options["strength"]) == 0.5
    assert second.options.keys() == {"strength"}


def test_addresses_in_a_manifest_stay_and_lose_what_is_secret_in_their_ids(photos: Path) -> None:
    (photos / "rows.jsonl").write_text('{"path": "https://me:word@host/x/a.jpg?sig=12"}')
    (item,) = open_source(str(photos / "rows.jsonl")).items()
    assert item == Item("host/x/a.jpg", "https://me:word@host/x/a.jpg?sig=12")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.csv", "file,style\na.jpg,x\n", "has no `path`, but 'file', 'style'"),
        ("rows.csv", "path,strenght\na.jpg,1\n", "did you mean 'strength'"),
        ("rows.csv", "path,style\na.jpg,x,y\n", "row 1 has more values than there are columns"),
        ("rows.jsonl", '{"path": "a.jpg"}\n{"path": ', "line 2 is no JSON"),
        ("rows.jsonl", "[1]", "line 1 is no object"),
        ("rows.jsonl", '{"path": "a.jpg", "max_memory": "1GB"}', "`max_memory` is no option of a picture"),
        ("rows.csv", b"path\n\xff\xfe\n", "cannot be read"),
        ("rows.parquet", "nothing", "cannot be read"),
        ("rows.txt", "nothing", "neither a picture, a film, a tar file nor a manifest"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=said.replace("(", r"\(").replace("[", r"\[")):
        list(open_source(str(tmp_path / name)).items())


def test_a_name_alone_is_one_of_the_working_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    Path("rows.csv").write_text("path\na.jpg\n")
    for name in ("rows.csv", "./rows.csv", "a.jpg", "a.*"):
        (item,) = open_source(name).items()
        assert Path(item.source).samefile("a.jpg")


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder, file or pattern"):
        open_source(str(tmp_path / "nothing"))


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_tar_shards_are_read_at_any_place(tmp_path: Path) -> None:
    for number in range(3):
        files = {f"{key}.{kind}": f"{number}{key}{kind}".encode() for key in "xy" for kind in ("jpg", "json")}
        write_shard(tmp_path / f"{number:02d}.tar", files)
    every = {f"{number:02d}/{key}.jpg" for number in range(3) for key in "xy"}
    assert ids(tmp_path) == every
    assert ids(tmp_path / "{01..02}.tar") == {one for one in every if one[:2] != "00"}
    for item in open_source(str(tmp_path / "01.tar")).items():
        data = Path(item.source).read_bytes()[item.offset : item.offset + item.size]
        assert data == f"1{item.id[3]}jpg".encode()


def test_a_shard_that_is_cut_short_is_an_item_with_a_fault(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"x.jpg": b"x" * 2000, "y.jpg": b"y" * 2000})
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: 512 + 2048 + 512 + 1000])
    (tmp_path / "b.tar").write_bytes(b"nothing")
    write_shard(tmp_path / "c.tar", {"z.jpg": b"z"})
    found = {item.id: item.fault for item in open_source(str(tmp_path)).items()}
    assert list(found) == ["a/x.jpg", "a/y.jpg", "a.tar", "b.tar", "c/z.jpg"]
    assert [name for name, fault in found.items() if fault] == ["a.tar", "b.tar"]
    assert found["a.tar"].startswith(f"{tmp_path}/a.tar: cannot be read as a plain tar file, or not to its end (")


def test_films_count(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.MKV", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    found = list(open_source(str(tmp_path)).items())
    assert {item.id for item in found} == {"a.mp4", "b.MKV"}
    assert all(item.is_film for item in found)
