"""The process's memory: how much it has and may take, amounts as people write them, and blocks kept for reuse.

glibc maps every tensor above 32 MB anew and the kernel then clears it page by page: at 512 px that is a fifth
of a convolution's time and most of an element-wise operation's. Blocks that are kept instead of being handed back to
the system after every operation are reused as they are.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
import sys
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, overload

from impasto.errors import OptionError, in_figures, told

if TYPE_CHECKING:
    import torch

__all__ = [
    "PER_PIXEL",
    "READ",
    "available_memory",
    "ceiling",
    "device_memory",
    "held_memory",
    "parse_memory",
    "release_blocks",
    "reuse_large_blocks",
    "room_within",
    "shown_bytes",
    "shown_seconds",
]

READ = 16  # bytes per pixel of a photo in memory: float32, with transparency
PER_PIXEL = 52  # bytes: the result in float32, then mixed, clamped and rounded on its way to a file

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


@functools.cache
def reuse_large_blocks() -> bool:
    """Ask glibc to keep freed blocks of up to 1 GiB for this process; True if it agreed.

    Threads that begin from then on share what is kept: each would keep blocks of its own, and what one has freed would
    be missing to the others.
    Set IMPASTO_MALLOC=system to leave the allocator alone. Other systems and allocators are left alone too.
    """
    if not sys.platform.startswith("linux") or os.environ.get("IMPASTO_MALLOC") == "system":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    mallopt(_M_ARENA_MAX, 1)
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 1 << 30))


def release_blocks() -> None:
    """Hand blocks that are kept but not in use back to the system, where glibc allocates."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@overload
def parse_memory(amount: str | int, option: str = ...) -> int: ...
@overload
def parse_memory(amount: None, option: str = ...) -> None: ...
@overload
def parse_memory(amount: str | int | None, option: str = ...) -> int | None: ...
def parse_memory(amount: str | int | None, option: str = "max_memory") -> int | None:
    """``2GB``, ``600M``, ``1.5GiB``, or bytes as a number, which is no text -> bytes; None stays None.

    >>> parse_memory("2GB"), parse_memory("1.5 GiB"), parse_memory(1000)
    (2000000000, 1610612736, 1000)

    Raises:
        OptionError: it is none; the sentence calls it by the name of the `option`.
    """
    if amount is None:
        return None
    count = 0
    if isinstance(amount, str):
        if match := re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([kmgt]i?)b?|b)\s*", amount.lower()):
            count = int(float(match[1]) * _UNITS[match[2] or ""])
    elif isinstance(amount, Real) and not isinstance(amount, bool) and math.isfinite(amount):
        count = int(amount)
    if count < 1:
        raise OptionError(
            f"`{option}` is {told(amount)}: write a number with its unit, such as 600MB, 2GB or 1.5GiB", option
        )
    return count


def shown_bytes(count: float) -> str:
    """An amount for people, in one of two units.

    >>> shown_bytes(1.8e9), shown_bytes(640e6)
    ('1.8 GB', '640 MB')
    """
    return f"{in_figures(count / 1e9, 2)} GB" if count >= 1e9 else f"{math.ceil(count / 1e6)} MB"


def ceiling(count: float) -> str:
    """The next amount that `parse_memory` understands and that is not smaller.

    >>> ceiling(1_234_567_890), ceiling(123_456_789)
    ('1.3GB', '130MB')
    """
    return f"{math.ceil(count / 1e8) / 10:g}GB" if count >= 1e9 else f"{math.ceil(count / 1e7) * 10}MB"


def shown_seconds(seconds: float) -> str:
    """A duration for people.

    >>> shown_seconds(40), shown_seconds(720), shown_seconds(5400), shown_seconds(7200)
    ('about 40 s', 'about 12 min', 'about 90 min', 'about 2.0 h')
    """
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


def held_memory() -> int:
    """Bytes that this process has in memory now; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def available_memory() -> int:
    """Bytes that this process may still take, with a margin left to others: four fifths of what is free.

    What counts is the system's, and the limit of the control group if there is a tighter one (Linux). Where
    neither tells, 2 GiB.
    """
    free = [room for room in (_free_in_system(), _free_in_group()) if room is not None]
    return int(0.8 * min(free)) if free else 2 << 30


def _free_in_system() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _free_in_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit = (folder / "memory.max").read_text("ascii").strip()
        used = int((folder / "memory.current").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def room_within(budget: int | None) -> int:
    """Bytes that are left of a budget of the whole process; where there is none, `available_memory`.

    Blocks that are free are handed back first, or they would count as held.
    """
    if budget is None:
        return available_memory()
    release_blocks()
    return budget - held_memory()


def device_memory(device: torch.device) -> int:
    """Bytes that may still be taken on a device: what is free there, and what torch keeps for reuse.

    Where the device does not tell (Apple's, whose memory is the processor's), what the processor has.
    """
    if device.type != "cuda":
        return available_memory()
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(0.9 * (free + kept))
