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
from impasto.video.flow import (
    Flow,
    FlowFinder,
    consistent,
    doubled,
    motion_edges,
    on_one_thread,
    warp,
    warp_at,
    warp_doubled,
)
from impasto.video.following import Followed, followed
from impasto.video.past import Past
from impasto.video.sparing import Moved
from impasto.video.steady import KEPT, Steadier
from impasto.video.threads import ahead, side_by_side

from .film_samples import blobs

PHOTOS = Path(__file__).resolve().parents[2] / "examples" / "photos"
SIZE = (72, 112)
SPEED = 1.5


def flicker(number: int) -> np.ndarray:
    """A painting (h, w, 3) whose strokes lie anew in each frame."""
    strokes = np.random.default_rng(number).normal(0, 20, (*SIZE, 3))
    return (blobs(number, SIZE, speed=SPEED) + strokes).clip(0, 255).astype(np.uint8)


def back() -> np.ndarray:
    """The known flow: what is at x was at x + SPEED, for it moves to the left."""
    return np.stack([np.full(SIZE, SPEED, np.float32), np.zeros(SIZE, np.float32)], 2)


def error(outs: list[np.ndarray], gap: int = 1) -> float:
    """Warping error with the known flow, the border left out."""
    pairs = zip(outs, outs[gap:], strict=False)
    found = [(warp(one.astype(np.float32), back() * gap) - other)[8:-8, 8:-24] for one, other in pairs]
    return float(np.mean(np.square(found)))


def sharpness(picture: np.ndarray) -> float:
    picture = picture.astype(np.float32)
    return float(np.abs(np.diff(picture, axis=0)).mean() + np.abs(np.diff(picture, axis=1)).mean())


def in_turn(frames: list[np.ndarray]) -> Iterator[Followed]:
    """Frames with the way back."""
    found = followed((Frame(frame, number) for number, frame in enumerate(frames)), FlowFinder())
    return (one for one in found if isinstance(one, Followed))


def steadied(frames: list[np.ndarray], paintings: list[np.ndarray], kept: float = KEPT) -> list[np.ndarray]:
    """Paintings of frames, as a film has them."""
    steadier = Steadier(kept)
    return [steadier(painting, one) for painting, one in zip(paintings, in_turn(frames), strict=True)]


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


def test_some_places_are_moved_as_all_are() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    back = np.random.default_rng(1).normal(0, 3, (20, SIZE[1], 2)).astype(np.float32)
    whole, places = warp(picture, back, top=30), np.array([0, 5, 111, 112, 1000, 20 * SIZE[1] - 1])
    assert np.abs(warp_at(picture, back, places, top=30).astype(int) - whole.reshape(-1, 3)[places]).max() <= 1


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
    assert steady[-1].mean() == pytest.approx(painted[-1].mean(), abs=2)


def test_what_is_trusted_goes_on_where_a_frame_is_not_painted() -> None:
    """Whatever the next painting shows there; where nothing is known of it, it shows that."""
    frames = list(in_turn([blobs(number, SIZE, speed=SPEED) for number in range(6)]))
    black, white, nowhere = np.zeros((*SIZE, 3), np.uint8), np.full((*SIZE, 3), 255, np.uint8), np.zeros((*SIZE, 2))
    steadier = Steadier()
    for one in frames[:3]:
        steadier(black, one)
    for one in frames[3:]:
        found = steadier(Moved(white, nowhere.astype(np.float32)), one)
        assert (found[8:-8, 8:-24] < 3).mean() > 0.9
        assert found[:, -1].min() > 150


def test_another_goes_on_to_the_bit_from_any_frame() -> None:
    """What is not painted has the softness of the last painting, which is to be remembered."""
    frames = list(in_turn([blobs(number, SIZE, speed=SPEED) for number in range(20)]))
    nowhere = np.zeros((*SIZE, 2), np.float32)

    def painting(number: int) -> np.ndarray | Moved:
        return Moved(flicker(number), nowhere) if number % 4 else flicker(number)

    def look(number: int) -> float:
        return max(0, number - 10) / 100

    first = Steadier()
    outs, states = [], []
    for number, one in enumerate(frames):
        outs.append(first(painting(number), one, look(number)))
        states.append({name: part.copy() for name, part in first.state().items()})
    for begin in (0, 2, 5, 15, 18):
        second = Steadier()
        second.load_state(states[begin])
        for number in range(begin + 1, 20):
            assert np.array_equal(second(painting(number), frames[number], look(number)), outs[number])


