"""ONNX as others wrote it: rebuilt as stages, equal to onnxruntime, or refused by the operator's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.errors import OptionError, WeightsError
from impasto.networks.chain import Chain
from impasto.networks.checkpoint import load_model
from impasto.networks.foreign.source import Options

from .foreign_samples import picture, random_weights

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
SIDE = 64


class Writer:
    """A graph of operators, one after the other."""

    def __init__(self, opset: int = 9) -> None:
        self.opset, self.nodes, self.weights, self.make, self.count = opset, [], [], random_weights(4), 0
        self.at = "image"

    def constant(self, value: object, dtype: type = np.float32) -> str:
        self.count += 1
        self.weights.append(
            onnx.numpy_helper.from_array(
                np.asarray(value.numpy() if isinstance(value, torch.Tensor) else value, dtype), f"w{self.count}"
            )
        )
        return f"w{self.count}"

    def op(self, kind: str, *inputs: str, **how: object) -> str:
        self.count += 1
        self.at = f"v{self.count}"
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [self.at], **how))
        return self.at

    def conv(self, into: int, out: int, kernel: int, stride: int = 1, *, zeros: int = 0, pad: int = 0) -> None:
        if pad:
            self.op("Pad", self.at, mode="reflect", pads=[0, 0, pad, pad, 0, 0, pad, pad])
        names = self.constant(self.make(out, into, kernel, kernel)), self.constant(self.make(out))
        self.op("Conv", self.at, *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[zeros] * 4)

    def norm(self, channels: int, how: str = "operator") -> None:
        gamma, beta = self.make(channels).numpy(), self.make(channels).numpy()
        if how == "operator":
            self.op("InstanceNormalization", self.at, self.constant(gamma), self.constant(beta), epsilon=1e-5)
            return
        x = self.at
        if how == "means":
            mean = self.op("ReduceMean", x, axes=[2, 3])
            centred = self.op("Sub", x, mean)
            variance = self.op("ReduceMean", self.op("Pow", centred, self.constant(2.0)), axes=[2, 3])
            inverse = self.op("Reciprocal", self.op("Sqrt", self.op("Add", variance, self.constant(1e-5))))
            self.op("Mul", centred, inverse)
        else:  # as torch wrote it for runtimes without ReduceMean over two axes
            shape = self.constant([1, channels, 1, -1], np.int64)
            mean = self.op("ReduceMean", self.op("Reshape", x, shape), axes=[3])
            centred = self.op("Sub", x, mean)
            square = self.op("Mul", centred, self.op("Add", centred, self.constant(1e-9)))
            variance = self.op("ReduceMean", self.op("Reshape", square, shape), axes=[3])
            self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, self.constant(1e-5))))
        self.op("Mul", self.at, self.constant(gamma.reshape(1, -1, 1, 1)))
        self.op("Add", self.at, self.constant(beta.reshape(-1, 1, 1)))

    def enlarge(self, how: str, channels: int, side: int) -> None:
        x = self.at
        if how == "attribute":
            self.op("Upsample", x, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
        elif how == "input":
            self.op("Upsample", x, self.constant([1, 1, 2, 2]), mode="nearest")
        elif how == "computed":
            parts = []
            for axis in (2, 3):
                one = self.op("Gather", self.op("Shape", x), self.constant(axis, np.int64), axis=0)
                doubled = self.op("Mul", self.op("Cast", one, to=1), self.constant(2.0))
                parts.append(
                    self.op(
                        "Unsqueeze", self.op("Div", self.op("Floor", doubled), self.op("Cast", one, to=1)), axes=[0]
                    )
                )
            self.op("Upsample", x, self.op("Concat", self.constant([1, 1]), *parts, axis=0), mode="nearest")
        else:
            flat = self.op("Reshape", x, self.constant([-1, 1], np.int64))
            wide = self.op("Concat", flat, self.op("Add", flat, self.constant(0.0)), axis=1)
            rows = self.op("Reshape", wide, self.constant([-1, 2 * side], np.int64))
            both = self.op("Concat", rows, self.op("Add", rows, self.constant(0.0)), axis=1)
            self.op("Reshape", both, self.constant([-1, channels, 2 * side, 2 * side], np.int64))

    def write(self, path: Path, *, sides: tuple[int | str, int | str] = (SIDE, SIDE), **metadata: str) -> None:
        kind = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self.nodes, "net", [onnx.helper.make_tensor_value_info("image", kind, [1, 3, *sides])],
            [onnx.helper.make_tensor_value_info(self.at, kind, None)], self.weights,
        )  # fmt: skip
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)], ir_version=4)
        onnx.helper.set_model_props(model, metadata)
        path.write_bytes(model.SerializeToString())


def examples(norm: str = "operator", enlarge: str = "attribute", opset: int = 9) -> Writer:
    w = Writer(opset)
    w.conv(3, 4, 9, pad=4)
    w.norm(4, norm)
    w.op("Relu", w.at)
    w.conv(4, 8, 3, 2, pad=1)
    w.norm(8, norm)
    w.op("Relu", w.at)
    for _ in range(2):
        kept = w.at
        w.conv(8, 8, 3, pad=1)
        w.norm(8, norm)
        w.op("Relu", w.at)
        w.conv(8, 8, 3, pad=1)
        w.norm(8, norm)
        w.op("Add", w.at, kept)
    w.enlarge(enlarge, 8, SIDE // 2)
    w.conv(8, 4, 3, pad=1)
    w.norm(4, norm)
    w.op("Relu", w.at)
    w.conv(4, 3, 9, pad=4)
    w.op("Mul", w.at, w.constant(20.0))
    w.op("Add", w.at, w.constant(120.0))
    return w


def by_onnxruntime(path: Path, image: torch.Tensor, *, bgr: bool = False, top: float = 255) -> torch.Tensor:
    """What the graph itself paints, RGB in [0, 1]."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = (image.flip(1) if bgr else image).contiguous().numpy() * np.float32(top)
    painted = session.run(None, {"image": x})[0] / top
    return torch.from_numpy(np.ascontiguousarray(painted[:, ::-1] if bgr else painted)).clamp(0, 1)


