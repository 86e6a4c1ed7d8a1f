"""Painting in bulk: is every picture there exactly once whatever is killed, how fast is it, and does it know its way?

    python benchmarks/bulk.py faults [--pictures 5000] [--store local|s3] [--on local|ray] [--nodes 2] [--every 5]
    python benchmarks/bulk.py speed [--pictures 120] [--rounds 3] [--on local|ray]
    python benchmarks/bulk.py memory [--pictures 5000] [--on local|ray]
    python benchmarks/bulk.py ids [--ids 1000000]
    python benchmarks/bulk.py costs [--sides 512 1024 2048] [--core-hour 0.04] [--gets 0.0004] [--puts 0.005]

``faults`` paints pictures of 96 px while every few seconds a worker is killed, once the one who hands out, once a node
(on one machine: all of its processes at once), and while two of a hundred calls of the store fail. It begins again
until a run comes to its end, then counts outputs, rows of the manifest and hashes. ``s3`` is moto's server on loopback.

``speed`` compares pictures a second at 512 px with a plain loop of one engine for each core, in turns. ``memory`` tells
what workers hold after 500 pictures and at the end. ``ids`` makes a target of a million finished ids and tells how long
a run takes to know what is left, and in what memory. ``costs`` measures what a picture takes of a core and of an object
store, and tells what a million come to at the prices that are given. A Ray cluster is one of this machine, by Ray's
test utility; with ``--nodes 0`` it is the one that the command itself starts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

ERRORS = 0.02  # of a store's calls
STYLE = ("--style", "great-wave", "--engine", "light")
ACTOR = "ray::MapWorker"
COMMAND = (sys.executable, "-c", "from impasto.cli.app import main; main()", "bulk")
S3 = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}  # moto asks for some
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Several nodes on a machine that computes are slow to start, and slow to answer.
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_health_check_timeout_ms": "30000",
}
STARTS = 4  # times that a node is started which has not been heard of after half a minute

# A plug-in of fsspec's: a local folder whose calls fail now and then, before or after they do what they are asked.
SHAKY = """
import random, threading
from fsspec.implementations.local import LocalFileSystem
inside = threading.local()  # what a call calls itself does not fail
def shaken(name):
    def call(self, *given, **more):
        if getattr(inside, "one", False): return getattr(LocalFileSystem, name)(self, *given, **more)
        inside.one = True
        try:
            if random.random() < {errors} / 2: raise OSError("503 Slow Down")
            found = getattr(LocalFileSystem, name)(self, *given, **more)
            if random.random() < {errors} / 2: raise OSError("500 Internal Error")
            return found
        finally:
            inside.one = False
    return call
class Shaky(LocalFileSystem):
    protocol = "shaky"
for name in ("cat_file", "get_file", "put_file", "pipe_file", "mv", "ls", "info", "isfile"):
    setattr(Shaky, name, shaken(name))
"""


def make_pictures(folder: Path, count: int, side: int) -> None:
    """JPEGs of coarse noise, each another, in folders of a thousand."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        blotches = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        Image.fromarray(blotches).resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(path, quality=90)


