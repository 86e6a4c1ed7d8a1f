"""Which frames of a steady film are painted, and what stands in the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.video.film_samples import blobs, make_film

from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.request import StylizeRequest
from impasto.video.film import Frame, Sound
from impasto.video.flow import Flow
from impasto.video.following import Followed, Seen
from impasto.video.job import FilmJob
from impasto.video.options import FilmOptions
from impasto.video.painters import RequestPainter
from impasto.video.sparing import NEW, SOUNDS, SPARED, Moved, Together, together

SIZE = (24, 32)
Kind = str | float  # "cut", "again", or how much of a frame is new


def frame(number: int, kind: Kind) -> Followed:
    """A frame that moved on by one pixel to the right."""
    one = Frame(np.zeros((*SIZE, 3), np.uint8), number)
    if kind == "again":
        return Followed(one, Flow.still(SIZE), again=True)
    new = 1.0 if kind == "cut" else float(kind)
    step = np.zeros((*SIZE, 2), np.float32)
    step[:, :, 0] = 1
    return Followed(one, Flow(-step, np.full(SIZE, 1 - new, np.float32), kind == "cut", None if new == 1 else step))


def grouped(kinds: list[Kind], seen: Seen | None = None, first: int = 0) -> list[Together]:
    items = (frame(number, kind) for number, kind in enumerate(kinds[first:], first))
    return list(together(items, SPARED, seen or Seen()))


def painted(groups: list[Together]) -> list[int]:
    return [one.painted.frame.pts for one in groups if one.painted is not None and not one.painted.again]


@pytest.mark.parametrize(
    ("kinds", "numbers"),
    [
        (["cut", *[0.0] * 12], [0, 6, 12]),
        (["cut", *[0.0] * 8], [0, 6, 8]),  # the last of all
        (["cut", 0.0, 0.0, "cut", 0.0], [0, 2, 3, 4]),  # the last before a cut, and the first after it
        (["cut", 0.3, 0.3, 0.0, 0.0], [0, 2, 4]),  # much is new
        (["cut", "again", "again", 0.0], [0, 3]),
        (["cut", 0.0, "again", "again", "again", 0.0, 0.0], [0, 1, 6]),  # what comes again is not counted
        (["cut", 0.0, 0.0, "again", 0.0, 0.0], [0, 2, 5]),
        (["cut", 0.0, "again"], [0, 1]),
        (["cut", *[0.6] * 3], [0, 1, 2, 3]),
    ],
)
def test_few_frames_are_painted(kinds: list[Kind], numbers: list[int]) -> None:
    groups = grouped(kinds)
    assert painted(groups) == numbers
    assert [item.frame.pts for one in groups for item in one.items if isinstance(item, Followed)] == [
        *range(len(kinds))
    ]
    assert all(one.frame.rgb.shape == (*SIZE, 3) for one in (group.painted for group in groups) if one is not None)


def test_nothing_waits_while_a_frame_comes_again() -> None:
    """However long it stands still: what waits is kept in memory."""
    groups = grouped(["cut", 0.0, *["again"] * 500, 0.0])
    assert max(len(one.items) for one in groups) == 1


KINDS = st.sampled_from(["cut", "again", 0.0, 0.1, NEW / 3, 0.3, 0.7])


@given(st.lists(KINDS, min_size=1, max_size=20), st.data())
def test_the_same_frames_are_painted_from_anywhere_on(kinds: list[Kind], data: st.DataObject) -> None:
    groups = grouped(["cut", *kinds])
    frames = [item for one in groups for item in one.items if isinstance(item, Followed)]
    last = data.draw(st.integers(0, len(kinds) - 1))
    rest = grouped(["cut", *kinds], frames[last].seen, last + 1)
    assert painted(rest) == [number for number in painted(groups) if number > last]


def test_all_else_stays_in_its_place() -> None:
    def items() -> list[Followed | Sound | None]:
        sounds = [Sound(None) for _ in range(4)]
        return [None, sounds[0], frame(0, "cut"), sounds[1], frame(1, 0.0), sounds[2], frame(2, 0.0), sounds[3]]

    for every in (1, SPARED):
        given, found = items(), [item for one in together(iter(items()), every, Seen()) for item in one.items]
        assert [type(one) for one in found] == [type(one) for one in given]
        assert [one.frame.pts for one in found if isinstance(one, Followed)] == [0, 1, 2]


def test_what_is_between_frames_goes_with_the_next() -> None:
    """By itself it would be painted and fetched ahead in the place of a frame."""
    for every in (1, SPARED):
        items: list[Followed | Sound | None] = []
        for number in range(9):
            items += [Sound(None), frame(number, 0.0 if number else "cut"), Sound(None)]
        groups = list(together(iter(items), every, Seen()))
        assert all(one.painted is not None for one in groups[:-1])
        assert sum(isinstance(one, Sound) for group in groups for one in group.items) == 18


def test_sound_without_frames_does_not_wait_for_ever() -> None:
    sounds = iter([Sound(None)] * 3 * SOUNDS)
    first = next(together(sounds, SPARED, Seen()))
    assert len(first.items) == SOUNDS
    assert first.painted is None


def test_what_is_not_painted_has_the_next_painting_where_it_is() -> None:
    group = grouped(["cut", *[0.0] * SPARED])[1]
    painting = np.random.default_rng(0).integers(0, 256, (2 * SIZE[0], 2 * SIZE[1], 3), dtype=np.uint8)
    for back, way in enumerate(reversed(group.ways[:-1]), 1):
        assert way is not None
        moved, there = Moved(painting, way)[:], 2 * back
        assert np.array_equal(moved[:, : -there - 2], painting[:, there:-2])
        assert np.array_equal(Moved(painting, way)[5:20], moved[5:20])
        places = np.array([3, 70, 71, 200])
        assert np.array_equal(Moved(painting, way).at(places, 5, 20), moved[5:20].reshape(-1, 3)[places])
    assert group.ways[-1] is None


def slowly(number: int, size: tuple[int, int]) -> np.ndarray:
    return blobs(number, size, speed=0.5)


def test_a_film_is_painted_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, size, times = tmp_path / "a.mkv", (120, 160), [24 * number for number in range(13)]
    make_film(film, times, size=size, picture=slowly, codec="ffv1", pix_fmt="bgr0", options={})
    calls: list[int] = []
    before = RequestPainter.paint

    def paint(self: RequestPainter, one: Frame, *rest: object) -> object:
        calls.append(one.pts)
        return before(self, one, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RequestPainter, "paint", paint)
    counts = []
    for kept in (0.0, 0.5, FilmOptions().kept):
        calls.clear()
        options = FilmOptions(kept=kept)
        job = FilmJob(
            Engine(), str(film), StylizeRequest.of(style="great-wave"), Output(f"{tmp_path}/{kept}/"), options
        )
        for _ in job.run():
            pass
        job.close()
        assert job.painted == 13
        counts.append(len(calls))
    assert counts == [13, 13, 3]
