"""Magenta's any style as a real file of TensorFlow.js, in all its forms, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.errors import WeightsError
from impasto.networks.checkpoint import load_model
from impasto.networks.foreign.tf_graph import Node, TFGraph
from impasto.networks.foreign.tf_layers import layers_of
from impasto.networks.inference import bind
from impasto.networks.operators import Operators

from .foreign_samples import picture, write_checkpoint
from .tf_samples import MagentaAny, Row, Rows, graph_def, write_tfjs

pytestmark = pytest.mark.usefixtures("one_thread")
STYLE = picture(58, 75, seed=9)


def assert_paints_like(network: Operators, plain, size=(61, 83)) -> None:
    photo = picture(*size)
    wanted = plain(photo, STYLE)
    assert wanted.std() > 0.02
    torch.testing.assert_close(bind(network, [(STYLE, 1.0)])(photo), wanted, rtol=0, atol=1e-4)


class RealTransformer(MagentaAny):
    """The published network that paints, by the numbers of a style network of ours."""

    def __init__(self, folder: Path) -> None:
        super().__init__(100, separable=True, border="zeros")
        self.blocks = 5
        told = json.loads((folder / "model.json").read_text())["weightsManifest"]
        (group,), at = told, 0
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        for row in group["weights"]:
            count = int(np.prod(row["shape"]))
            value = np.frombuffer(data, "<f4" if row["dtype"] == "float32" else "<i4", count, at)
            name = row["name"].replace("dilate_conv", "conv").replace("BatchNorm/Const", "BatchNorm/gamma")
            if row["dtype"] == "float32":
                self.v[name] = torch.from_numpy(value.copy()).reshape(row["shape"])
            at += 4 * count
        assert at == len(data)


def test_the_real_transformer(shared: Path, tmp_path) -> None:
    real = shared / "foreign" / "magenta-tfjs"
    if not real.is_dir():
        pytest.skip("the real file is not here")
    with pytest.raises(WeightsError, match="the network that tells 100 numbers of a style picture is needed"):
        load_model(real)
    plain = RealTransformer(real)
    (tmp_path / "painter").symlink_to(real.resolve())
    write_tfjs(tmp_path / "style", plain.rows("style"))
    network, description = load_model(tmp_path / "painter")
    assert description["came_from"]["kind"] == "magenta-any"
    assert "model.json" in description["came_from"]["beside"]
    for size in ((64, 64), (101, 83)):
        assert_paints_like(network, plain, size)


@pytest.mark.parametrize("texts", ["letters", "base64"])
def test_both_ways_to_write_texts(texts, tmp_path) -> None:
    plain = MagentaAny()
    assert_paints_like(load_model(plain.write_tfjs(tmp_path, texts=texts))[0], plain)


def test_numbers_of_eight_bits(tmp_path) -> None:
    """What TensorFlow.js' converter makes of weights when it is asked for a quarter of the bytes."""
    plain = MagentaAny()
    folder = plain.write_tfjs(tmp_path)
    for place in (folder, tmp_path / "saved_model_style_js"):
        told = json.loads((place / "model.json").read_text())
        (group,), at, out = told["weightsManifest"], 0, b""
        data = b"".join((place / path).read_bytes() for path in group["paths"])
        for row in group["weights"]:
            count = int(np.prod(row["shape"]))
            part, at = data[at : at + 4 * count], at + 4 * count
            if row["dtype"] == "float32" and row["name"] in plain.v:
                values = np.frombuffer(part, "<f4")
                least, scale = float(values.min()), float(np.ptp(values)) / 255 or 1.0
                packed = np.round((values - least) / scale).astype(np.uint8)
                row["quantization"] = {"min": least, "scale": scale, "dtype": "uint8"}
                part = packed.tobytes()
                unpacked = (packed * np.float32(scale) + np.float32(least)).astype(np.float32).reshape(row["shape"])
                plain.v[row["name"]] = torch.from_numpy(unpacked)
            out += part
        group["paths"] = group["paths"][:1]
        (place / group["paths"][0]).write_bytes(out)
        (place / "model.json").write_text(json.dumps(told))
    assert_paints_like(load_model(folder)[0], plain)


def test_one_of_several_style_networks(tmp_path) -> None:
    """Both of Nakano's fit; that of another kind, with other numbers, is passed over."""
    plain = MagentaAny()
    folder = plain.write_tfjs(tmp_path)
    write_tfjs(tmp_path / "a_style_js", MagentaAny(7).rows("style"))
    assert_paints_like(load_model(folder)[0], plain)


@pytest.mark.parametrize("what", ["frozen", "tfjs"])
def test_what_another_program_has_put_into_convolutions(what, tmp_path) -> None:
    """Biases and ReLUs inside, as TensorFlow's optimiser and the later converters leave them."""
    plain, g = MagentaAny(), MagentaAny().rows()
    _fuse_biases(g)
    assert any(row.kind == "_FusedConv2D" for row in g.rows)
    if what == "frozen":
        (tmp_path / "any.pb").write_bytes(graph_def(g, frozen=True))
        file = tmp_path / "any.pb"
    else:
        write_tfjs(tmp_path / "any", g)
        file = tmp_path / "any"
    assert_paints_like(load_model(file)[0], plain)


