"""Numbers of SimiFeat's published code on built items, for `test_simifeat.py`.

python tests/filters/labelling/make_simifeat.py CHECKOUT

CHECKOUT: the repository UCSC-REAL/SimiFeat (534af48), which needs torch, torchvision, PyYAML, ftfy and regex. Nothing of
it stands here but the numbers that it gives.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "simifeat.json"
ITEMS, WIDTH, CLASSES, K, NOISE = 500, 8, 4, 10, 0.25


def built() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """int64 (items, width) features, whole numbers so that the file has them exactly; int64 (items,) noisy labels."""
    dice = np.random.default_rng(7)
    true = dice.integers(0, CLASSES, ITEMS)
    centres = dice.normal(size=(CLASSES, WIDTH)) * 3
    features = np.round(100 * (centres[true] + dice.normal(size=(ITEMS, WIDTH)))).astype(np.int64)
    wrong = dice.random(ITEMS) < NOISE
    return features, np.where(wrong, (true + dice.integers(1, CLASSES, ITEMS)) % CLASSES, true)


def main(checkout: str) -> None:
    """Writes the file."""
    sys.path.insert(0, checkout)
    import global_var
    import hoc
    import main_fast
    import torch

    global_var._init()
    features, labels = built()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    given = SimpleNamespace(num_classes=CLASSES, min_similarity=0.0, Tii_offset=1.0, cnt=ITEMS, method="mv")
    items = {
        "feature": torch.tensor(features, dtype=torch.float32),
        "noisy_label": torch.tensor(labels),
        "noise_or_not": np.zeros(ITEMS, dtype=bool),
        "index": np.arange(ITEMS),
    }
    counts = hoc.count_knn_distribution(given, items["feature"], items["noisy_label"], ITEMS, k=K)
    matrix, shares = main_fast.get_T_global_min_new(given, items, max_step=400, NumTest=10)
    prior = np.bincount(labels, minlength=CLASSES) / ITEMS
    right = matrix * shares.reshape(-1, 1) / prior
    flags = {}
    for method in ("mv", "rank1"):
        given.method = method
        found = main_fast.get_knn_acc_all_class(given, items, k=K, sel_noisy=[], thre_noise_rate=right)
        flags[method] = sorted(map(int, found))
    made = {
        "features": features.tolist(),
        "labels": labels.tolist(),
        "counts": np.round(counts.numpy().astype(float), 6).tolist(),
        "transition": np.round(matrix.astype(float), 5).tolist(),
        "shares": np.round(shares.astype(float).reshape(-1), 5).tolist(),
        "right": np.diag(right).astype(float).tolist(),
        **flags,
    }
    FILE.write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
