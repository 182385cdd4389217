"""Runs a torch model on batches of NumPy arrays, on whatever device; says in words what goes wrong there.

`Runner` is the CPU's; `GpuRunner` in `gpu.py` is the same with CUDA's streams. Imports torch only when one is made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from poolsieve.scoring_models.base.errors import PoolsieveError, is_device_error

T = TypeVar("T")

Array = np.ndarray[Any, Any]

Compute = Callable[..., Mapping[str, Any]]
"""Tensors on the device, one for each input array -> named tensors on the device."""


class Runner:
    """The CPU, where threads work side by side, each in one thread of torch's own.

    Args:
        device: of torch; the model is there already.
        who: the scorer, for messages.
    """

    at_once: int | None = None
    """Batches that are worth having here at a time; None: as many as there are threads."""

    def __init__(self, device: Any, who: str) -> None:
        import torch

        self.torch, self.device, self.who = torch, device, who

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array for a batch's input, of any contents; it may be used again once the batch has been run."""
        return np.empty(shape, dtype)

    def __call__(self, compute: Compute, arrays: Sequence[Array], *, smaller: str) -> dict[str, Array]:
        """What `compute` makes of a batch, on the host.

        A device that is out of memory is given one more chance, after all that torch keeps there is let go.

        Args:
            compute: runs in inference mode; may be called twice.
            arrays: of the batch, contiguous.
            smaller: what to do if the batch is too large, for the message.

        Raises:
            PoolsieveError: if the device has no room for the batch, or fails.
        """
        with self.named():
            with contextlib.suppress(self.torch.OutOfMemoryError):
                return self.once(compute, arrays)
            # Here, where the error and the tensors that its traceback holds are gone.
            self.recover()
            try:
                return self.once(compute, arrays)
            except self.torch.OutOfMemoryError as error:
                raise PoolsieveError(f"{self.who}: {self.name()} is out of memory: {smaller}") from error

    def once(self, compute: Compute, arrays: Sequence[Array]) -> dict[str, Array]:
        """The same without a second chance.

        Raises:
            torch.OutOfMemoryError: if there is no room.
        """
        torch = self.torch
        torch.set_num_threads(1)  # a setting of the calling thread; more would fight over the cores and change sums
        with torch.inference_mode():
            made = compute(*map(torch.from_numpy, arrays))
            return {name: tensor.numpy() for name, tensor in made.items()}

    def placed(self, move: Callable[[], T]) -> T:
        """What `move` gives, which brings a model to the device.

        Raises:
            PoolsieveError: if the device has no room for it, or fails.
        """
        with self.named():
            try:
                return move()
            except self.torch.OutOfMemoryError as error:
                raise PoolsieveError(f"{self.who}: {self.name()} has no room for the model") from error

    def recover(self) -> None:
        """Lets go what torch keeps of the device's memory for later; nothing on a CPU."""

    def name(self) -> str:
        """The device, for people."""
        return str(self.device)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Turns a failure of the device into one that names it and the scorer; no row is to blame for it.

        Raises:
            PoolsieveError: in place of what torch raised. Out of memory stays what it is.
        """
        try:
            yield
        except (PoolsieveError, self.torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not is_device_error(error):
                raise
            said = " ".join(str(error).split("\n", 1)[0].split())[:300]
            raise PoolsieveError(
                f"{self.who}: {self.name()} failed: {said}. No row is to blame for it or was given a verdict. "
                "A process can't go on with a device that failed: run the same command again"
            ) from error
