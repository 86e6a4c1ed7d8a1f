"""What a program around us may have set in torch, and how to tell what is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from impasto.core.torch_settings import AUTOCAST

__all__ = ["HOSTS", "OURS", "state"]


def state() -> dict[str, Any]:
    """All that a host may have set, as torch tells it; what it refuses to tell is told by the refusal."""
    reads: dict[str, Callable[[], Any]] = {
        "inference": torch.is_inference_mode_enabled,
        "gradients": torch.is_grad_enabled,
        "device": torch.get_default_device,
        "dtype": torch.get_default_dtype,
        "products": torch.get_float32_matmul_precision,
        "deterministic": torch.get_deterministic_debug_mode,
        "anomaly": torch.is_anomaly_enabled,
        "anomaly checks": torch.is_anomaly_check_nan_enabled,
        "threads": torch.get_num_threads,
        "seed": torch.initial_seed,
        "flushes": lambda: bool(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 1 == 0),
        "benchmark": lambda: torch.backends.cudnn.benchmark,
        "cudnn": lambda: torch.backends.cudnn.enabled,
        "cudnn deterministic": lambda: torch.backends.cudnn.deterministic,
        "cudnn tf32": lambda: torch.backends.cudnn.allow_tf32,
        "tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
        "oneDNN": lambda: torch.backends.mkldnn.enabled,
        "oneDNN deterministic": lambda: torch.backends.mkldnn.deterministic,
    }
    reads |= {f"autocast {kind}": lambda kind=kind: torch.is_autocast_enabled(kind) for kind in AUTOCAST}
    for name in ("mkldnn.matmul", "mkldnn.conv", "cuda.matmul", "cudnn.conv"):
        first, second = name.split(".")
        owner = getattr(getattr(torch.backends, first), second)
        reads[name] = lambda owner=owner: owner.fp32_precision
    told = {}
    for name, read in reads.items():
        try:
            told[name] = read()
        except RuntimeError as error:
            told[name] = str(error)
    return told


OURS = state()


@contextmanager
def having(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def flag(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    return having(lambda: getattr(owner, name), lambda v: setattr(owner, name, v), value)


def default_device() -> AbstractContextManager[None]:
    return having(lambda: None, torch.set_default_device, "meta")


HOSTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nothing": nullcontext,
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast of a GPU": lambda: having(
        lambda: torch.is_autocast_enabled("cuda"), lambda v: torch.set_autocast_enabled("cuda", v), True
    ),
    "float64": lambda: having(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: having(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "default device": default_device,
    "a device's context": lambda: torch.device("meta"),
    "deterministic": lambda: having(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 2),
    "deterministic if it can": lambda: having(
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 1
    ),
    "medium products": lambda: having(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "high products": lambda: having(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "high"),
    "convolutions in bfloat16": lambda: flag(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "tf32": lambda: flag(torch.backends.cuda.matmul, "allow_tf32", True),
    "no tf32 in cuDNN": lambda: flag(torch.backends.cudnn, "allow_tf32", False),
    "benchmark": lambda: flag(torch.backends.cudnn, "benchmark", True),
    "no oneDNN": lambda: flag(torch.backends.mkldnn, "enabled", False),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "no denormals": lambda: having(lambda: False, torch.set_flush_denormal, True),
}
