"""Keeping a painted film steady: what was painted before goes on where it can still be seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.threads import usable_cores
from impasto.video.film import Bytes, as_bytes, as_floats, load_cv2
from impasto.video.flow import HALFWAY, LARGE, Flow, doubled, enlarged, warp, warp_at, warp_doubled
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
CARRIED: Final = 0.02  # softer is what is carried alone: nothing of another painting softens it
FAINT: Final = 0.25  # of 255
SLIGHT: Final = 1e-3
TOLERATED: Final = 0.1  # of the way from one style to another: what is so far back is not carried on
WORN: Final = 0.5  # an anchor less alike than this is one no more
ROWS: Final = 64  # that are worked on at a time: they stay in the processor's cache
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
        end: what it goes over to.
        number: how many anchors there were before.
    """

    def __init__(self, painting: Bytes, end: Bytes, number: int = 0) -> None:
        self.painting, self.end, self.number = painting, end, number

    @classmethod
    def towards(cls, fresh: Bytes, painting: Bytes, number: int) -> _Stretch:
        """From a painting to the same but for a part that is as the painter had it."""
        cv2, (height, width) = load_cv2(), painting.shape[:2]
        patches = _patches(height, width, number % PARTS)

        def part(rows: slice) -> Bytes:
            share = patches[rows] * np.float32(1 / 255)
            found: Bytes = cv2.blendLinear(fresh[rows], painting[rows], share, 1 - share)
            return found

        return cls(painting, _of_parts(painting, part), number)

    def rows(self, first: int, last: int, passed: float) -> Bytes:
        """Rows of what is carried when so much of the way is gone, `doubled`: the mean of both ends."""
        passed = 0 if self.end is self.painting else passed
        if _is_large(self.painting):  # of 1080p, pictures of twice the size would be 50 MB
            above, below = max(0, first - HALFWAY), min(len(self.painting), last + HALFWAY)
            found = doubled(_between(self.painting[above:below], self.end[above:below], passed))
            return found[2 * (first - above) : 2 * (last - above)]
        begin, end = self._doubled
        return _between(begin[2 * first : 2 * last], end[2 * first : 2 * last], passed)

    @functools.cached_property
    def _doubled(self) -> tuple[Bytes, Bytes]:
        begin = doubled(self.painting)
        return begin, begin if self.end is self.painting else doubled(self.end)


@dataclass(frozen=True, eq=False)
class _Anchor:
    """A painting that later ones are carried from.

    Attributes:
        stretch: what is carried.
        age: frames since.
        way: from the last frame back to it; None while that is the very frame.
        look: of the painting.
    """

    stretch: _Stretch
    age: int = 0
    way: Flow | None = None
    look: float = 0.0

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


