"""The boxes of HEIC and AVIF files (ISO/IEC 14496-12 and 23008-12), as far as colours are described in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["bits_per_channel", "primary_nclx"]


def primary_nclx(data: bytes) -> tuple[int, int, int] | None:
    """Primaries, transfer and matrix (ITU-T H.273) of a file's primary picture, if it names them.

    Pillow does not tell them. Of an unreadable file None, too: whoever decodes it says what is wrong.
    """
    for kind, body in _properties(data):
        if kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer, matrix = struct.unpack_from(">3H", body, 4)
            return primaries, transfer, matrix
    return None


def bits_per_channel(data: bytes) -> int:
    """Of a file's primary picture; 8 where it does not tell."""
    for kind, body in _properties(data):
        if kind == b"pixi" and len(body) >= 6:
            return body[5]
        if kind == b"av1C" and len(body) >= 3:
            return (12 if body[2] & 0x20 else 10) if body[2] & 0x40 else 8
    return 8


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each box in turn."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1 and begin + 8 <= len(data):
            length, begin = struct.unpack_from(">Q", data, begin)[0], begin + 8
        end = len(data) if length == 0 else at + length
        if end < begin:
            return
        yield kind, data[begin:end]
        at = end


def _properties(data: bytes) -> list[tuple[bytes, bytes]]:
    """The boxes that describe the primary picture."""
    try:
        meta = dict(_boxes(dict(_boxes(data))[b"meta"][4:]))
        pitm, iprp = meta[b"pitm"], dict(_boxes(meta[b"iprp"]))
        primary = int.from_bytes(pitm[4:8] if pitm[0] else pitm[4:6], "big")
        found, places = list(_boxes(iprp[b"ipco"])), _associated(iprp[b"ipma"], primary)
        return [found[place - 1] for place in places if 0 < place <= len(found)]
    except (KeyError, IndexError, struct.error):
        return []


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties."""
    wide, long = ipma[0] > 0, ipma[3] & 1
    at, size = 8, 4 if wide else 2
    for _ in range(struct.unpack_from(">I", ipma, 4)[0]):
        found, count = int.from_bytes(ipma[at : at + size], "big"), ipma[at + size]
        at += size + 1
        step = 2 if long else 1
        if found == item:
            places = [ipma[place : place + step] for place in range(at, at + count * step, step)]
            return [int.from_bytes(place, "big") & (0x7FFF if long else 0x7F) for place in places]
        at += count * step
    return []
