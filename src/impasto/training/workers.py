"""Processes that read photos: started cleanly, deaf to Ctrl-C, and gone when the main process is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from types import FrameType
from typing import TypeVar

from torch.utils.data import DataLoader

__all__ = ["begin", "start_method", "start_worker"]

T = TypeVar("T")


def start_method(preload: str) -> BaseContext:
    """How to start processes: from a clean one, since forking this one, with its threads, may deadlock.

    The clean process imports the module `preload`, and with it torch, once for all workers.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return context


def start_worker(worker: int) -> None:
    """Leave Ctrl-C to the main process, and end with it: torch only watches the process that forked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def begin(loader: DataLoader[T]) -> tuple[T, Iterator[T]]:
    """The first batch and an iterator over the others; by then all workers have started.

    Ctrl-C reaches every process of a terminal. Workers that are just starting would answer with tracebacks of
    their own, so it waits until they have; a second one is obeyed at once.
    """
    if not loader.num_workers:
        batches = iter(loader)
        return next(batches), batches
    with _interrupt_held():
        with _interrupts_kept_from_children():
            batches = iter(loader)
        return next(batches), batches


@contextlib.contextmanager
def _interrupt_held() -> Iterator[None]:
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield  # interrupts do not come here, or are ignored anyway
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) > 1:
            usual(number, frame)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if held:
        usual(*held[0])


@contextlib.contextmanager
def _interrupts_kept_from_children() -> Iterator[None]:
    """Processes inherit the mask of the thread that starts them, for good."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # before, because starting it would undo the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
