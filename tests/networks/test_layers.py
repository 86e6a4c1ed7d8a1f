"""Pixels into channels and back, borders, checkerboards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.core import winograd
from impasto.core.precision import Precision
from impasto.networks.layers import ReflectConv, bordered, less_colours, pad_to_multiple, use_precision, working_dtype
from impasto.networks.norms import InstanceNorm
from impasto.networks.pixel_shuffle import depth_to_space, icnr_, space_to_depth


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("block", [2, 4])
def test_space_to_depth_is_pixel_unshuffle_in_another_order(layout, block) -> None:
    x = torch.rand(2, 3, 8, 12).contiguous(memory_format=layout)
    out = space_to_depth(x, block)
    theirs = F.pixel_unshuffle(x, block).unflatten(1, (3, block, block)).permute(0, 2, 3, 1, 4, 5).flatten(1, 3)
    assert torch.equal(out, theirs)
    assert torch.equal(depth_to_space(out, block), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("first", [0, 4])  # rows of a larger map need not begin where eight bytes do
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_move_in_any_type_and_from_anywhere(channels, first, dtype) -> None:
    x = torch.rand(1, channels, 12, 6).to(dtype).contiguous(memory_format=torch.channels_last)[:, :, first:]
    grad = x.clone().requires_grad_()  # which takes the plain way
    assert torch.equal(space_to_depth(x, 2), space_to_depth(grad, 2))
    assert torch.equal(depth_to_space(space_to_depth(x, 2), 2), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("border", [1, 4])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("adds", [True, False])
def test_bordered_is_padding_after_all_else(layout, border, rectify, adds) -> None:
    x, more = (torch.randn(2, 3, 5, 7).contiguous(memory_format=layout) for _ in range(2))
    wanted = F.relu(x) if rectify else x
    wanted = wanted + more if adds else wanted
    out = bordered(x, border, rectify=rectify, plus=more if adds else None)
    assert torch.equal(out, F.pad(wanted, (border,) * 4, mode="reflect"))
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("colours", [1, 2])  # of all pictures, or of each
def test_colours_are_subtracted_in_any_layout(layout, colours) -> None:
    image, less = torch.rand(2, 3, 5, 7), torch.rand(colours, 3, 1, 1)
    assert torch.equal(less_colours(image.contiguous(memory_format=layout), less), image - less)


def test_untrained_shuffle_has_no_checkerboard() -> None:
    conv = ReflectConv(5, 12, 3)
    icnr_(conv.conv2d, 2)
    out = depth_to_space(conv(torch.randn(1, 5, 6, 6)), 2)
    assert torch.equal(out, F.interpolate(out[..., ::2, ::2], scale_factor=2))
    assert out.std() > 0


@settings(max_examples=60, deadline=None)
@given(
    h=st.integers(1, 41), w=st.integers(1, 41), multiple=st.sampled_from([4, 8]), smallest=st.sampled_from([8, 16]),
    margin=st.sampled_from([0, 3, 16]),
)  # fmt: skip
def test_padding_mirrors_as_often_as_it_takes(h, w, multiple, smallest, margin) -> None:
    image = torch.arange(h * w, dtype=torch.float32).view(1, 1, h, w).repeat(1, 3, 1, 1)
    out = pad_to_multiple(image, multiple, smallest, margin)
    height, width = out.shape[-2:]
    assert height % multiple == width % multiple == 0
    assert height >= smallest
    assert width >= smallest
    assert height - max(h + 2 * margin, smallest) < multiple
    assert width - max(w + 2 * margin, smallest) < multiple
    beyond = [(margin, height - h - margin), (margin, width - w - margin)]
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), *beyond), mode="reflect")
    assert np.array_equal(out.numpy(), expected)


def test_a_picture_that_fits_is_not_copied() -> None:
    image = torch.rand(1, 3, 32, 64)
    assert pad_to_multiple(image, 8, 16) is image


def test_reflect_conv_sees_a_mirror_beyond_the_border() -> None:
    conv = ReflectConv(2, 3, 3)
    x = torch.rand(1, 2, 5, 6)
    mirrored = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect"))
    torch.testing.assert_close(conv(x), F.conv2d(mirrored, conv.conv2d.weight, conv.conv2d.bias))


def gradients(function: Callable[[Tensor], Tensor], x: Tensor, conv: ReflectConv) -> list[Tensor]:
    """The result, and of its squares' sum the gradients to x and to the weights."""
    x = x.clone().requires_grad_()
    out = function(x)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [x, *conv.parameters()])]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_training_enlarges_by_the_shorter_way(layout, bias) -> None:
    conv = ReflectConv(5, 7, 3, bias=bias).double()
    x = torch.randn(2, 5, 6, 9, dtype=torch.float64).contiguous(memory_format=layout)
    short = gradients(lambda x: conv.upsampled(x, 2), x, conv)
    plain = gradients(lambda x: conv.eval()(F.interpolate(x, scale_factor=2)), x, conv)
    assert not torch.equal(short[0], plain[0])  # summed in another order
    for ours, theirs in zip(short, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("kernel", "stride", "factor"), [(3, 2, 2), (5, 1, 2), (3, 1, 3)])
