"""CLIP and the device that it runs on: sizes of batches, failures of the device, numbers that are none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.errors import PoolsieveError
from poolsieve.scoring_models.feeding.driver import score_rows

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")

from poolsieve.scoring_models.clip.batch_size import LISTED, sizes_for, tried  # noqa: E402
from tests.conftest import ledger, run  # noqa: E402
from tests.dataflow.passes.test_fed_runs import MODEL, jpeg  # noqa: E402

GIB = 2**30
CAPTIONS = ["a picture of a dog", "one red thing", "a picture of a cat", "blue", "a red dog", "words"]


def pairs(captions: list[str] = CAPTIONS) -> pa.RecordBatch:
    images = [jpeg(i) for i in range(len(captions))]
    return pa.record_batch({"image": pa.array(images, pa.binary()), "text": captions})


def scores(config: Clip, loaded: Any = None) -> Any:
    return score_rows(loaded or config.load(), pairs(), config.columns, threads=2)


def test_32_pairs_at_a_time_are_not_written_and_nothing_else_is_left_out() -> None:
    """What was stored when 32 were the default is found again."""
    plain = {"type": "Clip", "model": "local-dir:clip"}
    assert Clip(MODEL).to_dict() == Clip(MODEL, batch_size=32).to_dict() == plain
    assert Clip(MODEL, batch_size=64).to_dict() == {**plain, "batch_size": 64}


def test_what_is_left_open_is_what_stored_scores_were_made_with() -> None:
    config = Clip(MODEL)
    assert config.as_recorded({"shape": [256, 77]}).batch_size == 256
    for settings in ({}, {"shape": [7, 77]}, {"shape": "256"}, {"shape": [256]}, {"shape": [256, 77, 1]}):
        assert config.as_recorded(settings) is config
    named = Clip(MODEL, batch_size=16)
    assert named.as_recorded({"shape": [256, 77]}) is named


def model_of(arch: str, dtype: Any = torch.bfloat16) -> tuple[Any, Any, Any]:
    """A real architecture without its weights, with a pair."""
    with torch.device("meta"):
        model = open_clip.create_model(arch, precision="fp32", device="meta").to(dtype)
    size = model.visual.image_size
    side = size[0] if isinstance(size, tuple) else size
    return model, np.zeros((1, side, side, 3), np.uint8), np.zeros((1, model.context_length), np.int64)


@pytest.mark.parametrize(
    ("arch", "dtype", "memory", "pairs"),
    [
        ("ViT-B-32", torch.bfloat16, 80, 256),
        ("ViT-L-14", torch.bfloat16, 80, 256),
        ("ViT-L-14", torch.float32, 16, 256),
        ("ViT-L-14", torch.float32, 8, 64),
        ("ViT-H-14-378", torch.bfloat16, 80, 128),
        ("ViT-H-14-378", torch.float32, 16, 64),
        ("RN50", torch.float32, 8, 128),
        ("ViT-B-32", torch.float32, 1, 32),
    ],
)
def test_pairs_at_a_time_by_kind_of_device(arch: str, dtype: Any, memory: int, pairs: int) -> None:
    model, pixels, tokens = model_of(arch, dtype)
    sizes = sizes_for(model, memory * GIB, pixels, tokens)
    assert sizes[0] == pairs
    assert sizes == LISTED[LISTED.index(pairs) :]


class Limited:
    """The towers of a device that has room for so many pairs."""

    def __init__(self, towers: Any, room: int) -> None:
        self.inner, self.room, self.sizes = towers.embed, room, list[int]()

    def __call__(self, pixels: Any, tokens: Any) -> Any:
        self.sizes.append(len(pixels))
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.inner(pixels, tokens)


def test_a_size_is_tried_with_blank_pairs_before_anything_is_scored() -> None:
    loaded = Clip(MODEL).load()
    loaded.towers.embed = limited = Limited(loaded.towers, 100)  # type: ignore[method-assign]
    assert tried(loaded.towers, *loaded._blank(), (256, 128, 64, 32)) == 64
    assert limited.sizes == [256, 128, 64]
    with pytest.raises(PoolsieveError, match="has no room for the model and 128 pairs at a time"):
        tried(loaded.towers, *loaded._blank(), (128,))


def test_out_of_memory_while_scoring_is_no_rows_fault() -> None:
    config = Clip(MODEL, batch_size=4)
    loaded = config.load()
    loaded.towers.embed = limited = Limited(loaded.towers, 3)  # type: ignore[method-assign]
    with pytest.raises(PoolsieveError, match=r"Clip\('local-dir:.*is out of memory: say Clip\(\.\.\., batch_size=2\)"):
        scores(config, loaded)
    assert set(limited.sizes) == {4}  # never by halves: another shape would give other last digits


def test_a_device_that_disappears_is_named_and_no_row_is_blamed() -> None:
    config, calls = Clip(MODEL, batch_size=8), list[int]()
    loaded = config.load()

    def gone(pixels: Any, tokens: Any) -> Any:
        calls.append(len(pixels))
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")

    loaded.towers.embed = gone  # type: ignore[method-assign]
    with pytest.raises(
        PoolsieveError, match=r"Clip\('local-dir:.*\): cpu failed: CUDA error: unspecified launch failu"
    ):
        scores(config, loaded)
    assert calls == [8]


@pytest.fixture
def nan_for_red(tmp_path: Path) -> str:
    """A model in which the embedding of one word is NaN, as numbers that do not fit into fp16 become."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "clip"
    shutil.copytree(MODEL.removeprefix("local-dir:"), folder)
    (path,) = folder.glob("*.safetensors")
    decoded, _ = Clip(MODEL).load().decode(pairs(["red", "blue"]), [0, 1])
    word = int(np.setdiff1d(*(one.inputs[1] for one in decoded))[0])
    weights = load_file(path)
    weights["token_embedding.weight"][word] = float("nan")
    save_file(weights, path)
    return f"local-dir:{folder}"


