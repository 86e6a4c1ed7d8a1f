"""Gram targets of style pictures, computed once for each picture, backbone and size, and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import platformdirs
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from impasto.core.metadata import read_metadata, save
from impasto.core.resizing import resize
from impasto.core.statistics import Divisor, gram, shares_of
from impasto.core.tensors import to_tensor
from impasto.core.vgg import VGG
from impasto.errors import ImageError, OutputError, WeightsError
from impasto.imaging import Picture, as_picture, fit_long_side
from impasto.imaging.guards import MIN_SIDE

__all__ = ["backbone_identity", "style_features", "style_shares", "style_targets"]

FORMAT = 2  # raise it whenever the same key would stand for other numbers
KIND = "style-targets"


def style_targets(
    pictures: Sequence[str | PathLike[str] | Picture | Tensor],
    backbone: VGG,
    taps: Iterable[str],
    size: int | None,
    *,
    divisor: Divisor = "positions",
    cache_dir: Path | None = None,
) -> dict[str, Tensor]:
    """Gram matrices of N pictures at each tap: name -> (N, C, C) float32 on the backbone's device.

    Pictures are brought to a long side of at most `size` px first (None: as they are). What was computed
    before is read from `cache_dir` (by default in the user's cache folder): entries are known by the
    picture's content, the backbone's identity, size, taps and divisor, so that any change means computing
    anew. Entries that are damaged are computed anew as well.

    Raises:
        ImageError: a picture that cannot be read.
        LayerError: the backbone lacks a tap.
    """
    wanted = backbone.check(taps)
    folder = cache_dir or platformdirs.user_cache_path("impasto") / "targets"
    identity = backbone_identity(backbone)
    rows = []
    for picture in pictures:
        key = _key(_content(picture), identity, size, wanted, divisor)
        path = folder / f"{key}.safetensors"
        found = _read(path, key, wanted)
        if found is None:
            known = as_picture(picture)
            features = style_features(known, backbone, wanted, size)
            shares = style_shares(known, features)
            found = {tap: gram(features[tap], divisor, shares[tap])[0].float().cpu().contiguous() for tap in wanted}
            _write(path, key, found)
        rows.append(found)
    return {tap: torch.stack([row[tap] for row in rows]).to(backbone.device) for tap in wanted}


def style_features(picture: Picture, backbone: VGG, taps: Iterable[str], size: int | None) -> dict[str, Tensor]:
    """Features of one picture whose long side is at most `size` px: tap -> (1, C, h, w), without gradient.

    Raises:
        ImageError: nothing of it shows, or its short side is then less than 32 px, too few for the deeper layers.
        LayerError: the backbone lacks a tap.
    """
    rgb = to_tensor(picture.textured())
    if size is not None:
        height, width = fit_long_side((picture.height, picture.width), size)
        if min(height, width) < MIN_SIDE:
            raise ImageError(
                f"{picture.name}: {width}x{height} px at size {size}, need at least {MIN_SIDE} px on the short side: "
                f"use a larger size or crop it"
            )
        rgb = resize(rgb, (height, width))
    with torch.no_grad():
        features: dict[str, Tensor] = backbone(rgb.to(backbone.device), taps)
    return features


def style_shares(picture: Picture, features: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """How far each position of the picture's features counts, tap -> (1, 1, h, w); None where all do alike."""
    return {
        tap: None
        if picture.alpha is None
        else shares_of(to_tensor(picture.alpha).to(f.device), (f.shape[2], f.shape[3]))
        for tap, f in features.items()
    }


def backbone_identity(backbone: VGG) -> str:
    """SHA-256 of all that decides what a backbone answers: weights, precision, normalisation, pooling, padding."""
    digest = hashlib.sha256()
    settings = (backbone.normalisation, backbone.pool, backbone.padding, backbone.pool_scale)
    digest.update(repr(settings).encode())
    _hash_tensors(digest, backbone.state_dict())
    return digest.hexdigest()


def _hash_tensors(digest: hashlib._Hash, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().data)


def _content(picture: str | PathLike[str] | Picture | Tensor) -> str:
    """SHA-256 of a file's bytes, or of the pixels of a picture in memory."""
    if isinstance(picture, Picture | Tensor):
        digest = hashlib.sha256()
        _hash_tensors(digest, {"rgb": to_tensor(picture.weighed()) if isinstance(picture, Picture) else picture})
        return digest.hexdigest()
    as_file = Path(picture)
    if not as_file.is_file():
        as_picture(picture)  # which knows how to say what is wrong
    return hashlib.sha256(as_file.read_bytes()).hexdigest()


def _key(content: str, identity: str, size: int | None, taps: Sequence[str], divisor: str) -> str:
    text = json.dumps([FORMAT, content, identity, size, sorted(taps), divisor])
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    _hash_tensors(digest, tensors)
    return digest.hexdigest()


def _read(path: Path, key: str, taps: Sequence[str]) -> dict[str, Tensor] | None:
    """The entry if it is there and whole."""
    try:
        metadata = read_metadata(path)
        tensors: dict[str, Tensor] = load_file(path)
    except (WeightsError, OSError, safetensors.SafetensorError):
        return None
    whole = metadata.get("key") == key and metadata.get("sha256") == _digest(tensors)
    return tensors if whole and set(tensors) == set(taps) else None


def _write(path: Path, key: str, tensors: dict[str, Tensor]) -> None:
    try:
        save(path, tensors, {"kind": KIND, "key": key, "sha256": _digest(tensors)})
    except OutputError:
        return  # a cache that cannot be written (read-only home, full disk) costs time only
