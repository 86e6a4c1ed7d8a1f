"""Films that were put together of several, as transport streams can be: their times begin again with each part."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from fractions import Fraction
from typing import Any, Final

from impasto.video.film import load_av

__all__ = ["FORMATS", "Parts"]

FORMATS: Final = frozenset({"mpegts", "mpeg"})
"""Of which several files, one after the other, are a film as well."""
BACK, FORTH = Fraction(1, 10), Fraction(10)
"""Seconds that times of one stream go back, or forth, where a part begins: FFmpeg's program takes the same."""


class Parts:
    """Where in a file later parts begin, and what is added to their times so that each begins where the last one ended.

    Attributes:
        end: when the last of several parts ends, in seconds; None where there is but one.
    """

    def __init__(self) -> None:
        self.end: Fraction | None = None
        self._places: list[int] = []  # of the second part and those after it
        self._shifts = [Fraction(0)]  # of each part, in seconds
        self._now: dict[int, int] = {}  # by stream: the part that is being read

    def look(self, container: Any) -> None:
        """Find them in PyAV's container, which is read to its end."""
        read: dict[int, Fraction] = {}  # by stream: when its last packet is decoded
        spans: list[tuple[Fraction, Fraction]] = []  # of each part, in its own times
        with suppress(load_av().FFmpegError):  # what is behind a damaged place is not read later either
            for packet in container.demux():
                if packet.dts is None or packet.stream.type not in ("video", "audio"):
                    continue
                stream, at = packet.stream_index, Fraction(packet.dts * packet.time_base)
                before, part = self._now.get(stream, 0), self._part_of(packet)
                if stream in read and (at < read[stream] - BACK or at > spans[before][1] + FORTH):
                    if packet.pos is None:
                        continue
                    part = max(part, before + 1)
                    self._begins(part, packet.pos)
                self._now[stream], read[stream] = part, at
                begin, end = _span(packet)
                if part == len(spans):
                    spans.append((begin, end))
                spans[part] = min(begin, spans[part][0]), max(end, spans[part][1])
        self._now.clear()
        if self._places:
            self.end = spans[0][1]
            for begin, end in spans[1:]:
                self._shifts.append(self.end - begin)
                self.end += end - begin

    def carry_on(self, packet: Any) -> None:
        """Bring the times of a packet to where they belong."""
        if not self._places or packet.dts is None:
            return
        self._now[packet.stream_index] = part = self._part_of(packet)
        shift = round(self._shifts[part] / packet.time_base)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift

    def _part_of(self, packet: Any) -> int:
        """By its place in the file; one that begins together with another, as sound often does, has none."""
        return self._now.get(packet.stream_index, 0) if packet.pos is None else bisect_right(self._places, packet.pos)

    def _begins(self, part: int, place: int) -> None:
        """A part begins here or before: streams lie in one another, and the first that is seen may not be the first."""
        if part > len(self._places):
            self._places.append(place)
        self._places[part - 1] = min(place, self._places[part - 1])


def _span(packet: Any) -> tuple[Fraction, Fraction]:
    """From when to when a packet is shown or heard, in seconds."""
    begin = packet.dts if packet.pts is None else packet.pts
    return Fraction(begin * packet.time_base), Fraction((begin + (packet.duration or 0)) * packet.time_base)
