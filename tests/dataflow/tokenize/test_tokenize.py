"""Documents of a pool as token files: what stands in them, who owns the folder, and what a killed command leaves."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import poolsieve
from poolsieve.dataflow import Pool, fs, leases
from poolsieve.dataflow.export.target import LEASES
from poolsieve.dataflow.pools.formats.parquet.writer import CHUNKING, CHUNKING_KEY
from poolsieve.dataflow.tokenize import write
from poolsieve.dataflow.tokenize.index import TokensIndex
from poolsieve.dataflow.tokenizers import encode
from poolsieve.jobs.cli import main
from poolsieve.scoring_models.base.errors import PlanError, PoolsieveError
from tests import forked
from tests.cluster import job_service
from tests.dataflow.tokenize import tiny
from tests.hub import COMMIT, Hub


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Three files of 75 documents."""
    return tiny.pool_of_documents(tmp_path / "docs")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return tiny.bpe(tmp_path / "tokenizer")


def made(documents: Path, tokenizer: Path, to: Path | str, **options: Any) -> TokensIndex:
    given = {"length": 32, "uid": "id", **options}
    return poolsieve.tokenize(f"{documents}/*.jsonl", to, tokenizer=str(tokenizer), **given)


def texts_of(path: Path) -> list[str | None]:
    return [json.loads(line).get("text") for line in path.read_text().splitlines()]


