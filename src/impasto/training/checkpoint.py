"""Checkpoints: ``step-00000008.pt``, each whole or not at all, the last two and the best kept.

They are plain ``torch.save`` files of tensors, numbers, texts, lists and dicts, read without running code. Each
carries the SHA-256 of its own content, because a file can have its full length and still be torn.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.errors import DataError
from impasto.files import atomic_path

__all__ = ["Checkpoints", "damage", "digest"]

FORMAT = 1
KEEP = 2
NAME = re.compile(r"step-(\d{8,})\.pt")


class Checkpoints:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step belongs."""
        return self.folder / f"step-{step:08d}.pt"

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, ascending; whether they are whole is not looked at."""
        found = (NAME.fullmatch(path.name) for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(int(match.group(1)) for match in found if match)

    def save(self, step: int, state: Mapping[str, Any], best: int | None) -> Path:
        """Write the state after `step` steps, then remove all but the last two and that of step `best`.

        Raises:
            OutputError: no room or no right to write; the checkpoints that are there stay.
        """
        content = {**state, "format": FORMAT, "step": step}
        content["sha256"] = digest(content)
        buffer = io.BytesIO()  # torch's own writing to disk tells no reason when it fails
        torch.save(content, buffer)
        with atomic_path(self.path(step), make_folders=True) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        for old in set(self.steps()[:-KEEP]) - {best}:
            self.path(old).unlink(missing_ok=True)
        return self.path(step)

    def load(self, step: int) -> dict[str, Any]:
        """The state after `step` steps, on the CPU.

        Raises:
            DataError: it is missing, damaged or of a later version; the message says which.
        """
        path = self.path(step)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged pickle can fail in any way whatever
            raise DataError(f"{path}: is damaged ({_first_line(error)})") from error
        if reason := damage(content):
            raise DataError(f"{path}: {reason}")
        return dict(content)

    def load_latest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest whole state, and a sentence about each newer one that is not; None where there is none at all.

        Damaged files are renamed to ``….pt.damaged``; what an interrupted writing left is removed.

        Raises:
            DataError: there are checkpoints, but none is whole.
        """
        self._sweep()
        notes: list[str] = []
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step), notes
            except DataError as error:
                earlier = [other for other in steps if other < step]
                path = self.path(step)
                path.replace(path.with_name(f"{path.name}.damaged"))
                if not earlier:
                    raise DataError(f"{error}, and no older checkpoint is there: start a new run") from error
                notes.append(f"{error}: going back to {self.path(earlier[-1]).name}")
        return None, notes

    def _sweep(self) -> None:
        if self.folder.is_dir():
            for path in self.folder.glob(".impasto-*.pt"):
                with suppress(OSError):
                    path.unlink()


def damage(content: Any) -> str | None:
    """Why this is no whole checkpoint of ours, in a few words."""
    if not isinstance(content, dict) or not {"format", "step", "sha256"} <= content.keys():
        return "is no checkpoint of a training"
    if content["format"] != FORMAT:
        return f"has format {content['format']}, and this version reads {FORMAT}"
    if content["sha256"] != digest({key: value for key, value in content.items() if key != "sha256"}):
        return "is damaged (its content is not what was written)"
    return None


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of tensors and plain values, nested in any way."""
    sha = hashlib.sha256()
    for place, value in _leaves(content, ""):
        if isinstance(value, Tensor):
            sha.update(f"{place} {value.dtype} {tuple(value.shape)}\n".encode())
            sha.update(value.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().data)
        else:
            sha.update(f"{place} {json.dumps(value)}\n".encode())
    return sha.hexdigest()


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}/{key!r}")
    elif isinstance(value, list | tuple):
        yield f"{place} length", len(value)
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{index}]")
    else:
        yield place, value


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
