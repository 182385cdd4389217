"""What scorers with a model share: precision, device, cores."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precision -> torch's name of it."""

BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Words of Linux's /proc/cpuinfo for multiplying bf16 in hardware: two of x86's, and ARM's."""

AMPERE = 8
"""Major compute capability of the first NVIDIA GPUs with bf16 (CUDA C++ Programming Guide, "Compute Capabilities")."""


def check_precision(scorer: str, precision: str | None) -> None:
    """Raises `PlanError` for an unknown precision."""
    if precision not in (*DTYPES, "auto", None):
        raise PlanError(f"{scorer}(precision={precision!r}): expected one of {', '.join(DTYPES)}, auto")


def precision_of(torch: Any, precision: str | None, device: Any) -> str:
    """The precision. "auto" is bf16 where processor or GPU has it in hardware, else fp32; None is that on a GPU alone.

    On a CPU only Linux says what it has. On AMD's GPUs torch has bf16 throughout.
    """
    if precision not in ("auto", None):
        return str(precision)
    if device.type != "cuda":
        return "bf16" if precision == "auto" and _cpu_words() & BF16 else "fp32"
    there = torch.version.hip or torch.cuda.get_device_capability(device)[0] >= AMPERE
    return "bf16" if there else "fp32"


@functools.cache
def _cpu_words() -> frozenset[str]:
    """Every word of /proc/cpuinfo; none where there is no such file."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text(errors="replace").split())
    except OSError:
        return frozenset()


def full_fp32(torch: Any) -> None:
    """Makes fp32 on a GPU mean fp32 for all of this process: by default torch computes convolutions in TF32.

    Source: torch's notes on CUDA semantics, "TensorFloat-32 (TF32) on Ampere (and later) devices". The new way holds
    whatever was set before; the old one comes first, for torch 2.8 and for those who read its flags.
    """
    backends = torch.backends
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    if hasattr(backends, "fp32_precision"):
        for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
            part.fp32_precision = "ieee"


def device_of(torch: Any, wanted: str) -> Any:
    """The device; "auto" is a GPU if there is one.

    Raises:
        PlanError: for a GPU that is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise PlanError(f"device={wanted!r}: this machine has no GPU that torch can use")
    if wanted.startswith("cuda"):
        full_fp32(torch)
    return torch.device(wanted)


def gpu_name(torch: Any, device: Any) -> str:
    """What the device is, for `scorer.json`."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
