"""Somebody else's network as a file of ours."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from impasto.core.metadata import read_metadata
from impasto.core.state_dict import is_safetensors
from impasto.errors import OptionError, OutputError
from impasto.files import check_folder, sha256
from impasto.networks.checkpoint import load_model, save_model
from impasto.networks.foreign.places import place_of
from impasto.networks.foreign.source import Options
from impasto.networks.shipped import MODELS

__all__ = ["import_network"]


def import_network(
    file: str | PathLike[str],
    output: str | PathLike[str],
    *,
    kind: str | None = None,
    options: Options | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the network in `file` to `output`, a safetensors file; gives its description.

    Its recipe tells the file that it was made from, with its SHA-256; its licence is what that file states, or
    "unknown".

    Raises:
        WeightsError, OptionError: as of `load_model`; or the file is one of ours already.
        OutputError: the output exists, is the input, or cannot be written.
    """
    source, target = place_of(Path(file)), Path(output)
    if str(file) in MODELS and not source.exists():
        raise OptionError(f"{file}: is a model of ours already")
    if target.suffix != ".safetensors":
        raise OptionError(f"`output` {target}: give the name of a file that ends in .safetensors", "output")
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input itself, give another name")
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already: give another name or `force`")
    check_folder(target)
    if source.is_file() and is_safetensors(source) and read_metadata(source):
        raise OptionError(f"{file}: is a model of ours already")
    network, description = load_model(source, kind=kind, options=options)
    recipe = {"imported": source.name, "sha256": sha256(source), **description["came_from"]}
    save_model(
        target,
        network,
        styles=description["styles"],
        recipe=recipe,
        licence=description["licence"],
        came_from=description["came_from"],
    )
    return description
