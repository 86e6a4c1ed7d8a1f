"""TensorFlow Lite's files, run by LiteRT as they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import impasto
from impasto.errors import OptionError, WeightsError
from impasto.light.foreign import ForeignGraph

flatbuffers = pytest.importorskip("flatbuffers")
pytest.importorskip("ai_edge_litert.interpreter")
pytestmark = pytest.mark.usefixtures("one_thread")
LOGISTIC, MUL, MEAN = 14, 18, 40  # of the schema's builtin operators
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "foreign" / "magenta-tflite"


class LiteWriter:
    """A file by the schema of TensorFlow Lite, table by table: the slots are the numbers of its fields."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)
        self.builder.ForceDefaults(True)

    def table(self, **slots: tuple[str, int | float]) -> int:
        """Slots as ``s0=("Int32", 3)``; ``offset`` is a reference."""
        self.builder.StartObject(12)
        for name, (kind, value) in slots.items():
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(int(name[1:]), value, 0)
            else:
                getattr(self.builder, f"Prepend{kind}Slot")(int(name[1:]), value, 0)
        return self.builder.EndObject()

    def vector(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def integers(self, values: Sequence[int]) -> int:
        return self.builder.CreateNumpyVector(np.array(values, np.int32))

    def write(
        self,
        path: Path,
        tensors: Sequence[tuple[str, Sequence[int], np.ndarray | None]],
        operators: Sequence[tuple[int, Sequence[int], int]],
        inputs: Sequence[int],
        output: int,
    ) -> None:
        b, buffers, rows = self.builder, [self.table()], []
        for name, shape, values in tensors:
            number = 0
            if values is not None:
                data = b.CreateNumpyVector(np.frombuffer(values.tobytes(), np.uint8))
                buffers.append(self.table(s0=("offset", data)))
                number = len(buffers) - 1
            kind = 2 if values is not None and values.dtype == np.int32 else 0
            title, sides = b.CreateString(name), self.integers(shape)
            rows.append(
                self.table(s0=("offset", sides), s1=("Int8", kind), s2=("Uint32", number), s3=("offset", title))
            )
        codes = sorted({code for code, _, _ in operators})
        steps = []
        for code, given, out in operators:
            takes, gives = self.integers(given), self.integers([out])
            slots = {"s0": ("Uint32", codes.index(code)), "s1": ("offset", takes), "s2": ("offset", gives)}
            if code == MEAN:
                options = self.table(s0=("Bool", 1))  # keeps the dimensions
                slots |= {"s3": ("Uint8", 27), "s4": ("offset", options)}
            elif code == MUL:
                slots |= {"s3": ("Uint8", 21), "s4": ("offset", self.table())}
            steps.append(self.table(**slots))
        graph_parts = [self.vector(rows), self.integers(inputs), self.integers([output]), self.vector(steps)]
        graph = self.table(**{f"s{i}": ("offset", part) for i, part in enumerate(graph_parts)})
        kinds = self.vector([self.table(s0=("Int8", code), s2=("Int32", 1), s3=("Int32", code)) for code in codes])
        graphs, held = self.vector([graph]), self.vector(buffers)
        model = self.table(s0=("Uint32", 3), s1=("offset", kinds), s2=("offset", graphs), s4=("offset", held))
        b.Finish(model, b"TFL3")
        path.write_bytes(bytes(b.Output()))


def photo(size: tuple[int, int]) -> np.ndarray:
    coarse = np.random.default_rng(0).random((-(-size[0] // 8), -(-size[1] // 8), 3))
    return (coarse.repeat(8, 0).repeat(8, 1)[: size[0], : size[1]] * 255).round().astype(np.uint8)


def one_style(path: Path) -> None:
    tensors = [("photo", (1, 32, 48, 3), None), ("painting", (1, 32, 48, 3), None)]
    LiteWriter().write(path, tensors, [(LOGISTIC, (0,), 1)], (0,), 1)


def any_style(path: Path) -> None:
    """The photo times the style's mean colour, which another file tells."""
    tensors = [("photo", (1, 32, 48, 3), None), ("numbers", (1, 1, 1, 3), None), ("painting", (1, 32, 48, 3), None)]
    LiteWriter().write(path, tensors, [(MUL, (0, 1), 2)], (0, 1), 2)
    axes = np.array([1, 2], np.int32)
    tensors = [("style", (1, 40, 40, 3), None), ("axes", (2,), axes), ("told", (1, 1, 1, 3), None)]
    LiteWriter().write(path.with_name("x_predict.tflite"), tensors, [(MEAN, (0, 1), 2)], (0,), 2)


def painted(model: Path, size: tuple[int, int], *style: np.ndarray) -> np.ndarray:
    return np.asarray(impasto.stylize(photo(size), *style, model=model), np.float32)


@pytest.mark.parametrize("size", [(32, 48), (61, 83)])
def test_one_style_at_any_size(tmp_path, size) -> None:
    one_style(tmp_path / "a.tflite")
    wanted = 255 / (1 + np.exp(photo(size) / -255))
    assert np.abs(painted(tmp_path / "a.tflite", size) - wanted).max() < 1
    assert impasto.load(tmp_path / "a.tflite").computes_in == "light"


def test_any_style(tmp_path) -> None:
    any_style(tmp_path / "b.tflite")
    style = np.full((50, 60, 3), (255, 128, 0), np.uint8)
    wanted = photo((61, 83)) * np.array([1, 128 / 255, 0])
    assert np.abs(painted(tmp_path / "b.tflite", (61, 83), style) - wanted).max() < 1


def test_the_library_is_silent(tmp_path) -> None:
    """What others write to standard error meanwhile stays."""
    one_style(tmp_path / "a.tflite")
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from ai_edge_litert import interpreter\n"
        "from impasto.light.litert import LiteSession\n"
        "real = interpreter.Interpreter.allocate_tensors\n"
        "def allocate(self):\n"
        "    os.write(2, b'mine ')\n"
        "    real(self)\n"
        "interpreter.Interpreter.allocate_tensors = allocate\n"
        f"for _ in range(2): LiteSession(Path({str(tmp_path / 'a.tflite')!r}))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert told.stderr == "mine mine "


def test_what_is_refused(tmp_path) -> None:
    (tmp_path / "c.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    with pytest.raises(WeightsError, match="cannot be read as TensorFlow Lite"):
        impasto.load(tmp_path / "c.tflite")
    one_style(tmp_path / "a.tflite")
    with pytest.raises(OptionError, match="paints at once"):
        impasto.stylize(photo((32, 48)), model=tmp_path / "a.tflite", tile=16)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/foreign/magenta-tflite")
@pytest.mark.parametrize("name", ["fp16_transfer_1", "int8_transfer_1"])
def test_magenta_s(name: str) -> None:
    """They paint 384x384 px alone; equal to what the library gives when it is called by hand."""
    from ai_edge_litert.interpreter import Interpreter

    def by_hand(file: str, *given: np.ndarray) -> np.ndarray:
        one = Interpreter(str(SHARED / file), num_threads=1)
        one.allocate_tensors()
        for row, value in zip(one.get_input_details(), given, strict=True):
            one.set_tensor(row["index"], value.astype(np.float32))
        one.invoke()
        return one.get_tensor(one.get_output_details()[0]["index"])

    rows, style = photo((384, 384)), photo((256, 256))[::-1, :, ::-1]
    model = SHARED / f"{name}.tflite"
    assert "384x384 px alone" in ForeignGraph(model).note
    numbers = by_hand("int8_prediction_1.tflite", style[None] / 255)
    wanted = by_hand(f"{name}.tflite", rows[None] / 255, numbers)[0] * 255
    found = np.asarray(impasto.stylize(rows, np.ascontiguousarray(style), model=model), np.float32)
    assert wanted.std() > 10
    assert np.abs(found - wanted).max() <= 1
