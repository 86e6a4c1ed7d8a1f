"""Recipes: the settings of a training as a TOML file, written into every run and read back from it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from impasto.core.backbones import BACKBONES
from impasto.core.strangers import stranger
from impasto.errors import DataError, OptionError, load_library
from impasto.files import at_home
from impasto.networks.shipped import MODELS, find_model
from impasto.training.settings import EXCLUSIVE, TrainSettings, settings_class

__all__ = [
    "PLACES",
    "all_anchored",
    "anchored",
    "changes",
    "fill",
    "from_table",
    "inherited",
    "read_recipe",
    "read_toml",
    "to_table",
    "to_toml",
]

PLACES = (
    "photos",
    "style",
    "backbone",
    "encoder",
    "second_backbone",
    "other_backbone",
    "model",
    "begin_with",
    "teacher",
    "begin_style",
)  # fields that hold paths


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file, which is `what`, such as ``a recipe``; DataError where there is none to read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, need {what} in TOML") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read as {what}: {error.strerror or error}") from error
    except ValueError as error:
        odd = stranger(path)
        told = f"{odd}, need {what} in TOML" if odd else ""
        no_text = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(f"{path}: {told or f'cannot be read as {what}: {no_text}'}") from error


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The table in a TOML file, keys with underscores, relative paths meant from the file's own folder.

    Keys are those of the command line's flags, ``batch-size`` or ``batch_size`` alike, and ``train``, which
    names the family (``train = "multistyle"``). What they hold is checked by `fill`.

    Raises:
        DataError: the file cannot be read or is no TOML.
    """
    path = Path(path)
    values = {key.replace("-", "_"): value for key, value in read_toml(path, "a recipe").items()}
    return all_anchored(values, path.parent)


def fill(family: str, flags: Mapping[str, Any], recipe: Mapping[str, Any], source: object = "") -> TrainSettings:
    """Settings from flags (None where not given), then from the recipe, then from the defaults.

    Raises:
        OptionError: wrong flags.
        DataError: the recipe, `source` by name, has an unknown key, a wrong value, or is of another family.
    """
    kind = settings_class(family)
    given = {key: value for key, value in flags.items() if value is not None and value != []}
    told = {key: value for key, value in recipe.items() if key != "train"}
    if recipe.get("train", family) != family:
        raise DataError(f"{source}: is a recipe for {recipe['train']!r}, not for {family!r}")
    try:
        kind.from_values(told)
    except OptionError as error:
        raise DataError(f"{source}: {error}") from error
    for ours, theirs in EXCLUSIVE:
        for one, other in ((ours, theirs), (theirs, ours)):
            if one & given.keys():
                told = {key: value for key, value in told.items() if key not in other}
    return kind.from_values(told | given)


def to_table(settings: TrainSettings) -> dict[str, Any]:
    """The settings as a table for TOML, with absolute paths, so that it means the same everywhere."""
    return {"train": settings.FAMILY, **all_anchored(settings.values(), Path.cwd())}


def from_table(table: Mapping[str, Any], source: object) -> TrainSettings:
    """The settings of a table that `to_table` made.

    Raises:
        DataError: it is no such table; `source` says whose it is.
    """
    try:
        family = str(table["train"])
        return fill(family, {}, settings_class(family).as_begun(table), source)
    except KeyError as error:
        raise DataError(f"{source}: does not say what it trains: add train = ...") from error
    except OptionError as error:
        raise DataError(f"{source}: {error}") from error


def to_toml(settings: TrainSettings) -> str:
    """The text of a recipe file."""
    table = {k: list(v) if isinstance(v, tuple) else v for k, v in to_table(settings).items()}
    head = "# What this run was started with. It is read again by `impasto train --resume`, which refuses changes."
    return f"{head}\n\n{load_library('tomli_w', 'train', 'a recipe').dumps(table)}"


def changes(before: TrainSettings, now: TrainSettings) -> list[str]:
    """What differs between two settings, in words, except where it has no bearing on the result.

    Places are left out: what they hold is compared by content.
    """
    if before.FAMILY != now.FAMILY:
        return [f"it trains {now.FAMILY}, trained {before.FAMILY}"]
    a, b = before.values(), now.values()
    names = [name for name in {**a, **b} if name not in now.ONLY_HOW and name not in PLACES]
    return [
        f"`{name}` is {_shown(b.get(name))}, was {_shown(a.get(name))}" for name in names if a.get(name) != b.get(name)
    ]


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return "not given" if value is None else str(value)


def anchored(place: Any, folder: Path) -> Any:
    """A value of one of `PLACES`, or a list of them, as absolute paths.

    Names of backbones and of shipped networks stay names, and so do links and patterns.
    """
    if isinstance(place, list | tuple):
        return [anchored(one, folder) for one in place]
    if not isinstance(place, str) or not place or place in BACKBONES or place in MODELS:
        return place
    return os.path.abspath(folder / at_home(place))  # noqa: PTH100  keeps links and patterns as they are


def all_anchored(values: Mapping[str, Any], folder: Path, places: Container[str] = PLACES) -> dict[str, Any]:
    """The same with the values of these keys `anchored`."""
    return {key: anchored(value, folder) if key in places else value for key, value in values.items()}


INHERITED = (
    "backbone", "backbone_input", "pool", "content_layer", "style_layer", "style_size", "image_size",
    "style_balance", "style_weight", "content_weight", "tv_weight",
)  # fmt: skip


def inherited(model: str | os.PathLike[str]) -> dict[str, Any]:
    """How a trained network's styles were learned, for one more style to be learned the same way.

    A backbone that was a file is left out unless it is there under its name: the network does not say where it was.

    Raises:
        WeightsError: the file cannot be read.
    """
    from impasto.core.metadata import read_metadata  # with it comes torch
    from impasto.core.state_dict import is_safetensors

    path = find_model(model)
    if not is_safetensors(path):  # told when it is loaded
        return {}
    recipe = read_metadata(path).get("recipe", {})
    found = {key: recipe[key] for key in INHERITED if key in recipe}
    if found.get("backbone") not in BACKBONES:
        found.pop("backbone", None)
        found.pop("backbone_input", None)
    return found
