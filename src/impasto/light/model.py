"""A trained network in onnxruntime: bound to styles, which are encoded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.memory import room_within
from impasto.errors import OptionError, WeightsError
from impasto.imaging import fit_long_side, resize
from impasto.imaging.reduced import read_reduced
from impasto.light.foreign import ForeignGraph, ForeignLook
from impasto.light.graphs import Graph, is_foreign, look_path, only_as_it_is
from impasto.light.pieces import PIECES
from impasto.networks.blend import blend_weights
from impasto.stylizer.model import Model
from impasto.stylizer.request import EngineName
from impasto.stylizer.styles import Style

if TYPE_CHECKING:
    from impasto.stylizer.engine import Engine

__all__ = ["LightModel", "LightStyle"]

Floats = NDArray[np.float32]
REMEMBERED: Final = 64  # encoded style pictures
STYLE_SIZE: Final = 512  # long side in px at which they are looked at, as in training


@dataclass(frozen=True)
class LightStyle:
    """What a graph is given for styles beside the photo.

    Attributes:
        whole: for all styles by their weights.
        alone: for each of them alone.
        weights: of each, as they were given.
    """

    whole: Mapping[str, Floats]
    alone: tuple[Mapping[str, Floats], ...]
    weights: tuple[float, ...]


class LightModel(Model):
    """A network that `export.onnx_file` wrote, or a graph of others.

    Attributes:
        graph: what paints.
    """

    def __init__(self, engine: Engine, name: str, path: Path) -> None:
        others = is_foreign(str(path)) or only_as_it_is(path)
        self.graph: Graph | ForeignGraph = ForeignGraph(path) if others else Graph(path)
        description = self.graph.description
        if description.get("role") != "paint":
            raise WeightsError(f"{path}: looks at style pictures: give the file that paints, without -style")
        super().__init__(engine, description, name, path, str(description["made_from"]))
        ours = self.any_style and path.suffix == PIECES
        self._looking = Graph(look_path(path)) if ours else None  # loads beside the other
        self._encoded: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def computes_in(self) -> EngineName:
        """See `Model`."""
        return "light"

    @property
    def any_style(self) -> bool:
        """See `Model`."""
        return "parameters" in self.graph.inputs

    @property
    def mixes_features(self) -> bool:
        """See `Model`."""
        return "alpha" in self.graph.inputs

    @property
    def method(self) -> str:
        """See `Model`."""
        return str(self.graph.description["method"])

    @property
    def note(self) -> str:
        """What a user should know of how this network paints; empty where it is nothing."""
        return self.graph.note if isinstance(self.graph, ForeignGraph) else ""

    def bind(self, styles: Sequence[Style], max_megapixels: float, limit: int | None = None) -> LightStyle:
        """What the graph is given for these styles; arguments and errors as of `TorchModel.bind`."""
        self.check_styles(styles)
        weights = tuple(row.weight for row in styles) or (1.0,)
        if self.any_style:
            if len(styles) > 1 and isinstance(self.graph, ForeignGraph) and not self.graph.blends:
                raise OptionError("this network looks at one style picture: give one", "style")
            rows = [self._encode(row, max_megapixels, limit) for row in styles]
            mixed = sum(weight * row for weight, row in zip(weights, rows, strict=True)) / sum(weights)
            alone = tuple({"parameters": row} for row in rows)
            return LightStyle({"parameters": np.asarray(mixed, np.float32)}, alone, weights)
        if "mix" not in self.graph.inputs:
            if styles:
                raise OptionError("this network has a single style: leave its name out", "style")
            return LightStyle({}, ({},), weights)
        return self._by_name(styles, weights)

    def _by_name(self, styles: Sequence[Style], weights: tuple[float, ...]) -> LightStyle:
        names = [row.name for row in self.styles]
        named = [(str(row.image), row.weight) for row in styles]
        if not named and len(names) > 1:
            raise OptionError(f"which style? this network has {', '.join(names)}", "style")
        named = named or [(names[0], 1.0)]
        alone = tuple({"mix": _row(blend_weights(name, names))} for name, _ in named)
        return LightStyle({"mix": _row(blend_weights(named, names))}, alone, weights)

    @cached_property
    def _looks(self) -> Graph | ForeignLook:
        if isinstance(self.graph, ForeignGraph) and self.graph.look is not None:
            return self.graph.look
        return self._looking or Graph(look_path(self.path))

    def _encode(self, style: Style, max_megapixels: float, limit: int | None) -> Floats:
        """What the network keeps of a style picture, (1, P), remembered by the picture's content."""
        found = read_reduced(
            style.image, long_side=STYLE_SIZE, max_megapixels=max_megapixels, room=room_within(limit)
        ).weighed()
        small = resize(found, fit_long_side((found.shape[0], found.shape[1]), STYLE_SIZE))
        if small.shape[2] == 3:
            small = np.concatenate([small, np.ones_like(small[:, :, :1])], axis=2)
        key = hashlib.sha256(f"{small.shape}".encode() + small.tobytes()).hexdigest()
        with self._lock:
            if key not in self._encoded:
                self._encoded[key] = self._looks.run(style=planes(small))
                while len(self._encoded) > REMEMBERED:
                    self._encoded.popitem(last=False)
            self._encoded.move_to_end(key)
            return self._encoded[key]


def planes(rows: Floats) -> Floats:
    """(H, W, C) as `imaging` has it -> (1, C, H, W) as graphs take it."""
    return np.ascontiguousarray(rows.transpose(2, 0, 1))[None]


def _row(weights: Sequence[float]) -> Floats:
    return np.array([weights], np.float32)
