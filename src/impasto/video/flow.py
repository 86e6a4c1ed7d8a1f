"""Where each pixel of a frame was in the frame before: optical flow, how far it is to be trusted, and cuts."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, load_cv2

__all__ = [
    "HALFWAY",
    "LARGE",
    "Flow",
    "FlowFinder",
    "consistent",
    "doubled",
    "enlarged",
    "motion_edges",
    "on_one_thread",
    "warp",
    "warp_at",
    "warp_doubled",
]

Floats = NDArray[np.float32]
CUT: Final = 0.8  # of the pixels that the check refuses: a cut refuses 90 to 100 %, movement at most 66
SEEN: Final = 336  # px of the long side at which flow is looked for; 384 takes a quarter more, and errs by a tenth less
SMALLEST: Final = 16  # px of a side that can be looked at in patches
SOFT: Final = 1.5  # px over which trust comes and goes
REFINED: Final = 4  # steps; with the last flow to begin with as good as five without
CHECKED: Final = 3  # of the flow that is for the check alone
STEEP: Final = 5.0  # what is at the border is worth 1/e of this power
HALFWAY: Final = 8  # pixels that one between two of them is made of
LARGE: Final = 500_000  # pixels of a picture from which on two threads join its rows, and less is kept
WIDE: Final = 64  # places that OpenCV is handed as a row: see findings/opencv-remap-shape.sh
OTHER: Final = 25.0  # of 255 apart, and what is seen is not what was there before


@dataclass(frozen=True, eq=False)
class Flow:
    """The way back from a frame to the one before it.

    Attributes:
        back: (h, w, 2) in px of this grid: the pixel at x was at x + back.
        trust: (h, w) in [0, 1]: 0 where what is seen was not visible before, is at the edge of a motion or has another
            brightness now; it comes and goes softly. After a cut it is 0.
        cut: whether the film was cut between the two.
        forth: (h, w, 2), the way on from the frame before to this one, not quite as fine; None where nobody looked.
    """

    back: Floats
    trust: Floats
    cut: bool = False
    forth: Floats | None = None

    @classmethod
    def still(cls, size: tuple[int, int]) -> Flow:
        """Of a frame of this (height, width) that is the one before."""
        return cls(np.zeros((*size, 2), np.float32), np.ones(size, np.float32))

    def then(self, before: Flow) -> Flow:
        """The way back over two frames: by this one, and from there by the flow of the frame before, on its grid."""
        size = (self.trust.shape[0], self.trust.shape[1])
        back, trust = before.rows(size, 0, size[0])
        way = load_cv2().add(self.back, warp(back, self.back, cubic=False))
        return Flow(way, self.trust * warp(trust, self.back, cubic=False), self.cut or before.cut)

    def from_within(self, border: float) -> Flow:
        """The same, with less trust in what was closer to the border of the picture, and within so many px of it.

        Over several frames, see `then`, it comes to the same as from the first to the last.
        """
        height, width = self.trust.shape
        there = _inwards(self.back + _grid((height, width)), (height, width), border)
        here = _here((height, width), border)
        return replace(self, trust=self.trust * np.minimum(there / here, 1))

    def ready(self, size: tuple[int, int]) -> Flow:
        """The same for all rows of a picture of this (height, width): on its grid, unless that is large."""
        height, width = self.trust.shape
        if (height, width) == size or math.prod(size) >= LARGE:
            return self
        cv2 = load_cv2()
        back, trust = (cv2.resize(part, size[::-1]) for part in (self.back, self.trust))
        return Flow(cv2.multiply(back, (size[1] / width, size[0] / height, 0, 0), dst=back), trust, self.cut)

    def rows(self, size: tuple[int, int], top: int, bottom: int) -> tuple[Floats, Floats]:
        """`back` and `trust` of some rows of a picture of this (height, width), on its grid."""
        return self.part(size, (top, bottom), (0, size[1]))

    def part(self, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> tuple[Floats, Floats]:
        """`back` and `trust` of some rows and columns of a picture of this (height, width), on its grid."""
        return self.back_of(size, rows, columns), self.trust_of(size, rows, columns)

    def back_of(self, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Floats:
        """`back` alone, see `part`."""
        back = self._on_grid(self.back, size, rows, columns)
        if self.trust.shape == size:
            return back
        down, across = size[0] / self.trust.shape[0], size[1] / self.trust.shape[1]
        scaled: Floats = load_cv2().multiply(back, (across, down, 0, 0), dst=back)
        return scaled

    def trust_of(self, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Floats:
        """`trust` alone, see `part`."""
        return self._on_grid(self.trust, size, rows, columns)

    def _on_grid(self, part: Floats, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> Floats:
        (top, bottom), (left, right), (height, width) = rows, columns, part.shape[:2]
        if (height, width) == size:
            return part[top:bottom, left:right]
        return enlarged(part, (size[0] / height, size[1] / width), (top, left), (bottom - top, right - left))


def enlarged(part: Floats, times: tuple[float, float], at: tuple[int, int], size: tuple[int, int]) -> Floats:
    """So much (height, width) of a map, made so many `times` (down, across) as large, from a place (row, column) on."""
    cv2, (down, across), (top, left) = load_cv2(), times, at
    place = np.array(
        [[1 / across, 0, (left + 0.5) / across - 0.5], [0, 1 / down, (top + 0.5) / down - 0.5]], np.float32
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found: Floats = cv2.warpAffine(part, place, size[::-1], flags=how, borderMode=cv2.BORDER_REPLICATE)
    return found


_lock = threading.Lock()
_inside: list[int] = []  # how many threads OpenCV had, once for everyone who is within `on_one_thread`


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Have OpenCV compute on the thread that calls it, for the whole process, until the last one leaves.

    DIS goes through a frame in as many stripes as there are threads, unless another thread of the process is using
    them just then: then in one, with other patches as neighbours, and another flow.
    """
    cv2 = load_cv2()
    with _lock:
        _inside.append(_inside[0] if _inside else cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                cv2.setNumThreads(before)


class FlowFinder:
    """Finds the flow between frames by DIS (Kroeger et al. 2016), with the check of Ruder et al. 2016.

    Frames are looked at with a long side of `seen` px at most; forwards, for the check alone, at half of that. What is
    found depends on OpenCV's threads, see `on_one_thread`.
    """

    def __init__(self, seen: int = SEEN) -> None:
        self._cv2 = load_cv2()
        self._seen = seen
        self._by_size: dict[tuple[int, ...], Any] = {}  # one for two sizes would make its tables anew each time

    def look(self, rgb: Bytes) -> Bytes:
        """The brightness of a frame (H, W, 3) as `between` wants it, (h, w)."""
        cv2 = self._cv2
        height, width = rgb.shape[:2]
        factor = min(1.0, self._seen / max(height, width))
        grey: Bytes = np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
        if factor < 1:  # one plane takes a third of the time of three
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return grey

    def halved(self, grey: Bytes) -> Bytes:
        """The same at half the size, or as it is where that would be too small to be looked at in patches."""
        half = (grey.shape[1] // 2, grey.shape[0] // 2)
        if min(half) < SMALLEST:
            return grey
        found: Bytes = self._cv2.resize(grey, half, interpolation=self._cv2.INTER_AREA)
        return found

    def between(self, before: Bytes, now: Bytes, guess: Floats | None = None) -> Flow:
        """The flow from `now` back to `before`, both from `look`; `guess` is where to begin, (h, w, 2)."""
        cv2 = self._cv2
        if min(now.shape) < SMALLEST:
            same = float(np.abs(now.astype(np.int16) - before).mean()) < 16
            return Flow(np.zeros((*now.shape, 2), np.float32), np.full(now.shape, same, np.float32), not same)
        back, forth = self._found(now, before, guess=guess), self._forth(before, now)
        visible = consistent(back, warp(forth, back, cubic=False)) & _within(back)
        still = (now == before).astype(np.uint8)
        # What stands still, with all that is around it, does so exactly: no estimate may move it.
        still = cv2.erode(still, np.ones((9, 9), np.uint8)).astype(bool)
        back[still] = 0
        if 1 - float((visible | still).mean()) >= CUT:
            return Flow(back, np.zeros(now.shape, np.float32), cut=True)
        trust = ((visible & ~motion_edges(back)) | still).astype(np.float32)
        # A step inwards, and soft: what is trusted to its very edge leaves a seam there.
        trust = cv2.GaussianBlur(cv2.erode(trust, np.ones((3, 3), np.uint8)), (0, 0), SOFT)
        then = warp(before.astype(np.float32), back, cubic=False)
        apart = cv2.GaussianBlur(cv2.absdiff(now.astype(np.float32), then), (0, 0), SOFT)
        trust *= np.exp(np.square(apart / OTHER) * -1)
        return Flow(back, trust, forth=forth)

    def _found(self, one: Bytes, other: Bytes, refined: int = REFINED, guess: Floats | None = None) -> Floats:
        """The flow from one to the other by itself."""
        cv2, dis = self._cv2, self._by_size.get(one.shape)
        if dis is None:
            # Finest scale 0, with patches six pixels apart and a quarter of the steps of the preset, errs by as many
            # pixels as the medium preset on films of known motion, and a smoother field by a tenth less; in half the
            # time. What refines it takes three quarters of that, and halves the error.
            dis = self._by_size[one.shape] = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
            dis.setFinestScale(0)
            dis.setGradientDescentIterations(4)
            dis.setPatchStride(6)
            dis.setVariationalRefinementAlpha(60)
        dis.setVariationalRefinementIterations(refined)
        found: Floats = dis.calc(one, other, None if guess is None else guess.copy())
        return found

    def _forth(self, before: Bytes, now: Bytes) -> Floats:
        """The flow forwards, on the grid of both."""
        small = self._found(self.halved(before), self.halved(now), CHECKED)
        return Flow(small, np.ones(small.shape[:2], np.float32)).rows((now.shape[0], now.shape[1]), 0, len(now))[0]


def consistent(back: Floats, forth: Floats) -> NDArray[np.bool_]:
    """Where a pixel that goes back and forth again returns to where it was (Ruder et al. 2016, eq. 4), (h, w).

    `forth` is the flow forwards, (h, w, 2), taken at the places that `back` leads to.
    """
    there, here = _square(back + forth), _square(back) + _square(forth)
    return there < 0.01 * here + 0.5


def motion_edges(flow: Floats) -> NDArray[np.bool_]:
    """The edges of a motion, where no flow can be right (Ruder et al. 2016, eq. 5), (h, w)."""
    cv2 = load_cv2()
    # Central differences, a twelfth of the time of numpy's.
    down, across = (cv2.Sobel(flow, cv2.CV_32F, *axis, ksize=1, scale=0.5) for axis in ((0, 1), (1, 0)))
    found: NDArray[np.bool_] = _square(down) + _square(across) > 0.01 * _square(flow) + 0.002
    return found


def _within(back: Floats) -> NDArray[np.bool_]:
    """Where a flow leads to a place in the picture, (h, w)."""
    height, width = back.shape[:2]
    across, down = np.moveaxis(back + _grid((height, width)), 2, 0)
    inside: NDArray[np.bool_] = (across >= 0) & (across <= width - 1) & (down >= 0) & (down <= height - 1)
    return inside


def _inwards(places: Floats, size: tuple[int, int], border: float) -> Floats:
    """What places (h, w, 2) in a picture of this (height, width) are worth, by how far they are from its border."""
    across, down = load_cv2().split(places)
    near = np.minimum(np.minimum(across, size[1] - 1 - across), np.minimum(down, size[0] - 1 - down))
    found: Floats = np.exp((near.clip(0, border) / border - 1) * STEEP)
    return found


@functools.lru_cache(maxsize=4)
def _here(size: tuple[int, int], border: float) -> Floats:
    """`_inwards` of each pixel's own place."""
    found = _inwards(_grid(size), size, border)
    found.setflags(write=False)
    return found


def _square(vectors: Any) -> Floats:
    """The squared length of (h, w, 2), (h, w)."""
    across, down = load_cv2().split(vectors)  # side by side they take numpy twice as long
    across *= across
    down *= down
    across += down
    found: Floats = across
    return found


def warp(picture: Any, back: Floats, *, top: int = 0, left: int = 0, cubic: bool = True) -> Any:
    """What the picture (H, W, C) before looks like now, where pixels were at x + back (h, w, 2); its border continues.

    `back` is of the rows from `top` and the columns from `left` on. Interpolated by a cubic over four pixels, or
    linearly.
    """
    cv2 = load_cv2()
    kernel = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    back = cv2.add(back, (left, top, 0, 0)) if top or left else back
    return cv2.remap(picture, back, None, kernel | cv2.WARP_RELATIVE_MAP, borderMode=cv2.BORDER_REPLICATE)


def warp_at(picture: Bytes, back: Floats, places: NDArray[np.intp], *, top: int = 0) -> Bytes:
    """As `warp` has it at some places of `back` alone, counted row by row, (n, C)."""
    there = np.zeros((-(-len(places) // WIDE) * WIDE, 2), np.float32)
    grid = _grid((back.shape[0], back.shape[1]))
    np.add(back.reshape(-1, 2).take(places, 0), grid.reshape(-1, 2).take(places, 0), out=there[: len(places)])
    there[:, 1] += top
    cv2 = load_cv2()
    found: Bytes = cv2.remap(
        picture, there.reshape(-1, WIDE, 2), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return found.reshape(-1, picture.shape[2])[: len(places)]


def doubled(picture: Bytes) -> Bytes:
    """A picture (H, W, C) with a pixel between any two, (2 H, 2 W, C), by a windowed sinc: see `warp_doubled`.

    OpenCV's cubic makes edges steeper, and a relief of what is carried through many frames. Between pixels that are
    half as far apart it does not, and both take half the time of its Lanczos kernel.
    """
    cv2, one = load_cv2(), np.ones(1, np.float32)
    at = np.arange(0.5 - HALFWAY / 2, HALFWAY / 2)
    kernel = np.sinc(at) * np.sinc(at / (HALFWAY / 2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    before = HALFWAY // 2 - 1
    across = cv2.sepFilter2D(picture, -1, kernel, one, anchor=(before, 0))
    height, width, channels = picture.shape
    wide = cv2.merge((picture, across)).reshape(height, 2 * width, channels)
    found = np.empty((2 * height, 2 * width, channels), np.uint8)
    found[::2], found[1::2] = wide, cv2.sepFilter2D(wide, -1, one, kernel, anchor=(0, before))
    return found


def warp_doubled(picture: Bytes, back: Floats, *, down: int = 0) -> Bytes:
    """As `warp`, of what `doubled` gave, or of some rows of that: so fine that it can be done again and again.

    `back` is of rows of which the first lies so many rows further down than `picture` begins.
    """
    cv2, (height, width) = load_cv2(), back.shape[:2]
    there = cv2.addWeighted(back, 2, _grid((height, width)), 2, 0)
    there = cv2.add(there, (0, down, 0, 0)) if down else there
    found: Bytes = cv2.remap(picture, there, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return found


@functools.lru_cache(maxsize=4)
def _grid(size: tuple[int, int]) -> Floats:
    down, across = np.mgrid[: size[0], : size[1]].astype(np.float32)
    grid = np.stack([across, down], 2)
    grid.setflags(write=False)
    return grid
