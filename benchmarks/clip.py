"""The CLIP scoring job: against a bare loop over the same batches, against a naive loop, and what Beam costs.

    python benchmarks/clip.py --images 256 --runs 3

A ViT-B-32 with random weights (speed does not depend on them) over JPEGs of 500 x 375 pixels. The bare loop decodes,
preprocesses and runs the model on batches of the same size in one thread of Python, with torch's own number of threads;
the naive loop takes one image at a time. The job reads tars, scores, and writes its ledger; the plain loop calls the
same per-shard functions without Beam.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import pairs
from PIL import Image

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.decisions.decide import decide_shards
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.passes.scoring import score_shard
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.dataflow.store.job import Options
from poolsieve.filters import Keep, Score, col
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.feeding.driver import score_rows

BATCH = 32


def model_folder(folder: Path) -> Path:
    """A ViT-B-32 with random weights in open_clip's layout."""
    target = folder / "vit-b-32"
    if not (target / "open_clip_config.json").exists():
        import open_clip
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        target.mkdir(parents=True, exist_ok=True)
        model = open_clip.create_model("ViT-B-32")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, target / "open_clip_model.safetensors")
        config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {"size": 224}}
        (target / "open_clip_config.json").write_text(json.dumps(config))
    return target


def photographs(n: int) -> list[bytes]:
    """JPEGs of 500 x 375: smooth noise, which compresses about as a photograph does."""
    made = []
    for seed in range(n):
        rough = np.random.default_rng(seed).integers(0, 255, (47, 63, 3), dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(rough).resize((500, 375), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
        made.append(sink.getvalue())
    return made


def tars(folder: Path, images: list[bytes], shards: int) -> Path:
    """The same images as WebDataset."""
    target = folder / f"tars-{len(images)}-{shards}"
    if not target.exists():
        made = target.with_name(target.name + ".part")  # one that was killed here is no pool
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for shard in range(shards):
            with tarfile.open(made / f"{shard:05d}.tar", "w") as file:
                for i, image in enumerate(images[shard::shards]):
                    for ext, data in (("jpg", image), ("txt", f"a photo of thing {i}".encode())):
                        info = tarfile.TarInfo(f"{shard:03d}{i:06d}.{ext}")
                        info.size = len(data)
                        file.addfile(info, io.BytesIO(data))
        made.rename(target)
    return target


class Loops:
    """The loops to compare with, over images in memory."""

    def __init__(self, model: Path, images: list[bytes]) -> None:
        import open_clip
        import torch

        self.torch, self.images = torch, images
        self.texts = [f"a photo of thing {i}" for i in range(len(images))]
        self.model, _, self.transform = open_clip.create_model_and_transforms(f"local-dir:{model}")
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{model}")
        self.model.eval()

    def run(self, size: int) -> Any:
        """Decode, preprocess, model, in order, `size` pairs at a time, with torch's own number of threads."""
        self.torch.set_num_threads(os.cpu_count() or 1)
        out = []
        for i in range(0, len(self.images), size):
            pixels = [self.transform(Image.open(io.BytesIO(data))) for data in self.images[i : i + size]]
            with self.torch.inference_mode():
                x = self.model.encode_image(self.torch.stack(pixels), normalize=True)
                y = self.model.encode_text(self.tokenizer(self.texts[i : i + size]), normalize=True)
            out.append((x * y).sum(-1))
        return self.torch.cat(out).numpy()


def recipe_of(pool: Path, model: Path) -> Recipe:
    """One model, one rule that drops nothing."""
    return (
        Pool.webdataset(f"{pool}/*.tar", text="txt", image="jpg")
        | Score(clip=Clip(f"local-dir:{model}", batch_size=BATCH))
        | Keep(col("clip") >= -1, reason="clip.none")
    )


def whole(pool: Path, model: Path, out: Path, workers: int | None = None) -> None:
    """The whole job, from nothing to a ledger."""
    shutil.rmtree(out, ignore_errors=True)
    poolsieve.run(recipe_of(pool, model), out, workers=workers, samples=False)


def plain(pool: Path, model: Path, out: Path) -> None:
    """The same per-shard functions as a loop, without Beam."""
    shutil.rmtree(out, ignore_errors=True)
    prepared = prepare(recipe_of(pool, model), str(out), options=Options(threads=threads_for(1)))
    for shard in prepared.shards:
        score_shard(shard, prepared.job, {}, stop=None, label="Pass1")
    for shard in prepared.shards:
        decide_shards([shard], prepared.job, {}, None, label="Decide")


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    model, images = model_folder(given.folder), photographs(given.images)
    pool, out = tars(given.folder, images, given.shards), given.folder / "clip-out"
    loops, config = Loops(model, images), Clip(f"local-dir:{model}", batch_size=BATCH)
    loaded = config.load()
    batch = pa.record_batch({"image": pa.array(images, pa.binary()), "text": loops.texts})

    def ours() -> Any:
        return score_rows(loaded, batch, config.columns, threads=threads_for(1)).columns[""].to_numpy()

    difference = np.abs(ours() - loops.run(BATCH)).max()
    mine, bare, ratio = pairs(ours, lambda: loops.run(BATCH), given.runs)
    print(f"scorer {given.images / mine:.1f}/s, bare loop {given.images / bare:.1f}/s: {1 / ratio:.2f} of it")
    print(f"largest difference of a score: {difference:.1e}")
    mine, naive, ratio = pairs(ours, lambda: loops.run(1), 1)
    print(f"scorer {given.images / mine:.1f}/s, naive loop {given.images / naive:.1f}/s: {1 / ratio:.2f} of it")
    whole(pool, model, out)
    job, bare, ratio = pairs(lambda: whole(pool, model, out), lambda: loops.run(BATCH), given.runs)
    print(f"whole job {job:.1f} s, bare loop {bare:.1f} s: {1 / ratio:.2f} of its throughput")
    job, loop, ratio = pairs(lambda: whole(pool, model, out), lambda: plain(pool, model, out), given.runs)
    print(f"whole job {job:.1f} s, without Beam {loop:.1f} s: Beam costs {ratio - 1:.1%}")
    two, one, ratio = pairs(lambda: whole(pool, model, out, 2), lambda: whole(pool, model, out, 1), given.runs)
    print(f"two workers {two:.1f} s, one {one:.1f} s: {ratio:.2f} of the time")


if __name__ == "__main__":
    main()
