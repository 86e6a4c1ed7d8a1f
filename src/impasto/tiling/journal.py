"""What painting a large picture leaves in a folder, so that another process can go on where it stopped.

``state.pt`` tells how far it is: which passes are done, the statistics they took, how many rows are painted, and
which files of ``maps/`` hold what the next pass reads. A file that it names is never written to again.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.core.rows import MapShape, Pool, RowStore
from impasto.errors import DataError
from impasto.files import atomic_path, output_error
from impasto.tiling.passes import Affine, Pass
from impasto.tiling.plan import TilingPlan

__all__ = ["FilePool", "Journal", "State", "named"]

_STATE, _MAPS = "state.pt", "maps"
_OLD_FIELDS = frozenset(
    {"seed", "folder"}
)  # of plans in folders of earlier versions, where they were always 0 and None


@dataclass
class State:
    """How far a painting is.

    Attributes:
        passes: how many are done.
        affines: statistics, γ and β of every stage, None where they are not known or there are none.
        source, kept: the stored maps that `passes.Maps` calls so: file name and shape.
        rows: how many are painted and durable.
        maps: the stored maps of networks of operators, by whose value they are: file name and shape.
        moments: of what such a network's normalisations take, by their numbers: means and variances.
    """

    passes: int = 0
    affines: list[Affine | None] = field(default_factory=list)
    source: tuple[str, MapShape] | None = None
    kept: tuple[str, MapShape] | None = None
    rows: int = 0
    maps: dict[int, tuple[str, MapShape]] = field(default_factory=dict)
    moments: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


def named(store: RowStore) -> tuple[str, MapShape]:
    """File name and shape of a store in a `FilePool`."""
    if store.file.path is None:
        raise RuntimeError("a map without a name cannot be found again")
    return store.file.path.name, store.shape


class FilePool(Pool):
    """Maps in files that have names, all of their rows."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        super().__init__(0, folder, device, overwrites=False)
        self._folder, self._count = folder, 0

    def take(self, shape: MapShape) -> RowStore:
        """A store for a map of this shape, in a new file."""
        while (path := self._folder / f"{self._count:04d}.map").exists():
            self._count += 1
        self._count += 1
        return RowStore(shape, 0, device=self.device, path=path)

    def again(self, name: str, shape: MapShape) -> RowStore:
        """A store that another process has filled."""
        return RowStore(shape, 0, device=self.device, path=self._folder / name)


class Journal:
    """The folder of a painting in progress.

    The caller sees to it that what is in it is of this picture and this network.

    Raises:
        DataError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.maps = folder, folder / _MAPS
        self.plan: TilingPlan | None = None
        self.state = State()
        self._read()

    def begin(self, plan: TilingPlan) -> TilingPlan:
        """The plan to follow: that of the process that began, or this one; OutputError if nothing can be written."""
        try:
            self.maps.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(self.maps, error) from error
        if self.plan is None:
            self.plan = plan
            self.save(self.state)
        return self.plan

    def save(self, state: State) -> None:
        """Tell how far the painting is, whole or not at all, and remove maps that nobody will read."""
        if self.plan is None:
            raise RuntimeError("a painting is saved that has not begun")
        self.state = state
        buffer = io.BytesIO()
        torch.save({"plan": _plain_plan(self.plan), **_plain_state(state)}, buffer)
        with atomic_path(self.folder / _STATE) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        self._sweep()

    def remove(self) -> None:
        """Remove everything that was kept."""
        self.state = State()
        self._sweep()
        self.maps.rmdir()
        (self.folder / _STATE).unlink(missing_ok=True)
        for path in self.folder.glob(f".impasto-*{Path(_STATE).suffix}"):  # of a process that was killed
            path.unlink()

    def _sweep(self) -> None:
        state = self.state
        needed = {store[0] for store in (state.source, state.kept, *state.maps.values()) if store is not None}
        for path in self.maps.iterdir():
            if path.name not in needed:
                path.unlink()

    def _read(self) -> None:
        path = self.folder / _STATE
        if not path.exists():
            return
        try:
            found = torch.load(path, weights_only=True)
            self.plan, self.state = _plan(found["plan"]), _state(found)
        except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            raise DataError(f"{path}: is damaged or of another version ({reason}); start a new run") from error


def _plain_plan(plan: TilingPlan) -> dict[str, Any]:
    values = {f.name: getattr(plan, f.name) for f in fields(plan)}
    passes = [(p.first, p.last, p.stores, p.paints, cost) for p, cost in plan.passes]
    return values | {"dtype": str(plan.dtype).removeprefix("torch."), "passes": passes}


def _plan(found: dict[str, Any]) -> TilingPlan:
    passes = tuple((Pass(*row[:4]), float(row[4])) for row in found["passes"])
    values = {key: value for key, value in found.items() if key not in _OLD_FIELDS}
    dtype, sample = getattr(torch, found["dtype"]), tuple(found["sample"])
    return TilingPlan(**values | {"dtype": dtype, "passes": passes, "sample": sample})


def _plain_state(state: State) -> dict[str, Any]:
    def plain(store: tuple[str, MapShape] | None) -> list[Any] | None:
        if store is None:
            return None
        name, shape = store
        return [name, shape.channels, shape.height, shape.width, str(shape.dtype).removeprefix("torch.")]

    affines = [None if row is None else [value.cpu() for value in row] for row in state.affines]
    return {
        "passes": state.passes,
        "affines": affines,
        "source": plain(state.source),
        "kept": plain(state.kept),
        "rows": state.rows,
        "maps": {number: plain(store) for number, store in state.maps.items()},
        "moments": {number: [value.cpu() for value in row] for number, row in state.moments.items()},
    }


def _state(found: dict[str, Any]) -> State:
    def store(row: list[Any] | None) -> tuple[str, MapShape] | None:
        if row is None:
            return None
        name, channels, height, width, dtype = row
        return Path(name).name, MapShape(channels, height, width, getattr(torch, dtype))

    affines: list[Affine | None] = [None if row is None else tuple(row) for row in found["affines"]]
    return State(
        found["passes"],
        affines,
        store(found["source"]),
        store(found["kept"]),
        found["rows"],
        {number: made for number, row in found.get("maps", {}).items() if (made := store(row)) is not None},
        {number: (row[0], row[1]) for number, row in found.get("moments", {}).items()},
    )
