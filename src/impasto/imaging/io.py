"""Pictures in and out: the one place to import from.

Reading is in ``reading``, writing in ``writing``, and the two depths that Pillow cannot do in ``png16`` and
``tiff``.
"""

from __future__ import annotations

from impasto.imaging.picture import Picture, to_pil
from impasto.imaging.reading import as_picture, read
from impasto.imaging.writing import check_output, encode, format_warnings, write

__all__ = ["Picture", "as_picture", "check_output", "encode", "format_warnings", "read", "to_pil", "write"]
