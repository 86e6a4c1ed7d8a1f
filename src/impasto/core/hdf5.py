"""HDF5, in which Keras and MATLAB keep networks, read by pyfive.

It is Python: a damaged file ends in an exception there, and not in a library of C.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["open_hdf5"]


@contextmanager
def open_hdf5(library: Any, path: str) -> Iterator[Any]:
    """A file, without the warnings about attributes whose type pyfive does not know: they are told as missing."""
    with warnings.catch_warnings(action="ignore"), library.File(path) as file:
        yield file
