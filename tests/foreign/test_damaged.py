"""Files with bytes changed, cut off or put in give one sentence, or a network; nothing else, and soon.

More of them: ``IMPASTO_MUTATIONS=10000 pytest tests/foreign/test_damaged.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from impasto.errors import ImpastoError
from impasto.networks.foreign.kinds import read_foreign

from .any_style_samples import MicroAST, MSGNet, Naoto
from .foreign_samples import Johnson7, Lengstrom, write_checkpoint, write_first_version
from .test_kinds import examples_state, magenta_variables, rrmina_state
from .test_more_kinds import Titu, reconet_state

MUTATIONS = int(os.environ.get("IMPASTO_MUTATIONS", "40"))
pytestmark = pytest.mark.usefixtures("one_thread")


def _keras(path: Path) -> None:
    pytest.importorskip("pyfive")
    Titu(later=True).write(path, 1e-3)


def _onnx(path: Path) -> None:
    pytest.importorskip("onnx")
    from .test_onnx import examples, windows

    (examples("views", "computed") if path.name == "a" else windows()).write(path)


FILES: dict[str, Callable[[Path], None]] = {
    "pytorch-examples": lambda path: torch.save(examples_state(), path),
    "pytorch-examples, legacy": lambda path: torch.save(
        {"state_dict": examples_state()}, path, _use_new_zipfile_serialization=False
    ),
    "rrmina": lambda path: torch.save(rrmina_state(), path),
    "jcjohnson": lambda path: Johnson7(blocks=1).write(path, preprocessing="vgg"),
    "jcjohnson, text": lambda path: Johnson7(blocks=1).write(path, as_text=True),
    "onnx": _onnx,
    "lengstrom-raw": lambda path: Lengstrom(2).write(path.with_name("wave")),
    "magenta, one file": lambda path: write_first_version(path, magenta_variables()),
    "lengstrom": lambda path: write_checkpoint(path, Lengstrom(2).names()),
    "reconet": lambda path: torch.save(reconet_state(), path),
    "microast": lambda path: MicroAST().write(path.with_name("several")),
    "naoto-adain": lambda path: Naoto().write(path.with_name("several")),
    "msg-net": lambda path: MSGNet(1).write(path),
    "titu1994": _keras,
}


def _file(path: Path) -> Path:
    """What to damage; of those that are several files, the one that tells of the others."""
    others = (path.with_name("wave") / "manifest.json", path.with_name("a.index"), path)
    return next(found for found in (*others, *sorted(path.with_name("several").glob("decoder*"))) if found.is_file())


@pytest.fixture(scope="module", params=FILES)
def good(request, tmp_path_factory) -> Path:
    """A file of each kind, see `_file`."""
    path = tmp_path_factory.mktemp("good") / "a"
    FILES[request.param](path)
    return _file(path)


@given(data=st.data())
@settings(
    max_examples=MUTATIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_changed_file(good: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    # Where formats keep their structure: half of the changes are near the beginning or the end.
    near = st.integers(0, min(len(content) - 1, 600))
    places = st.one_of(near, near.map(lambda at: len(content) - 1 - at), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        at = min(data.draw(places), max(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "cut", "put", "large", "swap"])):
            case "set":
                content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + data.draw(st.integers(1, 5000))]
            case "put":
                content[at:at] = data.draw(st.binary(min_size=1, max_size=12))
            case "large":
                content[at : at + 4] = data.draw(
                    st.sampled_from([b"\xff\xff\xff\x7f", b"\xff" * 4, b"\0\0\0\x80", b"\0\0\x10\0"])
                )
            case "swap":
                other = data.draw(places)
                content[at : at + 16], content[other : other + 16] = content[other : other + 16], content[at : at + 16]
    alone = not good.name.startswith(("manifest", "decoder"))  # others are found by its name
    mutated = good.with_name(f"mutated{good.suffix}" if alone else good.name)
    original = good.read_bytes()
    try:
        mutated.write_bytes(bytes(content))
        check(mutated)
    finally:
        good.write_bytes(original)


def check(path: Path) -> None:
    began = time.perf_counter()
    said = "a network"
    try:
        read_foreign(path)
    except ImpastoError as error:
        said = str(error)
    assert said
    assert "\n" not in said
    assert time.perf_counter() - began < 20


@given(content=st.binary(max_size=400))
@example(content=b"\x03\0\0\0\x01\0\0\0\xff\xff\xff\x7f")
@example(content=b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x11\0\0\0torch.FloatTensor\x10\0\0\0")
@example(content=b"3\n1\n1000000\n")
@settings(max_examples=MUTATIONS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_behind_a_beginning(tmp_path, content) -> None:
    for head in (
        b"",
        b"\x03\0\0\0\x01\0\0\0",
        b"4\n1\n3\nV 1\n",
        b"\x08\x07",
        b"PK\x03\x04",
        b"\x80\x02",
        b"\x89HDF\r\n\x1a\n",
    ):
        path = tmp_path / "noise"
        path.write_bytes(head + content)
        check(path)
