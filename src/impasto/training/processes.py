"""Where a training runs: device, precision, and how many processes on how many machines (lightning-fabric)."""

from __future__ import annotations

import atexit
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist

from impasto.core.precision import Precision, choose_precision, pick_device
from impasto.errors import ImpastoError, OptionError, load_library
from impasto.training.settings import TrainSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Place", "running"]

PATIENCE = timedelta(minutes=10)  # how long a process waits for another that is alive but silent
LOST = ("closed by peer", "reset by peer", "Broken pipe", "Connection refused", "Timed out", "timed out", "NCCL")


class Place(NamedTuple):
    """What a training knows of where it runs."""

    fabric: Fabric
    precision: Precision

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        return self.fabric.device


@contextmanager
def running(settings: TrainSettings) -> Iterator[Place]:
    """Join the other processes, if ``torchrun`` started several, and leave them at the end.

    Raises:
        OptionError: a device that is not there, or that cannot be deterministic.
        ImpastoError: another process of the run ended or fell silent.
        MissingExtraError: lightning-fabric is not installed.
    """
    device = pick_device(settings.device)
    if settings.deterministic and device.type != "cpu":
        raise OptionError(
            "`deterministic` works on the processor alone, because GPUs add up the gradients of mirrored borders in "
            "any order: use `device` cpu"
        )
    precision = choose_precision(device, "float32" if settings.deterministic else settings.precision)
    fabric: Fabric = _fabric(device, precision)
    try:
        fabric.launch()
        yield Place(fabric, precision)
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(sign in str(error) for sign in LOST):
            raise
        raise ImpastoError(
            "another process of this run ended or fell silent: see what it said, then go on with `impasto train "
            "--resume DIR`"
        ) from error
    finally:
        if dist.is_torchelastic_launched() and dist.is_initialized():
            dist.destroy_process_group()
            # Gloo's threads end only with the network that holds the group, and a thread that lets go of its last
            # sum while the interpreter already closes aborts the process (a core dump showed it, torch 2.13).
            atexit.register(gc.collect)


def _fabric(device: torch.device, precision: Precision) -> Any:
    lightning = load_library("lightning_fabric", "train", "training")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it says, we say; loading it sets its own
    mixed = precision.dtype == torch.bfloat16
    options: dict[str, Any] = {"accelerator": device.type, "precision": "bf16-mixed" if mixed else "32-true"}
    if not dist.is_torchelastic_launched():
        return lightning.Fabric(devices=[device.index or 0] if device.type == "cuda" else 1, **options)
    world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if device.type == "cuda" and local > torch.cuda.device_count():
        raise OptionError(
            f"{local} processes on a machine with {torch.cuda.device_count()} GPUs: start at most one for each, "
            "or use `device` cpu"
        )
    strategy = load_library("lightning_fabric.strategies", "train", "training").DDPStrategy(timeout=PATIENCE)
    return lightning.Fabric(devices=local, num_nodes=world // local, strategy=strategy, **options)
