"""TensorFlow's graphs: frozen ones (``.pb``), saved models with their variables, TensorFlow.js' ``model.json``.

All of them come out as nodes by name, with every constant and variable as numbers. Functions of TensorFlow 2 are laid
open in the place where they are called. Nothing in them is run.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.protobuf import bytes_of, fields, floats, ints
from impasto.errors import WeightsError
from impasto.networks.foreign.tf_checkpoint import full_names, index_file, read_checkpoint

__all__ = ["Node", "TFGraph", "read_frozen", "read_saved_model", "read_tfjs"]

Array = NDArray[Any]
Place = tuple[str, int]  # a node's name, and which of its outputs
MOST: Final = 20_000  # nodes
DEEPEST: Final = 8  # functions inside one another
LARGEST: Final = 1 << 29  # bytes of a graph, and of all numbers in it
LARGEST_JSON: Final = 8_000_000  # bytes
_TYPES: Final = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
_NAMES: Final = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "uint16": "<u2", "float16": "<f2", "bool": "?"}
_CALLS: Final = ("StatefulPartitionedCall", "PartitionedCall")
_HANDLES: Final = ("VarHandleOp", "VariableV2", "Variable")


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        kind: its operator, such as ``Conv2D``.
        inputs: names of nodes, each with the number of the output that is taken.
        how: its attributes: whole numbers, floats, booleans, texts, rows of whole numbers.
    """

    kind: str
    inputs: tuple[tuple[str, int], ...]
    how: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TFGraph:
    """A graph.

    Attributes:
        nodes: by name.
        constants: numbers of constants and variables, by the node's name.
        outputs: names of what it gives; where no file says so, of what nobody else takes.
    """

    nodes: Mapping[str, Node]
    constants: Mapping[str, Array]
    outputs: tuple[str, ...]


# -- protocol buffers -------------------------------------------------------------------------------------------------


def read_frozen(data: bytes) -> TFGraph:
    """A graph whose variables have become constants; WeightsError where it is none."""
    return _carefully(lambda: _flat(_Graph(data), {}, ()))


def read_saved_model(path: Path) -> TFGraph:
    """A saved model of TensorFlow 1 or 2: ``saved_model.pb``, and ``variables/`` beside it.

    Raises:
        WeightsError: it is damaged, or its variables are not there.
    """
    return _carefully(lambda: _saved(path))


def _carefully(read: Callable[[], TFGraph]) -> TFGraph:
    try:
        return read()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise WeightsError(f"the graph is damaged: {type(error).__name__}: {error}") from error


def _saved(path: Path) -> TFGraph:
    if path.stat().st_size > LARGEST:
        raise WeightsError(f"it has {path.stat().st_size:,} bytes, and no graph of this kind has so many")
    metas = bytes_of(fields(path.read_bytes()), 2)
    if not metas:
        raise WeightsError("it is no saved model: it holds no graph")
    meta = fields(metas[0])
    graph = _Graph(b"".join(bytes_of(meta, 2)[:1]))
    variables = path.parent / "variables" / "variables.index"
    if index_file(variables) is None:
        raise WeightsError("its variables are needed beside it, in the folder variables")
    keys = full_names(variables)
    named = graph.variables()
    wanted = {name: keys[name] for name in named if name in keys}
    if named and not wanted:
        raise WeightsError(f"its checkpoint holds none of the graph's {len(named)} variables, such as {min(named)}")
    found = read_checkpoint(variables, set(wanted.values()).__contains__)
    return _flat(graph, {name: found[key].numpy() for name, key in wanted.items()}, _signed(meta))


def _signed(meta: list[tuple[int, int | bytes]]) -> tuple[str, ...]:
    """The names of outputs of the signature that serves; else of the first that has one output."""
    found: dict[str, list[str]] = {}
    for row in bytes_of(meta, 5):
        entry = fields(row)
        rows = [fields(b"".join(bytes_of(fields(one), 2)[:1])) for one in bytes_of(fields(_only(entry, 2)), 2)]
        found[_only(entry, 1).decode()] = [_only(one, 1).decode() for one in rows]
    chosen = found.get("serving_default") or next((names for names in found.values() if len(names) == 1), [])
    return tuple(name for name in chosen if name)


