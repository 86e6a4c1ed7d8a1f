"""Loading backbones: every key layout and file format people have, and every way a file can be wrong."""

from __future__ import annotations

import copyreg
import functools
import io
import os
import pickle
import re
import struct
import tarfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from impasto.core.legacy import load_tar
from impasto.core.metadata import record, save
from impasto.core.precision import Precision
from impasto.core.vgg import TOPOLOGIES
from impasto.core.weights import (
    BACKBONES,
    Check,
    cache_folder,
    describe,
    identify,
    import_file,
    load_backbone,
    locate,
    verify,
)
from impasto.errors import ImpastoError, OptionError, WeightsError
from impasto.files import sha256

State = dict[str, Tensor]

# torchvision's own notation, to know its numbers independently of ours
SEQUENCES: dict[str, list[int | str]] = {
    "vgg16": [64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"],
    "vgg19": [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped weights of the test's own, empty."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("impasto.core.store.SHIPPED", folder)
    return folder


@functools.cache
def reference(topology: str) -> nn.Sequential:
    """The convolutions, ReLUs and pools in a row, as torchvision has them, with random weights."""
    generator = torch.Generator().manual_seed(0)
    modules: list[nn.Module] = []
    before = 3
    for width in SEQUENCES[topology]:
        if isinstance(width, str):
            modules.append(nn.MaxPool2d(2))
            continue
        conv = nn.Conv2d(before, width, 3, padding=1, device="meta").to_empty(device="cpu")
        nn.init.normal_(conv.weight, std=(2 / (9 * before)) ** 0.5, generator=generator)
        nn.init.normal_(conv.bias, std=0.1, generator=generator)
        modules += [conv, nn.ReLU()]
        before = width
    return nn.Sequential(*modules)


def torchvision_state(network: nn.Sequential) -> State:
    state = {f"features.{key}": value for key, value in network.state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


def ours(topology: str, count: int) -> State:
    """Random weights of the first `count` convolutions under our names, which are Caffe's."""
    generator = torch.Generator().manual_seed(count)
    state = {}
    for name, channels_in, channels_out in TOPOLOGIES[topology].layers[:count]:
        shape = (channels_out, channels_in, 3, 3)
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / (9 * channels_in)) ** 0.5
        state[f"{name}.bias"] = torch.randn(channels_out, generator=generator) * 0.1
    return state


def small() -> State:
    return ours("vgg16", 3)


def written(path: Path, state: Any) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def picture(side: int = 32) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("topology", ["vgg16", "vgg19"])
def test_torchvision_state_dicts_load(tmp_path: Path, topology: str) -> None:
    network = reference(topology)
    path = written(tmp_path / "anything.pth", torchvision_state(network))
    vgg = load_backbone(path, input="torchvision")
    assert vgg.topology.name == topology
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        features = vgg(picture(), ["relu2_1", vgg.taps[-1]])
        expected = network[:-1]((picture() - mean) / std)
    torch.testing.assert_close(features[vgg.taps[-1]], expected, rtol=1e-3, atol=1e-3 * expected.max().item())
    assert features["relu2_1"].shape == (1, 128, 16, 16)


@pytest.mark.parametrize("topology", ["vgg16", "vgg19"])
def test_caffe_keyed_state_dicts_load(tmp_path: Path, topology: str) -> None:
    network = reference(topology)
    names = [name for name, _, _ in TOPOLOGIES[topology].layers]
    state: State = {}
    for name, module in zip(names, (m for m in network if isinstance(m, nn.Conv2d)), strict=True):
        state |= {f"{name}.weight": module.weight.data, f"{name}.bias": module.bias.data}  # type: ignore[union-attr]
    state |= {"fc6.weight": torch.zeros(2, 2)}
    vgg = load_backbone(written(tmp_path / "vgg_conv.pth", state), input="caffe")
    assert vgg.topology.name == topology
    mean = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = network[:-1](picture().flip(1) * 255 - mean)
        features = vgg(picture(), [vgg.taps[-1]])[vgg.taps[-1]]
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3 * expected.max().item())


@pytest.mark.parametrize(
    ("topology", "count", "found", "last"),
    [
        ("vgg16", 1, "vgg16", "relu1_1"),
        ("vgg19", 7, "vgg16", "relu3_3"),  # so far they are the same
        ("vgg19", 8, "vgg19", "relu3_4"),
        ("vgg16", 8, "vgg16", "relu4_1"),
    ],
)
def test_a_network_may_end_early(tmp_path: Path, topology: str, count: int, found: str, last: str) -> None:
    vgg = load_backbone(written(tmp_path / "short.safetensors", ours(topology, count)), input="none")
    assert (vgg.topology.name, vgg.taps[-1]) == (found, last)
    with pytest.raises(ImpastoError, match=f"short has no layer 'relu5_1'.*{last}"):
        vgg(picture(), ["relu5_1"])


def test_factored_convolutions_are_the_convolutions_they_multiply_out_to(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    factored, dense = small(), small()
    reduce, expand = torch.randn(8, 64, 3, 3, generator=generator), torch.randn(64, 8, 1, 1, generator=generator)
    inner, outer = torch.randn(8, generator=generator), torch.randn(64, generator=generator)
    del factored["conv1_2.weight"], factored["conv1_2.bias"]
    factored |= {"conv1_2.reduce.weight": reduce, "conv1_2.reduce.bias": inner}
    factored |= {"conv1_2.expand.weight": expand, "conv1_2.expand.bias": outer}
    dense["conv1_2.weight"] = torch.einsum("or,rihw->oihw", expand[:, :, 0, 0], reduce)
    dense["conv1_2.bias"] = expand[:, :, 0, 0] @ inner + outer
    results = [
        load_backbone(written(tmp_path / f"{name}.pth", state), input="none")(picture(), ["conv2_1"])["conv2_1"]
        for name, state in (("factored", factored), ("dense", dense))
    ]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-3)


# File formats


def test_every_format_gives_the_same_tensors(tmp_path: Path) -> None:
    state = OrderedDict(small())
    torch.save(state, tmp_path / "zip.pth")
    torch.save(state, tmp_path / "stream.pth", _use_new_zipfile_serialization=False)
    write_tar(tmp_path / "tar.pth", state)
    written(tmp_path / "s.safetensors", small())
    (tmp_path / "s.safetensors").rename(tmp_path / "misnamed.pth")
    for name in ("zip", "stream", "tar", "misnamed"):
        loaded = load_backbone(tmp_path / f"{name}.pth", input="none").state_dict()
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state), name


class _TarPickler(pickle.Pickler):
    """Pickles as PyTorch 0.1 did: tensors by number, parameters as five facts of which the first is one."""

    def __init__(self, file: io.BytesIO, tensors: dict[int, Tensor]) -> None:
        super().__init__(file, 2)
        self.tensors = tensors  # by the id of the tensor or parameter in the state dict
        self.keys = {id(tensor): key for key, tensor in enumerate(tensors.values())}

    def persistent_id(self, value: Any) -> int | None:
        return self.keys.get(id(value)) if type(value) is Tensor else None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter):
            return copyreg.__newobj__, (nn.Parameter,), (self.tensors[id(value)], None, None, True, False)  # type: ignore[attr-defined]
        return NotImplemented


