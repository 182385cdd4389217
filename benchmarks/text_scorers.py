"""fastText and tokenizer scorers against bare loops over the same calls, and JSON lines against bare `orjson`.

    python benchmarks/text_scorers.py --documents 4000

The fastText model is trained here, by `train_fasttext`, to tell docstrings from sources; the tokenizer, a byte-level BPE of
20,000 tokens, on the same documents. The bare tokenizer loop gives all documents to `encode_batch_fast` at once, and so does
ours in batches of 256. JSON lines are read to a column of texts: by `Pool.jsonl`'s reader (which also gives every line its
place, size and identity), and by a loop of `orjson.loads` over the lines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import orjson
import pyarrow as pa
from common import pairs

sys.path.insert(0, str(Path(__file__).parents[1]))
from poolsieve.dataflow import Pool
from poolsieve.jobs.train.fasttext import train_fasttext
from poolsieve.scoring_models import FastText, Tokens
from tests.filters.corpus import real


def json_lines(path: Path, texts: list[str]) -> Path:
    """The texts as JSON lines with an id and nested metadata."""
    rows = ({"id": f"doc-{i}", "text": text, "meta": {"url": f"https://x.org/{i}"}} for i, text in enumerate(texts))
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def tokenizer_file(path: Path, texts: list[str]) -> str:
    """A byte-level BPE trained on the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    made.train_from_iterator(texts[:1000], trainers.BpeTrainer(vocab_size=20_000, show_progress=False))
    made.save(str(path))
    return str(path)


def fasttext_line(folder: Path, texts: list[str], runs: int) -> str:
    """Probabilities of one label."""
    import fasttext

    half = len(texts) // 2
    pools = [
        Pool.jsonl(str(json_lines(folder / f"{name}.jsonl", some)), text="text")
        for name, some in (("a", texts[:half]), ("b", texts[half:]))
    ]
    model = str(folder / "model.bin")
    train_fasttext(pools[0], pools[1], model, bucket=100_000, dim=100, wordNgrams=2, replace=True)
    scorer, predict = FastText(model, label="hq"), fasttext.load_model(model).predict
    batch = pa.record_batch({"text": texts})
    mine, bare, ratio = pairs(
        lambda: scorer.score(batch), lambda: [predict(text.replace("\n", " "), -1) for text in texts], runs
    )
    rates = f"{len(texts) / mine:,.0f} documents/s, bare predict {len(texts) / bare:,.0f}/s"
    return f"fastText: {rates}: {1 / ratio:.2f} of it"


def tokens_line(folder: Path, texts: list[str], runs: int) -> str:
    """Token counts."""
    from tokenizers import Tokenizer

    path = tokenizer_file(folder / "tokenizer.json", texts)
    scorer, bare_tokenizer = Tokens(path), Tokenizer.from_file(path)
    batch = pa.record_batch({"text": texts})
    total = sum(scorer.score(batch).columns[""].to_pylist())
    mine, bare, ratio = pairs(
        lambda: scorer.score(batch),
        lambda: [len(one) for one in bare_tokenizer.encode_batch_fast(texts, add_special_tokens=False)],
        runs,
    )
    return f"tokenizer: {total / mine / 1e6:.2f} M tokens/s, bare {total / bare / 1e6:.2f} M/s: {1 / ratio:.2f} of it"


def jsonl_line(folder: Path, texts: list[str], runs: int) -> str:
    """Reading JSON lines."""
    path = json_lines(folder / "pool.jsonl", texts)
    size = path.stat().st_size / 1e6
    pool = Pool.jsonl(str(path), uid="id", text="text").absolute()
    shards = pool.located().listing().shards
    types = pool.located().role_types(shards)

    def ours() -> int:
        return sum(
            len(chunk.roles.column("text"))
            for shard in shards
            for chunk in pool.located().batches(shard, ("text",), types)
        )

    def bare() -> int:
        with path.open("rb") as lines:
            rows = [orjson.loads(line) for line in lines]
        return len(pa.array([row["text"] for row in rows])) + len(pa.array([row["id"] for row in rows]))

    mine, loop, ratio = pairs(ours, bare, runs)
    return f"JSON lines: {size / mine:.0f} MB/s, bare orjson {size / loop:.0f} MB/s: {1 / ratio:.2f} of it"


def main() -> None:
    """Prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    texts = list(real(given.documents))
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    with tempfile.TemporaryDirectory() as folder:
        for line in (fasttext_line, tokens_line, jsonl_line):
            print(line(Path(folder), texts, given.runs), flush=True)


if __name__ == "__main__":
    main()
