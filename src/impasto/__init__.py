"""impasto: neural style transfer, pictures repainted in the manner of other pictures.

import impasto
impasto.stylize("photo.jpg", "painting.jpg").save("painted.jpg")
impasto.load("gallery").stylize("photo.jpg", "great-wave").save("painted.jpg")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from impasto.errors import (
    DataError,
    DivergenceError,
    ImageError,
    ImpastoError,
    LayerError,
    MissingExtraError,
    OptionError,
    OutputError,
    WeightsError,
)

if TYPE_CHECKING:
    from impasto.stylizer import Model, Style, StyleRecord, load, stylize

__all__ = [
    "DataError",
    "DivergenceError",
    "ImageError",
    "ImpastoError",
    "LayerError",
    "MissingExtraError",
    "Model",
    "OptionError",
    "OutputError",
    "Style",
    "StyleRecord",
    "WeightsError",
    "load",
    "stylize",
]

# Loaded when first asked for: torch takes a second that `impasto --help` does not have.
_LATE = dict.fromkeys(("Model", "Style", "StyleRecord", "load", "stylize"), "impasto.stylizer")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LATE]