def children(parent: int, title: str = "") -> list[int]:
    """Processes below another whose command holds a text."""
    found, parents = [], {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    for process in parents:
        above = process
        while above in parents and above != parent:
            above = parents[above]
        with suppress(OSError):
            if above == parent != process and title in Path(f"/proc/{process}/cmdline").read_text():
                found.append(process)
    return found


def held(process: int) -> int:
    """Bytes of memory that a process has now."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    return 0


# -- where it runs ------------------------------------------------------------------------------------------------


class Machine:
    """This machine alone: workers are below the command."""

    def __init__(self, address: str = "local") -> None:
        self.address, self.title = address, "spawn_main" if address == "local" else ACTOR

    def workers(self, command: int) -> list[int]:
        return children(command, self.title)

    def kill_node(self, command: int) -> None:
        """All processes at once."""
        os.killpg(command, signal.SIGKILL)


class Nodes(Machine):
    """A Ray cluster on this machine, one CPU a node."""

    def __init__(self, count: int) -> None:
        os.environ.update(RAY)
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        self.add_node(num_cpus=0, include_dashboard=False)
        for number in range(count):
            self.add_node(num_cpus=1)
            print(f"\rnodes: {number + 1}", end="", flush=True)
        super().__init__(f"ray={self.cluster.address}")

    def add_node(self, **about: object) -> None:
        """One after the other: each starts six processes."""
        for left in reversed(range(STARTS)):
            try:
                self.cluster.add_node(wait=False, **about)
            except Exception as error:
                if not left or "timed out" not in str(error):
                    raise
                print(f"\n{error}", flush=True)
            else:
                return

    def workers(self, command: int) -> list[int]:
        return children(os.getpid(), self.title)

    def kill_node(self, command: int) -> None:
        """One of them, and another comes in its place."""
        self.cluster.remove_node(random.choice(sorted(self.cluster.worker_nodes, key=str)), allow_graceful=False)
        self.add_node(num_cpus=1)


@contextmanager
def machine(on: str, nodes: int) -> Iterator[Machine]:
    if on == "local" or not nodes:
        yield Machine(on)
        return
    found = Nodes(nodes)
    try:
        yield found
    finally:
        found.cluster.shutdown()


@contextmanager
def store(kind: str, folder: Path, errors: float = ERRORS) -> Iterator[tuple[str, str]]:
    """Addresses of source and target in a store of whose calls some fail."""
    if kind == "local":
        plug = folder / "plug"
        (plug / "shaky-1.dist-info").mkdir(parents=True)
        (plug / "shaky-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 1\n")
        (plug / "shaky-1.dist-info" / "entry_points.txt").write_text("[fsspec.specs]\nshaky = shaky:Shaky\n")
        (plug / "shaky.py").write_text(SHAKY.format(errors=errors))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(plug), *filter(None, [os.environ.get("PYTHONPATH")])])
        sys.path.insert(0, str(plug))
        yield f"shaky://{folder}/photos", f"shaky://{folder}/out"
        return
    os.environ.update(S3)
    server = get_context("spawn").Process(target=serve_s3, args=(folder / "port", errors), daemon=True)
    server.start()
    while not (folder / "port").exists():
        time.sleep(0.1)
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{(folder / 'port').read_text()}"
    import fsspec

    s3 = fsspec.filesystem("s3")
    s3.mkdir("photos")
    s3.mkdir("painted")
    s3.put(f"{folder}/photos/", "photos/in/", recursive=True)
    try:
        yield "s3://photos/in", "s3://painted/out"
    finally:
        server.kill()


def serve_s3(port_file: Path, errors: float) -> None:
    """moto's server on a free port of loopback.

    Some requests are answered with 503, before or after they were done. Asked for ``/requests`` it tells how many there
    were of each kind.
    """
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    inner, shaken = DomainDispatcherApplication(create_backend_app), random.Random(0)
    kinds = Counter[str]()

    def application(environment, answer):
        if environment["PATH_INFO"] == "/requests":
            answer("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(kinds).encode()]
        kinds["LIST" if "list-type" in environment["QUERY_STRING"] else environment["REQUEST_METHOD"]] += 1
        fails = environment["PATH_INFO"].startswith("/painted/") and shaken.random() < errors
        if fails and shaken.random() < 0.5:
            answer("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>for a moment</Message></Error>"]
        found = inner(environment, (lambda *_: None) if fails else answer)
        if fails:
            answer("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>after all</Message></Error>"]
        return found

    server = make_server("127.0.0.1", 0, application, threaded=True)
    port_file.with_suffix(".new").write_text(str(server.port))
    port_file.with_suffix(".new").rename(port_file)
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.serve_forever()


# -- faults -------------------------------------------------------------------------------------------------------


def faults(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        folder = Path(name)
        make_pictures(folder / "photos", given.pictures, 96)
        with store(given.store, folder) as (source, target), machine(given.on, given.nodes) as where:
            told = Counter[str]()
            began = time.monotonic()
            schedule = {"who hands out": given.pictures // 3, "a node": given.pictures * 2 // 3}
            while not paint_under_fire(given, where, source, target, schedule, told):
                count_rows(target, told)
            seconds = time.monotonic() - began
            count_rows(target, told)
            check(given, target, told, seconds)


def paint_under_fire(
    given: argparse.Namespace, where: Machine, source: str, target: str, schedule: dict[str, int], told: Counter[str]
) -> bool:
    """Start the command and kill what is to be killed; True if it comes to its end."""
    told["runs"] += 1
    arguments = (*COMMAND, source, target, *STYLE, "--on", where.address, "--json-progress")
    command = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    ended = threading.Event()

    def kill_workers() -> None:
        while not ended.wait(given.every):
            if workers := where.workers(command.pid):
                with suppress(ProcessLookupError):
                    os.kill(random.choice(workers), signal.SIGKILL)
                    told["workers killed"] += 1

    killer = threading.Thread(target=kill_workers)
    killer.start()
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(command.stderr))
    reader.start()
    try:
        for line in command.stdout:
            if not line.startswith("{"):
                told["other lines on stdout"] += 1
                print(f"\n{line.rstrip()}")
                continue
            record = json.loads(line)
            done = record["done"] + record["before"]
            print(f"\r{done} of {record['total']}, {record['rate']:.1f}/s   ", end="", flush=True)
            for what in [what for what, count in schedule.items() if done >= count]:
                del schedule[what]
                told[f"killed: {what}"] += 1
                where.kill_node(command.pid) if what == "a node" else command.kill()
                break
    finally:
        ended.set()
        code = command.wait()
        killer.join()
        reader.join()
    if code not in (0, -signal.SIGKILL, 2):
        sys.stderr.writelines(errors[-20:])
        raise SystemExit(f"the command ended with {code}")
    if code == 2:
        told["ended with a sentence"] += 1
        print(f"\n{errors[-1].strip()}")
        time.sleep(2)
        if told["ended with a sentence"] > 10:
            raise SystemExit("again and again")
    return code == 0


def count_rows(target: str, told: Counter[str]) -> None:
    """Rows of one id that say twice that it is painted, as they lie now."""
    from impasto.bulk.manifest import Rows
    from impasto.bulk.stores import Store

    painted = Counter(row.id for row in Rows(Store(target)) if row.done)
    told["noted twice"] += sum(count - 1 for count in painted.values())
    told["ids noted"] = len(painted)


def check(given: argparse.Namespace, target: str, told: Counter[str], seconds: float) -> None:
    from impasto.bulk.checking import verify
    from impasto.bulk.stores import Store
    from impasto.bulk.work import run_name

    *_, found = verify(target, run_name())
    report = json.loads(Store(target).read("impasto-report.json"))
    print(f"\n{given.on} on {given.store}, {given.pictures} pictures of 96 px, {seconds:.0f} s")
    for name, count in told.items():
        print(f"  {name}: {count}")
    print(f"  outputs good {found.good}, damaged {found.damaged}, missing {found.missing}, orphaned {found.orphaned}")
    print(f"  last run: {report['done']} painted, {report['failed']} failed, {report['found']} found")
    if found.good != given.pictures or found.faults or told["noted twice"] or told["ids noted"] != given.pictures:
        raise SystemExit("NOT exactly once")
    print("  exactly once")


# -- speed and memory ---------------------------------------------------------------------------------------------


def loop(files: list[str], folder: str, results, paints: str = "light") -> None:
    """What one engine does with one core, in a plain loop: when each picture was finished, and the core's seconds."""
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it loads
    from impasto.core.threads import share_cores

    share_cores(1)
    from impasto.stylizer.engine import Engine
    from impasto.stylizer.job import Output
    from impasto.stylizer.request import StylizeRequest

    engine, request = Engine(), StylizeRequest.of(style="great-wave", engine=paints)
    marks = []
    for file in files:
        output = Output(f"{folder}/{Path(file).name}", force=True)
        with engine.job(file, request, output=output) as job:
            for _ in job.run():
                pass
        marks.append((time.monotonic(), time.process_time()))
    results.put(marks)


def rate(marks: list[float], skipped: int) -> float:
    """Pictures a second between the first few and the last few, when not all were at work."""
    marks = sorted(marks)[skipped : len(marks) - skipped]
    return (len(marks) - 1) / (marks[-1] - marks[0])


def plain(files: list[str], folder: Path) -> float:
    context, cores = get_context("spawn"), len(os.sched_getaffinity(0))
    results = context.Queue()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    workers = [context.Process(target=loop, args=(files[n::cores], str(folder), results)) for n in range(cores)]
    for worker in workers:
        worker.start()
    marks = [mark for _ in workers for mark, _ in results.get()]
    for worker in workers:
        worker.join()
    return rate(marks, 2 * cores)


def in_bulk(photos: Path, target: Path, where: Machine) -> float:
    from impasto.bulk.manifest import Rows
    from impasto.bulk.stores import Store

    shutil.rmtree(target, ignore_errors=True)
    arguments = (*COMMAND, str(photos), str(target), *STYLE, "--on", where.address)
    subprocess.run(arguments, check=True, capture_output=True)
    return rate([row.time for row in Rows(Store(target))], 2 * len(os.sched_getaffinity(0)))


def speed(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bulk-") as name, machine(given.on, given.nodes) as where:
        folder = Path(name)
        make_pictures(folder / "photos", given.pictures, 512)
        files = sorted(map(str, (folder / "photos").rglob("*.jpg")))
        pairs = []
        for number in range(given.rounds):
            turns = {
                "plain": lambda: plain(files, folder / "plain"),
                "bulk": lambda: in_bulk(folder / "photos", folder / "out", where),
            }
            found = {turn: turns[turn]() for turn in (sorted(turns, reverse=number % 2 == 1))}
            pairs.append(found["bulk"] / found["plain"])
            print(f"plain loop {found['plain']:.2f}/s, {given.on} {found['bulk']:.2f}/s: {pairs[-1]:.1%}", flush=True)
        print(f"{given.on}: median {statistics.median(pairs):.1%} of a plain loop, {given.pictures} pictures of 512 px")


def one_core(files: list[str], folder: Path, paints: str) -> tuple[float, float]:
    """Seconds of a picture by the clock and of the core, both the median; the first few warm up."""
    context = get_context("spawn")
    results = context.Queue()
    worker = context.Process(target=loop, args=(files, str(folder), results, paints))
    worker.start()
    marks = np.array(results.get())  # (pictures, 2)
    worker.join()
    clock, core = np.median(np.diff(marks, axis=0)[2:], axis=0)
    return float(clock), float(core)


def requests_of_a_picture(folder: Path, pictures: int) -> dict[str, float]:
    """What an object store is asked for a picture, by kind: of twice as many pictures less those of as many."""
    from urllib.request import urlopen

    make_pictures(folder / "photos", 2 * pictures, 96)
    counts: list[Counter[str]] = [Counter()]
    with store("s3", folder, 0.0) as (source, target):
        for part, painted in ((f"{source}/**/*[02468].jpg", "half"), (source, "all")):
            before = json.loads(urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/requests").read())
            subprocess.run((*COMMAND, part, f"{target}-{painted}", *STYLE), check=True, capture_output=True)
            after = json.loads(urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/requests").read())
            counts.append(Counter(after) - Counter(before))
    return {kind: (counts[2][kind] - counts[1][kind]) / pictures for kind in counts[2]}


def costs(given: argparse.Namespace) -> None:
    print("| long side | engine | core seconds a picture | core hours a million | at the price given |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        for side in given.sides:
            photos = Path(name, str(side))
            make_pictures(photos, given.pictures, side)
            for paints in given.engines:
                Path(name, "painted").mkdir(exist_ok=True)
                clock, core = one_core(sorted(map(str, photos.rglob("*.jpg"))), Path(name, "painted"), paints)
                hours = core * 1e6 / 3600
                print(f"| {side} px | {paints} | {core:.3f} | {hours:.0f} | {hours * given.core_hour:.2f} |", end="")
                print(f"  {clock:.3f} s by the clock" if clock > 1.1 * core else "", flush=True)
        if given.gets or given.puts:
            asked = requests_of_a_picture(Path(name, "s3"), 100)
    if given.gets or given.puts:
        puts = sum(asked.get(kind, 0) for kind in ("PUT", "LIST", "POST"))
        gets = sum(asked.get(kind, 0) for kind in ("GET", "HEAD"))
        print("an object store is asked for each: " + ", ".join(f"{n:.2f} {kind}" for kind, n in asked.items()))
        price = (gets * given.gets + puts * given.puts) * 1e3
        print(f"a million: {price:.2f}, at {given.gets} a thousand GET and HEAD, {given.puts} a thousand others")


def memory(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bulk-") as name, machine(given.on, given.nodes) as where:
        folder = Path(name)
        make_pictures(folder / "photos", given.pictures, 96)
        arguments = (
            *COMMAND,
            str(folder / "photos"),
            str(folder / "out"),
            *STYLE,
            "--on",
            where.address,
            "--json-progress",
        )
        command = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        seen: list[tuple[int, float, float]] = []
        for line in command.stdout:
            workers, record = [held(one) for one in where.workers(command.pid)], json.loads(line)
            if workers and "ended" not in record:  # when rows have been put together, and the report been made
                seen.append((record["done"], statistics.mean(workers) / 1e6, held(command.pid) / 1e6))
        command.wait()
    for goal in (500, 1000, 2000, 3000, 4000, given.pictures):
        done, worker, driver = min(seen, key=lambda one: abs(one[0] - goal))
        print(f"after {done}: a worker {worker:.1f} MB, who hands out {driver:.1f} MB")
    first, last = (min(seen, key=lambda one: abs(one[0] - goal)) for goal in (500, given.pictures))
    print(f"{given.on}: a worker {last[1] / first[1] - 1:+.1%}, who hands out {last[2] / first[2] - 1:+.1%}")


# -- ids ----------------------------------------------------------------------------------------------------------


def ids(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="bulk-") as name:
        make_ids(Path(name), given.ids)
        for step in ("know", "compact", "know"):
            subprocess.run([sys.executable, __file__, "step", step, name], check=True)


def name_of(number: int) -> str:
    return f"archive/{number // 10000:05d}/photo-{number:09d}.jpg"


def make_ids(folder: Path, count: int) -> None:
    """A manifest of the source with a thousand more than are done, and rows of four workers."""
    from impasto.bulk.manifest import ROWS
    from impasto.bulk.work import Row

    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"path": name_of(number)}) + "\n" for number in range(count + 1000))
    rows = folder / "out" / ROWS
    rows.mkdir(parents=True)
    for worker in range(4):
        with (rows / f"run-{worker:04d}.jsonl").open("w") as file:
            for number in range(worker, count, 4):
                path, hashes = name_of(number), (f"{number:064x}", f"{number * 7:064x}")
                facts = (f"/photos/{path}", 54321, hashes[0], path, 65432, hashes[1], 0.05)
                file.write(Row(path, KEY, 1e9 + number, f"run-{worker:04d}", *facts).to_json() + "\n")


KEY = "00112233445566aa"


def step(given: argparse.Namespace) -> None:
    from impasto.bulk.manifest import Rows, compact, load_ledger
    from impasto.bulk.run import survey
    from impasto.bulk.sources import open_source
    from impasto.bulk.stores import Store
    from impasto.bulk.work import Task

    folder, began, busy = Path(given.folder), time.monotonic(), time.process_time()
    target = Store(folder / "out")
    if given.step == "compact":
        compact(target)
        told = "put together into Parquet"
    else:
        rows = Rows(target)
        ledger = load_ledger(rows)
        source, task = open_source(str(folder / "rows.jsonl")), Task({}, {}, target.url)
        left = survey(source, ledger, task, KEY, retries=1, new_recipe=False)
        told = f"{left.to_paint} of {left.total} left, known from {'Parquet' if rows.parquet else 'JSON lines'}"
    seconds, busy = time.monotonic() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{told}: {seconds:.1f} s ({busy:.1f} s of a core), {peak:.0f} MiB at most", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for name, function, pictures in (("faults", faults, 5000), ("speed", speed, 120), ("memory", memory, 5000)):
        kind = kinds.add_parser(name)
        kind.set_defaults(run=function)
        kind.add_argument("--pictures", type=int, default=pictures)
        kind.add_argument("--on", choices=("local", "ray"), default="local")
        kind.add_argument("--nodes", type=int, default=2)
        kind.add_argument("--store", choices=("local", "s3"), default="local")
        kind.add_argument("--every", type=float, default=5.0)
        kind.add_argument("--rounds", type=int, default=3)
    kind = kinds.add_parser("costs")
    kind.set_defaults(run=costs)
    kind.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    kind.add_argument("--engines", choices=("light", "torch"), nargs="+", default=["light", "torch"])
    kind.add_argument("--pictures", type=int, default=15)
    kind.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    kind.add_argument("--gets", type=float, default=0.0004, help="price of a thousand GET and HEAD; 0: no store")
    kind.add_argument("--puts", type=float, default=0.005, help="price of a thousand PUT, POST and listings")
    kind = kinds.add_parser("ids")
    kind.set_defaults(run=ids)
    kind.add_argument("--ids", type=int, default=1_000_000)
    kind = kinds.add_parser("step")
    kind.set_defaults(run=step)
    kind.add_argument("step")
    kind.add_argument("folder")
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
