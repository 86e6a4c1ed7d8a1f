"""Keeping a painted film steady: what was painted before goes on where it can still be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, as_bytes, load_cv2
from impasto.video.flow import warp
from impasto.video.following import Followed, Seen
from impasto.video.past import Past

__all__ = ["KEPT", "Carried", "Steadier"]

Floats = NDArray[np.float32]
KEPT: Final = 0.96  # of the painting before, where it is to be trusted
DETAIL: Final = 1.0  # px: what is finer than this is detail
AREA: Final = 8  # px of a side of an area whose detail is compared
CRISPER: Final = (0.9, 1.25)  # what detail is multiplied by in one frame, at least and at most
SHARE: Final = 0.8  # of what detail lacks, in logarithms: a little less than all, since a cubic makes edges steeper
FAINT: Final = 0.25  # of 255
SLIGHT: Final = 1e-3
ROWS: Final = 64  # that are worked on at a time: they stay in the processor's cache
MARGIN: Final = 4  # rows around them that decide on what is detail


@dataclass(frozen=True, eq=False)
class Carried:
    """What was painted before, where it is in a frame.

    Attributes:
        painting: (h, w, 3) in [0, 1].
        trust: (h, w) in [0, 1], how far it holds there.
    """

    painting: Floats
    trust: Floats


class Steadier:
    """Takes paintings of one frame after the other and gives them back without flicker.

    Each painting is moved towards the last one given back, which is carried along the optical flow of the film, where
    that is to be trusted; and where something is seen again that was hidden, towards the last one that showed it.

    Args:
        kept: how much of the last painting goes on, in [0, 1); 0 leaves every painting as it is.

    Attributes:
        seen: of the last frame, see `Followed`.
    """

    def __init__(self, kept: float = KEPT) -> None:
        self.kept = kept
        self._last: Floats | None = None  # (h, w, 3) in [0, 255]: bytes would forget what changes little by little
        self._shown: Bytes | None = None  # the same, rounded
        self._past: Past[Bytes] = Past()
        self.seen = Seen()

    def state(self) -> dict[str, NDArray[Any]]:
        """What it remembers, for `load_state`."""
        if self._last is None:
            return {}
        past = {f"past-{number}": painting for number, painting in self._past.state().items()}
        seen = {name: part for name, part in self.seen._asdict().items() if part is not None}
        return {"painted": self._last, "count": np.array(self._past.count), **past, **seen}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where another was."""
        self._last = state.get("painted")
        self._shown = None if self._last is None else as_bytes(self._last, 1)
        past = {int(name.removeprefix("past-")): state[name] for name in state if name.startswith("past-")}
        self._past.load_state(past, int(state.get("count", np.array(0))))
        self.seen = Seen(*(state.get(name) for name in Seen._fields))

    def __call__(self, painted: Bytes, one: Followed) -> Bytes:
        """The painting (h, w, 3) of a frame, as steady as it can be."""
        last = self._last
        if self.kept and last is not None and last.shape == painted.shape and _has_past(one):
            self._last = self._joined(painted, last, one)
        else:
            self._last = painted.astype(np.float32)
        return self._remembered(as_bytes(self._last, 1), one)

    def repeat(self, one: Followed) -> Bytes:
        """The last painting once more, for a frame that is the one before."""
        if self._shown is None:
            raise RuntimeError("nothing was painted yet")
        return self._remembered(self._shown, one)

    def carried(self, one: Followed) -> Carried | None:
        """What was painted before where it is in this frame, for a painting to begin with; None where nothing is."""
        if self._last is None or not _has_past(one):
            return None
        painting, trust = self._before(self._last, one, 0, len(self._last))
        painting /= 255
        return Carried(painting.clip(0, 1, out=painting), trust)

    def _remembered(self, shown: Bytes, one: Followed) -> Bytes:
        self._shown, self.seen = shown, one.seen or Seen()
        self._past.add(shown)
        return shown

    def _before(self, last: Floats, one: Followed, top: int, bottom: int) -> tuple[Floats, Floats]:
        """Some rows of what was painted before, where it is in this frame, (n, W, 3), and its trust, (n, W)."""
        if one.flow is None:
            raise ValueError("there was no frame before")
        size = (last.shape[0], last.shape[1])
        back, trust = one.flow.rows(size, top, bottom)
        before: Floats = warp(last, back, top=top)
        trust = trust.copy() if one.older else trust
        for older in one.older:
            columns = older.flow.trusted(size, top, bottom)
            if columns is None:
                continue
            part = np.s_[:, columns[0] : columns[1]]
            way, share = older.flow.part(size, (top, bottom), columns)
            trust[part] *= 1 - share
            trust[part] += share
            there = warp(self._past[older.number], way, top=top, left=columns[0]).astype(np.float32)
            weight: Floats = np.divide(share, np.maximum(trust[part], SLIGHT), dtype=np.float32)
            before[part] = _towards(there, before[part], weight)
        return before, trust

    def _joined(self, painted: Bytes, last: Floats, one: Followed) -> Floats:
        """The painting moved towards what was before, with detail as strong as it has itself, area by area.

        Strokes that lie differently from frame to frame grow faint in a mean, and fainter with every resampling.
        """
        cv2, (height, width) = load_cv2(), painted.shape[:2]
        joined, greys = np.empty(painted.shape, np.float32), np.empty((2, height, width), np.float32)
        for rows in _parts(height):
            here = painted[rows].astype(np.float32)
            before, trust = self._before(last, one, rows.start, rows.stop)
            joined[rows] = _towards(before, here, self.kept * trust)
            for grey, picture in zip(greys, (here, joined[rows]), strict=True):
                cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY, dst=grey[rows])
        wanted, found = (_strength(grey) + FAINT for grey in greys)
        softer = 1 - ((wanted / found) ** SHARE).clip(*CRISPER)
        _soften(joined, cv2.resize(softer, (width, height), interpolation=cv2.INTER_LINEAR, dst=greys[0]))
        return joined


def _has_past(one: Followed) -> bool:
    """Whether anything of what was painted before is in a frame."""
    return one.flow is not None and (not one.flow.cut or bool(one.older))


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


def _soften(picture: Floats, share: Floats) -> None:
    """Take a share (h, w) of its detail from a picture (h, w, 3) in [0, 255], in place; below 0 it is given more."""
    cv2, before = load_cv2(), picture[:0]  # the rows above a part, as they were
    for rows in _parts(len(picture)):
        above = len(before)
        around = np.concatenate([before, picture[rows.start : rows.stop + MARGIN]])
        before = picture[max(0, rows.stop - MARGIN) : rows.stop].copy()
        soft = cv2.GaussianBlur(around, (0, 0), DETAIL)[above : above + rows.stop - rows.start]
        _towards(soft, picture[rows], share[rows]).clip(0, 255, out=picture[rows])


def _strength(grey: Floats) -> Floats:
    """How far brightness (h, w) is from its surroundings on average, in areas of so many px, and around them."""
    cv2, areas = load_cv2(), (max(1, grey.shape[1] // AREA), max(1, grey.shape[0] // AREA))
    detail = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), DETAIL))
    found: Floats = cv2.GaussianBlur(cv2.resize(detail, areas, interpolation=cv2.INTER_AREA), (0, 0), 1)
    return found
