"""Photos by number: every kind of place gives the same bytes, and what is no photo says so."""

from __future__ import annotations

import gc
import io
import pickle
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.errors import DataError, MissingExtraError
from impasto.training import archives
from impasto.training.photos import PhotoSource, open_photos

NAMES = ("a/one.jpg", "b/c/two.PNG", "three.webp")


def encoded(number: int, suffix: str = ".png") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, Image.registered_extensions()[suffix.lower()])
    return buffer.getvalue()


PHOTOS = {name: encoded(i, Path(name).suffix) for i, name in enumerate(NAMES)}
CLUTTER = {"notes.txt": b"words", "a/.hidden.jpg": b"x", "__MACOSX/one.jpg": b"x", "b/one.json": b"{}"}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("a")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    kind = path.suffix[1:] if path.suffix[1:] in ("gz", "bz2", "xz") else ""
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path: Path, rows: list[bytes | None], *, column: str = "image", struct: bool = True) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    if struct:
        values = [{"bytes": row, "path": "x.jpg"} for row in rows]
        pictures = pa.array(values, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    else:
        pictures = pa.array(rows, pa.large_binary())
    table = pa.table({"label": list(range(len(rows))), column: pictures})
    pq.write_table(table, path, row_group_size=2)
    return path


def contents(source: PhotoSource) -> list[bytes]:
    return [source.read(i) for i in range(len(source))]


def test_a_folder_gives_its_photos_by_name_with_all_below_it(tmp_path: Path) -> None:
    source = open_photos(write_folder(tmp_path, PHOTOS | CLUTTER))
    assert [source.name(i) for i in range(len(source))] == [str(tmp_path / name) for name in sorted(NAMES)]
    assert contents(source) == [PHOTOS[name] for name in sorted(NAMES)]


def test_a_link_back_up_is_not_followed_round_and_round(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", PHOTOS)
    elsewhere = write_folder(tmp_path / "more", {"four.png": encoded(4)})
    (tmp_path / "photos" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "more").symlink_to(elsewhere)
    assert len(open_photos(tmp_path / "photos")) == len(NAMES) + 1


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_an_archive_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    write = write_zip if name.endswith(".zip") else write_tar
    source = open_photos(write(tmp_path / name, CLUTTER | PHOTOS))
    assert contents(source) == list(PHOTOS.values())
    assert source.name(0) == f"{tmp_path / name}/{NAMES[0]}"


@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("column", ["image", "picture"])
def test_a_parquet_file_gives_the_same_bytes(tmp_path: Path, struct: bool, column: str) -> None:
    rows = [*PHOTOS.values()]
    source = open_photos(write_parquet(tmp_path / "train.parquet", rows, column=column, struct=struct))
    assert contents(source) == rows
    assert source.read(0) == rows[0]  # going back to another row group


def test_shards_by_braces_by_wildcard_and_by_folder(tmp_path: Path) -> None:
    for number in range(12):
        shard = {f"{number}.jpg": encoded(number, ".jpg"), f"{number}.cls": b"3"}
        write_tar(tmp_path / f"train-{number:03d}.tar", shard)
    expected = [encoded(number, ".jpg") for number in range(12)]
    assert contents(open_photos(str(tmp_path / "train-{000..011}.tar"))) == expected
    assert contents(open_photos(str(tmp_path / "train-*.tar"))) == expected
    assert contents(open_photos(tmp_path)) == expected
    assert contents(open_photos(str(tmp_path / "train-{003,001}.tar"))) == [expected[3], expected[1]]
    with pytest.raises(DataError, match=r"train-012\.tar: there is no such"):
        open_photos(str(tmp_path / "train-{000..012}.tar"))


def test_several_places_follow_one_another(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", PHOTOS)
    single = write_folder(tmp_path, {"single.png": encoded(7)}) / "single.png"
    archive = write_zip(tmp_path / "x.zip", {"z.png": encoded(8)})
    source = open_photos([archive, folder, single])
    assert contents(source) == [encoded(8), *(PHOTOS[name] for name in sorted(NAMES)), encoded(7)]
    with pytest.raises(IndexError):
        source.read(len(source))


def test_one_photo_is_enough(tmp_path: Path) -> None:
    assert len(open_photos(write_folder(tmp_path, {"one.jpg": PHOTOS["a/one.jpg"]}))) == 1


def test_names_that_occur_twice_in_a_zip_are_two_photos(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("one.png", encoded(1))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("one.png", encoded(2))
    assert contents(open_photos(tmp_path / "x.zip")) == [encoded(1), encoded(2)]


def test_sources_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    places = [
        write_folder(tmp_path / "folder", PHOTOS),
        write_zip(tmp_path / "x.zip", PHOTOS),
        write_tar(tmp_path / "x.tar.gz", PHOTOS),
        write_parquet(tmp_path / "x.parquet", [*PHOTOS.values()]),
    ]
    source = open_photos(places)
    before = contents(source)
    assert contents(pickle.loads(pickle.dumps(source))) == before


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else 0


def test_handles_are_bounded_however_many_archives_there_are(tmp_path: Path) -> None:
    paths = [write_zip(tmp_path / f"{i}.zip", {"x.png": encoded(i)}) for i in range(70)]
    before = open_files()
    source = open_photos(paths)
    assert open_files() <= before + 2
    assert contents(source) == [encoded(i) for i in range(70)]
    assert archives._open_zip.cache_info().currsize <= 64


def test_an_unpacked_archive_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    source = open_photos(write_tar(tmp_path / "x.tar.gz", PHOTOS))
    copy = pickle.loads(pickle.dumps(source))
    del copy
    gc.collect()
    assert contents(source) == list(PHOTOS.values())
    assert len(list(scratch.iterdir())) == 1
    del source
    gc.collect()
    assert list(scratch.iterdir()) == []


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: there is no such folder or file"):
        open_photos(tmp_path / "nowhere")


def test_a_place_without_photos_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, CLUTTER)
    with pytest.raises(DataError, match=rf"{tmp_path}: no photos found, need at least one"):
        open_photos(tmp_path)
    with pytest.raises(DataError, match="empty list of paths: no photos found"):
        open_photos([])


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, CLUTTER)
    with pytest.raises(DataError, match=r"notes\.txt: neither a photo nor"):
        open_photos(tmp_path / "notes.txt")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.parquet"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write = {"zip": write_zip, "parquet": lambda path, files: write_parquet(path, [*files.values()])}
    path = write.get(name.rpartition(".")[2], write_tar)(tmp_path / name, PHOTOS)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": bytes(range(256)) * 8}[damage])
    with pytest.raises(DataError, match=rf"{name}: cannot be opened, perhaps"):
        open_photos(path)


def test_a_photo_that_is_gone_or_damaged_in_its_archive_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", PHOTOS)
    archive = write_zip(tmp_path / "x.zip", {"one.png": encoded(1)})
    source = open_photos([folder, archive])
    (folder / NAMES[0]).unlink()
    damaged = bytearray(archive.read_bytes())
    damaged[100:120] = bytes(20)
    archive.write_bytes(damaged)
    for index, name in ((0, "one.jpg"), (3, "one.png")):
        with pytest.raises(DataError, match=rf"{name}: cannot be read") as caught:
            source.read(index)
        assert "Errno" not in str(caught.value)


def test_a_parquet_row_without_a_picture_is_named(tmp_path: Path) -> None:
    source = open_photos(write_parquet(tmp_path / "x.parquet", [encoded(1), None]))
    with pytest.raises(DataError, match=r"row 1: cannot be read: the row holds no picture"):
        source.read(1)


def test_a_parquet_file_without_pictures_lists_its_columns(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column of pictures among text, label"):
        open_photos(tmp_path / "x.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"impasto\[parquet\]"):
        open_photos(tmp_path / "x.parquet")


def test_a_giant_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 100)
    places = [
        write_folder(tmp_path / "folder", {"x.png": encoded(1)}),
        write_zip(tmp_path / "x.zip", {"x.png": encoded(1)}),
        write_tar(tmp_path / "x.tar", {"x.png": encoded(1)}),
        write_parquet(tmp_path / "x.parquet", [encoded(1)]),
    ]
    for place in places:
        with pytest.raises(DataError, match="need at most"):
            open_photos(place).read(0)


def test_photos_may_be_left_out_by_name(tmp_path: Path) -> None:
    folder, archive = write_folder(tmp_path / "photos", PHOTOS), write_zip(tmp_path / "photos.zip", PHOTOS)
    source = open_photos([folder, archive], leave_out=["t*", "gone"])
    assert [Path(source.name(i)).stem for i in range(len(source))] == ["one", "one"]
    assert contents(source) == [PHOTOS["a/one.jpg"]] * 2
    with pytest.raises(DataError, match="no photos found"):
        open_photos(folder, leave_out=["*"])


def test_what_a_run_wrote_is_not_taken_for_photos(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"one.jpg": PHOTOS["a/one.jpg"]})
    for run in (folder / "deep" / "run", folder):  # a run may even lie among its photos
        write_folder(run, dict.fromkeys(("loss.png", "samples/step-00000001.jpg", "checkpoints/x.jpg"), encoded(1)))
        (run / "recipe.toml").touch()
    names = [str(folder / "one.jpg")]
    for place in (str(folder), str(folder / "*"), str(folder / "**" / "*.[jp][pn]g")):
        source = open_photos(place)
        assert {source.name(number) for number in range(len(source))} == set(names), place
    assert len(open_photos(folder / "samples")) == 1  # who names it wants it
    (folder / "recipe.toml").unlink()
    assert len(open_photos(folder)) == 4
