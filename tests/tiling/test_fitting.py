"""Networks in bands through the same door as at once: strength, masks and styles are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.brisk import Brisk, BriskConfig
from impasto.networks.checkpoint import Network
from impasto.networks.inference import AtOnce, paint
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.universal import Universal, UniversalConfig
from impasto.tiling.bands import TileProgress
from impasto.tiling.fitting import InBands, renderer_for
from impasto.tiling.plan import Wishes, available_memory, held_memory

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


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (johnson, {}),
        (johnson, {"strength": 0.3}),
        (brisk, {"styles": "b"}),
        (brisk, {"styles": {"a": 1.0, "b": 2.0}, "strength": 0.5}),
        (brisk, {"styles": [("a", 1.0), ("b", 2.0)], "masks": MASKS}),
        (adain, {"pictures": SHOWN}),
        (adain, {"pictures": SHOWN, "alpha": 0.6, "strength": 0.5}),
        (adain, {"pictures": SHOWN, "masks": MASKS}),
        (universal, {"pictures": SHOWN, "strength": 0.5}),
        (universal, {"pictures": SHOWN, "masks": MASKS}),
    ],
)
def test_bands_give_the_same_picture(make: Callable[[], Network], options: dict[str, Any]) -> None:
    network, photo = make(), picture(1)
    seen: list[TileProgress] = []
    out = paint(network, photo, renderer=InBands(Wishes(tile=16), seen.append), **options)
    torch.testing.assert_close(out, paint(network, photo, **options), rtol=0, atol=1e-3)
    assert seen


@pytest.mark.parametrize("make", [brisk, universal])
def test_what_fits_is_painted_at_once(make: Callable[[], Network]) -> None:
    network = make()
    assert isinstance(renderer_for(network, (64, 64)), AtOnce)
    assert isinstance(renderer_for(network, (64, 64), Wishes(tile=32)), InBands)
    assert isinstance(renderer_for(network, (64, 64), Wishes(statistics="sampled")), InBands)
    tight = renderer_for(network, (1200, 1200), Wishes(held_memory() + 10**8))
    assert isinstance(tight, InBands)
    with pytest.raises(OptionError, match="need --max-memory"):
        tight.plan(network, (12000, 12000))


def test_there_is_some_memory() -> None:
    assert held_memory() > 10**7
    assert available_memory() > 10**7


def test_the_tighter_limit_of_a_control_group_counts(tmp_path) -> None:
    from impasto.tiling.plan import _free_in_group

    assert _free_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert _free_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert _free_in_group(tmp_path) == 700
