"""A file, a stream or standard input, opened to be read as a picture."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from impasto.errors import ImageError
from impasto.files import shown
from impasto.imaging.formats import is_film

__all__ = ["FilmInsteadError", "first_bytes", "is_stream", "open_source"]


class FilmInsteadError(ImageError):
    """A film is where a picture should be."""


def open_source(source: str | os.PathLike[str] | BinaryIO) -> tuple[BinaryIO, str]:
    """A seekable binary file, ours to close, and its short name; ImageError where there is none."""
    if not isinstance(source, str | os.PathLike):
        given = getattr(source, "name", None)
        name = (Path(given).name if isinstance(given, str) else "") or "stream"
        return io.BytesIO(_all_of(source, name)), name
    if os.fspath(source) == "-":
        if sys.stdin is None:
            raise ImageError("-: standard input is closed, need a picture; pipe one in or name a file")
        if sys.stdin.isatty():
            raise ImageError("-: standard input is a terminal, need a picture; pipe one in or name a file")
        return io.BytesIO(sys.stdin.buffer.read()), "stdin"
    if not os.fspath(source):
        raise ImageError("the name of a picture is empty: give a file")
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


def _all_of(stream: BinaryIO, name: str) -> bytes:
    try:
        data = stream.read()
    except (OSError, TypeError, ValueError) as error:  # ValueError: closed, or text in another encoding
        raise ImageError(f"{name}: cannot be read ({error}): give a file opened with 'rb'") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageError(f"{name}: opened as text, need bytes: open it with 'rb'")
    return bytes(data)


def is_stream(source: str | os.PathLike[str]) -> bool:
    """Whether a path stands for what can be read but once: standard input, a pipe that has a name, a terminal."""
    if os.fspath(source) == "-":
        return True
    try:
        mode = os.stat(source).st_mode  # noqa: PTH116  Path raises where a name is too long
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


def first_bytes(file: BinaryIO, label: str) -> bytes:
    """Enough to tell what kind of file it is, which is then at its beginning again; ImageError if empty, or a film."""
    head = file.read(256)
    file.seek(0)
    if not head and label == "-":
        raise ImageError("-: standard input is empty, need a picture; pipe one in or name a file")
    if not head:
        raise ImageError(f"{label}: empty (0 bytes), need a picture; copy or download it again")
    if is_film(head):
        raise FilmInsteadError(f"{label}: is a film, need a picture: `impasto video` paints films")
    return head