def _only(message: list[tuple[int, int | bytes]], number: int) -> bytes:
    return next(iter(bytes_of(message, number)), b"")


@dataclass(frozen=True)
class _Function:
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    rows: tuple[tuple[str, _Row], ...]


@dataclass(frozen=True)
class _Row:
    """A node as it is written: inputs are texts still."""

    kind: str
    inputs: tuple[str, ...]
    how: Mapping[str, Any]


class _Graph:
    """Nodes and functions of a GraphDef."""

    def __init__(self, data: bytes) -> None:
        if len(data) > LARGEST:
            raise ValueError(f"{len(data)} bytes")
        message = fields(data)
        self.room = LARGEST // 4  # numbers
        self.rows = tuple(self._rows(bytes_of(message, 1)))
        library = fields(_only(message, 2))
        self.functions = dict(self._function(fields(row)) for row in bytes_of(library, 1))
        if not self.rows:
            raise ValueError("it has no nodes")

    def variables(self) -> set[str]:
        """What variables are called in the checkpoint."""
        rows = [*self.rows, *(row for function in self.functions.values() for row in function.rows)]
        return {str(row.how.get("shared_name") or name) for name, row in rows if row.kind in _HANDLES}

    def _rows(self, nodes: Sequence[bytes]) -> Iterator[tuple[str, _Row]]:
        if len(nodes) > MOST:
            raise ValueError(f"{len(nodes)} nodes")
        for data in nodes:
            message = fields(data)
            how = {}
            for row in bytes_of(message, 5):
                entry = fields(row)
                how[_only(entry, 1).decode()] = self._attribute(_only(entry, 2))
            inputs = tuple(one.decode() for one in bytes_of(message, 3) if not one.startswith(b"^"))
            yield _only(message, 1).decode(), _Row(_only(message, 2).decode(), inputs, how)

    def _function(self, message: list[tuple[int, int | bytes]]) -> tuple[str, _Function]:
        signature = fields(_only(message, 1))
        arguments = tuple(_only(fields(row), 1).decode() for row in bytes_of(signature, 2))
        given = {_only(fields(row), 1).decode(): _only(fields(row), 2).decode() for row in bytes_of(message, 4)}
        results = tuple(given[_only(fields(row), 1).decode()] for row in bytes_of(signature, 3))
        return _only(signature, 1).decode(), _Function(arguments, results, tuple(self._rows(bytes_of(message, 3))))

    def _attribute(self, data: bytes) -> Any:
        for number, value in fields(data):
            match number:
                case 1:
                    rows = fields(value) if isinstance(value, bytes) else []
                    return [one.decode("latin-1") for one in bytes_of(rows, 2)] or ints(rows, 3)
                case 2:
                    return value.decode("latin-1") if isinstance(value, bytes) else ""
                case 3 | 6:
                    return ints([(number, value)], number)[0]
                case 4:
                    return float(floats([(number, value)], number)[0])
                case 5:
                    return bool(value)
                case 7:
                    return _sides(value) if isinstance(value, bytes) else None
                case 8:
                    return self._tensor(fields(value)) if isinstance(value, bytes) else None
                case 10:
                    return _only(fields(value), 1).decode() if isinstance(value, bytes) else ""
        return None

    def _tensor(self, message: list[tuple[int, int | bytes]]) -> Array | None:
        kind = ints(message, 1)
        if not kind or kind[0] not in _TYPES:
            return None  # a text, or what else no network computes with
        shape = _sides(_only(message, 2))
        count = 1
        for side in shape:
            count *= side
        if len(shape) > 8 or not 0 <= count <= self.room:
            raise ValueError(f"a constant of shape {shape}")
        self.room -= count
        dtype = np.dtype(_TYPES[kind[0]])
        raw = _only(message, 4)
        if raw:
            return np.frombuffer(raw, dtype).reshape(shape)
        values: Array = floats(message, 5) if kind[0] == 1 else np.array(ints(message, 10 if kind[0] == 9 else 7))
        if len(values) > count:
            raise ValueError(f"{len(values)} numbers for shape {shape}")
        filled = np.zeros(count, dtype)
        filled[: len(values)] = values
        if len(values):
            filled[len(values) :] = values[-1]  # what is not written is as the last that is
        return filled.reshape(shape)