def _fuse_biases(g: Rows) -> None:
    by_name = {row.name: row for row in g.rows}
    for row in g.rows:
        before = by_name.get(row.inputs[0]) if row.inputs else None
        if row.kind == "BiasAdd" and before is not None and before.kind == "Conv2D":
            row.kind, row.inputs = "_FusedConv2D", (*before.inputs, row.inputs[1])
            row.how = {**before.how, "fused_ops": ["BiasAdd"], "num_args": 1}


def test_training_statistics_are_those_of_the_picture(tmp_path) -> None:
    plain, g = MagentaAny(), MagentaAny().rows()
    for row in g.rows:
        if row.kind == "FusedBatchNorm" and "contract" in row.name:
            row.how["is_training"] = True

    class Trained(MagentaAny):
        def run_normed(self, x, name):
            if "contract" not in name:
                return super().run_normed(x, name)
            from .foreign_samples import instance

            return instance(x, self.v[f"{name}/gamma"], self.v[f"{name}/beta"], 1e-3)

    plain = Trained()
    (tmp_path / "any.pb").write_bytes(graph_def(g, frozen=True))
    assert_paints_like(load_model(tmp_path / "any.pb")[0], plain)


# -- what is refused --------------------------------------------------------------------------------------------------


def _without_variables(folder: Path) -> None:
    (folder / "variables" / "variables.index").unlink()


def _cut_index(folder: Path) -> None:
    place = folder / "variables" / "variables.index"
    place.write_bytes(place.read_bytes()[:-30])


def _cut_data(folder: Path) -> None:
    place = folder / "variables" / "variables.data-00000-of-00001"
    place.write_bytes(place.read_bytes()[:100])


def _cut_graph(folder: Path) -> None:
    place = folder / "saved_model.pb"
    place.write_bytes(place.read_bytes()[:-100])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_without_variables, "its variables are needed beside it"),
        (_cut_index, r"variables\.index is damaged"),
        (_cut_data, "ends in the middle of"),
        (_cut_graph, "damaged"),
    ],
)
def test_a_saved_model_that_is_not_whole(version, spoil, words, tmp_path) -> None:
    folder = MagentaAny().write_saved_model(tmp_path / "any", version)
    spoil(folder)
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_something_else(tmp_path) -> None:
    """As TensorFlow 2.21 leaves it where it saves old variables again: without them."""
    folder = MagentaAny().write_saved_model(tmp_path / "any", 1)
    write_checkpoint(folder / "variables" / "variables", {"step": torch.tensor(1.0)})
    with pytest.raises(WeightsError, match="holds none of the graph's"):
        load_model(folder)


def test_tfjs_that_is_not_whole(tmp_path) -> None:
    folder = MagentaAny().write_tfjs(tmp_path)
    with pytest.raises(WeightsError, match="is it the style network alone"):
        load_model(tmp_path / "saved_model_style_js")
    shard = folder / "group1-shard2of3"
    content = shard.read_bytes()
    shard.write_bytes(content[:-5])
    with pytest.raises(WeightsError, match="end in the middle of"):
        load_model(folder)
    shard.unlink()
    with pytest.raises(WeightsError, match=r"group1-shard2of3, which model\.json names, is not beside it"):
        load_model(folder)
    told = json.loads((folder / "model.json").read_text())
    told["modelTopology"] = {"model_config": {}, "node": []}
    (folder / "model.json").write_text(json.dumps(told))
    with pytest.raises(WeightsError, match="of no graph"):
        load_model(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[-1].__setattr__("kind", "Softmax"), "operator Softmax"),
        (lambda rows: _first(rows, "MirrorPad").how.__setitem__("mode", "SYMMETRIC"), "a border by SYMMETRIC"),
        (lambda rows: _first(rows, "Conv2D").how.__setitem__("strides", [1, 1, 2, 1]), "strides of"),
        (lambda rows: _first(rows, "Conv2D").how.__setitem__("data_format", "NCHW"), "channels first"),
        (lambda rows: _first(rows, "ResizeNearestNeighbor").how.__setitem__("align_corners", True), "repeating"),
        (lambda rows: _first(rows, "Rsqrt").__setattr__("kind", "Sqrt"), "operator Sqrt"),
    ],
)
def test_graphs_of_something_else(spoil, words, tmp_path) -> None:
    g = MagentaAny().rows()
    spoil(g.rows)
    (tmp_path / "any.pb").write_bytes(graph_def(g, frozen=True))
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(tmp_path / "any.pb")
    assert str(caught.value).startswith(str(tmp_path / "any.pb"))


def test_graphs_that_go_round() -> None:
    nodes = {"a": Node("Relu", (("b", 0),)), "b": Node("Relu", (("a", 0),))}
    with pytest.raises(WeightsError, match="round in a circle"):
        layers_of(TFGraph(nodes, {}, ("a",)))


def _first(rows: list[Row], kind: str) -> Row:
    return next(row for row in rows if row.kind == kind)


def test_functions_without_end_are_refused(tmp_path) -> None:
    from .foreign_samples import message
    from .tf_samples import Call, function, node

    body = node(Row("again", "PartitionedCall"), ["x"], {"f": Call("f")})
    library = function("f", ["x"], [body], "again:output:0")
    graph = message(1, node(Row("x", "Placeholder"), (), {"shape": [-1, -1, -1, 3]}))
    graph += message(1, node(Row("y", "PartitionedCall"), ["x"], {"f": Call("f")})) + message(2, library)
    (tmp_path / "any.pb").write_bytes(graph)
    with pytest.raises(WeightsError, match="without end"):
        load_model(tmp_path / "any.pb")
