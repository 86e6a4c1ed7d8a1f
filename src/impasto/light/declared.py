"""What an ONNX file declares of its inputs and outputs, read and written without the library `onnx`.

Many graphs could paint any size, but declare the one that they were exported at, and onnxruntime then refuses others.
A file is a message of protobuf: fields, each a number, a kind and a value. Those around the declarations are written
again; all others, the weights among them, are copied as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from impasto.errors import WeightsError

__all__ = ["with_entry", "without_sizes"]

# Numbers of fields, from onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_GRAPH, _METADATA = 7, 14
_INITIALIZER, _INPUT, _OUTPUT, _VALUE_INFO, _TENSOR_NAME = 5, 11, 12, 13, 8
_NAME, _TYPE, _TENSOR_TYPE, _SHAPE, _DIM, _DIM_VALUE, _DIM_PARAM = 1, 2, 1, 2, 1, 1, 2
_LONGEST: Final = 10  # bytes of a number


class _Field(NamedTuple):
    number: int
    kind: int
    value: memoryview  # of kind 2; else the bytes as they are
    raw: memoryview  # with number and kind


def without_sizes(data: bytes) -> bytes:
    """The file without heights and widths of pictures that go in, and without shapes of what comes out of operators.

    Raises:
        WeightsError: it is damaged, or no ONNX.
    """
    out = bytearray()
    for field in _fields(memoryview(data)):
        out += _tagged(_GRAPH, _graph(field.value)) if field.number == _GRAPH and field.kind == 2 else field.raw
    return bytes(out)


def with_entry(data: bytes, key: str, text: str) -> bytes:
    """The file with one more entry of its metadata: a message may be continued by more fields."""
    entry = _tagged(1, key.encode()) + _tagged(2, text.encode())
    return data + _tagged(_METADATA, entry)


def _graph(data: memoryview) -> bytes:
    fields = list(_fields(data))
    weights = {_text(field.value, _TENSOR_NAME) for field in fields if field.number == _INITIALIZER}
    out = bytearray()
    for field in fields:
        if field.number == _INPUT and _text(field.value, _NAME) not in weights:
            out += _tagged(_INPUT, _declaration(field.value, {_SHAPE: _free_sides}))
        elif field.number == _OUTPUT:
            out += _tagged(_OUTPUT, _declaration(field.value, {_SHAPE: lambda _: None}))
        elif field.number != _VALUE_INFO:
            out += field.raw
    return bytes(out)


def _declaration(data: memoryview, change: Mapping[int, object]) -> bytes:
    """A declared value, its tensor's shape changed, or left out."""
    out = bytearray()
    for field in _fields(data):
        if field.number != _TYPE:
            out += field.raw
            continue
        kinds = bytearray()
        for kind in _fields(field.value):
            if kind.number != _TENSOR_TYPE:
                kinds += kind.raw
                continue
            parts = bytearray()
            for part in _fields(kind.value):
                function = change.get(part.number)
                changed = function(part.value) if callable(function) else bytes(part.raw)
                parts += b"" if changed is None else changed
            kinds += _tagged(_TENSOR_TYPE, parts)
        out += _tagged(_TYPE, kinds)
    return bytes(out)


def _free_sides(data: memoryview) -> bytes:
    """A shape; of a picture, whose channels are first or last, without its height and width."""
    fields = list(_fields(data))
    sides = [_number(field.value) for field in fields if field.number == _DIM]
    free: tuple[int, ...] = ()
    if len(sides) == 4 and 3 in (sides[1], sides[3]) and sides.count(1) < 3:
        free = (2, 3) if sides[1] == 3 else (1, 2)
    out, at = bytearray(), -1
    for field in fields:
        at += field.number == _DIM
        named = _tagged(_DIM, _tagged(_DIM_PARAM, f"impasto_{at}".encode()))
        out += named if field.number == _DIM and at in free else field.raw
    return _tagged(_SHAPE, out)


def _number(data: memoryview) -> int | None:
    """The number of a dimension that has one."""
    for field in _fields(data):
        if field.number == _DIM_VALUE and field.kind == 0:
            return _varint(field.value, 0)[0]
    return None


def _text(data: memoryview, number: int) -> bytes:
    return next((bytes(field.value) for field in _fields(data) if field.number == number and field.kind == 2), b"")


def _fields(data: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(data, at)
            end = at + length
        elif kind == 0:
            end = _varint(data, at)[1]
        elif kind in (1, 5):
            end = at + (8 if kind == 1 else 4)
        else:
            raise WeightsError("the file is no ONNX, or damaged")
        if end > len(data):
            raise WeightsError("the file is no ONNX, or cut short")
        yield _Field(tag >> 3, kind, data[at:end], data[begin:end])
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(_LONGEST):
        if at >= len(data):
            raise WeightsError("the file is no ONNX, or cut short")
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at
    raise WeightsError("the file is no ONNX, or damaged")


def _tagged(number: int, value: bytes | bytearray) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + bytes(value)


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
