"""What is done with a painting whatever painted it: how strong, in which colours, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.core.colour import transfer_luminance
from impasto.core.memory import room_within
from impasto.core.resizing import bicubic_rows
from impasto.core.tensors import to_tensor
from impasto.errors import OptionError
from impasto.imaging.guards import MAX_MEGAPIXELS
from impasto.imaging.reduced import read_light

__all__ = ["cover", "read_masks"]


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
    room = room_within(budget)
    lights = (read_light(mask, size, max_megapixels=max_megapixels, room=room, by=bicubic_rows) for mask in masks)
    return [to_tensor(light) for light in lights]


def cover(photo: Tensor, painted: Tensor, masks: Sequence[Tensor] = (), *, keep_colors: bool = False) -> Tensor:
    """The painting laid over the photo, both (1, 3, H, W): its colours, then where.

    Where all masks (1, 1, H, W) are 0 the result is the photo, bit for bit.
    """
    if keep_colors:
        painted = transfer_luminance(painted, photo)
    if not masks:
        return painted
    where = torch.stack([mask.to(photo) for mask in masks]).sum(0).clamp(0, 1)
    return torch.lerp(photo, painted, where)
