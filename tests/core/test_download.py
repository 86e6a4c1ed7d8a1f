"""Downloads against a server on this machine that behaves well and badly."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from impasto.core import download as module
from impasto.core.download import Progress, download
from impasto.errors import OutputError, WeightsError

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2


class _Server(ThreadingHTTPServer):
    """Serves CONTENT; `mode` says how. `ranges` holds the Range header of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mode = "ranges"
        self.content = CONTENT
        self.ranges: list[str | None] = []
        self.sent = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pth"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        getattr(self, f"_{self.server.mode}")(start)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.server.sent += len(body)  # before the client can know that it has all
        self.wfile.write(body)

    def _whole(self, _start: int) -> None:
        content = self.server.content
        self._answer(200, content, {"Content-Length": str(len(content))})

    def _ranges(self, start: int) -> None:
        content = self.server.content
        if not start:
            self._whole(0)
        elif start >= len(content):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
        else:
            rest = content[start:]
            extent = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, rest, {"Content-Range": extent, "Content-Length": str(len(rest))})

    def _elsewhere(self, start: int) -> None:
        """Answers ranges, but not from where it was asked to."""
        self._ranges(start + 7 if start else 0)

    def _unsized(self, _start: int) -> None:
        self._answer(200, self.server.content, {})

    def _truncated(self, _start: int) -> None:
        self._answer(200, CONTENT[:HALF], {"Content-Length": str(len(CONTENT))})

    def _silent(self, _start: int) -> None:
        self._truncated(0)
        self.wfile.flush()
        self.server.over.wait(10)

    def _missing(self, _start: int) -> None:
        self.send_error(404)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "CHUNK", 1000)
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def leave_part(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True)
    part_of(target).write_bytes(content)


def accepts(digest: str) -> bool:
    return digest == hashlib.sha256(CONTENT).hexdigest()


def run(server: _Server, target: Path, timeout: float = 5.0) -> list[Progress]:
    return list(download(server.url, target, accepts, timeout=timeout))


@pytest.mark.parametrize("mode", ["ranges", "whole"])
def test_a_file_arrives(server: _Server, target: Path, mode: str) -> None:
    server.mode = mode
    records = run(server, target)
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()
    assert [record.done for record in records] == [*range(0, len(CONTENT), 1000), len(CONTENT)]
    assert {record.total for record in records} == {len(CONTENT)}


def test_a_file_of_unknown_length_arrives(server: _Server, target: Path) -> None:
    server.mode = "unsized"
    assert run(server, target)[-1] == Progress(len(CONTENT), None)
    assert target.read_bytes() == CONTENT


def test_a_part_is_continued(server: _Server, target: Path) -> None:
    leave_part(target, CONTENT[:3000])
    records = run(server, target)
    assert target.read_bytes() == CONTENT
    assert records[0] == Progress(3000, len(CONTENT))
    assert records[-1] == Progress(len(CONTENT), len(CONTENT))
    assert (server.ranges, server.sent) == (["bytes=3000-"], len(CONTENT) - 3000)


def test_a_part_is_overwritten_where_the_server_knows_no_ranges(server: _Server, target: Path) -> None:
    server.mode = "whole"
    leave_part(target, b"x" * 3000)
    assert run(server, target)[0] == Progress(0, len(CONTENT))
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_whole_is_not_fetched_again(server: _Server, target: Path) -> None:
    leave_part(target, CONTENT)
    assert run(server, target) == [Progress(len(CONTENT), len(CONTENT))]
    assert target.read_bytes() == CONTENT
    assert server.sent == 0


@pytest.mark.parametrize("mode", ["ranges", "elsewhere"])
def test_a_part_that_does_not_fit_is_begun_again(server: _Server, target: Path, mode: str) -> None:
    server.mode = mode
    leave_part(target, b"x" * (len(CONTENT) + 5 if mode == "ranges" else 3000))
    assert run(server, target)[0] == Progress(0, len(CONTENT))
    assert target.read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_truncated_transfer_is_kept_and_continued(server: _Server, target: Path) -> None:
    server.mode = "truncated"
    with pytest.raises(WeightsError, match="run the same command again"):
        run(server, target)
    assert not target.exists()
    assert part_of(target).read_bytes() == CONTENT[:HALF]
    server.mode, server.sent = "ranges", 0
    run(server, target)
    assert target.read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - HALF


def test_a_silent_server_is_a_stopped_transfer(server: _Server, target: Path) -> None:
    server.mode = "silent"
    with pytest.raises(WeightsError, match=r"stopped after .* \(.*timed out.*\).*run the same command again"):
        run(server, target, timeout=0.2)
    kept = part_of(target).read_bytes()
    assert kept == CONTENT[: len(kept)]
    assert len(kept) > HALF - 1000


@pytest.mark.parametrize("begun", [b"", b"x" * 100])
def test_wrong_content_is_deleted_and_the_old_file_stays(server: _Server, target: Path, begun: bytes) -> None:
    leave_part(target, begun)
    target.write_bytes(b"old")
    server.content = CONTENT if begun else CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match=r"SHA-256 is [0-9a-f]{64}.*deleted") as caught:
        run(server, target)
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"old"
    assert not part_of(target).exists()


def test_a_missing_file_says_so_and_where_to_put_it(server: _Server, target: Path) -> None:
    server.mode = "missing"
    with pytest.raises(WeightsError, match="404 Not Found") as caught:
        run(server, target)
    assert server.url in str(caught.value)
    assert str(target) in str(caught.value)
    assert not part_of(target).exists()


def test_a_missing_file_leaves_the_part(server: _Server, target: Path) -> None:
    server.mode = "missing"
    leave_part(target, CONTENT[:10])
    with pytest.raises(WeightsError, match="404"):
        run(server, target)
    assert part_of(target).read_bytes() == CONTENT[:10]


def test_without_a_network_it_says_what_to_get_and_where_to_put_it(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:  # bound and not listening: nobody answers there
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pth"
        with pytest.raises(WeightsError, match="no connection") as caught:
            list(download(url, target, accepts))
    assert url in str(caught.value)
    assert f"put it at {target}" in str(caught.value)


def test_to_cancel_is_to_close_the_generator(server: _Server, target: Path) -> None:
    with closing(download(server.url, target, accepts, timeout=5)) as records:
        while next(records).done < 2000:
            pass
    assert not target.exists()
    assert part_of(target).read_bytes() == CONTENT[:2000]
    run(server, target)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=2000-"]


def test_two_at_once_do_not_disturb_each_other(server: _Server, target: Path) -> None:
    with closing(download(server.url, target, accepts, timeout=5)) as first:
        next(first)
        with pytest.raises(WeightsError, match="another process"):
            run(server, target)
        assert list(first)[-1] == Progress(len(CONTENT), len(CONTENT))
    assert target.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_an_error(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run(server, tmp_path / "file" / "weights.pth")
