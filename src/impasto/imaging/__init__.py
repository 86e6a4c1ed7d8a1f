"""Pictures to arrays and back: files, colour, sizes. numpy alone, no torch: `core.tensors` makes tensors of them."""

from __future__ import annotations

from impasto.imaging.colour import luminance
from impasto.imaging.embedded import read_recipe
from impasto.imaging.io import (
    Picture,
    as_picture,
    check_output,
    encode,
    format_warnings,
    read,
    to_pil,
    write,
)
from impasto.imaging.masks import mask_note
from impasto.imaging.sizes import fit_long_side, resize, scale_schedule

__all__ = [
    "Picture",
    "as_picture",
    "check_output",
    "encode",
    "fit_long_side",
    "format_warnings",
    "luminance",
    "mask_note",
    "read",
    "read_recipe",
    "resize",
    "scale_schedule",
    "to_pil",
    "write",
]
