"""Files that describe themselves, and the manifest of the shipped ones."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from impasto.core.metadata import read_manifest, read_metadata, record, save
from impasto.errors import OutputError, WeightsError
from impasto.files import sha256

DESCRIPTION: dict[str, Any] = {"kind": "backbone", "name": "Größe", "errors": {"conv1_2": 0.25}, "n": [1, 2]}


def tensors() -> dict[str, torch.Tensor]:
    return {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, dtype=torch.float16)}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "model.safetensors"
    save(path, tensors(), DESCRIPTION)
    assert read_metadata(path) == DESCRIPTION
    loaded = safetensors.torch.load_file(path)
    assert {key: (value.dtype, value.tolist()) for key, value in loaded.items()} == {
        key: (value.dtype, value.tolist()) for key, value in tensors().items()
    }


def test_same_content_gives_same_bytes(tmp_path: Path) -> None:
    backwards = dict(reversed(DESCRIPTION.items()))
    save(tmp_path / "a", tensors(), DESCRIPTION)
    save(tmp_path / "b", dict(reversed(tensors().items())), backwards)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_files_by_others_have_no_description(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    safetensors.torch.save_file(tensors(), path, metadata={"format": "pt"})
    assert read_metadata(path) == {}
    safetensors.torch.save_file(tensors(), path)
    assert read_metadata(path) == {}


@pytest.mark.parametrize("entry", ["{", "[1, 2]", '"text"'])
def test_a_damaged_description_is_an_error(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.torch.save_file(tensors(), path, metadata={"impasto": entry})
    with pytest.raises(WeightsError, match="description of itself"):
        read_metadata(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\xff" * 64])
def test_other_files_are_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"m\.safetensors: cannot be read"):
        read_metadata(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_metadata(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save(path, tensors(), {"kind": "old"})

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save(path, tensors(), {"kind": "new"})
    assert read_metadata(path) == {"kind": "old"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save(tmp_path / "file" / "model.safetensors", tensors(), {})


def test_the_manifest_knows_what_was_recorded(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}
    for name in ("b.safetensors", "a.safetensors"):
        (tmp_path / name).write_text(name)
        record(tmp_path / name)
    (tmp_path / "b.safetensors").write_text("changed")
    record(tmp_path / "b.safetensors")
    assert read_manifest(tmp_path) == {
        "a.safetensors": hashlib.sha256(b"a.safetensors").hexdigest(),
        "b.safetensors": hashlib.sha256(b"changed").hexdigest(),
    }
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "sha"}', '{"a": {}}'])
def test_a_damaged_manifest_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WeightsError, match="manifest"):
        read_manifest(tmp_path)


def test_sha256_is_that_of_hashlib(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "f").write_bytes(content)
    assert sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()
