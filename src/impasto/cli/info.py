"""``impasto info``: what this installation and this machine have, for the user and for reports of faults."""

from __future__ import annotations

from impasto.cli.common import DeviceOption, JsonOption, PrecisionOption, print_facts, print_json

__all__ = ["info"]


def info(device: DeviceOption = "auto", precision: PrecisionOption = "auto", as_json: JsonOption = False) -> None:
    """Show versions, devices, the precision chosen and why, how threads wait, and the weights present."""
    from impasto.core.environment import describe, environment

    facts = environment(device, precision)
    if as_json:
        print_json(facts)
    else:
        print_facts(describe(facts))
