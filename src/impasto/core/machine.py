"""What machine this is."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

__all__ = ["processor"]


@functools.cache
def processor() -> str:
    """The processor's name, as its maker calls it; its kind where that is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