def write_tar(path: Path, state: Any, main: bytes | None = None) -> None:
    """Write the format that `legacy` describes; every tensor is a view into the middle of one storage."""
    tensors = {id(value): value.detach() if value.requires_grad else value for value in state.values()}
    root = torch.cat([torch.zeros(5), *(tensor.reshape(-1) for tensor in tensors.values())])
    root_key, view_key = 1000, 2000
    storages = pickle.dumps(1, 2) + pickle.dumps((root_key, "cpu", torch.FloatStorage), 2)
    storages += struct.pack("<q", root.numel()) + root.numpy().tobytes()
    storages += pickle.dumps([(view_key, root_key, 5, root.numel() - 5)], 2)
    described, offset = pickle.dumps(len(tensors), 2), 0
    for key, tensor in enumerate(tensors.values()):
        described += pickle.dumps((key, view_key, torch.FloatTensor), 2)
        described += struct.pack("<ii", tensor.ndim, 0) + struct.pack(f"<{tensor.ndim}q", *tensor.shape)
        described += struct.pack(f"<{tensor.ndim}q", *tensor.contiguous().stride()) + struct.pack("<q", offset)
        offset += tensor.numel()
    file = io.BytesIO()
    _TarPickler(file, tensors).dump(state)
    members = {"sys_info": pickle.dumps({}, 2), "pickle": main or file.getvalue()}
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for name, content in {**members, "tensors": described, "storages": storages}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_tar_files_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "tar.pth"
    state = OrderedDict(a=torch.randn(2, 3, 4), b=nn.Parameter(torch.randn(7)), c=torch.randn(1))
    write_tar(path, state)
    trusted = torch.load(path, weights_only=False)  # written a line above
    read = load_tar(path)
    assert isinstance(read, dict)
    assert list(read) == list(trusted) == ["a", "b", "c"]
    for key, value in state.items():
        assert torch.equal(read[key], value)
        assert torch.equal(trusted[key], value)


