"""Ledgers and fingerprints as they were when this file was written: the same pool and recipe give the same, for ever.

What is hashed is what a ledger says (row, uid, keep, reason, scores as bits), not its Parquet bytes, which are
pyarrow's. Where a constant here has to change, users' stored scores are computed anew or their subsets change: say so
in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsieve import scoring_models
from poolsieve.dataflow import Pool
from poolsieve.filters import (
    Drop,
    Edit,
    Keep,
    Masked,
    PersonalData,
    Score,
    Top,
    any_of,
    c4,
    col,
    datacomp,
    fineweb,
    gopher,
    larger,
)
from tests.conftest import ledger, run

SIZES = ((640, 480), (199, 400), (200, 200), (900, 250), (300, 901), (1024, 768))
WORDS = (
    *("the", "a", "of", "to", "and", "that", "with", "have", "be", "red", "dog", "house", "runs", "quickly", "over"),
    *("under", "green", "hills", "#", "...", "1984", "e.g.", "it's"),
)
LANGUAGES = ("en", "fr", "de")
FILES = (250, 150)


def picture(size: tuple[int, int]) -> bytes:
    """A PNG of that size."""
    made = io.BytesIO()
    Image.new("L", size).save(made, "png")
    return made.getvalue()


PICTURES = [picture(size) for size in SIZES]


def made_rows(file: int, n: int) -> list[dict[str, Any]]:
    """Rows with ties, NaN, nulls, uids that repeat, and images that can't be read.

    From `random`, whose numbers are the same in every version of Python; NumPy's streams may change.
    """
    r = random.Random(file)
    return [made_row(r, file, i) for i in range(n)]


def made_row(r: random.Random, file: int, i: int) -> dict[str, Any]:
    """Every draw is made for every row, so that no row depends on another's branch."""
    image, score, text, uid = r.random(), r.random(), r.random(), r.getrandbits(128)
    words = " ".join(WORDS[int(r.random() * len(WORDS))] for _ in range(int(r.random() * 12)))
    return {
        "uid": f"{uid if i % 50 else file:032x}",
        "text": None if text < 0.03 else f"ein Hündchen {words}" if text < 0.2 else words,
        "image": None if image < 0.02 else b"no image" if image < 0.05 else PICTURES[int(image * len(PICTURES))],
        "clip": None if score < 0.02 else float("nan") if score < 0.04 else round(score, 1),
        "lang": LANGUAGES[int(r.random() * 3)],
    }


def write_parquet(folder: Path) -> Path:
    """Two files of small row groups, which are read as several shards or one."""
    folder.mkdir()
    types = {"uid": pa.string(), "text": pa.string(), "image": pa.binary(), "clip": pa.float32(), "lang": pa.string()}
    for file, n in enumerate(FILES):
        table = pa.Table.from_pylist(made_rows(file, n), pa.schema(list(types.items())))
        pq.write_table(table, folder / f"part-{file}.parquet", row_group_size=60)
    return folder


def write_tars(folder: Path) -> Path:
    """The same rows as samples of tars; a null is a member that isn't there."""
    folder.mkdir()
    for file, n in enumerate(FILES):
        with tarfile.open(folder / f"{file:05d}.tar", "w") as archive:
            for i, row in enumerate(made_rows(file, n)):
                for ending, value in members(row):
                    member = tarfile.TarInfo(f"{i:06d}.{ending}")
                    member.size = len(value)
                    archive.addfile(member, io.BytesIO(value))
    return folder


def members(row: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """A sample's members, as (ending, bytes)."""
    score = None if row["clip"] != row["clip"] else row["clip"]
    yield "json", json.dumps({"uid": row["uid"], "clip": score, "lang": row["lang"]}).encode()
    if row["text"] is not None:
        yield "txt", row["text"].encode()
    if row["image"] is not None:
        yield "png", row["image"]


def write_lines(folder: Path) -> Path:
    """Documents of several sentences as JSON lines, one line in a hundred broken."""
    folder.mkdir()
    for file, n in enumerate(FILES):
        texts = [row["text"] for row in made_rows(10 + file, 12 * n)]
        documents = [document(texts[12 * i : 12 * i + 12]) for i in range(n)]
        lines = [
            json.dumps({"id": f"d{i}", "text": text}) if i % 100 else '{"id": ' for i, text in enumerate(documents)
        ]
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def document(sentences: list[str | None]) -> str | None:
    """Sentences as lines, some with a full stop or a bullet, the first ones repeated; null where the first is."""
    if sentences[0] is None:
        return None
    lines = [lined(i, said) for i, said in enumerate(sentences) if said]
    return "\n".join([*lines, f"write to {len(lines)}@example.org", *lines[: len(lines) % 3]])


def lined(i: int, said: str) -> str:
    """A sentence as the i-th line."""
    return f"{said}." if i % 3 == 0 else f"- {said}" if i % 5 == 0 else said


def contents(table: pa.Table) -> str:
    """SHA-256 of a ledger's columns: names, types, nulls, and values with floats as their bits."""
    made = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        made.update(f"{name} {column.type}\n".encode())
        values = column.combine_chunks()
        made.update(bits(values) if pa.types.is_floating(values.type) else repr(values.to_pylist()).encode())
    return made.hexdigest()[:16]


def bits(values: pa.Array) -> bytes:
    """Where there is a value, and that value's bits; every NaN is the same one."""
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False).copy()
    numbers[np.isnan(numbers)] = np.nan
    return np.asarray(values.is_valid()).tobytes() + numbers.tobytes()


