"""A grid of experiments, read from a TOML file and checked before anything runs.

::

    method = "optimize"            # or johnson, multistyle, adain, universal, add-style
    judge = "compact"              # the network that distances are measured with

    [settings]                     # of all cells: photo, style, and any setting of the method
    photo = "photo.jpg"
    style = "painting.jpg"

    [axes]                         # every combination is a cell ...
    style_weight = [10, 100]
    pool = ["max", "average"]

    [[cells]]                      # ... or, instead of axes, cells one by one
    name = "the first"
    style_weight = 10
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from impasto.errors import DataError, ImageError, ImpastoError, nearest
from impasto.files import sha256, shown
from impasto.optimize.presets import DEFAULT_PRESET, OptimizeSettings, preset
from impasto.stylizer.request import parse_layers
from impasto.training.photos import check_places
from impasto.training.recipe import PLACES as TRAINING_PLACES
from impasto.training.recipe import all_anchored, anchored, read_toml
from impasto.training.settings import FAMILIES, TrainSettings, settings_class

__all__ = [
    "OPTIMIZE",
    "Cell",
    "Grid",
    "check_pictures",
    "optimize_settings",
    "read_grid",
    "shown_value",
    "train_settings",
]

OPTIMIZE = "optimize"
METHODS = (OPTIMIZE, *FAMILIES)
HOW = ("backbone_input", "device", "precision", "upscale")  # options of a request
TOP = ("method", "judge", "settings", "axes", "cells")
PLACES = {"photo", *TRAINING_PLACES}  # keys that hold paths
SIZE = 512  # px at which a trained network paints the photo, where `size` is left out


@dataclass(frozen=True)
class Cell:
    """One experiment.

    Attributes:
        number: from 1 up.
        name: what its picture is called.
        varied: the keys in which cells differ, and this one's values.
        values: all keys that are set for it; paths are absolute.
        key: names its folder; the same for the same method, judge, values and pictures.
    """

    number: int
    name: str
    varied: Mapping[str, Any]
    values: Mapping[str, Any]
    key: str


@dataclass(frozen=True)
class Grid:
    """All experiments of a file; `axes` is empty where cells were listed one by one."""

    method: str
    judge: str
    axes: Mapping[str, tuple[Any, ...]]
    cells: tuple[Cell, ...]


def read_grid(path: Path) -> Grid:
    """Read and check a grid.

    Raises:
        DataError: the file cannot be read, has an unknown key, in which case those there are are listed, or a
            cell's settings make no sense.
    """
    table = read_toml(path, "a grid of experiments")
    _refuse_strangers(path, table, TOP, "at the top")
    method = table.get("method", OPTIMIZE)
    if method not in METHODS:
        raise DataError(f"{path}: method {method!r} is unknown{nearest(method, METHODS)}: use {', '.join(METHODS)}")
    known = _known(method)
    base = _table(path, table, "settings", known)
    axes = {name: _axis(path, name, values) for name, values in _table(path, table, "axes", known).items()}
    rows = table.get("cells", [])
    if bool(axes) == bool(rows):
        raise DataError(f"{path}: give either [axes] or [[cells]], so that there is something to compare")
    if axes:
        varied = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        names = [", ".join(f"{key} {shown_value(value)}" for key, value in one.items()) for one in varied]
    else:
        varied, names = _listed(path, rows, known)
    judge = anchored(table.get("judge", "compact"), path.parent)
    cells = tuple(
        _cell(path, number, name, one, base | one, method, judge)
        for number, (name, one) in enumerate(zip(names, varied, strict=True), 1)
    )
    return Grid(method, judge, axes, cells)


def shown_value(value: Any) -> str:
    """A value as a label: short, files without folders."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}:{shown_value(one)}" for key, one in value.items())
    text = str(value)
    return Path(text).name if "/" in text else text


def optimize_settings(values: Mapping[str, Any]) -> OptimizeSettings:
    """The settings of a cell of method ``optimize``; OptionError for those that make no sense."""
    given = {key: value for key, value in values.items() if key not in ("photo", "style", "preset", *HOW)}
    for name in ("content_layers", "style_layers"):
        if name in given:
            given[name] = parse_layers(given[name])
    if isinstance(given.get("betas"), list):
        given["betas"] = tuple(given["betas"])
    return preset(values.get("preset", DEFAULT_PRESET), **given)


