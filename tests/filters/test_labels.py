"""`labels.*` over pools: whose label goes, whatever the files are; rows that nobody can judge stay; bad plans fail."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, Score, col, labels
from poolsieve.filters.labelling.confident import FILTERS
from poolsieve.filters.labels import ConfidentLearning, Neighbours
from poolsieve.scoring_models import Clip
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.filters.labelling.built import points
from tests.scoring_models.clip.tiny_clip import image_bytes, make

NAMES = ("ant", "bee", "cat", "dog")
MADE = points(n=400, width=8, seed=4)


def probabilities() -> np.ndarray[Any, Any]:
    """float32 (400, 4): softmaxes of the similarity with each class's mean."""
    centres = np.array([MADE.values[MADE.true == code].mean(axis=0) for code in range(4)])
    powers = np.exp(MADE.values @ centres.T)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def table(**columns: Any) -> pa.Table:
    """400 items of four classes, with an embedding and probabilities."""
    made = {
        "id": [f"item-{row}" for row in range(400)],
        "class": [NAMES[code] for code in MADE.codes],
        "code": MADE.codes,
        "embedding": pa.array(list(MADE.values), pa.list_(pa.float32())),
        "probabilities": pa.array(list(probabilities()), pa.list_(pa.float32())),
    }
    return pa.table(made | columns)


def pool(folder: Path, made: pa.Table, sizes: Sequence[int] = (400,), row_group: int = 1000) -> Any:
    folder.mkdir(parents=True)
    start = 0
    for number, size in enumerate(sizes):
        pq.write_table(made.slice(start, size), folder / f"{number:02}.parquet", row_group_size=row_group)
        start += size
    return Pool.parquet(f"{folder}/*.parquet", uid="id", text="class")


def by_uid(out: Path, *columns: str) -> dict[str, tuple[Any, ...]]:
    found = ledger(out).select(["uid", *columns]).to_pydict()
    return dict(zip(found["uid"], zip(*(found[name] for name in columns), strict=True), strict=True))


EITHER = (
    labels.confident_learning(label="class", probabilities="probabilities"),
    labels.confident_learning(label="class", embedding="embedding"),
    labels.neighbours(label="class", embedding="embedding"),
    labels.neighbours(label="class", embedding="embedding", method="vote"),
)


@pytest.mark.parametrize("filter_by", [FILTERS[0], "confident_learning", "low_self_confidence"])
def test_given_probabilities_are_judged_as_by_cleanlab(filter_by: str, tmp_path: Path) -> None:
    from cleanlab.filter import find_label_issues

    stage = labels.confident_learning(label="class", probabilities="probabilities", filter_by=filter_by)
    summary = run(pool(tmp_path / "pool", table(), (150, 250)) | stage, tmp_path / "out")
    theirs = find_label_issues(MADE.codes, probabilities(), filter_by=filter_by, n_jobs=1)
    found = by_uid(tmp_path / "out", "keep", "reason", "labels.issue", "labels.self_confidence", "labels.suggested")
    assert summary.dropped == theirs.sum() > 20
    for row, flag in enumerate(theirs):
        own = probabilities()[row]
        reason = "labels.mislabelled" if flag else None
        wanted = (not flag, reason, bool(flag), float(own[MADE.codes[row]]), NAMES[own.argmax()])
        assert found[f"item-{row}"] == wanted


@pytest.mark.parametrize("stage", EITHER, ids=("given", "folds", "rank", "vote"))
def test_planted_errors_are_found_however_the_pool_is_cut(stage: Any, tmp_path: Path) -> None:
    """Other files, row groups, an order of their own: the same numbers for each uid, to the last bit."""
    whole = table()
    shuffled = whole.take(pa.array(np.random.default_rng(1).permutation(400)))
    columns = ("keep", "labels.issue", "labels.self_confidence", "labels.suggested")
    run(pool(tmp_path / "one", whole) | stage, tmp_path / "a")
    run(pool(tmp_path / "many", shuffled, (50, 1, 249, 100), row_group=40) | stage, tmp_path / "b", workers=2)
    found = by_uid(tmp_path / "a", *columns)
    assert found == by_uid(tmp_path / "b", *columns)
    flagged = np.array([found[f"item-{row}"][1] for row in range(400)])
    assert MADE.wrong[flagged].mean() > 0.8 and flagged[MADE.wrong].mean() > 0.8