# Files that would run code


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "stream", "pickle", "tar"])
def test_no_code_in_a_file_is_run(tmp_path: Path, form: str) -> None:
    path, proof = tmp_path / "evil.pth", tmp_path / "proof"
    state = {**small(), "extra": _Malicious(proof)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(state))
    elif form == "tar":
        write_tar(path, small(), main=pickle.dumps({"extra": _Malicious(proof)}, 2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"evil\.pth: refused"):
        load_backbone(path, input="none")
    assert not proof.exists()
    if form == "tar":
        torch.load(path, weights_only=False)
        assert proof.exists()  # it would have


# Files that are damaged or something else


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "stream.pth", "tar.pth"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name.startswith("tar"):
        write_tar(path, small())
    elif name.startswith("stream"):
        torch.save(small(), path, _use_new_zipfile_serialization=False)
    else:
        written(path, small())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=re.escape(str(path))):
        load_backbone(path, input="none")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>", b"\x89PNG\r\n\x1a\n", b"\0" * 2048])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "page.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="refused"):
        load_backbone(tmp_path / "page.pth", input="none")


def without(key: str) -> State:
    return {name: value for name, value in small().items() if name != key}


def changed(key: str, value: Any) -> dict[str, Any]:
    return {**small(), key: value}


def not_a_number(place: float) -> State:
    state = small()
    state["conv1_2.weight"][5, 3, 1, 1] = place
    return state


WRONG: list[tuple[str, Any, str]] = [
    ("a list", [torch.ones(1)], "holds a list, need a state dict"),
    ("a tensor", torch.ones(1), "holds a Tensor, need a state dict"),
    ("a checkpoint", {"epoch": 3, "state_dict": small()}, "'epoch' is a int"),
    ("nothing", {}, "has no convolution"),
    ("a classifier", {"classifier.0.weight": torch.ones(1)}, "has no convolution"),
    ("another network", {"layer1.0.conv1.weight": torch.ones(1)}, "has the key 'layer1.0.conv1.weight'"),
    ("batch norm", {"features.0.weight": torch.ones(1), "features.1.running_mean": torch.ones(1)}, "running_mean"),
    ("vgg13", {f"features.{n}.weight": torch.ones(1) for n in (0, 2, 5, 7, 10, 12, 15)}, "'features.15'"),
    ("two layouts", {**small(), "features.0.weight": torch.ones(1)}, "'conv1_1.weight'"),
    ("unknown block", changed("conv6_1.weight", torch.ones(1)), "'conv6_1' is no convolution"),
    ("a gap", without("conv1_2.weight"), "conv1_2.weight is missing"),
    ("no bias", without("conv2_1.bias"), "conv2_1.bias is missing"),
    ("a shape", changed("conv1_1.weight", torch.ones(64, 1, 3, 3)), r"\(64, 1, 3, 3\).*need \(64, 3, 3, 3\)"),
    ("integers", changed("conv1_1.bias", torch.ones(64, dtype=torch.int64)), "int64.*need"),
    ("nan", not_a_number(float("nan")), "conv1_2.weight has values"),
    ("infinity", not_a_number(float("-inf")), "conv1_2.weight has values"),
    ("half a factor", changed("conv1_2.reduce.weight", torch.ones(8, 64, 3, 3)), "reduce.bias is missing"),
    ("a scalar factor", changed("conv1_2.reduce.weight", torch.ones(())), "reduce.weight is"),
]