def train_settings(method: str, values: Mapping[str, Any]) -> TrainSettings:
    """The settings of a cell that trains; OptionError for those that make no sense."""
    lists = ("photos", "style", "style_layer")
    given = {
        key: [value] if key in lists and isinstance(value, str) else value
        for key, value in values.items()
        if key not in ("photo", "size")
    }
    return settings_class(method).from_values(given)


def check_pictures(method: str, cell: Cell) -> None:
    """See that the pictures of a cell are there. ImageError, or DataError of a training's, where they are not."""
    for picture in (cell.values["photo"], *(_styles(cell.values) if method == OPTIMIZE else ())):
        if not Path(picture).is_file():
            raise ImageError(f"cell {cell.name!r}: {shown(picture)}: no such file; check the name and the folder")
    if method != OPTIMIZE:
        check_places(train_settings(method, cell.values))


def _known(method: str) -> tuple[str, ...]:
    if method == OPTIMIZE:
        return ("photo", "style", "preset", *HOW, *(f.name for f in fields(OptimizeSettings)))
    return ("photo", "size", *(f.name for f in fields(settings_class(method))))


def _refuse_strangers(path: Path, table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    stranger = next((key for key in table if key not in known), None)
    if stranger is not None:
        raise DataError(
            f"{path}: unknown key {stranger!r} {where}{nearest(stranger, known)}; the keys are {', '.join(known)}"
        )


def _table(path: Path, table: Mapping[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise DataError(f"{path}: {name} is no table: write [{name}] and its keys below")
    found = {key.replace("-", "_"): value for key, value in found.items()}
    _refuse_strangers(path, found, known, f"in [{name}]")
    return all_anchored(found, path.parent, PLACES)


def _axis(path: Path, name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise DataError(f"{path}: the axis {name} is {values!r}, need a list of values such as [1, 10]")
    if twice := [one for number, one in enumerate(values) if one in values[:number]]:
        raise DataError(f"{path}: the axis {name} has {twice[0]!r} twice: leave one out")
    return tuple(values)


def _listed(path: Path, rows: Any, known: tuple[str, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """Cells given one by one: what they set, and their names."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: cells is no list of tables: write [[cells]] before each")
    varied, names = [], []
    for number, row in enumerate(rows, 1):
        values = {key.replace("-", "_"): value for key, value in row.items() if key != "name"}
        _refuse_strangers(path, values, known, f"in cell {number}")
        varied.append(all_anchored(values, path.parent, PLACES))
        names.append(str(row.get("name", number)))
        if names[-1] in names[:-1]:
            raise DataError(f"{path}: two cells are called {names[-1]!r}: give each a name of its own")
    return varied, names


def _cell(
    path: Path, number: int, name: str, varied: dict[str, Any], values: dict[str, Any], method: str, judge: str
) -> Cell:
    needed = ("photo", "style") if method == OPTIMIZE else ("photo", "photos", "style")
    for key in needed:
        if not values.get(key):
            raise DataError(f"{path}: cell {name!r} has no {key}: add {key} = ... to [settings]")
    try:
        _ = optimize_settings(values) if method == OPTIMIZE else train_settings(method, values)
    except (ImpastoError, TypeError, ValueError) as error:
        raise DataError(f"{path}: cell {name!r} makes no sense: {error}") from error
    described = {"method": method, "judge": judge, "values": values, "files": _digests(values)}
    key = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return Cell(number, name, varied, values, key)


def _digests(values: Mapping[str, Any]) -> dict[str, str]:
    """Of the pictures among the values, so that a picture that changed is painted again."""
    return {text: sha256(Path(text)) for text in (values["photo"], *_styles(values)) if Path(text).is_file()}


def _styles(values: Mapping[str, Any]) -> list[str]:
    return values["style"] if isinstance(values["style"], list) else [values["style"]]
