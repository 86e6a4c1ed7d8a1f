"""Keeping large blocks of memory instead of handing them back to the system after every operation.

glibc maps every tensor above 32 MB anew and the kernel then clears it page by page: at 512 px that is a fifth
of a convolution's time and most of an element-wise operation's. Kept blocks are reused as they are.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from contextlib import suppress

__all__ = ["release_blocks", "reuse_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@functools.cache
def reuse_large_blocks() -> bool:
    """Ask glibc to keep freed blocks of up to 1 GiB for this process; True if it agreed.

    Set IMPASTO_MALLOC=system to leave the allocator alone. Other systems and allocators are left alone too.
    """
    if not sys.platform.startswith("linux") or os.environ.get("IMPASTO_MALLOC") == "system":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 1 << 30))


def release_blocks() -> None:
    """Hand blocks that are kept but not in use back to the system, where glibc allocates."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
