"""Wrong labels: how many of the planted ones are found, and what that costs beside bare loops over the libraries.

    python benchmarks/labels.py [--items 12000] [--width 128] [--classes 10] [--runs 3]

Items lie around the centre of their class; of some the label is another class's, drawn evenly, or (`pairs`) always the next
class's. Precision and recall are of the planted ones. Times are of the whole `gather`, from Arrow lists in four parts to a table,
with one thread, in turns with a loop that has the same numbers in memory already: cleanlab's `find_label_issues`; scikit-learn's
logistic regression over the same folds and cleanlab; `faiss.IndexFlatIP` and a vote. Peak memory is of a process of its own, which
holds the pool's lists as float16 and judges them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import pairs
from poolsieve.filters.labelling.confident import issues
from poolsieve.filters.labelling.folds import fold_of, out_of_sample
from poolsieve.filters.labels import ConfidentLearning, Neighbours
from poolsieve.scoring_models.base.derived import Part

SPREAD, FOLDS, K = 3.0, 5, 10
"""Standard deviation of items around their centre, whose coordinates have 1: classes overlap a little."""

MEASURED = (30_000, 512)
"""Items and width of which the peak memory is taken."""

METHODS = {
    "confident_learning(probabilities=)": ConfidentLearning(label="label", probabilities="probabilities"),
    "confident_learning(embedding=)": ConfidentLearning(label="label", embedding="embedding"),
    "neighbours(method='rank')": Neighbours(label="label", embedding="embedding"),
    "neighbours(method='vote')": Neighbours(label="label", embedding="embedding", method="vote"),
}


def planted(items: int, width: int, classes: int, noise: float, kind: str) -> tuple[Any, Any, Any]:
    """float16 (items, width) embeddings; int64 (items,) labels; bool (items,) whose label is wrong."""
    dice = np.random.default_rng(0)
    true = dice.integers(0, classes, items)
    centres = dice.normal(size=(classes, width))
    values = np.empty((items, width), dtype=np.float16)
    for at in range(0, items, 10_000):
        here = true[at : at + 10_000]
        values[at : at + 10_000] = centres[here] + SPREAD * dice.normal(size=(len(here), width))
    wrong = dice.random(items) < noise
    shift = dice.integers(1, classes, items) if kind == "even" else 1
    return values, np.where(wrong, (true + shift) % classes, true), wrong


def parts(values: Any, labels: Any, probabilities: Any = None) -> Iterator[Part]:
    """A pool of four files."""
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), 4)):
        scores = {"label": pa.array(labels[rows]), "embedding": lists(values[rows])}
        if probabilities is not None:
            scores["probabilities"] = lists(probabilities[rows])
        yield Part(f"{number}.parquet", rows - rows[0], pa.array([f"{row:08d}" for row in rows]), scores)


def lists(values: Any) -> pa.Array:
    """A matrix as lists of a fixed size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def bare_given(labels: Any, probabilities: Any) -> Any:
    """cleanlab alone."""
    from cleanlab.filter import find_label_issues

    return find_label_issues(labels, probabilities, n_jobs=1)


def bare_folds(values: Any, labels: Any, fold: Any) -> Any:
    """scikit-learn and cleanlab."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made = np.zeros((len(labels), labels.max() + 1), dtype=np.float32)
    for one in range(FOLDS):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(values[fold != one], labels[fold != one])
        made[fold == one] = model.predict_proba(values[fold == one])
    return bare_given(labels, made)


def bare_votes(values: Any, labels: Any) -> Any:
    """faiss and a weighted vote; duplicates and ties as they come."""
    import faiss

    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(values.shape[1])
    index.add(unit)
    cosine, rows = index.search(unit, K)
    votes = np.zeros((len(labels), labels.max() + 1))
    for place in range(1, K):
        votes[np.arange(len(labels)), labels[rows[:, place]]] += cosine[:, place]
    return votes.argmax(axis=1) != labels


def found(given: argparse.Namespace) -> None:
    """Prints precision and recall of every method on either kind of noise."""
    for kind in ("even", "pairs"):
        values, labels, wrong = planted(given.items, given.width, given.classes, given.noise, kind)
        made = probabilities_of(values, labels, given.classes)
        print(f"\n{given.noise:.0%} of {given.items:,} labels wrong, {kind}:")
        for name, method in METHODS.items():
            flags = method.gather(parts(values, labels, made)).column("issue").to_numpy()
            hits = wrong[flags].sum()
            print(
                f"  {name:36} {flags.sum():7,} flagged   precision {hits / flags.sum():.3f}   recall {hits / wrong.sum():.3f}"
            )


def probabilities_of(values: Any, labels: Any, classes: int) -> Any:
    """Out of sample, as a user would give them."""
    fold = fold_of(pa.array([f"{row:08d}" for row in range(len(labels))]), FOLDS)
    return out_of_sample(values.astype(np.float32), labels, fold, classes)


def times(given: argparse.Namespace) -> None:
    """Prints the ratio to the bare loops, each with the same flags (but for the vote's ties and its own voice)."""
    import faiss

    faiss.omp_set_num_threads(1)
    values, labels, _ = planted(given.items, given.width, given.classes, given.noise, "even")
    made, wide = probabilities_of(values, labels, given.classes), values.astype(np.float32)
    fold = fold_of(pa.array([f"{row:08d}" for row in range(len(labels))]), FOLDS)
    bare = [
        lambda: bare_given(labels, made),
        lambda: bare_folds(wide, labels, fold),
        lambda: bare_votes(wide, labels),
        lambda: bare_votes(wide, labels),
    ]
    assert (bare_given(labels, made) == issues(labels, made)).all()
    print(f"\nseconds for {given.items:,} x {given.width}, one thread:      bare   here   bare / here")
    for (name, method), loop in zip(METHODS.items(), bare, strict=True):
        whole = list(parts(values, labels, made))
        theirs, ours, ratio = pairs(loop, lambda m=method, w=whole: m.gather(iter(w)), given.runs)
        print(f"  {name:36} {theirs:16.2f} {ours:6.2f} {ratio:8.2f}")


def memory(given: argparse.Namespace) -> None:
    """Prints the peak memory beside the pool's lists."""
    size = {"items": MEASURED[0], "width": MEASURED[1], "classes": given.classes, "noise": given.noise}
    print(f"\npeak memory for {size['items']:,} x {size['width']}, MB; the matrix in float32 has", end=" ")
    print(f"{size['items'] * size['width'] * 4 / 1e6:.0f}:")
    for name in [name for name in METHODS if "embedding" in name or "vote" in name]:
        words = [sys.executable, __file__, "--judge", name]
        words += [f"--{key}={value}" for key, value in size.items()]
        before, peak = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        print(f"  {name:36} {peak - before:7.0f} beside {before:.0f} before")


def judge(given: argparse.Namespace) -> None:
    """Judges once; prints the peak before and after."""
    import resource

    import cleanlab.filter  # noqa: F401
    import faiss
    import sklearn.linear_model  # noqa: F401

    faiss.omp_set_num_threads(1)
    values, labels, _ = planted(given.items, given.width, given.classes, given.noise, "even")
    given_parts = parts(values, labels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    METHODS[given.judge].gather(given_parts)
    print(json.dumps([before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))


def main() -> None:
    """Everything, or one judgement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, default in (
        ("items", int, 12_000),
        ("width", int, 128),
        ("classes", int, 10),
        ("noise", float, 0.15),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--judge", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge:
        return judge(given)
    for part in (found, times, memory):
        part(given)
    return None


if __name__ == "__main__":
    main()
