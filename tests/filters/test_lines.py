"""`lines.repeated`: what a plain count says, whatever the shards, the order and the size of blocks; texts without it."""

from __future__ import annotations

import collections
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.passes.artefacts.repeats import RECORD, added, packed
from poolsieve.dataflow.passes.estimate import estimates
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.filters import Keep, col, lines
from poolsieve.filters.lines import Pieces, Repeated, Without
from poolsieve.filters.parted import read_parted
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run

FRAME = ["Please accept our cookies, every one of them!", "SUBSCRIBE to the   newsletter of this page\r", "Share"]
OFTEN = 4


def documents() -> list[str | None]:
    rng = random.Random(3)
    made: list[str | None] = []
    for i in range(30):
        own = [f"This is line {k} of document {i} and of no other one." for k in range(rng.randint(0, 6))]
        frame = [line for line in FRAME if rng.random() < 0.5]
        text = "\n".join(rng.sample([*own, *frame], len(own) + len(frame)))
        made.append(text)
    return [*made, None, "", "\n\n\n", "x" * 5000, "no line end " * 9, FRAME[0].upper(), "é" * 40]


def plain(texts: list[str | None], most: int, min_chars: int) -> list[str | None]:
    """The same in a few lines: counts of a dictionary."""

    def key(line: str) -> str:
        return " ".join(line.lower().split())

    counts = collections.Counter(key(line) for text in texts if text is not None for line in text.split("\n"))
    often = {line for line, count in counts.items() if count > most and len(line) >= min_chars}
    edited = []
    for text in texts:
        pieces = [] if text is None else text.split("\n")
        edited.append(None if text is None else "\n".join(one for one in pieces if key(one) not in often))
    return edited


def write(folder: Path, sizes: list[int], texts: list[str | None]) -> Path:
    folder.mkdir()
    start = 0
    for i, size in enumerate(sizes):
        table = pa.table({"text": pa.array(texts[start : start + size], pa.string())})
        pq.write_table(table, folder / f"p{i}.parquet", row_group_size=7)
        start += size
    assert start == len(texts)
    return folder


def recipe(folder: Path, **given: Any) -> Recipe:
    pool = Pool.parquet(f"{folder}/*.parquet", text="text")
    return pool | lines.repeated(pool, **given) | Keep(col("text").word_count() >= 0, reason="null")


def test_what_stays_is_what_a_plain_count_says(tmp_path: Path) -> None:
    texts = documents()
    folder = write(tmp_path / "pool", [10, 0, len(texts) - 10], texts)
    made = recipe(folder, most=OFTEN, min_chars=20)
    run(made, tmp_path / "out")
    expected = plain(texts, OFTEN, 20)
    found = ledger(tmp_path / "out").to_pylist()
    for text, row, left in zip(texts, found, expected, strict=True):
        if text is None or left is None:
            assert row["lines.dropped"] is None and not row["keep"]
            continue
        assert row["text.edited.word_count"] == len(left.split())
        assert row["lines.dropped"] == text.count("\n") - left.count("\n") + (not left and bool(text.strip()))
        assert (row["lines.share"] > 0) == (left != text) and 0 <= row["lines.share"] <= 1
    assert 8 < sum(row["lines.dropped"] or 0 for row in found) < 60 and "lines.at" not in found[0]
    index = export(str(tmp_path / "out"), columns={"clean": "text"}, target=str(tmp_path / "to"), recipe=made)
    (path,) = (tmp_path / "to" / "data").glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["clean"] for row in rows] == [left for left in expected if left is not None] and index.rows == len(rows)


def test_another_order_and_other_shards_give_the_same_texts(tmp_path: Path) -> None:
    texts = documents()
    one = write(tmp_path / "one", [len(texts)], texts)
    other = write(tmp_path / "other", [5, 20, len(texts) - 25], texts[::-1])
    for folder in (one, other):
        run(recipe(folder, most=OFTEN, min_chars=20), tmp_path / f"out-{folder.name}")
    found = [ledger(tmp_path / f"out-{name}").drop(["row", "uid"]).to_pylist() for name in ("one", "other")]
    assert found[0] == found[1][::-1]


