"""torch's settings while our code runs, whatever the program around us has set, and that program's own afterwards.

Some settings belong to the thread (inference, gradients, autocast, the default device, flushing of denormal numbers):
they are entered and left with our code. Others belong to the process (default type, precision of products, oneDNN,
cuDNN, determinism, anomaly detection): only those that differ from ours are touched, by the first thread that comes in,
and put back by the last that leaves, so that threads may paint side by side. Other threads see ours meanwhile.

Left alone are the number of threads and function or dispatch modes, which the program around us means for all it calls;
threads of our own may ask for a number of theirs (`compute_with`).
Where torch is not loaded there is nothing to set, and it is not loaded for this: `torch_settings` does the work.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "compute_with",
    "computing_threads",
    "host_settings",
    "in_host_settings",
    "in_our_settings",
    "our_settings",
    "step_by_step",
    "trainable",
]

P = ParamSpec("P")
R = TypeVar("R")


def our_settings(*, deterministic: bool = False) -> AbstractContextManager[None]:
    """Have the settings that our code is written for: float32 on the processor, exact products, gradients.

    Within itself it leaves the thread's modes alone, so that what is called without gradients stays so. Tensors that
    were made in inference mode can be read within, but not be optimised: clone them (`torch.Tensor.is_inference`).

    Args:
        deterministic: see `torch.use_deterministic_algorithms`; whatever runs at the same time has it too.
    """
    if "torch" not in sys.modules:
        return nullcontext()
    from impasto.core import torch_settings

    return torch_settings.our_settings(deterministic=deterministic)


def host_settings() -> AbstractContextManager[None]:
    """Within our settings: have those of the program around us, for a call of something that is its own.

    Settings of the process are its own again only if no other thread is inside.
    """
    if "torch" not in sys.modules:
        return nullcontext()
    from impasto.core import torch_settings

    return torch_settings.host_settings()


def computing_threads() -> int:
    """With how many threads torch computes for the thread that asks; 1 where it is not loaded."""
    return int(sys.modules["torch"].get_num_threads()) if "torch" in sys.modules else 1


def compute_with(threads: int) -> None:
    """Have torch compute with so many threads where the thread that calls this asks it to, and nowhere else.

    Several that compute side by side are quicker with one each: they need not wait for each other at every operation.
    """
    if "torch" in sys.modules:
        from impasto.core import torch_settings

        torch_settings.compute_with(threads)


def trainable(x: Tensor) -> Tensor:
    """The same values for gradients to go through: a copy of what was made in inference mode, else itself."""
    return x.clone() if x.is_inference() else x


def in_host_settings(callback: Callable[P, R]) -> Callable[P, R]:
    """The same callback, called as `host_settings` has it."""

    @functools.wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with host_settings():
            return callback(*args, **kwargs)

    return call


def in_our_settings(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, run as `our_settings` has it; a generator function is, from step to step.

    Between two steps of a generator the settings are those of the program around us, also where it never ends.
    """
    if not inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with our_settings():
                return function(*args, **kwargs)

        return call

    @functools.wraps(function)
    def steps(*args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, step_by_step(function(*args, **kwargs)))

    return steps


Y = TypeVar("Y")
S = TypeVar("S")


def step_by_step(generator: Generator[Y, S, R], *, deterministic: bool = False) -> Generator[Y, S, R]:
    """The same generator, each of its steps, and its end, run as `our_settings` has it."""
    step: Callable[[], Y] = functools.partial(next, generator)
    try:
        while True:
            try:
                with our_settings(deterministic=deterministic):
                    value = step()
            except StopIteration as end:
                return cast(R, end.value)
            try:
                sent = yield value
                step = functools.partial(generator.send, sent)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001  it was thrown into us, and is meant for the generator
                step = functools.partial(generator.throw, error)
    finally:
        with our_settings(deterministic=deterministic):
            generator.close()
