"""A file, a stream or standard input, opened to be read as a picture."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import BinaryIO

from impasto.errors import ImageError
from impasto.files import shown

__all__ = ["first_bytes", "open_source"]


def open_source(source: str | os.PathLike[str] | BinaryIO) -> tuple[BinaryIO, str]:
    """A seekable binary file, ours to close, and its short name; ImageError where there is none."""
    if not isinstance(source, str | os.PathLike):
        given = getattr(source, "name", None)
        name = Path(given).name if isinstance(given, str) else ""
        return io.BytesIO(source.read()), name or "stream"
    if os.fspath(source) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise ImageError("-: standard input is a terminal, need a picture; pipe one in or name a file")
        return io.BytesIO(sys.stdin.buffer.read()), "stdin"
    path = Path(source)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"{shown(path)}: no such file; check the name and the folder") from None
    except IsADirectoryError:
        raise ImageError(f"{shown(path)}: a folder, need a picture file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{shown(path)}: cannot be opened ({reason}); check its rights and its name") from error
    if not file.seekable():  # a pipe that has a name
        with file:
            return io.BytesIO(file.read()), path.name
    return file, path.name


def first_bytes(file: BinaryIO, label: str) -> bytes:
    """Enough to tell what kind of file it is, which is then at its beginning again; ImageError for an empty one."""
    head = file.read(256)
    file.seek(0)
    if not head:
        raise ImageError(f"{label}: empty (0 bytes), need a picture; copy or download it again")
    return head
