"""PNGs of 8 bits as we write them, read by others."""

from __future__ import annotations

import io
import random
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from impasto.imaging import Picture, encode, png8
from impasto.imaging.png8 import encode_png8
from impasto.imaging.profiles import SRGB


@pytest.mark.parametrize("seed", range(12))
def test_what_is_written_is_read(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size, in any number of pieces, grainy, flat and with edges."""
    draw, chosen = np.random.default_rng(seed), random.Random(seed)
    height, width, channels = chosen.randint(1, 90), chosen.randint(1, 90), chosen.choice([3, 4])
    array = draw.integers(0, 256, (height, width, channels), dtype=np.uint8)
    array[height // 2 :, : width // 2] = 255
    array[:, width // 2 :] //= 64
    monkeypatch.setattr(png8, "PIECE", chosen.choice([1, 100, 1000, 1 << 20]))
    data = encode_png8(array, chosen.choice([1, 2]), SRGB)
    with Image.open(io.BytesIO(data)) as found:
        found.load()
        assert found.mode == {3: "RGB", 4: "RGBA"}[channels]
        assert found.info["icc_profile"] == SRGB
        assert np.array_equal(np.asarray(found), array)


def test_its_checksum_is_that_of_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some readers do not look at it, so zlib does."""
    monkeypatch.setattr(png8, "PIECE", 5000)
    array = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    data = encode_png8(array, 2, SRGB)
    start = data.index(b"IDAT")
    packed = data[start + 4 : start + 4 + int.from_bytes(data[start - 4 : start], "big")]
    assert len(zlib.decompress(packed)) == 70 * (1 + 50 * 3)


def test_the_bytes_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png8, "PIECE", 3000)
    array = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)
    found = set()
    for threads in (1, 2, 7):
        monkeypatch.setattr(png8, "THREADS", threads)
        found.add(encode_png8(array, 2, SRGB))
    assert len(found) == 1


def test_a_quick_png_is_no_larger_than_a_searched_one_by_much() -> None:
    """Grain on a gradient, as paintings have it."""
    y, x = np.mgrid[:256, :256] / 256
    grain = np.random.default_rng(0).normal(0, 0.04, (256, 256, 3))
    rows = (np.stack([x, y, (x + y) / 2], axis=2) + grain).clip(0, 1).astype(np.float32)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    quick, searched = (len(encode(Picture(rows), "png", compression=level)) for level in (2, 6))
    assert quick < 1.05 * searched
