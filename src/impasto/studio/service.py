"""Painting for many: a queue of jobs for each device, worker processes that paint them, limits on all of it.

The page and the HTTP interface use the same service. It knows neither of them, and needs no extra.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, get_args

from impasto.core.backbones import BACKBONES
from impasto.core.memory import available_memory, ceiling, shown_bytes
from impasto.core.threads import usable_cores
from impasto.errors import ImpastoError, OptionError, nearest
from impasto.imaging import as_picture, write
from impasto.imaging.formats import FORMATS
from impasto.networks.shipped import shipped_models
from impasto.studio.jobs import Failure, StudioJob
from impasto.studio.keeper import Keeper
from impasto.studio.limits import Limits
from impasto.stylizer.request import OutputOptions, StylizeRequest
from impasto.stylizer.route import gallery_styles
from impasto.stylizer.styles import Style, StyleRecord
from impasto.stylizer.written import check_written
from impasto.types import Init, PictureSource

__all__ = ["PAGE", "BusyError", "Observer", "Service"]

LEAST: Final = 400_000_000  # bytes in which a process paints the smallest picture: it holds three quarters before
TIDY: Final = 1.0  # seconds between looks for jobs that have been kept long enough
PAGE: Final = "page"  # the queue of what somebody at the page waits for
FOLDERS: Final = "impasto-studio-"
LOCK: Final = ".lock"
REMEMBERED: Final = 4096  # cancelled jobs that are known to have been
YOUNG: Final = 60  # seconds for which a folder's owner may be about to lock it

_log = logging.getLogger(__name__)


class BusyError(ImpastoError):
    """The service takes no job now.

    Attributes:
        why: ``queue`` is full, the ``client`` has as many jobs as it may have, or the service is ``stopping``.
        retry_after: seconds after which it may be worth trying again.
    """

    def __init__(self, message: str, why: str, retry_after: int) -> None:
        super().__init__(message)
        self.why, self.retry_after = why, retry_after


class Observer:
    """What may be told of all jobs, for counting; what is not overridden is not counted."""

    def ended(self, job: StudioJob) -> None:
        """A job has ended."""

    def painted(self, seconds: Mapping[str, float]) -> None:
        """A picture was painted, in so many seconds by phase."""

    def refused(self, why: str) -> None:
        """A job was not taken."""


class Service:
    """Takes requests, and has them painted by worker processes. Threads may share it; a context manager.

    Args:
        limits: what clients may ask for.
        devices: such as ``cpu`` or ``cuda:0``; each has its own queue and its own processes. ``auto`` is the best one.
        workers: processes for each device; None is one for every core, two at most.
        for_page: whether what somebody at the page waits for, previews and the opening of pictures, has a queue and a
            process of its own, on the first device; else it waits with everything else.

    Raises:
        OptionError: too little memory for so many processes.

    Attributes:
        observers: are told of all jobs.
        queues: the devices, and `PAGE` where that has one.
        styles: those that are known by name.
        place: the folder that all files of jobs are in.
        share: bytes of memory that each process may hold.
        stops_at: when running jobs are ended, by `time.monotonic`; infinite as long as the service takes jobs.
        ended: set once it does nothing any more.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        devices: Sequence[str] = ("auto",),
        workers: int | None = None,
        for_page: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self.devices = tuple(devices)
        self.queues = (*self.devices, PAGE) if for_page else self.devices
        each = workers or min(2, usable_cores())
        processes = [(device, device) for device in self.devices for _ in range(each)]
        processes += [(queue, self.devices[0]) for queue in self.queues[len(self.devices) :]]
        limit, least = self.limits.memory_bytes, LEAST * len(processes)
        if limit is not None and limit < least:
            raise OptionError(
                f"`memory` {self.limits.memory} is too little for what paints here ({len(processes)} x "
                f"{shown_bytes(LEAST)}): give {ceiling(least)} or more, or fewer `workers`",
                "memory",
            )
        self.observers: list[Observer] = []
        self.styles: tuple[StyleRecord, ...] = gallery_styles()
        self.stops_at, self.ended = math.inf, threading.Event()
        self._changed = threading.Condition()
        self._queues: dict[str, deque[StudioJob]] = {queue: deque() for queue in self.queues}
        self._jobs: dict[str, StudioJob] = {}
        self._running: set[StudioJob] = set()
        self._cancelled: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)  # (id, client) of jobs that are forgotten
        self._mean = 1.0  # seconds that a job took of late
        self.place, self._lock = _own_folder()
        self.share = (limit or available_memory()) // len(processes)
        self.keepers = [
            Keeper(self, queue, {"max_memory": self.share, "device": device}) for queue, device in processes
        ]
        for keeper in self.keepers:
            keeper.start()
        threading.Thread(target=self._tidy, name="impasto-tidy", daemon=True).start()

    # -- what front ends call ---------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether each queue has a process that paints, and jobs are taken."""
        able = {keeper.queue for keeper in self.keepers if keeper.ready}
        return able == set(self.queues) and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        """Whether no job is taken any more."""
        return self.stops_at < math.inf

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait for `ready`; whether it came within so many seconds."""
        by = math.inf if timeout is None else time.monotonic() + timeout
        while not self.ready and time.monotonic() < by:
            time.sleep(0.05)
        return self.ready

    def waiting(self, queue: str | None = None) -> int:
        """Jobs in a queue, or in all."""
        with self._changed:
            return sum(len(jobs) for name, jobs in self._queues.items() if queue in (None, name))

    def running(self, queue: str | None = None) -> int:
        """Jobs of a queue, or of all, that are being painted."""
        with self._changed:
            return sum(queue in (None, job.queue) for job in self._running)

    def before(self, job: StudioJob) -> int | None:
        """How many jobs wait before this one; None if it does not wait."""
        with self._changed:
            jobs = self._queues[job.queue]
            return jobs.index(job) if job in jobs else None

    def new_folder(self, kind: str = "job") -> Path:
        """A new folder to put a job's pictures into; `submit` takes it over, `discard` removes it."""
        return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.place))

    def discard(self, folder: Path) -> None:
        """Remove a folder that `new_folder` made."""
        shutil.rmtree(folder, ignore_errors=True)

    def check_room(self, client: str) -> None:
        """BusyError if no job would be taken from this client now."""
        try:
            with self._changed:
                self._check_room(client, self.devices[0])
        except BusyError as error:
            self._refused(error)
            raise

    def submit(
        self,
        photo: PictureSource,
        request: StylizeRequest,
        *,
        options: OutputOptions | None = None,
        format: str = "png",  # noqa: A002  as `imaging.encode` calls it
        recipe: bool = True,
        client: str = "",
        folder: Path | None = None,
        names: Mapping[str, str] | None = None,
        at_page: bool = False,
    ) -> StudioJob:
        """Take a job.

        A text is a name here, never a file: of a style, of a beginning, of a network that ships. Pictures are paths
        (`pathlib.Path`), which stay where they are, or in memory (PIL, arrays).

        Args:
            photo: what is painted.
            request: how.
            options: how the painting is written.
            format: such as ``png`` or ``jpeg``.
            recipe: whether the painting carries how it was made.
            client: who asks.
            folder: a `new_folder` with pictures of the request, which goes with the job.
            names: what messages call its files, by their names there, each ``ROLE-NUMBER``.
            at_page: whether it is a small one that somebody at the page waits for.

        Raises:
            OptionError: a name that is not known here, a limit that is passed, or what else is known at once. What
                is only found out by opening the pictures becomes the job's `Failure`.
            BusyError: too many jobs, or the service is being stopped.
        """
        own = folder or self.new_folder()
        try:
            task = self._task(photo, self._checked(request), options or OutputOptions(), format, recipe, own)
            task["is_told"] = not at_page  # nobody asks how far it is
            queue = self._page_queue if at_page else self._device(request)
        except BaseException:
            self.discard(own)
            raise
        return self._taken(StudioJob(own, task, client, queue, format, names or {}))

    def submit_act(self, act: str, arguments: Mapping[str, Any], *, client: str = "") -> StudioJob:
        """Take one of the acts of `page.acts`, which is done in a process as well. BusyError as of `submit`.

        Args:
            act: its name.
            arguments: in types that JSON has.
            client: who asks.
        """
        task = {"do": "act", "act": act, "arguments": dict(arguments)}
        return self._taken(StudioJob(self.new_folder(), task, client, self._page_queue))

    def job(self, id: str) -> StudioJob | None:  # noqa: A002  the field is called that
        """A job by its id; None if there is none, or not any more."""
        with self._changed:
            return self._jobs.get(id)

    @property
    def jobs(self) -> tuple[StudioJob, ...]:
        """All jobs that are known, from the oldest."""
        with self._changed:
            return tuple(self._jobs.values())

    def cancel(self, job: StudioJob) -> None:
        """Have a job end soon: at once if it waits, after the piece of work it is at or some seconds if it runs."""
        with self._changed:
            waits = job in self._queues[job.queue]
            if waits:
                self._queues[job.queue].remove(job)
            job.asked_to_stop = True
            tell = job.tell_worker
        if waits:
            job.update(state="cancelled")
            self.has_ended(job)
        elif tell is not None:
            tell("stop")

    def was_cancelled(self, id: str, client: str | None) -> bool:  # noqa: A002  the field is called that
        """Whether a job of this client, or of any, was cancelled by `forget`; some thousands are remembered."""
        with self._changed:
            return any(number == id and client in (None, whose) for number, whose in self._cancelled)

    def forget(self, job: StudioJob) -> None:
        """Cancel a job if it has not ended, and remove its files when it has."""
        with self._changed:
            if self._jobs.pop(job.id, None) is not None and job.state in ("queued", "running", "cancelled"):
                self._cancelled.append((job.id, job.client))
        self.cancel(job)
        if job.has_ended:
            self.discard(job.folder)

    def drain(self, seconds: float) -> None:
        """Take no job any more, fail those that wait, and leave those that run so many seconds to finish."""
        with self._changed:
            self.stops_at = min(self.stops_at, time.monotonic() + seconds)
            left = [job for jobs in self._queues.values() for job in jobs]
            for jobs in self._queues.values():
                jobs.clear()
        for job in left:
            message = "the server is being stopped, and had not begun with this: send it again later"
            job.update(state="failed", failure=Failure("stopping", message))
            self.has_ended(job)

    def close(self, seconds: float = 0.0) -> None:
        """Drain, then end all processes and remove all files; twice does no harm."""
        self.drain(seconds)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, seconds + 10)
        self.ended.set()
        with self._changed:
            self._changed.notify_all()
        for keeper in self.keepers:
            keeper.join()
        shutil.rmtree(self.place, ignore_errors=True)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what keepers call ------------------------------------------------------------------------------------

    def next_job(self, queue: str, timeout: float) -> StudioJob | None:
        """The next job of a queue, which counts as running from now on; None if there is none meanwhile."""
        jobs = self._queues[queue]
        with self._changed:
            self._changed.wait_for(lambda: jobs or self.ended.is_set(), timeout)
            if not jobs or self.ended.is_set():
                return None
            job = jobs.popleft()
            self._running.add(job)
            return job

    def has_ended(self, job: StudioJob) -> None:
        """Count a job that has ended, and remove its files if nobody will ask for them."""
        with self._changed:
            self._running.discard(job)
            if job.queue != PAGE and job.began is not None and job.ended is not None:
                self._mean += 0.2 * (job.ended - job.began - self._mean)
            is_known = job.id in self._jobs
            self._changed.notify_all()
        for observer in self.observers:
            observer.ended(job)
        if not is_known:
            self.discard(job.folder)

    def painted(self, seconds: Mapping[str, float]) -> None:
        """Count a picture."""
        for observer in self.observers:
            observer.painted(seconds)

    # -- what is inside ---------------------------------------------------------------------------------------

    @property
    def _page_queue(self) -> str:
        """The queue of what somebody at the page waits for."""
        return PAGE if PAGE in self.queues else self.devices[0]

    def _taken(self, job: StudioJob) -> StudioJob:
        """The job, once it is in its queue. BusyError if there is no room, and its files are gone."""
        try:
            with self._changed:
                self._check_room(job.client, job.queue)
                self._jobs[job.id] = job
                self._queues[job.queue].append(job)
                self._changed.notify_all()
        except BusyError as error:
            self._refused(error)
            self.discard(job.folder)
            raise
        return job

    def _check_room(self, client: str, queue: str) -> None:
        """BusyError where a job has no place. What waits at the page is counted by itself, and so are devices."""
        limits, of_page = self.limits, queue == PAGE
        queued = [job for name, jobs in self._queues.items() if (name == PAGE) == of_page for job in jobs]
        running = [job for job in self._running if (job.queue == PAGE) == of_page]
        # A job that has ended may be among those that run: its client has the picture before we hear of it here.
        active = sum(job.client == client and not job.has_ended for job in (*queued, *running))
        waiting = len(queued)
        if self.is_stopping:
            raise BusyError("the server is being stopped, and takes no work: try again later", "stopping", 30)
        after = 1 if of_page else max(1, math.ceil(self._mean * (waiting + 1) / len(self.keepers)))
        if active >= limits.jobs_per_client:
            raise BusyError(
                f"{active} jobs of yours are waiting or running, and a client may have {limits.jobs_per_client}: wait "
                "for one of them, or cancel it",
                "client",
                after,
            )
        if waiting >= limits.queue:
            raise BusyError(f"{waiting} jobs are waiting, and no more are taken now: try again later", "queue", after)

    def _refused(self, error: BusyError) -> None:
        for observer in self.observers:
            observer.refused(error.why)

    def _device(self, request: StylizeRequest) -> str:
        """The device whose queue is the shortest, or the one that is asked for."""
        if "device" not in request.given or request.device == "auto":
            return min(self.devices, key=lambda device: self.waiting(device) + self.running(device))
        if request.device in self.devices:
            return request.device
        if self.devices == ("auto",):
            return "auto"
        raise OptionError(
            f"`device` {request.device!r} is none of {', '.join(self.devices)}, which paint here", "device"
        )

    def _checked(self, request: StylizeRequest) -> StylizeRequest:
        """The request, if all it names is known here, within the limits."""
        styles = [row.name for row in self.styles]
        for row in request.style:
            _check_name("style", row.image, styles)
        for mask in request.mask:
            _check_name("mask", mask, ())
        _check_name("init", request.init, get_args(Init))
        _check_text("model", request.model, shipped_models())
        _check_text("backbone", request.backbone, list(BACKBONES))
        limits = self.limits
        for name, most in (("max_megapixels", limits.megapixels), ("steps", limits.steps)):
            value = getattr(request, name)
            if name in request.given and value > most:
                given = f"{value:g}" if isinstance(value, float) else value  # of whole numbers even the largest
                raise OptionError(f"`{name}` is {given}, and at most {most:g} is allowed here", name)
        if request.size is not None and request.size > limits.megapixels * 1e6:
            raise OptionError(
                f"`size` is that of no picture of {limits.megapixels:g} megapixels, and more are not painted here: "
                "choose a smaller `size`",
                "size",
            )
        largest = min(request.max_megapixels, limits.megapixels)
        return request.with_changes(max_megapixels=largest)

    def _task(
        self,
        photo: PictureSource,
        request: StylizeRequest,
        options: OutputOptions,
        format: str,  # noqa: A002
        recipe: bool,
        folder: Path,
    ) -> dict[str, Any]:
        if format not in FORMATS:
            raise OptionError(f"`format` is {format!r}{nearest(format, FORMATS)}: use one of {', '.join(FORMATS)}")
        check_written(options.given, [f"painting.{format}"])
        changes: dict[str, Any] = {
            "style": [
                Style(_in_file(row.image, folder, f"style-{i}"), row.weight) for i, row in enumerate(request.style, 1)
            ],
            "mask": [_in_file(mask, folder, f"mask-{i}") for i, mask in enumerate(request.mask, 1)],
            "init": _in_file(request.init, folder, "init"),
        }
        request = request.with_changes(**{name: value for name, value in changes.items() if value})
        return {
            "do": "paint",
            "photo": os.fspath(_in_file(photo, folder, "photo")),
            "request": request.to_json(),
            "options": options.plain(options.given),
            "output": os.fspath(folder / f"painting.{format}"),
            "preview": os.fspath(folder / "preview.jpg"),
            "recipe": recipe,
            "limits": {"steps": self.limits.steps, "megapixels": self.limits.megapixels},
        }

    def _tidy(self) -> None:
        """Remove what has been kept long enough, until the service ends."""
        while not self.ended.wait(TIDY):
            now = time.monotonic()
            with self._changed:
                ended = sorted((job.ended, job.id) for job in self._jobs.values() if job.ended is not None)
            too_many = ended[: max(0, len(ended) - self.limits.kept)]
            too_old = [row for row in ended if now - row[0] > self.limits.kept_seconds]
            for _, number in {*too_many, *too_old}:
                if (job := self.job(number)) is not None:
                    self.forget(job)


