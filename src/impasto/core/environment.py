"""What this installation and this machine have: versions, devices, precision, threads, weights."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from impasto.core.machine import processor
from impasto.core.threads import openmp_library, usable_cores, waiting
from impasto.errors import require

if TYPE_CHECKING:
    from impasto.core.precision import PrecisionName

__all__ = ["EXTRAS", "describe", "environment"]

EXTRAS = {
    "bulk": "fsspec",
    "deep": "imagecodecs",
    "heif": "pillow_heif",
    "huge": "pyvips",
    "keras": "pyfive",
    "lab": "nbclient",
    "onnx": "onnx",
    "parquet": "pyarrow",
    "ray": "ray",
    "studio": "gradio",
    "tflite": "ai_edge_litert",
    "tiff": "imagecodecs",
    "torch": "torch",
    "train": "lightning_fabric",
    "video": "av",
}
"""Extra of this package -> module that it brings."""

_PACKAGES = ("impasto", "numpy", "pillow", "onnxruntime", "safetensors")


def environment(device: str = "auto", precision: str = "auto") -> dict[str, Any]:
    """What ``impasto info`` shows, in types that JSON has.

    Keys: ``versions``, ``platform``, ``cores``, ``memory_gib`` (None if unknown), ``devices`` (name, model), the
    ``device`` and ``precision`` chosen with ``precision_reason``, ``channels_last``, ``threads`` (their number, and how
    they wait), ``weights`` (name, path or None), ``extras`` (whether each is installed). Without torch the processor is
    the one device, and there are no weights of backbones, which serve torch alone.

    Raises:
        OptionError: this machine has no such device, or there is no such precision.
        MissingExtraError: another device or precision than ``auto`` and the only ones there are without torch.
    """
    has_torch = find_spec("torch") is not None
    facts = _of_torch(device, precision) if has_torch else _without_torch(device, precision)
    number = facts.pop("threads")
    return {
        # torch by its own word, which names the build: 2.13.0+cpu, 2.13.0+cu130
        "versions": {
            "python": platform.python_version(),
            "torch": facts.pop("torch"),
            **{name: _version(name) for name in _PACKAGES},
        },
        "platform": platform.platform(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        **facts,
        "threads": {"number": number, "library": openmp_library(), **waiting()._asdict()},
        "extras": {extra: find_spec(module) is not None for extra, module in EXTRAS.items()},
    }


def _of_torch(device: str, precision: str) -> dict[str, Any]:
    import torch

    from impasto.core.precision import choose_precision, pick_device
    from impasto.core.weights import BACKBONES, locate

    chosen_device = pick_device(device)
    chosen = choose_precision(chosen_device, cast("PrecisionName", precision))
    return {
        "torch": str(torch.__version__),
        "devices": _devices(),
        "device": str(chosen_device),
        "precision": str(chosen.dtype).removeprefix("torch."),
        "precision_reason": chosen.reason,
        "channels_last": chosen.channels_last,
        "threads": torch.get_num_threads(),
        "weights": [{"name": name, "path": str(path) if (path := locate(name)) else None} for name in BACKBONES],
    }


def _without_torch(device: str, precision: str) -> dict[str, Any]:
    for what, asked, own in (("device", device, "cpu"), ("precision", precision, "float32")):
        if asked not in ("auto", own):
            require("torch", "torch", f"{what} {asked}")
    return {
        "torch": None,
        "devices": [{"name": "cpu", "model": processor()}],
        "device": "cpu",
        "precision": "float32",
        "precision_reason": "onnxruntime has no other on a processor",
        "channels_last": False,
        "threads": usable_cores(),
        "weights": [],
    }


def describe(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What `environment` found, for people: names and what there is to say of them, in words."""
    for name, number in facts["versions"].items():
        yield name, number or "not installed"
    yield "platform", facts["platform"]
    memory = f"{facts['memory_gib']} GiB memory" if facts["memory_gib"] else "memory unknown"
    yield "machine", f"{facts['cores']} cores, {memory}"
    for device in facts["devices"]:
        yield "device", f"{device['name']}: {device['model']}"
    yield "uses", f"{facts['device']}, {facts['precision']} ({facts['precision_reason']})"
    yield "threads", _threads(**facts["threads"])
    for row in facts["weights"]:
        yield "weights", f"{row['name']}: {row['path'] or 'absent'}"
    for extra, present in facts["extras"].items():
        yield "extra", f"{extra}: {'present' if present else 'absent'}"


def _threads(number: int, library: str | None, policy: str, spin_count: object, set_by: str) -> str:
    """How many there are, and how they wait, where the library is one that listens to these settings."""
    if library != "libgomp":
        return f"{number}, {library or 'another library'}, which waits in its own way"
    return f"{number}, {library}: wait policy {policy}, spin count {spin_count} (set by {set_by})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    """Memory that this process may use, in GiB: the machine's, or a container's lower limit."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            size = min(size, int(limit.read_text()))
        except (OSError, ValueError):  # absent, or the word "max"
            continue
    return round(size / 2**30, 1)


def _devices() -> list[dict[str, str]]:
    import torch

    devices = [{"name": "cpu", "model": processor()}]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            devices.append({"name": f"cuda:{index}", "model": torch.cuda.get_device_name(index)})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "model": "Apple GPU"})
    return devices
