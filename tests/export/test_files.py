"""ONNX files: what they tell of themselves, that they are the same every time, and the shipped ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from impasto.core.store import SHIPPED
from impasto.core.weights import load_backbone
from impasto.errors import OutputError, WeightsError
from impasto.export.check import differences, open_session
from impasto.export.graph import OPSET, Graph
from impasto.export.onnx_file import ENTRY, export_onnx, look_path
from impasto.files import sha256
from impasto.light.graphs import Graph as Loaded
from impasto.light.graphs import about_session, session_of
from impasto.light.pieces import PIECES, join, split
from impasto.networks.adain import AdaIN, AdaINConfig
from impasto.networks.checkpoint import save_model
from impasto.networks.johnson import Johnson, JohnsonConfig
from impasto.networks.shipped import MODELS, find_model, shipped_models

from ..training.training_samples import write_backbone
from .export_samples import CONFIGS, WINOGRAD, exported, network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
SHIPPED_GRAPHS = (*MODELS, "universal-style", *(f"web/{name}" for name in MODELS))

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not set(MODELS) <= set(shipped_models()), reason="the networks are not shipped here"),
]


def saved(path: Path, name: str, **extra: object) -> Path:
    """A toy network's file."""
    save_model(path, network(name), recipe={"steps": 3}, licence="CC0", **extra)
    return path


