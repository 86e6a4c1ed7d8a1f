"""Which file is meant where a folder or the prefix of a checkpoint is named; loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["MANIFEST", "MODEL_JSON", "SAVED_MODEL", "place_of"]

MANIFEST: Final = "manifest.json"
MODEL_JSON: Final = "model.json"  # of TensorFlow.js
SAVED_MODEL: Final = "saved_model.pb"


def place_of(path: Path) -> Path:
    """The file to read where a folder, or the prefix of a checkpoint, is named; else the path itself."""
    for name in (MANIFEST, MODEL_JSON, SAVED_MODEL):
        if path.is_dir() and (path / name).is_file():
            return path / name
    if path.is_dir() and len(found := sorted(path.glob("decoder*.pth*"))) == 1:
        return found[0]
    if path.is_dir() and len(found := sorted(path.glob("*.index"))) == 1:
        return found[0]
    if not path.exists() and path.name and path.with_name(f"{path.name}.index").is_file():
        return path.with_name(f"{path.name}.index")
    return path
