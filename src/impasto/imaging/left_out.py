"""What of a file with several pictures is not painted."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from impasto.errors import ImpastoError
from impasto.files import shown
from impasto.imaging.formats import is_tiff
from impasto.imaging.guards import decoding
from impasto.imaging.opening import open_source
from impasto.imaging.reading import is_animation

__all__ = ["left_out_note"]


def left_out_note(path: str | os.PathLike[str]) -> str | None:
    """A sentence if the file has more pictures than the one that is read: pages of a TIFF, frames of an animation.

    None where there is one, or where the file cannot be read, which whoever reads it will tell.
    """
    label = shown(Path(path).name)
    with suppress(ImpastoError):
        file, _ = open_source(path)
        with file, decoding(label):
            head = file.read(16)
            file.seek(0)
            if is_tiff(head):
                from impasto.imaging.tiff import count_pictures

                count = count_pictures(file)
                return f"{label}: holds {count} full pictures, and one of them is painted" if count > 1 else None
        if is_animation(path):
            return f"{label}: is animated, and its first frame is painted: `impasto video` paints them all"
    return None
