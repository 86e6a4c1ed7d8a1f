"""Contact sheets: sizes, places, labels."""

from __future__ import annotations

import numpy as np
import pytest

from impasto.errors import OptionError
from impasto.imaging.sheets import Cell, contact_sheet, thumbnail


def plain(red: float, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), (red, 0, 0), np.float32)


def test_pictures_stand_in_rows_and_columns() -> None:
    rows = [[Cell(plain(1, 20, 40)), Cell(plain(0.2, 10, 10))], [Cell(), Cell(plain(0.6, 30, 20))]]
    sheet = contact_sheet(rows, side=40).rgb
    assert sheet.shape == (4 + 20 + 4 + 30 + 4, 4 + 40 + 4 + 20 + 4, 3)
    assert sheet[4 + 19, 4 + 39].tolist() == [1, 0, 0]
    assert sheet[4, 48, 0] == pytest.approx(0.2, abs=1 / 255)
    assert sheet[28 + 29, 48 + 19, 0] == pytest.approx(0.6, abs=1 / 255)
    assert (sheet[28:, :48] == 1).all()  # the empty cell


def test_large_pictures_become_thumbnails_and_small_ones_stay() -> None:
    assert thumbnail(plain(1, 100, 50), 40).shape == (40, 20, 3)
    assert thumbnail(plain(1, 10, 20), 40).shape == (10, 20, 3)
    assert contact_sheet([[Cell(plain(1, 100, 50))]], side=40).rgb.shape == (48, 28, 3)


def test_labels_have_a_line_of_their_own_and_end_with_the_column() -> None:
    def ink(label: str) -> np.ndarray:
        sheet = contact_sheet([[Cell(plain(1, 30, 30), label), Cell(plain(1, 30, 30))]], side=30).rgb
        assert sheet.shape[0] == 30 + 8 + 15
        return (sheet[:19, :, 2] < 0.5).sum(0)  # by column, above the pictures

    short, long = ink("I"), ink("W" * 30)
    assert 0 < short.sum() < long.sum()
    assert long[4 + 30 :].sum() == 0
    assert contact_sheet([[Cell(plain(1, 30, 30))]], side=30).rgb.shape[0] == 38


def test_a_sheet_that_would_be_too_long() -> None:
    with pytest.raises(OptionError, match="16000 px a side; show fewer"):
        contact_sheet([[Cell(plain(1, 4, 4))]] * 3000)