def test_a_caption_that_gives_nan_costs_its_row_and_no_other(nan_for_red: str) -> None:
    config = Clip(nan_for_red, batch_size=4, embeddings=True)
    made, whole = scores(config), scores(Clip(MODEL, batch_size=4, embeddings=True))
    assert {row: error.kind for row, error in made.errors.items()} == {1: "not_a_number", 4: "not_a_number"}
    assert made.errors[1].message == "the model gave NaN or an infinity in fp32"
    keep = pa.array([0, 2, 3, 5])
    for name in config.columns:
        assert made.columns[name].take(keep).equals(whole.columns[name].take(keep))
        assert made.columns[name].is_null().to_pylist() == [False, True, False, False, True, False]


def test_nan_is_quarantined(nan_for_red: str, tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    table = pa.table({"image": [jpeg(i) for i in range(len(CAPTIONS))], "text": CAPTIONS})
    pq.write_table(table, tmp_path / "pool" / "a.parquet")
    pool = Pool.parquet(f"{tmp_path}/pool/*.parquet", text="text", image="image")
    run(pool | Score(clip=Clip(nan_for_red)) | Keep(col("clip") >= -1), tmp_path / "out")
    reasons = ledger(tmp_path / "out").column("reason").to_pylist()
    assert [reason for reason in reasons if reason] == ["quarantine.not_a_number"] * 2
    assert [bool(reason) for reason in reasons] == [False, True, False, False, True, False]


def test_attention_is_torchs_own_scaled_dot_product() -> None:
    """Else a GPU would hold every weight of every head; see `TorchTowers`."""
    loaded = Clip(MODEL, batch_size=2).load()
    pixels, tokens = (torch.from_numpy(part.repeat(2, axis=0)) for part in loaded._blank())
    with torch.inference_mode(), torch.profiler.profile() as seen:
        loaded.towers.embed(pixels, tokens)
    names = {event.key for event in seen.key_averages()}
    assert "aten::_native_multi_head_attention" in names
    assert "aten::scaled_dot_product_attention" in names
