"""Pictures read no larger than they are needed, and never whole in memory where that can be avoided.

A large picture is decoded from the top, some rows at a time. Each piece is developed as the whole would be and brought
to its new width at once; what is gathered is then brought to its new height. These are the two passes that `resize`
goes through, so the result is the same, but for three things: a JPEG is decoded at an eighth, a quarter or half its
size where that is at least twice what is needed; what is stored sideways has its passes in the other order; and colours
count as far as they are opaque. Pictures of up to `WHOLE` px are read as `read` reads them, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from impasto.errors import OptionError
from impasto.imaging.colour import luminance
from impasto.imaging.guards import MAX_MEGAPIXELS, MIN_SIDE, Limits
from impasto.imaging.picture import Picture
from impasto.imaging.pixels import upright
from impasto.imaging.rows import Rows, open_rows
from impasto.imaging.sizes import Bicubic, bicubic, fit_long_side, resize

__all__ = ["WHOLE", "read_light", "read_reduced", "reading_bytes"]

WHOLE = 16_000_000  # px up to which a picture is read whole where there is room
SMALL = 1_000_000  # px up to which there always is
WHOLE_BYTES = 24  # per pixel, while a picture is read whole
STRIP = 1 << 18  # px that are developed at a time
STRIP_BYTES = 128  # per pixel of these
Floats: TypeAlias = NDArray[np.float32]
DRAFT = 2  # times the size that is needed, at which a JPEG is decoded at least


def read_reduced(
    image: Any,
    *,
    long_side: int | None = None,
    size: tuple[int, int] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_side: int = MIN_SIDE,
    room: int | None = None,
    by: Bicubic = bicubic,
) -> Picture:
    """A picture that is to be looked at at a smaller size, as `as_picture` has it, or already at that size.

    Args:
        image: as of `as_picture`.
        long_side: px; a smaller picture keeps its size.
        size: (height, width), instead of `long_side`.
        max_megapixels, min_side: limits of the picture as it is stored.
        room: bytes that reading may take; None is no limit.
        by: what resizes.

    Raises:
        OptionError: it cannot be read within `room`; nothing is decoded then.
        ImageError, MissingExtraError: as from `as_picture`.
    """
    with open_rows(image, Limits(max_megapixels, min_side)) as rows:
        if _reads_whole(rows, room):
            return rows.whole()
        rows.prepare()
        goal = _goal(rows, long_side, size)
        _check_room(rows, _bytes(rows, goal, 4), room)
        if goal == rows.header.size:
            return rows.whole()
        found, transparent = _reduced(rows, goal, _weighed, 4, by)
    rgb, alpha = found[:, :, :3], found[:, :, 3:]
    if not transparent:
        return Picture(np.ascontiguousarray(rgb), None, rows.bits, rows.name)
    rgb = np.where(alpha > 0, rgb / np.maximum(alpha, np.float32(1e-4)), rgb).clip(0, 1)
    return Picture(rgb, alpha[:, :, 0].copy(), rows.bits, rows.name)


def read_light(
    image: Any,
    size: tuple[int, int],
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    room: int | None = None,
    by: Bicubic = bicubic,
) -> Floats:
    """A picture's luminance, transparent counting as black, brought to (height, width): (h, w) in [0, 1].

    Other arguments and errors are those of `read_reduced`.
    """
    with open_rows(image, Limits(max_megapixels)) as rows:
        if _reads_whole(rows, room):
            picture = rows.whole()
            return resize(_light(picture.rgb, picture.alpha), size, by)[:, :, 0]
        rows.prepare()
        _check_room(rows, _bytes(rows, size, 1), room)
        return _reduced(rows, size, _light, 1, by)[0][:, :, 0]


def reading_bytes(
    image: Any,
    *,
    long_side: int | None = None,
    size: tuple[int, int] | None = None,
    light: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    room: int | None = None,
) -> int:
    """Bytes that `read_reduced`, or `read_light`, takes at most, with these arguments; nothing is decoded."""
    with open_rows(image, Limits(max_megapixels)) as rows:
        if _reads_whole(rows, room):
            return WHOLE_BYTES * _pixels(rows)
        rows.prepare()
        return _bytes(rows, _goal(rows, long_side, size), 1 if light else 4)


def _goal(rows: Rows, long_side: int | None, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is not None:
        return size
    return rows.header.size if long_side is None else fit_long_side(rows.header.size, long_side)


def _pixels(rows: Rows) -> int:
    return rows.header.height * rows.header.width


def _reads_whole(rows: Rows, room: int | None) -> bool:
    pixels = _pixels(rows)
    return pixels <= SMALL or (pixels <= WHOLE and (room is None or WHOLE_BYTES * pixels <= room))


def _stored(rows: Rows, goal: tuple[int, int]) -> tuple[int, int]:
    return (goal[1], goal[0]) if rows.header.turned else goal


def _least(stored: tuple[int, int]) -> tuple[int, int]:
    return DRAFT * stored[0], DRAFT * stored[1]


def _bytes(rows: Rows, goal: tuple[int, int], channels: int) -> int:
    """What reading takes at most."""
    if goal == rows.header.size and channels > 1:
        return WHOLE_BYTES * _pixels(rows)
    height, width = _stored(rows, goal)
    gathered = 4 * channels * (rows.header.height * width + 3 * height * width)
    return rows.held(_least((height, width))) + gathered + STRIP_BYTES * max(STRIP, rows.header.width)


def _check_room(rows: Rows, need: int, room: int | None) -> None:
    if room is not None and need > room:
        raise OptionError(
            f"{rows.label}: to read {rows.header.width}x{rows.header.height} px of {rows.kind} takes "
            f"{need / 1e6:.0f} MB, and max_memory leaves {max(0, room) / 1e6:.0f} MB: raise it by "
            f"{math.ceil((need - room) / 1e6)} MB, or scale the picture down",
            "max_memory",
        )


def _light(rgb: Floats, alpha: Floats | None) -> Floats:
    """(n, W, 1)."""
    light = luminance(rgb) if alpha is None else luminance(rgb) * alpha
    return light.clip(0, 1)[:, :, None]


def _weighed(rgb: Floats, alpha: Floats | None) -> Floats:
    """Colours as far as they are opaque, and how far: (n, W, 4)."""
    if alpha is None:
        return np.concatenate([rgb, np.ones_like(rgb[:, :, :1])], axis=2)
    return np.concatenate([rgb * alpha[:, :, None], alpha[:, :, None]], axis=2)


def _reduced(
    rows: Rows, goal: tuple[int, int], make: Callable[[Floats, Floats | None], Floats], channels: int, by: Bicubic
) -> tuple[Floats, bool]:
    """What `make` makes of the rows, (n, W, C), at another size, upright, and whether there was alpha.

    (h, w, C) in [0, 1].
    """
    height, width = _stored(rows, goal)
    gathered, top, transparent = np.empty((rows.header.height, width, channels), np.float32), 0, False
    for rgb, alpha in rows.pieces(max(1, STRIP // rows.header.width), _least((height, width))):
        part = by(make(rgb, alpha), (len(rgb), width))  # the first of the two passes of `resize`, not clamped
        gathered[top : top + len(part)] = part
        top, transparent = top + len(part), transparent or alpha is not None
    done = by(gathered[:top], (height, width)).clip(0, 1)
    return np.ascontiguousarray(upright(done, rows.header.orientation)), transparent
