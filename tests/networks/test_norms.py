"""Instance normalisation: against the formula in float64, and its hand-written gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from impasto.networks import fast_cpu, norms
from impasto.networks.checkpoint import load_model
from impasto.networks.inference import bind
from impasto.networks.norms import ConditionalInstanceNorm, RunningMoments, instance_norm, moments, scale_shift
from impasto.networks.shipped import find_model


def formula(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """γ (x - μ)/√(σ² + eps) + β in float64, pixel sums spelled out."""
    x, gamma, beta = x.double(), gamma.double()[..., None, None], beta.double()[..., None, None]
    mean = x.sum((2, 3), keepdim=True) / x[0, 0].numel()
    variance = (x - mean).pow(2).sum((2, 3), keepdim=True) / x[0, 0].numel()
    return gamma * (x - mean) / (variance + 1e-5).sqrt() + beta


def features(*shape: int, seed: int = 0, offset: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator) * 0.5 + offset


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, 2e-5), (5.0, 1e-4)])  # μ/σ of 0 and of 10
def test_float32_agrees_with_the_formula(layout, rows, offset, tolerance) -> None:
    x = features(3, 32, 40, 56, offset=offset).contiguous(memory_format=layout)
    gamma, beta = features(rows, 32, seed=1, offset=1), features(rows, 32, seed=2)
    out = instance_norm(x, gamma, beta)
    assert (out - formula(x, gamma, beta)).abs().max() < tolerance
    assert out.is_contiguous(memory_format=layout)


def test_bfloat16_loses_only_the_rounding_of_the_result() -> None:
    x = features(2, 32, 64, 64, offset=1.0).bfloat16().contiguous(memory_format=torch.channels_last)
    gamma, beta = features(2, 32, seed=1, offset=1), features(2, 32, seed=2)
    out, exact = instance_norm(x, gamma, beta), formula(x, gamma, beta)
    assert out.dtype == torch.bfloat16
    assert ((out - exact).abs() / exact.abs().clamp_min(0.05)).max() < 1.1 * 2**-8


def test_flat_features_become_beta() -> None:
    beta = features(1, 16, seed=2)
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.full((1, 16, 32, 32), 0.73, dtype=dtype).contiguous(memory_format=torch.channels_last)
        out = instance_norm(x, torch.ones(1, 16), beta)
        assert (out - beta[..., None, None]).abs().max() < 0.02


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("rows", [1, 2])
def test_flat_channels_pass_no_gradient_on_in_training(layout: torch.memory_format, rows: int) -> None:
    x = features(2, 32, 24, 20, offset=1.0)
    x[0] = 3.7  # a blank picture, and of the other one channel that is flat and one that is all but flat
    x[1, 3] = -1.3
    x[1, 4] = 0.5 + 1e-5 * x[1, 4]
    x = x.contiguous(memory_format=layout).requires_grad_()
    gamma, beta = features(rows, 32, seed=1, offset=1).requires_grad_(), features(rows, 32, seed=2).requires_grad_()
    upstream = features(2, 32, 24, 20, seed=3)
    out = instance_norm(x, gamma, beta)
    out.backward(upstream)
    flat = torch.zeros(2, 32, dtype=torch.bool)
    flat[0], flat[1, 3:5] = True, True
    assert torch.equal(out.detach()[flat], beta.detach().expand(2, -1)[flat][:, None, None].expand(-1, 24, 20))
    assert x.grad is not None
    assert torch.equal(x.grad[flat], torch.zeros_like(x.grad[flat]))
    assert (x.grad[~flat].abs().amax((1, 2)) > 1e-3).all()
    assert beta.grad is not None
    whole = upstream.sum((2, 3))
    torch.testing.assert_close(beta.grad, whole if rows == 2 else whole.sum(0, keepdim=True), rtol=1e-4, atol=1e-3)
    # On other devices than the processor.
    parts = norms._normalise_in_parts(x.detach(), gamma.detach(), beta.detach(), norms.FAINT)
    torch.testing.assert_close(parts[0], out.detach(), rtol=1e-4, atol=1e-5)
    assert torch.equal(parts[2] == 0, flat)


@pytest.mark.parametrize("rows", [1, 2])
def test_the_parts_give_the_whole(rows) -> None:
    x, gamma, beta = features(2, 8, 9, 7), features(rows, 8, seed=1), features(rows, 8, seed=2)
    scale, shift = scale_shift(*moments(x), gamma, beta)
    whole = instance_norm(x, gamma, beta)
    torch.testing.assert_close(x * scale[..., None, None] + shift[..., None, None], whole, rtol=1e-4, atol=1e-5)
    # What devices other than the processor run, and what trainings do.
    parts = norms._normalise_in_parts(x, gamma, beta)
    for ours, theirs in zip(parts, fast_cpu.normalise_in_training(x, gamma, beta, norms.EPS), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[0], whole, rtol=1e-4, atol=1e-5)
    upstream, (_, mean, inverse) = features(2, 8, 9, 7, seed=3), parts
    ways = [
        norms._gradients_in_parts(upstream, x, gamma, mean, inverse),
        fast_cpu.gradients(upstream, x, gamma, mean, inverse, norms.EPS),
    ]
    for ours, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    width=st.sampled_from([1, 7, 300, 5000, 9000]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_moments_of_a_map_do_not_depend_on_how_it_is_cut(rows, width, dtype, layout) -> None:
    x = features(1, 5, sum(rows), width, offset=1.0).to(dtype).contiguous(memory_format=layout)
    whole, pieces = RunningMoments(), RunningMoments()
    whole.add(x)
    for piece in x.split(rows, 2):
        pieces.add(piece.contiguous(memory_format=layout))
    mean, variance = whole.result()
    assert all(torch.equal(a, b) for a, b in zip((mean, variance), pieces.result(), strict=True))
    assert mean.dtype == variance.dtype == torch.float32
    torch.testing.assert_close(mean.double(), x.double().mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(variance.double(), x.double().var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 1.0])
def test_moments_of_what_is_nearly_flat_and_far_from_zero(spread) -> None:
    x = features(1, 8, 50, 400) * spread + torch.linspace(-50, 50, 8)[:, None, None]
    moments_ = RunningMoments()
    moments_.add(x.contiguous(memory_format=torch.channels_last))
    mean, variance = moments_.result()
    torch.testing.assert_close(mean.double(), x.double().mean((0, 2, 3)), rtol=1e-4, atol=0)
    torch.testing.assert_close(variance.double(), x.double().var((0, 2, 3), correction=0), rtol=1e-2, atol=0)


@pytest.mark.parametrize("grey", [1, 128])
def test_a_picture_with_one_pixel_a_step_off_is_painted_right(grey) -> None:
    """What the first layers vary by is all in one part of the map, a thousandth of its mean."""
    network, _ = load_model(find_model("gallery"))
    photo = torch.full((1, 3, 256, 256), grey / 255)
    photo[:, :, 128, 128] += 1 / 255
    with torch.inference_mode():
        painted = bind(network, [("udnie", 1.0)])(photo)
        exact = bind(network.double(), [("udnie", 1.0)])(photo.double())
    assert 255 * (painted.double() - exact).abs().max() < 0.5  # it was 5.5


def test_noise_of_rounding_is_not_normalised_up() -> None:
    x = torch.full((1, 8, 32, 32), 0.73) * (1 + 1e-7 * features(1, 8, 32, 32, seed=3))
    x[:, 4:] = features(1, 4, 32, 32, seed=4) * 1e-4
    out = instance_norm(x, torch.ones(1, 8), torch.full((1, 8), 0.25))
    assert (out[:, :4] == 0.25).all()
    torch.testing.assert_close(out[:, 4:], formula(x, torch.ones(1, 8), torch.full((1, 8), 0.25))[:, 4:].float())


def test_moments_of_nothing() -> None:
    with pytest.raises(RuntimeError, match="no piece"):
        RunningMoments().result()


def test_moments_of_bfloat16_are_float32() -> None:
    x = features(1, 4, 32, 32, offset=3.0).bfloat16()
    mean, variance = moments(x)
    assert mean.dtype == variance.dtype == torch.float32
    torch.testing.assert_close(mean.double(), x.double().mean((2, 3)), rtol=1e-5, atol=0)
    torch.testing.assert_close(variance.double(), x.double().var((2, 3), correction=0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 16])  # fewer and more than fill a vector
def test_gradients(rows, layout, channels) -> None:
    x = features(2, channels, 4, 5).double().contiguous(memory_format=layout)
    arguments = [x, features(rows, channels, seed=1).double(), features(rows, channels, seed=2).double()]
    assert torch.autograd.gradcheck(instance_norm, [a.requires_grad_() for a in arguments])
    out = instance_norm(*arguments)
    assert out.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out, formula(*arguments))


def test_bfloat16_gradients_point_where_exact_ones_do() -> None:
    x = features(2, 16, 24, 24, offset=0.5).bfloat16().contiguous(memory_format=torch.channels_last)
    upstream = features(2, 16, 24, 24, seed=3).bfloat16()
    grads = []
    for wide in (False, True):
        arguments = [x.clone(), features(2, 16, seed=1, offset=1), features(2, 16, seed=2)]
        arguments = [(a.double() if wide else a).requires_grad_() for a in arguments]
        (formula if wide else instance_norm)(*arguments).backward(upstream.double() if wide else upstream)
        grads.append([a.grad.double() for a in arguments])
    for rough, exact in zip(*grads, strict=True):
        assert (rough - exact).norm() < 0.01 * exact.norm()


def test_a_picture_is_normalised_alone() -> None:
    x = features(3, 8, 16, 16).contiguous(memory_format=torch.channels_last)
    gamma, beta = features(3, 8, seed=1), features(3, 8, seed=2)
    batch = instance_norm(x, gamma, beta)
    for i in range(3):
        assert torch.equal(batch[i : i + 1], instance_norm(x[i : i + 1], gamma[i : i + 1], beta[i : i + 1]))


def test_autocast_leaves_types_alone() -> None:
    norm = ConditionalInstanceNorm(8, 2)
    x = features(2, 8, 16, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = norm(x, torch.tensor([[0.3, 0.7]]))
        gamma, _ = norm.affine(torch.tensor([[0.3, 0.7]]))
    assert out.dtype == torch.bfloat16
    assert gamma.dtype == torch.float32


def test_styles_mix_as_weighted_rows() -> None:
    norm = ConditionalInstanceNorm(5, 3)
    with torch.no_grad():
        norm.gamma.copy_(features(3, 5, seed=1))
        norm.beta.copy_(features(3, 5, seed=2))
    mix = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    gamma, beta = norm.affine(mix)
    assert torch.equal(gamma[0], norm.gamma[1])
    assert torch.equal(beta[0], norm.beta[1])
    torch.testing.assert_close(gamma[1], norm.gamma[0] / 4 + norm.gamma[1] / 4 + norm.gamma[2] / 2)
    with pytest.raises(ValueError, match="weights"):
        norm.affine(None)
