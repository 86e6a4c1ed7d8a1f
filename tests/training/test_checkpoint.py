"""Checkpoints: what they may hold, what is kept, and how damage is noticed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto.errors import DataError, OutputError
from impasto.training.checkpoint import Checkpoints, digest


def state(value: float = 1.0) -> dict[str, Any]:
    return {
        "network": {"a.weight": torch.full((300,), value), "b": torch.ones(2, dtype=torch.bfloat16)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
        "best": None,
        "name": "x",
    }


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "new" / "checkpoints")
    assert kept.load_latest() == (None, [])
    assert kept.save(8, state(), None).name == "step-00000008.pt"
    found, notes = kept.load_latest()
    assert found is not None
    assert (found["step"], found["best"], found["name"], notes) == (8, None, "x", [])
    assert torch.equal(found["network"]["a.weight"], state()["network"]["a.weight"])
    assert found["optimizer"]["state"][0]["step"] == 3
    assert found["optimizer"]["param_groups"] == state()["optimizer"]["param_groups"]


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in range(0, 12, 2):
        kept.save(step, state(), best=4 if step >= 4 else None)
    assert kept.steps() == [4, 8, 10]


def test_long_runs_sort_by_number(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    for step in (99_999_999, 100_000_000):
        kept.save(step, state(), None)
    assert kept.steps() == [99_999_999, 100_000_000]


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_any_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: float, cut: bool) -> None:
    kept = Checkpoints(tmp_path_factory.mktemp("checkpoints"))
    kept.save(1, state(1.0), None)
    path = kept.save(2, state(2.0), None)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
    found, notes = kept.load_latest()
    assert found is not None
    if found["step"] == 2:  # only where the byte was one that carries nothing: padding, checksums, dates
        assert not cut
        assert notes == []
        assert digest(found["network"]) == digest(state(2.0)["network"])
    else:
        assert len(notes) == 1
        assert "going back to step-00000001.pt" in notes[0]
        assert path.with_name("step-00000002.pt.damaged").exists()


def test_blocks_of_zeros_are_noticed(tmp_path: Path) -> None:
    """What a crash of the machine leaves: the right length, but not the content."""
    kept = Checkpoints(tmp_path)
    kept.save(1, state(), None)
    path = kept.save(2, state(), None)
    content = path.read_bytes()
    data = torch.full((300,), 1.0).numpy().tobytes()
    assert content.count(data) == 1
    path.write_bytes(content.replace(data, data[:600] + bytes(600)))
    found, notes = kept.load_latest()
    assert found is not None
    assert found["step"] == 1
    assert "is damaged (its content is not what was written)" in notes[0]


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    kept = Checkpoints(tmp_path)
    torch.save({"format": 1, "step": 3, "sha256": "", "x": Trap()}, kept.path(3))
    with pytest.raises(DataError, match="is damaged"):
        kept.load(3)
    (tmp_path / "step-00000004.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="is damaged"):
        kept.load(4)
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    torch.save({"weight": torch.ones(1)}, kept.path(1))
    with pytest.raises(DataError, match="is no checkpoint of a training"):
        kept.load(1)
    torch.save({"format": 2, "step": 1, "sha256": ""}, kept.path(1))
    with pytest.raises(DataError, match="has format 2, and this version reads 1"):
        kept.load(1)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        Checkpoints(tmp_path / "file" / "checkpoints").save(1, state(), None)


def test_the_digest_sees_values_names_shapes_and_types() -> None:
    base = {"a": torch.zeros(4), "b": [1, 2.0, "x", None, True]}
    others = [
        {"a": torch.zeros(2, 2), "b": base["b"]},
        {"a": torch.zeros(4, dtype=torch.int32), "b": base["b"]},
        {"c": torch.zeros(4), "b": base["b"]},
        {"a": torch.tensor([0.0, 0, 0, 1]), "b": base["b"]},
        {"a": torch.zeros(4), "b": [1, 2.0, "x", None]},
        {"a": torch.zeros(4), "b": [1, 2.0, "x", None, False]},
    ]
    assert len({digest(one) for one in [base, *others]}) == 7
    assert digest(base) == digest({"a": torch.zeros(4), "b": (1, 2.0, "x", None, True)})
