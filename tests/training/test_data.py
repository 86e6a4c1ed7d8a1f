"""Batches: their order, their independence of workers and ranks, bad photos, and endings."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from impasto.errors import DataError, OptionError
from impasto.training.archives import Files
from impasto.training.data import (
    Bad,
    BadPhotos,
    BatchPlan,
    Crop,
    PhotoSource,
    open_photos,
    photo_batches,
    steps_per_epoch,
    with_removed,
)

SEEDS = st.integers(0, 2**64)
COUNTS = st.integers(1, 40)


def write_photo(path: Path, number: int, side: int = 40) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven photos, all different."""
    path = tmp_path_factory.mktemp("photos")
    for number in range(11):
        write_photo(path / f"{number:02d}.png", number)
    return path


def take(source, count: int, **options) -> list[torch.Tensor]:
    options = {"batch_size": 4, "size": 32, "seed": 5} | options
    batches = photo_batches(source, **options)
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@given(COUNTS, st.integers(1, 9), SEEDS)
def test_every_epoch_is_a_permutation(photos: int, batch_size: int, seed: int) -> None:
    plan = BatchPlan(photos, batch_size, seed)
    steps = 3 * steps_per_epoch(photos, batch_size)
    places = [place for step in range(steps) for place in plan.places(step)]
    for epoch in range(3):
        row = [place for place in places if place.epoch == epoch]
        assert sorted(place.photo for place in row) == list(range(photos))
    assert [place.epoch for place in places] == sorted(place.epoch for place in places)


@given(COUNTS, st.integers(1, 5), st.integers(1, 4), SEEDS, st.integers(0, 50))
def test_the_ranks_together_are_one_process_with_the_whole_batch(
    photos: int, batch_size: int, world_size: int, seed: int, step: int
) -> None:
    parts = [BatchPlan(photos, batch_size, seed, rank, world_size).places(step) for rank in range(world_size)]
    assert list(itertools.chain(*parts)) == BatchPlan(photos, batch_size * world_size, seed).places(step)


@given(SEEDS)
def test_orders_differ_between_epochs_and_seeds(seed: int) -> None:
    plan = BatchPlan(100, 100, seed)
    orders = {tuple(place.photo for place in plan.places(step)) for step in range(3)}
    other = tuple(place.photo for place in BatchPlan(100, 100, seed + 1).places(0))
    assert len(orders | {other}) == 4


@pytest.mark.parametrize(
    ("photos", "batch", "world", "steps"), [(10, 4, 1, 3), (8, 4, 1, 2), (8, 4, 2, 1), (1, 4, 1, 1)]
)
def test_steps_per_epoch(photos: int, batch: int, world: int, steps: int) -> None:
    assert steps_per_epoch(photos, batch, world) == steps


def test_batches_are_what_networks_want(folder: Path) -> None:
    (batch,) = take(open_photos(folder), 1)
    assert batch.shape == (4, 3, 32, 32)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert 0 <= batch.min() < 0.1
    assert 0.9 < batch.max() <= 1


def test_pixels_are_those_of_the_photo(folder: Path) -> None:
    whole = Crop(scale=(1, 1), ratio=(1, 1), flip=False)
    (batch,) = take(open_photos(folder), 1, size=40, crop=whole, batch_size=2)
    for picture, place in zip(batch, BatchPlan(11, 2, 5).places(0), strict=True):
        stored = np.asarray(Image.open(folder / f"{place.photo:02d}.png"))
        assert np.array_equal((picture.permute(1, 2, 0) * 255).round().numpy(), stored)


def test_resuming_at_any_step_is_skipping_to_it(folder: Path) -> None:
    source = open_photos(folder)
    whole = take(source, 9)
    for step in (0, 1, 3, 8):
        assert same(take(source, 9 - step, start_step=step), whole[step:])


def test_two_ranks_make_one_batch(folder: Path) -> None:
    source = open_photos(folder)
    halves = [take(source, 5, batch_size=4, rank=rank, world_size=2) for rank in (0, 1)]
    assert same([torch.cat(pair) for pair in zip(*halves, strict=True)], take(source, 5, batch_size=8))