def shipped(name: str, folder: Path) -> Path:
    """A graph of the package, put together."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(join(SHIPPED / f"{name}{PIECES}")[0])
    return path


def told(path: Path) -> dict:
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert list(entries) == [ENTRY]
    return json.loads(entries[ENTRY])


def operators(models: Iterable[onnx.ModelProto]) -> set[str]:
    """The kinds of all nodes, those in branches included."""
    found, graphs = set(), [model.graph for model in models]
    while graphs:
        graph = graphs.pop()
        found |= {node.op_type for node in graph.node}
        graphs += [part.g for node in graph.node for part in node.attribute if part.type == onnx.AttributeProto.GRAPH]
    return found


def weights(model: onnx.ModelProto) -> list[np.ndarray]:
    return [onnx.numpy_helper.to_array(value) for value in model.graph.initializer]


def test_a_file_describes_itself(tmp_path: Path) -> None:
    styles = [{"name": "a", "title": "Ä", "artist": "B", "year": 1900}, {"name": "b"}, {"name": "c"}]
    source = saved(tmp_path / "mine.safetensors", "brisk", styles=styles)
    (file,) = export_onnx(source, tmp_path / "mine.onnx", stored="float16")
    facts = told(file)
    assert facts["made_from"] == sha256(source)
    assert (facts["kind"], facts["format"], facts["role"], facts["stored"]) == ("onnx", 1, "paint", "float16")
    assert (facts["method"], facts["licence"], facts["recipe"]) == ("brisk", "CC0", {"steps": 3})
    assert facts["styles"] == styles
    assert facts["network"]["channels"] == 20
    model = onnx.load(file)
    assert model.doc_string.endswith("Styles, in the order of mix: Ä, b, c.")
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    session = open_session(file)
    inputs = {value.name: (value.shape, value.type) for value in session.get_inputs()}
    assert inputs == {
        "image": ([1, 3, "height", "width"], "tensor(float)"),
        "mix": ([1, 3], "tensor(float)"),
        "strength": ([], "tensor(float)"),
    }
    (painting,) = session.get_outputs()
    assert (painting.name, painting.shape) == ("painting", [1, 3, "height", "width"])


def test_a_network_of_one_style_has_no_order_of_styles(tmp_path: Path) -> None:
    (file,) = export_onnx(saved(tmp_path / "one.safetensors", "johnson tanh"), tmp_path / "one.onnx")
    assert onnx.load(file).doc_string == "Neural style transfer by impasto, method johnson; licence CC0."
    assert [value.name for value in open_session(file).get_inputs()] == ["image", "strength"]


@pytest.mark.parametrize("name", ["brisk", "johnson linear"])
def test_the_same_network_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = saved(tmp_path / "mine.safetensors", name)
    (first,) = export_onnx(source, tmp_path / "first.onnx")
    (again,) = export_onnx(source, tmp_path / "again.onnx")
    assert first.read_bytes() == again.read_bytes()


def test_float16_is_half_the_size_and_near(tmp_path: Path) -> None:
    source = saved(tmp_path / "mine.safetensors", "multistyle")
    (full,) = export_onnx(source, tmp_path / "full.onnx")
    (half,) = export_onnx(source, tmp_path / "half.onnx", stored="float16")
    assert sum(value.nbytes for value in weights(onnx.load(half))) < 0.55 * sum(
        value.nbytes for value in weights(onnx.load(full))
    )
    exact, rounded = (list(differences(source, [file])) for file in (full, half))
    assert max(row.largest for row in exact) < 0.02
    assert max(row.largest for row in exact) < max(row.largest for row in rounded) < 20


def test_a_weight_that_float16_cannot_hold_stays_as_it_is() -> None:
    g = Graph("float16")
    g.weight(np.full((10, 10), 7e4, np.float32))
    g.weight(np.full((10, 10), 6e4, np.float32))
    assert [value.dtype for value in weights(g.model("x", {}, {}, {}, ""))] == [np.float32, np.float16]


def test_a_network_that_is_too_large_for_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.export.graph.LARGEST", 100)
    g = Graph()
    g.constant(np.zeros(101, np.uint8))
    with pytest.raises(OutputError, match="an ONNX file holds 2 GB"):
        g.model("x", {}, {}, {}, "")


def test_released_networks_of_pytorch_examples(tmp_path: Path) -> None:
    """By torch.save, without a description."""
    torch.manual_seed(0)
    torch.save(Johnson(JohnsonConfig("linear", width=4, blocks=1)).state_dict(), tmp_path / "candy.pth")
    (file,) = export_onnx(str(tmp_path / "candy.pth"), str(tmp_path / "candy.onnx"))
    facts = told(file)
    assert (facts["method"], facts["licence"], facts["styles"][0]["name"]) == ("johnson", "unknown", "candy")
    assert max(row.largest for row in differences(tmp_path / "candy.pth", [file])) < 0.02


def test_an_encoder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = write_backbone(tmp_path / "deep", last="conv4_1", rank=8)
    torch.manual_seed(0)
    mixing = AdaIN(AdaINConfig("deep", width=1 / 64), load_backbone("deep", padding="zeros"))
    save_model("mine.safetensors", mixing, recipe={}, licence="CC0")
    files = export_onnx("mine.safetensors", "mine.onnx")
    assert [told(file)["role"] for file in files] == ["paint", "look"]
    assert told(files[0])["network"]["encoder"] == "deep"
    assert max(row.largest for row in differences("mine.safetensors", files)) < 0.02
    backbone.unlink()
    with pytest.raises(WeightsError, match="no backbone and no file is called 'deep'"):
        export_onnx("mine.safetensors", "again.onnx")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    output = tmp_path / "mine.onnx"
    for wrong in ("mine.pt", "mine", "-", "mine.onnx.gz"):
        with pytest.raises(OutputError, match=re.escape(f"{wrong}: a graph is written as .onnx")):
            export_onnx("gallery", wrong)
    with pytest.raises(WeightsError, match=r"no trained network and no file is called 'galery'.*gallery"):
        export_onnx("galery", output)
    look_path(output).write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"mine-style\.onnx exists: choose another name, or replace it with `force`"):
        export_onnx("universal", output)
    assert not output.exists()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OutputError, match="exists"):
        export_onnx("gallery", tmp_path / "folder.onnx")
    with pytest.raises(OutputError, match="folder"):
        export_onnx("gallery", tmp_path / "folder.onnx", force=True)
    with pytest.raises(OutputError, match="is no folder; write elsewhere"):
        export_onnx("gallery", look_path(output) / "mine.onnx")
    with pytest.raises(OutputError, match=r"too long|cannot be written"):
        export_onnx("gallery", tmp_path / f"{'x' * 300}.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"folder.onnx", "mine-style.onnx"}


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_graphs_are_of_the_shipped_networks(name: str, tmp_path: Path) -> None:
    """`scripts/rebuild light` makes them again."""
    fresh = export_onnx(name, tmp_path / f"{name}.onnx", stored="float16")
    for file in fresh:
        whole = shipped(file.stem, tmp_path / "shipped")
        here, again = onnx.load(whole), onnx.load(file)
        assert told(whole)["made_from"] == sha256(find_model(name))
        for model in (here, again):  # told one by one, or a failure would print megabytes
            assert model.opset_import[0].version == OPSET
        assert list(here.metadata_props) == list(again.metadata_props)
        assert list(here.graph.node) == list(again.graph.node), "the nodes differ: run scripts/rebuild light"
        assert (here.graph.input, here.graph.output) == (again.graph.input, again.graph.output)
        for mine, other in zip(weights(here), weights(again), strict=True):
            # Eigenvalues of the photos' covariance may differ in a last bit from machine to machine.
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("place", ["", "web/"])
def test_the_shipped_graphs_paint_as_the_networks_do(name: str, place: str, tmp_path: Path) -> None:
    looks = [graph for graph in SHIPPED_GRAPHS if graph == f"{name}-style"]
    rows = list(differences(name, [shipped(graph, tmp_path) for graph in (f"{place}{name}", *looks)]))
    assert max(row.largest for row in rows) < 0.005
    assert {row.share for row in rows} == {0}


def test_pieces_make_the_graph_again(tmp_path: Path) -> None:
    source = saved(tmp_path / "mine.safetensors", "brisk")
    (file,) = export_onnx(source, tmp_path / "mine.onnx")
    pieces = tmp_path / f"mine{PIECES}"
    about = about_session(session_of(str(file), file))
    pieces.write_bytes(split(file.read_bytes(), [source], about, tmp_path))
    assert pieces.stat().st_size < file.stat().st_size / 2
    assert join(pieces) == (file.read_bytes(), about)
    at_once, awaited = Loaded(file), Loaded(pieces)
    assert (at_once.inputs, at_once.description) == (awaited.inputs, awaited.description)
    saved(source, "multistyle")
    with pytest.raises(WeightsError, match="does not belong to the networks beside it: install impasto again"):
        join(pieces)
    source.unlink()
    with pytest.raises(WeightsError, match="cannot be put together"):
        join(pieces)
    pieces.write_bytes(b"no pieces")
    with pytest.raises(WeightsError, match="cannot be put together"):
        join(pieces)


def test_the_package_carries_weights_once() -> None:
    for name in SHIPPED_GRAPHS:
        pieces = SHIPPED / f"{name}{PIECES}"
        assert pieces.stat().st_size < len(join(pieces)[0]) / 3


def test_the_page_names_every_operator() -> None:
    """docs/export.md says what a runtime must know."""
    text = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"^Operators: (.*?)\.\n\n", text, re.MULTILINE | re.DOTALL)
    more = re.search(r"^With `--winograd` also (.*?)\.$", text, re.MULTILINE)
    graphs = {name: exported(name).files for name in CONFIGS}
    graphs |= {name: (join(SHIPPED / f"{name}{PIECES}")[0],) for name in SHIPPED_GRAPHS}
    plain, quick = set(), set()
    for name, files in graphs.items():
        used = operators(map(onnx.load_from_string, files))
        if name.endswith(WINOGRAD) or name.startswith("web/"):
            quick |= used
        else:
            plain |= used
    assert set(re.findall(r"`(\w+)`", listed[1])) == plain
    assert set(re.findall(r"`(\w+)`", more[1])) == quick - plain
    assert f"opset {OPSET}" in text


def test_a_graph_that_painted_otherwise_would_be_told(tmp_path: Path) -> None:
    source = saved(tmp_path / "mine.safetensors", "brisk")
    (file,) = export_onnx(source, tmp_path / "mine.onnx")
    model = onnx.load(file)
    large = max(model.graph.initializer, key=lambda value: len(value.raw_data))
    large.raw_data = onnx.numpy_helper.to_array(large)[::-1].tobytes()
    onnx.save(model, file)
    assert min(row.largest for row in differences(source, [file])) > 1
