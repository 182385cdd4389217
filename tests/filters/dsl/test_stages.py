"""The DSL: what it builds, and what it refuses with which words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from poolsieve.dataflow import Pool
from poolsieve.filters import (
    Above,
    Below,
    Drop,
    In,
    Keep,
    Score,
    Top,
    all_of,
    any_of,
    c4,
    col,
    datacomp,
    dfn,
    gopher,
    language,
    larger,
    scorer,
    smaller,
)
from poolsieve.filters.c4 import C4Lines
from poolsieve.filters.dsl.expr import Env
from poolsieve.filters.dsl.stages import Ranked, Rule
from poolsieve.filters.dsl.statistics import byte_count, char_count, word_count
from poolsieve.scoring_models.base.errors import PlanError


def env(**scores: Any) -> Env:
    arrays = {name: value if isinstance(value, pa.Array) else pa.array(value) for name, value in scores.items()}
    n = len(next(iter(arrays.values())))
    uids = pa.array([f"{i:032x}" for i in range(n)])
    return Env(arrays, uid_of=lambda: uids, rows=np.arange(n), path="f", cuts={}, alive=np.ones(n, bool))


def truth(rule: Rule, **scores: Any) -> list[bool | None]:
    result: list[bool | None] = rule.predicate.truth(env(**scores)).to_pylist()
    return result


def own(text: pa.Array) -> pa.Array:
    return pa.array([1.0] * len(text))


def test_comparisons_are_made_in_the_columns_type() -> None:
    assert truth(Keep(col("x") >= 0.7), x=pa.array([0.7, 0.69], pa.float32())) == [True, False]
    assert truth(Keep(col("x") > 2.5), x=pa.array([2, 3], pa.int32())) == [False, True]
    assert truth(Keep(col("x") <= 2**40), x=pa.array([2, 3], pa.int32())) == [True, True]
    assert truth(Keep(col("x") > 2.5), x=pa.array([2, 3, 2**63 - 1], pa.int64())) == [False, True, True]
    ends = pa.array([-(2**63), 2**63 - 1], pa.int64())
    for limit in (2**63, 2**64 + 1, 10**30, 10**400):
        assert truth(Keep(col("x") < limit), x=ends) == truth(Keep(col("x") > -limit - 1), x=ends) == [True, True]
        assert truth(Keep(col("x") <= limit), x=pa.array([1.5, float("inf")], pa.float64())) == [True, limit == 10**400]


@pytest.mark.parametrize("rule", [Keep(col("x") >= 1), ~Keep(col("x") >= 1), Drop(col("x") >= 1), ~Drop(col("x") >= 1)])
def test_null_and_nan_never_keep_a_row(rule: Rule) -> None:
    assert truth(rule, x=pa.array([None, float("nan")], pa.float32())) == [None, None]


def test_combinations_follow_kleene() -> None:
    x, y = pa.array([1.0, 1.0, None]), pa.array([0.0, None, 0.0])
    either = any_of(Above("x", 1), Above("y", 1), reason="r.x")
    both = all_of(Above("x", 1), Above("y", 1), reason="r.x")
    assert truth(either, x=x, y=y) == [True, True, None]
    assert truth(both, x=x, y=y) == [False, None, False]
    assert truth(~both, x=x, y=y) == [True, None, True]


def test_division_by_zero_drops() -> None:
    rule = Keep(larger(col("w"), col("h")) / smaller(col("w"), col("h")) <= 3.0, reason="size.aspect")
    assert truth(rule, w=[10, 0, 0, 30], h=[10, 10, 0, 10]) == [True, False, None, True]


def test_statistics_equal_python() -> None:
    texts = ["", " ", "a b", "a\x1cb\x85c\u3000d", "naïve café 🙂", None, "\n\ta  b\r\n"]
    array = pa.array(texts)
    assert word_count(array).to_pylist() == [None if t is None else len(t.split()) for t in texts]
    assert char_count(array).to_pylist() == [None if t is None else len(t) for t in texts]
    assert byte_count(array).to_pylist() == [None if t is None else len(t.encode()) for t in texts]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: 1 <= col("x") <= 5, "all_of"),
        (lambda: (col("x") > 1) and (col("y") > 1), "all_of"),
        (lambda: Keep(lambda row: True), "lambda"),
        (lambda: scorer(lambda text: text, reads=("text",), columns={"x": "float32"}), "lambdas"),
        (lambda: Keep(col("x") + col("y") > 1), "reason="),
        (lambda: Keep(col("x") > float("nan")), "null or NaN"),
        (lambda: Keep(col("x") == None), "can't compare"),  # noqa: E711
        (lambda: Keep(col("x") > 1, reason="two words"), "dotted words"),
        (lambda: Top("x"), "exactly one of fraction"),
        (lambda: Top("x", fraction=0.1, count=3), "exactly one of fraction"),
        (lambda: Top("x", fraction=15), r"fraction=0\.15"),
        (lambda: Top("x", fraction=-0.1), "between 0 and 1"),
        (lambda: Top("x", fraction="nan"), "between 0 and 1"),
        (lambda: Top("x", fraction="much"), "not a number"),
        (lambda: Top("x", count=-1), "0 or more"),
        (lambda: Top("x", fraction=0.1, of="Pool"), "Did you mean 'pool'"),
        (lambda: Top("x", fraction=0.1, ties="hsh"), "Did you mean 'hash'"),
        (lambda: Top("x", budget="10B"), "'10B tokens'"),
        (lambda: Top("x", budget="ten tokens"), "'10B tokens'"),
        (lambda: Top("x", tau=0.5), "at least 1"),
        (lambda: Score(), "at least one scorer"),
        (lambda: Score(x=own), "scorer"),
        (lambda: ~Score(x=scorer(own, reads=("text",), columns={"a": "float32"})), "only a rule"),
        (lambda: Keep(col("x") > 1) | 3, "expected a stage"),
        (lambda: any_of(reason="a.b"), "at least one rule"),
        (lambda: all_of(Score(x=scorer(own, reads=("text",), columns={"a": "float32"})), reason="a.b"), "rules only"),
        (lambda: datacomp.clip_score("c", fraction=1.0), "past the end"),
        (lambda: datacomp.clip_score("c"), "exactly one"),
        (lambda: datacomp.basic(size="small"), "original"),
        (lambda: col(""), "name of a score"),
    ],
)
def test_wrong_recipes_say_what_to_write(make: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make()


def test_top_counts_in_integers_from_the_decimal_written() -> None:
    def target(rows: int, **how: Any) -> int:
        ranked = Top("x", **how).predicate
        assert isinstance(ranked, Ranked)
        return ranked.target(rows)

    assert target(100, fraction=0.29) == 29  # int(100 * 0.29) is 28
    assert target(100, fraction=0.29, position="datacomp") == 29  # the off-by-one of rank 28
    assert target(10**10, fraction="0.1234567891") == 1234567891
    assert target(10, fraction=Decimal("0.15")) == 1
    assert target(5, count=7) == 5
    assert target(100, tau=7) == 14
    assert target(1, budget="1.5K tokens") == 1500


def test_recipes_are_data() -> None:
    def made() -> Any:
        return Pool.parquet("a/*.parquet", text="t") | Keep(col("text").word_count() <= 64) | Top("dfn", fraction=0.15)

    assert made() == made()
    assert hash(made()) == hash(made())
    assert made() != Pool.parquet("a/*.parquet", text="t") | Keep(col("text").word_count() <= 63)
    assert "text.word_count.above_limit" in str(made())
    assert Below("t", 3).reason == "t.above_cut"
    assert Above("t", 3).reason == "t.below_cut"


def test_ready_made_stages_carry_their_published_constants() -> None:
    basic = datacomp.basic()
    assert [stage.reason for stage in basic.flat() if isinstance(stage, Rule)] == [
        "datacomp.too_few_words",
        "datacomp.too_few_chars",
        "datacomp.too_small",
        "datacomp.extreme_aspect",
        "datacomp.not_english",
    ]
    cut = dfn("hf-hub:apple/DFN-public").flat()[1]
    assert isinstance(cut, Rule)
    assert isinstance(cut.predicate, Ranked)
    assert (cut.predicate.fraction, cut.predicate.of, cut.predicate.rank) == ("0.15", "pool", "pool")


@pytest.mark.parametrize("form", ["npy", "parquet", "txt"])
def test_in_takes_three_forms_of_a_list(tmp_path: Any, form: str) -> None:
    uids = [f"{i * 7919:032x}" for i in range(50)]
    listed = uids[::3][::-1]
    path = tmp_path / f"list.{form}"
    if form == "npy":
        np.save(path, np.array([divmod(int(u, 16), 2**64) for u in listed], dtype="u8,u8"))
    elif form == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"n": range(len(listed)), "uid": listed}), path)
    else:
        path.write_text("\n".join(listed) + "\n")
    rule = In(str(path))
    found = rule.predicate.truth(
        Env({}, uid_of=lambda: pa.array(uids), rows=np.arange(50), path="f", cuts={}, alive=np.ones(50, bool))
    )
    assert found.to_pylist() == [u in set(listed) for u in uids]


def test_in_takes_any_strings(tmp_path: Any) -> None:
    path = tmp_path / "domains.txt"
    path.write_text("example.org\nä.example\n")
    rule = In(str(path), on="domain")
    assert truth(rule, domain=["example.org", "example.com", None, "ä.example"]) == [True, False, None, True]


@pytest.mark.parametrize("name", ["missing.npy", "bad.npy", "bad.parquet", "bad.txt"])
def test_in_refuses_what_is_no_list(tmp_path: Any, name: str) -> None:
    path = tmp_path / name
    if name.startswith("bad"):
        path.write_bytes(b"\xff\xfe nonsense")
    with pytest.raises(PlanError, match="can't read the list"):
        truth(In(str(path)), x=[1])


def test_limits_by_group() -> None:
    langs = ["en", "fr", "de", None, "en", "de"]
    scores = {"q": [0.8, 0.8, 0.8, 0.8, None, 0.4], "lang": langs}
    assert truth(Above("q", {"en": 0.9, "fr": 0.7}, by="lang"), **scores) == [False, True, False, None, None, False]
    assert truth(Above("q", {"en": 0.9, "*": 0.5}, by="lang"), **scores) == [False, True, True, None, None, False]
    assert truth(Below("q", {"*": 0.5}, by="lang"), **scores)[-1] is True
    assert Above("q", {"en": 0.9}, by="lang").reason == "q.below_cut"


def test_a_cut_by_group_asks_each_group_for_its_own() -> None:
    top = Top("q", by="lang", budget={"en": "10B tokens", "*": "1B tokens"}).predicate
    assert isinstance(top, Ranked) and top.weight == "tokens"
    assert [top.of_group(group).target(7) for group in ("en", "fr")] == [10**10, 10**9]
    top = Top("q", by="lang", fraction={"en": 0.5}).predicate
    assert isinstance(top, Ranked)
    assert [top.of_group(group).target(10) for group in ("en", "fr")] == [5, 0]
    assert top.asked == "en: 0.5 of alive"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Top("q", fraction={"en": 0.5}), "a table of limits and `by` go together"),
        (lambda: Above("q", {"en": 0.5}), "a table of limits and `by` go together"),
        (lambda: Above("q", 0.5, by="lang"), "a table of limits and `by` go together"),
        (lambda: Top("q", fraction={}, by="lang"), "go together"),
        (lambda: Top("q", fraction={1: 0.5}, by="lang"), "group 1 is no string"),
        (lambda: Top("q", fraction={"en": 15}, by="lang"), "fraction=0.15"),
        (lambda: Top("q", budget={"en": "1B a", "fr": "1B b"}, by="lang"), "not a, b"),
    ],
)
def test_tables_that_can_not_work(make: Any, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: language("English"), "expected a code as lid.176 has it"),
        (lambda: language("en", at_least=65), "a probability, 0 to 1"),
        (lambda: gopher.repetition(max_top_n_grams={0: 0.5}), "0-grams"),
        (lambda: c4.quality(max_word_length=-1), "or None for no limit"),
    ],
)
def test_limits_that_would_drop_everything(make: Any, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        make()


def test_no_limit_to_the_length_of_a_word() -> None:
    lines = C4Lines(terminal_punctuation=False, max_word_length=None)
    assert lines.edited(f"one two {'w' * 5000}") == f"one two {'w' * 5000}"


def test_other_models_have_other_codes() -> None:
    assert language("eng_Latn", model="/models/glotlid.bin").flat()[1].reason == "language.other"  # type: ignore[attr-defined]
