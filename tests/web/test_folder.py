"""The folder of the page and its server, without a browser."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.errors import DataError, OptionError, OutputError
from impasto.export import runtime
from impasto.export.runtime import NOTICES, VENDOR, WASM, WEBGPU, find_runtime, vendor
from impasto.export.serve import PageServer
from impasto.export.web import FACTS, PAGE, export_web, policy
from impasto.stylizer.route import gallery_styles

BUDGET = 16e6  # bytes that a visit may fetch, as they are on the disk: not every server compresses


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package onnxruntime-web, whose files are short and are taken for right."""
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    for table in ("WASM", "WEBGPU"):
        digests = {}
        for name in getattr(runtime, table):
            (dist / name).write_bytes(name.encode() * 100)
            digests[name] = runtime.hashlib.sha256(name.encode() * 100).hexdigest()
        monkeypatch.setattr(runtime, table, digests)
    monkeypatch.setattr(runtime, "VENDOR", tmp_path / "vendor")
    monkeypatch.setattr(runtime.platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "package"


def test_a_visit_stays_within_the_budget_uncompressed(folder: Path) -> None:
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    fetched = {*facts["page"], *facts["gallery"], "sw.js"}
    assert sum((folder / name).stat().st_size for name in fetched) <= BUDGET
    assert len(facts["styles"]) == len(gallery_styles())
    assert all((folder / row["thumbnail"]).is_file() for row in facts["styles"])
    assert all((folder / name).is_file() for name in [*facts["keep"], *facts["page"]])
    worker = (folder / "sw.js").read_text("utf-8")
    assert re.search(r'STORE = "impasto-[0-9a-f]{12}"', worker)
    assert all(f'"{name}"' in worker for name in facts["page"])
    assert f'"Content-Security-Policy": "{policy()}"' in worker


def test_the_page_names_no_address_outside() -> None:
    for path in PAGE.iterdir():
        if path.suffix in {".html", ".css", ".js", ".webmanifest"}:
            assert not re.search(r"https?:|//[a-z]+\.[a-z]", path.read_text("utf-8")), path.name


def test_every_file_of_the_page_is_asked_for(folder: Path) -> None:
    """What a script imports is there, and what is there is of use."""
    texts = {path.name: path.read_text("utf-8") for path in PAGE.iterdir()}
    for name in texts:
        if name != "index.html":
            assert any(name in text for other, text in texts.items() if other != name), name
    for text in texts.values():
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert (folder / name).is_file()


def test_the_folder_is_replaced_only_when_asked_and_only_if_it_is_ours(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "page"
    shutil.copytree(folder, place)
    (place / "old").write_text("")
    with pytest.raises(OutputError, match="exists"):
        export_web(place, runtime=VENDOR)
    export_web(place, runtime=VENDOR, force=True)
    assert not (place / "old").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="something else"):
        export_web(tmp_path / "other", runtime=VENDOR, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        export_web(tmp_path / "file", runtime=VENDOR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other", "page"]


def test_the_same_folder_comes_out_twice(folder: Path, tmp_path: Path) -> None:
    export_web(tmp_path / "again", runtime=VENDOR)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_the_runtime_is_taken_from_an_unpacked_package(package: Path, tmp_path: Path) -> None:
    found = find_runtime(package)
    assert set(found) - {NOTICES} == {f"{name}.gz" if name.endswith(".wasm") else name for name in {**WASM, **WEBGPU}}
    assert gzip.decompress(found["ort-wasm-simd-threaded.wasm.gz"]) == b"ort-wasm-simd-threaded.wasm" * 100
    vendor(tmp_path / "vendored", source=package)
    again = find_runtime(tmp_path / "vendored")
    assert set(again) - {NOTICES} == {f"{name}.gz" if name.endswith(".wasm") else name for name in WASM}
    assert all(found[name] == content for name, content in again.items())


def test_what_is_large_is_kept_smaller_than_it_is_served(package: Path, tmp_path: Path) -> None:
    (package / "dist" / NOTICES).write_text("thanks\n" * 1000)
    place = tmp_path / "vendored"
    place.mkdir()
    (place / "ort-wasm-simd-threaded.wasm.gz").write_bytes(b"of an earlier version")
    vendor(place, source=package)
    wasm = "ort-wasm-simd-threaded.wasm.xz"
    assert {path.name for path in place.iterdir()} == {*WASM, f"{NOTICES}.xz", wasm} - {wasm.removesuffix(".xz")}
    assert find_runtime(place)[NOTICES] == b"thanks\n" * 1000
    (place / wasm).rename(place / "kept")
    (place / wasm.replace(".xz", ".gz")).write_bytes(gzip.compress(wasm.removesuffix(".xz").encode() * 100))
    assert find_runtime(place).keys() == find_runtime(package).keys() - {
        f"{name}.gz" if name.endswith(".wasm") else name for name in WEBGPU
    }
    (place / wasm).write_bytes((place / "kept").read_bytes()[:-20])
    with pytest.raises(DataError, match="onnxruntime-web is damaged"):
        find_runtime(place)


def test_a_wrong_runtime_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "dist" / "ort.wasm.min.mjs").write_text("another")
    with pytest.raises(DataError, match=r"ort\.wasm\.min\.mjs is not that of onnxruntime-web"):
        find_runtime(package)
    (package / "dist" / "ort.wasm.min.mjs").unlink()
    with pytest.raises(DataError, match="is missing"):
        find_runtime(package)
    with pytest.raises(DataError, match="no onnxruntime-web"):
        find_runtime(tmp_path / "empty")


def test_npm_brings_it_once(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as members:
        members.add(package, "package")
    calls = []

    def npm(command: list[str], cwd: str, **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command[1:])
        (Path(cwd) / "onnxruntime-web.tgz").write_bytes(archive.getvalue())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(runtime.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(runtime.subprocess, "run", npm)
    first, second = find_runtime(), find_runtime("npm")
    assert first == second
    assert calls == [["pack", f"onnxruntime-web@{runtime.VERSION}"]]


def test_without_npm_it_says_what_to_do(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    with pytest.raises(DataError, match=r"npm is not here to get it: install npm, or .* as `runtime`"):
        find_runtime()


def test_the_server_gives_types_and_headers_and_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "a.mjs").write_text("1")
    (tmp_path / "secret.txt").write_text("no")
    with PageServer(tmp_path / "page", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        client = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        answers = {}
        for path in ("/a.mjs", "/", "/../secret.txt", "/%2e%2e/secret.txt"):
            client.request("GET", path)
            answer = client.getresponse()
            answers[path] = (answer.status, dict(answer.getheaders()), answer.read())
        client.close()
        with pytest.raises(OptionError, match="`port`"):
            PageServer(tmp_path, server.server_address[1])
        server.shutdown()
        thread.join()
    status, headers, body = answers.pop("/a.mjs")
    assert (status, body) == (200, b"1")
    assert headers["Content-type"].startswith("text/javascript")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self' ")
    assert {status for status, _, _ in answers.values()} == {404}


def test_the_commands(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "web", "-o", str(tmp_path / "page"), "--runtime", str(VENDOR)])
    assert result.exit_code == 0
    assert "MB, of which a visit fetches" in result.stderr
    # Where a shell runs the tests in the background, Ctrl-C is ignored, and whoever they start takes that over.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{listens}; from impasto.cli.app import main; main()"]
    arguments = ["web", "--no-browser", "--port", "0", "--runtime", str(VENDOR)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
            client = http.client.HTTPConnection("127.0.0.1", int(address.rsplit(":")[-1].strip("/")), timeout=10)
            client.request("GET", "/")
            assert b"<title>impasto" in client.getresponse().read()
            client.close()
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, told.splitlines()[-1]) == (130, "interrupted")
