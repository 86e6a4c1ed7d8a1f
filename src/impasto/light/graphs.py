"""Graphs that `export.onnx_file` wrote, loaded and run by onnxruntime on the processor."""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from impasto.core.metadata import SHIPPED
from impasto.core.threads import usable_cores, waiting
from impasto.errors import WeightsError
from impasto.files import at_home
from impasto.light.pieces import PIECES, join

__all__ = [
    "ADOPTED",
    "ENTRY",
    "FORMAT",
    "Graph",
    "about_session",
    "graph_of",
    "is_foreign",
    "load_onnxruntime",
    "look_path",
    "only_as_it_is",
    "session_of",
]

FORMAT: Final = 1
ENTRY: Final = "impasto"
"""The metadata entry that describes a file: JSON."""
ADOPTED: Final = "onnx-of-others"
"""What such a file says it is."""
_KEY: Final = b"\x0a\x07impasto\x12"  # as the key of an entry of a file's metadata is written
_FATAL_ONLY: Final = 4  # what onnxruntime prints by itself; what is wrong it raises as well


class Graph:
    """A graph and what its file says of itself. Threads may share it.

    Args:
        path: the file. One of the package is loaded by a thread of its own, while photos are read and the like.

    Raises:
        WeightsError: the file cannot be read, or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._session: Callable[[], Any]
        if path.suffix == PIECES:
            content, about = join(path)
            thread = ThreadPoolExecutor(1, "impasto-graph")
            self._session = thread.submit(session_of, content, path).result
            thread.shutdown(wait=False)  # the program's end waits for it
        else:
            session = session_of(str(path), path)
            self._session = lambda: session
            about = about_session(session)
        try:
            self.description: Mapping[str, Any] = json.loads(about[ENTRY])
        except KeyError as error:
            raise WeightsError(f"{path}: is not a graph of ours: `impasto export onnx` writes such files") from error
        except ValueError as error:
            raise WeightsError(f"{path}: what it says of itself is damaged") from error
        if self.description.get("kind") != "onnx" or self.description.get("format") != FORMAT:
            raise WeightsError(f"{path}: of another version of impasto: export it again with this one")
        self.inputs: tuple[str, ...] = tuple(about["inputs"])

    @property
    def bytes_per_pixel(self) -> int:
        """Memory that features take at most, per pixel of the picture."""
        return int(self.description["bytes_per_pixel"])

    def wait(self) -> None:
        """Until it is loaded."""
        self._session()

    def run(self, **inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its only output."""
        found: NDArray[np.float32] = self._session().run(None, inputs)[0]
        return found


def about_session(session: Any) -> dict[str, Any]:
    """What a loaded graph says of itself and what it takes, as `pieces` tell it beforehand."""
    entries: dict[str, Any] = dict(session.get_modelmeta().custom_metadata_map)
    inputs = [row.name for row in session.get_inputs()]
    return {"inputs": inputs} | {name: entries[name] for name in (ENTRY,) if name in entries}


def load_onnxruntime() -> Any:
    """The library, which tells nobody of what it does here, and prints nothing; another program's is left as it is.

    Its official builds report to Microsoft unless they are told not to before they are loaded.
    """
    ours = "onnxruntime" not in sys.modules
    if ours:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if ours:
        onnxruntime.set_default_logger_severity(_FATAL_ONLY)
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def session_of(source: str | bytes, path: Path) -> Any:
    """A file, or what stands in it, in onnxruntime on the processor.

    Raises:
        WeightsError: it cannot be read.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    if waiting().policy == "passive":  # where others work, as our threads do elsewhere
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = usable_cores()
    options.enable_mem_pattern = False  # twice the memory, and no faster
    options.log_severity_level = _FATAL_ONLY
    if isinstance(source, bytes):  # where weights lie that are in files of their own
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base but this
        raise WeightsError(f"{path}: cannot be read as ONNX: {str(error).splitlines()[0][:200]}") from error


def graph_of(name: str) -> Path | None:
    """The file of a network in the package that can be run here, or of an exported one; None if there is none."""
    shipped = SHIPPED / f"{name}{PIECES}"
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    return at_home(name) if name.casefold().endswith((".onnx", ".tflite")) else None


def is_foreign(name: str) -> bool:
    """Whether it is a file of ONNX that does not say it is ours: torch rebuilds networks of others if it can."""
    return name.casefold().endswith(".onnx") and _holds(at_home(name), _KEY) is False


def only_as_it_is(path: Path) -> bool:
    """Whether nothing but its own runtime reads it: a graph of others that says what it takes, see `foreign.adopt`."""
    return path.suffix.casefold() == ".tflite" or _holds(path, f'"kind": "{ADOPTED}"'.encode()) is True


def _holds(path: Path, text: bytes) -> bool | None:
    """Whether this stands in a file; None where there is no file."""
    if not path.is_file() or not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(text) >= 0


def look_path(paint: Path) -> Path:
    """Where the graph lies that looks at style pictures, beside the one that paints."""
    return paint.with_name(f"{paint.stem}-style{paint.suffix}")
