"""The documents that datatrove's own stages remove, all of them and no others."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poolsieve.filters.duplicates.chains import kept_by
from poolsieve.filters.duplicates.signatures import signatures
from tests.filters.duplicates.test_signatures import theirs

minhash = pytest.importorskip("datatrove.pipeline.dedup.minhash")


def corpus(seed: int, families: int = 60) -> list[list[str]]:
    """Three files of documents: families of a base and edited copies of it, of edits so many that chains arise."""
    r = np.random.default_rng(seed)
    words = np.array(["".join(letters) for letters in itertools.product("abcdefghij", "aeiou", "klmnop", "aeiou")])
    made = []
    for _ in range(families):
        base = r.choice(words, int(r.integers(30, 200)))
        made.append(base)
        for _ in range(int(r.integers(0, 8))):
            base = base.copy()
            base[r.random(len(base)) < r.choice([0, 0.01, 0.03])] = r.choice(words)
            made.append(base)
    texts = [" ".join(made[i]) for i in r.permutation(len(made))]
    return [texts[0::3], ["too short", *texts[1::3]], texts[2::3]]


def removed_by_datatrove(files: list[list[str]], folder: Path, workers: int) -> set[tuple[int, int]]:
    from datatrove.data import Document

    for rank, texts in enumerate(files):
        stage: Any = theirs("xxhash")
        stage.output_folder = minhash.get_datafolder(str(folder / "sigs"))
        stage.run([Document(text, str(i)) for i, text in enumerate(texts)], rank)
    buckets = minhash.MinhashDedupBuckets(str(folder / "sigs"), str(folder / "dups"))
    for rank in range(14 * workers):
        buckets.run(None, rank, 14 * workers)
    minhash.MinhashDedupCluster(str(folder / "dups"), str(folder / "removed")).run()
    found = set()
    for file in (folder / "removed").glob("*.remove"):
        rows = struct.iter_unpack("<I", file.read_bytes())
        found |= {(int(file.stem), row) for (row,) in rows}
    return found


@pytest.mark.parametrize(("seed", "workers"), [(1, 1), (2, 2)])
def test_the_same_documents_are_removed(tmp_path: Path, seed: int, workers: int) -> None:
    files = corpus(seed)
    keys = [(f, i) for f, texts in enumerate(files) for i in range(len(texts))]
    made = signatures([text for texts in files for text in texts])
    full = [i for i, signature in enumerate(made) if signature is not None]
    kept = kept_by(np.stack([made[i] for i in full]).reshape(len(full), 14, 8))
    ours = {keys[full[i]] for i in np.flatnonzero(kept != np.arange(len(kept)))}
    assert ours == removed_by_datatrove(files, tmp_path, workers)
    assert 50 < len(ours) < len(full) - 30  # some of both, or nothing was shown
