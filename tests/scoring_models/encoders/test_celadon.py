"""Celadon on a tiny checkpoint in the published layout."""

from __future__ import annotations

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from poolsieve.dataflow import Pool  # noqa: E402
from poolsieve.dataflow.export.export import export  # noqa: E402
from poolsieve.filters import celadon  # noqa: E402
from poolsieve.scoring_models import Celadon  # noqa: E402
from poolsieve.scoring_models.base.errors import PlanError  # noqa: E402
from poolsieve.scoring_models.devices.token_shapes import shape_of, shapes  # noqa: E402
from poolsieve.scoring_models.encoders.celadon import CATEGORIES, columns_of_texts, levels  # noqa: E402
from poolsieve.scoring_models.encoders.celadon_files import load_model  # noqa: E402
from poolsieve.scoring_models.encoders.windows import filled, windows_of  # noqa: E402
from poolsieve.scoring_models.feeding.driver import score_rows  # noqa: E402
from tests.conftest import fingerprint_of, ledger, run  # noqa: E402
from tests.scoring_models.encoders.tiny_celadon import WORDS, make  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("celadon") / "tiny")


def texts(n: int, seed: int = 0, longest: int = 500) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choices(WORDS, k=dice.choice([1, 3, 20, 60, 150, longest]))) for _ in range(n)]


def score(scorer: Celadon, given: list[str | None], threads: int = 1) -> dict[str, list[Any]]:
    batch = pa.record_batch({"text": pa.array(given, pa.string())})
    made = score_rows(scorer.load(), batch, scorer.columns, threads=threads)
    assert not made.errors
    return {name: column.to_pylist() for name, column in made.columns.items()}


