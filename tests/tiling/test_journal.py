"""A walk that was stopped goes on from its finished passes and strips, and paints the same, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.errors import DataError, OutputError
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.staged import StagedNetwork
from impasto.tiling.bands import BandProgress, paint_staged
from impasto.tiling.cost import StagedCost, plan_staged
from impasto.tiling.journal import Journal
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import TilingOptions, TilingPlan

pytestmark = pytest.mark.usefixtures("one_thread")


def network_of(kind: str, blocks: int = 2) -> StagedNetwork:
    torch.manual_seed(0)
    if kind == "johnson":
        return Johnson(JohnsonConfig(width=4, blocks=blocks)).eval()
    network = Brisk(BriskConfig(("a",), channels=8, blocks=blocks, detail=8)).eval()
    for norm in network.norms:
        torch.nn.init.normal_(norm.beta)
    return network


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


class Canvas:
    """Where painted rows go, and how many went there since the walk began."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.out, self.rows = image, torch.full_like(image, torch.nan), 0

    def walk(self, network: StagedNetwork, plan: TilingPlan, journal: Journal | None) -> Iterator[BandProgress]:
        mix = network.mix("a") if isinstance(network, Brisk) else None
        self.rows = 0
        return paint_staged(network, TensorPhoto(self.image), plan, self.put, mix=mix, journal=journal)

    def put(self, top: int, rows: Tensor) -> None:
        self.out[:, :, top : top + rows.shape[2]] = rows
        self.rows += rows.shape[2]


def plan_of(network: StagedNetwork, image: Tensor, tile: int) -> TilingPlan:
    return plan_staged(network, tuple(image.shape[2:]), torch.float32, TilingOptions(tile=tile, resumable=True))


@settings(max_examples=10, deadline=None)
@given(
    kind=st.sampled_from(["brisk", "johnson"]),
    blocks=st.integers(1, 3),
    size=st.tuples(st.integers(8, 250), st.integers(8, 16)),
    tile=st.integers(9, 60),
    stops=st.lists(st.integers(1, 60), max_size=3),
    statistics=st.sampled_from(["exact", "sampled"]),
)
def test_stopped_anywhere_it_goes_on(tmp_path_factory, kind, blocks, size, tile, stops, statistics) -> None:
    network, folder = network_of(kind, blocks), tmp_path_factory.mktemp("run")
    canvas, whole = Canvas(picture(*size)), Canvas(picture(*size))
    plan = plan_of(network, canvas.image, tile)
    if statistics == "sampled":
        passes = StagedCost(network, size, torch.float32, resumable=True).pass_choices(sampled=True)[0]
        costs = tuple((step, 1.0) for step in passes)
        plan = replace(plan, statistics="sampled", sample=(2, 1), tile=8, passes=costs)
    for _ in whole.walk(network, plan, None):
        pass
    for stop in stops:
        journal = Journal(folder)
        records = canvas.walk(network, journal.begin(plan), journal)
        for _, record in zip(range(stop), records, strict=False):
            assert record.begun <= record.done <= 1
        records.close()
    journal = Journal(folder)
    for record in canvas.walk(network, journal.begin(plan), journal):
        assert record.left >= 0
    assert torch.equal(canvas.out, whole.out)
    (folder / ".impasto-0.pt").write_text("left by a process that was killed")
    journal.remove()
    assert list(folder.iterdir()) == []


def stopped(folder: Path, rows: int, height: int = 600) -> tuple[StagedNetwork, Canvas, TilingPlan]:
    """A walk that was stopped when so many rows were painted."""
    network, canvas = network_of("brisk"), Canvas(picture(height, 16))
    plan = plan_of(network, canvas.image, 16)
    journal = Journal(folder)
    records = canvas.walk(network, journal.begin(plan), journal)
    while canvas.rows < rows:
        next(records)
    records.close()
    return network, canvas, plan


def test_finished_passes_and_strips_are_not_done_again(tmp_path: Path) -> None:
    network, canvas, plan = stopped(tmp_path, rows=300)
    journal = Journal(tmp_path)
    state = journal.state
    assert (state.passes, state.rows) == (len(plan.passes) - 1, canvas.rows)
    left = 600 - canvas.rows
    records = list(canvas.walk(network, plan, journal))
    assert canvas.rows == left
    assert len(records) < 600 / 16  # of one pass alone, and not of all of that
    assert all(0.5 < record.begun <= record.done <= 1 for record in records)


def test_a_map_that_was_being_written_is_made_again(tmp_path: Path) -> None:
    """Stopped within a pass, what the pass before left is whole, and the half-written map goes."""
    network, canvas = network_of("brisk"), Canvas(picture(200, 16))
    plan = plan_of(network, canvas.image, 16)
    journal = Journal(tmp_path)
    records = canvas.walk(network, journal.begin(plan), journal)
    while journal.state.passes < 3:
        next(records)
    next(records)
    names = {path.name for path in journal.maps.iterdir()}
    records.close()
    again = Journal(tmp_path)
    again.save(again.state)
    kept = {path.name for path in journal.maps.iterdir()}
    assert kept < names
    assert kept == {store[0] for store in (again.state.source, again.state.kept) if store}


def test_the_plan_stays_that_of_the_beginning(tmp_path: Path) -> None:
    network, canvas, plan = stopped(tmp_path, rows=100)
    other = plan_of(network, canvas.image, 64)
    assert Journal(tmp_path).begin(other) == plan != other


def test_what_is_kept_is_planned_for() -> None:
    network, size = network_of("brisk"), (4000, 3000)
    usual, kept = (
        plan_staged(network, size, torch.float32, TilingOptions(resumable=resumable)) for resumable in (False, True)
    )
    assert (usual.spilled, kept.pool) == (0, 0)
    assert kept.peak < usual.peak
    assert kept.spilled >= 2 * 4 * 8 * 4000 * 3000 / 16  # two maps are needed at once


def test_a_damaged_state_is_one_sentence(tmp_path: Path) -> None:
    *_, plan = stopped(tmp_path, rows=50)
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"state\.pt: is damaged or of another version"):
        Journal(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="maps"):
        Journal(tmp_path / "file").begin(plan)


def test_a_plan_of_an_earlier_version_is_read(tmp_path) -> None:
    """It had a seed and a folder, which nothing could set."""
    journal = Journal(tmp_path)
    plan = journal.begin(plan_staged(network_of("brisk", 1), (64, 48), torch.float32))
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    kept["plan"] |= {"seed": 0, "folder": None}
    torch.save(kept, tmp_path / "state.pt")
    assert Journal(tmp_path).plan == plan
