"""What was hidden for some frames and is seen again: where it was, in frames from before it was hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from impasto.video.film import Bytes, load_cv2
from impasto.video.flow import Flow, FlowFinder, warp
from impasto.video.past import Past

__all__ = ["Older", "Recall"]

Floats = NDArray[np.float32]
SETTLES: Final = 0.2  # of what is new to the film, each frame more is taken for what it has
SETTLED: Final = 0.9  # held for so much, it is wholly
LITTLE: Final = 0.004  # of the picture: less is not looked for
DOUBTFUL: Final = 0.2  # trust, and nothing is taken
TRIED: Final = 1  # frames of the past that are looked at for one; after a cut all


@dataclass(frozen=True, eq=False)
class Older:
    """A frame from before the last one, in which something is that the last one did not show.

    Attributes:
        number: of that frame, counted from 0.
        flow: the way back to it; its trust says how much of the painting is to be taken from there.
    """

    number: int
    flow: Flow


class Recall:
    """Looks for what comes back into view in frames of the past (long-term references, Ruder et al. 2016, 4.2).

    They take for each pixel the nearest frame in which it was visible. Here a pixel that was in no frame before is held
    for new for some frames, and is looked for meanwhile; where it is found, the painting from there is taken instead of
    the last one.

    Args:
        finder: of the flow.
        held: as of another one, to go on from there.

    Attributes:
        held: how far each pixel of the last frame is held for what the film has had for long, (h, w) in [0, 1].
    """

    def __init__(self, finder: FlowFinder, held: Floats | None = None) -> None:
        self._finder, self.held = finder, held
        self._past: Past[Bytes] = Past()

    def pass_over(self, grey: Bytes) -> None:
        """A frame that is painted already."""
        self._past.add(self._finder.halved(grey))

    def still(self, grey: Bytes) -> None:
        """A frame that is the one before."""
        self.pass_over(grey)
        if self.held is not None:
            self.held = _settled(self.held)

    def look(self, grey: Bytes, flow: Flow | None) -> tuple[Older, ...]:
        """Where in the past there is what this frame shows and the one before did not.

        Args:
            grey: the frame's brightness, as the finder has it.
            flow: the way back to the frame before.
        """
        now, found = self._finder.halved(grey), []
        size = (now.shape[0], now.shape[1])
        held = self._carried(size, flow)
        for number, then in self._tried(everything=flow is None or flow.cut):
            new = np.where(held > SETTLED, np.float32(0), 1 - held)
            if new.mean() < LITTLE:
                break
            way = self._finder.between(then, now)
            share = np.where(way.trust > DOUBTFUL, way.trust * new, np.float32(0))
            if not way.cut and share.mean() >= LITTLE / 2:
                found.append(Older(number, replace(way, trust=share)))
                held += share
        self._past.add(now)
        self.held = _settled(held)
        return tuple(found)

    def _carried(self, size: tuple[int, int], flow: Flow | None) -> Floats:
        """How far each pixel is held for old as the last frame has it."""
        if flow is None or flow.cut or self.held is None:
            return np.zeros(size, np.float32)
        back, trust = flow.rows(size, 0, size[0])
        carried: Floats = warp(self.held, back, cubic=False) * trust
        return carried

    def _tried(self, *, everything: bool) -> list[tuple[int, Bytes]]:
        """Frames of the past, in turn."""
        rows = list(self._past.older())
        if everything or len(rows) <= TRIED:
            return rows
        first = self._past.count % len(rows)
        return [rows[(first + step * len(rows) // TRIED) % len(rows)] for step in range(TRIED)]


def _settled(held: Floats) -> Floats:
    """What is held for new, a frame later."""
    cv2 = load_cv2()
    held = cv2.addWeighted(held, 1 - SETTLES, held, 0, SETTLES)
    held[held > SETTLED] = 1
    return held