@pytest.mark.parametrize(("state", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_contents_are_named(tmp_path: Path, state: Any, message: str) -> None:
    path = tmp_path / "wrong.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_backbone(path, input="none")
    assert str(path) in str(caught.value)


def test_a_convolution_in_two_forms_is_refused(tmp_path: Path) -> None:
    both = small()
    both |= {"conv1_2.reduce.weight": torch.ones(8, 64, 3, 3), "conv1_2.reduce.bias": torch.ones(8)}
    both |= {"conv1_2.expand.weight": torch.ones(64, 8, 1, 1), "conv1_2.expand.bias": torch.ones(64)}
    with pytest.raises(WeightsError, match=r"'conv1_2\.bias' beside another form"):
        load_backbone(written(tmp_path / "both.pth", both), input="none")


# What decides the input


def test_keys_never_decide_the_input(tmp_path: Path) -> None:
    path = written(tmp_path / "vgg_conv.pth", small())
    with pytest.raises(WeightsError, match="give `backbone_input`: torchvision, caffe or none"):
        load_backbone(path)
    with pytest.raises(OptionError, match="'bgr' is unknown: use torchvision, caffe or none"):
        load_backbone(path, input="bgr")  # type: ignore[arg-type]


def test_no_input_is_asked_for_what_is_no_backbone(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has the key 'decoder\.weight'"):
        load_backbone(written(tmp_path / "other.pth", {"decoder.weight": torch.ones(3)}))


def test_the_table_decides_by_hash_whatever_the_file_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "renamed.bin", small())
    row = replace(BACKBONES["vgg16-caffe"], sha256=("0000", sha256(path)[:8]))
    monkeypatch.setitem(BACKBONES, "vgg16-caffe", row)
    vgg = load_backbone(path)
    assert (vgg.name, vgg.normalisation.bgr, vgg.normalisation.scale) == ("vgg16-caffe", True, 255.0)
    assert load_backbone(path, input="caffe").normalisation == vgg.normalisation
    with pytest.raises(WeightsError, match="this is vgg16-caffe, whose input is caffe, not none"):
        load_backbone(path, input="none")


def test_the_table_knows_the_topology_that_tensors_leave_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "short.pth", small())
    monkeypatch.setitem(BACKBONES, "vgg19", replace(BACKBONES["vgg19"], sha256=(sha256(path),)))
    assert load_backbone(path).topology.name == "vgg19"


def description(**changes: Any) -> dict[str, Any]:
    facts = {"kind": "backbone", "name": "mine", "topology": "vgg16", "normalisation": "caffe"}
    return {**facts, "padding": "replicate", **changes}


def test_our_own_files_describe_themselves(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save(path, small(), description())
    vgg = load_backbone(path)
    assert (vgg.name, vgg.topology.name, vgg.padding) == ("mine", "vgg16", "replicate")
    assert vgg.normalisation.bgr
    assert load_backbone(path, padding="zeros").padding == "zeros"
    with pytest.raises(WeightsError, match="whose input is caffe, not torchvision"):
        load_backbone(path, input="torchvision")


def test_weights_do_not_change_with_the_file_they_came_from(tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors", small())
    vgg = load_backbone(path, input="none")
    content = path.read_bytes()
    path.write_bytes(b"\0" * len(content))  # in place, as copying over it would
    assert all(torch.equal(vgg.state_dict()[key], value) for key, value in small().items())


def test_padding_is_zeros_unless_said(tmp_path: Path) -> None:
    path = written(tmp_path / "w.pth", small())
    assert load_backbone(path, input="none").padding == "zeros"
    assert load_backbone(path, input="none", padding="replicate").padding == "replicate"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "johnson"}, "no backbone but of kind 'johnson'"),
        ({"topology": "vgg11"}, "'vgg11'"),
        ({"topology": ["vgg16"]}, "vgg16"),
        ({"normalisation": None}, "None"),
        ({"padding": "reflect"}, "'reflect'"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "m.safetensors"
    save(path, small(), description(**changes))
    with pytest.raises(WeightsError, match=message):
        load_backbone(path)


# Names


def test_an_absent_backbone_names_the_command_that_fetches_it() -> None:
    with pytest.raises(WeightsError, match="vgg19 is not here: run `impasto weights fetch vgg19`"):
        load_backbone("vgg19")
    with pytest.raises(WeightsError, match=r"get vgg16_dev\.safetensors .* `impasto weights import PATH`"):
        load_backbone("vgg16-dev")


def test_an_absent_backbone_names_the_nearest_present(cache: Path, shipped: Path) -> None:
    def suggested(name: str) -> str:
        with pytest.raises(WeightsError, match="nearest") as caught:
            load_backbone(name)
        return str(caught.value).rsplit("`backbone` ", 1)[1]

    (shipped / "compact.safetensors").touch()
    assert suggested("vgg19") == "compact"
    (cache / BACKBONES["vgg16-dev"].file).touch()
    assert suggested("vgg16") == "vgg16-dev"
    assert suggested("vgg19") == "compact"
    (cache / BACKBONES["vgg16"].file).touch()
    assert suggested("vgg19") == "vgg16"
    (cache / BACKBONES["vgg19-caffe"].file).touch()
    assert suggested("vgg19") == "vgg19-caffe"


def test_a_name_that_is_no_backbone_and_no_file_lists_the_backbones(tmp_path: Path) -> None:
    for name in ("vgg11", tmp_path):
        with pytest.raises(
            WeightsError, match=r"no backbone and no file.*compact, compact-vgg19, vgg19, vgg16"
        ) as caught:
            load_backbone(name)
        assert str(name) in str(caught.value)


def test_a_backbone_is_found_by_name_in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    assert locate("vgg16") is None
    path = written(cache / BACKBONES["vgg16"].file, small())
    assert locate("vgg16") == path
    with pytest.raises(WeightsError, match=r"not the file of vgg16.*`impasto weights fetch vgg16`"):
        load_backbone("vgg16")
    monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], sha256=(sha256(path),)))
    assert load_backbone("vgg16").name == "vgg16"


