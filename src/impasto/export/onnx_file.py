"""A trained network written as ONNX files that describe themselves, and held against what they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.core.host import in_our_settings
from impasto.errors import OutputError
from impasto.export.graph import Graph
from impasto.export.networks import Part, parts_of
from impasto.files import atomic_path, sha256
from impasto.networks.checkpoint import load_model
from impasto.networks.inference import bind, encode
from impasto.networks.registry import Network, kind_of
from impasto.networks.shipped import find_model
from impasto.types import Stored

__all__ = ["ENTRY", "FORMAT", "Difference", "differences", "export_onnx", "look_path"]

ENTRY: Final = "impasto"
FORMAT: Final = 1
TOLD: Final = ("method", "network", "styles", "value_range", "licence", "recipe")  # of the network's own description
SIZES: Final = ((96, 128), (97, 131), (255, 254), (33, 513), (240, 321))
"""Heights and widths at which files are compared: most are odd, and none is the example of an exporter."""


def look_path(output: Path) -> Path:
    """Where the graph goes that looks at style pictures, beside the one that paints."""
    return output.with_name(f"{output.stem}-style{output.suffix}")


@in_our_settings
def export_onnx(
    model: str | PathLike[str], output: str | PathLike[str], *, stored: Stored = "float32", force: bool = False
) -> tuple[Path, ...]:
    """Write a trained network as ONNX; gives the files, the one that paints first.

    Any size of picture can be painted, styles and strength are inputs, see `export.networks`. A network of any style
    becomes two files: the second, which `look_path` names, tells the first what there is to know of a style picture.

    Args:
        model: a shipped network by name, or a file that `load_model` reads.
        output: the file, which ends in .onnx.
        stored: in which numbers the weights are kept; computed is in float32.
        force: replace files that exist.

    Raises:
        WeightsError: no such network.
        OutputError: a file exists, or cannot be written.
        MissingExtraError: onnx is not installed.
    """
    path = Path(output).expanduser()
    if path.suffix.casefold() != ".onnx":
        raise OutputError(f"{path}: a graph is written as .onnx: give the file that ending")
    source = find_model(model)
    network, description = load_model(source)
    parts = parts_of(network, partial(Graph, stored))
    written = [(path, parts.paint, "paint")]
    if parts.look is not None:
        written.append((look_path(path), parts.look, "look"))
    for place, _, _ in written:
        if place.exists() and not force:
            raise OutputError(f"{place} exists: choose another name, or say that it is to be replaced with `force`")
    told: dict[str, Any] = {name: description[name] for name in TOLD if name in description}
    for place, part, role in written:
        facts: dict[str, Any] = {
            **told,
            "kind": "onnx",
            "format": FORMAT,
            "role": role,
            "stored": stored,
            "made_from": sha256(source),
            "bytes_per_pixel": part.bytes_per_pixel,
        }
        content = _model_of(part, facts).SerializeToString(deterministic=True)
        with atomic_path(place, make_folders=True) as temporary:
            temporary.write_bytes(content)
    return tuple(place for place, _, _ in written)


def _model_of(part: Part, facts: dict[str, Any]) -> Any:
    titles = ", ".join(str(row.get("title") or row["name"]) for row in facts.get("styles", ()))
    text = f"Neural style transfer by impasto, method {facts['method']}; licence {facts.get('licence', 'unknown')}."
    shown = f"{text} Styles, in the order of mix: {titles}." if titles else text
    entry = {ENTRY: json.dumps(facts, sort_keys=True, ensure_ascii=False, allow_nan=False)}
    return part.graph.model(f"{facts['method']}_{facts['role']}", part.inputs, part.outputs, entry, shown)


# -- against the network it was made from -----------------------------------------------------------------------------


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
    """Paint with a network and with the files made of it, in onnxruntime, at each of the sizes.

    The pictures are noise of many scales, whose upper half is faint; the seed is fixed.
    """
    network, _ = load_model(find_model(model))
    sessions = [_session(file) for file in files]
    names = network.styles
    for number, size in enumerate(sizes):
        photo = _noise(size, number)
        inputs: dict[str, NDArray[np.float32]] = {"image": photo, "strength": np.array(1, np.float32)}
        if kind_of(network).styled_by == "pictures":
            what, style = "a picture", _noise((160 + 7 * number, 203), 100 + number)
            looked = np.concatenate([style, np.ones_like(style[:, :1])], 1)
            inputs["parameters"] = sessions[1].run(None, {"style": looked})[0]
            wanted = _painted(network, photo, style)
        elif names:
            what = names[number * 7 % len(names)]
            inputs["mix"] = np.array([[name == what for name in names]], np.float32)
            wanted = _painted(network, photo, what)
        else:
            what, wanted = "its style", _painted(network, photo, None)
        known = [row.name for row in sessions[0].get_inputs()]
        if "alpha" in known:
            inputs["alpha"] = np.array(1, np.float32)
        found = sessions[0].run(None, inputs)[0]
        yield _difference(f"{what}, {size[1]}x{size[0]} px", wanted, found)


def _painted(network: Network, photo: NDArray[np.float32], style: NDArray[np.float32] | str | None) -> Any:
    with torch.inference_mode():
        if style is None:
            bound = bind(network)
        elif isinstance(style, str):
            bound = bind(network, [(style, 1.0)])
        else:
            bound = bind(network, [(encode(network, torch.from_numpy(style)), 1.0)])
        return bound(torch.from_numpy(photo)).numpy()


def _difference(what: str, wanted: NDArray[np.float32], found: NDArray[np.float32]) -> Difference:
    apart = np.abs(wanted - found) * 255
    steps = np.abs(np.round(wanted * 255) - np.round(found * 255))
    return Difference(what, float(apart.max()), float(apart.mean()), float((steps > 1).mean()))


def _noise(size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """A picture (1, 3, h, w) in [0, 1] with structure at many scales."""
    chance, total = np.random.default_rng(seed), np.zeros((*size, 3), np.float32)
    for scale in (2, 4, 8, 16, 32):
        small = chance.standard_normal((-(-size[0] // scale), -(-size[1] // scale), 3)).astype(np.float32)
        total += small.repeat(scale, 0).repeat(scale, 1)[: size[0], : size[1]]
    total = 0.5 + 0.15 * total
    total[: size[0] // 2] = 0.5 + 0.02 * (total[: size[0] // 2] - 0.5)
    return np.ascontiguousarray(total.clip(0, 1).transpose(2, 0, 1)[None])


def _session(file: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
