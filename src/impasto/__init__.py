"""impasto: neural style transfer, pictures repainted in the manner of other pictures.

Example::

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
    from impasto.stylizer.api import load, resume, stylize
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Job, JobPlan, Output, Progress
    from impasto.stylizer.model import Model
    from impasto.stylizer.request import OutputOptions, StylizeRequest
    from impasto.stylizer.styles import Style, StyleRecord

    __version__: str

__all__ = [
    "DataError",
    "DivergenceError",
    "Engine",
    "ImageError",
    "ImpastoError",
    "Job",
    "JobPlan",
    "LayerError",
    "MissingExtraError",
    "Model",
    "OptionError",
    "Output",
    "OutputError",
    "OutputOptions",
    "Progress",
    "Style",
    "StyleRecord",
    "StylizeRequest",
    "WeightsError",
    "__version__",
    "load",
    "resume",
    "stylize",
]

# Loaded when first asked for: torch takes a second that `impasto --help` does not have.
_LATE = {
    "Engine": "engine",
    "Job": "job",
    "JobPlan": "job",
    "Model": "model",
    "Output": "job",
    "OutputOptions": "request",
    "Progress": "job",
    "Style": "styles",
    "StyleRecord": "styles",
    "StylizeRequest": "request",
    "load": "api",
    "resume": "api",
    "stylize": "api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("impasto")
    if name in _LATE:
        return getattr(import_module(f"impasto.stylizer.{_LATE[name]}"), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_LATE, "__version__"]