def check(recipe: Any, out: Path, **wanted: Any) -> None:
    """Runs a recipe and compares what its ledger says, by counts first, since they tell more when they differ."""
    run(recipe, out)
    found = ledger(out)
    assert Counter(found["reason"].to_pylist()) == wanted["reasons"]
    assert json.loads((out / "manifest.json").read_text())["fingerprints"] == wanted["fingerprints"]
    assert contents(found) == wanted["contents"]


def sizes_and_cut(pool: Pool) -> Any:
    """DataComp's rules with stored sizes, and a cut with ties. Language is left out: its model need not be there."""
    for stage in datacomp.basic(size="stored").flat()[:-2]:
        pool = pool | stage
    return pool | Top("clip", fraction="0.2", of="pool")


def test_images_of_parquet(tmp_path: Path) -> None:
    pool = write_parquet(tmp_path / "pool")
    recipe = sizes_and_cut(Pool.parquet(f"{pool}/*.parquet", uid="uid", text="text", image="image"))
    check(
        recipe,
        tmp_path / "out",
        reasons={
            None: 80,
            "clip.below_cut": 59,
            "datacomp.extreme_aspect": 109,
            "datacomp.too_few_words": 84,
            "datacomp.too_small": 56,
            "quarantine.image_decode": 12,
        },
        fingerprints={
            "clip": "71c8fa4f46434b4f",
            "datacomp.size": "a00c1dfc157b78db",
            "text.char_count": "48d32bd88957cc09",
            "text.word_count": "9b66f5eda59d25ef",
        },
        contents="e4ab74b054e3ee32",
    )


def test_images_of_tars(tmp_path: Path) -> None:
    pool = write_tars(tmp_path / "pool")
    recipe = sizes_and_cut(Pool.webdataset(f"{pool}/*.tar", uid="json:uid", text="txt", image="png", clip="json:clip"))
    check(
        recipe,
        tmp_path / "out",
        reasons={
            None: 80,
            "clip.below_cut": 59,
            "datacomp.extreme_aspect": 109,
            "datacomp.too_few_words": 84,
            "datacomp.too_small": 56,
            "quarantine.image_decode": 12,
        },
        fingerprints={
            "clip": "f20e7358deb9b723",
            "datacomp.size": "1a4cff22828d1599",
            "text.char_count": "49caa09487c9b480",
            "text.word_count": "83d662d56a904c8c",
        },
        contents="e701f5ce7722c628",
    )


def test_uids_made_of_places_combined_rules_and_a_cut_for_each_group(tmp_path: Path) -> None:
    pool = write_parquet(tmp_path / "pool")
    recipe = (
        Pool.parquet(f"{pool}/*.parquet", text="text", lang="lang")
        | any_of(Keep(col("text").word_count() >= 3), Keep(col("clip") > 0.5), reason="short.and_bad")
        | Drop(col("lang") == "de", reason="lang.german")
        | Keep(col("text").char_count() / larger(col("text").byte_count(), 2) >= 0.96, reason="text.accents")
        | Top("clip", fraction="0.25", by="lang", ties="include")
    )
    check(
        recipe,
        tmp_path / "out",
        reasons={None: 58, "clip.below_cut": 152, "lang.german": 113, "short.and_bad": 55, "text.accents": 22},
        fingerprints={
            "clip": "71c8fa4f46434b4f",
            "lang": "85dd22170806b70c",
            "text.byte_count": "5d18d7928044be78",
            "text.char_count": "48d32bd88957cc09",
            "text.word_count": "9b66f5eda59d25ef",
        },
        contents="53370d018b2b9cd2",
    )


