"""Pictures to tensors and back: files, colour, sizes."""

from __future__ import annotations

from impasto.imaging.colour import luminance, match_colours, match_luminance, tame_colours, transfer_luminance
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
    "match_colours",
    "match_luminance",
    "read",
    "read_recipe",
    "resize",
    "scale_schedule",
    "tame_colours",
    "to_pil",
    "transfer_luminance",
    "write",
]
