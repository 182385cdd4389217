"""Torch networks run by OpenVINO on a CPU: what may be asked for, conversion, and the comparison with torch."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from poolsieve.scoring_models.base.packages import need
from poolsieve.scoring_models.devices.choice import cores

Array = np.ndarray[Any, Any]

Run = Callable[..., list[Array]]
"""A network's inputs as arrays -> its outputs, float32. May be called from several threads; each runs on one core."""

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""Precision -> OpenVINO's name of it, of those that its CPU plugin has on x86."""


def check_wanted(scorer: str, precision: str | None, device: str) -> None:
    """Refuses, in the plan, what OpenVINO can't do.

    Raises:
        PlanError: for fp16, and for a GPU.
    """
    if precision not in (*HINTS, "auto", None):
        raise PlanError(f"{scorer}(backend='openvino', precision={precision!r}): on a CPU it has fp32 and bf16")
    if device not in ("auto", "cpu"):
        raise PlanError(
            f"{scorer}(backend='openvino', device={device!r}) runs on the CPU: say device='cpu', or backend='torch'"
        )


def check_there(device: Any) -> None:
    """Refuses, when a model is loaded, a machine that can't do it.

    Args:
        device: of torch, as `device_of` found it.

    Raises:
        PlanError: if OpenVINO is not installed, or the model would be on a GPU.
    """
    need("backend='openvino'", "openvino", extra="classifiers")
    if device.type != "cpu":
        raise PlanError("backend='openvino' runs on the CPU: say device='cpu', or backend='torch'")


def compiled(network: Any, example: Sequence[Array], precision: str, check: Callable[[Run], object]) -> Run:
    """The network for OpenVINO's CPU plugin, with one stream of one thread for each core.

    Args:
        network: torch module on the CPU, in fp32 and evaluation mode.
        example: its inputs, to trace it with. Any other sizes may be run afterwards.
        precision: "fp32" or "bf16".
        check: is given the network in fp32, whatever the precision, and raises if its numbers are not torch's.

    Raises:
        PlanError: if the network can't be converted, or the processor has not the precision.
    """
    with _refused(f"in {precision}"):
        graph = _converted(network, example)
        exact = _runner(graph, "fp32")
        check(exact)
        if precision == "fp32":
            return exact
        run = _runner(graph, precision)
        # Some processors show only here that they have not the precision: with an error, or on one core with nothing.
        if [part.shape for part in run(*example)] != [part.shape for part in exact(*example)]:
            raise PlanError(_lacks(precision))
        return run


def _lacks(precision: str) -> str:
    return f"OpenVINO has no {precision} on this processor: say precision='fp32', or backend='torch'"


def agree(off: float, limit: float) -> None:
    """Raises `PlanError` if OpenVINO's numbers are further than `limit` from torch's, or are none."""
    if not off <= limit:
        raise PlanError(
            f"OpenVINO's results for this model differ from torch's by {off:.1e}, and {limit:.0e} is allowed: "
            "say backend='torch'"
        )


@contextlib.contextmanager
def _refused(how: str) -> Iterator[None]:
    """Turns what tracer, converter and compiler raise, of many classes, into one message for the user."""
    try:
        yield
    except (PoolsieveError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise PlanError(f"OpenVINO can't run this model {how}: say backend='torch'. It said: {said}") from error


def _converted(network: Any, example: Sequence[Array]) -> Any:
    """The network, traced, as OpenVINO's graph."""
    import torch

    # Importing OpenVINO reports its use to its makers, unless that module is absent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    inputs = tuple(torch.from_numpy(part) for part in example)
    frontend = FrontEndManager().load_by_framework("pytorch")
    # With gradients, attention is traced as its parts. torch would trace again without them, for a check of its own,
    # and find that inference takes a short cut.
    with warnings.catch_warnings(), _quiet("transformers"), torch.enable_grad():
        warnings.simplefilter("ignore")  # the tracer's, about what `check` looks at
        decoder = TorchScriptPythonDecoder(network, example_input=inputs, trace_kwargs={"check_trace": False})
        return frontend.convert(frontend.load(decoder))  # which does not keep the decoder alive itself


@functools.cache
def core() -> Any:
    """OpenVINO's, of which a process has one, for good.

    Each gives the thread that makes it another stack for signal handlers, and puts back the one before when it ends. Of
    two that end in the order in which they began, the second puts back the first's, which is no more: the next signal
    that Python handles, such as Ctrl-C, then ends the process without a word.
    """
    import openvino

    return openvino.Core()


def _runner(graph: Any, precision: str) -> Run:
    import openvino

    hint = HINTS[precision]
    settings = {"NUM_STREAMS": cores(), "INFERENCE_NUM_THREADS": cores(), "INFERENCE_PRECISION_HINT": hint}
    model = core().compile_model(graph, "CPU", settings)
    if model.get_property("INFERENCE_PRECISION_HINT") != getattr(openvino.Type, hint):
        raise PlanError(_lacks(precision))
    local = threading.local()

    def run(*inputs: Array) -> list[Array]:
        if not hasattr(local, "request"):
            local.request = model.create_infer_request()
        return [np.array(made, dtype=np.float32) for made in local.request.infer(list(inputs)).values()]

    return run


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
