"""Apple's GPUs have no float64: what wants it takes float32 there, or goes to the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from impasto.core import precision
from impasto.core.colour import match_colours
from impasto.core.losses import WassersteinLoss
from impasto.core.rows import MapShape, Pool, RowStore
from impasto.core.statistics import moments
from impasto.core.vgg import VGG
from impasto.networks.norms import RunningMoments
from impasto.optimize.blockwise import BlockObjective, Layout
from impasto.optimize.presets import preset
from impasto.tiling.adain_bands import _Regions

pytestmark = pytest.mark.usefixtures("one_thread")


class OnProcessor(Tensor):
    """What was moved to the processor, where there is float64."""


class NoFloat64(TorchFunctionMode):
    """Stands in for a device without float64: whatever was not moved to the processor may not have it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is Tensor.cpu:
            return result.as_subclass(OnProcessor)
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor) and value.dtype == torch.float64 and not isinstance(value, OnProcessor):
                raise TypeError(f"{function}: this device has no float64")
        return result


@pytest.fixture
def without_float64(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(precision, "_WITHOUT_FLOAT64", frozenset({"cpu"}))
    with NoFloat64():
        yield


def test_a_device_without_float64(without_float64: None) -> None:
    x = torch.rand(3)
    with pytest.raises(TypeError, match="no float64"):
        x.double()
    assert precision.accumulator_dtype(x.device) == torch.float32
    assert precision.in_float64(x).dtype == torch.float64


def test_only_apples_gpus_have_no_float64() -> None:
    wide = {name: precision.accumulator_dtype(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert wide == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}


def features(seed: int = 0, size: tuple[int, int] = (24, 20)) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 3 + torch.rand(1, 8, *size, generator=draw).contiguous(memory_format=torch.channels_last)


def wasserstein() -> Tensor:
    return WassersteinLoss(*moments(features(1)))(features())


def running_moments() -> Tensor:
    seen = RunningMoments()
    seen.add(features()[:, :, :10])
    seen.add(features()[:, :, 10:])
    return torch.cat(seen.result())


def moments_of_regions() -> Tensor:
    mask = features(2)[:, :1] - 3
    regions, store = _Regions([mask, 1 - mask]), RowStore(MapShape(8, 24, 20, torch.float32))
    list(regions.measure(iter([features()[:, :, :10], features()[:, :, 10:]]), store))
    return torch.cat([torch.cat(one) for one in regions.moments()])


def by_blocks() -> Tensor:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv2_1").requires_grad_(False)
    settings = preset("quick", content_layers={"relu2_1": 1.0}, style_layers={"relu1_1": 1.0})
    photo, style = (features(seed, (64, 64))[:, :3] - 3 for seed in (3, 4))
    layout, pool = Layout(2, 1, 0, 0, 1.0), Pool(10**9)
    objective = BlockObjective(vgg, photo, [(style, 1.0)], settings, layout=layout, pool=pool)
    with torch.no_grad():
        total: Tensor = objective(1 - photo).total
    return total


def colours() -> Tensor:
    return match_colours(features()[:, :3] - 3, features(1)[:, :3] - 3)


@pytest.mark.parametrize("work", [wasserstein, running_moments, moments_of_regions, by_blocks, colours])
def test_nothing_needs_float64_on_the_device(work: Callable[[], Tensor], request: pytest.FixtureRequest) -> None:
    expected = work()
    request.getfixturevalue("without_float64")
    torch.testing.assert_close(work().as_subclass(Tensor).float(), expected.float(), rtol=1e-4, atol=1e-5)
