"""``impasto info``: what this installation and this machine have, for the user and for reports of faults."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from impasto.cli.common import DeviceOption, JsonOption, PrecisionOption
from impasto.core.threads import openmp_library, usable_cores, waiting

if TYPE_CHECKING:
    from impasto.core.precision import PrecisionName

__all__ = ["gather", "info"]

_PACKAGES = ("impasto", "numpy", "pillow", "safetensors")
# extra of this package -> module that it brings
_EXTRAS = {"heif": "pillow_heif", "huge": "pyvips", "lab": "ipywidgets", "parquet": "pyarrow", "video": "av"}


def info(device: DeviceOption = "auto", precision: PrecisionOption = "auto", as_json: JsonOption = False) -> None:
    """Show versions, devices, the precision chosen and why, how threads wait, and the weights present."""
    facts = gather(device, precision)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)


def gather(device: str = "auto", precision: PrecisionName = "auto") -> dict[str, Any]:
    """Collect what ``impasto info`` shows, in types that JSON has.

    Raises:
        OptionError: this machine has no such device, or there is no such precision.
    """
    import torch

    from impasto.core.precision import choose_precision, pick_device

    chosen_device = pick_device(device)
    chosen = choose_precision(chosen_device, precision)
    packages = {name: _version(name) for name in _PACKAGES}
    return {
        # torch by its own word, which names the build: 2.13.0+cpu, 2.13.0+cu130
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), **packages},
        "platform": platform.platform(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "devices": _devices(),
        "device": str(chosen_device),
        "precision": str(chosen.dtype).removeprefix("torch."),
        "precision_reason": chosen.reason,
        "channels_last": chosen.channels_last,
        "threads": _threads(),
        "weights": _weights(),
        "extras": {extra: find_spec(module) is not None for extra, module in _EXTRAS.items()},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    import torch

    return {"number": torch.get_num_threads(), "library": openmp_library(), **waiting()._asdict()}


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

    devices = [{"name": "cpu", "model": _processor()}]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            devices.append({"name": f"cuda:{index}", "model": torch.cuda.get_device_name(index)})
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "model": "Apple GPU"})
    return devices


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _weights() -> list[dict[str, Any]]:
    from impasto.core.weights import BACKBONES, locate

    found = {name: locate(name) for name in BACKBONES}
    return [{"name": name, "path": str(path) if path else None} for name, path in found.items()]


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for label, value in _lines(facts):
        # soft_wrap: a path stays in one piece, to be copied.
        console.print(Text.assemble((f"{label:<12}", "bold"), value), soft_wrap=True)


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, number in facts["versions"].items():
        yield name, number or "not installed"
    yield "platform", facts["platform"]
    memory = f"{facts['memory_gib']} GiB memory" if facts["memory_gib"] else "memory unknown"
    yield "machine", f"{facts['cores']} cores, {memory}"
    for device in facts["devices"]:
        yield "device", f"{device['name']}: {device['model']}"
    yield "uses", f"{facts['device']}, {facts['precision']} ({facts['precision_reason']})"
    yield "threads", _told(facts["threads"])
    for row in facts["weights"]:
        yield "weights", f"{row['name']}: {row['path'] or 'absent'}"
    for extra, present in facts["extras"].items():
        yield "extra", f"{extra}: {'present' if present else 'absent'}"


def _told(threads: dict[str, Any]) -> str:
    """How many there are, and how they wait, where the library is one that listens to these settings."""
    number = f"{threads['number']}, {threads['library'] or 'another library'}"
    if threads["library"] != "libgomp":
        return f"{number}, which waits in its own way"
    return f"{number}: wait policy {threads['policy']}, spin count {threads['spin_count']} (set by {threads['set_by']})"
