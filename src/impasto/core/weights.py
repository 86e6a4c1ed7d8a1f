"""Backbones by name or by file, loaded; finding, fetching and checking their files is in `store`.

What a backbone wants as input is decided by the file's SHA-256 in the table, or by the file itself if it is
one of ours, or else by the user; never by its keys.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from impasto.core.backbones import BACKBONES, Backbone, Input
from impasto.core.caffe import SUFFIX as CAFFE
from impasto.core.caffe import read_caffe
from impasto.core.host import in_our_settings
from impasto.core.matconvnet import read_matconvnet
from impasto.core.matlab import is_matlab
from impasto.core.metadata import read_metadata
from impasto.core.precision import Precision
from impasto.core.state_dict import convolutions, is_safetensors, read_tensors
from impasto.core.store import (
    Check,
    absent,
    cache_folder,
    digest_of,
    fetch,
    hashes,
    identify,
    import_file,
    locate,
    matches,
    verify,
)
from impasto.core.strangers import stranger
from impasto.core.vgg import NORMALISATIONS, TOPOLOGIES, VGG, Normalisation, Padding, Pool
from impasto.errors import OptionError, WeightsError, nearest
from impasto.files import at_home

__all__ = [
    "BACKBONES",
    "Backbone",
    "Check",
    "Input",
    "cache_folder",
    "describe",
    "fetch",
    "identify",
    "import_file",
    "inventory",
    "load_backbone",
    "locate",
    "verify",
]


@in_our_settings
def load_backbone(
    name_or_path: str | PathLike[str],
    *,
    input: Input | None = None,  # noqa: A002
    pool: Pool = "max",
    rescale_pool: bool = False,
    padding: Padding | None = None,
    precision: Precision | None = None,
    device: str | torch.device = "cpu",
) -> VGG:
    """Build a frozen VGG from a backbone in the table or from a file of weights.

    Args:
        name_or_path: a name in the table, else a file: safetensors, anything by ``torch.save``, Keras' ``.h5``, Caffe's
            ``.caffemodel``, MatConvNet's ``.mat``.
        input: what the network wants as input, for a file that neither the table nor itself tells. MatConvNet's
            tell; Caffe's want what Caffe's usually do.
        pool, rescale_pool: see `VGG`.
        padding: at the picture's frame; None is what the file says, else zeros.
        precision: of weights and activations; None is float32.
        device: where the weights go.

    Raises:
        WeightsError: unknown name, file absent, damaged, not a VGG, or not what the table says it is.
        OptionError: `input` is unknown.
    """
    if input is not None and input not in get_args(Input):
        raise OptionError(
            f"backbone input {input!r} is unknown{nearest(input, get_args(Input))}: use torchvision, caffe or none"
        )
    path, row = _find(name_or_path)
    facts, tensors = _facts_and_tensors(path, row, input)
    found = convolutions(tensors, path, facts.topology)
    wanted = facts.normalisation
    if wanted is None:  # told last: what is no VGG wants nothing
        raise WeightsError(
            f"{path}: nothing says what input it wants, and its keys cannot:"
            " give `backbone_input`: torchvision, caffe or none"
        )
    with torch.device("meta"):  # no memory and no random numbers for what is replaced at once
        vgg = VGG(
            found.topology,
            wanted if isinstance(wanted, Normalisation) else NORMALISATIONS[wanted],
            pool=pool,
            padding=padding or facts.padding,
            rescale_pool=rescale_pool,
            last=found.last,
            ranks=found.ranks,
            name=facts.name,
        )
    vgg.load_state_dict(found.tensors, assign=True)
    vgg.requires_grad_(False).eval()
    if precision is not None:
        vgg.to(precision.dtype).to(memory_format=precision.memory_format)  # type: ignore[call-overload]
    return vgg.to(device)


def describe(row: Backbone) -> dict[str, Any]:
    """The row's topology, normalisation and hashes, read from the file where the table leaves them to it.

    Topology and normalisation of a shipped backbone are None while its file is missing.
    """
    path = locate(row.name)
    own = read_metadata(path) if row.shipped and path else {}
    return {
        "topology": row.topology or own.get("topology"),
        "normalisation": row.normalisation or own.get("normalisation"),
        "sha256": list(hashes(row)),
    }


def inventory() -> list[dict[str, Any]]:
    """All rows of the table with what is here of them, in types that JSON has.

    Beside the fields of `Backbone` and what `describe` says a row has ``path`` and ``bytes``; both are None if the
    file is absent.
    """
    rows = []
    for name, row in BACKBONES.items():
        path = locate(name)
        here = {"path": path and str(path), "bytes": path and path.stat().st_size}
        rows.append({**asdict(row), **describe(row), **here})
    return rows


@dataclass(frozen=True)
class _Facts:
    """What cannot be read off the tensors; a topology of None can. A normalisation of None is not known."""

    name: str
    topology: str | None
    normalisation: Input | Normalisation | None
    padding: Padding = "zeros"


def _find(name_or_path: str | PathLike[str]) -> tuple[Path, Backbone | None]:
    """The file, and the row of the table that knows it; a name's file must be the one the table means."""
    if isinstance(name_or_path, str) and name_or_path in BACKBONES:
        row = BACKBONES[name_or_path]
        path = locate(row.name)
        if path is None:
            raise absent(row)
        if not matches(row, digest_of(path)):
            again = f"`impasto weights fetch {row.name}`" if row.url else "put the right one there"
            raise WeightsError(f"{path}: not the file of {row.name}, its SHA-256 is another: {again}")
        return path, row
    path = at_home(name_or_path)
    if not path.is_file():
        raise WeightsError(
            f"no backbone and no file is called {str(path)!r}{nearest(path, BACKBONES)}: "
            f"there are {', '.join(BACKBONES)}"
        )
    return path, identify(digest_of(path))