def test_another_limit_counts_nothing_again(tmp_path: Path) -> None:
    texts = documents()
    folder = write(tmp_path / "pool", [len(texts)], texts)
    run(recipe(folder, most=OFTEN, min_chars=20), tmp_path / "out")
    artefacts = list((tmp_path / "out" / "artefacts").glob("*.json"))
    run(recipe(folder, most=2, min_chars=20), tmp_path / "out")
    assert list((tmp_path / "out" / "artefacts").glob("*.json")) == artefacts and len(artefacts) == 1
    expected = plain(texts, 2, 20)
    assert [row["text.edited.word_count"] for row in ledger(tmp_path / "out").to_pylist()] == [
        None if left is None else len(left.split()) for left in expected
    ]
    (part,) = read_parted(str(artefacts[0])).tables
    counts = part.to_pydict()
    assert min(counts["count"]) >= 2 and counts["hash"] == sorted(counts["hash"])
    run(recipe(folder, most=2, min_chars=25), tmp_path / "out")
    assert len(list((tmp_path / "out" / "artefacts").glob("*.json"))) == 2


def test_a_plan_before_anything_is_counted_and_a_later_stage_that_reads_what_is_left(tmp_path: Path) -> None:
    texts = documents()
    folder = write(tmp_path / "pool", [len(texts)], texts)
    made, out = recipe(folder, most=OFTEN, min_chars=20), str(tmp_path / "out")
    plan = prepare(made, out)
    assert [one.sampled for one in estimates(plan.job, plan.shards, 5, 0)] == [0] and not (tmp_path / "out").exists()
    run(made, out)
    plan = prepare(made, out)
    assert [(one.sampled, one.keeps) for one in estimates(plan.job, plan.shards, 5, 0)] == [(5, 1)]
    run(made | Keep(col("text").char_count() < 200, reason="long"), out)
    lengths = [None if left is None else len(left) for left in plain(texts, OFTEN, 20)]
    assert [row["text.edited.char_count"] for row in ledger(tmp_path / "out").to_pylist()] == lengths


def test_the_pool_that_is_counted_may_be_another_one(tmp_path: Path) -> None:
    small = write(tmp_path / "small", [1], [f"{FRAME[0]}\nand a line that nobody else has"])
    large = write(tmp_path / "large", [9], [FRAME[0]] * 9)
    pool = Pool.parquet(f"{small}/*.parquet", text="text")
    stage = lines.repeated(Pool.parquet(f"{large}/*.parquet", text="text"), most=8)
    run(pool | stage, tmp_path / "out")
    assert ledger(tmp_path / "out").to_pylist()[0]["lines.dropped"] == 1


def test_bad_rows_of_the_counted_pool_cost_themselves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [json.dumps({"text": FRAME[0]}).encode()] * 3 + [b'{"text": broken']
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b"\n".join(rows)))
    pool = Pool.jsonl(f"{tmp_path}/*.jsonl.zst", text="text")
    run(pool | lines.repeated(pool, most=2), tmp_path / "out")
    assert [row["lines.dropped"] for row in ledger(tmp_path / "out").to_pylist()] == [1, 1, 1, None]
    assert "1 rows of the pool 'counted' can't be read" in caplog.text


@pytest.mark.parametrize("n", [0, 1])
def test_pools_without_repeats_stay_as_they_are(tmp_path: Path, n: int) -> None:
    folder = write(tmp_path / "pool", [n], ["one line that is long enough to be counted"] * n)
    run(recipe(folder), tmp_path / "out")
    assert [row["lines.dropped"] for row in ledger(tmp_path / "out").to_pylist()] == [0] * n


HOSTILE = {
    "one line again and again": ("a line of more than thirty characters, again\n" * 100_000)[:-1],
    "one long line": "x" * 2_000_000,
    "line ends alone": "\n" * 200_000,
    "windows": "a line of more than thirty characters, again\r\n" * 1000,
    "blank lines with blanks": "\n \t" * 300_000,
    "surrogates": "\udc80 is half of a pair, and no text of UTF-8\n" * 100,
}


@pytest.mark.parametrize("unit", lines.UNITS)
@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_texts(kind: str, unit: str) -> None:
    text, pieces = HOSTILE[kind], Pieces(unit=unit)
    places, hashes = pieces.hashes(text)
    assert len(places) == len(hashes) <= len(pieces.cut(text))
    found = Repeated(pool=Pool.jsonl("a.jsonl", text="text"), pieces=pieces).found(text, np.unique(hashes))
    assert found[1] == len(places) + min(1, len(places)) * (pieces.together - 1) and 0 <= found[2] <= 1
    left = Without(places="lines.at", pieces=pieces).edited(text, found[0])
    assert not pieces.hashes(left)[0].size
    assert Without(places="lines.at", pieces=pieces).edited(text, []) is text


