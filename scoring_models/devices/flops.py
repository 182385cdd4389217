"""Floating-point operations of a torch module, counted without computing anything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


def flops_of(module: Any, forward: Callable[[Any], object]) -> float:
    """Operations of `forward(copy of the module)`, by torch's own formulas: 2 m n k for a product of matrices.

    What torch counts is products of matrices, convolutions and attention, in full where a mask would leave some out:
    2 operations for each parameter and token, and 4 x length x width for each token and layer of attention (Kaplan et
    al., arXiv 2001.08361, table 1). Nothing is computed: the copy is on torch's `meta` device, which has shapes and no
    numbers, and the module itself is not touched, so that others may use it meanwhile. On `meta` torch takes no fused
    kernel whose operations it would not count; and its tensors are "fake" ones, which models of `transformers` know.

    Args:
        module: torch module, on any device.
        forward: makes inputs on `meta` and calls the copy with them.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    fake = FakeTensorMode()
    tensors = [*module.parameters(), *module.buffers()]
    # What `deepcopy` finds here it takes for copied already.
    hollow = copy.deepcopy(module, {id(tensor): fake.from_tensor(tensor.detach().to("meta")) for tensor in tensors})
    with torch.no_grad(), fake, FlopCounterMode(display=False) as counter:
        forward(hollow)
    return float(counter.get_total_flops())