def _facts_and_tensors(path: Path, row: Backbone | None, given: Input | None) -> tuple[_Facts, dict[str, Tensor]]:
    """What a file says, or the user, and what is in it."""
    if told := stranger(path):
        raise WeightsError(f"{path}: {told}, need weights of a VGG (safetensors, .pth, .h5, .caffemodel or .mat)")
    if is_matlab(path):
        if given is not None:
            raise WeightsError(f"{path}: says itself what input it wants: leave `backbone_input` out")
        tensors, average = read_matconvnet(path)
        return _Facts(path.stem, None, Normalisation(scale=255.0, mean=average)), tensors
    if path.suffix == CAFFE and not is_safetensors(path):
        return _Facts(path.stem, None, given or "caffe"), read_caffe(path)
    return _facts(path, row, given), read_tensors(path)


def _facts(path: Path, row: Backbone | None, given: Input | None) -> _Facts:
    metadata = read_metadata(path) if is_safetensors(path) else {}
    if metadata:
        facts = _told(metadata, path)
    elif row is not None and row.normalisation is not None:
        facts = _Facts(row.name, row.topology, row.normalisation)
    else:
        facts = _Facts(path.stem, None, given)
    if given not in (None, facts.normalisation):
        raise WeightsError(
            f"{path}: this is {facts.name}, whose input is {facts.normalisation}, not {given}:"
            " leave `backbone_input` out"
        )
    return facts


def _told(metadata: dict[str, Any], path: Path) -> _Facts:
    """What one of our own files says of itself."""
    kind = metadata.get("kind")
    if kind != "backbone":
        raise WeightsError(f"{path}: no backbone but of kind {kind!r}, by its own description")
    facts = _Facts(
        str(metadata.get("name", path.stem)),
        metadata.get("topology"),
        metadata.get("normalisation"),  # checked below
        metadata.get("padding", "zeros"),
    )
    known = (
        facts.topology in tuple(TOPOLOGIES),
        facts.normalisation in get_args(Input),
        facts.padding in get_args(Padding),
    )
    if not all(known):
        raise WeightsError(
            f"{path}: describes itself with topology {facts.topology!r}, normalisation"
            f" {facts.normalisation!r}, padding {facts.padding!r}, not all of which exist"
        )
    return facts
