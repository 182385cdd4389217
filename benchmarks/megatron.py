"""`poolsieve export --format megatron` against datatrove's `MegatronDocumentTokenizer`: the same documents, tokenizer, bytes.

    python benchmarks/megatron.py --megabytes 100 --runs 3

datatrove is given the documents of the same Parquet files, read by a bare loop, and writes one pair of files in this process. What
`poolsieve export` is timed for is the whole call on a run that kept every document: the tokenizer loaded by `transformers`, Beam's
start, counts, both files with their hashes, the index. Before anything is timed, the two pairs are compared byte for byte.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from common import pairs
from datatrove.data import Document
from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer
from tokenize_pool import END, documents, tokenizer

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.filters import Keep, col


def read(pool: Path) -> Iterator[Document]:
    """The documents, file after file."""
    for path in sorted(pool.glob("*.parquet")):
        for text in pq.read_table(path, columns=["text"]).column("text").to_pylist():
            yield Document(text=text, id="")


def datatrove(pool: Path, model: Path, to: Path) -> None:
    """Its own pipeline step."""
    MegatronDocumentTokenizer(str(to), tokenizer_name_or_path=str(model / "tokenizer.json"), eos_token=END).run(
        read(pool)
    )


def same(theirs: Path, ours: Path) -> int:
    """Compares the pairs; gives the size of the ids in bytes."""
    for ending in (".bin", ".idx"):
        one, two = next(theirs.glob(f"*{ending}")).read_bytes(), next(ours.glob(f"data/*{ending}")).read_bytes()
        if one != two:
            raise SystemExit(f"the two {ending} files differ")
    return next(theirs.glob("*.bin")).stat().st_size


def main() -> None:
    """Prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100, help="of text")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        Path(name, "pool").mkdir()
        pool, texts = documents(Path(name, "pool"), given.megabytes, given.shards)
        model = tokenizer(Path(name, "model"), texts, given.vocabulary)
        recipe = Pool.parquet(f"{pool}/*.parquet", text="text") | Keep(
            col("text").word_count() >= 1, reason="text.empty"
        )
        out, theirs, ours = poolsieve.run(recipe, f"{name}/out"), Path(name, "theirs"), Path(name, "ours")

        def export() -> None:
            shutil.rmtree(ours, ignore_errors=True)
            out.export(format="megatron", tokenizer=str(model), to=ours)

        datatrove(pool, model, theirs)
        export()
        tokens = same(theirs, ours) // 2
        mine, their, ratio = pairs(export, lambda: datatrove(pool, model, theirs), given.runs)
    print(f"{tokens:,} tokens of {given.megabytes} MB of text, the same bytes")
    print(f"datatrove         {tokens / their / 1e6:6.2f} M tokens/s")
    print(f"poolsieve export  {tokens / mine / 1e6:6.2f} M tokens/s, {1 / ratio:.2f} of datatrove's")


if __name__ == "__main__":
    main()
