"""The trained networks that come with the package, by name."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from impasto.core.metadata import SHIPPED, read_manifest
from impasto.errors import WeightsError, nearest
from impasto.files import at_home
from impasto.networks.foreign.places import no_file, place_of

__all__ = ["MODELS", "find_model", "place_of_picture", "shipped_models"]

MODELS: Mapping[str, str] = MappingProxyType(
    {"gallery": "gallery.safetensors", "universal": "universal.safetensors"},
)
"""Name -> file in the package's folder of weights."""


def shipped_models() -> tuple[str, ...]:
    """The names of those whose files are here."""
    return tuple(name for name, file in MODELS.items() if (SHIPPED / file).is_file())


def place_of_picture(name: str, kind: Literal["swatch", "thumbnail"]) -> Path:
    """Where the package has the JPEG of a style of the gallery, whether it is there or not.

    A swatch is 256 px of its texture, synthesised; a thumbnail an example photo painted in it.
    """
    return SHIPPED / "gallery" / f"{name}-{kind}.jpg"


def find_model(model: str | PathLike[str]) -> Path:
    """The file of a shipped network, by its name, or of any other, by its path; of a folder what is to be read in it.

    Raises:
        WeightsError: neither a name nor a file, or the package's own file is missing.
    """
    if isinstance(model, str) and model in MODELS:
        path = SHIPPED / MODELS[model]
        if path.is_file():
            return path
        if MODELS[model] in read_manifest(SHIPPED):
            raise WeightsError(f"{model} belongs to the package, but {path} is missing: install impasto again")
        raise WeightsError(f"{model} is not part of this version yet: give a file that `impasto train` wrote")
    path = place_of(at_home(model))
    if path.is_dir():
        raise WeightsError(no_file(path))
    if not path.is_file():
        names = ", ".join(shipped_models()) or "none"
        raise WeightsError(
            f"no trained network and no file is called {str(path)!r}{nearest(model, MODELS)}: "
            f"those that ship are: {names}"
        )
    return path
