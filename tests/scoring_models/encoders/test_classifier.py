"""Sequence classifiers of transformers on tiny checkpoints."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from poolsieve.dataflow import Pool  # noqa: E402
from poolsieve.filters import Keep, Score, col  # noqa: E402
from poolsieve.scoring_models import Classifier  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.encoders.engines import engine  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.conftest import fingerprint_of, ledger, run  # noqa: E402
from tests.scoring_models.encoders import tiny_celadon  # noqa: E402
from tests.scoring_models.encoders.tiny_classifier import WORDS, make  # noqa: E402

BACKENDS = ["torch", pytest.param("openvino", marks=pytest.mark.filterwarnings("ignore"))]
LABELS = {0: "no", 1: "maybe", 2: "yes"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifiers")


def texts(n: int, seed: int = 0, longest: int = 61) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.choice([1, 3, 20, 40, longest]))) for _ in range(n)]


def score(scorer: Classifier, given: list[str | None], threads: int = 1) -> dict[str, list[Any]]:
    batch = pa.record_batch({"text": pa.array(given, pa.string())})
    made = score_rows(scorer.load(), batch, scorer.columns, threads=threads)
    assert not made.errors
    return {name: column.to_pylist() for name, column in made.columns.items()}


def plain(model: Path, given: list[str]) -> np.ndarray[Any, Any]:
    """The way of every model card: one text, cut at the model's limit."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    found = []
    for text in given:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            found.append(network(**inputs).logits[0].double().numpy())
    return np.array(found)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_regression_is_the_models_own_number(folder: Path, backend: str) -> None:
    model = make(folder / "edu", num_labels=1)
    given = texts(30, longest=200)
    found = score(Classifier(str(model), backend=backend), [*given, None])
    expected = plain(model, given)[:, 0]
    assert found[""][-1] is None
    assert np.allclose(found[""][:-1], expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_labels_probability(folder: Path, kind: str, backend: str) -> None:
    model = make(folder / f"three-{kind}", kind, num_labels=3, id2label=LABELS)
    given = texts(30, 1)
    logits = plain(model, given)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = score(Classifier(str(model), label="maybe", backend=backend), list(given))
    assert np.allclose(found[""], expected[:, 1], rtol=1e-3, atol=1e-5)
    best = score(Classifier(str(model), best=True, backend=backend), list(given), threads=2)
    assert best["label"] == [LABELS[i] for i in expected.argmax(axis=1)]
    assert len(set(best["label"])) > 1
    assert np.allclose(best["probability"], expected.max(axis=1), rtol=1e-3)


def test_independent_labels_have_probabilities_of_their_own(folder: Path) -> None:
    model = make(folder / "multi", num_labels=3, id2label=LABELS, problem_type="multi_label_classification")
    given = texts(10, 2)
    found = score(Classifier(str(model), label="yes"), list(given))
    assert np.allclose(found[""], 1 / (1 + np.exp(-plain(model, given)[:, 2])), rtol=1e-3, atol=1e-5)


def test_long_texts_are_cut_or_read_whole(folder: Path) -> None:
    model = make(folder / "long", num_labels=1)
    parts = [" ".join(random.Random(i).choices(WORDS, k=62)) for i in range(4)]
    alone = score(Classifier(str(model)), list(parts))[""]
    whole: list[str | None] = [" ".join(parts)]
    assert score(Classifier(str(model)), whole)[""] == alone[:1]
    assert score(Classifier(str(model), long="max", overlap=0), whole)[""] == [max(alone)]
    assert np.allclose(score(Classifier(str(model), long="mean", overlap=0), whole)[""], np.mean(alone))
    short = score(Classifier(str(model), context=22, overlap=0), whole)[""]
    assert np.allclose(short, score(Classifier(str(model)), [" ".join(parts[0].split()[:20])])[""], rtol=1e-4)


def test_a_mean_is_added_up_in_the_order_in_which_windows_were_decoded(folder: Path) -> None:
    loaded = Classifier(str(make(folder / "mean", num_labels=1)), long="mean", overlap=0, backend="torch").load()
    logits = np.array([[1], [1e17], [-1e17], [3], [1e17], [-1e17], [1]], dtype=np.float32)
    means = loaded.joined({"logits": logits}, np.array([0, 0, 0, 1, 2, 2, 2]), 3)[""]
    assert means.tolist() == [0, 3, np.float32(1 / 3)]  # 1 is lost beside 1e17


@pytest.mark.parametrize("long", ["cut", "mean", "max"])
def test_a_text_has_the_same_score_alone_and_among_others(folder: Path, long: str) -> None:
    scorer = Classifier(str(make(folder / "among", num_labels=1)), long=long, overlap=3, backend="torch")
    loaded, given = scorer.load(), texts(40, 6, 300)

    def found(some: list[str | None]) -> list[Any]:
        made = score_rows(loaded, pa.record_batch({"text": some}), scorer.columns, threads=2)
        return made.columns[""].to_pylist()

    assert found([*given[:20], None, *given[20:]]) == [*(found([text])[0] for text in given[:20]), None] + [
        found([text])[0] for text in given[20:]
    ]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("labels", [1, 2, 3, 5])
def test_a_windows_place_in_its_batch_changes_no_bit(folder: Path, labels: int, backend: str) -> None:
    """Of 16, 10, 8, 7, 5, 3 and 2 windows; MKL has kernels of their own for few outputs, and for what rows are left."""
    model = make(folder / f"places{labels}", num_labels=labels, id2label={i: str(i) for i in range(labels)})
    scorer = Classifier(str(model), label="0", tokens=1, backend=backend)
    loaded, dice = scorer.load(), np.random.default_rng(0)
    for count, length in [(16, 32), (10, 48), (8, 64), (7, 64), (5, 64), (3, 64), (2, 48)]:
        ids = dice.integers(4, 120, (count, length))
        mask = (np.arange(length) < dice.integers(length // 2, length + 1, count)[:, None]).astype(np.int64)
        first = loaded.run(ids, mask)
        for shift in range(1, count):
            assert np.array_equal(np.roll(first, shift, 0), loaded.run(np.roll(ids, shift, 0), np.roll(mask, shift, 0)))


def test_a_run_is_the_same_with_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    model = make(folder / "run", num_labels=1)
    pq.write_table(pa.table({"text": texts(80, 3, 200)}), tmp_path / "a.parquet", row_group_size=20)
    recipe = (
        Pool.parquet(f"{tmp_path}/a.parquet", text="text")
        | Score(edu=Classifier(str(model)))
        | Keep(col("edu") >= 0, reason="edu.low")
    )
    found = run(recipe, tmp_path / "one")
    run(recipe, tmp_path / "two", workers=2)
    assert 0 < found.kept < 80
    assert fingerprint_of(tmp_path / "one") == fingerprint_of(tmp_path / "two")
    rows = ledger(tmp_path / "one")
    assert rows["keep"].to_pylist() == [edu >= 0 for edu in rows["edu"].to_pylist()]


def test_what_can_not_work_is_refused(folder: Path, tmp_path: Path) -> None:
    model = make(folder / "labels", num_labels=3, id2label=LABELS)
    with pytest.raises(PlanError, match=r"has 3 labels: say label=\.\.\. or best=True; there is 'no', 'maybe', 'yes'"):
        Classifier(str(model)).files()
    with pytest.raises(PlanError, match=r"has no label 'mayb'\. Did you mean 'maybe'"):
        Classifier(str(model), label="mayb").files()
    with pytest.raises(PlanError, match="holds no sequence classifier"):
        Classifier(str(tmp_path)).files()
    for wrong in ({"long": "some"}, {"label": "x", "best": True}, {"overlap": -1}, {"backend": "tpu"}, {"context": 3}):
        with pytest.raises(PlanError, match="Classifier"):
            Classifier(str(model), **wrong)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="window has 64 tokens"):
        Classifier(str(model), label="no", overlap=62).load()


def test_a_model_without_that_head_is_refused(folder: Path) -> None:
    """transformers makes the missing layers up at random and says so in the log only."""
    celadon = tiny_celadon.make(folder / "celadon", id2label={"0": "x"})
    with pytest.raises(PlanError, match=r"has no weights for classifier\.bias, classifier\.weight"):
        Classifier(str(celadon), backend="torch").load()


def test_weights_in_parts_count_as_files(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = make(folder / "whole", num_labels=1)
    parts = folder / "parts"
    shutil.copytree(model, parts)
    (parts / "model.safetensors").unlink()
    AutoModelForSequenceClassification.from_pretrained(model).save_pretrained(parts, max_shard_size="20KB")
    scorer = Classifier(str(parts))
    shards = set(json.loads((parts / "model.safetensors.index.json").read_text())["weight_map"].values())
    assert len(shards) > 1 and shards < set(scorer.files())
    given: list[str | None] = list(texts(5))
    assert score(scorer, given) == score(Classifier(str(model)), given)
    (parts / min(shards)).unlink()
    with pytest.raises(PlanError, match=f"has no {min(shards)}"):
        scorer.files()
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../whole/model.safetensors"}}))
    with pytest.raises(PlanError, match=r"names .*\.\./whole/model\.safetensors"):
        scorer.files()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_network_that_openvino_gets_wrong_is_refused(precision: str) -> None:
    class Odd(torch.nn.Module):  # type: ignore[misc]
        def forward(self, ids: Any, mask: Any) -> Any:
            return (ids * mask).float().sum(dim=1, keepdim=True) * ids.shape[1].__index__()

    with pytest.raises(PlanError, match="say backend='torch'"):
        engine(Odd().eval(), torch.device("cpu"), precision, "openvino", 64)


@pytest.mark.filterwarnings("ignore")
def test_a_network_that_openvino_can_not_convert_is_refused() -> None:
    class Rare(torch.nn.Module):  # type: ignore[misc]
        def forward(self, ids: Any, mask: Any) -> Any:
            return torch.special.bessel_j0((ids * mask).float()).sum(dim=1, keepdim=True)

    with pytest.raises(PlanError, match="can't run this model in fp32: say backend='torch'") as caught:
        engine(Rare().eval(), torch.device("cpu"), "fp32", "openvino", 64)
    assert len(str(caught.value)) < 500


def changed(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "values", [{"auto_map": {"AutoModel": "mine.Model"}}, {"inner": [{"trust_remote_code": True}]}]
)
def test_a_model_that_asks_for_code_is_refused_before_it_is_loaded(name: str, values: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "model", num_labels=1)
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    changed(folder, name, **values)
    with pytest.raises(PlanError, match="Remote code is never run") as caught:
        Classifier(str(folder)).files()
    assert str(folder / name) in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}', '{"model": {"type": "Magic"}}', "\x00"])
def test_a_broken_tokenizer_is_named_in_the_plan(text: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "model", num_labels=1)
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(PlanError, match="is no tokenizer") as caught:
        Classifier(str(folder)).files()
    assert str(folder / "tokenizer.json") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[1]"),
        ("config.json", "{"),
        ("config.json", '{"id2label": [1], "model_type": "bert"}'),
        ("config.json", '{"id2label": {"a": "b"}, "model_type": "bert"}'),
        ("config.json", '{"num_labels": 1, "model_type": "no_such"}'),
        (
            "config.json",
            '{"num_labels": 1, "model_type": "bert", "hidden_size": "wide", "max_position_embeddings": 64}',
        ),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"tokenizer_class": "NoSuchTokenizer", "model_max_length": "x"}'),
        ("model.safetensors", "not weights"),
    ],
)
def test_broken_files_of_a_model_end_in_one_message(name: str, text: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "model", num_labels=1)
    (folder / name).write_text(text)
    with pytest.raises(PlanError, match=str(folder)):
        Classifier(str(folder)).load()
