"""What runs a model on a device, as far as it is not CUDA's own: a second chance, sizes that are tried, errors in words."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from poolsieve.scoring_models.base.errors import PoolsieveError, is_device_error, is_fatal  # noqa: E402
from poolsieve.scoring_models.devices.batch_sizes import first_that_fits, fitting, weight_bytes, widest  # noqa: E402
from poolsieve.scoring_models.devices.gpu import FULL, HostBuffers  # noqa: E402
from poolsieve.scoring_models.devices.runner import Runner  # noqa: E402
from poolsieve.scoring_models.feeding.finite import not_finite  # noqa: E402

CPU = torch.device("cpu")


class Tower:
    """A model that has room for so many rows, as a device has."""

    def __init__(self, room: int) -> None:
        self.room, self.sizes = room, list[int]()

    def __call__(self, x: Any) -> dict[str, Any]:
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
        self.sizes.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return {"": x.double().sum(1)}


class Freed(Runner):
    """A device that has room again once its cache is emptied."""

    def __init__(self, tower: Tower, room: int) -> None:
        super().__init__(CPU, "Clip('m')")
        self.tower, self.new_room, self.freed = tower, room, 0

    def recover(self) -> None:
        self.freed += 1
        self.tower.room = self.new_room


def rows(n: int) -> np.ndarray[Any, Any]:
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


def test_a_batch_goes_through_as_arrays() -> None:
    made = Runner(CPU, "it")(Tower(8), [rows(8)], smaller="")
    assert made[""].dtype == np.float64
    assert made[""].tolist() == rows(8).astype(np.float64).sum(1).tolist()


def test_out_of_memory_is_given_one_more_chance_at_the_same_size() -> None:
    tower = Tower(4)
    runner = Freed(tower, 8)
    assert len(runner(tower, [rows(8)], smaller="")[""]) == 8
    assert (tower.sizes, runner.freed) == ([8, 8], 1)


def test_out_of_memory_twice_says_what_to_do() -> None:
    tower = Tower(4)
    runner = Freed(tower, 7)
    with pytest.raises(PoolsieveError, match=r"Clip\('m'\): cpu is out of memory: say batch_size=4"):
        runner(tower, [rows(8)], smaller="say batch_size=4")
    assert (tower.sizes, runner.freed) == ([8, 8], 1)


def test_the_first_size_that_fits_is_taken_and_a_smaller_one_than_the_kinds_is_said(caplog: Any) -> None:
    tower = Tower(300)
    runner = Runner(CPU, "Clip('m')")

    def attempt(n: int) -> object:
        return runner.once(tower, [rows(n)])

    with caplog.at_level(logging.WARNING):
        assert first_that_fits(runner, "pairs", (256, 128), attempt) == 256
        assert not caplog.records
        assert first_that_fits(runner, "pairs", (1024, 512, 256, 128), attempt) == 256
    assert "no room for 1024 pairs at a time" in caplog.text
    assert "it takes 256, which scorer.json records" in caplog.text
    assert tower.sizes == [256, 1024, 512, 256]
    with pytest.raises(PoolsieveError, match="no room for the model and 512 pairs at a time"):
        first_that_fits(runner, "pairs", (1024, 512), attempt)


def test_what_is_no_lack_of_memory_ends_the_trial() -> None:
    def broken(_: int) -> object:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")

    with pytest.raises(PoolsieveError, match=r"Clip\('m'\): cpu failed: CUDA error: no kernel image is available"):
        first_that_fits(Runner(CPU, "Clip('m')"), "pairs", (64, 32), broken)

    def wrong(_: int) -> object:
        raise ValueError("shapes")

    with pytest.raises(ValueError, match="shapes"):
        first_that_fits(Runner(CPU, "it"), "pairs", (64, 32), wrong)


MESSAGES = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.OutOfMemoryError("out of memory"),
    RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("No available kernel. Aborting execution."),
    RuntimeError("Found no NVIDIA driver on your system."),
    NotImplementedError("Could not run 'aten::foo' with arguments from the 'CUDA' backend."),
    AssertionError("Torch not compiled with CUDA enabled"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", MESSAGES, ids=lambda error: str(error)[:40])
def test_a_devices_failure_is_no_rows_fault(error: Exception) -> None:
    assert is_device_error(error)
    assert is_fatal(error)

    def fails(_: Any) -> Any:
        raise error

    runner = Runner(CPU, "Classifier('m')")
    with pytest.raises(PoolsieveError, match=r"Classifier\('m'\): cpu (failed: \S|is out of memory)"):
        runner(fails, [rows(1)], smaller="")


@pytest.mark.parametrize("error", [ValueError("a text about CUDA error: no"), KeyError("cuDNN"), RuntimeError("odd")])
def test_what_quotes_a_row_is_a_rows_fault(error: Exception) -> None:
    assert not is_device_error(error)
    assert not is_fatal(error)

    def fails(_: Any) -> Any:
        raise error

    with pytest.raises(type(error)):
        Runner(CPU, "it")(fails, [rows(1)], smaller="")


def test_memory_of_the_cpu_that_torch_does_not_get_is_no_rows_fault() -> None:
    with pytest.raises(PoolsieveError, match=r"it: cpu failed: .*DefaultCPUAllocator: can't allocate memory"):
        Runner(CPU, "it")(lambda x: {"": torch.empty(2**50)}, [rows(1)], smaller="")


def test_a_model_that_does_not_fit_is_said_with_its_name() -> None:
    def move() -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(PoolsieveError, match=r"Clip\('m'\): cpu has no room for the model"):
        Runner(CPU, "Clip('m')").placed(move)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_other_ways_to_be_out_of_memory(text: str) -> None:
    assert FULL.search(text)


def test_host_buffers_are_used_again_and_bounded() -> None:
    buffers = HostBuffers(2, pinned=False)
    taken = [buffers.take((4, 3), np.uint8) for _ in range(3)]
    assert len({array.ctypes.data for array in taken}) == 3
    for array in taken:
        buffers.give(array)
    places = {array.ctypes.data for array in taken}
    again = [buffers.take((4, 3), np.uint8) for _ in range(3)]
    assert sum(any(array is old for old in taken) for array in again) == 2
    assert len({array.ctypes.data for array in again}) == 3
    assert len(places & {array.ctypes.data for array in again}) >= 2
    other = buffers.take((4, 3), np.int64)
    assert (other.dtype, other.shape) == (np.int64, (4, 3))


def test_host_buffers_leave_what_is_not_theirs_alone() -> None:
    buffers = HostBuffers(2, pinned=False)
    mine = np.arange(6, dtype=np.int64)
    buffers.give(mine)
    buffers.give(mine)
    taken = buffers.take((6,), np.int64)
    assert taken is not mine
    assert buffers.own(taken) is taken
    copied = buffers.own(mine)
    assert copied is not mine
    assert copied.tolist() == mine.tolist()
    buffers.give(taken)
    buffers.give(taken)  # twice is once: two callers must never fill one array
    assert buffers.take((6,), np.int64) is not buffers.take((6,), np.int64)


def test_host_buffers_of_many_threads_are_never_shared() -> None:
    buffers, wrong = HostBuffers(2, pinned=False), list[int]()

    def work(mark: int) -> None:
        for _ in range(200):
            array = buffers.take((64,), np.int64)
            array[...] = mark
            if (array != mark).any():
                wrong.append(mark)
            buffers.give(array)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_sizes_come_from_what_a_kind_of_device_has_in_all() -> None:
    gib = 2**30
    assert fitting((64, 32), 4 * gib, 0, gib // 32) == (64, 32)
    assert fitting((64, 32), 4 * gib - 1, 0, gib // 32) == (32,)
    assert fitting((64, 32), gib, 2 * gib, 1) == (32,)
    layers = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 12), torch.nn.Linear(12, 3))
    assert widest(layers) == 12
    assert weight_bytes(layers) == 4 * (20 + 48 + 12 + 36 + 3)


def test_numbers_that_are_none_are_found_by_row() -> None:
    made = {
        "": np.array([1, np.nan, 2, np.inf, np.nan], np.float32),
        "embedding": np.array([[1, 2], [1, 2], [1, -np.inf], [0, 0], [0, 0]], np.float16),
        "label": np.array(["a", "nan", "b", "c", "d"], dtype=object),
        "n": np.arange(5),
    }
    found = not_finite(made, 4, "fp16")
    assert sorted(found) == [1, 2, 3]
    assert found[1].kind == "not_a_number"
    assert found[1].message.endswith("in fp16: its numbers do not fit into 16 bits; say precision='bf16' or 'fp32'")
    assert not_finite(made, 1, "fp32") == {}
    assert not_finite({"n": np.arange(5)}, 5, None) == {}
    assert not_finite({"": np.array([np.nan])}, 1, None)[0].message == "the model gave NaN or an infinity"
