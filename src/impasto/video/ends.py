"""How long a film should last by what its header tells, and how far it was read."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

__all__ = ["MICRO", "Ends"]

MICRO: Final = 1_000_000  # a second, of containers
TOLD: Final = frozenset({"mov", "matroska", "avi", "flv"})
"""Formats whose header tells it: of others it is reckoned from the end of the file, or from its size."""
CLEARLY: Final = (0.5, 0.02)  # less: by so many seconds, or by such a share


class Ends:
    """Until when the streams of a container that is being read are there.

    Args:
        container: of PyAV's.
        stream: its picture.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._stream = stream
        self._told, self._by_picture = _told(container, stream)  # now: FFmpeg takes some of it back at the end
        self._read_to: dict[int, Fraction] = {}

    def read(self, packet: Any) -> None:
        """A packet that was read."""
        at = packet.pts if packet.pts is not None else packet.dts
        if packet.size and at is not None:
            end = Fraction(at + (packet.duration or 0)) * packet.time_base
            self._read_to[packet.stream_index] = max(end, self._read_to.get(packet.stream_index, end))

    def missing(self, stop: Fraction | None) -> tuple[Fraction, Fraction] | None:
        """Where the film ends and should end, in seconds, if the first is clearly before the second.

        What lies after `stop` is not missed.
        """
        found = self._read_to.get(self._stream.index)
        if found is not None and not self._by_picture:
            found = max(self._read_to.values())
        if self._told is None or found is None:
            return None
        wanted = self._told if stop is None else min(self._told, stop)
        frame = 1 / (self._stream.average_rate or Fraction(25))  # of the last one, how long it lasts may not be known
        less = max(min(CLEARLY[0], CLEARLY[1] * float(wanted)), 2 * float(frame))
        return (found, self._told) if wanted - found > less else None


def _told(container: Any, stream: Any) -> tuple[Fraction | None, bool]:
    """When a film should end, in seconds; and whether that is told of its picture, or of the longest of its streams."""
    kind = container.format.name.partition(",")[0]
    if kind not in TOLD:
        return None, False
    whole = Fraction(container.duration, MICRO) if container.duration else None
    if kind == "avi" and stream.frames and stream.average_rate:
        return stream.frames / Fraction(stream.average_rate), True
    if kind == "mov" and stream.frames and stream.duration:  # one in fragments tells the number of no frames
        return Fraction(((stream.start_time or 0) + stream.duration) * stream.time_base), True
    said = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if said is None or whole is None:
        return whole, False
    return min(whole, int(said[1]) * 3600 + int(said[2]) * 60 + Fraction(said[3])), True
