"""The studio under load: is anything lost or wrong, how fast is it beside the engine alone, does memory stay flat?

    python benchmarks/serve.py [--requests 400] [--clients 16] [--size 512] [--rounds 8] [--style great-wave]
    python benchmarks/serve.py --chaos 60        # seconds of disconnects, kills, slow and malformed requests

Starts `impasto studio` as a process. Pictures are painted by turns: a round by an engine in this process, file to file,
as `impasto stylize FOLDER --jobs 2` does, then as many by the clients. So both meet the same machine, and what counts
is the ratio of each round. Each picture that comes back is compared to the engine's; memory is that of the server and
its workers after each round, beside what it was after the first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from impasto.imaging import read
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Output
from impasto.stylizer.request import StylizeRequest

KINDS = 10  # different photos
PROGRAM = "from impasto.cli.app import main; import sys; sys.argv[0] = 'impasto'; main()"
BOUNDARY = "a-boundary-that-no-picture-has"


def photo(number: int, size: int) -> Image.Image:
    """(3/4 size, size) px: waves of colour, another for each number."""
    y, x = np.mgrid[: size * 3 // 4, :size] / 64
    waves = [np.sin(x * (1 + number % 7) / 3 + c) + np.cos(y * (1 + number % 5) / 2 - c) for c in range(3)]
    noise = np.random.default_rng(number).normal(0, 6, (size * 3 // 4, size, 3))
    return Image.fromarray(((np.stack(waves, 2) + 2) * 60 + noise).clip(0, 255).astype(np.uint8))


def form(parts: dict[str, bytes | str]) -> bytes:
    """The body of a request."""
    body = b""
    for name, value in parts.items():
        file = '; filename="x"' if isinstance(value, bytes) else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


@dataclass
class Server:
    """A studio that runs."""

    process: subprocess.Popen[str]
    host: str
    port: int
    temporary: Path

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Status and body of a response, over a connection of its own."""
        line = http.client.HTTPConnection(self.host, self.port, timeout=120)
        with contextlib.closing(line):
            kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if body else {}
            line.request(method, path, body or None, {**kind, **headers})
            answer = line.getresponse()
            return answer.status, answer.read()

    def workers(self) -> list[int]:
        """Numbers of the worker processes."""
        found = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text("ascii").split()]
        return found

    def memory(self) -> int:
        """Bytes that server and workers hold."""
        total = 0
        for pid in (self.process.pid, *self.workers()):
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
        return total

    def left(self) -> list[str]:
        """Folders and files of jobs in the folder for temporary ones."""
        found = self.temporary.glob("impasto-studio-*/job-*")
        return [str(path.relative_to(self.temporary)) for folder in found for path in (folder, *folder.rglob("*"))]


@contextlib.contextmanager
def studio(*arguments: str) -> Iterator[Server]:
    """A studio that is ready, ended by SIGTERM."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PROGRAM, "studio", "--port", "0", "--no-page", "--no-browser", *arguments]
        process = subprocess.Popen(
            command, env=os.environ | {"TMPDIR": folder}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        host, port = process.stdout.readline().strip().strip("/").removeprefix("http://").split(":")
        server = Server(process, host, int(port), Path(folder))
        try:
            while server.ask("GET", "/readyz")[0] != 200:
                time.sleep(0.1)
            yield server
        finally:
            began = time.perf_counter()
            process.terminate()
            code = process.wait(120)
            left = [path.name for path in Path(folder).iterdir()]
            print(
                f"SIGTERM: exit code {code} after {time.perf_counter() - began:.1f} s, left behind: {left or 'nothing'}"
            )


def digest(data: bytes) -> str:
    """Of a picture's pixels."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(data)
        file.flush()
        return hashlib.sha256(read(file.name).integers(8).tobytes()).hexdigest()


def engine_painter(photos: list[bytes], style: str, folder: Path) -> Callable[[int], bytes]:
    """Paints a photo file to file, as one of several; gives the file's bytes."""
    engine = Engine()
    engine.pictures = 1_000_000
    files = []
    for number, data in enumerate(photos):
        (file := folder / f"photo-{number}.jpg").write_bytes(data)
        files.append(file)
    request = StylizeRequest.of(style=style)

    def paint(number: int) -> bytes:
        output = folder / f"painted-{number}.png"
        with engine.job(files[number % len(files)], request, output=Output(str(output))) as job:
            for _ in job.run():
                pass
        data = output.read_bytes()
        output.unlink()
        return data

    return paint


def load(arguments: argparse.Namespace) -> bool:
    """Rounds by engine and server by turns; whether all targets are met."""
    photos = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(KINDS):
            file = Path(folder) / "photo.jpg"
            photo(number, arguments.size).save(file, quality=92)
            photos.append(file.read_bytes())
        alone = engine_painter(photos, arguments.style, Path(folder))
        expected = [digest(alone(number)) for number in range(KINDS)]
        bodies = [form({"photo": data, "style": arguments.style}) for data in photos]
        with studio("--jobs-per-client", str(arguments.clients), *arguments.studio) as server:
            return measure(arguments, server, alone, expected, bodies)


