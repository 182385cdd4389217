"""What runs an encoder: torch, or on a CPU OpenVINO, which takes less than half the time and agrees to about 1e-5."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from poolsieve.scoring_models.base.devices import DTYPES, NO_LOCK, cores, gpu_lock
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import need

BACKENDS = ("auto", "torch", "openvino")

Ids = np.ndarray[Any, np.dtype[np.int64]]
Logits = np.ndarray[Any, np.dtype[np.float32]]
Engine = Callable[[Ids, Ids], Logits]
"""int64 ids and mask (windows, tokens) -> float32 logits. May be called from several threads; each runs on one core."""

AGREE = 1e-3
"""Largest difference between torch's logits and OpenVINO's, as a share of the largest logit, that is let pass."""


def check_backend(scorer: str, backend: str, precision: str) -> None:
    """Raises `PlanError` for an unknown backend, or one that has not the precision."""
    if backend not in BACKENDS:
        raise PlanError(f"{scorer}(backend={backend!r}): expected one of {', '.join(BACKENDS)}")
    if backend == "openvino" and precision == "fp16":
        raise PlanError(f"{scorer}(backend='openvino', precision='fp16'): on a CPU it has fp32 and bf16")


def backend_of(backend: str, device: Any, precision: str) -> str:
    """The backend that "auto" means: OpenVINO on a CPU where it is installed, else torch.

    Raises:
        PlanError: if OpenVINO is asked for and is not there, or the model is on a GPU.
    """
    if backend == "auto":
        there = importlib.util.find_spec("openvino") is not None
        return "openvino" if there and device.type == "cpu" and precision != "fp16" else "torch"
    if backend == "openvino":
        need("backend='openvino'", "openvino", extra="classifiers")
        if device.type != "cpu":
            raise PlanError("backend='openvino' runs on the CPU: say device='cpu', or backend='torch'")
    return backend


def engine(network: Any, device: Any, precision: str, backend: str, context: int) -> Engine:
    """Runs `network(ids, mask) -> logits`, a torch module in evaluation mode, by one of the backends.

    Args:
        network: on the CPU, in fp32; it belongs to the engine from here on.
        device: where it is to run.
        precision: "fp32", "bf16" or "fp16".
        backend: "torch" or "openvino".
        context: tokens that the network can read.

    Raises:
        PlanError: if OpenVINO gives other results than torch.
    """
    if backend == "openvino":
        return _openvino(network, precision, context)
    return _torch(network, device, precision)


def _torch(network: Any, device: Any, precision: str) -> Engine:
    import torch

    network = network.to(device, getattr(torch, DTYPES[precision]))
    if device.type == "cpu" and precision == "fp32":
        _in_fours(network)
    lock = gpu_lock(device) or NO_LOCK

    def run(ids: Ids, mask: Ids) -> Logits:
        torch.set_num_threads(1)  # a setting of the calling thread; more would fight over the cores and change sums
        try:
            with torch.inference_mode(), lock:
                made = network(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
                return np.asarray(made.float().cpu().numpy(), dtype=np.float32)
        except torch.OutOfMemoryError as error:
            raise PoolsieveError(
                f"the GPU has no room for {ids.size} tokens at a time: give the scorer a smaller tokens="
            ) from error

    return run


def _in_fours(network: Any) -> None:
    """Lets layers with a single output see rows in groups of four, so that a row's place in its batch changes no bit.

    MKL multiplies a matrix and a vector four rows at a time, and sums the rest of the rows up in another order: of ten
    windows the last two had other last digits (`tests/scoring_models/encoders/test_classifier.py`).
    """
    import torch

    class Fours(torch.nn.Module):  # type: ignore[misc]
        """A linear layer, its rows filled up; a row that is alone always is."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, values: Any) -> Any:
            rows = values.reshape(-1, values.shape[-1])
            if len(rows) == 1 or len(rows) % 4 == 0:
                return self.layer(values)
            made = self.layer(torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % 4)))
            return made[: len(rows)].reshape(*values.shape[:-1], 1)

    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is torch.nn.Linear and layer.out_features == 1:
                setattr(parent, name, Fours(layer))


def _openvino(network: Any, precision: str, context: int) -> Engine:
    compiled = _compiled(network, precision, max(context // 2, 1))
    local = threading.local()

    def run(ids: Ids, mask: Ids) -> Logits:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return np.array(next(iter(local.request.infer([ids, mask]).values())), dtype=np.float32)

    if precision == "fp32":
        _check_agreement(run, network, min(context, 80))
    return run


def _compiled(network: Any, precision: str, length: int) -> Any:
    """The network, traced at a length, for OpenVINO's CPU plugin with one stream of one thread for each core."""
    import torch

    # Importing OpenVINO reports its use to its makers, unless that module is absent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    ids = torch.arange(2 * length).reshape(2, length) % 7
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), _quiet("transformers"):
        warnings.simplefilter("ignore")  # the tracer's, about what `_check_agreement` looks at
        decoder = TorchScriptPythonDecoder(network, example_input=(ids, torch.ones_like(ids)))
        graph = frontend.convert(frontend.load(decoder))  # which does not keep the decoder alive itself
    settings = {"NUM_STREAMS": cores(), "INFERENCE_NUM_THREADS": cores()}
    hint = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else precision}
    return openvino.Core().compile_model(graph, "CPU", {**settings, **hint})


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a library's remarks on being traced away from the user."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_agreement(run: Engine, network: Any, length: int) -> None:
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
    off = float(np.abs(run(ids, mask) - expected).max() / max(np.abs(expected).max(), 1e-6))
    if not off <= AGREE:
        raise PlanError(f"OpenVINO's results for this model differ from torch's by {off:.1e}: say backend='torch'")