def test_paragraphs_are_what_stands_between_blank_lines() -> None:
    pieces = Pieces(unit="paragraph", min_chars=1)
    assert pieces.cut("one\ntwo\n\nthree\n \t\n\n  four\n") == ["one\ntwo", "three", "four\n"]
    assert Without(places="x", pieces=pieces).edited("a\n\nb\n\n\nc", [1]) == "a\n\nc"


SENTENCES = [f"Sentence {word} is long enough, isn't it?" for word in ("one", "two", "three", "four", "five")]


def spans_of(text: str) -> list[tuple[str, ...]]:
    """The plain way: no abbreviation is among these sentences."""
    parts = [part for line in text.split("\n") for part in re.split(r"(?<=[?]) ", line) if part]
    return list(zip(parts, parts[1:], parts[2:], strict=False))


def test_spans_of_three_sentences_go_wherever_they_begin(tmp_path: Path) -> None:
    rng, texts = random.Random(1), []
    for i in range(40):
        own = [f"This is sentence {k} of document {i}?" for k in range(rng.randint(0, 5))]
        at = rng.randint(0, len(own))
        texts.append(rng.choice(" \n").join([*own[:at], *rng.choice([SENTENCES, SENTENCES[1:4], []]), *own[at:]]))
    counts = collections.Counter(span for text in texts for span in spans_of(text))
    folder = write(tmp_path / "pool", [len(texts)], texts)
    made = recipe(folder, most=OFTEN, unit="sentences")
    run(made, tmp_path / "out")
    export(str(tmp_path / "out"), columns={"clean": "text"}, target=str(tmp_path / "to"), recipe=made)
    (path,) = (tmp_path / "to" / "data").glob("*.parquet")
    found = {row["text"]: row["clean"] for row in pq.read_table(path).to_pylist()}
    for text in texts:
        gone = {one for span in spans_of(text) if counts[span] > OFTEN for one in span}
        left = [line for line in (keep_of(line, gone) for line in text.split("\n")) if line]
        assert found[text] == "\n".join(left)
    assert 5 < sum(found[text] != text for text in texts) < 40


def keep_of(line: str, gone: set[str]) -> str:
    return " ".join(part for part in re.split(r"(?<=[?]) ", line) if part not in gone)


def test_what_stood_between_sentences_that_stay() -> None:
    edit = Without(places="x", pieces=Pieces(unit="sentences", min_chars=1))
    text = "  One. Two!\nThree?  Four.\n\nFive. Six."
    assert edit.pieces.cut(text) == ["One.", "Two!", "Three?", "Four.", "Five.", "Six."]
    assert edit.edited(text, []) == text
    assert edit.edited(text, [1]) == "One.\nThree?  Four.\n\nFive. Six."
    assert edit.edited(text, [2]) == "One. Two!\nFour.\n\nFive. Six."
    assert edit.edited(text, [0, 1, 2, 4]) == "Four.\n\nSix."
    assert edit.edited(text, [1, 2, 3, 5]) == "One.\n\nFive."
    assert edit.edited(text, range(6)) == ""


def test_texts_of_fewer_than_three_sentences_have_no_span() -> None:
    pieces = Pieces(unit="sentences", min_chars=1)
    assert [len(pieces.hashes("It is. " * n)[0]) for n in range(6)] == [0, 0, 0, 1, 2, 3]


def test_blocks_of_any_size_add_up_to_the_same() -> None:
    r = np.random.default_rng(0)
    hashes = r.integers(0, 2**64, 50, dtype=np.uint64)
    drawn = r.choice(hashes, 400)
    whole = added(records(drawn))
    assert dict(zip(whole["hash"].tolist(), whole["count"].tolist(), strict=True)) == collections.Counter(
        drawn.tolist()
    )
    for bits in (0, 1, 5, 16):
        blocks: dict[int, list[bytes]] = {}
        for part in np.array_split(drawn, 7):
            for prefix, block in packed(added(records(part)), bits):
                blocks.setdefault(prefix, []).append(block)
        parts = [added(*(np.frombuffer(one, RECORD) for one in blocks[prefix])) for prefix in sorted(blocks)]
        assert np.array_equal(np.concatenate(parts), whole)


def records(hashes: Any) -> Any:
    made = np.empty(len(hashes), dtype=RECORD)
    made["hash"], made["count"] = hashes, 1
    return made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"most": 0}, "most=0"),
        ({"most": True}, "most=True"),
        ({"min_chars": 0}, "min_chars=0"),
        ({"unit": "word"}, "line, paragraph, sentences"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        lines.repeated(Pool.jsonl("a.jsonl", text="text"), **given)


def test_a_string_is_no_pool() -> None:
    with pytest.raises(PlanError, match="give a pool"):
        lines.repeated("a.jsonl")
