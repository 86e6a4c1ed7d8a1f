"""ReCoNet and Keras: files by writers of other people's, held against plain networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.checkpoint import load_model

from .any_style_samples import State, reflected
from .foreign_samples import SIZES, instance, picture, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def reconet_state(mark: str = "", frames: int = 1) -> State:
    make, state = random_weights(6), {}
    rows = [
        ("conv1", 4, 3 * frames, 9),
        ("conv2", 6, 4, 3),
        ("conv3", 8, 6, 3),
        ("deconv1", 6, 8, 3),
        ("deconv2", 4, 6, 3),
    ]
    for name, out, into, kernel in rows:
        state |= {
            f"{name}{mark}.conv2d.weight": make(out, into, kernel, kernel),
            f"{name}{mark}.conv2d.bias": make(out),
        }
        state |= {f"{name}{mark}.instance.weight": make(out), f"{name}{mark}.instance.bias": make(out)}
    for number in (1, 2):
        for part in (1, 2):
            key = f"res{number}{mark}"
            state |= {f"{key}.conv{part}.conv2d.weight": make(8, 8, 3, 3), f"{key}.conv{part}.conv2d.bias": make(8)}
            state |= {f"{key}.in{part}.weight": make(8), f"{key}.in{part}.bias": make(8)}
    state |= {f"deconv3{mark}.conv2d.weight": 50 * make(3, 4, 9, 9), f"deconv3{mark}.conv2d.bias": 50 * make(3)}
    return state


def plain_reconet(state: Mapping[str, Tensor], photo: Tensor) -> Tensor:
    def normed(x: Tensor, name: str) -> Tensor:
        return instance(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = photo * 255
    for name, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2)):
        x = F.relu(normed(reflected(x, state, f"{name}.conv2d", stride=stride), f"{name}.instance"))
    for number in (1, 2):
        inner = F.relu(normed(reflected(x, state, f"res{number}.conv1.conv2d"), f"res{number}.in1"))
        x = x + normed(reflected(inner, state, f"res{number}.conv2.conv2d"), f"res{number}.in2")
    for name in ("deconv1", "deconv2"):
        x = F.relu(normed(reflected(F.interpolate(x, scale_factor=2), state, f"{name}.conv2d"), f"{name}.instance"))
    x = torch.tanh(reflected(x, state, "deconv3.conv2d") / 255) * 150 + 127.5
    return (x / 255).clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]


@pytest.mark.parametrize("mark", ["", "_sd", "_sd2"])
def test_reconet(tmp_path, mark) -> None:
    torch.save(reconet_state(mark), tmp_path / "film.pth")
    network, description = load_model(tmp_path / "film.pth")
    assert description["came_from"]["kind"] == "reconet"
    for size in SIZES:
        with torch.inference_mode():
            photo = picture(*size)
            wanted = plain_reconet(reconet_state(), photo)
            assert wanted.std() > 0.05
            torch.testing.assert_close(network(photo), wanted, rtol=0, atol=1e-4)


def test_reconet_of_several_frames(tmp_path) -> None:
    torch.save(reconet_state(frames=3), tmp_path / "film.pth")
    with pytest.raises(WeightsError, match="3 frames at once"):
        load_model(tmp_path / "film.pth")


# -- Keras 1 on Theano ------------------------------------------------------------------------------------------------


class Titu:
    """Fast-Neural-Style as it was at first, or later: with reflected borders, and ReLUs of their own."""

    def __init__(self, *, later: bool = False, deep: bool = False) -> None:
        self.later, self.deep, self.blocks, make = later, deep, 2, random_weights(7)
        self.layers: list[tuple[str, dict[str, Tensor]]] = [("X_input", {})]
        self.count = 0
        for name, out, into, kernel in [("conv1", 4, 3, 9), ("conv2", 6, 4, 3), ("conv3", 6, 6, 3)]:
            self.convolution(make, name, out, into, kernel, border=name == "conv1")
            self.norm(make, f"batchnorm{name[-1]}", out)
        for number in (1, 2):
            for part, out, into in ((1, 8, 6), (2, 6, 8)):
                self.convolution(make, f"res_conv_{number}_{part}", out, into, 3, border=True)
                self.norm(make, f"res_batchnorm_{number}_{part}", out, active=False)
                if part == 1:
                    self.layers.append((f"res_activation_{number}_1", {}))
            self.layers.append((f"res_merge_{number}", {}))
            if not later:
                self.layers.append((f"res_activation_{number}", {}))
        for name, norm in (("deconv3", "batchnorm4"), ("deconv2", "batchnorm5")):
            self.convolution(make, name, 6, 6, 3)
            self.norm(make, norm, 6)
        self.convolution(make, "fastnet_conv" if later else "deconv1", 3, 6, 9, border=True)
        self.layers.append(("fastnet_output", {}))
        self.tensors = {name: list(parts.values()) for name, parts in self.layers}

    def convolution(self, make, name: str, out: int, into: int, kernel: int, *, border: bool = False) -> None:
        if self.later and border:
            self.count += 1
            self.layers.append((f"reflectionpadding2d_{self.count}", {}))
        self.layers.append((name, {f"{name}_W": make(out, into, kernel, kernel), f"{name}_b": 0.1 * make(out)}))

    def norm(self, make, name: str, width: int, *, active: bool = True) -> None:
        parts = {f"{name}_{part}": make(width) for part in ("gamma", "beta", "running_mean", "running_std")}
        self.layers.append((name, parts))
        if self.later and active:
            self.layers.append((f"activation_{len(self.layers)}", {}))

    def write(self, path: Path, eps: float | None = None) -> None:
        h5py = pytest.importorskip("h5py")
        pytest.importorskip("pyfive")
        with h5py.File(path, "w") as file:
            group = file
            if eps is not None:
                rows = [{"class_name": "BatchNormalization", "config": {"epsilon": eps}}]
                file.attrs["model_config"] = json.dumps({"config": {"layers": rows}}).encode()
                group = file.create_group("model_weights")
            group.attrs["layer_names"] = np.array([name.encode() for name, _ in self.layers])
            for name, parts in self.layers:
                layer = group.create_group(name)
                layer.attrs["weight_names"] = np.array([key.encode() for key in parts], dtype="S40")
                for key, value in parts.items():
                    layer.create_dataset(key, data=value.numpy())

    def convolved(self, x: Tensor, name: str, stride: int = 1, *, border: bool = False) -> Tensor:
        """Sums as convolution is defined: the kernel turned about."""
        weight, bias = self.tensors[name]
        side = weight.shape[-1] // 2
        padded = F.pad(x, (side,) * 4, "reflect" if self.later and border else "constant")
        return F.conv2d(padded, weight.flip(2, 3), bias, stride)

    def transposed(self, x: Tensor, name: str) -> Tensor:
        """The gradient of such a convolution by its input, which is twice as large."""
        weight, bias = self.tensors[name]
        larger = torch.zeros(1, weight.shape[0], 2 * x.shape[2], 2 * x.shape[3], requires_grad=True)
        smaller = F.conv2d(F.pad(larger, (1,) * 4), weight.transpose(0, 1).flip(2, 3), None, 2)
        (out,) = torch.autograd.grad(smaller, larger, x)
        return out + bias.view(1, -1, 1, 1)

    def normed(self, x: Tensor, name: str, eps: float) -> Tensor:
        return instance(x, *self.tensors[name][:2], eps)

    def __call__(self, photo: Tensor, eps: float = 1e-5) -> Tensor:
        def active(x: Tensor, norm: str) -> Tensor:
            return F.relu(self.normed(x, norm, eps)) if self.later else self.normed(F.relu(x), norm, eps)

        x = active(self.convolved(photo, "conv1", border=True), "batchnorm1")
        x = active(self.convolved(x, "conv2", 2), "batchnorm2")
        x = active(self.convolved(x, "conv3", 2), "batchnorm3")
        for number in range(1, self.blocks + 1):
            inner = self.convolved(x, f"res_conv_{number}_1", border=True)
            inner = F.relu(self.normed(inner, f"res_batchnorm_{number}_1", eps))
            inner = self.convolved(inner, f"res_conv_{number}_2", border=True)
            x = x + self.normed(inner, f"res_batchnorm_{number}_2", eps)
            x = x if self.later else F.relu(x)
        x = active(self.transposed(x, "deconv3"), "batchnorm4")
        x = active(self.transposed(x, "deconv2"), "batchnorm5")
        x = torch.tanh(self.convolved(x, "fastnet_conv" if self.later else "deconv1", border=True))
        return ((x + 1) / 2).clamp(0, 1)[..., : photo.shape[2], : photo.shape[3]]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("eps", [None, 1e-3])
def test_keras(tmp_path, later, eps) -> None:
    pytest.importorskip("pyfive")
    plain = Titu(later=later)
    plain.write(tmp_path / "starry.h5", eps)
    network, description = load_model(tmp_path / "starry.h5")
    assert description["came_from"]["kind"] == "titu1994"
    for size in ((64, 64), (60, 84), (86, 50)):
        photo = picture(*size)
        wanted = plain(photo, 1e-5 if eps is None else eps).detach()
        assert wanted.std() > 0.05
        with torch.inference_mode():
            torch.testing.assert_close(network(photo), wanted, rtol=0, atol=1e-4)


def test_hdf5_of_something_else(tmp_path) -> None:
    pytest.importorskip("pyfive")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(5)
    with pytest.raises(WeightsError, match="none of Keras"):
        load_model(tmp_path / "a.h5")
    Titu().write(tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file.attrs["layer_names"] = np.array([b"dense_1"])
        file.create_group("dense_1")
    with pytest.raises(WeightsError, match="its layers are dense_1"):
        load_model(tmp_path / "b.h5")
