"""One folder or one file of photos each: loose files, tar, zip and parquet, read at any place."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import os
import shutil
import tarfile
import tempfile
import weakref
import zipfile
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from impasto.errors import DataError, MissingExtraError
from impasto.imaging.naming import is_photo

__all__ = ["ARCHIVES", "Files", "Parquet", "Part", "Tar", "Zip"]

ARCHIVES = (".zip", ".parquet", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNPACKERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
MAX_BYTES = 2**29  # a "photo" of more than 512 MiB is a mistake or an attack


class Part(Protocol):
    """Photos with names, read by their place among them; safe to send to and to use in other processes."""

    names: list[str]

    def read(self, place: int) -> bytes:
        """The file as it is stored; OSError, EOFError, ValueError, ... where it is damaged."""
        ...


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{size / 2**20:.0f} MiB, need at most {MAX_BYTES // 2**20} MiB")


class Files:
    """Photos in files of their own, named by their paths."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def read(self, place: int) -> bytes:
        """See `Part.read`."""
        path = Path(self.names[place])
        _check_size(path.stat().st_size)
        return path.read_bytes()


class Tar:
    """Photos in a tar archive; one that is compressed is unpacked into a temporary file, which goes with this."""

    def __init__(self, path: Path) -> None:
        self._path = self._unpacked(path)
        self.names: list[str] = []
        self._spans: list[tuple[int, int]] = []
        with tarfile.open(self._path, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and is_photo(member.name):
                    self.names.append(f"{path}/{member.name}")
                    self._spans.append((member.offset_data, member.size))

    def _unpacked(self, path: Path) -> Path:
        with path.open("rb") as handle:
            start = handle.read(6)
        opener = next((opener for magic, opener in UNPACKERS.items() if start.startswith(magic)), None)
        if opener is None:
            return path
        number, name = tempfile.mkstemp(prefix="impasto-", suffix=".tar")
        weakref.finalize(self, _remove, name, os.getpid())
        with os.fdopen(number, "wb") as unpacked, opener(path) as packed:
            shutil.copyfileobj(packed, unpacked, 2**20)
        return Path(name)

    def read(self, place: int) -> bytes:
        """See `Part.read`."""
        start, size = self._spans[place]
        _check_size(size)
        # Opened anew for each photo: that is cheap, and needs no care about processes.
        with self._path.open("rb") as handle:
            handle.seek(start)
            return _whole(handle, size)


def _whole(handle: BinaryIO, size: int) -> bytes:
    content = handle.read(size)
    if len(content) < size:
        raise EOFError(f"the archive ends {size - len(content)} bytes too early")
    return content


def _remove(name: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker that ends must not take the file from the others
        Path(name).unlink(missing_ok=True)


class Zip:
    """Photos in a zip archive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        self._places = [place for place, info in enumerate(infos) if is_photo(info.filename)]
        self.names = [f"{path}/{infos[place].filename}" for place in self._places]

    def read(self, place: int) -> bytes:
        """See `Part.read`."""
        archive = _open_zip(self._path, os.getpid())
        info = archive.infolist()[self._places[place]]  # by place, because names may occur twice
        _check_size(info.file_size)
        return archive.read(info)


# Handles are kept by process, so that none is shared over a fork, and not too many at a time.
@lru_cache(maxsize=64)
def _open_zip(path: Path, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


class Parquet:
    """Photos in the rows of a Parquet file. MissingExtraError without pyarrow, DataError without a column of them."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtraError("pyarrow", "parquet") from None
        self._path = path
        with pq.ParquetFile(path) as file:
            self._column = _image_column(path, file.schema_arrow)
            rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._ends = list(itertools.accumulate(rows))
        self.names = [f"{path}/row {row}" for row in range(sum(rows))]

    def read(self, place: int) -> bytes:
        """See `Part.read`."""
        group = bisect_right(self._ends, place)
        column = _read_row_group(self._path, group, self._column)
        value = column[place - self._ends[group] + len(column)].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise ValueError("the row holds no picture")
        _check_size(len(content))
        return bytes(content)


@lru_cache(maxsize=1)
def _read_row_group(path: Path, group: int, column: str) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column], use_threads=False).column(0)


def _image_column(path: Path, schema: Any) -> str:
    """The column ``image`` or else the first that can hold pictures, as pyarrow selects it."""
    import pyarrow as pa

    def binary(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    for field in sorted(schema, key=lambda field: field.name != "image"):
        if binary(field.type):
            return str(field.name)
        if pa.types.is_struct(field.type) and any(child.name == "bytes" and binary(child.type) for child in field.type):
            return f"{field.name}.bytes"
    raise DataError(f"{path}: no column of pictures among {', '.join(schema.names)}, need one named 'image'")
