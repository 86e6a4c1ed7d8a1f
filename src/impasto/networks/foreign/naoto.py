"""naoto0804/pytorch-AdaIN: ``decoder.pth``, and beside it its encoder, ``vgg_normalised.pth``. RGB in [0, 1].

The encoder is the VGG-19 of the paper's authors: its first convolution, 1x1, makes of RGB what Caffe's takes, its
borders are reflected, its pools take what is left at the end as a window too. Layers are numbered as they stand in a
row with their borders and ReLUs.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.programming import ListBuilder, network_of, take
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

ENCODER = "vgg_normalised.pth"
ENCODES = (0, 2, 5, 9, 12, 16, 19, 22, 25, 29)  # the last one's ReLU is relu4_1
DECODES = (1, 5, 8, 11, 14, 18, 21, 25, 28)
POOLS, ENLARGES = (5, 12, 25), (1, 14, 21)  # after these


def matches(source: Source) -> bool:
    """Whether it is the decoder's state dict, or the encoder's."""
    if not source.is_torch:
        return False
    keys = {key.split(".")[0] for key in source.state}
    return keys == {str(number) for number in DECODES} or _is_encoder(keys)


def _is_encoder(keys: set[str]) -> bool:
    return {str(number) for number in ENCODES} <= keys and all(key.isdecimal() for key in keys)


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    if _is_encoder({key.split(".")[0] for key in source.state}):
        raise WeightsError("this is the encoder alone: name its decoder, decoder.pth")
    path = source.path.with_name(ENCODER)
    if not path.is_file():
        raise WeightsError(f"its encoder is needed beside it, in the same folder, as {ENCODER}")
    encoder = Source(path).state
    look, paint = ListBuilder(), ListBuilder()
    for layers in (look, paint):
        _encode(layers, encoder)
    told = look.add("moments", unbiased=True)
    paint.add("style_norm", unbiased=True)
    for number in DECODES:
        paint.convolve(*take(source.state, str(number)))
        if number != DECODES[-1]:
            paint.add("relu")
        if number in ENLARGES:
            paint.add("nearest")
    notes = ("its alpha is not offered: use strength",)
    return Found(network_of(paint, look, (told,)), "RGB, 0 to 1", "RGB, 0 to 1, clamped", notes=notes, beside=(path,))


def _encode(layers: ListBuilder, state: Mapping[str, Tensor]) -> None:
    for number in ENCODES:
        layers.convolve(*take(state, str(number)))
        if number:
            layers.add("relu")
        if number in POOLS:
            layers.add("max_pool")
