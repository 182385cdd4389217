"""Models alone: rows are ready in memory, and as many threads call the model as a feed would have."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from clip import photographs
from common import seconds
from device_common import Line, Sizes, clip_folder, config_of, device_kind, free_bytes, precision_of, threads_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from poolsieve.scoring_models import Celadon, Clip
from poolsieve.scoring_models.base.scorer import ModelBatch
from poolsieve.scoring_models.devices.flops import flops_of
from poolsieve.scoring_models.devices.peaks import peak_of

LM = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 50_304,
    "max_position_embeddings": 2048,
}
"""OLMo's shape at 150M parameters: 12 layers, 768 wide, SwiGLU of 3,072, embedding and head in one."""

HEAD = 128
"""Positions whose logits are in memory at a time."""

ON_DEVICE = 256
"""Pairs of a batch on a GPU."""


class Peak:
    """What the device could do at most: by its data sheet, else measured as a product of matrices."""

    def __init__(self, kind: str) -> None:
        import torch

        self.kind, self.flops = kind, self._listed(torch) if kind == "cuda" else _matmul_flops(torch)
        self.how = "" if kind == "cuda" else ", torch's product of two fp32 matrices of 2048 x 2048"
        self.means = "the data sheet's peak (MFU)" if kind == "cuda" else "the measured peak"

    def _listed(self, torch: Any) -> float | None:
        found = peak_of(torch.cuda.get_device_name(0), precision_of(self.kind))
        return None if found is None else found * 1e12

    def share(self, flops: float) -> str:
        """FLOP/s in words, with the share of the peak where that is known."""
        said = f"{flops / 1e9:,.0f} GFLOP/s"
        return said if not self.flops else f"{said}, {flops / self.flops:.2f} of {self.means}"


