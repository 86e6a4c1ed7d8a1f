"""The last step of every painting: it is laid over the photo, in whose colours and where masks say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from impasto.core.memory import room_within
from impasto.errors import ImageError, OptionError
from impasto.imaging import mask_note, transfer_luminance
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.reduced import read_light, read_reduced

__all__ = ["cover", "mask_notes", "read_masks"]

LOOKED_AT = 1024  # px of a large mask's long side, when it is looked at for what is odd about it


def mask_notes(
    masks: Sequence[Any], *, max_megapixels: float = MAX_MEGAPIXELS, budget: int | None = None
) -> Iterator[str]:
    """A sentence for each mask that paints next to nothing, or everything; see `imaging.mask_note`.

    Other arguments are those of `read_masks`, which tells what is wrong with a mask that cannot be read.
    """
    for mask in masks:
        if isinstance(mask, str) and mask == "-":  # can be read but once
            continue
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
) -> list[Tensor]:
    """Masks as (1, 1, h, w) in [0, 1] of the painting's size: their luminance, transparent counting as black.

    `budget` is how many bytes the process may need at most.

    Raises:
        OptionError: neither one mask nor one for each of the `styles`, or one that cannot be read within the budget.
        ImageError: a mask that cannot be read.
    """
    if len(masks) not in (0, 1, styles):
        raise OptionError(f"{styles} styles with {len(masks)} masks: give one `mask`, or one to each style")
    return [read_light(mask, size, max_megapixels=max_megapixels, room=room_within(budget)) for mask in masks]


def cover(photo: Tensor, painted: Tensor, masks: Sequence[Tensor] = (), *, keep_colors: bool = False) -> Tensor:
    """The painting laid over the photo, both (1, 3, H, W), where masks say; in the photo's colours if they are kept.

    Where all masks (1, 1, H, W) are 0 the result is the photo, bit for bit.
    """
    if keep_colors:
        painted = transfer_luminance(painted, photo)
    if not masks:
        return painted
    where = torch.stack([mask.to(photo) for mask in masks]).sum(0).clamp(0, 1)
    return torch.lerp(photo, painted, where)
