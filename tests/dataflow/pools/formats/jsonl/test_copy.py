"""Exports of JSON lines: kept lines leave byte for byte."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.runners.engine import Engine
from poolsieve.filters import Keep, Score, col, scorer
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import ledger, run
from tests.dataflow.pools.formats.jsonl.test_read import PACKED, lines, pool_of, write


def odd_lines(n: int) -> list[bytes]:
    """Lines whose spelling no JSON writer would give back."""
    made = lines(n)
    made[1] = b'  { "text" :"a b c d", "n": 1.50, "id":"x1", "e": "\\u00e9", "n": 2 }\r'
    made[2] = b'{"id": "x2", "text": "one two three four five", "big": 123456789012345678901234567890}'
    return made


def unpacked(folder: Path) -> dict[str, bytes]:
    """Every file of an export, by a reader that stops after one frame."""
    found = {}
    for path in sorted(folder.glob("data/*.jsonl.zst")):
        with path.open("rb") as file:
            found[path.name] = zstandard.ZstdDecompressor().stream_reader(file).readall()
    return found


def recipe(pool: Any, least: int = 4) -> Any:
    return pool | Keep(col("text").word_count() >= least, reason="t.short")


def doubled(text: Any) -> list[float | None]:
    return [None if value is None else len(value) * 2.0 for value in text.to_pylist()]


@pytest.mark.parametrize("extension", PACKED)
def test_kept_lines_leave_byte_for_byte(tmp_path: Path, extension: str) -> None:
    made = [odd_lines(200), lines(150, 1), lines(50, 2)]
    for i, part in enumerate(made):
        write(tmp_path / "pool" / f"{i}.{extension}", PACKED[extension](b"\n\n".join(part)))
    run(recipe(pool_of(tmp_path / "pool" / "*", split_bytes=9000)), tmp_path / "out")
    keep = ledger(tmp_path / "out").sort_by("uid")
    kept = set(keep.filter(keep["keep"])["uid"].to_pylist())
    expected = [line for part in made for line in part if json.loads(line)["id"] in kept]
    index = export(str(tmp_path / "out"))
    found = unpacked(tmp_path / "out" / "export")
    assert b"".join(found.values()) == b"".join(line + b"\n" for line in expected)
    assert index.rows == len(expected) and 100 < len(expected) < 400
    small = export(str(tmp_path / "out"), target=str(tmp_path / "small"), target_bytes=10_000)
    assert len(small.files) > 2
    assert b"".join(unpacked(tmp_path / "small").values()) == b"".join(found.values())


def test_reasons_lists_and_scores(tmp_path: Path) -> None:
    made = [*odd_lines(100), b"broken", b"{}"]
    write(tmp_path / "pool" / "a.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + b"\n".join(made)))
    scored = Score(double=scorer(doubled, reads=("text",), columns={"x": "float64"}))
    run(recipe(pool_of(tmp_path / "pool" / "*") | scored), tmp_path / "out")
    reasons = export(str(tmp_path / "out"), select="t.*", target=str(tmp_path / "dropped"))
    dropped = b"".join(unpacked(tmp_path / "dropped").values()).splitlines()
    assert reasons.rows == len(dropped) and dropped[-1] == b"{}" and b"broken" not in dropped
    with_them = export(str(tmp_path / "out"), scores=["double", "text.word_count"], target=str(tmp_path / "scores"))
    for line in b"".join(unpacked(tmp_path / "scores").values()).splitlines():
        row = json.loads(line)
        own = row.pop("poolsieve")
        assert own == {"double": len(row["text"]) * 2.0, "text.word_count": len(row["text"].split())}
    assert with_them.rows == export(str(tmp_path / "out")).rows
    (tmp_path / "list.txt").write_text("x1\nx2\nx1\n")
    export(str(tmp_path / "out"), uids=str(tmp_path / "list.txt"), target=str(tmp_path / "listed"))
    assert b"".join(unpacked(tmp_path / "listed").values()) == made[1] + b"\n" + made[1] + b"\n" + made[2] + b"\n"


def test_scores_that_are_there_and_other_formats_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "pool" / "a.jsonl", b'{"id": "a", "text": "a b c d e", "poolsieve": 1, "meta": {"score": 1}}')
    run(recipe(pool_of(tmp_path / "pool" / "*")), tmp_path / "out")
    with pytest.raises(PlanError, match="has the key 'poolsieve' already"):
        export(str(tmp_path / "out"), scores=True)


def test_readable_by_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "pool" / "a.jsonl.zst", PACKED["jsonl.zst"](b"\n".join(lines(300))))
    run(recipe(pool_of(tmp_path / "pool" / "*")), tmp_path / "out")
    index = export(str(tmp_path / "out"))
    files = [str(path) for path in sorted((tmp_path / "out" / "export" / "data").glob("*.zst"))]
    loaded = datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == index.rows
    assert np.array([len(text.split()) for text in loaded["text"]]).min() >= 4


def test_nothing_kept_and_the_same_bytes_again(tmp_path: Path) -> None:
    write(tmp_path / "pool" / "a.jsonl", b"\n".join(lines(300)))
    run(recipe(pool_of(tmp_path / "pool" / "*")), tmp_path / "out")
    first = export(str(tmp_path / "out"), target=str(tmp_path / "one"))
    again = export(str(tmp_path / "out"), target=str(tmp_path / "two"), engine=Engine(workers=2))
    assert [file.sha256 for file in first.files] == [file.sha256 for file in again.files]
    assert (
        io.BytesIO((tmp_path / "one" / "data" / "train-00000-of-00001.jsonl.zst").read_bytes()).read(4)
        == b"\x28\xb5\x2f\xfd"
    )
    run(recipe(pool_of(tmp_path / "pool" / "*"), least=1000), tmp_path / "out")
    assert export(str(tmp_path / "out"), target=str(tmp_path / "none")).files == ()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_that_are_no_json_leave_as_they_came(tmp_path: Path, pack: Any) -> None:
    broken = [b'{"text": "open', b"[1, 2]", b'{"text": "caf\xe9"}', b"{}\x00"]
    made = [line for pair in zip(lines(4), broken, strict=True) for line in pair]
    write(tmp_path / "pool" / "a.jsonl", pack(b"\n".join(made)))
    run(recipe(pool_of(tmp_path / "pool" / "*"), least=0), tmp_path / "out")
    index = export(str(tmp_path / "out"), select="quarantine.*", target=str(tmp_path / "broken"))
    assert b"".join(unpacked(tmp_path / "broken").values()) == b"".join(line + b"\n" for line in broken)
    assert index.rows == 4 and index.warnings == ()
    other = export(str(tmp_path / "out"), select="quarantine.*", scores=True, target=str(tmp_path / "scored"))
    assert other.warnings == ("no row was exported", "4 rows could not be read and were left out")
