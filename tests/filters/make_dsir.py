"""What `data-selection` 1.0.3 says of the documents in `corpus.built()`: writes `dsir.json` beside this file.

    python tests/filters/make_dsir.py

With nltk before 3.10, which takes words apart by `re`, as when the package came out. It is an extra of development; tests read the file, and compare with the package itself where it is there.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("dsir.json")
SETTINGS = ((1, 10_000), (2, 10_000), (2, 97), (3, 1 << 16))
"""(n, buckets)."""

SELDOM = 3
"""Each so many-th document is one of the target's."""


def package_weights(raw: Sequence[str], target: Sequence[str], n: int, buckets: int) -> tuple[Any, Any]:
    """(float64 (len(raw),), int64 (len(raw),)): the package's log importance weights, and its lengths of examples."""
    from data_selection import HashedNgramDSIR

    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{name}.jsonl") for name in ("raw", "target")]
        for file, texts in zip(files, (raw, target), strict=True):
            Path(file).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        made = HashedNgramDSIR(files[:1], files[1:], folder, num_proc=1, ngrams=n, num_buckets=buckets)
        made.fit_importance_estimator()
        made.compute_importance_weights()
        weights = np.load(made.log_importance_weights_dir / "0.npy")
        return weights, np.load(made.perexample_metadata_dir / "0.npy").astype(np.int64)


def main() -> None:
    """Writes the file."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.filters.corpus import built

    found = {}
    for n, buckets in SETTINGS:
        weights, words = package_weights(built(), built()[::SELDOM], n, buckets)
        found[f"{n} {buckets}"] = {"weights": weights.tolist(), "words": words.tolist()}
    FILE.write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
