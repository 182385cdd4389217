"""fastText classifiers, by a real model: lid.176."""

from __future__ import annotations

from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest

from poolsieve.scoring_models import FastText, Language
from poolsieve.scoring_models.base.errors import PlanError
from poolsieve.scoring_models.base.scorer import score_names

MODEL = str(Language().files()["lid.176.ftz"])
TEXTS = [
    "a photo of a dog\nthat runs on the beach",
    "un chien court sur la plage",
    "犬が走っています",
    "12345",
    "",
    None,
]


def batch(texts: list[str | None]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.string())})


def test_the_probability_of_one_label_is_that_of_predict() -> None:
    model = fasttext.load_model(MODEL)
    scorer = FastText(MODEL, label="fr")
    assert score_names("q", scorer.columns) == {"q": pa.float32()}
    found = scorer.score(batch(TEXTS)).columns[""].to_pylist()
    for text, probability in zip(TEXTS[:-1], found[:-1], strict=True):
        labels, values = model.predict((text or "").replace("\n", " "), k=176)
        expected = dict(zip(labels, values, strict=True)).get("__label__fr", 0.0)
        assert probability == np.float32(expected)
    assert found[-1] is None and found[1] > 0.8 > found[0]


def test_the_best_label_is_that_of_language() -> None:
    texts = TEXTS[:4]
    mine, theirs = FastText(MODEL).score(batch(texts)), Language().score(batch(texts))
    assert {name: column.to_pylist() for name, column in mine.columns.items()} == {
        name: column.to_pylist() for name, column in theirs.columns.items()
    }
    assert FastText(MODEL).score(batch([])).columns["label"].type == pa.string()


def test_the_folder_is_no_part_of_the_configuration() -> None:
    assert FastText(MODEL, label="en").to_dict() == {"type": "FastText", "model": "lid.176.ftz", "label": "en"}
    assert set(FastText(MODEL).files()) == {"lid.176.ftz"}


def test_wrong_models_and_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no fastText model /nowhere"):
        FastText("/nowhere/model.bin").files()
    with pytest.raises(PlanError, match=r"no label 'englisch'\. There is af"):
        FastText(MODEL, label="englisch").score(batch(["a"]))
    (tmp_path / "x.bin").write_bytes(b"no model at all")
    with pytest.raises(PlanError, match="is not a fastText model"):
        FastText(str(tmp_path / "x.bin")).score(batch(["a"]))