def assert_as_onnxruntime(path: Path, network: Chain, *, bgr: bool = False, top: float = 255) -> None:
    image = picture(SIDE, SIDE)
    wanted = by_onnxruntime(path, image, bgr=bgr, top=top)
    with torch.inference_mode():
        painted = network(image)
    assert wanted.std() > 0.02
    torch.testing.assert_close(painted, wanted, rtol=0, atol=2e-4)
    assert network(picture(50, 83)).shape == (1, 3, 50, 83)  # whatever size the file declares


@pytest.mark.parametrize("norm", ["operator", "means", "views"])
@pytest.mark.parametrize("enlarge", ["input", "computed", "concatenated"])
def test_as_exporters_write_it(norm, enlarge, tmp_path) -> None:
    examples(norm, enlarge).write(tmp_path / "mosaic.onnx")
    network, description = load_model(tmp_path / "mosaic.onnx")
    assert description["came_from"]["kind"] == "onnx"
    assert_as_onnxruntime(tmp_path / "mosaic.onnx", network)


def test_opset_8(tmp_path) -> None:
    examples(enlarge="attribute", opset=8).write(tmp_path / "mosaic.onnx")
    assert_as_onnxruntime(tmp_path / "mosaic.onnx", load_model(tmp_path / "mosaic.onnx")[0])


