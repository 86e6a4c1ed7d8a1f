"""``impasto weights``, as a user sees it."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from impasto.cli.weights import weights_app
from impasto.core.backbones import BACKBONES
from impasto.core.metadata import record, save
from impasto.errors import OutputError, WeightsError
from impasto.files import sha256

CONTENT = b"the weights of a backbone" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and no shipped weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("impasto.core.store.SHIPPED", tmp_path / "shipped")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the table takes for vgg16."""
    path = tmp_path / "outside" / BACKBONES["vgg16"].file
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], sha256=(sha256(path),)))
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served(known: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same file, and a server that the table names as its source."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=str(known.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/{known.name}"
        monkeypatch.setitem(BACKBONES, "vgg16", replace(BACKBONES["vgg16"], url=url))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield known
        server.shutdown()
        thread.join()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(weights_app, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def failure(*arguments: str | Path) -> str:
    """The message of the error that the program shows as one red line."""
    result = run(*arguments)
    assert isinstance(result.exception, WeightsError | OutputError), result.output
    return str(result.exception)


def test_list_shows_what_there_is_and_what_is_here(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / BACKBONES["vgg19-caffe"].file).write_bytes(b"0" * 3_000_000)
    lines = done("list").splitlines()
    columns = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert columns[0] == ["name", "here", "size", "licence", "source"]
    assert [row[0] for row in columns[1 : len(BACKBONES) + 1]] == list(BACKBONES)
    vgg19 = BACKBONES["vgg19"]
    assert ["vgg19", "no", "575 MB", vgg19.licence, vgg19.source] in columns
    assert columns[5][:3] == ["vgg19-caffe", "yes", "3 MB"]
    assert lines[-1] == f"vgg19-caffe: {cache / 'vgg19-d01eb7cb.pth'}"


def test_list_as_json(known: Path, cache: Path) -> None:
    done("import", known)
    rows = {row["name"]: row for row in json.loads(done("list", "--json"))}
    assert list(rows) == list(BACKBONES)
    assert rows["vgg16"]["path"] == str(cache / known.name)
    assert rows["vgg16"]["bytes"] == len(CONTENT)
    assert rows["vgg16"]["sha256"] == [sha256(known)]
    assert (rows["vgg19"]["path"], rows["vgg19"]["bytes"]) == (None, None)
    for key in ("url", "licence", "source", "citation", "keys", "normalisation", "topology"):
        assert rows["vgg19"][key] == getattr(BACKBONES["vgg19"], key)


def test_list_tells_of_the_shipped_backbone_what_its_file_tells(tmp_path: Path) -> None:
    path = tmp_path / "shipped" / "compact.safetensors"
    save(path, {}, {"kind": "backbone", "topology": "vgg16", "normalisation": "none"})
    record(path)
    row = json.loads(done("list", "--json"))[0]
    assert (row["name"], row["topology"], row["normalisation"]) == ("compact", "vgg16", "none")
    assert row["sha256"] == [sha256(path)]


def test_fetch_downloads_once(served: Path, cache: Path) -> None:
    target = cache / served.name
    result = run("fetch", "vgg16")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{target}\n"
    assert "25.0/25.0 kB" in result.stderr
    assert target.read_bytes() == CONTENT
    served.unlink()  # the second time nobody is asked
    assert done("fetch", "vgg16") == f"{target}\n"


def test_fetch_replaces_a_damaged_file(served: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / served.name).write_bytes(b"damaged")
    done("fetch", "vgg16")
    assert (cache / served.name).read_bytes() == CONTENT


def test_fetch_refuses_what_is_not_the_file(served: Path, cache: Path) -> None:
    served.write_bytes(CONTENT + b"!")
    assert "deleted" in failure("fetch", "vgg16")
    assert not (cache / served.name).exists()
    served.unlink()
    message = failure("fetch", "vgg16")
    assert "404" in message
    assert str(cache / served.name) in message


def test_fetch_of_what_has_no_address() -> None:
    assert "impasto weights import PATH" in failure("fetch", "vgg16-dev")
    assert "install impasto again" in failure("fetch", "compact")
    assert "no backbone is called 'vgg11'" in failure("fetch", "vgg11")


def test_an_interrupted_fetch_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("impasto.core.weights.fetch", interrupted)
    result = run("fetch", "vgg16")
    assert result.exit_code != 0
    assert "run the same command again" in result.stderr


def test_import_and_verify(known: Path, cache: Path) -> None:
    target = cache / known.name
    assert "no backbone is here" in run("verify").stderr
    assert done("import", known, "--name", "vgg16") == f"vgg16: {target}\n"
    assert target.read_bytes() == CONTENT
    assert done("verify") == done("verify", "vgg16") == f"vgg16: right: {target} (SHA-256 {sha256(known)})\n"
    target.write_bytes(b"damaged")
    assert failure("verify") == f"not what the table says: {target}: get them again"
    assert "vgg16: WRONG" in run("verify", "vgg16").stdout
    assert "vgg19 is not here" in failure("verify", "vgg19")


def test_import_refuses_other_files(known: Path, tmp_path: Path) -> None:
    assert "this is vgg16, not vgg19" in failure("import", known, "--name", "vgg19")
    (tmp_path / "own.pth").write_bytes(b"own")
    assert "--backbone PATH --backbone-input" in failure("import", tmp_path / "own.pth")


def test_errors_are_one_red_line_and_exit_code_2() -> None:
    from impasto.cli.app import app

    result = CliRunner().invoke(app, ["weights", "fetch", "vgg11"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: no backbone is called 'vgg11'")


def test_help_needs_no_torch() -> None:
    code = "import sys, impasto.cli.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
