"""What scorers with a model share: precision, device, cores."""

from __future__ import annotations

import os
from typing import Any

from poolsieve.scoring_models.base.errors import PlanError

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precision -> torch's name of it."""


def check_precision(scorer: str, precision: str) -> None:
    """Raises `PlanError` for an unknown precision."""
    if precision not in DTYPES:
        raise PlanError(f"{scorer}(precision={precision!r}): expected one of {', '.join(DTYPES)}")


def device_of(torch: Any, wanted: str) -> Any:
    """The device; "auto" is a GPU if there is one.

    Raises:
        PlanError: for a GPU that is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise PlanError(f"device={wanted!r}: this machine has no GPU that torch can use")
    return torch.device(wanted)


def gpu_name(torch: Any, device: Any) -> str:
    """What the device is, for `scorer.json`."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
