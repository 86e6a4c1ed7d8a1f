"""Maps in pieces: sliding windows and rows on disk."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.streams import Window, slide, split_rows
from impasto.errors import OutputError
from impasto.files import ScratchFile


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(1, 1), (2, 2), (3, 1), (3, 2), (4, 4), (5, 1), (9, 1)]),
    st.sampled_from(["reflect", "replicate", "zeros"]),
    st.integers(9, 31),
    st.integers(9, 14),
    st.integers(1, 31),
)
def test_a_convolution_by_pieces_is_the_convolution(shape, border, height, width, piece) -> None:
    kernel, stride = shape
    padding = kernel // 2 if kernel % 2 else 0
    draw = torch.Generator().manual_seed(height * 100 + width)
    x = torch.randn(1, 2, height, width, generator=draw, dtype=torch.float64)
    weight = torch.randn(3, 2, kernel, kernel, generator=draw, dtype=torch.float64)
    mode = "constant" if border == "zeros" else border
    whole = F.conv2d(F.pad(x, (padding,) * 4, mode=mode), weight, stride=stride)
    window = Window(kernel, stride, padding, border)
    pieces = (x[:, :, top:bottom] for top, bottom in split_rows(height, piece))
    out = torch.cat(list(slide(pieces, height, window, lambda rows: F.conv2d(rows, weight, stride=stride))), 2)
    assert window.outputs(height) == whole.shape[2]
    torch.testing.assert_close(out, whole)


@given(st.integers(1, 200), st.integers(1, 250))
def test_pieces_cover_every_row_once(height, piece) -> None:
    parts = split_rows(height, piece)
    assert [row for top, bottom in parts for row in range(top, bottom)] == list(range(height))
    assert all(bottom - top >= min(piece, height) for top, bottom in parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("held", [0, 3, 7, None])
def test_rows_come_back_as_they_were_written(tmp_path, dtype, held) -> None:
    values = (torch.rand(1, 5, 7, 4) * 200).to(dtype)
    with RowStore(MapShape(5, 7, 4, dtype), held, tmp_path) as store:
        for top, bottom in split_rows(7, 2):
            store.write(top, values[:, :, top:bottom])
        assert store.bytes_on_disk == (7 - (7 if held is None else held)) * 5 * 4 * dtype.itemsize
        for top, bottom in [(0, 7), (2, 4), (6, 7), (3, 3)]:
            assert torch.equal(store.read(top, bottom), values[:, :, top:bottom])
        store.write(2, values[:, :, :3])
        assert torch.equal(store.read(1, 6), values[:, :, [1, 0, 1, 2, 5]])


def test_nothing_is_left_in_the_folder(tmp_path) -> None:
    store = RowStore(MapShape(1, 4, 4, torch.float32), 1, tmp_path)
    store.write(0, torch.ones(1, 1, 4, 4))
    assert list(tmp_path.iterdir()) == []
    store.close()
    with pytest.raises(EOFError):
        store.read(2, 4)


def test_a_full_disk_is_told(tmp_path) -> None:
    resource = pytest.importorskip("resource", reason="limits on the size of files are a matter of POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RowStore(MapShape(1, 4, 4, torch.float32), 1, tmp_path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with pytest.raises(OutputError, match=r"no room.*TMPDIR"):
                store.write(0, torch.ones(1, 1, 4, 4))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    nowhere = RowStore(MapShape(1, 4, 4, torch.float32), 0, tmp_path / "none")
    with pytest.raises(OutputError, match="none"):
        nowhere.write(0, torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("named", [False, True])
def test_files_to_work_in_need_nothing_that_windows_lacks(tmp_path, monkeypatch, named) -> None:
    for name in ("pread", "pwrite", "preadv", "pwritev"):
        monkeypatch.delattr(os, name, raising=False)
    file = ScratchFile(tmp_path, path=tmp_path / "kept" if named else None)

    def work(part: int) -> bool:
        """Write and read one of eight parts, again and again, beside the others."""
        own, found = bytes([part]) * 4096, bytearray(4096)
        for _ in range(50):
            file.write(part * 4096, memoryview(own))
            file.read(part * 4096, memoryview(found))
            if found != own:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    file.close()
    assert [path.stat().st_size for path in tmp_path.iterdir()] == ([8 * 4096] if named else [])


def test_a_pool_gives_memory_first_and_gets_it_back() -> None:
    pool, shape = Pool(3 * 32), MapShape(2, 4, 4, torch.float32)
    first, second = pool.take(shape), pool.take(shape)
    assert (first.rows_in_memory, second.rows_in_memory, pool.left) == (3, 0, 0)
    pool.give_back(first)
    assert pool.take(shape).rows_in_memory == 3
