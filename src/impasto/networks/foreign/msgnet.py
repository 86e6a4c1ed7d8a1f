"""zhanghang1989/PyTorch-Multi-Style-Transfer, MSG-Net: ``21styles.model``. BGR from 0 to 255 goes in and comes out.

Its styles are pictures that it has seen in training; others are painted too, less well. Features of the photo are
recombined at every position by the products of the style's channels. Normalisations have no parameters, and come
before the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.programming import ListBuilder, network_of, take
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]


def matches(source: Source) -> bool:
    """Whether the state dict has this network's first convolution and the layer that takes the style."""
    return source.is_torch and {"model.0.0.conv2d.weight", "model.1.weight"} <= source.state.keys()


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    state = source.state
    look, paint = ListBuilder(), ListBuilder()
    for layers in (look, paint):
        _begin(layers, state)
    told = look.add("gram")
    weight, width = state["model.1.weight"], paint.width(paint.last)
    if weight.shape != (1, width, width):
        raise WeightsError(f"model.1.weight is {tuple(weight.shape)}, need {(1, width, width)}")
    paint.recombine(weight[0], at=0)
    number = 2
    while f"model.{number}.conv_block.2.weight" in state:
        up = f"model.{number}.residual_layer.conv2d.weight" in state
        _block(paint, state, f"model.{number}", enlarge=up)
        number += 1
    _norm_relu(paint)
    paint.convolve(*take(state, f"model.{number + 2}.conv2d"))
    paint.affine([1 / 255] * 3, [0.0] * 3)
    paint.add("reverse")
    notes = ("its styles are the pictures that it was trained on, which are not in the file",)
    return Found(network_of(paint, look, (told,)), "BGR, 0 to 255", "BGR, 0 to 255, clamped", notes=notes)


def _begin(layers: ListBuilder, state: Mapping[str, Tensor]) -> None:
    """From a picture to what is recombined."""
    layers.add("reverse")
    layers.affine([255.0] * 3, [0.0] * 3)
    layers.convolve(*take(state, "model.0.0.conv2d"))
    _norm_relu(layers)
    for number in (3, 4):
        _block(layers, state, f"model.0.{number}", stride=2)


def _norm_relu(layers: ListBuilder, of: int | None = None) -> None:
    width = layers.width(layers.last if of is None else of)
    layers.normalise(torch.ones(width), torch.zeros(width), of=of)
    layers.add("relu")


def _block(
    layers: ListBuilder, state: Mapping[str, Tensor], name: str, *, stride: int = 1, enlarge: bool = False
) -> None:
    """Three convolutions, each after a normalisation and a ReLU; beside them a 1x1, or nothing."""
    beside = came = layers.last
    if enlarge:
        layers.add("nearest")
        beside = layers.convolve(*take(state, f"{name}.residual_layer.conv2d"))
    elif f"{name}.residual_layer.weight" in state:
        beside = layers.convolve(*take(state, f"{name}.residual_layer"), stride=stride)
    _norm_relu(layers, of=came)
    layers.convolve(*take(state, f"{name}.conv_block.2"))
    _norm_relu(layers)
    if enlarge:
        layers.add("nearest")
    layers.convolve(*take(state, f"{name}.conv_block.5.conv2d"), stride=stride)
    _norm_relu(layers)
    layers.convolve(*take(state, f"{name}.conv_block.8"))
    layers.add("add", of=(beside, layers.last))
