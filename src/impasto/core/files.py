"""Files this package writes whole or not at all, and the hashes by which it knows them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from impasto.errors import OutputError

__all__ = ["atomic", "sha256"]


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside ``path`` for writing; it takes the place of ``path`` once all went well.

    On any error, and when the caller gives up, the new file is removed and ``path`` stays as it was.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened by name, not with mkstemp, so that the file gets the permissions the user's umask gives.
        with temporary.open("xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # as a rule it is not there any more
            temporary.unlink()


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 lower-case hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
