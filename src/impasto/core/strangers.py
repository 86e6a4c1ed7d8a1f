"""Files that hold no network, told by how they begin; loads no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["stranger"]

HEAD: Final = 64  # bytes that tell
_KINDS: Final = (
    (rb"\xff\xd8\xff", "a JPEG picture"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (rb"GIF8[79]a", "a GIF picture"),
    (rb"RIFF....WEBP", "a WebP picture"),
    (rb"II[*+]\0|MM\0[*+]", "a TIFF picture"),
    (rb"BM....\0\0\0\0", "a BMP picture"),
    (rb"....ftypavi[fs]", "an AVIF picture"),
    (rb"....ftyp(?:hei[cx]|hevc|mif1|msf1)", "a HEIC picture"),
    (rb"....ftyp", "a film"),
    (rb"%PDF-", "a PDF"),
    (rb"\s*<(?i:!doctype html|html)", "a web page"),
    (rb"version https://git-lfs", "a pointer of Git LFS, which stands for the file"),
)


def stranger(path: Path) -> str:
    """What a file plainly is instead of a network, such as ``is empty`` or ``is a JPEG picture``; else nothing.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "is empty"
    return next((f"is {name}" for begins, name in _KINDS if re.match(begins, head, re.DOTALL)), "")
