"""TensorFlow Lite's files, run by Google's LiteRT, with the methods of onnxruntime's sessions that `foreign` calls."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from impasto.core.threads import usable_cores
from impasto.errors import WeightsError, load_library

__all__ = ["SUFFIX", "LiteSession"]

SUFFIX = ".tflite"
_GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
_greets = threading.Lock()
_greeted = threading.Event()
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}


class _Tensor(NamedTuple):
    name: str
    shape: Sequence[int]
    type: str


class _Metadata(NamedTuple):
    custom_metadata_map: Mapping[str, str]


class LiteSession:
    """A file in LiteRT. Threads may share it: they wait for each other.

    Raises:
        WeightsError: the file cannot be read.
        MissingExtraError: the library is not installed.
    """

    def __init__(self, path: Path) -> None:
        library = load_library("ai_edge_litert.interpreter", "tflite", "painting with a .tflite file")
        self._lock = threading.Lock()
        try:
            content = path.read_bytes()
            with _without_greeting():
                self._interpreter = library.Interpreter(model_content=content, num_threads=usable_cores())
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise WeightsError(
                f"{path}: cannot be read as TensorFlow Lite: {str(error).splitlines()[0][:200]}"
            ) from error

    def get_inputs(self) -> list[_Tensor]:
        """Names, shapes (-1 where free) and types of what goes in."""
        return [_told(row) for row in self._interpreter.get_input_details()]

    def get_outputs(self) -> list[_Tensor]:
        """The same of what comes out."""
        return [_told(row) for row in self._interpreter.get_output_details()]

    def get_modelmeta(self) -> _Metadata:
        """Nothing is said in such files that is asked for."""
        return _Metadata({})

    def run(self, _: None, given: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All that comes out. RuntimeError or ValueError where the sizes are not to its liking."""
        with self._lock:
            for row in self._interpreter.get_input_details():
                if tuple(row["shape"]) != given[row["name"]].shape:
                    self._interpreter.resize_tensor_input(row["index"], given[row["name"]].shape)
            self._interpreter.allocate_tensors()
            for row in self._interpreter.get_input_details():
                self._interpreter.set_tensor(row["index"], given[row["name"]])
            self._interpreter.invoke()
            rows = self._interpreter.get_output_details()
            return [np.array(self._interpreter.get_tensor(row["index"])) for row in rows]


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Leave out what LiteRT writes to standard error once in a process; all else that is written there stays.

    Its C++ could be asked to be silent (``LoggerOptions::SetMinimumLogSeverity``), but neither Python nor the shared
    library lets anybody in (2.3), and the variable TF_CPP_MIN_LOG_LEVEL is not obeyed.
    """
    if _greeted.is_set():
        yield
        return
    with _greets, tempfile.TemporaryFile(buffering=0) as file:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written = file.read()
            if _GREETING in written:
                _greeted.set()
            os.write(2, written.replace(_GREETING, b""))


def _told(row: Mapping[str, Any]) -> _Tensor:
    shape = row.get("shape_signature", row["shape"])
    kind = np.dtype(row["dtype"]).name
    return _Tensor(row["name"], [int(side) for side in shape], _TYPES.get(kind, kind))
