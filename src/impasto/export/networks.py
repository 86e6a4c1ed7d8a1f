"""Each of our networks as ONNX graphs: what paints, and for networks of any style what looks at a style picture.

What paints takes ``image`` (1, 3, h, w) in [0, 1] of any size, ``strength`` (), and its style as

- ``mix`` (1, N), weights of its N styles, their sum 1, where it knows several by name;
- ``parameters`` (1, P), what the other graph tells of a style picture, or a weighted mean of such, where it paints in
  any style; AdaIN takes ``alpha`` () as well.

What looks takes ``style`` (1, 4, h, w): colours in [0, 1], and how far each pixel counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.export.graph import NORM_EPS, Graph
from impasto.networks import palette, restyling, universal
from impasto.networks.adain import AdaIN
from impasto.networks.brisk import Brisk
from impasto.networks.chain import Chain, ChainConv, ChainNorm
from impasto.networks.encoded import SMALLEST, STRIDE, TAPS
from impasto.networks.norms import ConditionalInstanceNorm, InstanceNorm
from impasto.networks.registry import Network, as_adain, as_brisk, as_chain, as_styled, as_universal, painter_of
from impasto.networks.staged import Stage, StagedNetwork
from impasto.networks.universal import Universal

if TYPE_CHECKING:
    from impasto.networks.johnson import Johnson

__all__ = ["Part", "Parts", "parts_of"]

Shape = Sequence[int | str]
PICTURE: Shape = (1, 3, "height", "width")
STYLE: Shape = (1, 4, "height", "width")
PICTURES = 6  # channels at full size that wait meanwhile: the picture, and the picture padded
Rows = Callable[[str, Tensor], str]
"""Name and value of a parameter with a row for every style (N, ...) -> what it is in the style asked for, flattened."""


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
    return Parts(_paint_named(network, new_graph()))


# -- networks made of stages ------------------------------------------------------------------------------------------


def _paint_named(network: Network, g: Graph) -> Part:
    """One style, or several by name."""
    inputs: dict[str, Shape] = {"image": PICTURE}
    if styled := as_styled(network):
        inputs["mix"] = (1, len(styled.styles))
    painter = painter_of(network)

    def rows(_: str, values: Tensor) -> str:
        return g.op("Reshape", g.op("MatMul", "mix", g.weight(_array(values.flatten(1)))), g.integers(-1))

    return _with_strength(g, inputs, _paint_staged(g, painter, rows), painter.stages())


def _paint_staged(g: Graph, network: StagedNetwork, rows: Rows) -> str:
    """`StagedNetwork.paint` of the input ``image``."""
    padded = g.pad_to_multiple("image", network.STRIDE, network.SMALLEST)
    chain = as_chain(cast(Network, network))
    if chain is not None:
        x = _scaled(g, _swapped(g, padded, chain), chain.config.scale, chain.config.shift)
        features = _run_stages(g, network.stages(), x, rows)
        return g.crop(_colours_of_chain(g, features, chain), "image")
    x = g.op("Sub", padded, g.mean(padded))  # changes the rounding alone: see `StagedNetwork.centre`
    if network.INPUT_SCALE != 1:
        x = g.op("Mul", x, g.number(network.INPUT_SCALE))
    features = _run_stages(g, network.stages(), x, rows)
    return g.crop(_to_picture(g, network, features, padded, rows), "image")


def _swapped(g: Graph, x: str, chain: Chain) -> str:
    return g.op("Gather", x, g.integers(2, 1, 0), axis=1) if chain.config.bgr else x


def _scaled(g: Graph, x: str, scale: Sequence[float], shift: Sequence[float]) -> str:
    factors, terms = (g.constant(np.array(values, np.float32).reshape(1, 3, 1, 1)) for values in (scale, shift))
    return g.op("Add", g.op("Mul", x, factors), terms)


def _colours_of_chain(g: Graph, features: str, chain: Chain) -> str:
    """`Chain.to_picture`."""
    how = {"tanh": "Tanh", "sigmoid": "Sigmoid"}.get(chain.config.output)
    x = features if how is None else g.op(how, features)
    x = _swapped(g, _scaled(g, x, chain.config.gain, chain.config.offset), chain)
    return g.op("Clip", x, g.number(0), g.number(1))


def _convolved(g: Graph, x: str, stage: Stage) -> str:
    """The convolution of a stage, its border included."""
    conv = stage.conv.conv2d
    weight, bias, stride = _array(conv.weight), _bias(conv.bias), conv.stride[0]
    if not isinstance(stage.conv, ChainConv):
        return g.convolution(g.pad(x, stage.conv.halo, "reflect"), weight, bias, stride=stride)
    if stage.conv.padding == "same":
        return g.convolution_same(x, weight, bias, stride)
    if stage.spread > 1:
        return g.transposed(x, weight, bias, factor=stage.spread, pads=stage.conv.padding)
    mode: Literal["reflect", "edge", "constant"] = "reflect" if stage.conv.mode == "reflect" else "constant"
    mode = "edge" if stage.conv.mode == "replicate" else mode
    before, after = stage.conv.padding
    return g.convolution(g.pad(x, before, mode, after), weight, bias, stride=stride)


def _run_stages(g: Graph, stages: Sequence[Stage], x: str, rows: Rows | None = None) -> str:
    """See `staged.run_stages`."""
    kept = x
    for number, stage in enumerate(stages):
        kept = x if stage.opens else kept
        x = g.pad(x, stage.extend, "reflect")
        if stage.unshuffle > 1:
            x = g.op("SpaceToDepth", x, blocksize=stage.unshuffle)
        if stage.upsample > 1:
            x = _enlarge(g, x, stage.upsample)
        x = _convolved(g, x, stage)
        if stage.relu_first:
            x = g.op("Relu", x)
        if stage.shuffle > 1:
            x = g.op("DepthToSpace", x, blocksize=stage.shuffle, mode="DCR")
        if stage.norm is not None:
            eps = stage.norm.eps if isinstance(stage.norm, ChainNorm) else NORM_EPS
            x = g.instance_norm(x, *_affine(g, stage.norm, number, rows), eps)
        if stage.relu:
            x = g.op("Relu", x)
        if stage.closes:
            x = g.op("Add", x, g.trim(kept, stage.crop))
        if stage.relu_sum:
            x = g.op("Relu", x)
    return x


def _enlarge(g: Graph, x: str, factor: int) -> str:
    """Each pixel repeated."""
    scales = g.constant(np.array([1, 1, factor, factor], np.float32))
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g.op("Resize", x, "", scales, **how)


def _affine(g: Graph, norm: InstanceNorm | ConditionalInstanceNorm, number: int, rows: Rows | None) -> tuple[str, str]:
    """γ and β of the style asked for, (C,) each."""
    if isinstance(norm, ConditionalInstanceNorm) and rows is not None:
        return rows(f"{number}.gamma", norm.gamma), rows(f"{number}.beta", norm.beta)
    gamma, beta = norm.affine(None)
    return g.constant(_array(gamma[0])), g.constant(_array(beta[0]))


def _to_picture(g: Graph, network: StagedNetwork, features: str, image: str, rows: Rows) -> str:
    """What the last stage gives, as a picture."""
    brisk = as_brisk(cast(Network, network))
    if brisk is not None and brisk.palette is not None:
        colours = brisk.palette
        matrix = g.op("Reshape", rows("palette.matrix", colours.matrix), g.integers(3, 3))
        offset = g.op(
            "Sub", rows("palette.offset", colours.offset), g.op("ReduceSum", matrix, g.integers(1), keepdims=0)
        )
        kernel = g.op("Reshape", g.op("Mul", matrix, g.number(2)), g.integers(3, 3, 1, 1))
        toned = g.op("Conv", image, kernel, offset, kernel_shape=[1, 1])
        return g.op("Sigmoid", g.op("Add", features, toned))
    output = cast("Johnson", network).config.output if network.METHOD == "johnson" else "sigmoid"
    if output == "sigmoid":
        return g.op("Sigmoid", features)
    if output == "tanh":
        return g.op("Mul", g.op("Add", g.op("Tanh", features), g.number(1)), g.number(0.5))
    return g.op("Clip", g.op("Mul", features, g.number(1 / 255)), g.number(0), g.number(1))


def _with_strength(g: Graph, inputs: dict[str, Shape], painted: str, stages: Sequence[Stage]) -> Part:
    inputs["strength"] = ()
    outputs = {"painting": (g.blend("image", painted, "strength"), PICTURE)}
    return Part(g, inputs, outputs, _bytes_per_pixel(stages))


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


# -- universal --------------------------------------------------------------------------------------------------------


def _layout(painter: Brisk, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """Where in ``parameters`` each parameter of the painting network lies: name -> (from, to)."""
    found, at = {}, 0
    for name, shape in shapes.items():
        found[name] = (at, at + int(np.prod(shape)))
        at = found[name][1]
    return found


def _paint_universal(network: Universal, g: Graph) -> Part:
    places = _layout(network.painter, network.predictor.shapes)
    names = {id(value): name for name, value in network.painter.named_parameters()}

    def rows(_: str, values: Tensor) -> str:
        begin, end = places[names[id(values)]]
        part = g.op("Slice", "parameters", g.integers(begin), g.integers(end), g.integers(1))
        return g.op("Reshape", part, g.integers(-1))

    count = max(end for _, end in places.values())
    inputs: dict[str, Shape] = {"image": PICTURE, "parameters": (1, count)}
    return _with_strength(g, inputs, _paint_staged(g, network.painter, rows), network.painter.stages())


def _look_universal(network: Universal, g: Graph) -> Part:
    """`Universal.encode_style`."""
    rgb, shares = _split(g)
    features = _features(g, network.encoder, g.pad_to_multiple(rgb, STRIDE, SMALLEST), TAPS)
    statistics = []
    for tap in TAPS:
        mean, variance = g.moments(features[tap])
        deviation = g.op("Sqrt", g.op("Add", variance, g.number(1e-5)))
        statistics += [g.op("Flatten", value) for value in (mean, deviation)]
    signature = g.op("Max", g.op("Concat", *statistics, axis=1), g.number(0))
    signature = g.op("Sqrt", g.op("Add", signature, g.number(universal.FAINT)))
    predictor = network.predictor
    x = g.op(
        "MatMul", g.op("Sub", signature, g.constant(_array(predictor.mean)[None])), g.weight(_array(predictor.basis))
    )
    x = g.op("Clip", x, g.number(-universal.LOUD), g.number(universal.LOUD))
    x = _linear(g, g.op("Mul", x, g.number(predictor.basis.shape[1] ** -0.5)), predictor.summary)
    x = g.op("Mul", g.op("Mul", x, g.op("Sigmoid", x)), g.number(predictor.summary.out_features**-0.5))
    flat = _linear(g, x, predictor.rows)
    outputs = {"parameters": _with_colours(g, network, flat, rgb, shares)}
    return Part(g, {"style": STYLE}, outputs, _seeing_bytes(network.encoder))


def _with_colours(g: Graph, network: Universal, flat: str, rgb: str, shares: str) -> tuple[str, Shape]:
    """The parameters (1, P), to those of the palette added what `palette.colour_map` finds in the picture."""
    places = _layout(network.painter, network.predictor.shapes)
    matrix, offset = _colour_map(g, rgb, shares)
    found = {
        "palette.matrix": g.op("Reshape", matrix, g.integers(1, 9)),
        "palette.offset": g.op("Reshape", offset, g.integers(1, 3)),
    }
    parts = []
    for name, (begin, end) in places.items():
        part = g.op("Slice", flat, g.integers(begin), g.integers(end), g.integers(1))
        parts.append(g.op("Add", part, found[name]) if name in found else part)
    return g.op("Concat", *parts, axis=1), (1, max(end for _, end in places.values()))


def _colour_map(g: Graph, rgb: str, shares: str) -> tuple[str, str]:
    """See `palette.colour_map`: matrix (3, 3) and offset (3, 1)."""
    bounded = g.op("Clip", rgb, g.number(palette.EPS), g.number(1 - palette.EPS))
    logits = g.op("Log", g.op("Div", bounded, g.op("Sub", g.number(1), bounded)))
    mean = _average(g, logits, shares)
    centred = g.op("Sub", logits, mean)
    rows = []
    for channel in range(3):  # of the covariance
        one = g.op("Slice", centred, g.integers(channel), g.integers(channel + 1), g.integers(1))
        rows.append(g.op("Reshape", _average(g, g.op("Mul", centred, one), shares), g.integers(1, 3)))
    covariance = g.op("Add", g.op("Concat", *rows, axis=0), g.constant(palette.RIDGE * np.eye(3, dtype=np.float32)))
    photo = np.array(palette.PHOTO_COVARIANCE) + palette.RIDGE * np.eye(3)
    values, vectors = np.linalg.eigh(photo)
    inverse_root = (vectors * values**-0.5) @ vectors.T
    scaled = g.constant((palette.GENTLE * inverse_root).astype(np.float32))
    matrix = g.op("MatMul", _root(g, covariance), scaled)
    shift = g.op("MatMul", matrix, g.constant(np.array(palette.PHOTO_MEAN, np.float32)[:, None]))
    return matrix, g.op("Sub", g.op("Reshape", mean, g.integers(3, 1)), shift)


def _average(g: Graph, x: str, shares: str) -> str:
    """(1, C, h, w) -> (1, C, 1, 1), positions counted by their shares, whose mean is 1."""
    return g.mean(g.op("Mul", x, shares))


def _root(g: Graph, matrix: str, rounds: int = 16) -> str:
    """The square root of a symmetric positive matrix (3, 3), by the coupled Newton iteration (Higham 2008, eq. 6.35).

    Of ours no eigenvalue is under a hundredth of their sum, after which a dozen rounds are exact in float32.
    """
    eye = np.eye(3, dtype=np.float32)
    trace = g.op("ReduceSum", g.op("Mul", matrix, g.constant(eye)), g.integers(0, 1), keepdims=1)
    y, z = g.op("Div", matrix, trace), g.constant(eye)
    for _ in range(rounds):
        step = g.op("Mul", g.op("Sub", g.constant(3 * eye), g.op("MatMul", z, y)), g.number(0.5))
        y, z = g.op("MatMul", y, step), g.op("MatMul", step, z)
    return g.op("Mul", y, g.op("Sqrt", trace))


# -- AdaIN ------------------------------------------------------------------------------------------------------------


def _paint_adain(network: AdaIN, g: Graph) -> Part:
    """`BoundAdaIN`; the photo as the decoder would draw it is computed where the strength is below 1 alone."""
    features = _features(g, network.encoder, g.pad_to_multiple("image", STRIDE, SMALLEST), TAPS[-1:])[TAPS[-1]]
    channels = network.encoder.width(TAPS[-1])

    def part(begin: int, end: int) -> str:
        row = g.op("Slice", "parameters", g.integers(begin), g.integers(end), g.integers(1))
        return g.op("Reshape", row, g.integers(1, channels, 1, 1))

    mean, variance = g.moments(features)
    deviation = g.op("Sqrt", g.op("Add", variance, g.number(restyling.EPS)))
    scale = g.op("Div", part(channels, 2 * channels), deviation)
    restyled = g.op("Add", g.op("Mul", g.op("Sub", features, mean), scale), part(0, channels))
    share = g.op("Mul", "alpha", "strength")
    painted = _decode(g, network, g.blend(features, restyled, share))
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
    drawn = g.op("Clip", _run_stages(g, network.stages(), features), g.number(0), g.number(1))
    return g.crop(drawn, "image")


def _look_adain(network: AdaIN, g: Graph) -> Part:
    """`AdaIN.encode_style`: means and deviations."""
    padded = g.pad_to_multiple("style", STRIDE, SMALLEST)
    rgb, weights = (
        g.op("Slice", padded, g.integers(0), g.integers(3), g.integers(1)),
        g.op("Slice", padded, g.integers(3), g.integers(4), g.integers(1)),
    )
    features = _features(g, network.encoder, rgb, TAPS[-1:])[TAPS[-1]]
    small = g.op("AveragePool", weights, kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2)
    shares = _shares(g, small)
    mean = _average(g, features, shares)
    centred = g.op("Sub", features, mean)
    variance = _average(g, g.op("Mul", centred, centred), shares)
    deviation = g.op("Sqrt", g.op("Add", variance, g.number(restyling.EPS)))
    both = g.op("Concat", g.op("Flatten", mean), g.op("Flatten", deviation), axis=1)
    outputs: dict[str, tuple[str, Shape]] = {"parameters": (both, (1, 2 * network.encoder.width(TAPS[-1])))}
    return Part(g, {"style": STYLE}, outputs, _seeing_bytes(network.encoder))


# -- backbones --------------------------------------------------------------------------------------------------------


def _split(g: Graph) -> tuple[str, str]:
    """Colours of the input ``style``, and the shares of its pixels, whose mean is 1."""
    rgb = g.op("Slice", "style", g.integers(0), g.integers(3), g.integers(1))
    return rgb, _shares(g, g.op("Slice", "style", g.integers(3), g.integers(4), g.integers(1)))


def _shares(g: Graph, weights: str) -> str:
    return g.op("Div", weights, g.op("Max", g.mean(weights), g.number(float(np.finfo(np.float32).tiny))))


def _features(g: Graph, vgg: VGG, image: str, taps: Sequence[str]) -> dict[str, str]:
    """`VGG.forward`: features at each of the taps, which are all after a ReLU."""
    found: dict[str, str] = {}
    x = _normalised(g, vgg, image)
    for name in vgg.convolutions:
        if name.endswith("_1") and name != "conv1_1":
            x = _pooled(g, vgg, x)
        if name == "conv1_1" and vgg.padding == "replicate":
            x = g.pad(x, 1, "edge")
        for kernel in vgg.kernels(name):
            x = g.convolution(x, _array(kernel.weight), _array(kernel.bias), zeros=kernel.padding)
        x = g.op("Relu", x)
        if (tap := name.replace("conv", "relu")) in taps:
            found[tap] = x
        if len(found) == len(taps):
            return found
    raise OptionError(f"{vgg.name} lacks one of {', '.join(taps)}")


def _seeing_bytes(vgg: VGG) -> int:
    """Memory that a backbone takes at most, per pixel: its first maps, before and after a convolution, and a copy."""
    return 4 * (3 * vgg.width(vgg.convolutions[0]) + PICTURES)


def _normalised(g: Graph, vgg: VGG, image: str) -> str:
    how = vgg.normalisation
    scale = how.scale / np.array(how.std, np.float32)
    shift = np.array(how.mean, np.float32) / np.array(how.std, np.float32)
    x = g.op("Mul", image, g.constant(scale.reshape(1, 3, 1, 1).astype(np.float32)))
    x = g.op("Sub", x, g.constant(shift.reshape(1, 3, 1, 1).astype(np.float32)))
    return g.op("Gather", x, g.integers(2, 1, 0), axis=1) if how.bgr else x


def _pooled(g: Graph, vgg: VGG, x: str) -> str:
    """`VGG.pooled`."""
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    if vgg.pool == "max":
        x = g.op("MaxPool", x, **window)
    elif vgg.pool == "average":
        x = g.op("AveragePool", x, **window)
    else:
        square = g.op("Mul", g.op("AveragePool", g.op("Mul", x, x), **window), g.number(4))
        x = g.op("Sqrt", g.op("Add", square, g.number(1e-12)))
    return x if vgg.pool_scale == 1 else g.op("Mul", x, g.number(vgg.pool_scale))


def _linear(g: Graph, x: str, layer: nn.Linear) -> str:
    """(1, I) -> (1, O)."""
    return g.op("Add", g.op("MatMul", x, g.weight(_array(layer.weight.T))), g.constant(_array(layer.bias)[None]))


def _bias(bias: Tensor | None) -> NDArray[np.float32] | None:
    return None if bias is None else _array(bias)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())