def test_a_still_film_gives_identical_frames() -> None:
    found = list(in_turn([blobs(0, SIZE)] * 5 + [blobs(1, SIZE)]))
    assert [one.again for one in found] == [False, True, True, True, True, False]
    for way in (Steadier.__call__, lambda steadier, _, one: steadier.repeat(one)):
        steadier, painted = Steadier(), flicker(0)
        first = steadier(painted, found[0])
        assert all(np.array_equal(way(steadier, painted, one), first) for one in found[1:5])


def test_after_a_cut_nothing_is_left_of_before() -> None:
    painted = photo("rocket")
    frames, paintings = [photo("astronaut"), photo("rocket")], [np.zeros_like(painted), painted]
    assert np.array_equal(steadied(frames, paintings)[1], painted)


def test_the_past_has_frames_of_every_age() -> None:
    """Of each doubling of age one, the newest first, whenever one asks, and no more in memory than need be."""
    past: Past[int] = Past(4)
    for number in range(100):
        ages = [number - one for one, _ in past.older()]
        assert len(ages) == sum(number >= age for age in (2, 4, 8, 16))
        assert all(2 << level <= age < 4 << level for level, age in enumerate(ages))
        assert all(past[one] == thing == one for one, thing in past.older())
        past.add(number)
        assert len(past.state()) <= 5


BEHIND = np.asarray(Image.fromarray(blobs(0, (24, 36))).resize((192, 120), Image.Resampling.BICUBIC))


def passing(number: int) -> np.ndarray:
    """A flat disc that goes from left to right before a texture that stands still."""
    down, across = np.mgrid[:120, :192]
    frame = BEHIND.copy()
    frame[np.hypot(down - 60, across - 8 * number + 30) < 26] = (200, 40, 40)
    return frame