def test_each_shard_is_one_stream_of_its_documents(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    found = made(documents, tokenizer, tmp_path / "to")
    assert [file.shard.path for file in found.files] == ["docs-0.jsonl", "docs-1.jsonl", "docs-2.jsonl"]
    for file in found.files:
        ids = tiny.ids_of(tmp_path / "to" / file.name)
        assert ids == tiny.plainly(tokenizer, texts_of(documents / file.shard.path))
        assert file.tokens == len(ids) and file.chunks == len(ids) // 32 and file.bytes == 2 * len(ids)
    assert found.counts.rows == found.counts.documents == 75 and found.chunks == sum(f.chunks for f in found.files)
    assert found.dtype == "uint16" and found.tokenizer.eos_id == 0 and found.length == 32
    assert {path.name for path in (tmp_path / "to").iterdir()} == {*found.names, "tokens.json"}


def test_the_table_says_where_each_token_comes_from(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    found = made(documents, tokenizer, tmp_path / "to")
    for shard, file in enumerate(found.files):
        stream = np.array(tiny.ids_of(tmp_path / "to" / file.name))
        table = pq.read_table(tmp_path / "to" / file.beside).to_pylist()
        noted = pq.read_metadata(tmp_path / "to" / file.beside).metadata
        assert json.loads(noted[CHUNKING_KEY.encode()]) == CHUNKING
        texts, covered, before = texts_of(documents / file.shard.path), 0, -1
        for part in table:
            assert part["uid"] == f"d{1000 * shard + part['row']}" and part["chunk"] * 32 + part["start"] == covered
            own = tiny.plainly(tokenizer, [texts[part["row"]]])[part["skipped"] : part["skipped"] + part["tokens"]]
            assert stream[covered : covered + part["tokens"]].tolist() == own
            assert 0 < part["tokens"] <= 32 - part["start"] and (part["row"] > before) == (part["skipped"] == 0)
            covered, before = covered + part["tokens"], part["row"]
        assert covered == file.tokens and table[-1]["chunk"] == (file.tokens - 1) // 32


def test_null_empty_and_unreadable_rows_give_nothing(tokenizer: Path, tmp_path: Path) -> None:
    path = tiny.write_documents(tmp_path / "docs" / "a.jsonl", ["abc", None, "", "de fg"])
    with path.open("a") as file:
        file.write('{"id": "no text"}\n{broken\n{"id": "late", "text": "h"}\n')
    with pytest.warns(UserWarning, match="1 rows could not be read"):
        found = made(tmp_path / "docs", tokenizer, tmp_path / "to")
    counts = found.counts
    assert (counts.rows, counts.documents, counts.empty, counts.unreadable) == (7, 3, 3, 1)
    assert tiny.ids_of(tmp_path / "to" / found.files[0].name) == tiny.plainly(tokenizer, ["abc", "de fg", "h"])
    assert pq.read_table(tmp_path / "to" / found.files[0].beside)["row"].to_pylist()[::1] == [0, 3, 6]


def test_shards_without_a_document(tokenizer: Path, tmp_path: Path) -> None:
    tiny.write_documents(tmp_path / "docs" / "a.jsonl", ["abc"])
    tiny.write_documents(tmp_path / "docs" / "b.jsonl", [None, ""])
    (tmp_path / "docs" / "c.jsonl").write_text("")
    found = made(tmp_path / "docs", tokenizer, tmp_path / "to")
    assert [file.tokens for file in found.files][1:] == [0, 0] and len(found.files) == 3
    for file in found.files[1:]:
        assert (tmp_path / "to" / file.name).read_bytes() == b"" and file.chunks == 0
        assert pq.read_table(tmp_path / "to" / file.beside).num_rows == 0
    with pytest.warns(UserWarning, match="no document gave a token"):
        poolsieve.tokenize(f"{tmp_path}/docs/b.jsonl", tmp_path / "none", tokenizer=str(tokenizer))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_parquet_and_tars_and_their_parts(kind: pa.DataType, tokenizer: Path, tmp_path: Path) -> None:
    texts = [tiny.words(40, i) for i in range(60)]
    pq.write_table(pa.table({"body": pa.array([*texts, None], kind)}), tmp_path / "a.parquet", row_group_size=20)
    pool = Pool.parquet(f"{tmp_path}/a.parquet", text="body", split_bytes=1)
    found = poolsieve.tokenize(pool, tmp_path / "to", tokenizer=str(tokenizer), length=16)
    assert len(found.files) == 4
    ids = [i for file in found.files for i in tiny.ids_of(tmp_path / "to" / file.name)]
    assert ids == tiny.plainly(tokenizer, texts)
    rows = [row for file in found.files for row in pq.read_table(tmp_path / "to" / file.beside)["row"].to_pylist()]
    assert sorted(set(rows)) == list(range(60))


def test_workers_runners_and_storage_change_no_byte(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    made(documents, tokenizer, tmp_path / "one")
    made(documents, tokenizer, tmp_path / "two", workers=3)
    with job_service(tmp_path) as flags:
        made(documents, tokenizer, tmp_path / "far", runner="portable", beam_flags=flags)
    found = made(documents, tokenizer, "memory://tokens-of-a-test")
    one = tiny.contents(tmp_path / "one")
    assert one == tiny.contents(tmp_path / "two") == tiny.contents(tmp_path / "far")
    system, _ = fs.connect("memory://tokens-of-a-test")
    assert all(system.cat_file(f"/tokens-of-a-test/{name}") == one[name] for name in [*found.names, "tokens.json"])


def test_the_size_of_pieces_changes_no_byte(
    documents: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(documents, tokenizer, tmp_path / "one")
    monkeypatch.setattr(encode, "PIECE_BYTES", 50)
    made(documents, tokenizer, tmp_path / "two")
    assert tiny.contents(tmp_path / "one") == tiny.contents(tmp_path / "two")


def test_the_same_again_writes_nothing_and_a_lost_file_is_made_anew(
    documents: Path, tokenizer: Path, tmp_path: Path
) -> None:
    first = made(documents, tokenizer, tmp_path / "to")
    before = tiny.contents(tmp_path / "to")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").iterdir()}
    assert made(documents, tokenizer, tmp_path / "to") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "to").iterdir()} == stamps
    for name in first.files[1].named:
        (tmp_path / "to" / name).unlink()
        assert made(documents, tokenizer, tmp_path / "to") == first
    assert tiny.contents(tmp_path / "to") == before
    kept = tmp_path / "to" / first.files[0].name
    assert kept.stat().st_mtime_ns == stamps[kept]


def test_a_pool_that_grew_or_changed_has_those_shards_done(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    first = made(documents, tokenizer, tmp_path / "to")
    stamps = {file.name: (tmp_path / "to" / file.name).stat().st_mtime_ns for file in first.files}
    tiny.write_documents(documents / "docs-3.jsonl", ["more"])
    tiny.write_documents(documents / "docs-1.jsonl", ["other"])
    made(documents, tokenizer, tmp_path / "to")
    made(documents, tokenizer, tmp_path / "anew")
    assert tiny.contents(tmp_path / "to") == tiny.contents(tmp_path / "anew")
    same = [name for name, stamp in stamps.items() if (tmp_path / "to" / name).stat().st_mtime_ns == stamp]
    assert same == [first.files[0].name, first.files[2].name]


def test_a_pool_that_shrank_is_refused_until_replace(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    first = made(documents, tokenizer, tmp_path / "to")
    (documents / "docs-1.jsonl").unlink()
    with pytest.raises(PlanError, match="this pool has no shards for"):
        made(documents, tokenizer, tmp_path / "to")
    assert (tmp_path / "to" / "tokens.json").exists()
    found = made(documents, tokenizer, tmp_path / "to", replace=True)
    assert found.files == (first.files[0], first.files[2])
    assert {path.name for path in (tmp_path / "to").iterdir()} == {*found.names, "tokens.json"}


def test_other_settings_are_refused_until_replace(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    first = made(documents, tokenizer, tmp_path / "to")
    other = tiny.bpe(tmp_path / "other", size=350)
    before = tiny.contents(tmp_path / "to")
    for what, options in {
        "length 32 and not 64": {"length": 64},
        "dtype uint16 and not uint32": {"dtype": "uint32"},
        "uid field:id and not derived": {"uid": None},
        "end-of-text token 0 and not 1": {"eos": "<|pad|>"},
    }.items():
        with pytest.raises(PlanError, match=f"holds tokens with .*{what}.*--replace"):
            made(documents, tokenizer, tmp_path / "to", **options)
    with pytest.raises(PlanError, match=r"another tokenizer \(tokenizer\).*--replace"):
        made(documents, other, tmp_path / "to")
    assert tiny.contents(tmp_path / "to") == before
    found = made(documents, other, tmp_path / "to", replace=True)
    assert found.id != first.id and {p.name for p in (tmp_path / "to").iterdir()} == {*found.names, "tokens.json"}


def test_strangers_and_the_pool_itself_are_left_alone(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.npy").write_bytes(b"?")
    for replace in (False, True):
        with pytest.raises(PlanError, match=r"no tokenize wrote \(mine.npy\)"):
            made(documents, tokenizer, tmp_path / "to", replace=replace)
        with pytest.raises(PlanError, match="holds the pool"):
            made(documents, tokenizer, documents, replace=replace)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "_export.json").write_text("{}")
    with pytest.raises(PlanError, match="holds an export"):
        made(documents, tokenizer, tmp_path / "export", replace=True)
    (tmp_path / "lies").mkdir()
    (tmp_path / "lies" / "tokens.json").write_text('{"mine": 1}')
    with pytest.raises(PlanError, match="not one of poolsieve's"):
        made(documents, tokenizer, tmp_path / "lies")
    assert len(list(documents.iterdir())) == 3 and (tmp_path / "to" / "mine.npy").exists()


def test_names_that_lead_out_of_the_folder_remove_nothing(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    made(documents, tokenizer, tmp_path / "to")
    path = tmp_path / "to" / "tokens.json"
    (tmp_path / "dear").write_text("x")
    for name in ("../dear", str(tmp_path / "dear")):
        index = json.loads(path.read_text())
        index["files"][0]["beside"] = name
        path.write_text(json.dumps(index))
        with pytest.raises(PlanError, match="no name of a file"):
            made(documents, tokenizer, tmp_path / "to", length=64, replace=True)
    assert (tmp_path / "dear").exists()


def test_wrong_plans_are_refused_before_work(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    for match, pool, options in (
        ("length=1", documents, {"length": 1}),
        ("length=True", documents, {"length": True}),
        ("holds int64", tmp_path / "numbers.parquet", {}),
        ("the pool is empty", tmp_path / "none", {}),
        ("can't tell what", tmp_path / "x.txt", {}),
        ("tokenizer=3", documents, {"tokenizer": 3}),
        ("no folder /nowhere/at/all", documents, {"tokenizer": "/nowhere/at/all"}),
    ):
        url = pool if pool.suffix else f"{pool}/*.jsonl"
        with pytest.raises(PlanError, match=match):
            poolsieve.tokenize(str(url), tmp_path / "to", **{"tokenizer": str(tokenizer), **options})
    assert not (tmp_path / "to").exists()


def test_while_another_command_writes_there(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    with (
        leases.held(f"{tmp_path}/to/{LEASES}", leases.SOLE, "poolsieve tokenize"),
        pytest.raises(leases.InUse, match="in use by poolsieve tokenize"),
    ):
        made(documents, tokenizer, tmp_path / "to")
    assert not list((tmp_path / "to").glob("*.npy"))


def test_a_shard_that_changes_while_it_is_read(
    documents: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = write.encode

    def cut(*args: Any) -> Any:
        os.truncate(documents / "docs-2.jsonl", 100)
        return encode(*args)

    monkeypatch.setattr(write, "encode", cut)
    with pytest.raises(PoolsieveError, match=r"docs-\d\.jsonl has changed or is gone since the pool was listed"):
        made(documents, tokenizer, tmp_path / "to")
    assert not list((tmp_path / "to").glob("docs-2*")) and not (tmp_path / "to" / "tokens.json").exists()


def test_killed_at_random_moments_and_resumed(tokenizer: Path, tmp_path: Path) -> None:
    documents = tiny.pool_of_documents(tmp_path / "docs", sizes=(5,) * 20)
    whole = made(documents, tokenizer, tmp_path / "whole")
    code = (
        "import sys, time, poolsieve\nfrom poolsieve.dataflow.tokenize import write\nencode = write.encode\n"
        "def slow(*args):\n    time.sleep(0.05)\n    return encode(*args)\nwrite.encode = slow\nprint('go', flush=True)\n"
        "poolsieve.tokenize(sys.argv[1] + '/*.jsonl', sys.argv[3], tokenizer=sys.argv[2], length=32, uid='id')\n"
    )
    seen = set()
    for files in (3, 9, 15):
        process = forked.Popen([sys.executable, "-c", code, str(documents), str(tokenizer), str(tmp_path / "to")])
        started = time.monotonic()
        while len(list((tmp_path / "to").glob("*.npy"))) < files and time.monotonic() - started < 100:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = list((tmp_path / "to").glob("*.npy"))
        seen.add(len(there))
        assert not (tmp_path / "to" / "tokens.json").exists()
        assert all(path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes() for path in there)
    assert len(seen) == 3
    with pytest.raises(PlanError, match="unfinished, with other settings"):
        made(documents, tokenizer, tmp_path / "to", length=64)
    assert made(documents, tokenizer, tmp_path / "to") == whole
    assert tiny.contents(tmp_path / "to") == tiny.contents(tmp_path / "whole")


def test_the_command_says_what_it_made_and_how_to_read_it(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    to = str(tmp_path / "to")
    done = CliRunner().invoke(
        main, ["tokenize", f"{documents}/*.jsonl", "--tokenizer", str(tokenizer), "--length", "32", "--to", to]
    )
    index = json.loads(Path(to, "tokens.json").read_text())
    assert done.exit_code == 0, done.output
    assert f"75 documents: {index['counts']['tokens']:,} tokens, {index['chunks']:,} chunks" in done.output
    assert f'Pool.tokens("{to}/*.npy", dtype="uint16", length=32)' in done.output
    refused = CliRunner().invoke(
        main, ["tokenize", "x.jsonl", "--to", to, "--tokenizer", str(tokenizer), "--dtype", "x"]
    )
    assert refused.exit_code == 2


def test_a_tokenizer_of_the_hub_at_its_commit(documents: Path, tokenizer: Path, tmp_path: Path) -> None:
    hub = Hub({"own/tokenizer": tokenizer})
    code = (
        f"import poolsieve\nfound = poolsieve.tokenize('{documents}/*.jsonl', '{tmp_path}/hub', uid='id', length=32, "
        "tokenizer='own/tokenizer', revision='main')\nprint(found.tokenizer.name, found.tokenizer.commit)\n"
    )
    try:
        done = hub.run(code, tmp_path / "home")
    finally:
        hub.stop()
    assert done.stdout == f"own/tokenizer {COMMIT}\n", done.stderr[-1500:]
    made(documents, tokenizer, tmp_path / "folder")
    mine, theirs = tiny.contents(tmp_path / "folder"), tiny.contents(tmp_path / "hub")
    assert mine.pop("tokens.json") != theirs.pop("tokens.json") and mine == theirs
