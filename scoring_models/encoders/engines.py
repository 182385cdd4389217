"""What runs an encoder: torch, or on a CPU OpenVINO, which is faster there and agrees to about 1e-5."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.devices.choice import DTYPES
from poolsieve.scoring_models.devices.flops import flops_of
from poolsieve.scoring_models.devices.gpu import runner_of
from poolsieve.scoring_models.devices.openvino import Run, agree, check_there, check_wanted, compiled

BACKENDS = ("auto", "torch", "openvino")

Ids = np.ndarray[Any, np.dtype[np.int64]]
Logits = np.ndarray[Any, np.dtype[np.float32]]
Engine = Callable[[Ids, Ids], Logits]
"""int64 ids and mask (windows, tokens) -> float32 logits. May be called from several threads; each runs on one core."""

AGREE = 1e-3
"""Largest difference between torch's logits and OpenVINO's, as a share of the largest logit, that is let pass."""

_FEW, _ROWS, _TOGETHER = 3, 16, 4
"""Outputs of a layer that is filled up, its least rows, and what their number is a multiple of."""


def check_backend(scorer: str, backend: str, precision: str | None, device: str) -> None:
    """Raises `PlanError` for an unknown backend, or one that has not the precision or the device."""
    if backend not in BACKENDS:
        raise PlanError(f"{scorer}(backend={backend!r}): expected one of {', '.join(BACKENDS)}")
    if backend == "openvino":
        check_wanted(scorer, precision, device)


def backend_of(backend: str, device: Any, precision: str) -> str:
    """The backend that "auto" means: OpenVINO on a CPU where it is installed, else torch.

    Raises:
        PlanError: if OpenVINO is asked for and is not there, or the model is on a GPU.
    """
    if backend == "auto":
        there = importlib.util.find_spec("openvino") is not None
        return "openvino" if there and device.type == "cpu" and precision != "fp16" else "torch"
    if backend == "openvino":
        check_there(device)
    return backend


def engine(network: Any, device: Any, precision: str, backend: str, context: int, who: str = "this encoder") -> Engine:
    """Runs `network(ids, mask) -> logits`, a torch module in evaluation mode, by one of the backends.

    Args:
        network: on the CPU, in fp32; it belongs to the engine from here on.
        device: where it is to run.
        precision: "fp32", "bf16" or "fp16".
        backend: "torch" or "openvino".
        context: tokens that the network can read.
        who: the scorer, for messages.

    Raises:
        PlanError: if OpenVINO can't convert the network, or gives other results than torch.
    """
    if backend == "openvino":
        return _openvino(network, precision, context)
    return TorchEngine(network, device, precision, who)


class TorchEngine:
    """An `Engine` of torch. Arguments as for `engine`; `who` is the scorer, for messages."""

    def __init__(self, network: Any, device: Any, precision: str, who: str) -> None:
        import torch

        self.runner = runner_of(device, who)
        self.network = self.runner.placed(lambda: network.to(device, getattr(torch, DTYPES[precision])))
        if device.type == "cpu" and precision == "fp32":
            _fill_rows_up(self.network)

    def __call__(self, ids: Ids, mask: Ids) -> Logits:
        """The logits of a batch.

        Raises:
            PoolsieveError: if the device has no room for it, or fails.
        """
        smaller = f"give the scorer tokens={max(1, ids.size // 2)}, it has {ids.size} at a time"
        return self.runner(self.logits, (ids, mask), smaller=smaller)["logits"]

    def flops(self, windows: int, tokens: int) -> float:
        """Floating-point operations of the network for so many windows of so many tokens (`flops_of`)."""
        import torch

        def forward(network: Any) -> object:
            ids = torch.zeros(windows, tokens, dtype=torch.int64, device="meta")
            return network(ids, torch.ones_like(ids))

        return flops_of(self.network, forward)

    def logits(self, ids: Any, mask: Any) -> dict[str, Any]:
        """The same from tensors on the device to one there."""
        return {"logits": self.network(ids, mask).float()}


def _fill_rows_up(network: Any) -> None:
    """Lets layers of few outputs see sixteen rows or more, in fours, so that a row's place in its batch changes no bit.

    MKL has kernels of their own for small products. On AMD's processors a matrix and a vector are multiplied four rows
    at a time, and the rest of the rows summed up in another order: of ten windows the last two had other last digits.
    On Intel's (Sapphire Rapids) it is so for up to three outputs, and for up to 13 rows in any number
    (`tests/scoring_models/encoders/test_classifier.py`).
    """
    import torch

    class Filled(torch.nn.Module):  # type: ignore[misc]
        """A linear layer, its rows filled up; a row that is alone always is."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, values: Any) -> Any:
            rows = values.reshape(-1, values.shape[-1])
            more = max(_ROWS, len(rows) + -len(rows) % _TOGETHER) - len(rows)
            if len(rows) == 1 or not more:
                return self.layer(values)
            made = self.layer(torch.nn.functional.pad(rows, (0, 0, 0, more)))
            return made[: len(rows)].reshape(*values.shape[:-1], made.shape[-1])

    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Linear and layer.out_features <= _FEW:
                setattr(parent, name, Filled(layer))


def _openvino(network: Any, precision: str, context: int) -> Engine:
    ids = np.arange(2 * max(context // 2, 1), dtype=np.int64).reshape(2, -1) % 7
    made = compiled(network, (ids, np.ones_like(ids)), precision, lambda run: _compare(run, network, min(context, 80)))
    return lambda ids, mask: made(ids, mask)[0]


def _compare(run: Run, network: Any, length: int) -> None:
    """Compares both backends at a shape that the conversion has not seen.

    Raises:
        PlanError: if they disagree, as they would where a network's code depends on its input's shape.
    """
    import torch

    ids = (np.arange(3 * length, dtype=np.int64) % 11).reshape(3, length)
    mask = np.ones_like(ids)
    mask[1, length // 4 + 1 :] = 0
    with torch.inference_mode():
        expected = network(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()
    agree(float(np.abs(run(ids, mask)[0] - expected).max() / max(np.abs(expected).max(), 1e-6)), AGREE)
