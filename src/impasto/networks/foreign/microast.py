"""EndyWon/MicroAST (Wang et al., AAAI 2023): any style, four state dicts, RGB in [0, 1] in and out.

Two encoders of one shape look at photo and style. The photo's features take the style's moments at two depths (their
deviations divide by one position less), and the convolutions of the decoder's residual blocks are modulated by means
over the style's features. Borders are reflected; enlarged is bilinearly, as the published code does (not by
repeating pixels).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.foreign.programming import ListBuilder, network_of, take
from impasto.networks.foreign.source import Found, Options, Source

__all__ = ["matches", "read"]

ROLES = ("content_encoder", "style_encoder", "modulator", "decoder")
_ENDS = {
    "decoder": {"dec1.conv1.conv_layer.weight", "dec3.1.conv_layer.weight"},
    "content_encoder": {"enc1.0.conv_layer.weight", "enc2.0.conv1.conv_layer.weight"},
    "modulator": {"weight1.0.conv_layer.weight", "bias2.0.conv_layer.weight"},
}


def matches(source: Source) -> bool:
    """Whether the state dict is one of the four."""
    return source.is_torch and any(ends <= source.state.keys() for ends in _ENDS.values())


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    files = _beside(source.path)
    states = {role: Source(path).state for role, path in files.items()}
    look, paint = ListBuilder(), ListBuilder()
    first, second = _encode(look, states["style_encoder"])
    told = [look.add("moments", of=(at,), unbiased=True) for at in (first, second)]
    for name, at in (("weight1", first), ("bias1", first), ("weight2", second), ("bias2", second)):
        _convolve(look, states["modulator"], f"{name}.0", of=at)
        told.append(look.add("average"))
    _decode(paint, states)
    return Found(
        network_of(paint, look, told),
        "RGB, 0 to 1",
        "RGB, 0 to 1, clamped",
        notes=("its alpha is not offered: use strength",),
        beside=tuple(path for path in files.values() if path != source.path),
    )


def _beside(path: Path) -> dict[str, Path]:
    """The four files, told by what stands in their names."""
    role = next((role for role in ROLES if role in path.name), None)
    if role is None:
        raise WeightsError(f"{path}: MicroAST is four files, whose names say which is which: {', '.join(ROLES)}")
    files = {other: path.with_name(path.name.replace(role, other)) for other in ROLES}
    missing = next((other for other in files.values() if not other.is_file()), None)
    if missing is not None:
        raise WeightsError(f"{path}: MicroAST is four files in one folder, and {missing.name} is not there")
    return files


def _convolve(
    layers: ListBuilder, state: Mapping[str, Tensor], name: str, *, stride: int = 1, of: int | None = None
) -> int:
    """A reflected convolution; how many groups there are is told by what comes in."""
    weight, bias = take(state, f"{name}.conv_layer")
    if weight.ndim != 4:
        raise WeightsError(f"{name} has weights of shape {tuple(weight.shape)}")
    came = layers.width(layers.last if of is None else of)
    return layers.convolve(weight, bias, stride=stride, groups=max(1, came // int(weight.shape[1])), of=of)


def _block(layers: ListBuilder, state: Mapping[str, Tensor], name: str) -> int:
    before = layers.last
    _convolve(layers, state, f"{name}.conv1")
    layers.add("relu")
    _convolve(layers, state, f"{name}.conv2")
    return layers.add("add", of=(before, layers.last))


def _encode(layers: ListBuilder, state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Features at both depths."""
    for number, stride in ((0, 1), (2, 2), (4, 1), (6, 2), (8, 1)):
        _convolve(layers, state, f"enc1.{number}", stride=stride)
        layers.add("relu")
    return _block(layers, state, "enc1.10"), _block(layers, state, "enc2.0")


def _decode(layers: ListBuilder, states: Mapping[str, Mapping[str, Tensor]]) -> None:
    _encode(layers, states["content_encoder"])
    width, state = layers.width(layers.last), states["decoder"]
    deep, modulated = 2 * width, 4 * width  # where the second depth's moments begin, and the first's w and b
    for name, moments, at in (("dec1", deep, modulated + 2 * width), ("dec2", 0, modulated)):
        before = layers.add("style_norm", at=moments, unbiased=True)
        _convolve(layers, state, f"{name}.conv1")
        layers.add("modulate", of=(layers.last, before), at=at)
        between = layers.add("relu")
        _convolve(layers, state, f"{name}.conv2")
        layers.add("modulate", of=(layers.last, between), at=at)
        layers.add("add", of=(before, layers.last))
    for number in (1, 3, 6, 8, 10):
        if number in (1, 6):
            layers.add("bilinear")
        _convolve(layers, state, f"dec3.{number}")
        if number < 10:
            layers.add("relu")
