"""Style networks as ONNX: the model zoo's fast_neural_style, Windows ML's samples, what ``torch.onnx`` wrote.

The graph is rebuilt as stages where it is a chain of them, whatever size it declares. What goes in and comes out is
what the file says of its pictures, where it does; else what the graph shows: Caffe's means are those of blue, green,
red.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.building import ChainBuilder
from impasto.networks.foreign.onnx_graph import Graph, Layer, read_graph
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

CAFFE_MEANS: Final = (103.939, 116.779, 123.68)
DEEPEST: Final = 200  # residual blocks


def matches(source: Source) -> bool:
    """Whether it begins as ONNX files do, with the version of the format, or is called so."""
    return source.path.suffix.casefold() == ".onnx" or source.head[:2] in {
        bytes([8, number]) for number in range(3, 14)
    }


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    graph = read_graph(source.read_bytes())
    layers = ChainBuilder()
    walker = _Walker(layers)
    walker.walk(graph.output, None, 0)
    bgr = _is_bgr(graph, walker, options)
    top = float(options.values or _largest(graph, walker))
    scale = [top * factor for factor in walker.scale]
    network = layers.build(scale=scale, shift=walker.shift, bgr=bgr, unit=1 / top)
    told = f"{'BGR' if bgr else 'RGB'}, 0 to {top:g}"
    licence = next(
        (value for key, value in graph.metadata.items() if key.casefold() in ("license", "licence")), "unknown"
    )
    notes = []
    if not options.channels and not bgr and not _told_of_channels(graph):
        notes.append(
            "the file does not say whether it takes RGB or BGR: RGB is taken, unless `channels` says otherwise"
        )
    return Found(network, told, f"{told}, clamped", licence=licence, notes=tuple(notes))


def _is_bgr(graph: Graph, walker: _Walker, options: Options) -> bool:
    if options.channels:
        return options.channels == "bgr"
    told = _told_of_channels(graph)
    if told:
        return told.startswith("bgr")
    return bool(np.allclose(walker.shift, [-mean for mean in CAFFE_MEANS], atol=0.1))


def _told_of_channels(graph: Graph) -> str:
    return graph.metadata.get("Image.BitmapPixelFormat", "").casefold()


def _largest(graph: Graph, walker: _Walker) -> float:
    """What white is: 255, but for networks that end in a sigmoid and are not enlarged after it."""
    if graph.metadata.get("Image.NominalPixelRange", "").casefold() == "normalized_0_1":
        return 1.0
    return 1.0 if walker.ends_in == "sigmoid" and not walker.scaled else 255.0


class _Walker:
    """Takes a tree's layers to a builder, from the picture on."""

    def __init__(self, layers: ChainBuilder) -> None:
        self.layers = layers
        self.scale, self.shift = [1.0] * 3, [0.0] * 3  # of the picture, before the first layer
        self.begun = self.scaled = False
        self.ends_in = "linear"

    def walk(self, layer: Layer, stop: Layer | None, depth: int) -> None:
        """Everything after `stop`, up to and with `layer`."""
        if depth > DEEPEST:
            raise WeightsError("the graph has more residual blocks than any network of a known kind")
        rows: list[Layer] = []
        while layer is not stop and layer.kind != "add" and layer.parents:
            rows.append(layer)
            layer = layer.parents[0]
        if layer is not stop and layer.kind == "add":
            self.block(layer, stop, depth)
        elif layer is not stop and layer.kind != "input":
            raise WeightsError("the graph is no chain of layers")
        for row in reversed(rows):
            self.add(row)

    def block(self, layer: Layer, stop: Layer | None, depth: int) -> None:
        """A residual block: one of both parents is made of the other, or of what the other is a part of."""
        for inner, skip in (layer.parents, layer.parents[::-1]):
            crop = skip.how["size"] if skip.kind == "crop" else 0
            base = skip.parents[0] if skip.kind == "crop" else skip
            if _is_made_of(inner, base):
                self.walk(base, stop, depth + 1)
                self.layers.open()
                self.walk(inner, base, depth + 1)
                self.layers.close(crop)
                return
        raise WeightsError("two maps are added of which none is made of the other")

    def add(self, row: Layer) -> None:
        how: dict[str, Any] = dict(row.how)
        if row.kind == "affine":
            self.affine(how["scale"], how["shift"])
            return
        self.begun = True
        layers = self.layers
        steps: dict[str, Callable[[], None]] = {
            "pad": lambda: layers.pad(how["before"], how["after"], how["mode"]),
            "conv": lambda: layers.convolve(
                _tensor(how["weight"]), _bias(how["bias"]), stride=how["stride"], zeros=how["pads"]
            ),
            "transpose": lambda: layers.transpose(
                _tensor(how["weight"]),
                _bias(how["bias"]),
                factor=how["factor"],
                before=how["before"],
                after=how["after"],
            ),
            "norm": lambda: layers.normalise(_tensor(how["gamma"]), _tensor(how["beta"]), how["eps"]),
            "upsample": lambda: layers.upsample(how["factor"]),
            "relu": layers.relu,
            "tanh": lambda: self.end("tanh"),
            "sigmoid": lambda: self.end("sigmoid"),
            "clip": lambda: None,  # what is painted is clamped in any case
        }
        if row.kind not in steps:
            raise WeightsError(f"a {row.kind} stands where none can")
        steps[row.kind]()

    def end(self, kind: Any) -> None:
        self.layers.output(kind)
        self.ends_in = kind

    def affine(self, scale: Any, shift: Any) -> None:
        if not self.begun:
            self.scale = [a * float(b) for a, b in zip(self.scale, scale, strict=True)]
            self.shift = [a * float(b) + float(c) for a, b, c in zip(self.shift, scale, shift, strict=True)]
        elif self.ends_in == "linear":
            self.layers.affine(_tensor(scale), _tensor(shift))
        else:
            self.layers.scale([float(value) for value in scale], [float(value) for value in shift])
            self.scaled = True


def _is_made_of(layer: Layer, base: Layer) -> bool:
    """Whether `base` is reached from `layer`, whose blocks are passed by what they add to."""
    seen: set[int] = set()
    waiting = [layer]
    while waiting:
        one = waiting.pop()
        if one is base:
            return one is not layer
        if id(one) not in seen:
            seen.add(id(one))
            waiting.extend(one.parents)
    return False


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _bias(values: Any) -> Tensor | None:
    return None if values is None else _tensor(values)
