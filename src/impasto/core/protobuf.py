"""Messages of protocol buffers as their fields, without the library: what TensorFlow and Caffe write their files in.

A message is a row of fields, each a number, a kind and a value: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "bytes_of", "fields", "floats", "ints", "varint"]

Field = tuple[int, int | bytes]
B = TypeVar("B", bytes, memoryview)


def fields(data: B) -> list[tuple[int, int | B]]:
    """Number and value of each field: whole numbers, or bytes, which numbers of fixed size are as well.

    What comes out of a view are views, which copy nothing.

    Raises:
        ValueError, IndexError: the message ends too early, or has a field of no known kind.
    """
    out: list[tuple[int, int | B]] = []
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        match tag & 7:
            case 0:
                number, at = varint(data, at)
                out.append((tag >> 3, number))
                continue
            case 1 | 5:
                length = 8 if tag & 7 == 1 else 4
            case 2:
                length, at = varint(data, at)
            case other:
                raise ValueError(f"a field of type {other}")
        if at + length > len(data):
            raise ValueError("a field goes beyond its end")
        out.append((tag >> 3, data[at : at + length]))
        at += length
    return out


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")


def bytes_of(message: list[Field], number: int) -> list[bytes]:
    """The values of a field that are bytes, in their order."""
    return [value for tag, value in message if tag == number and isinstance(value, bytes)]


def ints(message: list[Field], number: int) -> list[int]:
    """The values of a field of whole numbers, packed or one by one; those below 0 as they were meant."""
    out: list[int] = []
    for tag, value in message:
        if tag != number:
            continue
        if isinstance(value, int):
            out.append(value)
            continue
        at = 0
        while at < len(value):
            one, at = varint(value, at)
            out.append(one)
    return [one - (1 << 64) if one >= 1 << 63 else one for one in out]


def floats(message: list[Field], number: int) -> NDArray[np.float32]:
    """The values of a field of floats, packed or one by one."""
    data = b"".join(bytes_of(message, number))
    if len(data) % 4:
        raise ValueError("a row of numbers ends in the middle of one")
    return np.frombuffer(data, "<f4").astype(np.float32)
