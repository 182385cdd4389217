"""Floating-point operations of a torch module, counted without computing anything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


def flops_of(module: Any, forward: Callable[[Any], object]) -> float:
    """Operations of `forward(copy of the module)`, by torch's own formulas: 2 m n k for a product of matrices.

    What torch counts is products of matrices, convolutions and attention, in full where a mask would leave some out:
    2 operations for each parameter and token, and 4 x length x width for each token and layer of attention (Kaplan et
    al., arXiv 2001.08361, table 1, which is the count for half of a training step's). Nothing is computed: the copy is
    on torch's `meta` device, which has shapes and no numbers, and the module itself is not touched, so that others may
    use it meanwhile.

    Args:
        module: torch module, on any device.
        forward: calls the copy, with inputs that are on `meta` as well.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    tensors = [*module.parameters(), *module.buffers()]
    shapes = {id(tensor): tensor for tensor in tensors}
    hollow = copy.deepcopy(module, {key: _hollow(torch, tensor) for key, tensor in shapes.items()})
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward(hollow)
    return float(counter.get_total_flops())


def _hollow(torch: Any, tensor: Any) -> Any:
    made = tensor.detach().to("meta")
    return torch.nn.Parameter(made, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else made