def published(model: Path, given: list[str]) -> np.ndarray[Any, Any]:
    """The published script's way: every text padded to 512 tokens and cut there, one by one; argmax of each head."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = load_model(Celadon(str(model)).files(), 5, 4)
    found = []
    for text in given:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:510]
        ids = [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]
        padded = torch.tensor([ids + [0] * (512 - len(ids))])
        mask = torch.tensor([[1] * len(ids) + [0] * (512 - len(ids))])
        with torch.inference_mode():
            found.append(network(padded, mask)[0].argmax(-1).numpy())
    return np.array(found)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_scores_are_those_of_the_published_way(model: Path, backend: str) -> None:
    given = texts(40)
    found = score(Celadon(str(model), backend=backend), list(given))
    expected = published(model, given)
    assert np.array_equal(np.array([found[name] for name in CATEGORIES]).T, expected)
    assert len(np.unique(expected)) == 4 and len(np.unique(expected, axis=0)) > 10
    assert found["total"] == expected.sum(axis=1).tolist()
    assert found["windows"] == [1] * 40


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_row_depends_on_itself_alone(model: Path, backend: str) -> None:
    scorer = Celadon(str(model), probabilities=True, backend=backend)
    given: list[str | None] = [*texts(30, 1, 1400), None, ""]
    whole = score(scorer, given)
    for part in (given[::-1], given[::3], given[5:6]):
        some = score(scorer, part, threads=2)
        rows = [given.index(text) for text in part]
        for name, values in whole.items():
            assert some[name] == [values[i] for i in rows], name


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_text_has_the_same_scores_alone_and_among_others_of_three_callers(model: Path, backend: str) -> None:
    scorer = Celadon(str(model), probabilities=True, backend=backend)
    loaded, others, given = scorer.load(), texts(200, 3, 900), [*texts(5, 4, 60), texts(40, 1, 1400)[3]]

    def found(some: list[str]) -> list[tuple[Any, ...]]:
        made = score_rows(loaded, pa.record_batch({"text": some}), scorer.columns, threads=2)
        return list(zip(*(column.to_pylist() for column in made.columns.values()), strict=True))

    alone = [found([text])[0] for text in given]
    assert alone[-1][6] == 3  # windows
    among = [[*others[part::3][:30], given[part], *others[part::3][30:], given[part + 3]] for part in range(3)]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(found, among))
    assert [rows[30] for rows in made] + [rows[-1] for rows in made] == alone


def test_batches_hold_windows_of_all_callers(model: Path) -> None:
    """Two texts of 8 windows of 32 tokens fill the one batch of 16; the second caller's come while the first's wait."""
    scorer = Celadon(str(model))
    loaded = scorer.load()
    sizes, tokenizer, entered = [], loaded.tokenizer, threading.Barrier(2)
    run_engine = loaded.run

    def counted(ids: Any, mask: Any) -> Any:
        sizes.append((ids.shape, int((mask.sum(axis=1) > 1).sum())))
        return run_engine(ids, mask)

    def met(*given: Any, **settings: Any) -> Any:
        entered.wait(60)
        return tokenizer(*given, **settings)

    met.pad_token_id = tokenizer.pad_token_id  # type: ignore[attr-defined]
    loaded.run, loaded.tokenizer = counted, met
    with ThreadPoolExecutor(2) as pool:
        batch = pa.record_batch({"text": ["w1 w2"] * 8})
        for made in [pool.submit(score_rows, loaded, batch, scorer.columns, threads=2) for _ in range(2)]:
            assert made.result(60).columns["windows"].to_pylist() == [1] * 8
    assert sizes == [((16, 32), 16)]


def test_a_short_last_window_is_the_first_to_be_told_apart(model: Path) -> None:
    """Of windows whose class is the same, the probabilities of the short last one are stored: it comes first."""
    loaded = Celadon(str(model), overlap=0).load()
    parts, errors = loaded.decode(pa.record_batch({"text": [" ".join(["w1"] * (2 * 510 + 5)), None]}), [0])
    assert [(part.row, part.shape, len(part.inputs[0])) for part in parts] == [(0, "32", 7)] + [(0, "512", 512)] * 2
    assert {part.inputs[0].dtype for part in parts} == {np.dtype(np.int32)} and not errors


def test_pieces_hold_texts_of_like_bytes_in_order(model: Path) -> None:
    loaded = Celadon(str(model)).load()
    given = [None, "a" * 20_000, "", *["b" * 8_000] * 5, *["c"] * 1500, None, "d" * 100_000, "e"]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        pieces = list(loaded.pieces(pa.record_batch({"text": pa.array(given, kind)})))
        assert [row for piece in pieces for row in piece] == [i for i, text in enumerate(given) if text is not None]
        sizes = [sum(max(len(given[row] or ""), 16) for row in piece[:-1]) for piece in pieces]
        assert all(size < 16 * 1024 for size in sizes) and len(pieces) == 7
    assert not any(loaded.pieces(pa.record_batch({"text": pa.array([None], pa.string())})))


def test_what_stands_late_in_a_long_text_counts(model: Path) -> None:
    scorer = Celadon(str(model), overlap=0)
    parts = [" ".join(random.Random(i).choices(WORDS, k=510)) for i in range(6)]
    alone, together = score(scorer, list(parts)), score(scorer, [" ".join(parts)])
    for name in CATEGORIES:
        assert together[name] == [max(alone[name])]
    assert together["windows"] == [6]
    assert max(together[name][0] - alone[name][0] for name in CATEGORIES) > 0


def test_null_is_null_and_an_empty_text_is_two_special_tokens(model: Path) -> None:
    found = score(Celadon(str(model)), [None, "", " \n"])
    assert found["level"][0] is found["windows"][0] is found["violence"][0] is None
    assert found["windows"][1:] == [1, 1] and found["total"][1] == found["total"][2]


def test_levels_partition_all_scores() -> None:
    every = np.array(list(itertools.product(range(4), repeat=5)))
    found = levels(every)
    for scores, level in zip(every, found, strict=True):
        total, most = sum(scores), max(scores)
        toxic = total >= 7
        mild = 4 <= total <= 6 or (total == 3 and most == 3)
        assert level == ("toxic" if toxic else "mild" if mild else "none")
        assert (level == "none") == (total <= 3 and most <= 2)


def test_the_verdict_names_the_first_of_the_worst() -> None:
    logits = np.zeros((3, 5, 4), dtype=np.float32)
    for window, scores in enumerate([(0, 2, 3, 3, 0), (0, 0, 0, 0, 1), (0, 1, 0, 0, 0)]):
        for head, value in enumerate(scores):
            logits[window, head, value] = 5
    made = columns_of_texts(logits, np.array([0, 1, 1]), 2, probabilities=True)
    assert made["verdict"].tolist() == ["toxic.religion", "none"]
    assert made["gender_sex"].tolist() == [2, 1] and made["violence"].tolist() == [0, 1]
    assert made["gender_sex_probabilities"][1].argmax() == 1 and made["violence_probabilities"][1].argmax() == 1
    assert np.allclose(made["ability_probabilities"].sum(axis=-1), 1)


@pytest.mark.parametrize(
    ("n", "overlap", "windows"), [(0, 50, 1), (510, 50, 1), (511, 50, 2), (970, 50, 2), (971, 50, 3), (1020, 0, 2)]
)
def test_windows_cover_every_token(n: int, overlap: int, windows: int) -> None:
    made = windows_of(range(n), 512, overlap, ([-1], [-2]))
    assert len(made) == windows
    assert all(window[0] == -1 and window[-1] == -2 and len(window) <= 512 for window in made)
    assert sorted({token for window in made for token in window[1:-1]}) == list(range(n))
    assert [window.tolist() for window in windows_of(range(n), 512, overlap, ([-1], [-2]), 1)] == [made[0].tolist()]


def test_a_window_goes_through_the_shortest_shape_that_holds_it() -> None:
    listed = shapes(512, 4096)
    assert [shape_of(length, listed) for length in (1, 32, 33, 512)] == [(128, 32), (128, 32), (85, 48), (8, 512)]
    ids, mask = filled((128, 32), [np.array([1, 2, 3], np.int32)], 9)
    assert ids.shape == (128, 32) and ids[0, :4].tolist() == [1, 2, 3, 9]
    assert mask.sum(axis=1).tolist() == [3] + [1] * 127


def test_the_stage_names_level_and_category(model: Path, tmp_path: Path) -> None:
    given: list[str | None] = [*texts(60, 2, 900), None]
    pq.write_table(pa.table({"text": pa.array(given, pa.string())}), tmp_path / "a.parquet")
    source = Pool.parquet(f"{tmp_path}/a.parquet", text="text")
    strict = run(source | celadon(str(model)), tmp_path / "out")
    run(source | celadon(str(model)), tmp_path / "two", workers=2)
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "two")
    found = ledger(tmp_path / "out")
    for verdict, reason in zip(found["celadon.verdict"].to_pylist(), found["reason"].to_pylist(), strict=True):
        assert reason == ("celadon.no_text" if verdict is None else None if verdict == "none" else f"celadon.{verdict}")
    toxic = export(str(tmp_path / "out"), select="celadon.toxic.*", target=str(tmp_path / "toxic"))
    assert toxic.rows == found["celadon.level"].to_pylist().count("toxic") > 0
    loose = run(source | celadon(str(model), keep="mild"), tmp_path / "out")
    assert loose.kept - strict.kept == found["celadon.level"].to_pylist().count("mild") > 0
    assert loose.work.scored == {}


def test_wrong_files_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="holds no Celadon"):
        Celadon(str(tmp_path)).files()
    other = make(tmp_path / "other", model_type="multi-head-deberta-for-sequence-classification")
    with pytest.raises(PlanError, match="the published layout of Celadon is 'deberta-v2'"):
        Celadon(str(other)).files()
    small = make(tmp_path / "small", hidden_size=16)
    with pytest.raises(PlanError, match="does not hold Celadon's weights"):
        Celadon(str(small)).load()
    broken = make(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(PlanError, match="can't read the weights"):
        Celadon(str(broken)).load()
    there = {"backend": "openvino"}
    for wrong in (
        {"overlap": 510},
        {"tokens": 100},
        {"precision": "int3"},
        {"backend": "x"},
        {**there, "precision": "fp16"},
        {**there, "device": "cuda"},
    ):
        with pytest.raises(PlanError, match="Celadon"):
            Celadon(str(model), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_golden_scores_guard_the_version(model: Path, backend: str) -> None:
    """Raise `Celadon.version` when these change."""
    found = score(Celadon(str(model), backend=backend), list(texts(4, 7, 800)))
    assert Celadon(str(model)).version == 1
    assert [found[name] for name in CATEGORIES] == GOLDEN


GOLDEN = [[2, 3, 2, 3], [2, 2, 2, 3], [3, 0, 2, 3], [2, 3, 3, 3], [1, 0, 0, 0]]
