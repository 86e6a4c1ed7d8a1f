"""Device and precision: what is chosen, and that the reason told is the true one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from impasto.core import precision
from impasto.core.precision import Precision, choose_precision, pick_device
from impasto.errors import OptionError

AMX, AVX512, NEITHER = (True, True), (False, True), (False, False)


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """Pretend to have AMX tiles and AVX-512 bfloat16 or not, with no limit set."""
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)

    def pretend(amx: bool, avx512: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)

    return pretend


@pytest.mark.parametrize(
    ("units", "limit", "dtype", "reason"),
    [
        (AMX, None, torch.bfloat16, "AMX tiles multiply bfloat16"),
        (AMX, "AVX512_CORE_AMX", torch.bfloat16, "AMX tiles multiply bfloat16"),
        (AMX, "AVX10_1_512_AMX", torch.bfloat16, "AMX tiles multiply bfloat16"),
        (AMX, "default", torch.bfloat16, "AMX tiles multiply bfloat16"),
        (AMX, "AVX512_CORE_BF16", torch.bfloat16, "AVX-512 units multiply bfloat16"),
        (AMX, "avx2", torch.float32, "ONEDNN_MAX_CPU_ISA=AVX2 rules out the processor's bfloat16 units"),
        (AMX, "AVX512_CORE_VNNI", torch.float32, "ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI rules out"),
        (AVX512, None, torch.bfloat16, "AVX-512 units multiply bfloat16"),
        (AVX512, "AVX512_CORE", torch.float32, "ONEDNN_MAX_CPU_ISA=AVX512_CORE rules out"),
        (NEITHER, None, torch.float32, "the processor has no bfloat16 units"),
        (NEITHER, "AVX2", torch.float32, "the processor has no bfloat16 units"),
    ],
)
def test_the_processor_decides(processor, monkeypatch, units, limit, dtype, reason) -> None:
    processor(*units)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    chosen = choose_precision("cpu")
    assert (chosen.dtype, chosen.channels_last) == (dtype, True)
    assert chosen.reason.startswith(reason)


def test_the_older_name_of_the_limit_counts_when_the_newer_is_unset(processor, monkeypatch) -> None:
    processor(*AMX)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
    assert choose_precision("cpu").dtype == torch.float32
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert choose_precision("cpu").dtype == torch.bfloat16


def test_a_request_is_honoured_and_told(processor) -> None:
    processor(*NEITHER)
    slow = choose_precision("cpu", "bfloat16")
    assert slow.dtype == torch.bfloat16
    assert slow.reason == "bfloat16 was asked for, though the processor has no bfloat16 units"
    processor(*AMX)
    assert choose_precision("cpu", "bfloat16").reason == "bfloat16 was asked for"
    assert choose_precision("cpu", "float32") == Precision(torch.float32, True, "float32 was asked for")


def test_unknown_precision() -> None:
    with pytest.raises(OptionError, match="'half' is unknown: use auto, float32 or bfloat16"):
        choose_precision("cpu", "half")  # type: ignore[arg-type]


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_cuda(monkeypatch: pytest.MonkeyPatch, native: bool, dtype: torch.dtype) -> None:
    seen = []

    class OnDevice:
        def __init__(self, device: torch.device) -> None:
            seen.append(device)

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", OnDevice)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision("cuda:1").dtype == dtype
    assert seen == [torch.device("cuda:1")]


def test_mps_works_in_float32_and_in_torchs_own_layout() -> None:
    chosen = choose_precision("mps")
    assert (chosen.dtype, chosen.memory_format) == (torch.float32, torch.contiguous_format)


def test_without_torchs_probes_linux_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: a processor\nflags\t\t: sse2 avx512_bf16 amx_tile\n")

    def broken() -> bool:
        raise RuntimeError("built without it")

    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", broken, raising=False)
    assert precision._cpu_has("_is_avx512_bf16_supported", "avx512_bf16", cpuinfo)
    assert not precision._cpu_has("_is_amx_tile_supported", "amx_bf16", cpuinfo)
    assert not precision._cpu_has("_is_avx512_bf16_supported", "avx512_bf16", tmp_path / "absent")


def test_the_choice_computes() -> None:
    chosen = choose_precision("cpu")
    layer = torch.nn.Conv2d(3, 4, 3).to(chosen.dtype).to(memory_format=chosen.memory_format)
    out = layer(torch.rand(1, 3, 8, 8).to(chosen.dtype, memory_format=chosen.memory_format))
    assert out.dtype == chosen.dtype
    assert torch.isfinite(out).all()


def machine(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, False, "auto", "cuda"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "mps", "mps"),
    ],
)
def test_devices_that_are_there(monkeypatch, cuda, mps, name, device) -> None:
    machine(monkeypatch, cuda, mps)
    assert pick_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("cuda", "name", "message"),
    [
        (0, "cuda", "'cuda' is not there: torch .* finds cpu, so"),
        (0, "mps", "'mps' is not there"),
        (2, "cuda:2", "'cuda:2' is not there: torch .* finds cpu, cuda:0, cuda:1, so"),
        (2, "gpu", "'gpu' is unknown"),
        (2, "meta", "'meta' is unknown"),
        (2, "", "'' is unknown"),
    ],
)
def test_devices_that_are_not(monkeypatch, cuda, name, message) -> None:
    machine(monkeypatch, cuda, mps=False)
    with pytest.raises(OptionError, match=message):
        pick_device(name)
