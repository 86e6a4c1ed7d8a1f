"""Each of our networks as ONNX graphs: what paints, and for networks of any style what looks at a style picture.

What paints takes ``image`` (1, 3, h, w) in [0, 1] of any size, ``strength`` (), and its style as

- ``mix`` (1, N), weights of its N styles, their sum 1, where it knows several by name;
- ``parameters`` (1, P), what the other graph tells of a style picture, or a weighted mean of such, where it paints in
  any style; AdaIN takes ``alpha`` () as well.

What looks takes ``style`` (1, 4, h, w): colours in [0, 1], and how far each pixel counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from impasto.core.vgg import VGG
from impasto.export.encoders import average, colour_map, features_at, shares_of, split_weights
from impasto.export.graph import Graph
from impasto.export.operators import bytes_per_pixel, run_program
from impasto.export.staged import as_array, paint_staged, run_stages
from impasto.networks import restyling, universal
from impasto.networks.adain import AdaIN
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS
from impasto.networks.operators import Operators
from impasto.networks.registry import Network, as_adain, as_operators, as_styled, as_universal, painter_of
from impasto.networks.staged import Stage
from impasto.networks.universal import Predictor, Universal

__all__ = ["Part", "Parts", "parts_of"]

Shape = Sequence[int | str]
PICTURE: Shape = (1, 3, "height", "width")
STYLE: Mapping[str, Shape] = {"style": (1, 4, "height", "width")}
WINOGRAD = 2  # times as much memory for features, see `export.winograd`
PICTURES = 6  # channels at full size that wait meanwhile: the picture, and the picture padded


class Part(NamedTuple):
    """A graph before it becomes a file: see `Graph.model`.

    Attributes:
        graph: that gives the outputs.
        inputs: name -> shape.
        outputs: name -> (what is given out, shape).
        bytes_per_pixel: memory that features take at most, per pixel of the picture.
    """

    graph: Graph
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, tuple[str, Shape]]
    bytes_per_pixel: int


class Parts(NamedTuple):
    """The graphs of a network: what paints, and what looks at styles, where it takes pictures."""

    paint: Part
    look: Part | None = None


def parts_of(network: Network, new_graph: Callable[[], Graph]) -> Parts:
    """The graphs of a network, in eval mode and float32 on the CPU."""
    if (any_style := as_universal(network)) is not None:
        return Parts(_paint_universal(any_style, new_graph()), _look_universal(any_style, new_graph()))
    if (mixing := as_adain(network)) is not None:
        return Parts(_paint_adain(mixing, new_graph()), _look_adain(mixing, new_graph()))
    if (listed := as_operators(network)) is not None:
        return Parts(_paint_listed(listed, new_graph()), _look_listed(listed, new_graph()))
    return Parts(_paint_named(network, new_graph()))


def _paint_named(network: Network, g: Graph) -> Part:
    """One style, or several by name."""

    def rows(values: Tensor) -> str:
        return g.op("Reshape", g.op("MatMul", "mix", g.weight(as_array(values.flatten(1)))), g.integers(-1))

    styled = as_styled(network)
    style: dict[str, Shape] = {} if styled is None else {"mix": (1, len(styled.styles))}
    return _with_strength(g, style, paint_staged(g, painter_of(network), rows), painter_of(network).stages())


def _with_strength(g: Graph, style: Mapping[str, Shape], painted: str, stages: Sequence[Stage]) -> Part:
    """A share of the painting over the photo."""
    inputs = {"image": PICTURE, **style, "strength": ()}
    outputs = {"painting": (g.blend("image", painted, "strength"), PICTURE)}
    return Part(g, inputs, outputs, _bytes_per_pixel(stages) * (WINOGRAD if g.winograd else 1))


def _bytes_per_pixel(stages: Sequence[Stage], area: float = 1.0) -> int:
    """Memory that the stages take at most, per pixel of the picture: their input padded, their output three times.

    `area` is that of the first stage's input, as a share of the picture's.
    """
    most = 0.0
    for stage in stages:
        conv = stage.conv.conv2d
        area *= stage.upsample**2 * stage.spread**2 / stage.unshuffle**2
        before = conv.in_channels * area
        area /= conv.stride[0] ** 2
        most = max(most, 2 * before + 3 * conv.out_channels * area)
        area *= stage.shuffle**2
    return round(4 * (most + PICTURES))


def _seeing_bytes(vgg: VGG) -> int:
    """Memory that a backbone takes at most, per pixel: its first maps, before and after a convolution, and a copy."""
    return 4 * (3 * vgg.width(vgg.convolutions[0]) + PICTURES)


# -- universal --------------------------------------------------------------------------------------------------------


def _places(predictor: Predictor) -> tuple[dict[str, tuple[int, int]], int]:
    """Where in ``parameters`` each parameter of the painting network lies, name -> (from, to); and their length."""
    found, at = {}, 0
    for name, shape in predictor.shapes.items():
        found[name] = (at, at + shape.numel())
        at += shape.numel()
    return found, at


def _paint_universal(network: Universal, g: Graph) -> Part:
    places, length = _places(network.predictor)
    names = {id(value): name for name, value in network.painter.named_parameters()}

    def rows(values: Tensor) -> str:
        return g.op("Reshape", _columns(g, "parameters", *places[names[id(values)]]), g.integers(-1))

    painted = paint_staged(g, network.painter, rows)
    return _with_strength(g, {"parameters": (1, length)}, painted, network.painter.stages())


def _look_universal(network: Universal, g: Graph) -> Part:
    """`Universal.encode_style`."""
    rgb, weights = split_weights(g, "style")
    shares = shares_of(g, weights)
    features = features_at(g, network.encoder, g.pad_to_multiple(rgb, STRIDE, SMALLEST), TAPS)
    statistics = []
    for tap in TAPS:
        mean, variance = g.moments(features[tap])
        deviation = g.op("Sqrt", g.op("Add", variance, g.number(1e-5)))
        statistics += [g.op("Flatten", value) for value in (mean, deviation)]
    signature = g.op("Max", g.op("Concat", *statistics, axis=1), g.number(0))
    signature = g.op("Sqrt", g.op("Add", signature, g.number(universal.FAINT)))
    flat = _predicted(g, network.predictor, signature)
    matrix, offset = colour_map(g, rgb, shares)
    found = {
        "palette.matrix": g.op("Reshape", matrix, g.integers(1, 9)),
        "palette.offset": g.op("Reshape", offset, g.integers(1, 3)),
    }
    places, length = _places(network.predictor)
    parts = {name: _columns(g, flat, *place) for name, place in places.items()}
    parts |= {name: g.op("Add", parts[name], value) for name, value in found.items()}
    outputs = {"parameters": (g.op("Concat", *parts.values(), axis=1), (1, length))}
    return Part(g, STYLE, outputs, _seeing_bytes(network.encoder))


def _predicted(g: Graph, predictor: Predictor, signature: str) -> str:
    """`Predictor.forward` before the colours are added: (1, D) -> (1, P)."""
    x = g.op("Sub", signature, g.constant(as_array(predictor.mean)[None]))
    x = g.op("MatMul", x, g.weight(as_array(predictor.basis)))
    x = g.op("Clip", x, g.number(-universal.LOUD), g.number(universal.LOUD))
    x = _linear(g, g.op("Mul", x, g.number(predictor.basis.shape[1] ** -0.5)), predictor.summary)
    x = g.op("Mul", g.op("Mul", x, g.op("Sigmoid", x)), g.number(predictor.summary.out_features**-0.5))
    return _linear(g, x, predictor.rows)


def _linear(g: Graph, x: str, layer: nn.Linear) -> str:
    """(1, I) -> (1, O)."""
    return g.op("Add", g.op("MatMul", x, g.weight(as_array(layer.weight.T))), g.constant(as_array(layer.bias)[None]))


def _columns(g: Graph, row: str, begin: int, end: int) -> str:
    """(1, P) -> (1, end - begin)."""
    return g.op("Slice", row, g.integers(begin), g.integers(end), g.integers(1))


# -- AdaIN ------------------------------------------------------------------------------------------------------------


def _paint_adain(network: AdaIN, g: Graph) -> Part:
    """`BoundAdaIN`; the photo as the decoder would draw it is computed where the strength is below 1 alone."""
    features = features_at(g, network.encoder, g.pad_to_multiple("image", STRIDE, SMALLEST), TAPS[-1:])[TAPS[-1]]
    channels = network.encoder.width(TAPS[-1])

    def of_style(begin: int) -> str:
        return g.op("Reshape", _columns(g, "parameters", begin, begin + channels), g.integers(1, channels, 1, 1))

    mean, variance = g.moments(features)
    deviation = g.op("Sqrt", g.op("Add", variance, g.number(restyling.EPS)))
    scale = g.op("Div", of_style(channels), deviation)
    restyled = g.op("Add", g.op("Mul", g.op("Sub", features, mean), scale), of_style(0))
    painted = _decode(g, network, g.blend(features, restyled, g.op("Mul", "alpha", "strength")))
    with g.branch("full_strength") as full:
        full.result = g.op("Identity", painted)
    with g.branch("less") as less:
        lost = g.op("Sub", "image", _decode(g, network, features))
        faded = g.op("Mul", lost, g.op("Sub", g.number(1), "strength"))
        less.result = g.op("Clip", g.op("Add", painted, faded), g.number(0), g.number(1))
    weaker = g.op("Less", "strength", g.number(1))
    out = g.op("If", weaker, then_branch=less.graph, else_branch=full.graph)
    inputs: dict[str, Shape] = {"image": PICTURE, "parameters": (1, 2 * channels), "alpha": (), "strength": ()}
    most = max(_seeing_bytes(network.encoder), _bytes_per_pixel(network.stages(), STRIDE**-2))
    return Part(g, inputs, {"painting": (out, PICTURE)}, most)


def _decode(g: Graph, network: AdaIN, features: str) -> str:
    drawn = g.op("Clip", run_stages(g, network.stages(), features), g.number(0), g.number(1))
    return g.crop(drawn, "image")


def _look_adain(network: AdaIN, g: Graph) -> Part:
    """`AdaIN.encode_style`: means, then deviations."""
    rgb, weights = split_weights(g, g.pad_to_multiple("style", STRIDE, SMALLEST))
    features = features_at(g, network.encoder, rgb, TAPS[-1:])[TAPS[-1]]
    shares = shares_of(g, g.op("AveragePool", weights, kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2))
    mean = average(g, features, shares)
    centred = g.op("Sub", features, mean)
    variance = average(g, g.op("Mul", centred, centred), shares)
    deviation = g.op("Sqrt", g.op("Add", variance, g.number(restyling.EPS)))
    both = g.op("Concat", g.op("Flatten", mean), g.op("Flatten", deviation), axis=1)
    outputs = {"parameters": (both, (1, 2 * network.encoder.width(TAPS[-1])))}
    return Part(g, STYLE, outputs, _seeing_bytes(network.encoder))


# -- operators --------------------------------------------------------------------------------------------------------


def _paint_listed(network: Operators, g: Graph) -> Part:
    """`Operators.forward`."""
    larger = g.pad_to_multiple("image", 1, network.SMALLEST)
    (drawn,) = run_program(g, network.paint, larger, (len(network.config.paint),))
    painted = g.crop(g.op("Clip", drawn, g.number(0), g.number(1)), "image")
    inputs = {"image": PICTURE, "parameters": (1, network.config.numbers), "strength": ()}
    outputs = {"painting": (g.blend("image", painted, "strength"), PICTURE)}
    return Part(g, inputs, outputs, bytes_per_pixel(network.paint, 512))


def _look_listed(network: Operators, g: Graph) -> Part:
    """`Operators.encode_style`."""
    rgb, _ = split_weights(g, "style")
    values = run_program(g, network.look, g.pad_to_multiple(rgb, 1, network.smallest_style), network.config.told)
    flat = [g.op("Flatten", value) for value in values]
    told = g.op("Concat", *flat, axis=1) if len(flat) > 1 else flat[0]
    return Part(g, STYLE, {"parameters": (told, (1, network.config.numbers))}, bytes_per_pixel(network.look, 512))
