"""Flow, cuts and steadiness, on films whose motion is known."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from impasto.video.film import Frame
from impasto.video.flow import FlowFinder, consistent, motion_edges, on_one_thread, warp
from impasto.video.following import Followed, ahead, followed
from impasto.video.steady import KEPT, Steadier

from .film_samples import blobs

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
SIZE = (72, 112)
SPEED = 1.5


def flicker(number: int) -> np.ndarray:
    """A painting (h, w, 3) whose strokes lie anew in each frame."""
    strokes = np.random.default_rng(number).normal(0, 0.08, (*SIZE, 3)).astype(np.float32)
    return (blobs(number, SIZE, speed=SPEED).astype(np.float32) / 255 + strokes).clip(0, 1)


def back() -> np.ndarray:
    """The known flow: what is at x was at x + SPEED, for it moves to the left."""
    return np.stack([np.full(SIZE, SPEED, np.float32), np.zeros(SIZE, np.float32)], 2)


def error(outs: list[np.ndarray], gap: int = 1) -> float:
    """Warping error with the known flow, the border left out."""
    found = [(warp(one, back() * gap) - other)[8:-8, 8:-24] for one, other in zip(outs, outs[gap:], strict=False)]
    return float(np.mean(np.square(found)))


def sharpness(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean())


def steadied(frames: list[np.ndarray], paintings: list[np.ndarray], kept: float = KEPT) -> list[np.ndarray]:
    """Paintings of frames, as a film has them."""
    steadier = Steadier(kept)
    found = followed((Frame(frame, number) for number, frame in enumerate(frames)), FlowFinder())
    flows = [one.flow for one in found if isinstance(one, Followed)]
    return [steadier(painting, flow).copy() for painting, flow in zip(paintings, flows, strict=True)]


def test_flow_finds_a_known_motion() -> None:
    finder = FlowFinder()
    frames = [finder.look(blobs(number, SIZE, speed=SPEED)) for number in range(2)]
    flow = finder.between(*frames)
    assert not flow.cut
    inner = (slice(8, -8), slice(8, -16))
    assert np.abs(flow.back[inner] - back()[inner]).mean() < 0.2
    assert flow.trust[inner].mean() > 0.9
    assert flow.trust[:, -1].max() < 0.3, "what comes in at the right was not visible"


def photo(name: str) -> np.ndarray:
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        return np.asarray(image.convert("RGB").resize((192, 144)))


@pytest.mark.parametrize("names", [("astronaut", "rocket"), ("rocket", "chelsea"), ("chelsea", "astronaut")])
def test_a_cut_is_seen(names: tuple[str, str]) -> None:
    finder = FlowFinder()
    assert finder.between(*(finder.look(photo(name)) for name in names)).cut


def test_a_still_film_stands_still() -> None:
    finder, one = FlowFinder(), np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    still = finder.between(one, one)
    assert not still.cut
    assert not still.back.any()
    assert still.trust.min() == 1


def test_checks_of_ruder() -> None:
    flow = np.zeros((8, 8, 2), np.float32)
    flow[:, 4:, 0] = 5
    assert consistent(flow, -flow).all()
    assert not consistent(flow, flow)[:, 4:].any()
    assert consistent(flow, flow)[:, :4].all()
    edges = motion_edges(flow)
    assert edges[:, 3:5].all()
    assert not edges[:, :2].any()


def test_flicker_goes_and_detail_stays() -> None:
    painted = [flicker(number) for number in range(16)]
    steady = steadied([blobs(number, SIZE, speed=SPEED) for number in range(16)], painted)
    assert error(steady[4:]) < error(painted[4:]) / 3
    assert error(steady[4:], 8) < error(painted[4:], 8) / 3
    assert sharpness(steady[-1]) == pytest.approx(sharpness(painted[-1]), rel=0.15)
    assert steady[-1].mean() == pytest.approx(painted[-1].mean(), abs=0.01)


def test_a_still_film_gives_identical_frames() -> None:
    frames = [Frame(blobs(0, SIZE), number) for number in range(5)] + [Frame(blobs(1, SIZE), 5)]
    found = [one for one in followed(iter(frames), FlowFinder()) if isinstance(one, Followed)]
    assert [one.again for one in found] == [False, True, True, True, True, False]
    steadier, painted = Steadier(), flicker(0)
    whole = [np.round(steadier(painted, one.flow) * 255) for one in found[:5]]
    assert all(np.array_equal(one, whole[0]) for one in whole)


def test_after_a_cut_nothing_is_left_of_before() -> None:
    painted = photo("rocket") / np.float32(255)
    assert np.array_equal(
        steadied([photo("astronaut"), photo("rocket")], [np.zeros_like(painted), painted])[1], painted
    )


def test_nothing_kept_is_frame_by_frame() -> None:
    paintings = [flicker(number) for number in range(2)]
    steady = steadied([blobs(number, SIZE) for number in range(2)], paintings, kept=0)
    assert all(np.array_equal(one, other) for one, other in zip(steady, paintings, strict=True))


def test_opencv_has_its_threads_again() -> None:
    before = cv2.getNumThreads()
    one, other = on_one_thread(), on_one_thread()
    with one:
        with other:
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before


def test_flow_is_the_same_beside_other_work() -> None:
    """With threads of OpenCV's it depends on whether another thread uses them at that moment."""
    finder, stop = FlowFinder(), threading.Event()
    frames = [
        finder.look(np.asarray(Image.fromarray(photo("rocket")).resize((384, 216)).rotate(turn))) for turn in (0, 2)
    ]
    busy = np.zeros((720, 1280, 3), np.float32)

    def work() -> None:
        while not stop.is_set():
            cv2.GaussianBlur(busy, (0, 0), 2)

    with on_one_thread():
        alone = finder.between(*frames).back
        thread = threading.Thread(target=work)
        thread.start()
        try:
            assert all(np.array_equal(finder.between(*frames).back, alone) for _ in range(10))
        finally:
            stop.set()
            thread.join()


def test_what_is_fetched_ahead_comes_in_order_and_stops() -> None:
    """Errors come out where they would have without a thread; who stops asking stops the thread."""
    assert list(ahead(iter(range(50)))) == list(range(50))

    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = ahead(breaks())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    items = ahead(endless(), 2)
    assert [next(items) for _ in range(5)] == list(range(5))
    items.close()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "impasto-film"]


def test_nothing_darkens_or_smears_over_500_frames() -> None:
    """A film that swings to and fro, of which every frame has a painting of its own."""
    small = (48, 64)
    swing = [round(6 * np.sin(number / 6)) for number in range(38)]
    frames = {at: blobs(at, small, speed=0.5) for at in set(swing)}
    draw = np.random.default_rng(1)
    paintings = {
        at: (frame / 255 + draw.normal(0, 0.06, frame.shape)).clip(0, 1).astype(np.float32)
        for at, frame in frames.items()
    }
    ats = [swing[number % len(swing)] for number in range(500)]
    outs = steadied([frames[at] for at in ats], [paintings[at] for at in ats])
    early, late = outs[38:76], outs[-38:]
    means = [np.mean([out.mean((0, 1)) for out in part], 0) for part in (early, late)]
    assert np.abs(means[0] - means[1]).max() < 0.01
    crisp = [np.mean([sharpness(out) for out in part]) for part in (early, late)]
    assert crisp[1] == pytest.approx(crisp[0], rel=0.1)
    wanted = np.mean([sharpness(painting) for painting in paintings.values()])
    assert crisp[1] == pytest.approx(wanted, rel=0.2)
