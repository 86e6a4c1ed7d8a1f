"""What a photo, a style or a mask may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    from impasto.imaging import Picture
    from impasto.stylizer.styles import Style

__all__ = ["Masks", "PictureSource", "StyleSource", "Styles"]

PictureSource: TypeAlias = "str | PathLike[str] | BinaryIO | Image | NDArray[Any] | Tensor | Picture"
"""A path (``"-"`` is standard input), an open file, a PIL image, an array (H, W, C), a tensor (C, H, W), or a `Picture`."""

StyleSource: TypeAlias = "PictureSource | tuple[PictureSource, float] | Style"
"""The name of a style or a picture, alone, with its weight, or as ``"NAME:0.7"``."""

Styles: TypeAlias = "StyleSource | Sequence[StyleSource] | Mapping[str, float]"
"""One or several styles; a mapping is of names to weights."""

Masks: TypeAlias = "PictureSource | Sequence[PictureSource]"
"""One mask, or one for each style."""
