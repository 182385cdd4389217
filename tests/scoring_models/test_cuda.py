"""What takes a GPU: run by whoever has one, skipped elsewhere."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")
if not torch.cuda.is_available():
    pytest.skip("no GPU that torch can use", allow_module_level=True)

from poolsieve.scoring_models import Classifier, Clip, Color  # noqa: E402
from poolsieve.scoring_models.base.errors import PoolsieveError  # noqa: E402
from poolsieve.scoring_models.devices.gpu import GpuRunner, HostBuffers, total_memory  # noqa: E402
from poolsieve.scoring_models.devices.replicas import devices_of, load_on  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.dataflow.passes.test_fed_runs import MODEL, jpeg  # noqa: E402
from tests.scoring_models.causal import tiny_causal  # noqa: E402
from tests.scoring_models.encoders.tiny_classifier import WORDS, make  # noqa: E402

CUDA = torch.device("cuda:0")


@pytest.fixture
def small_gpu() -> Iterator[None]:
    """Half a gigabyte of the GPU for this process, as if others had the rest."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2**29 / total_memory(torch, CUDA), CUDA)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, CUDA)


def pairs(n: int = 90) -> pa.RecordBatch:
    images = [jpeg(i) for i in range(n)]
    return pa.record_batch({"image": pa.array(images, pa.binary()), "text": [f"a picture of {i}" for i in range(n)]})


def scores(config: Any, batch: pa.RecordBatch, loaded: Any = None) -> Any:
    return score_rows(loaded or config.load(), batch, config.columns, threads=4)


def test_buffers_are_pinned() -> None:
    array = HostBuffers(2).take((5, 3), np.uint8)
    assert torch.from_numpy(array).is_pinned()


def test_many_batches_side_by_side_are_never_mixed_up() -> None:
    """Each of them is slow to compute, so that a copy which did not wait would be seen."""
    runner = GpuRunner(CUDA, "it")
    weights = torch.eye(512, device=CUDA)
    torch.cuda.synchronize(CUDA)

    def compute(x: Any) -> dict[str, Any]:
        y = x.float()
        for _ in range(40):
            y = y @ weights
        return {"": y.sum(1), "first": y[:, 0].half()}

    wrong: list[int] = []

    def work(seed: int) -> None:
        dice = np.random.default_rng(seed)
        for _ in range(60):
            values = runner.buffer((256, 512), np.uint8)
            values[...] = dice.integers(0, 256, values.shape, dtype=np.uint8)
            expected = values.astype(np.float32)
            made = runner(compute, [values], smaller="")
            if not np.allclose(made[""], expected.sum(1)) or not np.array_equal(made["first"], expected[:, 0]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_arrays_of_others_are_copied_and_kept() -> None:
    runner, mine = GpuRunner(CUDA, "it"), np.arange(12, dtype=np.int64).reshape(3, 4)
    made = [runner(lambda x: {"": x * 2}, [mine], smaller="")[""] for _ in range(3)]
    assert all(np.array_equal(one, 2 * mine) for one in made)
    assert mine.tolist() == np.arange(12).reshape(3, 4).tolist()


def test_clip_agrees_with_the_cpu_and_a_rows_score_is_its_own() -> None:
    batch = pairs()
    on_cpu = scores(Clip(MODEL, device="cpu"), batch).columns[""].to_numpy()
    config = Clip(MODEL, device="cuda:0")
    loaded = config.load()
    whole = scores(config, batch, loaded).columns[""].to_numpy()
    assert np.abs(whole - on_cpu).max() < 1e-4
    order = np.random.default_rng(0).permutation(len(whole))
    assert np.array_equal(scores(config, batch.take(pa.array(order)), loaded).columns[""].to_numpy(), whole[order])
    assert np.array_equal(scores(config, batch.slice(7, 1), loaded).columns[""].to_numpy(), whole[7:8])
    assert (loaded.at_once, loaded.settings["device"]) == (2, torch.cuda.get_device_name(CUDA))


def test_a_classifier_agrees_with_the_cpu(tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    texts = pa.record_batch({"text": [" ".join(WORDS[i : i + 1 + i % 90]) for i in range(60)]})
    made = [
        scores(Classifier(str(folder), label="LABEL_1", device=device, backend="torch"), texts).columns[""].to_numpy()
        for device in ("cpu", "cuda:0")
    ]
    assert np.abs(made[0] - made[1]).max() < 1e-4


@pytest.mark.usefixtures("small_gpu")
def test_a_size_that_the_gpu_has_no_room_for_is_refused_when_the_model_is_loaded() -> None:
    with pytest.raises(PoolsieveError, match="has no room for the model and 100000 pairs at a time"):
        Clip(MODEL, device="cuda:0", batch_size=100_000).load()


@pytest.mark.usefixtures("small_gpu")
def test_out_of_memory_later_is_said_and_the_next_batch_goes_on() -> None:
    runner = GpuRunner(CUDA, "it")

    def compute(x: Any) -> dict[str, Any]:
        return {"": torch.zeros(int(x.shape[0]) * 2**20, device=x.device)[:4] + 1}

    with pytest.raises(PoolsieveError, match=r"it: cuda:0 \(.*\) is out of memory: less"):
        runner(compute, [np.zeros(4000, np.uint8)], smaller="less")
    assert runner(compute, [np.zeros(4, np.uint8)], smaller="")[""].tolist() == [1, 1, 1, 1]


def test_a_device_side_assert_names_the_device_and_no_row() -> None:
    """In a process of its own: nothing works on a GPU after it."""
    code = (
        "import numpy as np, torch\n"
        "from poolsieve.scoring_models.devices.gpu import GpuRunner\n"
        "runner = GpuRunner(torch.device('cuda:0'), 'it')\n"
        "table = torch.zeros(4, device='cuda:0'); torch.cuda.synchronize()\n"
        "runner(lambda x: {'': table[x]}, [np.array([99])], smaller='')\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert "PoolsieveError: it: cuda:0" in made.stderr
    assert "failed: CUDA error: device-side assert triggered" in made.stderr


def test_all_devices_give_the_scores_of_one() -> None:
    config, batch = Clip(MODEL), pairs()
    alone = scores(config, batch, load_on(config, ("cuda:0",))).columns[""]
    assert scores(config, batch, load_on(config, devices_of("all"))).columns[""].equals(alone)


def color(folder: Path, **how: Any) -> Color:
    models = {name: str(tiny_causal.make(folder / name, seed=i)) for i, name in enumerate(("prior", "conditional"))}
    return Color(**models, **how)


def test_losses_in_fp32_are_those_of_a_cpu(tmp_path: Path) -> None:
    texts = pa.record_batch({"text": [" ".join(tiny_causal.WORDS[: 2 + i % 80]) for i in range(120)]})
    here, there = (
        scores(color(tmp_path, precision="fp32", device=device), texts).columns for device in ("cuda", "cpu")
    )
    for name in ("prior", "conditional"):
        assert np.allclose(here[name].to_numpy(), there[name].to_numpy(), rtol=1e-4)


def test_a_texts_losses_depend_on_the_text_alone(tmp_path: Path) -> None:
    """In the precision that the GPU has by itself."""
    texts = pa.record_batch({"text": [" ".join(tiny_causal.WORDS[: 2 + i % 80]) for i in range(120)]})
    config = color(tmp_path, device="cuda")
    loaded = config.load()
    whole = scores(config, texts, loaded).columns[""].to_pylist()
    assert [scores(config, texts.slice(i, 1), loaded).columns[""][0].as_py() for i in range(0, 120, 7)] == whole[::7]
