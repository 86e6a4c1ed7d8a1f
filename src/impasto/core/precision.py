"""Where the arithmetic runs and in which precision: one decision, made here, overridable by the user."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.types import PrecisionName

__all__ = [
    "Precision",
    "PrecisionName",
    "accumulator_dtype",
    "choose_precision",
    "in_float64",
    "multiplies_in_tiles",
    "pick_device",
]


# oneDNN, which does torch's convolutions on x86, can be held below what the processor has. Names are
# those of its "CPU dispatcher control"; any that it does not know means no limit, as it does to oneDNN.
_LIMIT_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # in oneDNN's own order of precedence
_BELOW_BFLOAT16 = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"})
_WITHOUT_FLOAT64 = frozenset({"mps"})
_AMX = "_is_amx_tile_supported", "amx_bf16"
_BELOW_AMX = _BELOW_BFLOAT16 | {"AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512", "AVX10_2_512"}


@dataclass(frozen=True)
class Precision:
    """How features are computed. Pictures, statistics and optimiser states stay float32 whatever it says.

    Attributes:
        dtype: ``torch.float32`` or ``torch.bfloat16``, of the backbone's weights and activations.
        channels_last: whether 4-D tensors are laid out as (B, H, W, C) in memory.
        reason: why, in one short phrase that ``impasto info`` shows.
    """

    dtype: torch.dtype
    channels_last: bool
    reason: str

    @property
    def memory_format(self) -> torch.memory_format:
        """What ``Tensor.to(memory_format=...)`` wants for this layout."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


def choose_precision(device: torch.device | str, requested: PrecisionName = "auto") -> Precision:
    """Choose dtype and memory layout for ``device``; ``auto`` takes bfloat16 only where it is native.

    Raises:
        OptionError: ``requested`` is none of the three names.
    """
    device = torch.device(device)
    channels_last = device.type in ("cpu", "cuda")
    if requested == "float32":
        return Precision(torch.float32, channels_last, "float32 was asked for")
    if requested not in ("auto", "bfloat16"):
        raise OptionError(f"precision {requested!r} is unknown: use auto, float32 or bfloat16", "precision")

    native, reason = _native_bfloat16(device)
    if requested == "bfloat16":
        told = "bfloat16 was asked for" + ("" if native else f", though {reason}")
        return Precision(torch.bfloat16, channels_last, told)
    return Precision(torch.bfloat16 if native else torch.float32, channels_last, reason)


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """The widest numbers to sum in on a device: float64, or float32 where there are none (Apple's GPUs)."""
    return torch.float32 if device.type in _WITHOUT_FLOAT64 else torch.float64


def in_float64(x: Tensor) -> Tensor:
    """The same values in float64: where they are, or on the processor if their device has no such numbers."""
    return x.double() if accumulator_dtype(x.device) == torch.float64 else x.cpu().double()


def pick_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` into a device that is really there.

    ``auto`` takes CUDA, else Apple's GPU, else the processor.

    Raises:
        OptionError: the name is unknown, or this machine has no such device.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise OptionError(f"device {name!r} is unknown: use auto, cpu, cuda, cuda:1 (the second one) or mps", "device")
    count = {"cpu": 1, "cuda": cuda, "mps": int(mps)}[device.type]
    if (device.index or 0) >= count:
        raise OptionError(f"device {name!r} is not there: {_found(cuda, mps)}, so use auto or one of these", "device")
    return device


@functools.cache  # asked at every convolution; oneDNN reads its variables once as well
def multiplies_in_tiles() -> bool:
    """Whether the processor multiplies whole tiles of bfloat16 (AMX), many times as fast as it adds, and may."""
    return _cpu_has(*_AMX) and _isa_limit()[1] not in _BELOW_AMX


def _found(cuda: int, mps: bool) -> str:
    found = ["cpu", *(f"cuda:{index}" for index in range(cuda)), *(["mps"] if mps else [])]
    return f"torch {torch.__version__} finds {', '.join(found)}"


def _native_bfloat16(device: torch.device) -> tuple[bool, str]:
    """Whether ``device`` multiplies bfloat16 in hardware, and the phrase that says so."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "the GPU multiplies bfloat16" if native else "the GPU does not multiply bfloat16"
    if device.type == "mps":
        return False, "float32 is the safe choice on Apple's GPU"
    if device.type == "cpu":
        return _native_bfloat16_cpu()
    return False, f"bfloat16 is untried on {device.type}"


def _native_bfloat16_cpu() -> tuple[bool, str]:
    units = [
        ("AMX tiles multiply bfloat16", _cpu_has(*_AMX), _BELOW_AMX),
        (
            "AVX-512 units multiply bfloat16",
            _cpu_has("_is_avx512_bf16_supported", "avx512_bf16"),
            _BELOW_BFLOAT16,
        ),
    ]
    variable, limit = _isa_limit()
    for reason, present, ruled_out_by in units:
        if present and limit not in ruled_out_by:
            return True, reason
    if any(present for _, present, _ in units):
        return False, f"{variable}={limit} rules out the processor's bfloat16 units"
    return False, "the processor has no bfloat16 units"


def _isa_limit() -> tuple[str, str]:
    """The variable that limits oneDNN and its value in capitals; two empty strings where none does."""
    for variable in _LIMIT_VARIABLES:
        value = os.environ.get(variable, "").strip().upper()
        if value:
            return variable, value
    return "", ""


def _cpu_has(probe: str, flag: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Ask torch's private ``torch.cpu.<probe>``; where this torch lacks it, look for Linux's CPU ``flag``."""
    function = getattr(torch.cpu, probe, None)
    if callable(function):
        try:
            return bool(function())
        except (RuntimeError, AttributeError):  # private: a build may have the name without what is behind it
            pass
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    return any(flag in line.split() for line in lines if line.startswith("flags"))
