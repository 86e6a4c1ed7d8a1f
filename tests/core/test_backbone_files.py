"""Backbones as Caffe and MatConvNet keep them: the same network, and what each of them takes."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.core.vgg import VGG, Normalisation
from impasto.core.weights import load_backbone
from impasto.errors import WeightsError

from ..foreign.foreign_samples import message, picture, varint

pytestmark = pytest.mark.usefixtures("one_thread")
AVERAGE = (123.5, 116.25, 103.75)  # red, green, blue


def network() -> VGG:
    torch.manual_seed(0)
    return VGG("vgg19", last="conv2_1")


def layers(vgg: VGG) -> list[tuple[str, Tensor, Tensor]]:
    return [(name, vgg.get_submodule(name).weight.detach(), vgg.get_submodule(name).bias.detach())
            for name in vgg.convolutions]  # fmt: skip


# -- Caffe ------------------------------------------------------------------------------------------------------------


def blob(values: Tensor, *, early: bool) -> bytes:
    """Four numbers of a shape, or a row of them; the values packed."""
    shape = [1] * (4 - values.ndim) + list(values.shape)
    if early:
        sides = b"".join(message(number, side) for number, side in enumerate(shape, 1))
    else:
        sides = message(7, message(1, b"".join(varint(side) for side in values.shape)))
    return sides + message(5, values.numpy().tobytes())


def write_caffe(path: Path, vgg: VGG, *, early: bool) -> None:
    field, named, blobs = (2, 4, 6) if early else (100, 1, 7)
    out = message(1, b"VGG_ILSVRC_19_layers") + message(3, b"data")
    for name, weight, bias in layers(vgg):
        kind = message(5, 4) if early else message(2, b"Convolution")
        held = b"".join(message(blobs, blob(one, early=early)) for one in (weight, bias))
        out += message(field, message(named, name.encode()) + kind + held)
        out += message(field, message(named, name.replace("conv", "relu").encode()))
    out += message(field, message(named, b"fc6") + message(blobs, blob(torch.zeros(3, 5), early=early)))
    path.write_bytes(out)


@pytest.mark.parametrize("early", [True, False])
def test_a_vgg_of_caffe(early, tmp_path) -> None:
    vgg = network()
    write_caffe(tmp_path / "vgg.caffemodel", vgg, early=early)
    found = load_backbone(tmp_path / "vgg.caffemodel")
    assert found.topology.name == "vgg16"  # no convolution is there that only vgg19 has
    for key, value in vgg.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    image = picture(20, 24)
    wanted = image.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    wanted = F.relu(F.conv2d(wanted, vgg.conv1_1.weight, vgg.conv1_1.bias, padding=1))
    torch.testing.assert_close(found(image, ("relu1_1",))["relu1_1"], wanted, rtol=1e-4, atol=1e-3)
    assert load_backbone(tmp_path / "vgg.caffemodel", input="none").normalisation == Normalisation()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "is no .caffemodel"),
        (message(1, b"net"), "0 layers"),
        (message(100, message(1, b"conv1_1") + 2 * message(7, message(5, b"\0\0\0"))), "no .caffemodel, or damaged"),
        (message(100, message(1, b"conv1_1") + 2 * message(7, message(1, 9) + message(5, bytes(16)))), "for shape"),
        (message(100, message(1, b"data")), "has no convolution"),
    ],
)
def test_other_files_of_caffe(content, words, tmp_path) -> None:
    (tmp_path / "a.caffemodel").write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        load_backbone(tmp_path / "a.caffemodel")
    assert str(caught.value).startswith(str(tmp_path / "a.caffemodel"))


# -- MatConvNet -------------------------------------------------------------------------------------------------------


def as_matlab(weight: Tensor) -> np.ndarray:
    """(rows, columns, in, out)."""
    return np.asfortranarray(weight.permute(2, 3, 1, 0).numpy())


def average(*, whole: bool) -> np.ndarray:
    colours = np.array(AVERAGE, np.float32).reshape(1, 1, 3)
    return np.asfortranarray(np.broadcast_to(colours, (6, 6, 3)) if whole else colours)


def cell(values: list) -> np.ndarray:
    out = np.empty((1, len(values)), object)
    for i, value in enumerate(values):
        out[0, i] = value
    return out


def of_today(vgg: VGG) -> dict:
    rows = []
    for name, weight, bias in layers(vgg):
        held = cell([as_matlab(weight), bias.numpy().reshape(-1, 1)])
        rows.append({"name": name, "type": "conv", "weights": held, "pad": np.ones((1, 4)), "stride": np.ones((1, 2))})
        rows.append({"name": name.replace("conv", "relu"), "type": "relu", "leak": 0.0, "weights": cell([])})
    return {"layers": cell(rows), "meta": {"normalization": {"averageImage": average(whole=False)}}}


def of_before(vgg: VGG) -> dict:
    """Weights come first, or as fields of their own, and the average picture is as large as a picture."""
    rows = []
    for i, (name, weight, bias) in enumerate(layers(vgg)):
        parts = {"filters": as_matlab(weight), "biases": bias.numpy().reshape(1, -1)}
        held = parts if i % 2 else {"weights": cell(list(parts.values()))}
        rows.append({**held, "pad": np.ones((1, 4), np.uint8), "type": "conv", "name": name, "stride": 1})
    told = {"averageImage": average(whole=True), "keepAspect": 1, "interpolation": "bilinear"}
    return {"layers": cell(rows), "classes": {"name": cell(["tench", "goldfish"])}, "normalization": told}


def write_later(path: Path, values: dict) -> None:
    """Version 7.3: HDF5 behind 512 bytes, dimensions in reverse, cells as references."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("pyfive")
    with h5py.File(path, "w", userblock_size=512) as file:
        kept, count = file.create_group("#refs#"), itertools.count()

        def put(group, name: str, value: object) -> None:
            if isinstance(value, dict):
                inner = group.create_group(name)
                inner.attrs["MATLAB_class"] = np.bytes_("struct")
                for key, one in value.items():
                    put(inner, key, one)
                return
            if isinstance(value, str):
                item = group.create_dataset(name, data=np.array([[ord(letter)] for letter in value], np.uint16))
                kind = "char"
            elif isinstance(value, np.ndarray) and value.dtype == object and not value.size:
                item = group.create_dataset(name, data=np.zeros(2, np.uint64))
                item.attrs["MATLAB_empty"], kind = 1, "cell"
            elif isinstance(value, np.ndarray) and value.dtype == object:
                refs = []
                for one in value.reshape(-1):
                    held = f"r{next(count)}"
                    put(kept, held, one)
                    refs.append([kept[held].ref])
                item, kind = group.create_dataset(name, data=refs, dtype=h5py.ref_dtype), "cell"
            else:
                array = np.atleast_2d(np.asarray(value, np.float32))
                item, kind = group.create_dataset(name, data=array.T, compression="gzip"), "single"
            item.attrs["MATLAB_class"] = np.bytes_(kind)

        for key, value in values.items():
            put(file, key, value)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Sun Nov 29 2015 HDF5 schema 1.00 ."
    with path.open("r+b") as handle:
        handle.write(header.ljust(124) + struct.pack("<H", 0x0200) + b"IM")


