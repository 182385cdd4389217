"""Language identification."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from poolsieve.scoring_models import Gcld3, Language
from poolsieve.scoring_models.base.errors import PlanError

TEXTS = {
    "en": "a photo of a dog that is running on the beach in the sun",
    "fr": "un chien court sur la plage au soleil avec une balle",
    "de": "ein Hund läuft in der Sonne am Strand entlang",
    "ru": "собака бежит по пляжу под солнцем",
    "ja": "犬が太陽の下でビーチを走っています",
}


def test_labels_and_probabilities() -> None:
    made = Language().score(pa.record_batch({"text": list(TEXTS.values())}))
    assert made.columns["label"].to_pylist() == list(TEXTS)
    assert all(0.3 < p <= 1.001 for p in made.columns["probability"].to_pylist())


def test_line_breaks_are_blanks_and_blank_texts_have_no_language() -> None:
    texts = [
        "a photo of a dog\nthat is running\non the beach",
        "a photo of a dog that is running on the beach",
        "",
        " \n",
        None,
    ]
    made = Language().score(pa.record_batch({"text": pa.array(texts, pa.string())}))
    found = made.columns["probability"].to_pylist()
    assert found[0] == found[1]
    assert made.columns["label"].to_pylist() == ["en", "en", None, None, None]


def test_threads_agree() -> None:
    batch = pa.record_batch({"text": list(TEXTS.values()) * 50})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: Language().score(batch).columns["probability"].to_pylist(), range(8)))
    assert all(one == found[0] for one in found)


def test_a_model_by_path_is_the_same_model(tmp_path: Path) -> None:
    shipped = Language().files()["lid.176.ftz"]
    copy = tmp_path / "lid.176.ftz"
    copy.write_bytes(shipped.read_bytes())
    assert Language(str(copy)).to_dict() == Language().to_dict() | {"model": "lid.176.ftz"}


def test_wrong_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no language model"):
        Language("/nowhere/lid.bin").files()
    (tmp_path / "bad.bin").write_bytes(b"nonsense " * 100)
    with pytest.raises(PlanError, match="not a fastText model"):
        Language(str(tmp_path / "bad.bin")).score(pa.record_batch({"text": ["x"]}))


def test_gcld3() -> None:
    if importlib.util.find_spec("gcld3") is None:
        with pytest.raises(PlanError, match=r"poolsieve\[gcld3\]"):
            Gcld3().files()
        return
    made = Gcld3().score(pa.record_batch({"text": [TEXTS["en"], TEXTS["ru"]]}))
    assert made.columns["label"].to_pylist() == ["en", "ru"]
