"""Backbones in Keras' files: the same network whichever way its kernels are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.core.vgg import VGG
from impasto.core.weights import load_backbone
from impasto.errors import WeightsError

h5py = pytest.importorskip("h5py")
pytest.importorskip("pyfive")
pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> VGG:
    torch.manual_seed(0)
    return VGG("vgg16", last="conv2_2")


def write(path: Path, vgg: VGG, *, theano: bool, backend: bytes | None) -> None:
    """As Keras 1 and 2 save weights: a group for each layer, whose weights are called after it."""
    with h5py.File(path, "w") as file:
        names = ["block1_conv1", "block1_conv2", "block1_pool", "block2_conv1", "block2_conv2", "predictions"]
        file.attrs["layer_names"] = np.array([name.encode() for name in names])
        if backend is not None:
            file.attrs["backend"] = np.bytes_(backend)
        for name in names:
            group, parts = file.create_group(name), {}
            if "_conv" in name:
                conv = vgg.get_submodule(f"conv{name[5]}_{name[-1]}")
                kernel: Tensor = conv.weight.detach()
                kernel = kernel.flip(2, 3) if theano and backend != b"tensorflow" else kernel
                kernel = kernel if theano else kernel.permute(2, 3, 1, 0)
                parts = {f"{name}_W_1:0": kernel.contiguous(), f"{name}_b_1:0": conv.bias.detach()}
            elif name == "predictions":
                parts = {"predictions_W_1:0": torch.zeros(4, 5), "predictions_b_1:0": torch.zeros(5)}
            group.attrs["weight_names"] = np.array([key.encode() for key in parts], dtype="S40")
            for key, value in parts.items():
                group.create_dataset(key, data=value.numpy())


@pytest.mark.parametrize(
    ("theano", "backend"),
    [(False, None), (False, b"tensorflow"), (True, None), (True, b"theano"), (True, b"tensorflow")],
)
def test_a_vgg(tmp_path, theano, backend) -> None:
    vgg = network()
    write(tmp_path / "vgg.h5", vgg, theano=theano, backend=backend)
    found = load_backbone(tmp_path / "vgg.h5", input="caffe")
    assert found.normalisation.bgr
    assert found.convolutions == vgg.convolutions
    for key, value in vgg.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)


def test_other_files(tmp_path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(5)
    with pytest.raises(WeightsError, match=r"a\.h5: it is HDF5, but none of Keras"):
        load_backbone(tmp_path / "a.h5", input="caffe")
    write(tmp_path / "b.h5", network(), theano=False, backend=None)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "b.h5").read_bytes()[:3000])
    with pytest.raises(WeightsError, match=r"cut\.h5: "):
        load_backbone(tmp_path / "cut.h5", input="caffe")
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.create_group("dense")
    with pytest.raises(WeightsError, match="are not called as Keras' VGG networks'"):
        load_backbone(tmp_path / "b.h5", input="caffe")


def test_what_pyfive_does_not_know_is_no_warning(tmp_path, recwarn) -> None:
    write(tmp_path / "a.h5", network(), theano=False, backend=None)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        layer, one = file["block1_conv1"], h5py.h5s.create(h5py.h5s.SCALAR)
        del layer.attrs["weight_names"]
        h5py.h5a.create(layer.id, b"weight_names", h5py.h5t.STD_B8LE, one)  # bits
    with pytest.raises(WeightsError) as caught:
        load_backbone(tmp_path / "a.h5", input="caffe")
    assert "\n" not in str(caught.value)
    assert not recwarn.list
