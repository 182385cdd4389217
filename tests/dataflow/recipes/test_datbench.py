"""Items as DatBench's release has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.filters import Keep, col
from tests.conftest import ledger, run

SCHEMA = pa.schema(
    [  # type: ignore[arg-type]  # pyarrow-stubs: pairs with types of one class alone
        ("id", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("question", pa.string()),
        ("prompt_format", pa.struct([("prefix", pa.string()), ("suffix", pa.string())])),
        ("answer", pa.string()),
        ("all_answers", pa.list_(pa.string())),
        ("eval_mode", pa.string()),
        ("judge_prompt", pa.string()),
        ("is_circular", pa.bool_()),
        ("metadata", pa.string()),
        ("source_info", pa.struct([("dataset", pa.string()), ("original_idx", pa.string())])),
        ("eval_metrics", pa.struct([("discrimination", pa.float64())])),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})},
)


def item(capability: str, n: int) -> dict[str, Any]:
    return {
        "id": f"db_{capability}_{n:06d}",
        "image": {"bytes": f"{capability}{n}".encode(), "path": None},
        "question": f"How many? {n}",
        "prompt_format": {"prefix": "Look. ", "suffix": " Answer briefly."},
        "answer": str(n),
        "all_answers": [str(n), f"{n}.0"],
        "eval_mode": "direct",
        "judge_prompt": "",
        "is_circular": False,
        "metadata": "{}",
        "source_info": {"dataset": "ChartQA" if n % 2 else "DocVQA", "original_idx": str(n)},
        "eval_metrics": {"discrimination": float(np.round(n / 10, 3))},
    }


def write_release(folder: Path) -> Path:
    for capability in ("math", "chart"):
        (folder / capability).mkdir(parents=True)
        rows = [item(capability, n) for n in range(6)]
        path = folder / capability / "test-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, row_group_size=2)
    return folder


def capabilities(folder: Path) -> Pool:
    return Pool.union(**{name: Pool.datbench(f"{folder}/{name}/*.parquet") for name in ("math", "chart")})


def test_roles_are_read(tmp_path: Path) -> None:
    files = Pool.datbench(f"{write_release(tmp_path / 'release')}/*/*.parquet").located()
    shards = files.listing().shards
    types = files.role_types(shards)
    assert types["image"] == pa.binary() and types["answers"] == pa.list_(pa.string())
    batch = next(files.batches(shards[0], ("uid", "image", "answers", "prefix", "suffix", "source"), types))
    assert batch.roles.slice(1, 1).to_pylist() == [
        {
            "uid": "db_chart_000001",
            "image": b"chart1",
            "answers": ["1", "1.0"],
            "prefix": "Look. ",
            "suffix": " Answer briefly.",
            "source": "ChartQA",
        }
    ]


def test_the_capability_is_the_part_and_kept_items_leave_as_they_came(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "release")
    recipe = capabilities(folder) | Keep(col("answer").is_in(["1", "2"]), reason="answer.other")
    run(recipe, tmp_path / "out")
    uids = ledger(tmp_path / "out").filter(pc.field("keep"))["uid"].to_pylist()
    assert sorted(uids) == [f"db_{name}_00000{n}" for name in ("chart", "math") for n in (1, 2)]
    found = export(str(tmp_path / "out"))
    for record, name in zip(found.files, ("chart", "math"), strict=True):
        table = pq.read_table(tmp_path / "out" / "export" / record.name)
        whole = pq.read_table(folder / name / "test-00000-of-00001.parquet")
        assert table.schema.equals(whole.schema, check_metadata=True)
        assert table.to_pylist() == [item(name, 1), item(name, 2)]


def test_yaml_spells_it(tmp_path: Path) -> None:
    text = """
pool:
  union:
    math: {datbench: "math/*.parquet"}
    chart: {datbench: ["chart/*.parquet"], metadata: null, options: choices}
stages: []
"""
    chart = Pool.datbench("chart/*.parquet", metadata=None, options="choices")
    made = Pool.union(math=Pool.datbench("math/*.parquet"), chart=chart)
    assert recipe_from_yaml(text, "r.yaml", {}).pool == made
    assert "metadata" not in chart.roles
