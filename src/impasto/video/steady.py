"""Keeping a painted film steady: what was painted before goes on where it can still be seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.threads import usable_cores
from impasto.video.film import Bytes, as_bytes, load_cv2
from impasto.video.flow import HALFWAY, Flow, doubled, enlarged, warp, warp_doubled
from impasto.video.following import Followed, Seen
from impasto.video.past import Past
from impasto.video.sparing import Moved
from impasto.video.threads import side_by_side

__all__ = ["KEPT", "Carried", "Steadier"]

Floats = NDArray[np.float32]
KEPT: Final = 0.98  # of the painting before, where it is to be trusted
EVERY: Final = 13  # frames from one anchor to the next: what is carried is interpolated once in so many
PARTS: Final = 4  # of the picture, one of which takes its strokes anew from each anchor
CELL: Final = 48  # px of a side of the patches that a part consists of
COARSE: Final = 8  # px for one of the grid on which patches are laid
ABRUPT: Final = 8.0  # how sharp the edges of patches are
BORDER: Final = 32  # px along the border whose strokes are others: networks see what is beyond it mirrored
FIRM: Final = 2.0  # trust is made so much steeper about a half: means of two paintings are faint
DETAIL: Final = 1.0  # px: what is finer than this is detail
AREA: Final = 8  # px of a side of an area whose detail is compared
CRISPER: Final = (0.9, 1.25)  # what detail is multiplied by in one frame, at least and at most
SHARE: Final = 0.8  # of what detail lacks, in logarithms: a little less than all, since noise is detail too
FAINT: Final = 0.25  # of 255
SLIGHT: Final = 1e-3
ROWS: Final = 64  # that are worked on at a time: they stay in the processor's cache
LARGE: Final = 500_000  # pixels of a picture from which on two threads join its rows, and less is kept
MARGIN: Final = 4  # rows around them that decide on what is detail
AROUND: Final = 2  # rows beside a place that decide on what is interpolated there


@dataclass(frozen=True, eq=False)
class Carried:
    """What was painted before, where it is in a frame.

    Attributes:
        painting: (h, w, 3) in [0, 1].
        trust: (h, w) in [0, 1], how far it holds there.
    """

    painting: Floats
    trust: Floats


class _Stretch:
    """What is carried from an anchor to the next: it goes over from the one painting to another.

    Args:
        painting: of the anchor, as it was given back, (h, w, 3).
        fresh: as the painter had it.
        number: how many anchors there were before.
    """

    def __init__(self, painting: Bytes, fresh: Bytes, number: int = 0) -> None:
        self.painting, self.fresh, self.number = painting, fresh, number

    def rows(self, first: int, last: int, passed: float) -> Bytes:
        """Rows of what is carried when so much of the way is gone, `doubled`: the mean of both ends."""
        passed = 0 if self.fresh is self.painting else passed
        if self._large:
            above, below = max(0, first - HALFWAY), min(len(self.painting), last + HALFWAY)
            found = doubled(_between(self.painting[above:below], self._end[above:below], passed))
            return found[2 * (first - above) : 2 * (last - above)]
        begin, end = self._doubled
        return _between(begin[2 * first : 2 * last], end[2 * first : 2 * last], passed)

    def lay_ready(self) -> None:
        """Make what `rows` needs, before several threads ask for it."""
        _ = self._end if self._large else self._doubled

    @property
    def _large(self) -> bool:
        """Whether pictures of twice the size are not to be kept: of 1080p that would be 50 MB."""
        return _is_large(self.painting)

    @functools.cached_property
    def _doubled(self) -> tuple[Bytes, Bytes]:
        begin = doubled(self.painting)
        return begin, begin if self._end is self.painting else doubled(self._end)

    @functools.cached_property
    def _end(self) -> Bytes:
        """The painting, but for a part that is as the painter had it."""
        if self.fresh is self.painting:
            return self.painting
        cv2, (height, width) = load_cv2(), self.painting.shape[:2]
        found, patches = np.empty_like(self.painting), _patches(height, width, self.number % PARTS)
        for rows in _parts(height):
            share = patches[rows] * np.float32(1 / 255)
            cv2.blendLinear(self.fresh[rows], self.painting[rows], share, 1 - share, dst=found[rows])
        return found


@dataclass(frozen=True, eq=False)
class _Anchor:
    """A painting that later ones are carried from.

    Attributes:
        stretch: what is carried.
        age: frames since.
        way: from the last frame back to it; None while that is the very frame.
    """

    stretch: _Stretch
    age: int = 0
    way: Flow | None = None

    def before(self, flow: Flow) -> _Anchor:
        """The same, seen from the next frame, whose flow this is."""
        return replace(self, age=self.age + 1, way=flow if self.way is None else flow.then(self.way))

    def carried(self, way: Floats, top: int) -> Bytes:
        """What is carried to the rows of a frame from `top` on, whose way back to the anchor this is, (n, W, 3)."""
        passed, height, down = min(1.0, self.age / EVERY), len(self.stretch.painting), way[:, :, 1]
        # Only the rows that are looked at are made.
        first = min(max(0, top + math.floor(down.min()) - AROUND), height - 1)
        last = min(max(first + 1, top + len(way) + math.ceil(down.max()) + AROUND), height)
        part = self.stretch.rows(first, last, passed * passed * (3 - 2 * passed))
        return warp_doubled(part, way, down=2 * (top - first))


class Steadier:
    """Takes paintings of one frame after the other and gives them back without flicker.

    Each painting is moved towards what was painted before, which is carried along the optical flow of the film, where
    that is to be trusted; and where something is seen again that was hidden, towards the last painting that showed it.

    What was painted before is carried from an anchor, a painting some frames back, as far as it is seen since: carried
    from frame to frame it would be interpolated each time and lose its strokes. For the same reason strokes are not
    averaged for ever: patch by patch, a quarter of the picture goes over to what the painter made of the anchor's frame
    until the next anchor.

    Args:
        kept: how much of what was painted before goes on, in [0, 1); 0 leaves every painting as it is.

    Attributes:
        seen: of the last frame, see `Followed`.
    """

    def __init__(self, kept: float = KEPT) -> None:
        self.kept = kept
        self._shown: Bytes | None = None
        self._anchor: _Anchor | None = None
        self._past: Past[Bytes] = Past()
        self.seen = Seen()

    def state(self) -> dict[str, NDArray[Any]]:
        """What it remembers, for `load_state`."""
        if self._shown is None:
            return {}
        past = {f"past-{number}": painting for number, painting in self._past.state().items()}
        seen = {name: part for name, part in self.seen._asdict().items() if part is not None}
        found = {"painted": self._shown, "count": np.array(self._past.count), **past, **seen}
        if (anchor := self._anchor) is not None:
            one = anchor.stretch
            found |= {"anchor": one.painting, "fresh": one.fresh, "ages": np.array([one.number, anchor.age])}
            if anchor.way is not None:
                found |= {"way": anchor.way.back, "way-trust": anchor.way.trust}
        return found

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where another was."""
        self._shown, self._anchor = state.get("painted"), None
        if "anchor" in state:
            way = Flow(state["way"], state["way-trust"]) if "way" in state else None
            number, age = map(int, state["ages"])
            self._anchor = _Anchor(_Stretch(state["anchor"], state["fresh"], number), age, way)
        past = {int(name.removeprefix("past-")): state[name] for name in state if name.startswith("past-")}
        self._past.load_state(past, int(state.get("count", np.array(0))))
        self.seen = Seen(*(state.get(name) for name in Seen._fields))

    def __call__(self, painted: Bytes | Moved, one: Followed) -> Bytes:
        """The painting (h, w, 3) of a frame, as steady as it can be.

        That of another frame, moved to where it is in this one, gives no strokes to those that follow.
        """
        last = self._shown
        if not self.kept or last is None or last.shape != painted.shape or not _has_past(one):
            painted = painted[:]
            self._anchor = _Anchor(_Stretch(painted, painted)) if self.kept else None
            return self._remembered(painted, one)
        one = _weighed(one, last.shape)
        anchor = self._seen_from(one)
        shown = self._joined(painted, last, anchor, one)
        if not isinstance(painted, Moved) and (anchor is None or anchor.age >= EVERY):
            anchor = _Anchor(_Stretch(shown, painted, 0 if anchor is None else anchor.stretch.number + 1))
        self._anchor = anchor
        return self._remembered(shown, one)

    def repeat(self, one: Followed) -> Bytes:
        """The last painting once more, for a frame that is the one before."""
        if self._shown is None:
            raise RuntimeError("nothing was painted yet")
        return self._remembered(self._shown, one)

    def carried(self, one: Followed) -> Carried | None:
        """What was painted before where it is in this frame, for a painting to begin with; None where nothing is."""
        if self._shown is None or not _has_past(one):
            return None
        one = _weighed(one, self._shown.shape)
        anchor = self._seen_from(one)
        painting, trust = self._before(self._shown, anchor, one, 0, len(self._shown))
        painting /= 255
        return Carried(painting.clip(0, 1, out=painting), trust)

    def _remembered(self, shown: Bytes, one: Followed) -> Bytes:
        self._shown, self.seen = shown, one.seen or Seen()
        self._past.add(shown)
        return shown

    def _seen_from(self, one: Followed) -> _Anchor | None:
        """The anchor, seen from a frame; None after a cut."""
        if self._anchor is None or one.flow is None or one.flow.cut:
            return None
        return self._anchor.before(one.flow)

    def _before(
        self, last: Bytes, anchor: _Anchor | None, one: Followed, top: int, bottom: int
    ) -> tuple[Floats, Floats]:
        """Some rows of what was painted before, where it is in this frame, (n, W, 3), and its trust, (n, W).

        Args:
            last: the painting before.
            anchor: seen from this frame.
            one: the frame.
            top, bottom: the rows.
        """
        if one.flow is None:
            raise ValueError("there was no frame before")
        size, rows = (last.shape[0], last.shape[1]), (top, bottom)
        there, left, right = None, 0, last.shape[1]
        trust = one.flow.trust_of(size, rows, (left, right))
        if anchor is not None and anchor.way is not None:
            way, held = anchor.way.rows(size, top, bottom)
            there = anchor.carried(way, top).astype(np.float32)
            gaps = np.flatnonzero(held.min(0) < 1)
            left, right = (int(gaps[0]), int(gaps[-1]) + 1) if len(gaps) else (0, 0)
        before: Floats = np.empty((bottom - top, 0, 3), np.float32)  # what `there` does not show
        if left < right:
            back = one.flow.back_of(size, rows, (left, right))
            before = warp(last, back, top=top, left=left).astype(np.float32)
        trust = trust.copy() if one.older else trust
        for older in one.older:
            columns = older.flow.trusted(size, top, bottom)
            if columns is None:
                continue
            begin, end = columns
            way, share = older.flow.part(size, rows, columns)
            part = trust[:, begin:end]
            part *= 1 - share
            part += share
            first, last_one = max(begin, left), min(end, right)
            if first < last_one:
                place, within = np.s_[:, first - left : last_one - left], np.s_[:, first - begin : last_one - begin]
                seen = warp(self._past[older.number], way[within], top=top, left=first).astype(np.float32)
                weight: Floats = np.divide(share[within], np.maximum(part[within], SLIGHT), dtype=np.float32)
                before[place] = _towards(seen, before[place], weight)
        if there is None:
            return before, trust
        if left < right:
            there[:, left:right] = _towards(there[:, left:right], before, held[:, left:right])
        return there, trust

    def _joined(self, painted: Bytes | Moved, last: Bytes, anchor: _Anchor | None, one: Followed) -> Bytes:
        """The painting moved towards what was before, with detail as strong as it has itself, area by area.

        Strokes that lie differently from frame to frame grow faint in a mean.
        """
        if anchor is not None:
            anchor.stretch.lay_ready()

        def join(rows: slice) -> _Part:
            here = painted[rows].astype(np.float32)
            before, trust = self._before(last, anchor, one, rows.start, rows.stop)
            joined = _towards(before, here, self.kept * trust)
            return _Part(joined, _detail(here), _detail(joined))

        parts = _parts(len(last))
        if not _is_large(last):
            return np.concatenate(list(_crisped(map(join, parts))))
        # Painting leaves time for two.
        with closing(side_by_side(parts, join, min(2, usable_cores()))) as pairs:
            return np.concatenate(list(_crisped(part for _, part in pairs)))


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of a painting.

    Attributes:
        rows: (n, w, 3) in [0, 255].
        wanted, found: `_detail` as it is to be, and as it is.
    """

    rows: Floats
    wanted: Floats
    found: Floats

    def empty(self) -> _Part:
        """None of these rows."""
        return _Part(self.rows[:0], self.wanted[:0], self.found[:0])


@functools.lru_cache(maxsize=2)
def _patches(height: int, width: int, number: int) -> Bytes:
    """How far each pixel belongs to one of the parts of a picture, (h, w) up to 255: patches, the same in each film."""
    cv2, random = load_cv2(), np.random.default_rng(0)
    small = (max(1, width // COARSE), max(1, height // COARSE))
    fields = [
        cv2.resize(
            random.standard_normal((-(-height // CELL) + 1, -(-width // CELL) + 1)).astype(np.float32),
            small,
            interpolation=cv2.INTER_CUBIC,
        )
        for _ in range(PARTS)
    ]
    weights = np.exp(ABRUPT * (np.stack(fields) - np.max(fields, axis=0)))
    share = weights[number] / weights.sum(0)
    found: Bytes = np.rint(cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR) * 255).astype(np.uint8)
    found.setflags(write=False)
    return found


def _weighed(one: Followed, shape: tuple[int, ...]) -> Followed:
    """A frame, for a painting of this shape, whose flow is trusted wholly or not at all in more places.

    What was painted at the border, and moves inwards, is trusted little by little less.
    """
    assert one.flow is not None
    firm = (one.flow.trust * FIRM - (FIRM - 1) / 2).clip(0, 1)
    return replace(one, flow=replace(one.flow, trust=firm).from_within(BORDER * len(firm) / shape[0]))


def _has_past(one: Followed) -> bool:
    """Whether anything of what was painted before is in a frame."""
    return one.flow is not None and (not one.flow.cut or bool(one.older))


def _between(one: Bytes, other: Bytes, share: float) -> Bytes:
    """Their mean, in which the other has this share."""
    if share == 0:
        return one
    found: Bytes = load_cv2().addWeighted(one, 1 - share, other, share, 0)
    return found


def _is_large(picture: Bytes) -> bool:
    pixels: int = picture.size // 3
    return pixels >= LARGE


def _parts(height: int) -> Iterator[slice]:
    return (slice(top, min(top + ROWS, height)) for top in range(0, height, ROWS))


def _towards(there: Floats, here: Floats, share: Floats) -> Floats:
    """Here, moved so far (h, w) towards there, both (h, w, 3); there is changed. Where both are the same, exactly that.

    OpenCV's `blendLinear` divides by a little more than the sum of its weights, which darkens by and by.
    """
    cv2 = load_cv2()
    apart = cv2.multiply(cv2.subtract(there, here, dst=there), cv2.merge((share, share, share)), dst=there)
    moved: Floats = cv2.add(apart, here, dst=apart)
    return moved


def _crisped(parts: Iterable[_Part]) -> Iterator[Bytes]:
    """Parts of a picture, one below the other, with detail as strong as it is to be."""
    cv2 = load_cv2()
    for above, here, below in _with_neighbours(parts):
        first, least = len(above.rows), len(above.wanted)
        rows = np.concatenate([above.rows, here.rows, below.rows[:MARGIN]])[max(0, first - MARGIN) :]
        soft = cv2.GaussianBlur(rows, (0, 0), DETAIL)[min(first, MARGIN) :][: len(here.rows)]
        wanted, found = (
            cv2.GaussianBlur(np.concatenate(areas), (0, 0), 1) + FAINT
            for areas in zip(*((one.wanted, one.found) for one in (above, here, below)), strict=True)
        )
        height, width, _ = here.rows.shape
        softer = 1 - ((wanted / found) ** SHARE).clip(*CRISPER)
        share = enlarged(softer, (AREA, width / softer.shape[1]), (AREA * least, 0), (height, width))
        yield as_bytes(_towards(soft, here.rows, share), 1)


def _with_neighbours(parts: Iterable[_Part]) -> Iterator[tuple[_Part, _Part, _Part]]:
    """Each with the one above it and the one below it, which are empty where there is none."""
    above = here = None
    for below in chain(parts, [None]):
        if here is not None:
            yield above or here.empty(), here, below or here.empty()
        above, here = here, below


def _detail(rows: Floats) -> Floats:
    """How far the brightness of rows (n, w, 3) is from its surroundings on average, in areas of so many px."""
    cv2 = load_cv2()
    grey = cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY)
    detail = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), DETAIL))
    areas = (max(1, grey.shape[1] // AREA), -(-grey.shape[0] // AREA))
    found: Floats = cv2.resize(detail, areas, interpolation=cv2.INTER_AREA)
    return found