def _check_name(option: str, picture: Any, names: Sequence[str]) -> None:
    """OptionError for a text that is none of these names: files are given by their `Path`."""
    if isinstance(picture, str) and picture not in names:
        known = f"use {', '.join(names)}, or send a picture" if names else "send a picture"
        raise OptionError(f"`{option}` {picture!r} is not known here{nearest(picture, names)}: {known}", option)


def _check_text(option: str, value: Any, names: Sequence[str]) -> None:
    if value is not None and value not in names:
        known = f"use {' or '.join(names)}"
        raise OptionError(f"`{option}` {os.fspath(value)!r} is not known here{nearest(value, names)}: {known}", option)


def _in_file(picture: Any, folder: Path, name: str) -> Any:
    """The path of a picture, which is written into the folder if it is in memory; names stay as they are."""
    if picture is None or isinstance(picture, str | os.PathLike):
        return picture
    path = folder / f"{name}.png"
    write(as_picture(picture, min_side=1), path, compression=1)
    return path


def _own_folder() -> tuple[Path, IO[bytes]]:
    """A folder for this service's files, and the lock that says it is in use; those whose owner is gone are removed."""
    import fcntl

    def locked(folder: Path) -> IO[bytes]:
        file = (folder / LOCK).open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise
        return file

    for old in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*"):
        with suppress(OSError):  # another's, or in use
            found = (old / LOCK).stat()
            if found.st_uid == os.getuid() and time.time() - found.st_mtime > YOUNG:
                locked(old).close()
                shutil.rmtree(old, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=FOLDERS))
    return place, locked(place)
