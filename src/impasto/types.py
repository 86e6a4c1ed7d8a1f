"""What a photo, a style or a mask may be, and the names that options choose from. Loads nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    from impasto.imaging import Picture
    from impasto.stylizer.styles import Style

__all__ = [
    "MAX_MEGAPIXELS",
    "BackboneInput",
    "Divisor",
    "Init",
    "Masks",
    "Parameterisation",
    "PictureSource",
    "Pool",
    "PrecisionName",
    "Reduction",
    "Statistics",
    "Stored",
    "StyleSource",
    "Styles",
    "TotalVariation",
]

PictureSource: TypeAlias = "str | PathLike[str] | BinaryIO | Image | NDArray[Any] | Tensor | Picture"
"""A path (``"-"`` is standard input), an open file, PIL image, array (H, W, C), tensor (C, H, W), or `Picture`."""

StyleSource: TypeAlias = "PictureSource | tuple[PictureSource, float] | Style"
"""The name of a style or a picture, alone, with its weight, or as ``"NAME:0.7"``."""

Styles: TypeAlias = "StyleSource | Sequence[StyleSource] | Mapping[str, float]"
"""One or several styles; a mapping is of names to weights."""

Masks: TypeAlias = "PictureSource | Sequence[PictureSource]"
"""One mask, or one for each style."""

PrecisionName = Literal["auto", "float32", "bfloat16"]
"""In which numbers features are computed; ``auto`` is bfloat16 where that is native."""

BackboneInput = Literal["torchvision", "caffe", "none"]
"""How a backbone wants its input normalised."""

Statistics = Literal["exact", "sampled"]
"""Whether a network's statistics are those of the whole picture."""

Stored = Literal["float32", "float16"]
"""How the weights of an ONNX file are stored."""

Pool = Literal["max", "average", "l2"]
"""How a backbone shrinks what it sees."""

Divisor = Literal["none", "positions", "all"]
"""What a Gram matrix is divided by."""

Reduction = Literal["sum", "mean", "relative"]
"""How differences of features become a loss."""

TotalVariation = Literal["l1", "l2", "nine-point"]
"""How roughness is measured."""

Parameterisation = Literal["pixels", "pyramid", "fourier"]
"""What an optimiser moves."""

Init = Literal["content", "noise", "faint-noise", "coursera", "draft"]
"""What an optimisation begins with."""

MAX_MEGAPIXELS: Final = 200.0
"""Larger pictures are not read unless that is asked for."""
