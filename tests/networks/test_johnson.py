"""The single-style network against pytorch/examples: its keys, and its arithmetic written out by hand."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.johnson import Johnson, JohnsonConfig

NORMED = {"in1": 32, "in2": 64, "in3": 128, "in4": 64, "in5": 32} | {
    f"res{i}.in{j}": 128 for i in range(1, 6) for j in (1, 2)
}
CONVS = {
    "conv1": (32, 3, 9),
    "conv2": (64, 32, 3),
    "conv3": (128, 64, 3),
    **{f"res{i}.conv{j}": (128, 128, 3) for i in range(1, 6) for j in (1, 2)},
    "deconv1": (64, 128, 3),
    "deconv2": (32, 64, 3),
    "deconv3": (3, 32, 9),
}


def checkpoint(seed: int = 0) -> OrderedDict[str, Tensor]:
    """A state dict as fast_neural_style of 2017 saved it, with random values and the running statistics."""
    draw = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, (out, into, kernel) in CONVS.items():
        state[f"{name}.conv2d.weight"] = torch.randn(out, into, kernel, kernel, generator=draw) / (into**0.5 * kernel)
        state[f"{name}.conv2d.bias"] = torch.randn(out, generator=draw)
    for name, channels in NORMED.items():
        state[f"{name}.weight"] = 1 + 0.3 * torch.randn(channels, generator=draw)
        state[f"{name}.bias"] = 0.3 * torch.randn(channels, generator=draw)
        state[f"{name}.running_mean"] = torch.randn(channels, generator=draw)
        state[f"{name}.running_var"] = torch.rand(channels, generator=draw)
    state["deconv3.conv2d.weight"] *= 120  # so that colours spread over 0 to 255, and beyond
    state["deconv3.conv2d.bias"] += 128
    return state


def reference(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """The network on 0–255, each layer spelled out with torch's own functions."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv2d.weight"]
        x = F.pad(x, [weight.shape[-1] // 2] * 4, mode="reflect")
        return F.conv2d(x, weight, state[f"{name}.conv2d.bias"], stride)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.instance_norm(x, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])

    x = F.relu(norm(conv(image, "conv1"), "in1"))
    x = F.relu(norm(conv(x, "conv2", 2), "in2"))
    x = F.relu(norm(conv(x, "conv3", 2), "in3"))
    for i in range(1, 6):
        y = F.relu(norm(conv(x, f"res{i}.conv1"), f"res{i}.in1"))
        x = x + norm(conv(y, f"res{i}.conv2"), f"res{i}.in2")
    for name, after in (("deconv1", "in4"), ("deconv2", "in5")):
        x = F.relu(norm(conv(F.interpolate(x, scale_factor=2), name), after))
    return conv(x, "deconv3")


def test_a_pytorch_examples_checkpoint_paints_as_it_did() -> None:
    state = checkpoint()
    network = Johnson.from_pytorch_examples(state)
    image = torch.rand(2, 3, 40, 48)
    with torch.no_grad():
        expected = reference(state, image * 255) / 255
        raw, shown = network.train()(image), network.eval()(image)
    assert ((expected < 0) | (expected > 1)).float().mean() > 0.02  # or clamping would not be seen
    assert expected.std() > 0.1
    torch.testing.assert_close(raw, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(shown, expected.clamp(0, 1), rtol=1e-3, atol=1e-4)


def test_names_are_those_of_pytorch_examples() -> None:
    ours = Johnson(JohnsonConfig("linear")).state_dict()
    theirs = {key: value for key, value in checkpoint().items() if "running" not in key}
    assert ours.keys() == theirs.keys()
    assert all(ours[key].shape == value.shape for key, value in theirs.items())


def test_running_statistics_do_not_matter() -> None:
    state = checkpoint()
    bare = {key: value for key, value in state.items() if "running" not in key}
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        a, b = (Johnson.from_pytorch_examples(s)(image) for s in (state, bare))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "change",
    [
        {"conv1.conv2d.weight": None},
        {"res3.in2.bias": None},
        {"deconv2.conv2d.weight": torch.zeros(32, 64, 5, 5)},
        {"conv1.conv2d.weight": torch.zeros(32)},
        {"conv1.conv2d.weight": torch.zeros(0, 3, 9, 9)},
        {"extra.weight": torch.zeros(1)},
    ],
)
def test_other_state_dicts_are_refused(change) -> None:
    state = {key: value for key, value in (checkpoint() | change).items() if value is not None}
    with pytest.raises(WeightsError, match="not a pytorch/examples style network"):
        Johnson.from_pytorch_examples(state)


def test_outputs_differ_only_in_their_end() -> None:
    features = torch.tensor([-2.0, 0.0, 1.0, 300.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    image = torch.zeros_like(features)
    got = {}
    for output in ("sigmoid", "tanh", "linear"):
        network = Johnson(JohnsonConfig(output, width=1, blocks=1)).eval()
        got[output] = network.to_picture(features.clone(), image)[0, 0].flatten()
    torch.testing.assert_close(got["sigmoid"], torch.tensor([0.1192, 0.5, 0.7311, 1.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(got["tanh"], torch.tensor([0.0180, 0.5, 0.8808, 1.0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(got["linear"], torch.tensor([0, 0, 1 / 255, 1.0]))
