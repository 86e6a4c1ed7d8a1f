"""A process that paints for the studio, one job after the other, as the process that started it says.

Both speak JSON over a socket. Nothing that a stranger sent is opened anywhere but here, so that a decoder that crashes,
or takes too much memory, takes this process alone with it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from impasto.core.store import AbsentError
from impasto.errors import ImpastoError, LayerError, OptionError, WeightsError
from impasto.files import atomic_path, leave_unflushed
from impasto.imaging import fit_long_side
from impasto.imaging.guards import TooLargeError
from impasto.imaging.writing import encode
from impasto.studio.limits import check_job, check_size
from impasto.stylizer.engine import Engine
from impasto.stylizer.job import Job, JobPlan, Output, Progress
from impasto.stylizer.request import OutputOptions, StylizeRequest, finer_settings
from impasto.stylizer.route import UNIVERSAL, gallery_styles

__all__ = ["PREVIEW_SIZE", "main"]

PREVIEW_SIZE: Final = 768
BETWEEN: Final = 0.1  # seconds between two records that are told
MANY: Final = 1_000_000  # pictures that will be painted, for the engine to choose what is quicker in the long run

_log = logging.getLogger(__name__)


def main(handle: int, settings: Mapping[str, Any]) -> None:
    """Paint until the other side closes the socket.

    Args:
        handle: of our end of it.
        settings: ``max_memory`` of the process in bytes, ``device`` for requests that name none.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the process that started us, which closes the socket
        signal.signal(number, signal.SIG_IGN)
    leave_unflushed()  # what is painted here is fetched, and gone
    line = _Line(Connection(handle))
    threading.Thread(target=line.listen, daemon=True).start()
    engine = Engine(max_memory=settings["max_memory"], at_once=1)
    engine.pictures = MANY
    _warm_up(engine, settings["device"])
    line.say("ready")
    for task in line.tasks():
        _carry_out(engine, line, task, settings["device"])


class _Line:
    """What is said to and by the process that started us. A thread listens; the other one paints."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.stopped: set[str] = set()
        self.looked_at: set[str] = set()

    def listen(self) -> None:
        """Take what is said; ends this process, whatever it does, when the other one is gone."""
        try:
            while True:
                told = json.loads(self._connection.recv_bytes())
                if told["do"] in ("paint", "act"):
                    self._tasks.put(told)
                else:
                    {"stop": self.stopped, "preview": self.looked_at}[told["do"]].add(told["id"])
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)  # in the middle of a computation no gentler way is quick

    def tasks(self) -> Iterator[Mapping[str, Any]]:
        """The jobs to be painted."""
        while True:
            task = self._tasks.get()
            yield task
            self.stopped.discard(task["id"])
            self.looked_at.discard(task["id"])

    def say(self, what: str, **facts: Any) -> None:
        """Tell the other process."""
        with self._lock:
            self._connection.send_bytes(json.dumps({"is": what, **facts}, allow_nan=False).encode())


def _warm_up(engine: Engine, device: str) -> None:
    """Load what most requests want; what is wrong with it, such a request will tell."""
    grey = np.full((64, 64, 3), 0.5, np.float32)
    for style in [*(row.name for row in gallery_styles()[:1]), grey]:
        try:
            model = None if isinstance(style, str) else UNIVERSAL
            with engine.job(grey, StylizeRequest.of(style=[style], model=model, device=device)) as job:
                job.plan()
                for _ in job.run():
                    pass
        except ImpastoError as error:
            _log.warning("%s", error)


def _carry_out(engine: Engine, line: _Line, task: Mapping[str, Any], device: str) -> None:
    """Do one job, and tell how that ended."""
    number = task["id"]
    line.say("begun", id=number)
    try:
        ending = _act(task) if task["do"] == "act" else _paint(engine, line, task, device)
    except ImpastoError as error:
        option, asked = _option_of(error, task), task.get("request", {})
        # Whoever asked for no bound is not told to raise it: what there is for a job is the server's.
        kind = "memory" if option == "max_memory" and option not in asked else "request"
        line.say("failed", id=number, kind=kind, message=_for_client(error, task), option=option)
    except MemoryError:
        line.say("failed", id=number, kind="memory", message="", option=None)
    except Exception:  # a fault of ours; the next job may do better  # noqa: BLE001
        line.say("failed", id=number, kind="fault", message=traceback.format_exc(), option=None)
    else:
        line.say(ending.pop("is"), id=number, **ending)


def _option_of(error: ImpastoError, task: Mapping[str, Any]) -> str | None:
    """The field of the request that is to be changed, where it is clear which."""
    asked, told = task.get("request", {}), str(error)
    if isinstance(error, OptionError):
        return error.option
    if isinstance(error, LayerError):
        layers = "content_layers", "style_layers"
        fields = [name for name in layers if any(repr(layer) in told for layer in asked.get(name, ()))]
    else:
        named = ("backbone", "model", "preset", "quality")
        fields = [name for name in named if name in asked and isinstance(error, WeightsError)]
    return fields[0] if fields else None


def _for_client(error: ImpastoError, task: Mapping[str, Any]) -> str:
    """The sentence of an error, with what its reader can do where that is the server's to do."""
    if isinstance(error, AbsentError):
        instead = "choose another" if error.instead is None else f"use another, such as `backbone` {error.instead}"
        return f"{error.backbone} is not on this server: {instead}, or ask whoever runs it to fetch that"
    if isinstance(error, TooLargeError):
        most = task["limits"]["megapixels"] if task["do"] == "paint" else 0
        if task.get("request", {}).get("max_megapixels", most) >= most:
            return f"{error.fact} here: scale it down"
    return str(error)


