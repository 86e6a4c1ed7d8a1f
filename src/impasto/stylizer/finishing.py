"""Masks, which say where a painting is laid over its photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.core.memory import room_within
from impasto.errors import ImageError, OptionError, counted
from impasto.imaging import mask_note
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.reduced import read_light, read_reduced
from impasto.imaging.sizes import Bicubic, bicubic

__all__ = ["mask_notes", "read_masks"]

LOOKED_AT = 1024  # px of a large mask's long side, when it is looked at for what is odd about it


def mask_notes(
    masks: Sequence[Any], *, max_megapixels: float = MAX_MEGAPIXELS, budget: int | None = None
) -> Iterator[str]:
    """A sentence for each mask that paints next to nothing, or everything; see `imaging.mask_note`.

    Other arguments are those of `read_masks`, which tells what is wrong with a mask that cannot be read.
    """
    for mask in masks:
        with suppress(ImageError, OptionError):
            picture = read_reduced(
                mask, long_side=LOOKED_AT, max_megapixels=max_megapixels, min_side=1, room=room_within(budget)
            )
            if note := mask_note(picture):
                yield note


def read_masks(
    masks: Sequence[Any],
    size: tuple[int, int],
    *,
    styles: int = 1,
    max_megapixels: float = MAX_MEGAPIXELS,
    budget: int | None = None,
    by: Bicubic = bicubic,
) -> list[NDArray[np.float32]]:
    """Masks as (h, w) in [0, 1] of the painting's size: their luminance, transparent counting as black.

    `budget` is how many bytes the process may need at most; `by` resizes them.

    Raises:
        OptionError: neither one mask nor one for each of the `styles`, or one that cannot be read within the budget.
        ImageError: a mask that cannot be read.
    """
    if len(masks) not in (0, 1, styles):
        raise OptionError(
            f"{counted(styles, 'style')} with {counted(len(masks), 'mask')}: give one `mask`, or one to each style"
        )
    if not masks:
        return []
    room = room_within(budget)
    return [read_light(mask, size, max_megapixels=max_megapixels, room=room, by=by) for mask in masks]
