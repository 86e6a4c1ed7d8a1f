"""Networks of lengstrom/fast-style-transfer: as raw float32 with manifest.json (deeplearn.js, ml5), or a checkpoint.

48 variables without names of their own, in the order in which they were made: per convolution a kernel (rows, columns,
in, out; of a transposed one out, in), a shift and a scale. Zeros around maps as TensorFlow pads (SAME), instance
normalisation with an epsilon of 1e-3 on every layer, the last one too; RGB from 0 to 255 without means goes in, and
tanh x 150 + 127.5 comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.places import MANIFEST
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.foreign.tf_checkpoint import is_checkpoint, read_checkpoint, shapes_of

__all__ = ["from_variables", "matches", "matches_checkpoint", "read", "read_of_checkpoint"]

EPS: Final = 1e-3
LARGEST_MANIFEST: Final = 1_000_000  # bytes
LARGEST_VARIABLE: Final = 100_000_000  # bytes


def matches(source: Source) -> bool:
    """Whether it is a manifest of variables with their shapes."""
    if source.path.suffix != ".json" or source.head[:1] != b"{":
        return False
    try:
        rows = _rows(source.path)
    except WeightsError:
        return source.path.name == MANIFEST  # `read` says what is wrong
    return "Variable" in rows


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    rows = _rows(source.path)
    return from_variables({name: _variable(source.path.parent, name, row) for name, row in rows.items()})


def matches_checkpoint(source: Source) -> bool:
    """Whether it is a checkpoint of such variables."""
    return is_checkpoint(source.path) and "Variable" in shapes_of(source.path)


def read_of_checkpoint(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    return from_variables(
        read_checkpoint(source.path, lambda name: name.split("_")[0] == "Variable" and "/" not in name)
    )


def _rows(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > LARGEST_MANIFEST:
        raise WeightsError(f"the manifest has {path.stat().st_size:,} bytes, need at most {LARGEST_MANIFEST:,}")
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the manifest is no JSON: {error}") from error
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise WeightsError("the manifest is no object of variables")
    return rows


def _variable(folder: Path, name: str, row: Mapping[str, Any]) -> Tensor:
    shape, file = row.get("shape"), row.get("filename", name)
    whole = isinstance(shape, list) and all(isinstance(side, int) and 0 < side < 10_000 for side in shape)
    if not isinstance(shape, list) or not whole or len(shape) > 4 or not isinstance(file, str):
        raise WeightsError(f"the manifest has {name} with shape {shape!r} in {file!r}")
    place = folder / file
    if place.parent != folder or not place.is_file():
        raise WeightsError(f"{file}, which the manifest names, is not beside it")
    count = 4
    for side in shape:
        count *= side
    if place.stat().st_size != count or count > LARGEST_VARIABLE:
        raise WeightsError(f"{file} has {place.stat().st_size:,} bytes, need {count:,} for shape {shape}")
    return torch.from_numpy(np.fromfile(place, "<f4").astype(np.float32).reshape(shape))


def from_variables(variables: Mapping[str, Tensor]) -> Found:
    """The network of ``Variable``, ``Variable_1`` ..., whatever its width and however many blocks it has."""
    names = ["Variable", *(f"Variable_{number}" for number in range(1, len(variables)))]
    missing = next((name for name in names if name not in variables), None)
    count = len(variables)
    if missing is not None or count % 3 or (count // 3) % 2 or count < 18:
        raise WeightsError(f"{count} variables, of which {missing} is missing, need 48 that are called Variable_1 ...")
    rows = [[variables[name] for name in names[i : i + 3]] for i in range(0, count, 3)]
    layers, last = ChainBuilder(), len(rows) - 1
    for number, (kernel, shift, scale) in enumerate(rows):
        if kernel.ndim != 4 or shift.ndim != 1 or scale.ndim != 1:
            raise WeightsError(
                f"the {number + 1}th convolution has shapes {[tuple(v.shape) for v in (kernel, shift, scale)]}"
            )
        if last - 2 <= number < last:
            # Gradients of a convolution to half the size, whose input is padded below and to the right alone.
            more = max(kernel.shape[0] - 2, 0)
            before, after = more // 2, more - more // 2
            layers.transpose(kernel.permute(3, 2, 0, 1), None, factor=2, before=before, after=after)
        else:
            block = 3 <= number < last - 2
            if block and number % 2:
                layers.open()
            layers.convolve(kernel.permute(3, 2, 0, 1), None, stride=2 if number in (1, 2) else 1, zeros="same")
        layers.normalise(scale, shift, EPS)
        if 3 <= number < last - 2 and number % 2 == 0:
            layers.close()
        elif number < last:
            layers.relu()
    layers.output("tanh")
    layers.scale(150, 127.5)
    return Found(layers.build(), "RGB, 0 to 255", "RGB, tanh x 150 + 127.5, clamped")
