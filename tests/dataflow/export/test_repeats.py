"""`Repeat`: the ledger says how often a row leaves, and all that writes kept rows honours it."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import poolsieve
from poolsieve.dataflow import Pool
from poolsieve.dataflow.export.export import export
from poolsieve.dataflow.export.index import ExportIndex
from poolsieve.dataflow.recipes.recipe import Recipe
from poolsieve.dataflow.recipes.source import RecipeSource
from poolsieve.dataflow.store.manifest import read_manifest
from poolsieve.dataflow.store.shard_lines import read_shards
from poolsieve.filters import Cap, Edit, Keep, Repeat, Score, Top, Unique, col, dedup, editor, scorer
from poolsieve.scoring_models.base.errors import PlanError
from tests.conftest import decide, fingerprint_of, ledger, run
from tests.dataflow.exported import add, contents

SIZES = (1, 1, 7, 2, 3, 1)
"""Of the clusters, in the pool's order; files end where one does not."""

FILES = (2, 9, 4)
TIMES = {1: 1, 2: 2, 5: 4}
LEAVES = {0: 1, 1: 1, 2: 4, 9: 2, 11: 2, 14: 1}
"""Row of the pool, counted over files, that stands for its cluster -> how often it leaves."""


def uid(i: int) -> str:
    return f"{i * 7919:032x}"


def rows() -> list[dict[str, Any]]:
    texts = [f"text {k}" for k, size in enumerate(SIZES) for _ in range(size)]
    return [{"uid": uid(i), "text": text, "best": 100 - i} for i, text in enumerate(texts)]


def files() -> list[list[dict[str, Any]]]:
    ends = np.cumsum(FILES)
    return [rows()[end - n : end] for n, end in zip(FILES, ends, strict=True)]


def parquet(folder: Path) -> Pool:
    for i, part in enumerate(files()):
        pq.write_table(pa.Table.from_pylist(part), folder / f"{i}.parquet", row_group_size=3)
    return Pool.parquet(f"{folder}/*.parquet", uid="uid", text="text", best="best")


