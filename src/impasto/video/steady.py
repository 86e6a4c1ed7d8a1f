"""Keeping a painted film steady: what was painted before goes on where it can still be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, load_cv2
from impasto.video.flow import Flow, FlowFinder, warp

__all__ = ["Steadier"]

Floats = NDArray[np.float32]
KEPT: Final = 0.95  # of the painting before, where it is to be trusted
SOFT: Final = 1.5  # px over which trust comes and goes
DETAIL: Final = 1.0  # px: what is finer than this is detail
AREA: Final = 8  # px of a side of an area whose detail is compared
CRISPER: Final = (0.9, 1.25)  # what detail is multiplied by in one frame, at least and at most
FAINT: Final = 1e-6
OTHER: Final = 25.0  # of 255 apart, and what is seen is not what was there before


@dataclass(eq=False)
class Steadier:
    """Takes paintings of one frame after the other, each with its frame, and gives them back without flicker.

    Each painting is moved towards the last one given back, which is carried along the optical flow of the film, where
    that is to be trusted: visible before, not at the edge of a motion, and of the same colour then and now.

    Args:
        finder: of the flow.
        kept: how much of the last painting goes on, in [0, 1); 0 leaves every painting as it is.
    """

    finder: FlowFinder
    kept: float = KEPT

    def __post_init__(self) -> None:
        self._frame: Bytes | None = None  # as it came
        self._grey: Bytes | None = None  # on the grid of the flow
        self._painted: Floats | None = None

    def state(self) -> dict[str, NDArray[Any]]:
        """What it remembers, for `load_state`."""
        kept = {"frame": self._frame, "grey": self._grey, "painted": self._painted}
        return {name: value for name, value in kept.items() if value is not None}

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from where another was."""
        self._frame, self._grey, self._painted = (state.get(name) for name in ("frame", "grey", "painted"))

    def again(self, frame: Bytes) -> Floats | None:
        """The last painting, if this frame is the very one before; None if it has to be painted."""
        same = self._frame is not None and self._frame.shape == frame.shape and np.array_equal(self._frame, frame)
        return self._painted if same else None

    def __call__(self, frame: Bytes, painted: Floats) -> Floats:
        """The painting (h, w, 3) in [0, 1] of a frame (H, W, 3), as steady as it can be."""
        grey = self.finder.look(frame)
        last, before = self._painted, self._grey
        if self.kept and last is not None and before is not None and last.shape == painted.shape:
            flow = self.finder.between(before, grey)
            if not flow.cut:
                painted = self._joined(painted, last, flow, grey, before)
        self._frame, self._grey, self._painted = frame, grey, painted
        return painted

    def _joined(self, painted: Floats, last: Floats, flow: Flow, grey: Bytes, before: Bytes) -> Floats:
        cv2 = load_cv2()
        then = warp(before.astype(np.float32), flow.back, cubic=False)
        apart = cv2.GaussianBlur(np.abs(grey - then), (0, 0), SOFT)
        # A step inwards, and soft: what is trusted to its very edge leaves a seam there.
        trust = cv2.GaussianBlur(cv2.erode(flow.trust, np.ones((3, 3), np.uint8)), (0, 0), SOFT)
        trust *= np.exp(-np.square(apart / OTHER))
        here = self.finder.enlarged(Flow(flow.back, trust, flow.cut), (painted.shape[0], painted.shape[1]))
        joined: Floats = warp(last, here.back)
        joined -= painted
        joined *= (self.kept * here.trust)[:, :, None]
        joined += painted
        return _as_crisp_as(painted, joined)

    def carried(self, frame: Bytes) -> Floats | None:
        """The last painting where it is in this frame, for a painting to begin with; None after a cut."""
        last, before = self._painted, self._grey
        if last is None or before is None:
            return None
        flow = self.finder.between(before, self.finder.look(frame))
        if flow.cut:
            return None
        here: Floats = warp(last, self.finder.enlarged(flow, (last.shape[0], last.shape[1])).back)
        return here


def _as_crisp_as(painted: Floats, joined: Floats) -> Floats:
    """The second picture, changed in place, with detail as strong as the first one's, area by area.

    Strokes that lie differently from frame to frame grow faint in a mean, and fainter with every resampling.
    """
    cv2 = load_cv2()
    height, width = joined.shape[:2]
    soft = cv2.GaussianBlur(painted, (0, 0), DETAIL)
    goal = _strength(cv2.subtract(painted, soft, dst=soft))
    soft = cv2.GaussianBlur(joined, (0, 0), DETAIL)
    joined -= soft
    factor = np.sqrt((goal + FAINT) / (_strength(joined) + FAINT)).clip(*CRISPER)
    joined *= cv2.resize(factor, (width, height), interpolation=cv2.INTER_LINEAR)[:, :, None]
    joined += soft
    crisp: Floats = joined.clip(0, 1, out=joined)
    return crisp


def _strength(detail: Floats) -> Floats:
    """Mean square of detail (H, W, 3) in areas of so many px, and a little of their neighbours'."""
    cv2 = load_cv2()
    areas = (max(1, detail.shape[1] // AREA), max(1, detail.shape[0] // AREA))
    squares = np.einsum("hwc,hwc->hw", detail, detail)
    found: Floats = cv2.GaussianBlur(cv2.resize(squares, areas, interpolation=cv2.INTER_AREA), (0, 0), 1)
    return found