def _matmul_flops(torch: Any, side: int = 2048) -> float:
    """FLOP/s of torch's fp32 product of two square matrices with its own number of threads: the best of five."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    best = min(seconds(lambda: a @ b) for _ in range(5))
    return float(2 * side**3 / best)


def models(sizes: Sizes, folder: Path) -> Iterator[Line]:
    """Prints a line for each model; yields its share of the peak."""
    kind = device_kind()
    peak = Peak(kind)
    if peak.flops:
        print(f"{peak.means}: {peak.flops / 1e9:,.0f} GFLOP/s{peak.how}")
    goal = 0.45 if "H100" in _name(kind) else None
    for arch in sizes.archs:
        yield from _clip(arch, sizes, folder, peak, goal if arch in ("ViT-L-14", "ViT-H-14") else None)
    yield from _celadon(sizes, folder, peak)
    yield from _language(sizes, peak)


def _name(kind: str) -> str:
    import torch

    return torch.cuda.get_device_name(0) if kind == "cuda" else "cpu"


def _line(what: str, rate: float, unit: str, flops: float, peak: Peak, goal: float | None = None) -> Iterator[Line]:
    """Prints what a model does; yields its share of the peak, if there is one."""
    print(f"{what}: {rate:,.1f} {unit}/s, {peak.share(rate * flops)}", flush=True)
    if peak.flops:
        yield Line(what=f"{what}, share of the peak", ratio=rate * flops / peak.flops, goal=goal, note=peak.means)


def _clip(arch: str, sizes: Sizes, folder: Path, peak: Peak, goal: float | None) -> Iterator[Line]:
    import open_clip
    import torch

    with torch.device("meta"):
        empty = open_clip.CLIP(**config_of(arch))
    free, needed = free_bytes(), 10 * sum(p.numel() for p in empty.parameters())
    if free is not None and free < needed:
        print(f"CLIP {arch}: not run, it takes {needed / 1e9:.0f} GB and {free / 1e9:.0f} GB are free")
        return
    flops = _clip_flops(empty, config_of(arch))
    size = {"batch_size": sizes.archs[arch]} if peak.kind == "cpu" else {"batch_size": ON_DEVICE}
    loaded = Clip(f"local-dir:{clip_folder(folder, arch)}", precision=precision_of(peak.kind), **size).load()
    room = loaded.room("pairs")
    image = photographs(1)[0]
    batch = pa.record_batch({"image": pa.array([image] * room, pa.binary()), "text": ["a photo of a thing"] * room})
    rate = room * _batches_a_second(loaded, ready(loaded, batch), sizes.batches, threads_of(peak.kind))
    yield from _line(f"CLIP {arch}, {precision_of(peak.kind)}, batches of {room}", rate, "pairs", flops, peak, goal)


def _clip_flops(empty: Any, config: dict[str, Any]) -> float:
    """FLOPs of one pair."""
    import torch

    side, context = config["vision_cfg"]["image_size"], config["text_cfg"].get("context_length", 77)

    def both(model: Any) -> None:
        model.encode_image(torch.zeros(1, 3, side, side, device="meta"))
        model.encode_text(torch.zeros(1, context, dtype=torch.long, device="meta"))

    return flops_of(empty, both)


def ready(loaded: Any, batch: pa.RecordBatch) -> list[ModelBatch]:
    """Rows as the model takes them, put together to batches."""
    rows = defaultdict(list)
    for piece in loaded.pieces(batch):
        for one in loaded.decode(batch, piece)[0]:
            rows[one.shape].append(one)
    return [
        ModelBatch(range(len(some[i : i + loaded.room(shape)])), shape, _filled(loaded, shape, some, i))
        for shape, some in rows.items()
        for i in range(0, len(some), loaded.room(shape))
    ]


def _filled(loaded: Any, shape: str, some: Sequence[Any], at: int) -> Any:
    return loaded.filled(shape, [one.inputs for one in some[at : at + loaded.room(shape)]])


def _batches_a_second(loaded: Any, batches: Sequence[ModelBatch], times: int, threads: int) -> float:
    """Of `times` rounds over the batches in each of several threads, after one that nobody counts."""

    def work(_: int) -> None:
        for _ in range(times):
            for one in batches:
                loaded.infer(one)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: loaded.infer(batches[0]), range(threads)))
        took = seconds(lambda: list(pool.map(work, range(threads))))
    return threads * times * len(batches) / took


def _celadon(sizes: Sizes, folder: Path, peak: Peak) -> Iterator[Line]:
    import torch
    from celadon import model_folder

    from poolsieve.scoring_models.encoders.celadon import CATEGORIES
    from poolsieve.scoring_models.encoders.celadon_files import load_model
    from tests.filters.corpus import real

    config = Celadon(str(model_folder(folder)), precision=precision_of(peak.kind))
    network = load_model(config.files(), len(CATEGORIES), 4)
    flops = flops_of(network, lambda model: model(*torch.ones(2, 1, 512, dtype=torch.long, device="meta"))) / 512
    loaded = config.load()
    texts = list(real(sizes.documents * (16 if peak.kind == "cuda" else 1)))
    tokens = sum(map(len, loaded.tokenizer(texts, add_special_tokens=False)["input_ids"]))
    batches = ready(loaded, pa.record_batch({"text": texts}))
    rate = tokens / len(batches) * _batches_a_second(loaded, batches, sizes.batches, threads_of(peak.kind))
    what = f"Celadon's shape (DeBERTa-v3-small), {precision_of(peak.kind)}, {len(texts)} documents"
    yield from _line(what, rate, "tokens", flops, peak)


def _language(sizes: Sizes, peak: Peak) -> Iterator[Line]:
    """Forward pass and summed loss, the logits of a few positions at a time."""
    import torch
    from transformers import OlmoConfig, OlmoForCausalLM

    torch.set_num_threads(threads_of("cpu"))
    dtype = torch.bfloat16 if peak.kind == "cuda" else torch.float32
    model = OlmoForCausalLM(OlmoConfig(**LM, tie_word_embeddings=True)).to(peak.kind, dtype).eval()
    texts, length = sizes.tokens if peak.kind == "cpu" else (32, 1024)
    ids = torch.randint(0, LM["vocab_size"], (texts, length), device=peak.kind)
    flops = flops_of(model, lambda model: model(torch.ones(1, length, dtype=torch.long, device="meta"))) / length
    rounds = sizes.batches * (1 if peak.kind == "cpu" else 20)
    with torch.inference_mode():
        _loss(torch, model, ids)
        took = seconds(lambda: [_loss(torch, model, ids) for _ in range(rounds)])
    what = f"language model of 152M parameters (OLMo's shape), loss, {texts} x {length} tokens"
    yield from _line(what, rounds * texts * length / took, "tokens", flops, peak)


def _loss(torch: Any, model: Any, ids: Any) -> float:
    """Summed cross entropy of each next token."""
    hidden, total = model.model(ids).last_hidden_state, 0.0
    for start in range(0, ids.shape[1] - 1, HEAD):
        wanted = ids[:, start + 1 : start + 1 + HEAD]
        logits = model.lm_head(hidden[:, start : start + wanted.shape[1]]).float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum")
    return float(total)
