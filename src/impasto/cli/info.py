"""``impasto info``: what this installation and this machine have, for the user and for reports of faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from impasto.cli.common import DeviceOption, JsonOption, PrecisionOption, print_facts, print_json

__all__ = ["info"]


def info(device: DeviceOption = "auto", precision: PrecisionOption = "auto", as_json: JsonOption = False) -> None:
    """Show versions, devices, the precision chosen and why, how threads wait, and the weights present."""
    from impasto.core.environment import environment

    facts = environment(device, precision)
    if as_json:
        print_json(facts)
    else:
        print_facts(_lines(facts))


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
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
