"""A trained network written as ONNX files that describe themselves."""

from __future__ import annotations

import json
import os.path
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

from impasto.core.host import in_our_settings
from impasto.errors import OutputError
from impasto.export.graph import Graph
from impasto.export.networks import Part, parts_of
from impasto.files import at_home, atomic_path, check_folder, sha256, shown
from impasto.light.graphs import ENTRY, FORMAT, look_path
from impasto.networks.checkpoint import load_model
from impasto.networks.registry import kind_of
from impasto.networks.shipped import find_model
from impasto.types import Stored

__all__ = ["ENTRY", "FORMAT", "Role", "export_onnx", "look_path"]

TOLD: Final = ("method", "network", "styles", "value_range", "licence", "recipe")  # of the network's own description

Role = Literal["paint", "look"]
"""What a file is for: painting, or looking at style pictures."""


@in_our_settings
def export_onnx(
    model: str | PathLike[str],
    output: str | PathLike[str],
    *,
    stored: Stored = "float32",
    winograd: bool = False,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write a trained network as ONNX; gives the files, the one that paints first.

    Any size of picture can be painted, styles and strength are inputs, see `export.networks`. A network of any style
    becomes two files: the second, which `look_path` names, tells the first what there is to know of a style picture.
    The same network always gives the same bytes, by the same version of onnx.

    Args:
        model: a shipped network by name, or a file that `load_model` reads.
        output: the file, which ends in .onnx.
        stored: in which numbers the weights are kept; computed is in float32.
        winograd: make 3x3 convolutions with half the multiplications, see `export.winograd`: for WebAssembly.
        force: replace files that exist.

    Raises:
        WeightsError: no such network.
        OutputError: a file exists, or cannot be written; or the network is too large for one.
        MissingExtraError: onnx is not installed.
    """
    path = _checked(at_home(output), force)
    source = find_model(model)
    network, description = load_model(source)
    if kind_of(network).styled_by == "pictures":
        _checked(look_path(path), force)
    facts: dict[str, Any] = {name: description[name] for name in TOLD if name in description}
    facts |= {"kind": "onnx", "format": FORMAT, "stored": stored, "made_from": sha256(source)}
    parts = parts_of(network, partial(Graph, stored, winograd=winograd))
    contents = {path: _content(parts.paint, facts, "paint")}
    if parts.look is not None:
        contents[look_path(path)] = _content(parts.look, facts, "look")
    for place, content in contents.items():
        with atomic_path(place) as temporary:
            temporary.write_bytes(content)
    return tuple(contents)


def _checked(path: Path, force: bool) -> Path:
    """The path itself; OutputError where no graph can go there."""
    if path.suffix.casefold() != ".onnx":
        raise OutputError(f"{shown(path)}: a graph is written as .onnx: give a file name that ends so")
    if os.path.exists(path) and not force:  # noqa: PTH110  Path raises where a name is too long
        raise OutputError(f"{shown(path)} exists: choose another name, or replace it with `force`")
    check_folder(path)
    return path


def _content(part: Part, facts: Mapping[str, Any], role: Role) -> bytes:
    """What stands in the file of a graph."""
    facts = {**facts, "role": role, "bytes_per_pixel": part.bytes_per_pixel}
    text = f"Neural style transfer by impasto, method {facts['method']}; licence {facts.get('licence', 'unknown')}."
    if "mix" in part.inputs:
        titles = ", ".join(str(row.get("title") or row["name"]) for row in facts["styles"])
        text = f"{text} Styles, in the order of mix: {titles}."
    entry = {ENTRY: json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)}
    model = part.graph.model(f"{facts['method']}_{role}", part.inputs, part.outputs, entry, text)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
