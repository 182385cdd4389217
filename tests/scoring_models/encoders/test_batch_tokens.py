"""Tokens that an encoder takes at a time: by the kind of device, then tried in windows of all lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from poolsieve.scoring_models import Celadon
from poolsieve.scoring_models.base.errors import PoolsieveError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from poolsieve.scoring_models.devices.token_shapes import LISTED, ON_CPU, recorded, shapes  # noqa: E402
from poolsieve.scoring_models.encoders.batch_tokens import sizes_for, tokens_of, tried  # noqa: E402
from poolsieve.scoring_models.encoders.engines import TorchEngine  # noqa: E402

GIB = 2**30


class Network(torch.nn.Module):  # type: ignore[misc]
    """Two logits of the mean embedding of a window, and room for so many tokens."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.words, self.head = torch.nn.Embedding(50, 8), torch.nn.Linear(8, 2)
        self.room, self.seen = room, list[tuple[int, int]]()

    def forward(self, ids: Any, mask: Any) -> Any:
        self.seen.append(tuple(ids.shape))
        if ids.numel() > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.head((self.words(ids) * mask[..., None]).mean(1))


def engine_of(room: int) -> TorchEngine:
    return TorchEngine(Network(room).eval(), torch.device("cpu"), "fp32", "Classifier('m')")


def test_a_size_is_tried_in_windows_of_all_lengths() -> None:
    run = engine_of(5000)
    assert tried(run, 512, (16_384, 8192, 4096, 2048)) == 4096
    assert run.network.seen[2:] == list(shapes(512, 4096))
    with pytest.raises(PoolsieveError, match=r"Classifier\('m'\): cpu has no room for the model and 8192 tokens"):
        tried(run, 512, (8192,))


def test_on_a_cpu_nothing_is_tried() -> None:
    run = engine_of(0)
    assert (tokens_of(run, 512, None), tokens_of(run, 512, 4096)) == (ON_CPU, 4096)
    assert run.network.seen == []


def test_out_of_memory_while_scoring_says_what_to_give() -> None:
    run = engine_of(100)
    ids = np.zeros((4, 32), np.int64)
    with pytest.raises(PoolsieveError, match="is out of memory: give the scorer tokens=64, it has 128 at a time"):
        run(ids, np.ones_like(ids))


@pytest.mark.parametrize(
    ("width", "layers", "dtype", "memory", "tokens"),
    [
        (768, 12, torch.float32, 80, 32_768),
        (768, 12, torch.bfloat16, 80, 32_768),
        (768, 12, torch.float32, 16, 32_768),
        (768, 12, torch.float32, 8, 16_384),
        (1024, 24, torch.float32, 8, 16_384),
        (768, 12, torch.float32, 1, 2048),
    ],
)
def test_tokens_at_a_time_by_kind_of_device(width: int, layers: int, dtype: Any, memory: int, tokens: int) -> None:
    """Of an encoder of BERT's shape, over windows of 512 tokens."""
    with torch.device("meta"):
        blocks = [torch.nn.TransformerEncoderLayer(width, width // 64, 4 * width) for _ in range(layers)]
        network = torch.nn.Sequential(torch.nn.Embedding(30_000, width), *blocks).to(dtype)
    sizes = sizes_for(network, memory * GIB, 512)
    assert sizes[0] == tokens
    assert sizes == LISTED[LISTED.index(tokens) :]


def test_what_is_left_open_is_what_stored_scores_were_made_with() -> None:
    for tokens in LISTED:
        for context in (20, 60, 512, 8192):
            assert recorded({"shapes": [list(shape) for shape in shapes(context, tokens)]}) == tokens
    assert recorded({"shapes": [list(shape) for shape in shapes(512, ON_CPU)]}) is None
    for settings in ({}, {"shapes": []}, {"shapes": "x"}, {"shapes": [[1]]}, {"shapes": [["a", 2]]}):
        assert recorded(settings) is None
    config = Celadon("/m")
    assert config.as_recorded({"shapes": [[1024, 32]]}).tokens == 32_768
    assert config.as_recorded({}) is config
    named = Celadon("/m", tokens=512)
    assert named.as_recorded({"shapes": [[1024, 32]]}) is named
