"""The objective by blocks: the same value and the same gradient as of the whole picture at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.core.memory import parse_memory
from impasto.core.rows import Pool
from impasto.core.vgg import VGG
from impasto.errors import OptionError
from impasto.optimize.blockwise import (
    BlockObjective,
    Layout,
    block_bytes,
    block_features,
    layout_for,
    margin_of,
    split,
    state_bytes,
    transformed_bytes,
)
from impasto.optimize.loop import Optimization
from impasto.optimize.objective import Objective
from impasto.optimize.presets import OptimizeSettings, preset

pytestmark = pytest.mark.usefixtures("one_thread")


def backbone(pool: str = "max", padding: str = "zeros", last: str = "conv3_2", dtype=torch.float64, **values) -> VGG:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last=last, name="toy", pool=pool, padding=padding, **values).requires_grad_(False)
    for value in vgg.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value)
        else:
            torch.nn.init.normal_(value, std=0.1)
    return vgg.to(dtype)


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return backbone()


def picture(height: int, width: int, seed: int = 0, dtype=torch.float64) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SETTINGS = preset(
    "quick",
    backbone="compact",
    init="content",
    content_layers={"relu2_2": 1.0, "conv3_1": 0.5},
    style_layers={"relu1_1": 1.0, "conv2_1": 0.3, "relu3_1": 0.5},
    tv_weight=0.1,
)
VARIANTS = {
    "ours": SETTINGS,
    "sums": replace(SETTINGS, content_reduction="sum", style_reduction="sum", style_divisor="all"),
    "means": replace(SETTINGS, content_reduction="mean", style_reduction="mean", style_divisor="none"),
    "style alone": replace(SETTINGS, content_weight=0.0),
    "content alone": replace(SETTINGS, style_weight=0.0),
}


def both(vgg: VGG, s: OptimizeSettings, size: tuple[int, int], layout: Layout, memory: int = 10**9, hidden: int = 0):
    """Terms and gradients, whole and by blocks, of the same picture; `hidden` columns of a style do not count."""
    photo, image = picture(*size, seed=1).to(vgg.dtype), picture(*size, seed=2).to(vgg.dtype) * 1.1
    styles = [(picture(41, 58, seed=3).to(vgg.dtype), 1.0), (picture(64, 30, seed=4).to(vgg.dtype), 2.0)]
    if hidden:
        alpha = torch.ones_like(styles[0][0][:, :1])
        alpha[..., :hidden], alpha[..., hidden : hidden + 9] = 0, 0.3
        styles[0] = (torch.cat([styles[0][0], alpha], 1), 1.0)
    weights = dict.fromkeys(("relu2_2", "relu3_1"), (2.0, 3.0))
    whole = Objective(vgg, photo, styles, s, weights)
    blocks = BlockObjective(vgg, photo, styles, s, weights, layout=layout, pool=Pool(memory))
    out = []
    for objective in (whole, blocks):
        leaf = image.clone().requires_grad_()
        terms = objective(leaf)
        (terms.total * 0.5).backward()
        out.append((terms, leaf.grad))
    return out


def agree(one, other, tolerance: float) -> None:
    for name, a, b in zip(one[0]._fields, one[0], other[0], strict=True):
        assert float(b.detach()) == pytest.approx(float(a.detach()), rel=tolerance), name
    assert (one[1] - other[1]).norm() <= tolerance * one[1].norm()
    assert (one[1] - other[1]).abs().max() <= 10 * tolerance * one[1].abs().max()


@settings(max_examples=8, deadline=None)
@given(
    st.tuples(st.integers(16, 50), st.integers(16, 40)),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 4),
    st.sampled_from(list(VARIANTS)),
)
def test_any_division_gives_the_same_gradient(vgg, size, down, across, retained, variant) -> None:
    agree(*both(vgg, VARIANTS[variant], size, Layout(down, across, retained, 0, 1.0)), 1e-5)


@pytest.mark.parametrize(
    "values",
    [
        {"pool": "average", "rescale_pool": True},
        {"pool": "l2"},
        {"padding": "replicate"},
        {"ranks": {"conv1_2": 8, "conv2_2": 16}},
    ],
)
def test_any_backbone(values) -> None:
    agree(*both(backbone(**values), SETTINGS, (53, 47), Layout(3, 2, 1, 0, 1.0)), 1e-5)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_float32_is_near_enough(style_loss) -> None:
    s = replace(SETTINGS, style_loss=style_loss)
    agree(*both(backbone(dtype=torch.float32), s, (64, 61), Layout(3, 3, 2, 0, 1.0)), 1e-4)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("divisor", ["none", "positions", "all"])
def test_hidden_parts_of_a_style_count_as_little_by_blocks(style_loss, divisor) -> None:
    s = replace(SETTINGS, style_loss=style_loss, style_divisor=divisor)
    # Where few positions are, a root's slope is steep, and sums in another order are seen in it.
    near = 1e-3 if style_loss == "wasserstein" else 1e-4
    agree(*both(backbone(dtype=torch.float32), s, (50, 43), Layout(3, 2, 0, 0, 1.0), hidden=21), near)


def test_targets_may_lie_on_disk(vgg) -> None:
    agree(*both(vgg, SETTINGS, (50, 40), Layout(2, 2, 0, 0, 1.0), memory=5000), 1e-5)


def test_without_a_margin_the_gradient_would_be_another(vgg) -> None:
    size, layout = (64, 64), Layout(2, 2, 0, 0, 1.0)
    photo, image = picture(*size, seed=1), picture(*size, seed=2)
    objective = BlockObjective(vgg, photo, [(photo, 1.0)], SETTINGS, layout=layout, pool=Pool(10**9))
    exact = objective.evaluate(image, True)[2]
    objective.margin = 4
    blocks = objective.blocks(size)
    assert blocks[0].outer_bottom == blocks[0].bottom + 4
    assert (objective.evaluate(image, True)[2] - exact).norm() > 1e-3 * exact.norm()


def test_without_gradient_nothing_is_kept(vgg) -> None:
    size = (40, 48)
    objective = BlockObjective(
        vgg, picture(*size), [(picture(*size, 5), 1.0)], SETTINGS, layout=Layout(2, 2, 4, 0, 1.0), pool=Pool(10**9)
    )
    with torch.no_grad():
        terms = objective(picture(*size, 7))
    assert not terms.total.requires_grad
    assert terms.total > 0


@pytest.mark.parametrize(("last", "tap", "margin"), [("conv2_1", "relu2_1", 4), ("conv5_1", "relu5_1", 80)])
def test_margins(last, tap, margin) -> None:
    """To relu5_1 VGG-19 sees 156 px: 78 on each side, but 8 of them lie within the cell of the pools."""
    with torch.device("meta"):
        vgg = VGG("vgg19", last=last, name="toy")
    assert margin_of(vgg, [tap])[0] == margin


def test_features_of_blocks_are_those_of_the_picture(vgg) -> None:
    image, taps = picture(45, 70), ("relu1_2", "conv2_2", "relu3_1")
    whole = vgg(image, taps)
    blocks = split((45, 70), 3, 4, *margin_of(vgg, taps))
    assert len(blocks) == 12
    counted = dict.fromkeys(taps, 0)
    for block in blocks:
        for tap, f in block_features(vgg, block.cut(image), block, taps):
            step = 2 ** (int(tap[4]) - 1)
            top, left = block.top // step, block.left // step
            part = whole[tap][:, :, top : top + f.shape[2], left : left + f.shape[3]]
            torch.testing.assert_close(f, part)
            counted[tap] += f.numel()
    assert counted == {tap: f.numel() for tap, f in whole.items()}


def test_the_layout_follows_the_room(vgg) -> None:
    size = (1600, 2400)
    remembered, momentary = block_bytes(
        vgg, [*SETTINGS.content_layers, *SETTINGS.style_layers], SETTINGS.content_layers
    )
    whole = layout_for(vgg, SETTINGS, size, int(size[0] * size[1] * (remembered + momentary)) + 1)
    assert (whole.down, whole.across, whole.retained, whole.effort) == (1, 1, 1, 1.0)
    efforts = []
    for share in (2, 4, 8, 16):
        layout = layout_for(vgg, SETTINGS, size, whole.bytes // share)
        assert layout.bytes <= whole.bytes // share
        efforts.append(layout.effort)
    assert 1 < efforts[0] < efforts[-1] < 2
    assert efforts == sorted(efforts)


def test_too_little_room_is_refused_with_a_budget_that_works(vgg) -> None:
    with pytest.raises(OptionError, match="need `max_memory`") as refused:
        layout_for(vgg, SETTINGS, (3000, 4000), 10**6, held=5 * 10**8)
    enough = parse_memory(str(refused.value).split("`max_memory` ")[1].split(" ")[0])
    assert layout_for(vgg, SETTINGS, (3000, 4000), enough - 5 * 10**8).bytes <= enough


@pytest.mark.parametrize("second", [None, "compact"])
def test_an_optimisation_with_little_room_paints_the_same_picture(second) -> None:
    vgg, s = backbone(dtype=torch.float32), replace(SETTINGS, start=24, total_steps=4, size=48, tv_weight=0.0)
    s = replace(s, second_backbone=second)
    other = backbone(dtype=torch.float32) if second else None
    photo, style = picture(40, 48, 1, torch.float32), picture(32, 32, 2, torch.float32)
    whole = Optimization(photo, [(style, 1.0)], s, vgg, second=other)
    room = state_bytes(s, (40, 48)) + 48 * 40 * int(sum(block_bytes(vgg, vgg.taps))) // 2
    room += transformed_bytes(vgg, [*s.content_layers, *s.style_layers])
    blocks = Optimization(photo, [(style, 1.0)], s, vgg, room=room, second=other)
    assert set(whole.layouts) == {None}
    assert blocks.layouts[-1] is not None
    assert len(list(whole.run())) == len(list(blocks.run())) == 4
    assert (whole.image() - photo).abs().mean() > 1e-3
    torch.testing.assert_close(blocks.image(), whole.image(), rtol=0, atol=1e-4)