def _act(task: Mapping[str, Any]) -> dict[str, Any]:
    from impasto.studio.page.acts import ACTS  # here, because without a page there are none

    return {"is": "answer", "answer": ACTS[task["act"]](**task["arguments"])}


def _paint(engine: Engine, line: _Line, task: Mapping[str, Any], device: str) -> dict[str, Any]:
    request = StylizeRequest.from_json(task["request"])
    if "device" not in request.given and device != "auto":
        request = request.with_changes(device=device)
    if unknown := request.settings.keys() - (finer_settings() if request.settings else set()):
        raise OptionError(f"`settings` has {min(unknown)!r}, which is none of the finer settings", "settings")
    check_size(Path(task["photo"]), request, task["limits"]["megapixels"])
    place = Output(task["output"], OutputOptions.of(**task["options"]), recipe=task["recipe"])
    with engine.job(Path(task["photo"]), request, output=place) as job:
        check_job(job, **task["limits"])
        teller = _Teller(line, task["id"])
        if task["is_told"]:
            teller.tell_plan(job.plan())
        with closing(job.run()) as records:
            for record in records:
                if task["id"] in line.stopped:
                    return {"is": "stopped"}
                teller.tell(record)
                if task["id"] in line.looked_at:
                    line.looked_at.discard(task["id"])
                    _show(job, Path(task["preview"]))
                    line.say("preview", id=task["id"])
        return {"is": "done", "notes": list(job.notes), "summary": job.summary(), "seconds": teller.seconds()}


def _show(job: Job, path: Path) -> None:
    """Write the picture so far."""
    picture = job.preview()
    size = fit_long_side((picture.height, picture.width), PREVIEW_SIZE)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode(picture.resized(size, job.resize_by), "jpeg", quality=85))


@dataclass
class _Teller:
    """Tells a job's records, not more often than anybody looks, and adds up how long each phase took."""

    line: _Line
    number: str
    _told: float = -math.inf
    _phase: str = ""
    _since: float = field(default_factory=time.perf_counter)
    _seconds: dict[str, float] = field(default_factory=dict)

    def tell_plan(self, plan: JobPlan) -> None:
        """That nothing is painted yet, and how long it should take: most networks tell nothing else before the end."""
        pieces = plan.pieces if plan.how == "steps" else 1
        self._say("plan", Progress("painting", 0, pieces, left=plan.seconds, size=plan.size))

    def tell(self, record: Progress) -> None:
        """Tell a record, unless one of its phase was told just now."""
        now = time.perf_counter()
        if record.phase != self._phase:
            # A network that paints at once tells nothing before it has painted; others tell that they begin.
            self._phase = self._phase or ("painting" if record.phase == "writing" else "reading")
            self._add(now)
            self._phase, self._told = record.phase, -math.inf
        if record.note is None and now - self._told < BETWEEN:
            return
        self._told = now
        self._say("progress", record)

    def _say(self, what: str, record: Progress) -> None:
        facts = asdict(record)
        facts["losses"] = {name: value for name, value in facts["losses"].items() if math.isfinite(value)}
        self.line.say(what, id=self.number, record=facts)

    def seconds(self) -> dict[str, float]:
        """By phase, up to now."""
        self._add(time.perf_counter())
        return self._seconds

    def _add(self, now: float) -> None:
        phase = self._phase or "painting"
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._since
        self._since = now
