"""Trains the demo's data filtering network: a small CLIP, from scratch, on clean pairs of the demo's world.

    python recipes/demo/train_clip.py --out recipes/demo/clip

Takes minutes on a CPU. Writes open_clip's folder layout (weights as float16 safetensors) and prints how well the cosine
tells true captions from random ones and from captions that are wrong in one detail (area under the ROC curve).
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from world import caption, draw, encoded, scene, wrong_in_one_detail

SIDE = 64
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIDE, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}
PREPROCESS = {
    "size": SIDE,
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
TRAIN_FROM = 10_000_000
"""First item of the training data: the pool's items are small numbers, so that none of them is trained on."""


def small(seed: int, transform: Any) -> torch.Tensor:
    """The item's image as the model will see it in a pool: drawn, JPEG-compressed, preprocessed."""
    dice = random.Random(f"jpeg {seed}")
    data = encoded(draw(scene(seed), seed, side=128), quality=dice.randint(60, 95))
    made: torch.Tensor = transform(Image.open(io.BytesIO(data)))
    return made


def train(model: Any, transform: Any, tokenizer: Any, items: int, steps: int, size: int, seed: int) -> None:
    """Contrastive training; half of the captions of a batch are wrong in one detail, as extra negatives."""
    images = torch.stack([small(TRAIN_FROM + i, transform) for i in range(items)])
    print(f"{items} training images made")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-3, total_steps=steps, pct_start=0.1)
    start, dice = time.monotonic(), np.random.default_rng(seed)
    for step in range(steps):
        chosen = dice.choice(items, size, replace=False)
        scenes = [scene(TRAIN_FROM + int(i)) for i in chosen]
        hard = [wrong_in_one_detail(s, step * size + k) for k, s in enumerate(scenes)]
        texts = [caption(s, step * 2 * size + k) for k, s in enumerate([*scenes, *hard])]
        image = model.encode_image(images[chosen], normalize=True)
        text = model.encode_text(tokenizer(texts, context_length=32), normalize=True)
        scale = model.logit_scale.exp().clamp(max=100)
        logits = scale * image @ text.T
        # A caption that happens to be true of another image of the batch is no negative of it.
        true = torch.tensor([[a == b for b in [*scenes, *hard]] for a in scenes])
        off = torch.zeros_like(logits)
        off[true & ~torch.eye(size, 2 * size, dtype=torch.bool)] = -1e4
        target = torch.arange(size)
        loss = torch.nn.functional.cross_entropy(logits + off, target)
        loss = loss + torch.nn.functional.cross_entropy((logits + off)[:, :size].T, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s", flush=True)


def area(true: np.ndarray, false: np.ndarray) -> float:
    """Area under the ROC curve: the share of (true, false) pairs that are in the right order."""
    return float((true[:, None] > false[None, :]).mean() + 0.5 * (true[:, None] == false[None, :]).mean())


@torch.inference_mode()
def evaluate(model: Any, transform: Any, tokenizer: Any, n: int = 1000) -> None:
    """Prints the areas on items that were not trained on."""
    items = range(5_000_000, 5_000_000 + n)
    image = model.encode_image(torch.stack([small(i, transform) for i in items]), normalize=True)

    def scores(captions: list[str]) -> np.ndarray:
        text = model.encode_text(tokenizer(captions, context_length=32), normalize=True)
        return np.asarray((image * text).sum(-1))

    true = scores([caption(scene(i), i) for i in items])
    random_ones = [caption(scene(i + n), i) for i in items]
    near_misses = [caption(wrong_in_one_detail(scene(i), i), i) for i in items]
    print(f"against random captions: {area(true, scores(random_ones)):.3f}")
    print(f"against one wrong detail: {area(true, scores(near_misses)):.3f}")


def save(model: Any, out: Path) -> None:
    """Writes open_clip's folder layout."""
    out.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors")
    (out / "open_clip_model.safetensors").chmod(0o644)
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
    print(f"{out}: {(out / 'open_clip_model.safetensors').stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Trains, evaluates, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "clip")
    parser.add_argument("--items", type=int, default=6_000)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    model = open_clip.CLIP(**MODEL)
    transform = image_transform_v2(PreprocessCfg(**PREPROCESS), is_train=False)
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    train(model, transform, tokenizer, given.items, given.steps, given.batch, given.seed)
    evaluate(model.eval(), transform, tokenizer)
    save(model, given.out)


if __name__ == "__main__":
    main()
