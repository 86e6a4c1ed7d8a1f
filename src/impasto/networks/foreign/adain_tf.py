"""AdaIN of TensorFlow as checkpoints: eridgd/AdaIN-TF, and elleryqueenhomels/arbitrary_style_transfer.

Both are the paper's encoder and decoder, with reflected borders, and pools that take what is left at the end as a
window. The first has Keras' names: its encoder begins with the 1x1 convolution of the paper's authors, and RGB from 0
to 1 goes in; its decoder's layers are numbered, and where Keras made them twice there are two rows of them, of which
the trained one has what its optimiser keeps. The second calls all layers by VGG's names, and takes and gives BGR minus
Caffe's means.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.programming import ListBuilder, network_of
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.foreign.tf_checkpoint import is_checkpoint, read_checkpoint, shapes_of

__all__ = ["matches", "read"]

CAFFE_MEANS: Final = (103.939, 116.779, 123.68)  # B, G, R
ENCODES: Final = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1")
DECODES: Final = ENCODES[::-1]
NUMBER: Final = re.compile(r"conv2d(?:_(\d+))?$")
NAMED: Final = re.compile(r"(?:.*/)?(encoder|decoder)/conv(\d_\d)/kernel")
EPS: Final = 1e-5
TINY: Final = 1e-12  # where nothing is added to the style's variances


def matches(source: Source) -> bool:
    """Whether it is a checkpoint with a decoder of nine convolutions."""
    return is_checkpoint(source.path) and bool(_decoder(shapes_of(source.path)))


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    shapes = shapes_of(source.path)
    decoder, first = _decoder(shapes), _first(shapes)
    encoder = [_encoding(shapes, name) for name in ENCODES]
    kernels = [*decoder, *encoder, *([first] if first else [])]
    wanted = {name for kernel in kernels for name in (kernel, _bias(kernel))}
    tensors = read_checkpoint(source.path, wanted.__contains__)
    look, paint = ListBuilder(), ListBuilder()
    for layers in (look, paint):
        if first:
            layers.convolve(*_take(tensors, first))
        else:
            layers.add("reverse")
            layers.affine([255.0] * 3, [-mean for mean in CAFFE_MEANS])
        _encode(layers, tensors, encoder)
    told = look.add("moments", eps=TINY if first else EPS)
    paint.add("style_norm", eps=EPS)
    for name, kernel in zip(DECODES, decoder, strict=True):
        paint.convolve(*_take(tensors, kernel))
        if name != "1_1":
            paint.add("relu")
        if name in ("4_1", "3_1", "2_1"):
            paint.add("nearest")
    if not first:
        paint.affine([1 / 255] * 3, [mean / 255 for mean in CAFFE_MEANS])
        paint.add("reverse")
    values = "RGB, 0 to 1" if first else f"BGR, 0 to 255, minus {', '.join(map(str, CAFFE_MEANS))}"
    notes = ("its alpha is not offered: use strength",)
    return Found(network_of(paint, look, (told,)), values, f"{values}, clamped", notes=notes)


def _decoder(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The kernels of the decoder in their order; none where there is no such decoder."""
    named = [name for name in (_named(shapes, "decoder", part) for part in DECODES) if name]
    if len(named) == len(DECODES):
        return named
    rows = [(_number(name), name) for name in shapes if "decoder" in name and name.endswith("/kernel")]
    numbered = [name for number, name in sorted(rows) if number >= 0]
    sets = [numbered[i : i + 9] for i in range(0, len(numbered), 9)]
    sets = [one for one in sets if len(one) == 9 and _are_in_a_row([shapes[name] for name in one])]
    trained = [one for one in sets if any(f"{one[0]}/Adam" in name for name in shapes)]
    return [*trained, *sets[::-1], []][0]


def _number(name: str) -> int:
    found = NUMBER.search(name.split("/")[-2] if "/" in name else "")
    return int(found[1] or 0) if found else -1


def _are_in_a_row(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether each convolution takes what the one before gives, and the last gives colours."""
    return (
        all(len(shape) == 4 and shape[:2] == (3, 3) for shape in shapes)
        and all(a[3] == b[2] for a, b in itertools.pairwise(shapes))
        and shapes[-1][3] == 3
    )


def _named(shapes: Mapping[str, tuple[int, ...]], part: str, layer: str) -> str | None:
    return next((name for name in shapes if (row := NAMED.fullmatch(name)) and (row[1], row[2]) == (part, layer)), None)


def _encoding(shapes: Mapping[str, tuple[int, ...]], layer: str) -> str:
    """The kernel of a layer of the encoder."""
    found = _named(shapes, "encoder", layer)
    if found is None:
        rows = (name for name in shapes if name.endswith(f"conv{layer}/kernel") and "decoder" not in name)
        found = next(rows, None)
    if found is None:
        raise WeightsError(f"conv{layer} of its encoder is missing: a checkpoint of the whole network is needed")
    return found


def _first(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The kernel of the 1x1 convolution before the encoder."""
    rows = (name for name, shape in shapes.items() if name.endswith("/kernel") and shape == (1, 1, 3, 3))
    return next(rows, None)


def _bias(kernel: str) -> str:
    return f"{kernel.removesuffix('kernel')}bias"


def _take(tensors: Mapping[str, Tensor], kernel: str) -> tuple[Tensor, Tensor]:
    """As torch has them."""
    weight, bias = tensors[kernel], tensors.get(_bias(kernel))
    if bias is None or weight.ndim != 4:
        raise WeightsError(f"{_bias(kernel)} is missing, or {kernel} is no kernel")
    return weight.permute(3, 2, 0, 1).contiguous(), bias


def _encode(layers: ListBuilder, tensors: Mapping[str, Tensor], encoder: Sequence[str]) -> None:
    for name, kernel in zip(ENCODES, encoder, strict=True):
        if name in ("2_1", "3_1", "4_1"):
            layers.add("max_pool")
        layers.convolve(*_take(tensors, kernel))
        layers.add("relu")