@pytest.mark.parametrize("stage", EITHER[1:3], ids=("folds", "rank"))
def test_the_same_bytes_from_other_workers_and_from_what_is_stored(stage: Any, tmp_path: Path) -> None:
    made = table(id=[f"{row:032x}" for row in range(400)])
    recipe = pool(tmp_path / "pool", made, (120, 280), row_group=64) | stage
    run(recipe, tmp_path / "a")
    run(recipe, tmp_path / "b", workers=2)
    first = fingerprint_of(tmp_path / "a")
    assert first == fingerprint_of(tmp_path / "b")
    decide(recipe, tmp_path / "a")
    assert fingerprint_of(tmp_path / "a") == first


def spoilt() -> pa.Table:
    """Rows 0 to 4 have something that can't be judged, in label or lists."""
    made = table().to_pydict()
    made["class"][0] = None
    for name in ("embedding", "probabilities"):
        made[name][1] = None
        made[name][2] = made[name][2][:3]
        made[name][3] = [float("nan"), *made[name][3][1:]]
    made["embedding"][4], made["probabilities"][4] = [0.0] * 8, [0.4, 0.4, 0.4, 0.4]
    kinds = {"embedding": pa.list_(pa.float32()), "probabilities": pa.list_(pa.float64())}
    return pa.table({name: pa.array(values, kinds.get(name)) for name, values in made.items()})


@pytest.mark.parametrize("stage", EITHER, ids=("given", "folds", "rank", "vote"))
def test_what_cannot_be_judged_stays_and_is_named(stage: Any, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.INFO):
        summary = run(pool(tmp_path / "pool", spoilt()) | stage, tmp_path / "out")
    found = by_uid(tmp_path / "out", "keep", "labels.issue", "labels.self_confidence", "labels.suggested")
    judged = 4 if stage == EITHER[1] else 5  # an embedding of zeros is good enough for a classifier
    assert [found[f"item-{row}"] for row in range(judged)] == [(True, None, None, None)] * judged
    assert all(found[f"item-{row}"][1] is not None for row in range(judged, 400))
    assert 20 < summary.dropped < 120
    told = {"judged": 400 - judged, "issues": summary.dropped, "not judged and kept": judged}
    assert read_manifest(str(tmp_path / "out")).tallies == {"labels.issue": {"": told}}
    assert "1 rows are not judged: they have a list of another length" in caplog.text
    assert "(first: 00.parquet, row 2)" in caplog.text and "no label" in caplog.text


def test_other_labels_than_the_classes_stay(tmp_path: Path, caplog: Any) -> None:
    made = table(code=pa.array([9, *MADE.codes[1:]], pa.int16()))
    stage = labels.confident_learning(label="code", probabilities="probabilities", classes=[0, 1, 2, 3])
    run(pool(tmp_path / "pool", made) | stage, tmp_path / "out")
    assert "a label that is none of the classes (first: 00.parquet, row 0)" in caplog.text
    found = by_uid(tmp_path / "out", "keep", "labels.suggested")
    assert found["item-0"] == (True, None)
    assert {kept for kept, _ in found.values()} == {True, False}
    assert {one for _, one in found.values()} == {None, 0, 1, 2, 3}, "integers, where classes are"


def test_whole_numbers_and_booleans_are_labels(tmp_path: Path) -> None:
    for number, (name, known) in enumerate({"code": set("0123"), "flag": {"true", "false"}}.items()):
        made = table(flag=MADE.codes > 1)
        stage = labels.neighbours(label=name, embedding="embedding", method="vote")
        run(pool(tmp_path / f"pool{number}", made) | stage, tmp_path / f"out{number}")
        assert {one for (one,) in by_uid(tmp_path / f"out{number}", "labels.suggested").values()} == known


