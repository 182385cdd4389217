"""What a GPU can do at most, from its maker's data sheets: what a model's speed is compared with (MFU)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PEAKS: tuple[tuple[str, Mapping[str, float]], ...] = (
    (r"B200", {"fp32": 75, "bf16": 2250, "fp16": 2250}),
    (r"H200 NVL", {"fp32": 60, "bf16": 835, "fp16": 835}),
    (r"H200", {"fp32": 67, "bf16": 989, "fp16": 989}),
    (r"H100 NVL", {"fp32": 60, "bf16": 835, "fp16": 835}),
    (r"H100 PCIe", {"fp32": 51, "bf16": 756, "fp16": 756}),
    (r"H100 80GB HBM3", {"fp32": 67, "bf16": 989, "fp16": 989}),
    (r"A100[ -].*", {"fp32": 19.5, "bf16": 312, "fp16": 312}),
    (r"L40S", {"fp32": 91.6, "bf16": 362, "fp16": 362}),
    (r"L4", {"fp32": 30.3, "bf16": 121, "fp16": 121}),
    (r"T4", {"fp32": 8.1, "fp16": 65}),
    (r"RTX 4090", {"fp32": 82.6, "bf16": 165.2, "fp16": 165.2}),
)
"""What stands in a device's name behind the maker's -> precision -> TFLOP/s, dense (without structured sparsity).

bf16 and fp16 are those of tensor cores that add up in fp32, as torch's do; fp32 is that of the other cores, since TF32
is never used. Sources: NVIDIA's data sheets of HGX B200, H200, H100, A100, L40S, L4 and T4, of which most print twice
the dense figure "with sparsity"; for the RTX 4090, appendix A of the Ada architecture's white paper.
"""

_MAKER = r"(?:NVIDIA |Tesla |GeForce )*"


def peak_of(device: str, precision: str) -> float | None:
    """TFLOP/s of a device, as CUDA names it, at "fp32", "bf16" or "fp16"; None where no data sheet is known.

    A part of a GPU (MIG) and a variant that is not listed (a laptop's) are other devices: theirs is not known.
    """
    for name, peaks in _PEAKS:
        if "MIG" not in device and re.fullmatch(_MAKER + name, device):
            return peaks.get(precision)
    return None
