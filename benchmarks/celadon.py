"""Celadon against the published script's way: every text padded to 512 tokens, 32 at a time, torch's own threads.

    python benchmarks/celadon.py --documents 128

The network has DeBERTa-v3-small's size (6 layers, 768 wide, 128,100 words) and random weights, which speed does not
depend on; the documents are of natural length (docstrings, readmes, licences, sources), and the published way cuts them
after 512 tokens, so ours are cut there too: both see the same tokens. In fp32 every class has to be the same; for bf16
the share of classes that differ is printed. It is large for random weights, whose classes are nearly as likely as each
other, so it is counted for the demo's trained network on the demo's documents as well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import pairs

sys.path.insert(0, str(Path(__file__).parents[1]))
from poolsieve.dataflow.runners.base import threads_for
from poolsieve.scoring_models import Celadon
from poolsieve.scoring_models.encoders.celadon import CATEGORIES
from poolsieve.scoring_models.encoders.celadon_files import load_model
from poolsieve.scoring_models.feeding.driver import score_rows
from poolsieve.scoring_models.hub.checkpoints import load_tokenizer
from tests.filters.corpus import real

VOCABULARY = 128_100


def model_folder(folder: Path) -> Path:
    """A checkpoint of the published size and layout, with random weights and a tokenizer trained on the documents."""
    target = folder / "celadon"
    if (target / "tokenizer_config.json").exists():
        return target
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import DebertaV2Config, DebertaV2Model

    torch.manual_seed(0)
    target.mkdir(parents=True, exist_ok=True)
    sizes = {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072}
    attention = {
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
    }
    rest = {
        "position_biased_input": False,
        "norm_rel_ebd": "layer_norm",
        "type_vocab_size": 0,
        "initializer_range": 0.1,
    }
    config = DebertaV2Config(vocab_size=VOCABULARY, max_position_embeddings=512, **sizes, **attention, **rest)
    state = {f"deberta.{name}": value.clone() for name, value in DebertaV2Model(config).state_dict().items()}
    for i in range(5):
        state |= {f"heads.{i}.weight": torch.randn(4, 768), f"heads.{i}.bias": torch.randn(4)}
    save_file(state, target / "model.safetensors")
    (target / "config.json").write_text(json.dumps(config.to_dict()))
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    tokenizer.train_from_iterator(real(600), trainers.BpeTrainer(vocab_size=20_000, special_tokens=special))
    tokenizer.save(str(target / "tokenizer.json"))
    named = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (target / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **named}))
    return target


class Published:
    """The published script's way."""

    def __init__(self, config: Celadon) -> None:
        import torch

        files = config.files()
        self.torch, self.model, self.tokenizer = torch, load_model(files, len(CATEGORIES), 4), load_tokenizer(files)

    def run(self, texts: list[str]) -> np.ndarray[Any, Any]:
        """Classes (n, 5)."""
        torch, found = self.torch, []
        torch.set_num_threads(os.cpu_count() or 1)
        for start in range(0, len(texts), 32):
            tokens = self.tokenizer(texts[start : start + 32], add_special_tokens=False)["input_ids"]
            first, last = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
            rows = [[first, *ids[:510], last] for ids in tokens]
            ids = torch.tensor([row + [0] * (512 - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (512 - len(row)) for row in rows])
            with torch.inference_mode():
                found.append(self.model(ids, mask).argmax(-1).numpy())
        return np.concatenate(found)


def ours(config: Celadon, loaded: Any, texts: list[str]) -> np.ndarray[Any, Any]:
    """Classes (n, 5)."""
    batch = pa.record_batch({"text": texts})
    made = score_rows(loaded, batch, config.columns, threads=threads_for(1))
    return np.stack([made.columns[name].to_numpy() for name in CATEGORIES], axis=1)


def demo_flips(documents: int) -> float:
    """Share of the classes of the demo's network that bf16 changes."""
    demo = Path(__file__).parents[1] / "recipes" / "demo"
    sys.path.insert(0, str(demo))
    from train_celadon import example

    dice = random.Random("flips")
    texts = [example(dice, 24)[0] for _ in range(documents)]
    configs = [Celadon(str(demo / "celadon"), precision=precision) for precision in ("fp32", "bf16")]
    fp32, bf16 = (ours(config, config.load(), texts) for config in configs)
    return float((fp32 != bf16).mean())


def main() -> None:
    """Prints a line for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=128)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--precision", action="append", help="may be given again; fp32 and bf16 if not given")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poolsieve-benchmarks")
    given = parser.parse_args()
    folder = str(model_folder(given.folder))
    published = Published(Celadon(folder))
    ids = published.tokenizer(list(real(given.documents)), add_special_tokens=False)["input_ids"]
    texts = [published.tokenizer.decode(tokens[:480]) for tokens in ids]
    sizes = [len(tokens) for tokens in published.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    print(f"{len(texts)} documents of {np.mean(sizes):.0f} tokens on average, at most {max(sizes)}")
    expected = published.run(texts)
    for precision in given.precision or ["fp32", "bf16"]:
        config = Celadon(folder, precision=precision)
        loaded = config.load()
        flipped = (ours(config, loaded, texts) != expected).mean()
        mine, theirs, ratio = pairs(
            lambda c=config, m=loaded: ours(c, m, texts),  # type: ignore[misc]
            lambda: published.run(texts),
            given.runs,
        )
        print(
            f"{precision}: {len(texts) / mine:.2f} documents/s, the published way {len(texts) / theirs:.2f}/s: "
            f"{1 / ratio:.1f} times; {flipped:.2%} of classes differ"
        )
    print(f"the demo's trained network, bf16: {demo_flips(2000):.2%} of classes differ")


if __name__ == "__main__":
    main()