def measure(
    arguments: argparse.Namespace,
    server: Server,
    alone: Callable[[int], bytes],
    expected: list[str],
    bodies: list[bytes],
) -> bool:
    """See `load`."""
    each = arguments.requests // arguments.rounds
    ratios, latencies, memory, statuses, wrong = [], [], [], Counter(), 0
    speeds: list[tuple[float, float]] = []

    def send(number: int) -> tuple[float, int, bytes]:
        began = time.perf_counter()
        status, data = server.ask("POST", "/v1/stylize", bodies[number % KINDS])
        return time.perf_counter() - began, status, data

    for number in range(2 * KINDS):  # both are warm
        alone(number)
        send(number)
    with ThreadPoolExecutor(2) as two, ThreadPoolExecutor(arguments.clients) as clients:
        for turn in range(arguments.rounds):
            numbers = range(turn * each, (turn + 1) * each)
            began = time.perf_counter()
            list(two.map(alone, numbers))
            between = time.perf_counter()
            answers = list(clients.map(send, numbers))
            ended = time.perf_counter()
            speeds.append((each / (between - began), each / (ended - between)))
            ratios.append(speeds[-1][1] / speeds[-1][0])
            memory.append(server.memory())
            for number, (seconds, status, data) in zip(numbers, answers, strict=True):
                latencies.append(seconds)
                statuses[status] += 1
                wrong += status == 200 and digest(data) != expected[number % KINDS]
            print(
                f"round {turn + 1}: engine {speeds[-1][0]:.1f}, server {speeds[-1][1]:.1f} pictures/s, "
                f"ratio {ratios[-1]:.2f}, memory {memory[-1] / 1e6:.0f} MB"
            )
    total = each * arguments.rounds
    deciles = statistics.quantiles(latencies, n=100)
    p50, p95 = deciles[49], deciles[94]
    late = [held for turn, held in enumerate(memory) if (turn + 1) * each >= min(50, total // 8)]
    swing = max(late) / late[0] - 1, min(late) / late[0] - 1
    print(f"statuses {dict(statuses)}, {wrong} wrong; p50 {p50:.3f} s, p95 {p95:.3f} s ({p95 / p50:.2f} x p50)")
    print(f"memory since request {min(50, total // 8)}: {swing[1]:+.1%} to {swing[0]:+.1%}")
    return all(
        (
            tell(
                f"{total} requests from {arguments.clients} clients: none lost, none wrong",
                statuses[200] == total and not wrong,
            ),
            tell(
                f"pictures/s {statistics.median(ratios):.0%} of the engine's (median of rounds), >= 90 %",
                statistics.median(ratios) >= 0.9,
            ),
            tell("p95 <= 2 x p50", p95 <= 2 * p50),
            tell("memory within 5 % of what it was", max(map(abs, swing)) <= 0.05),
        )
    )


def tell(claim: str, holds: bool) -> bool:
    """Print whether a target is met."""
    print(f"{'met   ' if holds else 'MISSED'}  {claim}")
    return holds


# -- chaos ------------------------------------------------------------------------------------------------------


def chaos(arguments: argparse.Namespace) -> bool:
    """Everything at once that clients and systems do to a server; whether every accepted job came to an end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.jpg"
        photo(1, 256).save(file)
        data = file.read_bytes()
    quick = form({"photo": data, "style": "great-wave"})
    slow = form({"photo": data, "style": data, "preset": "quick", "size": "96", "steps": "40"})
    with studio("--upload-seconds", "2", "--queue", "32", "--jobs-per-client", "48", *arguments.studio) as server:
        found = Chaos(server, quick, slow, time.monotonic() + arguments.chaos)
        threads = [threading.Thread(target=found.client, args=(seed,)) for seed in range(12)]
        threads.append(threading.Thread(target=found.killer))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found.told()


def ending(status: int, answer: bytes) -> str:
    """A status, of an error with the problem's name."""
    return f"{status} {json.loads(answer)['type'].rpartition(':')[2]}" if status >= 400 else str(status)


class Chaos:
    """Clients of every kind, until a time."""

    def __init__(self, server: Server, quick: bytes, slow: bytes, until: float) -> None:
        self.server, self.quick, self.slow, self.until = server, quick, slow, until
        self.seen: Counter[str] = Counter()
        self.jobs: list[str] = []
        self.hung: list[str] = []
        self.lock = threading.Lock()

    def count(self, what: str) -> None:
        with self.lock:
            self.seen[what] += 1

    def client(self, seed: int) -> None:
        draw = random.Random(seed)
        kinds = (self.plain, self.plain, self.leaves, self.creeps, self.malformed, self.job, self.job, self.watches)
        while time.monotonic() < self.until:
            kind = draw.choice(kinds)
            try:
                self.count(f"{kind.__name__} {kind(draw)}")
            except (OSError, http.client.HTTPException) as error:
                self.count(f"{kind.__name__} {type(error).__name__}")

    def plain(self, draw: random.Random) -> str:
        return ending(*self.server.ask("POST", "/v1/stylize", draw.choice((self.quick, self.slow))))

    def leaves(self, draw: random.Random) -> str:
        """In the middle of sending, or of waiting."""
        body = draw.choice((self.quick, self.slow))
        with socket.create_connection((self.server.host, self.server.port)) as line:
            line.sendall(self.head(len(body)) + body[: draw.choice((0, 100, len(body) // 2, len(body)))])
            time.sleep(draw.random() * 0.3)
        return "left"

    def creeps(self, draw: random.Random) -> str:
        """Sends so slowly that it is not waited for."""
        with socket.create_connection((self.server.host, self.server.port), timeout=20) as line:
            line.sendall(self.head(len(self.quick)))
            for at in range(0, 4000, 100):
                line.sendall(self.quick[at : at + 100])
                time.sleep(0.1)
            return line.recv(64).split(b" ")[1].decode()

    def malformed(self, draw: random.Random) -> str:
        body = bytearray(self.quick)
        for _ in range(draw.randint(1, 200)):
            body[draw.randrange(len(body))] = draw.randrange(256)
        return ending(*self.server.ask("POST", "/v1/stylize", bytes(body[: draw.randrange(1, len(body))])))

    def job(self, draw: random.Random) -> str:
        status, answer = self.server.ask(
            "POST", "/v1/stylize", draw.choice((self.quick, self.slow)), Prefer="respond-async"
        )
        if status == 202:
            with self.lock:
                self.jobs.append(json.loads(answer)["links"]["self"])
        return ending(status, answer)

    def watches(self, draw: random.Random) -> str:
        """Looks at a job that somebody began, or cancels it."""
        with self.lock:
            job = draw.choice(self.jobs) if self.jobs else "/v1/jobs/none"
        method, path = draw.choice((("GET", ""), ("GET", "/preview"), ("GET", "/result"), ("DELETE", "")))
        return f"{method}{path} {ending(*self.server.ask(method, job + path))}"

    def head(self, length: int) -> bytes:
        head = (
            f"POST /v1/stylize HTTP/1.1\r\nHost: {self.server.host}:{self.server.port}\r\nContent-Length: {length}\r\n"
        )
        return f"{head}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()

    def killer(self) -> None:
        """Kills a worker now and then, when all are ready: else a slow machine would have none most of the time."""
        draw = random.Random(99)
        while time.monotonic() < self.until:
            time.sleep(1 + 2 * draw.random())
            all_ready = b'impasto_workers_ready{queue="auto"} 2.0' in self.server.ask("GET", "/metrics")[1]
            if all_ready and (workers := self.server.workers()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(workers), signal.SIGKILL)
                self.count("worker killed")

    def told(self) -> bool:
        """What became of all that."""
        by, ends = time.monotonic() + 120, Counter()
        for job in self.jobs:
            while True:
                status, answer = self.server.ask("GET", job)
                state = json.loads(answer).get("state") if status == 200 else "deleted"
                if state not in ("queued", "running"):
                    break
                if time.monotonic() > by:
                    self.hung.append(job)
                    break
                time.sleep(0.1)
            ends[str(state)] += 1
            self.server.ask("DELETE", job)
        while self.server.left() and time.monotonic() < by:
            time.sleep(0.1)
        for what, count in sorted(self.seen.items()):
            print(f"{count:6} {what}")
        print(f"accepted jobs: {dict(ends)}")
        alive = self.server.ask("POST", "/v1/stylize", self.quick)[0]
        strange = [what for what in self.seen if what.endswith(" 500 fault")]
        return all(
            (
                tell(f"{len(self.jobs)} accepted jobs all ended, none hangs", not self.hung),
                tell("it still paints afterwards", alive == 200),
                tell(f"nothing is left in the temporary folder {self.server.left()}", not self.server.left()),
                tell(f"no fault but of processes that were killed {strange}", not strange),
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--style", default="great-wave")
    parser.add_argument("--chaos", type=float, default=0, metavar="SECONDS")
    parser.add_argument(
        "--studio", nargs=argparse.REMAINDER, default=[], help="options of `impasto studio`, at the end"
    )
    arguments = parser.parse_args()
    print("holds" if (chaos if arguments.chaos else load)(arguments) else "MISSED")


if __name__ == "__main__":
    main()