def test_a_shipped_backbone_is_checked_against_the_manifest(shipped: Path) -> None:
    with pytest.raises(WeightsError, match="install impasto again"):
        load_backbone("compact")
    path = shipped / "compact.safetensors"
    save(path, small(), description(name="compact"))
    with pytest.raises(WeightsError, match="not the file of compact"):
        load_backbone("compact")
    record(path)
    assert load_backbone("compact").padding == "replicate"
    assert describe(BACKBONES["compact"]) == {
        "topology": "vgg16",
        "normalisation": "caffe",
        "sha256": [sha256(path)],
    }


def test_the_network_is_frozen_and_in_the_precision_asked_for(tmp_path: Path) -> None:
    half = {key: value.half() for key, value in small().items()}
    path = written(tmp_path / "half.safetensors", half)
    vgg = load_backbone(path, input="none", pool="average", rescale_pool=True)
    assert not vgg.training
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    assert {parameter.dtype for parameter in vgg.parameters()} == {torch.float32}
    assert (vgg.pool, vgg.pool_scale) == ("average", 2.0)
    vgg = load_backbone(path, input="none", precision=Precision(torch.bfloat16, True, "a test"))
    assert {parameter.dtype for parameter in vgg.parameters()} == {torch.bfloat16}
    weight = vgg.get_submodule("conv1_2").weight
    assert isinstance(weight, Tensor)
    assert weight.is_contiguous(memory_format=torch.channels_last)


# The table and its files