def test_what_was_hidden_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strokes that something had before it was covered are there again, not those of the frame that shows it."""
    monkeypatch.setattr("impasto.video.steady.EVERY", 1000)  # no strokes are taken anew meanwhile
    frames = [passing(number) for number in range(34)]
    draw = np.random.default_rng(0)
    paintings = [(frame + draw.normal(0, 20, frame.shape)).clip(0, 255).astype(np.uint8) for frame in frames]
    hidden = np.zeros((120, 192), bool)  # for some time, and long enough in view before and since
    down, across = np.mgrid[:120, :192]
    hidden[(np.hypot(down - 60, 0) < 18) & (across > 80) & (across < 150)] = True
    apart = {}
    for tried in ("with", "without"):
        if tried == "without":
            monkeypatch.setattr(Past, "older", lambda _: iter(()))
        outs = steadied(frames, paintings)
        before, after = (np.mean(outs[number : number + 3], 0) for number in (6, 30))
        apart[tried] = float(np.abs(after - before)[hidden].mean())
    assert apart["with"] < apart["without"] / 2, apart


@pytest.mark.parametrize("frames_of_fade", [1, 10, 40])
def test_a_fade_is_a_fade(frames_of_fade: int) -> None:
    """What is carried on from a painting of another look lags behind by little of the way, and no patch by more."""
    steadier, begin = Steadier(), 8
    for number, one in enumerate(in_turn([blobs(number, SIZE, speed=SPEED) for number in range(begin + 50)])):
        look = min(max((number - begin) / frames_of_fade, 0), 1)
        painted = np.full((*SIZE, 3), round(200 * look), np.uint8)
        found = steadier(painted, one, look)
        assert np.abs(found.astype(int) - painted).max() <= 0.15 * 200
        assert steadier.carried(one, look + 0.5) is None


def test_a_fade_is_steadier_than_frame_by_frame() -> None:
    frames, painted = (
        [make(number) for number in range(24)] for make in (lambda n: blobs(n, SIZE, speed=SPEED), flicker)
    )
    steadier = Steadier()
    outs = [steadier(one, frame, n / 100) for n, (one, frame) in enumerate(zip(painted, in_turn(frames), strict=True))]
    assert error(outs[4:]) < error(painted[4:]) / 2


def test_regions_stay_where_they_are() -> None:
    """Nothing of one style is carried into the region of another."""
    right = np.zeros(SIZE, np.float32)
    right[:, SIZE[1] // 2 :] = 1
    painted = np.repeat(np.rint(right * 255).astype(np.uint8)[:, :, None], 3, 2)
    steadier = Steadier(regions=(1 - right, right))
    for one in in_turn([blobs(number, SIZE, speed=SPEED) for number in range(30)]):
        found = steadier(painted, one)
        assert (np.abs(found.astype(int) - painted) < 30).mean() > 0.97


def test_strokes_that_are_carried_far_stay_as_they_are() -> None:
    """Interpolated anew in each frame they would become a relief."""
    large = blobs(0, (400, 400))
    moves = [np.float32([[1, 0, -0.37 * number], [0, 1, -0.21 * number]]) for number in range(60)]
    frames = [cv2.warpAffine(large, move, (200, 200), flags=cv2.INTER_LANCZOS4) for move in moves]
    outs = steadied(frames, frames)
    apart = np.abs(outs[-1].astype(float) - frames[-1])[20:-20, 20:-20].mean()
    assert apart < 2


def test_doubled_has_the_pixels_and_what_is_between() -> None:
    down, across = np.mgrid[:40, :60].astype(np.float32)
    wave = (127.5 + 100 * np.sin(across * 0.9) * np.cos(down * 0.7))[..., None].repeat(3, 2)
    picture = np.rint(wave).astype(np.uint8)
    found = doubled(picture)
    assert (found[::2, ::2] == picture).all()
    between = 127.5 + 100 * np.sin((across + 0.5) * 0.9) * np.cos((down + 0.5) * 0.7)
    assert np.abs(found[1::2, 1::2, 0] - between)[8:-8, 8:-8].max() < 4
    moved = warp_doubled(found, np.full((40, 60, 2), 0.25, np.float32))
    there = 127.5 + 100 * np.sin((across + 0.25) * 0.9) * np.cos((down + 0.25) * 0.7)
    assert np.abs(moved[..., 0] - there)[8:-8, 8:-8].max() < 4
    part = warp_doubled(found[30:], np.full((7, 60, 2), 0.25, np.float32), down=10)
    assert (part == moved[20:27]).all()


def test_what_comes_from_the_border_is_trusted_less() -> None:
    flow = Flow(np.full((40, 60, 2), (2, 0), np.float32), np.ones((40, 60), np.float32))
    trust = flow.from_within(8).trust[20]
    assert (trust[10:48] == 1).all()
    assert (trust[51:57] < 0.5).all()
    assert (Flow.still((40, 60)).from_within(8).trust == 1).all()


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


def test_what_is_made_side_by_side_comes_in_order() -> None:
    """Two at once, and the one after the error is not begun in vain for ever."""
    both, begun = threading.Barrier(2, timeout=30), list[str]()

    def work(number: int) -> int:
        if number < 2:
            both.wait()  # which one alone would never pass
        if number == 30:
            raise ValueError("no more")
        return number * number

    rows = side_by_side(iter(range(99)), work, 2, lambda: begun.append(threading.current_thread().name))
    assert [next(rows) for _ in range(30)] == [(number, number * number) for number in range(30)]
    with pytest.raises(ValueError, match="no more"):
        next(rows)
    assert len(begun) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("impasto-film")]


def test_nothing_is_made_in_advance_where_that_is_not_wanted() -> None:
    made: list[int] = []
    rows = side_by_side(iter(range(9)), made.append, 1, in_advance=False)
    for number, (item, _) in enumerate(rows):
        assert item == number
        assert len(made) == number + 1


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
        at: (frame + draw.normal(0, 15, frame.shape)).clip(0, 255).astype(np.uint8) for at, frame in frames.items()
    }
    ats = [swing[number % len(swing)] for number in range(500)]
    outs = steadied([frames[at] for at in ats], [paintings[at] for at in ats])
    early, late = outs[38:76], outs[-38:]
    means = [np.mean([out.mean((0, 1)) for out in part], 0) for part in (early, late)]
    assert np.abs(means[0] - means[1]).max() < 2.5
    crisp = [np.mean([sharpness(out) for out in part]) for part in (early, late)]
    assert crisp[1] == pytest.approx(crisp[0], rel=0.1)
    wanted = np.mean([sharpness(painting) for painting in paintings.values()])
    assert crisp[1] == pytest.approx(wanted, rel=0.2)