WRITERS: dict[str, Callable[[Path, dict], None]] = {
    "5": lambda path, values: scipy.io.savemat(path, values),
    "5, packed": lambda path, values: scipy.io.savemat(path, values, do_compression=True),
    "7.3": write_later,
}


@pytest.mark.parametrize("form", [of_today, of_before])
@pytest.mark.parametrize("version", WRITERS)
def test_a_vgg_of_matconvnet(version, form, tmp_path) -> None:
    vgg = network()
    WRITERS[version](tmp_path / "vgg.mat", form(vgg))
    found = load_backbone(tmp_path / "vgg.mat")
    for key, value in vgg.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    image = picture(20, 24)
    wanted = image * 255 - torch.tensor(AVERAGE).view(1, 3, 1, 1)  # RGB as it is
    wanted = F.relu(F.conv2d(wanted, vgg.conv1_1.weight, vgg.conv1_1.bias, padding=1))
    torch.testing.assert_close(found(image, ("relu1_1",))["relu1_1"], wanted, rtol=1e-4, atol=1e-3)
    with pytest.raises(WeightsError, match="leave `backbone_input` out"):
        load_backbone(tmp_path / "vgg.mat", input="caffe")


def test_files_of_matlab_that_are_something_else(tmp_path) -> None:
    path = tmp_path / "a.mat"
    for values, words in (
        ({"x": np.arange(5)}, "has no row of `layers`"),
        ({**of_today(network()), "meta": {"normalization": {}}}, "no average picture"),
        ({**of_today(network()), "meta": {"normalization": {"averageImage": np.full((1, 3), 300.0)}}}, "need 0 to 255"),
        ({**of_today(network()), "layers": cell([{"name": "conv1_1", "weights": cell([1.0])}])}, "has no weights"),
    ):
        scipy.io.savemat(path, values)
        with pytest.raises(WeightsError, match=words) as caught:
            load_backbone(path)
        assert str(caught.value).startswith(str(path))
    scipy.io.savemat(path, of_today(network()), do_compression=True)
    content = path.read_bytes()
    for cut in (200, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:cut])
        with pytest.raises(WeightsError, match=r"a\.mat"):
            load_backbone(path)


def test_what_unpacks_without_end_is_refused(tmp_path, monkeypatch) -> None:
    from impasto.core import matlab

    monkeypatch.setattr(matlab, "LARGEST", 10_000)
    scipy.io.savemat(tmp_path / "a.mat", {"layers": np.zeros(50_000)}, do_compression=True)
    with pytest.raises(WeightsError, match="more than any network"):
        load_backbone(tmp_path / "a.mat")
