"""ONNX files held against the network that they were made from, in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.core.host import in_our_settings
from impasto.light.graphs import load_onnxruntime
from impasto.networks.checkpoint import load_model
from impasto.networks.inference import bind
from impasto.networks.registry import kind_of
from impasto.networks.shipped import find_model

__all__ = ["SIZES", "Difference", "difference", "differences", "open_session"]

SIZES: Final = ((96, 128), (97, 131), (255, 254), (33, 513), (240, 321))
"""Heights and widths at which files are compared: most are odd, and none is the example of an exporter."""
STYLE_SIDE: Final = 203

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """How a graph's painting differs from the network's, in steps of 255.

    Attributes:
        what: style and size.
        largest, mean: of all values.
        share: of values that, as bytes, differ by more than one.
    """

    what: str
    largest: float
    mean: float
    share: float


@in_our_settings
def differences(
    model: str | PathLike[str], files: Sequence[Path], *, sizes: Sequence[tuple[int, int]] = SIZES
) -> Iterator[Difference]:
    """Paint with a network and with the files that `export_onnx` made of it, at each of the sizes.

    The pictures are noise of many scales, whose upper half is faint; the seed is fixed. Where a network knows several
    styles, each size takes another.
    """
    network, _ = load_model(find_model(model))
    kind, names = kind_of(network), network.styles
    paint, *looks = map(open_session, files)
    for number, size in enumerate(sizes):
        photo = _noise(size, number)
        inputs: dict[str, Array] = {"image": photo, "strength": np.array(1, np.float32)}
        styles: list[tuple[str | torch.Tensor, float]] = []
        what = "its style"
        if kind.styled_by == "pictures":
            what, style = "a picture", _noise((160 + 7 * number, STYLE_SIDE), 100 + number)
            inputs["parameters"] = looks[0].run(None, {"style": _opaque(style)})[0]
            styles = [(torch.from_numpy(style), 1.0)]
        elif kind.styled_by == "names":
            what = names[number * 7 % len(names)]
            inputs["mix"] = np.array([[name == what for name in names]], np.float32)
            styles = [(what, 1.0)]
        if kind.alpha:
            inputs["alpha"] = np.array(1, np.float32)
        wanted = bind(network, styles)(torch.from_numpy(photo)).numpy()
        yield difference(f"{what}, {size[1]}x{size[0]} px", wanted, _painted(paint, inputs))


def difference(what: str, wanted: Array, found: Array) -> Difference:
    """Of two paintings (1, 3, h, w) in [0, 1]."""
    apart = np.abs(wanted - found) * 255
    steps = np.abs(np.round(wanted * 255) - np.round(found * 255))
    return Difference(what, float(apart.max()), float(apart.mean(dtype=np.float64)), float((steps > 1).mean()))


def open_session(file: Path | bytes) -> Any:
    """A file, or what stands in it, in onnxruntime on the processor."""
    return load_onnxruntime().InferenceSession(
        file if isinstance(file, bytes) else str(file), providers=["CPUExecutionProvider"]
    )


def _painted(session: Any, inputs: Mapping[str, Array]) -> Array:
    painted: Array = session.run(None, inputs)[0]
    return painted


def _opaque(picture: Array) -> Array:
    return np.concatenate([picture, np.ones_like(picture[:, :1])], 1)


def _noise(size: tuple[int, int], seed: int) -> Array:
    """A picture (1, 3, h, w) in [0, 1] with structure at many scales."""
    chance, total = np.random.default_rng(seed), np.zeros((*size, 3), np.float32)
    for scale in (2, 4, 8, 16, 32):
        small = chance.standard_normal((-(-size[0] // scale), -(-size[1] // scale), 3)).astype(np.float32)
        total += small.repeat(scale, 0).repeat(scale, 1)[: size[0], : size[1]]
    total = 0.5 + 0.15 * total
    total[: size[0] // 2] = 0.5 + 0.02 * (total[: size[0] // 2] - 0.5)
    return np.ascontiguousarray(total.clip(0, 1).transpose(2, 0, 1)[None])
