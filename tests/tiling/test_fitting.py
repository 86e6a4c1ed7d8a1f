"""Networks in bands through the same door as at once: strength, masks and styles are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.core.memory import available_memory, held_memory
from impasto.core.rows import Pool, RowStore
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.inference import bind
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.registry import Network
from impasto.networks.universal import Universal, UniversalConfig
from impasto.tiling import fitting
from impasto.tiling.bands import BandProgress
from impasto.tiling.fitting import paint, paint_rows, plan_bands, plan_for
from impasto.tiling.journal import Journal
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import SLACK, TilingOptions

pytestmark = pytest.mark.usefixtures("one_thread")


def brisk() -> Brisk:
    torch.manual_seed(0)
    network = Brisk(BriskConfig(("a", "b"), channels=8, blocks=1, detail=8)).eval()
    for norm in network.norms:
        torch.nn.init.normal_(norm.beta)
    return network


def encoder() -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv4_1", name="toy").requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    return vgg


def adain() -> AdaIN:
    return AdaIN(AdaINConfig("toy", width=1 / 32), encoder()).eval()


def universal() -> Universal:
    network = Universal(UniversalConfig("toy", channels=8, blocks=1, detail=8, parts=2, hidden=8), encoder()).eval()
    network.predictor.learn_basis(torch.cat([network.signature(picture(seed)).features for seed in range(10, 14)]))
    torch.nn.init.normal_(network.predictor.rows.weight)
    return network


def johnson() -> Johnson:
    torch.manual_seed(0)
    return Johnson(JohnsonConfig(width=4, blocks=1)).eval()


def picture(seed: int, height: int = 44, width: int = 35, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


MASKS = [picture(5, channels=1), picture(6, channels=1)]
SHOWN = [(picture(7), 1.0), (picture(8), 3.0)]


def run(records: Generator[BandProgress, None, Tensor]) -> tuple[Tensor, list[BandProgress]]:
    seen = []
    while True:
        try:
            seen.append(next(records))
        except StopIteration as end:
            return end.value, seen


@pytest.mark.parametrize(
    ("make", "styles", "options"),
    [
        (johnson, [], {}),
        (johnson, [], {"strength": 0.3}),
        (brisk, [("b", 1.0)], {}),
        (brisk, [("a", 1.0), ("b", 2.0)], {"strength": 0.5}),
        (brisk, [("a", 1.0), ("b", 2.0)], {"masks": MASKS}),
        (adain, SHOWN, {}),
        (adain, SHOWN, {"alpha": 0.6, "strength": 0.5}),
        (adain, SHOWN, {"masks": MASKS}),
        (adain, SHOWN, {"strength": 0}),
        (universal, SHOWN, {"strength": 0.5}),
        (universal, SHOWN, {"masks": MASKS}),
    ],
)
def test_bands_give_the_same_picture(make: Callable[[], Network], styles: list[Any], options: dict[str, Any]) -> None:
    bound, photo = bind(make(), styles), picture(1)
    out, seen = run(paint(bound, photo, TilingOptions(tile=16), **options))
    torch.testing.assert_close(out, bound(photo, **options), rtol=0, atol=1e-3)
    done = [record.done for record in seen]
    assert len(seen) > bound.count_forward_passes(options.get("masks"), options.get("strength", 1.0))
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert all(record.seconds >= 0 for record in seen)


@pytest.mark.parametrize("make", [brisk, universal])
def test_what_fits_is_painted_at_once(make: Callable[[], Network]) -> None:
    network = make()
    assert plan_bands(network, (64, 64)) is None
    assert plan_bands(network, (64, 64), TilingOptions(tile=32)) is not None
    assert plan_bands(network, (64, 64), TilingOptions(statistics="sampled")) is not None
    tight = TilingOptions(held_memory() + 16 * 10**7)
    assert plan_bands(network, (1200, 1200), tight) is not None
    with pytest.raises(OptionError, match="need `max_memory`"):
        plan_bands(network, (12000, 12000), tight)
    told = replace(tight, told=10**8, elsewhere=12 * 10**7)
    with pytest.raises(OptionError, match="within 100 MB: need `max_memory` 120MB"):
        plan_bands(network, (12000, 12000), told)
    bound, photo = bind(network, [("b", 1.0)] if network.styles else SHOWN), picture(1)
    out, seen = run(paint(bound, photo))
    assert not seen
    assert torch.equal(out, bound(photo))


def test_wrong_options_are_told_before_anything_is_painted() -> None:
    with pytest.raises(OptionError, match="alpha is for networks"):
        next(paint(bind(johnson()), picture(1), alpha=0.5))
    plan = plan_for(johnson(), (44, 35))
    with pytest.raises(OptionError, match="alpha is for networks"):
        paint_rows(bind(johnson()), TensorPhoto(picture(1)), plan, lambda *_: None, alpha=0.5)


def test_a_closed_painting_gives_memory_and_disk_back(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(fitting, "held_memory", lambda: 0)
    bound, photo = bind(brisk(), [("a", 1.0)]), picture(1, 512, 64)
    options = TilingOptions(SLACK + 6 * 10**6, tile=16)
    stores: list[RowStore] = []
    take = Pool.take
    monkeypatch.setattr(Pool, "take", lambda pool, shape: stores.append(take(pool, shape)) or stores[-1])
    records = paint(bound, photo, options)
    for _ in range(3):
        next(records)
    assert stores
    assert any(store._memory is not None or store.file.path or store.bytes_on_disk for store in stores)
    records.close()
    assert all(store._memory is None for store in stores)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StopIteration):
        next(records)


def test_strips_of_a_network_that_cannot_be_resumed_take_no_journal(tmp_path) -> None:
    network = adain()
    plan = plan_for(network, (44, 35))
    with pytest.raises(OptionError, match="cannot be resumed"):
        paint_rows(bind(network, SHOWN), TensorPhoto(picture(1)), plan, lambda *_: None, journal=Journal(tmp_path))


def test_there_is_some_memory() -> None:
    assert held_memory() > 10**7
    assert available_memory() > 10**7


def test_the_tighter_limit_of_a_control_group_counts(tmp_path) -> None:
    from impasto.core.memory import _free_in_group

    assert _free_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert _free_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert _free_in_group(tmp_path) == 700
