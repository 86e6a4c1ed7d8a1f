"""Other people's graphs that are no chain of a known kind, run by onnxruntime as they are."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import impasto
from impasto.errors import ImpastoError, OptionError, WeightsError
from impasto.light.declared import with_entry, without_sizes
from impasto.light.foreign import Declared, ForeignGraph, adopt
from impasto.light.graphs import look_path

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
FLOAT = TensorProto.FLOAT
SIZE = (61, 83)


def weights(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    fan = max(1, int(np.prod(shape[1:])))
    return (np.random.default_rng(seed).standard_normal(shape) * scale / fan**0.5).astype(np.float32)


class Sketch:
    """A graph as somebody would export it: one convolution down and one up, with an operator that no chain has."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, *inputs: str, **how: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **how))
        return name

    def body(self, x: str, top: float = 1.0, middle: str = "Elu") -> str:
        """(1, 3, h, w) -> (1, 3, h or more, w or more)."""
        first = self.constant(weights(6, 3, 5, 5, scale=2 / top))
        x = self.op("Conv", x, first, kernel_shape=[5, 5], strides=[2, 2], pads=[2] * 4)
        x = self.op(middle, x)
        x = self.op("Resize", x, "", self.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest",
                    coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
        x = self.op("Conv", x, self.constant(weights(3, 6, 3, 3, seed=1)), kernel_shape=[3, 3], pads=[1] * 4)
        x = self.op("Add", x, self.constant(np.full((1, 3, 1, 1), 0.5, np.float32)))
        return self.op("Mul", x, self.constant(np.array(top, np.float32))) if top != 1 else x

    def write(self, path: Path, inputs: dict[str, list[Any]], out: str, shape: list[Any], **how: Any) -> Path:
        given = [helper.make_tensor_value_info(name, FLOAT, sides) for name, sides in inputs.items()]
        given_out = [helper.make_tensor_value_info(out, FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "sketch", given, given_out, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, how.pop("metadata", {}))
        onnx.save(model, path, **how)
        return path


def simple(
    path: Path,
    sides: tuple[Any, Any] = (32, 32),
    *,
    top: float = 1.0,
    last: bool = False,
    known: bool = False,
    **how: Any,
) -> Path:
    sketch = Sketch()
    x = sketch.op("Transpose", "photo", perm=[0, 3, 1, 2]) if last else "photo"
    x = sketch.body(x, top, "Relu" if known else "Elu")
    x = sketch.op("Transpose", x, perm=[0, 2, 3, 1]) if last else x
    shape = [1, *sides, 3] if last else [1, 3, *sides]
    return sketch.write(path, {"photo": shape}, x, shape, **how)


def photo(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((-(-size[0] // 8), -(-size[1] // 8), 3))
    return (coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]] * 255).round().astype(np.uint8)


def by_onnxruntime(path: Path, rows: np.ndarray, top: float = 1.0, **others: np.ndarray) -> np.ndarray:
    """(h, w, 3) bytes -> what a graph without sizes gives, white being 255."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = (rows / 255 * top).astype(np.float32).transpose(2, 0, 1)[None]
    (out,) = session.run(None, {"photo": x, **others})
    height, width = rows.shape[:2]
    return out[0].transpose(1, 2, 0)[:height, :width] * 255 / top


def close(painted: Any, wanted: np.ndarray) -> bool:
    wanted = wanted.clip(0, 255)
    assert wanted.std() > 10
    return bool(np.abs(np.asarray(painted, np.float32) - wanted).max() < 1.01)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("top", [1.0, 255.0])
def test_a_declared_size_is_no_limit(tmp_path, top, last) -> None:
    free = simple(tmp_path / "free.onnx", ("h", "w"), top=top)
    fixed = simple(tmp_path / "fixed.onnx", (32, 32), top=top, last=last)
    wanted = by_onnxruntime(free, photo(), top)
    assert close(impasto.stylize(photo(), model=fixed), wanted)
    half = np.asarray(impasto.stylize(photo(), model=fixed, strength=0.5), np.float32)
    assert np.abs(half - (wanted.clip(0, 255) + photo()) / 2).max() < 1.5
    assert impasto.load(fixed).computes_in == "light"
    assert [row.name for row in impasto.load(fixed).styles] == ["fixed"]


def test_weights_in_a_second_file(tmp_path) -> None:
    free = simple(tmp_path / "free.onnx", ("h", "w"))
    folder = tmp_path / "two"
    folder.mkdir()
    how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 100}
    simple(folder / "graph.onnx", **how)
    assert (folder / "weights.bin").is_file()
    assert close(impasto.stylize(photo(), model=folder / "graph.onnx"), by_onnxruntime(free, photo()))


def test_one_size_alone(tmp_path) -> None:
    """Where a constant inside holds it, the photo is made as large, and the painting as the photo was."""
    sketch = Sketch()
    x = sketch.op("Reshape", sketch.body("photo"), sketch.constant(np.array([1, 3, 32, 48])))
    path = sketch.write(tmp_path / "fixed.onnx", {"photo": [1, 3, 32, 48]}, x, [1, 3, 32, 48])
    graph = ForeignGraph(path)
    assert "48x32 px alone" in graph.note
    painted = impasto.stylize(photo((32, 48)), model=path)
    assert close(painted, by_onnxruntime(path, photo((32, 48))))
    assert impasto.stylize(photo(), model=path).size == SIZE[::-1]


def test_sides_that_must_be_multiples(tmp_path) -> None:
    sketch = Sketch()
    blocks = sketch.op("SpaceToDepth", "photo", blocksize=8)
    x = sketch.op("Elu", sketch.op("DepthToSpace", blocks, blocksize=8))
    path = sketch.write(tmp_path / "blocks.onnx", {"photo": [1, 3, 64, 64]}, x, [1, 3, 64, 64])
    assert np.array_equal(np.asarray(impasto.stylize(photo(), model=path)), photo())


def test_styles_by_number(tmp_path) -> None:
    sketch = Sketch()
    painted = sketch.body("photo")
    terms = sketch.constant(weights(1, 3, seed=5)[:, :, None, None] * np.ones((1, 3, 1, 1), np.float32))
    row = sketch.op("Reshape", "style_weights", sketch.constant(np.array([1, 3, 1, 1])))
    x = sketch.op("Add", painted, sketch.op("Mul", terms, row))
    path = sketch.write(tmp_path / "three.onnx", {"photo": [1, 3, "h", "w"], "style_weights": [3]}, x, [1, 3, "h", "w"])
    look = Sketch()
    look.write(tmp_path / "x_predict.onnx", {"p": [1, 9, 9, 3]}, look.op("ReduceMax", "p", axes=[3]), [1, 9, 9, 1])
    model = impasto.load(path)  # that one tells numbers of something else
    assert [row.name for row in model.styles] == ["style-00", "style-01", "style-02"]
    for style, numbers in (("style-01", [0, 1, 0]), ({"style-00": 1, "style-02": 3}, [0.25, 0, 0.75])):
        wanted = by_onnxruntime(path, photo(), style_weights=np.array(numbers, np.float32))
        assert close(model.stylize(photo(), style), wanted)
    with pytest.raises(OptionError, match="which style"):
        model.stylize(photo())
    adopt(path, tmp_path / "named.onnx", Declared(style_names=("wave", "rain", "muse")))
    assert [row.name for row in impasto.load(tmp_path / "named.onnx").styles] == ["wave", "rain", "muse"]
    with pytest.raises(OptionError, match="need 3 different"):
        adopt(path, tmp_path / "wrong.onnx", Declared(style_names=("wave", "wave", "muse")))
    assert not (tmp_path / "wrong.onnx").exists()


def any_style(folder: Path, *, predicts: bool) -> Path:
    """A graph that takes a style's mean colour, as numbers that another graph tells, or out of the picture itself."""
    sketch = Sketch()
    painted = sketch.body("photo")
    if predicts:
        colour = sketch.op("Reshape", "numbers", sketch.constant(np.array([1, 3, 1, 1])))
        look = Sketch()
        mean = look.op("ReduceMean", "picture", axes=[1, 2])
        look.write(folder / "my_predict.onnx", {"picture": [1, 40, 40, 3]}, mean, [1, 1, 1, 3])
        second = {"numbers": [1, 1, 1, 3]}
    else:
        colour, second = sketch.op("ReduceMean", "style_photo", axes=[2, 3]), {"style_photo": [1, 3, 40, 40]}
    x = sketch.op("Mul", painted, colour)
    return sketch.write(folder / "paint.onnx", {"photo": [1, 3, 64, 64], **second}, x, [1, 3, 64, 64])


@pytest.mark.parametrize("predicts", [False, True])
def test_any_style(tmp_path, predicts) -> None:
    path, free = any_style(tmp_path, predicts=predicts), simple(tmp_path / "free.onnx", ("h", "w"))
    red, dim = np.full((50, 50, 3), (255, 0, 0), np.uint8), np.full((50, 50, 3), 128, np.uint8)
    whole = by_onnxruntime(free, photo())
    model = impasto.load(path)
    assert model.any_style
    assert close(model.stylize(photo(), red), whole * np.array([1, 0, 0]))
    assert close(model.stylize(photo(), dim), whole * 128 / 255)
    if predicts:
        assert close(model.stylize(photo(), [(red, 1.0), (dim, 1.0)]), whole * np.array([0.75, 0.25, 0.25]))
        (tmp_path / "my_predict.onnx").rename(look_path(path))
        assert ForeignGraph(path).look is not None
        look_path(path).unlink()
        with pytest.raises(WeightsError, match=r"paint\.onnx: .* named paint-style\.onnx"):
            ForeignGraph(path)
        with pytest.raises(WeightsError, match=r"paint\.onnx: .* named paint-style\.onnx"):
            adopt(path, tmp_path / "mine.onnx", Declared())
    else:
        with pytest.raises(OptionError, match="one style picture"):
            model.stylize(photo(), [(red, 1.0), (dim, 1.0)])


def test_what_a_file_says(tmp_path) -> None:
    free = simple(tmp_path / "free.onnx", ("h", "w"), metadata={"license": "CC0"})
    bgr = adopt(free, tmp_path / "bgr.onnx", Declared("bgr", 255, licence="MIT"))
    assert (bgr.description["value_range"], bgr.description["licence"]) == ("BGR, 0 to 255", "MIT")
    assert ForeignGraph(free).description["licence"] == "CC0"
    wanted = by_onnxruntime(free, photo()[:, :, ::-1], 255)[:, :, ::-1]
    assert close(impasto.stylize(photo(), model=tmp_path / "bgr.onnx"), wanted)
    with pytest.raises(OptionError, match="exists already"):
        adopt(free, tmp_path / "bgr.onnx", Declared())


def test_what_onnxruntime_cannot_do_is_said(tmp_path) -> None:
    path = simple(tmp_path / "free.onnx")
    with pytest.raises(OptionError, match=r"operator Elu.*onnxruntime, which could run it as it is, paints at once"):
        impasto.stylize(photo(), model=path, tile=32)
    with pytest.raises(WeightsError, match="operator Elu"):
        impasto.stylize(photo(), model=path, engine="torch")
    sketch = Sketch()
    sketch.write(tmp_path / "a.onnx", {"a": [3, 3]}, sketch.op("Elu", "a"), [3, 3])
    with pytest.raises(WeightsError, match="need a picture"):
        impasto.load(tmp_path / "a.onnx")


def test_import_of_such_a_graph(tmp_path) -> None:
    from typer.testing import CliRunner

    from impasto.cli.app import app

    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
        return result.exit_code, result.output

    path, out = simple(tmp_path / "free.onnx"), tmp_path / "mine.onnx"
    code, told = run("import", path, "--explain")
    assert code == 0
    for words in ("onnx, run as it is", "operator Elu", "RGB, 0 to 1", "neither bands"):
        assert words in told
    assert run("import", path, "-o", out, "--values", 255, "--channels", "bgr")[0] == 0
    assert impasto.load(out).description["value_range"] == "BGR, 0 to 255"
    assert "an -o/--output .onnx is a copy" in run("import", path, "-o", tmp_path / "mine.safetensors")[1]
    assert "rgb or bgr" in run("import", path, "-o", out, "--channels", "gbr", "--force")[1]
    assert "leave --median out" in run("import", path, "-o", out, "--median", "--force")[1]
    assert "graphs of several styles" in run("import", path, "-o", out, "--style-names", "a,b", "--force")[1]
    assert f"{out}: a graph for onnxruntime, RGB, 0 to 1: mine" in run("import", path, "-o", out, "--force")[1]
    (tmp_path / "broken.onnx").write_bytes(path.read_bytes()[:99])
    for words in (("-o", out, "--force"), ("-o", tmp_path / "mine.safetensors"), ("--explain",)):
        code, told = run("import", tmp_path / "broken.onnx", *words)
        assert (code, told.startswith(f"error: {tmp_path}/broken.onnx: ")) == (2, True)


@pytest.mark.parametrize("own", [False, True])
def test_a_copy_takes_what_looks_at_styles_along(tmp_path, own) -> None:
    (tmp_path / "theirs").mkdir()
    path = any_style(tmp_path / "theirs", predicts=True)
    if own:
        (tmp_path / "theirs" / "my_predict.onnx").rename(look_path(path))
    adopt(path, tmp_path / "mine.onnx", Declared())
    style = np.full((50, 50, 3), (255, 0, 0), np.uint8)
    copied = impasto.stylize(photo(), style, model=tmp_path / "mine.onnx")
    assert np.array_equal(np.asarray(copied), np.asarray(impasto.stylize(photo(), style, model=path)))
    with pytest.raises(OptionError, match="exists already"):
        adopt(path, tmp_path / "mine.onnx", Declared())
    adopt(path, path.with_name("again.onnx"), Declared())
    assert look_path(path.with_name("again.onnx")).exists() is own  # one that serves all is not copied beside itself


def test_declarations_alone_change(tmp_path) -> None:
    path = simple(tmp_path / "fixed.onnx")
    before, after = onnx.load(path), onnx.load_model_from_string(without_sizes(path.read_bytes()))
    sides = after.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in sides] == [1, 3, 0, 0]
    assert len({side.dim_param for side in sides}) == 3
    for graph in (before.graph, after.graph):
        for name in ("input", "output", "value_info"):
            graph.ClearField(name)
    assert before == after
    entry = onnx.load_model_from_string(with_entry(path.read_bytes(), "a", "b" * 300)).metadata_props
    assert [(row.key, row.value) for row in entry] == [("a", "b" * 300)]


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_declarations_of_damaged_files(tmp_path, data) -> None:
    path = tmp_path / "good.onnx"
    if not path.exists():
        simple(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 1] = data.draw(st.binary(max_size=3))
        if not content:
            break
    with suppress(ImpastoError):
        without_sizes(bytes(content))


def test_copies_are_told_apart(tmp_path) -> None:
    """A graph of ours is one of ours, and a chain of others is rebuilt, so that it can be painted in bands."""
    pytest.importorskip("torch")
    simple(tmp_path / "chain.onnx", known=True)
    assert impasto.load(tmp_path / "chain.onnx").computes_in == "torch"
    assert impasto.load(tmp_path / "chain.onnx", engine="light").computes_in == "light"


def test_such_a_graph_is_painted_with_by_the_base_install(tmp_path) -> None:
    """A chain of a known kind too, where torch is not installed; nor is onnx needed."""
    for known in (False, True):
        path = simple(tmp_path / "graph.onnx", known=known)
        code = (
            "import importlib.util, sys\n"
            "class Hidden:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.split('.')[0] in ('torch', 'onnx', 'safetensors'): raise ModuleNotFoundError(name)\n"
            "sys.meta_path.insert(0, Hidden())\n"
            "real = importlib.util.find_spec\n"
            "importlib.util.find_spec = lambda name, package=None: None if name == 'torch' else real(name, package)\n"
            "import numpy, impasto\n"
            f"print(impasto.stylize(numpy.zeros((40, 50, 3), numpy.uint8), model={str(path)!r}).size)\n"
        )
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        assert told.stdout.strip() == "(50, 40)", told.stderr