def test_both_in_one_recipe_and_only_rows_alive(tmp_path: Path) -> None:
    recipe = (
        pool(tmp_path / "pool", table())
        | Keep(col("class") != "dog", reason="no.dogs")
        | labels.confident_learning(label="class", embedding="embedding")
        | labels.neighbours(label="class", embedding="embedding", name="knn", reason="labels.outvoted", method="vote")
    )
    summary = run(recipe, tmp_path / "out")
    assert set(summary.reasons) <= {"no.dogs", "labels.mislabelled", "labels.outvoted"}
    found = ledger(tmp_path / "out").to_pydict()
    for reason, first, second in zip(found["reason"], found["labels.issue"], found["knn.issue"], strict=True):
        assert (first is None) == (reason == "no.dogs")
        assert (second is None) == (reason in ("no.dogs", "labels.mislabelled"))
    assert "dog" not in found["labels.suggested"]


def test_nothing_alive_is_nothing_to_judge(tmp_path: Path) -> None:
    recipe = pool(tmp_path / "pool", table()) | Keep(col("class") == "eel", reason="no.eels") | EITHER[1]
    assert run(recipe, tmp_path / "out").reasons == {"no.eels": 400}


@pytest.mark.parametrize("name", ["clip.image_embedding", "clip.text_embedding"])
def test_embeddings_that_clip_stored(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    images = [image_bytes(row) for row in range(24)]
    made = {"id": [str(row) for row in range(24)], "image": images, "text": [f"a {row}" for row in range(24)]}
    pq.write_table(pa.table(made | {"class": ["x", "y"] * 12}), folder / "a.parquet")
    whole = Pool.parquet(f"{folder}/*.parquet", uid="id", image="image", text="text")
    clip = Clip(f"local-dir:{make(tmp_path / 'model')}", embeddings=True, batch_size=4)
    run(whole | Score(clip=clip) | labels.neighbours(label="class", embedding=name, method="vote"), tmp_path / "out")
    found = ledger(tmp_path / "out")
    assert found.column("labels.issue").null_count == 0
    assert set(found.column("labels.suggested").to_pylist()) == {"x", "y"}
    assert "clip.image_embedding" not in found.column_names


@pytest.mark.parametrize("kind", [pa.list_(pa.float16(), 8), pa.large_list(pa.float32()), pa.list_(pa.float64())])
def test_any_kind_of_list_will_do(kind: pa.DataType, tmp_path: Path) -> None:
    values = MADE.values.astype(np.float16 if pa.types.is_fixed_size_list(kind) else np.float64)
    made = table(embedding=pa.array(list(values), pa.list_(pa.from_numpy_dtype(values.dtype))).cast(kind))
    stage = labels.neighbours(label="class", embedding="embedding", method="vote")
    assert 20 < run(pool(tmp_path / "pool", made) | stage, tmp_path / "out").dropped < 120


def test_yaml(tmp_path: Path) -> None:
    pool(tmp_path / "pool", table())
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"pool: {{parquet: ['{tmp_path}/pool/*.parquet'], uid: id, text: class}}\n"
        "stages:\n"
        "  - labels.confident_learning: {label: code, probabilities: probabilities, classes: [0, 1, 2, 3], filter_by: both}\n"
    )
    assert run(RecipeSource.read(str(path), {}), tmp_path / "out").dropped > 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "needs either probabilities="),
        ({"probabilities": "p", "embedding": "e"}, "needs either probabilities="),
        ({"probabilities": "p", "filter_by": "prune_by_clas"}, "Did you mean 'prune_by_class'"),
        ({"embedding": "e", "folds": 1}, "folds=1.*from 2 to 100"),
        ({"embedding": "e", "folds": True}, "folds=True"),
        ({"probabilities": "p", "classes": ["a"]}, "two or more labels"),
        ({"probabilities": "p", "classes": ["a", 1]}, "all strings or all integers"),
        ({"probabilities": "p", "classes": list(range(10_001))}, "10,001 labels: classes are at most 10,000"),
        ({"probabilities": "p", "classes": "ab"}, "two or more labels"),
        ({"probabilities": "p", "classes": ["a", "b", "a"]}, "'a' stands there twice"),
        ({"probabilities": "p", "reason": "no reason"}, "dotted words"),
    ],
)
def test_confident_learning_refuses(arguments: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        labels.confident_learning(label="class", **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"k": 2}, "from 3 to 1000; the item itself"),
        ({"k": 10.0}, "k=10.0"),
        ({"method": "votes"}, "Did you mean 'vote'"),
    ],
)
def test_neighbours_refuses(arguments: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        labels.neighbours(label="class", embedding="embedding", **arguments)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (labels.neighbours(label="clas", embedding="embedding"), "'clas'.*Did you mean 'class'"),
        (labels.neighbours(label="class", embedding="class"), "'class' is string, and a list of floats is needed"),
        (labels.neighbours(label="class", embedding="ints"), "list<.*int64.*a rule needs a number"),
        (labels.neighbours(label="weight", embedding="embedding"), "label 'weight' is double: a label is a string"),
        (
            labels.confident_learning(label="class", probabilities="probabilities", classes=[1, 2]),
            r"classes=\[1, 2\] are no values of the labels' type string",
        ),
        (Keep(col("embedding") > 1), "a rule needs a number"),
        (EITHER[0] | EITHER[2], "'labels.issue' exists already"),
    ],
)
def test_plans_that_cannot_work(stage: Any, said: str, tmp_path: Path) -> None:
    made = table(weight=np.arange(400.0), ints=pa.array([[1, 2]] * 400))
    with pytest.raises(PlanError, match=said):
        run(pool(tmp_path / "pool", made) | stage, tmp_path / "out")


