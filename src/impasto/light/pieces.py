"""Graphs of the package, without the weights that its networks' files hold: a wheel carries each weight once.

A file of pieces begins with a line of JSON: ``about`` the graph, which is so known before it is loaded; ``crc32`` of
the whole graph, and its ``pieces`` in order. A piece is a list of file name (as seen from its folder), first byte and
number of bytes; or a number: so many of the bytes that follow the line, which are deflated all in one.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from impasto.errors import WeightsError

__all__ = ["PIECES", "join", "split"]

PIECES: Final = ".pieces"
WORTH: Final = 256  # bytes, below which a tensor is not looked for


def join(path: Path) -> tuple[bytes, Any]:
    """The graph whose pieces a file names, as `export.onnx_file.export_onnx` wrote it, and what is told about it.

    Raises:
        WeightsError: a file is missing or another one than that from which the pieces were taken.
    """
    files: dict[str, memoryview] = {}
    found: list[memoryview] = []
    try:
        line, rest = path.read_bytes().split(b"\n", 1)
        told, own, at = json.loads(line), memoryview(zlib.decompress(rest)), 0
        for piece in told["pieces"]:
            if isinstance(piece, int):
                found.append(own[at : at + piece])
                at += piece
            else:
                name, start, length = piece
                if name not in files:
                    files[name] = memoryview((path.parent / name).read_bytes())
                found.append(files[name][start : start + length])
        content = b"".join(found)
        whole = zlib.crc32(content) == told["crc32"]
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise WeightsError(f"{path}: cannot be put together: {error}: install impasto again") from error
    if not whole:
        raise WeightsError(f"{path}: does not belong to the networks beside it: install impasto again")
    return content, told["about"]


def split(content: bytes, sources: Iterable[Path], about: Any, folder: Path) -> bytes:
    """A file of pieces for a graph; its weights are looked for, byte for byte, in safetensors files.

    Args:
        content: the graph.
        sources: those files.
        about: what `join` tells of it, in terms of JSON.
        folder: where the pieces will lie: beside the sources or below.
    """
    found: list[tuple[int, str, int, int]] = []  # where in the graph, file, first byte there, length
    for source in sources:
        data, told = source.read_bytes(), Path(os.path.relpath(source, folder)).as_posix()
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        for name, row in header.items():
            if name != "__metadata__":
                start, end = (begin + offset for offset in row["data_offsets"])
                place = content.find(data[start:end]) if end - start >= WORTH else -1
                if place >= 0:
                    found.append((place, told, start, end - start))
    pieces: list[int | list[str | int]] = []
    rest, done = b"", 0
    for place, name, start, length in sorted(found):
        if place < done:
            continue
        if place > done:
            pieces.append(place - done)
            rest += content[done:place]
        pieces.append([name, start, length])
        done = place + length
    if done < len(content):
        pieces.append(len(content) - done)
        rest += content[done:]
    line = json.dumps({"about": about, "crc32": zlib.crc32(content), "pieces": pieces}, separators=(",", ":"))
    return line.encode() + b"\n" + zlib.compress(rest, 9)
