"""What the channels of a layer answer to: their activation maps of a picture, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from impasto.core.host import in_our_settings
from impasto.errors import OptionError, OutputError
from impasto.files import atomic_path, shown
from impasto.imaging import check_output
from impasto.lab.layers import Layers
from impasto.lab.sheets import GAP, Legend, Sheet, Tile, colours, picture_tile, thumbnails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "STRONGEST", "Activations", "activation_sheet", "activations", "check_maps", "choose_filters", "map_tiles",
    "save_maps",
]  # fmt: skip

STRONGEST = 12  # channels that "strongest" shows
LARGE, SMALL = 186, 66  # px of a map: of a few, and of hundreds
WIDE = {LARGE: 1160, SMALL: 1700}  # px of a line of them
PHOTO = 240


@dataclass(frozen=True, eq=False)
class Activations:
    """One layer's answer to a picture.

    Attributes:
        layer: its name.
        maps: (C, h, w), in the precision of the network.
        strengths: mean of each channel's absolute values, (C,) float32 on the CPU.
    """

    layer: str
    maps: Tensor
    strengths: Tensor


@in_our_settings
def activations(network: Layers, image: Tensor, layers: Sequence[str]) -> list[Activations]:
    """What layers answer to a picture (1, 3, H, W) in [0, 1], in one pass.

    LayerError, listing the layers there are, for one that is unknown.
    """
    found = []
    for layer, features in network(image, list(dict.fromkeys(layers))).items():
        maps = features[0]
        strengths = [float(channel.float().abs().mean()) for channel in maps]  # one by one: no float32 copy of all
        found.append(Activations(layer, maps, torch.tensor(strengths)))
    return found


def choose_filters(strengths: Tensor, filters: str) -> list[int]:
    """Channels by ``6`` (the first six), ``all`` or ``strongest`` (the twelve that answer most, strongest first).

    OptionError for anything else.
    """
    if filters == "all":
        return list(range(len(strengths)))
    if filters == "strongest":
        return strengths.argsort(descending=True, stable=True)[:STRONGEST].tolist()
    if not filters.isdecimal() or int(filters) < 1:
        raise OptionError(f"`filters` is {filters!r}, need a number from 1 up, all or strongest", "filters")
    return list(range(min(int(filters), len(strengths))))


@in_our_settings
def activation_sheet(
    image: Tensor, found: Sequence[Activations], filters: str = "6", *, title: str = "", note: str = ""
) -> Figure:
    """The picture (1, 3, H, W), and below it the chosen channels of each layer.

    Each map is coloured by its own largest value, which stands above it: the strongest channel of a layer would
    leave the others dark.
    """
    signed = any(_has_sign(one) for one in found)
    low, high = ("-largest", "largest") if signed else ("0", "largest of the map")
    sheet = Sheet(title or "Activations", note, Legend(low, high, signed))
    sheet.row([picture_tile(image, PHOTO)])
    for one in found:
        channels = choose_filters(one.strengths, filters)
        count, (height, width) = len(one.strengths), one.maps.shape[1:]
        side = LARGE if len(channels) <= 2 * STRONGEST else SMALL
        shown_width = round(side * width / max(height, width))
        heading = f"{one.layer}: {len(channels)} of {count} channels, {width}x{height} px each"
        sheet.row(
            map_tiles(one, channels, side, signed=signed, with_peak=side == LARGE),
            heading=heading,
            columns=max(1, (WIDE[side] + GAP) // (shown_width + GAP)),
        )
    return sheet.figure()


def map_tiles(
    found: Activations, channels: Sequence[int], side: int, *, signed: bool = False, with_peak: bool = True
) -> list[Tile]:
    """Some channels of a layer as tiles, numbered, each coloured by its own largest value."""
    tiles = []
    for channel, small in zip(channels, thumbnails(found.maps[list(channels)], side), strict=True):
        peak = float(found.maps[channel].float().abs().max())
        label = f"{channel}, max {peak:.3g}" if with_peak else str(channel)
        tiles.append(Tile(colours(small, float(small.abs().max()), signed=signed), label))
    return tiles


def _has_sign(found: Activations) -> bool:
    return any(bool((channel < 0).any()) for channel in found.maps)


def check_maps(path: str | PathLike[str], *, force: bool = False, inputs: Sequence[str | PathLike[str]] = ()) -> None:
    """Refuse now what `save_maps` would refuse: OutputError for another suffix than .npz, or as for a sheet."""
    if not str(path).lower().endswith(".npz"):
        raise OutputError(f"{shown(path)}: tensors are written as .npz: give a name that ends so")
    check_output(path, force=force, inputs=inputs, format="png")  # the suffix was looked at above


def save_maps(
    found: Sequence[Activations],
    filters: str,
    path: str | PathLike[str],
    *,
    force: bool = False,
    inputs: Sequence[str | PathLike[str]] = (),
) -> None:
    """The chosen channels as .npz: ``relu3_1`` (n, h, w) float32 and ``relu3_1_channels`` (n,), for each layer.

    OutputError where the file cannot be written.
    """
    check_maps(path, force=force, inputs=inputs)
    arrays = {}
    for one in found:
        channels = choose_filters(one.strengths, filters)
        maps = one.maps if len(channels) == len(one.maps) else one.maps[channels]
        arrays[one.layer] = maps.float().cpu().numpy()
        arrays[f"{one.layer}_channels"] = np.array(channels)
    with atomic_path(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)
