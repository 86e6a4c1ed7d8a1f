"""Convolutions with half the multiplications: the same results as directly, wherever and whenever they are used."""

from __future__ import annotations

import gc

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.grad import conv2d_input

from impasto.core import winograd
from impasto.core.frozen import Kernel, Step, run
from impasto.core.vgg import VGG

pytestmark = pytest.mark.usefixtures("one_thread")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def error(got: Tensor, exact: Tensor) -> float:
    return float((got.double() - exact.double()).norm() / exact.double().norm())


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 9),
    padding=st.sampled_from([0, 1]),
    band=st.sampled_from([1, 50, 400, 2**19]),
)
def test_it_is_the_convolution_and_its_gradient(batch, inputs, outputs, height, width, padding, band) -> None:
    weight, bias = draw(outputs, inputs, 3, 3, seed=1), draw(outputs, seed=2)
    x, g = draw(batch, inputs, height + 2 - 2 * padding, width + 2 - 2 * padding), draw(batch, outputs, height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "BAND", band)
        got, back = winograd.convolve(x, weight, bias, padding), winograd.input_gradient(g, weight, padding)
        unbiased = winograd.convolve(x, weight, None, padding)
    torch.testing.assert_close(got, F.conv2d(x, weight, bias, padding=padding), rtol=0, atol=1e-11)
    torch.testing.assert_close(unbiased, F.conv2d(x, weight, padding=padding), rtol=0, atol=1e-11)
    torch.testing.assert_close(back, conv2d_input(x.shape, weight, g, padding=padding), rtol=0, atol=1e-11)
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_rounding_is_as_documented(dtype, most) -> None:
    x, weight, bias = draw(1, 64, 33, 20), draw(96, 64, 3, 3, seed=1) / 24, draw(96, seed=2)
    g = draw(1, 96, 33, 20, seed=3)
    low = [t.to(dtype) for t in (x, weight, bias, g)]
    assert error(winograd.convolve(*low[:3], 1), F.conv2d(*(t.double() for t in low[:3]), padding=1)) < most
    exact = conv2d_input(x.shape, low[1].double(), low[3].double(), padding=1)
    assert error(winograd.input_gradient(low[3], low[1], 1), exact) < most


def test_where_it_pays(monkeypatch) -> None:
    def pays(shape=(1, 64, 64, 64), kernel=(64, 64, 3, 3), dtype=torch.float32, padding=1) -> bool:
        return winograd.pays(shape, torch.empty(kernel, dtype=dtype), padding)

    monkeypatch.setattr(winograd, "multiplies_in_tiles", lambda: False)
    assert pays()
    assert pays(dtype=torch.bfloat16)
    assert not pays(dtype=torch.float64)
    assert not pays(padding=2)
    assert not pays(kernel=(64, 64, 1, 1))
    assert not pays(kernel=(64, 3, 3, 3))
    assert not pays(shape=(1, 64, 4, 4096))
    assert not pays(shape=(1, 64, 16, 16))
    monkeypatch.setattr(winograd, "multiplies_in_tiles", lambda: True)
    assert pays()
    assert not pays(dtype=torch.bfloat16), "where products are nearly free, moving rows costs more than it saves"


def test_kernels_follow_their_weight_and_end_with_it() -> None:
    x, weight = draw(1, 4, 9, 5), draw(4, 4, 3, 3, seed=1)
    gc.collect()  # what other tests have left
    before = len(winograd._kernels)
    winograd.convolve(x, weight, None, 1)
    weight.mul_(2)
    torch.testing.assert_close(winograd.convolve(x, weight, None, 1), F.conv2d(x, weight, padding=1))
    weight.data = draw(4, 4, 3, 3, seed=2)
    torch.testing.assert_close(winograd.convolve(x, weight, None, 1), F.conv2d(x, weight, padding=1))
    assert len(winograd._kernels) == before + 1
    del weight
    gc.collect()
    assert len(winograd._kernels) == before


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        x, weight = draw(1, 4, 9, 5), draw(4, 4, 3, 3, seed=1)
        for _ in range(2):
            torch.testing.assert_close(winograd.convolve(x, weight, None, 1), F.conv2d(x, weight, padding=1))


def test_the_planner_counts_what_the_kernels_take() -> None:
    weight = draw(96, 64, 3, 3, dtype=torch.float32)
    winograd.convolve(draw(1, 64, 9, 9, dtype=torch.float32), weight, None, 1)
    (kernels,) = [known for key, (_, known) in winograd._kernels.items() if key is weight]
    assert winograd.kernel_bytes(weight, 1) == sum(k.numel() * k.element_size() for k in kernels)
    assert winograd.kernel_bytes(weight, 2) == 0


def features(vgg: VGG) -> tuple[Tensor, Tensor]:
    image = draw(1, 3, 72, 96, dtype=torch.float32).requires_grad_()
    deep = vgg(image, ["relu2_2"])["relu2_2"]
    deep.square().mean().backward()
    assert image.grad is not None
    return deep.detach(), image.grad


@pytest.mark.parametrize("ranks", [None, {"conv2_1": 64, "conv2_2": 64}])
def test_a_network_uses_it_both_ways(monkeypatch, ranks) -> None:
    torch.manual_seed(0)
    vgg = VGG("vgg16", last="conv2_2", ranks=ranks).requires_grad_(False)
    used: list[str] = []
    for name in ("convolve", "input_gradient"):
        plain = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, n=name, f=plain: used.append(n) or f(*a))
    deep, gradient = features(vgg)
    assert used.count("convolve") == used.count("input_gradient") > 0
    monkeypatch.setattr(winograd, "pays", lambda *_: False)
    directly, its_gradient = features(vgg)
    assert error(deep, directly) < 1e-5
    assert error(gradient, its_gradient) < 1e-5


def test_weights_that_train_are_convolved_directly(monkeypatch) -> None:
    monkeypatch.setattr(winograd, "convolve", lambda *_: pytest.fail("no gradient would come to the weights"))
    weight = draw(64, 64, 3, 3, dtype=torch.float32).requires_grad_()
    out = run(draw(1, 64, 64, 64, dtype=torch.float32), Step((Kernel(weight, torch.zeros(64), 1),), True, False, False))
    out.sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("padding", [0, 1])
def test_a_frozen_convolution_keeps_its_padding(padding) -> None:
    weight, bias = draw(64, 64, 3, 3, dtype=torch.float32), draw(64, seed=2, dtype=torch.float32)
    x = draw(1, 64, 64, 64, seed=1, dtype=torch.float32).requires_grad_()
    assert winograd.pays(x.shape, weight, padding)
    out = run(x, Step((Kernel(weight, bias, padding),), False, False, False))
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, padding=padding), rtol=1e-4, atol=1e-3)
    (back,) = torch.autograd.grad(out.sum(), x)
    theirs = conv2d_input(x.shape, weight, torch.ones_like(out), padding=padding)
    torch.testing.assert_close(back, theirs, rtol=1e-4, atol=1e-3)
