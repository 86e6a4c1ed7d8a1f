"""``impasto studio`` as a process: what it says, how it ends, what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from impasto.cli.app import app
from impasto.errors import OptionError
from impasto.studio.server import bound, hosts_for, is_loopback

from .studio_samples import data_of, photo, until

RUN = "import sys; from impasto.cli.app import main; sys.argv[0] = 'impasto'; main()"
PHOTO, STYLE = data_of(photo()), data_of(photo((40, 48), seed=1))
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120", "FORCE_COLOR": None, "GITHUB_ACTIONS": None}


@contextmanager
def studio(temporary: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The program, serving, and its address."""
    environment = os.environ | {"TMPDIR": str(temporary), "NO_COLOR": "1"}
    command = [sys.executable, "-c", RUN, "studio", "--port", "0", "--no-browser", "--workers", "1"]
    with subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().strip().rstrip("/")
            assert address.startswith("http://"), process.stderr.read()
            until(lambda: requests.get(f"{address}/readyz", timeout=60).ok, 120)
            yield process, address
        finally:
            process.kill()


def test_it_ends_in_the_middle_of_work(tmp_path: Path) -> None:
    long = {"preset": "balanced", "size": "96", "upscale": "true", "steps": "900"}
    with studio(tmp_path, "--no-page", "--finish", "1.5") as (process, address):
        answers = {}

        def ask(name: str, **fields: str) -> None:
            files = {"photo": PHOTO, "style": ("x", STYLE)}
            answers[name] = requests.post(f"{address}/v1/stylize", files=files, data=fields, timeout=100)

        threads = [
            threading.Thread(target=ask, args=("long",), kwargs=long),
            threading.Thread(target=ask, args=("waits",)),
        ]
        for thread, metric in zip(threads, ("impasto_running_jobs", "impasto_queue_jobs"), strict=True):
            thread.start()
            wait_for(address, f'{metric}{{queue="auto"}} 1.0')
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < 40
        for thread in threads:
            thread.join()
        assert process.stderr.read() == "served to this machine alone; Ctrl-C ends it\n"
    for answer in answers.values():
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:impasto:problem:stopping")
        assert answer.headers["Retry-After"] == "30"
    assert [*tmp_path.iterdir()] == []


def test_it_says_whom_it_serves_wants_its_key_and_lets_running_work_finish(tmp_path: Path) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    keys, key = tmp_path / "keys", {"Authorization": "Bearer a-key-of-sixteen"}
    keys.write_text("a-key-of-sixteen\n")
    with studio(temporary, "--host", "0.0.0.0", "--api-key-file", str(keys)) as (process, address):
        here = address.replace("0.0.0.0", "127.0.0.1")
        url = f"{here}/v1/stylize"
        assert requests.post(url, timeout=60).status_code == 401
        if find_spec("gradio") is not None:
            use_the_page(here, {"auth": ("", "a-key-of-sixteen")})
        answers = []
        files = {"photo": PHOTO, "style": ("x", STYLE)}
        fields = {"preset": "balanced", "size": "96", "upscale": "true", "steps": "20"}
        thread = threading.Thread(
            target=lambda: answers.append(requests.post(url, files=files, data=fields, headers=key, timeout=100))
        )
        thread.start()
        wait_for(url, 'impasto_running_jobs{queue="auto"} 1.0', key)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        thread.join()
        told = process.stderr.read()
    assert "everybody who has a key on every machine that can reach 0.0.0.0, not encrypted" in told
    assert answers[0].status_code == 200
    assert answers[0].content.endswith(b"IEND\xaeB`\x82")
    assert [*temporary.iterdir()] == []


def use_the_page(address: str, key: dict[str, tuple[str, str]]) -> None:
    """What a browser does first, whoever sits there having typed the key as the password."""
    assert requests.get(address, timeout=60).status_code == 401
    assert "text/html" in requests.get(address, timeout=60, **key).headers["content-type"]
    sent = requests.post(f"{address}/gradio_api/upload", files={"files": ("x.png", PHOTO)}, timeout=60, **key)
    assert sent.status_code == 200
    assert requests.get(f"{address}/v1/nothing", timeout=60, **key).json()["type"] == "urn:impasto:problem:not-found"


def wait_for(url: str, line: str, headers: dict[str, str] | None = None) -> None:
    """Wait for a line in the metrics of a server, of which `url` is any address."""
    place = f"{url.partition('/v1')[0]}/metrics"
    until(lambda: line in requests.get(place, headers=headers, timeout=60).text)


def test_a_server_that_is_killed_takes_its_processes_along(tmp_path: Path) -> None:
    with studio(tmp_path, "--no-page") as (process, _):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
        found = [int(child) for child in children] or workers_of(process.pid)
        assert found
        process.kill()
        process.wait(60)
    until(lambda: not any(is_running(child) for child in found))


def workers_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_help_says_what_it_serves_to_whom() -> None:
    told = " ".join(CliRunner(env=PLAIN).invoke(app, ["studio", "--help"]).stdout.replace("│", " ").split())
    for part in (
        "to this machine alone unless --host",
        "/openapi.json",
        "--api-key-file",
        "--jobs-per-client",
        "--no-page",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--api-key-file", "nowhere"], "--api-key-file nowhere: no such file; check the name"),
        (["--steps", "0"], "--steps"),
        (["--upload", "much"], "--upload is 'much': write a number with its unit"),
        (["--memory", "1KB"], "--memory 1KB is too little"),
        (["--memory", "300MB", "--workers", "1", "--no-page"], "400MB or more"),
        (["--device", "banana"], "device 'banana' is unknown"),
        (["--device", "cpu", "--device", "cuda:99"], "device 'cuda:99' is not there"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 and --port 0 cannot be had"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: list[str], part: str) -> None:
    result = CliRunner(env=PLAIN).invoke(app, ["studio", "--port", "0", "--no-browser", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert part in result.stderr


def test_a_port_that_is_taken() -> None:
    with bound("127.0.0.1", 0) as place, pytest.raises(OptionError, match="cannot be had"):
        bound("127.0.0.1", place.getsockname()[1])


def test_who_is_meant_by_an_address() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "x")] == [
        *[True] * 4,
        *[False] * 3,
    ]
    assert hosts_for("0.0.0.0", ()) is None
    assert hosts_for("0.0.0.0", ["Paint.example"]) == {"paint.example"}
    assert hosts_for("127.0.0.1", ["paint.example"]) == {"127.0.0.1", "localhost", "::1", "paint.example"}