@pytest.mark.parametrize("name", BACKBONES)
def test_rows_are_well_formed(name: str) -> None:
    row = BACKBONES[name]
    assert row.name == name
    assert all(re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", digest) for digest in row.sha256)
    assert row.licence
    assert "arXiv:1409.1556" in row.citation
    if row.shipped:
        assert row.sha256 == ()
        assert row.url is None
    else:
        assert row.topology in TOPOLOGIES
        assert row.normalisation in ("torchvision", "caffe", "none")
    if row.url:
        # torch checks the beginning of the hash that the name has between dash and dot
        assert row.url.startswith("https://")
        assert row.url.endswith(f"/{row.file}")
        assert row.sha256[0].startswith(row.file.split("-")[1].removesuffix(".pth"))


def test_a_known_file_is_imported(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "found.pth", small())
    monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], sha256=(sha256(path)[:8],)))
    with pytest.raises(WeightsError, match="this is vgg16, not vgg19"):
        import_file(path, "vgg19")
    target = cache / "vgg16-397923af.pth"
    target.write_bytes(b"damaged")
    for _ in range(2):  # the second time there is nothing to do
        assert import_file(path, "vgg16") == (BACKBONES["vgg16"], target)
    assert import_file(target) == (BACKBONES["vgg16"], target)
    assert target.read_bytes() == path.read_bytes()
    assert [entry.name for entry in cache.iterdir()] == [target.name]
    assert load_backbone("vgg16").name == "vgg16"


def test_an_unknown_file_is_not_imported(tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path / "own.pth", small())
    with pytest.raises(WeightsError, match="--backbone PATH --backbone-input") as caught:
        import_file(path)
    assert sha256(path) in str(caught.value)
    with pytest.raises(WeightsError, match=r"no backbone is called 'vgg11' .did you mean 'vgg19'..: there are compact"):
        import_file(path, "vgg11")
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            import_file(missing)
    assert not list(cache.iterdir())


def test_verify_hashes_what_is_present(cache: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(verify()) == []
    right, wrong = cache / BACKBONES["vgg16"].file, cache / BACKBONES["vgg19"].file
    right.write_bytes(b"right")
    wrong.write_bytes(b"wrong")
    monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], sha256=(sha256(right),)))
    checks = [Check("vgg19", wrong, sha256(wrong), False), Check("vgg16", right, sha256(right), True)]
    assert list(verify()) == checks
    assert list(verify(["vgg16"])) == checks[1:]
    for name, message in (("vgg16-caffe", "is not here"), ("vgg11", "no backbone is called")):
        with pytest.raises(WeightsError, match=message):
            list(verify([name]))


def test_identify_takes_full_hashes_and_their_beginnings() -> None:
    assert identify("d01eb7cb" + "0" * 56) is BACKBONES["vgg19-caffe"]
    assert identify(BACKBONES["vgg19"].sha256[0]) is BACKBONES["vgg19"]
    assert identify(BACKBONES["vgg19"].sha256[0][:-1] + "0") is None


# The files themselves, where they are


def test_the_development_backbones_load_by_path_and_by_name(shared: Path, cache: Path) -> None:
    path = shared / "weights" / "vgg16_dev.safetensors"
    dev, edges = load_backbone(path), load_backbone(shared / "weights" / "vgg16_edges.safetensors")
    assert (dev.name, dev.topology.name, dev.taps[-1]) == ("vgg16-dev", "vgg16", "relu5_3")
    assert not dev.normalisation.bgr
    assert dev.normalisation.scale == 1.0
    assert (edges.name, edges.normalisation.bgr) == ("vgg16-edges", True)
    assert import_file(path)[1] == cache / "vgg16_dev.safetensors"
    by_name = load_backbone("vgg16-dev").state_dict()
    assert all(torch.equal(by_name[key], value) for key, value in dev.state_dict().items())


@pytest.mark.parametrize("name", ["compact", "compact-vgg19"])
def test_the_shipped_backbones_load(name: str) -> None:
    vgg = load_backbone(name)
    last = BACKBONES[name].last or "conv5_1"
    assert (vgg.name, vgg.convolutions[-1]) == (name, last)
    side = {"conv5_1": 4, "conv4_2": 8}[last]
    assert vgg(picture(64), [last])[last].shape == (1, 512, side, side)
    assert [check.ok for check in verify([name])] == [True]
