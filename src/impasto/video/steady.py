"""Keeping a painted film steady: what was painted before goes on where it can still be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import load_cv2
from impasto.video.flow import Flow, warp

__all__ = ["KEPT", "Carried", "Steadier"]

Floats = NDArray[np.float32]
KEPT: Final = 0.96  # of the painting before, where it is to be trusted
DETAIL: Final = 1.0  # px: what is finer than this is detail
AREA: Final = 8  # px of a side of an area whose detail is compared
CRISPER: Final = (0.9, 1.25)  # what detail is multiplied by in one frame, at least and at most
SHARE: Final = 0.8  # of what detail lacks, in logarithms: a little less than all, since a cubic makes edges steeper
FAINT: Final = 1e-3
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
    that is to be trusted.

    Args:
        kept: how much of the last painting goes on, in [0, 1); 0 leaves every painting as it is.

    Attributes:
        last: the last painting given back, (h, w, 3) in [0, 1]; None before the first.
    """

    def __init__(self, kept: float = KEPT) -> None:
        self.kept = kept
        self.last: Floats | None = None

    def state(self) -> dict[str, NDArray[Any]]:
        """What it remembers, for `load_state`."""
        return {} if self.last is None else {"painted": self.last}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where another was."""
        self.last = state.get("painted")

    def __call__(self, painted: Floats, flow: Flow | None) -> Floats:
        """The painting (h, w, 3) in [0, 1] of a frame, as steady as it can be.

        `flow` is the way back to the frame before; None where there was none.
        """
        last = self.last
        if self.kept and last is not None and last.shape == painted.shape and flow is not None and not flow.cut:
            painted = self._joined(painted, last, flow)
        self.last = painted
        return painted

    def carried(self, flow: Flow | None) -> Carried | None:
        """The last painting where it is in this frame, for a painting to begin with; None after a cut."""
        last = self.last
        if last is None or flow is None or flow.cut:
            return None
        back, trust = flow.rows((last.shape[0], last.shape[1]), 0, last.shape[0])
        return Carried(warp(last, back).clip(0, 1), trust)

    def _joined(self, painted: Floats, last: Floats, flow: Flow) -> Floats:
        joined, size = np.empty_like(painted), (painted.shape[0], painted.shape[1])
        for top in range(0, size[0], ROWS):
            bottom = min(top + ROWS, size[0])
            back, trust = flow.rows(size, top, bottom)
            joined[top:bottom] = _towards(warp(last, back, top=top), painted[top:bottom], self.kept * trust)
        return _as_crisp_as(painted, joined)


def _towards(there: Floats, here: Floats, share: Floats) -> Floats:
    """Here, moved so far (h, w) towards there, both (h, w, 3); there is changed. Where both are the same, exactly that.

    OpenCV's `blendLinear` divides by a little more than the sum of its weights, which darkens by and by.
    """
    cv2 = load_cv2()
    apart = cv2.multiply(cv2.subtract(there, here, dst=there), cv2.merge((share, share, share)), dst=there)
    moved: Floats = cv2.add(apart, here, dst=apart)
    return moved


def _as_crisp_as(painted: Floats, joined: Floats) -> Floats:
    """The second picture, changed in place, with detail as strong as the first one's, area by area.

    Strokes that lie differently from frame to frame grow faint in a mean, and fainter with every resampling.
    """
    cv2, height = load_cv2(), len(joined)
    factor = (((_strength(painted) + FAINT) / (_strength(joined) + FAINT)) ** SHARE).clip(*CRISPER)
    share = cv2.resize(1 - factor, joined.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    before = joined[:0]  # the rows above a part, as they were
    for top in range(0, height, ROWS):
        bottom, above = min(top + ROWS, height), len(before)
        around = np.concatenate([before, joined[top : bottom + MARGIN]])
        before = joined[max(0, bottom - MARGIN) : bottom].copy()
        soft = cv2.GaussianBlur(around, (0, 0), DETAIL)[above : above + bottom - top]
        rows = _towards(soft, joined[top:bottom], share[top:bottom])
        rows.clip(0, 1, out=joined[top:bottom])
    return joined


def _strength(picture: Floats) -> Floats:
    """How far brightness is from its surroundings on average, of (H, W, 3): in areas of so many px, and around them."""
    cv2 = load_cv2()
    areas = (max(1, picture.shape[1] // AREA), max(1, picture.shape[0] // AREA))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    detail = cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), DETAIL), dst=grey)
    found: Floats = cv2.GaussianBlur(cv2.resize(detail, areas, interpolation=cv2.INTER_AREA), (0, 0), 1)
    return found
