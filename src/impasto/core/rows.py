"""Maps too large for memory, kept as rows: the first of them in memory, the others in a file."""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from impasto.files import ScratchFile

__all__ = ["MapShape", "Pool", "RowStore"]


@dataclass(frozen=True)
class MapShape:
    """Channels, height and width of a map, and the type of its values."""

    channels: int
    height: int
    width: int
    dtype: torch.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.channels * self.width * self.dtype.itemsize

    @property
    def bytes(self) -> int:
        """Bytes of the whole map."""
        return self.row_bytes * self.height


class RowStore:
    """One map (C, H, W), written and read by rows; what is handed in and out is (1, C, n, W), channels-last.

    Rows may be overwritten. Memory is taken when the first row is written, and the file is made when the first
    row is written that memory has no room for. It lies in `folder` (the system's place for temporary files if
    None) and is gone with the store, or is at `path` and stays (`files.ScratchFile`).
    """

    def __init__(
        self,
        shape: MapShape,
        rows_in_memory: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        device: torch.device | str = "cpu",
        *,
        path: Path | None = None,
    ) -> None:
        self.shape, self.device, self.file = shape, torch.device(device), ScratchFile(folder, path=path)
        self.rows_in_memory = shape.height if rows_in_memory is None else min(rows_in_memory, shape.height)
        self._memory: Tensor | None = None

    @property
    def bytes_on_disk(self) -> int:
        """How large the file is, or will be."""
        return self.shape.row_bytes * (self.shape.height - self.rows_in_memory)

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom` (excluded), (1, C, n, W): not to be changed, and good until they are written.

        Where all of them are in memory they are a view.
        """
        if bottom <= self.rows_in_memory and top < bottom:
            return self._in_memory()[top:bottom].permute(2, 0, 1)[None]
        out = torch.empty(
            (bottom - top, self.shape.width, self.shape.channels), dtype=self.shape.dtype, device=self.device
        )
        middle = min(max(self.rows_in_memory, top), bottom)
        if middle > top:
            out[: middle - top] = self._in_memory()[top:middle]
        if bottom > middle:
            part = torch.empty((bottom - middle, *out.shape[1:]), dtype=out.dtype)
            self._transfer(part, middle, write=False)
            out[middle - top :] = part
        return out.permute(2, 0, 1)[None]

    def write(self, top: int, rows: Tensor) -> None:
        """Put (1, C, n, W) at rows `top` to `top` + n.

        Raises:
            OutputError: there is no room on the disk.
        """
        values = rows[0].permute(1, 2, 0).to(self.shape.dtype)
        bottom = top + len(values)
        middle = min(max(self.rows_in_memory, top), bottom)
        if middle > top:
            self._in_memory()[top:middle] = values[: middle - top]
        if bottom > middle:
            self._transfer(values[middle - top :].cpu().contiguous(), middle, write=True)

    def close(self) -> None:
        """Give memory and disk back."""
        self._memory = None
        self.file.close()

    def __enter__(self) -> RowStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.close()

    def _in_memory(self) -> Tensor:
        if self._memory is None:
            held = (self.rows_in_memory, self.shape.width, self.shape.channels)
            if self.device.type == "cpu":
                # Not from the allocator, which keeps what is given back (`core.memory`) and might not find it again.
                own = mmap.mmap(-1, max(1, self.rows_in_memory * self.shape.row_bytes))
                self._memory = torch.frombuffer(own, dtype=self.shape.dtype, count=math.prod(held)).view(held)
            else:
                self._memory = torch.empty(held, dtype=self.shape.dtype, device=self.device)
        return self._memory

    def _transfer(self, values: Tensor, top: int, *, write: bool) -> None:
        """Between contiguous values (n, W, C) on the CPU and the file, `top` being a row of the map."""
        raw = values.flatten().view(torch.uint8).numpy().data
        place = (top - self.rows_in_memory) * self.shape.row_bytes
        if write:
            self.file.write(place, raw)
        else:
            self.file.read(place, raw)


class Pool:
    """Memory for maps, `size` bytes in all: a store gets what is left of it, and a file for its other rows.

    `overwrites` says whether a map may take the place of one that it is made of.
    """

    def __init__(
        self,
        size: int,
        folder: str | os.PathLike[str] | None = None,
        device: torch.device | str = "cpu",
        *,
        overwrites: bool = True,
    ) -> None:
        self.left, self.folder, self.device, self.overwrites = max(0, size), folder, device, overwrites

    def take(self, shape: MapShape) -> RowStore:
        """A store for a map of this shape."""
        store = RowStore(shape, self.rows_for(shape), self.folder, self.device)
        self.left -= store.rows_in_memory * shape.row_bytes
        return store

    def rows_for(self, shape: MapShape) -> int:
        """How many rows of such a map there is memory for."""
        return min(shape.height, self.left // max(1, shape.row_bytes))

    def give_back(self, store: RowStore) -> None:
        """Close a store that came from here."""
        self.left += store.rows_in_memory * store.shape.row_bytes
        store.close()
