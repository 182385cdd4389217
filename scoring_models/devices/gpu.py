"""A GPU: pinned buffers that are used again, copies beside the computation. All that is CUDA's own is in this module.

A batch takes three steps: it is copied on one stream, computed on another that waits for the copy, and its results are
copied back behind the computation. Threads only enqueue these under a lock; they wait for the results outside of it. So
while one batch is computed, the next is filled and copied.
"""

from __future__ import annotations

import contextlib
import re
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from poolsieve.scoring_models.devices.runner import Array, Compute, Runner

T = TypeVar("T")

FULL = re.compile(r"CUDA error: out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED")
"""In errors that are out of memory by another class: of pinning, and of cuBLAS and cuDNN when they are set up."""


class HostBuffers:
    """Arrays in host memory by shape and dtype, used again: to pin memory takes longer than to copy what is in it.

    Nobody waits here: whoever finds none free makes one. Safe to call from several threads.

    Args:
        keep: free ones of a shape that are kept; more are let go.
        pinned: where the GPU can copy from while the host does something else; it takes a GPU.
    """

    def __init__(self, keep: int, *, pinned: bool = True) -> None:
        self._keep, self._pinned = keep, pinned
        self._free: defaultdict[tuple[Any, ...], list[Array]] = defaultdict(list)
        self._taken: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of any contents, until it is given back; one that is only dropped is made anew next time."""
        with self._lock:
            free = self._free[shape, np.dtype(dtype)]
            array = free.pop() if free else self._made(shape, dtype)
            self._taken[id(array)] = array
            return array

    def _made(self, shape: tuple[int, ...], dtype: Any) -> Array:
        import torch

        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return np.asarray(torch.empty(shape, dtype=kind, pin_memory=self._pinned).numpy())

    def give(self, array: Array) -> None:
        """Takes an array back that is no longer read or written, the device included. Others' arrays are left alone."""
        with self._lock:
            if self._taken.get(id(array)) is not array:
                return
            del self._taken[id(array)]
            free = self._free[array.shape, array.dtype]
            if len(free) < self._keep:
                free.append(array)

    def own(self, array: Array) -> Array:
        """The array itself if it was taken here, else a copy in one that is."""
        if self._taken.get(id(array)) is array:
            return array
        made = self.take(array.shape, array.dtype)
        made[...] = array
        return made


class GpuRunner(Runner):
    """One GPU. Two batches at a time keep it busy: one that it computes, and one that is filled and copied."""

    at_once = 2

    def __init__(self, device: Any, who: str) -> None:
        super().__init__(device, who)
        with self.named():
            self._lock, self._buffers = threading.Lock(), HostBuffers(self.at_once + 1)
            self._copies, self._computes = (self.torch.cuda.Stream(device) for _ in range(2))

    def placed(self, move: Callable[[], T]) -> T:
        """See `Runner.placed`. The weights come on another stream, for which those of here would not wait."""

        def moved() -> T:
            made = move()
            self.torch.cuda.synchronize(self.device)
            return made

        return super().placed(moved)

    def buffer(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A pinned array; it goes back when the batch has been run."""
        return self._buffers.take(shape, dtype)

    def once(self, compute: Compute, arrays: Sequence[Array]) -> dict[str, Array]:
        """See `Runner.once`."""
        with self.torch.inference_mode(), self.torch.cuda.device(self.device), self._full():
            sent = [self._buffers.own(array) for array in arrays]
            inputs, copied = self._copied(sent)
            results, done = self._enqueued(compute, inputs, copied)
            done.synchronize()
        made = {name: array.copy() for name, array in results.items()}
        # Not where it failed: the device may still be copying, and torch's allocator waits for it before it uses the
        # memory again (`record_event` of its CachingHostAllocator).
        for array in (*sent, *results.values()):
            self._buffers.give(array)
        return made

    @contextlib.contextmanager
    def _full(self) -> Iterator[None]:
        """Gives errors of libraries that find no memory the class that torch has for its own."""
        try:
            yield
        except RuntimeError as error:
            if FULL.search(str(error)) is None:
                raise
            raise self.torch.OutOfMemoryError(str(error)) from None

    def _copied(self, arrays: Sequence[Array]) -> tuple[list[Any], Any]:
        """(tensors on the device, event after the copies)."""
        torch = self.torch
        with torch.cuda.stream(self._copies):
            inputs = [torch.from_numpy(array).to(self.device, non_blocking=True) for array in arrays]
            copied = self._copies.record_event()
        for tensor in inputs:
            # Its memory is this stream's: without this, the next copy could go there while it is still computed with.
            tensor.record_stream(self._computes)
        return inputs, copied

    def _enqueued(self, compute: Compute, inputs: Sequence[Any], copied: Any) -> tuple[dict[str, Array], Any]:
        """(host arrays that will hold the results, event after which they do)."""
        torch = self.torch
        with self._lock, torch.cuda.stream(self._computes):
            self._computes.wait_event(copied)
            results = {name: self._sent_back(tensor) for name, tensor in compute(*inputs).items()}
            done = torch.cuda.Event(blocking=True)  # who waits sleeps: the cores are for decoding
            done.record(self._computes)
        return results, done

    def _sent_back(self, tensor: Any) -> Array:
        kind = self.torch.empty(0, dtype=tensor.dtype).numpy().dtype
        array = self._buffers.take(tuple(tensor.shape), kind)
        self.torch.from_numpy(array).copy_(tensor, non_blocking=True)
        return array

    def recover(self) -> None:
        """Waits for the batches that are under way, whose memory is then free, and lets torch's cache go."""
        with self._lock:
            self.torch.cuda.synchronize(self.device)
            self.torch.cuda.empty_cache()

    def name(self) -> str:
        """As `cuda:0 (NVIDIA H100 80GB HBM3)`; of a device that failed, its number alone."""
        try:
            return f"{self.device} ({self.torch.cuda.get_device_name(self.device)})"
        except (RuntimeError, AssertionError):
            return str(self.device)


def runner_of(device: Any, who: str) -> Runner:
    """What runs models on a device of torch."""
    return GpuRunner(device, who) if device.type == "cuda" else Runner(device, who)


def total_memory(torch: Any, device: Any) -> int:
    """Bytes that a GPU has in all, whoever uses them now: of one kind of device, the same on every machine."""
    return int(torch.cuda.get_device_properties(device).total_memory)
