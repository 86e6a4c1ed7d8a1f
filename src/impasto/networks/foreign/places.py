"""Which file is meant where a folder or a checkpoint's prefix is named, and what to say of none; loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["MANIFEST", "MODEL_JSON", "SAVED_MODEL", "no_file", "place_of"]

MANIFEST: Final = "manifest.json"
MODEL_JSON: Final = "model.json"  # of TensorFlow.js
SAVED_MODEL: Final = "saved_model.pb"
_NETWORKS: Final = (
    ".safetensors", ".onnx", ".tflite", ".pth", ".pt", ".pth.tar", ".model", ".t7", ".ckpt", ".h5", ".pb",
)  # fmt: skip
_NAMED: Final = 3  # files of a folder


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


def no_file(path: Path) -> str:
    """The sentence about a path that is no file: that it is not there, or a folder, and what of it can be named."""
    if not path.is_dir():
        return f"{path}: no such file"
    files = [file.name for file in sorted(path.glob("*")) if file.name.casefold().endswith(_NETWORKS) and _paints(file)]
    if files:
        more = " ..." if len(files) > _NAMED else ""
        return f"{path}: is a folder, name the file in it that paints: {' or '.join(files[:_NAMED])}{more}"
    deeper = next((folder for folder in sorted(path.glob("*/")) if place_of(folder) != folder), None)
    if deeper is not None:
        return f"{path}: is a folder that holds no network itself: give the one in it, {deeper}"
    return (
        f"{path}: is a folder that holds no network: need {MANIFEST}, {MODEL_JSON}, {SAVED_MODEL}, one decoder*.pth or "
        "one *.index in it, or give a file"
    )


def _paints(file: Path) -> bool:
    """Whether it may paint, by its name, and does not look at style pictures for a file beside it."""
    return "predict" not in file.name and not file.stem.endswith("-style")
