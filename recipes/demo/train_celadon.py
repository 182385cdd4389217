"""Trains the demo's toxicity classifier: a small network in Celadon's published layout, on sentences it can know.

    python recipes/demo/train_celadon.py --out recipes/demo/celadon

Takes minutes on a CPU. Writes config.json, model.safetensors and the tokenizer, and prints how many of the five scores
are right on documents that it has not seen. It knows the demo's words alone and is good for nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import documents
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import DebertaV2Config, DebertaV2Model

CATEGORIES = tuple(documents.UNKIND)
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
CONFIG = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
    "relative_attention": True,
    "position_buckets": 32,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
    "pad_token_id": 0,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


class Network(torch.nn.Module):
    """The published layout: `deberta.*` and `heads.{i}.*`."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__()
        self.deberta = DebertaV2Model(config)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(config.hidden_size, 4) for _ in CATEGORIES)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        first = self.deberta(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        return torch.stack([head(first) for head in self.heads], dim=1)


def tokenizer() -> Tokenizer:
    """Words of the demo's documents, in lower case."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *documents.words()])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return made


def example(dice: random.Random, sentences: int) -> tuple[str, list[int]]:
    """A document of at most so many harmless sentences, and its five severities."""
    found = {name: dice.choice((0, 0, 0, 0, 1, 2, 3)) for name in CATEGORIES}
    text = documents.mixed(dice, documents.prose(dice, dice.randint(1, sentences)), documents.unkind(dice, found))
    return text, list(found.values())


def batch(
    made: Tokenizer, dice: random.Random, size: int, sentences: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, mask, severities)."""
    texts, severities = zip(*(example(dice, sentences) for _ in range(size)), strict=True)
    rows = [[1, *one.ids[:510], 2] for one in made.encode_batch(list(texts))]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return ids, (ids != 0).long(), torch.tensor(severities)


def train(network: Network, made: Tokenizer, steps: int, seed: int) -> None:
    """Cross-entropy of all heads."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    dice, start = random.Random(f"train {seed}"), time.monotonic()
    for step in range(steps):
        ids, mask, severities = batch(made, dice, 32, dice.choice((2, 2, 2, 2, 4, 4, 8, 24)))
        loss = torch.nn.functional.cross_entropy(network(ids, mask).flatten(0, 1), severities.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}, loss {loss.item():.3f}, {time.monotonic() - start:.0f} s", flush=True)


def accuracy(network: Network, made: Tokenizer, seed: int) -> float:
    """Share of the five scores that are right on unseen documents."""
    ids, mask, severities = batch(made, random.Random(f"test {seed}"), 200, 24)
    with torch.inference_mode():
        return float((network(ids, mask).argmax(-1) == severities).float().mean())


def save(network: Network, made: Tokenizer, config: DebertaV2Config, out: Path) -> None:
    """Writes the published layout."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out / "model.safetensors")
    kept = {"vocab_size", "model_type", *CONFIG}
    about = {name: value for name, value in config.to_dict().items() if name in kept}
    (out / "config.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    made.save(str(out / "tokenizer.json"))
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token"), SPECIAL, strict=True))
    described = {"tokenizer_class": "PreTrainedTokenizerFast", **names, "model_max_length": 512}
    (out / "tokenizer_config.json").write_text(json.dumps(described, indent=1) + "\n")


def main() -> None:
    """Trains, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    made = tokenizer()
    config = DebertaV2Config(vocab_size=made.get_vocab_size(), **CONFIG)
    network = Network(config)
    train(network, made, given.steps, given.seed)
    print(f"{accuracy(network.eval(), made, given.seed):.1%} of the scores of unseen documents are right")
    save(network, made, config, given.out)


if __name__ == "__main__":
    main()
