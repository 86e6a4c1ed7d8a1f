"""Damaged files give one sentence, or a network; nothing else, and soon.

More of them, and with a clock that stops what hangs: ``python -m tests.foreign.damage --files 10000``.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from impasto.errors import ImpastoError
from impasto.networks.foreign.kinds import KINDS, read_foreign

from .damage import SAMPLES, SECONDS, Files, outcomes

MUTATIONS = int(os.environ.get("IMPASTO_MUTATIONS", "30"))
NEEDS = {"onnx": "onnx", "titu1994": "pyfive", ".mat 7.3": "pyfive", ".h5": "pyfive"}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=SAMPLES)
def files(request, tmp_path_factory) -> Files:
    for part, library in NEEDS.items():
        if part in request.param:
            pytest.importorskip(library)
    return Files(SAMPLES[request.param], tmp_path_factory.mktemp("good"))


def test_every_kind_is_damaged() -> None:
    assert {kind.name for kind in KINDS} == {name.split(",")[0] for name in SAMPLES} - {"backbone"}


# pyfive leaves a file open that it wanted to map, and that was shorter than its own numbers say.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@given(draw=st.randoms(use_true_random=False))
@settings(
    max_examples=MUTATIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_damaged_file(files: Files, draw: random.Random) -> None:
    began = time.process_time()
    assert "\n" not in files.read_damaged(draw)
    assert time.process_time() - began < SECONDS


@given(content=st.binary(max_size=400))
@example(content=b"\x03\0\0\0\x01\0\0\0\xff\xff\xff\x7f")
@example(content=b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x11\0\0\0torch.FloatTensor\x10\0\0\0")
@example(content=b"3\n1\n1000000\n")
@settings(max_examples=MUTATIONS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_behind_a_beginning(tmp_path, content) -> None:
    heads = {
        "noise": (b"", b"\x03\0\0\0\x01\0\0\0", b"4\n1\n3\nV 1\n", b"\x08\x07", b"PK\x03\x04", b"\x80\x02",
                  b"\x89HDF\r\n\x1a\n"),
        "noise.pb": (b"\x0a",),
        "noise.json": (b'{"modelTopology": ', b'{"Variable": '),
        "saved_model.pb": (b"\x08\x01\x12",),
    }  # fmt: skip
    for name, beginnings in heads.items():
        for head in beginnings:
            path = tmp_path / name
            path.write_bytes(head + content)
            check(path)
            path.unlink()


def check(path: Path) -> None:
    said = "a network"
    try:
        read_foreign(path)
    except ImpastoError as error:
        said = str(error)
    assert said
    assert "\n" not in said


def test_a_process_of_its_own_tells_what_became_of_each() -> None:
    found = list(outcomes("rrmina", 3))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert {became for _, became, _ in found} <= {"a network", "a sentence"}