def test_documents_of_json_lines(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    pool = write_lines(tmp_path / "pool")
    recipe = (
        Pool.jsonl(f"{pool}/*.jsonl", uid="id", text="text")
        | gopher.repetition(max_dup_line_frac=0.2)
        | gopher.quality(min_words=40, min_stop_words=6)
        | c4.quality(terminal_punctuation=False, edit=True, min_sentences=3)
        | fineweb.quality(min_line_punct_ratio=0.1)
        | Edit(text=Masked())
        | Score(pii=PersonalData())
        | Keep(col("text").char_count() <= 700, reason="text.long")
    )
    check(
        recipe,
        tmp_path / "out",
        reasons={
            None: 107,
            "fineweb.char_dup_ratio": 89,
            "fineweb.short_line_ratio": 29,
            "gopher.dup_10_grams": 14,
            "gopher.dup_5_grams": 2,
            "gopher.dup_6_grams": 6,
            "gopher.dup_7_grams": 12,
            "gopher.dup_8_grams": 10,
            "gopher.dup_9_grams": 12,
            "gopher.dup_line_char_frac": 15,
            "gopher.dup_line_frac": 1,
            "gopher.empty": 14,
            "gopher.too_few_alpha_words": 77,
            "gopher.too_few_stop_words": 3,
            "gopher.too_few_words": 1,
            "gopher.too_many_ellipses": 1,
            "gopher.too_many_hashes": 1,
            "gopher.top_4_gram": 1,
            "quarantine.json_decode": 5,
        },
        fingerprints={
            "c4": "8159bd54eddc49b5",
            "fineweb": "b51435836d1e9f75",
            "gopher": "c98049097b4ce250",
            "gopher.repetition": "0bd6d08fc551e9f4",
            "pii": "2b899eb5bee87eb2",
            "text.edited2.char_count": "e72624c9bf6841fd",
        },
        contents="3afc847e1300e757",
    )


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (scoring_models.Clip("hf-hub:apple/DFN-public"), {"type": "Clip", "model": "hf-hub:apple/DFN-public"}),
        (
            scoring_models.Clip(("ViT-B-32", "openai"), precision="bf16", embeddings=True, revision="main"),
            {
                "type": "Clip",
                "model": ["ViT-B-32", "openai"],
                "precision": "bf16",
                "embeddings": True,
                "revision": "main",
            },
        ),
        (scoring_models.ImageSize(), {"type": "ImageSize"}),
        (scoring_models.Language("lid.176.ftz"), {"type": "Language", "model": "lid.176.ftz"}),
        (scoring_models.Gcld3(), {"type": "Gcld3"}),
        (scoring_models.Tokens("gpt2"), {"type": "Tokens", "tokenizer": "gpt2"}),
        (scoring_models.Celadon(), {"type": "Celadon", "model": "PleIAs/celadon"}),
        (scoring_models.Classifier("a/b"), {"type": "Classifier", "model": "a/b"}),
        (scoring_models.Loss("a/b"), {"type": "Loss", "model": "a/b"}),
        (
            scoring_models.Color(prior="a/b", conditional="a/c", tokens="tokens"),
            {"type": "Color", "prior": "a/b", "conditional": "a/c", "tokens": "tokens"},
        ),
        (scoring_models.StoredLosses(prior="/a", conditional="/b"), {"type": "StoredLosses"}),
        (scoring_models.Answers("/a.csv"), {"type": "Answers"}),
        (
            scoring_models.Answers("/a.csv", answer="said", image=True),
            {"type": "Answers", "answer": "said", "image": True, "scoring": {"*": "exact"}},
        ),
        (
            scoring_models.Answers.lmms_eval("/with", task="t", blind="/without", blind_task="t_blind", question="q"),
            {
                "type": "Answers",
                "tool": "lmms_eval",
                "settings": {"task": "t", "blind_task": "t_blind"},
                "question": "q",
            },
        ),
        (scoring_models.Verdicts("/v.csv"), {"type": "Verdicts"}),
        (scoring_models.FastText("q.bin", label="hq"), {"type": "FastText", "model": "q.bin", "label": "hq"}),
        (PersonalData(), {"type": "PersonalData"}),
        (Masked(), {"type": "Masked"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_scorer_is_known_by(made: Any, wanted: dict[str, Any]) -> None:
    """A field that is renamed, or another default, makes every user of the scorer score anew."""
    assert (made.to_dict(), made.version) == (wanted, 1)
