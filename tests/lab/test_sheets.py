"""Sheets: exact pixels, labels with room, colours, shrunken maps."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import OutputError
from impasto.lab.sheets import Legend, Sheet, Tile, check_sheet, colours, picture_tile, save_figure, thumbnails

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def find(paper: np.ndarray, tile: np.ndarray) -> tuple[int, int]:
    """Where a tile lies on the paper, pixel for pixel."""
    h, w = tile.shape[:2]
    for y, x in zip(*np.nonzero((paper == tile[0, 0]).all(-1)), strict=True):
        if np.array_equal(paper[y : y + h, x : x + w], tile):
            return int(y), int(x)
    raise AssertionError("the tile is not on the sheet")


def test_tiles_are_on_the_sheet_pixel_for_pixel_in_their_order(tmp_path: Path) -> None:
    tiles = [Tile(noise(i), f"tile {i}") for i in range(5)]
    sheet = Sheet("Title", "note", Legend("0", "1"))
    sheet.row(tiles, heading="a row", columns=3)
    save_figure(sheet.figure(), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        paper = np.asarray(image.convert("RGB"))
    places = [find(paper, tile.image) for tile in tiles]
    rows = sorted({y for y, _ in places})
    assert [rows.index(y) for y, _ in places] == [0, 0, 0, 1, 1]
    assert places[0][1] < places[1][1] < places[2][1]
    assert places[3][1] == places[0][1]


def test_columns_are_as_wide_as_their_labels() -> None:
    sheet = Sheet("Title")
    tiles = [Tile(noise(i), f"relu{i}_1: 15.6 dB\nfeature error 0.{i}8") for i in range(5)]
    sheet.row(tiles, columns=3)
    figure = sheet.figure()
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if "feature" in text.get_text()]
    assert len(boxes) == 5
    assert boxes[0].width > 40
    for line in (boxes[:3], boxes[3:]):
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(line))
    assert [boxes[0].x0, boxes[1].x0] == [boxes[3].x0, boxes[4].x0]  # below each other
    assert boxes[2].x1 < figure.bbox.x1


@pytest.mark.parametrize("suffix", [".jpg", ".svg", ".pdf"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    sheet = Sheet("Title")
    sheet.row([Tile(noise(0))])
    save_figure(sheet.figure(), tmp_path / f"sheet{suffix}")
    start = {".jpg": b"\xff\xd8", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"sheet{suffix}").read_bytes().startswith(start)


def test_where_a_sheet_cannot_go(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"sheet\.bmp: a sheet is written as \.png"):
        check_sheet(tmp_path / "sheet.bmp")
    (tmp_path / "sheet.png").touch()
    with pytest.raises(OutputError, match="exists already"):
        check_sheet(tmp_path / "sheet.png")
    check_sheet(tmp_path / "sheet.png", force=True)
    with pytest.raises(OutputError, match="is the input"):
        check_sheet(tmp_path / "sheet.png", force=True, inputs=[tmp_path / "sheet.png"])


def test_large_maps_are_averaged_and_small_ones_repeated() -> None:
    maps = torch.rand(70, 24, 36, generator=torch.Generator().manual_seed(0)).bfloat16()
    small = thumbnails(maps, 12)
    assert small.dtype == torch.float32
    assert torch.allclose(small, maps.float().reshape(70, 8, 3, 12, 3).mean((2, 4)), atol=1e-6)
    large = thumbnails(maps, 72)
    assert torch.equal(large, maps.float().repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_colours_run_from_dark_to_light_and_from_side_to_side() -> None:
    ramp = colours(torch.linspace(0, 5, 9)[None], 5.0)[0].astype(int).sum(-1)
    assert (np.diff(ramp) > 0).all()
    left, middle, right = colours(torch.tensor([[-2.0, 0.0, 2.0]]), 2.0, signed=True)[0].astype(int)
    assert middle.min() > 230
    assert (left - right)[2] > 0 > (left - right)[0]  # purple against orange
    assert (colours(torch.zeros(1, 1), 0.0)[0, 0] < 10).all()


def test_a_picture_keeps_its_colours() -> None:
    image = torch.zeros(1, 3, 10, 20)
    image[:, 0] = 1
    tile = picture_tile(image, 40, "red")
    assert tile.image.shape == (20, 40, 3)
    assert (tile.image == (255, 0, 0)).all()
