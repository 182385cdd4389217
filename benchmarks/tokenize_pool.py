"""`poolsieve tokenize` against a bare loop of `tokenizers` over the same Parquet files, with the same tokenizer.

    python benchmarks/tokenize_pool.py --megabytes 100 --runs 3

The bare loop reads the text column, encodes 1,000 documents at a time, and writes the ids to one file a shard: no table of
documents, no hash, no look at the pool's files, no fsync. What `poolsieve tokenize` is timed for is the whole call: the
tokenizer loaded by `transformers`, Beam's start, both files of each shard. The words are made up and follow Zipf's law; on
real text the tokenizer is slower, and all else weighs less.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import pairs
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import poolsieve

END = "<|endoftext|>"


def documents(folder: Path, megabytes: int, shards: int) -> tuple[Path, list[str]]:
    """A Parquet pool of documents of 0.5 to 8 kB, and some of its texts."""
    rng, numbers = random.Random(0), np.random.default_rng(0)
    words = np.array(["".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 10))) for _ in range(50_000)])
    texts: list[str] = []
    for shard in range(shards):
        texts, size = [], 0
        while size < (megabytes << 20) // shards:
            ranks = numbers.zipf(1.2, rng.randint(80, 1300)) % len(words)
            texts.append(" ".join(words[ranks]))
            size += len(texts[-1])
        pq.write_table(pa.table({"text": texts}), folder / f"part-{shard:03d}.parquet", row_group_size=10_000)
    return folder, texts


def tokenizer(folder: Path, texts: list[str], size: int) -> Path:
    """A byte-level BPE of `size` tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(
        texts[:2000], trainers.BpeTrainer(vocab_size=size, special_tokens=[END], show_progress=False)
    )
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END).save_pretrained(folder)
    return folder


def bare(pool: Path, model: Path, to: Path) -> int:
    """The bare loop; gives the number of ids."""
    made, count = Tokenizer.from_file(str(model / "tokenizer.json")), 0
    end = made.token_to_id(END)
    for path in sorted(pool.glob("*.parquet")):
        texts = pq.read_table(path, columns=["text"]).column("text").to_pylist()
        with open(to / path.name, "wb") as file:
            for first in range(0, len(texts), 1000):
                for one in made.encode_batch_fast(texts[first : first + 1000], add_special_tokens=False):
                    ids = np.array([*one.ids, end], np.uint16)
                    file.write(ids.tobytes())
                    count += len(ids)
    return count


def main() -> None:
    """Prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="of text")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for part in ("pool", "bare"):
            Path(name, part).mkdir()
        pool, texts = documents(Path(name, "pool"), given.megabytes, given.shards)
        model = tokenizer(Path(name, "model"), texts, given.vocabulary)
        to = Path(name, "to")

        def ours() -> None:
            shutil.rmtree(to, ignore_errors=True)
            poolsieve.tokenize(f"{pool}/*.parquet", to, tokenizer=str(model), workers=given.workers)

        tokens = bare(pool, model, Path(name, "bare"))
        ours()
        assert tokens == sum(path.stat().st_size for path in to.glob("*.npy")) // 2
        mine, loop, ratio = pairs(ours, lambda: bare(pool, model, Path(name, "bare")), given.runs)
    print(f"{tokens:,} tokens of {given.megabytes} MB of text")
    print(f"bare loop           {tokens / loop / 1e6:6.2f} M tokens/s")
    print(f"poolsieve tokenize  {tokens / mine / 1e6:6.2f} M tokens/s, {1 / ratio:.0%} of the bare loop's")


if __name__ == "__main__":
    main()
