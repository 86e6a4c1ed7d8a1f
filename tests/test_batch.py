"""Several photos: what one of them cannot become stops no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from impasto.batch import Done, Work, at_work, gather, is_folder, is_many, paint_all
from impasto.errors import ImageError, OptionError

WORKS = [Work(f"{name}.jpg", f"out/{name}.jpg") for name in "abcd"]


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2\n  at line 7"), MemoryError(), ImageError("b.jpg: empty")]
)
def test_whatever_goes_wrong_with_one_photo_the_others_are_painted(error: Exception, jobs: int) -> None:
    def paint(work: Work) -> str:
        if work.photo == "b.jpg":
            raise error
        return work.output

    records = {record.work.photo: record for record in paint_all(WORKS, paint, jobs)}
    assert {photo: record.told for photo, record in records.items()} == {
        "a.jpg": "out/a.jpg", "b.jpg": "", "c.jpg": "out/c.jpg", "d.jpg": "out/d.jpg"
    }  # fmt: skip
    assert records["b.jpg"].error is error
    assert [record.reason for record in records.values() if record.error is None] == ["", "", ""]


def test_the_reason_names_photo_and_kind_where_the_error_is_not_ours() -> None:
    fault = Done(WORKS[1], 1, 4, error=RuntimeError("mat1 and mat2\n  at line 7"))
    assert fault.reason == "b.jpg: could not be painted: RuntimeError: mat1 and mat2"
    assert Done(WORKS[1], 1, 4, error=ImageError("b.jpg: empty")).reason == "b.jpg: empty"


def test_ctrl_c_is_no_error_of_a_photo() -> None:
    def paint(work: Work) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(paint_all(WORKS, paint))


def test_once_stopped_none_is_begun_and_those_in_hand_are_told_of() -> None:
    begun: list[str] = []

    def paint(work: Work) -> str:
        begun.append(work.photo)
        return work.output

    records = list(paint_all(WORKS, paint, 1, lambda: len(begun) == 2))
    assert [record.told for record in records] == ["out/a.jpg", "out/b.jpg"]
    assert begun == ["a.jpg", "b.jpg"]
    assert not at_work()


def test_every_photo_has_a_name_of_its_own_whatever_the_order(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("anim.gif", "anim.png", "one.gif", "two.bmp", "two.gif")]
    for photo in photos:
        photo.touch()
    wanted = ["anim.gif.png", "anim.png", "one.png", "two.bmp.png", "two.gif.png"]
    for order in (photos, photos[::-1], [tmp_path], [*photos, tmp_path]):
        works = gather([str(photo) for photo in order], str(tmp_path / "out"))
        assert sorted(Path(work.output).name for work in works) == wanted
        assert {work.problem for work in works} == {None}


def test_the_second_of_one_name_is_told_of_and_not_painted(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").touch()
    works = gather([str(tmp_path / "a"), str(tmp_path / "b")], str(tmp_path / "out"))
    first, second = paint_all(works, lambda work: work.photo)
    assert first.told == str(tmp_path / "a" / "x.png")
    assert second.reason.startswith(
        f"{tmp_path}/b/x.png: would become {tmp_path}/out/x.png, as {tmp_path}/a/x.png does"
    )


def test_a_dash_is_a_stream_also_where_a_folder_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").mkdir()
    assert not is_many(["-"])
    assert not is_folder("-")
    with pytest.raises(OptionError, match="several photos need a folder as `output`, got -"):
        gather(["a.png", "b.png"], "-")
