"""What goes wrong, in words for the user: in a plan, in a run, in one row."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple


class PoolsieveError(Exception):
    """The root of every error that poolsieve raises on purpose; its text is meant for the user."""


class PlanError(PoolsieveError, ValueError):
    """A recipe, an argument or a pool that can't work, found before any work starts."""


class RowError(NamedTuple):
    """Why one row has no score: a short class for reasons (`image_decode`) and a message for people."""

    kind: str
    message: str


MESSAGE_LENGTH = 300
"""Characters of an exception's text that are stored with a row."""

_DEVICE = re.compile(
    r"CUDA|cuda runtime|cuDNN|CUDNN_|CUBLAS_|HIP error|NVML|NVRTC|nvrtc"
    r"|No available kernel|unable to find an engine|NVIDIA driver|DefaultCPUAllocator"
)
"""In messages of torch: its device and the libraries there (2.15: c10/cuda, ATen/cuda/Exceptions.h, ATen/cudnn, cuDNN's
"GET was unable to find an engine", attention's "No available kernel"), and memory of the CPU."""

_ADDRESS = re.compile(r" ?<[\w.]{1,100} object at 0x[0-9a-fA-F]+>")


def error_text(error: BaseException) -> str:
    """An exception's class and text, as it is stored with a row.

    Without the places of objects in memory, which some libraries name: they would make the same run store other bytes.
    """
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"[:MESSAGE_LENGTH]


def is_fatal(error: BaseException) -> bool:
    """Whether an exception is no row's fault: storage, memory, the device, or a broken contract of the scorer."""
    if isinstance(error, (PoolsieveError, MemoryError)):
        return True
    if isinstance(error, OSError):
        # Pillow raises a bare OSError without an errno ("image file is truncated") for what is wrong with an image.
        bare = type(error) is OSError and error.errno is None
        return not bare and type(error).__module__.partition(".")[0] != "PIL"
    return is_device_error(error)


def is_device_error(error: BaseException) -> bool:
    """Whether torch raised this for its device (memory included) or a kernel that can't be run, whatever the rows are.

    Most have no class of their own, so it goes by their text; by that of a `ValueError`, which may quote a row, it does
    not. A batch that a kernel refuses has a shape or a type that every batch has.
    """
    if type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
        return True
    torchs = isinstance(error, (RuntimeError, AssertionError)) or type(error).__module__.partition(".")[0] == "torch"
    return torchs and _DEVICE.search(str(error)) is not None


def row_error(error: BaseException) -> RowError:
    """An exception as strings: its class in snake case, and its text."""
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(error).__name__).lower()
    return RowError(kind, error_text(error))


def unknown_name(what: str, wrong: str, known: Iterable[str], hint: str = "") -> PlanError:
    """The error for a name that does not exist, naming the nearest that do, else what there is.

    Args:
        what: the sentence that refuses it, without a full stop: "there is no kind of pool 'parket'".
        wrong: the name as it was given; YAML may give a number or a null.
        known: the names that exist, in the order in which to list them.
        hint: a further sentence.
    """
    names = list(dict.fromkeys(map(str, known)))
    near = difflib.get_close_matches(str(wrong), names, n=3, cutoff=0.5)
    if near:
        found = f"Did you mean {' or '.join(map(repr, near))}?"
    else:
        found = "There is " + (", ".join(names[:20]) or "none") + (", ..." if len(names) > 20 else ".")
    return PlanError(f"{what}. {found}" + (f" {hint}" if hint else ""))
