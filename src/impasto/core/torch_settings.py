"""torch's settings, of the process and of a thread: as our code wants them, and put back; see `host`."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

__all__ = ["compute_with", "host_settings", "our_settings"]

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
_UNKNOWN = object()
_SMALLEST = [sys.float_info.min]  # in a list, or the division below would be done when this is compiled


_counting = threading.Lock()


def compute_with(threads: int) -> None:
    """See `host`."""
    with _counting:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        # OpenMP's number is this thread's own; but torch gives it to threads that begin later, unless told otherwise.
        teller = threading.Thread(target=torch.set_num_threads, args=(before,))
        teller.start()
        teller.join()


class _Setting(NamedTuple):
    """One of the process: how it is read and set, which values are as good as ours, ours being the first."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    ours: tuple[Any, ...]

    def value(self) -> Any:
        """What it is now; `_UNKNOWN` where other words than these have set it, or this torch has no such setting."""
        try:
            return self.read()
        except (RuntimeError, AttributeError):
            return _UNKNOWN


def _set_anomaly(enabled: bool) -> None:
    torch.autograd.set_detect_anomaly(enabled, torch.is_anomaly_check_nan_enabled())


def _attribute(owner: Any, name: str, *ours: Any) -> _Setting:
    return _Setting(functools.partial(getattr, owner, name), functools.partial(setattr, owner, name), ours)


@functools.cache
def _process_settings() -> list[_Setting]:
    """What torch itself begins with; products first, since the rows after them say the same in newer words."""
    backends: Any = torch.backends
    rows = [
        _Setting(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
        _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("highest",)),
        _Setting(torch.is_anomaly_enabled, _set_anomaly, (False,)),
        _attribute(backends.mkldnn, "enabled", True),
        _attribute(backends.mkldnn, "deterministic", False),
        _attribute(backends.cudnn, "enabled", True),
        _attribute(backends.cudnn, "benchmark", False),
        _attribute(backends.cudnn, "deterministic", False),
        _attribute(backends.cudnn, "allow_tf32", True),
        _attribute(backends.cuda.matmul, "allow_tf32", False),
        _attribute(backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
    ]
    for owner, ours in (  # since torch 2.9
        (getattr(backends.mkldnn, "matmul", None), ("ieee", "none")),
        (getattr(backends.mkldnn, "conv", None), ("ieee", "none")),
        (backends.cuda.matmul, ("ieee", "none")),
        (getattr(backends.cudnn, "conv", None), ("tf32",)),
    ):
        if owner is not None:
            rows.append(_attribute(owner, "fp32_precision", *ours))
    return rows


class _Process:
    """The settings of the process, ours as long as any thread is inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = self._strict = self._host_mode = 0
        self._before: list[tuple[_Setting, Any]] = []

    def enter(self, *, deterministic: bool) -> None:
        """Count a thread in."""
        with self._lock:
            if self._inside == 0:
                self._host_mode = torch.get_deterministic_debug_mode()
                self._set()
            self._inside += 1
            self._strict += deterministic
            _set_debug_mode(2 if self._strict else 0)

    def leave(self, *, deterministic: bool) -> None:
        """Count it out."""
        with self._lock:
            self._inside -= 1
            self._strict -= deterministic
            if self._inside == 0:
                self._put_back()
                _set_debug_mode(self._host_mode)
            else:
                _set_debug_mode(2 if self._strict else 0)

    def _set(self) -> None:
        told = [(setting, setting.value()) for setting in _process_settings()]
        self._before = [(setting, value) for setting, value in told if value is not _UNKNOWN]
        for setting, _ in self._before:
            if setting.value() not in setting.ours:
                setting.write(setting.ours[0])

    def _put_back(self) -> None:
        for setting, before in self._before:
            if setting.value() != before:  # some say the same in other words, and one sets the other
                setting.write(before)
        self._before.clear()


def _set_debug_mode(mode: int) -> None:
    if torch.get_deterministic_debug_mode() != mode:  # setting it takes a tenth of a millisecond
        torch.set_deterministic_debug_mode(mode)


class _Modes(NamedTuple):
    """The settings of a thread."""

    inference: bool
    gradients: bool
    autocast: tuple[str, ...]
    device: torch.device
    flushes: bool

    @classmethod
    def now(cls) -> _Modes:
        return cls(
            torch.is_inference_mode_enabled(),
            torch.is_grad_enabled(),
            tuple(kind for kind in AUTOCAST if torch.is_autocast_enabled(kind)),
            torch.get_default_device(),
            _SMALLEST[0] / 2 == 0,
        )

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Have these instead of those that are."""
        before = _Modes.now()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(self.inference))
            stack.enter_context(torch.set_grad_enabled(self.gradients))
            for kind in AUTOCAST:
                if (kind in self.autocast) != (kind in before.autocast):
                    torch.set_autocast_enabled(kind, kind in self.autocast)
                    stack.callback(torch.set_autocast_enabled, kind, kind in before.autocast)
            if self.device != before.device:
                stack.enter_context(self.device)
            if self.flushes != before.flushes:
                torch.set_flush_denormal(self.flushes)
                stack.callback(torch.set_flush_denormal, before.flushes)
            yield


_OURS = _Modes(inference=False, gradients=True, autocast=(), device=torch.device("cpu"), flushes=False)
_PROCESS = _Process()


class _Here(threading.local):
    """What this thread was like before it came to us; None where it is not inside."""

    before: _Modes | None = None


_HERE = _Here()


@contextmanager
def our_settings(*, deterministic: bool = False) -> Iterator[None]:
    """See `host.our_settings`."""
    if _HERE.before is not None and not deterministic:
        yield
        return
    _PROCESS.enter(deterministic=deterministic)
    try:
        if _HERE.before is not None:
            yield
            return
        _HERE.before = _Modes.now()
        try:
            with _OURS.apply():
                yield
        finally:
            _HERE.before = None
    finally:
        _PROCESS.leave(deterministic=deterministic)


@contextmanager
def host_settings() -> Iterator[None]:
    """See `host.host_settings`."""
    before = _HERE.before
    if before is None:
        yield
        return
    _HERE.before = None
    _PROCESS.leave(deterministic=False)
    try:
        with before.apply():
            yield
    finally:
        _PROCESS.enter(deterministic=False)
        _HERE.before = before
