"""DSIR's weights against `data-selection` 1.0.3, one core each, over the same documents.

    python benchmarks/dsir.py --manuals --python ENV/bin/python     # or --html FOLDER, --jsonl GLOB; or none, see below

Both count a raw distribution (all documents) and a target (every twentieth), and weigh all documents: ours first with a
memory of no word, so that every word and pair of words is met for the first time ("cold": what a run's first documents
cost), then once more with the memory that this left ("warm": what those cost of which all words and pairs are known). A
long run lies between them. The documents are in memory on both sides: neither reads nor writes files of text. The package runs
in a process of its own, in turns with ours, by the interpreter of `--python` (the one that runs this, unless given), which must
have it and an nltk before 3.10 installed: later ones take words apart by another library, which knows other letters. Each has
one thread, and seconds are the processor's. Both must come to the same weights.

Without `--manuals` and the like the documents are docstrings, readmes, licences and sources of this Python, at most some 5,000.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.documents import add_kinds, documents

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
    start = time.process_time()
    made = HashedNgramDSIR(["raw"], ["target"], folder, num_proc=1, **load, **parse)
    made.fit_importance_estimator()
    fitted = time.process_time()
    made.compute_importance_weights()
    end = time.process_time()
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
    """[seconds of counting, of weighing; both once more]; the weights go to `out`."""
    return [*_weighed(texts, every, out), *_weighed(texts, every, out)]


def _weighed(texts: Sequence[str], every: int, out: str) -> list[float]:
    """[seconds of counting, of weighing] in batches of 256 documents, as a run does it."""
    from dataclasses import replace

    import pyarrow.parquet as pq

    from poolsieve.dataflow import Pool
    from poolsieve.filters import Dsir

    batches = [pa.record_batch({"text": texts[i : i + 256]}) for i in range(0, len(texts), 256)]
    target = pa.record_batch({"text": texts[::every]})
    pool, path = Pool.jsonl("x.jsonl", text="text"), f"{out}.parquet"
    scorer = Dsir(pool, pool)
    start = time.process_time()
    pq.write_table(scorer.build([*(("raw", batch) for batch in batches), ("target", target)]), path)
    counted = time.process_time()
    ready = replace(scorer, artefact=path)
    made = [ready.score(batch).columns[""] for batch in batches]
    end = time.process_time()
    np.save(out, pa.concat_arrays(made).fill_null(0).to_numpy(zero_copy_only=False))
    return [counted - start, end - counted]


def timed(python: str, code: str, *arguments: str) -> list[float]:
    """Seconds as a process prints them."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [python, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **one})
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def turns(texts: Sequence[str], runs: int, python: str) -> Iterator[tuple[list[float], list[float]]]:
    """Seconds of theirs and of ours, `runs` times.

    Raises:
        AssertionError: where the weights differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, *outs = (str(Path(folder) / name) for name in ("texts.jsonl", "theirs.npy", "ours.npy"))
        Path(file).write_text("".join(json.dumps(text) + "\n" for text in texts))
        root = str(Path(__file__).parents[1])
        for _ in range(runs):
            theirs = timed(python, THEIRS, file, str(EVERY), outs[0])
            yield theirs, timed(sys.executable, OURS, file, str(EVERY), outs[1], root)
            np.testing.assert_allclose(np.load(outs[1]), np.load(outs[0]), rtol=1e-9, atol=1e-9)


def compared(name: str, found: Sequence[tuple[float, float]]) -> str:
    """What is to be said of (seconds of theirs, of ours)."""
    theirs, ours = (statistics.median(side) for side in zip(*found, strict=True))
    ratios = sorted(theirs / ours for theirs, ours in found)
    spread = f" ({ratios[0]:.1f} to {ratios[-1]:.1f})" if len(ratios) > 1 else ""
    return f"{name}: {ours:.2f} s, data-selection {theirs:.2f} s: {statistics.median(ratios):.1f} times{spread}"


def main() -> None:
    """Prints seconds of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="at most")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="interpreter with data-selection 1.0.3")
    add_kinds(parser)
    given = parser.parse_args()
    texts = documents(given)
    print(f"{len(texts)} documents of {sum(map(len, texts)) / len(texts):.0f} characters on average", flush=True)
    found = list(turns(texts, given.runs, given.python))
    for i, state in ((0, "cold"), (2, "warm")):
        print(compared(f"counting, {state}", [(theirs[0], ours[i]) for theirs, ours in found]))
        print(compared(f"weighing, {state}", [(theirs[1], ours[i + 1]) for theirs, ours in found]))
        print(compared(f"both, {state}", [(sum(theirs), sum(ours[i : i + 2])) for theirs, ours in found]))


if __name__ == "__main__":
    main()
