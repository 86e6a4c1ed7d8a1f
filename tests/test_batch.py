"""Several photos: what one of them cannot become stops no other."""

from __future__ import annotations

import pytest

from impasto.batch import Done, Work, paint_all
from impasto.errors import ImageError

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
