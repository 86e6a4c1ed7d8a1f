"""Magenta's any style (Ghiasi et al. 2017): one network tells 100 numbers of a style picture, another paints by them.

Both in one graph, as TensorFlow Hub's saved model has them, or frozen; or one beside the other, as Nakano's for
TensorFlow.js. The graph decides what is done; RGB from 0 to 1 goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from impasto.errors import WeightsError
from impasto.networks.foreign.places import MODEL_JSON, SAVED_MODEL
from impasto.networks.foreign.programming import ListBuilder, network_of
from impasto.networks.foreign.source import Found, Options, Source
from impasto.networks.foreign.tf_graph import TFGraph, read_frozen, read_saved_model, read_tfjs
from impasto.networks.foreign.tf_layers import NUMBERS, Layer, layers_of

__all__ = ["matches", "read"]

FROZEN: Final = ".pb"
MOST: Final = 2000  # layers
BEGINNING: Final = 200_000  # bytes of JSON in which the graph begins


def matches(source: Source) -> bool:
    """Whether it is a saved model, a frozen graph, or a graph of TensorFlow.js."""
    if source.path.suffix == ".json":
        with source.path.open("rb") as handle:
            return source.head[:1] == b"{" and b'"modelTopology"' in handle.read(BEGINNING)
    return source.path.name == SAVED_MODEL or (source.path.suffix == FROZEN and source.head[:1] == b"\x0a")


def read(source: Source, options: Options) -> Found:
    """See `kinds.ForeignKind`."""
    graph, beside = _graph_at(source.path), [*_numbers_beside(source.path)]
    found = layers_of(graph)
    drawn = next((layer for layer in found if layer.channels == 3 and not layer.flat), None)
    if drawn is None:
        raise WeightsError("the graph gives no picture: is it the style network alone? Name the one that paints")
    if (numbers := _numbers_of(drawn)) is not None:
        path, style = _style_beside(source.path, numbers)
        found = layers_of(graph, style)
        beside.append(path)
        drawn = next(layer for layer in found if layer.channels == 3 and not layer.flat)
    paint, look = ListBuilder(), ListBuilder()
    told = _Emission(paint, look).run(drawn)
    notes = (
        "its style network was trained on pictures of 256 px: enlarge or reduce a style picture to change strokes",
    )
    return Found(
        network_of(paint, look, told), "RGB, 0 to 1", "RGB, 0 to 1, clamped", notes=notes, beside=tuple(beside)
    )


def _graph_at(path: Path) -> TFGraph:
    if path.suffix == ".json":
        return read_tfjs(path)
    return read_saved_model(path) if path.name == SAVED_MODEL else read_frozen(Source(path).read_bytes())


def _numbers_beside(path: Path) -> Iterator[Path]:
    """Files that belong to a graph; of a checkpoint the index, which has a checksum of every tensor."""
    if path.suffix == ".json":
        yield from sorted(path.parent.glob("group*-shard*of*"))
    elif path.name == SAVED_MODEL:
        yield path.parent / "variables" / "variables.index"


def _above(layer: Layer) -> Iterator[Layer]:
    """A layer and all that it is made of, parents first; numbers of a style before what takes them."""
    waiting, seen, done = [layer], set[int](), set[int]()
    while waiting:
        one = waiting[-1]
        parents = [*one.parents, *(part for part in one.how.values() if isinstance(part, Layer))]
        left = [parent for parent in parents if id(parent) not in seen]
        seen.add(id(one))
        if left:
            waiting += left
            continue
        waiting.pop()
        if id(one) not in done:
            done.add(id(one))
            if len(done) > MOST:
                raise WeightsError("the graph has more layers than any network of this kind")
            yield one


def _numbers_of(layer: Layer) -> int | None:
    """How many numbers of a style it takes that no part of it computes."""
    return next((one.channels for one in _above(layer) if one.kind == NUMBERS), None)


def _style_beside(path: Path, count: int) -> tuple[Path, Layer]:
    """The graph that tells the numbers: in this folder, or in one beside it, with ``style`` in its name."""
    folder = path.parent
    if path.suffix == ".json":
        places = [place for root in (folder, folder.parent) for place in sorted(root.glob(f"*style*/{MODEL_JSON}"))]
    else:
        places = sorted(folder.glob(f"*style*{FROZEN}"))
    trouble: WeightsError | None = None
    for place in places:
        if place.samefile(path):
            continue
        try:
            layers = layers_of(_graph_at(place))
        except WeightsError as error:
            trouble = trouble or WeightsError(f"{place}: {error}")
            continue
        for layer in layers:
            if layer.flat and layer.channels == count and _numbers_of(layer) is None:
                return place, layer
    if trouble is not None:
        raise trouble
    where = f"a folder beside it, such as style/{MODEL_JSON}" if path.suffix == ".json" else f"style{FROZEN} beside it"
    raise WeightsError(f"the network that tells {count} numbers of a style picture is needed: {where}")


class _Emission:
    """Layers as operators of two programs."""

    def __init__(self, paint: ListBuilder, look: ListBuilder) -> None:
        self.paint, self.look = paint, look
        self.places: dict[tuple[int, bool], int] = {}  # of layers, in what paints or in what looks
        self.told: list[int] = []
        self.count = 0  # numbers of a style so far

    def run(self, drawn: Layer) -> list[int]:
        """Fill both programs; gives which operators tell a style's numbers."""
        mine = self._photo_and_what_is_made_of_it(drawn)
        for layer in _above(drawn):
            self._add(layer, looks=id(layer) not in mine)
        if not self.told:
            raise WeightsError("nothing in the graph depends on a style picture")
        return self.told

    def _photo_and_what_is_made_of_it(self, drawn: Layer) -> set[int]:
        """Not what is made of a style picture: numbers do not count as parents here."""
        waiting, found = [drawn], set[int]()
        while waiting:
            one = waiting.pop()
            if id(one) not in found:
                found.add(id(one))
                waiting += one.parents
        return found

    def _add(self, layer: Layer, *, looks: bool) -> None:
        builder = self.look if looks else self.paint
        of = [self._place(parent, looks) for parent in layer.parents]
        how: dict[str, Any] = {key: value for key, value in layer.how.items() if key not in ("weight", "bias", "name")}
        weight: Any = layer.how.get("weight")
        bias: Any = layer.how.get("bias")
        match layer.kind:
            case "picture":
                pictures = {place for key, place in self.places.items() if key[1] == looks and place == 0}
                if pictures:
                    raise WeightsError("the graph takes more than a photo and a style picture")
                number = 0
            case "conv":
                border = how.pop("padding", (0, 0))
                mode = how.pop("mode", "zeros")
                how.pop("kernel")
                tensors = torch.from_numpy(weight.copy()), torch.from_numpy(bias.astype("float32"))
                number = builder.convolve(*tensors, of=of[0], padding=border, mode=mode, **how)
            case "norm":
                tensors = torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy())
                number = builder.normalise(*tensors, of=of[0], eps=how["eps"])
            case "affine":
                number = builder.affine(torch.from_numpy(weight.copy()), torch.from_numpy(bias.copy()), of=of[0])
            case "style_norm":
                if looks or not isinstance(weight, Layer) or not isinstance(bias, Layer):
                    raise WeightsError("a style picture is painted by a style")
                self.told += [self._place(part, True) for part in (weight, bias)]
                number = builder.add("style_norm", of=of, at=self.count, eps=how["eps"])
                self.count += 2 * layer.channels
            case "pad":
                before, after = how["padding"]
                if before != after:
                    raise WeightsError(f"a border of {before} and {after} that stands alone, need it alike")
                number = builder.add("pad", of=of, size=before, mode=how["mode"])
            case kind:
                number = builder.add(kind, of=of, **how)  # type: ignore[arg-type]
        self.places[id(layer), looks] = number

    def _place(self, layer: Layer, looks: bool) -> int:
        try:
            return self.places[id(layer), looks]
        except KeyError:
            raise WeightsError("a map is made of the photo and of the style picture") from None
