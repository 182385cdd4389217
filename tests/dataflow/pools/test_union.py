"""Pools of several kinds as one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.passes import scoring
from poolsieve.dataflow.passes.estimate import describe_plan
from poolsieve.dataflow.passes.plan import prepare
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.yaml import recipe_from_yaml
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.filters import Keep, Score, Top, col, scorer
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests.conftest import decide, derived_uid, ledger, run
from tests.dataflow.exported import write_tar

TEXTS = ("one two three", "four", "five six", "seven eight nine ten")


def letters(text: pa.Array) -> pa.Array:
    """A user's own scorer."""
    return pa.array([None if value is None else len(value) for value in text.to_pylist()], pa.float32())


def write_parts(folder: Path) -> Path:
    """Two Parquet files, two files of JSON lines, and a tar; files of two parts have the same name."""
    for name in ("parquet", "lines", "tars"):
        (folder / name).mkdir(parents=True)
    for i, some in enumerate((TEXTS, TEXTS[1:])):
        sizes = pa.array(range(len(some)), pa.int32())
        table = pa.table({"caption": some, "size": sizes, "answers": [[text, "x"] for text in some]})
        pq.write_table(table, folder / "parquet" / f"{i}.parquet", row_group_size=2)
        rows = [{"body": text, "id": f"line-{i}-{n}", "size": n + 0.5} for n, text in enumerate(some)]
        (folder / "lines" / f"{i}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tar(folder / "tars" / "0.tar", 0, 6)
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return write_parts(tmp_path / "parts")


def fingerprint_of(out: Path) -> dict[str, str]:
    """SHA-256 of every ledger file of the current decision."""
    folder = out / read_manifest(str(out)).ledger
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def pools(folder: Path, **more: Any) -> dict[str, Pool]:
    return {
        "tars": Pool.webdataset(f"{folder}/tars/*.tar", uid="json:uid", text="txt", image="jpg;png"),
        "lines": Pool.jsonl(f"{folder}/lines/*.jsonl", uid="id", text="body", size="size"),
        "parquet": Pool.parquet(f"{folder}/parquet/*.parquet", text="caption", size="size", answers="answers", **more),
    }


def recipe_of(named: dict[str, Pool]) -> Recipe:
    return (
        Pool.union(**named)
        | Keep(col("text").word_count() >= 2, reason="text.short")
        | Score(letters=scorer(letters, reads=("text",), columns={"n": "float32"}))
        | Top("letters", count=2, by="pool")
    )


def test_every_row_of_every_part_has_a_line_with_its_part(parts: Path, tmp_path: Path) -> None:
    summary = run(recipe_of(pools(parts)), tmp_path / "out")
    found = ledger(tmp_path / "out").to_pylist()
    assert summary.rows == len(found) == 7 + 7 + 6
    kept = [row for row in found if row["keep"]]
    assert sorted(row["pool"] for row in kept) == ["lines"] * 2 + ["parquet"] * 2 + ["tars"] * 2
    lines = [row["uid"] for row in found if row["uid"].startswith("line-")]
    assert sorted(lines) == sorted(f"line-{i}-{n}" for i, count in enumerate((4, 3)) for n in range(count))
    assert derived_uid("parquet/1.parquet", 2) in {row["uid"] for row in found}


def test_the_same_files_in_two_parts_are_two_rows(parts: Path, tmp_path: Path) -> None:
    one = pools(parts)["parquet"]
    run(Pool.union(one, one) | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "out")
    uids = ledger(tmp_path / "out")["uid"].to_pylist()
    assert len(uids) == len(set(uids)) == 14


def test_a_role_has_the_type_of_all_parts_and_is_null_where_a_part_has_none(parts: Path) -> None:
    files = Pool.union(**pools(parts)).located()
    shards = files.listing().shards
    types = files.role_types(shards)
    assert types["size"] == pa.float64()
    assert types["answers"] == pa.list_(pa.string())
    roles = ("pool", "answers", "size", "uid")
    rows = [row for shard in shards for batch in files.batches(shard, roles, types) for row in batch.roles.to_pylist()]
    assert [row["pool"] for row in rows] == ["lines"] * 7 + ["parquet"] * 7 + ["tars"] * 6
    assert rows[0] == {"pool": "lines", "answers": None, "size": 0.5, "uid": "line-0-0"}
    assert rows[7]["answers"] == [TEXTS[0], "x"] and rows[7]["size"] == 0.0
    assert rows[-1]["size"] is None and len(rows[-1]["uid"]) == 32


def test_lists_of_texts_can_be_roles_of_lines(tmp_path: Path) -> None:
    rows: list[Any] = [{"o": []}, {"o": ["x"]}, {"o": ["y", None]}, {"o": [1]}, {"o": "z"}, {"o": None}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = Pool.jsonl(f"{tmp_path}/a.jsonl", options="o").located()
    shards = files.listing().shards
    types = files.role_types(shards)
    assert types == {"options": pa.list_(pa.string())}
    (batch,) = files.batches(shards[0], ("options",), types)
    assert batch.roles.column(0).to_pylist() == [[], ["x"], ["y", None], None, None, None]
    assert {row: error.kind for row, error in batch.role_errors["options"].items()} == {3: "json_type", 4: "json_type"}
    with pytest.raises(PlanError, match="holds a dict: name a field"):
        (tmp_path / "b.jsonl").write_text('{"o": {"a": 1}}\n')
        other = Pool.jsonl(f"{tmp_path}/b.jsonl", options="o").located()
        other.role_types(other.listing().shards)


def test_types_that_do_not_go_together_are_refused_with_the_parts(parts: Path, tmp_path: Path) -> None:
    named = pools(parts)
    named["lines"] = Pool.jsonl(f"{parts}/lines/*.jsonl", text="body", size="id")
    with pytest.raises(PlanError, match=r"'size' has types .*string in lines, int32 in parquet"):
        prepare(recipe_of(named), str(tmp_path / "out"))


def test_an_unknown_role_and_a_part_without_files_are_refused(parts: Path, tmp_path: Path) -> None:
    rule = Keep(col("txt") == "a", reason="text.a")
    with pytest.raises(PlanError, match="txt"):
        prepare(Pool.union(**pools(parts)) | rule, str(tmp_path / "out"))
    named = {**pools(parts), "none": Pool.parquet(f"{parts}/none/*.parquet", text="caption")}
    with pytest.raises(PlanError, match=r"part 'none' of the pool: .*no file matches"):
        prepare(recipe_of(named), str(tmp_path / "out"))
    named["none"] = Pool.parquet(f"{parts}/parquet/*.parquet", text="capton")
    with pytest.raises(PlanError, match=r"part 'none' of the pool: .*capton"):
        prepare(recipe_of(named), str(tmp_path / "out"))


def test_determinism_order_of_parts_workers_split_and_history(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = pools(parts)
    run(recipe_of(named), tmp_path / "one")
    run(recipe_of(dict(reversed(named.items()))), tmp_path / "two", workers=2)
    run(Pool.union(**named) | Keep(col("text").word_count() >= 4, reason="text.short"), tmp_path / "steps")
    run(recipe_of(named), tmp_path / "steps")
    for module in ("formats.base", "formats.parquet.read", "formats.webdataset.read", "formats.jsonl.read"):
        monkeypatch.setattr(f"poolsieve.dataflow.pools.{module}.BATCH_ROWS", 2)
    run(recipe_of(named), tmp_path / "small")
    first = fingerprint_of(tmp_path / "one")
    assert len(first) == 5
    for other in ("two", "steps", "small"):
        assert fingerprint_of(tmp_path / other) == first
    found = ledger(tmp_path / "one").sort_by([("uid", "ascending")])
    split = recipe_of({**named, "parquet": pools(parts, split_bytes=1)["parquet"]})
    run(split, tmp_path / "split")
    assert ledger(tmp_path / "split").sort_by([("uid", "ascending")]).to_pylist() == found.to_pylist()


def test_resume_after_a_kill_gives_the_same_bytes(parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(recipe_of(pools(parts)), tmp_path / "whole")
    real, done = scoring.write_rows, []

    def killed(url: str, tables: Sequence[pa.Table]) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(url)
        real(url, tables)

    monkeypatch.setattr(scoring, "write_rows", killed)
    with pytest.raises((KeyboardInterrupt, PoolsieveError, RuntimeError)):
        run(recipe_of(pools(parts)), tmp_path / "out")
    monkeypatch.setattr(scoring, "write_rows", real)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").iterdir()}
    assert len(kept) == 2
    run(recipe_of(pools(parts)), tmp_path / "out")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def stored(out: Path) -> set[str]:
    return {path.name for path in (out / "scores").rglob("*.parquet")}


def test_a_part_more_is_scored_alone(parts: Path, tmp_path: Path) -> None:
    named = pools(parts)
    last = named.pop("tars")
    run(recipe_of(named), tmp_path / "out")
    before, folders = stored(tmp_path / "out"), {path.name for path in (tmp_path / "out" / "scores").iterdir()}
    summary = run(recipe_of({**named, "tars": last}), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "scores").iterdir()} == folders
    new = stored(tmp_path / "out") - before
    assert before < stored(tmp_path / "out") and all(name.startswith("0-") for name in new)
    assert summary.work.scored["letters"] == 4
    run(recipe_of({**named, "tars": last}), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")


def test_a_part_read_in_another_way_is_scored_anew_and_no_other(parts: Path, tmp_path: Path) -> None:
    named = pools(parts)
    run(recipe_of(named), tmp_path / "out")
    decision = read_manifest(str(tmp_path / "out")).decision
    named["lines"] = Pool.jsonl(f"{parts}/lines/*.jsonl", uid="id", text="id", size="size")
    summary = run(recipe_of(named), tmp_path / "out")
    assert summary.decision != decision
    assert summary.work.scored["text.word_count"] == 7
    run(recipe_of(named), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")


def doubled(text: pa.Array, earlier: pa.Array) -> pa.Array:
    """A user's scorer of an earlier score."""
    return pa.array([2 * value for value in earlier.to_pylist()], pa.float32())


def test_a_score_of_a_score_is_made_anew_with_it(parts: Path, tmp_path: Path) -> None:
    def recipe(source: str) -> Recipe:
        named = pools(parts) | {"lines": Pool.jsonl(f"{parts}/lines/*.jsonl", uid="id", text=source, caption="id")}
        return (
            Pool.union(**named)
            | Score(n=scorer(letters, reads=("text",), columns={"n": "float32"}))
            | Score(m=scorer(doubled, reads=("pool", "n"), columns={"m": "float32"}))
            | Keep(col("m") > 0, reason="m.none")
        )

    run(recipe("body"), tmp_path / "out")
    summary = run(recipe("id"), tmp_path / "out")
    assert summary.work.scored["m"] == 7
    run(recipe("id"), tmp_path / "fresh")
    assert fingerprint_of(tmp_path / "out") == fingerprint_of(tmp_path / "fresh")


def test_a_role_that_no_scorer_reads_costs_nothing(parts: Path, tmp_path: Path) -> None:
    run(recipe_of(pools(parts)), tmp_path / "out")
    summary = run(recipe_of(pools(parts, other="caption")), tmp_path / "out")
    assert not any(summary.work.scored.values())


def test_decide_needs_no_pool(parts: Path, tmp_path: Path) -> None:
    recipe = recipe_of(pools(parts))
    run(recipe, tmp_path / "out")
    shutil.move(parts, tmp_path / "gone")
    looser = Pool.union(**pools(parts)) | Keep(col("text").word_count() >= 3, reason="text.short")
    assert decide(looser, tmp_path / "out").kept == 2 * 2 + 1 + 1 + 4


def test_a_sample_is_of_the_union(parts: Path, tmp_path: Path) -> None:
    pool = Pool.union(**pools(parts)).sample(fraction=0.5)
    whole = run(recipe_of(pools(parts)), tmp_path / "whole").rows
    part = run(pool | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "part").rows
    assert 0 < part < whole
    taken = set(ledger(tmp_path / "part")["uid"].to_pylist())
    assert taken < set(ledger(tmp_path / "whole")["uid"].to_pylist())


def test_what_can_not_be_a_part_is_refused(parts: Path) -> None:
    one = pools(parts)["parquet"]
    with pytest.raises(PlanError, match="needs pools"):
        Pool.union()
    with pytest.raises(PlanError, match="is a union itself"):
        Pool.union(a=Pool.union(one))
    with pytest.raises(PlanError, match="is a sample"):
        Pool.union(a=one.sample(0.5))
    with pytest.raises(PlanError, match="token files"):
        Pool.union(a=Pool.tokens("a.npy"))
    with pytest.raises(PlanError, match="has a role 'pool'"):
        Pool.union(a=Pool.parquet("a", pool="split"))
    with pytest.raises(PlanError, match="a name has letters"):
        Pool.union(**{"../a": one})
    with pytest.raises(PlanError, match="names two parts"):
        Pool.union(one, **{"0": one})
    with pytest.raises(PlanError, match="give a pool"):
        Pool.union(a="a/*.parquet")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="has no parts"):
        Pool("parquet", ("a",), parts={"a": one})


def test_yaml_and_python_are_the_same_union(parts: Path) -> None:
    text = f"""
pool:
  union:
    lines: {{jsonl: ["{parts}/lines/*.jsonl"], uid: id, text: body}}
    parquet: {{parquet: ["{parts}/parquet/*.parquet"], text: caption}}
  sample: 0.5
stages:
  - keep: {{score: text.word_count, at_least: 2, reason: text.short}}
"""
    lines = Pool.jsonl(f"{parts}/lines/*.jsonl", uid="id", text="body")
    captions = Pool.parquet(f"{parts}/parquet/*.parquet", text="caption")
    made = Pool.union(parquet=captions, lines=lines).sample(0.5)
    assert recipe_from_yaml(text, "r.yaml", {}) == made | Keep(col("text").word_count() >= 2, reason="text.short")
    listed = text.replace("lines: {jsonl", "- {jsonl").replace("parquet: {parquet", "- {parquet")
    assert recipe_from_yaml(listed, "r.yaml", {}).pool == Pool.union(lines, captions).sample(0.5)
    with pytest.raises(PlanError, match=r"r.yaml, line 6, pool: `text` stands in each part"):
        recipe_from_yaml(text.replace("  sample: 0.5", "  text: body"), "r.yaml", {})
    with pytest.raises(PlanError, match="part lines"):
        recipe_from_yaml(text.replace("{jsonl: [", "{josnl: ["), "r.yaml", {})


def test_a_plan_and_a_report_say_where_the_parts_are(parts: Path, tmp_path: Path) -> None:
    import poolsieve

    recipe = recipe_of(pools(parts))
    plan = describe_plan(prepare(recipe, str(tmp_path / "out")))
    assert plan.shards == 5 and plan.pool.root.startswith(f"lines: {parts}/lines, parquet: ")
    assert plan.passes[0].nbytes > 0
    made = poolsieve.run(recipe, tmp_path / "out", progress=False)
    page = Path(made.report).read_text()
    assert "lines/0.jsonl" in page and "seven eight nine ten" in page


def test_a_file_that_names_another_part_is_refused(parts: Path) -> None:
    files = Pool.union(**pools(parts)).located()
    shard = files.listing().shards[0]
    with pytest.raises(PoolsieveError, match="none of the pool's parts"):
        files.url(replace(shard, path="other/0.jsonl"))


def test_an_out_among_the_files_of_a_part_is_refused(parts: Path) -> None:
    with pytest.raises(PlanError, match="lies inside the pool"):
        prepare(recipe_of(pools(parts)), str(parts))


# Exports.


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_parts_of_one_format_leave_as_they_are_and_no_file_has_two(parts: Path, tmp_path: Path) -> None:
    one = Pool.parquet(f"{parts}/parquet/0.parquet", text="caption")
    two = Pool.parquet(f"{parts}/parquet/1.parquet", text="caption")
    run(Pool.union(b=one, a=two) | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "out")
    found = export(str(tmp_path / "out"))
    assert [record.name for record in found.files] == [f"data/train-{i:05d}-of-00002.parquet" for i in range(2)]
    assert [record.inputs[0].path for record in found.files] == ["a/1.parquet", "b/0.parquet"]
    first = pq.read_table(tmp_path / "out" / "export" / found.files[0].name)
    assert first.schema == pq.read_schema(parts / "parquet" / "1.parquet")
    assert first["caption"].to_pylist() == [text for text in TEXTS[1:] if " " in text]


def test_parts_of_several_formats_become_one_table_of_their_roles(parts: Path, tmp_path: Path) -> None:
    run(Pool.union(**pools(parts)) | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "out")
    with pytest.raises(PlanError, match=r"several formats \(lines is jsonl, parquet is parquet, tars is webdataset\)"):
        export(str(tmp_path / "out"))
    export(str(tmp_path / "out"), format="parquet", scores=["text.word_count"])
    rows = rows_in(tmp_path / "out" / "export")
    assert list(rows[0]) == ["uid", "answers", "image", "pool", "size", "text", "text.word_count"]
    assert [row["pool"] for row in rows] == ["lines"] * 5 + ["parquet"] * 5 + ["tars"] * 4
    assert rows[0]["uid"] == "line-0-0" and rows[5]["answers"] == [TEXTS[0], "x"]
    assert rows[-1]["image"]["bytes"] and rows[0]["image"] is None
    schema = pq.read_schema(next((tmp_path / "out" / "export" / "data").iterdir()))
    assert b"Image" in (schema.metadata or {})[b"huggingface"]


def test_a_table_of_roles_and_a_copy_are_two_exports(parts: Path, tmp_path: Path) -> None:
    pool = Pool.union(Pool.parquet(f"{parts}/parquet/*.parquet", text="caption"))
    run(pool | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "out")
    export(str(tmp_path / "out"))
    with pytest.raises(PlanError, match="--replace"):
        export(str(tmp_path / "out"), format="parquet")
    export(str(tmp_path / "out"), format="parquet", replace=True)
    assert list(rows_in(tmp_path / "out" / "export")[0]) == ["uid", "pool", "text"]


def test_a_union_that_moved_is_exported_from_where_it_is(parts: Path, tmp_path: Path) -> None:
    run(Pool.union(**pools(parts)) | Keep(col("text").word_count() >= 2, reason="text.short"), tmp_path / "out")
    shutil.move(parts, tmp_path / "there")
    with pytest.raises((PoolsieveError, OSError)):
        export(str(tmp_path / "out"), format="jsonl")
    now = pools(tmp_path / "there")
    export(str(tmp_path / "out"), format="jsonl", pool=Pool.union(**now))
    del now["tars"]
    with pytest.raises(PlanError, match="has the parts lines, parquet, tars, but pool= has lines, parquet"):
        export(str(tmp_path / "out"), format="jsonl", pool=Pool.union(**now), replace=True)
