"""A file of somebody else's, looked at once for all the readers that may know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.state_dict import read_saved
from impasto.errors import OptionError, WeightsError

__all__ = ["Found", "Options", "Source"]

HEAD = 64  # bytes by which formats are told apart
LARGEST = 4_000_000_000  # bytes of a file that is read whole
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "generator")
_PREFIXES = ("module.", "model.", "transformer.", "net.")


@dataclass(frozen=True)
class Options:
    """What a file may leave out.

    Attributes:
        style_names: of a network of several styles, in its order.
        channels: ``rgb`` or ``bgr``, which the network takes and gives; empty is what is usual.
        values: what white is to it, 1 or 255; 0 is what is usual.
        median: whether what a network of one style gives is smoothed, as jcjohnson's program does.
    """

    style_names: tuple[str, ...] = ()
    channels: str = ""
    values: int = 0
    median: bool = False

    def __post_init__(self) -> None:
        if self.channels not in ("", "rgb", "bgr"):
            raise OptionError(f"`channels` is rgb or bgr, got {self.channels!r}", "channels")
        if self.values not in (0, 1, 255):
            raise OptionError(f"`values` is 1 or 255, got {self.values!r}", "values")

    @property
    def given(self) -> tuple[str, ...]:
        """The names of those that say something."""
        return tuple(name for name, value in vars(self).items() if value)


@dataclass(frozen=True)
class Found:
    """A network, and what there is to tell of it.

    Attributes:
        network: in eval mode, in float32.
        takes, gives: what goes in and what comes out, in a few words.
        licence: that the file states.
        notes: what a user should know.
        beside: other files that were read.
    """

    network: Any
    takes: str
    gives: str
    licence: str = "unknown"
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()


class Source:
    """One file, or a folder that is one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def head(self) -> bytes:
        """How the file begins."""
        with self.path.open("rb") as handle:
            return handle.read(HEAD)

    def read_bytes(self) -> bytes:
        """All of the file."""
        if self.path.stat().st_size > LARGEST:
            raise WeightsError(f"it has {self.path.stat().st_size:,} bytes, and no network of this kind has so many")
        return self.path.read_bytes()

    @cached_property
    def is_torch(self) -> bool:
        """Whether the file may be one of ``torch.save`` or safetensors."""
        zipped, pickled = self.head[:4] == b"PK\x03\x04", self.head[:1] == b"\x80"
        return zipped or pickled or self.head[8:9] == b"{" or self._is_tar()

    def _is_tar(self) -> bool:
        from impasto.core.legacy import is_tar

        return is_tar(self.path)

    @cached_property
    def state(self) -> Mapping[str, Tensor]:
        """The state dict in a file of torch's, float32, freed of what was around it; WeightsError without one."""
        value = read_saved(self.path)
        if {"family", "settings", "optimizer"} <= value.keys():
            raise WeightsError(
                f"{self.path}: is the state of a training of ours: give the model.safetensors of its run, or go on "
                "with it by `impasto train --resume`"
            )
        for _ in range(3):
            inner = next((value[key] for key in _INSIDE if isinstance(value.get(key), dict)), None)
            if inner is None:
                break
            value = inner
        if not value:
            raise WeightsError(f"{self.path}: holds no tensors")
        for key, tensor in value.items():
            if not isinstance(key, str) or not isinstance(tensor, Tensor):
                raise WeightsError(
                    f"{self.path}: {key!r} is a {type(tensor).__name__}, need a state dict of tensors alone"
                )
        for prefix in _PREFIXES:
            if all(key.startswith(prefix) for key in value):
                value = {key.removeprefix(prefix): tensor for key, tensor in value.items()}
        return {key: tensor.float() if tensor.dtype != torch.int64 else tensor for key, tensor in value.items()}
