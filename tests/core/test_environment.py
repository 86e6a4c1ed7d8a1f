"""What `impasto info` shows: gathered for programs, told for people."""

from __future__ import annotations

import json

import pytest
import torch

from impasto.core.environment import EXTRAS, describe, environment
from impasto.core.machine import processor
from impasto.errors import OptionError


def test_facts_are_plain_and_true() -> None:
    facts = environment("cpu", "float32")
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["torch"] == str(torch.__version__)
    assert (facts["device"], facts["precision"]) == ("cpu", "float32")
    assert facts["threads"]["number"] == torch.get_num_threads()
    assert facts["devices"][0] == {"name": "cpu", "model": processor()}
    assert facts["extras"].keys() == EXTRAS.keys()


def test_people_are_told_the_same() -> None:
    facts = environment("cpu", "float32")
    told = list(describe(facts))
    assert ("torch", str(torch.__version__)) in told
    assert ("uses", "cpu, float32 (float32 was asked for)") in told
    assert [name for name, _ in told].count("weights") == len(facts["weights"])
    without = facts | {"memory_gib": None, "threads": facts["threads"] | {"library": None}}
    told = list(describe(without | {"versions": {"numpy": None}}))
    assert ("numpy", "not installed") in told
    assert ("machine", f"{facts['cores']} cores, memory unknown") in told
    assert any(value.endswith("another library, which waits in its own way") for _, value in told)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match="cuda:99"):
        environment("cuda:99")
