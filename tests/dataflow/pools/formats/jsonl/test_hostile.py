"""Lines that somebody wrote to break a reader: they cost themselves, in planning, in a run and in every export."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zstandard

from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.recipe import Pool
from poolsieve.filters import Edit, Keep, col
from tests.conftest import ledger, run
from tests.dataflow.pools.formats.jsonl.test_read import write

GOOD = [{"id": f"{i:032x}", "text": f"some text {i}", "n": i} for i in range(5)]


def nested(levels: int, *, lists: bool) -> str:
    """An object with a value of so many levels."""
    value = "[" * levels + "]" * levels if lists else '{"a":' * levels + "1" + "}" * levels
    return f'{{"id": "{"f" * 32}", "text": "first", "n": 7, "x": {value}}}'


def wide(more: dict[str, Any]) -> str:
    return json.dumps({"id": "f" * 32, "text": "first", "n": 7, **more})


FIRST = {
    "8000 keys": wide({f"k{i}": i for i in range(8_000)}),
    "20000 objects": wide({"x": {f"k{i}": {"a": i} for i in range(20_000)}}),
    "many objects": wide({f"k{i}": {"a": i} for i in range(3_000)}),
    "list of objects": wide({"x": [{f"k{i}": i} for i in range(20_000)]}),
    "nested lists": nested(1_000, lists=True),
    "nested objects": nested(1_000, lists=False),
    "half as deep": nested(499, lists=True),
    "beyond any parser": nested(100_000, lists=True),
    "a long number": wide({}).replace("7", "9" * 5000),
}
UNREAD = {"beyond any parser", "a long number"}


def loud(text: pa.Array) -> pa.Array:
    return pc.utf8_upper(text)


@pytest.mark.parametrize("name", FIRST)
def test_a_hostile_first_line(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.jsonl", "\n".join([FIRST[name], *map(json.dumps, GOOD)]).encode())
    pool = Pool.jsonl(f"{tmp_path}/a.jsonl", uid="id", text="text", n="n")
    start, files, out = time.perf_counter(), pool.located(), str(tmp_path / "out")
    assert "text" in files.all_types(files.listing().shards)
    recipe = pool | Edit(text=loud) | Keep(col("n") >= 0, reason="n.low")
    run(recipe, out)
    lost = name in UNREAD
    assert ledger(out)["reason"].to_pylist() == ["quarantine.json_decode" if lost else None, *[None] * 5]
    for to in ("jsonl", "parquet", "webdataset"):
        assert export(out, target=str(tmp_path / to), format=to).rows == 6 - lost
    made = export(out, target=str(tmp_path / "edited"), columns={"text": "text"}, recipe=recipe)
    data = zstandard.ZstdDecompressor().decompressobj().decompress(Path(made.target, made.files[0].name).read_bytes())
    texts = [orjson.loads(line)["text"] for line in data.splitlines()]
    assert texts == [*(["FIRST"] * (not lost)), *(str(row["text"]).upper() for row in GOOD)]
    assert time.perf_counter() - start < 60