def test_other_enlargements_go_the_plain_way(kernel, stride, factor) -> None:
    conv = ReflectConv(8, 6, kernel, stride=stride)
    x = torch.randn(1, 8, 6, 8)
    assert torch.equal(conv.upsampled(x, factor), conv(F.interpolate(x, scale_factor=factor)))


@pytest.mark.parametrize("kernel", [5, 9])
@pytest.mark.parametrize(("height", "width"), [(12, 18), (13, 18), (12, 17)])
def test_training_gives_few_channels_in_blocks(height, width, kernel) -> None:
    conv = ReflectConv(6, 3, kernel).double()
    x = torch.randn(2, 6, height, width, dtype=torch.float64)
    blocks, plain = gradients(conv, x, conv), gradients(conv.eval(), x, conv)
    assert torch.equal(blocks[0], plain[0]) == bool(height % 2 or width % 2)
    for ours, theirs in zip(blocks, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("bias", [True, False])
def test_training_multiplies_half_as_often(monkeypatch, bias) -> None:
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    conv = ReflectConv(64, 72, 3, bias=bias)
    x = torch.randn(2, 64, 9, 11)
    short, plain = gradients(conv, x, conv), gradients(conv.eval(), x, conv)
    assert not torch.equal(short[0], plain[0])
    for ours, theirs in zip(short, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_what_does_not_train_gets_no_gradient(monkeypatch) -> None:
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    conv = ReflectConv(64, 64, 3)
    x, g = torch.randn(1, 64, 9, 9), torch.randn(1, 64, 9, 9)
    conv(x).backward(g)
    assert conv.conv2d.weight.grad is not None
    again = ReflectConv(64, 64, 3).requires_grad_(False)
    x.requires_grad_()
    again(x).backward(g)
    assert x.grad is not None
    assert again.conv2d.weight.grad is None


@pytest.mark.parametrize("bias", [True, False])
def test_training_in_bfloat16_keeps_float32_gradients(monkeypatch, bias) -> None:
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "multiplies_in_tiles", lambda: False)
    conv = ReflectConv(64, 64, 3, bias=bias)
    x = torch.randn(1, 64, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        low = gradients(lambda x: conv(x).float(), x, conv)
    for ours, theirs in zip(low, gradients(conv.eval(), x, conv), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("enlarged", [False, True])
def test_autocast_pads_in_its_own_type(monkeypatch, enlarged) -> None:
    types = set()
    real = F.pad

    def pad(x: Tensor, *args, **options) -> Tensor:
        out = real(x, *args, **options)
        types.update({x.dtype, out.dtype})
        return out

    monkeypatch.setattr(F, "pad", pad)
    conv = ReflectConv(4, 8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.rand(1, 4, 8, 8, requires_grad=True)
        out = conv.upsampled(x, 2) if enlarged else conv(x)
        assert torch.is_autocast_enabled("cpu")
    out.float().sum().backward()
    assert types == {torch.bfloat16}
    assert x.grad.dtype == torch.float32


def test_precision_is_of_convolutions_alone() -> None:
    network = torch.nn.Sequential(ReflectConv(16, 16, 3), InstanceNorm(16))
    use_precision(network, Precision(torch.bfloat16, True, "a test"))
    assert network[0].conv2d.weight.dtype == network[0].conv2d.bias.dtype == torch.bfloat16
    assert network[0].conv2d.weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.dtype == torch.float32
    assert working_dtype(network[0].conv2d.weight) == torch.bfloat16


def test_autocast_decides_where_it_is_on() -> None:
    weight = torch.zeros(1)
    assert working_dtype(weight) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert working_dtype(weight) == torch.bfloat16