def _sides(data: bytes) -> list[int]:
    """A shape; -1 where it is free."""
    sides = [ints(fields(row), 1) for row in bytes_of(fields(data), 2)]
    return [side[0] if side else 0 for side in sides]


def _flat(graph: _Graph, variables: Mapping[str, Array], outputs: tuple[str, ...]) -> TFGraph:
    """Nodes without functions, and the numbers of variables where they are read."""
    opened, constants = _Opened(graph), dict[str, Array]()
    made, nodes = opened.add(graph.rows), opened.nodes
    for name, node in nodes.items():
        value = node.how.get("value")
        if node.kind == "Const" and isinstance(value, np.ndarray):
            constants[name] = value
        elif node.kind in _HANDLES:
            key = str(node.how.get("shared_name") or name)
            if key in variables:
                constants[name] = variables[key]
    taken = {name for node in nodes.values() for name, _ in node.inputs}
    found = tuple(made.get(_place(name), _place(name))[0] for name in outputs)
    return TFGraph(nodes, constants, found or tuple(name for name in nodes if name not in taken))


class _Opened:
    """Nodes with those of the functions that they call, laid open in their place."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}

    def add(
        self,
        rows: Sequence[tuple[str, _Row]],
        prefix: str = "",
        given: Mapping[str, Place] | None = None,
        depth: int = 0,
    ) -> dict[Place, Place]:
        """Put rows among the nodes, called with a prefix; `given` is what a function's arguments are.

        What the calls among the rows give: where that is made.
        """
        if depth > DEEPEST or len(self.nodes) + len(rows) > MOST:
            raise ValueError("functions call functions without end")
        made: dict[Place, Place] = {}

        def meant(text: str) -> Place:
            name, number = _place(text)
            return (given or {}).get(name) or made.get((name, number), (f"{prefix}{name}", number))

        for name, row in _in_order({name: row for name, row in rows if row.kind in _CALLS}):
            function = self.graph.functions.get(str(row.how.get("f")))
            if function is None:
                raise ValueError(f"{name} calls a function that is not there")
            inner = f"{prefix}{name}/"
            arguments = dict(zip(function.arguments, map(meant, row.inputs), strict=True))
            within = self.add(function.rows, inner, arguments, depth + 1)
            for number, text in enumerate(function.results):
                local, at = _place(text)
                made[name, number] = arguments.get(local) or within.get((local, at), (f"{inner}{local}", at))
        for name, row in rows:
            if row.kind not in _CALLS:
                self.nodes[f"{prefix}{name}"] = Node(row.kind, tuple(map(meant, row.inputs)), row.how)
        return made


def _in_order(calls: Mapping[str, _Row]) -> list[tuple[str, _Row]]:
    """Calls after those whose results they take, directly."""
    out: dict[str, _Row] = {}
    waiting = dict(calls)
    while waiting:
        ready = [name for name, row in waiting.items() if not any(_place(one)[0] in waiting for one in row.inputs)]
        if not ready:
            raise ValueError("functions wait for one another")
        for name in ready:
            out[name] = waiting.pop(name)
    return list(out.items())


def _place(text: str) -> Place:
    """``name``, ``name:1`` and, inside of functions, ``name:output:1``."""
    name, *rest = text.split(":")
    return name, int(rest[-1]) if rest and rest[-1].isdecimal() else 0


# -- TensorFlow.js ----------------------------------------------------------------------------------------------------


def read_tfjs(path: Path) -> TFGraph:
    """A graph of TensorFlow.js: ``model.json``, and its numbers in the files that it names, beside it.

    Raises:
        WeightsError: it is damaged, or a file with numbers is not there or has another size.
    """
    return _carefully(lambda: _of_tfjs(path))


def _of_tfjs(path: Path) -> TFGraph:
    told = parsed(path)
    rows = told["modelTopology"]["node"]
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST:
        raise WeightsError("model.json is of no graph: layers of Keras, or nothing")
    nodes = {}
    for row in rows:
        inputs = tuple(_place(one) for one in row.get("input", ()) if not one.startswith("^"))
        how = {name: _of_json(value) for name, value in row.get("attr", {}).items()}
        nodes[str(row["name"])] = Node(str(row["op"]), inputs, how)
    constants: dict[str, Array] = {}
    room = LARGEST
    for group in told["weightsManifest"]:
        data = _shards(path.parent, group["paths"], room)
        room -= len(data)
        constants |= _weights(data, group["weights"])
    taken = {name for node in nodes.values() for name, _ in node.inputs}
    return TFGraph(nodes, constants, tuple(name for name in nodes if name not in taken))


def parsed(path: Path) -> Mapping[str, Any]:
    """The JSON in a file, an object; ValueError where it is none."""
    if path.stat().st_size > LARGEST_JSON:
        raise WeightsError(f"{path.name} has {path.stat().st_size:,} bytes, need at most {LARGEST_JSON:,}")
    told = json.loads(path.read_bytes())
    if not isinstance(told, dict):
        raise ValueError("it is no object")
    return told


def _shards(folder: Path, names: Sequence[str], room: int) -> bytes:
    parts = []
    for name in names:
        place = folder / str(name)
        if place.parent != folder or not place.is_file():
            raise WeightsError(f"{name}, which model.json names, is not beside it")
        room -= place.stat().st_size
        if room < 0:
            raise WeightsError("its files have more bytes than any network of this kind")
        parts.append(place.read_bytes())
    return b"".join(parts)


def _weights(data: bytes, rows: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    out: dict[str, Array] = {}
    at = 0
    for row in rows:
        shape = [int(side) for side in row["shape"]]
        packed = row.get("quantization")
        dtype = np.dtype(_NAMES[packed["dtype"] if packed else row["dtype"]])
        count = 1
        for side in shape:
            count *= side
        size = count * dtype.itemsize
        if min(shape, default=1) < 0 or at + size > len(data):
            raise WeightsError(f"its files of numbers end in the middle of {row['name']}")
        values = np.frombuffer(data[at : at + size], dtype).reshape(shape)
        if packed and "scale" in packed:
            values = (values * np.float32(packed["scale"]) + np.float32(packed["min"])).astype(np.float32)
        out[str(row["name"])] = values
        at += size
    return out


def _of_json(value: Mapping[str, Any]) -> Any:
    """An attribute; texts are rows of letters' numbers, or in base64."""
    kind, inner = next(iter(value.items()), ("", None))
    found: Any = inner
    match kind:
        case "b":
            return bool(found)
        case "i":
            return int(found)
        case "f":
            return float(found)
        case "s":
            return bytes(found).decode("latin-1") if isinstance(found, list) else _base64(str(found))
        case "list":
            if found.get("s"):
                return [_of_json({"s": one}) for one in found["s"]]
            return [int(one) for one in found.get("i", ())]
        case "type":
            return found
        case "shape":
            sides = found.get("shape", found).get("dim", ())  # written once, or inside of itself
            return [int(side.get("size", -1)) for side in sides]
    return None


def _base64(text: str) -> str:
    return base64.b64decode(text, validate=True).decode("latin-1")
