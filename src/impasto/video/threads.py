"""Items of a film on their way from thread to thread, in their order."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

__all__ = ["AHEAD", "REAL_TIME", "ahead", "scheduled_as_before", "side_by_side"]

T = TypeVar("T")
R = TypeVar("R")
AHEAD: Final = 2  # paintings' frames, with what is between them
FINISHED: Final = 2  # by several threads before they are asked for: without, they wait for whoever asks
NAME: Final = "impasto-film"
REAL_TIME: Final = {getattr(os, name) for name in ("SCHED_FIFO", "SCHED_RR") if hasattr(os, name)}
_END: Final = object()
LATER: Final = 0.1  # seconds after which a thread that waits looks whether it is still wanted


@contextmanager
def scheduled_as_before() -> Iterator[None]:
    """Give this thread, and those that begin meanwhile, the scheduling back that this one had.

    Where it may, as root, SVT-AV1 makes its threads real-time ones, and with them for good the one that opens it, and
    so all programs that this starts: nothing else gets the processor then (findings/svt-av1-real-time.sh).
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux alone
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if policy not in REAL_TIME:
            for thread in map(int, os.listdir("/proc/self/task")):  # noqa: PTH208  numbers, not paths
                with suppress(OSError):  # it has ended
                    if os.sched_getscheduler(thread) in REAL_TIME:
                        os.sched_setscheduler(thread, policy, parameters)


def side_by_side(
    items: Iterable[T],
    work: Callable[[T], R],
    workers: int,
    begin: Callable[[], None] | None = None,
    *,
    in_advance: bool = True,
) -> Generator[tuple[T, R], None, None]:
    """Each item with what `work` makes of it, by so many threads at once.

    Args:
        items: what is worked on.
        work: what is done with each.
        workers: how many threads.
        begin: called by each thread before its first item, if there is something to be done.
        in_advance: whether the next ones are worked on while whoever asks is busy with one.
    """
    pool, most = ThreadPoolExecutor(workers, NAME, begin), workers + (FINISHED if workers > 1 else 0)
    most = most if in_advance else 0
    going: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            going.append((item, pool.submit(work, item)))
            if len(going) > most:
                yield _done(going)
        while going:
            yield _done(going)
    finally:
        pool.shutdown(cancel_futures=True)


def _done(going: deque[tuple[T, Future[R]]]) -> tuple[T, R]:
    item, future = going.popleft()
    return item, future.result()


def ahead(items: Iterator[T], count: int = AHEAD) -> Generator[T, None, None]:
    """The same items, which a thread fetches up to so many before they are asked for.

    The items' own generator is run, and closed, by that thread; closing this one waits for it. Errors come out here.
    """
    thread = _Fetching(items, count)
    thread.start()
    try:
        while (item := thread.take()) is not _END:
            yield item
        if thread.error is not None:
            raise thread.error
    finally:
        thread.stop()


class _Fetching(threading.Thread):
    """Puts what an iterator gives into a queue, then an end, unless it is stopped before."""

    def __init__(self, items: Iterator[Any], count: int) -> None:
        super().__init__(name="impasto-film", daemon=True)
        self.error: BaseException | None = None
        self._items, self._wanted = items, True
        self._fetched: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(count)  # for items that are fetched and not yet taken

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            while self._has_room():
                self._fetched.put(next(self._items))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised again where items are asked for
            self.error = error
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            self._fetched.put(_END)

    def take(self) -> Any:
        """The next item, when it is there, or the end."""
        item = self._fetched.get()
        self._room.release()
        return item

    def stop(self) -> None:
        """Fetch no more, and wait until what is being fetched is there."""
        self._wanted = False
        self.join()

    def _has_room(self) -> bool:
        """Whether one more item is wanted, when there is room for it."""
        while self._wanted:
            if self._room.acquire(timeout=LATER):
                return self._wanted
        return False
