"""Losses of two causal models at once, against two bare forward passes over the same tokens, and against the naive way.

    python benchmarks/causal.py --tokens 6000

Both models have GPT-NeoX's architecture (6 layers, 768 wide, 50,304 words) and random weights, which speed does not
depend on. A bare pass is what the models alone take: rows of 512 ids without blanks, whole logits, nothing done with
them, all cores in each operation. The naive way is one document at a time: tokenise it, whole logits in fp32, their
cross entropy, for one model and then for the other. Chunks are rows of 512 ids; documents are of natural length
(docstrings, readmes, licences, sources), tokenised in the time that is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import pairs

sys.path.insert(0, str(Path(__file__).parents[1]))
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.scoring_models import Color
from poolsieve.scoring_models.devices.choice import cores
from poolsieve.scoring_models.feeding.driver import score_rows
from tests.filters.corpus import real
from tests.scoring_models.causal.tiny_causal import make

LENGTH, WORDS = 512, 50_304
SIZES = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": LENGTH}
GOAL = 0.90


def model_folders(folder: Path, layers: int) -> list[str]:
    """Two checkpoints of one shape, and a tokenizer trained on the documents; made once."""
    targets = [folder / f"causal-{layers}-{seed}" for seed in (0, 1)]
    if all((target / "tokenizer_config.json").exists() for target in targets):
        return [str(target) for target in targets]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=16_000, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(real(300), trainer)
    for seed, target in enumerate(targets):
        shape = {"vocab_size": WORDS, "num_hidden_layers": layers, "initializer_range": 0.02, **SIZES}
        make(target, "neox", seed, tokenizer, **shape)
    return [str(target) for target in targets]


class Plain:
    """Both models by transformers alone, all cores in each operation."""

    def __init__(self, folders: list[str]) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folders[0])
        self.models = [AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32).eval() for name in folders]

    def ids(self, text: str) -> list[int]:
        """The ids of a document, the start token before them."""
        found = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [self.tokenizer.bos_token_id, *found]

    def bare(self, ids: np.ndarray[Any, Any]) -> None:
        """Whole logits of rows (n, 512), for each model."""
        self.torch.set_num_threads(cores())
        with self.torch.inference_mode():
            for model in self.models:
                for row in ids:
                    model(self.torch.from_numpy(row[None])).logits  # noqa: B018

    def loss(self, model: Any, ids: list[int]) -> float:
        """The mean loss of a document, window by window."""
        total, entropy = 0.0, self.torch.nn.functional.cross_entropy
        for at in range(0, len(ids) - 1, LENGTH - 1):
            some = self.torch.tensor([ids[at : at + LENGTH]])
            logits = model(some).logits[0, :-1].float()
            total += float(entropy(logits, some[0, 1:], reduction="sum"))
        return total / (len(ids) - 1)

    def naive(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """float64 (n, 2): losses of both models, one document after the other."""
        self.torch.set_num_threads(cores())
        with self.torch.inference_mode():
            return np.array([[self.loss(model, self.ids(text)) for model in self.models] for text in texts])


def documents(plain: Plain, tokens: int) -> list[str]:
    """Documents of so many tokens in all, each cut to about four windows so that no single one decides."""
    made: list[str] = []
    total = 0
    for text in real(400):
        ids = plain.ids(text)[1 : 4 * LENGTH]
        if len(ids) < 2:
            continue
        made.append(plain.tokenizer.decode(ids))
        total += len(ids)
        if total >= tokens:
            break
    return made


def ours(config: Color, loaded: Any, batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """float32 (n, 2): the same by the scorer."""
    made = score_rows(loaded, batch, config.columns, threads=threads_for(1))
    assert not made.errors, made.errors
    return np.stack([made.columns[key].to_numpy() for key in ("prior", "conditional")], axis=1)


def compare(name: str, work: int, first: Callable[[], object], second: Callable[[], object], runs: int) -> float:
    """Prints rates of tokens and models; gives how many times as fast the first is as the second."""
    mine, theirs, ratio = pairs(first, second, runs)
    print(f"{name}: {2 * work / mine:,.0f} tokens x models/s against {2 * work / theirs:,.0f}: {1 / ratio:.2f} times")
    return 1 / ratio


def main() -> None:
    """Prints a line for chunks and for documents against bare passes, and one against the naive way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=6000)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--precision")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    folders = model_folders(given.folder, given.layers)
    plain = Plain(folders)
    texts = documents(plain, given.tokens)
    ids = np.concatenate([plain.ids(text)[1:] for text in texts]).astype(np.int64)
    # As many for each core: what an odd one costs goes by how many there are, and a pool has millions.
    rows = np.resize(ids, (-(-len(ids) // (LENGTH * cores())) * cores(), LENGTH))
    named: dict[str, Any] = {"prior": folders[0], "conditional": folders[1], "precision": given.precision}
    by_text, by_chunk = Color(**named), Color(**named, tokens="tokens")
    chunks, docs = pa.record_batch({"tokens": list(rows)}), pa.record_batch({"text": texts})
    print(f"{len(texts)} documents of {len(ids):,} tokens; {len(rows)} chunks of {LENGTH}; {cores()} cores")
    loaded = by_chunk.load()
    goal = compare("chunks", rows.size, lambda: ours(by_chunk, loaded, chunks), lambda: plain.bare(rows), given.runs)
    print(f"at least {GOAL} of two bare forward passes: {'met' if goal >= GOAL else 'NOT MET'}")
    loaded_text = by_text.load()
    found = ours(by_text, loaded_text, docs)
    compare("documents", len(ids), lambda: ours(by_text, loaded_text, docs), lambda: plain.bare(rows), given.runs)
    naive: list[np.ndarray[Any, Any]] = []
    way: Callable[[], object] = lambda: naive.append(plain.naive(texts))  # noqa: E731
    compare("documents, the naive way", len(ids), lambda: ours(by_text, loaded_text, docs), way, 1)
    print(f"largest difference from it: {np.abs(found - naive[0]).max():.1e}")


if __name__ == "__main__":
    main()
