"""Trained networks on disk: one safetensors file that needs nothing beside it, and what others saved.

The file's description of itself (see `core.metadata`) has these keys: ``kind`` ("model"), ``format`` (1),
``method``, ``network`` (the fields of the method's config), ``styles`` (records with at least a name),
``value_range``, ``licence`` and ``recipe``, and whatever else the caller adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.core.metadata import read_metadata, save
from impasto.core.state_dict import is_safetensors, read_tensors
from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.errors import OptionError, WeightsError
from impasto.files import sha256
from impasto.networks.foreign.kinds import read_foreign
from impasto.networks.foreign.places import MANIFEST, no_file, place_of
from impasto.networks.foreign.source import Options
from impasto.networks.layers import state_dict_mismatch
from impasto.networks.registry import Config, Network, build, config_from, kind_of, with_encoder

__all__ = ["load_model", "save_model"]

FORMAT = 1
VALUE_RANGE = "RGB in [0, 1], sRGB-encoded, in and out"


def save_model(
    path: str | PathLike[str],
    network: Network,
    *,
    styles: Sequence[Mapping[str, Any]] = (),
    recipe: Mapping[str, Any],
    licence: str,
    dtype: torch.dtype = torch.float32,
    **extra: Any,
) -> None:
    """Write the network and its description, atomically; the same content always gives the same bytes.

    Args:
        path: where to; an existing file is replaced.
        network: any of ours.
        styles: a record per style, with ``name`` and, where known, ``title``, ``artist``, ``year``. May be
            left out; if given for a network of several styles, the names are the network's, in its order.
        recipe: how it was trained; anything JSON can hold.
        licence: under which the weights are.
        dtype: of the stored numbers; float16 halves the file.
        extra: more entries for the description.

    Raises:
        OptionError: the records do not fit the network.
        WeightsError: the network has values that are infinite or no numbers.
        OutputError: the place cannot be written.
    """
    records = [dict(style) for style in styles]
    if network.styles:
        records = records or [{"name": name} for name in network.styles]
        if [record.get("name") for record in records] != list(network.styles):
            raise OptionError(f"the records of styles must be of {', '.join(network.styles)}, in this order")
    elif any(not record.get("name") for record in records):
        raise OptionError("every style's record needs a name")
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    _check_finite(tensors, f"{path}: not written")
    description = {
        **extra,
        "kind": "model",
        "format": FORMAT,
        "method": network.METHOD,
        "network": asdict(network.config),
        "styles": records,
        "value_range": VALUE_RANGE,
        "licence": licence,
        "recipe": dict(recipe),
    }
    save(path, tensors, description)


@in_our_settings
def load_model(
    path: str | PathLike[str],
    *,
    encoder: VGG | None = None,
    kind: str | None = None,
    options: Options | None = None,
) -> tuple[Network, dict[str, Any]]:
    """The network in a file of ours or of a kind in `foreign.kinds`, and the file's description.

    The network is in eval mode, in float32, on the CPU. Other people's files have no description; they get
    one with the same keys, whose style is named after the file and whose licence is "unknown" unless it is stated, with
    ``came_from`` besides: the kind, and what goes in and comes out.

    Args:
        path: a file, or a folder that is one; no code in it is run.
        encoder: for AdaIN and Universal, instead of the backbone that the file names.
        kind: of other people's file, where its content does not tell.
        options: what other people's file leaves out.

    Raises:
        OptionError: no such kind, or options that mean nothing to this file.
        WeightsError: the file is missing, damaged, foreign, or has values that are infinite or no numbers;
            or the encoder it names is not here.
    """
    path = place_of(Path(path))
    if not path.is_file():
        raise WeightsError(no_file(path))
    description = read_metadata(path) if is_safetensors(path) else {}
    if kind is not None or not description:
        return _load_foreign(path, kind, options or Options())
    if options is not None and options.given:
        raise OptionError(f"{path}: is a model of ours, which tells all of itself: leave `{options.given[0]}` out")
    tensors = {key: value.float() for key, value in read_tensors(path).items()}
    _check_finite(tensors, f"{path}")
    try:
        config = _described(description)
    except OptionError as error:
        raise WeightsError(f"{path}: the description of itself makes no sense: {error}") from error
    network = _empty(config, encoder)
    reason = state_dict_mismatch(network, tensors)
    if reason is not None:
        raise WeightsError(f"{path}: the tensors are not those of the network described: {reason}")
    network.load_state_dict(tensors, assign=True)
    return network.eval(), description


def _described(description: Mapping[str, Any]) -> Config:
    if description.get("kind") != "model":
        raise OptionError(f"it is of kind {description.get('kind')!r}, need a 'model'")
    if description.get("format") != FORMAT:
        raise OptionError(f"its format is {description.get('format')!r}, and this version reads {FORMAT}")
    sizes = description.get("network")
    if not isinstance(sizes, dict):
        raise OptionError("it has no sizes of a network")
    return config_from(str(description.get("method")), sizes)


def _empty(config: Config, encoder: VGG | None) -> Network:
    """The network without numbers: drawing random ones only to replace them takes longer than reading a file."""
    named = with_encoder(config)
    if named is not None:
        encoder = encoder or load_backbone(named.encoder, padding=named.padding)
    with torch.device("meta"):
        return build(config, encoder)


def _load_foreign(path: Path, name: str | None, options: Options) -> tuple[Network, dict[str, Any]]:
    kind, found = read_foreign(path, name, options)
    network: Network = found.network
    _check_finite(network.state_dict(), f"{path}")
    styles = [{"name": style} for style in network.styles]
    if not styles and kind_of(network).styled_by == "single":
        styles = [{"name": _stem(path)}]
    return network.eval(), {
        "kind": "model",
        "format": FORMAT,
        "method": network.METHOD,
        "network": asdict(network.config),
        "styles": styles,
        "value_range": VALUE_RANGE,
        "licence": found.licence,
        "recipe": {},
        "came_from": {
            "kind": kind.name,
            "takes": found.takes,
            "gives": found.gives,
            "notes": list(found.notes),
            "beside": {place.name: sha256(place) for place in found.beside},
        },
    }


def _stem(path: Path) -> str:
    """What the style in a file without names is called."""
    return path.parent.name if path.name == MANIFEST else path.name.split(".")[0] or path.name


def _check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{where}: {key} has values that are infinite or no numbers")