@pytest.mark.parametrize(
    ("columns", "stage", "said"),
    [
        ({"class": ["ant"] * 400}, EITHER[2], "at least two classes are needed .* there is 'ant'"),
        ({"class": pa.nulls(400, pa.string())}, EITHER[2], "there is none"),
        ({"class": ["ant", "bee"] * 200}, EITHER[0], "has 4 probabilities a row, .* have 2 classes: give all"),
        ({"probabilities": pa.array([[0.5] * 4] * 400)}, EITHER[0], "400 have numbers that are no probabilities"),
        ({"embedding": pa.nulls(400, pa.list_(pa.float32()))}, EITHER[1], "400 have no 'embedding'"),
        ({"embedding": pa.array([[]] * 400, pa.list_(pa.float32()))}, EITHER[1], "400 have a list of another length"),
        ({"embedding": pa.array([[]] * 400, pa.list_(pa.float32()))}, EITHER[2], "400 have a list of another length"),
        ({"embedding": pa.array([[1e300, 1.0]] * 400)}, EITHER[1], "400 have an embedding that is not finite"),
        ({"embedding": pa.array([[0.0, 0.0]] * 400)}, EITHER[2], "400 have an embedding without a direction"),
        ({"embedding": pa.array([[1.0, 2.0]] * 400)}, EITHER[2], "of 400 items 400 are equal"),
        ({"class": [f"text {row}" for row in range(400)]}, EITHER[2], "400 classes .* use method='vote'"),
    ],
)
def test_pools_that_cannot_be_judged(columns: Any, stage: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(PoolsieveError, match=said):
        run(pool(tmp_path / "pool", table(**columns)) | stage, tmp_path / "out")


def test_what_is_said_of_the_stages() -> None:
    made = ConfidentLearning(label="class", embedding="e", folds=3, classes=("a", "b"))
    wanted = {"type": "ConfidentLearning", "label": "class", "embedding": "e", "folds": 3, "classes": ["a", "b"]}
    assert made.to_dict() == wanted
    assert Neighbours(label="class", embedding="e").to_dict() == {
        "type": "Neighbours",
        "label": "class",
        "embedding": "e",
    }
    assert made.reads == ("class", "e") and made.columns["suggested"] == pa.string()


def test_no_warning_of_the_libraries_comes_through(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = table(**{"class": [*("ant" if row % 2 else "bee" for row in range(399)), "cat"]})
        run(pool(tmp_path / "pool", made) | EITHER[1], tmp_path / "out")
    assert not [str(one.message) for one in caught if "cleanlab" in one.filename or "sklearn" in one.filename]
