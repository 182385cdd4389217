"""DSIR's weights against `data-selection` 1.0.3, one core each, over the same documents.

    python benchmarks/dsir.py --python ENV/bin/python

Both count a raw distribution (all documents) and a target (every twentieth), and weigh all documents; ours from nothing,
so that every word and pair of words is met for the first time. The documents are in memory on both sides: neither reads
nor writes files of text. The package runs in a process of its own, in turns with ours, by the interpreter of `--python` (the
one that runs this, unless given), which must have it and an nltk before 3.10 installed: later ones take words apart by another
library, which knows other letters. Both must come to the same weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

EVERY = 20
"""Each so many-th document is one of the target's."""

THEIRS = """
import json, sys, tempfile, time
import numpy as np
from data_selection import HashedNgramDSIR
texts = [json.loads(line) for line in open(sys.argv[1])]
sets = {"raw": texts, "target": texts[:: int(sys.argv[2])]}
load = dict.fromkeys(("raw_load_dataset_fn", "target_load_dataset_fn"), sets.__getitem__)
parse = dict.fromkeys(("raw_parse_example_fn", "target_parse_example_fn"), str)
with tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    made = HashedNgramDSIR(["raw"], ["target"], folder, num_proc=1, **load, **parse)
    made.fit_importance_estimator()
    fitted = time.perf_counter()
    made.compute_importance_weights()
    end = time.perf_counter()
    np.save(sys.argv[3], np.load(made.log_importance_weights_dir / "0.npy"))
print(json.dumps([fitted - start, end - fitted]))
"""

OURS = """
import json, sys, time
import numpy as np
import pyarrow as pa
sys.path.insert(0, sys.argv[4])
from benchmarks.dsir import weighed
print(json.dumps(weighed([json.loads(line) for line in open(sys.argv[1])], int(sys.argv[2]), sys.argv[3])))
"""


def weighed(texts: Sequence[str], every: int, out: str) -> list[float]:
    """[seconds of counting, of weighing] in batches of 256 documents, as a run does it; the weights go to `out`."""
    from dataclasses import replace

    import pyarrow.parquet as pq

    from poolsieve.dataflow import Pool
    from poolsieve.filters import Dsir

    batches = [pa.record_batch({"text": texts[i : i + 256]}) for i in range(0, len(texts), 256)]
    target = pa.record_batch({"text": texts[::every]})
    pool, path = Pool.jsonl("x.jsonl", text="text"), f"{out}.parquet"
    scorer = Dsir(pool, pool)
    start = time.perf_counter()
    pq.write_table(scorer.build([*(("raw", batch) for batch in batches), ("target", target)]), path)
    counted = time.perf_counter()
    ready = replace(scorer, artefact=path)
    made = [ready.score(batch).columns[""] for batch in batches]
    end = time.perf_counter()
    np.save(out, pa.concat_arrays(made).fill_null(0).to_numpy(zero_copy_only=False))
    return [counted - start, end - counted]


def timed(python: str, code: str, *arguments: str) -> tuple[float, float]:
    """(seconds of counting, of weighing) as a process prints them."""
    done = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    first, second = json.loads(done.stdout.splitlines()[-1])
    return first, second


def main() -> None:
    """Prints seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="interpreter with data-selection 1.0.3")
    given = parser.parse_args()
    from tests.filters.corpus import real

    texts = list(real(given.documents))
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    with tempfile.TemporaryDirectory() as folder:
        file, *outs = (str(Path(folder) / name) for name in ("texts.jsonl", "theirs.npy", "ours.npy"))
        Path(file).write_text("".join(json.dumps(text) + "\n" for text in texts))
        root = str(Path(__file__).parents[1])
        turns = [
            (
                timed(given.python, THEIRS, file, str(EVERY), outs[0]),
                timed(sys.executable, OURS, file, str(EVERY), outs[1], root),
            )
            for _ in range(given.runs)
        ]
        np.testing.assert_allclose(np.load(outs[1]), np.load(outs[0]), rtol=1e-9, atol=1e-9)
    for name, part in (("counting", 0), ("weighing", 1)):
        theirs, ours = (statistics.median(turn[side][part] for turn in turns) for side in (0, 1))
        print(f"{name}: {ours:.2f} s, data-selection {theirs:.2f} s: {theirs / ours:.1f} times as fast")
    ratios = sorted(sum(theirs) / sum(ours) for theirs, ours in turns)
    print(
        f"both: {statistics.median(ratios):.1f} times as fast ({ratios[0]:.1f} to {ratios[-1]:.1f}); the same weights"
    )


if __name__ == "__main__":
    main()