def test_workers_change_nothing_and_leave_nothing_behind(folder: Path, tmp_path: Path) -> None:
    source = open_photos(folder)
    assert same(take(source, 8, workers=2, start_step=2), take(source, 8, start_step=2))
    assert multiprocessing.active_children() == []


def test_the_same_photo_is_cut_anew_in_each_epoch(tmp_path: Path) -> None:
    write_photo(tmp_path / "one.png", 1, 64)
    batches = take(open_photos(tmp_path), 2)
    assert len({picture.numpy().tobytes() for batch in batches for picture in batch}) == 8


def test_the_global_random_state_is_left_alone(folder: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    take(open_photos(folder), 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    """Thirty photos, of which one is none."""
    for number in range(30):
        write_photo(tmp_path / f"{number:02d}.png", number)
    (tmp_path / "07.png").write_bytes(b"this is no picture\n\tat all")
    return tmp_path


def test_a_bad_photo_is_listed_and_replaced_by_the_next(damaged: Path, tmp_path: Path) -> None:
    source = open_photos(damaged)
    listed = tmp_path / "run" / "bad-files.txt"
    bad = BadPhotos(source, listed)
    whole = Crop(scale=(1, 1), ratio=(1, 1), flip=False)
    options = {"batch_size": 15, "size": 40, "crop": whole}
    found = take(source, 6, bad=bad, **options)
    assert list(bad) == [str(damaged / "07.png")]
    assert listed.read_text().count("\n") == 1
    assert listed.read_text().startswith(f"{damaged / '07.png'}\tnot a picture")
    (picture,) = [
        picture
        for picture, place in zip(
            torch.cat(found[:2]), [p for s in (0, 1) for p in BatchPlan(30, 15, 5).places(s)], strict=True
        )
        if place.photo == 7
    ]
    assert np.array_equal((picture.permute(1, 2, 0) * 255).round().numpy(), np.asarray(Image.open(damaged / "08.png")))
    assert same(take(source, 4, start_step=2, **options), found[2:])


def test_the_last_photo_is_replaced_by_the_first(damaged: Path) -> None:
    (damaged / "07.png").unlink()
    (damaged / "29.png").write_bytes(b"")
    batch = torch.cat(
        take(open_photos(damaged), 2, batch_size=15, size=40, crop=Crop(scale=(1, 1), ratio=(1, 1), flip=False))
    )
    first = np.asarray(Image.open(damaged / "00.png"))
    assert sum(np.array_equal((picture.permute(1, 2, 0) * 255).round().numpy(), first) for picture in batch) == 2


def test_more_than_one_in_twenty_is_an_error(damaged: Path, tmp_path: Path) -> None:
    (damaged / "20.png").write_bytes(b"")
    source = open_photos(damaged)
    listed = tmp_path / "bad-files.txt"
    with pytest.raises(DataError, match=r"2 of 30 photos cannot be read, need at most 5% .*bad-files\.txt"):
        take(source, 2, batch_size=15, bad=BadPhotos(source, listed))
    assert len(listed.read_text().splitlines()) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_of_nothing_but_bad_photos_ends_at_once(tmp_path: Path, workers: int) -> None:
    for number in range(100):
        (tmp_path / f"{number}.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"100 of 100 photos cannot be read, .*and 96 more"):
        take(open_photos(tmp_path), 1, workers=workers)


def test_the_list_is_taken_up_again_and_shared(tmp_path: Path) -> None:
    source = PhotoSource([Files([f"{number}.jpg" for number in range(40)])])
    path = tmp_path / "bad-files.txt"
    first, second = BadPhotos(source, path), BadPhotos(source, path)
    first.add(Bad("a\nb.jpg", "reason\tone", 7))
    first.add(Bad("a\nb.jpg", "reason two", 7))
    second.add(Bad("c.jpg", "reason three"))
    assert path.read_text() == "a b.jpg\treason one\t7\nc.jpg\treason three\t\n"
    assert list(second) == ["a b.jpg", "c.jpg"]
    again = BadPhotos(source, path)
    assert (len(again), again.too_many()) == (2, False)
    again.add(Bad("moved/a b.jpg", "reason one", 7))
    assert len(again) == 2
    again.add(Bad("d.jpg", "reason four", 9))
    assert again.too_many()
    told = str(again.error(all_known=False))
    assert "3 of 40 photos" in told
    assert (
        "(moved/a b.jpg: reason one; c.jpg: reason three; d.jpg: reason four; the others were not all looked at)"
        in told
    )


def test_removed_bad_photos_leave_the_others_where_they_were(damaged: Path, tmp_path: Path) -> None:
    listed = tmp_path / "run" / "bad-files.txt"
    (damaged / "29.png").write_bytes(b"")
    source = open_photos(damaged)
    options = {"batch_size": 15, "size": 32}
    with pytest.raises(DataError, match=r"2 of 30 .*07\.png: .*29\.png: .*list.*go on with `impasto train --resume"):
        take(source, 2, bad=BadPhotos(source, listed), **options)
    paint = [path.read_bytes() for path in (damaged / "08.png", damaged / "00.png")]
    for name, pixels in zip(("07.png", "29.png"), paint, strict=True):  # what takes their place, cut as they would be
        (damaged / name).write_bytes(pixels)
    whole = take(open_photos(damaged), 4, **options)
    (damaged / "07.png").unlink()
    (damaged / "29.png").unlink()
    left = with_removed(open_photos(damaged), listed)
    assert (len(left), left.gone) == (30, {7, 29})
    bad = BadPhotos(left, listed)
    assert same(take(left, 4, bad=bad, **options), whole)
    assert not bad.too_many()
    damaged.joinpath("moved").mkdir()  # photos that lie elsewhere now are not gone
    for path in damaged.glob("*.png"):
        path.rename(damaged / "moved" / path.name)
    assert with_removed(open_photos(damaged / "moved"), listed).gone == {7, 29}
    write_photo(damaged / "moved" / "07.png", 7)
    assert with_removed(open_photos(damaged / "moved"), listed).gone == {29}


def test_lists_of_earlier_versions_say_nothing_of_what_was_removed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad-files.txt").write_text("gone.png\tnot a picture\n")
    assert not with_removed(open_photos(folder), tmp_path / "bad-files.txt").gone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch size is 0, need at least 1"),
        ({"size": 16}, "size is 16, need at least 32"),
        ({"seed": -1}, "the seed is -1, need 0 or more"),
        ({"start_step": -1}, "start step is -1"),
        ({"workers": -1}, "workers is -1"),
        ({"world_size": 0}, "world size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2, need one from 0 to 1"),
    ],
)
def test_numbers_out_of_range_are_refused_at_once(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        photo_batches(open_photos(folder), **({"batch_size": 4, "size": 32, "seed": 5} | options))


def test_a_worker_that_dies_is_an_error_and_no_hang(folder: Path) -> None:
    batches = photo_batches(open_photos(folder), batch_size=4, size=32, seed=5, workers=1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(DataError, match="a process that reads photos died"):
        for _ in batches:
            pass
    assert multiprocessing.active_children() == []


SCRIPT = """
import multiprocessing, signal, sys
from impasto.training.data import open_photos, photo_batches
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
    batches = photo_batches(open_photos(sys.argv[1]), batch_size=4, size=32, seed=5, workers=1)
    try:
        for i, batch in enumerate(batches):
            if i == 0:
                print(multiprocessing.active_children()[0].pid, flush=True)
    except KeyboardInterrupt:
        batches.close()
        print("interrupted", multiprocessing.active_children(), flush=True)
"""


@pytest.fixture
def training(folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that reads photos without end, in a process group of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "error", str(script), str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


posix = pytest.mark.skipif(os.name != "posix", reason="signals to process groups are POSIX")


def _gone(worker: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and Path(f"/proc/{worker}").exists():
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@posix
def test_ctrl_c_ends_workers(training: subprocess.Popen[str]) -> None:
    assert training.stdout
    worker = int(training.stdout.readline())
    os.killpg(training.pid, signal.SIGINT)
    out, err = training.communicate(timeout=60)
    assert out.startswith("interrupted")
    # On a machine busy enough for a worker to be late, multiprocessing itself may tell of a connection cut short.
    assert "KeyboardInterrupt" not in err
    _gone(worker)


@posix
def test_workers_do_not_outlive_a_killed_trainer(training: subprocess.Popen[str]) -> None:
    assert training.stdout
    worker = int(training.stdout.readline())
    training.kill()
    training.wait()
    _gone(worker)
