"""The convolutions that remember little: same values and gradients as autograd's, and really less memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck

from impasto.core import frozen
from impasto.core.frozen import Kernel, Step
from impasto.core.vgg import NORMALISATIONS, VGG

pytestmark = pytest.mark.usefixtures("one_thread")

TAPS = [
    ["relu3_1"],
    ["relu1_1", "relu2_1", "relu3_1"],
    ["relu1_2", "relu2_2", "conv3_1"],
    ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"],
    ["conv1_2", "relu1_2", "conv2_2", "relu3_1"],
]
POOLS = ["max", "average", "l2"]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def network(dtype: torch.dtype = torch.float64, **options) -> VGG:
    torch.manual_seed(1)
    vgg = VGG("vgg16", NORMALISATIONS["torchvision"], last="conv3_1", **options)
    for module in vgg.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=(2 / (module.kernel_size[0] ** 2 * module.in_channels)) ** 0.5)
            nn.init.normal_(module.bias, std=0.1)
    return vgg.to(dtype).requires_grad_(False)


def autograd(vgg: VGG, image: Tensor, taps: list[str]) -> dict[str, Tensor]:
    """The same layers by plain functions alone: convolve, rectify, then pool."""
    mean, std = (image.new_tensor(x).view(1, 3, 1, 1) for x in (vgg.normalisation.mean, vgg.normalisation.std))
    x, out = (image - mean) / std, {}
    weights = vgg.state_dict()
    for name in vgg.convolutions:
        if name.endswith("_1") and name != "conv1_1":
            pooled = {"max": F.max_pool2d, "average": F.avg_pool2d, "l2": lambda y, k: F.lp_pool2d(y + 1e-12, 2, k)}
            x = pooled[vgg.pool](x, 2) * vgg.pool_scale
        padding = 1
        if name == "conv1_1" and vgg.padding == "replicate":
            x, padding = F.pad(x, (1, 1, 1, 1), mode="replicate"), 0
        if f"{name}.weight" in weights:
            x = F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)
        else:
            x = F.conv2d(x, weights[f"{name}.reduce.weight"], weights[f"{name}.reduce.bias"], padding=padding)
            x = F.conv2d(x, weights[f"{name}.expand.weight"], weights[f"{name}.expand.bias"])
        out[name] = x
        out[name.replace("conv", "relu")] = x = F.relu(x)
    return {tap: out[tap] for tap in taps}


def value_and_gradient(features: dict[str, Tensor], image: Tensor) -> Tensor:
    """Of a loss in which every value of every tap counts differently."""
    loss = sum((f * draw(*f.shape, seed=i)).square().mean() for i, f in enumerate(features.values()))
    return torch.autograd.grad(loss, image)[0]


def agree(vgg: VGG, image: Tensor, taps: list[str], tolerance: float = 1e-10) -> None:
    image = image.clone().requires_grad_()
    got, wanted = vgg(image, taps), autograd(vgg, image, taps)
    for tap in taps:
        torch.testing.assert_close(got[tap], wanted[tap], rtol=tolerance, atol=tolerance)
    gradient = value_and_gradient(wanted, image)
    assert gradient.abs().max() > 0
    scale = float(gradient.abs().max())
    torch.testing.assert_close(value_and_gradient(got, image), gradient, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("taps", TAPS, ids=lambda taps: "+".join(taps))
@pytest.mark.parametrize("pool", POOLS)
def test_values_and_gradients_of_autograd(pool, taps) -> None:
    image = torch.rand(1, 3, 13, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # float32 inside the L2 pool
    agree(network(pool=pool, rescale_pool=True), image, taps, 1e-5 if pool == "l2" else 1e-10)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("size", [(8, 8), (9, 11), (4, 21), (15, 6)])
def test_odd_sizes_batches_and_factored_convolutions(size, padding) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ranks = {"conv1_2": 16, "conv2_1": 32, "conv3_1": 48}
    for taps in (["relu3_1"], ["relu1_2", "conv2_2", "relu3_1"]):
        agree(network(padding=padding, ranks=ranks), image, taps)


@pytest.mark.parametrize("taps", TAPS, ids=lambda taps: "+".join(taps))
@pytest.mark.parametrize("pool", ["max", "average"])
def test_ties(pool, taps) -> None:
    """Where several pixels of a window are the largest, the same one as in autograd must receive the gradient."""
    vgg = network(pool=pool)
    vgg.normalisation = NORMALISATIONS["none"]
    for i, value in enumerate(vgg.parameters()):  # whole numbers: no rounding, so that ties are ties everywhere
        value.copy_(draw(*value.shape, seed=i).round().clamp(-1, 1))
    image = draw(1, 3, 10, 14, seed=5).round()
    image[..., :6, :8] = 1
    windows = F.avg_pool2d((vgg(image, ["relu1_2"])["relu1_2"].diff(dim=3) == 0).double(), 2)
    assert windows.mean() > 0.1
    agree(vgg, image, taps, 1e-13)


def test_float32_and_bfloat16_gradients_are_near() -> None:
    image = torch.rand(1, 3, 14, 18, generator=torch.Generator().manual_seed(0)).requires_grad_()
    taps = ["relu1_1", "conv2_1", "relu3_1"]

    def gradient(dtype: torch.dtype) -> Tensor:
        features = network(dtype)(image, taps)
        return torch.autograd.grad(sum(f.float().square().mean() for f in features.values()), image)[0].double()

    exact = gradient(torch.float64)
    assert (gradient(torch.float32) - exact).norm() < 1e-5 * exact.norm()
    assert (gradient(torch.bfloat16) - exact).norm() < 0.1 * exact.norm()


# -- steps by themselves ------------------------------------------------------------------------------------------


def kernels(*sizes: int) -> tuple[Kernel, ...]:
    rows = pairwise(sizes)
    return tuple(Kernel(draw(o, i, 3, 3, seed=n), draw(o, seed=n), 1) for n, (i, o) in enumerate(rows))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradcheck_of_a_step(layout, keep, pool, relu) -> None:
    x = draw(2, 2, 5, 4, seed=9).contiguous(memory_format=layout).requires_grad_()
    assert gradcheck(lambda y: frozen.run(y, Step(kernels(2, 3, 2), relu, pool, keep)), x)


def test_gradcheck_of_a_pool_alone() -> None:
    x = draw(2, 2, 5, 4, seed=9)
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = x.contiguous(memory_format=layout).requires_grad_()
        assert gradcheck(lambda y: frozen.run(y, Step((), True, True, False)), leaf)
        assert gradcheck(lambda y: frozen.run(y, Step((), False, True, False)), leaf)
        assert gradcheck(frozen.average_pool, leaf)
        assert gradcheck(frozen.rectified, leaf)


def test_a_step_leaves_its_input_alone() -> None:
    for grad in (False, True):
        x = draw(1, 2, 6, 6).requires_grad_(grad)
        before = x.detach().clone()
        for step in (Step(kernels(2, 2), True, True, False), Step((), True, True, False)):
            frozen.run(x, step)
        frozen.rectified(x)
        assert torch.equal(x.detach(), before)


def test_weights_that_train_get_their_gradient() -> None:
    step = Step(kernels(2, 3), relu=True, pool=True, keep_output=False)
    weight, bias, _ = (kernel := step.kernels[0])
    weight.requires_grad_()
    x = draw(1, 2, 6, 6).requires_grad_()
    frozen.run(x, step).square().sum().backward()
    got = x.grad.clone(), weight.grad.clone()
    x.grad = weight.grad = None
    F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=kernel.padding)), 2).square().sum().backward()
    torch.testing.assert_close(got, (x.grad, weight.grad))


def test_a_window_wider_than_16_bits_can_count() -> None:
    wide = draw(1, 1, 2, 2**15 + 3).requires_grad_()
    frozen.run(wide, Step((), False, True, False)).square().sum().backward()
    got, wide.grad = wide.grad, None
    F.max_pool2d(wide, 2).square().sum().backward()
    assert torch.equal(got, wide.grad)


# -- memory -------------------------------------------------------------------------------------------------------


def remembered(vgg: VGG, taps: list[str], image: Tensor) -> tuple[int, int]:
    """Bytes that the backward pass keeps besides picture, weights and taps: (all, of floating point alone)."""
    kept: list[Tensor] = []  # holding them keeps their addresses from being used again

    def pack(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        features = vgg(image, taps)
    mine = [image, *features.values(), *vgg.parameters()]
    free = {x.untyped_storage().data_ptr() for x in mine}
    sizes: dict[int, tuple[int, int]] = {}
    for x in kept:
        if (address := x.untyped_storage().data_ptr()) not in free:
            size = x.untyped_storage().nbytes()
            sizes[address] = size, size * x.is_floating_point()
    return sum(a for a, _ in sizes.values()), sum(f for _, f in sizes.values())


# A few numbers for normalisation, at most.
PICTURE = 3 * 32 * 32 * 4


@pytest.mark.parametrize("pool", ["max", "average"])
@pytest.mark.parametrize("taps", [TAPS[0], TAPS[1], TAPS[2], ["relu2_2", "relu3_1"]], ids=lambda taps: "+".join(taps))
def test_no_activation_but_the_taps_is_kept(taps, pool) -> None:
    image = torch.rand(1, 3, 32, 32).requires_grad_()
    everything, floating = remembered(network(torch.float32, pool=pool), taps, image)
    assert floating <= PICTURE
    # One byte for the sign of an activation, two for the winner of a window.
    activations = 32 * 32 * (64 + 64 + 128 / 4 + 128 / 4 + 256 / 16)
    assert everything <= 1.1 * activations + PICTURE


def test_layers_tapped_before_the_relu_cost_a_quarter_at_most() -> None:
    image = torch.rand(1, 3, 32, 32).requires_grad_()
    for taps in (["conv1_1", "conv2_1", "conv3_1"], ["conv1_2", "conv2_2", "conv3_1"]):
        for pool in ("max", "average"):
            _, floating = remembered(network(torch.float32, pool=pool), taps, image)
            assert floating <= PICTURE


def test_autograd_itself_keeps_several_times_as_much() -> None:
    image, vgg = torch.rand(1, 3, 32, 32).requires_grad_(), network(torch.float32)
    frozen_bytes, _ = remembered(vgg, TAPS[1], image)
    plain_bytes, _ = remembered(vgg.requires_grad_(True), TAPS[1], image)
    assert plain_bytes > 3 * frozen_bytes
