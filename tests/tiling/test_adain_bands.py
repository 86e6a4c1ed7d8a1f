"""AdaIN in bands gives what AdaIN at once gives, with masks and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.core.precision import Precision
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.layers import use_precision
from impasto.tiling.adain_bands import encode_pieces, paint_adain, plan_adain
from impasto.tiling.passes import Pass
from impasto.tiling.photos import TensorPhoto
from impasto.tiling.plan import TilingOptions, TilingPlan

pytestmark = pytest.mark.usefixtures("one_thread")


def encoder(padding: str = "replicate", pool: str = "max", **values) -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv4_1", name="toy", padding=padding, pool=pool, **values).requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
    return vgg


def random_network(**values) -> AdaIN:
    torch.manual_seed(1)
    return AdaIN(AdaINConfig("toy", width=1 / 16), encoder(**values)).eval()


@pytest.fixture(scope="module")
def network() -> AdaIN:
    return random_network()


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, max(1, height // 4), max(1, width // 4), generator=draw)
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


def tiled(network: AdaIN, image: Tensor, plan: TilingPlan, styles, **values) -> Tensor:
    out = torch.full_like(image, torch.nan)

    def put(top: int, rows: Tensor) -> None:
        out[:, :, top : top + rows.shape[2]] = rows

    done = [r.done for r in paint_adain(network, TensorPhoto(image), plan, put, styles, **values)]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    return out


@torch.inference_mode()
def moments(network: AdaIN, *seeds: int):
    return [network.encode_style(picture(40, 40, seed)) for seed in seeds]


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 50)),
    st.integers(1, 100),
    st.sampled_from([0, None]),
    st.sampled_from([1.0, 0.4]),
)
def test_any_size_and_tile_gives_the_untiled_picture(network, size, tile, spare, alpha) -> None:
    image, styles = picture(*size), moments(network, 7, 8)
    plan = plan_adain(network, size, torch.float32, TilingOptions(tile=tile))
    if spare is not None:
        plan = plan_adain(network, size, torch.float32, TilingOptions(plan.work + spare, tile=tile))
        assert plan.spilled > 0
    with torch.inference_mode():
        expected = network(image, styles, weights=[1, 3], alpha=alpha)
    out = tiled(network, image, plan, styles, weights=[1, 3], alpha=alpha)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(70, 50), (33, 64)])
def test_masks(network, size) -> None:
    image, styles = picture(*size), moments(network, 7, 8)
    masks = [torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, *size)]
    masks[0][..., 2:9, 3:] = 1
    masks[1][..., size[0] // 3 :, : size[1] // 2] = 0.7
    with torch.inference_mode():
        expected = network(image, styles, masks=masks)
    for statistics in ("exact", "sampled"):
        plan = replace(plan_adain(network, size, torch.float32, TilingOptions(tile=16)), statistics=statistics)
        torch.testing.assert_close(tiled(network, image, plan, styles, masks=masks), expected, rtol=0, atol=1e-3)
    with pytest.raises(OptionError):
        tiled(network, image, plan, styles, masks=masks[:1])


def test_bfloat16() -> None:
    network, image = random_network(), picture(100, 60)
    use_precision(network, Precision(torch.bfloat16, True, "a test"))
    styles = moments(network, 7)
    with torch.inference_mode():
        expected = network(image, styles)
    out = tiled(network, image, plan_adain(network, (100, 60), torch.bfloat16, TilingOptions(tile=24)), styles)
    assert (out - expected).abs().max() <= 2 / 255


def test_sampled_statistics_are_near(network) -> None:
    image, styles = picture(240, 320), moments(network, 7)
    with torch.inference_mode():
        expected = network(image, styles)
    plan = plan_adain(network, (240, 320), torch.float32, TilingOptions(tile=64))
    one = ((Pass(0, 1, stores=False, paints=True), 1.0),)
    plan = replace(plan, statistics="sampled", sample=(1, 2), tile=200, passes=one)
    out = tiled(network, image, plan, styles)
    assert 0 < (out - expected).abs().mean() < 0.05  # this decoder's weights are random, and it exaggerates
    assert torch.equal(out, tiled(network, image, plan, styles))


@pytest.mark.parametrize(
    "values",
    [
        {"padding": "zeros"},
        {"pool": "average"},
        {"pool": "l2"},
        {"ranks": {"conv1_2": 8, "conv2_1": 16}},
    ],
)
@pytest.mark.parametrize("tap", ["relu3_1", "conv2_2", "relu2_2"])
def test_all_encoders(values, tap) -> None:
    vgg, image = encoder(**values), picture(37, 26)
    with torch.inference_mode():
        expected = vgg(image, [tap])[tap]
        pieces = (image[:, :, top : top + 8] for top in range(0, 37, 8))
        out = torch.cat(list(encode_pieces(vgg, tap, pieces, 37)), 2)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
