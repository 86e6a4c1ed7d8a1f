"""Painting in bands gives what painting at once gives; planning keeps to its budget."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from impasto.core.memory import parse_memory, shown_bytes
from impasto.core.precision import Precision
from impasto.errors import OptionError
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.layers import pad_to_multiple, use_precision
from impasto.networks.multistyle import MultiStyleConfig
from impasto.networks.registry import build
from impasto.networks.staged import StagedNetwork
from impasto.tiling.bands import paint_staged
from impasto.tiling.cost import StagedCost, plan_staged
from impasto.tiling.photos import Padded, TensorPhoto, draw_tiles
from impasto.tiling.plan import TilingOptions, TilingPlan

CONFIGS = {
    "sigmoid": lambda width, blocks: JohnsonConfig("sigmoid", width, blocks),
    "linear": lambda width, blocks: JohnsonConfig("linear", width, blocks),
    "multistyle": lambda width, blocks: MultiStyleConfig(("a", "b"), width, blocks),
    "brisk": lambda width, blocks: BriskConfig(("a", "b"), 4 * width, blocks, detail=2 * width),
    "reach": lambda width, blocks: BriskConfig(("a", "b"), 4 * width, blocks, detail=2 * width, reach=4 * width),
    "margin": lambda width, blocks: BriskConfig(
        ("a", "b"), 4 * width, blocks, detail=2 * width, reach=4 * width, margin=16
    ),
    "odd margin": lambda width, blocks: MultiStyleConfig(("a", "b"), width, blocks, margin=5),
}
pytestmark = pytest.mark.usefixtures("one_thread")


def random_network(kind: str, width: int = 4, blocks: int = 2, seed: int = 0) -> StagedNetwork:
    torch.manual_seed(seed)
    network = build(CONFIGS[kind](width, blocks))
    assert isinstance(network, StagedNetwork)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim < 4 or "gamma" in name:
                value.add_(0.3 * torch.randn_like(value))
            if kind == "multistyle" and name.endswith("conv2d.weight"):
                nn.init.kaiming_normal_(value)
    return network.eval()


def mix_of(network: StagedNetwork) -> Tensor | None:
    return None if isinstance(network, Johnson) else network.mix({"a": 0.7, "b": 0.3})


@torch.inference_mode()
def untiled(network: StagedNetwork, image: Tensor) -> Tensor:
    return network.paint(image, mix_of(network))


def tiled(network: StagedNetwork, image: Tensor, plan: TilingPlan) -> Tensor:
    out = torch.full_like(image, torch.nan)

    def put(top: int, rows: Tensor) -> None:
        out[:, :, top : top + rows.shape[2]] = rows

    records = list(paint_staged(network, TensorPhoto(image), plan, put, mix=mix_of(network)))
    done = [record.done for record in records]
    assert done == sorted(done)
    assert done[-1:] in ([], [pytest.approx(1)])  # none for a flat picture
    return out


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=draw)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(CONFIGS)),
    width=st.integers(1, 6),
    blocks=st.integers(1, 3),
    size=st.tuples(st.integers(8, 90), st.integers(8, 40)),
    tile=st.integers(1, 100),
    spare=st.sampled_from([None, 0, 3000, 20_000]),
    way=st.integers(0, 9),
)
@example(kind="sigmoid", width=1, blocks=1, size=(1, 2), tile=1, spare=None, way=0)  # flat but for rounding
@example(kind="multistyle", width=5, blocks=3, size=(2, 2), tile=34, spare=None, way=6)
@example(kind="brisk", width=2, blocks=1, size=(90, 1), tile=7, spare=None, way=1)
def test_any_network_size_and_tile_gives_the_untiled_picture(kind, width, blocks, size, tile, spare, way) -> None:
    network, image = random_network(kind, width, blocks, seed=way), picture(*size, seed=way)
    plan = plan_staged(network, size, torch.float32, TilingOptions(tile=tile))
    if spare is not None:
        plan = plan_staged(network, size, torch.float32, TilingOptions(tile=tile, budget=plan.work + spare))
        assert plan.peak <= plan.work + spare
    torch.testing.assert_close(tiled(network, image, plan), untiled(network, image), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_ways_of_storing_agree(kind) -> None:
    network, size = random_network(kind), (70, 45)
    image = picture(*size)
    expected = untiled(network, image)
    ways = StagedCost(network, size, torch.float32).pass_choices(sampled=False)
    assert len(ways) > 1
    base = plan_staged(network, size, torch.float32, TilingOptions(tile=16))
    for way in ways:
        plan = replace(base, passes=tuple((step, 1.0) for step in way), pool=9000)
        torch.testing.assert_close(tiled(network, image, plan), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tile", [3, 24, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", CONFIGS)
def test_bands_give_what_the_whole_does_in_any_precision(kind, dtype, tile) -> None:
    """In bfloat16 a statistic that differs in its last bit alone would show: by more than 2/255 here."""
    network, image = random_network(kind, width=16), picture(190, 170)
    use_precision(network, Precision(dtype, True, "a test"))
    plan = plan_staged(network, (190, 170), dtype, TilingOptions(tile=tile))
    torch.testing.assert_close(tiled(network, image, plan), untiled(network, image), rtol=0, atol=1e-5)


def test_tiles_of_their_own_statistics_would_show() -> None:
    """The test above can fail: a band painted alone is another picture."""
    network, image = random_network("brisk"), picture(64, 32) * torch.linspace(0.1, 1, 64)[:, None]
    apart = torch.cat([untiled(network, image[:, :, :32]), untiled(network, image[:, :, 32:])], 2)
    assert (apart - untiled(network, image)).abs().max() > 0.05


@pytest.mark.parametrize("margin", [0, 16])
@pytest.mark.parametrize(("size", "multiple", "smallest"), [((1, 1), 4, 8), ((3, 50), 4, 8), ((41, 9), 8, 16)])
def test_a_photo_is_continued_as_a_whole_one(size, multiple, smallest, margin) -> None:
    image = picture(*size)
    padded = Padded(TensorPhoto(image), multiple, smallest, margin)
    whole = pad_to_multiple(image, multiple, smallest, margin)
    assert torch.equal(torch.cat(list(padded.pieces(8)), 2), whole)
    mean, flat = padded.mean(8)
    torch.testing.assert_close(mean, whole.mean((2, 3), keepdim=True))
    assert flat == (size == (1, 1))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_flat_photo_stays_flat(kind) -> None:
    network, image = random_network(kind), torch.tensor([0.9, 0.2, 0.5]).view(1, 3, 1, 1).expand(1, 3, 75, 33)
    out = tiled(network, image, plan_staged(network, (75, 33), torch.float32, TilingOptions(tile=8)))
    assert out.isfinite().all()
    assert (out.amax((2, 3)) == out.amin((2, 3))).all()
    assert out.std() > 0  # its channels differ


def sampled(network: StagedNetwork, size: tuple[int, int], sample: tuple[int, int], tile: int) -> TilingPlan:
    whole = plan_staged(network, size, torch.float32, TilingOptions(tile=64))
    passes = StagedCost(network, size, torch.float32).pass_choices(sampled=True)[0]
    costs = tuple((step, 1.0) for step in passes)
    return replace(whole, statistics="sampled", sample=sample, tile=tile, passes=costs)


def test_sampled_statistics_are_near_and_repeatable() -> None:
    network = random_network("brisk", width=2)
    draw = torch.Generator().manual_seed(3)
    image = nn.functional.interpolate(torch.rand(1, 3, 60, 80, generator=draw), (480, 640), mode="bilinear")
    plan = sampled(network, (480, 640), (9, 12), 48)
    out = tiled(network, image, plan)
    assert torch.equal(out, tiled(network, image, plan))
    assert 0 < (out - untiled(network, image)).abs().mean() < 1 / 255


@pytest.mark.parametrize("kind", CONFIGS)
def test_half_of_the_statistics_are_exact_where_the_others_are_sampled(kind) -> None:
    """A pass each for the first, to the end of a residual block, and one for all that is sampled."""
    network = random_network(kind, blocks=5)
    *measured, painted = StagedCost(network, (480, 640), torch.float32).pass_choices(sampled=True)[0]
    stages = network.stages()
    assert painted.paints
    assert stages[painted.first - 1].closes
    ends = [0, *(i + 1 for i, stage in enumerate(stages) if stage.closes)]
    longest = max(after - before for before, after in itertools.pairwise(ends))
    assert abs(painted.first - len(stages) / 2) <= longest / 2
    assert [step.last for step in measured] == list(range(painted.first))


def test_tiles_are_drawn_from_few_rows_and_hold_no_more_than_themselves() -> None:
    class Counting(TensorPhoto):
        rows, most = 0, 0

        def __init__(self, image: Tensor) -> None:
            super().__init__(image)
            self.given: list[weakref.ref[np.ndarray]] = []

        def read(self, top: int, bottom: int) -> Tensor:
            self.rows += bottom - top
            self.most = max(self.most, sum(strip() is not None for strip in self.given))
            strip = super().read(top, bottom).numpy().copy()  # lives as long as anything that looks into it
            self.given.append(weakref.ref(strip))
            return torch.from_numpy(strip)

    photo = Counting(picture(300, 500))
    network = random_network("brisk")
    plan = replace(plan_staged(network, (300, 500), torch.float32), sample=(3, 7))
    padded = Padded(photo, 4, 8)
    tiles = draw_tiles(padded.read, (padded.height, padded.width), 32, plan)
    assert tiles.shape == (21, 3, 32, 32)
    assert photo.rows == 3 * 32
    assert photo.most == 1, "the strip before, until the next is there"


def test_networks_that_see_further_than_a_tile_are_sampled_too() -> None:
    network = random_network("brisk", width=2, blocks=9)
    assert tiled(network, picture(200, 300), sampled(network, (200, 300), (2, 3), 32)).isfinite().all()


def test_a_large_picture_is_sampled_if_wished() -> None:
    network = random_network("brisk")
    plan = plan_staged(network, (4000, 6000), torch.float32, TilingOptions(statistics="sampled"))
    assert plan.statistics == "sampled"
    exact = plan_staged(network, (4000, 6000), torch.float32)
    assert len(plan.passes) < len(exact.passes)
    assert plan.seconds < exact.seconds
    assert plan.sample[0] * plan.sample[1] * plan.tile**2 == pytest.approx(4000 * 6000 / 4, rel=0.1)
    assert "tiles" in str(plan)


def test_a_small_picture_is_not_sampled() -> None:
    plan = plan_staged(random_network("brisk"), (300, 300), torch.float32, TilingOptions(statistics="sampled"))
    assert plan.statistics == "exact"


def test_the_plan_follows_the_budget() -> None:
    with torch.device("meta"):
        network = Brisk(BriskConfig(("a",)))
    free = plan_staged(network, (8000, 12000), torch.bfloat16, TilingOptions(held=3 * 10**8))
    tight = plan_staged(network, (8000, 12000), torch.bfloat16, TilingOptions(10**9, held=3 * 10**8))
    assert free.spilled == 0
    assert free.peak > 2 * 10**9
    assert tight.peak <= 10**9
    assert tight.spilled + tight.pool >= 2 * 96 * 2 * 8000 * 12000 / 16  # two maps are needed at once
    assert tight.seconds > free.seconds
    assert "temporary file" in str(tight)


def test_too_small_a_budget_is_refused_with_one_that_works() -> None:
    network = random_network("sigmoid")
    with pytest.raises(OptionError, match="need `max_memory`") as refused:
        plan_staged(network, (4000, 4000), torch.float32, TilingOptions(10**8, held=10**8))
    enough = parse_memory(str(refused.value).split("`max_memory` ")[1].split(" ")[0])
    assert plan_staged(network, (4000, 4000), torch.float32, TilingOptions(enough, held=10**8)).peak <= enough
    with pytest.raises(OptionError):
        plan_staged(network, (4000, 4000), torch.float32, TilingOptions(enough - 10**7, held=10**8))


@pytest.mark.parametrize("values", [{"tile": 0}, {"statistics": "guessed"}])
def test_senseless_options_are_refused(values) -> None:
    with pytest.raises(OptionError):
        plan_staged(random_network("brisk"), (64, 64), torch.float32, TilingOptions(**values))


@pytest.mark.parametrize(
    ("text", "count"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 << 29), ("600m", 6 * 10**8), ("9b", 9), (9, 9), (2e9, 2 * 10**9)],
)
def test_amounts_of_memory(text, count) -> None:
    assert parse_memory(text) == count
    assert shown_bytes(count)


@pytest.mark.parametrize("text", ["", "much", "-2GB", "0", "2 PB", "nan", "500", 0, -1, True, math.inf])
def test_other_amounts_are_refused(text) -> None:
    with pytest.raises(OptionError):
        parse_memory(text)


CHILD = """
import resource, sys, torch
from impasto.networks.registry import build
from impasto.networks.brisk import BriskConfig
from impasto.tiling.cost import plan_staged
from impasto.tiling.plan import TilingOptions
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.bands import paint_staged
torch.set_num_threads(1)
torch.manual_seed(0)
network = build(BriskConfig(("a",), 32, 2, 16)).eval()
image = torch.rand(1, 3, 1500, 1000)
status = dict(line.split(":") for line in open("/proc/self/status"))
held = int(status["VmRSS"].split()[0]) * 1024
data = int(status["VmData"].split()[0]) * 1024
room = 80 << 20
plan = plan_staged(network, (1500, 1000), torch.float32, TilingOptions(held + room, held))
resource.setrlimit(resource.RLIMIT_DATA, (data + room, data + room))
rows = 0
def count(top, part):
    global rows
    rows = top + part.shape[2]
for _ in paint_staged(network, TensorPhoto(image), plan, count, mix=network.mix("a")):
    pass
status = dict(line.split(":") for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024  # of this program alone; getrusage knows the parent's too
print(rows, plan.spilled, int(peak <= held + room))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_the_budget_is_kept() -> None:
    """Under a limit that the system enforces; the maps between passes alone would not fit."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, spilled, kept = (int(number) for number in done.stdout.split())
    assert rows == 1500
    assert spilled > 0
    assert kept