def jsonl(folder: Path) -> Pool:
    for i, part in enumerate(files()):
        (folder / f"{i}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return Pool.jsonl(f"{folder}/*.jsonl", uid="uid", text="text", best="best")


def tars(folder: Path) -> Pool:
    for i, part in enumerate(files()):
        with tarfile.open(folder / f"{i}.tar", "w") as archive:
            for k, row in enumerate(part):
                add(archive, f"{i}{k:04d}.txt", row["text"].encode())
                add(archive, f"{i}{k:04d}.json", json.dumps(row).encode())
    return Pool.webdataset(f"{folder}/*.tar", uid="json:uid", text="txt", best="json:best")


POOLS: dict[str, Callable[[Path], Pool]] = {"parquet": parquet, "jsonl": jsonl, "webdataset": tars}


def stages(pool: Pool) -> Recipe:
    return pool | dedup.exact(best="best") | Repeat("dup", TIMES)


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, write in POOLS.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "pool").mkdir()
        run(stages(write(folder / "pool")), folder / "out")
        made[name] = folder / "out"
    return made


def values_in(found: ExportIndex, name: str = "uid") -> Counter[str]:
    """The uids of an export (or other texts of its rows), as often as they are there."""
    out: Counter[str] = Counter()
    for file in found.files:
        path = Path(found.target) / file.name
        if path.suffix == ".parquet":
            out.update(pq.read_table(path)[name].to_pylist())
        elif path.suffix == ".tar":
            with tarfile.open(path) as archive:
                members = archive.getnames()
                assert len(members) == len(set(members))
                read = [archive.extractfile(member) for member in members if member.endswith(".json")]
                out.update(json.load(one)[name] for one in read if one is not None)
        else:
            data = path.read_bytes()
            if path.suffix == ".zst":
                data = pa.CompressedInputStream(io.BytesIO(data), "zstd").read()
            out.update(json.loads(line)[name] for line in data.splitlines())
    return out


EXPECTED = Counter({uid(i): times for i, times in LEAVES.items()})


@pytest.mark.parametrize("format", ["same", *POOLS])
@pytest.mark.parametrize("pool", POOLS)
def test_every_format_has_a_row_as_often_as_it_leaves(
    outs: dict[str, Path], tmp_path: Path, pool: str, format: str
) -> None:
    found = export(str(outs[pool]), target=tmp_path, format=format)
    assert values_in(found) == EXPECTED and found.rows == sum(LEAVES.values())
    assert sum(record.rows for file in found.files for record in file.inputs) == found.rows


def test_the_ledger_and_all_counts_tell_kept_rows_from_repeated_ones(outs: dict[str, Path]) -> None:
    out = outs["parquet"]
    lines = ledger(out).to_pylist()
    assert ledger(out).schema.field("repeat").type == pa.int64()
    assert {i: line["repeat"] for i, line in enumerate(lines) if line["keep"]} == LEAVES
    assert all(line["repeat"] is None for line in lines if not line["keep"])
    manifest, summary = read_manifest(str(out)), poolsieve.open(out).summary
    counts = manifest.rows
    assert counts.rows_in == counts.kept + counts.dropped + counts.quarantined == sum(SIZES)
    assert (counts.kept, counts.repeated, summary.repeated) == (len(LEAVES), sum(LEAVES.values()), sum(LEAVES.values()))
    assert [(line.kept, line.repeated) for line in read_shards(str(out), manifest.decision)] == [(2, 2), (2, 6), (2, 3)]


def test_the_list_of_uids_is_the_export(outs: dict[str, Path], tmp_path: Path) -> None:
    out = outs["webdataset"]
    subset = out / "decisions" / read_manifest(str(out)).decision / "subset.npy"
    assert np.load(subset)["f1"].tolist() == sorted(i * 7919 for i, n in LEAVES.items() for _ in range(n))
    export(str(out), target=tmp_path / "kept")
    listed = export(str(out), target=tmp_path / "listed", uids=subset)
    assert contents(tmp_path / "kept") == contents(tmp_path / "listed") and listed.missing == 0


def test_scores_go_along_and_dropped_rows_leave_once(outs: dict[str, Path], tmp_path: Path) -> None:
    for scores in (True, ["repeat"]):
        found = export(str(outs["parquet"]), target=tmp_path / str(scores is True), scores=scores)
        tables = [pq.read_table(Path(found.target) / file.name) for file in found.files]
        assert Counter(pa.concat_tables(tables)["repeat"].to_pylist()) == {1: 3, 2: 4, 4: 4}
    dropped = export(str(outs["parquet"]), target=tmp_path / "dropped", select="dup.*")
    assert dropped.rows == sum(SIZES) - len(LEAVES)


def shouted(text: Any) -> Any:
    """In capitals."""
    return [one.upper() for one in text.to_pylist()]


@pytest.mark.parametrize("pool", ["parquet", "jsonl"])
def test_edited_texts_are_repeated(tmp_path: Path, pool: str) -> None:
    (tmp_path / "pool").mkdir()
    recipe = (
        POOLS[pool](tmp_path / "pool") | Edit(text=editor(shouted)) | dedup.exact(best="best") | Repeat("dup", TIMES)
    )
    run(recipe, tmp_path / "out")
    found = export(str(tmp_path / "out"), columns={"text": "text"}, recipe=recipe)
    expected = Counter({rows()[i]["text"].upper(): times for i, times in LEAVES.items()})
    assert values_in(found, "text") == expected


def test_an_export_that_was_stopped_goes_on(outs: dict[str, Path], tmp_path: Path) -> None:
    how = {"target": tmp_path, "target_bytes": 1}
    found = export(str(outs["jsonl"]), **how)  # type: ignore[arg-type]
    before = contents(tmp_path)
    assert len(found.files) == len(FILES)
    (tmp_path / found.files[1].name).unlink()
    assert values_in(export(str(outs["jsonl"]), **how)) == EXPECTED  # type: ignore[arg-type]
    assert contents(tmp_path) == before


def test_kept_has_positions_as_often_and_filters_warn(outs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("parquet", "jsonl"):
        kept = poolsieve.kept(outs[name], cache=tmp_path)
        assert len(kept) == len(LEAVES)
        assert kept.indices(kept.urls, sum(SIZES)).tolist() == [i for i, n in LEAVES.items() for _ in range(n)]
        assert kept.count([uid(2), uid(3), uid(9)]).tolist() == [4, 0, 2] and kept(uid(2)) and not kept(uid(3))
        scored = poolsieve.kept(outs[name], scores=["best", "repeat"], cache=tmp_path)
        assert (scored.score("best", uid(2)), scored.score("repeat", uid(2))) == (98, 4)
        with pytest.warns(UserWarning, match="6 kept rows leave 11 times, and a filter gives each once"):
            kept.by("uid")


class Placed:
    """The rows, each time anew, with where they are."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for k, part in enumerate(files()):
            yield from ({**row, "file": f"{k}.parquet", "row": i} for i, row in enumerate(part))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_of_datasets_has_copies_over_workers_and_states(
    workers: int, outs: dict[str, Path], tmp_path: Path
) -> None:
    torch_data = pytest.importorskip("torch.utils.data")
    datasets = pytest.importorskip("datasets")
    kept = poolsieve.kept(outs["parquet"], cache=tmp_path)
    where = [str(outs["parquet"].parent / "pool" / f"{i}.parquet") for i in range(len(FILES))]

    def stream() -> Any:
        rows = datasets.load_dataset("parquet", data_files=where, split="train", streaming=True, cache_dir=tmp_path)
        return kept.stream(rows, "uid")

    found = [row["uid"] for row in torch_data.DataLoader(stream(), batch_size=None, num_workers=workers)]
    assert Counter(found) == EXPECTED
    if not workers:
        for taken in range(1, len(found)):
            first, rest = stream(), stream()
            before = [row["uid"] for row in itertools.islice(first, taken)]
            rest.load_state_dict(first.state_dict())
            at_once = stream()  # saved where it was loaded, and saved between two copies that come of that
            at_once.load_state_dict(rest.state_dict())
            before.append(next(iter(at_once), {"uid": ""})["uid"])
            last = stream()
            last.load_state_dict(at_once.state_dict())
            assert before[:-1] + [row["uid"] for row in rest] == found
            assert taken == len(found) or before + [row["uid"] for row in last] == found


def test_by_uid_repeats_are_refused_where_uids_repeat_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"uid": "same", "text": t, "best": 1}) + "\n" for t in "aab"))
    run(stages(Pool.jsonl(f"{tmp_path}/a.jsonl", uid="uid", text="text", best="best")), tmp_path / "out")
    kept = poolsieve.kept(tmp_path / "out", cache=tmp_path / "cache")
    with pytest.raises(PlanError, match=r"2 rows were kept, of 1 uids, and some leave several times"):
        kept.stream([], "uid")
    assert [kept.times(("a.jsonl", i)) for i in range(4)] == [2, 0, 1, 0]
    with pytest.raises(PlanError, match=r"of a uid ask kept\.count"):
        kept.times("same")  # type: ignore[arg-type]


def test_a_stream_gives_a_row_as_often_and_goes_on_between_two_copies(outs: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    kept = poolsieve.kept(outs["parquet"], cache=tmp_path)
    expected = [row["uid"] for i, row in enumerate(Placed()) for _ in range(LEAVES.get(i, 0))]
    by_key = kept.stream(Placed(), keep=lambda row: kept.times((row["file"], row["row"])))
    for stream in (kept.stream(Placed(), "uid"), by_key):
        assert [row["uid"] for row in stream] == expected
        for taken in range(len(expected) + 1):
            first = [row.pop("uid") for row in itertools.islice(stream, taken)]
            state = pickle.loads(pickle.dumps(stream.state_dict()))
            stream.load_state_dict(state)
            assert stream.state_dict() == state
            assert first + [row["uid"] for row in stream] == expected
            assert [row["uid"] for row in stream] == expected


def test_other_rules_and_tables_are_decisions(outs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    folder.mkdir()
    pool, out = parquet(folder), tmp_path / "out"
    first = run(stages(pool), out)
    same = fingerprint_of(out)
    for stage, table, leaves in ((Cap("dup", 2), {2: 3}, 15), (Unique("dup"), {3: 2}, 8), (Unique("dup"), {9: 5}, 6)):
        found = decide(pool | dedup.clusters(near=False, best="best") | stage | Repeat("dup", table), out)
        assert found.repeated == leaves and export(str(out), target=tmp_path / str(leaves)).rows == leaves
    best = Score(worst=scorer(worst, reads=("best",), columns={"": "int64"}))
    by = pool | best | dedup.clusters(near=False) | Unique("dup", best="worst") | Repeat("dup", TIMES, best="worst")
    found = run(by, out)
    assert {i: n for i, n in enumerate(ledger(out)["repeat"].to_pylist()) if ledger(out)["keep"][i].as_py()} == {
        **{0: 1, 1: 1, 8: 4, 10: 2, 13: 2, 14: 1}
    }
    later = pool | dedup.exact(best="best") | Repeat("dup", TIMES) | Keep(col("best") > 90, reason="best.low")
    assert run(later, out).repeated == 8
    assert run(stages(pool), out).repeated == first.repeated and fingerprint_of(out) == same


def worst(best: Any) -> Any:
    """Orders rows the other way round."""
    return [-one for one in best.to_pylist()]


def test_a_score_of_that_name_repeats_nothing(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    made = parquet(tmp_path / "pool") | Score(repeat=scorer(worst, reads=("best",), columns={"": "int64"}))
    summary = run(made | Keep(col("repeat") < 0, reason="x.y"), tmp_path / "out")
    assert summary.repeated is None and "repeated" not in (tmp_path / "out" / "manifest.json").read_text()
    assert export(str(tmp_path / "out")).rows == sum(SIZES) == len(poolsieve.kept(tmp_path / "out"))
    with pytest.raises(PlanError, match="'repeat' exists already"):
        run(made | dedup.exact() | Repeat("dup", TIMES), tmp_path / "out")


def first_id(tokens: Any) -> dict[str, list[int]]:
    """Clusters of chunks by their first id, as somebody's own scorer may name them."""
    return {"size": [chunk[0] for chunk in tokens.to_pylist()], "rank": [0 for _ in tokens]}


def test_numbers_and_ids_of_chunks_are_repeated(tmp_path: Path) -> None:
    chunks = np.array([[1, 9], [3, 8], [2, 7], [3, 6], [1, 5]], dtype="<u2")
    (tmp_path / "pool").mkdir()
    chunks.tofile(tmp_path / "pool" / "a.npy")
    sizes = Score(own=scorer(first_id, reads=("tokens",), columns={"size": "int64", "rank": "int64"}))
    pool = Pool.tokens(f"{tmp_path}/pool/*.npy", length=2)
    run(pool | sizes | Repeat("own", {2: 2, 3: 3}) | Top("own.size", count=4), tmp_path / "out")
    kept = np.flatnonzero(ledger(tmp_path / "out")["keep"].to_numpy())
    found = export(str(tmp_path / "out"), target=tmp_path / "indices", format="indices")
    numbers = np.fromfile(tmp_path / "indices" / found.files[0].name, "<u4").tolist()
    assert Counter(numbers) == Counter({int(i): int(chunks[i][0]) for i in kept}) and numbers[-3:] == [3] * 3
    for format in ("same", "megatron"):
        found = export(str(tmp_path / "out"), target=tmp_path / format, format=format)
        (file,) = (tmp_path / format / file.name for file in found.files if not file.name.endswith(".idx"))
        ids = np.frombuffer(file.read_bytes(), "<u2").reshape(-1, 2).tolist()
        assert ids == [row for i in kept for row in [chunks[i].tolist()] * int(chunks[i][0])]
        assert found.rows == len(ids) == 9


def test_yaml_has_a_table(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    pool = parquet(tmp_path / "pool")
    (tmp_path / "r.yaml").write_text(
        f"pool: {{parquet: ['{pool.urls[0]}'], text: text}}\n"
        "stages: [dedup.exact, {repeat: {by: dup, table: {1: 1, 2: 2, 5: 4}}}]\n"
    )
    assert run(RecipeSource.read(str(tmp_path / "r.yaml"), {}), tmp_path / "out").repeated == sum(LEAVES.values())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "give a table"),
        ([1, 2], "give a table"),
        ({1: 0}, "to drop rows use Cap or Keep"),
        ({2: -1}, "to drop rows use Cap or Keep"),
        ({2: 1.5}, "times are a whole number"),
        ({2: True}, "times are a whole number"),
        ({0: 1}, "size of a cluster is a whole number"),
        ({"2": 1}, "size of a cluster is a whole number"),
        ({2: 10**9}, "more than 1,000 times"),
    ],
)
def test_tables_that_mean_nothing_are_refused(table: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        Repeat("dup", table)