def windows(bgr_told: bool = True) -> Writer:
    """As Windows ML has it: a border by reflection, blocks that lose two pixels, transposed convolutions."""
    w = Writer(7)
    mean = w.constant(np.array([-103.939, -116.779, -123.68]).reshape(3, 1, 1))
    w.op("Add", w.at, mean)
    w.op("Pad", w.at, mode="reflect", pads=[0, 0, 8, 8, 0, 0, 8, 8])
    w.conv(3, 4, 9, zeros=4)
    w.norm(4)
    w.op("Relu", w.at)
    w.conv(4, 8, 3, 2, zeros=1)
    w.norm(8)
    w.op("Relu", w.at)
    for number in range(2):
        kept, side = w.at, (SIDE + 16) // 2 - 4 * number
        w.conv(8, 8, 3)
        w.norm(8)
        w.op("Relu", w.at)
        w.conv(8, 8, 3)
        w.norm(8)
        inner = w.at
        w.op("Slice", kept, axes=[2, 3], starts=[2, 2], ends=[side - 2, side - 2])
        w.op("Add", inner, w.at)
    names = w.constant(w.make(8, 4, 3, 3)), w.constant(w.make(4))
    w.op("ConvTranspose", w.at, *names, kernel_shape=[3, 3], strides=[2, 2], output_padding=[1, 1])
    w.op("Slice", w.at, axes=[2, 3], starts=[1, 1], ends=[SIDE + 1, SIDE + 1])
    w.norm(4)
    w.op("Relu", w.at)
    w.conv(4, 3, 9, zeros=4)
    w.op("Tanh", w.at)
    w.op("Mul", w.at, w.constant(150.0))
    w.op("Add", w.at, w.constant(np.array([103.939, 116.779, 123.68]).reshape(3, 1, 1)))
    return w


@pytest.mark.parametrize("metadata", [{}, {"Image.BitmapPixelFormat": "Bgr8", "license": "Free for personal use"}])
def test_as_windows_has_it(metadata, tmp_path) -> None:
    windows().write(tmp_path / "candy.onnx", **metadata)
    network, description = load_model(tmp_path / "candy.onnx")
    assert description["licence"] == metadata.get("license", "unknown")
    assert network.config.bgr
    assert_as_onnxruntime(tmp_path / "candy.onnx", network, bgr=True)


def test_what_the_file_does_not_say_is_an_option(tmp_path) -> None:
    path = tmp_path / "a.onnx"
    examples().write(path)
    assert load_model(path)[1]["came_from"]["notes"]
    network, description = load_model(path, options=Options(channels="bgr"))
    assert network.config.bgr
    assert not description["came_from"]["notes"]
    assert load_model(path, options=Options(values=1))[0].config.scale == (1.0, 1.0, 1.0)
    with pytest.raises(OptionError, match="rgb or bgr"):
        Options(channels="rbg")


def test_a_sigmoid_is_between_0_and_1(tmp_path) -> None:
    w = examples(enlarge="input")
    w.op("Mul", w.at, w.constant(0.01))
    w.op("Sigmoid", w.at)
    w.write(tmp_path / "a.onnx")
    assert_as_onnxruntime(tmp_path / "a.onnx", load_model(tmp_path / "a.onnx")[0], top=1.0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w.op("MaxPool", w.at, kernel_shape=[2, 2]), "MaxPool"),
        (lambda w: w.op("Concat", w.at, w.at, axis=1), "Concat"),
        (lambda w: w.op("Mul", w.at, w.at), "Mul"),
        (lambda w: w.op("Resize", w.at, w.constant([1, 1, 1.5, 1.5]), mode="nearest"), "whole number"),
        (lambda w: w.op("Transpose", w.at, perm=[0, 2, 3, 1]), "Transpose"),
        (lambda w: w.conv(3, 3, 3), "as large"),
        (lambda w: w.conv(3, 5, 3, pad=1), "5 channels"),
    ],
)
def test_what_is_refused(spoil: Callable[[Writer], object], words, tmp_path) -> None:
    w = examples()
    w.nodes = w.nodes[:-2]
    w.at = w.nodes[-1].output[0]
    spoil(w)
    w.write(tmp_path / "odd.onnx")
    with pytest.raises(WeightsError, match=words) as caught:
        load_model(tmp_path / "odd.onnx")
    assert str(caught.value).startswith(str(tmp_path / "odd.onnx"))


def test_stylize_takes_it_as_it_is(tmp_path) -> None:
    import impasto

    windows().write(tmp_path / "candy.onnx")
    photo = (picture(61, 83)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    painted = np.asarray(impasto.stylize(photo, model=tmp_path / "candy.onnx"))
    assert painted.shape == photo.shape


def test_networks_of_many_inputs_are_refused(shared: Path) -> None:
    path = shared / "foreign" / "pdn" / "transformer_separable.onnx"
    if not path.is_file():
        pytest.skip("the real file is not here")
    with pytest.raises(WeightsError, match="2 inputs"):
        load_model(path)
