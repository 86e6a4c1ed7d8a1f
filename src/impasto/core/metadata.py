"""Weights that describe themselves: safetensors files with one JSON entry, and the manifest of those shipped.

A file of ours needs nothing beside it to be read: the entry ``impasto`` of its header holds a JSON object
with at least ``kind`` (``"backbone"`` or the method that a trained network belongs to). Files by others lack
that entry. The manifest is a JSON object ``{file name: {"sha256": ...}}`` beside the shipped files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from impasto.errors import WeightsError
from impasto.files import atomic_path, sha256

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MANIFEST", "SHIPPED", "read_manifest", "read_metadata", "record", "save"]

ENTRY = "impasto"
MANIFEST = "manifest.json"
SHIPPED: Final = Path(__file__).resolve().parents[1] / "weights"
"""The package's folder of weights."""
LARGEST_HEADER: Final = 100_000_000  # bytes that the format allows


def read_metadata(path: str | PathLike[str]) -> dict[str, Any]:
    """What the safetensors file at ``path`` says of itself; empty for files that are not ours.

    Only the header is read, whatever the size of the file: eight bytes that hold its length, then JSON.

    Raises:
        WeightsError: the file is missing, truncated or no safetensors, or its entry is no JSON object.
    """
    try:
        text = _header(Path(path)).get("__metadata__", {}).get(ENTRY)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors: {error}") from error
    if text is None:
        return {}
    try:
        metadata = json.loads(text)
    except json.JSONDecodeError as error:
        raise WeightsError(f"{path}: the description of itself is damaged: {error}") from error
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path}: the description of itself is {type(metadata).__name__}, not an object")
    return metadata


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file. ValueError and its like where it is none, or is cut short."""
    with path.open("rb") as file:
        length = int.from_bytes(first := file.read(8), "little")
        if len(first) < 8 or length > LARGEST_HEADER:
            raise ValueError("it does not begin with the length of a header")
        text = file.read(length)
        if len(text) < length:
            raise ValueError("the header is cut short")
        header: dict[str, Any] = json.loads(text)
        ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
        if file.seek(0, 2) != 8 + length + max(ends, default=0):
            raise ValueError("it is cut short, or has more than it tells")
    return header


def save(path: str | PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write ``tensors`` and their description, atomically; the same content always gives the same bytes.

    Precision and layout are the caller's: tensors must be contiguous and must not share memory.
    There is one entry only, because the library keeps entries in no fixed order.

    Raises:
        OutputError: the place cannot be written.
    """
    import safetensors.torch

    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    content = safetensors.torch.save(dict(tensors), metadata={ENTRY: text})
    with atomic_path(path, make_folders=True) as temporary:
        temporary.write_bytes(content)


def read_manifest(folder: Path) -> dict[str, str]:
    """SHA-256 of the shipped files in ``folder`` by file name; empty where nothing is shipped yet."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        return {name: str(row["sha256"]) for name, row in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{path}: the manifest of the shipped weights is damaged: {error!r}") from error


def record(path: Path) -> None:
    """Enter the file at ``path`` in the manifest beside it, replacing what the manifest said of it."""
    rows = read_manifest(path.parent) | {path.name: sha256(path)}
    text = json.dumps({name: {"sha256": rows[name]} for name in sorted(rows)}, indent=2)
    with atomic_path(path.parent / MANIFEST) as temporary:
        temporary.write_bytes(f"{text}\n".encode())