@dataclass(frozen=True, eq=False)
class _Before:
    """What was painted before, seen from a frame.

    Attributes:
        last: the painting before.
        anchor: seen from the frame; None after a cut.
        flow: the way back to the last painting.
        older: paintings from before it, each with the way back; trust says how much is to be taken from there.
    """

    last: Bytes
    anchor: _Anchor | None
    flow: Flow
    older: Sequence[tuple[Bytes, Flow]]

    def rows(self, rows: slice, new: Moved | None = None) -> tuple[Bytes, Floats]:
        """Some rows of it, where they are in the frame, (n, W, 3), and how far they are to be trusted, (n, W).

        What is `new` stands where there is no trust.
        """
        size, top, bottom = (self.last.shape[0], self.last.shape[1]), rows.start, rows.stop
        back, trust = self.flow.rows(size, top, bottom)
        older, trust = self._older(rows, trust)
        if self.anchor is None or self.anchor.way is None:
            found, held = np.zeros((bottom - top, *self.last.shape[1:]), np.uint8), np.zeros_like(trust)
        else:
            way, held = self.anchor.way.rows(size, top, bottom)
            found = self.anchor.carried(way, top)
        places = np.flatnonzero((held if new is None else np.minimum(held, trust)) < 1 - SLIGHT)
        if not len(places):
            return found, trust
        here = warp_at(self.last, back, places, top=top).astype(np.float32)
        for painting, way, weight in older:
            share = weight.take(places)
            if len(within := np.flatnonzero(share)):
                seen = warp_at(painting, way, places.take(within), top=top)
                here[within] += (seen - here.take(within, 0)) * share.take(within)[:, None]
        pixels = found.reshape(-1, 3)
        here += (pixels.take(places, 0) - here) * held.take(places)[:, None]
        if new is not None:
            fresh = new.at(places, top, bottom)
            here = fresh + (here - fresh) * trust.take(places)[:, None]
        here += 0.5
        # As things of three bytes they are put there in half the time of rows.
        pixels.view("V3")[places] = here.astype(np.uint8).view("V3")
        return found, trust

    def _older(self, rows: slice, trust: Floats) -> tuple[list[tuple[Bytes, Floats, Floats]], Floats]:
        """Paintings in which something is that is in these rows and the last did not show, and the trust with them.

        With each come the way back to it, (n, W, 2), and how much of it there is to be, (n, W).
        """
        size, found = (self.last.shape[0], self.last.shape[1]), []
        for painting, flow in self.older:
            way, share = flow.rows(size, rows.start, rows.stop)
            if share.any():
                trust = trust + share * (1 - trust)
                weight: Floats = np.divide(share, np.maximum(trust, SLIGHT), dtype=np.float32)
                found.append((painting, way, weight))
        return found, trust


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
        regions: where paintings have several styles side by side, which stay in their places: the share of each,
            (h, w) in [0, 1], in whatever size. Nothing is carried from one region into another.

    Attributes:
        seen: of the last frame, see `Followed`.
    """

    def __init__(self, kept: float = KEPT, regions: Sequence[Floats] = ()) -> None:
        self.kept, self._regions = kept, regions
        self._shown: Bytes | None = None
        self._look = 0.0  # of what was shown
        self._anchor: _Anchor | None = None
        self._past: Past[tuple[Bytes, float]] = Past()  # paintings, each with its look
        self._softer: Floats | None = None  # of the last frame that was painted, see `_joined`
        self.seen = Seen()

    def state(self) -> dict[str, NDArray[Any]]:
        """What it remembers, for `load_state`."""
        if self._shown is None:
            return {}
        past: dict[str, NDArray[Any]] = {"look": np.array(self._look)}
        for number, (painting, look) in self._past.state().items():
            past |= {f"past-{number}": painting, f"look-{number}": np.array(look)}
        seen = {name: part for name, part in self.seen._asdict().items() if part is not None}
        found = {"painted": self._shown, "count": np.array(self._past.count), **past, **seen}
        if self._softer is not None:
            found["softer"] = self._softer
        if (anchor := self._anchor) is not None:
            one = anchor.stretch
            found |= {"anchor": one.painting, "end": one.end, "ages": np.array([one.number, anchor.age])}
            found["anchor-look"] = np.array(anchor.look)
            if anchor.way is not None:
                found |= {"way": anchor.way.back, "way-trust": anchor.way.trust}
        return found

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where another was; one of before knew of no looks."""

        def look(name: str) -> float:
            return float(state.get(name, 0.0))

        self._look = look("look")
        self._shown, self._softer, self._anchor = state.get("painted"), state.get("softer"), None
        if "anchor" in state:
            way = Flow(state["way"], state["way-trust"]) if "way" in state else None
            number, age = map(int, state["ages"])
            begin = state["anchor"]
            if "end" in state:
                stretch = _Stretch(begin, state["end"], number)
            else:  # runs of before have what the painter had
                stretch = _Stretch.towards(state["fresh"], begin, number)
            self._anchor = _Anchor(stretch, age, way, look("anchor-look"))
        numbers = [int(name.removeprefix("past-")) for name in state if name.startswith("past-")]
        past = {number: (state[f"past-{number}"], look(f"look-{number}")) for number in numbers}
        self._past.load_state(past, int(state.get("count", np.array(0))))
        self.seen = Seen(*(state.get(name) for name in Seen._fields))

    def __call__(self, painted: Bytes | Moved, one: Followed, look: float = 0.0) -> Bytes:
        """The painting (h, w, 3) of a frame, as steady as it can be.

        That of another frame, moved to where it is in this one, is looked at only where what was painted before is not
        to be trusted, and gives no strokes to those that follow.

        `look` says how much of what paintings look like has changed since the film began, see `Changes.changed`: the
        more it has since a painting, the less that one is trusted.
        """
        last = self._shown
        if (
            not self.kept
            or last is None
            or last.shape != painted.shape
            or not _has_past(one)
            or not _alike(self._look, look)
        ):
            painted = painted[:]
            self._anchor = _Anchor(_Stretch(painted, painted), look=look) if self.kept else None
            self._softer = None
            return self._remembered(painted, one, look)
        one = _weighed(one, last.shape)
        anchor = self._seen_from(one)
        before = self._before(last, anchor, one, look)
        if isinstance(painted, Moved):
            shown = _of_parts(last, lambda rows: before.rows(rows, painted)[0])
        else:
            shown, self._softer = self._joined(painted, before)
        if self._softer is not None:
            softer = self._softer + CARRIED if isinstance(painted, Moved) else self._softer
            shown = _of_parts(shown, functools.partial(_softened, shown, softer))
        if not isinstance(painted, Moved) and (
            anchor is None or anchor.age >= EVERY or _alike(anchor.look, look) < WORN
        ):
            number = 0 if anchor is None else anchor.stretch.number + 1
            anchor = _Anchor(_Stretch.towards(painted, shown, number), look=look)
        self._anchor = anchor
        return self._remembered(shown, one, look)

    def repeat(self, one: Followed) -> Bytes:
        """The last painting once more, for a frame that is the one before."""
        if self._shown is None:
            raise RuntimeError("nothing was painted yet")
        return self._remembered(self._shown, one, self._look)

    def carried(self, one: Followed, look: float = 0.0) -> Carried | None:
        """What was painted before where it is in this frame, for a painting to begin with; None where nothing is."""
        if self._shown is None or not _has_past(one) or not _alike(self._look, look):
            return None
        one = _weighed(one, self._shown.shape)
        before = self._before(self._shown, self._seen_from(one), one, look)
        painting, trust = before.rows(slice(0, len(self._shown)))
        return Carried(as_floats(painting), trust)

    def _remembered(self, shown: Bytes, one: Followed, look: float) -> Bytes:
        self._shown, self._look, self.seen = shown, look, one.seen or Seen()
        self._past.add((shown, look))
        return shown

    def _seen_from(self, one: Followed) -> _Anchor | None:
        """The anchor, seen from a frame; None after a cut."""
        if self._anchor is None or one.flow is None or one.flow.cut:
            return None
        return self._anchor.before(one.flow)

    def _before(self, last: Bytes, anchor: _Anchor | None, one: Followed, look: float) -> _Before:
        """What was painted before.

        Args:
            last: the painting before.
            anchor: seen from this frame.
            one: the frame.
            look: of its painting.
        """
        if one.flow is None:
            raise ValueError("there was no frame before")
        size = (last.shape[0], last.shape[1])

        def ready(flow: Flow, then: float) -> Flow:
            return self._within_regions(flow, _alike(then, look)).ready(size)

        older = [(*self._past[past.number], past.flow) for past in one.older]
        if anchor is not None and anchor.way is not None:
            anchor = replace(anchor, way=ready(anchor.way, anchor.look))
        paintings = [(painting, ready(flow, then)) for painting, then, flow in older]
        return _Before(last, anchor, ready(one.flow, self._look), paintings)

    def _within_regions(self, flow: Flow, alike: float) -> Flow:
        """The way back to a painting so much alike, with less trust where it leads to another region."""
        trust, cv2 = flow.trust if alike == 1 else flow.trust * np.float32(alike), load_cv2()
        if self._regions:
            grid = (flow.trust.shape[1], flow.trust.shape[0])
            shares = [cv2.resize(region, grid, interpolation=cv2.INTER_AREA) for region in self._regions]
            apart = sum(np.abs(warp(share, flow.back, cubic=False) - share) for share in shares) / 2
            trust = trust * (1 - apart / np.float32(TOLERATED)).clip(0, 1)
        return replace(flow, trust=trust)

    def _joined(self, painted: Bytes, before: _Before) -> tuple[Bytes, Floats]:
        """The painting moved towards what was before; and how much softer it is to be, area by area.

        Detail is to be as strong as the painting has it itself: strokes that lie differently from frame to frame grow
        faint in a mean.
        """
        height, width, _ = painted.shape
        wanted, found = np.empty((2, -(-height // AREA), max(1, width // AREA)), np.float32)

        def join(rows: slice) -> Bytes:
            here = painted[rows].astype(np.float32)
            there, trust = before.rows(rows)
            joined = _towards(there.astype(np.float32), here, self.kept * trust)
            areas = slice(rows.start // AREA, -(-rows.stop // AREA))
            wanted[areas], found[areas] = _detail(here), _detail(joined)
            return as_bytes(joined, 1)

        joined, cv2 = _of_parts(painted, join), load_cv2()
        more = (cv2.GaussianBlur(wanted, (0, 0), 1) + FAINT) / (cv2.GaussianBlur(found, (0, 0), 1) + FAINT)
        return joined, 1 - (more**SHARE).clip(*CRISPER)


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


def _alike(then: float, now: float) -> float:
    """How far a painting of one look may be carried on into one of another, in [0, 1]."""
    return max(0.0, 1 - abs(now - then) / TOLERATED)


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


def _of_parts(picture: Bytes, work: Callable[[slice], Bytes]) -> Bytes:
    """What `work` makes of the rows of a picture, part by part; of a large one two at a time: painting leaves time."""
    found, height = np.empty_like(picture), len(picture)
    parts = (slice(top, min(top + ROWS, height)) for top in range(0, height, ROWS))
    if not _is_large(picture):
        for rows in parts:
            found[rows] = work(rows)
        return found
    with closing(side_by_side(parts, work, min(2, usable_cores()))) as pairs:
        for rows, part in pairs:
            found[rows] = part
    return found


def _towards(there: Floats, here: Floats, share: Floats) -> Floats:
    """Here, moved so far (h, w) towards there, both (h, w, 3); there is changed. Where both are the same, exactly that.

    OpenCV's `blendLinear` divides by a little more than the sum of its weights, which darkens by and by.
    """
    cv2 = load_cv2()
    apart = cv2.multiply(cv2.subtract(there, here, dst=there), cv2.merge((share, share, share)), dst=there)
    moved: Floats = cv2.add(apart, here, dst=apart)
    return moved


def _softened(picture: Bytes, softer: Floats, rows: slice) -> Bytes:
    """Some rows of a picture, softer by so much, area by area; crisper where that is less than nothing."""
    cv2, (height, width) = load_cv2(), picture.shape[:2]
    first, last = max(0, rows.start - MARGIN), min(height, rows.stop + MARGIN)
    soft = cv2.GaussianBlur(picture[first:last], (0, 0), DETAIL)[rows.start - first :][: rows.stop - rows.start]
    share = enlarged(softer, (AREA, width / softer.shape[1]), (rows.start, 0), soft.shape[:2])
    found: Bytes = cv2.blendLinear(soft, picture[rows], share, 1 - share)
    return found


def _detail(rows: Floats) -> Floats:
    """How far the brightness of rows (n, w, 3) is from its surroundings on average, in areas of so many px."""
    cv2 = load_cv2()
    grey = cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY)
    detail = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), DETAIL))
    areas = (max(1, grey.shape[1] // AREA), -(-grey.shape[0] // AREA))
    found: Floats = cv2.resize(detail, areas, interpolation=cv2.INTER_AREA)
    return found
